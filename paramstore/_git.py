"""The doorkeeper of git: the only module that starts it. Nothing goes through a shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from paramstore.errors import GitError

MOVED = (
    "fetch first",
    "non-fast-forward",
    "cannot lock ref",
)  # as git says at a push that the remote has moved
REMOTE_S = 300.0  # how long a remote has for what it is asked; without an end, one that went silent would hold us for good
SPEAK_PLAINLY = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
# What `git rev-parse --local-env-vars` lists: each moves git to a part of another repository. The two that carry settings
# (GIT_CONFIG_PARAMETERS, GIT_CONFIG_COUNT) are passed on, as git itself does: a container's safe.directory is given so.
LEFT_OVER = frozenset((
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE", "GIT_PREFIX",
    "GIT_INTERNAL_SUPER_PREFIX", "GIT_SHALLOW_FILE", "GIT_COMMON_DIR",
    # and what else changes the meaning of our words
    "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_NAMESPACE", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
))  # fmt: skip


def run(
    folder: str, *words: str, stdin: bytes | None = None, environ: Mapping[str, str] | None = None, within_s: float | None = None
) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    """Run git in ``folder`` and return what came of it, whatever its exit status. Raises ``GitError`` without git, and where it
    is not done ``within_s`` seconds.

    What a git that called us set for itself is not passed on.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in LEFT_OVER}
    try:
        return subprocess.run(
            ["git", *words],
            cwd=folder,
            input=stdin if stdin is not None else b"",
            capture_output=True,
            env={**inherited, **SPEAK_PLAINLY, **(environ or {})},
            check=False,
            timeout=within_s,
        )
    except subprocess.TimeoutExpired:
        raise GitError(f"git {_name(words)}: no answer within {within_s:g} s.") from None
    except FileNotFoundError:
        problem = "git is not installed" if os.path.isdir(folder) else f"{folder} is not a directory"
        raise GitError(f"{problem}.") from None


def git(
    folder: str, *words: str, stdin: bytes | None = None, environ: Mapping[str, str] | None = None, within_s: float | None = None
) -> bytes:  # fmt: skip
    """Run git in ``folder`` and return what it printed. Raises ``GitError`` with what git said."""
    done = run(folder, *words, stdin=stdin, environ=environ, within_s=within_s)
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise GitError(f"git {_name(words)}: {said or f'exit status {done.returncode}'}")
    return done.stdout


def _name(words: Sequence[str]) -> str:
    return next(word for word in words if not word.startswith("-") and "=" not in word)


def text(folder: str, *words: str, environ: Mapping[str, str] | None = None) -> str:
    """Run git and return what it printed as text, without the last line break."""
    return git(folder, *words, environ=environ).decode(errors="surrogateescape").rstrip("\n")


def top(folder: str) -> str:
    """Return the top of the work tree that ``folder`` is in. Raises ``GitError`` outside of one, and where git refuses for
    a reason of its own, such as an owner that it does not trust."""
    done = run(folder, "rev-parse", "--show-toplevel")
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode and "not a git repository" not in said:
        raise GitError(f"git rev-parse: {said}")
    if done.returncode:
        raise GitError(f"{folder} is in no git work tree. `git init` makes one.")
    return done.stdout.decode(errors="surrogateescape").rstrip("\n")


def blob(folder: str, commit: str, path: str) -> bytes | None:
    """Return the content of ``path`` (from the top) in a commit; ``None`` if it is not there."""
    done = run(folder, "cat-file", "blob", f"{commit}:{path}")
    return None if done.returncode else done.stdout


def fetch(folder: str, remote: str, ref: str) -> str:
    """Return the commit at which ``ref`` of a remote is, and bring it here; empty if there is none. Raises ``GitError``."""
    listed = git(folder, "ls-remote", "--", remote, ref, within_s=REMOTE_S).split()
    if not listed:
        return ""
    there = listed[0].decode()
    if run(folder, "cat-file", "-e", f"{there}^{{commit}}").returncode:
        git(folder, "fetch", "--quiet", "--no-write-fetch-head", "--", remote, ref, within_s=REMOTE_S)
    return there
