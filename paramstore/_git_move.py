"""A work tree moved from one commit to another beside readers that look at it: all or nothing, and a move that was cut off
is brought to its end.

git deletes a file before it writes the new one. Values, schemas and journals are therefore exchanged name by name, as a
commit of the store does it; git moves all other files. A file that someone saves meanwhile stands: then nothing moves. git's
index is locked for the whole time, so that nobody commits in between, and a note in ``.paramstore/`` says what is under way.
The caller holds the store's lock.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from paramstore import _files, _git
from paramstore._backends.local import LocalBackend
from paramstore._lock import WriteLock
from paramstore.errors import GitError

OURS = (
    b"paramstore moves the work tree\n"  # what our lock of the index holds: a dead one can be told from git's
)


def move(backend: LocalBackend, top: str, here: str, there: str) -> None:
    """Bring files, index and HEAD from commit ``here``, which HEAD is, to ``there``. Raises ``GitError``; then all is as
    it was. Files that are at ``there`` already are left alone, so that it can be done again."""
    with _noted(backend, here, there) as token, _locked_index(top) as index:
        own = {"GIT_INDEX_FILE": index}
        changed = _changed(top, here, there)
        _enter(top, _standing_at(top, changed, there, own), there, own)
        _git.git(
            top, "read-tree", "-m", "-u", "-n", here, there, environ=own
        )  # would it overwrite what is not committed?
        files = [_File(top, path, here, there, token) for path in _watched(backend, top, changed)]
        try:
            for file in files:
                file.put()
            _enter(top, [file.path for file in files], there, own)
            _git.git(top, "read-tree", "-m", "-u", here, there, environ=own)
            _git.git(top, "update-ref", "-m", "paramstore git sync", "HEAD", there, here)
        except BaseException:
            for file in reversed(files):
                file.put_back()
            _enter(top, [file.path for file in files], here, own)
            _git.git(top, "read-tree", "-m", "-u", there, here, environ=own)
            raise
        finally:
            for file in files:
                file.discard()
        for folder in {os.path.dirname(file.target) for file in files}:
            _files.fsync_directory(folder)


def finish(backend: LocalBackend, top: str, timeout_s: float) -> None:
    """Bring a move that was cut off by a crash to its end, before anyone takes what it left for edits by hand.

    Where learners or people have gone on since, what stands now is what they did, and is left as it is. Takes the store's
    lock by itself, as a session would record what it finds. Raises ``LockTimeoutError`` and ``GitError``.
    """
    if not os.path.exists(_note(backend)):
        return
    gates = backend.path("schemas"), backend.path("params")
    with WriteLock(gates, os.path.join(backend.runtime, "lock"), timeout_s):
        _finish(backend, top)


def _finish(backend: LocalBackend, top: str) -> None:
    note = _note(backend)
    try:
        with open(note, encoding="ascii") as stream:
            here, there, token = json.load(stream)
    except ValueError:
        here = there = token = ""  # cut off while it was written: nothing had moved
    lock = os.path.join(_git.text(top, "rev-parse", "--absolute-git-dir"), "index.lock")
    if _files.holds(lock, OURS):
        os.unlink(lock)
    head = _git.text(top, "rev-parse", "HEAD")
    if head == here and here != there:
        with suppress(GitError):
            move(backend, top, here, there)
    elif head == there:
        _git.git(top, "read-tree", "-m", there)
    if here != there:
        for path in _watched(backend, top, _changed(top, here, there)):
            _File(top, path, here, there, token).discard()
    with suppress(FileNotFoundError):
        os.unlink(note)


def _note(backend: LocalBackend) -> str:
    return os.path.join(backend.runtime, "move")


@contextmanager
def _noted(backend: LocalBackend, here: str, there: str) -> Iterator[str]:
    """Keep a note of what is under way until it has come to an end, whichever, and yield what names its spare files."""
    token = os.urandom(8).hex()
    note = _note(backend)
    with suppress(FileNotFoundError):
        os.unlink(note)
    _files.write_new(note, json.dumps([here, there, token]).encode(), None)
    try:
        yield token
    finally:
        with suppress(FileNotFoundError):
            os.unlink(note)


@contextmanager
def _locked_index(top: str) -> Iterator[str]:
    """Lock git's index as git does, and yield a copy of it, which takes its place if all goes well."""
    folder = _git.text(top, "rev-parse", "--absolute-git-dir")
    index, lock, copy = (os.path.join(folder, name) for name in ("index", "index.lock", "paramstore-index"))
    try:
        _files.write_new(lock, OURS, None)
    except FileExistsError:
        raise GitError(
            f"{lock} is there: another git is at work in {top}, or died there. Run it again."
        ) from None
    try:
        if os.path.exists(index):
            shutil.copyfile(index, copy)
        _git.run(top, "update-index", "-q", "--refresh", environ={"GIT_INDEX_FILE": copy})
        yield copy
        os.replace(copy, index)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(copy)
        os.unlink(lock)


