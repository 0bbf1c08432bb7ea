"""The journal on disk: JSON lines, only ever appended to, in segments named by their first revision.

``path`` is either a directory of segments (``params/journal/00000001.jsonl``) or one ``.jsonl`` file of
the user's choice, which then is the only segment. Lines that are not whole entries at the very end are a
write that a crash tore: ``repair`` sets them aside before anything is appended. Anywhere else they are
damage, which only a person can judge: ``JournalError``.
"""

from __future__ import annotations

import os

from paramstore import _files, _records
from paramstore.errors import JournalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

SEGMENT_BYTES = 4 << 20
BLOCK_BYTES = 1 << 16  # how much is read at a time when looking from the end
# How much of a long journal is parsed at a time: as Python objects, its lines take ten times as much.
PART_BYTES = 1 << 16
TAIL_BYTES = len('01234567"}\n')  # of a line, from its checksum on


class Position:
    """How far a reader has come: ``segment`` (start revision), ``offset`` (bytes), ``revision`` there,
    and the last line's ``crc``, by which the same place is known again. ``counted`` is the revision from which
    the entries after the offset are counted, where that is another one."""

    __slots__ = ("counted", "crc", "offset", "revision", "segment")

    def __init__(
        self, segment: int, offset: int, revision: int, crc: bytes = b"", counted: int | None = None
    ) -> None:
        self.segment = segment
        self.offset = offset
        self.revision = revision
        self.crc = crc
        self.counted = revision if counted is None else counted

    def plain(self) -> tuple[int, int, int, bytes, int]:
        return self.segment, self.offset, self.revision, self.crc, self.counted


START = Position(0, 0, 0)


