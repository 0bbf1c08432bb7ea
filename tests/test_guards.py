"""What binds learners: each guard alone and together, on values and on contexts, with a clock that a test turns."""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from local_store import number, schema, write_store

from paramstore import Evidence, ParamStore, _init
from paramstore._layers import Layers, context_values, contexts
from paramstore._ledger import RECORDED_MOST, Ledger
from paramstore._project import Infeasible, Variable, project
from paramstore._state import Dimension, Document
from paramstore.cli import cli
from paramstore.errors import ConflictError, JournalError, UnknownParamError, ValidationError
from paramstore.testing import ManualClock, memory_store

DIMENSIONS = {"symbol": {"type": "string"}, "regime": {"enum": ["trend", "chop"]}}


def store_of(
    limits: dict[str, Any], value: float = 1.0, constraints: Any = (), **more: Any
) -> tuple[ParamStore, ManualClock]:
    """Return a store with `n.x` under ``limits``, and `n.free` beside it."""
    clock = ManualClock()
    unit = {"unit": "fraction of score", "learnable": True}
    leaf = {**number(value, minimum=-10.0), "x-param": {**unit, **limits}, **more}
    raw = schema({"x": leaf, "free": number(1.0)}, DIMENSIONS, constraints)
    return memory_store({"n": raw}, clock=clock), clock


def put(store: ParamStore, value: Any, author: str = "learner", key: str = "n.x", **words: Any) -> Any:
    context = {name: words.pop(name) for name in DIMENSIONS if name in words}
    with store.transaction(author=author, **words) as tx:
        tx.set(key, value, **context)
    return tx.commit_result


@contextmanager
def refused(*rules: str) -> Iterator[list[ValidationError]]:
    """Fail unless the block is refused by exactly these rules, and each violation says all that it has to."""
    caught: list[ValidationError] = []
    with pytest.raises(ValidationError) as info:
        yield caught
    caught.append(info.value)
    broken = info.value.broken
    assert sorted(violation.rule for violation in broken) == sorted(rules), str(info.value)
    assert "Nothing was written; revision" in str(info.value) and " Next: " in str(info.value)
    for violation in broken:
        assert violation.key in violation.text and "schemas/" in violation.text


# --- each guard ---------------------------------------------------------------------------------


def test_a_parameter_is_for_people_unless_its_schema_says_otherwise() -> None:
    for limits in ({"learnable": False}, {"learnable": None}):
        about = {name: value for name, value in limits.items() if value is not None}
        raw = schema({"x": {**number(1.0), "x-param": {"learnable": True}}})
        raw["properties"]["values"]["properties"]["x"]["x-param"] = about
        store = memory_store({"n": raw})
        with refused("learnable") as caught:
            put(store, 2.0)
        assert "`n.x` = 2.0 is refused: it is not learnable" in str(caught[0])
        assert put(store, 2.0, force=True, reason="mine").changes[0].overrode == ("learnable",)


def test_only_the_owner_writes() -> None:
    store, _ = store_of({"owner": "the_learner"})
    with refused("owner") as caught:
        put(store, 1.1, author="another")
    assert "its owner is `the_learner`, not `another`" in str(caught[0])
    assert put(store, 1.1, author="the_learner").revision == 1


@pytest.mark.parametrize("evidence", [None, {}, {"samples": 49}, {"metric": "ev"}])
def test_samples_are_asked_for(evidence: Any) -> None:
    store, _ = store_of({"min_samples": 50})
    with refused("min_samples"):
        put(store, 1.1, evidence=evidence)
    assert put(store, 1.1, evidence={"samples": 50}).revision == 1


def test_evidence_is_asked_for_where_the_schema_says_so() -> None:
    store, _ = store_of({"evidence": ["metric", "code_revision"]})
    with refused("evidence") as caught:
        put(store, 1.1, evidence={"metric": "ev"})
    assert "its evidence lacks `code_revision`" in str(caught[0])
    with refused("evidence") as caught:
        put(store, 1.1, evidence={"metrik": "ev", "code_revision": "3f2a"})
    assert "lacks `metric` (is `metrik` misspelt?)" in str(caught[0])
    assert put(store, 1.1, evidence=Evidence(metric="ev", code_revision="3f2a")).revision == 1


@pytest.mark.parametrize(
    ("old", "new", "step", "fits"),
    [
        (0.15, 0.2, 0.05, True),  # 0.05000000000000002 to a float
        (0.1, 0.3, 0.2, True),
        (0.15, 0.2001, 0.05, False),
        (0.3, 0.1, 0.2, True),
        (0.3, 0.0999, 0.2, False),
        (-1.0, -1.05, 0.05, True),
        (-1.0, -1.06, 0.05, False),
    ],
)
def test_a_step_is_limited_in_decimal(old: float, new: float, step: float, fits: bool) -> None:
    store, _ = store_of({"max_step": step}, value=old)
    if fits:
        assert put(store, new).changes[0].new == new
    else:
        with refused("max_step") as caught:
            put(store, new)
        low, high = caught[0].broken[0].allowed
        assert (low, high) == (
            float(Decimal(str(old)) - Decimal(str(step))),
            float(Decimal(str(old)) + Decimal(str(step))),
        )
        assert f"`n.x` = {new} is " in str(caught[0]) and f"more than its max_step {step:g}" in str(caught[0])
        assert f"Allowed now: {low} to {high}" in str(caught[0]) and "fraction of score" in str(caught[0])


def test_a_relative_step_is_of_what_the_value_is_now() -> None:
    store, _ = store_of({"max_step_relative": 0.2}, value=0.05)
    with refused("max_step_relative"):
        put(store, 0.0601)
    put(store, 0.06)
    put(store, 0.072)
    with refused("max_step_relative"):
        put(store, 0.05)
    nothing, _ = store_of({"max_step_relative": 0.2}, value=0.0)
    with refused("max_step_relative") as caught:  # a fifth of nothing is nothing
        put(nothing, 0.001)
    assert caught[0].broken[0].allowed == (0.0, 0.0)


def test_many_small_steps_cannot_walk_away_until_a_person_approves() -> None:
    store, _ = store_of({"max_step": 0.1, "max_drift": 0.25})
    for value in (1.1, 1.2, 1.25):
        put(store, value)
    with refused("max_drift") as caught:
        put(store, 1.26)
    assert "0.26 away from the approved baseline 1.0, more than its max_drift 0.25" in str(caught[0])
    entry = store.approve("n.x", author="me", reason="looks right")
    assert entry.details["baselines"] == [{"key": "n.x", "value": 1.25}]
    put(store, 1.35)
    put(store, 1.45)
    put(store, 1.5)
    with refused("max_drift"):
        put(store, 1.51)


def test_a_person_moves_the_baseline_by_writing_and_a_rollback_does_not() -> None:
    store, _ = store_of({"max_drift": 0.2})
    put(store, 2.0, force=True, reason="I know")
    put(store, 2.2)
    with refused("max_drift"):
        put(store, 1.0)
    store.rollback(0, author="me", reason="undo")
    assert store.get("n.x") == 1.0
    put(store, 1.5)  # outside of 2.0 +- 0.2, but on the way back
    with refused("max_drift"):
        put(store, 1.4)


def test_an_edit_by_hand_moves_the_baseline(tmp_path: Path) -> None:
    leaf = {**number(1.0), "x-param": {"learnable": True, "max_drift": 0.2}}
    text = "schema: 1\nvalues:\n  x: 1.0\n"
    root = write_store(tmp_path / "s", {"n": schema({"x": leaf})}, {"n": text})
    store = ParamStore(root, environ={})
    put(store, 1.1)
    (root / "params" / "n.yaml").write_text(text.replace("1.0", "3.0"))
    put(store, 3.2)
    with refused("max_drift"):
        put(store, 2.7)
    assert [entry.kind for entry in store.history()] == ["external", "commit", "external", "commit"]


# --- time ---------------------------------------------------------------------------------------


def test_a_cooldown_counts_from_the_last_change_by_anyone() -> None:
    store, clock = store_of({"cooldown_s": 60})
    put(store, 1.1)  # what the journal begins with is no change
    clock.advance(59)
    with refused("cooldown_s") as caught:
        put(store, 1.2)
    assert "comes 59 s after the last change, within its cooldown_s 60" in str(caught[0])
    assert "for another 1 s, until 2027-01-15T08:01:00Z" in str(caught[0])
    put(store, 1.1)  # no change, no question
    clock.advance(1)
    put(store, 1.2)
    clock.advance(30)
    put(store, 1.3, force=True, reason="now")
    clock.advance(59)
    with refused("cooldown_s"):
        put(store, 1.4)
    put(store, 2.0, key="n.free")
    clock.advance(1)
    put(store, 1.4)


