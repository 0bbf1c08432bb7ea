"""Lines of tables that are no ratio: a distribution, a course over sizes; and who is ahead of paramstore."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from benchmarks.harness import Line, Row, by_section, middle_half, quantity, times

OURS = "paramstore"
RESOLUTION_S = 1e-6  # between the clocks of two processes nothing shorter can be told


@dataclass(slots=True)
class Seen:
    """Seconds from each acknowledgement to the end of the first read of the new value; how often a read that began
    after it still gave the old one, and how often the new one was read before."""

    delays_s: list[float] = field(default_factory=list)
    stale: int = 0
    early: int = 0


@dataclass(frozen=True, slots=True)
class Spread:
    """What was seen of many commits, as percentiles in seconds, and fractions of the commits."""

    section: str
    name: str
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    most: float = 0.0
    stale: float = 0.0
    early: float = 0.0
    count: int = 0
    ratio: float | None = None
    note: str = ""
    missing: str = ""
    failed: bool = False

    def head(self) -> tuple[str, ...]:
        fractions = "an old value after", "the new one before"
        return "what", "p50", "p90", "p99", "longest", "commits", *fractions, "p90, to paramstore's"

    @property
    def figure(self) -> float | None:
        return self.ratio

    def cells(self) -> tuple[str, ...]:
        name = f"{self.name} ({self.note})" if self.note else self.name
        if self.missing:
            return (name, self.missing, *[""] * (len(self.head()) - 2))
        spread = [_delay(figure) for figure in (self.p50, self.p90, self.p99, self.most)]
        fractions = [f"{100 * fraction:.3g} %" for fraction in (self.stale, self.early)]
        return name, *spread, f"{self.count:,}", *fractions, times(self.ratio)


def _delay(seconds: float) -> str:
    return "< 1 µs" if seconds < RESOLUTION_S else quantity(seconds, "s")


def spread_of(section: str, name: str, seen: Seen, note: str) -> Spread:
    """The percentiles; each is a sample, the nearest below, so that none is invented."""
    ordered = sorted(seen.delays_s)
    count = len(ordered)
    p50, p90, p99 = (ordered[int(share * (count - 1))] for share in (0.5, 0.9, 0.99))
    fractions = seen.stale / count, seen.early / count
    return Spread(section, name, p50, p90, p99, ordered[-1], *fractions, count, note=note)


def against_ours(spreads: Sequence[Spread]) -> list[Spread]:
    """Each with its ratio to paramstore's p90, where there is one: the median is often no time at all, where a value is
    read before the writer has heard that it is safe."""
    base = next((line.p90 for line in spreads if line.name == OURS and line.count), None)
    if base is None:
        return list(spreads)
    ours = max(base, RESOLUTION_S)
    return [
        replace(line, ratio=max(line.p90, RESOLUTION_S) / ours) if line.count else line for line in spreads
    ]


@dataclass(frozen=True, slots=True)
class Series:
    """One question over several sizes: for each, the first quartile, the median and the third."""

    section: str
    name: str
    points: Mapping[int, tuple[float, float, float]]
    unit: str = "s"
    note: str = ""
    missing: str = ""
    failed: bool = False

    def head(self) -> tuple[str, ...]:
        sizes = list(self.points)
        return (
            "what",
            *(f"{size:,}" for size in sizes),
            *([f"{sizes[-1]:,} to {sizes[0]:,}"] if sizes else []),
        )

    @property
    def figure(self) -> float | None:
        """Rates are ranked by the last; a course of times is not."""
        return 1 / list(self.points.values())[-1][1] if self.points and self.unit == "/s" else None

    def cells(self) -> tuple[str, ...]:
        name = f"{self.name} ({self.note})" if self.note else self.name
        if self.missing:
            return name, self.missing
        medians = [median for _, median, _ in self.points.values()]
        return name, *(amount(median, self.unit) for median in medians), times(medians[-1] / medians[0])


def amount(figure: float, unit: str) -> str:
    return f"{figure:,.0f}" if unit == "/s" else quantity(figure, unit)


def series(
    section: str, name: str, found: Mapping[int, Sequence[float]], unit: str = "s", note: str = ""
) -> Series:
    points = {}
    for size, figures in found.items():
        q1, q3 = middle_half(figures)
        points[size] = q1, statistics.median(figures), q3
    return Series(section, name, points, unit, note)


@dataclass(frozen=True, slots=True)
class Ahead:
    """Somebody who was ahead of paramstore in the same table: faster, or smaller."""

    where: str
    name: str
    faster: float

    section: ClassVar[str] = "Where paramstore is not first"
    failed: ClassVar[bool] = False

    def head(self) -> tuple[str, ...]:
        return "where", "who is ahead (and what it leaves out)", "by"

    def cells(self) -> tuple[str, ...]:
        return self.where, self.name, times(self.faster)


def ahead(lines: Iterable[Line]) -> list[Ahead]:
    """Everyone who is ahead of the first line of paramstore in a table, the fastest first."""
    found = []
    for section, those in by_section(lines).items():
        ranked = [line for line in those if isinstance(line, Row | Spread | Series) and line.figure]
        if (ours := _ours(ranked)) is None:
            continue
        faster = [
            Ahead(section, line.cells()[0], ours / line.figure)
            for line in ranked
            if not line.name.startswith(OURS) and line.figure and line.figure < ours
        ]
        found += sorted(faster, key=lambda line: -line.faster)
    return found


def _ours(ranked: Sequence[Row | Spread | Series]) -> float | None:
    for line in ranked:
        if isinstance(line, Row) and line.baseline.startswith(OURS):
            return 1.0
        if line.name.startswith(OURS):
            return line.figure
    return None
