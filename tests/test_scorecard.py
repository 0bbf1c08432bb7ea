"""The scorecard: reading outcomes, the intervals against scipy and the papers, windows, verdicts, the command, the drawing.

``python tests/test_scorecard.py`` prints the table of false verdicts and power in docs/scorecard.md.
"""

from __future__ import annotations

import doctest
import itertools
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from paramstore import ParamStore, _records
from paramstore._intervals import Tally, needed, newcombe, t_quantile, t_tail, welch, wilson
from paramstore._model import ABSENT, Change, Entry, Kind
from paramstore._scorecard import (
    KEPT,
    Comparison,
    Fields,
    Outcome,
    Skipped,
    gather,
    known_revisions,
    read,
    scorecard,
    value_changes,
)
from paramstore.authoring import Parameter, namespace_files
from paramstore.cli import cli

SOURCE = Path(__file__).resolve().parents[1]
NASTY = "x\ny\x1b[31m [red]z[/red] <b>&amp; $\\frac{1}{$ $a_b$ \x00 ]]> 日本"
Draw = Callable[[random.Random], float]


def entry(
    revision: int,
    *keys: str,
    kind: Kind = "commit",
    author: str = "learner",
    reason: str = "",
    time: str = "",
    old: Any = None,
) -> Entry:
    """An entry that sets each key to its revision; in revision 0 there was nothing before."""
    before = ABSENT if revision == 0 else old if old is not None else float(revision) - 0.5
    changes = tuple(Change(key, before, float(revision)) for key in keys)
    moment = time or f"2026-01-{revision + 1:02}T00:00:00.000000Z"
    details: dict[str, Any] = {"violations": []} if kind == "refusal" else {}
    return Entry(revision, f"{revision}-{kind}", moment, kind, author, reason, {}, changes, details=details)


def tally(values: Iterable[float]) -> Tally:
    result = Tally()
    for value in values:
        result.add(value)
    return result


def sides(count: int, wins: int) -> Tally:
    return tally([1.0] * wins + [-1.0] * (count - wins))


# --- intervals ----------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.floats(1, 1e7), st.floats(0.01, 1 - 1e-9))
def test_the_t_quantile_is_that_of_scipy(freedom: float, level: float) -> None:
    from scipy import stats

    assert t_quantile(level, freedom) == pytest.approx(stats.t.isf((1 - level) / 2, freedom), rel=1e-9)


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-6, 1e4), st.floats(0.5, 999))
def test_the_t_tail_is_that_of_scipy(t: float, freedom: float) -> None:
    from scipy import stats

    assert t_tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-9)


@pytest.mark.parametrize("freedom", [999.9, 1000.0])
def test_the_t_quantile_has_no_step_where_its_expansion_begins(freedom: float) -> None:
    from scipy import stats

    for tail in (0.25, 0.025, 1e-5, 5e-10):
        assert t_quantile(1 - 2 * tail, freedom) == pytest.approx(
            stats.t.isf(tail, freedom), rel=1e-11 + 1e-16 / tail
        )


def test_t_quantiles_of_the_printed_tables() -> None:
    table = {(0.95, 1): 12.706, (0.95, 10): 2.228, (0.99, 30): 2.750, (0.95, 1e9): 1.960}
    for (level, freedom), printed in table.items():
        assert round(t_quantile(level, freedom), 3) == printed


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000), st.floats(0, 1), st.floats(0.5, 0.9999))
def test_wilson_is_that_of_scipy(count: int, share: float, level: float) -> None:
    from scipy import stats

    wins = round(share * count)
    theirs = stats.binomtest(wins, count).proportion_ci(level, method="wilson")
    assert wilson(wins, count, level) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_wilson_by_hand() -> None:
    # z = 1.96 and z² = 3.8415: without a win the upper end is z²/(n + z²)
    assert wilson(0, 10, 0.95) == pytest.approx((0, 3.8415 / 13.8415), abs=1e-4)
    assert wilson(10, 10, 0.95) == pytest.approx((10 / 13.8415, 1), abs=1e-4)


@pytest.mark.parametrize(
    ("more", "less", "interval"),
    [  # Newcombe (1998), table II, method 10
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
    ],
)
def test_newcombe_gives_the_intervals_of_the_paper(
    more: tuple[int, int], less: tuple[int, int], interval: tuple[float, float]
) -> None:
    found = newcombe(sides(less[1], less[0]), sides(more[1], more[0]), 0.95)
    assert tuple(round(end, 4) for end in found) == interval


numbers = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=60)


@settings(max_examples=100, deadline=None)
@given(numbers, numbers, st.floats(0.5, 0.9999))
def test_welch_is_that_of_scipy(before: list[float], after: list[float], level: float) -> None:
    import numpy as np
    from scipy import stats

    before, after = [*before, 0.0, 1.0], [*after, 0.0, 2.0]  # some variance on each side
    with np.errstate(all="ignore"):
        theirs = stats.ttest_ind(after, before, equal_var=False).confidence_interval(level)
    assert welch(tally(before), tally(after), level) == pytest.approx(
        (theirs.low, theirs.high), rel=1e-6, abs=1e-6
    )


