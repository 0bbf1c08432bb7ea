"""A journal line and what the past comes to, at their edges: which lines are whole, which are none, and which of several
values, freezes and moments counts. Most of these are the answer to a mutant that no other test saw (scripts/proof mutations)."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from paramstore import _records
from paramstore._clock import SYSTEM
from paramstore._join import join, saying, why_not
from paramstore._ledger import RECORDED_MOST, Ledger, Touch, real_changes
from paramstore._model import ABSENT, Change, Entry, FileChange, Freeze, Violation
from paramstore._records import (
    LONGEST_REQUEST,
    LONGEST_TEXT,
    MOST_LEVELS,
    MOST_REVISION,
    change_data,
    encode,
    is_sound,
    number,
    parse,
    violation_data,
)
from paramstore.errors import JournalError, ValidationError

TIME = "2027-01-15T08:00:00.000000Z"
NOW = 1_800_000_000.0
HEAD = {"v": 1, "revision": 3, "id": "0a", "time": TIME, "kind": "commit", "author": "a", "reason": "r"}
PLAIN: dict[str, Any] = {**HEAD, "evidence": {}, "changes": [], "files": {}}


def line(record: Any, end: bytes = b"\n") -> bytes:
    """Write any record with its right checksum."""
    text = json.dumps(record, separators=(",", ":")).encode()[:-1]
    return text + b',"crc":"%08x"}' % zlib.crc32(text) + end


# --- writing ------------------------------------------------------------------------------------


def test_a_change_as_the_journal_has_it() -> None:
    assert change_data(Change("n.x", 1.0, 2.0)) == {"key": "n.x", "old": 1.0, "new": 2.0}
    assert change_data(Change("n.x", ABSENT, [1], {"s": "B"})) == {
        "key": "n.x",
        "context": {"s": "B"},
        "new": [1],
    }
    full = Change("n.x", 1.0, ABSENT, {}, 3.0, "maximum", ("max_step", "owner"))
    assert change_data(full) == {
        "key": "n.x", "old": 1.0, "requested": 3.0, "bound_by": "maximum", "overrode": ["max_step", "owner"],
    }  # fmt: skip
    assert type(change_data(full)["overrode"]) is list


def test_a_violation_as_the_journal_has_it() -> None:
    assert violation_data(Violation("n.x", "maximum", "text", 11.0, {"s": "B"}, (0.0, None))) == {
        "key": "n.x", "rule": "maximum", "requested": 11.0, "context": {"s": "B"}, "allowed": [0.0, None],
    }  # fmt: skip
    assert violation_data(Violation("n.x", "type", "text", float("nan"))) == {
        "key": "n.x", "rule": "type", "requested": "nan", "text": "text",
    }  # fmt: skip
    longest = "x" * (LONGEST_REQUEST - 2)  # with its quotes
    assert violation_data(Violation("n.x", "type", "t", longest))["requested"] == longest
    cut = violation_data(Violation("n.x", "type", "t", longest + "x"))["requested"]
    assert len(cut) < 100 and cut.startswith("'xxx")


def test_a_long_text_is_cut_and_says_so() -> None:
    for length, kept in ((LONGEST_TEXT, "t" * LONGEST_TEXT), (LONGEST_TEXT + 1, "t" * LONGEST_TEXT + "…")):
        assert violation_data(Violation("n.x", "type", "t" * length))["text"] == kept


def test_an_entry_is_read_as_it_was_written() -> None:
    changes = (
        Change("n.x", 1.0, 2.0, {"s": "B"}, 3.0, "maximum", ("owner",)),
        Change("n.y", ABSENT, True, requested=True),
        Change("n.z", "ä", ABSENT, requested=ABSENT),
    )
    files = {"params/n.yaml": FileChange("00", "ff"), "params/m.yaml": FileChange(None, "ff")}
    entry = Entry(
        3, "0a", TIME, "commit", "a", "r", {"samples": 3}, changes, files, {"forced": True}, ("b", 1.25)
    )
    body, raw = encode(entry)
    assert raw.isascii() and raw.endswith(b'"}\n') and raw.count(b"\n") == 1
    record = parse(raw)
    assert record is not None and record.pop("crc") and record == body
    assert _records.entry(record) == entry
    assert raw == line(body)
    bare = Entry(0, "", TIME, "external", "a")
    body, raw = encode(bare)
    assert "details" not in body and "uptime" not in body
    assert _records.entry(parse(raw) or {}) == bare
    assert encode(Entry(0, "", TIME, "commit", "a", uptime=("b", 1.23456789)))[0]["uptime"] == ["b", 1.234568]
    with pytest.raises(ValueError, match="JSON"):
        encode(Entry(0, "", TIME, "commit", "a", evidence={"x": float("nan")}))
    with pytest.raises(TypeError):
        encode(Entry(0, "", TIME, "commit", "a", evidence={"x": {1}}))


def nested(levels: int, within: Any = None) -> Any:
    """Return lists within each other, alternating with mappings."""
    for level in range(levels):
        within = [within] if level % 2 else {"x": within}
    return within


def test_what_is_nested_too_deep_to_be_read_is_not_written() -> None:
    deep = Entry(0, "0a", TIME, "commit", "a", evidence={"x": nested(MOST_LEVELS - 2)})
    assert parse(encode(deep)[1]) is not None
    with pytest.raises(ValidationError, match="evidence is nested deeper than 200 levels"):
        encode(Entry(0, "0a", TIME, "commit", "a", evidence={"x": nested(MOST_LEVELS - 1)}))
    changes = tuple(Change(f"n.x{n}", 1.0, 2.0, {"s": "B"}) for n in range(3 * MOST_LEVELS))
    assert parse(encode(Entry(0, "0a", TIME, "commit", "a", changes=changes))[1]) is not None


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r", b"\n\n"])
def test_a_whole_line_is_one_with_any_end(end: bytes) -> None:
    assert parse(line(PLAIN, end)) == json.loads(line(PLAIN))
    assert is_sound(line(PLAIN, end))


def test_a_torn_or_changed_line_is_no_entry() -> None:
    whole = line(PLAIN)
    assert whole[-11:-3] != whole[-11:-3].upper()
    for wrong in (
        *(whole[:length] for length in range(len(whole) - 1)),
        whole.replace(b'"a"', b'"b"'),
        whole.replace(b'"crc"', b'"CRC"'),
        whole[:-11] + b"zzzzzzzz" + whole[-3:],
        whole[:-11] + whole[-11:-3].upper() + whole[-3:],  # one bit of it, and still the same number to `int`
        whole[:-3] + b'"]\n',
        whole[:-1] + b" ",  # more than the end of a line
        whole[:-1] + b"X",
        b" " + whole,
    ):
        assert parse(wrong) is None and not is_sound(wrong), wrong
    assert not is_sound(b',"crc":"00000000"}')  # nothing before it
    assert is_sound(line([])) and parse(line([])) is None


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in PLAIN.items() if key != name}


GOOD: list[dict[str, Any]] = [
    {},
    {"changes": [{"key": "n.x"}, {"key": "n.x", "context": {}, "overrode": []}]},
    {"files": {"params/f.yaml": {"before": None, "after": "ff"}, "params/g.yaml": {"after": None, "before": "00"}}},
    {"evidence": {"aborts": 5}},  # an author's own word, but for an abort
    {"kind": "abort", "evidence": {"aborts": "0a"}},
    {"kind": "abort"},
    {"kind": "no kind that is known"},
    {"details": {"until": TIME}},
    {"revision": 0},
    {"revision": MOST_REVISION},
    {"changes": [{"key": "n.x", "context": {"s": "B", "n": 1, "f": 0.5, "b": True}, "bound_by": "maximum"}]},
    {"changes": [{"key": f"n.{n}", "context": {"s": "B"}, "new": [n]} for n in range(MOST_LEVELS)]},
    {"evidence": {"x": 1.7976931348623157e308, "y": 5e-324, "z": 10**400}},
    {"evidence": nested(MOST_LEVELS - 1)},
    {"uptime": ["b", 1.5]},
    {"uptime": ["b", 1]},
    {"kind": "freeze", "details": {"pattern": "*"}},
    {"kind": "unfreeze", "details": {"pattern": "*", "ends": ["0a"]}},
    {"kind": "approve", "details": {"baselines": [{"key": "n.x"}]}},
    {"kind": "refusal", "details": {"violations": []}},
    {"kind": "merge", "details": {"joined": ["0a", "0b"]}},
    {"kind": "merge", "details": {"joined": []}},
]  # fmt: skip
BAD: list[dict[str, Any]] = [
    {"v": 2},
    {"revision": -1}, {"revision": MOST_REVISION + 1}, {"revision": 10**30},
    {"evidence": {"x": float("inf")}}, {"evidence": {"x": [float("-inf")]}}, {"details": {"x": float("nan")}},
    {"uptime": ["b", float("inf")]}, {"changes": [{"key": "n.x", "new": float("nan")}]},
    {"evidence": nested(MOST_LEVELS)}, {"changes": [{"key": "n.x", "new": nested(900)}]},
    {"changes": [{"key": "n.x", "context": {"s": "B"}, "new": 1}] * MOST_LEVELS, "evidence": nested(MOST_LEVELS)},
    {"changes": [{"key": "n.x", "context": {"s": ["B"]}}]}, {"changes": [{"key": "n.x", "context": {"s": {}}}]},
    {"changes": [{"key": "n.x", "bound_by": ["maximum"]}]}, {"changes": [{"key": "n.x", "bound_by": 5}]},
    {"kind": "freeze", "details": {"pattern": "*"}, "changes": ["boot", 15.5]},
    {"kind": "merge", "details": {"joined": []}, "changes": [5]},
    {"kind": "approve", "details": {"baselines": [{"key": "n.x", "context": {"s": []}}]}},
    {"kind": "approve", "details": {"baselines": {"n.x": 1}}},
    {"revision": 3.0}, {"revision": True}, {"id": 5}, {"kind": None}, {"author": 5}, {"reason": None},
    {"evidence": []}, {"changes": {}}, {"files": []}, {"details": []}, {"details": None},
    {"time": 5}, {"details": {"until": "soon"}}, {"details": {"until": None}},
    {"uptime": None}, {"uptime": []}, {"uptime": ["b"]}, {"uptime": ["b", "1"]}, {"uptime": [5, 1.0]}, {"uptime": {"b": 1}},
    {"uptime": ["b", 1, 2]},
    {"changes": [{}]}, {"changes": [{"key": 5}]}, {"changes": [{"key": "n.x"}, 5]},
    {"changes": [{"key": "n.x", "context": []}]}, {"changes": [{"key": "n.x", "overrode": "owner"}]},
    {"files": {"params/f.yaml": None}}, {"files": {"params/f.yaml": {"before": None}}}, {"files": {"params/f.yaml": {"before": None, "after": 5}}},
    {"files": {"params/f.yaml": {"before": None, "after": "ff", "more": "00"}}},
    {"kind": "abort", "evidence": {"aborts": 5}},
    {"kind": "freeze"}, {"kind": "freeze", "details": {"pattern": 5}}, {"kind": "unfreeze"},
    {"kind": "freeze", "details": {"pattern": "*", "ends": [5]}},
    {"kind": "unfreeze", "details": {"pattern": "*", "ends": "0a"}},
    {"kind": "unfreeze", "details": {"pattern": "*", "ends": {"0a": 1}}},
    {"kind": "approve"}, {"kind": "approve", "details": {"baselines": [5]}},
    {"kind": "approve", "details": {"baselines": [{"key": "n.x"}]}, "changes": [5]},
    {"kind": "refusal"}, {"kind": "refusal", "details": {"violations": [{}]}},
    {"kind": "merge"}, {"kind": "merge", "details": {"joined": [5]}}, {"kind": "merge", "details": {"joined": "0a"}},
    {"kind": "merge", "details": {"pattern": "*"}},
]  # fmt: skip


@pytest.mark.parametrize("parts", GOOD, ids=range(len(GOOD)))
def test_a_record_that_readers_can_use(parts: dict[str, Any]) -> None:
    record = parse(line({**PLAIN, **parts}))
    assert record is not None
    assert _records.entry(record).id == "0a"


@pytest.mark.parametrize("parts", [*BAD, *[{name: ...} for name in PLAIN]])
def test_a_record_that_no_reader_could_use_is_none_though_its_checksum_is_right(
    parts: dict[str, Any],
) -> None:
    left_out = [name for name, value in parts.items() if value is ...]
    raw = line({**PLAIN, **parts} if not left_out else without(left_out[0]))
    assert parse(raw) is None and is_sound(raw)


def test_a_number_that_is_infinite_to_python_is_no_number() -> None:
    text = line({**PLAIN, "evidence": {"x": 0.125}})
    for number_text, good in (
        (b"1e308", True),
        (b"1e999", False),
        (b"-1e999", False),
        (b"9" * 400 + b".0", False),
    ):
        body = text.replace(b"0.125", number_text).rpartition(b',"crc"')[0]
        raw = body + b',"crc":"%08x"}\n' % zlib.crc32(body)
        assert is_sound(raw) and (parse(raw) is not None) == good, number_text


# --- two journals joined ------------------------------------------------------------------------


def joined(ours: bytes, theirs: bytes) -> bytes | None:
    return join(ours, theirs, saying("joined", SYSTEM))


def test_two_entries_of_one_id_are_for_a_person_to_look_at() -> None:
    """Either would be lost without a word."""
    mine, same_id, other = line(PLAIN), line({**PLAIN, "reason": "x"}), line({**PLAIN, "id": "0b"})
    for ours, theirs in (
        (mine, same_id),
        (mine + same_id, other),
        (other, mine + same_id),
        (other + mine, same_id),
    ):
        assert joined(ours, theirs) is None
    assert "differ and have one id" in why_not(mine, same_id)
    assert "differ and have one id" in why_not(mine, mine + same_id)
    assert joined(mine, mine) == mine
    both = joined(mine, line(PLAIN, b"\r\n") + other)  # git may change how lines end
    assert both is not None and both.startswith(mine + other)


def test_a_line_with_a_checksum_in_other_letters_is_no_entry_of_a_join() -> None:
    mine = line(PLAIN)
    assert joined(mine, mine[:-11] + mine[-11:-3].upper() + mine[-3:]) is None


DATE, CLOCK = "2027-01-15", "08:00:00"
TIMES = [
    (TIME, True), (f"{DATE}T{CLOCK}Z", True), (f"{DATE}T{CLOCK}.5Z", True), (f"{DATE}T{CLOCK}+01:00", True),
    ("0001-01-01T00:00:00Z", True), ("2027-12-28T23:59:59.999999Z", True), ("2027-01-31T08:00:00Z", True),
    ("2028-02-29T08:00:00Z", True), ("2027-02-29T08:00:00Z", False), ("2027-04-31T08:00:00Z", False),
    ("0000-01-15T08:00:00Z", False), ("2027-00-15T08:00:00Z", False), ("2027-13-15T08:00:00Z", False),
    ("2027-01-00T08:00:00Z", False), ("2027-01-32T08:00:00Z", False), ("2027-01-15T24:00:00.000001Z", False),
    ("2027-01-15T08:60:00Z", False), ("2027-01-15T08:00:60Z", False), ("2027-01-15T25:00:00Z", False),
    (f"{DATE} {CLOCK}Z", False), (f"{DATE}T{CLOCK}", False), (f"{DATE}T{CLOCK}z", False), (DATE, False),
    (f"{DATE}T{CLOCK}.000000", True), (f"{DATE}T{CLOCK}.00000xZ", False), (f"{DATE}T{CLOCK}.000000z", False),
    ("2027-1-15T08:00:00Z", False), ("\uff12\uff10\uff12\uff17-01-15T08:00:00Z", False), ("20x7-01-15T08:00:00Z", False),
    ("2027-01-1xT08:00:00Z", False), ("2027-01-15T0x:00:00Z", False), ("2027-01-15T08:0x:00Z", False),
    ("2027-01-15T08:00:0xZ", False), ("2027-0x-15T08:00:00Z", False), (f"{DATE}T{CLOCK}ZZ", False), ("", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "good"), TIMES, ids=range(len(TIMES)))
def test_a_time_of_the_journal(text: str, good: bool) -> None:
    raw = line({**PLAIN, "time": text})
    assert (parse(raw) is not None) is good
    assert (parse(line({**PLAIN, "details": {"until": text}})) is not None) is good
    if good:
        Ledger([{**PLAIN, "time": text}])  # which reads it


# --- revisions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said", "stands", "before", "revision", "after"),
    [
        ("commit", 5, None, None, 5, 5),  # where the journal begins, a line is right
        ("abort", 5, None, None, 5, 4),
        ("commit", 5, 4, None, 5, 5),
        ("commit", 4, 6, None, 7, 7),  # of another history: it goes on from here
        ("commit", 9, 6, None, 9, 9),
        ("freeze", 4, 4, None, 4, 4),
        ("freeze", 2, 4, None, 4, 4),
        ("freeze", 6, 4, None, 6, 6),
        ("abort", 4, 4, None, 4, 3),
        ("abort", 4, 4, "0a", 4, 3),
        ("abort", 4, 4, "other", 4, 4),  # taken back already, on the other side
        ("abort", 2, 4, "0a", 4, 3),
    ],
)
def test_the_revision_of_a_record_in_this_journal(
    kind: str, said: int, stands: int | None, before: str | None, revision: int, after: int
) -> None:
    record: dict[str, Any] = {"revision": said, "kind": kind, "evidence": {"aborts": "0a"}}
    assert number(record, stands, before) == after
    assert record["revision"] == revision
    assert record.get(_records.SAID) == (None if revision == said else said)


# --- the ledger ---------------------------------------------------------------------------------


def at(seconds: float, **parts: Any) -> dict[str, Any]:
    """A record of so many seconds after the start, on the first boot unless it says otherwise."""
    minutes, rest = divmod(seconds, 60)
    time = f"2027-01-15T08:{int(minutes):02}:{rest:09.6f}Z"
    return {**PLAIN, "time": time, "uptime": ["boot", 100 + seconds], **parts}


def write(
    seconds: float, old: Any, new: Any, kind: str = "commit", context: Any = None, **parts: Any
) -> dict[str, Any]:
    item: dict[str, Any] = {"key": "n.x", "old": old, "new": new, **({"context": context} if context else {})}
    item = {name: value for name, value in item.items() if value is not ABSENT}
    return at(seconds, kind=kind, changes=[item], **parts)


BASE = ("n.x", ())
BTC = ("n.x", (("symbol", "BTC"),))
FORCED = {"forced": True}


def test_whose_values_are_baselines() -> None:
    ledger = Ledger([write(0, ABSENT, 1.0, "external", revision=0)])
    assert ledger.baselines == {BASE: 1.0} and ledger.changed == {}  # the journal begins: nothing changed
    for record, stands in (
        (write(1, 1.0, 2.0), 1.0),  # a learner
        (write(2, 2.0, 3.0, details=FORCED), 3.0),  # a person
        (write(3, 3.0, 4.0, "rollback", details=FORCED), 3.0),  # brings back what stood, whoever asks
        (write(4, 4.0, 5.0, "external"), 5.0),  # a person's editor
        (write(5, 5.0, 6.0, "external", details={"merged": True}), 5.0),  # whose, a merge cannot tell
        (write(6, 6.0, 6.0, "external"), 5.0),  # no change
    ):
        ledger.absorb(record)
        assert ledger.baselines[BASE] == stands
    ledger.absorb(write(7, 6.0, ABSENT, "external"))
    assert ledger.baselines == {}
    ledger.absorb(write(8, ABSENT, 7.0, "external", details={"merged": True}))  # else it would have none
    assert ledger.baselines == {BASE: 7.0}
    ledger.absorb(write(9, ABSENT, 8.0, "external", context={"symbol": "BTC"}, details={"merged": True}))
    assert ledger.baselines == {BASE: 7.0}
    ledger.absorb(at(10, kind="approve", details={"baselines": [{"key": "n.x", "value": 9.0}]}))
    assert ledger.baselines == {BASE: 9.0}


def test_a_merge_gives_a_baseline_only_to_what_it_brought() -> None:
    ledger = Ledger([write(0, 1.0, 2.0, "external", details={"merged": True})])
    assert ledger.baselines == {} and list(ledger.changed) == [BASE]


def test_a_boot_is_known_by_the_entry_with_which_it_begins_to_write() -> None:
    boots = ["one", "one", "-", "one", "two", "", "two", "one"]
    ledger = Ledger([at(index, uptime=[boot, 1.0]) for index, boot in enumerate(boots)])
    assert [(moment.boot, moment.number) for moment in ledger._boots] == [("one", 1), ("two", 5), ("one", 8)]


def test_the_baseline_around_a_context() -> None:
    order = {"symbol": 0, "regime": 1}
    ledger = Ledger()
    assert (
        ledger.baseline("n.x", {}, order) is None and ledger.baseline("n.x", {"symbol": "BTC"}, order) is None
    )
    for value, context in (
        (4.0, {"symbol": "BTC", "regime": "trend"}),
        (3.0, {"regime": "trend"}),
        (2.0, {"symbol": "BTC"}),
        (1.0, {}),
    ):
        ledger.absorb(write(0, 0.0, value, "external", context))
    ledger.absorb(at(1, kind="external", changes=[{"key": "n.y", "old": 0.0, "new": 9.0}]))
    for context, value in (
        ({}, 1.0),
        ({"symbol": "ETH"}, 1.0),
        ({"symbol": "BTC"}, 2.0),
        ({"symbol": "ETH", "regime": "trend"}, 3.0),
        ({"symbol": "BTC", "regime": "chop"}, 2.0),
        ({"symbol": "BTC", "regime": "trend"}, 4.0),
    ):
        assert ledger.baseline("n.x", context, order) == value
    assert ledger.baseline("n.z", {"symbol": "BTC"}, order) is None
    ledger.absorb(write(2, 4.0, ABSENT, "external", {"symbol": "BTC", "regime": "trend"}))
    assert ledger.baseline("n.x", {"symbol": "BTC", "regime": "trend"}, order) == 3.0  # the later dimension
    assert ledger.baseline("n.x", {"symbol": "BTC", "regime": "trend"}, {"regime": 0, "symbol": 1}) == 2.0


def test_the_latest_dimension_decides_between_baselines_of_as_many() -> None:
    ledger = Ledger()
    for value, context in ((1.0, {"b": 1, "c": 1}), (2.0, {"a": 1, "d": 1})):
        ledger.absorb(write(0, 0.0, value, "external", context))
    context = dict.fromkeys("abcd", 1)
    assert ledger.baseline("n.x", context, {name: index for index, name in enumerate("abcd")}) == 2.0
    assert ledger.baseline("n.x", context, {name: index for index, name in enumerate("dcba")}) == 2.0
    assert ledger.baseline("n.x", context, {name: index for index, name in enumerate("adcb")}) == 1.0


def test_how_long_ago_a_value_changed() -> None:
    ledger = Ledger([write(0, 1.0, 2.0)])
    assert ledger.waited_s(("n.other", ()), NOW, "boot", 0.0) == float("inf")
    assert ledger.waited_s(BASE, NOW + 999, "boot", 105.0) == 5.0  # on the same boot the uptime tells
    assert ledger.waited_s(BASE, NOW + 999, "boot", 95.0) == 0.0
    assert ledger.waited_s(BASE, NOW + 30, "next", 3.0) == 30.0  # on another the wall clock
    assert ledger.waited_s(BASE, NOW - 30, "next", 3.0) == 0.0  # set back, and this boot has had no entry
    ledger.absorb(at(1, uptime=["next", 4.0]))
    assert ledger.waited_s(BASE, NOW - 30, "next", 10.0) == 6.0  # the time since its first entry
    ledger.absorb(at(2, uptime=["next", 8.0]))
    assert ledger.waited_s(BASE, NOW - 30, "next", 10.0) == 6.0
    ledger.absorb(write(3, 2.0, 3.0, uptime=["third", 1.0]))
    assert ledger.waited_s(BASE, NOW - 30, "next", 20.0) == 0.0  # that entry was before the change


@pytest.mark.parametrize("boot", ["", "-"])
def test_a_boot_that_is_not_known_is_never_the_same(boot: str) -> None:
    ledger = Ledger([write(0, 1.0, 2.0, uptime=[boot, 50.0])])
    assert ledger.waited_s(BASE, NOW + 7, boot, 55.0) == 7.0
    bare = write(0, 1.0, 2.0)
    del bare["uptime"]
    assert Ledger([bare]).waited_s(BASE, NOW + 7, "", 55.0) == 7.0


def test_where_a_key_or_a_context_begins() -> None:
    begins = write(0, ABSENT, 1.0, "external", {"symbol": "BTC"}, revision=0)
    ledger = Ledger([begins])
    assert ledger.contexts == {"n.x": {BTC[1]}} and ledger.changed == {}
    ledger.absorb(write(1, ABSENT, 1.0, context={"symbol": "ETH"}))  # a new override moves what is read there
    assert list(ledger.changed) == [("n.x", (("symbol", "ETH"),))]
    ledger.absorb(write(2, ABSENT, 1.0))  # a new key does not
    assert BASE not in ledger.changed
    ledger.absorb(write(3, 1.0, ABSENT, context={"symbol": "BTC"}))
    assert ledger.changed[BTC].uptime == 103.0 and ledger.changed[BTC].number == 4
    assert ledger.contexts == {"n.x": {BTC[1], (("symbol", "ETH"),)}}


def test_the_entry_that_gave_a_place_its_value() -> None:
    ledger = Ledger([write(0, 1.0, 2.0, author="ann", reason="why", id="0b", revision=7)])
    assert ledger.latest == {BASE: Touch(7, TIME, "commit", "ann", "why", "0b")}
    ledger.absorb(write(1, 2.0, 2.0, id="0c"))
    assert ledger.latest[BASE].id == "0b"


def freeze(seconds: float, pattern: str, name: str, **details: Any) -> dict[str, Any]:
    return at(seconds, kind="freeze", id=name, details={"pattern": pattern, **details})


def test_freezes_are_known_by_their_entries() -> None:
    until = "2027-01-15T08:01:00.000000Z"
    ledger = Ledger([freeze(0, "n.*", "0a"), freeze(1, "n.x", "0b", until=until), freeze(2, "n.*", "0c")])
    assert ledger.freezes_of("n.*") == ["0a", "0c"] and ledger.freezes_of("n.x") == ["0b"]
    assert [f.pattern for f in ledger.freezes(NOW)] == ["n.*", "n.x", "n.*"]
    assert [f.pattern for f in ledger.freezes(NOW + 59.9)] == ["n.*", "n.x", "n.*"]
    assert [f.pattern for f in ledger.freezes(NOW + 60)] == ["n.*", "n.*"]  # it has run out then
    assert ledger.freezes(NOW)[1] == Freeze("n.x", "a", "r", "2027-01-15T08:00:01.000000Z", until)
    assert (found := ledger.frozen("n.x", NOW)) is not None and found.since == TIME  # the oldest
    assert ledger.frozen("m.x", NOW) is None
    ledger.absorb(at(3, kind="unfreeze", details={"pattern": "n.*", "ends": ["0a", "no such"]}))
    assert ledger.freezes_of("n.*") == ["0c"]
    ledger.absorb(at(4, kind="unfreeze", details={"pattern": "n.*"}))
    assert ledger.freezes_of("n.*") == [] and ledger.freezes_of("n.x") == ["0b"]


def test_refusals_are_recorded_up_to_a_number_in_an_hour() -> None:
    ledger = Ledger([at(0, kind="refusal", author="a") for _ in range(RECORDED_MOST - 1)])
    assert ledger.may_record("a", NOW)
    ledger.absorb(at(1, kind="refusal", author="a"))
    assert not ledger.may_record("a", NOW) and ledger.may_record("b", NOW)
    assert not ledger.may_record("a", NOW + 3599.9) and ledger.may_record("a", NOW + 3600)
    assert ledger.may_record("a", NOW - 3600) and not ledger.may_record("a", NOW - 3598)  # a clock set back
    for _ in range(5):
        ledger.absorb(at(2, kind="refusal", author="a"))
    assert len(ledger._refused["a"]) == RECORDED_MOST


@pytest.mark.parametrize(
    "wrong", [{"time": "never"}, {"kind": "freeze", "details": {"pattern": "*", "until": "soon"}}]
)
def test_a_time_that_is_none_names_its_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(JournalError) as info:
        Ledger([{**PLAIN, **wrong}])
    bad = wrong.get("time") or wrong["details"]["until"]
    assert str(info.value) == (
        f"journal at entry 0a of revision 3: Invalid isoformat string: {bad!r}. Correct or restore the line"
    )


def test_a_ledger_is_the_same_after_a_cache() -> None:
    records = [
        write(0, ABSENT, 1.0, "external", revision=0), write(1, 1.0, 2.0), write(2, ABSENT, 2.0, context={"symbol": "B"}),
        freeze(3, "n.*", "0b", until=TIME), at(4, kind="refusal"), write(5, 2.0, 3.0, uptime=["next", 5.0]),
    ]  # fmt: skip
    ledger = Ledger(records)
    again = Ledger.of_plain(ledger.plain())
    assert vars(again) == vars(ledger) and again.plain() == ledger.plain()
    for both in (ledger, again):
        both.absorb(write(6, 3.0, 4.0, uptime=["next", 6.0]))
    assert vars(again) == vars(ledger)
    assert [type(item) for item in again.changed.values()] == [type(item) for item in ledger.changed.values()]


def test_what_changed_nothing_is_no_change() -> None:
    items: list[dict[str, Any]] = [
        {"old": 1, "new": 1}, {"old": 1, "new": 1.0}, {"old": 1}, {"new": 1}, {}, {"old": True, "new": 1},
    ]  # fmt: skip
    assert list(real_changes(items)) == [items[index] for index in (1, 2, 3, 5)]


@pytest.mark.parametrize(
    ("file", "sound"),
    [("params/risk.yaml", True), ("params/1-a_B.yaml", True), ("params/-a.yaml", False), ("params/a.b.yaml", False), ("params/.yaml", False),
     ("params/a/b.yaml", False), ("../risk.yaml", False), ("params/é.yaml", False), ("risk.yaml", False)],
)  # fmt: skip
def test_the_files_of_an_entry_are_values_files_of_the_store(file: str, sound: bool) -> None:
    entry = Entry(
        1,
        "a" * 16,
        "2025-12-20T10:00:00.000000Z",
        "commit",
        "me",
        "why",
        {},
        (),
        {file: FileChange("1", "2")},
    )
    assert (_records.parse(_records.encode(entry)[1]) is not None) is sound
