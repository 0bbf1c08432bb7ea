"""A store in a real git repository, for tests of what git and paramstore do together."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from paramstore import ParamStore
from paramstore._git_install import install
from paramstore._init import shipped, write

IDENTITY = ("-c", "user.name=A Person", "-c", "user.email=person@example.org")


class GitStore:
    """A work tree with the shipped store. ``git`` runs git in it, ``set`` commits values, ``say`` runs the command line."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def made(cls, root: Path, installed: bool = True) -> GitStore:
        """Make one with a first git commit that holds the store, its journal and .gitattributes."""
        root.mkdir(parents=True)
        store = cls(root)
        store.git("init", "--quiet", "--initial-branch=main")
        store.identify()
        write(str(root), shipped())
        if installed:
            install(str(root), "params/journal")
        store.set({"conviction_gate.min_trades": 31}, author="person")
        store.git("add", "--all")
        store.git("commit", "--quiet", "--message", "begin")
        return store

    def identify(self) -> None:
        self.git("config", "user.name", "A Person")
        self.git("config", "user.email", "person@example.org")

    def clone(self, root: Path, installed: bool = True) -> GitStore:
        """Clone it, as another machine does."""
        subprocess.run(["git", "clone", "--quiet", str(self.root), str(root)], check=True)
        other = GitStore(root)
        other.identify()
        if installed:
            install(str(root), "params/journal")
        return other

    def git(self, *words: str, status: int | None = 0) -> str:
        """Run git; ``status`` is the exit status that is expected (``None``: any)."""
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PARAM"))
        }
        environ |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_EDITOR": "true", "LC_ALL": "C"}
        done = subprocess.run(
            ["git", *words], cwd=self.root, capture_output=True, text=True, env=environ, check=False
        )
        assert status is None or done.returncode == status, (
            f"git {' '.join(words)}: {done.stdout}{done.stderr}"
        )
        return done.stdout + done.stderr

    def params(self) -> ParamStore:
        """Open the store anew, as another process would."""
        return ParamStore(self.root, environ={})

    def get(self, key: str, **context: Any) -> Any:
        return self.params().get(key, **context)

    def set(
        self, values: dict[str, Any], author: str = "learner", reason: str = "a test", **context: Any
    ) -> int:
        """Write values as a person may, and return the revision."""
        with self.params().transaction(author=author, reason=reason, force=True) as tx:
            for key, value in values.items():
                tx.set(key, value, **context)
        return tx.commit_result.revision

    def commit_all(self, message: str = "values") -> None:
        self.git("commit", "--quiet", "--all", "--message", message)

    def read(self, file: str) -> str:
        return (self.root / file).read_bytes().decode()

    def edit(self, file: str, old: str, new: str) -> None:
        """Edit a file by hand, byte for byte."""
        text = self.read(file)
        assert old in text, f"{old!r} is not in {file}"
        (self.root / file).write_bytes(text.replace(old, new, 1).encode())

    def say(self, *words: str, status: int = 0) -> str:
        """Run the command line on this store, and return what it printed."""
        from paramstore.cli import cli

        done = CliRunner().invoke(cli, ["--root", str(self.root), *words], catch_exceptions=False)
        assert done.exit_code == status, done.output
        return done.output

    def in_order(self) -> None:
        """Hold the store to ``paramstore check`` and its journal to revisions without gap or double."""
        assert "everything is in order" in self.say("check")
        revisions = [e.revision for e in self.params().history() if e.kind not in ("merge", "freeze")]
        assert revisions == list(range(len(revisions)))