def test_welch_by_hand() -> None:
    # before 1 2 3 (mean 2, variance 1), after 2 4 6 (mean 4, variance 4): error² = 5/3, freedom = 50/17, t = 3.2182
    low, high = welch(tally([1, 2, 3]), tally([2, 4, 6]), 0.95)
    reach = t_quantile(0.95, 50 / 17) * math.sqrt(5 / 3)
    assert (low, high) == pytest.approx((2 - reach, 2 + reach))
    assert reach == pytest.approx(3.2182 * 1.29099, rel=1e-3)


def test_sides_without_any_deviation_have_an_interval_of_no_width() -> None:
    assert welch(tally([1.0] * 20), tally([3.0] * 20), 0.95) == (2.0, 2.0)
    low, high = welch(tally([0.0, 1.0, 2.0]), tally([5.0] * 4), 0.95)  # one side: 2 degrees of freedom
    assert high - low == pytest.approx(2 * 4.3027 / math.sqrt(3), rel=1e-4)


@settings(max_examples=100, deadline=None)
@given(numbers, st.integers(0, 60), st.integers(0, 60))
def test_tallies_add_up_however_they_are_divided(values: list[float], one: int, two: int) -> None:
    first, second = sorted((min(one, len(values)), min(two, len(values))))
    total = Tally()
    for part in (values[:first], values[first:second], values[second:]):
        total.merge(tally(part))
    assert (total.count, total.wins) == (len(values), sum(value > 0 for value in values))
    assert total.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
    assert total.deviation == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


def test_how_many_outcomes_it_takes() -> None:
    # (1.95996 + 0.84162)² · (1 + 1) / 0.5² = 62.8, in two digits
    assert needed(Tally(100, 0.0, 99.0), Tally(100, 0.5, 99.0), 0.95) == 63
    assert needed(Tally(100, 0.0, 99.0), Tally(100, 0.01, 99.0), 0.95) == 160_000  # 156 978, up
    assert needed(Tally(100, 0.0, 99.0), Tally(100, 0.0, 99.0), 0.95) is None
    assert needed(Tally(100, 0.0, 99.0), Tally(100, 1e-200, 99.0), 0.95) is None
    assert needed(Tally(20, 1.0, 0.0), Tally(20, 1.0, 0.0), 0.95) is None


# --- reading ------------------------------------------------------------------------------------

