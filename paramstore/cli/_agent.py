"""Many machines: ``agent`` keeps this one's mirror in step, ``mirror`` a branch of git, and ``copy`` moves a store."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from paramstore import ParamStore
from paramstore._looked import cluster_of
from paramstore.cli._output import count_of, patience, print_json, say
from paramstore.cli._shared import dry_run_option, json_option
from paramstore.errors import ParamstoreError

if TYPE_CHECKING:
    from paramstore._git_mirror import Round


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

    def tell(text: str) -> None:
        _tell(text, {"message": text} if as_json else None)

    Agent(cluster_of(store), tell).run(_stopped_by_signals())


def _stopped_by_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _tell(text: str, data: Mapping[str, Any] | None) -> None:
    """Print a message as a line of a log, or as an object with ``data``."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    say(f"{now} {text}" if data is None else json.dumps({"time": now, **data}))
    sys.stdout.flush()  # a log is read while it is written


@click.command(
    short_help="Keep a branch of git in step with the cluster.",
    epilog="Example: paramstore mirror /srv/parameters --branch main --remote origin",
)
@click.argument("repository", metavar="REPOSITORY")
@click.option("--branch", metavar="NAME", required=True, help="The branch in which values are reviewed.")
@click.option("--remote", metavar="NAME", help="The branch is that of this remote: fetch it, and push to it.")
@click.option("--within", metavar="FOLDER", default=".", help="Where in the repository the store is.")
@click.option(
    "--moved", is_flag=True, help="The store was copied here from another cluster or prefix; needed once."
)
@click.option("--once", is_flag=True, help="One round, then end.")
@click.option("--every", "every_s", type=click.FloatRange(min=0.1), default=60.0, show_default=True, metavar="S",
              help="Seconds between two rounds.")  # fmt: skip
@json_option
@click.pass_obj
def mirror(
    store: ParamStore, *, repository: str, branch: str, remote: str | None, within: str, moved: bool, once: bool, every_s: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Keep a branch of the git repository REPOSITORY in step with the cluster that PARAMSTORE_BACKEND names, both ways, until
    SIGTERM or Ctrl-C.

    What was committed in the cluster becomes git commits with the journal's words. What was merged in git becomes a commit in
    the cluster, judged by schemas, constraints and freezes. What a person has to decide or mend is held back, with all that came into git
    after it; that is told once, and what stands in the cluster is shown on the branch NAME-cluster (--once: exit status 1 or 2).
    """
    from paramstore._git_branch import Branch
    from paramstore._git_mirror import GitMirror

    backend = cluster_of(store)
    rounds = GitMirror(Branch(repository, branch, remote, within), backend, moved)
    stop, told = _stopped_by_signals(), ""
    try:
        while not stop.is_set():
            try:
                done = rounds.round()
                words, data, lasts = _said(done), vars(done), done.behind
                new = bool(done.commits) or lasts != told
            except (ParamstoreError, OSError) as error:  # a disk that is full, for one
                if once:
                    raise
                words, data, lasts = str(error), {"error": str(error)}, str(error)
                new = lasts != told
            if new:
                _tell(words or "in step again", data if as_json else None)
            told = lasts
            if once or stop.wait(every_s):
                return
    finally:
        backend.close()


def _said(done: Round) -> str:
    said = []
    if done.revision is not None:
        said.append(f"{', '.join(done.proposed)} to the cluster as revision {done.revision}")
    if done.commits:
        what = f"{count_of(done.entries, 'line')} of the journal" if done.entries else "where both agree"
        said.append(f"{what} to git as {', '.join(commit[:10] for commit in done.commits[-5:])}")
    if done.behind:
        said.append(f"the work tree stays behind: {done.behind}")
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
