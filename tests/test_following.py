"""A reader that follows the journal reads what is new by one short read, and only where it still is the same journal."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from local_store import write_store

from paramstore import ParamStore, _journal
from paramstore._journal import START, Journal, Position
from paramstore.testing import SCHEMAS, VALUES


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_journal, "SEGMENT_BYTES", 1500)
    made = write_store(tmp_path / "store", SCHEMAS, VALUES)
    for value in range(40, 48):
        step(made, value)
    return made


def step(root: Path, value: int) -> None:
    with ParamStore(root, environ={}).transaction(author="learner") as tx:
        tx["gate.trades"] = value


def places(journal: Journal) -> list[Position]:
    """The end of each line."""
    found = []
    for segment in journal.segments():
        at = 0
        for line in Path(journal.file(segment)).read_bytes().splitlines(keepends=True):
            at += len(line)
            found.append(journal.lines(START, Position(segment, at, 0))[1])
    return found


def test_it_reads_what_lines_does(root: Path) -> None:
    journal = Journal(f"{root}/params/journal")
    ends = places(journal)
    assert len(journal.segments()) > 2
    short = 0
    for start, end in combinations(ends, 2):
        found = journal.following(start, end)
        if start.segment == end.segment:
            lines, position = journal.lines(start, end)
            assert found is not None and found[0] == lines and found[1].plain() == position.plain()
            short += 1
        else:
            assert found is None
    assert short > 3
    assert journal.following(START, ends[0]) is None and journal.following(ends[0], ends[0]) is None


def test_it_reads_nothing_where_another_journal_stands(root: Path) -> None:
    journal = Journal(f"{root}/params/journal")
    start, end = next((a, b) for a, b in combinations(places(journal), 2) if a.segment == b.segment)
    file = Path(journal.file(start.segment))
    raw = file.read_bytes()
    at = start.offset - _journal.TAIL_BYTES
    other = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    for spoilt in (other, raw[: start.offset - 1] + b" " + raw[start.offset :], raw[: start.offset - 5], b""):
        file.write_bytes(spoilt)
        assert journal.following(start, end) is None and not journal.holds(start)
    file.write_bytes(raw[: end.offset - 3])
    found = journal.following(start, end)
    assert found is not None and found[1].offset < end.offset, "a last line that is not whole yet is left out"


def test_a_read_elsewhere_takes_the_short_way(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ParamStore(root, environ={})
    assert reader.get("gate.trades") == 47
    monkeypatch.setattr(_journal, "SEGMENT_BYTES", 1 << 20)
    step(root, 48)
    monkeypatch.delattr(Journal, "parts")
    assert reader.get("gate.trades") == 48
