"""The nearest point that satisfies the rules: what a proposed set of numbers comes to. Pure.

Least squares, unweighted, on a decimal grid, exact: limits, sums, orders with gaps, and other linear rows.
Variables that share no row are independent and solved apart. What rounds to a point that satisfies every
rule is that point already, so that projecting twice is projecting once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, gcd, lcm
from typing import NamedTuple

from paramstore._project_active import Constraint, ContradictionError, GaveUpError, nearest
from paramstore._project_chain import FAR, Line, Order
from paramstore._project_grid import Grid, NoGridPointError
from paramstore._project_push import Problem


class Variable(NamedTuple):
    """One number: ``target`` is what was asked for, finite; limits are inclusive, ``None`` is no limit.

    The result is a multiple of ``10**-decimals``. The rules' words name a limit in a conflict.
    """

    name: str
    target: float | Decimal
    low: Decimal | None
    high: Decimal | None
    decimals: int
    low_rule: str = "minimum"
    high_rule: str = "maximum"


class Row(NamedTuple):
    """``low <= sum(coefficient * value) <= high``, by variable name; ``label`` names it in a conflict."""

    coefficients: Mapping[str, Decimal]
    low: Decimal | None
    high: Decimal | None
    label: str


class Infeasible(Exception):  # noqa: N818 - a state of the rules, not a mistake of the caller
    """No point satisfies the rules. ``rules``: a set of them that contradict each other, none too many."""

    def __init__(self, rules: Iterable[str]) -> None:
        self.rules = tuple(dict.fromkeys(rules))
        super().__init__("; ".join(self.rules))


def project(variables: Sequence[Variable], rows: Sequence[Row]) -> dict[str, Decimal]:
    """Return the values nearest to the targets that satisfy all limits and ``rows``, by name.

    Raises ``Infeasible``; also where the search was cut off before it found a point, and then says so.
    """
    place = {variable.name: i for i, variable in enumerate(variables)}
    found: dict[int, Decimal] = {}
    for members, own in _components(variables, rows, place):
        group = [variables[i] for i in members]
        for i, value in zip(members, _solve(group, own), strict=True):
            found[i] = value
    return {variable.name: found[i] for i, variable in enumerate(variables)}


def _components(
    variables: Sequence[Variable], rows: Sequence[Row], place: Mapping[str, int]
) -> list[tuple[list[int], list[Row]]]:
    """Split the problem: variables belong together that share a row. A row of no variables stands alone."""
    leader = list(range(len(variables)))

    def lead(i: int) -> int:
        while leader[i] != i:
            leader[i] = i = leader[leader[i]]
        return i

    for row in rows:
        leaders = [lead(place[name]) for name in row.coefficients]
        for other in leaders[1:]:
            first, second = lead(leaders[0]), lead(other)
            leader[max(first, second)] = min(first, second)
    parts: dict[int, tuple[list[int], list[Row]]] = {}
    for i in range(len(variables)):
        parts.setdefault(lead(i), ([], []))[0].append(i)
    for row in rows:
        name = next(iter(row.coefficients), None)
        parts.setdefault(-1 if name is None else lead(place[name]), ([], []))[1].append(row)
    return list(parts.values())


def _solve(variables: Sequence[Variable], rows: Sequence[Row]) -> list[Decimal]:
    """Solve one component. Raises ``Infeasible``."""
    problem = _compile(variables, rows)
    values = _rounded(problem)
    if values is None:
        values = _search(problem, variables, rows)
    return [
        _decimal(value // step, variable.decimals)
        for value, step, variable in zip(values, problem.steps, variables, strict=True)
    ]


def _search(problem: Problem, variables: Sequence[Variable], rows: Sequence[Row]) -> list[int]:
    if not variables:  # a row without variables, which misses its limits
        raise Infeasible(_conflict(range(len(rows)), variables, rows))
    try:
        return Grid(problem).find()
    except ContradictionError as conflict:
        raise Infeasible(_conflict(conflict.rules, variables, rows)) from None
    except NoGridPointError:
        every = range(len(rows) + 2 * len(variables))
        raise Infeasible(_conflict(every, variables, rows)) from None
    except GaveUpError:
        decimals = _decimals_text(variables)
        labels = [row.label for row in rows]
        raise Infeasible(
            [*labels, *decimals, "the search for values was cut off before it found any"]
        ) from None


def _decimal(units: int, decimals: int) -> Decimal:
    """Return ``units * 10**-decimals``. Made from text: no context, which would round, has a say."""
    return Decimal(f"{units}E-{decimals}")


# From decimals to integers


def _compile(variables: Sequence[Variable], rows: Sequence[Row]) -> Problem:
    """Write the component in integers, limits rounded inwards to the grid."""
    targets = [Decimal(str(variable.target)) for variable in variables]  # as written: 0.1 is one tenth
    digits = max((max(v.decimals, _places(t)) for v, t in zip(variables, targets, strict=True)), default=0)
    scale = 10**digits
    steps = [10 ** (digits - variable.decimals) for variable in variables]
    place = {variable.name: i for i, variable in enumerate(variables)}
    orders: list[Order] = []
    order_rules: list[int] = []
    lines = []
    for number, row in enumerate(rows):
        pair = _order(row, place, steps, scale)
        if pair is None:
            lines.append(_line(row, number, place, steps, scale))
        else:
            orders += pair
            order_rules += [number] * len(pair)
    low = [_low(v.low, scale, step) for v, step in zip(variables, steps, strict=True)]
    high = [_high(v.high, scale, step) for v, step in zip(variables, steps, strict=True)]
    whole = [_scaled(target, scale) for target in targets]
    return Problem(whole, steps, low, high, orders, order_rules, lines, len(rows))


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0


def _scaled(number: Decimal, scale: int) -> int:
    """Return ``number * scale``, which is whole."""
    over, under = number.as_integer_ratio()
    return over * (scale // under)


def _limit(number: Decimal, scale: int, step: int) -> int:
    """Return the lowest multiple of ``step`` that is at least ``number``, in units of 1 / scale."""
    over, under = number.as_integer_ratio()
    return -(-over * scale // (under * step)) * step


def _low(number: Decimal | None, scale: int, step: int) -> int:
    return -FAR if number is None else _limit(number, scale, step)


def _high(number: Decimal | None, scale: int, step: int) -> int:
    return FAR if number is None else -_limit(number.copy_negate(), scale, step)


def _line(row: Row, number: int, place: Mapping[str, int], steps: Sequence[int], scale: int) -> Line:
    """Return ``row`` with whole coefficients without a common factor, its limits rounded to what multiples
    of the steps can add up to."""
    whole, factor = _whole({place[name]: c for name, c in row.coefficients.items() if c})
    step = gcd(*(c * steps[i] for i, c in whole.items())) or 1
    low, high = (None if limit is None else Fraction(limit) * factor * scale for limit in (row.low, row.high))
    return Line(
        whole,
        -FAR if low is None else ceil(low / step) * step,
        FAR if high is None else floor(high / step) * step,
        number,
    )


def _whole(coefficients: Mapping[int, Decimal]) -> tuple[dict[int, int], Fraction]:
    """Return the coefficients as whole numbers without a common factor, and what they were multiplied by."""
    if all(c == 1 for c in coefficients.values()):
        return dict.fromkeys(coefficients, 1), Fraction(1)
    ratios = {i: c.as_integer_ratio() for i, c in coefficients.items()}
    common = lcm(*(under for _, under in ratios.values()))
    whole = {i: over * (common // under) for i, (over, under) in ratios.items()}
    shared = gcd(*whole.values())
    return {i: c // shared for i, c in whole.items()}, Fraction(common, shared)


def _order(row: Row, place: Mapping[str, int], steps: Sequence[int], scale: int) -> list[Order] | None:
    """Return ``row`` as orders, if it is the difference of two variables."""
    if len(row.coefficients) != 2:
        return None
    (first, a), (second, b) = row.coefficients.items()
    if not ((a == 1 and b == -1) or (a == -1 and b == 1)):
        return None
    above, below = place[first if a == 1 else second], place[second if a == 1 else first]
    step = min(steps[above], steps[below])
    found = [] if row.low is None else [(above, below, _limit(row.low, scale, step))]
    return (
        found if row.high is None else [*found, (below, above, _limit(row.high.copy_negate(), scale, step))]
    )


def _rounded(problem: Problem) -> list[int] | None:
    """Return the targets, each rounded to its grid, if they satisfy every rule; halves go up. Without any
    rows, they are then held within their limits."""
    values = [
        (2 * target + step) // (2 * step) * step
        for target, step in zip(problem.targets, problem.steps, strict=True)
    ]
    if not problem.orders and not problem.lines:
        held = [
            min(max(value, low), high)
            for value, low, high in zip(values, problem.low, problem.high, strict=True)
        ]
        return held if all(map(int.__le__, problem.low, problem.high)) else None
    fits = (
        all(map(int.__le__, problem.low, values))
        and all(map(int.__le__, values, problem.high))
        and all(values[above] - values[below] >= gap for above, below, gap in problem.orders)
        and all(line.low <= _value(line, values) <= line.high for line in problem.lines)
    )
    return values if fits else None


def _value(line: Line, values: Sequence[int]) -> int:
    return sum(c * values[i] for i, c in line.coefficients.items())


# What contradicts each other


def _conflict(rules: Iterable[int], variables: Sequence[Variable], rows: Sequence[Row]) -> list[str]:
    """Return the text of an irreducible contradiction, given rules that contradict each other on the grid.

    Rules have numbers: rows first, then a low and a high limit for each variable.
    """
    try:
        nearest([0] * len(variables), _real_constraints(variables, rows))
    except ContradictionError as real:
        return [_text(rule, variables, rows) for rule in real.rules]
    kept = _irreducible(list(rules), lambda some: not _has_point(*_only(some, variables, rows)))
    involved = {name for rule in kept if rule < len(rows) for name in rows[rule].coefficients}
    involved |= {variables[(rule - len(rows)) // 2].name for rule in kept if rule >= len(rows)}
    decimals = _decimals_text([variable for variable in variables if variable.name in involved])
    return [*(_text(rule, variables, rows) for rule in kept), *decimals]


def _irreducible(rules: list[int], contradict: Callable[[list[int]], bool]) -> list[int]:
    """Return a subset of ``rules`` that contradict, of which none can be left out. Large parts are tried
    first, so that few rules among many are found soon."""
    part = max(len(rules) // 2, 1)
    while True:
        start = 0
        while start < len(rules):
            fewer = rules[:start] + rules[start + part :]
            if contradict(fewer):
                rules = fewer
            else:
                start += part
        if part == 1:
            return rules
        part = max(part // 2, 1)


def _only(
    rules: Iterable[int], variables: Sequence[Variable], rows: Sequence[Row]
) -> tuple[list[Variable], list[Row]]:
    """Return the problem with these rules alone."""
    kept, first = set(rules), len(rows)
    bare = [
        variable._replace(
            low=variable.low if first + 2 * i in kept else None,
            high=variable.high if first + 2 * i + 1 in kept else None,
        )
        for i, variable in enumerate(variables)
    ]
    return bare, [row for number, row in enumerate(rows) if number in kept]


def _has_point(variables: Sequence[Variable], rows: Sequence[Row]) -> bool:
    """Say whether there is a grid point, as far as the search can tell; a rule is kept in case of doubt."""
    place = {variable.name: i for i, variable in enumerate(variables)}
    for members, own in _components(variables, rows, place):
        problem = _compile([variables[i] for i in members], own)
        try:
            if _rounded(problem) is None:
                Grid(problem).find()
        except (ContradictionError, NoGridPointError):
            return False
        except GaveUpError:
            pass
    return True


def _real_constraints(variables: Sequence[Variable], rows: Sequence[Row]) -> list[Constraint]:
    """Write the rules without any grid: limits as they are given."""
    place, ground, first = {v.name: i for i, v in enumerate(variables)}, len(variables), len(rows)
    found = []
    for number, row in enumerate(rows):
        whole, factor = _whole({place[name]: c for name, c in row.coefficients.items() if c})
        for sign, limit in ((1, row.low), (-1, row.high)):
            if limit is not None:
                terms = tuple((i, sign * c) for i, c in whole.items())
                found.append(Constraint(terms, sign * factor * Fraction(limit), number, False))
    for i, variable in enumerate(variables):
        if variable.low is not None:
            found.append(Constraint(((i, 1), (ground, -1)), Fraction(variable.low), first + 2 * i, True))
        if variable.high is not None:
            found.append(
                Constraint(((ground, 1), (i, -1)), -Fraction(variable.high), first + 2 * i + 1, True)
            )
    return found


def _text(rule: int, variables: Sequence[Variable], rows: Sequence[Row]) -> str:
    if rule < len(rows):
        return rows[rule].label
    variable = variables[(rule - len(rows)) // 2]
    if (rule - len(rows)) % 2:
        return f"{variable.name} at most {variable.high} ({variable.high_rule})"
    return f"{variable.name} at least {variable.low} ({variable.low_rule})"


def _decimals_text(variables: Iterable[Variable]) -> list[str]:
    decimals = sorted({variable.decimals for variable in variables})
    return ["whole numbers" if d == 0 else f"{d} decimal{'s' if d > 1 else ''}" for d in decimals]
