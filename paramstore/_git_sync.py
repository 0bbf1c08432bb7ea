"""One round of a machine that learns and pulls: commit, fetch, rebase, move the work tree, push.

It is ``git pull --rebase`` and ``git push`` with two differences. The rebase takes place in a work tree of its own, so that
no reader ever sees a state that is half way; and the store's lock is held from the last look at the journal until the files
have moved, so that no learner's commit comes in between. Whatever fails, the files and HEAD stay where they were.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field

from paramstore import _files, _git
from paramstore._backends.base import Session
from paramstore._backends.local import LocalBackend
from paramstore._git_commit import commit
from paramstore._git_move import finish, move
from paramstore._git_spare import spare_tree
from paramstore._lock import alone
from paramstore.errors import GitError

PREFER = "PARAMSTORE_MERGE_PREFER"  # what the merge driver is told; git knows it as ours and theirs
SIDES = {"remote": "ours", "local": "theirs"}  # of a rebase, which plays local commits on top of the remote's


@dataclass
class Synced:
    """What one round did."""

    commits: list[str] = field(default_factory=list)  # hashes of the git commits made of journal entries
    pulled: int = 0  # commits of the remote that came in
    pushed: int = 0
    rounds: int = 1
    told: list[str] = field(default_factory=list)  # which entries were brought back into the journal, if any


class Sync:
    """Rounds of one store with one branch of one remote. ``prefer`` decides values that both sides changed: ``remote``,
    ``local``, or nothing, which is a ``GitError`` that names them."""

    def __init__(
        self, backend: LocalBackend, remote: str | None, branch: str | None, prefer: str | None
    ) -> None:
        self.backend = backend
        self.top = _git.top(backend.root)
        self.prefix = os.path.relpath(os.path.realpath(backend.root), os.path.realpath(self.top))
        self.remote, self.branch = self._upstream(remote, branch)
        self.prefer = prefer
        self.done = Synced()

    def _upstream(self, remote: str | None, branch: str | None) -> tuple[str, str]:
        here = _git.run(self.top, "symbolic-ref", "--short", "--quiet", "HEAD").stdout.decode().strip()
        if not here:
            raise GitError("HEAD is on no branch. Check one out first.")
        known = _git.run(self.top, "config", f"branch.{here}.remote").stdout.decode().strip()
        merges = _git.run(self.top, "config", f"branch.{here}.merge").stdout.decode().strip()
        found = remote or known or "origin", branch or merges.removeprefix("refs/heads/") or here
        for name in found:
            if name.startswith("-"):
                raise GitError(f"{name!r} is neither a remote nor a branch.")
        return found

    def run(self, tries: int, push: bool, timeout_s: float) -> Synced:
        """Go round until nothing is left to pull or push. Raises ``GitError``, ``LockTimeoutError`` and what a
        transaction raises; then this machine's values and HEAD are as they were, or as its own commits made them."""
        _files.make_runtime(self.backend.runtime)
        with alone(
            os.path.join(self.backend.runtime, "sync"), f"Another sync of {self.backend.root} is under way."
        ):
            for number in range(1, tries + 1):
                self.done.rounds = number
                there = _git.fetch(self.top, self.remote, f"refs/heads/{self.branch}")
                self._pull(there, timeout_s)
                if not push or self._push(there):
                    return self.done
        raise GitError(
            f"{self.remote}/{self.branch} moved during each of {tries} rounds. This machine's values are committed; "
            "run it again to push them."
        )

    def _push(self, there: str) -> bool:
        ahead = self._count(f"{there}..HEAD") if there else self._count("HEAD")
        if ahead:
            done = _git.run(self.top, "push", "--quiet", "--", self.remote, f"HEAD:refs/heads/{self.branch}")
            said = done.stderr.decode(errors="replace")
            if done.returncode and not any(words in said for words in _git.MOVED):
                raise GitError(f"git push: {said.strip()}")
            if done.returncode:
                return False
            self.done.pushed += ahead
        return True

    def _count(self, commits: str) -> int:
        return int(_git.text(self.top, "rev-list", "--count", commits))

    def _head(self) -> str:
        return _git.text(self.top, "rev-parse", "HEAD")

    # -- the rebase ---------------------------------------------------------------------------------

    def _pull(self, there: str, timeout_s: float) -> None:
        """Commit what was learned; put what only this branch has on top of the remote's commit, and move there.

        The rebase runs without the store's lock, and again, for what was learned meanwhile, with it.
        """
        finish(self.backend, self.top, timeout_s)
        with self.backend.session(timeout_s, None) as session:
            self._commit(session)
            session.refresh()
        here = self._head()
        incoming = self._count(f"{here}..{there}") if there else 0
        if not incoming:
            return
        result = self._replayed(here, there, "")
        with self.backend.session(timeout_s, None) as session:
            self._commit(session)
            head = self._head()
            if head != here:
                result = self._replayed(head, result, here)
            move(self.backend, self.top, head, result)
            session.refresh()
        self.done.pulled += incoming

    def _commit(self, session: Session) -> None:
        made = commit(self.backend, by_author=False, session=session, tell=self.done.told.append)
        self.done.commits += [each.commit for each in made]

    def _replayed(self, head: str, onto: str, since: str) -> str:
        """Return the commit that a rebase of ``head`` (of what came after ``since``) onto ``onto`` comes to, with the
        journal's entry of it."""
        with spare_tree(self.top, self.prefix, self.backend.options.journal, head) as (place, words):
            what = ("--onto", onto, since) if since else (onto,)
            done = _git.run(place, *words, "rebase", "--quiet", *what, environ=self._wishes())
            if done.returncode:
                raise GitError(self._conflict(place, done.stderr.decode(errors="replace")))
            self._settle(os.path.normpath(os.path.join(place, self.prefix)))
            return _git.text(place, "rev-parse", "HEAD")

    def _settle(self, root: str) -> None:
        """Judge every file of the result, and have its journal say what they hold after a merge."""
        if not os.path.isdir(os.path.join(root, "params")):
            return
        journal = os.path.relpath(
            os.path.realpath(self.backend.journal.path), os.path.realpath(self.backend.root)
        )
        options = copy(self.backend.options)
        options.journal = journal  # wherever it is written down: never the live one
        settled = LocalBackend(root, options, self.backend.clock)
        settled.load(None)
        if (
            not journal.startswith("..") and settled.journal.segments()
        ):  # else git has no journal to say it in
            _files.make_folder(settled.runtime)
            with suppress(OSError):  # a cache, which is believed where it fits
                shutil.copyfile(self.backend.memory_file(), settled.memory_file())
            with settled.session(options.timeout_s, None) as session:
                commit(settled, by_author=False, session=session, tell=self.done.told.append)

    def _wishes(self) -> dict[str, str]:
        return {PREFER: SIDES[self.prefer]} if self.prefer else {}

    def _conflict(self, place: str, said: str) -> str:
        names = [n for n in _git.text(place, "diff", "--name-only", "--diff-filter=U", "-z").split("\0") if n]
        if not names:
            return f"git rebase: {said.strip()}. Nothing was moved: the files and HEAD of this machine stand."
        reasons = [
            line.removeprefix("paramstore: ") for line in said.splitlines() if line.startswith("paramstore: ")
        ]
        told = (
            "\n  ".join(reasons or names)
            .replace(": ours ", ": the remote ")
            .replace(", theirs ", ", this machine ")
        )
        return (
            f"Both {self.remote}/{self.branch} and this machine changed the same:\n  {told}\nNothing was moved: the files and "
            "HEAD of this machine stand. Decide values with `--prefer remote` or `--prefer local`, anything else by hand with "
            "`git pull --rebase` while no learner runs."
        )
