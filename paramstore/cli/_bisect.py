"""Which revision made a command fail: ``bisect``."""

from __future__ import annotations

import sys
from typing import Any

import click

from paramstore import ParamStore
from paramstore._as_json import entry_json
from paramstore._bisect import Found, Trial
from paramstore._model import Entry
from paramstore.cli._output import (
    change_text,
    count_of,
    legible,
    place_text,
    print_json,
    put,
    say,
    time_text,
)
from paramstore.cli._shared import json_option


@click.command(
    short_help="Find the revision that made a command fail.",
    epilog="Example: paramstore bisect 12 40 -- python -m backtest --at-least 0.2",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@json_option
@click.argument("good")
@click.argument("bad")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
@click.pass_context
def bisect(ctx: click.Context, good: str, bad: str, command: tuple[str, ...], as_json: bool) -> None:
    """Find the revision after which COMMAND fails, by binary search between revisions or times GOOD and BAD.

    COMMAND runs with PARAMSTORE_ROOT leading to a temporary store with the values of a revision; the real one is never
    touched. It ends with 0 where all is good, with 1 to 127 where it is bad, with 125 where it cannot tell; anything else
    stops the search. What it prints goes to standard error.
    """
    store: ParamStore = ctx.obj
    words = command[1:] if command[:1] == ("--",) else command
    if not words:
        raise click.UsageError("which command? Write it after `--`")
    try:
        found = store.bisect(good, bad, words, tell=_tell)
    except (FileNotFoundError, PermissionError) as error:
        raise click.UsageError(f"{words[0]} cannot be run: {error.strerror}") from None
    if as_json:
        print_json(_found_json(found))
    else:
        _show(found)
    if found.suspects:
        ctx.exit(1)


def _tell(trial: Trial) -> None:
    left = f"; {count_of(trial.left, 'revision')} left" if trial.left > 1 else ""
    why = f" ({trial.why})" if trial.why else ""
    put(legible(f"revision {trial.revision}: {trial.verdict}{why}{left}", sys.stderr), sys.stderr)
    sys.stderr.flush()


def _show(found: Found) -> None:
    if found.suspects:
        say("skipped revisions stand before the first bad one that is known; it is one of these:", "yellow")
    else:
        say(f"revision {found.first_bad.revision} is the first bad one", "bold")
    for entry in (*found.suspects, found.first_bad):
        _show_entry(entry)
    skipped = sum(trial.verdict == "skip" for trial in found.trials)
    say(f"{count_of(len(found.trials), 'run')}, {skipped} skipped")


def _show_entry(entry: Entry) -> None:
    reason = f": {entry.reason}" if entry.reason else ""
    say(f"  revision {entry.revision}, {time_text(entry.time)}, {entry.kind} by {entry.author}{reason}")
    for change in entry.changed:
        say(f"    {place_text(change.key, change.context)}: {change_text(change)}")


def _found_json(found: Found) -> dict[str, Any]:
    return {
        "first_bad": entry_json(found.first_bad) if not found.suspects else None,
        "suspects": [entry_json(entry) for entry in (*found.suspects, found.first_bad)]
        if found.suspects
        else [],
        "trials": [
            {"revision": trial.revision, "verdict": trial.verdict, "why": trial.why} for trial in found.trials
        ],
    }