BROKEN = [
    ("{oops", "not JSON", "not JSON"),
    ('{"pnl": 1, "params_revision": 1', "not JSON", "not JSON"),
    (b'{"pnl": 1, "note": "\xff", "params_revision": 1}', "not JSON", "not JSON"),
    ("[" * 100_000, "not JSON", "not JSON"),
    ('{"pnl": ' + "9" * 5000 + "}", "not JSON", "not JSON"),
    ("[1, 2]", "not JSON", "a list, not a JSON object"),
    ("7", "not JSON", "7, not a JSON object"),
    ('{"params_revision": 1}', "no metric", "no `pnl`"),
    ('{"pnl": true, "params_revision": 1}', "metric is not a number", "`pnl` is true, not a number"),
    ('{"pnl": "1.5", "params_revision": 1}', "metric is not a number", '`pnl` is "1.5", not a number'),
    ('{"pnl": null, "params_revision": 1}', "metric is not a number", "`pnl` is null, not a number"),
    ('{"pnl": {}, "params_revision": 1}', "metric is not a number", "`pnl` is an object, not a number"),
    ('{"pnl": NaN, "params_revision": 1}', "metric is not finite", "`pnl` is NaN, not finite (at most 1e100)"),
    ('{"pnl": -Infinity, "params_revision": 1}', "metric is not finite",
     "`pnl` is -Infinity, not finite (at most 1e100)"),
    ('{"pnl": 1e999, "params_revision": 1}', "metric is not finite",
     "`pnl` is Infinity, not finite (at most 1e100)"),
    ('{"pnl": ' + "9" * 400 + ', "params_revision": 1}', "metric is not finite",
     "`pnl` is a huge number, not finite (at most 1e100)"),
    ('{"pnl": 1}', "no stamp", "no `params_revision`"),
    ('{"pnl": 1, "params_revision": "1"}', "revision is not an integer",
     '`params_revision` is "1", not an integer'),
    ('{"pnl": 1, "params_revision": 1.0}', "revision is not an integer",
     "`params_revision` is 1.0, not an integer"),
    ('{"pnl": 1, "params_revision": true}', "revision is not an integer",
     "`params_revision` is true, not an integer"),
    ('{"pnl": 1, "params_revision": 9}', "unknown revision", "revision 9 is unknown to the journal"),
    ('{"pnl": 1, "params_revision": -1}', "unknown revision", "revision -1 is unknown to the journal"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind", "text"), BROKEN)
def test_every_kind_of_broken_line_is_told_with_its_number(line: str | bytes, kind: str, text: str) -> None:
    good = '{"pnl": 2, "params_revision": 1}'
    found = list(read([good, "", line, good], Fields("pnl"), {0, 1}))
    assert found == [Outcome(1, 1, 2.0), Skipped(3, kind, text), Outcome(4, 1, 2.0)]


def test_a_long_value_is_cut_in_a_problem() -> None:
    (found,) = read([json.dumps({"pnl": "x" * 1000})], Fields("pnl"), {0})
    assert isinstance(found, Skipped) and len(found.text) < 80


def test_fields_may_lie_inward_and_names_with_dots_come_first() -> None:
    fields = Fields("result.pnl", "decision.stamp.params_revision")
    nested = {"decision": {"stamp": {"params_revision": 1, "params_digest": "ab"}}, "result": {"pnl": -2}}
    assert list(read([json.dumps(nested)], fields, {1})) == [Outcome(1, 1, -2.0, "ab")]
    assert next(read([json.dumps(nested | {"result.pnl": 5})], fields, {1})) == Outcome(1, 1, 5.0, "ab")
    short = nested | {"result": 5}
    assert next(read([json.dumps(short)], fields, {1})) == Skipped(1, "no metric", "no `result.pnl`")


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ({"time": 1.5e9}, 1.5e9),
        ({"time": 1_500_000_000_123}, 1_500_000_000.123),
        ({"timestamp": "2017-07-14T02:40:00Z"}, 1.5e9),
        ({"closed_at": "2017-07-14T02:40:00"}, 1.5e9),  # UTC where no zone is named
        ({"closed_at": "2017-07-14T04:40:00+02:00"}, 1.5e9),
        ({"time": 1.5e9, "closed_at": 0}, 1.5e9),
        ({"time": "soon"}, None), ({"time": True}, None), ({"time": None}, None), ({"time": -5}, None),
        ({"time": float("nan")}, None), ({"time": 10**400}, None), ({"time": "0001-01-01T00:00:00"}, None),
        ({"time": "9999-12-31T23:59:59-14:00"}, None), ({}, None),
    ],
)  # fmt: skip
def test_times(time: dict[str, Any], seconds: float | None) -> None:
    line = json.dumps({"pnl": 1, "params_revision": 0, **time})
    (found,) = read([line], Fields("pnl", times=("time", "timestamp", "closed_at")), {0})
    assert isinstance(found, Outcome) and found.seconds == seconds


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=40) | st.text(max_size=40) | st.sampled_from([line for line, *_ in BROKEN]))
)
def test_no_line_stops_the_reading(lines: list[bytes | str]) -> None:
    found = list(read(lines, Fields("pnl"), {0}))
    assert [item.line for item in found] == [n for n, line in enumerate(lines, 1) if line.strip()]


def test_problems_beyond_those_kept_are_counted() -> None:
    found = gather(read(["x"] * (KEPT + 50), Fields("pnl"), {0}))
    assert (len(found.problems), found.kinds) == (KEPT, {"not JSON": KEPT + 50})


# --- windows ------------------------------------------------------------------------------------


def test_what_is_a_change() -> None:
    listed = [
        entry(0, "a.x"), entry(1, "a.x"), entry(1, "a.x", kind="freeze"), entry(1, "a.x", kind="unfreeze"),
        entry(1, kind="refusal"), entry(1, kind="approve"), entry(2, "a.x", kind="external"),
        entry(3, "a.x", kind="rollback"), entry(4, "a.x", old=4.0), entry(5, "a.x"),
        Entry(5, "abort", "", "abort", "me", evidence={"aborts": "5-commit"}),
    ]  # fmt: skip
    assert [e.revision for e in value_changes(listed)] == [1, 2, 3]
    assert known_revisions(listed) == {0, 1, 2, 3, 4}
    assert known_revisions([]) == {0}


