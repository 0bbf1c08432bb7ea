"""Which entry each line of a values file comes from: ``blame``."""

from __future__ import annotations

from typing import Any

import click

from paramstore import ParamStore
from paramstore._model import Blame
from paramstore.cli._output import patience, print_json, say, time_text
from paramstore.cli._shared import json_option

BY_HAND = "edited by hand, not yet recorded"
LONGEST_REASON = 40  # characters; --json and `history` have all of it


@click.command(
    short_help="Show which entry each line of a values file comes from.",
    epilog="Example: paramstore blame signal_weights, or paramstore blame signal_weights.funding",
)
@click.argument("what", nargs=-1, required=True, metavar="FILE|NAMESPACE|KEY...")
@json_option
@click.pass_obj
def blame(store: ParamStore, what: tuple[str, ...], as_json: bool) -> None:
    """Show the lines of values files, each with the revision, date, author and reason of its value.

    A key or pattern stands for its own lines. A value that never changed shows the entry where the journal, or the
    namespace, begins.
    """
    with patience("reading the journal"):
        lines = store.blame(*what)
    if as_json:
        print_json([_line_json(line) for line in lines])
        return
    notes = [_note(line) for line in lines]
    width = max(map(len, notes), default=0)
    digits = max((len(str(line.line)) for line in lines), default=0)
    several, file = len({line.file for line in lines}) > 1, ""
    for line, note in zip(lines, notes, strict=True):
        if several and line.file != file:
            say(file := line.file, "bold")
        style = "yellow" if line.by_hand else ""
        say(f"{note.ljust(width)} {str(line.line).rjust(digits)}) {line.text}".rstrip(), style)


def _note(line: Blame) -> str:
    if line.by_hand:
        return BY_HAND
    if line.revision is None:
        return ""
    reason = line.reason
    if len(reason) > LONGEST_REASON:
        reason = reason[: LONGEST_REASON - 1] + "…"
    return f"{line.revision:>5} {time_text(line.time)} {line.author}" + (f": {reason}" if reason else "")


def _line_json(line: Blame) -> dict[str, Any]:
    data: dict[str, Any] = {"file": line.file, "line": line.line, "text": line.text, "key": line.key}
    if line.key is not None:
        data |= {"context": dict(line.context), "edited_by_hand": line.by_hand}
        known = {name: getattr(line, name) for name in ("revision", "time", "kind", "author", "reason")}
        data["entry"] = known if line.revision is not None else None
    return data