@pytest.mark.parametrize("jump", [1, 30, 59, 60, 61, 3600, 10 * 365 * 86_400])
@pytest.mark.parametrize("back", [True, False])
def test_setting_the_clock_neither_ends_nor_lengthens_a_cooldown(jump: float, back: bool) -> None:
    store, clock = store_of({"cooldown_s": 60})
    put(store, 1.1)
    clock.advance(10)
    clock.set_back(jump if back else -jump)
    with refused("cooldown_s"):
        put(store, 1.2)
    clock.advance(49.9)
    with refused("cooldown_s"):
        put(store, 1.2)
    clock.advance(0.1)
    put(store, 1.2)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["wait", "back", "reboot", "try"]), st.floats(0, 150)),
        min_size=1,
        max_size=25,
    )
)
def test_after_reboots_a_clock_set_back_adds_at_most_the_cooldown_itself(
    steps: list[tuple[str, float]],
) -> None:
    """Never early, by a clock that only goes back. And each time that it is set back adds at most what it was set back
    by, or the cooldown if that is less, counted from when the learner first asked since the last reboot."""
    cooldown_s = 60.0
    store, clock = store_of({"cooldown_s": cooldown_s})
    put(store, 1.1)
    real, over, wanted_until = 0.0, cooldown_s, float("-inf")  # when the wait is over, at the latest
    changed = 0.0
    for index, (what, length) in enumerate(steps):
        if what == "wait":
            clock.advance(length)
            real += length
        elif what == "back":
            clock.set_back(length)
            over += min(length, cooldown_s)
            wanted_until += min(length, cooldown_s)
        elif what == "reboot":
            clock.reboot()
            wanted_until = float("-inf")  # the uptime that told is gone: the wait is counted anew
        else:
            try:
                put(store, 1.2 + index / 100)
            except ValidationError:
                if wanted_until == float("-inf"):
                    wanted_until = real + cooldown_s
                assert real < max(over, wanted_until) + 1e-5
            else:
                assert real - changed >= cooldown_s - 1e-5
                changed, over, wanted_until = real, real + cooldown_s, float("-inf")


def test_the_cooldown_survives_in_the_journal_of_another_process(tmp_path: Path) -> None:
    leaf = {**number(1.0), "x-param": {"learnable": True, "cooldown_s": 60}}
    root = write_store(tmp_path / "s", {"n": schema({"x": leaf})}, {"n": {"schema": 1, "values": {"x": 1.0}}})
    clock = ManualClock()
    put(ParamStore(root, environ={}, clock=clock), 1.1)
    clock.set_back(1000)
    clock.advance(59)
    other = ParamStore(root, environ={}, clock=clock)
    with refused("cooldown_s"):
        put(other, 1.2)
    clock.advance(1)
    put(other, 1.2)
    assert [entry.time[:19] for entry in other.history()][-1] == "2027-01-15T07:44:20"


# --- all together -------------------------------------------------------------------------------


def test_all_broken_guards_are_reported_together_with_everything_else() -> None:
    limits = {"owner": "a", "min_samples": 5, "max_step": 0.1, "max_step_relative": 0.1, "max_drift": 0.2,
              "cooldown_s": 60, "evidence": ["metric"], "learnable": True}  # fmt: skip
    store, _ = store_of(limits)
    put(store, 1.05, author="a", evidence={"samples": 5, "metric": "m"})
    store.freeze("n.x", author="me", reason="look at it first")
    rules = [
        "owner",
        "min_samples",
        "evidence",
        "max_step",
        "max_step_relative",
        "max_drift",
        "cooldown_s",
        "freeze",
    ]
    with refused(*rules, "maximum"), store.transaction(author="b") as tx:
        tx["n.x"] = 3.0
        tx["n.free"] = 11.0
    entry = store.history(refused=True)[-1]
    assert {item["rule"] for item in entry.details["violations"]} == {*rules, "maximum"}
    assert all(item["requested"] in (3.0, 11.0) for item in entry.details["violations"])
    assert all("text" in item or len(item["allowed"]) == 2 for item in entry.details["violations"])
    assert json.dumps(dict(entry.details))


def test_a_value_that_is_no_number_is_guarded_as_well() -> None:
    about = {"x-param": {"learnable": True, "owner": "a", "cooldown_s": 60}}
    raw = schema({"on": {"type": "boolean", "default": True, **about}})
    store = memory_store({"n": raw}, clock=ManualClock())
    with refused("owner"):
        put(store, False, key="n.on")
    put(store, False, key="n.on", author="a")
    with refused("cooldown_s"):
        put(store, True, key="n.on", author="a")


@pytest.mark.parametrize("word", ["max_step", "max_step_relative", "max_drift"])
def test_a_step_of_what_is_no_number_is_a_wrong_schema(word: str) -> None:
    raw = schema({"on": {"type": "boolean", "default": True, "x-param": {word: 1.0}}})
    with pytest.raises(ValueError, match=f"x-param/{word}: `{word}` limits a number; this is boolean"):
        memory_store({"n": raw}).get("n.on")


def test_an_integer_steps_in_whole_numbers() -> None:
    leaf = {
        "type": "integer",
        "minimum": 0,
        "maximum": 100,
        "default": 30,
        "x-param": {"max_step_relative": 0.25},
    }
    store = memory_store({"n": schema({"count": leaf})})
    with refused("max_step_relative") as caught:
        put(store, 38, key="n.count")
    assert caught[0].broken[0].allowed == (22.5, 37.5)
    with store.transaction(author="learner") as tx:
        tx.propose("n", {"count": 99}, on_violation="clamp")
    assert (store.get("n.count"), tx.commit_result.changes[0].bound_by) == (37, "max_step_relative")


# --- force --------------------------------------------------------------------------------------


def test_force_needs_a_reason_and_never_passes_bounds_or_constraints() -> None:
    store, _ = store_of({"max_step": 0.1}, constraints=[{"sum": ["*"], "maximum": 5}])
    with pytest.raises(ValidationError, match="A forced change needs a reason"):
        put(store, 2.0, force=True, reason=" ")
    with refused("maximum"):
        put(store, 11.0, force=True, reason="mine")
    with refused("constraint"):
        put(store, 4.5, force=True, reason="mine")
    result = put(store, 2.0, author="me", force=True, reason="mine")
    assert result.changes[0].overrode == ("max_step",)
    entry = store.history()[-1]
    assert (entry.details, entry.reason, entry.changes[0].overrode) == (
        {"forced": True},
        "mine",
        ("max_step",),
    )
    assert put(store, 2.05, force=True, reason="small").changes[0].overrode == ()


# --- freezes ------------------------------------------------------------------------------------


def test_a_freeze_names_who_froze_what_why_and_until_when() -> None:
    store, clock = store_of({})
    store.freeze("n", author="ann", reason="weekend", until=3600)
    with refused("freeze") as caught:
        put(store, 1.1)
    said = "`n.x` = 1.1 is refused: `n.*` is frozen by ann since 2027-01-15T08:00:00Z until 2027-01-15T09:00:00Z, because: weekend"
    assert said in str(caught[0])
    assert store.get("n.x") == 1.0 and len(store.freezes()) == 1
    clock.advance(3600)
    assert store.freezes() == ()
    put(store, 1.1)


