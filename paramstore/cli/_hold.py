"""Who may write, and how far: ``freeze``, ``unfreeze``, ``approve``."""

from __future__ import annotations

import click

from paramstore import ParamStore
from paramstore._as_json import entry_json, freeze_json
from paramstore._model import Entry, Freeze
from paramstore.cli._output import (
    Row,
    ago,
    at_text,
    count_of,
    patience,
    print_json,
    say,
    table,
    time_text,
    value_text,
)
from paramstore.cli._shared import author_of, author_option, json_option, reason_option, timeout_option
from paramstore.errors import InvalidFileError, UnknownParamError


@click.command(
    short_help="Refuse writes to keys, or show what is frozen.",
    epilog="Example: paramstore freeze 'signal_weights.*' --reason 'looks wrong' --until 2h",
)
@click.argument("patterns", required=False, nargs=-1, metavar="[PATTERN]")
@click.option(
    "--until", metavar="TIME", help="A time (UTC if it names no zone), or a length: 90s, 30min, 2h, 3d."
)
@author_option
@reason_option
@timeout_option
@json_option
@click.pass_obj
def freeze(
    store: ParamStore,
    *,
    patterns: tuple[str, ...],
    until: str | None,
    author: str | None,
    reason: str,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """Refuse writes to the keys that match PATTERN, at once and in every process; reads go on.

    '*' is all of them: the kill switch. A namespace or group stands for everything in it, a key for itself.
    --reason is required. Without PATTERN: show what is frozen.
    """
    if len(patterns) > 1:
        raise click.UsageError(
            f"{len(patterns)} patterns are given; did the shell expand a *? Quote it: paramstore freeze '*'"
        )
    pattern = patterns[0] if patterns else None
    if pattern is None and (reason or until or author):
        raise click.UsageError("nothing is frozen: PATTERN is missing; '*' freezes everything")
    if pattern is None:
        _show_freezes(store.freezes(), as_json)
        return
    with patience("waiting until another writer has ended its transaction"):
        entry = store.freeze(
            pattern, author=author_of(store, author), reason=reason, until=until, timeout_s=timeout_s
        )
    if as_json:
        print_json(entry_json(entry))
        return
    end = entry.details.get("until")
    say(f"frozen: {entry.details['pattern']}{_held(store, entry)}{f' until {time_text(end)}' if end else ''}")
    say(f"`paramstore unfreeze '{entry.details['pattern']}'` ends it.", "dim")


def _held(store: ParamStore, entry: Entry) -> str:
    try:
        return f" ({count_of(len(store.keys(entry.details['pattern'])), 'key')})"
    except InvalidFileError as error:  # the freeze holds all the same
        return f" (what it matches could not be checked: {error.file} is broken)"


def _overlap(store: ParamStore, ended: str, other: str) -> bool:
    try:
        return not set(store.keys(ended)).isdisjoint(store.keys(other))
    except (InvalidFileError, UnknownParamError):
        return True


def _show_freezes(freezes: tuple[Freeze, ...], as_json: bool) -> None:
    if as_json:
        print_json([freeze_json(found) for found in freezes])
    elif not freezes:
        say("nothing is frozen")
    else:
        rows = [
            Row((f.pattern, ago(f.since), time_text(f.until) if f.until else "", f.author, f.reason))
            for f in freezes
        ]
        table(("frozen", "since", "until", "~by", "~reason"), rows)


@click.command(
    short_help="End a freeze.",
    epilog="Example: paramstore unfreeze 'signal_weights.*' --reason 'was a false alarm'",
)
@click.argument("pattern")
@author_option
@reason_option
@timeout_option
@json_option
@click.pass_obj
def unfreeze(
    store: ParamStore,
    *,
    pattern: str,
    author: str | None,
    reason: str,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """End the freeze of exactly PATTERN; `paramstore freeze` shows what is frozen."""
    entry = store.unfreeze(pattern, author=author_of(store, author), reason=reason, timeout_s=timeout_s)
    if as_json:
        print_json(entry_json(entry))
    else:
        say(f"ended: the freeze of {entry.details['pattern']}")
        for still in store.freezes():
            if _overlap(store, entry.details["pattern"], still.pattern):
                say(f"still frozen: {still.pattern}, by {still.author}: {still.reason}", "yellow")


@click.command(
    short_help="Make today's values the baseline of max_drift.",
    epilog="Example: paramstore approve signal_weights --reason 'reviewed the week'",
)
@click.argument("pattern", default="*")
@author_option
@reason_option
@timeout_option
@json_option
@click.pass_obj
def approve(
    store: ParamStore,
    *,
    pattern: str,
    author: str | None,
    reason: str,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """Approve the values of the keys that match PATTERN as they stand: drift is measured from them from now on.

    --reason is required. Values that people wrote (by hand, or with --force) are approved already.
    """
    entry = store.approve(pattern, author=author_of(store, author), reason=reason, timeout_s=timeout_s)
    if as_json:
        print_json(entry_json(entry))
        return
    for item in entry.details["baselines"]:
        place = f" {at_text(item['context'])}" if "context" in item else ""
        say(f"{item['key']}{place}: {value_text(item['value'])} is approved")
    say(f"{count_of(len(entry.details['baselines']), 'baseline')} moved (revision {entry.revision})")


def entry_summary(entry: Entry) -> str:
    """Say in a few words what an entry that changes no value did."""
    details = entry.details
    if entry.kind == "refusal":
        rules = dict.fromkeys(f"{item['key']}: {item['rule']}" for item in details.get("violations", ()))
        return "refused " + "; ".join(rules)
    if entry.kind == "approve":
        return (
            f"approved {count_of(len(details.get('baselines', ())), 'value')} of {details.get('pattern', '')}"
        )
    until = f" until {time_text(details['until'])}" if details.get("until") else ""
    return f"{details.get('pattern', '')}{until}"
