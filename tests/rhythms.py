"""Simulated learners: how often a healthy one is called silent, and whether a stopped one is called so in time.

``python tests/rhythms.py`` prints the table of docs/doctor.md; the numbers follow from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from paramstore._clock import utc_text
from paramstore._doctor import Learner, Thresholds, examine
from paramstore._model import Entry

SCHEDULES = 1000
BEGAN = 1_780_000_000.0
Delay = Callable[[random.Random], float]

KINDS: dict[str, tuple[str, Delay]] = {  # what it is called, and how late a run starts, in periods
    "uniform": ("each start up to 25 % of the period early or late", lambda draw: draw.uniform(-0.25, 0.25)),
    "tail": (
        "each start late by an exponential time, 15 % in the mean",
        lambda draw: draw.expovariate(1 / 0.15),
    ),
    "long tail": ("the same, 30 % in the mean", lambda draw: draw.expovariate(1 / 0.3)),
}
EVENTS = "driven by events: exponential intervals, no period at all"


@dataclass(frozen=True)
class Schedule:
    """The times of all attempts (seconds since 1970), run by run."""

    period_s: float
    runs: tuple[tuple[float, ...], ...]


def schedule(draw: random.Random, kind: str) -> Schedule:
    """Make a learner: a period from a minute to a day, 4 to 60 runs, in half of them bursts."""
    period_s = 60 * 1440 ** draw.random()
    count = draw.randint(4, 60)
    if kind == "events":
        starts, time = [], BEGAN
        for _ in range(count):
            time += draw.expovariate(1 / period_s)
            starts.append(time)
    else:
        delay = KINDS[kind][1]
        starts = sorted(BEGAN + period_s * (index + delay(draw)) for index in range(count))
    most = draw.choice((1, draw.randint(2, 8)))
    return Schedule(period_s, tuple(_burst(draw, start, period_s, most) for start in starts))


def _burst(draw: random.Random, start: float, period_s: float, most: int) -> tuple[float, ...]:
    times, longest = [start], min(5.0, 0.2 * period_s / most)
    for _ in range(draw.randint(1, most) - 1):
        times.append(times[-1] + draw.uniform(0.05, longest))
    return tuple(times)


def attempt(draw: random.Random, time: float) -> Entry:
    """Return a commit, or one time in eight a refusal."""
    kind = "refusal" if draw.random() < 0.125 else "commit"
    return Entry(1, "0", utc_text(time), kind, "learner", evidence={"samples": 9})  # type: ignore[arg-type]


def seen(entries: Sequence[Entry], now: float, intervals: float = 2.0) -> Learner:
    """Return what the journal says of the learner at ``now``."""
    report = examine(entries, {}, {}, now, Thresholds(silent_intervals=intervals, refused=1000))
    return report.learners[0]


@dataclass
class Figures:
    """What came of all schedules of one kind."""

    false_alarms: int = 0
    unknown: int = 0  # observed before there were three runs
    missed: int = 0  # stopped, and not named at 2.01 usual intervals
    early: int = 0  # named before two
    estimates: list[float] | None = None  # usual interval by true period


def figures(kind: str, intervals: float = 2.0, seed: int = 7) -> Figures:
    """Watch ``SCHEDULES`` learners at a random moment of their life, and after they stopped."""
    draw, found, estimates = random.Random(f"{seed} {kind}"), Figures(), []
    for _ in range(SCHEDULES):
        learner = schedule(draw, kind)
        times = [time for run in learner.runs for time in run]
        entries = [attempt(draw, time) for time in times]
        moment = draw.uniform(learner.runs[2][0], learner.runs[-1][0])
        healthy = seen(
            [e for e, time in zip(entries, times, strict=True) if time <= moment], moment, intervals
        )
        found.false_alarms += healthy.silent is True
        found.unknown += healthy.silent is None
        last = max(times)
        usual = seen(entries, last).interval_s
        assert usual is not None
        estimates.append(usual / learner.period_s)
        stopped = seen(entries, last + (intervals + 0.01) * usual, intervals)
        found.missed += not any(note.rule == "silent" and note.level == "finding" for note in stopped.notes)
        found.early += seen(entries, last + (intervals - 0.01) * usual, intervals).silent is True
    found.estimates = estimates
    return found


def table() -> list[str]:
    """Return the rows of the table, as Markdown."""
    rows = ["| schedule | intervals | false alarms | stopped, not named | usual interval by period: least, median, most |",
            "|---|---|---|---|---|"]  # fmt: skip
    cases = [
        *((kind, text, 2.0) for kind, (text, _) in KINDS.items()),
        ("events", EVENTS, 2.0),
        ("events", EVENTS, 8.0),
    ]
    for kind, text, intervals in cases:
        got = figures(kind, intervals)
        ratios = got.estimates or [0.0]
        spread = f"{min(ratios):.2f}, {median(ratios):.2f}, {max(ratios):.2f}"
        missed = f"{got.missed} of {SCHEDULES:,}"
        rows.append(f"| {text} | {intervals:g} | {got.false_alarms} of {SCHEDULES:,} | {missed} | {spread} |")
    return rows


if __name__ == "__main__":
    import sys

    sys.stdout.write("\n".join(table()) + "\n")
