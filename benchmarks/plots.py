"""Drawings of the tables, as SVG: equal figures give equal bytes, and a reader's dark page gets a dark drawing."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.figures import OURS, RESOLUTION_S, Series, Spread, amount
from benchmarks.harness import Line, Row, by_section, quantity, times

PAPER, INK, FAINT, OUR_COLOUR, THEIR_COLOUR = "#ffffff", "#24292f", "#c4c9cf", "#c2410c", "#47709b"
COLOURS = (OUR_COLOUR, "#2563a8", "#2e7d4f", "#7a4fa3", "#8a6d1a")
SIGNS = "osD^v"
FEW_DECADES, MOST_TICKS = 30, 5  # of a logarithmic axis
LOOK: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",  # letters stay letters: smaller, and to be searched
    "svg.hashsalt": "paramstore",  # equal drawings, equal bytes
    "font.size": 9.0,
    "figure.labelsize": 8.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.framealpha": 0.0,
}
DARK = {PAPER: "#1e2129", INK: "#e2e4e9", FAINT: "#4a4f5c", OUR_COLOUR: "#fb923c"} | {
    "#47709b": "#8fb8e0", "#2563a8": "#79b0ee", "#2e7d4f": "#74c69a", "#7a4fa3": "#c3a1e6", "#8a6d1a": "#dcc06a"
}  # fmt: skip
NO_DATE: Any = {"Date": None, "Creator": None}
DRAWN = re.compile(r"Other libraries: (?!memory)|Durable commit|Freshness|Growth|Commits per|Reads per")


def drawn(lines: Iterable[Line], folder: Path) -> dict[str, str]:
    """Draw each table that has a drawing into ``folder``; the file's name by its heading."""
    found = {}
    folder.mkdir(parents=True, exist_ok=True)
    for section, those in by_section(lines).items():
        if DRAWN.match(section) and (figure := _figure(section, those)) is not None:
            name = re.sub(r"[^a-z0-9]+", "-", section.lower()).strip("-") + ".svg"
            (folder / name).write_text(figure, encoding="utf-8")
            found[section] = name
    return found


def _figure(section: str, lines: Sequence[Line]) -> str | None:
    rows = [line for line in lines if isinstance(line, Row) and line.ratio]
    spreads = [line for line in lines if isinstance(line, Spread) and line.count]
    courses = [line for line in lines if isinstance(line, Series) and line.points]
    with matplotlib.rc_context(LOOK):
        if rows:
            return _svg(section, len(rows) + 1, lambda axes: _ratios(axes, rows))
        if spreads:
            return _svg(section, len(spreads) + 1, lambda axes: _spreads(axes, spreads))
        if courses:
            return _svg(section, 12, lambda axes: _courses(axes, courses))
    return None


def _ratios(axes: Any, rows: Sequence[Row]) -> None:
    """A point for each median ratio, with a line through the middle half; the fastest on top."""
    base = Row("", rows[0].baseline, ratio=1.0, q1=1.0, q3=1.0)
    ordered = sorted([*rows, base], key=lambda row: -(row.ratio or 0))
    for place, row in enumerate(ordered):
        axes.plot([row.q1, row.q3], [place, place], color=_colour(row.name), linewidth=2)
        axes.plot([row.ratio], [place], "o", color=_colour(row.name))
    _names(axes, [row.name for row in ordered])
    axes.axvline(1, color=INK, linewidth=0.8)
    _logarithmic(axes.xaxis, times)
    axes.figure.supxlabel(f"ratio to {_bare(rows[0].baseline)}; less is better; line: the middle half")


def _spreads(axes: Any, spreads: Sequence[Spread]) -> None:
    """From the median to the longest, over logarithmic seconds; what took no time stands at the left edge."""
    ordered = sorted(spreads, key=lambda spread: -spread.p90)
    least = RESOLUTION_S
    for place, spread in enumerate(ordered):
        marks = [max(figure, least) for figure in (spread.p50, spread.p90, spread.p99, spread.most)]
        axes.plot(marks, [place] * len(marks), color=_colour(spread.name), linewidth=1)
        for mark, sign in zip(marks, ("o", "|", "|", "x"), strict=True):
            axes.plot([mark], [place], sign, color=_colour(spread.name))
    _names(axes, [spread.name for spread in ordered])
    _logarithmic(axes.xaxis, lambda tick: quantity(tick, "s"))
    axes.figure.supxlabel("time since the acknowledgement; point: median; bars: p90, p99; cross: the longest")


def _courses(axes: Any, courses: Sequence[Series]) -> None:
    for place, course in enumerate(courses):
        sizes = list(course.points)
        low, middle, high = (list(figures) for figures in zip(*course.points.values(), strict=True))
        colour, sign = COLOURS[place % len(COLOURS)], SIGNS[place % len(SIGNS)]
        axes.plot(sizes, middle, f"{sign}-", color=colour, label=_bare(course.name), markersize=4)
        axes.fill_between(sizes, low, high, color=colour, alpha=0.2, linewidth=0)
    unit = courses[0].unit
    _logarithmic(axes.xaxis, "{:,.0f}".format)
    _logarithmic(axes.yaxis, lambda tick: amount(tick, unit))
    axes.set_xticks(sizes)
    axes.set_xlabel("processes" if unit == "/s" else "parameters")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16), ncols=2, fontsize=8)


def _logarithmic(axis: Any, words: Callable[[float], str]) -> None:
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    subs = (1.0,) if high > FEW_DECADES * low else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=MOST_TICKS))
    axis.set_major_formatter(lambda tick, _: words(tick))
    axis.set_minor_formatter(NullFormatter())


def _bare(name: str) -> str:
    return name.replace("`", "")


def _names(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_bare(name) for name in names])
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(OUR_COLOUR if name.startswith(OURS) else INK)
    axes.grid(axis="y", visible=False)


def _colour(name: str) -> str:
    return OUR_COLOUR if name.startswith(OURS) else THEIR_COLOUR


def _svg(section: str, lines: int, draw: Callable[[Any], None]) -> str:
    figure = Figure(figsize=(8.0, 1.0 + 0.26 * lines), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(section, loc="left", fontsize=10)
    draw(axes)
    into = io.StringIO()
    figure.savefig(into, format="svg", metadata=NO_DATE)
    return _with_dark(into.getvalue(), DARK)


def _with_dark(svg: str, colours: Mapping[str, str]) -> str:
    """Add what a browser takes instead of each colour where its reader has chosen dark pages."""
    rules = [
        f'[style*="{kind}: {light}"] {{ {kind}: {dark} !important }}'
        for light, dark in colours.items()
        for kind in ("fill", "stroke")
    ]
    style = "<style>@media (prefers-color-scheme: dark) {" + " ".join(rules) + "}</style>"
    return re.sub(r"(<svg[^>]*>)", rf"\1\n {style}", svg, count=1)
