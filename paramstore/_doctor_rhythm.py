"""How often a learner usually comes, from the times of its attempts. Pure.

A learner often makes several attempts in one run, one for each symbol say. So attempts that lie close
together are joined into runs, and the usual interval is the median of the times from one run's start to the
next. How close is close follows from the attempts themselves: the longest time for which the runs that
result lie, in the median, at least ``APART`` times further apart. A pause of weeks looks like the same thing
on a larger scale; what tells them apart is that a run has its limits: at most ``IN_SHORT`` attempts if they
follow one another within ``SHORT_S``, else ``IN_LONG``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

LEAST_RUNS = 3
MOST_RUNS = 50  # older ones say little about today's schedule
MOST_ATTEMPTS = 1000
APART = 10
ALWAYS_JOINED_S = 10.0  # a first run alone must not pass for a schedule of seconds
SHORT_S = 60.0
IN_SHORT, IN_LONG = 100, 10


def usual_interval(times: Sequence[float]) -> float | None:
    """Return the usual seconds from one run to the next, or ``None`` for fewer than three runs."""
    starts = run_starts(sorted(times)[-MOST_ATTEMPTS:])[-MOST_RUNS:]
    return _interval(starts) if len(starts) >= LEAST_RUNS else None


def run_starts(times: Sequence[float]) -> list[float]:
    """Join attempts (seconds, sorted) into runs; return when each began."""
    if len(times) < LEAST_RUNS:
        return list(times)
    for join_s in _candidates(times):
        runs = _joined(times, join_s)
        in_one = IN_SHORT if join_s <= SHORT_S else IN_LONG
        starts = [run[0] for run in runs]
        if max(map(len, runs)) > in_one:
            continue
        if join_s == ALWAYS_JOINED_S or (len(runs) >= LEAST_RUNS and _interval(starts) >= APART * join_s):
            return starts
    return list(times)  # no run is that long: a schedule of seconds


def _candidates(times: Sequence[float]) -> Iterator[float]:
    join_s = max(after - before for before, after in pairwise(times)) / APART
    while join_s > ALWAYS_JOINED_S:
        yield join_s
        join_s /= 2
    yield ALWAYS_JOINED_S


def _joined(times: Sequence[float], join_s: float) -> list[list[float]]:
    runs = [[times[0]]]
    for before, after in pairwise(times):
        if after - before > join_s:
            runs.append([])
        runs[-1].append(after)
    return runs


def _interval(starts: Sequence[float]) -> float:
    return median(after - before for before, after in pairwise(starts))
