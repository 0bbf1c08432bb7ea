"""What came of each change: ``scorecard``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import click

from paramstore import ParamStore
from paramstore._as_json import scorecard_json
from paramstore._intervals import Interval, Tally, wilson
from paramstore._model import Change, Entry
from paramstore._scorecard import (
    TIME_FIELDS,
    UNKNOWN,
    Comparison,
    Fields,
    Gathered,
    Scorecard,
    gather,
    known_revisions,
    read,
    scorecard,
)
from paramstore.cli._output import (
    Row,
    change_text,
    count_of,
    patience,
    place_text,
    print_json,
    say,
    table,
)
from paramstore.cli._shared import json_option, pattern_of
from paramstore.errors import InvalidFileError, ParamstoreError

SHOWN = 3  # changes of one entry, and revisions it is shared with, that its line spells out
SHOWN_PROBLEMS = 5
LINES_A_STEP = 10_000  # of progress
STYLES = {"better": "green", "worse": "red", "cannot tell": ""}
RULE = (
    "before: outcomes since the previous change of one of the same keys. after: outcomes until the next one. "
    "The verdict is about the mean."
)
MIXED = (
    "several digests: at one revision decisions saw different values (a context, the environment, "
    "an override in the process, an edit by hand)"
)


@click.command(
    "scorecard",
    short_help="Judge each change by the outcomes before and after it.",
    epilog="Example: paramstore scorecard outcomes.jsonl --metric pnl --plot pnl.png",
)
@click.argument("outcomes", metavar="OUTCOMES")
@click.option("--metric", required=True, metavar="FIELD", help="The number to judge by; dots lead inward.")
@click.option(
    "--revision-field", default="params_revision", metavar="FIELD", help="Where the stamp's revision is."
)
@click.option(
    "--time-field",
    metavar="FIELD",
    help="When it was closed, for --plot. Default: time, timestamp or closed_at.",
)
@click.option("--key", "pattern", metavar="PATTERN", help="Only changes of these keys.")
@click.option(
    "--level",
    type=click.FloatRange(0.5, 0.9999),
    default=0.95,
    show_default=True,
    help="With which all verdicts together hold.",
)
@click.option(
    "--min-count",
    type=click.IntRange(min=2),
    default=20,
    show_default=True,
    help="Outcomes that each side must have.",
)
@click.option("--plot", metavar="FILE", help="Draw values and outcomes over time: a .png or .svg.")
@json_option
@click.pass_obj
def scorecard_(
    store: ParamStore,
    outcomes: str,
    metric: str,
    revision_field: str,
    time_field: str | None,
    pattern: str | None,
    level: float,
    min_count: int,
    plot: str | None,
    as_json: bool,
) -> None:
    """Judge each change by the outcomes before and after it.

    OUTCOMES (- for stdin) has one JSON object a line, with what `stamp()` gave when the trade was decided and
    the metric of how it ended. Says "cannot tell" where the outcomes cannot.
    """
    plotter = _plotter(plot) if plot is not None else None
    chosen = pattern_of(store, pattern) if pattern else "*"
    times = () if plotter is None else (time_field,) if time_field else TIME_FIELDS
    with patience("reading the journal"):
        entries = store.history()
    with patience("reading outcomes") as advance:
        found = read(
            _lines(outcomes, advance), Fields(metric, revision_field, times), known_revisions(entries)
        )
        gathered = gather(found, keep=plotter is not None)
    _require_joined(gathered, outcomes)
    card = scorecard(entries, gathered.tallies, level=level, min_count=min_count, pattern=chosen)
    drawn = _draw(plotter, plot, entries, gathered, card, metric, chosen) if plotter and plot else []
    if as_json:
        print_json(
            scorecard_json(gathered, card, metric, min_count)
            | ({"plot": plot, "drawn": drawn} if plot else {})
        )
        return
    _show_gathered(gathered)
    _show_revisions(gathered, level)
    _show_changes(card)
    if plot:
        say(f"wrote {plot}{': ' if drawn else ''}{', '.join(drawn)}")


# --- input --------------------------------------------------------------------------------------


def _lines(file: str, advance: Any) -> Iterator[bytes]:
    with click.open_file(file, "rb") as stream:
        for number, line in enumerate(stream):
            if number % LINES_A_STEP == 0:
                advance()
            yield line


def _require_joined(gathered: Gathered, file: str) -> None:
    """Raise ``InvalidFileError`` where no line is an outcome, ``ParamstoreError`` where none could be joined."""
    if gathered.joined:
        return
    where = "stdin" if file == "-" else file
    if not gathered.problems:
        raise ParamstoreError(f"{where}: there are no outcomes in it.")
    said = "\n".join(_problem_lines(gathered))
    if gathered.kinds[UNKNOWN]:
        raise ParamstoreError(f"{where}: no outcome could be joined to the journal.\n{said}")
    raise InvalidFileError(where, f"no line is an outcome.\n{said}")


def _problem_lines(gathered: Gathered) -> list[str]:
    shown = [f"  line {problem.line:,}: {problem.text}" for problem in gathered.problems[:SHOWN_PROBLEMS]]
    more = gathered.kinds.total() - len(shown)
    return [*shown, *([f"  and {count_of(more, 'more line')}"] if more else [])]


# --- the drawing --------------------------------------------------------------------------------


def _plotter(file: str) -> ModuleType:
    """Return the module that draws. Raises ``click.ClickException`` for another format, or without matplotlib."""
    if os.path.splitext(file)[1].lower() not in (".png", ".svg"):
        raise click.UsageError(f"--plot {file}: name a .png or .svg file")
    try:
        from paramstore import _plot
    except ImportError as error:
        raise click.ClickException(f"--plot needs matplotlib: install paramstore[plot] ({error})") from None
    return _plot


def _draw(
    plotter: ModuleType,
    file: str,
    entries: list[Entry],
    gathered: Gathered,
    card: Scorecard,
    metric: str,
    pattern: str,
) -> list[str]:
    """Write the drawing, and return the keys whose values are in it."""
    keys: list[str] = plotter.keys_to_draw(entries, pattern)[: plotter.MOST_KEYS]
    with patience("drawing"):
        picture = plotter.picture(entries, gathered.outcomes, card.comparisons, keys)
        content = plotter.draw(picture, metric, os.path.splitext(file)[1][1:].lower())
    with open(file, "wb") as stream:
        stream.write(content)
    return keys


# --- for people ---------------------------------------------------------------------------------


def _show_gathered(gathered: Gathered) -> None:
    joined = count_of(gathered.joined, "outcome")
    say(f"{joined}, of {count_of(len(gathered.tallies), 'revision')}")
    if gathered.kinds:
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in gathered.kinds.most_common())
        say(f"{count_of(gathered.kinds.total(), 'line')} left out: {kinds}", "yellow")
        for line in _problem_lines(gathered):
            say(line, "yellow")
    say()


def _show_revisions(gathered: Gathered, level: float) -> None:
    rows = [
        Row((str(revision), *_tally_cells(tally, level), _digests_text(gathered.digests.get(revision))))
        for revision, tally in sorted(gathered.tallies.items())
    ]
    columns = (
        ">revision",
        ">outcomes",
        ">mean",
        ">deviation",
        ">win rate",
        f"interval at {level:g}",
        "~note",
    )
    table(columns, rows)
    if any(len(digests) > 1 for digests in gathered.digests.values()):
        say(MIXED, "yellow")
    say()


def _tally_cells(tally: Tally, level: float) -> tuple[str, ...]:
    low, high = wilson(tally.wins, tally.count, level)
    return (
        f"{tally.count:,}",
        f"{tally.mean:.4g}",
        "" if tally.deviation is None else f"{tally.deviation:.4g}",
        f"{tally.wins / tally.count:.1%}",
        f"{low:.1%} … {high:.1%}",
    )


def _digests_text(digests: Counter[str] | None) -> str:
    return f"{len(digests)} digests" if digests is not None and len(digests) > 1 else ""


def _show_changes(card: Scorecard) -> None:
    seen = [c for c in card.comparisons if c.before.count or c.after.count]
    rows = [_change_row(comparison) for comparison in seen]
    columns = (
        ">revision", "~changes", ">before", ">after", "mean difference", "win rate difference", "verdict", "~because",
        "~author", "~reason",
    )  # fmt: skip
    if rows:
        table(columns, rows)
        say(RULE, "dim")
    silent = len(card.comparisons) - len(seen)
    if silent:
        say(f"{count_of(silent, 'change')} without outcomes before or after", "dim")
    if card.compared:
        say(_level_text(card), "dim")
    else:
        say("no change has enough outcomes on both sides")


def _level_text(card: Scorecard) -> str:
    changes = count_of(card.compared, "change")
    return f"level {card.level:g} across {changes}: each interval is at {card.adjusted:.6g}"


def _change_row(found: Comparison) -> Row:
    mean = found.after.mean - found.before.mean if found.mean else 0.0
    cells = (
        str(found.entry.revision),
        _changes_text(found.changes),
        f"{found.before.count:,}",
        f"{found.after.count:,}",
        _interval_text(mean, found.mean),
        _interval_text(100 * (found.win_rate_difference or 0.0), _points(found.win_rate), " points"),
        found.verdict,
        "; ".join(filter(None, (found.why, _shared_text(found.shared)))),
        found.entry.author,
        found.entry.reason,
    )
    return Row(cells, STYLES[found.verdict])


def _changes_text(changes: Sequence[Change]) -> str:
    said = [f"{place_text(c.key, c.context)} {change_text(c)}" for c in changes[:SHOWN]]
    more = len(changes) - SHOWN
    return ", ".join(said) + (f", and {more} more" if more > 0 else "")


def _interval_text(difference: float, interval: Interval | None, unit: str = "") -> str:
    if interval is None:
        return ""
    low, high = interval
    return f"{difference:+.3g} ({low:+.3g} … {high:+.3g}){unit}"


def _points(interval: Interval | None) -> Interval | None:
    return None if interval is None else (100 * interval[0], 100 * interval[1])


def _shared_text(shared: Sequence[int]) -> str:
    if not shared:
        return ""
    more = f" and {len(shared) - SHOWN} more" if len(shared) > SHOWN else ""
    word = "revision" if len(shared) == 1 else "revisions"
    return f"shared with {word} {', '.join(map(str, shared[:SHOWN]))}{more}"
