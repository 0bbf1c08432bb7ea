"""The nearest real point under linear rules, whatever their shape, or the rules that contradict each other.

The dual active-set method for strictly convex quadratic programs (Goldfarb and Idnani 1983), in exact
fractions, so that nothing depends on a tolerance. Limits and orders are edges of a graph (a limit is an edge
to a node that stays at zero); those that hold with equality form a forest, whose trees move as blocks. Only
the remaining rules, the lines, need a system of equations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import lcm
from typing import NamedTuple

Number = int | Fraction
Ratio = tuple[int, int]  # numerator and denominator, not always reduced; the denominator is positive


class Constraint(NamedTuple):
    """``sum(coefficient * value) >= bound``. An edge has two terms, the coefficients 1 and -1 in this order."""

    terms: tuple[tuple[int, int], ...]
    bound: Number
    rule: int
    edge: bool


class ContradictionError(Exception):
    """No real point satisfies the constraints. ``rules``: an irreducible set of theirs that nothing meets."""

    def __init__(self, rules: Iterable[int]) -> None:
        self.rules = sorted(set(rules))
        super().__init__(self.rules)


class GaveUpError(Exception):
    """The search was cut off before it came to an answer."""


def nearest(targets: Sequence[int], constraints: Sequence[Constraint]) -> list[Ratio]:
    """Return the point next to ``targets`` that satisfies ``constraints``; node ``len(targets)`` is zero.

    Raises ``ContradictionError``, and ``GaveUpError`` after more steps than any problem of this size needs.
    """
    active: dict[int, Fraction] = {}  # number of a constraint that holds with equality → its multiplier
    for _ in range(100 + 20 * (len(targets) + len(constraints))):
        point, scale = _point(targets, constraints, active)
        number, lack = _most_violated(point, scale, constraints)
        if number is None:
            return [(value, scale) for value in point[:-1]]
        _enforce(len(point), constraints, active, number, lack)
    raise GaveUpError


def _point(
    targets: Sequence[int], constraints: Sequence[Constraint], active: Mapping[int, Fraction]
) -> tuple[list[int], int]:
    """Return targets + multipliers * normals, times a common denominator, and that denominator."""
    scale = lcm(*(multiplier.denominator for multiplier in active.values()))
    point = [target * scale for target in targets] + [0]
    for k, multiplier in active.items():
        weight = multiplier.numerator * (scale // multiplier.denominator)
        for i, coefficient in constraints[k].terms:
            point[i] += coefficient * weight
    point[-1] = 0
    return point, scale


def _most_violated(
    point: list[int], scale: int, constraints: Sequence[Constraint]
) -> tuple[int | None, Fraction]:
    worst: int | None = None
    most: Number = 0
    for number, (terms, bound, _, edge) in enumerate(constraints):
        value = point[terms[0][0]] - point[terms[1][0]] if edge else sum([c * point[i] for i, c in terms])
        lack = bound * scale - value
        if lack > most:
            worst, most = number, lack
    return worst, Fraction(most) / scale


def _enforce(
    size: int, constraints: Sequence[Constraint], active: dict[int, Fraction], number: int, lack: Fraction
) -> None:
    """Raise the multiplier of constraint ``number`` until it no longer lacks anything; give up active ones
    whose own multipliers would turn negative on the way."""
    pressure = Fraction(0)
    while True:
        speed, shares = _direction(size, constraints, active, number)
        stop = min(((active[k] / share, k) for k, share in shares.items() if share > 0), default=None)
        if not speed and stop is None:  # its normal is a sum of theirs, turned round: Farkas' lemma
            raise ContradictionError(
                constraints[k].rule for k in (number, *(k for k, s in shares.items() if s))
            )
        length, gone = (lack / speed, None) if speed else (Fraction(0), None)
        if stop is not None and not (speed and length <= stop[0]):
            length, gone = stop
        for k, share in shares.items():
            active[k] -= length * share
        pressure += length
        lack -= length * speed
        if gone is None:
            active[number] = pressure
            return
        del active[gone]


def _direction(
    size: int, constraints: Sequence[Constraint], active: Iterable[int], number: int
) -> tuple[Fraction, dict[int, Fraction]]:
    """Split the normal of constraint ``number`` into the part that leaves the active ones alone and a sum of
    their normals. Return the square of the former's length, and the shares of the latter."""
    walk, block = _forest(size, [(k, constraints[k].terms) for k in active if constraints[k].edge])
    members: dict[int, int] = {}
    for root in block:
        members[root] = members.get(root, 0) + 1
    ground = block[size - 1]
    lines = [k for k in active if not constraints[k].edge]
    rows = [_by_block(constraints[k].terms, block, ground) for k in lines]
    own = _by_block(constraints[number].terms, block, ground)
    weights = _solve([[_product(row, other, members) for other in (*rows, own)] for row in rows])
    speed = _product(own, own, members)
    speed -= sum((w * _product(row, own, members) for w, row in zip(weights, rows, strict=True)), Fraction(0))
    normals = [
        (Fraction(1), number),
        *((-weight, k) for weight, k in zip(weights, lines, strict=True) if weight),
    ]
    return speed, dict(zip(lines, weights, strict=True)) | _flows(walk, block, members, normals, constraints)