def test_freezes_overlap_replace_and_end_one_by_one() -> None:
    store, _ = store_of({})
    store.freeze("*", author="a", reason="all")
    store.freeze("n.x", author="b", reason="pin")
    store.freeze("n.x", author="c", reason="for a second", until=1)
    assert [(f.pattern, f.reason) for f in store.freezes()] == [
        ("*", "all"),
        ("n.x", "pin"),
        ("n.x", "for a second"),
    ]
    store.unfreeze("*", author="a")
    put(store, 2.0, key="n.free")
    with refused("freeze"):
        put(store, 1.1)
    with pytest.raises(
        ValidationError, match=re.escape("There is no freeze of exactly `n.*`. Frozen now: `n.x`.")
    ):
        store.unfreeze("n", author="a")
    store.unfreeze("n.x", author="a")
    put(store, 1.1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"reason": " "}, "A freeze needs a reason"),
        ({"until": -1}, "within the next hundred years"),
        ({"until": float("nan")}, "neither a time nor a number"),
        ({"until": True}, "neither a time nor a number"),
        ({"until": "soon"}, "no time such as"),
        ({"until": "2020-01-01"}, "is not after now"),
        ({"until": "9999-12-31T23:59:59-12:00"}, "within the next hundred years"),
        ({"until": datetime.max}, "within the next hundred years"),
    ],
)
def test_a_freeze_that_makes_no_sense_is_refused(words: dict[str, Any], said: str) -> None:
    store, _ = store_of({})
    with pytest.raises(ValidationError, match=said):
        store.freeze("n", **{"author": "a", "reason": "r", **words})
    assert store.freezes() == ()


@pytest.mark.parametrize("pattern", ["n.y", "m", "", "m.*", "n."])
def test_a_freeze_that_would_protect_nothing_is_an_error(pattern: str) -> None:
    store, _ = store_of({})
    with pytest.raises(UnknownParamError):
        store.freeze(pattern, author="a", reason="r")


def test_a_rollback_passes_guards_but_not_a_freeze() -> None:
    store, _ = store_of({"owner": "a", "cooldown_s": 60, "min_samples": 3})
    put(store, 1.1, author="a", evidence={"samples": 3})
    store.freeze("*", author="me", reason="stop")
    with refused("freeze"):
        store.rollback(0, author="me")
    with pytest.raises(ValidationError, match="needs a reason"):
        store.rollback(0, author="me", force=True)
    store.rollback(0, author="me", force=True, reason="back to safety")
    assert store.get("n.x") == 1.0
    store.unfreeze("*", author="me")
    assert store.rollback(1, author="me").changes[0].new == 1.1


# --- clamp and project --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "asked", "applied", "bound_by"),
    [
        ({"max_step": 0.3}, 2.0, 1.3, "max_step"),
        ({"max_step": 0.3, "max_step_relative": 0.2}, 2.0, 1.2, "max_step_relative"),
        ({"max_step": 0.3, "max_drift": 0.1}, 0.0, 0.9, "max_drift"),
        ({"max_step_relative": 1 / 3, "decimals": 2}, 2.0, 1.33, "max_step_relative"),
        ({"max_step": 0.014, "decimals": 2}, 1.0149, 1.01, "max_step"),
        ({"max_step": 0.004, "decimals": 2}, 2.0, 1.0, "max_step"),
        ({}, 99.0, 10.0, "maximum"),
        ({}, -99, -10.0, "minimum"),
    ],
)
@pytest.mark.parametrize("how", ["clamp", "project"])
def test_a_value_goes_to_its_nearest_limit_in_its_digits(
    how: Any, limits: dict[str, Any], asked: float, applied: float, bound_by: str
) -> None:
    store, _ = store_of(limits)
    with store.transaction(author="learner") as tx:
        tx.propose("n", {"x": asked}, on_violation=how)
        assert tx["n.x"] == applied
    change = tx.commit_result.changes[0]
    assert (change.requested, change.new, change.bound_by) == (asked, applied, bound_by)
    assert store.get("n.x") == applied


def test_what_a_rule_keeps_is_told_and_recorded_though_nothing_changes() -> None:
    store, _ = store_of({}, value=10.0)
    with store.transaction(author="learner") as tx:
        tx.propose("n", {"x": 12.0}, on_violation="clamp")
    (change,) = tx.commit_result.changes
    assert (change.old, change.new, change.requested, change.bound_by) == (10.0, 10.0, 12.0, "maximum")
    assert (tx.commit_result.revision, store.revision, tx.commit_result.entry) == (0, 0, None)
    assert store.history(refused=True)[-1].details["violations"][0]["rule"] == "maximum"


SUM = [{"sum": ["w.*"], "equals": 1}]


def weights(*values: float, **limits: Any) -> tuple[ParamStore, ManualClock]:
    about = {"learnable": True, "decimals": 4, **limits}
    leaves = {f"w{i}": {**number(v, maximum=1.0), "x-param": about} for i, v in enumerate(values)}
    group = {"type": "object", "additionalProperties": False, "properties": leaves}
    clock = ManualClock()
    return memory_store(
        {"n": schema({"w": group, "other": number(1.0)}, DIMENSIONS, SUM)}, clock=clock
    ), clock


def test_a_projection_moves_the_rest_of_its_group_and_nothing_else() -> None:
    store, _ = weights(0.5, 0.3, 0.2)
    with store.transaction(author="learner") as tx:
        tx.propose("n.w", {"w0": 0.6}, on_violation="project")
    changes = {change.key: change for change in tx.commit_result.changes}
    new = {key: Decimal(repr(change.new)) for key, change in changes.items()}
    assert sum(new.values()) == 1  # a third of the tenth from each
    assert {key: round(value, 3) for key, value in new.items()} == {
        "n.w.w0": Decimal("0.567"), "n.w.w1": Decimal("0.267"), "n.w.w2": Decimal("0.167"),
    }  # fmt: skip
    assert (changes["n.w.w0"].requested, changes["n.w.w1"].requested) == (0.6, 0.3)
    assert all(change.bound_by == "sum of w.w0, w.w1, w.w2 equals 1" for change in changes.values())
    with store.transaction(author="learner") as tx:
        tx.propose("n.w", {key.removeprefix("n.w."): float(value) for key, value in new.items()}, "project")
    assert tx.commit_result.changes == ()


def test_a_projection_moves_around_what_is_held() -> None:
    store, clock = weights(0.5, 0.3, 0.2, cooldown_s=60)
    store.freeze("n.w.w1", author="me", reason="pinned")
    with store.transaction(author="learner") as tx:
        tx.propose("n.w", {"w0": 0.6, "w1": 0.9}, on_violation="project")
    kept = next(change for change in tx.commit_result.changes if change.key == "n.w.w1")
    assert (kept.old, kept.new, kept.requested, kept.bound_by) == (0.3, 0.3, 0.9, "freeze")
    assert (store.get("n.w.w0"), store.get("n.w.w2")) == (0.55, 0.15)
    assert store.history()[-1].changes == tx.commit_result.changes
    with refused("cooldown_s", "freeze"), store.transaction(author="learner") as tx:
        tx.propose("n.w", {"w0": 0.6, "w1": 0.4}, on_violation="project")  # all of it is held
    clock.advance(60)
    store.unfreeze("n.w.w1", author="me")
    with store.transaction(author="learner") as tx:
        tx.propose("n.w", {"w0": 0.6, "w1": 0.4, "w2": 0.2}, on_violation="project")
    assert [round(store.get(f"n.w.w{i}"), 3) for i in range(3)] == [0.533, 0.333, 0.133]
    assert sum(Decimal(repr(store.get(f"n.w.w{i}"))) for i in range(3)) == 1


def test_a_projection_for_those_who_may_not_write_is_refused() -> None:
    store, _ = weights(0.5, 0.3, 0.2, owner="a", min_samples=10)
    for author, evidence, rules in (
        ("b", {"samples": 10}, ["owner"] * 2),
        ("a", {"samples": 9}, ["min_samples"] * 2),
    ):
        with refused(*rules), store.transaction(author=author, evidence=evidence) as tx:
            tx.propose("n.w", {"w0": 0.6, "w1": 0.4}, on_violation="project")


def test_rules_that_contradict_each_other_are_named() -> None:
    store, _ = weights(0.5, 0.3, 0.2, max_step=0.05)
    with refused("infeasible") as caught, store.transaction(author="learner") as tx:
        tx["n.w.w0"] = 0.45
        tx["n.w.w2"] = 0.17
        tx.set("n.w.w1", 0.34, on_violation="project")
    text = str(caught[0])
    assert "`n`: no values satisfy these rules together: " in text
    assert "sum of w.w0, w.w1, w.w2 equals 1" in text and "n.w.w1 at most 0.35 (max_step)" in text