def _changed(top: str, here: str, there: str) -> list[str]:
    """Return the paths that both commits have and that differ."""
    words = ("--no-ext-diff", "--no-renames", "--diff-filter=M", "--name-only", "-z")
    return [path for path in _git.text(top, "diff", *words, here, there).split("\0") if path]


def _is_at(top: str, path: str, commit: str) -> bool:
    """Tell whether the file in the work tree holds what a commit has."""
    if not os.path.isfile(os.path.join(top, path)):
        return False
    now = _git.text(top, "hash-object", "--", path)
    return now == _git.text(top, "rev-parse", f"{commit}:{path}")


def _standing_at(top: str, paths: list[str], commit: str, own: dict[str, str]) -> list[str]:
    """Return those of ``paths`` whose files in the work tree hold what a commit has, with one process for all of them."""
    listed = _git.text(top, "diff", "--no-ext-diff", "--no-renames", "--name-only", "-z", commit, environ=own)
    differing = set(listed.split("\0"))
    return [path for path in paths if path not in differing]


def _watched(backend: LocalBackend, top: str, changed: list[str]) -> list[str]:
    """Return those paths that readers look at: journals first, so that they know the new bytes at once, then schemas."""
    prefix = os.path.relpath(os.path.realpath(backend.root), os.path.realpath(top))
    real = os.path.realpath(top)
    segments = {
        os.path.relpath(os.path.realpath(backend.journal.file(s)), real) for s in backend.journal.segments()
    }

    def within(folder: str, suffix: str) -> list[str]:
        place = os.path.normpath(os.path.join(prefix, folder))
        return [path for path in changed if os.path.dirname(path) == place and path.endswith(suffix)]

    return (
        [path for path in changed if path in segments]
        + within("schemas", ".json")
        + within("params", ".yaml")
    )


class _File:
    """One watched file: its bytes now and to be, as git stores them, for the journal vouches for those."""

    def __init__(self, top: str, path: str, here: str, there: str, token: str) -> None:
        self.path = path
        self.target = _files.resolve(os.path.join(top, path))
        self.old = _files.read_whole(self.target).raw
        self.base, self.new = (_git.git(top, "cat-file", "blob", f"{c}:{path}") for c in (here, there))
        self.is_base = self.old in (self.base, self.new) or _is_at(
            top, path, here
        )  # cleaned, as its attributes say
        folder, name = os.path.split(self.target)
        self.spare = os.path.join(folder, f".{name}.{token}.tmp")

    def put(self) -> None:
        """Exchange the old bytes for the new ones. Raises ``GitError`` if others stand there."""
        if self.old == self.new:
            return
        if self.is_base:
            _files.write_new(self.spare, self.new, self.target)
        if not self.is_base or not _files.swap_in(self.spare, self.target, self.old):
            raise GitError(
                f"{self.path} was saved by someone meanwhile; their save stands and nothing was moved. Run it again."
            )

    def put_back(self) -> None:
        if self.old != self.new and os.path.exists(self.spare) and _files.holds(self.target, self.new):
            _files.swap_in(self.spare, self.target, self.new)

    def discard(self) -> None:
        """Remove the spare file when it holds bytes of either commit; anything else is someone's save, and is kept."""
        with suppress(OSError):
            if _files.holds(self.spare, self.old, self.new, self.base):
                os.unlink(self.spare)
            else:
                _files.set_aside(self.spare, ".conflict")


def _enter(top: str, paths: list[str], commit: str, own: dict[str, str]) -> None:
    """Enter ``paths`` in the index as a commit has them."""
    if paths:
        listed = _git.git(top, "ls-tree", "-z", commit, "--", *paths)
        lines = [line.replace(b" blob ", b" ", 1) for line in listed.split(b"\0") if line]
        _git.git(
            top,
            "update-index",
            "-z",
            "--index-info",
            stdin=b"".join(line + b"\0" for line in lines),
            environ=own,
        )
        _git.run(top, "update-index", "-q", "--refresh", environ=own)
