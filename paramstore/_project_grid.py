"""From the nearest real point to the nearest point of a decimal grid. All numbers are integers.

Rounding the real optimum gives the best grid point for the multipliers that the lines have there, because
tied values round alike (threshold decomposition, as in Hochbaum and Queyranne 2003). If the lines still hold
it is the answer. Otherwise pushes repair the lines, and a bounded search by branching settles small problems
and those in which coarse and fine grids meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from paramstore._project_active import Constraint, ContradictionError, GaveUpError, Ratio, nearest
from paramstore._project_chain import FAR, Line, lay_out, nearest_in_chains
from paramstore._project_push import Problem, Pushes

MOST_WORK = 4_000  # nodes times the square of the number of variables, to improve on a point that is found
MOST_NODES = 2_000  # nodes times the number of variables, to find a point at all


class NoGridPointError(Exception):
    """Real points satisfy the rules, and the search proved that none of them is on the grid."""


class Grid:
    """The search for the nearest grid point of one problem."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._size = len(problem.targets)
        self._step = min(problem.steps)
        self._layout = lay_out(self._size, problem.orders) if len(problem.lines) < 2 else None
        self._limits = [(line.low, line.high) for line in problem.lines]
        self._ordered = {i for order in problem.orders for i in order[:2]}
        self._pushes = Pushes(problem)

    def find(self) -> list[int]:
        """Return the nearest grid point found: the nearest of all if the search came to its end.

        Raises ``ContradictionError`` if the rules, rounded to the grid, have no real point,
        ``NoGridPointError`` and ``GaveUpError``.
        """
        best: list[int] | None = None
        nodes = [(self._problem.low, self._problem.high)]
        count = 0
        while nodes and count < MOST_NODES // self._size + 20:
            low, high = nodes.pop()
            count += 1
            point = self._real(low, high, root=count == 1)
            if point is None or (best is not None and self._bound(point) >= self._pushes.distance(best)):
                continue
            coarse = self._off_coarse_grid(point)
            values, proven = (None, False) if coarse else self._settle(point, low, high)
            if values is not None and (best is None or self._distance(values) < self._distance(best)):
                best = values
            if best is not None and count * self._size**2 >= MOST_WORK:
                return best
            if not proven:
                nodes += self._branches(point, low, high, coarse[-1] if coarse else self._most_off(point))
            if coarse:
                nodes.append(self._fixed(point, low, high, coarse[: (len(coarse) + 1) // 2]))
        if best is None:
            raise GaveUpError if nodes else NoGridPointError
        return best

    def _real(self, low: list[int], high: list[int], root: bool) -> list[Ratio] | None:
        """Return the nearest real point within these limits; ``None`` if there is none."""
        problem = self._problem
        if self._layout is not None:
            line = problem.lines[0] if problem.lines else None
            point = nearest_in_chains(self._layout, problem.targets, low, high, line)
            if point is not None:
                return point
        try:
            return nearest(problem.targets, constraints_of(problem, low, high))
        except ContradictionError:
            if root:
                raise
            return None

    def _distance(self, values: Sequence[int]) -> int:
        return self._pushes.distance(values)

    def _bound(self, point: Sequence[Ratio]) -> Fraction:
        """Return what no grid point of the node is nearer than: the real optimum, and what rounding costs
        when the lines count by their multipliers only (weak duality)."""
        total = Fraction(0)
        for i, (over, under) in enumerate(point):
            value = Fraction(over, under)
            rounded = _round(over, under, self._step if i in self._ordered else self._problem.steps[i])
            total += (value - self._problem.targets[i]) ** 2 + (value - rounded) ** 2
        return total

    def _off_coarse_grid(self, point: Sequence[Ratio]) -> list[int]:
        """Return the variables that are off their grid, of the coarsest step above the smallest that any of
        these has; the one that is off most comes last."""
        off = [
            (-step, _off(*ratio, step), i)
            for i, (ratio, step) in enumerate(zip(point, self._problem.steps, strict=True))
            if step > self._step and ratio[0] % (ratio[1] * step)
        ]
        return [i for step, _, i in sorted(off) if step == min(off)[0]]

    def _fixed(
        self, point: Sequence[Ratio], low: list[int], high: list[int], some: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """Return the limits with ``some`` variables held where they round to: a guess that saves branches,
        and that finer variables make up for."""
        low, high = low[:], high[:]
        for i in some:
            low[i] = high[i] = _round(*point[i], self._problem.steps[i])
        return low, high

    def _most_off(self, point: Sequence[Ratio]) -> int:
        return min((-_off(*ratio, self._step), i) for i, ratio in enumerate(point))[1]

    def _branches(
        self, point: Sequence[Ratio], low: list[int], high: list[int], i: int
    ) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the limits on either side of where variable ``i`` lies, the nearer side last."""
        over, under = point[i]
        step = self._problem.steps[i]
        floor = over // (under * step) * step
        lower, upper = high[:], low[:]
        lower[i], upper[i] = floor, floor + step
        sides = (low, lower), (upper, high)
        yield from sides if _round(over, under, step) > floor else sides[::-1]

    def _settle(
        self, point: Sequence[Ratio], low: list[int], high: list[int]
    ) -> tuple[list[int] | None, bool]:
        """Return a grid point near ``point``, if one was found, and whether none within these limits is
        nearer to the targets for certain."""
        self._pushes.hold(low, high)
        rounded = [_round(over, under, self._step) for over, under in point]
        tight = [_tight(line, point) for line in self._problem.lines]
        if not self._pushes.lacks(rounded, tight):
            return rounded, True
        for limits in (tight, self._limits):
            values = rounded[:]
            if self._pushes.repair(values, limits):
                self._pushes.improve(values, self._limits)
                return values, self._is_plain_sum()
        return None, False

    def _is_plain_sum(self) -> bool:
        problem = self._problem
        sizes = {abs(c) for line in problem.lines for c in line.coefficients.values()}
        return not problem.orders and len(problem.lines) == 1 == len(sizes) and len(set(problem.steps)) == 1


def constraints_of(problem: Problem, low: Sequence[int], high: Sequence[int]) -> list[Constraint]:
    """Write all rules of ``problem``, with these limits, as constraints; the ground has the last number."""
    ground = len(problem.targets)
    found = []
    for i in range(ground):
        rule = problem.first_limit + 2 * i
        if low[i] > -FAR:
            found.append(Constraint(((i, 1), (ground, -1)), low[i], rule, True))
        if high[i] < FAR:
            found.append(Constraint(((ground, 1), (i, -1)), -high[i], rule + 1, True))
    for (above, below, gap), rule in zip(problem.orders, problem.order_rules, strict=True):
        found.append(Constraint(((above, 1), (below, -1)), gap, rule, True))
    for line in problem.lines:
        if line.low > -FAR:
            found.append(Constraint(tuple(line.coefficients.items()), line.low, line.rule, False))
        if line.high < FAR:
            terms = tuple((i, -c) for i, c in line.coefficients.items())
            found.append(Constraint(terms, -line.high, line.rule, False))
    return found


def _round(over: int, under: int, step: int) -> int:
    """Return the multiple of ``step`` that is nearest to over / under; halves go up, so that tied values
    round alike."""
    return (2 * over + under * step) // (2 * under * step) * step


def _off(over: int, under: int, step: int) -> Fraction:
    """Return how far over / under is from the grid, in steps."""
    return abs(Fraction(over, under) - _round(over, under, step)) / step


def _tight(line: Line, point: Sequence[Ratio]) -> tuple[int, int]:
    """Return the limits of ``line``, narrowed to the one at which ``point`` lies."""
    if line.low == line.high:
        return line.low, line.high
    shares: dict[int, int] = {}
    for i, c in line.coefficients.items():
        shares[point[i][1]] = shares.get(point[i][1], 0) + c * point[i][0]
    value = sum((Fraction(over, under) for under, over in shares.items()), Fraction(0))
    return (int(value), int(value)) if value in {line.low, line.high} else (line.low, line.high)
