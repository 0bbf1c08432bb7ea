"""Is a number a tunable? Which type, bounds and unit would it have, and why."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import Any

from paramstore.migrate._facts import Node, When, number_value
from paramstore.migrate._shapes import SEQUENCES, Found
from paramstore.migrate._wording import call_name
from paramstore.migrate._words import PLUMBING, PLUMBING_CALLS, WEAK, is_tunable, unit_of

PLAIN = (0, 1, -1, 2)  # so common in code that only a name makes them tunable
CONVERSIONS = (60, 24, 365, 252, 1000, 3600, 86400, 10000, 1_000_000, 1_000_000_000, 100, 7, 10)
EPSILON = 2e-6
WINDOWS = ("tail", "head", "nlargest", "nsmallest")
AVERAGES = ("mean", "sum", "std", "var", "median", "max", "min", "quantile")
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
    bad = [word for word in local_words if word in PLUMBING]
    good = [word for word in local_words if is_tunable(word)]
    if found.shape == "argument" and value not in PLAIN and _is_window(found.node):
        return Verdict("review", "is the length of what is averaged here")
    if found.partner in PLUMBING_CALLS and found.shape in ("argument", "keyword argument"):
        return Verdict("no", f"is an argument of `{found.partner}`")
    if bad and not (set(good) - WEAK and found.shape in NAMED):
        return Verdict("no" if not good else "review", f"`{bad[0]}` speaks of something else than trading")
    around = [word for word in scope_words if is_tunable(word)]
    if not table and _is_plain(found, value):
        maybe = (good and _may_be_meant(found, value)) or ((good or around) and _is_rung(found))
        return Verdict("review" if maybe else "no", f"{value!r} is common in any code")
    return _by_name(found, good, around, value)


def _may_be_meant(found: Found, value: Any) -> bool:
    """Tell whether a number common in any code is a choice at this place: a name, a size, a factor of one."""
    if found.shape in NAMED:
        return True
    if found.shape in ("comparison", "fallback"):
        return (type(value) is float and value > 0) or value == 2
    return found.shape in ("factor", "term") and value in (2, 10)


def _is_rung(found: Found) -> bool:
    """Tell whether the other arm of an if-expression is a fraction: then this arm is a rung of the same ladder."""
    parent = found.node.parent
    if found.shape != "if-expression" or type(parent) is not ast.IfExp:
        return False
    return any(_fractions(arm) for arm in (parent.body, parent.orelse) if arm is not found.node)


def _fractions(arm: Node) -> bool:
    if type(arm) is ast.IfExp:
        return _fractions(arm.body) or _fractions(arm.orelse)
    number = number_value(arm)
    return type(number) is float and not number.is_integer()


def _is_window(node: Node) -> bool:
    """Tell whether a number is how many of the last rows are taken, to be averaged or summed at once."""
    call = node.parent
    if type(call) is not ast.Call or call_name(call) not in WINDOWS:
        return False
    whose: Node = call
    return type(whose.parent) is ast.Attribute and whose.parent.attr in AVERAGES


def _by_name(found: Found, good: list[str], around: list[str], value: Any) -> Verdict:
    if isinstance(value, float) and abs(value) < EPSILON and found.shape not in NAMED:
        return Verdict("review" if good else "no", f"{value!r} is likely to guard a division")
    if good and set(good) <= WEAK:
        return Verdict("review", f"`{good[0]}` in its name, and nothing else of trading")
    good.sort(key=lambda word: word in WEAK)
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
