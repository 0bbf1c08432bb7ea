# ruff: noqa: T201 - a command line
"""``python -m benchmarks.etcd_clients``: clients of etcd beside one another, in one run on one real server with its data in
memory; ``--docs`` lays the tables into the page. A candidate that is not installed, fails or hangs has a row that says so."""

from __future__ import annotations

import argparse
import math
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import quiet
from benchmarks.etcd_candidates import CANDIDATES, GUARD, OURS
from benchmarks.etcd_children import ANSWER_S, PREFIX, Child, children, knock, put
from benchmarks.etcd_page import ROOT, Line, can_start, parser, publish
from benchmarks.harness import Case, compare, process, quantity, times
from benchmarks.startup import bare

if TYPE_CHECKING:
    from etcd_servers import Cluster

PROGRAM = "benchmarks.etcd_clients"
PAGE = ROOT / "docs" / "etcd-clients.md"
AFTER, MEANWHILE = range(50), range(100, 125)  # the changes after a restart, and those before it
EVENT_S, SILENT_S = 2.0, 8.0  # how long one change, and all of them, are waited for

VERSION, SIZE, IMPORT, COMMIT, READ, P50, P99 = (
    "version", "on disk (packages)", "import, to a bare Python", "transaction, to grpcio's", "read, to grpcio's",
    "acknowledged to seen: p50", "p99",
)  # fmt: skip
ALONE, LOOPED, MISSED, COMPACTED = (
    "its watch alone: of 50 changes after the restart", "with the loop: of these 50", "of 25 made while it was cut off",
    "begun at a revision that is compacted",
)  # fmt: skip
REVISIONS, TLS, PASSWORD, ENDPOINTS = (
    "tells revisions, begins at one", "TLS with client certificates", "user and password", "several endpoints"
)  # fmt: skip
SECTIONS = {
    "What it costs": (VERSION, SIZE, IMPORT, COMMIT, READ, P50, P99),
    "What its watch does": (ALONE, LOOPED, MISSED, COMPACTED),
    "What it offers": (REVISIONS, TLS, PASSWORD, ENDPOINTS),
}
Found = dict[str, dict[str, str]]  # name, column, what stands in it


@dataclass(frozen=True, slots=True)
class Plan:
    """How often: ``turns`` of ``calls``, starts of a process, changes that are watched, restarts of the server."""

    turns: int = 30
    calls: int = 20
    starts: int = 20
    changes: int = 500
    restarts: int = 3


QUICK = Plan(2, 5, 1, 5, 1)


# -- what it costs ----------------------------------------------------------------------------------------


def installed(distributions: Sequence[str]) -> tuple[int, int]:
    """Return how many packages these are with all that they need, and their bytes without bytecode."""
    found: dict[str, int] = {}
    wanted = list(distributions)
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        with suppress(metadata.PackageNotFoundError):  # needed on other Pythons only
            if name not in found:
                files = [
                    Path(str(file.locate())) for file in metadata.files(name) or () if file.suffix != ".pyc"
                ]
                found[name] = sum(file.stat().st_size for file in files if file.is_file())
                needs = [need for need in metadata.requires(name) or () if "extra ==" not in need]
                wanted += [re.split(r"[^\w.-]", need)[0] for need in needs]
    return len(found), sum(found.values())


def imports(names: Sequence[str], plan: Plan, found: Found) -> None:
    cases = [
        Case(name, process(f"import {CANDIDATES[name].module}", {**os.environ, **CANDIDATES[name].environ}))
        for name in names
    ]
    for row in compare(IMPORT, bare(), cases, plan.starts):
        found[row.name][IMPORT] = f"{times(row.ratio)} ({quantity(row.absolute, 's')})"


def calls(cluster: Cluster, names: Sequence[str], plan: Plan, found: Found) -> None:
    with children(names, cluster) as made:
        by_name = dict(zip(names, made, strict=True))
        for column, order in ((COMMIT, "commit"), (READ, "read")):
            cases = [Case(name, partial(child.seconds, order, plan.calls)) for name, child in by_name.items()]
            mixed = random.sample(cases, len(cases))  # else ours would always be measured twice in a row
            for row in compare(column, cases[0], mixed, plan.turns):
                figure = f"{times(row.ratio)} ({quantity(row.absolute, 's')})"
                found[row.name][column] = by_name[row.name].problem or figure


