"""The drawing of ``paramstore scorecard --plot``: values as steps, outcomes as points, one axis of time.

The only module that imports matplotlib, and itself imported only when a drawing is asked for. Nothing the journal holds
is taken for markup: no mathtext, no TeX, and what is no printable character is written out.
"""

from __future__ import annotations

import io
import math
import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

from paramstore._model import Entry
from paramstore._scorecard import Comparison, Outcome, moved, standing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_KEYS = 4  # panels of values
MOST_POINTS = 20_000  # of outcomes; beyond that every second, third … is drawn, the mean still made of all
WIDEST = 1000  # outcomes in a running mean
LABEL = 24  # characters of a change's label
DAY_S = 86_400.0  # matplotlib counts days since 1970
LOOK: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",  # letters stay letters, to be searched
    "svg.hashsalt": "paramstore",  # equal drawings, equal bytes
    "font.size": 9.0,
    "date.converter": "concise",
    "timezone": "UTC",
}
NO_DATES: Any = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn, in places on the one axis (days since 1970, or the number of the outcome)."""

    points: list[Point]
    curves: dict[str, list[Point]]
    marks: list[tuple[float, str]]
    begin: float
    end: float
    timed: bool


def keys_to_draw(entries: Iterable[Entry], pattern: str = "*") -> list[str]:
    """Return the keys with numbers that match, those that changed most often first."""
    changed = (change for entry in standing(entries) if entry.revision > 0 for change in moved(entry))
    counted = Counter(
        c.key for c in changed if not c.context and _number(c.new) and fnmatchcase(c.key, pattern)
    )
    return [key for key, _ in counted.most_common()]


def picture(
    entries: Sequence[Entry], outcomes: Sequence[Outcome], compared: Sequence[Comparison], keys: Sequence[str]
) -> Picture:
    """Lay everything out over time; over the outcomes' order where none has a time, each change then standing
    at the first outcome made with it or a later one. Outcomes without a time are left out where others have one."""
    timed = any(outcome.seconds is not None for outcome in outcomes)
    points = _timed(outcomes) if timed else [(float(n), o.metric) for n, o in enumerate(outcomes)]
    place = _entry_time if timed else _first_use(outcomes)
    divided = [place(c.entry) for c in compared if c.before.count and c.after.count]
    places = [x for x, _ in points] + [x for x in divided if math.isfinite(x)]
    begin, end = min(places), max(places)
    marks = [(x, _label(c.entry)) for c in compared if begin <= (x := place(c.entry)) <= end]
    curves = {key: _steps(entries, key, place, begin, end) for key in keys}
    return Picture(points, curves, marks, begin, end, timed)


def _timed(outcomes: Iterable[Outcome]) -> list[Point]:
    return sorted((o.seconds / DAY_S, o.metric) for o in outcomes if o.seconds is not None)


def _entry_time(entry: Entry) -> float:
    return datetime.fromisoformat(entry.time).timestamp() / DAY_S


def _first_use(outcomes: Sequence[Outcome]) -> Callable[[Entry], float]:
    first: dict[int, int] = {}
    for number, outcome in enumerate(outcomes):
        first.setdefault(outcome.revision, number)
    revisions = sorted(first)
    earliest = [math.inf] * (len(revisions) + 1)
    for at in range(len(revisions) - 1, -1, -1):  # outcomes close in another order than they were decided in
        earliest[at] = min(first[revisions[at]], earliest[at + 1])
    return lambda entry: earliest[bisect_left(revisions, entry.revision)]


def _steps(
    entries: Iterable[Entry], key: str, place: Callable[[Entry], float], begin: float, end: float
) -> list[Point]:
    """Return the base value of ``key`` from ``begin`` to ``end``; where it is no number the line has a gap."""
    ordered = sorted(standing(entries), key=lambda entry: entry.revision)
    mine = [(e, c) for e in ordered for c in moved(e) if c.key == key and not c.context]
    steps = [(begin, _value(mine[0][1].old))]
    for entry, change in mine:
        x = place(entry) if entry.revision > 0 else begin  # 0 stood before it was written down
        steps.append((min(max(x, begin), end), _value(change.new)))
    return [*steps, (end, steps[-1][1])]


def _number(value: object) -> bool:
    return type(value) in (int, float)


def _value(value: object) -> float:
    return float(value) if isinstance(value, int | float) and _number(value) else math.nan


def _label(entry: Entry) -> str:
    why = f": {entry.reason}" if entry.reason else ""
    text = plain(f"{entry.revision} {entry.author}{why}")
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"


def plain(text: str) -> str:
    """Return ``text`` with what cannot be printed written out; XML, too, refuses most of it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


