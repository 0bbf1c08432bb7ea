"""The directory on one machine that holds what stands in etcd: files and a journal as in any store, which readers read as such.

It is a cache. Whoever follows the cluster writes it, under a lock that is held for milliseconds; nothing in it is synced,
and what is not as it was left is made anew. ``.paramstore/followed`` says how far it came; it is written last.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from paramstore import _files, _generation
from paramstore._etcd_place import EMPTY, Head
from paramstore._gate import keep, unlock
from paramstore._journal import START, Position
from paramstore.errors import JournalError

if TYPE_CHECKING:
    from paramstore._backends.etcd import EtcdBackend

FORMAT = 1
FOLDERS = ("params", "schemas")
RESTED_S = 10.0  # the age of a file as it comes


class GapError(Exception):
    """Entries are missing before those that came: read the journal as a whole."""


class Text(NamedTuple):
    """A file of the store as etcd has it, and the revision of etcd that put it there."""

    raw: bytes
    modified: int


@dataclass(frozen=True, slots=True)
class News:
    """What stands in etcd at ``revision`` and was not known before: the newest entry, the lines of all since (by number),
    files with their text, and files that are no more."""

    revision: int
    head: Head
    head_modified: int
    lines: dict[int, bytes] = field(default_factory=dict)
    texts: dict[str, Text] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    records: dict[int, dict[str, Any]] = field(default_factory=dict)  # what the lines say, where it is known


@dataclass(frozen=True, slots=True)
class Followed:
    """How far a mirror came: all that stands in etcd at ``revision`` is in it. ``position`` is the end of its journal, ``files``
    says of each at which revision of etcd it was put there, and the sha256 of its text."""

    revision: int = 0
    head: Head = EMPTY
    head_modified: int = 0
    position: tuple[int, int, int, str, int] = (0, 0, 0, "", 0)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    boot: str = ""

    @property
    def stands(self) -> int | None:
        """The revision that stands; ``None`` before the first entry."""
        return self.position[4] if self.head.seq >= 0 else None

    def place(self) -> Position:
        segment, offset, revision, crc, counted = self.position
        return Position(segment, offset, revision, crc.encode(), counted)


class Mirror:
    """The mirror in the directory of ``local``. All that writes needs ``locked``."""

    def __init__(self, local: EtcdBackend) -> None:
        self._local = local
        self._mutex = threading.Lock()
        self.signs = local.signs
        self.folder = local.root
        self._made = False
        self._record: tuple[bytes, Followed] | None = None  # what it says, as last read or written here
        self._seen: dict[
            str, tuple[str, _files.Identity]
        ] = {}  # files that were found to be as they were left
        self._read_journal = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the mirror for writing, for as short as possible."""
        with self._mutex:
            self.make()
            fd = keep(_files.open_or_create(os.path.join(self._local.runtime, "mirror.lock")))
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield
            finally:
                unlock(fd)

    def make(self) -> None:
        """Make its folders where they are missing."""
        if not self._made or not os.path.isdir(self._local.runtime):
            for name in FOLDERS:
                _files.make_folder(self._local.path(name))
            _files.make_runtime(self._local.runtime)
            if not self.signs.label():
                self._write(self.signs.label_file, self._local.place.label.encode())
            self._made = True

    # -- how far it came --------------------------------------------------------------------------

    def followed(self) -> Followed | None:
        """Return how far it came; ``None`` where there is none, or one that was left in the middle."""
        if os.path.exists(self.signs.mark):
            return None
        try:
            fd = os.open(self.signs.record, os.O_RDONLY | os.O_CLOEXEC)
            try:
                raw = os.read(fd, os.fstat(fd).st_size)
            finally:
                os.close(fd)
            last = self._record
            if last is None or last[0] != raw:
                self._record = last = raw, _followed(raw)
            return last[1]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def checked(self) -> Followed | None:
        """Return how far it came if it is as it was left: a power failure, or a person, may have changed it. Under the lock.

        A file is read when it is not the one that was seen the last time, the journal once in a boot of the machine.
        """
        known = self.followed()
        if known is None or not all(
            self._is_as_left(file, digest) for file, (_, digest) in known.files.items()
        ):
            return None
        journal, place = self._local.journal, known.place()
        try:
            if not journal.holds(place):
                return None
            if known.boot != _boot() and not self._read_journal:
                if journal.lines(START, place)[1].crc != place.crc:
                    return None
                self._read_journal = True
            self._cut(place)
        except (OSError, JournalError):
            return None
        return known

    def _is_as_left(self, file: str, digest: str) -> bool:
        path = self._local.path(file)
        try:
            seen = digest, _files.identity(os.stat(path))
            if self._seen.get(file) != seen:
                content = _files.read_whole(path)
                if content.digest != digest:
                    return False
                self._seen[file] = digest, content.identity
        except OSError:
            return False
        return True

    def _cut(self, place: Position) -> None:
        """Take away what was appended after ``place`` by one who died before saying so."""
        journal = self._local.journal
        for segment in journal.segments():
            if segment > place.segment:
                os.unlink(journal.file(segment))
            elif segment == place.segment and os.path.getsize(journal.file(segment)) > place.offset:
                os.truncate(journal.file(segment), place.offset)

    # -- writing ----------------------------------------------------------------------------------

    def clear(self) -> Followed:
        """Take all of it away, to make it anew. Readers go on with what they have until it is whole again."""
        local = self._local
        self._mark()
        with suppress(FileNotFoundError):
            os.unlink(self.signs.record)
        for segment in local.journal.segments():
            os.unlink(local.journal.file(segment))
        own = ("params", ".yaml"), ("schemas", ".schema.json")
        for folder, end in (*own, ("params", ".new"), ("schemas", ".new")):  # the last two of one who died
            for name in _files.names(local.path(folder), end):
                os.unlink(f"{local.path(folder)}/{name}")
        return Followed()

    def take(self, known: Followed, news: News) -> Followed:
        """Put what is new in place, tell readers, and return how far it came now. Raises ``GapError``; then nothing changed."""
        fresh = sorted(seq for seq in news.lines if seq > known.head.seq)
        if fresh and (fresh[0] != known.head.seq + 1 or len(fresh) != news.head.seq - known.head.seq):
            raise GapError
        lines = [news.lines[seq] for seq in fresh]
        texts = {
            file: text for file, text in news.texts.items() if known.files.get(file, (0,))[0] < text.modified
        }
        gone = {file for file in news.gone if known.files.get(file, (news.revision + 1,))[0] <= news.revision}
        files = {file: pair for file, pair in known.files.items() if file not in gone}
        if known.boot == _boot() and not (texts or gone or lines):  # nor is there anything to write
            return replace(
                known,
                revision=max(known.revision, news.revision),
                head_modified=max(known.head_modified, news.head_modified),
            )
        if len(texts) + len(gone) + len(lines) > 1:
            self._mark()
        end = known.place()
        if lines:  # first: readers that follow the journal need no file
            records = [news.records[seq] for seq in fresh] if news.records else None
            end = self._local.journal.extend(lines, end, records)
            self._publish(end)
        for file, text in texts.items():
            files[file] = text.modified, _files.digest(text.raw)
            self._write(self._local.path(file), text.raw, rested=True)
        for file in gone:
            with suppress(FileNotFoundError):
                os.unlink(self._local.path(file))
        head, modified = (news.head, news.head_modified) if lines else (known.head, known.head_modified)
        crc = end.crc.decode()
        position = end.segment, end.offset, end.revision, crc, end.counted
        now = Followed(
            max(known.revision, news.revision),
            head,
            max(modified, news.head_modified),
            position,
            files,
            _boot(),
        )
        self._save(now)
        with suppress(FileNotFoundError):
            os.unlink(self.signs.mark)
        return now

    def _save(self, followed: Followed) -> None:
        data: dict[str, Any] = {"v": FORMAT}
        data.update((name, getattr(followed, name)) for name in Followed.__slots__)
        raw = json.dumps(data).encode()
        self._write(self.signs.record, raw)
        self._record = raw, followed

    def _mark(self) -> None:
        """Say that what is here does not belong together until it is taken away again."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            os.close(os.open(self.signs.mark, flags, 0o644))
        except FileExistsError:  # of one who died, or no file at all
            self._write(self.signs.mark, b"")

    def _write(self, path: str, raw: bytes, rested: bool = False) -> None:
        temporary = f"{path}.{os.getpid()}.new"
        with open(temporary, "wb", opener=_files.closed) as file:
            _files.share(file.fileno(), os.path.dirname(path))
            file.write(raw)
        if rested:  # no half of a save, so readers need not wait; and not for editors
            then = time.time() - RESTED_S
            os.utime(temporary, (then, then))
            os.chmod(temporary, 0o444)
        os.replace(temporary, path)

    def _publish(self, end: Position) -> None:
        with suppress(OSError):  # readers then see the files by looking at them
            _generation.publish(self._local.generation_path, end.revision, end.segment, end.offset)


def _followed(raw: bytes) -> Followed:
    data = json.loads(raw)
    if data.pop("v") != FORMAT:
        raise ValueError
    data["head"] = Head(*data["head"])
    data["position"] = tuple(data["position"])
    data["files"] = {file: tuple(pair) for file, pair in data["files"].items()}
    return Followed(**data)


def _boot() -> str:
    from paramstore._clock import SYSTEM

    return SYSTEM.uptime()[0]