def test_a_projection_writes_for_a_context_and_leaves_the_base() -> None:
    store, _ = weights(0.5, 0.3, 0.2, max_step=0.1)
    with store.transaction(author="learner") as tx:
        tx.propose("n.w", {"w0": 0.9}, on_violation="project", symbol="BTC")
    at = [store.get(f"n.w.w{i}", symbol="BTC") for i in range(3)]
    assert at == [0.6, 0.25, 0.15]
    assert [store.get(f"n.w.w{i}") for i in range(3)] == [0.5, 0.3, 0.2]
    with refused("max_step", "constraint"):
        put(store, 0.75, key="n.w.w0", symbol="BTC")


def test_a_broken_request_inside_a_projection_is_refused() -> None:
    store, _ = weights(0.5, 0.5)
    for wrong in ("0.5", None, float("nan"), True, 10**400):
        with (
            pytest.raises(ValidationError, match="Nothing was written"),
            store.transaction(author="learner") as tx,
        ):
            tx.propose("n.w", {"w0": wrong}, on_violation="project")
    with pytest.raises(ValidationError, match="takes a mapping"), store.transaction(author="learner") as tx:
        tx.propose("n.w", [0.5], on_violation="project")  # type: ignore[arg-type]
    with (
        pytest.raises(ValidationError, match="on_violation='bend' is not known"),
        store.transaction(author="x") as tx,
    ):
        tx.propose("n.w", {"w0": 0.5}, on_violation="bend")  # type: ignore[arg-type]


# --- what is read, not what is written, is guarded ----------------------------------------------


def layered(limits: dict[str, Any], base: float, overrides: list[Any]) -> tuple[ParamStore, ManualClock]:
    clock = ManualClock()
    leaf = {**number(base), "x-param": {"learnable": True, **limits}}
    values = {"schema": 1, "values": {"x": base}, "overrides": overrides}
    raw = {"n": schema({"x": leaf}, {"regime": {"enum": ["trend", "chop"]}, "symbol": {"type": "string"}})}
    return memory_store(raw, {"n": values}, clock=clock), clock


def test_a_new_override_cannot_shadow_another_past_its_step() -> None:
    store, _ = layered({"max_step": 0.01}, 0.1, [{"at": {"regime": "trend"}, "values": {"x": 0.5}}])
    with refused("max_step") as caught:
        put(store, 0.1, symbol="BTC")
    assert "`n.x` at regime=trend, symbol=BTC = 0.1 is 0.4 away from 0.5" in str(caught[0])


NAMES = ("mode", "regime", "symbol")
AT = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["p", "q"]), min_size=1)
OWN = st.dictionaries(st.sampled_from("ab"), st.integers(0, 9), min_size=1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(AT, OWN), max_size=8, unique_by=lambda item: tuple(sorted(item[0].items()))))
def test_layers_and_contexts_are_what_looking_at_every_override_gives(overrides: list[Any]) -> None:
    document = Document("n", {"a": -1, "b": -2}, overrides, tuple(map(Dimension, NAMES)), "", "")
    every = [
        {name: value for name, value in zip(NAMES, chosen, strict=True) if value}
        for chosen in product(["", "p", "q"], repeat=len(NAMES))
    ]
    for paths in ("a", "b", "ab"):
        layers = Layers(document, paths)
        for context in every:
            laid = {"n.a": -1, "n.b": -2, **context_values({"n": document}, context)}
            assert layers.values(context) == {path: laid[f"n.{path}"] for path in paths}
        touching = [at for at, own in overrides if set(own) & set(paths)]
        for fixed in every:
            expected = [
                context
                for context in every
                if fixed.items() <= context.items()
                and {
                    *fixed.items(),
                    *(i for at in touching if at.items() <= context.items() for i in at.items()),
                }
                == set(context.items())
            ]
            found = contexts(document, paths, [fixed])
            assert sorted(map(repr, found)) == sorted(repr(context) for context in expected if context)


def test_requests_of_one_transaction_do_not_add_up_past_a_step() -> None:
    store, _ = layered({"max_step": 0.05}, 0.15, [{"at": {"symbol": "BTC"}, "values": {"x": 0.1}}])
    with refused("max_step"), store.transaction(author="learner") as tx:
        tx["n.x"] = 0.2
        tx.remove("n.x", symbol="BTC")  # 0.1 -> 0.2
    put(store, 0.15, symbol="BTC")


def test_a_first_value_for_a_context_does_not_wait_for_the_base() -> None:
    """Else a learner for one symbol that comes after the base's learner would be refused for ever."""
    store, clock = layered({"cooldown_s": 60, "max_step": 0.05}, 0.15, [])
    put(store, 0.2)
    put(store, 0.25, symbol="BTC")
    with refused("cooldown_s"):
        put(store, 0.3, symbol="BTC")
    clock.advance(60)
    put(store, 0.25)
    put(store, 0.3, symbol="BTC")


def test_a_removed_override_counts_against_what_comes_after_it() -> None:
    overrides = [{"at": {"symbol": "BTC"}, "values": {"x": 0.2}}]
    store, clock = layered({"cooldown_s": 60, "max_step": 0.05, "max_drift": 0.08}, 0.15, overrides)
    with store.transaction(author="learner") as tx:
        tx.remove("n.x", symbol="BTC")  # 0.2 -> 0.15
    with refused("cooldown_s"):
        put(store, 0.13)  # BTC would go on
    with refused("cooldown_s"):
        put(store, 0.13, symbol="BTC")
    clock.advance(60)
    with refused("max_drift") as caught:
        put(store, 0.1)  # 0.1 from the 0.2 that a person stood for
    assert caught[0].broken[0].context == {"symbol": "BTC"}
    clock.advance(60)
    put(store, 0.13)


def test_setting_what_a_context_reads_already_is_no_step_there() -> None:
    store, _ = layered({"max_step": 0.05, "cooldown_s": 60}, 0.15, [])
    put(store, 0.2)
    put(store, 0.2, symbol="BTC")  # pins it for BTC; nobody reads anything else than before
    assert store.get("n.x", symbol="BTC") == 0.2


# --- what a first review found ------------------------------------------------------------------


def test_a_projection_never_writes_what_the_schema_refuses() -> None:
    chosen = {"type": "number", "enum": [0.25, 0.5, 0.75], "default": 0.5}
    raw = schema(
        {"a": chosen, "b": number(0.5), "c": number(1.0, exclusiveMinimum=0.2)},
        None,
        [{"sum": ["a", "b"], "equals": 1}],
    )
    store = memory_store({"n": raw})
    with store.transaction(author="learner") as tx:
        tx.propose("n", {"b": 0.4}, on_violation="project")  # a cannot make room, so b cannot move
    assert (store.revision, store.get("n.b"), store.get("n.a")) == (0, 0.5, 0.5)
    with refused("type"), store.transaction(author="learner") as tx:
        tx.propose("n", {"a": 0.6, "b": 0.4}, on_violation="project")
    for how in ("clamp", "project"):
        with store.transaction(author="learner", dry_run=True) as tx:
            tx.propose("n", {"c": -3.0}, on_violation=how)
        (change,) = tx.commit_result.changes
        assert 0.2 < change.new <= 0.200001 and change.bound_by == "exclusiveMinimum"


class Float(float):
    """As numpy's float64: a float that is not exactly one."""


@pytest.mark.parametrize("how", ["reject", "clamp", "project"])
def test_floats_of_numpy_are_numbers_in_every_mode(how: Any) -> None:
    store, _ = store_of({"max_step": 0.5})
    with store.transaction(author="learner") as tx:
        tx.propose("n", {"x": Float(1.25)}, on_violation=how)
    assert (store.get("n.x"), type(tx.commit_result.changes[0].new)) == (1.25, float)


def test_a_rollback_leaves_baselines_alone() -> None:
    store, _ = store_of({"max_drift": 0.05})
    put(store, 3.0, author="me", force=True, reason="mine", symbol="BTC")
    with refused("max_drift"):
        put(store, 2.0, symbol="BTC")
    store.rollback(0, author="me")
    store.rollback(1, author="me")
    with refused("max_drift"):
        put(store, 2.0, symbol="BTC")
    store.rollback(0, author="me", force=True, reason="again")
    assert store.get("n.x", symbol="BTC") == 1.0
    assert store._open().past().baselines[("n.x", (("symbol", "BTC"),))] == 3.0


