"""What a refused author is told, word for word: one list for each module that refuses, from the request to the whole message.

People read these sentences, and programs read the parts of each violation; both are what is promised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from local_store import group, number, schema

from paramstore import ParamStore
from paramstore._guards import next_steps
from paramstore._transaction import Transaction, check_timeout
from paramstore.errors import ParamstoreError, ValidationError
from paramstore.testing import ManualClock, memory_store

FILE = "schemas/n.schema.json"
DIMENSIONS = {"symbol": {"type": "string"}, "regime": {"enum": ["trend", "chop"]}}
BTC: dict[str, Any] = {"symbol": "BTC"}
TAIL = " Nothing was written; revision 0 stands."
BOUNDS = "Next: ask for a value within bounds."
KIND = "Next: give a value of the kind that the schema asks for."
PERSON = "a person may write it anyway with `--force` (force=True) and a reason."
STEPS = f'Next: take smaller steps, or propose with on_violation="clamp" or "project"; {PERSON}'
TOGETHER = 'Next: move the others with it, or propose the group with on_violation="project".'


def refusal(
    store: ParamStore, requests: Mapping[str, Any], context: Any = None, **words: Any
) -> ValidationError:
    """Return the error with which these values are refused, all for one context."""
    with pytest.raises(ValidationError) as info, store.transaction(**{"author": "learner", **words}) as tx:
        for key, value in requests.items():
            tx.set(key, value, **(context or {}))
    return info.value


# --- _rules: type and bounds --------------------------------------------------------------------

OPEN = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2, "default": 1}
INTEGER = {"type": "integer", "minimum": 0, "maximum": 5, "default": 1}
RULES = [
    (number(1.0), 11, {}, "maximum", (0.0, 10.0), f"`n.x` = 11.0 is above its maximum 10.0 ({FILE}).", BOUNDS),
    (number(1.0), -1.5, {"symbol": "BTC", "regime": "chop"}, "minimum", (0.0, 10.0),
     f"`n.x` at symbol=BTC, regime=chop = -1.5 is below its minimum 0.0 ({FILE}).", BOUNDS),
    (OPEN, 0.0, {}, "exclusiveMinimum", (0, 2), f"`n.x` = 0.0 is not above its exclusive minimum 0 ({FILE}).", BOUNDS),
    (OPEN | {"minimum": 0, "maximum": 2}, 0.0, {}, "exclusiveMinimum", (0, 2),
     f"`n.x` = 0.0 is not above its exclusive minimum 0 ({FILE}).", BOUNDS),
    (OPEN | {"minimum": 0, "maximum": 2}, 2.0, {}, "exclusiveMaximum", (0, 2),
     f"`n.x` = 2.0 is not below its exclusive maximum 2 ({FILE}).", BOUNDS),
    (OPEN, 2.0, BTC, "exclusiveMaximum", (0, 2),
     f"`n.x` at symbol=BTC = 2.0 is not below its exclusive maximum 2 ({FILE}).", BOUNDS),
    ({**number(1.0), "exclusiveMinimum": -1, "minimum": 0}, -0.5, {}, "minimum", (-1, 10.0),
     f"`n.x` = -0.5 is below its minimum 0 ({FILE}).", BOUNDS),
    ({"type": "number", "minimum": 0.5, "exclusiveMaximum": 2, "default": 1}, 3, {}, "exclusiveMaximum", (0.5, 2),
     f"`n.x` = 3.0 is not below its exclusive maximum 2 ({FILE}).", BOUNDS),
    (number(1.0), "one", {}, "type", None, f"`n.x` = 'one' is a string, a number is expected ({FILE}).", KIND),
    (number(1.0), True, BTC, "type", None,
     f"`n.x` at symbol=BTC = True is a boolean, a number is expected ({FILE}).", KIND),
    (INTEGER, 1.5, {}, "type", (0, 5), f"`n.x` = 1.5 is a number, an integer is expected ({FILE}).", KIND),
    ({"type": "number", "minimum": 2, "maximum": 2, "default": 2}, 3, {}, "maximum", (2, 2),
     f"`n.x` = 3.0 is above its maximum 2 ({FILE}).", BOUNDS),
    ({"enum": ["a", "b"], "default": "a"}, "c", BTC, "enum", None,
     f"`n.x` at symbol=BTC = 'c' is not one of 'a', 'b' ({FILE}).",
     "Next: choose one of the values that are listed."),
    ({"enum": [1, 2], "default": 1}, 3, {}, "enum", None, f"`n.x` = 3 is not one of 1, 2 ({FILE}).",
     "Next: choose one of the values that are listed."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("leaf", "value", "context", "rule", "allowed", "text", "next_step"), RULES, ids=range(len(RULES))
)
def test_type_and_bounds(
    leaf: Any, value: Any, context: Any, rule: str, allowed: Any, text: str, next_step: str
) -> None:
    error = refusal(memory_store({"n": schema({"x": leaf}, DIMENSIONS)}), {"n.x": value}, context)
    assert str(error) == f"{text}{TAIL} {next_step}"
    (told,) = error.broken
    assert (told.key, told.rule, told.text) == ("n.x", rule, text)
    assert (told.requested, told.context, told.allowed) == (value, context, allowed)


def test_the_key_is_named_with_its_context_once() -> None:
    """The value may hold the key as well: that one is the author's."""
    error = refusal(memory_store({"n": schema({"x": number(1.0)}, DIMENSIONS)}), {"n.x": "`n.x`"}, BTC)
    assert (
        error.broken[0].text == f"`n.x` at symbol=BTC = '`n.x`' is a string, a number is expected ({FILE})."
    )


