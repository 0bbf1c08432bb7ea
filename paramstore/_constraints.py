"""Rules across parameters: sums, linear limits and orders. Pure: values in, sentences out.

Every constraint is a set of rows ``low <= sum of coefficient * value <= high``, which is what a projection
takes (``rows``); checking values needs the sentence only (``violation``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from paramstore._exact import exact

TOLERANCE = 1e-9  # what adding up a hundred decimal fractions can be off by, and far below any real weight
KINDS = ("sum", "linear", "descending", "ascending")
LONGEST_PATTERN = 200  # characters; what translates it takes the square of that


@dataclass(frozen=True, slots=True)
class Constraint:
    """One rule over ``paths`` (relative keys, in the order that the rule means).

    ``sum``: the total equals ``equals``, or lies within ``minimum`` and ``maximum``; ``linear``: the same of
    the total of ``coefficients`` times values. ``descending`` and ``ascending``: each value is at most (at
    least) the one before, by ``gap`` at least; with ``strict`` never equal.
    """

    kind: Literal["sum", "linear", "descending", "ascending"]
    paths: tuple[str, ...]
    strict: bool = False
    equals: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    gap: float = 0
    coefficients: tuple[float, ...] = ()

    def __str__(self) -> str:
        if self.kind == "linear":
            terms = zip(self.coefficients, self.paths, strict=True)
            return f"{' + '.join(f'{c:g} * {path}' for c, path in terms)}{self._limits(' ')}"
        names = ", ".join(self.paths) if len(self.paths) <= 6 else f"{self.paths[0]} … {self.paths[-1]}"
        if self.kind != "sum":
            gap = f" by at least {self.gap:g}" if self.gap else ""
            return f"{'strictly ' if self.strict else ''}{self.kind} {names}{gap}"
        return f"sum of {names}{self._limits(' ')}"

    def _limits(self, space: str) -> str:
        if self.equals is not None:
            return f"{space}equals {self.equals:g}"
        limits = [f"at least {self.minimum:g}"] if self.minimum is not None else []
        limits += [f"at most {self.maximum:g}"] if self.maximum is not None else []
        return f"{space}is {' and '.join(limits)}"

    @property
    def low(self) -> float | None:
        """The least total of a sum or linear constraint."""
        return self.equals if self.equals is not None else self.minimum

    @property
    def high(self) -> float | None:
        """The largest total of a sum or linear constraint."""
        return self.equals if self.equals is not None else self.maximum


class Terms(NamedTuple):
    """``low <= sum of coefficient * value <= high``, exact; ``None`` is no limit on that side."""

    coefficients: Mapping[str, Decimal]
    low: Decimal | None
    high: Decimal | None


def compile_constraint(raw: Mapping[str, Any], known: Iterable[str]) -> Constraint:
    """Build a constraint from its schema form; ``*`` patterns expand in schema order.

    Raises ``ValueError`` naming the pattern that matches nothing.
    """
    kind = next(name for name in KINDS if name in raw)
    known = list(known)
    paths: list[str] = []
    for pattern in raw[kind]:
        if len(pattern) > LONGEST_PATTERN and any(sign in pattern for sign in "*?["):
            raise ValueError(f"{pattern[:40]!r}… is longer than {LONGEST_PATTERN} characters")
        found = [path for path in known if _matches(path, pattern)]
        if not found:
            raise ValueError(f"{pattern!r} matches no number below `values`")
        if kind == "linear" and found != [pattern]:
            raise ValueError(f"{pattern!r}: a linear constraint names each parameter")
        paths += [path for path in found if path not in paths]
    return Constraint(
        kind,  # type: ignore[arg-type]
        tuple(paths),
        strict=raw.get("strict", False),
        equals=raw.get("equals"),
        minimum=raw.get("minimum"),
        maximum=raw.get("maximum"),
        gap=raw.get("gap", 0),
        coefficients=tuple(raw["linear"].values()) if kind == "linear" else (),
    )


def _matches(path: str, pattern: str) -> bool:
    """Match segment by segment, so that ``*`` never crosses a dot."""
    names, globs = path.split("."), pattern.split(".")
    return len(names) == len(globs) and all(map(fnmatchcase, names, globs))


def violation(constraint: Constraint, values: Mapping[str, Any]) -> str | None:
    """Return what is wrong with ``values`` (relative keys) under ``constraint``, or ``None``."""
    if constraint.kind in ("sum", "linear"):
        return _total_violation(constraint, _total(constraint, values))
    for first, second in _steps(constraint, values):
        must = "above" if constraint.kind == "descending" else "below"
        by = f" by at least {constraint.gap:g}" if constraint.gap else ""
        or_equal = "" if constraint.strict or constraint.gap else " or equal to"
        return f"{first} = {values[first]!r} must be {must}{or_equal} {second} = {values[second]!r}{by}"
    return None


def shortfalls(constraint: Constraint, values: Mapping[str, Any]) -> list[float]:
    """Return by how much ``values`` break each part of ``constraint``, zero where they do not: both sides of a total,
    each step of an order. What must differ and does not is off by a little: no distance would tell it from what may be
    equal."""
    if constraint.kind in ("sum", "linear"):
        total, low, high = _total(constraint, values), constraint.low, constraint.high
        below = low - total if low is not None else 0.0
        above = total - high if high is not None else 0.0
        return [max(0.0, below), max(0.0, above)]
    tie = TOLERANCE if constraint.strict else 0.0
    rises = [_rise(constraint, values, pair) for pair in pairwise(constraint.paths)]
    return [max(0.0, constraint.gap - rise + (0.0 if rise > 0 else tie)) for rise in rises]


def rows(constraint: Constraint, unit: Mapping[str, Decimal]) -> Iterator[Terms]:
    """Yield the rows that ``constraint`` is made of. ``unit`` gives each path's smallest step, by which values
    that must differ do differ."""
    if constraint.kind in ("sum", "linear"):
        factors = constraint.coefficients or (1,) * len(constraint.paths)
        low, high = constraint.low, constraint.high
        yield Terms(
            {path: exact(factor) for path, factor in zip(constraint.paths, factors, strict=True)},
            None if low is None else exact(low),
            None if high is None else exact(high),
        )
        return
    for first, second in pairwise(constraint.paths):
        upper, lower = (first, second) if constraint.kind == "descending" else (second, first)
        gap = exact(constraint.gap)
        if constraint.strict:
            gap = max(gap, min(unit[first], unit[second]))
        yield Terms({upper: Decimal(1), lower: Decimal(-1)}, gap, None)


def _steps(constraint: Constraint, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the neighbours in an order that break it."""
    for first, second in pairwise(constraint.paths):
        rise = _rise(constraint, values, (first, second))
        short = constraint.gap - rise
        if short > (TOLERANCE if constraint.gap else 0) or (constraint.strict and rise == 0):
            yield first, second


def _rise(constraint: Constraint, values: Mapping[str, Any], pair: tuple[str, str]) -> float:
    """Return by how much the one that must be above is above."""
    a, b = values[pair[0]], values[pair[1]]
    return float(a - b if constraint.kind == "descending" else b - a)


def _total(constraint: Constraint, values: Mapping[str, Any]) -> float:
    if constraint.kind == "sum":
        return math.fsum(values[path] for path in constraint.paths)
    terms = zip(constraint.coefficients, constraint.paths, strict=True)
    return math.fsum(factor * values[path] for factor, path in terms)


def _total_violation(constraint: Constraint, total: float) -> str | None:
    low, high = constraint.low, constraint.high
    if low is not None and total < low - TOLERANCE:
        return f"{constraint}, but it is {total:.12g}, {low - total:.6g} too little"
    if high is not None and total > high + TOLERANCE:
        return f"{constraint}, but it is {total:.12g}, {total - high:.6g} too much"
    return None
