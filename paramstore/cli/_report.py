"""The page as one file: ``report``."""

from __future__ import annotations

import os

import click

from paramstore import ParamStore
from paramstore._files import put_whole
from paramstore.cli._output import patience, print_json, say
from paramstore.cli._shared import json_option, needs_web, pattern_of

NEWEST = 300


@click.command(
    short_help="Write the page into one file, to send to someone.",
    epilog="Example: paramstore report out.html signal_weights --outcomes outcomes.jsonl --metric pnl",
)
@click.argument("file", metavar="FILE")
@click.argument("pattern", required=False)
@click.option(
    "--entries", "most", type=click.IntRange(min=1), default=NEWEST, show_default=True, metavar="N", help="So many of the newest entries."
)  # fmt: skip
@click.option("--outcomes", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Trades for the scorecard; see `paramstore scorecard`.")  # fmt: skip
@click.option("--metric", metavar="FIELD", help="The number in OUTCOMES to judge by.")
@json_option
@click.pass_obj
def report(
    store: ParamStore,
    *,
    file: str,
    pattern: str | None,
    most: int,
    outcomes: str | None,
    metric: str | None,
    as_json: bool,
) -> None:
    """Write the page of `paramstore serve`, as it stands now, into FILE: one HTML document that needs no server and no network.

    It holds every value, who changed it and why, reasons and evidence included: send it only to whom you would show
    the journal. PATTERN limits it to a key, a namespace, a group, or a shell-style pattern.
    """
    if bool(outcomes) != bool(metric):
        raise click.UsageError("give --outcomes and --metric together")
    with needs_web("report"):
        from paramstore.web._report import report as written
    chosen = pattern_of(store, pattern) if pattern else "*"
    judged = (outcomes, metric) if outcomes and metric else None
    with patience("asking all that the page asks") as advance:
        document = written(store, chosen, most, judged, advance)
    put_whole(os.path.abspath(file), document)
    if as_json:
        print_json({"file": file, "bytes": len(document)})
    else:
        say(f"wrote {file} ({len(document) / 1e6:.1f} MB): open it in any browser")