# --- _guards ------------------------------------------------------------------------------------

PLACE = f"{FILE}#/properties/values/properties/x/x-param"
UNIT = {"unit": "score"}
OWNER = f"Next: leave it to its owner; {PERSON}"
SAMPLES = f"Next: collect more outcomes first; {PERSON}"
APPROVE = f"Next: have a person look and move the baseline (`paramstore approve`); {PERSON}"
GUARDS = [
    ({"learnable": False}, 2.0, {}, {}, (1.0, 1.0),
     f"`n.x` = 2.0 is refused: it is not learnable ({PLACE}/learnable). It stays 1.0.",
     f"Next: leave it to people, or declare it learnable in the schema; {PERSON}"),
    ({"owner": "ann"}, 2.0, BTC, {"author": "bob\n"}, (1.0, 1.0),
     f"`n.x` at symbol=BTC = 2.0 is refused: its owner is `ann`, not `bob\\n` ({PLACE}/owner). It stays 1.0.", OWNER),
    ({"min_samples": 5, **UNIT}, 2.0, {}, {}, (1.0, 1.0),
     f"`n.x` = 2.0 is refused: its evidence needs at least 5 samples, but none are given (score; {PLACE}/min_samples). "
     "It stays 1.0.", SAMPLES),
    ({"min_samples": 5}, 2.0, {}, {"evidence": {"sample": 9}}, (1.0, 1.0),
     "`n.x` = 2.0 is refused: its evidence needs at least 5 samples, but none are given (is `sample` misspelt?) "
     f"({PLACE}/min_samples). It stays 1.0.", SAMPLES),
    ({"min_samples": 5}, 2.0, {}, {"evidence": {"samples": 4}}, (1.0, 1.0),
     f"`n.x` = 2.0 is refused: its evidence needs at least 5 samples, but there are 4 ({PLACE}/min_samples). "
     "It stays 1.0.", SAMPLES),
    ({"evidence": ["metric", "window"], **UNIT}, 2.0, {}, {"evidence": {"metrik": "ev", "windows": None}}, (1.0, 1.0),
     "`n.x` = 2.0 is refused: its evidence lacks `metric` (is `metrik` misspelt?), `window` (is `windows` misspelt?) "
     f"(score; {PLACE}/evidence). It stays 1.0.", f"Next: give the evidence that is missing; {PERSON}"),
    ({"max_step": 0.5, **UNIT}, 2.25, {}, {}, (0.5, 1.5),
     f"`n.x` = 2.25 is 1.25 away from 1.0, more than its max_step 0.5 (score; {PLACE}/max_step). "
     "Allowed now: 0.5 to 1.5.", STEPS),
    ({"max_step": 0.5}, 0.25, BTC, {}, (0.5, 1.5),
     f"`n.x` at symbol=BTC = 0.25 is 0.75 away from 1.0, more than its max_step 0.5 ({PLACE}/max_step). "
     "Allowed now: 0.5 to 1.5.", STEPS),
    ({"max_step_relative": 0.5}, 2.25, {}, {}, (0.5, 1.5),
     f"`n.x` = 2.25 is 1.25 away from 1.0, more than its max_step_relative 0.5 of that ({PLACE}/max_step_relative). "
     "Allowed now: 0.5 to 1.5.", STEPS),
    ({"max_drift": 0.5, **UNIT}, 2.25, BTC, {}, (0.5, 1.5),
     "`n.x` at symbol=BTC = 2.25 is 1.25 away from the approved baseline 1.0, more than its max_drift 0.5 "
     f"(score; {PLACE}/max_drift). Allowed now: 0.5 to 1.5.", APPROVE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "value", "context", "words", "allowed", "text", "next_step"), GUARDS, ids=range(len(GUARDS))
)
def test_guards(
    limits: Any, value: float, context: Any, words: Any, allowed: Any, text: str, next_step: str
) -> None:
    store = memory_store({"n": schema({"x": number(1.0, **{"x-param": limits})}, DIMENSIONS)})
    error = refusal(store, {"n.x": value}, context, **words)
    assert str(error) == f"{text}{TAIL} {next_step}"
    (told,) = error.broken
    rule = next(name for name in limits if name != "unit")
    assert (told.key, told.rule, told.text) == ("n.x", rule, text)
    assert (told.requested, told.context, told.allowed) == (value, context, allowed)


