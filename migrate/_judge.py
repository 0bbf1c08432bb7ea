"""Is a number a tunable? Which type, bounds and unit would it have, and why."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import Any

from paramstore.migrate._facts import Node, When, number_value
from paramstore.migrate._shapes import SEQUENCES, Found
from paramstore.migrate._words import PLUMBING, PLUMBING_CALLS, is_tunable, unit_of

PLAIN = (0, 1, -1, 2)  # so common in code that only a name makes them tunable
CONVERSIONS = (60, 24, 365, 252, 1000, 3600, 86400, 10000, 1_000_000, 1_000_000_000, 100, 7, 10)
SENTINELS = (999, -999, 9999, -9999, 99999, -99999, 999999, -999999)
NAMED = ("module scalar", "class attribute", "dataclass field", "module dict", "class dict", "module table",
         "class table", "default_factory", "default argument", "lambda default")  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """``tier`` is ``yes``, ``review`` or ``no``; ``why`` says what decided it."""

    tier: str
    why: str


def value_of(node: Node) -> Any:
    """Return the plain value of a literal, containers as they are written."""
    if type(node) in SEQUENCES:
        items = [value_of(each) for each in node.elts]
        return tuple(items) if type(node) is ast.Tuple else items
    number = number_value(node)
    return number if number is not None else node.value


def judge(found: Found, local_words: list[str], scope_words: list[str]) -> Verdict:
    """Return whether ``found`` is a tunable, from its own names (``local_words``) and those around it."""
    if found.never:
        return Verdict("no", found.never)
    if found.when is When.NEVER:
        return Verdict("no", "is seen by type checkers only")
    if found.when is When.MAIN:
        return Verdict("no", "stands in the `__main__` part")
    value = value_of(found.node)
    if isinstance(value, float) and not math.isfinite(value):
        return Verdict("no", "is not a finite number")
    if value in SENTINELS:
        return Verdict("no", f"{value!r} stands for no value at all")
    table = isinstance(value, (list, tuple))
    good = [word for word in local_words if is_tunable(word)]
    bad = [word for word in local_words if word in PLUMBING]
    if found.partner in PLUMBING_CALLS and found.shape in ("argument", "keyword argument"):
        return Verdict("no", f"is an argument of `{found.partner}`")
    if bad and not (good and found.shape in NAMED):
        return Verdict("no" if not good else "review", f"`{bad[0]}` speaks of something else than trading")
    if not table and _is_plain(found, value):
        maybe = found.shape in NAMED or (
            type(value) is float and value > 0 and found.shape in ("comparison", "fallback")
        )
        return Verdict("review" if good and maybe else "no", f"{value!r} is common in any code")
    return _by_name(found, good, [word for word in scope_words if is_tunable(word)], value)


def _by_name(found: Found, good: list[str], around: list[str], value: Any) -> Verdict:
    if good and found.shape in NAMED:
        return Verdict("yes", f"`{good[0]}` in its name")
    if good and found.shape in ("comparison", "clamp", "augmented assignment", "factor", "local", "returned literal", "item",
                                "if-expression", "fallback", "keyword argument", "local dict", "instance attribute"):  # fmt: skip
        if found.shape in ("fallback", "keyword argument", "local dict", "instance attribute") and isinstance(
            value, int
        ):
            return Verdict("review", f"`{good[0]}`, but a whole number here may be a count or a start value")
        if isinstance(value, int) and abs(value) > 1000:
            return Verdict("review", f"`{good[0]}`, but {value} may be a size or a time")
        return Verdict(
            "yes" if found.shape != "fallback" or value not in (0.5,) else "review",
            f"`{good[0]}` in what it is for",
        )
    if good or around:
        return Verdict("review", f"`{(good or around)[0]}` nearby")
    if found.shape in ("module scalar", "class attribute", "module dict", "class dict") and isinstance(
        value, float
    ):
        return Verdict("review", "is a named fraction")
    return Verdict("no", "nothing around it speaks of trading")


def _is_plain(found: Found, value: Any) -> bool:
    if found.shape in NAMED and found.shape not in ("default argument", "default_factory"):
        return value == 0 and found.shape in ("module scalar", "class attribute", "dataclass field")
    if found.shape in ("factor", "term", "operand") and value in CONVERSIONS:
        return True
    if found.shape == "returned literal" and type(value) is float and value not in (0.0,):
        return False
    if found.shape in ("clamp", "augmented assignment", "if-expression") and value not in PLAIN:
        return False
    return value in PLAIN or (found.shape == "comparison" and value in (0, 1, 2, -1))


def kind_of(value: Any) -> str:
    """Return the JSON Schema type of a value."""
    if isinstance(value, (list, tuple)):
        return "array"
    return "integer" if type(value) is int else "number"


def bounds_of(value: Any, words: list[str]) -> tuple[float | int | None, float | int | None, str]:
    """Return minimum and maximum for a number, and the reason for them. A person is expected to tighten
    them: they keep a learner within an order of magnitude, not within what is wise."""
    if isinstance(value, (list, tuple)):
        return None, None, "a table has no bounds of its own"
    unit = unit_of(words)
    if unit in ("fraction", "score", "weight") and 0 <= value <= 1:
        return _as(value, 0), _as(value, 1), f"a {unit} lies within 0 and 1"
    if value == 0:
        return _as(value, -1), _as(value, 1), "nothing tells its size: one to either side"
    if type(value) is int and unit == "count" and value > 0:
        return 1, max(_nice(value * 10), 10), "a count of one to ten times today's"
    if abs(value) > 1e300:
        return value, value, "too large to have bounds around it"
    low, high = sorted((_nice(value / 4), _nice(value * 4)))
    return _as(value, min(low, value)), _as(value, max(high, value)), "a quarter to four times today's value"


def _nice(value: float) -> float:
    """Return ``value`` rounded to two significant digits."""
    if value == 0:
        return 0
    digits = 1 - math.floor(math.log10(abs(value)))
    return round(value, digits)


def _as(value: float | int, bound: float) -> float | int:
    if type(value) is int:
        return math.floor(bound) if bound < value else math.ceil(bound)
    return float(bound)
