"""Rules across parameters: sums and orders. Pure: values in, sentences out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Literal

TOLERANCE = 1e-9  # what adding up a hundred decimal fractions can be off by, and far below any real weight


@dataclass(frozen=True, slots=True)
class Constraint:
    """One rule over ``paths`` (relative keys, in the order that the rule means).

    ``sum``: the total equals ``equals``, or lies within ``minimum`` and ``maximum``. ``descending`` and
    ``ascending``: each value is at most (at least) the one before; with ``strict`` never equal.
    """

    kind: Literal["sum", "descending", "ascending"]
    paths: tuple[str, ...]
    strict: bool = False
    equals: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    def __str__(self) -> str:
        names = ", ".join(self.paths) if len(self.paths) <= 6 else f"{self.paths[0]} … {self.paths[-1]}"
        if self.kind != "sum":
            return f"{'strictly ' if self.strict else ''}{self.kind} {names}"
        if self.equals is not None:
            return f"sum of {names} equals {self.equals:g}"
        limits = [f"at least {self.minimum:g}"] if self.minimum is not None else []
        limits += [f"at most {self.maximum:g}"] if self.maximum is not None else []
        return f"sum of {names} is {' and '.join(limits)}"


def compile_constraint(raw: Mapping[str, Any], known: Iterable[str]) -> Constraint:
    """Build a constraint from its schema form; ``*`` patterns expand in schema order.

    Raises ``ValueError`` naming the pattern that matches nothing.
    """
    kind = next(name for name in ("sum", "descending", "ascending") if name in raw)
    known = list(known)
    paths: list[str] = []
    for pattern in raw[kind]:
        found = [path for path in known if _matches(path, pattern)]
        if not found:
            raise ValueError(f"{pattern!r} matches no number below `values`")
        paths += [path for path in found if path not in paths]
    return Constraint(
        kind,  # type: ignore[arg-type]
        tuple(paths),
        strict=raw.get("strict", False),
        equals=raw.get("equals"),
        minimum=raw.get("minimum"),
        maximum=raw.get("maximum"),
    )


def _matches(path: str, pattern: str) -> bool:
    """Match segment by segment, so that ``*`` never crosses a dot."""
    names, globs = path.split("."), pattern.split(".")
    return len(names) == len(globs) and all(map(fnmatchcase, names, globs))


def violation(constraint: Constraint, values: Mapping[str, Any]) -> str | None:
    """Return what is wrong with ``values`` (relative keys) under ``constraint``, or ``None``."""
    if constraint.kind == "sum":
        return _sum_violation(constraint, math.fsum(values[path] for path in constraint.paths))
    for first, second in pairwise(constraint.paths):
        a, b = values[first], values[second]
        wrong = a < b if constraint.kind == "descending" else a > b
        if wrong or (constraint.strict and a == b):
            must = "above" if constraint.kind == "descending" else "below"
            return f"{first} = {a!r} must be {must}{'' if constraint.strict else ' or equal to'} {second} = {b!r}"
    return None


def _sum_violation(constraint: Constraint, total: float) -> str | None:
    low = constraint.equals if constraint.equals is not None else constraint.minimum
    high = constraint.equals if constraint.equals is not None else constraint.maximum
    if low is not None and total < low - TOLERANCE:
        return f"{constraint}, but it is {total:.12g}, {low - total:.6g} too little"
    if high is not None and total > high + TOLERANCE:
        return f"{constraint}, but it is {total:.12g}, {total - high:.6g} too much"
    return None
