"""The nearest real point under limits, chains of orders and at most one line: exact, and fast.

Chains are pooled (Ayer et al. 1955; with limits, Best and Chakravarti 1990): neighbours that are out of
order join a block, whose value is its mean, held within its highest low and its lowest high limit. A line
adds a multiple of its coefficients to the targets; its value grows with that multiple, piece by piece
linearly, so Newton's method meets the wanted value in finitely many steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

from paramstore._project_active import Ratio

FAR = 10**1000  # what stands for a missing limit: beyond every float in units of the smallest float
Order = tuple[int, int, int]  # value[above] - value[below] >= gap
MOST_TRIALS = 80


class Layout(NamedTuple):
    """Variables chain by chain, from the highest down; a single variable is a chain of its own.

    ``shift`` takes the gaps out: less it, each value of a chain is at most the one before.
    """

    variables: list[int]
    shift: list[int]
    head: list[bool]


class Line(NamedTuple):
    """``low <= sum(coefficient * value) <= high``; ``rule`` is the number that a contradiction names."""

    coefficients: Mapping[int, int]
    low: int
    high: int
    rule: int


class _Pool(NamedTuple):
    first: int
    total: int
    size: int
    value: int
    share: int  # the block's value is value / share
    free: bool  # no limit holds it
    low: int


def lay_out(size: int, orders: Sequence[Order]) -> Layout | None:
    """Return the chains that ``orders`` form; ``None`` if they branch or come back to where they began."""
    below: dict[int, tuple[int, int]] = {}
    above: dict[int, int] = {}
    for high, low, gap in orders:
        known = below.get(high, (low, gap))
        if known[0] != low or above.get(low, high) != high:
            return None
        below[high], above[low] = (low, max(gap, known[1])), high
    variables, shift, head = [], [], []
    for start in range(size):
        if start not in above:
            variables.append(start)
            shift.append(0)
            head.append(True)
            while variables[-1] in below:
                low, gap = below[variables[-1]]
                variables.append(low)
                shift.append(shift[-1] - gap)
                head.append(False)
    return Layout(variables, shift, head) if len(variables) == size else None


def nearest_in_chains(
    layout: Layout, targets: Sequence[int], low: Sequence[int], high: Sequence[int], line: Line | None
) -> list[Ratio] | None:
    """Return the nearest point, by variable; ``None`` if there is none or it was not found."""
    places = list(zip(layout.variables, layout.shift, strict=True))
    wanted = [targets[i] - shift for i, shift in places]
    lows = [low[i] - shift for i, shift in places]
    highs = [high[i] - shift for i, shift in places]
    if not _tighten(layout.head, lows, highs) or (line is not None and line.low > line.high):
        return None
    if line is None:
        pools, scale = _pool(wanted, lows, highs, layout.head), 1
    else:
        coefficients = [line.coefficients.get(i, 0) for i in layout.variables]
        fixed = sum(c * shift for c, shift in zip(coefficients, layout.shift, strict=True))
        search = _Search(wanted, lows, highs, layout.head, coefficients)
        met = search.meet(line.low - fixed, line.high - fixed)
        if met is None:
            return None
        pools, scale = met
    return _spread(layout, pools, scale)


def _spread(layout: Layout, pools: list[_Pool], scale: int) -> list[Ratio]:
    """Return each variable's value from its block's, and put the gaps back in."""
    point: list[Ratio] = [(0, 1)] * len(layout.variables)
    for pool in pools:
        share = pool.share * scale
        for place in range(pool.first, pool.first + pool.size):
            point[layout.variables[place]] = pool.value + layout.shift[place] * share, share
    return point


def _tighten(head: list[bool], lows: list[int], highs: list[int]) -> bool:
    """Carry low limits up and high limits down the chains; say whether any room is left."""
    for place in range(len(head) - 1, 0, -1):
        if not head[place] and lows[place] > lows[place - 1]:
            lows[place - 1] = lows[place]
    for place in range(1, len(head)):
        if not head[place] and highs[place] > highs[place - 1]:
            highs[place] = highs[place - 1]
    return all(low <= high for low, high in zip(lows, highs, strict=True))


def _pool(values: list[int], lows: list[int], highs: list[int], head: list[bool]) -> list[_Pool]:
    """Pool adjacent violators. ``lows`` and ``highs`` fall along each chain: a block's highest low limit is
    its first, its lowest high limit its last."""
    done: list[_Pool] = []
    for place, own in enumerate(values):
        first, total, count, low, high = place, own, 1, lows[place], highs[place]
        while True:
            value, share, free = total, count, True
            if total < low * count:
                value, share, free = low, 1, False
            elif total > high * count:
                value, share, free = high, 1, False
            if head[first]:
                break
            before = done[-1]
            if before[3] * share >= value * before[4]:
                break
            done.pop()
            first, low = before[0], before[6]
            total += before[1]
            count += before[2]
        done.append(_Pool(first, total, count, value, share, free, low))
    return done


class _Search:
    """The search for the multiple of a line's coefficients at which the line has the wanted value."""

    def __init__(
        self, wanted: list[int], lows: list[int], highs: list[int], head: list[bool], coefficients: list[int]
    ) -> None:
        self._wanted, self._lows, self._highs, self._head = wanted, lows, highs, head
        self._coefficients = coefficients
        self._target_sums = [0, *accumulate(wanted)]
        self._coefficient_sums = [0, *accumulate(coefficients)]

    def meet(self, low: int, high: int) -> tuple[list[_Pool], int] | None:
        """Return the blocks at which the line is within ``low`` and ``high``, and what they are scaled by."""
        under: Fraction | None = None
        over: Fraction | None = None
        multiple, goal = Fraction(0), None
        for _ in range(MOST_TRIALS):
            pools, constant, slope = self._at(multiple)
            value = constant + slope * multiple
            if goal is None:
                goal = Fraction(low) if value < low else min(value, Fraction(high))
            if value == goal:
                return pools, multiple.denominator
            under, over = (multiple, over) if value < goal else (under, multiple)
            following = (goal - constant) / slope if slope else None
            if following is None or not _between(under, following, over):
                following = self._middle(under, over)
            if following is None:
                return None
            multiple = following
        return None

    def _at(self, multiple: Fraction) -> tuple[list[_Pool], Fraction, Fraction]:
        """Return the blocks at ``multiple``, and the line's value around it as constant + slope * multiple."""
        over, under = multiple.numerator, multiple.denominator
        values = [under * t + over * c for t, c in zip(self._wanted, self._coefficients, strict=True)]
        lows, highs = self._lows, self._highs
        if under != 1:
            lows, highs = [under * low for low in lows], [under * high for high in highs]
        pools = _pool(values, lows, highs, self._head)
        held = 0
        sums: dict[int, list[int]] = {}  # by the number of members, so that few fractions are added
        for first, _, count, value, _, free, _ in pools:
            coefficient = self._coefficient_sums[first + count] - self._coefficient_sums[first]
            if free:
                entry = sums.setdefault(count, [0, 0])
                entry[0] += coefficient * (self._target_sums[first + count] - self._target_sums[first])
                entry[1] += coefficient * coefficient
            else:
                held += coefficient * (value // under)
        constant = held + sum((Fraction(part[0], count) for count, part in sums.items()), Fraction(0))
        return pools, constant, sum((Fraction(part[1], count) for count, part in sums.items()), Fraction(0))

    def _middle(self, under: Fraction | None, over: Fraction | None) -> Fraction | None:
        """Return the middle one of the multiples in between at which a limit begins or ends to hold."""
        ends = sorted(
            (end - target) // c
            for target, c, *limits in zip(
                self._wanted, self._coefficients, self._lows, self._highs, strict=True
            )
            for end in limits
            if c and abs(end) < FAR // 2
        )
        start = 0 if under is None else bisect_left(ends, under + 1)
        stop = len(ends) if over is None else bisect_left(ends, over)
        if start < stop:
            return Fraction(ends[(start + stop) // 2])
        if under is not None and over is not None:
            return (under + over) / 2
        if under is None:
            return None if over is None or not ends or over < ends[0] else over - 1
        return None if not ends or under > ends[-1] else under + 1


def _between(under: Fraction | None, multiple: Fraction, over: Fraction | None) -> bool:
    return (under is None or under < multiple) and (over is None or multiple < over)
