"""Two versions of a journal segment, joined after a git merge. Pure: bytes in, bytes out.

No line is changed and none is left out: ours stand as they are, the entries that only theirs has follow in their order,
and a ``merge`` entry after them says which these are. A revision is counted on reading (``_records.number``), so it is
unambiguous at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paramstore import _records

if TYPE_CHECKING:
    from paramstore._clock import Clock
    from paramstore._model import Entry

Say = Callable[[int, list[str]], "Entry"]  # revision that stands, ids of what joined -> the merge entry


def saying(why: str, clock: Clock, count: int | None = None) -> Say:
    """Return what makes the merge entry: how many entries joined (or ``count``), and ``why`` (the rest of the clause)."""
    from paramstore._clock import utc_text
    from paramstore._model import Entry

    def say(stands: int, joined: list[str]) -> Entry:
        many = len(joined) if count is None else count
        return Entry(
            stands, os.urandom(8).hex(), utc_text(clock.now()), "merge", "paramstore",
            f"{many} {'entry' if many == 1 else 'entries'} {why}", details={"joined": joined}, uptime=clock.uptime(),
        )  # fmt: skip

    return say


def why_not(ours: bytes, theirs: bytes) -> str:
    """Say why ``join`` returned ``None``, and what a person can do."""
    mine, other = _lines(ours), _lines(theirs)
    if mine is None or other is None or _differing(mine, other):
        return (
            "a line is no journal entry, or two differ and have one id; keep every whole line of both sides, one of each "
            "id, and no markers"
        )
    return (
        "theirs takes back an entry that stands in ours; keep every whole line of both sides, and no markers, and it "
        "does not stand any more, or leave out the line of kind abort, and it does"
    )


def join(ours: bytes, theirs: bytes, say: Say) -> bytes | None:
    """Return the joined segment, or ``None`` where a line is no entry, is another one of the same id, or takes back one of
    the other side: then a person has to look."""
    mine, other = _lines(ours), _lines(theirs)
    if mine is None or other is None or _differing(mine, other):
        return None
    joining = {name: line for name, line in other.items() if name not in mine}
    if not joining:
        return ours
    if not mine:
        return theirs
    if (_taken_back(joining) - _taken_back(mine)) & mine.keys():
        return None
    return _ended([*mine.values(), *joining.values()], list(joining), say)


def ended(ours: bytes, say: Say) -> bytes | None:
    """Return a segment that was put back whole, with a ``merge`` entry that says so: without it the last entry, whose values
    are not in the files, would pass for one whose writer died. ``None`` where a line is no entry."""
    mine = _lines(ours)
    return None if mine is None else _ended(list(mine.values()), [], say)


def _ended(lines: list[bytes], joined: list[str], say: Say) -> bytes:
    stands = before = None
    for line in lines:
        record = _records.parse(line)
        assert record is not None
        stands, before = _records.number(record, stands, before), record["id"]
    _, last = _records.encode(say(stands or 0, joined))
    return b"".join([*lines, last])


def _differing(mine: dict[str, bytes], other: dict[str, bytes]) -> bool:
    """Tell whether an entry is another one on the other side: either would be lost."""
    return any(_bare(mine[name]) != _bare(line) for name, line in other.items() if name in mine)


def _bare(line: bytes) -> bytes:
    return line.rstrip(b"\r\n")  # git may change how lines end


def _taken_back(lines: dict[str, bytes]) -> set[Any]:
    """Return the ids of the entries that an abort among ``lines`` takes back."""
    records = [_records.parse(line) for line in lines.values()]
    return {r["evidence"].get("aborts") for r in records if r is not None and r["kind"] == "abort"}


def _lines(raw: bytes) -> dict[str, bytes] | None:
    """Return the lines by the ids of their entries, or ``None`` if one is no whole entry, or not the only one of its id."""
    found: dict[str, bytes] = {}
    for line in raw.splitlines(keepends=True):
        record: dict[str, Any] | None = _records.parse(line)
        if record is None or not line.endswith(b"\n"):
            return None
        if _bare(found.setdefault(record["id"], line)) != _bare(line):
            return None
    return found
