"""Where rules begin and end: the last value that is allowed and the first that is not, rounding, and what a change says of
itself. Most of these are the answer to a mutant that no other test saw (scripts/proof mutations)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from local_store import group, number, schema, write, write_store

from paramstore import ParamStore
from paramstore._constraints import Constraint, Terms, compile_constraint, rows, shortfalls, violation
from paramstore._guards import Limit, Move, as_number, clamp, decimals_of, tightest
from paramstore._model import ABSENT, Change
from paramstore._proposal import _bound_by, _Mover
from paramstore._rules import round_to
from paramstore._schema import Schema
from paramstore.errors import ConflictError, ParamstoreError, ValidationError, WriteError
from paramstore.testing import ManualClock, memory_store

DIMENSIONS = {"symbol": {"type": "string"}, "regime": {"enum": ["trend", "chop"]}}
INTEGER = {"type": "integer", "minimum": 0, "maximum": 100, "default": 4}


def limit(rule: str, low: str | None, high: str | None) -> Limit:
    return Limit(rule, None if low is None else Decimal(low), None if high is None else Decimal(high))


def changed(
    store: ParamStore, value: Any, how: Any = "clamp", key: str = "n.x", **context: Any
) -> list[Change]:
    """Return what a commit of this one value comes to."""
    with store.transaction(author="learner") as tx:
        tx.set(key, value, how, **context)
    return list(tx.commit_result.changes)


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "decimals", "rounded"),
    [(0.125, 2, 0.12), (0.375, 2, 0.38), (-0.001, 2, 0.0), (1.26, None, 1.26), (7, 2, 7), ("a", 2, "a")],
)
def test_floats_are_rounded_to_the_digits_of_the_schema(value: Any, decimals: Any, rounded: Any) -> None:
    assert repr(round_to(value, decimals)) == repr(rounded)


def test_exact_values_become_the_numbers_that_files_hold() -> None:
    assert repr(as_number(Decimal("4.0"), 0)) == "4" and repr(as_number(Decimal("4.5"), 0)) == "4.5"
    assert repr(as_number(Decimal("4.0"))) == "4.0" and repr(as_number(Decimal("-0"))) == "0.0"
    assert repr(as_number(Decimal("4"), 2)) == "4.0"


def test_a_projected_value_has_the_digits_of_its_schema_or_of_the_numbers_it_comes_from() -> None:
    leaves = {"free": number(1.0), "two": number(1.0, **{"x-param": {"decimals": 2}}), "whole": INTEGER}
    specs = Schema("n", schema(leaves), "schemas/n.schema.json").specs
    assert decimals_of(specs["whole"], 0.123) == 0
    assert decimals_of(specs["two"], 0.123) == 2
    assert decimals_of(specs["free"]) == decimals_of(specs["free"], 0.5) == 6
    assert decimals_of(specs["free"], 0.5, 0.12345678) == 8
    assert decimals_of(specs["free"], 1e-15) == decimals_of(specs["free"], 1e-20) == 15


# --- limits -------------------------------------------------------------------------------------


def test_the_tightest_limits_are_found_and_the_first_named_wins_a_tie() -> None:
    first, second, wide = limit("first", "1", "3"), limit("second", "1", "3"), limit("wide", "0", "9")
    assert tightest([wide, first, second]) == (first, first)
    assert tightest([second, first]) == (second, second)
    assert tightest([limit("high", None, "2"), limit("low", "1", None)]) == (
        limit("low", "1", None), limit("high", None, "2"),
    )  # fmt: skip
    assert tightest([]) == (None, None)


LOW, HIGH = limit("low", "0.254", None), limit("high", None, "0.746")
CLAMPED = [
    ([LOW, HIGH], 0.5, None, 0.5, None),
    ([LOW, HIGH], 0.254, None, 0.254, None),  # at a limit nothing is bent
    ([LOW, HIGH], 0.746, None, 0.746, None),
    ([LOW, HIGH], 0.25, None, 0.254, "low"),
    ([LOW, HIGH], 0.75, None, 0.746, "high"),
    ([LOW, HIGH], 0.1, 2, 0.26, "low"),  # inwards
    ([LOW, HIGH], 0.9, 2, 0.74, "high"),
    ([LOW, HIGH], 0.2541, 2, 0.26, "low"),  # rounding would carry it out
    ([LOW, HIGH], 0.7459, 2, 0.74, "high"),
    ([limit("low", "0.25", None)], 0.25, 2, 0.25, None),
    ([limit("high", None, "0.75")], 0.75, 2, 0.75, None),
    ([LOW], 0.1, 2, 0.26, "low"),
    ([HIGH], 0.9, 2, 0.74, "high"),
    ([], 0.123, 2, 0.123, None),  # rounding is not this function's
    ([], 2.5, 0, 2, "decimals"),
    ([], 3.5, 0, 4, "decimals"),
    ([], 3.0, 0, 3.0, None),
    ([], 0.5, 1, 0.5, None),
    ([limit("low", "0.251", None), limit("high", None, "0.259")], 0.1, 2, 0.255, "low"),  # nothing within: what stands
    ([limit("low", "0.251", None), limit("high", None, "0.259")], 0.9, 2, 0.255, "high"),
    ([limit("low", "0.25", None), limit("high", None, "0.25")], 0.9, 2, 0.25, "high"),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "value", "decimals", "bent", "rule"), CLAMPED, ids=range(len(CLAMPED)))
def test_a_clamped_value(limits: Any, value: float, decimals: Any, bent: float, rule: Any) -> None:
    assert repr(clamp(value, limits, decimals, 0.255)) == repr((bent, rule))


def test_a_clamped_value_with_nothing_to_stay_at_goes_to_the_limit() -> None:
    both = [limit("low", "0.251", None), limit("high", None, "0.259")]
    for old in (None, "text", True, ABSENT):
        assert clamp(0.1, both, 2, old) == (0.26, "low")


@pytest.mark.parametrize(
    ("leaf", "value", "applied", "rule"),
    [
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0, 1e-12, "exclusiveMinimum"),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, 1.0, 1 - 1e-12, "exclusiveMaximum"),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, 1e-15, 1e-15, None),  # strictly within
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, 1 - 1e-15, 1 - 1e-15, None),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1, "x-param": {"decimals": 2}}, -3, 0.01, "exclusiveMinimum"),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1, "x-param": {"decimals": 2}}, 3, 0.99, "exclusiveMaximum"),
        ({"exclusiveMinimum": 0.005, "maximum": 1, "x-param": {"decimals": 2}}, 0, 0.01, "exclusiveMinimum"),
        ({"minimum": 0, "exclusiveMaximum": 0.995, "x-param": {"decimals": 2}}, 1, 0.99, "exclusiveMaximum"),
        ({"exclusiveMinimum": 0.008, "maximum": 1, "x-param": {"decimals": 2}}, 0, 0.01, "exclusiveMinimum"),
        ({"minimum": 0, "exclusiveMaximum": 0.992, "x-param": {"decimals": 2}}, 1, 0.99, "exclusiveMaximum"),
        ({"exclusiveMinimum": 0, "maximum": 1, "x-param": {"decimals": 14}}, 0, 1e-14, "exclusiveMinimum"),
    ],
)  # fmt: skip
def test_clamped_to_an_exclusive_bound(leaf: Any, value: float, applied: float, rule: Any) -> None:
    store = memory_store({"n": schema({"x": {"type": "number", "default": 0.5, **leaf}})})
    (change,) = changed(store, value)
    assert (change.new, change.bound_by, change.requested) == (applied, rule, value)


@pytest.mark.parametrize(
    ("asked", "applied", "rule"),
    [(6.4, 6, "decimals"), (7.6, 8, "decimals"), (200, 100, "maximum"), (-3, 0, "minimum")],
)
@pytest.mark.parametrize("how", ["clamp", "project"])
def test_a_whole_number(how: Any, asked: float, applied: int, rule: str) -> None:
    (change,) = changed(memory_store({"n": schema({"x": INTEGER})}), asked, how)
    assert (repr(change.new), change.bound_by, change.requested) == (repr(applied), rule, asked)


@pytest.mark.parametrize("how", ["clamp", "project"])
@pytest.mark.parametrize(
    "leaf", [number(1.0), {"enum": ["a", "b"], "default": "a"}, {"type": "boolean", "default": True}]
)
@pytest.mark.parametrize("value", ["one", None, float("nan"), [1.0]])
def test_what_is_no_number_is_not_moved_but_refused(leaf: Any, value: Any, how: Any) -> None:
    store = memory_store({"n": schema({"x": leaf})})
    with pytest.raises(ValidationError):
        changed(store, value, how)
    with pytest.raises(ValidationError):
        changed(memory_store({"n": schema({"x": {"type": "boolean", "default": True}})}), 5.0, how)


# --- what a change says -------------------------------------------------------------------------


def test_a_request_that_is_kept_as_it_is_says_what_was_asked_and_by_which_rule() -> None:
    store = memory_store({"n": schema({"x": number(10.0)}, DIMENSIONS)})
    at = {"symbol": "BTC"}
    assert changed(store, 12.0, **at) == [Change("n.x", ABSENT, ABSENT, at, 12.0, "maximum")]
    assert changed(store, 12.0) == [Change("n.x", 10.0, 10.0, {}, 12.0, "maximum")]
    told = store.history(refused=True)[-2].details["violations"]
    text = "`n.x` stays as it is: 12.0 was asked for, maximum allows no change."
    assert told == [{"key": "n.x", "rule": "maximum", "requested": 12.0, "context": at, "text": text}]
    assert changed(store, 10.0) == [] and store.revision == 0


def test_a_clamped_request_within_its_limits_is_what_was_asked() -> None:
    store = memory_store(
        {"n": schema({"x": number(1.0), "two": number(1.0, **{"x-param": {"decimals": 2}})})}
    )
    assert changed(store, 3) == [Change("n.x", 1.0, 3.0, {}, 3.0, None)]
    assert changed(store, 1.234, "reject", "n.two") == [Change("n.two", 1.0, 1.23, {}, 1.234, "decimals")]
    assert changed(store, 11.004, "clamp", "n.two") == [Change("n.two", 1.23, 10.0, {}, 11.004, "maximum")]


def test_a_value_that_a_context_has_already_may_be_written_there_when_nothing_bent_it() -> None:
    store = memory_store({"n": schema({"x": number(1.0)}, DIMENSIONS)})
    assert changed(store, 1.0, symbol="BTC") == [Change("n.x", ABSENT, 1.0, {"symbol": "BTC"}, 1.0, None)]


def test_a_removed_value_says_what_it_was() -> None:
    store = memory_store({"n": schema({"x": number(1.0)}, DIMENSIONS)})
    changed(store, 2.0, symbol="BTC")
    with store.transaction(author="learner") as tx:
        tx.remove("n.x", symbol="BTC")
        tx.remove("n.x", symbol="ETH")  # none: there was none
    (change,) = tx.commit_result.changes
    assert change == Change("n.x", 2.0, ABSENT, {"symbol": "BTC"}, ABSENT)
    assert change.requested is ABSENT and store.get("n.x", symbol="BTC") == 1.0


# --- constraints --------------------------------------------------------------------------------

NAMES = tuple("abcdefg")
SENTENCES = [
    (Constraint("sum", NAMES[:6], equals=1), "sum of a, b, c, d, e, f equals 1"),
    (Constraint("sum", NAMES, minimum=0.5), "sum of a … g is at least 0.5"),
    (Constraint("sum", NAMES, maximum=2), "sum of a … g is at most 2"),
    (Constraint("linear", ("a", "b"), minimum=1, maximum=2, coefficients=(2, -0.5)),
     "2 * a + -0.5 * b is at least 1 and at most 2"),
    (Constraint("descending", ("a", "b")), "descending a, b"),
    (Constraint("ascending", NAMES, strict=True, gap=0.25), "strictly ascending a … g by at least 0.25"),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "text"), SENTENCES, ids=range(len(SENTENCES)))
def test_a_constraint_is_written_as_people_read_it(constraint: Constraint, text: str) -> None:
    assert str(constraint) == text


@pytest.mark.parametrize(
    ("constraint", "values", "short"),
    [
        (Constraint("sum", ("a", "b"), equals=1), (0.25, 0.25), [0.5, 0.0]),
        (Constraint("sum", ("a", "b"), equals=1), (1.0, 0.5), [0.0, 0.5]),
        (Constraint("sum", ("a", "b"), minimum=1), (1.0, 0.5), [0.0, 0.0]),
        (Constraint("sum", ("a", "b"), minimum=1), (0.25, 0.0), [0.75, 0.0]),
        (Constraint("sum", ("a", "b"), maximum=1), (1.0, 0.5), [0.0, 0.5]),
        (Constraint("sum", ("a", "b"), maximum=1), (0.0, 0.5), [0.0, 0.0]),
        (Constraint("linear", ("a", "b"), maximum=1, coefficients=(2, 1)), (1.0, 0.5), [0.0, 1.5]),
        (Constraint("descending", ("a", "b")), (1.0, 1.0), [0.0]),
        (Constraint("descending", ("a", "b")), (1.0, 1.5), [0.5]),
        (Constraint("ascending", ("a", "b", "c")), (1.0, 0.5, 0.0), [0.5, 0.5]),
        (Constraint("ascending", ("a", "b"), gap=1), (1.0, 1.5), [0.5]),
    ],
)
def test_by_how_much_values_break_a_constraint(
    constraint: Constraint, values: Any, short: list[float]
) -> None:
    assert shortfalls(constraint, dict(zip(constraint.paths, values, strict=True))) == short


def test_what_must_differ_is_short_when_equal_and_more_when_turned_over() -> None:
    for kind, turn in (("descending", 1), ("ascending", -1)):
        order = Constraint(kind, ("a", "b"), strict=True)  # type: ignore[arg-type]
        (apart,), (equal,), (turned,) = (
            shortfalls(order, {"a": 1.0, "b": 1.0 - turn * by}) for by in (0.5, 0.0, -0.5)
        )
        assert shortfalls(order, {"a": 1.0, "b": 1.0 - turn * 1e-10}) == [0.0]
        assert apart == 0 < equal < 1e-6 and 0.5 < turned < 0.5 + 1e-6


@pytest.mark.parametrize(
    ("constraint", "values", "kept"),
    [
        (
            Constraint("sum", ("a", "b"), minimum=0),
            (0.0, -1e-9),
            True,
        ),  # the last that adding up may be off by
        (Constraint("sum", ("a", "b"), minimum=0), (0.0, -1.1e-9), False),
        (Constraint("sum", ("a", "b"), maximum=0), (0.0, 1e-9), True),
        (Constraint("sum", ("a", "b"), maximum=0), (0.0, 1.1e-9), False),
        (Constraint("descending", ("a", "b"), gap=1), (1.0, 1e-10), True),
        (Constraint("descending", ("a", "b"), gap=1), (1.0, 1e-8), False),
        (
            Constraint("descending", ("a", "b")),
            (1.0, 1.0 + 1e-10),
            False,
        ),  # numbers are compared, not added up
        (Constraint("descending", ("a", "b")), (1.0, 1.0), True),
        (Constraint("descending", ("a", "b"), strict=True), (1.0, 1.0), False),
        (Constraint("descending", ("a", "b"), strict=True), (1.0, 1.0 - 1e-10), True),
    ],
)
def test_where_a_constraint_begins_to_be_broken(constraint: Constraint, values: Any, kept: bool) -> None:
    assert (violation(constraint, dict(zip(constraint.paths, values, strict=True))) is None) is kept


UNIT = {"a": Decimal("0.01"), "b": Decimal("0.1"), "c": Decimal("1")}
ROWS = [
    (Constraint("sum", ("a", "b"), equals=1), [Terms({"a": Decimal(1), "b": Decimal(1)}, Decimal(1), Decimal(1))]),
    (Constraint("linear", ("a", "b"), maximum=0.1, coefficients=(2, -0.5)),
     [Terms({"a": Decimal(2), "b": Decimal("-0.5")}, None, Decimal("0.1"))]),
    (Constraint("sum", ("a",), minimum=0.1), [Terms({"a": Decimal(1)}, Decimal("0.1"), None)]),
    (Constraint("descending", ("a", "b", "c")), [
        Terms({"a": Decimal(1), "b": Decimal(-1)}, Decimal(0), None),
        Terms({"b": Decimal(1), "c": Decimal(-1)}, Decimal(0), None)]),
    (Constraint("ascending", ("a", "b"), gap=0.25, strict=True),
     [Terms({"b": Decimal(1), "a": Decimal(-1)}, Decimal("0.25"), None)]),
    (Constraint("ascending", ("b", "c"), strict=True), [Terms({"c": Decimal(1), "b": Decimal(-1)}, Decimal("0.1"), None)]),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "wanted"), ROWS, ids=range(len(ROWS)))
def test_the_rows_that_a_projection_takes(constraint: Constraint, wanted: list[Terms]) -> None:
    assert list(rows(constraint, UNIT)) == wanted


def test_a_constraint_of_a_schema() -> None:
    known = ["a", "b.x", "b.y", "c.x.y"]
    assert compile_constraint({"sum": ["*"], "equals": 1}, known) == Constraint("sum", ("a",), equals=1)
    assert compile_constraint(
        {"descending": ["b.*", "a", "b.x"], "gap": 2, "strict": True}, known
    ) == Constraint("descending", ("b.x", "b.y", "a"), strict=True, gap=2)
    assert compile_constraint(
        {"linear": {"a": 2, "b.x": -1}, "minimum": 1, "maximum": 3}, known
    ) == Constraint("linear", ("a", "b.x"), minimum=1, maximum=3, coefficients=(2, -1))
    assert compile_constraint({"ascending": ["*.*"]}, known).strict is False
    for wrong, text in (
        ({"sum": ["a", "z*"]}, "'z*' matches no number below `values`"),
        ({"linear": {"b.*": 1}}, "'b.*': a linear constraint names each parameter"),
    ):
        with pytest.raises(ValueError, match=re.escape(text)) as info:
            compile_constraint(wrong, known)
        assert str(info.value) == text


# --- contexts -----------------------------------------------------------------------------------


def test_what_a_base_value_moves_where_a_context_has_others_of_its_constraint() -> None:
    """A context keeps `a`; the base moves `b`, which is read there too, and `a`, which is not."""
    raw = schema({"a": number(1.0), "b": number(1.0)}, DIMENSIONS, [{"sum": ["*"], "maximum": 4}])
    values = {"n": {"schema": 1, "values": {"a": 1.0, "b": 1.0},
                    "overrides": [{"at": {"symbol": "BTC"}, "values": {"a": 3.0}}]}}  # fmt: skip
    store = memory_store({"n": raw}, values)
    changed(store, 2.5, "reject", "n.a")  # hidden there
    with pytest.raises(ValidationError) as info:
        changed(store, 1.5, "reject", "n.b")
    (told,) = info.value.broken
    assert (told.rule, told.context, told.requested) == ("constraint", {"symbol": "BTC"}, {"n.b": 1.5})
    with pytest.raises(ValidationError) as info, store.transaction(author="learner") as tx:
        tx["n.b"] = 1.25
        tx.set("n.a", 3.5, symbol="ETH")
    assert [(v.context, v.requested) for v in info.value.broken] == [
        ({"symbol": "ETH"}, {"n.a": 3.5, "n.b": 1.25}), ({"symbol": "BTC"}, {"n.a": 3.5, "n.b": 1.25}),
    ]  # fmt: skip


@pytest.mark.parametrize("base_too", [True, False])
def test_a_value_for_a_context_meets_what_another_override_gives_beside_its_own(base_too: bool) -> None:
    """That one sets both, but only `a` of it is hidden."""
    overrides = [{"at": {"symbol": "BTC"}, "values": {"a": 1.0, "b": 9.0}}]
    values = {"n": {"schema": 1, "values": {"a": 1.0, "b": 1.0}, "overrides": overrides}}
    raw = schema({"a": number(1.0), "b": number(1.0)}, DIMENSIONS, [{"sum": ["*"], "maximum": 12}])
    with (
        pytest.raises(ValidationError) as info,
        memory_store({"n": raw}, values).transaction(author="learner") as tx,
    ):
        tx.set("n.a", 5.0, regime="trend")
        if base_too:
            tx["n.a"] = 2.0
    assert [told.context for told in info.value.broken] == [{"regime": "trend", "symbol": "BTC"}]


def test_a_text_has_a_cooldown_and_no_steps() -> None:
    leaf = {"enum": ["a", "b"], "default": "a", "x-param": {"cooldown_s": 60}}
    store = memory_store({"n": schema({"x": leaf})}, clock=ManualClock())
    assert [change.new for change in changed(store, "b", "reject")] == ["b"]
    with pytest.raises(ValidationError, match="cooldown_s 60"):
        changed(store, "a", "reject")


def test_a_cooldown_of_a_narrower_place_counts_within_it_only() -> None:
    clock = ManualClock()
    leaf = number(1.0, **{"x-param": {"cooldown_s": 60}})
    store = memory_store({"n": schema({"x": leaf}, DIMENSIONS)}, clock=clock)
    changed(store, 2.0, symbol="BTC", regime="trend")
    clock.advance(30)
    changed(store, 2.0, symbol="ETH", regime="trend")  # another place
    changed(store, 2.0, symbol="BTC")  # a wider one, which had none of its own
    with pytest.raises(ValidationError, match="comes 30 s after"):
        changed(store, 3.0, symbol="BTC", regime="trend")
    with store.transaction(author="me", force=True, reason="clean up") as tx:
        tx.remove("n.x", symbol="BTC", regime="trend")
    clock.advance(30)
    for context in ({"symbol": "BTC", "regime": "trend"}, {"symbol": "BTC"}):
        with pytest.raises(ValidationError, match="comes 30 s after"):
            changed(store, 3.0, **context)
    changed(store, 3.0, symbol="SOL", regime="trend")


def test_a_removed_value_waits_for_its_own_cooldown_and_not_for_the_base() -> None:
    clock = ManualClock()
    leaf = number(1.0, **{"x-param": {"cooldown_s": 60}})
    store = memory_store({"n": schema({"x": leaf}, DIMENSIONS)}, clock=clock)
    changed(store, 2.0, symbol="BTC")
    clock.advance(60)
    changed(store, 3.0)
    with store.transaction(author="learner") as tx:
        tx.remove("n.x", symbol="BTC")
    assert store.get("n.x", symbol="BTC") == 3.0


def test_a_refusal_names_what_would_be_read_where_nobody_asked_for_it() -> None:
    overrides = [{"at": {"symbol": "BTC"}, "values": {"x": 5.0}}]
    values = {"n": {"schema": 1, "values": {"x": 1.0}, "overrides": overrides}}
    leaf = number(1.0, **{"x-param": {"max_step": 2}})
    store = memory_store({"n": schema({"x": leaf}, DIMENSIONS)}, values)
    with pytest.raises(ValidationError) as info:
        changed(store, 1.5, "reject", regime="trend")  # over the other override too, as the later dimension
    (told,) = info.value.broken
    assert (told.context, told.requested) == ({"regime": "trend", "symbol": "BTC"}, 1.5)
    assert "= 1.5 is 3.5 away from 5.0" in told.text
    with pytest.raises(ValidationError) as info, store.transaction(author="learner") as tx:
        tx.remove("n.x", symbol="BTC")
    (told,) = info.value.broken
    assert (told.context, told.requested) == (
        {"symbol": "BTC"},
        1.0,
    ) and "= 1.0 is 4.0 away from 5.0" in told.text


def test_what_holds_a_clamped_value_is_told_with_what_was_asked() -> None:
    store = memory_store({"n": schema({"x": number(1.0)}, DIMENSIONS)})
    store.freeze("n.x", author="me", reason="r")
    with pytest.raises(ValidationError) as info:
        changed(store, 99.0)
    (told,) = info.value.broken
    assert (told.rule, told.requested) == ("freeze", 99.0) and "`n.x` = 99.0 is refused" in told.text


def test_a_clamped_value_moves_within_what_its_own_context_allows() -> None:
    leaf = number(1.0, **{"x-param": {"max_step": 1, "max_drift": 1.5}})
    values = {"n": {"schema": 1, "values": {"x": 1.0},
                    "overrides": [{"at": {"symbol": "BTC"}, "values": {"x": 5.0}}]}}  # fmt: skip
    store = memory_store({"n": schema({"x": leaf}, DIMENSIONS)}, values)
    for applied, rule in ((6.0, "max_step"), (6.5, "max_drift")):
        (change,) = changed(store, 9.0, symbol="BTC")
        assert (change.new, change.bound_by) == (applied, rule)
    (change,) = changed(store, 9.0, symbol="BTC", regime="trend")  # the nearest value and baseline around it
    assert (change.new, change.bound_by) == (ABSENT, "max_drift")  # which is what is read there
    assert [c.new for c in changed(store, 9.0)] == [2.0]


def test_a_value_between_two_digits_stays_where_no_value_with_those_digits_is_within() -> None:
    leaf = number(1.005, **{"x-param": {"decimals": 2, "max_step": 0.002}})
    assert changed(memory_store({"n": schema({"x": leaf})}), 2.0) == [
        Change("n.x", 1.005, 1.005, {}, 2.0, "max_step")
    ]


# --- projections --------------------------------------------------------------------------------


def weighed(
    constraints: Any, leaves: dict[str, Any] | None = None, overrides: Any = (), **start: float
) -> ParamStore:
    """Return a store of these numbers under these constraints."""
    found = {name: number(value) for name, value in start.items()} | (leaves or {})
    values = {
        "schema": 1,
        "values": {name: leaf["default"] for name, leaf in found.items()},
        "overrides": list(overrides),
    }
    return memory_store({"n": schema(found, DIMENSIONS, constraints)}, {"n": values})


def project(store: ParamStore, values: dict[str, Any], **context: Any) -> dict[str, Any]:
    """Return what a projected proposal changes."""
    with store.transaction(author="learner") as tx:
        tx.propose("n", values, "project", **context)
    return {change.key[2:]: change.new for change in tx.commit_result.changes if change.old != change.new}


def test_what_is_held_and_asked_to_stay_is_no_change() -> None:
    store = weighed([{"sum": ["*"], "equals": 6}], a=1.0, b=2.0, c=3.0)
    store.freeze("n.a", author="me", reason="r")
    with store.transaction(author="learner") as tx:
        tx.propose("n", {"a": 1.0, "b": 2.5, "c": 2.5}, "project")
    assert [(change.key, change.new) for change in tx.commit_result.changes] == [("n.b", 2.5), ("n.c", 2.5)]


def test_constraints_tie_one_to_the_next() -> None:
    for constraints in (["a", "b"], ["b", "c"], ["c", "d"]), (["c", "d"], ["b", "c"], ["a", "b"]):
        store = weighed([{"sum": pair, "equals": 4} for pair in constraints], a=2.0, b=2.0, c=2.0, d=2.0)
        assert project(store, {"a": 4.0}) == {"a": 2.5, "b": 1.5, "c": 2.5, "d": 1.5}


@pytest.mark.parametrize("limits", [{"owner": "another"}, {"learnable": False}, {"min_samples": 5}, None])
def test_what_this_author_may_not_move_makes_no_room(limits: Any) -> None:
    leaves = {"c": number(2.0, **{"x-param": limits or {}})}
    store = weighed([{"sum": ["*"], "equals": 6}], leaves, a=2.0, b=2.0)
    if limits is None:
        store.freeze("n.c", author="me", reason="r")
    assert project(store, {"a": 4.0}) == {"a": 3.0, "b": 1.0}


def test_as_many_digits_as_what_is_asked_for_and_what_stands() -> None:
    store = weighed([], a=1.0, b=0.12345678)
    assert project(store, {"a": 0.87654321}) == {"a": 0.87654321}
    store = weighed([{"sum": ["*"], "equals": 1.12345678}], a=1.0, b=0.12345678)
    assert project(store, {"a": 0.5, "b": 0.5}) == {"a": 0.561728, "b": 0.56172878}


def test_the_rules_of_a_contradiction_are_named_on_either_side() -> None:
    for fixed, rule in ((9.0, "n.b at least 4.0 (max_step)"), (1.0, "n.b at most 6.0 (max_step)")):
        store = weighed(
            [{"sum": ["a", "b"], "equals": 10}], {"b": number(5.0, **{"x-param": {"max_step": 1}})}, a=5.0
        )
        with pytest.raises(ValidationError, match=re.escape(rule)), store.transaction(author="learner") as tx:
            tx["n.a"] = fixed
            tx.set("n.b", 5.0, "project")


def test_a_projected_number_stays_a_number_and_an_integer_one() -> None:
    store = weighed([], {"whole": INTEGER}, x=1.0)
    assert repr(project(store, {"x": 3, "whole": 5.0})) == repr({"x": 3.0, "whole": 5})


@pytest.mark.parametrize("how", ["reject", "clamp", "project"])
def test_what_is_asked_for_in_a_context_is_written_though_it_is_read_there_already(how: Any) -> None:
    assert changed(weighed([], x=1.0), 1.0, how, symbol="BTC") == [
        Change("n.x", ABSENT, 1.0, {"symbol": "BTC"}, 1.0, None)
    ]


def test_what_must_differ_differs_by_one_digit() -> None:
    two = {"x-param": {"decimals": 2}}
    store = weighed(
        [{"descending": ["a", "b"], "strict": True}], {"a": number(5.0, **two), "b": number(2.0, **two)}
    )
    moved = project(store, {"a": 3.0, "b": 3.0})
    assert Decimal(repr(moved.get("a", 3.0))) - Decimal(repr(moved.get("b", 3.0))) == Decimal("0.01")


def test_a_base_value_suits_each_context_that_keeps_some_of_the_others() -> None:
    for limit_, least, found in (({"maximum": 12}, 1.0, {"a": 6.0}), ({"minimum": 12}, 9.0, {"a": 8.0})):
        fixed = (2.0, 6.0) if least == 1.0 else (9.0, 4.0)
        overrides = [
            {"at": {"symbol": name}, "values": {"b": value}} for name, value in zip("AB", fixed, strict=True)
        ]
        store = weighed(
            [{"sum": ["a", "b"], **limit_}], overrides=overrides, a=5.0 if least == 1.0 else 9.0, b=6.0
        )
        assert project(store, {"a": 10.0 if least == 1.0 else 1.0, "b": 6.0}) == found


def test_a_value_for_a_context_suits_what_others_give_within_it() -> None:
    overrides = [{"at": {"regime": "trend"}, "values": {"b": 6.0}}]
    store = weighed([{"sum": ["a", "b"], "maximum": 12}], overrides=overrides, a=5.0, b=5.0)
    assert project(store, {"a": 9.0}, symbol="BTC") == {"a": 6.0, "b": 5.0}


def test_contexts_that_are_projected_by_themselves_do_not_bind_the_base() -> None:
    overrides = [{"at": {"symbol": "BTC"}, "values": {"b": 5.0}}]
    store = weighed([{"sum": ["a", "b"], "equals": 10}], overrides=overrides, a=5.0, b=5.0)
    with store.transaction(author="learner") as tx:
        for context in ({}, {"symbol": "BTC"}):
            tx.propose("n", {"a": 8.0, "b": 2.0}, "project", **context)
    assert [store.get(f"n.{name}") for name in "ab"] == [8.0, 2.0]
    assert [store.get(f"n.{name}", symbol="BTC") for name in "ab"] == [8.0, 2.0]


def test_what_is_broken_elsewhere_may_stay_but_gets_no_worse() -> None:
    overrides = [{"at": {"symbol": "BTC"}, "values": {"b": 9.0}}]
    store = weighed([{"sum": ["a", "b"], "maximum": 10}], overrides=overrides, a=5.0, b=1.0)
    assert project(store, {"a": 9.0}) == {}  # BTC has 14 already
    (told,) = store.history(refused=True)[-1].details["violations"]
    assert told["rule"] == "sum of a, b is at most 10" and told["requested"] == 9.0
    assert project(store, {"a": 2.0}) == {"a": 2.0}
    with pytest.raises(ValidationError) as info, store.transaction(author="learner") as tx:
        tx.set("n.b", 9.5, symbol="BTC")
        tx.set("n.a", 2.0, "project")
    assert "sum of a, b is at most 10" in str(info.value)


def test_the_rule_that_bound_a_projected_value() -> None:
    about = {"x-param": {"decimals": 2}}
    constraints = [{"sum": ["x", "y"], "equals": 1}, {"sum": ["x", "y", "z"], "maximum": 2}]
    leaves = {
        "x": number(0.5, **about),
        "y": number(0.5, **about),
        "z": number(0.5, **about),
        "free": number(0.5),
    }
    raw = Schema("n", schema(leaves, None, constraints), "schemas/n.schema.json")
    low, high = limit("max_step", "0.40", None), limit("maximum", None, "0.60")
    between = [limit("max_step", "0.404", None), limit("maximum", None, "0.596")]
    ties = "sum of x, y equals 1; sum of x, y, z is at most 2"
    for limits, target, applied, rule in (
        ([low, high], 0.3, "0.40", "max_step"),
        ([low, high], 0.3, "0.41", ties),  # it is not the step that keeps it there
        ([low, high], 0.9, "0.60", "maximum"),
        ([low, high], 0.9, "0.59", ties),
        ([low, high], 0.9, "0.40", ties),  # at the other end
        ([low, high], 0.3, "0.60", ties),
        ([low], 0.9, "0.60", ties),
        ([], 0.3, "0.40", ties),
        (between, 0.3, "0.41", "max_step"),
        (between, 0.9, "0.59", "maximum"),
        (between, 0.404, "0.41", "decimals"),  # it asked for no less than the limit
        (between, 0.596, "0.59", "decimals"),
        ([low, high], 0.512, "0.51", "decimals"),
        ([low, high], 0.512, "0.45", ties),
        ([low, high], 0.5, "0.51", ties),
    ):
        move = Move("x", {}, 0.5)
        assert _bound_by(raw, _Mover(move, target, 2, limits), Decimal(applied)) == rule, (target, applied)


# --- transactions -------------------------------------------------------------------------------


def test_a_proposal_may_be_nested_and_begin_anywhere() -> None:
    properties = {"x": number(1.0), "deep": group({"a": number(1.0), "b": number(1.0)})}
    store = memory_store({"n": schema(properties, DIMENSIONS)})
    with store.transaction(author="learner") as tx:
        tx.propose("", {"n": {"x": 2.0, "deep": {"a": 3.0}}})
        tx.propose("n", {"deep": {"b": 99.0}, "deep.a": 4.0}, "clamp", symbol="BTC")
        assert (tx["n.x"], tx["n.deep.a"], tx.get("n.deep.b", symbol="BTC")) == (2.0, 3.0, 10.0)
    found = {(c.key, tuple(c.context.items())): c.new for c in tx.commit_result.changes}
    at = (("symbol", "BTC"),)
    assert found == {("n.x", ()): 2.0, ("n.deep.a", ()): 3.0, ("n.deep.b", at): 10.0, ("n.deep.a", at): 4.0}


def test_a_nested_proposal_makes_room_in_all_of_its_group() -> None:
    properties = {"deep": group({"a": number(5.0), "b": number(5.0)}), "c": number(5.0), "d": number(5.0)}
    constraints = [{"sum": ["deep.a", "deep.b", "c"], "equals": 15}]
    store = memory_store({"n": schema(properties, None, constraints)})
    with store.transaction(author="learner") as tx:
        tx.propose("n", {"deep": {"a": 8.0}}, "project")
        assert tx["n.c"] == 4.0  # what the others ask for is seen before the end
    assert [store.get(f"n.{name}") for name in ("deep.a", "deep.b", "c", "d")] == [7.0, 4.0, 4.0, 5.0]


def test_an_object_given_for_a_parameter_is_its_value() -> None:
    store = memory_store({"n": schema({"x": number(1.0)})})
    text = re.escape("`n.x` = {'a': 1} is an object, a number is expected")
    with pytest.raises(ValidationError, match=text), store.transaction(author="learner") as tx:
        tx.propose("n", {"x": {"a": 1}})


def test_a_read_inside_sees_what_was_asked_and_judges_nothing() -> None:
    store = memory_store({name: schema({"x": number(1.0)}, DIMENSIONS) for name in "mn"})
    with store.transaction(author="learner") as tx:
        tx["n.x"] = 11.0
        assert (tx["n.x"], tx["m.x"], tx.get("n.x", symbol="BTC")) == (11.0, 1.0, 11.0)
        tx["n.x"] = 2.0  # only what stands at the end is judged
        tx.set("n.x", 12.0, "clamp", symbol="BTC")
        assert (tx["n.x"], tx["m.x"], tx.get("n.x", symbol="BTC")) == (2.0, 1.0, 10.0)
        tx.set("n.x", 3.0, symbol="ETH")
        tx.remove("n.x", symbol="ETH")
        assert tx.get("n.x", symbol="ETH") == 2.0


def test_what_was_read_and_changed_by_hand_meanwhile_is_a_conflict(tmp_path: Any) -> None:
    text = "schema: 1\nvalues:\n  x: 1.0\n  y: 1.0\n  z: 1.0\n"
    root = write_store(tmp_path / "s", {"n": schema({name: number(1.0) for name in "xyz"})}, {"n": text})
    store = ParamStore(root, environ={})
    file = root / "params" / "n.yaml"
    with pytest.raises(ConflictError) as info, store.transaction(author="learner") as tx:
        tx["n.x"] = tx["n.y"] + 1
        file.write_text(text.replace("y: 1.0", "y: 2.0"))
    assert str(info.value) == (
        "`n.y` changed by hand during the transaction. The edit stands, nothing was written by this transaction; "
        "revision 1 stands. Read again and decide anew."
    )
    with store.transaction(author="learner") as tx:
        tx["n.x"] = 3.0
        file.write_text(file.read_text().replace("z: 1.0", "z: 2.0"))  # nobody looked at it
    assert (store.get("n.x"), store.get("n.y"), store.get("n.z")) == (3.0, 2.0, 2.0)
    words: dict[str, Any] = {"author": "learner", "expected_revision": store.revision}
    with pytest.raises(ConflictError) as info, store.transaction(**words) as tx:
        tx["n.x"] = 4.0
        file.write_text(file.read_text().replace("z: 2.0", "z: 3.0"))
    assert str(info.value).startswith(
        "the revision changed by hand during the transaction. The edit stands, "
    )


def test_a_broken_file_stops_what_is_about_it_and_nothing_else(tmp_path: Any) -> None:
    schemas = {name: schema({"x": number(1.0)}) for name in "mn"}
    root = write_store(tmp_path / "s", schemas, {name: {"schema": 1, "values": {"x": 1.0}} for name in "mn"})
    store = ParamStore(root, environ={})
    assert store.get("m.x") == 1.0
    changed(store, 1.5, "reject")
    write(root / "params" / "m.yaml", "schema: 1\nvalues:\n  x: many\n")
    with pytest.raises(ValidationError) as info:
        changed(store, 2.0, "reject", "m.x")
    assert str(info.value) == (
        "params/m.yaml: `m.x` = 'many' is a string, a number is expected (schemas/m.schema.json). "
        "Nothing was written; revision 1 stands."
    )
    changed(store, 2.0, "reject")
    assert (store.get("n.x"), store.get("m.x")) == (2.0, 1.0)


def test_a_forced_change_names_what_it_overrode_and_one_that_is_none_does_not() -> None:
    leaf = number(1.0, **{"x-param": {"max_step": 1, "owner": "another"}})
    values = {
        "n": {
            "schema": 1,
            "values": {"x": 1.0},
            "overrides": [{"at": {"symbol": "BTC"}, "values": {"x": 10.0}}],
        }
    }
    store = memory_store({"n": schema({"x": leaf}, DIMENSIONS)}, values)
    with store.transaction(author="me", force=True, reason="mine") as tx:
        tx.set("n.x", 12.0, "clamp", symbol="BTC")
        tx["n.x"] = 5.0
    found = {
        len(change.context): (change.new, change.bound_by, change.overrode)
        for change in tx.commit_result.changes
    }
    assert found == {1: (10.0, "maximum", ()), 0: (5.0, None, ("owner", "max_step"))}


def rules_of(store: ParamStore, *requests: tuple[str, Any, Any]) -> list[tuple[str, str]]:
    """Return key and rule of all that is wrong with these requests together."""
    with pytest.raises(ValidationError) as info, store.transaction(author="learner") as tx:
        for key, value, how in requests:
            tx.set(key, value, how)
    return [(told.key, told.rule) for told in info.value.broken]


def test_all_that_is_wrong_is_told_together_but_no_constraint_over_values_that_are_none() -> None:
    schemas = {
        name: schema({key: number(4.0) for key in "xyz"}, None, [{"sum": ["*"], "maximum": 15}])
        for name in "mn"
    }
    store = memory_store(schemas)
    constraint = ("m", "constraint")
    for how in ("reject", "project"):
        one = ("n.x", "one", how)
        assert rules_of(store, one, ("n.y", 9.0, "reject")) == [("n.x", "type")]
        assert rules_of(store, one, ("m.y", 9.0, "reject")) == [("n.x", "type"), constraint]
    assert rules_of(store, ("n.x", 11.0, "reject"), ("n.y", 4.5, "project")) == [("n.x", "maximum")]
    assert rules_of(store, ("n.x", 11.0, "reject"), ("m.y", "one", "project")) == [
        ("n.x", "maximum"),
        ("m.y", "type"),
    ]
    assert rules_of(store, ("n.x", "one", "project"), ("m.y", "one", "project")) == [
        ("n.x", "type"),
        ("m.y", "type"),
    ]
    assert store.revision == 0


def test_a_commit_result_has_the_entry_that_the_journal_has() -> None:
    store = memory_store({"n": schema({"x": number(1.0)})}, clock=ManualClock())
    with store.transaction(author="learner", reason="why") as tx:
        tx["n.x"] = 2.0
    assert tx.commit_result.entry == store.history()[-1] and tx.commit_result.revision == store.revision == 1


def test_a_refusal_is_told_though_no_disk_takes_its_record(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_store(
        tmp_path / "s", {"n": schema({"x": number(1.0)})}, {"n": {"schema": 1, "values": {"x": 1.0}}}
    )
    store = ParamStore(root, environ={})
    changed(store, 2.0, "reject")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(f"os.{name}", full)
    with pytest.raises(ValidationError, match="above its maximum"):
        changed(store, 11.0, "reject")
    with pytest.raises(WriteError, match="No space left"):
        changed(store, 3.0, "reject")
    monkeypatch.undo()
    assert [entry.kind for entry in store.history(refused=True)][-1] != "refusal" and store.get("n.x") == 2.0


def test_a_refusal_is_recorded_as_the_author_gave_it() -> None:
    store = memory_store({"n": schema({"x": number(1.0)}, DIMENSIONS)})
    words: dict[str, Any] = {"author": "learner", "reason": "why", "evidence": {"samples": 3, "note": "n"}}
    wrongs: list[Any] = [
        lambda tx: tx.set("n.x", 11.0),
        lambda tx: tx.set("n.z", 1.0),
        lambda tx: tx.set("n.x", 1.0, colour="red"),
    ]
    for act in wrongs:
        with pytest.raises(ParamstoreError) as info, store.transaction(**words) as tx:
            act(tx)
        entry = store.history(refused=True)[-1]
        assert (entry.kind, entry.author, entry.reason) == ("refusal", "learner", "why")
        assert dict(entry.evidence) == words["evidence"]
    told = [dict(entry.details["violations"][0]) for entry in store.history(refused=True)[-3:]]
    assert told == [
        {"key": "n.x", "rule": "maximum", "requested": 11.0, "allowed": [0.0, 10.0]},
        {"key": "n.z", "rule": "unknown", "requested": None,
         "text": "`n.z` is not a known parameter. Did you mean `n.x`? Nothing was written; revision 0 stands."},
        {"key": "*", "rule": "context", "requested": None, "text": str(info.value)},
    ]  # fmt: skip


def test_evidence_too_long_for_a_refusal_is_left_out_of_its_record() -> None:
    store = memory_store({"n": schema({"x": number(1.0)})})
    for length, kept in (
        (19_987, True),
        (19_988, False),
    ):  # with its name, quotes and braces: 19,999 and 20,000
        with (
            pytest.raises(ValidationError),
            store.transaction(author="learner", evidence={"note": "n" * length}) as tx,
        ):
            tx["n.x"] = 11.0
        assert bool(store.history(refused=True)[-1].evidence) is kept