def test_a_context_broken_by_hand_may_not_be_broken_the_other_way_or_elsewhere() -> None:
    leaves = {name: number(value) for name, value in (("a", 0.5), ("b", 0.5))}
    store = memory_store(
        {"n": schema(leaves, DIMENSIONS, [{"sum": ["*"], "equals": 1}])},
        {
            "n": {
                "schema": 1,
                "values": {"a": 0.5, "b": 0.5},
                "overrides": [{"at": {"symbol": "BTC"}, "values": {"a": 0.3}}],
            }
        },
    )
    with refused("constraint"):
        put(store, 0.7, key="n.a", symbol="BTC")  # from 0.2 too little to 0.2 too much
    put(store, 0.4, key="n.a", symbol="BTC")
    ladder = {name: number(value) for name, value in (("a", 0.9), ("b", 0.6), ("c", 0.3), ("d", 0.1))}
    store = memory_store(
        {"n": schema(ladder, DIMENSIONS, [{"descending": ["a", "b", "c", "d"]}])},
        {"n": {"schema": 1, "values": {"a": 0.9, "b": 0.6, "c": 0.3, "d": 0.1},
               "overrides": [{"at": {"symbol": "BTC"}, "values": {"a": 0.1}}]}},
    )  # fmt: skip
    with refused("constraint"), store.transaction(author="learner") as tx:
        tx.set("n.c", 0.55, symbol="BTC")
        tx.set("n.d", 0.6, symbol="BTC")


@pytest.mark.parametrize("together", [True, False])
def test_what_must_differ_may_not_be_made_equal_for_a_context(tmp_path: Path, together: bool) -> None:
    """A file that says so is refused by the next reader that has no cache of it."""
    leaves = {name: number(value) for name, value in (("a", 5.0), ("b", 3.0))}
    raw = schema(leaves, DIMENSIONS, [{"descending": ["a", "b"], "strict": True}])
    root = write_store(tmp_path / "s", {"n": raw}, {"n": "schema: 1\nvalues: {a: 5.0, b: 3.0}\n"})
    store = ParamStore(root, environ={})
    with refused("constraint"), store.transaction(author="learner") as tx:
        tx.set("n.b", 4.0 if together else 5.0, symbol="BTC")
        if together:
            tx.set("n.a", 4.0, symbol="BTC")
    put(store, 4.9, key="n.b", symbol="BTC")
    assert store.health.warnings == ()


def test_a_tie_made_by_hand_may_stay_or_go_but_not_turn_over() -> None:
    leaves = {name: number(value) for name, value in (("a", 5.0), ("b", 3.0), ("c", 2.0))}
    store = memory_store(
        {"n": schema(leaves, DIMENSIONS, [{"descending": ["a", "b", "c"], "strict": True}])},
        {"n": {"schema": 1, "values": {"a": 5.0, "b": 3.0, "c": 2.0},
               "overrides": [{"at": {"symbol": "BTC"}, "values": {"b": 5.0}}]}},
    )  # fmt: skip
    put(store, 1.0, key="n.c", symbol="BTC")
    for value in (5.0, 6.0):  # one more tie, and the order turned over
        with refused("constraint"):
            put(store, value, key="n.c" if value == 5.0 else "n.b", symbol="BTC")
    put(store, 4.0, key="n.b", symbol="BTC")
    with refused("constraint"):
        put(store, 5.0, key="n.b", symbol="BTC")


def test_a_projection_of_the_base_suits_contexts_that_keep_some_values() -> None:
    store, _ = weights(0.25, 0.25, 0.25, 0.25)
    with store.transaction(author="learner") as tx:
        tx.propose("n.w", {"w0": 0.26, "w1": 0.24}, symbol="BTC")
    for asked in ({"w0": 0.3}, {"w1": 0.2, "w2": 0.3}, {"w2": 0.35}):
        with store.transaction(author="learner") as tx:
            tx.propose("n.w", asked, on_violation="project")
        for at in ({}, {"symbol": "BTC"}):
            total = sum(Decimal(repr(store.get(f"n.w.w{i}", **at))) for i in range(4))
            assert total == 1, (asked, at)
        assert tx.commit_result.changes


def test_a_projection_for_a_context_writes_all_that_it_weighed() -> None:
    store, _ = weights(0.3, 0.3, 0.4)
    with store.transaction(author="learner") as tx:
        tx.propose("n.w", {"w0": 0.2, "w1": 0.2, "w2": 0.6}, regime="trend")
    with store.transaction(author="learner") as tx:
        tx.propose("n.w", {"w0": 0.35, "w1": 0.25}, on_violation="project", symbol="BTC")
    assert [store.get(f"n.w.w{i}", symbol="BTC") for i in range(3)] == [0.35, 0.25, 0.4]
    at = {"symbol": "BTC", "regime": "trend"}
    assert sum(Decimal(repr(store.get(f"n.w.w{i}", **at))) for i in range(3)) == 1
    with store.transaction(author="learner") as tx:
        tx.propose("n.w", {"w0": 0.2, "w1": 0.2, "w2": 0.6}, on_violation="project")
    assert [store.get(f"n.w.w{i}") for i in range(3)] == [0.2, 0.2, 0.6]


def test_what_is_asked_for_in_a_context_stays_though_the_base_moves_away() -> None:
    store, _ = weights(0.55, 0.45)
    with store.transaction(author="learner") as tx:
        tx.propose("n.w", {"w0": 0.6, "w1": 0.4}, on_violation="project")
        tx.propose("n.w", {"w0": 0.55, "w1": 0.45}, on_violation="project", symbol="BTC")
    assert [store.get(f"n.w.w{i}", symbol="BTC") for i in range(2)] == [0.55, 0.45]
    assert [store.get(f"n.w.w{i}") for i in range(2)] == [0.6, 0.4]


@pytest.mark.parametrize("how", ["clamp", "project"])
def test_an_exclusive_bound_between_two_digits_moves_nothing_that_is_within(how: Any) -> None:
    raw = schema(
        {
            "count": {"type": "integer", "exclusiveMinimum": 0.5, "exclusiveMaximum": 9, "default": 3},
            "share": {
                "type": "number",
                "exclusiveMinimum": 0.005,
                "default": 0.5,
                "x-param": {"decimals": 2},
            },
        }
    )
    store = memory_store({"n": raw})
    with store.transaction(author="learner") as tx:
        tx.propose("n", {"count": 1, "share": 0.01}, on_violation=how)
    assert (store.get("n.count"), store.get("n.share")) == (1, 0.01)


def test_errors_of_another_store_are_recorded_there_and_once() -> None:
    mine, _ = store_of({})
    theirs, _ = store_of({"max_step": 0.1})
    with pytest.raises(UnknownParamError), mine.transaction(author="learner") as tx:
        tx["n.x"] = theirs.get("n.typo")
    with refused("max_step"), mine.transaction(author="learner"):
        put(theirs, 3.0)
    assert [entry.kind for entry in mine.history(refused=True)] == ["external"]
    assert [entry.kind for entry in theirs.history(refused=True)] == ["external", "refusal"]


def test_many_overrides_cost_a_key_without_limits_nothing_and_are_not_counted_as_a_product() -> None:
    names = tuple(f"d{i}" for i in range(5))
    ats = [dict.fromkeys(names, f"v{j}") for j in range(12)]
    values = {
        "schema": 1,
        "values": {"x": 1.0, "y": 1.0},
        "overrides": [{"at": at, "values": {"x": 2.0, "y": 2.0}} for at in ats],
    }
    about = {"x-param": {"learnable": True, "max_step": 5}}
    raw = schema({"x": {**number(1.0), **about}, "y": number(1.0)}, {n: {"type": "string"} for n in names},
                 [{"sum": ["*"], "maximum": 9}])  # fmt: skip
    store = memory_store({"n": raw}, {"n": values})
    put(store, 1.5, key="n.y")
    put(store, 1.5)
    with store.transaction(author="learner") as tx:
        tx.request("n.x", 3.0, ats[0])
    assert store.at(**ats[0]).get("n.x") == 3.0


