"""A journal's lines, each known by its head alone and parsed only when it is used. Pure.

Parsing is most of what reading a long journal costs. What a question about the past must know of every line (its
revision, whether it stands, when it was made and by whom) stands at the beginning of it, and what it changed can be
cut out. A line that is written in any other way than ``_records.encode`` does is parsed at once instead.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from paramstore import _records
from paramstore._clock import utc_text
from paramstore._history import At, Written, apply_items
from paramstore.errors import JournalError

Place = tuple[str, At]
_TEXT = rb'"(?:[^"\\]|\\.)*"'
HEAD = re.compile(
    rb'\{"v":1,"revision":(0|[1-9]\d{0,17}),"id":"([^"\\/\x00-\x1f\x7f]{0,64})","time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)",'
    rb'"kind":"([a-z]+)","author":(' + _TEXT + rb'),"reason":'
)
KEY = re.compile(rb'\{"key":(' + _TEXT + rb")")
KINDS = {kind.encode(): kind for kind in ("commit", "external", "rollback", *sorted(_records.VALUELESS))}
_MARK, _CHANGES, _FILES = b',"crc":"', b'"changes":[', b'],"files":{'
_TAIL = len(b',"crc":"00000000"}\n')


class Line:
    """One line that stands in the journal: ``revision`` as counted there, and its ``kind``."""

    __slots__ = ("_data", "_head", "_said", "kind", "raw", "revision")

    def __init__(self, raw: bytes, revision: int, said: int, kind: str, head: re.Match[bytes] | None) -> None:
        self.raw = raw
        self.revision = revision
        self.kind = kind
        self._said = said
        self._head = head
        self._data: dict[str, Any] | None = None

    @classmethod
    def of(cls, record: dict[str, Any]) -> Line:
        """Return the line of a parsed record, which already has its revision in the journal."""
        line = cls(
            b"", record["revision"], record.get(_records.SAID, record["revision"]), record["kind"], None
        )
        line._data = record
        return line

    @property
    def id(self) -> str:
        return self._head[2].decode() if self._head is not None else str(self.record["id"])

    @property
    def time(self) -> str:
        """When it was made, as text that sorts by time."""
        return self._head[3].decode() if self._head is not None else sortable(self.record["time"])

    @property
    def author(self) -> str:
        return str(json.loads(self._head[5])) if self._head is not None else str(self.record["author"])

    @property
    def record(self) -> dict[str, Any]:
        """The plain data of the whole line. Raises ``JournalError`` for what no entry may be."""
        if self._data is not None:
            return self._data
        record = _records.parse(self.raw)
        if record is None:
            place = f"entry {self.id} of revision {self.revision}"
            raise JournalError("journal", "is no journal entry. Correct or restore the line", place=place)
        if self.revision != self._said:
            record["revision"], record[_records.SAID] = self.revision, self._said
        return record

    @property
    def items(self) -> Sequence[dict[str, Any]]:
        """What the line changed, as the journal has it. Raises ``JournalError``."""
        if self._data is None:
            region = self.region
            if region is not None and region.count(b"[") + region.count(b"{") <= _records.MOST_LEVELS:
                if not region:
                    return ()
                try:
                    items: list[dict[str, Any]] = _records.plain_data(b"[" + region + b"]")
                except ValueError:  # cut too late: only the whole line tells where they end
                    items = self.record["changes"]
                if all(map(_records.is_item, items)):
                    return items
        changes: list[dict[str, Any]] = self.record["changes"]
        return changes

    def only_place(self, places: dict[bytes, Place | None]) -> Place | None:
        """Return the key and context of the only value that the line gives; ``None`` where it may be otherwise."""
        region = self.region if self._data is None else None
        if region is None:
            return None
        text, _, rest = region.partition(b',"old":')
        if b',"new":' not in rest or b"{" in rest:  # a removal, a second change, or a table
            return None
        try:
            return places[text]
        except KeyError:
            places[text] = found = _place(text)
            return found

    @property
    def region(self) -> bytes | None:
        """The text of the changes (or of more than them), or ``None`` where only a parser can tell which it is.

        Quotes inside strings are escaped, so what looks like the member ``changes`` is one: the entry's own, if there
        is no other in evidence or details.
        """
        raw = self.raw
        start = raw.find(_CHANGES)
        end = raw.rfind(_FILES, start)  # the last: one inside a value would cut off what follows
        if start < 0 or end < 0 or raw.find(_CHANGES, start + 1) >= 0:
            return None
        return raw[start + len(_CHANGES) : end]


class Outline:
    """Makes lines of raw ones, one after the other, and leaves out what was taken back."""

    def __init__(self, stands: int | None = None, last: str = "") -> None:
        """Begin where a journal begins, or after the line with id ``last``, where revision ``stands`` stood."""
        self._lines: list[Line] = []
        self._aborted: set[Any] = set()
        self._stands = stands
        self._last_abort = (0, last)  # lines before it, and its id

    def take(self, raw: bytes) -> bool:
        """Take in the next line, with its newline; tell whether it is a whole entry."""
        head = HEAD.match(raw)
        mark = len(raw) - _TAIL
        if (
            head is None
            or raw[mark : mark + 8] != _MARK
            or raw[-3:] != b'"}\n'
            or not raw.isascii()
            or b"%08x" % zlib.crc32(raw[:mark]) != raw[-11:-3]
        ):
            return self._take_parsed(raw)
        kind = KINDS.get(head[4])
        if kind is None:
            return self._take_parsed(raw)
        said = int(head[1])
        if self._stands is not None and said == self._stands + 1 and kind not in _records.VALUELESS:
            revision = self._stands = said
        else:
            revision = self._number({"revision": said, "kind": kind}, None)
        self._lines.append(Line(raw, revision, said, kind, head))
        return True

    def _take_parsed(self, raw: bytes) -> bool:
        record = _records.parse(raw) if raw.endswith(b"\n") else None
        if record is None:
            return False
        if record["kind"] == "abort":
            self._number(record, self._last_id())
            self._aborted.add(record["evidence"].get("aborts"))
            self._last_abort = len(self._lines), record["id"]
        else:
            self._number(record, None)
            self._lines.append(Line.of(record))
        return True

    def _last_id(self) -> str | None:
        lines, abort = self._last_abort
        return self._lines[-1].id if len(self._lines) > lines else abort or None

    def _number(self, record: dict[str, Any], before: str | None) -> int:
        self._stands = _records.number(record, self._stands, before)
        revision: int = record["revision"]
        return revision

    @property
    def end(self) -> tuple[int | None, str]:
        """The revision that stands now, and the id of the last line: where another outline may go on."""
        return self._stands, self._last_id() or ""

    @property
    def lines(self) -> list[Line]:
        """The entries so far, those that were taken back as well."""
        return self._lines

    @property
    def aborted(self) -> set[Any]:
        """The ids of what was taken back so far, which may be of entries before the first line."""
        return self._aborted

    def standing(self) -> list[Line]:
        """Return the lines so far that stand, oldest first."""
        if not self._aborted:
            return self._lines
        return [line for line in self._lines if line.id not in self._aborted]


def replayed(lines: Iterable[Line], until: int | None = None) -> Written:
    """Return every value that stood at revision ``until`` (all of them: now): what ``_history.replay`` returns.

    Of the lines that give one value, only the last one of each is parsed.
    """
    written: Written = {}
    places: dict[bytes, Place | None] = {}  # by their text
    for line in lines:
        if until is not None and line.revision > until:
            break
        place = line.only_place(places)
        if place is not None:
            written[place] = line
        else:
            apply_items(written, line.items)
    for place, value in written.items():
        if type(value) is Line:
            written[place] = value.items[0]["new"]
    return written


def _place(text: bytes) -> Place | None:
    try:
        item = json.loads(text + b"}")
    except (ValueError, RecursionError):
        return None
    if not _records.is_item(item) or item.keys() - {"key", "context"}:
        return None
    return item["key"], tuple(sorted(item.get("context", {}).items()))


def keys_of(line: Line) -> Iterable[str]:
    """Return keys that the line may have changed: all that it did, and maybe others. Cheap."""
    region = line.region
    if region is None or line._data is not None:
        return [item["key"] for item in line.record["changes"]]
    found = KEY.findall(region)
    if len(found) != region.count(b'"key":'):  # in another order than ours, or inside a value
        return [item["key"] for item in line.items]
    try:
        return [_key(text) for text in found]
    except ValueError:  # no JSON, though the checksum is right
        return [item["key"] for item in line.items]


_keys: dict[bytes, str] = {}


def _key(text: bytes) -> str:
    found = _keys.get(text)
    if found is None:
        if len(_keys) > 100_000:
            _keys.clear()
        found = _keys[text] = str(json.loads(text))
    return found


def sortable(time: str) -> str:
    """Return a journal time in UTC with microseconds, as text that sorts by time."""
    if len(time) == 27 and time[-1] == "Z" and time[19] == ".":
        return time
    from datetime import UTC, datetime

    moment = datetime.fromisoformat(time)
    return utc_text((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())