def test_steps_of_integers_are_told_in_whole_numbers_where_they_are_whole() -> None:
    for limits, allowed, told in (
        ({"max_step": 2}, (2, 6), "2 to 6"),
        ({"max_step_relative": 0.3}, (2.8, 5.2), "2.8 to 5.2"),
    ):
        leaf = {"type": "integer", "default": 4, "minimum": 0, "maximum": 9, "x-param": limits}
        (broken,) = refusal(memory_store({"n": schema({"x": leaf})}), {"n.x": 9}).broken
        assert repr(broken.allowed) == repr(allowed) and broken.text.endswith(f"Allowed now: {told}.")
    leaf = {"type": "number", "default": 4.0, "minimum": 0, "maximum": 9, "x-param": {"max_step": 2}}
    assert (
        repr(refusal(memory_store({"n": schema({"x": leaf})}), {"n.x": 9.0}).broken[0].allowed)
        == "(2.0, 6.0)"
    )


def frozen(store: ParamStore, clock: ManualClock) -> None:
    store.freeze("n.x", author="ann\n", reason="look\n")


def frozen_a_minute(store: ParamStore, clock: ManualClock) -> None:
    store.freeze("n", author="ann", reason="look", until=60)


def changed(store: ParamStore, clock: ManualClock) -> None:
    with store.transaction(author="learner") as tx:
        tx.set("n.x", 1.5, **BTC)
    clock.advance(10.4)