def test_several_threads_look_at_what_is_frozen(tmp_path: Path) -> None:
    """Each entry is taken in once, whoever looks first."""
    store = ParamStore(broken_store(tmp_path), environ={})
    found: list[int] = []

    def look() -> None:
        found.append(len(store.freezes()))

    for turn in range(1, 31):
        store.freeze("n.x", author="a", reason=str(turn))
        found.clear()
        threads = [Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [turn] * 4


def test_nothing_is_written_for_a_context_that_a_rule_keeps_as_it_is() -> None:
    store, _ = store_of({}, value=10.0)
    for how in ("clamp", "project"):
        with store.transaction(author="learner") as tx:
            tx.propose("n", {"x": 12.0}, on_violation=how, symbol="BTC")
        assert store.revision == 0 and store.snapshot().state.documents["n"].overrides == ()


def test_an_edit_by_hand_of_what_a_projection_moves_is_a_conflict(tmp_path: Path) -> None:
    about = {"x-param": {"learnable": True, "decimals": 4}}
    leaves = {name: {**number(0.25, maximum=1.0), **about} for name in "abcd"}
    text = "schema: 1\nvalues:\n" + "".join(f"  {name}: 0.25\n" for name in "abcd")
    root = write_store(
        tmp_path / "s", {"n": schema(leaves, None, [{"sum": ["*"], "equals": 1}])}, {"n": text}
    )
    store = ParamStore(root, environ={})
    with (
        pytest.raises(ConflictError, match=r"`n\.b`, `n\.c` changed by hand"),
        store.transaction(author="x") as tx,
    ):
        tx.propose("n", {"a": 0.3}, on_violation="project")
        (root / "params" / "new").write_text(text.replace("b: 0.25", "b: 0.19").replace("c: 0.25", "c: 0.31"))
        (root / "params" / "new").rename(root / "params" / "n.yaml")
    assert store.refresh().ok and (store.get("n.b"), store.get("n.c")) == (0.19, 0.31)


@pytest.mark.parametrize("number_", [10**400, -(10**400), 1e308, 5e-324])
@pytest.mark.parametrize("how", ["reject", "clamp", "project"])
def test_huge_and_tiny_numbers_are_judged_and_never_crash(number_: Any, how: Any) -> None:
    store, _ = store_of({"max_step": 0.5, "max_step_relative": 0.5, "max_drift": 3, "decimals": 15})
    try:
        with store.transaction(author="learner", evidence={"before": 1}) as tx:
            tx.propose("n", {"x": number_}, on_violation=how)
    except ValidationError as error:
        assert "Nothing was written; revision 0 stands." in str(error)
    for field in ("samples", "before", "confidence"):
        with pytest.raises(ValidationError, match="evidence"):
            put(store, 1.1, evidence={field: 10**400})
    within: list[Any] = []
    within.append(within)
    with pytest.raises(ValidationError):
        put(store, within)


def test_the_words_of_a_transaction_cannot_be_changed_inside() -> None:
    store, _ = store_of({"min_samples": 50})
    evidence = {"samples": 1}
    with refused("min_samples"), store.transaction(author="learner", evidence=evidence) as tx:
        evidence["samples"] = tx.evidence["samples"] = 500
        for name in ("author", "reason", "evidence"):
            with pytest.raises(AttributeError):
                setattr(tx, name, "x")
        tx["n.x"] = 1.1


def test_what_fails_inside_the_block_is_recorded_as_well() -> None:
    store, _ = store_of({"max_step": 0.1})
    with pytest.raises(UnknownParamError), store.transaction(author="learner") as tx:
        tx["n.y"] = 1
    with refused("max_step"), store.transaction(author="learner") as tx:
        tx["n.x"] = 5.0
        tx.propose("n", {"free": 2.0}, on_violation="clamp")
        _ = tx["n.free"]
    with pytest.raises(ValidationError), store.transaction(author="learner", evidence={"samples": "many"}):
        pass
    refusals = [entry for entry in store.history(refused=True) if entry.kind == "refusal"]
    assert [entry.details["violations"][0]["rule"] for entry in refusals] == [
        "unknown",
        "max_step",
        "evidence",
    ]


def test_a_converged_learner_is_no_refused_one() -> None:
    store, clock = store_of({"decimals": 4})
    with store.transaction(author="learner") as tx:
        tx.propose("n", {"x": 1.00002}, on_violation="project")
    assert [entry.kind for entry in store.history(refused=True)] == ["external"]
    assert store.visits() == {"learner": clock.now()}


def test_a_refusal_of_a_hundred_rules_stays_small() -> None:
    leaves = {
        f"k{i}": {**number(1.0), "x-param": {"learnable": True, "max_step": 0.1, "owner": "a"}}
        for i in range(300)
    }
    store = memory_store({"n": schema(leaves)})
    with pytest.raises(ValidationError), store.transaction(author="b", evidence={"blob": "x" * 10**6}) as tx:
        tx.propose("n", dict.fromkeys(leaves, 5.0))
    assert len(json.dumps(store._open().records()[-1])) < 15_000


def test_a_name_cannot_forge_a_line_of_an_error() -> None:
    store, _ = store_of({})
    store.freeze("n", author="a\nerror: b", reason="bad\nerror: \x1b[2Jall is well")
    with refused("freeze") as caught:
        put(store, 1.1)
    assert "\nerror" not in str(caught[0]) and "\x1b" not in str(caught[0])


def broken_store(tmp_path: Path) -> Path:
    leaf = {**number(1.0), "x-param": {"learnable": True}}
    values = {"schema": 1, "values": {"x": 1.0}}
    return write_store(tmp_path / "s", dict.fromkeys("mn", schema({"x": leaf})), dict.fromkeys("mn", values))


@pytest.mark.parametrize("pattern", ["*", "n", "m", "m.x", "n.*"])
def test_the_kill_switch_works_while_a_file_is_broken(tmp_path: Path, pattern: str) -> None:
    root = broken_store(tmp_path)
    running = ParamStore(root, environ={})
    put(running, 1.1)
    (root / "params" / "m.yaml").write_text("schema: 1\nvalues: [")
    result = CliRunner().invoke(cli, ["--root", str(root), "freeze", pattern, "--reason", "panic"])
    assert result.exit_code == 0, result.output
    assert len(ParamStore(root, environ={}).freezes()) == 1
    if pattern not in {"m", "m.x"}:
        with refused("freeze"):
            put(running, 1.2)
    (root / "params" / "m.yaml").write_text("schema: 1\nvalues:\n  x: 1.0\n")
    assert CliRunner().invoke(cli, ["--root", str(root), "unfreeze", pattern]).exit_code == 0
    fresh = ParamStore(root, environ={})
    put(fresh, 1.2)
    put(fresh, 1.2, key="m.x")
    assert CliRunner().invoke(cli, ["--root", str(root), "check"]).exit_code == 0


def test_a_freeze_while_a_file_is_broken_leaves_a_writer_as_it_was(tmp_path: Path) -> None:
    root = broken_store(tmp_path)
    writer = ParamStore(root, environ={})
    put(writer, 1.1)
    (root / "params" / "m.yaml").write_text("schema: 1\nvalues: [")
    time.sleep(0.6)
    put(writer, 1.2)
    writer.freeze("m", author="me", reason="broken")
    assert put(writer, 1.3).revision == 3


def test_a_sound_line_of_a_shape_that_is_not_known_is_never_cut_off(tmp_path: Path) -> None:
    root = broken_store(tmp_path)
    put(ParamStore(root, environ={}), 1.1)
    (journal,) = (root / "params" / "journal").glob("*.jsonl")
    text = b'{"v":1,"revision":1,"id":"0","kind":"freeze","details":{"pattern":"*","until":"10000-01-01"}'
    journal.write_bytes(journal.read_bytes() + text + b',"crc":"%08x"}\n' % zlib.crc32(text))
    whole = journal.read_bytes()
    with pytest.raises(JournalError, match="of a newer version"):
        put(ParamStore(root, environ={}), 1.2)
    assert ParamStore(root, environ={}).get("n.x") == 1.1
    assert journal.read_bytes() == whole and not list(journal.parent.glob("*.torn"))


ODD: list[dict[str, Any]] = [
    {"kind": "freeze"},
    {"kind": "freeze", "details": {"pattern": 5}},
    {"kind": "freeze", "details": {"pattern": "*", "until": "soon"}},
    {"kind": "freeze", "details": {"pattern": "*", "until": 7}},
    {"kind": "unfreeze", "details": []},
    {"kind": "approve", "details": {"pattern": "*"}},
    {"kind": "approve", "details": {"baselines": [5]}},
    {"kind": "refusal", "details": {"violations": [5]}},
    {"kind": "commit", "time": "never"},
    {"kind": "commit", "time": 5},
    {"kind": "commit", "time": "2026-02-30T00:00:00.000000Z"},
    {"kind": "commit", "uptime": None},
    {"kind": "commit", "uptime": ["b"]},
    {"kind": "commit", "changes": [{"key": "n.x", "context": ["a"], "new": 1.0}]},
    {"kind": "commit", "changes": [5]},
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: json.dumps(odd)[:60])
def test_an_odd_line_with_a_right_checksum_is_told_and_never_crashes(
    tmp_path: Path, odd: dict[str, Any]
) -> None:
    root = broken_store(tmp_path)
    put(ParamStore(root, environ={}), 1.1)
    (journal,) = (root / "params" / "journal").glob("*.jsonl")
    whole = journal.read_bytes()
    record = {
        **json.loads(whole.splitlines()[0]),
        "revision": 1,
        "id": "0" * 16,
        "changes": [],
        "files": {},
        **odd,
    }
    record.pop("crc")
    text = json.dumps(record).encode()[:-1]
    line = text + b',"crc":"%08x"}\n' % zlib.crc32(text)
    journal.write_bytes(
        whole + line + whole.splitlines(keepends=True)[1].replace(b'"revision":1', b'"revision":2')
    )
    for words in (
        ["set", "n.x", "1.2"],
        ["freeze"],
        ["history", "--refused"],
        ["doctor"],
        ["check"],
        ["get", "n.x"],
    ):
        result = CliRunner().invoke(cli, ["--root", str(root), *words])
        assert isinstance(result.exception, SystemExit | None), (words, result.exception)
    assert CliRunner().invoke(cli, ["--root", str(root), "set", "n.x", "1.2"]).exit_code == 2
    assert CliRunner().invoke(cli, ["--root", str(root), "check"]).exit_code == 1


# --- the trap that it all began with ------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 3), min_size=10, max_size=10))
def test_the_trap_of_cap_floor_renormalise_and_round_is_gone(factors: list[float]) -> None:
    """A fifth at most, a floor of 0.05 that one weight begins below, four digits, and a sum of exactly 1."""
    raw = json.loads(_init.shipped()["schemas/signal_weights.schema.json"])
    leaves = raw["properties"]["values"]["properties"]
    for name, leaf in leaves.items():
        about = {"learnable": True, "decimals": 4, "max_step_relative": 0.2}
        leaves[name] = {**leaf, "minimum": 0.04 if name == "oi_divergence" else 0.05, "x-param": about}
    store = memory_store({"signal_weights": raw})
    before = dict(store.section("signal_weights"))
    asked = {name: value * factor for (name, value), factor in zip(before.items(), factors, strict=True)}
    with store.transaction(author="learner") as tx:
        tx.propose("signal_weights", asked, on_violation="project")
    after = dict(store.section("signal_weights"))
    assert sum(Decimal(repr(value)) for value in after.values()) == 1
    for name, value in after.items():
        exact, old = Decimal(repr(value)), Decimal(repr(before[name]))
        assert exact == exact.quantize(Decimal("0.0001"))
        assert abs(exact - old) <= old / 5
        assert value >= leaves[name]["minimum"]


def test_a_floor_that_a_step_cannot_reach_is_a_contradiction_that_is_named() -> None:
    """The trap's own rules contradict each other where a weight begins below the floor: 0.04 plus a fifth is 0.048."""
    raised = Variable(
        "oi_divergence", 0.06, Decimal("0.05"), Decimal("0.048"), 4, "minimum", "max_step_relative"
    )
    with pytest.raises(Infeasible) as caught:
        project([raised], [])
    assert caught.value.rules == (
        "oi_divergence at least 0.05 (minimum)", "oi_divergence at most 0.048 (max_step_relative)",
    )  # fmt: skip


# --- constraints in every context ---------------------------------------------------------------


def test_constraints_hold_in_every_context_after_overrides_are_laid_over() -> None:
    leaves = {name: number(value) for name, value in (("high", 3.0), ("low", 1.0))}
    constraint = {"descending": ["high", "low"], "gap": 0.5}
    values = {
        "schema": 1,
        "values": {"high": 3.0, "low": 1.0},
        "overrides": [
            {"at": {"symbol": "BTC"}, "values": {"low": 2.0}},
            {"at": {"regime": "trend"}, "values": {"high": 2.5}},
        ],
    }
    store = memory_store({"n": schema(leaves, DIMENSIONS, [constraint])}, {"n": values})
    with refused("constraint") as caught:
        put(store, 2.4, key="n.high")  # fits the base, not BTC
    assert "in {'symbol': 'BTC'}: `n`: high = 2.4 must be above low = 2.0 by at least 0.5" in str(caught[0])
    with refused("constraint") as caught:
        put(store, 2.1, key="n.low", symbol="BTC")  # fits BTC, not BTC in a trend
    assert "in {'symbol': 'BTC', 'regime': 'trend'}" in str(caught[0])
    with refused("constraint", "constraint"), store.transaction(author="learner", dry_run=True) as tx:
        tx.set("n.high", 2.2)
        tx.remove("n.low", symbol="BTC")
        tx.set("n.low", 1.8, regime="trend")
        tx.set("n.high", 2.2, regime="trend")
    put(store, 2.6, key="n.high")


def test_what_a_person_broke_for_one_context_does_not_stop_learning_but_may_not_get_worse() -> None:
    store = memory_store(
        {"n": schema({"a": number(0.5), "b": number(0.5)}, DIMENSIONS, [{"sum": ["*"], "equals": 1}])},
        {
            "n": {
                "schema": 1,
                "values": {"a": 0.5, "b": 0.5},
                "overrides": [{"at": {"symbol": "BTC"}, "values": {"a": 0.6}}],
            }
        },
    )
    with store.transaction(author="learner") as tx:
        tx["n.b"] = 0.45
        tx["n.a"] = 0.55
    with refused("constraint"), store.transaction(author="learner") as tx:
        tx["n.b"] = 0.6
        tx["n.a"] = 0.4


@pytest.mark.parametrize(
    ("constraint", "good", "bad", "said"),
    [
        (
            {"linear": {"a": 2, "b": -1}, "maximum": 1},
            {"a": 1.5},
            {"a": 1.6},
            "2 * a + -1 * b is at most 1, but it is 1.2",
        ),
        ({"linear": {"a": 1, "b": 1}, "equals": 3}, {"a": 2, "b": 1}, {"a": 2}, "1 * a + 1 * b equals 3"),
        (
            {"ascending": ["a", "b"], "gap": 0.05},
            {"a": 1.95},
            {"a": 1.96},
            "a = 1.96 must be below b = 2.0 by at least 0.05",
        ),
        ({"ascending": ["a", "b"], "strict": True}, {"a": 1.99}, {"a": 2}, "a = 2.0 must be below b = 2.0"),
    ],
)
def test_linear_constraints_and_gaps(constraint: Any, good: Any, bad: Any, said: str) -> None:
    store = memory_store({"n": schema({"a": number(1.0), "b": number(2.0)}, None, [constraint])})
    with refused("constraint") as caught, store.transaction(author="learner") as tx:
        tx.propose("n", bad)
    assert said in str(caught[0])
    with store.transaction(author="learner") as tx:
        tx.propose("n", good)
    with store.transaction(author="learner") as tx:
        tx.propose("n", {name: value + 5 for name, value in bad.items()}, on_violation="project")
        seen = tx["n.a"], tx["n.b"]
    if "linear" not in constraint:
        assert seen[1] - seen[0] >= constraint.get("gap", 0) - 1e-9 and seen[0] != seen[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"linear": {"a": 1}},
        {"linear": {"c": 1}, "maximum": 1},
        {"linear": {"*": 1}, "maximum": 1},
        {"linear": {}, "maximum": 1},
        {"linear": {"a": 1}, "maximum": 1, "gap": 1},
        {"sum": ["*"], "equals": 1, "gap": 1},
        {"ascending": ["*"], "gap": -1},
        {"ascending": ["*"], "linear": {"a": 1}},
    ],
)
def test_a_constraint_that_makes_no_sense_is_a_wrong_schema(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"schemas/n\.schema\.json"):
        memory_store({"n": schema({"a": number(1.0), "b": number(2.0)}, None, [wrong])}).get("n.a")