class Journal:
    """Reads and appends; holds no state but its place."""

    __slots__ = ("path", "single")

    def __init__(self, path: str) -> None:
        self.path = path
        self.single = path.endswith(".jsonl")

    def segments(self) -> list[int]:
        """Return the start revisions of all segments, ascending."""
        if self.single:
            return [0] if os.path.exists(self.path) else []
        stems = (name.removesuffix(".jsonl") for name in _files.names(self.path, ".jsonl"))
        numbers = (
            int(stem) for stem in stems if stem.isascii() and stem.isdigit() and stem == f"{int(stem):08d}"
        )
        return sorted(numbers)  # any other file is somebody's own

    def place_before_end(self, size: int) -> tuple[int, int] | None:
        """Return segment and offset of a place between two lines, about ``size`` bytes before the end; ``None`` in a journal
        that is shorter."""
        for segment in reversed(self.segments()):
            with open(self.file(segment), "rb") as stream:
                whole = stream.seek(0, os.SEEK_END)
                if whole > size:
                    stream.seek(whole - size - 1)
                    stream.readline()
                    return segment, stream.tell()
                size -= whole
        return None

    def file(self, segment: int) -> str:
        return self.path if self.single else f"{self.path}/{segment:08d}.jsonl"

    def read(self, start: Position, end: Position | None = None) -> tuple[list[dict[str, Any]], Position]:
        """Return the entries after ``start``, aborted ones and their aborts left out, and the new position.

        Reading stops at ``end`` (what a publisher announced) or before a last line that is not whole
        yet. Raises ``JournalError`` for damage in the middle, or when ``start`` is no longer a place in
        this journal.
        """
        records, position = self.lines(start, end)
        return without_aborted(records), position

    def lines(self, start: Position, end: Position | None = None) -> tuple[list[dict[str, Any]], Position]:
        """Return what ``read`` does, but every line: aborted entries and their aborts too."""
        records: list[dict[str, Any]] = []
        position = start
        stands = start.counted if start.offset else None
        for segment in self.segments():
            if segment < start.segment:
                continue
            begin = start.offset if segment == start.segment else 0
            stop = end.offset if end is not None and segment == end.segment else None
            position, stands = self._read_segment(segment, begin, stop, (position, stands), records)
            if stop is not None:
                break
        return records, position

    def following(self, start: Position, end: Position) -> tuple[list[dict[str, Any]], Position] | None:
        """Return what ``lines`` does, by one short read, which also shows that ``start`` still is a place in this journal;
        ``None`` where it cannot: ``end`` is in another segment or far away."""
        size = end.offset - start.offset
        if start.segment != end.segment or start.offset < TAIL_BYTES or not 0 < size <= PART_BYTES:
            return None
        fd = os.open(self.file(start.segment), os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = os.pread(fd, TAIL_BYTES + size, start.offset - TAIL_BYTES)
        finally:
            os.close(fd)
        if not _ends_with(raw[:TAIL_BYTES], start.crc):
            return None
        records: list[dict[str, Any]] = []
        before = start, start.counted
        return records, self._parse(start.segment, start.offset, raw[TAIL_BYTES:], before, records)[0]

    def parts(
        self, start: Position, end: Position | None = None
    ) -> Iterator[tuple[list[dict[str, Any]], Position]]:
        """Yield what ``lines`` returns as far as the journal goes now, about ``PART_BYTES`` at a time; the last part may be
        empty. What is appended meanwhile, or brought back by git, is not waited for: it may be megabytes."""
        sizes = [(segment, os.path.getsize(self.file(segment))) for segment in self.segments()]
        stop = (end.segment, end.offset) if end is not None else max(sizes, default=(0, 0))
        while (cut := self._cut(start, sizes)) is not None and cut < stop:
            begin = start.segment, start.offset
            lines, start = self.lines(start, Position(*cut, 0))
            if (start.segment, start.offset) <= begin:  # nor is it torn, as others follow
                raise self._damaged(*max(begin, (cut[0], 0)))
            yield lines, start
        yield self.lines(start, Position(*stop, 0)) if (start.segment, start.offset) < stop else ([], start)

    def _cut(self, start: Position, sizes: list[tuple[int, int]]) -> tuple[int, int] | None:
        """Return segment and offset at which a part that begins at ``start`` ends; ``None`` if the journal ends sooner. It ends
        before no abort, which belongs to the line before it."""
        for segment, size in sizes:
            begin = start.offset if segment == start.segment else 0
            if segment < start.segment or size <= begin + PART_BYTES:
                continue
            with open(self.file(segment), "rb") as stream:
                stream.seek(begin + PART_BYTES)
                stop = begin + PART_BYTES + len(stream.readline())
                for line in stream:
                    record = _records.parse(line)
                    if record is None or record["kind"] != "abort":
                        return segment, stop
                    stop += len(line)
        return None

    def _read_segment(
        self,
        segment: int,
        begin: int,
        stop: int | None,
        before: tuple[Position, int | None],
        records: list[dict[str, Any]],
    ) -> tuple[Position, int | None]:
        with open(self.file(segment), "rb") as stream:
            stream.seek(begin)
            raw = stream.read() if stop is None else stream.read(stop - begin)
        return self._parse(segment, begin, raw, before, records)

    def _parse(
        self,
        segment: int,
        begin: int,
        raw: bytes,
        before: tuple[Position, int | None],
        records: list[dict[str, Any]],
    ) -> tuple[Position, int | None]:
        position, stands = before
        offset, revision, crc = begin, position.revision, position.crc if begin else b""
        lines = raw.splitlines(keepends=True)
        for number, line in enumerate(lines):
            record = _records.parse(line) if line.endswith(b"\n") else None
            if record is None:
                if number == len(lines) - 1 and not (line.endswith(b"\n") and _records.is_sound(line)):
                    break  # being written, or torn by a crash
                raise self._damaged(segment, offset)
            last = None
            if record["kind"] == "abort" and stands is not None:
                last = records[-1]["id"] if records else self._last_id(position)
            records.append(record)
            offset += len(line)
            revision = stands = _records.number(record, stands, last)
            crc = line[-11:-3]
        return Position(segment, offset, revision, crc, stands), stands

    def _damaged(self, segment: int, offset: int) -> JournalError:
        return JournalError(
            self.file(segment),
            f"the line at byte {offset} is not a journal entry (damaged, a merge conflict, or of a newer version). Writers "
            "refuse to go on; restore the file with `git checkout` or resolve the conflict line by line",
        )

    def _last_id(self, position: Position) -> str:
        """Return the id of the entry that ends at ``position``."""
        with open(self.file(position.segment), "rb") as stream:
            block = BLOCK_BYTES
            while True:
                begin = max(0, position.offset - block)
                stream.seek(begin)
                found = _last_entry(stream.read(position.offset - begin), begin)
                if found is not None or begin == 0:
                    return found[1]["id"] if found is not None else ""
                block *= 8

    def holds(self, position: Position) -> bool:
        """Tell whether ``position`` still is a place in this journal (git may have replaced the file)."""
        if position.offset == 0:
            return True
        try:
            with open(self.file(position.segment), "rb") as stream:
                stream.seek(max(0, position.offset - TAIL_BYTES))
                return _ends_with(stream.read(TAIL_BYTES), position.crc)
        except OSError:
            return False

    def tail(self) -> tuple[Position, dict[str, Any] | None]:
        """Return the position after the last whole entry, and that entry, reading only the end of the
        last segment."""
        for segment in reversed(self.segments()):
            with open(self.file(segment), "rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                block = BLOCK_BYTES
                while True:
                    begin = max(0, size - block)
                    stream.seek(begin)
                    found = _last_entry(stream.read(size - begin), begin)
                    if found is not None:
                        end, record, crc = found
                        return Position(segment, end, _records.number(record, None), crc), record
                    if begin == 0:
                        break
                    block *= 8
        return START, None

    def before(self, record: dict[str, Any], end: Position, revision: int) -> Position | None:
        """Return the place right before the line of ``record``, where ``revision`` is to stand; ``None`` if that is not one of
        the last lines before ``end``."""
        with open(self.file(end.segment), "rb") as stream:
            begin = max(0, end.offset - BLOCK_BYTES)
            stream.seek(begin)
            raw = stream.read(end.offset - begin)
        at = raw.rfind(b'"id":"%s"' % record["id"].encode())
        start = raw.rfind(b"\n", 0, max(at, 0)) + 1
        if at < 0 or (start == 0 and begin > 0):
            return None
        return Position(
            end.segment,
            begin + start,
            revision,
            raw[max(0, start - 11) : max(0, start - 3)],
            record["revision"] - 1,
        )

    def recent(self) -> list[dict[str, Any]]:
        """Return the last few hundred entries that stand, as far as the end of the last segment holds them."""
        try:
            file = self.file(self.segments()[-1])
            with open(file, "rb") as stream:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - BLOCK_BYTES))
                lines = stream.read().splitlines()
        except (OSError, IndexError):
            return []
        return without_aborted([record for line in lines if (record := _records.parse(line)) is not None])

    def append(self, line: bytes, at: Position, revision: int) -> Position:
        """Append ``line`` durably after ``at``, starting a new segment when the last is long, and return
        the position after it. Raises ``OSError``; then the journal is as it was."""
        segment, offset = self.place_after(at, len(line), revision)
        if offset == 0:  # even if it exists: whoever made it may have died before its name was on disk
            self._create(segment)
        _files.append(self.file(segment), line, offset)
        return Position(segment, offset + len(line), revision, line[-11:-3])

    def place_after(self, at: Position, size: int, revision: int) -> tuple[int, int]:
        """Return segment and offset at which a line of ``size`` bytes with this ``revision`` goes after ``at``."""
        fresh = not os.path.exists(self.file(at.segment)) or (not self.single and at.segment == 0)
        full = not self.single and at.offset + size > SEGMENT_BYTES and revision > at.segment
        if fresh or full:  # a segment never starts at the revision at which one started already
            return 0 if self.single else max(1, revision), 0
        return at.segment, at.offset

    def extend(
        self, lines: Sequence[bytes], at: Position, records: Sequence[dict[str, Any]] | None = None
    ) -> Position:
        """Append lines that were a journal's already after ``at``, as they are, and return where it ends then. ``records`` is
        what they say, where that is known. Not durable: whoever takes over a whole journal syncs it in the end, or can make it
        anew."""
        stands, before = at.counted if at.offset else None, None
        opened = -1
        fd = -1
        try:
            for number, line in enumerate(lines):
                record = _sound(line) if records is None else records[number]
                said = record.get(_records.SAID, record["revision"])
                if record["kind"] == "abort" and stands is not None:
                    before = before or self._last_id(at)
                segment, offset = self.place_after(at, len(line), said)
                if segment != opened:
                    if fd >= 0:
                        os.close(fd)
                    fd, opened = self._opened(segment, offset), segment
                os.pwrite(fd, line, offset)
                stands, before = _records.number(record, stands, before), record["id"]
                at = Position(segment, offset + len(line), stands, line[-11:-3])
        finally:
            if fd >= 0:
                os.close(fd)
        return at

    def _opened(self, segment: int, offset: int) -> int:
        folder = os.path.dirname(self.file(segment))
        if offset == 0:
            _files.make_folder(folder)
        fd = os.open(self.file(segment), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if offset == 0:
            _files.share(fd, folder)
        return fd

    def _create(self, segment: int) -> None:
        folder = os.path.dirname(self.file(segment))
        _files.make_folder(folder)
        fd = os.open(self.file(segment), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _files.share(fd, folder)
        finally:
            os.close(fd)
        _files.fsync_directory(folder)

    def end_last_line(self) -> None:
        """Give a last line that lacks nothing but its end that end. Under the lock.

        Torn right before it, it is a whole entry; and an editor may have taken it from one that was acknowledged. Zeros in
        its place are what a power failure leaves of this very step.
        """
        for segment in self.segments()[-1:]:
            with open(self.file(segment), "rb") as stream:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
                if stream.read() in (b"", b"\n"):
                    return
                stream.seek(0)
                raw = stream.read().rstrip(b"\0")
            if _records.is_sound(raw.rpartition(b"\n")[2]):
                fd = os.open(self.file(segment), os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.pwrite(fd, b"\n", len(raw))
                    os.ftruncate(fd, len(raw) + 1)
                    os.fsync(fd)
                finally:
                    os.close(fd)

    def repair(self, at: Position) -> str | None:
        """Set the bytes after ``at`` aside, in a ``.torn`` file beside the segment, and cut them off.

        Only for a torn last line, under the lock. Returns the name of the file that keeps them. Raises ``JournalError`` where
        whole lines are among them: then git has brought them since the end was looked for.
        """
        file = self.file(at.segment)
        try:
            with open(file, "rb") as stream:
                stream.seek(at.offset)
                torn = stream.read()
        except FileNotFoundError:
            return None
        if not torn:
            return None
        if any(map(_records.is_sound, torn.splitlines())):
            raise JournalError(file, "entries came while it was read. Nothing was written; try again")
        keep = f"{file}.{at.offset}.{_files.digest(torn)[:8]}.torn"
        if os.path.exists(keep):
            os.unlink(keep)  # of someone who died while setting the same bytes aside
        _files.write_new(keep, torn, None)
        _files.fsync_directory(os.path.dirname(file))
        fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, at.offset)
            os.fsync(fd)
        finally:
            os.close(fd)
        return keep


def _ends_with(tail: bytes, crc: bytes) -> bool:
    return tail[:8] == crc and tail.endswith(b"\n")  # git may have changed line ends


def _sound(line: bytes) -> dict[str, Any]:
    record = _records.parse(line)
    assert record is not None
    return record


def _last_entry(raw: bytes, begin: int) -> tuple[int, dict[str, Any], bytes] | None:
    end = raw.rfind(b"\n")
    while end >= 0:
        start = raw.rfind(b"\n", 0, end) + 1
        if start == 0 and begin > 0:
            return None  # the line begins before this block
        line = raw[start : end + 1]
        record = _records.parse(line)
        if record is not None:
            return begin + end + 1, record, line[-11:-3]
        end = start - 1
    return None


def without_aborted(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records that stand: neither aborts nor what they took back."""
    aborted = taken_back(records)
    return [r for r in records if r["kind"] != "abort" and r["id"] not in aborted]


def taken_back(records: list[dict[str, Any]]) -> set[Any]:
    """Return the ids of the records that aborts among ``records`` take back."""
    return {record["evidence"].get("aborts") for record in records if record["kind"] == "abort"}