HELD = [
    ({"unit": "score"}, frozen, 0, (1.0, 1.0), "freeze",
     "`n.x` at symbol=BTC = 2.0 is refused: `n.x` is frozen by ann\\n since 2027-01-15T08:00:00Z, because: look\\n. "
     f"It stays 1.0 (score; {FILE}).", f"Next: ask who froze it; `paramstore unfreeze` ends it; {PERSON}"),
    ({}, frozen_a_minute, 0, (1.0, 1.0), "freeze",
     "`n.x` at symbol=BTC = 2.0 is refused: `n.*` is frozen by ann since 2027-01-15T08:00:00Z "
     f"until 2027-01-15T08:01:00Z, because: look. It stays 1.0 ({FILE}).",
     f"Next: ask who froze it; `paramstore unfreeze` ends it; {PERSON}"),
    ({"cooldown_s": 60, "unit": "score"}, changed, 1, (1.5, 1.5), "cooldown_s",
     "`n.x` at symbol=BTC = 2.0 comes 10 s after the last change, within its cooldown_s 60 "
     f"(seconds; {PLACE}/cooldown_s). It stays 1.5 for another 50 s, until 2027-01-15T08:01:00Z.",
     f"Next: try again when the wait is over; {PERSON}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "before", "revision", "allowed", "rule", "text", "next_step"), HELD, ids=range(len(HELD))
)
@pytest.mark.parametrize("how", ["reject", "project"])
def test_what_holds_a_value(
    limits: Any, before: Callable[..., None], revision: int, allowed: Any, rule: str, text: str, next_step: str, how: Any
) -> None:  # fmt: skip
    clock = ManualClock()
    store = memory_store({"n": schema({"x": number(1.0, **{"x-param": limits})}, DIMENSIONS)}, clock=clock)
    before(store, clock)
    with pytest.raises(ValidationError) as info, store.transaction(author="learner") as tx:
        tx.set("n.x", 2.0, how, **BTC)
    assert str(info.value) == f"{text} Nothing was written; revision {revision} stands. {next_step}"
    (told,) = info.value.broken
    assert (told.key, told.rule, told.requested, told.context, told.allowed) == (
        "n.x",
        rule,
        2.0,
        BTC,
        allowed,
    )


def test_next_steps_are_named_once_and_force_only_where_it_would_help() -> None:
    assert next_steps([]) == "" and next_steps(["no such rule"]) == ""
    assert next_steps(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]) == BOUNDS
    assert next_steps(iter(["max_step", "max_step_relative"])) == STEPS
    assert next_steps(["owner", "type"]) == f"Next: leave it to its owner; {KIND[6:]}"
    assert next_steps(["infeasible"]) == "Next: ask for less, or have a person change one of these rules."
    assert next_steps(["unknown"]) == "Next: correct the key."


# --- _constraints -------------------------------------------------------------------------------

CONSTRAINTS = [
    ({"sum": ["*"], "equals": 10}, "a", 1.0, "sum of a, b, c equals 10, but it is 6, 4 too little"),
    ({"sum": ["*"], "equals": 10}, "b", 9.0, "sum of a, b, c equals 10, but it is 16, 6 too much"),
    ({"sum": ["a", "b"], "minimum": 7, "maximum": 8}, "a", 1.0,
     "sum of a, b is at least 7 and at most 8, but it is 4, 3 too little"),
    ({"sum": ["a", "b"], "minimum": 7, "maximum": 8}, "b", 9.0,
     "sum of a, b is at least 7 and at most 8, but it is 14, 6 too much"),
    ({"sum": ["a"], "minimum": 5}, "a", 1.0, "sum of a is at least 5, but it is 1, 4 too little"),
    ({"linear": {"a": 1, "b": -0.5}, "maximum": 4}, "a", 9.0, "1 * a + -0.5 * b is at most 4, but it is 7.5, 3.5 too much"),
    ({"linear": {"a": 1, "b": -0.5}, "equals": 3.5}, "a", 4.0, "1 * a + -0.5 * b equals 3.5, but it is 2.5, 1 too little"),
    ({"descending": ["a", "b", "c"]}, "a", 1.0, "a = 1.0 must be above or equal to b = 3.0"),
    ({"descending": ["a", "b", "c"], "strict": True}, "b", 5.0, "a = 5.0 must be above b = 5.0"),
    ({"descending": ["a", "b"], "gap": 1}, "b", 4.5, "a = 5.0 must be above b = 4.5 by at least 1"),
    ({"ascending": ["c", "b", "a"]}, "c", 9.0, "c = 9.0 must be below or equal to b = 3.0"),
    ({"ascending": ["c", "b"], "gap": 0.5, "strict": True}, "c", 2.75, "c = 2.75 must be below b = 3.0 by at least 0.5"),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "key", "value", "text"), CONSTRAINTS, ids=range(len(CONSTRAINTS)))