# --- evidence -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        ({"samples": 1.5}, "`samples` must be a whole number, not 1.5"),
        ({"samples": True}, "`samples` must be a whole number, not True"),
        ({"samples": -1}, "`samples` must not be negative"),
        ({"before": "1"}, "`before` must be a number, not '1'"),
        ({"after": float("inf")}, "`after` must be finite"),
        ({"confidence": 1.1}, "`confidence` is a fraction from 0 to 1"),
        ({"metric": 3}, "`metric` must be text"),
        ({"window": " "}, "`window` must be text"),
        ({"code_revision": ["a"]}, "`code_revision` must be text"),
        ({"more": {1, 2}}, "evidence must be plain finite JSON data"),
        ("a lot", "evidence must be a mapping or Evidence, not 'a lot'"),
    ],
)
def test_evidence_is_held_to_its_types(evidence: Any, said: str) -> None:
    store, _ = store_of({})
    with pytest.raises(ValidationError) as caught:
        put(store, 1.1, evidence=evidence)
    assert said in str(caught.value) and "Nothing was written; revision 0 stands." in str(caught.value)


def test_evidence_is_kept_as_given_with_free_fields() -> None:
    store, _ = store_of({})
    evidence = Evidence(812, "ev_bps", 1.2, 1.9, "7d", 0.9, "3f2a", {"by": {"BTC": [0.1, None]}})
    put(store, 1.1, evidence=evidence)
    assert store.history()[-1].evidence == {
        "samples": 812, "metric": "ev_bps", "before": 1.2, "after": 1.9, "window": "7d", "confidence": 0.9,
        "code_revision": "3f2a", "by": {"BTC": [0.1, None]},
    }  # fmt: skip


