"""Projection onto the rules: exact, nearest, idempotent, and honest about what contradicts.

Three references that share no code with it: every point of small grids, scipy's SLSQP for the real optimum,
and scipy's linprog for what can be satisfied at all.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from paramstore import _project, _project_active, _project_chain, _project_grid, _project_push
from paramstore._project import Infeasible, Row, Variable, project

D = Decimal
WEIGHTS = {
    "liquidation": ".22", "funding": ".16", "oi_velocity": ".05", "whale_flow": ".20", "ofi_momentum": ".06",
    "fear_greed": ".06", "hurst": ".08", "lead_lag": ".08", "volatility_skew": ".05", "oi_divergence": ".04",
}  # fmt: skip
few = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
many = settings(few, max_examples=100)
seeds = st.integers(0, 2**32)


# What problems are made of


def sum_row(names: Iterable[str], low: Any, high: Any, label: str = "sum") -> Row:
    limits = [None if limit is None else D(limit) for limit in (low, high)]
    return Row(dict.fromkeys(names, D(1)), limits[0], limits[1], label)


def order(above: str, below: str, gap: Any = 0) -> Row:
    return Row({above: D(1), below: D(-1)}, D(gap), None, f"{above} above {below}")


def chain(names: Sequence[str], gap: Any = 0) -> list[Row]:
    return [order(above, below, gap) for above, below in itertools.pairwise(names)]


def free(name: str, target: float | Decimal, decimals: int = 0) -> Variable:
    return Variable(name, target, None, None, decimals)


def grid_value(units: int, decimals: int) -> Decimal:
    return D(f"{units}E-{decimals}")


def feasible_problem(
    rnd: random.Random, size: int, shape: str, decimals: Sequence[int] = (4,), spread: int = 20
) -> tuple[list[Variable], list[Row], dict[str, Decimal]]:
    """Return a problem and a point that satisfies it: limits and rows are put around the point.

    ``shape`` names what occurs: ``sum``, ``band`` (a sum within limits), ``over`` (overlapping sums),
    ``chain``, ``branch`` (orders at random), ``line`` (any coefficients). ``spread``: of values, in units.
    """
    digits = [rnd.choice(decimals) for _ in range(size)]
    coarsest = min(digits)
    units = [rnd.randint(-spread, spread) for _ in range(size)]
    if "chain" in shape:
        units.sort(reverse=True)
    names = [f"p{i}" for i in range(size)]
    point = {n: grid_value(u, coarsest) for n, u in zip(names, units, strict=True)}
    scale = 10**-coarsest
    variables = []
    for name, places in zip(names, digits, strict=True):
        low = point[name] - grid_value(rnd.randint(0, spread // 4 + 1), coarsest)
        high = point[name] + grid_value(rnd.randint(0, spread // 4 + 1), coarsest)
        target = rnd.choice([float(point[name]), 0.0]) + rnd.uniform(-spread, spread) * scale
        variables.append(Variable(name, target, low, high, places))
    return variables, list(rows_through(rnd, point, shape, coarsest)), point


def rows_through(
    rnd: random.Random, point: Mapping[str, Decimal], shape: str, decimals: int
) -> Iterator[Row]:
    names = list(point)
    total = sum(point.values(), D(0))
    slack = grid_value(rnd.randint(0, 3), decimals)
    if "sum" in shape:
        yield sum_row(names, total, total)
    if "band" in shape:
        yield sum_row(names, total - slack, total + slack, "band")
    if "over" in shape:
        for number in range(2):
            some = rnd.sample(names, rnd.randint(1, len(names)))
            yield sum_row(
                some, sum(point[n] for n in some) - slack, sum(point[n] for n in some), f"over {number}"
            )
    if "chain" in shape:
        first, second = (0, rnd.randint(0, len(names)))
        for part in (names[first:second], names[second:]):
            for above, below in itertools.pairwise(part):
                yield order(above, below, rnd.choice([D(0), point[above] - point[below]]))
    if "branch" in shape:
        for _ in range(len(names)):
            a, b = rnd.choice(names), rnd.choice(names)
            if point[a] > point[b]:
                yield order(a, b, rnd.choice([D(0), point[a] - point[b]]))
    if "line" in shape:
        some = rnd.sample(names, rnd.randint(1, len(names)))
        line = {n: D(rnd.choice(["-2", "1", "3", "0.5", "0.37"])) for n in some}
        value = sum(c * point[n] for n, c in line.items())
        slack *= abs(line[some[0]])  # so that the limits are on the grid
        yield Row(line, value - slack, None if rnd.random() < 0.5 else value + slack, "line")


# How answers are judged


def written(target: float | Decimal) -> Fraction:
    return Fraction(str(target))


def distance(variables: Sequence[Variable], point: Mapping[str, Decimal]) -> Fraction:
    return sum((Fraction(point[v.name]) - written(v.target)) ** 2 for v in variables) + Fraction(0)


def broken(variables: Sequence[Variable], rows: Sequence[Row], point: Mapping[str, Decimal]) -> list[str]:
    with localcontext() as context:
        context.prec = 2000
        found = [v.name for v in variables if v.low is not None and point[v.name] < v.low]
        found += [v.name for v in variables if v.high is not None and point[v.name] > v.high]
        found += [v.name for v in variables if point[v.name] % D(10) ** -v.decimals]
        for row in rows:
            value = sum((c * point[name] for name, c in row.coefficients.items()), D(0))
            if (row.low is not None and value < row.low) or (row.high is not None and value > row.high):
                found.append(row.label)
    return found


def best_of_grid(variables: Sequence[Variable], rows: Sequence[Row]) -> Fraction | None:
    """Try every point of the grid within the limits."""
    axes = []
    for v in variables:
        assert v.low is not None and v.high is not None
        scale = 10**v.decimals
        first, last = -(-Fraction(v.low) * scale // 1), Fraction(v.high) * scale // 1
        axes.append([grid_value(int(k), v.decimals) for k in range(int(first), int(last) + 1)])
    points = (dict(zip((v.name for v in variables), p, strict=True)) for p in itertools.product(*axes))
    return min((distance(variables, p) for p in points if not broken(variables, rows, p)), default=None)


def again(variables: Sequence[Variable], point: Mapping[str, Decimal]) -> list[Variable]:
    return [v._replace(target=float(point[v.name])) for v in variables]


def judged(variables: Sequence[Variable], rows: Sequence[Row]) -> dict[str, Decimal]:
    """Project, and check what must hold of every answer."""
    found = project(variables, rows)
    assert list(found) == [v.name for v in variables]
    assert broken(variables, rows, found) == []
    assert project(again(variables, found), rows) == found
    assert project(list(variables), list(rows)) == found
    return found


def real_optimum(variables: Sequence[Variable], rows: Sequence[Row]) -> tuple[dict[str, Fraction], Fraction]:
    """Return the nearest real point by the active-set method, and its distance."""
    problem = _project._compile(variables, rows)
    constraints = _project_grid.constraints_of(problem, problem.low, problem.high)
    unit = Fraction(1, 10 ** max(v.decimals for v in variables)) / min(problem.steps)
    found = _project_active.nearest(problem.targets, constraints)
    point = {v.name: Fraction(*ratio) * unit for v, ratio in zip(variables, found, strict=True)}
    return point, sum((point[v.name] - written(v.target)) ** 2 for v in variables) + Fraction(0)


def slsqp(variables: Sequence[Variable], rows: Sequence[Row], start: Mapping[str, Decimal]) -> float | None:
    """Return the least squared distance that SLSQP finds, in units of the largest step; ``None`` if it fails,
    as it does when equalities say the same twice."""
    unit = 10.0 ** -min(v.decimals for v in variables)
    names = [v.name for v in variables]
    targets = np.array([float(v.target) for v in variables]) / unit
    limits = [
        (None if v.low is None else float(v.low) / unit, None if v.high is None else float(v.high) / unit)
        for v in variables
    ]
    constraints = []
    for row in rows:
        vector = np.array([float(row.coefficients.get(name, 0)) for name in names])
        if row.low is not None and row.low == row.high:
            constraints.append(("eq", vector, float(row.low) / unit))
        else:
            constraints += [("ineq", vector, float(row.low) / unit)] if row.low is not None else []
            constraints += [("ineq", -vector, -float(row.high) / unit)] if row.high is not None else []
    solved = minimize(
        lambda x: float(np.sum((x - targets) ** 2)),
        np.array([float(start[name]) for name in names]) / unit,
        jac=lambda x: 2 * (x - targets),
        method="SLSQP",
        bounds=limits,
        constraints=[
            {"type": kind, "fun": lambda x, a=a, b=b: float(a @ x - b), "jac": lambda x, a=a: a}
            for kind, a, b in constraints
        ],
        options={"maxiter": 1000, "ftol": 1e-13},
    )
    return float(solved.fun) if solved.status in {0, 8} else None  # 8: no step gets any nearer


# By hand


def test_numbers_without_rows_are_rounded_and_held_within_their_limits() -> None:
    found = project([Variable("a", 0.12345, D("0.1"), D("0.2"), 3), Variable("b", 7.0, D(1), D(5), 0)], [])
    assert {name: str(value) for name, value in found.items()} == {"a": "0.123", "b": "5"}


def test_limits_between_grid_points_are_rounded_inwards() -> None:
    assert project([Variable("a", 0.0, D("0.123"), D("0.157"), 2)], []) == {"a": D("0.13")}
    assert project([Variable("a", 1.0, D("-0.157"), D("-0.123"), 2)], []) == {"a": D("-0.13")}


def test_halves_are_rounded_up_as_they_are_written() -> None:
    found = project([free("a", 0.15, 1), free("b", -0.15, 1), free("c", 2.5), free("d", 1.005, 2)], [])
    assert found == {"a": D("0.2"), "b": D("-0.1"), "c": D(3), "d": D("1.01")}


def test_what_a_sum_lacks_is_shared_out_evenly() -> None:
    found = project([free("a", 0.2, 2), free("b", 0.3, 2), free("c", 0.2, 2)], [sum_row("abc", 1, 1)])
    assert found == {"a": D("0.3"), "b": D("0.4"), "c": D("0.3")}


def test_units_that_cannot_be_shared_go_to_the_first_among_equals() -> None:
    found = project([free(name, 0.0, 1) for name in "abc"], [sum_row("abc", 1, 1)])
    assert found == {"a": D("0.4"), "b": D("0.3"), "c": D("0.3")}


def test_a_sum_within_its_limits_moves_nothing() -> None:
    found = project([free("a", 0.26, 1), free("b", 0.26, 1)], [sum_row("ab", "0.5", "0.7")])
    assert found == {"a": D("0.3"), "b": D("0.3")}


def test_a_sum_that_only_rounding_takes_beyond_a_limit_is_taken_back() -> None:
    found = project([free("a", 0.26, 1), free("b", 0.27, 1)], [sum_row("ab", None, "0.55")])
    assert found == {"a": D("0.2"), "b": D("0.3")}


def test_values_out_of_order_meet_in_the_middle() -> None:
    found = project([free("a", 1.0, 1), free("b", 3.0, 1), free("c", 0.0, 1)], chain("abc"))
    assert found == {"a": D(2), "b": D(2), "c": D(0)}


def test_a_gap_is_kept() -> None:
    assert project([free("a", 1.0, 2), free("b", 1.0, 2)], chain("ab", "0.05")) == {
        "a": D("1.03"),
        "b": D("0.98"),
    }
    assert project([free("a", 1.0), free("b", 1.0)], chain("ab", 2)) == {"a": D(2), "b": D(0)}


def test_a_gap_between_a_whole_number_and_a_fine_one_is_not_rounded_to_whole_ones() -> None:
    assert project([free("a", 1.0), free("b", 0.9, 2)], chain("ab", "0.25")) == {"a": D(1), "b": D("0.75")}


def test_a_largest_distance_is_kept_too() -> None:
    near = Row({"a": D(1), "b": D(-1)}, None, D(2), "a at most 2 above b")
    assert project([free("a", 9.0), free("b", 1.0)], [near]) == {"a": D(6), "b": D(4)}


def test_a_limit_of_one_member_holds_its_whole_block() -> None:
    variables = [free("a", 10.0), Variable("b", 0.0, D(8), None, 0), free("c", 8.4)]
    assert project(variables, chain("cab")) == {"a": D(9), "b": D(8), "c": D(9)}
    assert project(variables[:2], chain("ba")) == {"a": D(8), "b": D(8)}


def test_orders_and_a_sum_together() -> None:
    variables = [free("a", 0.1, 2), free("b", 0.5, 2), free("c", 0.1, 2)]
    found = project(variables, [*chain("abc"), sum_row("abc", 1, 1)])
    assert found == {"a": D("0.4"), "b": D("0.4"), "c": D("0.2")}


def test_coarse_values_are_settled_and_fine_ones_make_up_for_it() -> None:
    variables = [free("n", 1.4), free("a", 0.2, 3), free("b", 0.3, 3)]
    assert project(variables, [sum_row("nab", 2, 2)]) == {"n": D(1), "a": D("0.450"), "b": D("0.550")}


def test_a_coarse_value_moves_when_fine_ones_have_no_room() -> None:
    variables = [free("n", 1.4), Variable("a", 0.2, D(0), D("0.3"), 3)]
    assert project(variables, [sum_row("na", "2.25", "2.25")]) == {"n": D(2), "a": D("0.250")}


def test_general_coefficients_find_the_only_whole_solution() -> None:
    variables = [Variable("a", 0.0, D(0), D(9), 0), Variable("b", 0.0, D(0), D(9), 0)]
    row = Row({"a": D(7), "b": D(5)}, D(31), D(31), "line")
    assert project(variables, [row]) == {"a": D(3), "b": D(2)}


def test_orders_in_a_ring_make_values_equal() -> None:
    found = project([free("a", 1.0), free("b", 4.0), free("c", 2.0)], [*chain("abc"), order("c", "a")])
    assert set(found.values()) == {D(2)}
    equal = Row({"a": D(1), "b": D(-1)}, D(1), D(1), "a is b + 1")
    assert project([free("a", 0.0), free("b", 0.0)], [equal, sum_row("ab", 5, 5)]) == {"a": D(3), "b": D(2)}


def test_results_have_the_decimals_that_were_asked_for() -> None:
    found = project([free("a", 1.0, 4), free("b", 1.0)], [sum_row("ab", 3, 3)])
    assert {name: str(value) for name, value in found.items()} == {"a": "1.0000", "b": "2"}


def weights_asked_for(factors: Sequence[float]) -> list[Variable]:
    """The weights' limits for one step: 20 % up or down; the floor binds all but what is below it already,
    which may stay or rise."""
    found = []
    for (name, text), factor in zip(WEIGHTS.items(), factors, strict=True):
        now, floor = D(text), D("0.05")
        low = max(now * D("0.8"), min(now, floor))
        found.append(
            Variable(name, float(now) * factor, low, now * D("1.2"), 4, "floor 0.05", "max_step 20 %")
        )
    return found


@given(st.lists(st.floats(0, 1e6), min_size=10, max_size=10))
@many
def test_the_weights_of_signals_whatever_is_asked_for(factors: list[float]) -> None:
    found = judged(weights_asked_for(factors), [sum_row(WEIGHTS, 1, 1)])
    assert sum(found.values()) == 1
    assert found["oi_divergence"] >= D("0.04")


def test_the_weights_of_signals_all_tripled() -> None:
    """What was largest reaches its upper limit first; one multiplier, -0.38, settles the others."""
    found = project(weights_asked_for([3.0] * 10), [sum_row(WEIGHTS, 1, 1)])
    assert {name: str(value) for name, value in found.items()} == {
        "liquidation": "0.2640", "funding": "0.1280", "oi_velocity": "0.0500", "whale_flow": "0.2400",
        "ofi_momentum": "0.0500", "fear_greed": "0.0500", "hurst": "0.0640", "lead_lag": "0.0640",
        "volatility_skew": "0.0500", "oi_divergence": "0.0400",
    }  # fmt: skip


# Nearest


SMALL = [
    "",
    "sum",
    "band",
    "chain",
    "sum chain",
    "band chain",
    "over",
    "branch",
    "sum branch",
    "over line chain",
]


@pytest.mark.parametrize("shape", SMALL)
@given(seeds, st.integers(1, 4))
@example(46, 4)  # only the search by branching finds the nearest
@example(9, 4)
@example(8, 4)
@many
def test_no_point_of_a_small_grid_is_nearer(shape: str, seed: int, size: int) -> None:
    variables, rows, _ = feasible_problem(random.Random(seed), size, shape, (0,), spread=5)
    assert distance(variables, judged(variables, rows)) == best_of_grid(variables, rows)


@pytest.mark.parametrize("shape", ["sum", "sum chain", "band", "over branch"])
@given(seeds, st.integers(1, 3))
@example(113, 3)
@few
def test_no_point_of_a_small_mixed_grid_is_nearer(shape: str, seed: int, size: int) -> None:
    variables, rows, _ = feasible_problem(random.Random(seed), size, shape, (0, 1), spread=3)
    assert distance(variables, judged(variables, rows)) == best_of_grid(variables, rows)


@pytest.mark.parametrize("shape", ["sum", "band", "chain", "sum chain", "over", "sum branch", "line chain"])
@given(seeds, st.integers(2, 12))
@few
def test_the_real_optimum_is_that_of_slsqp(shape: str, seed: int, size: int) -> None:
    variables, rows, point = feasible_problem(random.Random(seed), size, shape)
    _, ours = real_optimum(variables, rows)
    theirs = slsqp(variables, rows, point)
    assert theirs is not None or "over" in shape
    assert theirs is None or float(ours) == pytest.approx(theirs * 1e-8, rel=1e-6, abs=1e-14)


@pytest.mark.parametrize(
    "shape", ["", "sum", "band", "chain", "sum chain", "band chain", "line chain", "line"]
)
@given(seeds, st.integers(1, 12))
@few
def test_both_methods_have_the_same_real_optimum(shape: str, seed: int, size: int) -> None:
    """Pooling and the dual active-set method share nothing and compute in fractions: equal is equal."""
    variables, rows, _ = feasible_problem(random.Random(seed), size, shape)
    problem = _project._compile(variables, rows)
    layout = _project_chain.lay_out(size, problem.orders)
    assert layout is not None
    line = problem.lines[0] if problem.lines else None
    pooled = _project_chain.nearest_in_chains(layout, problem.targets, problem.low, problem.high, line)
    constraints = _project_grid.constraints_of(problem, problem.low, problem.high)
    active = _project_active.nearest(problem.targets, constraints)
    assert pooled is not None or "line" in shape  # a line of mixed signs may be left to the other method
    assert pooled is None or [Fraction(*ratio) for ratio in pooled] == [Fraction(*ratio) for ratio in active]


def rounding_bound(variables: Sequence[Variable], rows: Sequence[Row]) -> Fraction:
    """Return how far the grid optimum can be, by what rounding explains. All variables have one unit.

    Round up the values with the largest fractions, as many as the sum needs: on average over all such
    choices a value costs f * (1 - f) <= 1/4 square units. With orders one block is split, and twice the unit
    times the multiplier of the order at the split comes on top.
    """
    unit = Fraction(1, 10 ** variables[0].decimals)
    point, least = real_optimum(variables, rows)
    bound = least + len(variables) * unit**2 / 4
    if any(min(row.coefficients.values()) < 0 for row in rows):
        pulls = [point[v.name] - written(v.target) for v in variables]
        mean = sum(pulls, Fraction(0)) / len(pulls)
        bound += 2 * unit * max(abs(pull) for pull in itertools.accumulate(p - mean for p in pulls))
    return bound


@pytest.mark.parametrize("shape", ["sum", "chain", "sum chain"])
@given(seeds, st.integers(2, 60))
@few
def test_the_grid_costs_no_more_than_rounding_explains(shape: str, seed: int, size: int) -> None:
    variables, rows, _ = feasible_problem(random.Random(seed), size, shape)
    if "chain" in shape:  # limits would have multipliers of their own
        variables = [v._replace(low=None, high=None) for v in variables]
    found = judged(variables, rows)
    assert distance(variables, found) <= rounding_bound(variables, rows)


@pytest.mark.parametrize("shape", ["sum", "band", "chain", "sum chain", "over", "sum branch", "line"])
@given(seeds, st.integers(2, 40))
@few
def test_the_point_that_rules_were_put_around_is_not_nearer(shape: str, seed: int, size: int) -> None:
    variables, rows, point = feasible_problem(random.Random(seed), size, shape)
    found = judged(variables, rows)
    assert distance(variables, found) <= distance(variables, point)
    _, least = real_optimum(variables, rows)
    assert distance(variables, found) >= least


@pytest.mark.parametrize("shape", ["sum", "band", "sum chain", "over"])
@given(seeds, st.integers(2, 15))
@few
def test_no_feasible_neighbour_is_nearer(shape: str, seed: int, size: int) -> None:
    """Random walks of exchanges of one unit, which keep a sum, starting at the answer."""
    rnd = random.Random(seed)
    variables, rows, _ = feasible_problem(rnd, size, shape)
    found = judged(variables, rows)
    least, walk = distance(variables, found), dict(found)
    for _ in range(40):
        a, b = rnd.choice(variables).name, rnd.choice(variables).name
        step = {**walk, a: walk[a] + D("0.0001")}
        step[b] = step[b] - D("0.0001")
        if not broken(variables, rows, step):
            walk = step
            assert distance(variables, walk) >= least


@given(
    seeds, st.integers(1, 60), st.sampled_from(["sum", "chain", "sum chain", "band", "over chain", "line"])
)
@few
def test_several_decimals_in_one_row(seed: int, size: int, shape: str) -> None:
    variables, rows, _ = feasible_problem(random.Random(seed), size, shape, (0, 2, 4), spread=8)
    judged(variables, rows)


@pytest.mark.parametrize("decimals", [(4,), (0, 4)], ids=str)
@pytest.mark.parametrize(
    ("shape", "size"),
    [("sum", 200), ("band", 200), ("chain", 200), ("sum chain", 200), ("over", 100), ("sum over branch", 60)],
)
def test_large_problems(shape: str, size: int, decimals: tuple[int, ...]) -> None:
    variables, rows, point = feasible_problem(random.Random(shape), size, shape, decimals, spread=300)
    found = judged(variables, rows)
    _, least = real_optimum(variables, rows)
    assert least <= distance(variables, found) <= distance(variables, point)


def test_two_hundred_numbers_of_three_grids_in_one_sum() -> None:
    rnd = random.Random(1)
    variables = [Variable(f"p{i}", rnd.uniform(0, 5), D(0), D(10), rnd.choice([0, 2, 4])) for i in range(200)]
    judged(variables, [sum_row([v.name for v in variables], "200.1234", "200.1234")])


@pytest.mark.parametrize("shape", ["sum", "chain"])
def test_two_hundred_numbers_against_slsqp(shape: str) -> None:
    variables, rows, point = feasible_problem(random.Random(shape), 200, shape, spread=300)
    theirs = slsqp(variables, rows, point)
    assert theirs is not None
    assert float(real_optimum(variables, rows)[1]) == pytest.approx(theirs * 1e-8, rel=1e-6)
    assert distance(variables, project(variables, rows)) <= rounding_bound(variables, rows)


# Pushes, which the search by branching would hide the mistakes of in small problems


def pushed(variables: Sequence[Variable], rows: Sequence[Row], start: Sequence[int], how: str) -> list[int]:
    """Return what repairing or improving ``start``, a point of whole numbers, comes to."""
    problem = _project._compile(variables, rows)
    values = [value * step for value, step in zip(start, problem.steps, strict=True)]
    pushes = _project_push.Pushes(problem)
    limits = [(line.low, line.high) for line in problem.lines]
    if how == "repair":
        assert pushes.repair(values, limits)
    else:
        pushes.improve(values, limits)
    return [value // step for value, step in zip(values, problem.steps, strict=True)]


@given(seeds, st.integers(1, 60), st.sampled_from(["improve", "repair"]))
@few
def test_for_one_sum_repair_and_improvement_alone_find_the_nearest(seed: int, size: int, how: str) -> None:
    variables, rows, point = feasible_problem(random.Random(seed), size, "sum", (0,))
    start = [int(value) for value in point.values()]
    if how == "repair":
        start = [int(value) for value in project(variables, []).values()]
    found = dict(zip(point, map(D, pushed(variables, rows, start, how)), strict=True))
    assert broken(variables, rows, found) == []
    assert distance(variables, found) == distance(variables, project(variables, rows))


@pytest.mark.parametrize("shape", ["sum chain", "band chain", "over"])
@given(seeds, st.integers(70, 90))
@settings(few, max_examples=6)
def test_answers_to_large_problems_cannot_be_improved_by_pushes(shape: str, seed: int, size: int) -> None:
    variables, rows, _ = feasible_problem(random.Random(seed), size, shape, (0,))
    found = [int(value) for value in project(variables, rows).values()]
    assert pushed(variables, rows, found, "improve") == found


def test_three_pushes_together_where_fewer_break_a_sum() -> None:
    variables = [free("a", 0.0), free("b", 1.0), free("c", 0.0)]
    rows = [sum_row("ab", 1, 1), sum_row("bc", 1, 1, "other")]
    assert pushed(variables, rows, [1, 0, 1], "improve") == [0, 1, 0]


def test_runs_of_equal_values_are_exchanged() -> None:
    names = [f"p{i:02}" for i in range(30)]
    variables = [free(name, 2.0 if i < 15 else 0.0) for i, name in enumerate(names)]
    rows = [*chain(names), sum_row(names, 30, 30)]
    assert pushed(variables, rows, [1] * 30, "improve") == [2] * 15 + [0] * 15


def test_a_push_takes_along_all_that_stand_in_its_way() -> None:
    variables = [free("a", 1.2), free("b", 1.2), free("c", 2.6), free("d", 0.0)]
    line = Row({"a": D(1), "b": D(1), "c": D(1), "d": D(3)}, D(6), D(6), "line")
    assert pushed(variables, [order("a", "c"), order("b", "c"), line], [1] * 4, "improve") == [2, 2, 2, 0]
    ring = [*chain("ab"), order("b", "a")]
    assert pushed([free("a", 3.0), free("b", 3.0)], ring, [1, 1], "improve") == [3, 3]


def test_what_a_limit_holds_hides_no_push_that_is_possible() -> None:
    variables = [Variable("a", 9.0, None, D(1), 0), free("b", 2.0), free("c", 0.0)]
    assert pushed(variables, [sum_row("abc", 3, 3)], [1, 1, 1], "improve") == [1, 2, 0]


# What a target that is in order comes to, and digits without end


@given(seeds, st.integers(1, 30), st.sampled_from(SMALL))
@few
def test_a_feasible_target_is_its_own_answer(seed: int, size: int, shape: str) -> None:
    variables, rows, point = feasible_problem(random.Random(seed), size, shape)
    assert project(again(variables, point), rows) == point
    nearly = [v._replace(target=float(point[v.name]) + 0.00004) for v in variables]
    assert project(nearly, rows) == point


@pytest.mark.parametrize("shape", ["sum", "chain", "sum chain", "over", "sum branch"])
def test_values_of_twenty_seven_digits_are_exact(shape: str) -> None:
    rnd = random.Random(shape)
    variables, rows, point = feasible_problem(rnd, 12, shape, (15,), spread=10**27)
    found = project(variables, rows)
    assert broken(variables, rows, found) == []
    exactly = [v._replace(target=found[v.name]) for v in variables]  # a float would not hold these digits
    assert project(exactly, rows) == found
    assert distance(variables, found) <= distance(variables, point)


@pytest.mark.parametrize("far", [1e300, -1e300, 1.7e308, 5e-324])
def test_targets_as_far_away_as_floats_go(far: float) -> None:
    variables = [Variable(n, far if n in "ac" else 0.1, D(0), D(1), 4) for n in "abcd"]
    rows = [*chain("abcd"), sum_row("abcd", 2, 2)]
    assert broken(variables, rows, project(variables, rows)) == []
    found = project([free("a", far, 4), free("b", 0.0, 4)], [sum_row("ab", 1, 1)])
    assert sum(map(Fraction, found.values())) == 1


def test_decimal_context_does_not_matter() -> None:
    variables, rows, _ = feasible_problem(random.Random(0), 8, "sum chain")
    found = project(variables, rows)
    with localcontext() as context:
        context.prec = 3
        assert project(variables, rows) == found


def test_independent_parts_do_not_move_each_other() -> None:
    first, first_rows, _ = feasible_problem(random.Random(1), 6, "sum chain")
    other = [v._replace(name=f"other {v.name}", target=v.target * 2) for v in first]
    other_rows = [
        r._replace(coefficients={f"other {n}": c for n, c in r.coefficients.items()}) for r in first_rows
    ]
    together = project([*other, *first], [*first_rows, *other_rows])
    assert together == {**project(first, first_rows), **project(other, other_rows)}


# What cannot be satisfied


def rule_texts(
    variables: Sequence[Variable], rows: Sequence[Row]
) -> dict[str, tuple[dict[str, Decimal], Any, Any]]:
    """Return every rule by its text, as coefficients and limits."""
    found: dict[str, tuple[dict[str, Decimal], Any, Any]] = {
        row.label: (dict(row.coefficients), row.low, row.high) for row in rows
    }
    for v in variables:
        found[f"{v.name} at least {v.low} ({v.low_rule})"] = {v.name: D(1)}, v.low, None
        found[f"{v.name} at most {v.high} ({v.high_rule})"] = {v.name: D(1)}, None, v.high
    return found


def satisfiable(variables: Sequence[Variable], rules: Iterable[tuple[dict[str, Decimal], Any, Any]]) -> bool:
    names = [v.name for v in variables]
    left, right = [], []
    for coefficients, low, high in rules:
        vector = np.array([float(coefficients.get(name, 0)) for name in names])
        if low is not None:
            left.append(-vector)
            right.append(-float(low))
        if high is not None:
            left.append(vector)
            right.append(float(high))
    if not left:
        return True
    found = linprog(np.zeros(len(names)), np.array(left), np.array(right), bounds=[(None, None)] * len(names))
    return bool(found.status == 0)


def assert_irreducible(variables: Sequence[Variable], rows: Sequence[Row], named: Sequence[str]) -> None:
    texts = rule_texts(variables, rows)
    assert not satisfiable(variables, [texts[name] for name in named])
    for left_out in named:
        assert satisfiable(variables, [texts[name] for name in named if name != left_out]), left_out


def spoiled(rnd: random.Random, variables: list[Variable], rows: list[Row], way: str) -> list[Row]:
    """Return the rows and what contradicts them, surely."""
    names = [v.name for v in variables]
    if way == "too much":
        return [*rows, sum_row(names, sum(v.high or 0 for v in variables) + 1, None, "too much")]
    if way == "too little":
        return [*rows, sum_row(names, None, sum(v.low or 0 for v in variables) - 1, "too little")]
    low, high = rnd.sample(names, 2)
    gap = next(v for v in variables if v.name == low).high or D(0)
    gap -= next(v for v in variables if v.name == high).low or D(0)
    return [*rows, Row({low: D(1), high: D(-1)}, gap + 1, None, "too far apart")]


@pytest.mark.parametrize("way", ["too much", "too little", "too far apart"])
@pytest.mark.parametrize("shape", ["", "sum", "chain", "sum chain", "over branch", "line"])
@given(seeds, st.integers(2, 10))
@settings(few, max_examples=12)
def test_a_contradiction_is_named_and_nothing_else(way: str, shape: str, seed: int, size: int) -> None:
    rnd = random.Random(seed)
    variables, rows, _ = feasible_problem(rnd, size, shape, (1,))
    rows = [row._replace(label=f"{row.label} {number}") for number, row in enumerate(rows)]
    rows = spoiled(rnd, variables, rows, way)
    with pytest.raises(Infeasible) as caught:
        project(variables, rows)
    assert_irreducible(variables, rows, caught.value.rules)


@given(seeds, st.integers(2, 6))
@many
def test_what_is_refused_cannot_be_satisfied(seed: int, size: int) -> None:
    """Rows that may or may not contradict: the answer says which, and linprog agrees."""
    rnd = random.Random(seed)
    variables, rows, _ = feasible_problem(rnd, size, "sum branch", (3,))
    rows = [row._replace(label=f"{row.label} {number}") for number, row in enumerate(rows)]
    some = rnd.sample([v.name for v in variables], 2)
    rows.append(sum_row(some, grid_value(rnd.randint(-40, 40), 3), None, "one more"))
    try:
        judged(variables, rows)
    except Infeasible as error:
        assert_irreducible(variables, rows, error.rules)


def refused(variables: Sequence[Variable], rows: Sequence[Row]) -> tuple[str, ...]:
    with pytest.raises(Infeasible) as caught:
        project(variables, rows)
    assert str(caught.value) == "; ".join(caught.value.rules)
    return caught.value.rules


def test_the_words_of_a_conflict() -> None:
    held = Variable(
        "funding", 0.3, D("0.11"), D("0.21"), 2, "max_step 0.05 from 0.16", "max_step 0.05 from 0.16"
    )
    other = Variable("hurst", 0.3, D("0"), D("0.5"), 2)
    assert refused(
        [held, other], [sum_row(["funding", "hurst"], 1, 1, "sum of funding, hurst equals 1")]
    ) == (
        "sum of funding, hurst equals 1",
        "funding at most 0.21 (max_step 0.05 from 0.16)",
        "hurst at most 0.5 (maximum)",
    )
    assert refused([held, other], [order("hurst", "funding", 2)]) == (
        "hurst above funding",
        "funding at least 0.11 (max_step 0.05 from 0.16)",
        "hurst at most 0.5 (maximum)",
    )


def test_limits_that_leave_nothing() -> None:
    assert refused([Variable("a", 0.0, D(2), D(1), 0)], []) == (
        "a at least 2 (minimum)",
        "a at most 1 (maximum)",
    )


def test_a_row_that_leaves_nothing() -> None:
    assert refused([free("a", 0.0), free("b", 0.0)], [sum_row("ab", 2, 1)]) == ("sum",)
    assert refused([free("a", 0.0)], [sum_row("", 1, 2, "a sum of nothing")]) == ("a sum of nothing",)
    assert refused([free("a", 0.0)], [Row({"a": D(0)}, D(1), None, "nothing of a")]) == ("nothing of a",)


def test_orders_that_come_back_to_where_they_began() -> None:
    rows = [*chain("abc", 1), order("c", "a")]
    assert refused([free(n, 0.0) for n in "abc"], rows) == ("a above b", "b above c", "c above a")


def test_decimals_that_leave_nothing() -> None:
    variables = [Variable("a", 0.0, D("0.1"), D("0.9"), 0)]
    assert refused(variables, []) == ("a at least 0.1 (minimum)", "a at most 0.9 (maximum)", "whole numbers")
    variables = [Variable("a", 0.5, D(0), D(1), 4), free("b", 0.5, 4), free("c", 0.1, 1)]
    assert refused(variables, [sum_row("ab", "0.12345", "0.12345"), order("c", "a")]) == ("sum", "4 decimals")


def test_whole_numbers_that_miss_a_line() -> None:
    variables = [Variable(n, 1.0, D(0), D(3), 0) for n in "abc"]
    row = Row({"a": D(6), "b": D(10), "c": D(15)}, D(29), D(29), "line")
    rules = refused(variables, [row])
    assert rules[0] == "line"
    assert rules[-1] == "whole numbers"
    for left_out in rules[1:-1]:
        kept = [
            v._replace(
                low=v.low if f"{v.name} at least 0 (minimum)" in set(rules) - {left_out} else None,
                high=v.high if f"{v.name} at most 3 (maximum)" in set(rules) - {left_out} else None,
            )
            for v in variables
        ]
        assert broken(kept, [row], project(kept, [row])) == []


def test_a_search_that_is_cut_off_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_project_grid, "MOST_NODES", -1000)
    variables = [Variable("a", 0.0, D(0), D(9), 0), Variable("b", 0.0, D(0), D(9), 0)]
    rules = refused(variables, [Row({"a": D(7), "b": D(5)}, D(31), D(31), "line")])
    assert rules == ("line", "whole numbers", "the search for values was cut off before it found any")
