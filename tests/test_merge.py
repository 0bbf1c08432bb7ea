"""Three versions of a values file come together value by value, or say why not; two journals lose no line."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paramstore import _records, _yaml
from paramstore._join import join
from paramstore._merge import Leaves, Place, alike, leaves
from paramstore._merge_rules import merge_lines, rules_of
from paramstore._merge_text import Outcome, Rules, merge_files
from paramstore._model import Change, Entry
from paramstore._schema import Schema, load_schema
from paramstore.errors import DocumentError

FILE = "params/weights.yaml"
KEYS = ("a", "b", "c", "d", "group.x", "group.y", "group.deep.z", "tiers")
CONTEXTS: tuple[dict[str, Any], ...] = (
    {"symbol": "BTC"},
    {"symbol": "ETH"},
    {"regime": "trend", "symbol": "BTC"},
)
TIMES = int(os.environ.get("MERGE_TIMES", "150"))  # for each of four styles; docs/git.md has the long run


def schema() -> Schema:
    """``a`` to ``d`` are weights that sum to 1; whatever else there is has bounds."""
    number: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
    group = {
        "type": "object",
        "properties": {"x": number, "y": number, "deep": {"type": "object", "properties": {"z": number}}},
    }
    own = {
        **dict.fromkeys("abcd", number),
        "group": group,
        "tiers": {"type": "array", "items": {"type": "integer"}},
    }
    at = {"symbol": {"type": "string"}, "regime": {"enum": ["trend", "chop"]}}
    frame: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["schema", "values"],
        "additionalProperties": False,
        "properties": {
            "schema": {"const": 1},
            "values": {
                "type": "object",
                "properties": own,
                "x-constraints": [{"sum": ["a", "b", "c", "d"], "equals": 1}],
            },
            "overrides": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["at", "values"],
                    "properties": {
                        "values": {"$ref": "#/properties/values"},
                        "at": {"type": "object", "minProperties": 1, "properties": at},
                    },
                },
            },
        },
    }
    for node in _objects(frame["properties"]):
        node["additionalProperties"] = False
    return load_schema("weights", json.dumps(frame).encode(), "schemas/weights.schema.json", "")


def _objects(node: Any) -> list[dict[str, Any]]:
    if not isinstance(node, dict):
        return []
    mine = [node] if node.get("type") == "object" else []
    return [*mine, *(found for child in node.values() for found in _objects(child))]


RULES = rules_of(schema())
PLAIN = Rules()


def by_lines(folder: Path) -> Callable[[bytes, bytes, bytes], bytes | None]:
    return lambda base, ours, theirs: merge_lines(str(folder), base, ours, theirs)


def merged(tmp: Path, base: bytes, ours: bytes, theirs: bytes, rules: Rules = PLAIN) -> Outcome:
    return merge_files(base, ours, theirs, FILE, rules, by_lines(tmp))


# --- random versions ------------------------------------------------------------------------------


class Version:
    """One side's values and comments, and how they are written."""

    def __init__(self, values: Leaves, comments: dict[Place, str], style: str) -> None:
        self.values = values
        self.comments = comments
        self.style = style

    def changed(self, dice: random.Random, side: str) -> Version:
        """Return a version with one to four random edits: values that move, come or go, and comments."""
        values, comments = dict(self.values), dict(self.comments)
        for _ in range(dice.randint(1, 4)):
            _edit(values, comments, dice, side, self.style)
        return Version(
            values, {place: text for place, text in comments.items() if place in values}, self.style
        )

    def text(self) -> bytes:
        lines = ["# head of the file", "schema: 1", "values:"]
        base = {place.path: value for place, value in self.values.items() if place.at == ()}
        lines += self._block(base, (), 2)
        contexts = list(dict.fromkeys(place.at for place in self.values if place.at))
        if contexts:
            lines.append("overrides:")
        for at in contexts:
            own = {place.path: value for place, value in self.values.items() if place.at == at}
            lines += [f"  - at: {{{', '.join(f'{name}: {value}' for name, value in at)}}}", "    values:"]
            lines += self._block(own, at, 6)
        newline = "\r\n" if self.style == "crlf" else "\n"
        end = "" if self.style == "bare" else newline
        return (newline.join(lines) + end).encode()

    def _block(self, tree: dict[tuple[str, ...], Any], at: Any, indent: int) -> list[str]:
        nested: dict[str, Any] = {}
        for path, value in tree.items():
            node = nested
            for name in path[:-1]:
                node = node.setdefault(name, {})
            node[path[-1]] = value
        return list(self._lines(nested, at, (), indent))

    def _lines(self, tree: dict[str, Any], at: Any, prefix: tuple[str, ...], indent: int) -> list[str]:
        found = []
        for name, value in tree.items():
            path = (*prefix, name)
            comment = self.comments.get(Place(at, path))
            head = f"{' ' * indent}{name}:"
            if isinstance(value, dict):
                found += [head, *self._lines(value, at, path, indent + 2)]
            elif isinstance(value, list) and self.style == "crlf":
                found += [head, *(f"{' ' * indent}- {item}" for item in value)]
            else:
                found.append(f"{head} {value}" + (f"  # {comment}" if comment else ""))
        return found


