"""What stood before: ``history``."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase

import click

from paramstore import ParamStore
from paramstore._as_json import change_json, entry_json
from paramstore._model import ABSENT, Change, Entry
from paramstore._records import VALUELESS
from paramstore.cli._chart import step_chart
from paramstore.cli._hold import entry_summary
from paramstore.cli._output import (
    Row,
    can_draw,
    change_text,
    parse_time,
    patience,
    place_text,
    print_json,
    say,
    table,
    time_text,
    value_text,
)
from paramstore.cli._shared import json_option, pattern_of

SHOWN = 3  # changes of one entry that its line spells out
WIDTH, HEIGHT = 60, 8  # of the chart, in characters
UNRECORDED = "not yet recorded: edited by hand"


@click.command(
    short_help="Show who changed what, when and why.",
    epilog="Example: paramstore history signal_weights.funding --limit 20",
)
@click.argument("pattern", required=False, metavar="[KEY|PATTERN]")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N entries.")
@click.option("--since", type=click.IntRange(min=0), metavar="REV", help="Only entries after revision REV.")
@click.option("--refused", is_flag=True, help="Also what was refused, and by which rule.")
@json_option
@click.pass_obj
def history(
    store: ParamStore, pattern: str | None, limit: int | None, since: int | None, refused: bool, as_json: bool
) -> None:
    """Show who changed what, when and why: one line per entry, the newest last.

    With a single KEY, its value over time is drawn as well. Edits by hand that no revision holds yet
    come at the very end.
    """
    chosen = pattern_of(store, pattern) if pattern else None
    with patience("reading the journal"):
        newest = limit if since is None else None
        entries = _after(store.history(chosen, refused=refused, newest=newest), since)
        pending = [c for c in store.pending() if chosen is None or fnmatchcase(c.key, chosen)]
    entries = entries[-limit:] if limit is not None else entries
    if as_json:
        recorded = [entry_json(entry) for entry in entries]
        print_json({"entries": recorded, "pending": [change_json(change) for change in pending]})
        return
    single = chosen if chosen in store.snapshot().values else None
    if not entries and not pending:
        say("nothing is recorded yet" if chosen is None else f"nothing is recorded of {pattern}")
        return
    _show_entries(entries, pending, single)
    if single is not None:
        _show_chart(entries, pending, single)


def _after(entries: list[Entry], since: int | None) -> list[Entry]:
    """Return what came after revision ``since``: entries without a revision of their own as well."""
    if since is None:
        return entries
    return [e for e in entries if e.revision > since or (e.revision == since and e.kind in VALUELESS)]


def _show_entries(entries: list[Entry], pending: list[Change], single: str | None) -> None:
    rows = [
        Row((str(e.revision), time_text(e.time), _kind(e), e.author, _told(e, single), e.reason))
        for e in entries
    ]
    if pending:
        rows.append(Row(("", "", "", "", _summary(tuple(pending), single), UNRECORDED), "yellow"))
    table((">revision", "time", "kind", "~author", "~changes", "~reason"), rows)


def _kind(entry: Entry) -> str:
    return f"{entry.kind}, forced" if entry.details.get("forced") else entry.kind


def _told(entry: Entry, single: str | None) -> str:
    return _summary(entry.changes, single) if entry.changes else entry_summary(entry)


def _summary(changes: tuple[Change, ...], single: str | None) -> str:
    if len(changes) > SHOWN and all(change.old is ABSENT for change in changes):
        return f"{len(changes)} values, as first recorded"
    said = [
        f"{place_text(change.key, change.context).removeprefix(single or '').lstrip()} {change_text(change)}"
        for change in changes[:SHOWN]
    ]
    more = len(changes) - SHOWN
    return ", ".join(map(str.strip, said)) + (f", and {more} more" if more > 0 else "")


def _show_chart(entries: list[Entry], pending: list[Change], key: str) -> None:
    """Draw the base value of ``key``, if it is a number that moved."""
    now = datetime.now(UTC)
    recorded = [(parse_time(e.time).timestamp(), c) for e in entries for c in e.changes]
    points = [(moment, c.new) for moment, c in recorded if c.key == key and not c.context]
    points += [(now.timestamp(), c.new) for c in pending if not c.context]
    points = [(moment, value) for moment, value in points if type(value) in (int, float)]
    if len(points) < 2:
        return
    lines = step_chart(points, now.timestamp(), WIDTH, HEIGHT, can_draw())
    values = [value for _, value in points]
    labels = {0: value_text(max(values)), len(lines) - 1: value_text(min(values))}
    margin = max(map(len, labels.values()))
    say()
    for index, line in enumerate(lines):
        say(f"{labels.get(index, '').rjust(margin)} {'│' if can_draw() else '|'}{line}")
    first = time_text(datetime.fromtimestamp(points[0][0], UTC).isoformat())
    last = time_text(now.isoformat())
    say(f"{' ' * margin}  {first}{last.rjust(WIDTH - len(first))}")
