"""The lines of a journal as they come: each is given once, and read again by its place when an answer needs it.

Given is what a reader sees. A commit writes its line before its files; until they are in place the last line may
still be taken back, so it waits. Where the journal is no longer what was given (git brought another history, an entry was
taken back), ``Replaced`` says so, and everything is given anew.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

from paramstore import _records
from paramstore._backends._follow import FOUND
from paramstore._backends.base import Backend
from paramstore._backends.local import LocalBackend
from paramstore._journal import TAIL_BYTES, Journal
from paramstore._outline import Line, Outline
from paramstore._state import State, namespace_of

PART_BYTES = 1 << 20  # read at a time: as Python objects, lines take several times as much


class Replaced(Exception):  # noqa: N818 - a signal between functions, never seen outside
    """The journal is no longer what was given of it."""


class Batch(NamedTuple):
    """Lines that came, and how much of everything was given by then, from 0 to 1."""

    lines: list[Line]
    share: float


class Lines:
    """Lines in the order of the journal, by number. One that gives what any backend has."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._records: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.waits = False  # something came that no reader sees yet: look again soon
        self.void = False  # somebody found that a line is no longer where it was

    def news(self, state: State) -> Iterator[Batch]:
        """Yield what was not given yet of what a reader of ``state`` sees. Raises ``Replaced``, and ``JournalError``."""
        if self.void:
            raise Replaced
        lines = self._backend.lines()
        known = len(self._records)
        if known and (len(lines) < known or lines[known - 1].id != self._records[-1]["id"]):
            raise Replaced
        if len(lines) > known:
            self._records += [line.record for line in lines[known:]]
            self.ids += [line.id for line in lines[known:]]
            yield Batch(lines[known:], 1.0)

    def records(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Return the plain data of those lines. Raises ``Replaced`` where one is no longer there."""
        return [self._records[number] for number in numbers]

    def again(self) -> Lines:
        """Return one that gives everything anew."""
        return Lines(self._backend)


class FileLines(Lines):
    """Lines of a journal in files: of each, its place is kept, not its text."""

    def __init__(self, backend: LocalBackend, gone: frozenset[str] = frozenset()) -> None:
        self._local = backend
        self._journal: Journal = backend.journal
        self._gone = set(gone)  # ids that were taken back
        self._segment, self._offset, self._crc = -1, 0, b""
        self._stands: int | None = None
        self._last = ""
        self._files: dict[int, tuple[Any, ...]] = {}  # what each segment was when it was read
        self._segments, self._offsets, self._lengths = array("q"), array("q"), array("I")
        self._revisions = array("q")
        self.ids = []
        self.waits = self.void = False

    def again(self) -> FileLines:
        return FileLines(self._local, frozenset(self._gone))

    def news(self, state: State) -> Iterator[Batch]:
        if self.void:
            raise Replaced
        signs = getattr(self._local, "signs", None)  # of a mirror, which is whole or being made so
        self.waits = signs is not None and signs.seen() is None
        if self.waits:
            return
        try:
            ends = self._ends()
            whole = sum(size for _, size in ends) or 1
            done = 0
            for segment, size in ends:
                if segment >= self._segment:
                    for lines, offset in self._read(segment, size, segment == ends[-1][0], state):
                        yield Batch(lines, (done + offset) / whole)
                done += size
        except FileNotFoundError:
            raise Replaced from None

    def _ends(self) -> list[tuple[int, int]]:
        """Return each segment and its size, as far as there is anything in it. Raises ``Replaced``."""
        found = []
        identities: dict[int, tuple[Any, ...]] = {}
        for segment in self._journal.segments():
            stat = os.stat(self._journal.file(segment))
            identities[segment] = _identity(stat)
            if stat.st_size:
                found.append((segment, stat.st_size))
        for segment, identity in self._files.items():
            now = identities.get(segment, ())
            if now[:2] != identity[:2] or (segment < self._segment and now != identity):
                raise Replaced
        if any(segment < self._segment and segment not in self._files for segment, _ in found):
            raise Replaced  # it came since, before what was given
        return found

    def _read(self, segment: int, size: int, is_last: bool, state: State) -> Iterator[tuple[list[Line], int]]:
        """Yield the lines of one segment after what was given, up to ``size``, and where they end."""
        with open(self._journal.file(segment), "rb") as stream:
            stat = os.fstat(stream.fileno())
            begin = self._begin(stream, segment)
            while begin < size:
                stream.seek(begin)
                raw = stream.read(min(PART_BYTES, size - begin))
                if begin + len(raw) < size:
                    raw += stream.readline()
                at_end = begin + len(raw) >= size
                lines, end = self._taken(segment, begin, raw, at_end, at_end and is_last, state)
                yield lines, end
                if end == begin:
                    break  # torn, being written, or not settled yet
                begin = end
            self._files[segment] = _identity(stat)

    def _begin(self, stream: IO[bytes], segment: int) -> int:
        """Return where to go on in a segment. Raises ``Replaced`` where that is no place in it any more."""
        if segment != self._segment:
            return 0
        if self._offset:
            stream.seek(max(0, self._offset - TAIL_BYTES))
            tail = stream.read(min(TAIL_BYTES, self._offset))
            if tail[:8] != self._crc or not tail.endswith(b"\n"):
                raise Replaced
        return self._offset

    def _taken(
        self, segment: int, begin: int, raw: bytes, at_end: bool, is_last: bool, state: State
    ) -> tuple[list[Line], int]:
        """Take in the lines of a part of a segment that begins at ``begin``; return them and where they end. Raises
        ``JournalError`` for damage amid them."""
        outline = Outline(self._stands, self._last)
        places: list[tuple[int, int]] = []
        offset, crc = begin, self._crc
        whole = raw.splitlines(keepends=True)
        for number, line in enumerate(whole):
            last = at_end and number == len(whole) - 1
            if last and is_last and not self._stands_for_sure(line, outline, segment, offset, state):
                self.waits = True
                break
            count = len(outline.lines)
            if not outline.take(line):
                if last and not (line.endswith(b"\n") and _records.is_sound(line)):
                    self.waits = is_last
                    break  # being written, or torn by a crash
                raise self._journal._damaged(segment, offset)
            places += [(offset, len(line))] * (len(outline.lines) - count)
            offset, crc = offset + len(line), line[-TAIL_BYTES:][:8]
        self._gone |= outline.aborted
        if outline.aborted and not outline.aborted.isdisjoint(self.ids):
            raise Replaced
        if offset > begin:
            self._segment, self._offset, self._crc = segment, offset, crc
            self._stands, self._last = outline.end
        return self._kept(segment, outline.lines, places), offset

    def _kept(self, segment: int, lines: list[Line], places: list[tuple[int, int]]) -> list[Line]:
        kept = []
        for line, (offset, length) in zip(lines, places, strict=True):
            if line.id in self._gone:
                continue
            self._segments.append(segment)
            self._offsets.append(offset)
            self._lengths.append(length)
            self._revisions.append(line.revision)
            self.ids.append(line.id)
            kept.append(line)
        return kept

    def _stands_for_sure(self, raw: bytes, outline: Outline, segment: int, offset: int, state: State) -> bool:
        """Tell whether a reader takes the journal's last line for what stands: it has no files, tells what was found in
        them, was announced, or its files were seen to be in place."""
        record = _records.parse(raw)
        if record is None or not record["files"] or record["kind"] in FOUND:
            return True
        said = self._local.published()
        if said is not None and (said.segment, said.offset) == (segment, offset + len(raw)):
            return True
        _records.number(record, *outline.end)
        if _records.SAID in record:
            return True
        documents = {name: document.digest for name, document in state.documents.items()}
        return all(documents.get(namespace_of(f)) == sums["after"] for f, sums in record["files"].items())

    def records(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        found = {}
        by_segment: dict[int, list[int]] = {}
        for number in numbers:
            by_segment.setdefault(self._segments[number], []).append(number)
        for segment, those in by_segment.items():
            try:
                fd = os.open(self._journal.file(segment), os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                raise Replaced from None
            try:
                for number in those:
                    found[number] = self._parsed(
                        number, os.pread(fd, self._lengths[number], self._offsets[number])
                    )
            finally:
                os.close(fd)
        return [found[number] for number in numbers]

    def _parsed(self, number: int, raw: bytes) -> dict[str, Any]:
        record = _records.parse(raw)
        if record is None or record["id"] != self.ids[number]:
            raise Replaced
        said, revision = record["revision"], self._revisions[number]
        if revision != said:
            record["revision"], record[_records.SAID] = revision, said
        return record


def _identity(stat: os.stat_result) -> tuple[Any, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def lines_of(backend: Backend) -> Lines:
    """Return what gives the lines of a backend's journal."""
    return FileLines(backend) if isinstance(backend, LocalBackend) else Lines(backend)