class Counted:
    """A whole number that is no int, as numpy has them."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


def test_numbers_of_other_libraries_are_numbers() -> None:
    store, _ = store_of({"min_samples": 50})
    put(store, 1.1, evidence={"samples": Counted(50), "before": Decimal("1.5")})
    assert store.history()[-1].evidence == {"samples": 50, "before": 1.5}


# --- refusals -----------------------------------------------------------------------------------


def test_a_learner_that_spins_does_not_fill_the_journal() -> None:
    store, clock = store_of({})
    for _ in range(RECORDED_MOST + 20):
        clock.advance(1)
        with pytest.raises(ValidationError):
            put(store, 99.0)
    with pytest.raises(ValidationError):
        put(store, 99.0, author="another")
    refusals = [entry.author for entry in store.history(refused=True) if entry.kind == "refusal"]
    assert (refusals.count("learner"), refusals.count("another")) == (RECORDED_MOST, 1)
    clock.advance(3600)
    with pytest.raises(ValidationError):
        put(store, 99.0)
    assert store.history(refused=True)[-1].author == "learner"


def test_a_learner_at_rest_is_seen_to_come(tmp_path: Path) -> None:
    raw, values = schema({"x": number(1.0)}), {"schema": 1, "values": {"x": 1.0}}
    clock = ManualClock()
    root = write_store(tmp_path / "s", {"n": raw}, {"n": values})
    for store in (memory_store({"n": raw}, clock=clock), ParamStore(root, environ={}, clock=clock)):
        put(store, 1.0, dry_run=True)
        with store.transaction(author="idle"):
            pass
        assert store.visits() == {}
        put(store, 1.0)
        put(store, 2.0, author="another")
        assert store.visits() == {"learner": clock.now()}
    (root / ".paramstore" / "attempts.json").write_text('{"learner": "soon"')
    assert store.visits() == {}
    put(store, 2.0)
    assert store.visits() == {"learner": clock.now()}


def test_a_dry_run_records_no_refusal() -> None:
    store, _ = store_of({})
    with pytest.raises(ValidationError):
        put(store, 99.0, dry_run=True)
    assert [entry.kind for entry in store.history(refused=True)] == ["external"]


@pytest.mark.parametrize("value", [float("nan"), object(), "\ud800", b"x", "x" * 100_000, [float("inf")]])
def test_what_no_json_holds_is_recorded_as_python_writes_it(value: Any) -> None:
    store, _ = store_of({})
    with pytest.raises(ValidationError):
        put(store, value)
    recorded = store.history(refused=True)[-1].details["violations"][0]
    assert recorded["rule"] == "type" and len(str(recorded["requested"])) <= 100


def test_the_ledger_of_records_is_the_ledger_that_grew(tmp_path: Path) -> None:
    """What a writer noted commit by commit is what a fresh look at the journal gives."""
    leaf = {**number(1.0), "x-param": {"learnable": True, "cooldown_s": 1, "max_drift": 5}}
    root = write_store(
        tmp_path / "s", {"n": schema({"x": leaf}, DIMENSIONS)}, {"n": {"schema": 1, "values": {"x": 1.0}}}
    )
    clock = ManualClock()
    store = ParamStore(root, environ={}, clock=clock)
    for step in range(6):
        clock.advance(2)
        clock.set_back(100 if step == 3 else 0)
        put(store, 1.1 + step / 10)
        clock.advance(2)
        put(store, 2.0 + step, symbol="BTC", force=step % 2 == 1, reason="r")
        with pytest.raises(ValidationError):
            put(store, 99.0)
    store.approve(author="me", reason="r")
    store.freeze("n.x", author="me", reason="r")
    backend = store._open()
    grown, fresh = backend._writer.ledger, Ledger(backend.records())  # type: ignore[attr-defined]
    assert (grown.changed, grown.baselines, grown._freezes) == (
        fresh.changed,
        fresh.baselines,
        fresh._freezes,
    )
    assert grown.changed and grown.baselines and grown._freezes


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    for name, raw in _init.shipped().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    monkeypatch.setenv("PARAMSTORE_AUTHOR", "ann")

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli, ["--root", str(tmp_path), *words])
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_freeze_unfreeze_and_approve_from_the_command_line(say: Callable[..., str]) -> None:
    assert say("freeze") == "nothing is frozen\n"
    assert "A freeze needs a reason" in say("freeze", "win_rate", code=1)
    assert "Did you mean `win_rate.floor`?" in say("freeze", "win_rate.flor", "--reason", "r", code=1)
    assert say("freeze", "win_rate", "--reason", "bad [b]week[/b]\x1b[31m", "--until", "2h").startswith(
        "frozen: win_rate.* (5 keys) until 20"
    )
    assert say("list", "win_rate.floor").splitlines()[1].split()[-1] == "frozen"
    shown = say("freeze")
    assert "win_rate.*" in shown and "ann" in shown and "[b]week[/b]" in shown and "\x1b" not in shown
    assert json.loads(say("freeze", "--json"))[0]["pattern"] == "win_rate.*"
    assert "is frozen by ann" in say("set", "win_rate.floor", "0.41", code=1)
    assert "frozen by ann" in say("explain", "win_rate.floor")
    said = say("set", "win_rate.floor", "0.41", "--force", "--reason", "mine")
    assert said == "win_rate.floor: 0.4 → 0.41 (forced past min_samples, freeze) (revision 1)\n"
    say("freeze", "win_rate.floor", "--reason", "pin")
    said = say("unfreeze", "win_rate")
    assert said == "ended: the freeze of win_rate.*\nstill frozen: win_rate.floor, by ann: pin\n"
    assert say("unfreeze", "win_rate.floor") == "ended: the freeze of win_rate.floor\n"
    assert "no freeze of exactly `win_rate.*`. Frozen now: nothing." in say("unfreeze", "win_rate", code=1)
    assert "Quote it: paramstore freeze '*'" in say("freeze", "a.py", "b.py", "--reason", "panic", code=2)
    assert say("approve", "win_rate", "--reason", "seen").endswith("0 baselines moved (revision 1)\n")
    history = say("history", "win_rate.floor", "--refused")
    for word in ("freeze", "unfreeze", "refused win_rate.floor: min_samples", "commit, forced", "approve"):
        assert word in history
    assert "refused" not in say("history", "win_rate.floor")
    assert say("check") == "everything is in order\n"


@pytest.mark.parametrize("until", ["90s", "30min", "1.5h", "3d", "2099-01-01T00:00"])
def test_a_freeze_ends_at_a_time_or_after_a_while(say: Callable[..., str], until: str) -> None:
    entry = json.loads(say("freeze", "*", "--reason", "r", "--until", until, "--json"))
    assert entry["details"]["until"] > entry["time"]
    assert "is no time such as" in say("freeze", "*", "--reason", "r", "--until", "3 weeks", code=1)
    assert "PATTERN is missing" in say("freeze", "--reason", "panic", "--until", "2h", code=2)
