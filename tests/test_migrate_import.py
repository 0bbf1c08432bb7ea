"""JSON files that learners wrote come into real stores: every form, the history, and every refusal."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import local_store
import pytest

from paramstore import ParamStore, errors
from paramstore.migrate import _import_json as importing
from paramstore.migrate._import_json import (
    ImportFileError,
    ImportMapError,
    ImportPlan,
    ImportReport,
    ImportStoppedError,
    Version,
    plan_import,
    read_file,
    read_specs,
)
from paramstore.migrate._import_run import run_import

REGIMES = {"regime": {"enum": ["trend", "chop"]}, "symbol": {"type": "string"}, "slot": {"type": "integer"}}
WEIGHTS = {
    name: local_store.number(0.25, maximum=0.9, **{"x-param": {"decimals": 4}})
    for name in ("a", "b", "c", "d")
}
GATE = {
    "min_confidence": local_store.number(0.3, maximum=1.0),
    "min_trades": {"type": "integer", "minimum": 1, "default": 30},
    "on": {"type": "boolean", "default": True},
    "mode": {"type": "string", "default": "fast"},
    "steps": {"type": "array", "items": {"type": "number"}, "default": [1.0]},
    "size": local_store.group({"max": local_store.number(2.0), "min": local_store.number(1.0)}),
}
PLAIN = {"x": local_store.number(1.0)}
W = "weights.* = weights.*"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    schemas = {
        "weights": local_store.schema(WEIGHTS, REGIMES, [{"sum": ["*"], "equals": 1}]),
        "gate": local_store.schema(GATE, REGIMES),
        "plain": local_store.schema(PLAIN),
    }
    values = {
        "weights": {"schema": 1, "values": dict.fromkeys("abcd", 0.25)},
        "gate": {
            "schema": 1,
            "values": {
                "min_confidence": 0.3, "min_trades": 30, "on": True, "mode": "fast", "steps": [1.0],
                "size": {"max": 2.0, "min": 1.0},
            },
        },
        "plain": {"schema": 1, "values": {"x": 1.0}},
    }  # fmt: skip
    return local_store.write_store(tmp_path / "store", schemas, values)


@pytest.fixture
def store(root: Path) -> ParamStore:
    """Open the store, whose journal has begun: any transaction, also a dry one, would begin it."""
    opened = ParamStore(root, environ={})
    with opened.transaction(author="me", dry_run=True):
        pass
    return opened


def weights(a: Any, b: Any, c: Any = 0.25, d: Any = 0.25) -> dict[str, Any]:
    return {"a": a, "b": b, "c": c, "d": d}


def raw(data: Any) -> bytes:
    return json.dumps(data).encode()


def plan(data: Any, *specs: str, **more: Any) -> ImportPlan:
    return plan_import(data if isinstance(data, bytes) else raw(data), "learner.json", specs, **more)


def bring(store: ParamStore, data: Any, *specs: str, **more: Any) -> ImportReport:
    """Plan and run; options of either."""
    mine = {name: more.pop(name) for name in ("history", "time_field", "reason_field") if name in more}
    return run_import(store, plan(data, *specs, **mine), author="me", **more)


def changed(version: Version) -> list[tuple[Any, ...]]:
    return [(cell.key, dict(cell.context), cell.old, cell.new) for cell in version.changes]


@contextmanager
def untouched(store: ParamStore) -> Iterator[None]:
    """Nothing may be written in the block, neither values nor journal."""

    def files() -> dict[str, bytes]:
        assert store.root is not None
        found = [path for path in Path(store.root, "params").rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in found}

    before = files()
    yield
    assert files() == before


def refused(
    kind: type[errors.ParamstoreError], store: ParamStore, data: Any, *specs: str, **more: Any
) -> str:
    """Return the message of an import that must be refused, and that leaves everything as it was."""
    with untouched(store), pytest.raises(kind) as caught:
        bring(store, data, *specs, **more)
    message = str(caught.value)
    assert "Nothing was written" in message
    return message


# --- shapes ---------------------------------------------------------------------------------------


def test_a_flat_file_becomes_one_transaction(store: ParamStore) -> None:
    data = {"weights": weights(0.3, 0.2), "updated_at": "2025-12-05T10:00:00Z", "samples": 812}
    report = bring(store, data, W, reason="move")
    assert (report.name, report.dry_run, report.revision) == ("learner.json", False, 1)
    (version,) = report.versions
    assert (version.where, version.time, version.revision) == ("current values", "2025-12-05T10:00:00Z", 1)
    assert changed(version) == [("weights.a", {}, 0.25, 0.3), ("weights.b", {}, 0.25, 0.2)]
    assert [cell.where for cell in version.changes] == ["weights.a", "weights.b"]
    assert store.get("weights.a") == 0.3
    assert report.unmatched == ("samples",)


def test_the_journal_says_where_values_come_from_and_when_they_came(store: ParamStore) -> None:
    data = raw({"weights": weights(0.3, 0.2), "updated_at": "2025-12-05T10:00:00Z"})
    run_import(store, plan_import(data, "/some/where/learner.json", [W]), author="me")
    entry = store.history()[-1]
    assert (entry.author, entry.reason, entry.kind) == ("me", "imported from learner.json", "commit")
    assert entry.evidence == {
        "imported_from": "learner.json", "sha256": hashlib.sha256(data).hexdigest(),
        "time": "2025-12-05T10:00:00Z", "version": "1 of 1",
    }  # fmt: skip
    assert entry.time > "2025-12-06"  # the journal's own: when it was imported


def test_a_placeholder_becomes_the_context(store: ParamStore) -> None:
    data = {"regimes": {"trend": {"weights": weights(0.4, 0.1)}, "chop": {"weights": weights(0.2, 0.3)}}}
    report = bring(store, data, "regimes.{regime}.weights.* = weights.*")
    assert store.get("weights.a", regime="trend") == 0.4
    assert store.get("weights.a", regime="chop") == 0.2
    assert store.get("weights.a") == 0.25
    assert len(report.versions[0].changes) == 8
    assert changed(report.versions[0])[0] == ("weights.a", {"regime": "trend"}, None, 0.4)


def test_a_placeholder_may_come_first_and_there_may_be_two(store: ParamStore) -> None:
    data = {"BTCUSDT": {"min_conf": 0.4, "chop": {"n": 9}}, "ETH/USDT": {"min_conf": 0.6, "chop": {"n": 8}}}
    bring(store, data, "{symbol}.min_conf = gate.min_confidence", "{symbol}.{regime}.n = gate.min_trades")
    assert store.get("gate.min_confidence", symbol="ETH/USDT") == 0.6
    assert store.get("gate.min_trades", symbol="BTCUSDT", regime="chop") == 9
    assert store.get("gate.min_trades", symbol="BTCUSDT") == 30


def test_a_placeholder_may_be_limited_to_some_names(store: ParamStore) -> None:
    data = {"trend": {"m": 0.4}, "chop": {"m": 0.5}, "unknown": {"m": 0.6}}
    report = bring(store, data, "{regime:trend|chop}.m = gate.min_confidence")
    assert store.get("gate.min_confidence", regime="chop") == 0.5
    assert report.unmatched == ("unknown.m",)
    assert len(report.versions[0].values) == 2


def test_dimensions_are_typed(store: ParamStore) -> None:
    bring(store, {"7": {"m": 0.4}}, "{slot}.m = gate.min_confidence")
    assert store.get("gate.min_confidence", slot=7) == 0.4
    assert "'x' is not a value of dimension `slot`" in refused(
        errors.ContextError, store, {"x": {"m": 0.4}}, "{slot}.m = gate.min_confidence"
    )


def test_stars_go_over_in_order_and_names_may_be_quoted(store: ParamStore) -> None:
    data = {"gate": {"size": {"max": 3}}, "n": {"min.conf (new)": 0.5}, "gate.min_trades": 12}
    report = bring(store, data, "*.size.* = *.size.*", 'n."min.conf (new)" = gate.min_confidence', "* = *")
    assert store.get("gate.size.max") == 3.0
    assert store.get("gate.min_confidence") == 0.5
    assert store.get("gate.min_trades") == 12
    assert report.unmatched == ()


def test_every_type_of_value_is_brought(store: ParamStore) -> None:
    bring(store, {"g": {"on": False, "mode": "slow", "steps": [1, 2.5], "min_trades": 5}}, "g.* = gate.*")
    found = [store.get(f"gate.{name}") for name in ("on", "mode", "steps", "min_trades")]
    assert found == [False, "slow", [1.0, 2.5], 5]


def test_an_integer_is_fine_for_a_number(store: ParamStore) -> None:
    bring(store, {"x": 3}, "x = plain.x")
    assert store.get("plain.x") == 3.0
    assert type(store.get("plain.x")) is float


def test_json_lines_are_versions(store: ParamStore) -> None:
    lines = [{"ts": 1764928800 + n, "weights": weights(0.3 + n / 100, 0.2 - n / 100)} for n in range(3)]
    text = "\r\n\n".join(json.dumps(line) for line in lines)
    report = bring(store, b"\xef\xbb\xbf" + text.encode() + b"\n\n", W)
    assert [version.where for version in report.versions] == ["line 1", "line 3", "line 5"]
    assert [version.revision for version in report.versions] == [1, 2, 3]
    assert report.versions[2].changes[0].where == "line 5: weights.a"
    assert store.get("weights.a") == 0.32


def test_a_list_of_objects_is_versions_too(store: ParamStore) -> None:
    report = bring(store, [{"x": 2}, {"x": 3}], "x = plain.x")
    assert [(version.where, version.revision) for version in report.versions] == [("[0]", 1), ("[1]", 2)]


# --- history --------------------------------------------------------------------------------------


HISTORY = {
    "history": [
        {"ts": "2025-12-03T10:00:00Z", "weights": weights(0.31, 0.19), "reason": "second", "n": 1},
        {"ts": "2025-12-01T10:00:00Z", "weights": weights(0.3, 0.2), "reason": "first", "n": 2},
    ],
    "weights": weights(0.4, 0.1),
    "updated_at": "2025-12-04T10:00:00Z",
    "samples": 812,
}


def test_history_is_written_oldest_first_and_current_values_last(store: ParamStore) -> None:
    report = bring(store, HISTORY, W, history="history", reason="taken over")
    entries = [entry for entry in store.history() if entry.kind == "commit"]
    assert [entry.reason for entry in entries] == ["taken over: first", "taken over: second", "taken over"]
    assert [entry.evidence["time"][:10] for entry in entries] == ["2025-12-01", "2025-12-03", "2025-12-04"]
    assert [entry.evidence["version"] for entry in entries] == ["1 of 3", "2 of 3", "3 of 3"]
    assert [version.where for version in report.versions] == ["history[1]", "history[0]", "current values"]
    assert store.get("weights.a") == 0.4
    assert store.as_of(1).get("weights.a") == 0.3
    assert report.unmatched == ("history[].n", "samples")


def test_old_is_what_the_version_before_left_in_a_dry_run_too(store: ParamStore) -> None:
    with untouched(store):
        tried = bring(store, HISTORY, W, history="history", dry_run=True)
    done = bring(store, HISTORY, W, history="history")
    for report in (tried, done):
        moves = [(version.changes[0].old, version.changes[0].new) for version in report.versions]
        assert moves == [(0.25, 0.3), (0.3, 0.31), (0.31, 0.4)]
    assert (tried.dry_run, tried.revision, done.revision) == (True, 0, 3)
    assert {version.revision for version in tried.versions} == {None}
    assert [c.new for e in store.history("weights.a") for c in e.changes] == [0.25, 0.3, 0.31, 0.4]


def test_versions_that_change_nothing_write_nothing(store: ParamStore) -> None:
    same = weights(0.3, 0.2)
    data = {
        "history": [{"weights": same}, {"weights": same}, {"weights": weights(0.25, 0.25)}],
        "weights": same,
    }
    report = bring(store, data, W, history="history")
    assert [version.revision for version in report.versions] == [1, None, 2, 3]
    assert report.versions[1].changes == ()
    again = bring(store, {"weights": same}, W)
    assert (again.revision, again.versions[0].revision) == (3, None)


def test_a_version_sets_what_it_holds_and_what_it_lacks_stays(store: ParamStore) -> None:
    report = bring(
        store,
        {"history": [{"x": 2}, {"y": 1}], "m": 0.5},
        "x = plain.x",
        "m = gate.min_confidence",
        history="history",
    )
    assert store.get("plain.x") == 2.0
    assert [len(version.values) for version in report.versions] == [1, 0, 1]


def test_history_may_lie_deep_and_hold_values_below_a_prefix(store: ParamStore) -> None:
    log = [
        {"meta": {"when": 2, "why": "b"}, "state": {"x": 3}},
        {"meta": {"when": 1, "why": {"p": 1}}, "state": {"x": 2}},
    ]
    data = {"a": {"log": log}, "x": 4}
    report = bring(
        store, data, "x = plain.x", history="a.log[].state", time_field="meta.when", reason_field="meta.why"
    )
    assert [(v.where, v.time) for v in report.versions] == [
        ("a.log[1]", 1),
        ("a.log[0]", 2),
        ("current values", None),
    ]
    assert report.versions[0].changes[0].where == "a.log[1].state.x"
    assert [e.reason for e in store.history() if e.kind == "commit"] == [
        "imported from learner.json",
        "b",
        "imported from learner.json",
    ]
    assert report.unmatched == ("a.log[].meta.why.p",)


def test_a_reason_that_is_not_text_is_kept_as_json(store: ParamStore) -> None:
    bring(store, [{"x": 2, "why": 7}, {"x": 3, "why": None}], "x = plain.x", reason_field="why")
    assert [e.reason for e in store.history() if e.kind == "commit"] == ["7", "imported from learner.json"]


def test_versions_may_have_maps_of_their_own(store: ParamStore) -> None:
    bring(store, {"history": [{"w": 2}], "x": 3}, "x = plain.x", "w = plain.x", history="history")
    assert [c.new for e in store.history("plain.x") for c in e.changes] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("field", ["ts", "time", "timestamp", "updated_at"])
def test_time_fields_that_are_known(field: str) -> None:
    found = plan([{field: "2025-01-02", "x": 1}, {field: "2025-01-01T00:00:00+02:00", "x": 2}], "x = plain.x")
    assert [version.where for version in found.versions] == ["[1]", "[0]"]
    assert found.unmatched == ()


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2025-01-01T02:00:00+02:00", "2025-01-01T01:00:00"),
        ("2025-01-01T01:00:00", "2025-01-01T02:30:00+01:00"),
        (1764928800, 1764928800.5),
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_times_are_compared_as_moments(older: Any, newer: Any) -> None:
    found = plan([{"ts": newer, "x": 1}, {"ts": older, "x": 2}], "x = plain.x")
    assert [version.time for version in found.versions] == [older, newer]


def test_a_history_without_current_values_is_fine(store: ParamStore) -> None:
    report = bring(store, {"history": [{"x": 2}]}, "x = plain.x", history="history")
    assert [version.where for version in report.versions] == ["history[0]"]


def test_without_times_the_order_of_the_file_holds() -> None:
    found = plan(
        [{"x": 1}, {"x": 2, "ts": "soon"}, {"x": 3, "ts": None}, {"x": 4, "ts": float("nan")}], "x = plain.x"
    )
    assert [version.where for version in found.versions] == ["[0]", "[1]", "[2]", "[3]"]
    assert [version.time for version in found.versions] == [None, "soon", None, None]


def test_an_order_that_cannot_be_known_is_refused(store: ParamStore) -> None:
    data = [{"x": 1, "ts": 3}, {"x": 2, "ts": 2}, {"x": 3}]
    assert "the oldest is not known" in refused(ImportFileError, store, data, "x = plain.x")


def test_a_time_that_is_in_no_version_is_refused(store: ParamStore) -> None:
    message = refused(ImportMapError, store, [{"x": 1, "when": 1}], "x = plain.x", time_field="whem")
    assert "'--time whem' matches nothing in learner.json (nearest: when" in message


# --- rules of the store ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"0.4"', "= '0.4' is a string, a number is expected"),
        ("null", "= None is empty, a number is expected"),
        ("true", "= True is a boolean, a number is expected"),
        ("NaN", "= nan is not a finite number"),
        ("1e999", "= inf is not a finite number"),
        ("[0.4]", "= [0.4] is an array, a number is expected"),
        ("1.5", "= 1.5 is above its maximum 1.0"),
    ],
)
def test_values_that_are_wrong_are_refused_with_their_path(store: ParamStore, value: str, words: str) -> None:
    text = f'{{"BTC": {{"min": {value}}}}}'.encode()
    message = refused(errors.ValidationError, store, text, "{symbol}.min = gate.min_confidence")
    assert f"current values: `gate.min_confidence` {words}" in message
    assert ", from BTC.min. Nothing was written; revision 0 stands." in message


def test_an_infinite_value_that_no_map_takes_does_no_harm(store: ParamStore) -> None:
    bring(store, b'{"x": 2, "ev": NaN}', "x = plain.x")
    assert store.get("plain.x") == 2.0


BROKEN = {
    "history": [
        {"ts": 1, "weights": weights(0.3, 0.2)},
        {"ts": 2, "weights": weights(0.95, -1)},
        {"ts": 3, "weights": weights(0.3, 0.3)},
        {"ts": 4, "weights": weights(0.35, 0.15)},
    ],
    "weights": weights(0.4, 0.1),
}


@pytest.mark.parametrize("dry_run", [False, True])
def test_one_bad_version_refuses_all_and_all_problems_are_told(store: ParamStore, dry_run: bool) -> None:
    with untouched(store), pytest.raises(errors.ValidationError) as caught:
        bring(store, BROKEN, W, history="history", dry_run=dry_run)
    assert [text.partition(" (")[0] for text in caught.value.violations] == [
        "history[1]: `weights.a` = 0.95 is above its maximum 0.9",
        "history[1]: `weights.b` = -1.0 is below its minimum 0.0",
        "history[2]: `weights`: sum of a, b, c, d equals 1, but it is 1.1, 0.1 too much",
    ]
    assert "Nothing was written; revision 0 stands. Correct the file or the maps, or " in str(caught.value)


def test_bad_versions_may_be_left_out(store: ParamStore) -> None:
    report = bring(store, BROKEN, W, history="history", on_violation="skip")
    assert [version.revision for version in report.versions] == [1, None, None, 2, 3]
    assert [len(version.problems) for version in report.versions] == [0, 2, 1, 0, 0]
    assert [version.changes == () for version in report.versions] == [False, True, True, False, False]
    assert report.versions[3].changes[0].old == 0.3
    assert [c.new for e in store.history("weights.a") for c in e.changes] == [0.25, 0.3, 0.35, 0.4]
    assert store.history()[-1].evidence["version"] == "5 of 5"


def test_what_is_left_out_does_not_count_for_later_versions(store: ParamStore) -> None:
    lines = [{"w": weights(0.9, 0.9)}, {"w": {"a": 0.3, "b": 0.2}}, {"w": {"a": 0.25, "b": 0.25}}]
    lines[0]["w"]["c"] = 0.5
    report = bring(store, lines, "w.* = weights.*", on_violation="skip")
    assert [version.revision for version in report.versions] == [None, 1, 2]
    assert store.get("weights.c") == 0.25


def test_a_version_is_judged_on_top_of_those_before_it(store: ParamStore) -> None:
    data = {"history": [{"weights": weights(0.4, 0.1)}], "weights": {"a": 0.3, "b": 0.2}}
    bring(store, data, W, history="history")  # the sum would not be 1 without c and d of the first
    assert store.get("weights.b") == 0.2
    lines = [{"weights": {"a": 0.5, "b": 0.0}}, {"weights": {"a": 0.3}}]  # on top of the first it is 0.8
    assert "[1]: `weights`: sum of" in refused(errors.ValidationError, store, lines, W)


def test_a_complete_override_must_keep_the_constraint(store: ParamStore) -> None:
    spec = "{regime}.* = weights.*"
    message = refused(errors.ValidationError, store, {"chop": weights(0.4, 0.4)}, spec)
    assert "in {'regime': 'chop'}: `weights`: sum of" in message


def test_digits_that_are_rounded_away_are_told(store: ParamStore) -> None:
    data = {"weights": weights(0.33334, 0.16664, 0.24994, 0.25008)}
    message = refused(errors.ValidationError, store, data, W)
    assert "The schema's `decimals` keep `weights.a` = 0.33334 as 0.3333 and 3 others." in message
    bring(store, {"weights": weights(0.30001, 0.2)}, W)
    assert store.get("weights.a") == 0.3


def test_very_many_problems_are_counted(store: ParamStore) -> None:
    with pytest.raises(errors.ValidationError) as caught:
        bring(store, [{"x": 99}] * 250, "x = plain.x")
    assert len(caught.value.violations) == 201
    assert "… and 50 more." in str(caught.value)


def test_on_violation_has_two_words(store: ParamStore) -> None:
    assert "use 'reject' or 'skip'" in refused(
        errors.ValidationError, store, {"x": 1}, "x = plain.x", on_violation="clamp"
    )


def test_keys_that_nobody_knows_are_refused_with_the_nearest(store: ParamStore) -> None:
    data = {"weights": {"a": 0.3, "bb": 0.2}, "g": {"min_confidense": 1}}
    message = refused(errors.UnknownParamError, store, data, W, "g.* = gate.*")
    assert message.startswith("`weights.bb` is not a known parameter.")
    assert "weights.bb in learner.json is mapped to it." in message
    assert "Unknown as well: `gate.min_confidense` (g.min_confidense)." in message
    assert "Nothing was written; revision 0 stands." in message
    message = refused(errors.UnknownParamError, store, {"g": {"min_confidense": 1}}, "g.* = gate.*")
    assert "Did you mean `gate.min_confidence`?" in message
    assert "'' is not a key" not in refused(errors.UnknownParamError, store, {"": 1}, "* = gate.*")


def test_dimensions_that_do_not_exist_are_refused(store: ParamStore) -> None:
    message = refused(errors.ContextError, store, {"B": {"m": 0.4}}, "{sybmol}.m = gate.min_confidence")
    assert message.startswith("B.m: `sybmol` is no declared dimension")
    assert "Did you mean `symbol`?" in message and "revision 0 stands" in message
    message = refused(errors.ContextError, store, {"range": {"m": 0.4}}, "{regime}.m = gate.min_confidence")
    assert "range.m: 'range' is not a value of dimension `regime`: one of 'trend', 'chop'" in message
    assert "{dimension:this|that}" in message
    message = refused(errors.ValidationError, store, {"chop": {"x": 2}}, "{regime}.x = plain.x")
    assert "`plain` has no dimension `regime`" in message


def test_an_author_is_needed(store: ParamStore) -> None:
    with untouched(store), pytest.raises(errors.ValidationError, match="needs an author"):
        run_import(store, plan({"x": 2}, "x = plain.x"), author=" ", on_violation="skip")


def test_a_broken_file_refuses_whatever_is_left_out(root: Path, store: ParamStore) -> None:
    store.get("plain.x")
    local_store.write(root / "params" / "plain.yaml", "schema: 1\nvalues: {x: 99}\n")
    message = refused(errors.ValidationError, store, {"x": 2}, "x = plain.x", on_violation="skip")
    assert "params/plain.yaml" in message


# --- somebody else writes meanwhile ---------------------------------------------------------------


def meddle(monkeypatch: pytest.MonkeyPatch, root: Path, before: int, dry_run: bool = False) -> None:
    """Let somebody commit just before the transaction number ``before`` that is (not) a dry run."""
    real, count = ParamStore.transaction, [0]

    def transaction(self: ParamStore, **words: Any) -> Any:
        mine = words.get("dry_run", False) == dry_run
        count[0] += mine
        if mine and count[0] == before:
            with real(ParamStore(root, environ={}), author="other") as tx:
                tx["gate.mode"] = "slow"
        return real(self, **words)

    monkeypatch.setattr(ParamStore, "transaction", transaction)


def test_a_check_sees_one_revision(monkeypatch: pytest.MonkeyPatch, root: Path, store: ParamStore) -> None:
    meddle(monkeypatch, root, before=3, dry_run=True)
    with pytest.raises(errors.ConflictError, match="Revision 0 was expected, but 1 stands"):
        bring(store, [{"x": 2}, {"x": 3}], "x = plain.x", dry_run=True)


def test_what_was_checked_is_what_is_written(
    monkeypatch: pytest.MonkeyPatch, root: Path, store: ParamStore
) -> None:
    meddle(monkeypatch, root, before=1)
    with pytest.raises(errors.ConflictError, match="Revision 0 was expected, but 1 stands"):
        bring(store, [{"x": 2}, {"x": 3}], "x = plain.x")
    assert store.get("plain.x") == 1.0


def test_an_import_that_ends_in_the_middle_says_so(
    monkeypatch: pytest.MonkeyPatch, root: Path, store: ParamStore
) -> None:
    meddle(monkeypatch, root, before=2)
    with pytest.raises(ImportStoppedError) as caught:
        bring(store, [{"x": 2}, {"x": 3}, {"x": 4}], "x = plain.x")
    message = str(caught.value)
    assert message.startswith("Version 2 of 3 and those after it were not imported: Revision 1 was expected")
    assert "Those before it are written; revision 1 stands. `paramstore rollback 0` takes back" in message
    assert store.get("plain.x") == 2.0
    store.rollback(0, author="me")
    assert store.get("plain.x") == 1.0


# --- maps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("weights.*", "it has no `=`"),
        ("", "it has no `=`"),
        ("x = ", "'' is no key"),
        ("x = a b", "'a b' is no key"),
        ("x = gate.", "'gate.' is no key"),
        (" = gate.x", "'' is no path"),
        ("a..b = gate.x", "'a..b' is no path"),
        ("a b = gate.x", "'a b' is no path"),
        ("w_* = gate.x_*", "'gate.x_*' is no key"),
        ("w_* = gate.*", "'w_*' is no path"),
        ("{a = gate.x", "'{a' is no path"),
        ('"a = gate.x', "'\"a' is no path"),
        ("{regime}.x = gate.{regime}", "a {dimension} stands on the left only"),
        ("{regime}.{regime} = gate.x", "it names a dimension twice"),
        ("a.*.* = gate.*", "it has 2 `*` on the left and 1 on the right"),
        ("a.b = gate.*", "it has 0 `*` on the left and 1 on the right"),
        ("a.* = gate.b", "it has 1 `*` on the left and 0 on the right"),
    ],
)
def test_malformed_maps_are_refused(spec: str, words: str) -> None:
    with pytest.raises(ImportMapError) as caught:
        plan({"x": 1}, spec)
    assert f"The map {spec!r} is wrong: {words}" in str(caught.value)
    assert "Nothing was written. Write 'path.in.json.* = namespace.path.*'" in str(caught.value)


def test_a_map_that_matches_nothing_is_refused_with_the_nearest_paths() -> None:
    with pytest.raises(ImportMapError) as caught:
        plan({"weights": {"a": 1, "b": 2}, "samples": 3}, W, "wieghts.* = weights.*", "weights = weights.a")
    first, second, last = str(caught.value).split("\n")
    assert first == "'wieghts.* = weights.*' matches nothing in learner.json (nearest: weights.b, weights.a)."
    assert second.startswith("'weights = weights.a' matches nothing in learner.json (nearest: weights.")
    assert last.startswith("Nothing was written.")


def test_no_map_at_all_is_refused() -> None:
    with pytest.raises(ImportMapError, match="No map is given"):
        plan({"x": 1})


def test_a_star_matches_values_and_not_objects() -> None:
    found = plan({"w": {"a": 1, "deep": {"b": 2}, "none": {}}}, "w.* = gate.*")
    assert [cell.key for cell in found.versions[0].values] == ["gate.a"]
    assert found.unmatched == ("w.deep.b",)


def test_a_file_that_is_no_map_is_refused_soon_and_in_few_words(tmp_path: Path) -> None:
    path = local_store.write(tmp_path / "learner.json", json.dumps({"weights": [0.125] * 100_000}))
    with pytest.raises(ImportMapError, match="it has no `=`") as caught:
        plan({"x": 1}, *read_specs([f"@{path}"]))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "specs",
    [("a = gate.x", "b = gate.x"), ("* = gate.*", "b = gate.a"), ("a = gate.x", "a = gate.x")],
)
def test_two_values_for_one_key_are_refused(specs: tuple[str, ...]) -> None:
    with pytest.raises(ImportMapError, match=r"^[ab] and [ab] are both mapped to `gate\.[ax]`\.") as caught:
        plan({"a": 1, "b": 2}, *specs)
    assert "Nothing was written; drop one map, or make it narrower." in str(caught.value)


def test_two_values_in_one_context_are_refused_by_its_name() -> None:
    with pytest.raises(ImportMapError) as caught:
        plan({"B": {"x": 1}, "more": {"B": {"x": 2}}}, "{symbol}.x = gate.x", "more.{symbol}.x = gate.x")
    assert str(caught.value).startswith("B.x and more.B.x are both mapped to `gate.x` at symbol=B.")


def test_one_value_may_go_to_two_places() -> None:
    found = plan({"x": 1}, "x = gate.a", "x = gate.b")
    assert [cell.key for cell in found.versions[0].values] == ["gate.a", "gate.b"]


def test_maps_come_from_files_with_comments(tmp_path: Path, store: ParamStore) -> None:
    text = f'\ufeff# the "gate"\n\n{W}   # all "of\' them\r\n"a#b" = plain.x # last\n   # indented\n'
    local_store.write(tmp_path / "map.txt", text)
    specs = read_specs([f"@{tmp_path}/map.txt", "m = gate.min_confidence"])
    assert specs == [W, '"a#b" = plain.x', "m = gate.min_confidence"]
    bring(store, {"weights": weights(0.3, 0.2), "a#b": 5, "m": 0.5}, *specs)
    assert store.get("plain.x") == 5.0


def test_map_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match=r"missing\.txt: cannot be read: No such file"):
        read_specs([f"@{tmp_path}/missing.txt"])
    path = local_store.write(tmp_path / "map.txt", b"\xff")
    with pytest.raises(ImportFileError, match="is not UTF-8 at byte 0"):
        read_specs([f"@{path}"])


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is not JSON: Expecting value"),
        (b"{'x': 1}", "is not JSON: Expecting property name"),
        (b'{\n "x": 1\n "y": 2}', "learner.json:3: is not JSON: Expecting ',' delimiter"),
        (b'{"x": 1}\n{"x": 2}\n{"x": ', "learner.json:3: is not JSON: Expecting value"),
        (b"\xff{}", "is not UTF-8 at byte 0"),
        (b"[" * 100_000, "is not JSON: "),
        (b'{"x": ' + b"9" * 5000 + b"}", "is not JSON: Exceeds the limit"),
        (b'{"x": ' + b"[" * 200 + b"]" * 200 + b"}", "goes deeper than 100 levels"),
        (b'{"x":' * 200 + b"1" + b"}" * 200, "goes deeper than 100 levels"),
        (b"3", "is no JSON object"),
        (b'[{"x": 1}, 4]', "learner.json at [1]: is no JSON object"),
        (b'{"x": 1}\n[2]', "learner.json at line 2: is no JSON object"),
        (b'{"x": 1, "w": {"a": 1, "a": 2}}', "learner.json at w.a: the key stands there twice"),
        (b'{"x": 1, "l": [1, {"a": 1, "a": 1}]}', "learner.json at l[1].a: the key stands there twice"),
        (b'{"x": 1}\n{"x": 1, "x": 2}', "learner.json at line 2 x: the key stands there twice"),
    ],
)
def test_files_that_cannot_be_imported(store: ParamStore, text: bytes, words: str) -> None:
    assert words in refused(ImportFileError, store, text, "x = plain.x")


def test_an_empty_list_matches_nothing(store: ParamStore) -> None:
    assert "matches nothing in learner.json." in refused(ImportMapError, store, [], "x = plain.x")


def test_huge_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "LARGEST", 1 << 20)
    path = local_store.write(tmp_path / "big.json", b" " * (2 << 20))
    assert len(read_file(str(path))) == (1 << 20) + 1
    with pytest.raises(
        ImportFileError, match=r"big.json: is larger than 1 MB. Nothing was written; split it"
    ):
        plan_import(read_file(str(path)), "big.json", ["x = plain.x"])


def test_the_limit_is_64_mb() -> None:
    assert importing.LARGEST == 64 * 1024 * 1024


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ImportFileError, match="cannot be read: "):
            read_file(str(path))
    with pytest.raises(ImportFileError, match="cannot be read: embedded null byte"):
        read_file("a\0b")


@pytest.mark.parametrize(
    ("data", "history", "words"),
    [
        ({"x": 1, "histroy": []}, "history", "at history: there is no list, but --history names it"),
        ({"x": 1, "histroy": []}, "history", "name the list of versions (nearest: histroy)"),
        ({"x": 1, "history": {"a": 1}}, "history", "at history: there is no list"),
        ({"x": 1, "history": 5}, "history", "at history: there is no list"),
        ({"x": 1, "history": [{"x": 1}, 7]}, "history", "at history[1]: is no JSON object"),
        ([{"x": 1}], "history", "is a list of versions itself"),
    ],
)
def test_history_that_is_none(store: ParamStore, data: Any, history: str, words: str) -> None:
    assert words in refused(ImportFileError, store, data, "x = plain.x", history=history)


def test_a_history_in_which_no_map_matches_is_refused(store: ParamStore) -> None:
    message = refused(ImportMapError, store, {"x": 1, "log": [{"y": {"x": 2}}]}, "x = plain.x", history="log")
    assert "'--history log' matches nothing in learner.json (nearest: y.x, x)" in message


# --- reports --------------------------------------------------------------------------------------


def test_paths_without_a_map_are_listed_up_to_twenty() -> None:
    data = {"x": 1, "ts": 5, **{f"n{index}": 0 for index in range(30)}}
    found = plan(data, "x = plain.x")
    assert (len(found.unmatched), found.unmatched_count) == (20, 30)
    assert found.unmatched[:2] == ("n0", "n1")


def test_a_report_is_plain_data(store: ParamStore) -> None:
    report = bring(store, {"g": {"steps": [1, 2], "mode": "slow"}}, "g.* = gate.*")
    data = json.loads(json.dumps(asdict(report), allow_nan=False))
    assert data["versions"][0]["changes"][0] == {
        "key": "gate.steps", "context": {}, "old": [1.0], "new": [1.0, 2.0], "where": "g.steps",
    }  # fmt: skip


def test_odd_names_go_all_the_way(store: ParamStore) -> None:
    names = ["a: {b}", "# x", "é.ü", "new\nline", '"q"', "*", "{symbol}", " ", "null", "1"]
    report = bring(store, {name: {"m": 0.5} for name in names}, "{symbol}.m = gate.min_confidence")
    assert [cell.context["symbol"] for cell in report.versions[0].changes] == names
    fresh = ParamStore(store.root, environ={})
    assert all(fresh.get("gate.min_confidence", symbol=name) == 0.5 for name in names)


def test_half_a_character_is_no_traceback(store: ParamStore) -> None:
    for text in (b'{"\\ud800": {"m": 0.5}}', b'{"a \\ud800": {"m": 0.5}}'):
        message = refused(ImportMapError, store, text, "{symbol}.m = gate.min_confidence")
        assert "matches nothing" in message
    bring(store, b'{"x": 2, "\\ud801": 1, "reason": "\\ud800", "ts": "\\ud800"}', "x = plain.x")
    assert ParamStore(store.root, environ={}).history()[-1].reason == "\ud800"


def test_nothing_is_printed_and_another_process_sees_it(
    root: Path, store: ParamStore, capsys: pytest.CaptureFixture[str]
) -> None:
    bring(store, HISTORY, W, history="history")
    assert capsys.readouterr() == ("", "")
    words = [sys.executable, "-m", "paramstore", "--root", str(root), "check"]
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PARAM")}
    environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environ, cwd=root)
    assert done.stdout.endswith("everything is in order\n"), done.stdout


def test_limits_of_a_step_do_not_bind_an_import_but_a_freeze_does(tmp_path: Path) -> None:
    limits = {"learnable": True, "owner": "learner", "min_samples": 50, "max_step": 0.01, "cooldown_s": 60}
    raw = local_store.schema({"x": local_store.number(1.0, **{"x-param": limits})})
    root = local_store.write_store(tmp_path / "s", {"n": raw}, {"n": {"schema": 1, "values": {"x": 1.0}}})
    opened = ParamStore(root, environ={})
    data = {"history": [{"ts": "2025-12-01T10:00:00Z", "x": 2.0}], "x": 3.0}
    plan = plan_import(json.dumps(data).encode(), "w.json", ["x = n.x"], history="history")
    opened.freeze("n", author="ann", reason="stop")
    with pytest.raises(errors.ValidationError, match="`n\\.\\*` is frozen by ann: stop"):
        run_import(opened, plan, author="me")
    opened.unfreeze("n", author="ann")
    run_import(opened, plan, author="me")
    forced = [entry for entry in opened.history() if entry.kind == "commit"]
    assert [entry.changes[0].new for entry in forced] == [2.0, 3.0]
    assert all(entry.details == {"forced": True} for entry in forced)
