"""Many machines: ``agent`` keeps this one's mirror in step, ``mirror`` a git work tree, and ``copy`` moves a store."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from paramstore import ParamStore
from paramstore.cli._etcd import cluster_of
from paramstore.cli._output import count_of, patience, print_json, say
from paramstore.cli._shared import dry_run_option, json_option
from paramstore.errors import ParamstoreError

if TYPE_CHECKING:
    from paramstore._git_mirror import Mirrored


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
    short_help="Keep a git work tree in step with the cluster.",
    epilog="Example: paramstore mirror /srv/parameters --sync",
)
@click.argument("directory", metavar="DIRECTORY")
@click.option("--once", is_flag=True, help="One round, then end.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Seconds between two rounds.",
)
@click.option("--by-author", is_flag=True, help="One git commit for each run of entries of one author.")
@click.option("--sync", is_flag=True, help="git pull --rebase before each round, git push after it.")
@json_option
@click.pass_obj
def mirror(
    store: ParamStore,
    *,
    directory: str,
    once: bool,
    every_s: float,
    by_author: bool,
    sync: bool,
    as_json: bool,
) -> None:
    """Keep the git work tree DIRECTORY in step with the cluster that PARAMSTORE_BACKEND names, both ways, until SIGTERM or Ctrl-C.

    What was committed in the cluster becomes git commits with the journal's messages. What was merged in git becomes a commit
    in the cluster, by its git author, judged by schemas, constraints and freezes. Where both changed the same value, or an edit is not
    committed, nothing is changed and it says so (--once: exit status 1).
    """
    from paramstore._git_mirror import GitMirror

    backend = cluster_of(store)
    rounds = GitMirror(directory, backend)
    stop, tell, told = _stopped_by_signals(), _teller(as_json), ""
    try:
        while not stop.is_set():
            try:
                words = _said(rounds.round(by_author, sync))
            except ParamstoreError as error:
                if once:
                    raise
                words = str(error)
            if words and words != told:
                tell(words)
            told = words
            if once or stop.wait(every_s):
                return
    finally:
        backend.close()


def _said(done: Mirrored) -> str:
    said = []
    if done.pushed:
        said.append(
            f"{', '.join(done.pushed)} to the cluster"
            + (f" as revision {done.revision}" if done.revision is not None else "")
        )
    if done.taken:
        said.append(f"{count_of(done.taken, 'line')} of the journal taken over")
    said += [f"git commit {commit.commit[:10]}" for commit in done.commits]
    return "; ".join(said)


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