def _edit(values: Leaves, comments: dict[Place, str], dice: random.Random, side: str, style: str) -> None:
    place = dice.choice(list(values))
    kind = dice.choice(("move", "move", "move", "swap", "comment", "override", "drop", "go", "come"))
    if style == "rules" and (kind in ("go", "come") or (kind == "move" and place.path[0] in "abcd")):
        kind = "swap"  # edits that leave a side valid
    if kind == "move" and place.path != ("tiers",):
        values[place] = dice.choice((0.1, 0.2, 0.25, 0.3, 0.4))
    elif kind == "move":
        values[place] = [dice.randint(0, 3) for _ in range(dice.randint(1, 3))]
    elif kind == "swap":
        one, two = (Place((), (name,)) for name in dice.sample("abcd", 2))
        if one in values and two in values:
            values[one], values[two] = round(values[one] + 0.05, 4), round(values[two] - 0.05, 4)
    elif kind == "comment":
        comments[place] = f"{side} said {dice.randint(0, 99)}"
    elif kind == "override":
        at = tuple(sorted(dice.choice(CONTEXTS).items()))
        values[Place(at, ("group", dice.choice("xy")))] = dice.choice((0.5, 0.6, 0.7))
    elif (kind == "drop" and place.at) or (
        kind == "go" and place.path[0] in ("group", "tiers") and place.at == ()
    ):
        del values[place]
    elif kind == "come":
        values.setdefault(Place((), ("group", dice.choice("uvw"))), dice.choice((0.8, 0.9)))


def _start(dice: random.Random, style: str) -> Version:
    values: Leaves = {}
    weights = dict(zip("abcd", dice.choice(((0.25,) * 4, (0.4, 0.3, 0.2, 0.1))), strict=True))
    for key in KEYS:
        path = tuple(key.split("."))
        values[Place((), path)] = [1, 2] if key == "tiers" else weights.get(key, 0.5)
    for at in dice.sample(CONTEXTS, dice.randint(0, 2)):
        values[Place(tuple(sorted(at.items())), ("group", "x"))] = 0.4
    comments = {place: f"base {index}" for index, place in enumerate(values) if dice.random() < 0.3}
    return Version(values, comments, style)


def _by_the_rule(base: Leaves, ours: Leaves, theirs: Leaves, place: Place) -> tuple[Any, bool]:
    """Return what a place comes to and whether both sides moved it: the rule, said another way than in the code."""
    gone = object()
    b, o, t = (side.get(place, gone) for side in (base, ours, theirs))

    def equal(x: Any, y: Any) -> bool:
        return x is y or (x is not gone and y is not gone and repr(x) == repr(y))

    moved = [side for side in (o, t) if not equal(side, b)]
    clash = len(moved) == 2 and not equal(o, t)
    value = moved[0] if moved and not clash else o
    return (None if value is gone else value), clash


MARKERS = re.compile(rb"<<<<<<< [^\n]*\n(.*?)=======\r?\n(.*?)>>>>>>> [^\n]*\n?", re.DOTALL)