@pytest.mark.parametrize("context", [{}, {"symbol": "BTC"}])
def test_constraints(constraint: Any, key: str, value: float, text: str, context: Any) -> None:
    start = {"a": 5.0, "b": 3.0, "c": 2.0}
    leaves = {name: number(at, **{"x-param": {"unit": "share"}}) for name, at in start.items()}
    store = memory_store({"n": schema(leaves, DIMENSIONS, [{"sum": ["*"], "maximum": 99}, constraint])})
    error = refusal(store, {f"n.{key}": value}, context)
    where = "in {'symbol': 'BTC'}: " if context else ""
    place = f"(share; {FILE}#/properties/values/x-constraints/1)."
    assert str(error) == f"{where}`n`: {text} {place}{TAIL} {TOGETHER}"
    (told,) = error.broken
    assert (told.key, told.rule, told.requested) == ("n", "constraint", {f"n.{key}": value})
    assert (told.context, told.allowed) == (context, None)


@pytest.mark.parametrize("units", [("s", "m"), (None, "m"), (None, None)])
def test_a_constraint_names_a_unit_only_if_all_of_its_values_have_it(
    units: tuple[str | None, str | None],
) -> None:
    leaves = {
        name: number(5.0, **{"x-param": {"unit": unit} if unit else {}})
        for name, unit in zip("ab", units, strict=True)
    }
    store = memory_store({"n": schema(leaves, None, [{"sum": ["*"], "equals": 10}])})
    assert f"4 too little ({FILE}#" in str(refusal(store, {"n.a": 1.0}))


# --- _proposal ----------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [{}, {"symbol": "BTC"}])
def test_rules_that_no_values_satisfy_together(context: Any) -> None:
    leaves = {"a": number(5.0), "b": number(5.0, **{"x-param": {"max_step": 1}})}
    store = memory_store({"n": schema(leaves, DIMENSIONS, [{"sum": ["*"], "equals": 10}])})
    with pytest.raises(ValidationError) as info, store.transaction(author="learner") as tx:
        tx.set("n.a", 3.0, **context)
        tx.set("n.b", 7.5, "project", **context)
    where = " at {'symbol': 'BTC'}" if context else ""
    text = f"`n`{where}: no values satisfy these rules together: sum of a, b equals 10; n.b at most 6.0 (max_step) ({FILE})."
    assert (told := info.value.broken[0]).text == text
    assert (told.key, told.rule, told.requested) == ("n", "infeasible", {"b": 7.5})
    assert (told.context, told.allowed) == (context, None)
    assert "Next: ask for less, or have a person change one of these rules" in str(info.value)


