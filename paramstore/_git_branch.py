"""A branch of a repository, here or at a remote, read and added to without a work tree.

Commits are made of trees and refs move from what they were to what they are to be, so whatever somebody has checked out, staged,
or under way is in nobody's way. Where the branch is checked out, git's own fast-forward moves the files, and refuses what it would
overwrite.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from paramstore import _git, _git_read
from paramstore._git_head import PLAIN, commit_tree, store, tree_with
from paramstore._git_state import REBASES, operation
from paramstore.errors import GitError

COMMON = "rev-parse", "--path-format=absolute", "--git-common-dir"
FOLDERS = ("params/", "schemas/")
LITERALLY = "--literal-pathspecs"  # a folder may be named as no pattern should
LOG = LITERALLY, "log", "--encoding=UTF-8", "--no-show-signature"  # whatever the settings say


class Branch:
    """The branch ``name`` of the repository around ``folder``, at ``remote`` if one is named, with a store in ``within``."""

    def __init__(self, folder: str, name: str, remote: str | None, within: str = ".") -> None:
        done = _git.run(folder, *COMMON)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
            raise GitError(f"{folder}: {said}. `git init` or `git clone` makes a repository.")
        self.folder = done.stdout.decode(errors="surrogateescape").rstrip("\n")
        self._near = folder  # a remote may be named by a path from the work tree
        self.name = name
        self.remote = remote
        self.within = os.path.normpath(within)
        self.ref = f"refs/heads/{self.name}"
        for word in (self.name, remote or "", self.within):
            if word.startswith(("-", "..", "/")):
                raise GitError(f"{word!r} is no branch, remote or folder in a repository.")
        if _git.run(self.folder, "check-ref-format", self.ref).returncode:
            raise GitError(f"{self.name!r} cannot be the name of a branch.")

    def holds(self, folder: str) -> bool:
        """Tell whether ``folder`` is, or will be once it is made, in a work tree of the repository."""
        place = os.path.abspath(folder)
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        return _git.run(place, *COMMON).stdout == os.fsencode(f"{self.folder}\n")

    @property
    def title(self) -> str:
        return f"{self.remote}/{self.name}" if self.remote else self.name

    # -- what is there ----------------------------------------------------------------------------

    def tip(self, ref: str = "") -> str:
        """Return the newest commit of the branch (or of ``ref``), fetched if need be; empty if there is none yet. Raises
        ``GitError``, also while git is amid something in the work tree of a branch that is here."""
        ref = ref or self.ref
        if self.remote is None:
            self._work_tree(ref)
            return (
                _git.run(self.folder, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
                .stdout.decode()
                .strip()
            )
        return _git.fetch(self._near, self.remote, ref)

    def others(self) -> list[str]:
        """Return the names of all branches that there are beside it."""
        if self.remote is None:
            listed = _git.text(self.folder, "for-each-ref", "--format=%(refname)", "refs/heads")
        else:
            listed = _git.git(
                self._near, "ls-remote", "--heads", "--", self.remote, within_s=_git.REMOTE_S
            ).decode(errors="replace")
        names = [line.partition("refs/heads/")[2] for line in listed.splitlines()]
        return [name for name in names if name not in ("", self.name)]

    def read(self, commit: str, journal: str | None = None) -> _git_read.CommitFiles:
        """Return the store's files in a commit, its journal only if named. Raises ``GitError`` and ``DocumentError``."""
        place = self._place(commit)
        if not place:
            return _git_read.CommitFiles(commit, {}, {}, ())
        return _git_read.read_commit(self.folder, place, journal)

    def _place(self, commit: str) -> str:
        """Return git's name for the store's folder in a commit; empty if it is not there."""
        name = f"{commit}:" if self.within == "." else f"{commit}:{self.within}"
        there = commit and not _git.run(self.folder, "rev-parse", "--verify", "--quiet", name).returncode
        return name if there else ""

    def content(self, blob: str) -> bytes:
        """Return what ``store`` has stored."""
        return _git.git(self.folder, "cat-file", "blob", blob)

    def history(self, commit: str) -> Iterator[str]:
        """Yield ``commit`` and those before it that changed the store, newest first."""
        yield commit
        yield from _git.text(self.folder, LITERALLY, "rev-list", commit, "--", *self._paths()).split()

    def _paths(self) -> list[str]:
        return [os.path.normpath(os.path.join(self.within, folder)) for folder in FOLDERS]

    def listed(self, commit: str) -> list[str]:
        """Return the paths below the store's ``params/`` and ``schemas/`` in a commit."""
        place = self._place(commit)
        words = "ls-tree", "-r", "-z", "--name-only", place, "--", *FOLDERS
        return [path for path in _git.text(self.folder, *words).split("\0") if path] if place else []

    def is_in(self, one: str, other: str) -> bool:
        """Tell whether commit ``one`` is ``other`` or comes before it."""
        return (
            bool(one and other)
            and not _git.run(self.folder, "merge-base", "--is-ancestor", one, other).returncode
        )

    def trailers(self, key: str, commits: str) -> list[tuple[str, str]]:
        """Return the commits among ``commits`` whose message ends in a trailer ``key``, and what it says."""
        form = f"--format=%H %(trailers:key={key},valueonly,separator=%x20)"
        words = *LOG, form, f"--grep={key}: ", commits, "--"
        found = (line.partition(" ") for line in _git.text(self.folder, *words).split("\n"))
        return [(commit, said) for commit, _, said in found if said]

    def authors(self, commits: str, since: str) -> tuple[list[str], list[str]]:
        """Return authors and subjects of the commits that changed the store in ``since..commits``, oldest first; of merges, those
        that decided something."""
        what = f"{since}..{commits}" if since else commits
        words = *LOG, "--reverse", "--format=%an%x00%s", what, "--", *self._paths()
        lines = _git.git(self.folder, *words).decode(errors="replace").split("\n")
        pairs = [line.split("\0") for line in lines if line]
        return list(dict.fromkeys(pair[0] for pair in pairs)), list(dict.fromkeys(pair[-1] for pair in pairs))

    # -- adding to it -----------------------------------------------------------------------------

    def store(self, raw: bytes) -> str:
        """Store a content as it is, and return git's name for it."""
        return store(self.folder, raw)

    def commit(
        self, parents: Sequence[str], blobs: Mapping[str, str | None], text: str, author: Mapping[str, str], empty: bool = False
    ) -> str:  # fmt: skip
        """Make a commit: the first parent's files with ``blobs`` (by path in the store; ``None`` is taken away).

        Returns the parent itself where that changes nothing, unless it may be ``empty``. No ref moves.
        """
        paths = {os.path.normpath(os.path.join(self.within, path)): blob for path, blob in blobs.items()}
        entries = {path: None if blob is None else (PLAIN, blob) for path, blob in paths.items()}
        parent = parents[0] if parents else ""
        tree = tree_with(self.folder, parent, entries)
        if parent and not empty and tree == _git.text(self.folder, "rev-parse", f"{parent}^{{tree}}"):
            return parent
        return commit_tree(self.folder, parents, tree, text, author)

    def advance(self, commit: str, tip: str, ref: str = "") -> bool:
        """Move the branch from ``tip`` on to ``commit``, or ``ref`` to wherever that is. Returns False if it was moved by others
        meanwhile.

        Raises ``GitError`` for whatever else git refuses; then it is where it was.
        """
        if self.remote is None:
            return self._move(commit, tip, ref or self.ref)
        lease = [f"--force-with-lease={ref}:{tip}"] if ref else []
        words = (
            "-c",
            f"remote.{self.remote}.mirror=false",
            "push",
            "--quiet",
            *lease,
            "--",
            self.remote,
            f"{commit}:{ref or self.ref}",
        )
        done = _git.run(self._near, *words, within_s=_git.REMOTE_S)
        said = done.stderr.decode(errors="replace")
        if done.returncode and not any(words in said for words in _git.MOVED):
            raise GitError(f"git push: {' '.join(said.split()).replace(commit, 'the commit')}")
        return not done.returncode

    def tidy(self) -> None:
        """Let git pack what it holds, should it be time: each commit stores a segment of the journal as a whole."""
        _git.run(self.folder, "gc", "--auto", "--quiet")

    def follow(self, commit: str) -> str:
        """Bring the local branch of a remote's after it, where nothing of its own is on it; return why not, if not."""
        here = _git.run(self.folder, "rev-parse", "--verify", "--quiet", self.ref).stdout.decode().strip()
        if self.remote is None or not here or not self.is_in(here, commit) or here == commit:
            return ""
        try:
            self._move(commit, here, self.ref)
        except GitError as error:
            return str(error)
        return ""

    def _move(self, commit: str, tip: str, ref: str) -> bool:
        """Move a local branch, with the files of the work tree in which it is checked out."""
        place = self._work_tree(ref)
        words = ["update-ref", "-m", "paramstore mirror", ref, commit, tip]
        if place is not None:
            self._spare(place, commit, tip)
            words = ["merge", "--quiet", "--ff-only", "--no-autostash", "--no-overwrite-ignore", commit]
        done = _git.run(place or self.folder, *words)
        if done.returncode and self._stands(ref) == tip:
            said = " ".join(done.stderr.decode(errors="replace").split())
            raise GitError(f"git {words[0]}{f' in {place}' if place else ''}: {said}")
        return self._stands(ref) == commit

    def _spare(self, place: str, commit: str, tip: str) -> None:
        """Raise ``GitError`` for files that git's first merge into a work tree would overwrite: it spares no ignored ones."""
        listed = "" if tip else _git.text(self.folder, "ls-tree", "-r", "-z", "--name-only", commit)
        there = [
            path for path in filter(None, listed.split("\0")) if os.path.lexists(os.path.join(place, path))
        ]
        if there:
            raise GitError(
                f"{', '.join(there)}: there in {place}, and {self.name} has no commit yet. Move them away; {self.name} was not begun."
            )

    def _stands(self, ref: str) -> str:
        return _git.run(self.folder, "rev-parse", "--verify", "--quiet", ref).stdout.decode().strip()

    def _work_tree(self, ref: str) -> str | None:
        """Return where ``ref`` is checked out. Raises ``GitError`` while git is amid something there, which would then end on a
        branch that is not where it began."""
        found = None
        for block in _git.text(self.folder, "worktree", "list", "--porcelain").split("\n\n"):
            said = dict(line.partition(" ")[::2] for line in block.splitlines())
            place = said.get("worktree", "")
            if "bare" in said or "prunable" in said or not os.path.isdir(place):
                continue
            folder = _git.text(place, "rev-parse", "--absolute-git-dir")
            if ref not in (said.get("branch"), _rebased(folder)):
                continue
            under_way = operation(folder)
            if under_way is not None:
                raise GitError(
                    f"A {under_way} is under way in {place}. Finish or abort it; {self.name} was not moved."
                )
            found = place
        return found


def _rebased(folder: str) -> str | None:
    """Return the branch that a rebase has taken off the work tree of ``folder`` and will put back."""
    for name in REBASES:
        with suppress(OSError), open(os.path.join(folder, name, "head-name"), encoding="utf-8") as stream:
            return stream.read().strip()
    return None