@pytest.mark.parametrize("style", ["plain", "crlf", "bare", "rules"])
def test_random_merges_keep_the_rule(style: str, tmp_path: Path) -> None:
    clean = conflicts = broken = 0

    @settings(max_examples=TIMES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def check(dice: random.Random) -> None:
        nonlocal clean, conflicts, broken
        start = _start(dice, style)
        ours, theirs = start.changed(dice, "ours"), start.changed(dice, "theirs")
        if style == "crlf":
            theirs.style = dice.choice(("crlf", "plain"))
        base, mine, other = texts = [version.text() for version in (start, ours, theirs)]
        rules = RULES if style == "rules" else Rules()
        if style == "rules" and any(RULES.judge(_yaml.parse(text, FILE).data, {})[0] for text in texts):
            return  # only sides that are valid are promised anything
        outcome = merged(tmp_path, base, mine, other, rules)
        places = {*start.values, *ours.values, *theirs.values}
        ruled = {place: _by_the_rule(start.values, ours.values, theirs.values, place) for place in places}
        if outcome.reasons:
            conflicts += 1
            broken += not any(clash for _, clash in ruled.values())
            _hold_conflict(outcome, ruled, ours.values, theirs.values)
        else:
            clean += 1
            _hold_clean(outcome, ruled, rules)
        for place, comment in ours.comments.items():
            if comment.startswith("ours") and place in ours.values and _is_written(ours, place):
                gone = ruled[place] == (None, False)
                assert gone or comment.encode() in outcome.raw

    check()
    assert clean > TIMES / 10 and conflicts > TIMES / 50, (clean, conflicts)
    assert (broken > 0) == (style == "rules"), "valid sides whose merge breaks a rule are reported"


def _is_written(version: Version, place: Place) -> bool:
    return version.style != "crlf" or not isinstance(version.values[place], list)


def _hold_clean(outcome: Outcome, ruled: dict[Place, tuple[Any, bool]], rules: Rules) -> None:
    found = leaves(_yaml.parse(outcome.raw, FILE).data)
    expected = {place: value for place, (value, _) in ruled.items() if value is not None}
    assert {place: found[place] for place in found if place.at is not None} == expected
    assert not any(clash for _, clash in ruled.values())
    assert not rules.judge(_yaml.parse(outcome.raw, FILE).data, found)[0]


def _hold_conflict(
    outcome: Outcome, ruled: dict[Place, tuple[Any, bool]], ours: Leaves, theirs: Leaves
) -> None:
    """Whichever half of each conflict a person takes, all else is as the rule has it, and no half is missing."""
    with pytest.raises(DocumentError, match="merge-conflict marker"):
        _yaml.parse(outcome.raw, FILE)
    clashing = {place for place, (_, clash) in ruled.items() if clash}
    for half, side in ((rb"\1", ours), (rb"\2", theirs)):
        found = leaves(_yaml.parse(MARKERS.sub(half, outcome.raw), FILE).data)
        for place in clashing:
            assert repr(found.get(place)) == repr(side.get(place))
        for place, (value, _) in ruled.items():
            if place not in clashing:
                assert repr(found.get(place)) in {repr(value), repr(side.get(place))}


# --- by hand ----------------------------------------------------------------------------------------

BASE = b"schema: 1\nvalues:\n  a: 0.4  # largest\n  b: 0.3\n  c: 0.2\n  d: 0.1\n  group:\n    x: 0.5\n    y: 0.5\n    deep:\n      z: 0.5\n  tiers: [1, 2]\n"


def test_lines_side_by_side_merge_by_key(tmp_path: Path) -> None:
    ours = BASE.replace(b"b: 0.3", b"b: 0.35")
    theirs = BASE.replace(b"c: 0.2", b"c: 0.15")
    assert merged(tmp_path, BASE, ours, theirs, RULES).raw == ours.replace(b"c: 0.2", b"c: 0.15")


def test_weights_that_no_longer_sum_to_one_are_a_conflict_that_says_so(tmp_path: Path) -> None:
    ours = BASE.replace(b"a: 0.4", b"a: 0.45").replace(b"b: 0.3", b"b: 0.25")
    theirs = BASE.replace(b"d: 0.1", b"d: 0.15").replace(b"c: 0.2", b"c: 0.15").replace(b"b: 0.3", b"b: 0.3")
    both = merged(tmp_path, BASE, ours, theirs, RULES)
    assert not both.reasons  # each moves a pair, so together they still sum to 1
    lone = BASE.replace(b"a: 0.4", b"a: 0.45").replace(b"d: 0.1", b"d: 0.05")
    clash = merged(tmp_path, BASE, ours, lone, RULES)
    assert clash.reasons and "each side keeps the rules, both together do not" in clash.reasons[0]
    assert "sum of a, b, c, d equals 1, but it is 0.95" in clash.reasons[0]
    assert b"<<<<<<< ours: each side keeps the rules" in clash.raw
    assert b"d: 0.1\n=======" in clash.raw


def test_a_side_that_is_no_values_file_merges_by_lines_or_is_marked(tmp_path: Path) -> None:
    broken = BASE.replace(b"a: 0.4", b"a: [0.4")
    outcome = merged(tmp_path, BASE, BASE.replace(b"x: 0.5", b"x: 0.6"), broken)
    assert outcome.reasons and b"[0.4" in outcome.raw and b"x: 0.6" in outcome.raw


def test_both_sides_added_the_file(tmp_path: Path) -> None:
    same = merged(tmp_path, b"", BASE, BASE.replace(b"# largest", b"# the largest"))
    assert not same.reasons and b"# largest" in same.raw
    other = merged(tmp_path, b"", BASE, BASE.replace(b"b: 0.3", b"b: 0.2"))
    assert other.reasons == ("both sides changed b: ours 0.3, theirs 0.2",)


def test_a_preferred_side_decides(tmp_path: Path) -> None:
    ours, theirs = BASE.replace(b"x: 0.5", b"x: 0.6"), BASE.replace(b"x: 0.5", b"x: 0.7")
    for prefer, value in (("ours", 0.6), ("theirs", 0.7)):
        outcome = merge_files(BASE, ours, theirs, FILE, RULES, by_lines(tmp_path), prefer)
        assert not outcome.reasons
        assert leaves(_yaml.parse(outcome.raw, FILE).data)[Place((), ("group", "x"))] == value


def test_numbers_are_alike_whatever_their_form() -> None:
    assert alike(1, 1.0) and not alike(True, 1) and alike([1, 2], [1.0, 2]) and not alike([1], [1, 2])


# --- journals ---------------------------------------------------------------------------------------


def _line(revision: int, name: str, kind: str = "commit", **words: Any) -> bytes:
    entry = Entry(revision, name, "2026-01-31T12:00:00.000000Z", kind, "learner", **words)  # type: ignore[arg-type]
    return _records.encode(entry)[1]


def _say(stands: int, joined: list[str]) -> Entry:
    return Entry(
        stands, "m", "2026-01-31T12:00:00.000000Z", "merge", "paramstore", details={"joined": joined}
    )


def _numbered(raw: bytes) -> list[tuple[str, int, int | None]]:
    found, stands = [], None
    for line in raw.splitlines(keepends=True):
        record = _records.parse(line)
        assert record is not None
        stands = _records.number(record, stands)
        found.append((record["id"], record["revision"], record.get(_records.SAID)))
    return found


def test_a_join_keeps_every_line_and_counts_revisions_on() -> None:
    begin = _line(0, "e") + _line(1, "p")
    ours = begin + _line(2, "o2") + _line(3, "o3")
    theirs = (
        begin
        + _line(2, "t2", changes=(Change("a.b", 1, 2),))
        + _line(2, "f", "freeze", details={"pattern": "*"})
    )
    joined = join(ours, theirs, _say)
    assert joined is not None and joined.startswith(ours + theirs.removeprefix(begin))
    assert _numbered(joined)[4:] == [("t2", 4, 2), ("f", 4, 2), ("m", 4, None)]
    again = join(joined, theirs, _say)
    assert again == joined, "nothing is new"


def test_histories_that_began_apart_are_joined_too() -> None:
    joined = join(_line(0, "e") + _line(1, "o"), _line(0, "f") + _line(1, "t"), _say)
    assert joined is not None
    assert [revision for _, revision, _ in _numbered(joined)] == [0, 1, 2, 3, 3]


def test_an_abort_gives_its_number_back_on_the_other_line_as_well() -> None:
    begin = _line(0, "e")
    theirs = begin + _line(1, "x") + _line(1, "y", "abort", evidence={"aborts": "x"}) + _line(1, "z")
    joined = join(begin + _line(1, "o"), theirs, _say)
    assert joined is not None
    assert _numbered(joined) == [
        ("e", 0, None),
        ("o", 1, None),
        ("x", 2, 1),
        ("y", 2, 1),
        ("z", 2, 1),
        ("m", 2, None),
    ]


def test_a_line_that_is_no_entry_is_for_a_person() -> None:
    assert join(_line(0, "e"), b"torn", _say) is None
    stands = _line(0, "e") + _line(1, "x")
    assert join(stands, stands + _line(1, "y", "abort", evidence={"aborts": "x"}), _say) is None