@pytest.mark.parametrize("how", ["reject", "project"])
@pytest.mark.parametrize("constraints", [[], [{"sum": ["x"], "maximum": 9}]])
def test_overrides_that_combine_to_too_many_contexts(how: Any, constraints: Any) -> None:
    dimensions = {f"d{index}": {"type": "string"} for index in range(9)}
    overrides = [{"at": {name: value}, "values": {"x": 1.5}} for name in dimensions for value in "abc"]
    leaf = number(1.0, **{"x-param": {"max_step": 5}})
    values = {"n": {"schema": 1, "values": {"x": 1.0}, "overrides": overrides}}
    store = memory_store({"n": schema({"x": leaf}, dimensions, constraints)}, values)
    with pytest.raises(ValidationError) as info, store.transaction(author="learner") as tx:
        tx.set("n.x", 2.0, how, d0="a")
    text = (
        "`n`: its overrides combine to 32768 contexts, too many to hold its rules to (schemas/n.schema.json). "
        "Merge overrides, or give fewer dimensions."
    )
    assert {(told.key, told.rule, told.text) for told in info.value.broken} == {("n", "contexts", text)}
    assert str(info.value).endswith("Nothing was written; revision 0 stands.")


@pytest.mark.parametrize(
    ("leaf", "value", "text"),
    [
        (number(1.0), "one", "`n.x` = 'one' is a string, a number is expected"),
        (number(1.0), float("inf"), "`n.x` = inf is not a finite number within 64 bits"),
        ({"type": "boolean", "default": True}, 1.0, "`n.x` = 1.0 is a number, a boolean is expected"),
    ],
)
def test_what_is_no_number_cannot_be_projected(leaf: Any, value: Any, text: str) -> None:
    store = memory_store({"n": schema({"x": leaf}, DIMENSIONS)})
    with pytest.raises(ValidationError) as info, store.transaction(author="learner") as tx:
        tx.set("n.x", value, "project", **BTC)
    assert str(info.value) == f"{text} ({FILE}).{TAIL} {KIND}"
    (told,) = info.value.broken
    assert (told.key, told.rule, told.requested, told.context) == ("n.x", "type", value, BTC)


@pytest.mark.parametrize("context", [{}, {"symbol": "BTC"}])
def test_what_a_schema_says_against_a_projected_value(context: Any) -> None:
    leaf = {"type": "number", "enum": [0.25, 0.5, 0.75], "default": 0.5}
    store = memory_store({"n": schema({"x": leaf}, DIMENSIONS)})
    with pytest.raises(ValidationError) as info, store.transaction(author="learner") as tx:
        tx.set("n.x", 0.6, "project", **context)
    text = f"`n.x` = 0.6 is not one of 0.25, 0.5, 0.75 ({FILE})."
    assert str(info.value) == f"{text}{TAIL} {KIND}"
    (told,) = info.value.broken
    assert (told.key, told.rule, told.text) == ("n.x", "type", text)
    assert (told.requested, told.context, told.allowed) == (0.6, context, None)


def test_a_contradiction_says_in_which_context_a_constraint_binds() -> None:
    values = {"n": {"schema": 1, "values": {"a": 5.0, "b": 5.0},
                    "overrides": [{"at": {"symbol": "BTC"}, "values": {"b": 5.0}}]}}  # fmt: skip
    leaves = {"a": number(5.0), "b": number(5.0)}
    store = memory_store({"n": schema(leaves, DIMENSIONS, [{"sum": ["*"], "equals": 10}])}, values)
    with pytest.raises(ValidationError) as info, store.transaction(author="learner") as tx:
        tx["n.b"] = 3.0
        tx.set("n.a", 7.0, "project")
    assert info.value.broken[0].text == (
        "`n`: no values satisfy these rules together: sum of a, b equals 10; "
        f"sum of a, b equals 10 in {{'symbol': 'BTC'}} ({FILE})."
    )


# --- _transaction -------------------------------------------------------------------------------


def nothing(tx: Transaction) -> None:
    pass