# --- drawing ------------------------------------------------------------------------------------


def draw(what: Picture, metric: str, form: str) -> bytes:
    """Return the picture as a file's content; ``form`` is ``png`` or ``svg``."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # whatever a matplotlibrc says, TeX above all
        matplotlib.rcParams.update(LOOK)
        warnings.simplefilter("ignore", UserWarning)  # a letter that the font lacks is drawn as a box
        figure = Figure(figsize=(11, 4.2 + 1.3 * len(what.curves)), dpi=110, layout="constrained")
        heights = [1.0] * len(what.curves) + [2.2]
        column = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (key, steps) in zip(column, what.curves.items(), strict=False):
            _draw_values(axes, key, steps)
        _draw_outcomes(column[-1], what.points, metric)
        _draw_marks(list(column), what)
        _draw_axis(column[-1], what)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form, metadata=NO_DATES[form])
    return buffer.getvalue()


def _draw_values(axes: Axes, key: str, steps: Sequence[Point]) -> None:
    axes.step(*zip(*steps, strict=True), where="post", color="black", linewidth=1.3)
    axes.margins(y=0.3)
    _title(axes, key)


def _draw_outcomes(axes: Axes, points: Sequence[Point], metric: str) -> None:
    width = min(len(points), max(10, len(points) // 20), WIDEST)
    every = -(-len(points) // MOST_POINTS)
    axes.plot(*zip(*points[::every], strict=True), ".", color="0.6", markersize=3, zorder=1)
    means = _running_means(points, width, every)
    axes.plot(*zip(*means, strict=True), color="tab:blue", linewidth=1.6, zorder=3)
    axes.axhline(0, color="0.3", linewidth=0.7)
    _title(axes, f"{metric}: each outcome, and the mean of the last {width}")


def _running_means(points: Sequence[Point], width: int, every: int) -> list[Point]:
    """Return the mean of ``width`` points in a row at the last of them, of all points or every second, third …."""
    ends = range(width, len(points) + 1, every)
    return [(points[end - 1][0], math.fsum(y for _, y in points[end - width : end]) / width) for end in ends]


def _draw_marks(column: Sequence[Axes], what: Picture) -> None:
    """Draw each change as a line through all panels, labelled above."""
    for x, _ in what.marks:
        for axes in column:
            axes.axvline(x, color="tab:red", linewidth=0.8, alpha=0.6, zorder=2)
    top = column[0]
    look: Any = {"rotation": 90, "fontsize": 7, "color": "tab:red", "ha": "center", "va": "bottom"}
    for x, label in _labels(what.marks, (what.end - what.begin) * 0.018):
        top.text(x, 1.03, label, transform=top.get_xaxis_transform(), **look)


def _labels(marks: Iterable[tuple[float, str]], room: float) -> list[tuple[float, str]]:
    """Return the labels that have room; those without are counted in the one before."""
    groups: list[tuple[float, list[str]]] = []
    for x, label in sorted(marks, key=lambda mark: mark[0]):
        if groups and x - groups[-1][0] <= room:
            groups[-1][1].append(label)
        else:
            groups.append((x, [label]))
    return [(x, f"{held[0]} (+{len(held) - 1})" if len(held) > 1 else held[0]) for x, held in groups]


def _draw_axis(axes: Axes, what: Picture) -> None:
    if what.begin < what.end:
        spare = (what.end - what.begin) * 0.01
        axes.set_xlim(what.begin - spare, what.end + spare)
    if what.timed:
        axes.xaxis_date(tz="UTC")
    axes.set_xlabel("time (UTC)" if what.timed else "number of the outcome")


def _title(axes: Axes, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
    axes.text(0.008, 0.95, plain(text), transform=axes.transAxes, va="top", bbox=box, zorder=4)
