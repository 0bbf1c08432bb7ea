"""Many machines: ``agent``, which keeps this one's mirror in step, and ``copy``, which moves a store."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import click

from paramstore import ParamStore
from paramstore.cli._etcd import cluster_of
from paramstore.cli._output import count_of, patience, print_json, say
from paramstore.cli._shared import dry_run_option, json_option


@click.command(
    short_help="Keep this machine's mirror of the cluster.",
    epilog="Example: paramstore agent    (under systemd: examples/paramstore-agent.service)",
)
@json_option
@click.pass_obj
def agent(store: ParamStore, *, as_json: bool) -> None:
    """Keep the mirror of the cluster that PARAMSTORE_BACKEND names in step, for every process of this machine, until SIGTERM or
    Ctrl-C.

    It says what changes, a line each (--json: an object each). Where another process keeps it, this one stands by. When the
    cluster is away it goes on trying, and readers keep the last good values.
    """
    from paramstore._agent import Agent

    Agent(cluster_of(store), _teller(as_json)).run(_stopped_by_signals())


def _stopped_by_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _teller(as_json: bool) -> Callable[[str], None]:
    """Return what prints a message as a line of a log."""

    def tell(text: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        say(json.dumps({"time": now, "message": text}) if as_json else f"{now} {text}")
        sys.stdout.flush()  # a log is read while it is written

    return tell


@click.command(
    short_help="Copy a store, with its past, to a cluster or back.",
    epilog="Example: paramstore copy . etcd://10.0.0.1:2379/trading/live",
)
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@dry_run_option
@json_option
def copy(*, source: str, target: str, dry_run: bool, as_json: bool) -> None:
    """Copy a store: SOURCE and TARGET are a directory, or etcd://HOST:PORT,.../PREFIX.

    Files, schemas and the whole journal go over as they are; TARGET must not hold a store. At the end all of it is read back,
    and compared by one digest. A copy to a cluster that was interrupted goes on when it is begun again. What is
    committed to SOURCE after the copy has begun stays behind: freeze it first (paramstore freeze '*').
    """
    from paramstore import _copy

    with patience("copying") as step:
        done = _copy.copy(source, target, os.environ, dry_run, step)
    if as_json:
        print_json(vars(done))
        return
    what = f"{count_of(done.namespaces, 'namespace')} and a journal of {count_of(done.entries, 'line')}"
    say(f"{'would copy' if dry_run else 'copied'} {what}, up to revision {done.revision}")
    if done.there:
        say(f"{count_of(done.there, 'line')} had been copied by an earlier try")
    say(f"sha256 {done.digest}" + ("" if dry_run else ": the same in both places"))