WORDS: list[tuple[dict[str, Any], Callable[[Transaction], Any], str]] = [
    ({"author": " "}, nothing, f"A transaction needs an author: the learner or person who commits.{TAIL}"),
    ({"author": 5}, nothing, f"A transaction needs an author: the learner or person who commits.{TAIL}"),
    ({"reason": 5}, nothing, f"reason must be text, not 5.{TAIL}"),
    ({"force": True}, nothing,
     f"A forced change needs a reason: it passes the limits that bind learners, and the journal says why.{TAIL}"),
    ({"expected_revision": 7}, nothing,
     "Revision 7 was expected, but 0 stands: someone committed or edited meanwhile. Nothing was written; read again and "
     "decide anew."),
    ({"timeout_s": -1}, nothing, "timeout_s = -1 is not within 0 and 86400 seconds. Nothing was written."),
    ({}, lambda tx: tx.set("n.y1", 1.0), f"`n.y1` is not a known parameter. Did you mean `n.y`?{TAIL}"),
    ({}, lambda tx: tx.get("n.y1"), f"`n.y1` is not a known parameter. Did you mean `n.y`?{TAIL}"),
    ({}, lambda tx: tx.set("n.x", 1.0, "bend"),  # type: ignore[arg-type]
     f"on_violation='bend' is not known; use 'reject' or 'clamp' or 'project'.{TAIL}"),
    ({}, lambda tx: tx.set("n.x", 1.0, symbol=None),
     f"`n.x`: symbol=None names no context. Leave `symbol` out to write the base value.{TAIL}"),
    ({}, lambda tx: tx.set("m.x", 1.0, symbol="BTC"),
     f"`m` has no dimension `symbol`, so `m.x` cannot have a value for it.{TAIL}"),
    ({}, lambda tx: tx.set("n.x", 1.0, colour="red"), "`colour` is no declared dimension (declared: symbol, regime)."),
    ({}, lambda tx: tx.set("n.x", 1.0, regime="flat"),
     "'flat' is not a value of dimension `regime`: one of 'trend', 'chop' is expected."),
    ({}, lambda tx: tx.remove("n.x"), f"`n.x` cannot be removed: only a value for a context can.{TAIL} {KIND}"),
    ({}, lambda tx: tx.propose("n", [1]),  # type: ignore[arg-type]
     f"propose takes a mapping of keys to values, not [1]; for one key: tx[key] = value.{TAIL}"),
    ({}, lambda tx: tx.commit_result, "There is no commit result: the transaction has not ended, or it failed."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "act", "text"), WORDS, ids=range(len(WORDS)))
def test_words_of_a_transaction(words: dict[str, Any], act: Callable[[Transaction], Any], text: str) -> None:
    schemas = {"n": schema({"x": number(1.0), "y": number(1.0)}, DIMENSIONS), "m": schema({"x": number(1.0)})}
    store = memory_store(schemas)
    with pytest.raises(ParamstoreError) as info, store.transaction(**{"author": "learner", **words}) as tx:
        act(tx)
    assert str(info.value) == text
    assert (store.get("n.x"), store.revision) == (1.0, 0)


def test_a_transaction_that_has_ended_takes_no_more() -> None:
    store = memory_store({"n": schema({"x": number(1.0), "deep": group({"a": number(1.0)})})})
    with store.transaction(author="learner") as tx:
        pass
    acts: list[Callable[[], None]] = [
        lambda: tx.set("n.x", 2.0),
        lambda: tx.propose("n", {"deep": {"a": 2.0}}),
        lambda: tx.remove("n.x", symbol="BTC"),
    ]
    for act in acts:
        with pytest.raises(ParamstoreError) as info:
            act()
        assert str(info.value) == (
            "This transaction has ended, so the change would go nowhere. Nothing was written; open another one."
        )


@pytest.mark.parametrize("seconds", [0, 0.5, 86_400])
def test_seconds_that_a_lock_can_wait(seconds: float) -> None:
    assert repr(check_timeout(seconds)) == repr(float(seconds))


@pytest.mark.parametrize("wrong", [-1, 86_400.5, "5", True, None, float("nan")])
def test_seconds_that_no_lock_can_wait(wrong: Any) -> None:
    with pytest.raises(ValidationError) as info:
        check_timeout(wrong)
    assert str(info.value) == f"timeout_s = {wrong!r} is not within 0 and 86400 seconds. Nothing was written."