def delays(cluster: Cluster, names: Sequence[str], plan: Plan, found: Found) -> None:
    """From a change acknowledged by one process to the event in another's watch; each watch is woken by its own alone."""
    seen: dict[str, list[float]] = {name: [] for name in names}
    client = cluster.client()
    with children(names, cluster) as made:
        watching = []
        for name, child in zip(names, made, strict=True):
            child.order("follow", f"{PREFIX}{name}/", 0)
            if knock(cluster, child, f"{PREFIX}{name}/"):
                watching.append((name, child))
        for number in range(plan.changes):
            for name, child in random.sample(
                watching, len(watching)
            ):  # nobody always comes after the same one
                client.write([], [(f"{PREFIX}{name}/key".encode(), str(number).encode())], [], [], ANSWER_S)
                acknowledged = time.monotonic()
                while (said := child.hear(EVENT_S)) is not None and said.get("saw") != number:
                    pass
                seen[name].append(said["at"] - acknowledged if said else math.inf)
    client.close()
    for name, spent in seen.items():
        cuts = statistics.quantiles(spent, n=100, method="inclusive") if spent else [math.inf] * 99
        found[name] |= {P50: delay(cuts[49]), P99: delay(cuts[98])}


def delay(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms" if math.isfinite(seconds) else "silent"


# -- what its watch does ----------------------------------------------------------------------------------


def restarts(cluster: Cluster, names: Sequence[str], plan: Plan, found: Found) -> None:
    rounds = [_restart(cluster, names) for _ in range(plan.restarts)]
    for place, name in enumerate(names):
        alone = [said[2 * place] for said in rounds]
        looped = [said[2 * place + 1] for said in rounds]
        ends = [str(line["ended"]) for said in alone for line in said if "ended" in line]
        told = word(ends[0]) if ends else "silent"
        found[name] |= {
            ALONE: f"{count(alone, AFTER)} ({told})",
            LOOPED: count(looped, AFTER),
            MISSED: count(looped, MEANWHILE),
        }


def _restart(cluster: Cluster, names: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Kill the server while all watch, once alone and once in the loop; what each then said."""
    from etcd_servers import free_ports

    [server] = cluster.servers
    usual = server.client
    with children(names, cluster, copies=2) as made:
        for place, child in enumerate(made):
            child.order(*(("resume", PREFIX) if place % 2 else ("follow", PREFIX, 0)))
        for child in made:
            knock(cluster, child)
        for port, numbers in ((free_ports(1)[0], MEANWHILE), (usual, AFTER)):
            server.stop()
            server.client = (
                port  # on another one it is out of the watches' reach, and changes are made meanwhile
            )
            server.start()
            cluster.wait()
            put(cluster, numbers)
        deadline = time.monotonic() + SILENT_S
        return [_all(child, deadline, looped=place % 2 == 1) for place, child in enumerate(made)]


def _all(child: Child, deadline: float, looped: bool) -> list[dict[str, Any]]:
    """What it said, until it has told of the last change, its watch ended for good, or the time is over."""
    said = []
    while (line := child.hear(deadline - time.monotonic())) is not None:
        said.append(line)
        if line.get("saw") == AFTER[-1] or ("ended" in line and not looped):
            break
    return said


def count(rounds: Sequence[Sequence[Mapping[str, Any]]], numbers: Sequence[int]) -> str:
    """How many of these changes were seen, in each round."""
    found = [len({line.get("saw") for line in said} & set(numbers)) for said in rounds]
    return ", ".join(map(str, found))


def word(ended: str) -> str:
    """The name of an error."""
    return ended.partition(":")[0]


def compactions(cluster: Cluster, names: Sequence[str], found: Found) -> None:
    """Begin a watch at a revision that the server has dropped, and go on making changes."""
    from paramstore._etcd_messages import MESSAGES

    client = cluster.client()
    old = client.read([], ANSWER_S)[0]
    put(cluster, range(10))
    client.call("Compact", MESSAGES["CompactionRequest"](revision=old + 10), ANSWER_S)
    client.close()
    with children(names, cluster) as made:
        for name, child in zip(names, made, strict=True):
            child.order("follow", PREFIX, old + 1)
            said = child.hear(1.0)
            put(cluster, range(10))
            said = said or child.hear(EVENT_S)
            if not CANDIDATES[name].revisions:
                found[name][COMPACTED] = "cannot be asked for"
            elif said is None:
                found[name][COMPACTED] = "silent: no error, no later change"
            else:
                found[name][COMPACTED] = word(said["ended"]) if "ended" in said else "wrong: a gap untold"


# -- the program ------------------------------------------------------------------------------------------


def measured(cluster: Cluster, names: Sequence[str], plan: Plan) -> Found:
    """All figures of the candidates that run; for the others, why they do not."""
    client = cluster.client()
    client.write([], [(GUARD, b"stands")], [], [], ANSWER_S)
    client.close()
    found: Found = {name: {VERSION: problem} for name in names if (problem := absence(name))}
    with children(here := [name for name in names if name not in found], cluster) as made:
        found |= {name: {VERSION: child.problem} for name, child in zip(here, made, strict=True)}
    here = [name for name in here if not found[name][VERSION]]
    for name in here:
        found[name] |= described(name)
    steps: Sequence[tuple[str, Callable[[], None]]] = (
        ("imports", lambda: imports(here, plan, found)),
        ("calls", lambda: calls(cluster, here, plan, found)),
        ("delays", lambda: delays(cluster, here, plan, found)),
        ("restarts", lambda: restarts(cluster, here, plan, found)),
        ("compaction", lambda: compactions(cluster, here, found)),
    )
    for step, run in steps if OURS in here else ():
        print(f"{step} ...", file=sys.stderr, flush=True)
        run()
    return found


def absence(name: str) -> str:
    """What to install before it can run; nothing if all is there."""
    for distribution in CANDIDATES[name].distributions:
        try:
            metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return f"not installed: pip install {distribution}"
    return ""


def described(name: str) -> dict[str, str]:
    candidate = CANDIDATES[name]
    version = metadata.version(candidate.distributions[0])
    packages, size = installed(candidate.distributions)
    aged = f" (in {candidate.read_in})" if candidate.read_in not in ("", version) else ""
    offers = zip(
        (REVISIONS, TLS, PASSWORD, ENDPOINTS),
        (candidate.revisions, candidate.certificates, candidate.password, candidate.endpoints),
        strict=True,
    )
    cells = {column: ("yes" if given else "no") + aged for column, given in offers}
    return {VERSION: version, SIZE: f"{size / 1e6:.1f} MB ({packages})", **cells}


def lines(found: Found) -> list[Line]:
    made = []
    for section, columns in SECTIONS.items():
        for name, cells in found.items():
            why = "" if SIZE in cells else cells[VERSION]  # a candidate that does not run has nothing else
            figures = (why,) if why else tuple(cells.get(column, "") for column in columns)
            missing = bool(why) or "" in figures or "silent" in figures
            made.append(
                Line(section, ("client", *columns), (name, *figures), failed=name == OURS and missing)
            )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 when our own client has all figures, 1 when it has not, 2 when nothing can be measured here."""
    asks = parser(PROGRAM, __doc__, PAGE)
    asks.add_argument("--only", type=_names, default=list(CANDIDATES), metavar=",".join(CANDIDATES))
    options = asks.parse_args(arguments)
    if not can_start():
        return 2
    from etcd_servers import Cluster

    others = quiet.others()
    with Cluster() as cluster:
        client = cluster.client()
        server = str(client.status(ANSWER_S).version)
        client.close()
        made = lines(measured(cluster, options.only, QUICK if options.quick else Plan()))
    publish(PROGRAM, options, list(SECTIONS), made, f"etcd {server}, one member, data in memory", others)
    return int(any(line.failed for line in made))


def _names(text: str) -> list[str]:
    """Ours comes first, always: the others are held against it."""
    chosen = dict.fromkeys([OURS, *filter(None, (name.strip() for name in text.split(",")))])
    if unknown := [name for name in chosen if name not in CANDIDATES]:
        raise argparse.ArgumentTypeError(f"no client {', '.join(unknown)}; there is {', '.join(CANDIDATES)}")
    return list(chosen)


if __name__ == "__main__":
    raise SystemExit(main())