def _forest(
    size: int, edges: Sequence[tuple[int, tuple[tuple[int, int], ...]]]
) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Return (node, its parent, the edge between) in an order that has parents first, and each node's root."""
    near: dict[int, list[tuple[int, int]]] = {
        size - 1: []
    }  # the ground first: whatever is tied to it hangs below it
    for number, ((a, _), (b, _)) in edges:
        near.setdefault(a, []).append((b, number))
        near.setdefault(b, []).append((a, number))
    block, walk = list(range(size)), []
    seen: set[int] = set()
    for root in near:
        stack = [] if root in seen else [root]
        seen.add(root)
        while stack:
            node = stack.pop()
            block[node] = root
            for other, number in near[node]:
                if other not in seen:
                    seen.add(other)
                    walk.append((other, node, number))
                    stack.append(other)
    return walk, block


def _flows(
    walk: list[tuple[int, int, int]],
    block: list[int],
    members: dict[int, int],
    normals: Sequence[tuple[Fraction, int]],
    constraints: Sequence[Constraint],
) -> dict[int, Fraction]:
    """Return the edges' shares of a weighted sum of normals: less its mean over each block, what a subtree
    has of it passes its upper edge. In whole numbers, each block scaled by its size.
    """
    scale = lcm(*(weight.denominator for weight, _ in normals))
    rest: dict[int, int] = {i: 0 for node, parent, _ in walk for i in (node, parent)}
    total: dict[int, int] = {}
    for weight, k in normals:
        whole = weight.numerator * (scale // weight.denominator)
        for i, coefficient in constraints[k].terms:
            if i in rest:
                rest[i] += coefficient * whole * members[block[i]]
                total[block[i]] = total.get(block[i], 0) + coefficient * whole
    ground = block[-1]
    for i in rest:
        if block[i] != ground:
            rest[i] -= total.get(block[i], 0)
    flows = {}
    for node, parent, number in reversed(walk):
        flow = rest[node]
        if flow:
            rest[parent] += flow
            sign = 1 if constraints[number].terms[0][0] == node else -1
            flows[number] = Fraction(sign * flow, scale * members[block[node]])
    return flows


def _by_block(terms: tuple[tuple[int, int], ...], block: list[int], ground: int) -> dict[int, int]:
    sums: dict[int, int] = {}
    for i, coefficient in terms:
        if block[i] != ground:
            sums[block[i]] = sums.get(block[i], 0) + coefficient
    return sums


def _product(row: dict[int, int], other: dict[int, int], members: dict[int, int]) -> Fraction:
    parts: dict[int, int] = {}  # by block size, of which there are few: fewer fractions to add
    for root, coefficient in row.items():
        if root in other:
            parts[members[root]] = parts.get(members[root], 0) + coefficient * other[root]
    return sum((Fraction(part, count) for count, part in parts.items()), Fraction(0))


def _solve(matrix: list[list[Fraction]]) -> list[Fraction]:
    """Solve a positive definite system by elimination; the last column is the right side."""
    size = len(matrix)
    for k in range(size):
        pivot = matrix[k][k]
        matrix[k] = [entry / pivot for entry in matrix[k]]
        for other in range(size):
            factor = matrix[other][k]
            if other != k and factor:
                matrix[other] = [a - factor * b for a, b in zip(matrix[other], matrix[k], strict=True)]
    return [row[size] for row in matrix]
