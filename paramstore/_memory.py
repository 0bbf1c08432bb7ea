"""What the journal comes to, kept in ``.paramstore/`` so that nobody has to read all of it to know.

A cache: delete it at any time and nothing is lost but the seconds in which the journal is read again. It is believed
only where the journal still is what it was made from: every earlier segment has its size and its last line, the place
up to which it was read still is one, and nothing after that takes back what is in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from paramstore import _files, _records, _sidecar
from paramstore._history import Written, apply
from paramstore._journal import START, Journal, Position, taken_back, without_aborted
from paramstore._ledger import Ledger

FORMAT = 4
SAVED_AFTER = 500  # lines that are read anew before it is worth keeping them
UNSETTLED_BYTES = (
    128 * 1024
)  # at the end of the journal: git puts lines of others before ours there, and the cache would be void


class Memory:
    """What stands in a journal up to ``position``. ``after``: file → hash that the journal last gave it; ``last``: the
    newest record; ``joined``: another history was joined, so a file that ``after`` lacks may be as the merge left it."""

    def __init__(self) -> None:
        self.position = START
        self.after: dict[str, str | None] = {}
        self.written: Written = {}
        self.ledger = Ledger()
        self.last: dict[str, Any] | None = None
        self.joined = False
        self.gone: set[Any] = (
            set()
        )  # ids that were taken back; joined histories may both take back one that they share
        self.aborted = False  # the last lines that were read take back something from before them

    def become(self, other: Memory) -> None:
        """Know what ``other`` knows, which is not used after that."""
        vars(self).update(vars(other))

    def absorb(self, record: dict[str, Any]) -> None:
        """Take note of a record that stands."""
        self.last = record
        self.ledger.absorb(record)
        apply(self.written, record)
        said = _records.SAID in record  # a line of another history: its files may never have stood here
        if record["kind"] == "merge" or said:
            self.after = {}  # what stood in the files when two histories were joined, none of their entries says
            self.joined = not record["files"] or said
        for file, sums in () if said else record["files"].items():
            self.after[file] = sums["after"]

    def lacks(self, files: Iterable[str]) -> bool:
        """Tell whether one of ``files`` may stand as a merge left it: no entry since then says what is in it."""
        return self.joined and any(file not in self.after for file in files)

    def read_on(self, journal: Journal, stop: Position | None = None) -> int:
        """Take note of what came after ``position`` (up to ``stop``); return how many lines that were. Should they take back
        anything from before, ``aborted`` says so, and nothing in here is to be believed."""
        count = 0
        for lines, end in journal.parts(self.position, stop):
            known = self.gone | {record["id"] for record in lines}
            self.gone |= taken_back(lines)
            self.aborted = self.last is not None and not self.gone <= known
            if self.aborted:
                break
            self._take_in(without_aborted(lines), end)
            count += len(lines)
        return count

    def _take_in(self, records: Iterable[dict[str, Any]], end: Position) -> None:
        for record in records:
            self.absorb(record)
        self.position = end

    def plain(self, journal: Journal) -> tuple[Any, ...]:
        ledger = self.ledger.plain()
        words = (
            self.position.plain(),
            self.after,
            self.written,
            ledger,
            self.last,
            self.joined,
            sorted(self.gone, key=str),
        )
        return FORMAT, _before(journal, self.position.segment), words

    @classmethod
    def of_plain(cls, data: Any, journal: Journal) -> Memory | None:
        """Return what ``plain`` gave, if the journal still is what it was made from."""
        if not isinstance(data, tuple) or data[:1] != (FORMAT,):
            return None
        _, before, (place, after, written, ledger, last, joined, gone) = data
        position = Position(*place)
        if before != _before(journal, position.segment) or not journal.holds(position):
            return None
        memory = cls()
        memory.position, memory.after, memory.written = position, after, written
        memory.ledger, memory.last, memory.joined = Ledger.of_plain(ledger), last, joined
        memory.gone = set(gone)
        return memory


def recall(
    path: str, journal: Journal, saved_after: int = SAVED_AFTER, unsettled: int = UNSETTLED_BYTES
) -> Memory:
    """Return what the journal comes to: from the cache at ``path`` and what was appended since, else from all of it.

    Raises ``JournalError`` and ``OSError``.
    """
    memory = Memory.of_plain(_sidecar.load(path), journal) or Memory()
    place = journal.place_before_end(unsettled)
    if place is not None and place > (memory.position.segment, memory.position.offset):
        new = memory.read_on(journal, Position(*place, 0))
        if new >= saved_after and not memory.aborted:
            _save(memory, path, journal)
    if not memory.aborted:
        memory.read_on(journal)
    if memory.aborted:
        memory = Memory()
        lines, end = journal.lines(START)
        memory.gone = taken_back(lines)
        memory._take_in(without_aborted(lines), end)
    return memory


def _save(memory: Memory, path: str, journal: Journal) -> None:
    try:
        _files.make_runtime(os.path.dirname(path))
        _sidecar.save(path, memory.plain(journal))
    except (OSError, ValueError):
        pass  # no write permission, or evidence nested deeper than the cache can hold


def _before(journal: Journal, segment: int) -> list[tuple[int, int, bytes]]:
    """Return size and end of each segment before ``segment``."""
    found = []
    for other in journal.segments():
        if other < segment:
            with open(journal.file(other), "rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size - 11))
                found.append((other, size, stream.read(11)))
    return found
