"""Steps on the grid: push one value, and whatever the orders take along, until the lines hold at least cost.

A push costs what it adds to the squared distance. For limits and one plain sum, taking the cheapest push
each time is exact (Ibaraki and Katoh 1988); with orders it is a start that exchanges of pushes improve.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from operator import add, neg
from typing import NamedTuple

from paramstore._project_chain import Line, Order

Effect = tuple[int, ...]  # what a push adds to each line
Limits = Sequence[tuple[int, int]]  # of the lines
BOTH = 1, -1
FEW = 12  # different effects, up to which three pushes together are tried: 298 bundles
MOST_STATES = 5_000  # of the lines, in the search for pushes that only help together


class Problem(NamedTuple):
    """Variables are numbered; every number is in the same small unit.

    ``steps``: each value is a multiple of its step, and each step of the smallest. ``low``, ``high`` and the
    gaps are on the grid already; ``FAR`` stands for no limit. Rule numbers: a line's own, an order's from
    ``order_rules``, and ``first_limit + 2 * i`` (``+ 1``) for the low (high) limit of variable ``i``.
    """

    targets: list[int]
    steps: list[int]
    low: list[int]
    high: list[int]
    orders: list[Order]
    order_rules: list[int]
    lines: list[Line]
    first_limit: int


class Push(NamedTuple):
    """One step up (``sign`` 1) or down (-1) of a variable, and of all that the orders take along."""

    cost: int
    effect: Effect
    variable: int
    sign: int
    root: int  # the variable at which the ties that it passes on end


class Pushes:
    """What pushes can do to points of one problem, whose variables of the smallest step can be pushed."""

    def __init__(self, problem: Problem) -> None:
        self._targets, self._lines, self._steps = problem.targets, problem.lines, problem.steps
        self._low, self._high = problem.low, problem.high
        self._step = min(problem.steps)
        size = len(problem.targets)
        self._most = 4 * size + 8
        weights = [[line.coefficients.get(i, 0) for line in problem.lines] for i in range(size)]
        self._effects = {
            sign: [tuple([sign * self._step * weight for weight in row]) for row in weights]
            for sign in (1, -1)
        }
        above: list[list[tuple[int, int]]] = [[] for _ in range(size)]
        below: list[list[tuple[int, int]]] = [[] for _ in range(size)]
        for high, low, gap in problem.orders:
            above[low].append((high, gap))
            below[high].append((low, gap))
        self._near = {1: above, -1: below}
        downwards = _from_top(above, below)
        first = set(downwards)
        self._ringed = {i for i in range(size) if i not in first}
        downwards += sorted(self._ringed)
        self._walk = {1: downwards, -1: downwards[::-1]}

    def hold(self, low: list[int], high: list[int]) -> None:
        """Stay within these limits from now on."""
        self._low, self._high = low, high

    def distance(self, values: Sequence[int]) -> int:
        return sum((value - target) ** 2 for value, target in zip(values, self._targets, strict=True))

    def lacks(self, values: Sequence[int], limits: Limits) -> int:
        """Return by how much the lines miss ``limits``, all together."""
        return _lacks(self._sums(values), limits)

    def repair(self, values: list[int], limits: Limits) -> bool:
        """Push ``values`` until the lines are within ``limits``, at the least cost for each unit of gain;
        say whether that was reached."""
        for _ in range(self._most):
            sums = self._sums(values)
            if not _lacks(sums, limits):
                return True
            moves = sorted(self._helpful(values, sums, limits))
            if moves:
                self._apply_cheapest(values, sums, limits, moves)
            elif not self._try(values, sums, self._jointly(values, sums, limits), limits):
                return False
        return False

    def improve(self, values: list[int], limits: Limits) -> None:
        """Apply pushes, alone and a few together, as long as they get nearer and keep the lines."""
        for _ in range(self._most):
            sums = self._sums(values)
            options = sorted(
                (cost, bundle)
                for bundle in _bundles(self._best(values))
                if (cost := sum([push.cost for push in bundle])) < 0
                and not _lacks(_after(sums, bundle), limits)
            )
            if not sum([self._try(values, sums, bundle, limits) for _, bundle in options]):
                return

    def _best(self, values: Sequence[int]) -> dict[Effect, Push]:
        """Return the cheapest push for each effect."""
        best: dict[Effect, Push] = {}
        for push in self._pushes(values):
            if push.effect not in best or push.cost < best[push.effect].cost:
                best[push.effect] = push
        return best

    def _jointly(self, values: Sequence[int], sums: Sequence[int], limits: Limits) -> tuple[Push, ...]:
        """Return the fewest pushes that together bring the lines within their limits, where none alone gets
        them nearer: breadth first, among the smallest effects. Empty if there are none nearby."""
        by_effect = sorted(self._best(values).values(), key=lambda push: (sum(map(abs, push.effect)), push))
        pushes = by_effect[:FEW]
        most = _lacks(sums, limits) + 2 * max((abs(e) for push in pushes for e in push.effect), default=0)
        paths: dict[Effect, tuple[Push, ...]] = {tuple(sums): ()}
        queue = [tuple(sums)]
        for state in queue:
            for push in pushes:
                after = tuple(map(add, state, push.effect))
                if after not in paths and len(paths) < MOST_STATES:
                    paths[after] = (*paths[state], push)
                    lacks = _lacks(after, limits)
                    if lacks == 0:
                        return paths[after]
                    if lacks <= most:
                        queue.append(after)
        return ()

    def _sums(self, values: Sequence[int]) -> list[int]:
        return [sum([c * values[i] for i, c in line.coefficients.items()]) for line in self._lines]

    def _helpful(self, values: Sequence[int], sums: list[int], limits: Limits) -> Iterator[tuple[int, Push]]:
        """Yield the pushes that bring the lines nearer to their limits, each with its cost for a gain of
        2**-64, as a whole number."""
        lacks = _lacks(sums, limits)
        gains: dict[Effect, int] = {}
        for push in self._pushes(values, self._signs(sums, limits)):
            gain = gains.get(push.effect)
            if gain is None:
                gain = gains[push.effect] = lacks - _lacks(map(add, sums, push.effect), limits)
            if gain > 0:
                yield (push.cost << 64) // gain, push

    def _apply_cheapest(
        self, values: list[int], sums: list[int], limits: Limits, moves: list[tuple[int, Push]]
    ) -> None:
        """Apply ``moves`` in order as long as none that is not listed (a second step of the first one, say)
        could be cheaper, and none is changed by those before it."""
        largest = max(abs(c) for line in self._lines for c in line.coefficients.values())
        last = moves[0][0] + (2 * self._step << 64) // largest
        lacks = _lacks(sums, limits)
        used: set[int] = set()
        for key, push in moves:
            if key > last or not lacks:
                return
            after = list(map(add, sums, push.effect))
            gain = lacks - _lacks(after, limits)
            if push.root in used or gain <= 0 or (push.cost << 64) // gain != key:
                continue
            used.add(push.root)
            members = self._members(values, push.variable, push.sign)
            if members is None or self._cost(values, members, push.sign) != push.cost:
                continue
            self._shift(values, members, push.sign)
            sums, lacks = after, lacks - gain

    def _try(self, values: list[int], sums: list[int], bundle: Iterable[Push], limits: Limits) -> bool:
        """Apply ``bundle``, one push after the other, if that makes the lines lack less, or as much at a
        lower distance: pushes may meet on the way, and cost more than they do alone."""
        after, cost = sums, 0
        done: list[tuple[list[int], int]] = []
        for push in bundle:
            members = self._members(values, push.variable, push.sign) or []
            cost += self._cost(values, members, push.sign)
            effects = [self._effects[push.sign][member] for member in members]
            after = list(map(sum, zip(after, *effects, strict=True)))
            self._shift(values, members, push.sign)
            done.append((members, push.sign))
        left, lacks = _lacks(after, limits), _lacks(sums, limits)
        if left < lacks or (left == lacks and cost < 0):
            sums[:] = after
            return True
        for members, sign in done:
            self._shift(values, members, -sign)
        return False

    def _shift(self, values: list[int], members: Iterable[int], sign: int) -> None:
        for member in members:
            values[member] += sign * self._step

    def _signs(self, sums: Iterable[int], limits: Limits) -> tuple[int, ...]:
        """Return the directions that can help: only up, say, if every line that misses its limits is low."""
        low = any(value < line_low for value, (line_low, _) in zip(sums, limits, strict=True))
        high = any(value > line_high for value, (_, line_high) in zip(sums, limits, strict=True))
        if low == high or any(c < 0 for line in self._lines for c in line.coefficients.values()):
            return BOTH
        return (1,) if low else (-1,)

    def _pushes(self, values: Sequence[int], signs: Iterable[int] = BOTH) -> Iterator[Push]:
        """Yield every push that the limits allow. What a tie takes along is added up from its other end, so
        that a chain costs no more than its length."""
        targets, step = self._targets, self._step
        for sign in signs:
            near, effects, ends = self._near[sign], self._effects[sign], self._high if sign > 0 else self._low
            found: list[Push | None] = [None] * len(values)
            for i in self._walk[sign]:
                value = values[i]
                if value == ends[i] or self._steps[i] != step:
                    continue
                cost, effect, root = step * (2 * sign * (value - targets[i]) + step), effects[i], i
                if near[i]:
                    forced = [other for other, gap in near[i] if sign * (values[other] - value) - gap < step]
                    if len(forced) > 1 or i in self._ringed:
                        found[i] = self._collected(values, i, sign)
                        continue
                    if forced:
                        carried = found[forced[0]]
                        if carried is None:
                            continue
                        cost, root = cost + carried.cost, carried.root
                        effect = tuple(map(add, effect, carried.effect))
                found[i] = Push(cost, effect, i, sign, root)
            yield from filter(None, found)

    def _collected(self, values: Sequence[int], i: int, sign: int) -> Push | None:
        members = self._members(values, i, sign)
        if members is None:
            return None
        effects = self._effects[sign]
        effect = tuple(map(sum, zip(*(effects[member] for member in members), strict=True)))
        return Push(self._cost(values, members, sign), effect, i, sign, i)

    def _members(self, values: Sequence[int], i: int, sign: int) -> list[int] | None:
        """Return the variables that have to move along with ``i``; ``None`` if a limit holds one of them."""
        near, ends = self._near[sign], self._high if sign > 0 else self._low
        members, seen = [i], {i}
        for member in members:
            if values[member] == ends[member] or self._steps[member] != self._step:
                return None
            for other, gap in near[member]:
                if other not in seen and sign * (values[other] - values[member]) - gap < self._step:
                    seen.add(other)
                    members.append(other)
        return members

    def _cost(self, values: Sequence[int], members: Iterable[int], sign: int) -> int:
        targets, step = self._targets, self._step
        return sum([step * (2 * sign * (values[i] - targets[i]) + step) for i in members])


def _bundles(best: Mapping[Effect, Push]) -> Iterator[tuple[Push, ...]]:
    """Yield the pushes alone and together: up to three where there are few, else those that cancel out."""
    if len(best) <= FEW:
        for count in (1, 2, 3):
            yield from combinations(best.values(), count)
        return
    for push in best.values():
        yield (push,)
        other = best.get(tuple(map(neg, push.effect)))
        if other is not None and push.sign > other.sign:
            yield push, other


def _after(sums: Iterable[int], bundle: Iterable[Push]) -> Iterable[int]:
    for push in bundle:
        sums = map(add, sums, push.effect)
    return sums


def _lacks(sums: Iterable[int], limits: Limits) -> int:
    missing = 0
    for value, (low, high) in zip(sums, limits, strict=True):
        if value < low:
            missing += low - value
        elif value > high:
            missing += value - high
    return missing


def _from_top(
    above: Sequence[Sequence[tuple[int, int]]], below: Sequence[Sequence[tuple[int, int]]]
) -> list[int]:
    """Return the variables so that those that orders put above come first; those in and below rings of
    orders are left out."""
    waiting = [len(others) for others in above]
    order = [i for i, count in enumerate(waiting) if count == 0]
    for i in order:
        for other, _ in below[i]:
            waiting[other] -= 1
            if waiting[other] == 0:
                order.append(other)
    return order