def compare(entries: Sequence[Entry], outcomes: dict[int, int], **more: Any) -> dict[int, Comparison]:
    tallies = {revision: sides(count, count // 2) for revision, count in outcomes.items()}
    return {c.entry.revision: c for c in scorecard(entries, tallies, **more).comparisons}


def test_windows_reach_to_the_neighbouring_changes_of_the_same_keys() -> None:
    entries = [
        entry(0, "a.x", "a.y"),
        entry(1, "a.x"),
        entry(2, "a.y"),
        entry(3, "a.x"),
        entry(4, "a.x", "a.y"),
    ]
    found = compare(entries, {0: 1, 1: 2, 2: 4, 3: 8, 4: 16})
    sizes = {revision: (c.before.count, c.after.count) for revision, c in found.items()}
    assert sizes == {1: (1, 6), 2: (3, 12), 3: (6, 8), 4: (8, 16)}
    assert {revision: (c.start, c.end) for revision, c in found.items()} == {
        1: (0, 3), 2: (0, 4), 3: (1, 4), 4: (3, None),
    }  # fmt: skip
    assert {revision: c.shared for revision, c in found.items()} == {1: (2,), 2: (1, 3), 3: (2,), 4: ()}


def test_a_change_that_divides_no_outcomes_is_not_shared_with() -> None:
    entries = [entry(0, "a.x"), entry(1, "a.y"), entry(2, "a.x"), entry(3, "a.z")]
    assert compare(entries, {1: 9, 2: 9})[2].shared == ()
    assert compare(entries, {0: 9, 2: 9})[2].shared == (1,)  # whether 1 or 2 did it, nobody can tell
    assert compare(entries, {1: 9, 3: 9})[2].shared == (3,)


def test_a_pattern_chooses_changes_and_leaves_their_windows() -> None:
    entries = [entry(0, "a.x", "b.y"), entry(1, "a.x"), entry(2, "a.x", "b.y"), entry(3, "b.y")]
    outcomes = dict.fromkeys(range(4), 30)
    everything, chosen = compare(entries, outcomes), compare(entries, outcomes, pattern="b.*")
    assert sorted(chosen) == [2, 3]
    assert all(
        (chosen[r].before, chosen[r].after) == (everything[r].before, everything[r].after) for r in chosen
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sets(st.sampled_from("uvw"), min_size=1), max_size=8),
    st.dictionaries(st.integers(0, 8), st.integers(1, 5)),
)
def test_windows_as_the_rule_says_them(changed: list[set[str]], outcomes: dict[int, int]) -> None:
    keys: dict[int, set[str]] = dict(enumerate(changed, 1))
    found = compare([entry(0, "u", "v", "w"), *(entry(r, *ks) for r, ks in keys.items())], outcomes)
    for revision, mine in keys.items():
        start, end = revision - 1, revision
        while start > 0 and not keys[start] & mine:
            start -= 1
        while end + 1 in keys and not keys[end + 1] & mine:
            end += 1
        last = end if end + 1 in keys else 8
        assert found[revision].before.count == sum(outcomes.get(r, 0) for r in range(start, revision))
        assert found[revision].after.count == sum(outcomes.get(r, 0) for r in range(revision, last + 1))


# --- verdicts -----------------------------------------------------------------------------------


def normal(rng: random.Random) -> float:
    return rng.gauss(0, 1)


def fat(rng: random.Random) -> float:
    """Student's t with 3 degrees of freedom."""
    return rng.gauss(0, 1) / math.sqrt(rng.gammavariate(1.5, 2) / 3)


def rare_wins(rng: random.Random) -> float:
    """Nine of ten lose 1, one wins 9."""
    return 9.0 if rng.random() < 0.1 else -1.0


def drawn(rng: random.Random, count: int, draw: Draw, shift: float = 0.0) -> Tally:
    return tally(draw(rng) + shift for _ in range(count))


def judged(before: Tally, after: Tally, **more: Any) -> Comparison:
    (found,) = scorecard([entry(0, "a.x"), entry(1, "a.x")], {0: before, 1: after}, **more).comparisons
    return found


def test_a_true_effect_is_better_or_worse() -> None:
    rng = random.Random(1)
    low, high = drawn(rng, 100, normal), drawn(rng, 100, normal, 1.0)
    assert judged(low, high).verdict == "better"
    assert judged(high, low).verdict == "worse"
    assert judged(low, high).why == "" and judged(low, high).needed is None


def test_without_an_effect_it_cannot_tell_and_says_what_it_would_take() -> None:
    rng = random.Random(8)
    found = judged(drawn(rng, 100, normal), drawn(rng, 100, normal))
    assert found.verdict == "cannot tell" and found.needed is not None and found.needed > 200
    assert f"includes 0; this difference takes about {found.needed:,} outcomes per side" in found.why


def test_too_few_outcomes_are_no_verdict() -> None:
    many, few = sides(50, 40), sides(19, 0)
    assert judged(many, few).why == "19 after: fewer than 20 outcomes"
    assert judged(few, Tally()).why == "19 before and 0 after: fewer than 20 outcomes"
    assert judged(many, few).mean is None and judged(many, few).verdict == "cannot tell"
    assert judged(many, few, min_count=19).verdict == "worse"
    assert judged(sides(1, 1), sides(1, 0), min_count=1).why == "1 before and 1 after: fewer than 2 outcomes"


def test_outcomes_that_are_all_the_same() -> None:
    assert judged(sides(20, 20), sides(20, 20)).why == "no difference to speak of"
    assert judged(sides(20, 0), sides(20, 20)).verdict == "better"


def test_a_win_rate_that_moved_the_other_way_is_told() -> None:
    before, after = tally([1.0] * 60 + [-1.0] * 40), tally([9.0] * 30 + [-1.0] * 70)
    assert (judged(before, after).verdict, judged(before, after).why) == (
        "better",
        "the win rate moved the other way",
    )
    assert (judged(after, before).verdict, judged(after, before).why) == (
        "worse",
        "the win rate moved the other way",
    )


def test_the_level_is_shared_among_the_changes_that_can_be_compared() -> None:
    entries = [entry(0, "a.x"), *(entry(r, "a.x") for r in range(1, 6))]
    tallies = {r: sides(30, 15 + r) for r in range(5)} | {5: sides(3, 1)}
    card = scorecard(entries, tallies, level=0.9)
    assert card.compared == 4 and card.adjusted == pytest.approx(1 - 0.1 / 4)
    assert card.comparisons[0].mean == welch(tallies[0], tallies[1], card.adjusted)
    assert card.comparisons[0].win_rate == newcombe(tallies[0], tallies[1], card.adjusted)


def test_metrics_of_any_size_leave_the_figures_finite() -> None:
    for size in (1e100, 1e-300, 5e-324):
        before, after = tally([size, -size] * 20), tally([size, size] * 20)
        found = judged(before, after)
        assert found.mean is not None and all(map(math.isfinite, found.mean))


def false_verdicts(draw: Draw, counts: Sequence[int], tables: int, seed: int = 1) -> tuple[float, float]:
    """Return the share of tables, and of verdicts, that call a change of no effect better or worse."""
    rng, size = random.Random(seed), len(counts)
    entries = [entry(0, "a.x"), *(entry(r, "a.x") for r in range(1, size))]
    wrong = []
    for _ in range(tables):
        card = scorecard(entries, {r: drawn(rng, count, draw) for r, count in enumerate(counts)})
        wrong.append(sum(c.verdict != "cannot tell" for c in card.comparisons))
    return sum(map(bool, wrong)) / tables, sum(wrong) / tables / (size - 1)


def power(effect: float, level: float, tries: int, seed: int = 1) -> tuple[int, float]:
    """Return how many outcomes per side are asked for to see ``effect`` (in deviations), and how often they do."""
    count = needed(Tally(1000, 0.0, 999.0), Tally(1000, effect, 999.0), level)
    assert count is not None
    rng = random.Random(seed)
    seen = (
        welch(drawn(rng, count, normal), drawn(rng, count, normal, effect), level)[0] > 0
        for _ in range(tries)
    )
    return count, sum(seen) / tries


def test_false_verdicts_come_at_the_stated_rate() -> None:
    alone, _ = false_verdicts(normal, [30, 30], 2000)
    assert 0.035 < alone < 0.065
    tables, each = false_verdicts(normal, [30] * 11, 300)
    assert tables < 0.085 and each < 0.01  # without the shared level: 0.40 and 0.05


def test_the_outcomes_asked_for_show_the_effect_four_times_in_five() -> None:
    assert 0.75 < power(0.5, 0.95, 800)[1] < 0.85


# --- the command --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [
        name for name in os.environ if name.startswith("PARAM") or name in ("FORCE_COLOR", "COLUMNS")
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    monkeypatch.chdir(tmp_path)


def bot(root: Path) -> Path:
    parameters = [Parameter(("edge",), 0.1, "number"), Parameter(("size",), 1.0, "number")]
    for name, raw in namespace_files("bot", parameters).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(raw)
        os.utime(root / name, (0, 0))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store whose journal is written here: edge changes at 1 and 3, size at 2."""
    entries = [
        entry(0, "bot.edge", "bot.size", kind="external"), entry(1, "bot.edge", author=NASTY, reason=NASTY),
        entry(2, "bot.size"), entry(2, kind="refusal"), entry(3, "bot.edge", kind="rollback", reason="back"),
    ]  # fmt: skip
    place = bot(tmp_path / "store")
    (place / "params/journal").mkdir()
    (place / "params/journal/00000000.jsonl").write_bytes(b"".join(_records.encode(e)[1] for e in entries))
    return place


def lines(groups: Sequence[tuple[int, int, float]], **more: Any) -> list[str]:
    """Outcomes ``(revision, count, mean)``, one an hour from the day of their revision."""
    rng = random.Random(5)
    return [
        json.dumps({
            "params_revision": revision, "params_digest": f"{revision:016x}", "pnl": rng.gauss(mean, 1),
            "time": f"2026-01-{revision + 1:02}T{number % 24:02}:00:00Z", **more,
        })
        for revision, count, mean in groups for number in range(count)
    ]  # fmt: skip


GROUPS = [(0, 60, 0.0), (1, 70, 1.5), (3, 60, -1.0)]


def write(name: str, text: Iterable[str]) -> str:
    Path(name).write_text("\n".join(text) + "\n", encoding="utf-8")
    return name


def call(root: Path, *words: str, code: int = 0, **more: Any) -> Result:
    result = CliRunner().invoke(cli, ["--root", str(root), "scorecard", *words], **more)
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == code, result.output
    return result


def test_the_table(root: Path) -> None:
    file = write(
        "o.jsonl", [*lines(GROUPS), "oops", '{"pnl": 1}', '{"pnl": 1, "params_revision": 7}', *["x"] * 9]
    )
    said = call(root, file, "--metric", "pnl").stdout.splitlines()
    assert said[0] == "190 outcomes, of 3 revisions"
    assert said[1] == "12 lines left out: not JSON (10), no stamp (1), unknown revision (1)"
    assert said[2:4] == ["  line 191: not JSON", "  line 192: no `params_revision`"]
    assert said[7:9] == ["  and 7 more lines", ""]
    rows = {tuple(line.split()[:2]): line for line in said}
    assert rows["0", "60"].endswith("%")
    assert "better" in rows["1", "bot.edge"] and "\\x1b[31m [red]z[/red]" in rows["1", "bot.edge"]
    assert "60     70  " in rows["1", "bot.edge"] and "shared" not in rows["1", "bot.edge"]
    assert "worse" in rows["2", "bot.size"] and "shared with revisions 1, 3" in rows["2", "bot.size"]
    assert "worse    shared with revision 2 " in rows["3", "bot.edge"] and rows["3", "bot.edge"].endswith(
        "back"
    )
    assert said[-1] == "level 0.95 across 3 changes: each interval is at 0.983333"
    assert not any("\x1b" in line or "\x00" in line for line in said)


def test_markup_in_the_journal_is_text_on_a_terminal_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "400")
    said = call(root, write("o.jsonl", lines(GROUPS)), "--metric", "pnl").stdout
    assert "[red]z[/red]" in re.sub(r"\x1b\[[0-9;]*m", "", said) and "\x00" not in said


def test_json_has_everything(root: Path) -> None:
    file = write("o.jsonl", [*lines(GROUPS), "oops", *lines([(3, 1, 0.0)], params_digest="ff")])
    found = json.loads(call(root, file, "--metric", "pnl", "--json").stdout)
    assert [found[name] for name in ("metric", "level", "min_count", "outcomes", "compared")] == [
        "pnl",
        0.95,
        20,
        191,
        3,
    ]
    assert found["problems"] == {
        "count": 1, "kinds": {"not JSON": 1}, "first": [{"line": 191, "kind": "not JSON", "problem": "not JSON"}],
    }  # fmt: skip
    assert found["revisions"][2]["digests"] == {f"{3:016x}": 60, "ff": 1}
    first, second, third = found["changes"]
    assert (first["verdict"], first["author"], first["reason"]) == ("better", NASTY, NASTY)
    assert (first["from_revision"], first["until_revision"], third["until_revision"]) == (0, 3, None)
    assert (
        first["before"]["count"] == 60 and first["mean_interval"][0] > 0 and second["shared_with"] == [1, 3]
    )
    assert first["changes"] == [{"key": "bot.edge", "context": {}, "old": 0.5, "new": 1.0}]


def test_mixed_digests_are_told(root: Path) -> None:
    file = write("o.jsonl", [*lines(GROUPS), *lines([(3, 1, 0.0)], params_digest="ff")])
    said = call(root, file, "--metric", "pnl").stdout
    assert re.search(r"^ +3 .* 2 digests$", said, re.M) and "several digests: at one revision" in said
    assert "digests" not in call(root, write("p.jsonl", lines(GROUPS)), "--metric", "pnl").stdout


def test_options(root: Path) -> None:
    nested = [json.dumps({"d": json.loads(line), "r": {"bps": 5}}) for line in lines(GROUPS)]
    words = ["-", "--metric", "r.bps", "--revision-field", "d.params_revision", "--json"]
    found = json.loads(call(root, *words, input="\n".join(nested)).stdout)
    assert found["outcomes"] == 190 and found["revisions"][0]["digests"] == {f"{0:016x}": 60}
    more = ["--key", "bot.size", "--level", "0.8", "--min-count", "60"]
    found = json.loads(call(root, write("o.jsonl", lines(GROUPS)), "--metric", "pnl", *more, "--json").stdout)
    assert [change["revision"] for change in found["changes"]] == [2]
    assert (found["level"], found["min_count"], found["adjusted_level"]) == (0.8, 60, pytest.approx(0.8))


def test_changes_nobody_has_outcomes_of(root: Path) -> None:
    said = call(root, write("o.jsonl", lines([(0, 30, 0.0)])), "--metric", "pnl").stdout.splitlines()
    assert said[-2:] == [
        "1 change without outcomes before or after",
        "no change has enough outcomes on both sides",
    ]


def test_a_store_without_a_journal_stands_at_revision_0(tmp_path: Path) -> None:
    said = call(bot(tmp_path / "fresh"), write("o.jsonl", lines([(0, 30, 0.0)])), "--metric", "pnl").stdout
    assert said.startswith("30 outcomes, of 1 revision\n")
    assert said.endswith("no change has enough outcomes on both sides\n")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 1, "o.jsonl: there are no outcomes in it.\n"),
        ('{"pnl": 1, "params_revision": 7}', 1,
         "o.jsonl: no outcome could be joined to the journal.\n  line 1: revision 7 is unknown to the journal\n"),
        ("\n".join(["oops"] * 8), 2,
         "o.jsonl: no line is an outcome.\n" + "".join(f"  line {n}: not JSON\n" for n in range(1, 6))
         + "  and 3 more lines\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_joined(root: Path, text: str, code: int, said: str) -> None:
    result = call(root, write("o.jsonl", [text]), "--metric", "pnl", "--json", code=code)
    assert (result.stdout, result.stderr) == ("", f"error: {said}")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none.jsonl", "--metric", "pnl"], 2, "none.jsonl: No such file or directory"),
        ([".", "--metric", "pnl"], 2, "Is a directory"),
        (["o.jsonl"], 2, "Missing option '--metric'"),
        (["o.jsonl", "--metric", "pnl", "--level", "1"], 2, "--level"),
        (["o.jsonl", "--metric", "pnl", "--min-count", "1"], 2, "--min-count"),
        (["o.jsonl", "--metric", "pnl", "--plot", "a.pdf"], 2, "name a .png or .svg file"),
        (["o.jsonl", "--metric", "pnl", "--plot", "none/a.png"], 2, "none/a.png: No such file or directory"),
        (["o.jsonl", "--metric", "pnl", "--key", "bot.egde"], 1, "Did you mean `bot.edge`"),
    ],
)
def test_wrong_use(root: Path, words: list[str], code: int, said: str) -> None:
    write("o.jsonl", lines(GROUPS))
    result = call(root, *words, code=code)
    assert said in result.stderr and "Traceback" not in result.stderr and result.stdout == ""


def test_a_store_in_use_from_stamp_to_verdict(tmp_path: Path) -> None:
    store, rng = ParamStore(bot(tmp_path / "live"), environ={}), random.Random(3)
    with open("o.jsonl", "w", encoding="utf-8") as log:
        for revision, mean in enumerate((0.0, 1.0)):
            if revision:
                with store.transaction(author="me", reason="a better edge") as tx:
                    tx["bot.edge"] = 0.2
            for _ in range(60):
                log.write(json.dumps({**store.snapshot().stamp(), "pnl": rng.gauss(mean, 1)}) + "\n")
    words = [sys.executable, "-m", "paramstore", "--root", str(tmp_path / "live"), "scorecard", "o.jsonl"]
    done = subprocess.run([*words, "--metric", "pnl"], capture_output=True, text=True, check=True)
    assert re.search(
        r"^ +1  bot\.edge 0\.1 → 0\.2 +60 +60 .* better .* me +a better edge$", done.stdout, re.M
    )
    assert done.stderr == ""


# --- the drawing --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["png", "svg", "SVG"])
@pytest.mark.parametrize("timed", [True, False])
def test_a_drawing(root: Path, form: str, timed: bool) -> None:
    file = write("o.jsonl", lines(GROUPS) if timed else lines(GROUPS, time=None))
    said = call(root, file, "--metric", "pnl", "--plot", f"a.{form}")
    assert said.stdout.splitlines()[-1] == f"wrote a.{form}: bot.edge, bot.size" and said.stderr == ""
    content = Path(f"a.{form}").read_bytes()
    if form == "png":
        assert content.startswith(b"\x89PNG") and len(content) > 10_000
        return
    texts = [
        "".join(node.itertext()) for node in ET.fromstring(content).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"bot.edge", "bot.size", "pnl: each outcome, and the mean of the last 10"} <= set(texts)
    assert "1 x\\ny\\x1b[31m [red]z[/…" in texts
    assert ({"2 learner", "3 learner: back"} if timed else {"2 learner (+1)"}) <= set(texts)
    assert ("time (UTC)" if timed else "number of the outcome") in texts


def test_journal_text_is_no_mathtext_and_no_tex(root: Path) -> None:
    import matplotlib

    from paramstore import _plot

    ugly = [entry(1, "a.x", author="$\\frac{1}$", reason="$x"), entry(2, "a.x", author="$\\undefined$")]
    outcomes = [Outcome(n, n // 20, float(n), None, None) for n in range(60)]
    card = scorecard([entry(0, "a.x"), *ugly], gather(outcomes).tallies)
    what = _plot.picture([entry(0, "a.x"), *ugly], outcomes, card.comparisons, ["a.x"])
    with matplotlib.rc_context({"text.usetex": True}):
        content = _plot.draw(what, "$\\frac{$ \x0b \ud800 \ufffe", "svg").decode()
    assert ET.fromstring(content) is not None
    assert (
        "$\\frac{1}$: $x" in content
        and "$\\undefined$" in content
        and "$\\frac{$ \\x0b \\ud800 \\ufffe" in content
    )
    assert content == _plot.draw(what, "$\\frac{$ \x0b \ud800 \ufffe", "svg").decode()


def test_what_is_drawn_where() -> None:
    from paramstore import _plot

    entries = [entry(0, "a.x", "a.y"), entry(1, "a.x"), entry(2, "a.x"), entry(3, "a.y")]
    order = [0, 0, 2, 1, 2, 3]  # outcomes close in another order than they were decided in
    outcomes = [Outcome(n, revision, float(n)) for n, revision in enumerate(order)]
    card = scorecard(entries, gather(outcomes).tallies)
    what = _plot.picture(entries, outcomes, card.comparisons, _plot.keys_to_draw(entries))
    assert what.marks == [(2, "1 learner"), (2, "2 learner"), (5, "3 learner")]
    assert list(what.curves) == ["a.x", "a.y"]
    assert what.curves["a.x"][1:] == [(0, 0.0), (2, 1.0), (2, 2.0), (5, 2.0)]
    assert _plot.keys_to_draw(entries, "*.y") == ["a.y"]
    assert _plot._running_means([(float(n), float(n)) for n in range(5)], 3, 2) == [(2, 1), (4, 3)]


def test_only_some_outcomes_with_a_time() -> None:
    from paramstore import _plot

    outcomes = [Outcome(1, 0, 1.0, None, 86400.0 * 20454.5), Outcome(2, 0, 2.0, None, None)]
    what = _plot.picture([entry(0, "a.x")], outcomes, [], ["a.x"])
    assert (what.points, what.timed) == ([(20454.5, 1.0)], True)
    assert _plot.draw(what, "pnl", "png").startswith(b"\x89PNG")


def test_revision_0_stood_before_it_was_written_down() -> None:
    from paramstore import _plot

    outcomes = [Outcome(n, 0, 1.0, None, 86400.0 * day) for n, day in enumerate((20453.0, 20455.0), 1)]
    what = _plot.picture([entry(0, "a.x")], outcomes, [], ["a.x"])  # written down on day 20454
    assert what.curves["a.x"][1:] == [(20453.0, 0.0), (20455.0, 0.0)]


def test_without_matplotlib_it_says_what_to_install(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "paramstore._plot", raising=False)
    monkeypatch.delattr("paramstore._plot", raising=False)
    file = write("o.jsonl", lines(GROUPS))
    assert "install paramstore[plot]" in call(root, file, "--metric", "pnl", "--plot", "a.png", code=2).stderr
    assert not Path("a.png").exists()
    call(root, file, "--metric", "pnl")  # the table needs none of it


def test_matplotlib_is_imported_only_for_a_drawing(root: Path) -> None:
    write("o.jsonl", lines(GROUPS))
    code = (
        "import sys; from paramstore.cli import cli\n"
        f"try: cli.main(['--root', {str(root)!r}, 'scorecard', 'o.jsonl', '--metric', 'pnl'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'matplotlib' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# --- the page -----------------------------------------------------------------------------------


def test_the_worked_example_is_what_happens(tmp_path: Path) -> None:
    text = (SOURCE / "docs/scorecard.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)
    place = bot(tmp_path)
    code = "\n".join(body for kind, body in blocks if kind == "python")
    test = doctest.DocTestParser().get_doctest(
        code, {"params": ParamStore(place, environ={})}, "page", "page", 0
    )
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=report.append)
    assert test.examples and not runner.summarize(verbose=False).failed, "".join(report)
    (console,) = (body for kind, body in blocks if kind == "console")
    for step in re.split(r"^\$ ", console, flags=re.M)[1:]:
        command, _, expected = step.partition("\n")
        result = CliRunner().invoke(cli, command.split()[1:])
        assert [line.rstrip() for line in result.output.splitlines()] == expected.splitlines()


def main() -> None:
    """Print the figures of docs/scorecard.md: 4,000 tables a row."""
    draws: dict[str, Draw] = {"normal": normal, "fat tails (t, 3)": fat, "nine lose 1, one wins 9": rare_wins}
    shapes = {"20, 20": [20, 20], "50, 50": [50, 50], "20, 200": [20, 200], "11 of 30": [30] * 11}
    for (name, draw), (shape, counts) in itertools.product(draws.items(), shapes.items()):
        tables, each = false_verdicts(draw, counts, 4000)
        sys.stdout.write(f"| {name} | {shape} | {tables:.1%} | {each:.2%} |\n")
    for effect, changes in itertools.product((0.3, 0.5, 1.0), (1, 10)):
        count, seen = power(effect, 1 - 0.05 / changes, 4000)
        sys.stdout.write(f"| {effect} | {changes} | {count} | {seen:.1%} |\n")


if __name__ == "__main__":
    main()
