"""Many agents lose their cluster at one moment and get it back: ``python tests/etcd/herd.py [--agents 50] [--seconds 30]``.

One real server is killed and started again after ``--seconds``; each agent is a process with a mirror of its own. One line of
JSON tells how their first requests spread, when all follow again, and what readers saw meanwhile. Status 1 when one of them
failed, was told nothing, or a mirror did not converge.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parent.parent
sys.path += [str(_TESTS), str(_TESTS / "faults")]

from etcd_servers import Cluster, Server, Shop  # noqa: E402
from machines import Machine  # noqa: E402
from plainstore import fast_folder  # noqa: E402

from paramstore import ParamStore  # noqa: E402
from paramstore.testing import SCHEMAS, VALUES  # noqa: E402

READERS = 3
BATCH = 10  # agents that start at once
PATIENCE_S = 60.0
SAMPLE_S = 0.05
LOOK_S = 0.01
WINDOW_S = 0.1
STALE_CHECKS = 3
DELAY_S = 3.0  # an outage that is so much longer than three checks is told to readers
STEADY = """
import random
random.uniform = lambda low, high: (low + high) / 2
from paramstore.cli import main
main()
"""
_COUNTER = re.compile(
    r'^(?:grpc_server_started_total\{grpc_method="(Range|Txn|Watch)",grpc_service="etcdserverpb.*\}|(etcd_debugging_mvcc_watcher_total)) ([\d.e+]+)$',
    re.MULTILINE,
)


class Herd:
    """The agents on one cluster, each on a machine of its own."""

    def __init__(self, shop: Shop, count: int, check_s: float, steady: bool) -> None:
        self.shop = shop
        self._steady = steady
        self._check_s = check_s
        self.writer = shop.folder / "writer"
        self.mirrors = [shop.folder / f"machine{number}" for number in range(count)]

    def environ(self, mirror: Path) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("PARAM")}
        named = {"BACKEND": self.shop.place.url, "MIRROR": str(mirror), "ETCD_CHECK_S": f"{self._check_s:g}"}
        return {**kept, **{f"PARAMSTORE_{name}": text for name, text in named.items()}}

    @contextmanager
    def running(self) -> Iterator[None]:
        """All agents, each with a whole mirror."""
        command = [sys.executable, *(["-c", STEADY] if self._steady else ["-m", "paramstore"]), "agent"]
        with ExitStack() as stack:
            for begin in range(0, len(self.mirrors), BATCH):
                some = self.mirrors[begin : begin + BATCH]
                for mirror in some:
                    log = stack.enter_context(mirror.with_suffix(".log").open("wb"))
                    process = subprocess.Popen(command, env=self.environ(mirror), stdout=log, stderr=log)
                    stack.callback(process.wait)
                    stack.callback(process.kill)
                until(partial(_all_heard, some), "the mirrors of agents")
            yield

    def lacking(self) -> int:
        """Return how many mirrors do not have the newest entry that the writer knows yet."""
        seq = newest(self.writer)
        return sum(newest(mirror) < seq for mirror in self.mirrors)


class Asked:
    """Looks at the agents and at the server's own counters, in a thread, from the start of the server on."""

    def __init__(self, server: Server, mirrors: Sequence[Path]) -> None:
        self.began = uptime()
        self.first: dict[
            Path, float
        ] = {}  # seconds after the start at which the cluster first answered that agent
        self.counters: list[tuple[float, dict[str, int]]] = []
        self.accepts_s = 0.0
        self._server = server
        self._mirrors = mirrors
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=target) for target in (self._look, self._sample)]

    def __enter__(self) -> Asked:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _look(self) -> None:
        while len(self.first) < len(self._mirrors) and not self._ended.wait(LOOK_S):
            for mirror in self._mirrors:
                if mirror not in self.first and (at := heard(mirror)) > self.began:
                    self.first[mirror] = at - self.began

    def _sample(self) -> None:
        host, _, port = self._server.endpoint.partition(":")
        while not self.accepts_s and not self._ended.wait(LOOK_S / 2):
            with suppress(OSError), socket.create_connection((host, int(port)), timeout=1.0):
                self.accepts_s = uptime() - self.began
        while not self._ended.wait(SAMPLE_S):
            with suppress(OSError):
                self.counters.append((uptime() - self.began, counted(self._server)))

    def watchers(self) -> int:
        return self.counters[-1][1].get("watchers", 0) if self.counters else 0


class Readers:
    """Processes beside agents that read all the time: what they saw of the outage."""

    def __init__(self, herd: Herd) -> None:
        self.rounds = 0
        self.failures: list[str] = []
        self.named: list[bool] = [False] * READERS
        self._url = herd.shop.place.url
        self._machines = [Machine(herd.environ(mirror)) for mirror in herd.mirrors[:READERS]]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.wait(LOOK_S * 10):
            for number, machine in enumerate(self._machines):
                seen = machine.see()
                self.rounds += 1
                if "values" not in seen:
                    self.failures.append(str(seen))
                else:
                    self.named[number] = any(
                        f"{self._url} has not answered" in text for text in seen["problems"]
                    )

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for machine in self._machines:
            machine.close()


def uptime() -> float:
    """The clock by which an agent notes when it heard of the cluster."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def heard(mirror: Path) -> float:
    try:
        return float((mirror / ".paramstore" / "heard").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0


def _all_heard(mirrors: Sequence[Path]) -> bool:
    return all(heard(mirror) for mirror in mirrors)


def newest(mirror: Path) -> int:
    try:
        return int(json.loads((mirror / ".paramstore" / "followed").read_text())["head"][0])
    except (OSError, ValueError):
        return -1


def counted(server: Server) -> dict[str, int]:
    """Return what the server says of the requests that it began, and of its watchers."""
    with urllib.request.urlopen(f"http://{server.endpoint}/metrics", timeout=2.0) as page:
        found = _COUNTER.findall(page.read().decode())
    return {method or "watchers": int(float(number)) for method, _, number in found}


def until(true: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it never came: {what}")
        time.sleep(LOOK_S)


def largest_share(moments: Sequence[float], of: int) -> float:
    """The largest share of ``of`` whose moments lie within any ``WINDOW_S``."""
    ordered = sorted(moments)
    return max(sum(begin <= moment < begin + WINDOW_S for moment in ordered) for begin in ordered) / of


def by_window(moments: Sequence[float]) -> dict[str, int]:
    found: dict[str, int] = {}
    for moment in sorted(moments):
        name = f"{int(moment / WINDOW_S) * WINDOW_S:.1f}"
        found[name] = found.get(name, 0) + 1
    return found


def commit(store: ParamStore, value: int) -> None:
    with store.transaction(author="learner", force=True, reason="herd") as tx:
        tx["gate.trades"] = value


def away(server: Server, readers: Readers, seconds: float) -> float | None:
    """Kill the server for that long; return after how many seconds all readers named the cluster."""
    server.stop()
    began, named = time.monotonic(), None
    while time.monotonic() < began + seconds:
        time.sleep(LOOK_S)
        if named is None and all(readers.named):
            named = round(time.monotonic() - began, 2)
    return named


def back(herd: Herd, server: Server, store: ParamStore, readers: Readers) -> dict[str, Any]:
    """Start the server, and see all come back to it."""
    count = len(herd.mirrors)
    with Asked(server, herd.mirrors) as asked:
        server.start()
        until(lambda: len(asked.first) == count, "an answer to every agent")
        until(lambda: asked.watchers() >= count, "a watch of every agent")
        follow_s = uptime() - asked.began
        until(lambda: not any(readers.named), "the end of the problem for readers")
        commit(store, 77)
        began = time.monotonic()
        until(lambda: not herd.lacking(), "the commit in every mirror")
        spread_s = time.monotonic() - began
    moments = list(asked.first.values())
    return {
        "server accepts after s": round(asked.accepts_s, 2),
        "first answers, from the start of the server, s": [round(min(moments), 2), round(max(moments), 2)],
        "first answers in each 0.1 s": by_window(moments),
        "largest share in any 0.1 s": round(largest_share(moments, count), 2),
        "most requests begun in 0.1 s, by the server": most_begun(asked.counters),
        "requests begun by all": sum(asked.counters[-1][1].values()) - asked.watchers(),
        "all follow again after s": round(follow_s, 2),
        "a commit in every mirror after s": round(spread_s, 3),
    }


def most_begun(counters: Sequence[tuple[float, Mapping[str, int]]]) -> int:
    """The most requests and watches that the server began within ``WINDOW_S``, as its counters were sampled."""
    totals = [
        (at, sum(number for name, number in found.items() if name != "watchers")) for at, found in counters
    ]
    return max(
        later - total
        for place, (at, total) in enumerate(totals)
        for when, later in totals[place:]
        if when <= at + WINDOW_S + SAMPLE_S
    )


def same(herd: Herd) -> bool:
    """Whether all mirrors hold the same files and the same journal."""
    texts = {
        tuple(path.read_bytes() for path in sorted((mirror / "params").rglob("*")) if path.suffix in (".yaml", ".jsonl"))
        for mirror in herd.mirrors
    }  # fmt: skip
    return len(texts) == 1


def run(agents: int, seconds: float, check_s: float, steady: bool = False) -> dict[str, Any]:
    folder = fast_folder("paramstore-herd-")
    try:
        (folder / "cluster").mkdir()
        with Cluster(folder=folder / "cluster") as cluster, ExitStack() as stack:
            shop = Shop(cluster, folder)
            shop.fill(SCHEMAS, VALUES)
            herd = Herd(shop, agents, check_s, steady)
            stack.enter_context(herd.running())
            store = ParamStore(environ=herd.environ(herd.writer))
            for value in (41, 42):
                commit(store, value)
            until(lambda: not herd.lacking(), "two commits in every mirror")
            readers = Readers(herd)
            stack.callback(readers.close)
            until(lambda: readers.rounds >= READERS, "the readers")
            named = away(cluster.servers[0], readers, seconds)
            figures = back(herd, cluster.servers[0], store, readers)
            return {
                "agents": agents, "jitter": not steady, "outage_s": seconds, **figures, "mirrors are the same": same(herd), "reads": readers.rounds,
                "reads that failed": readers.failures[:3], "health named the cluster after s": named,
            }  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--check", type=float, default=2.0, help="PARAMSTORE_ETCD_CHECK_S")
    parser.add_argument("--steady", action="store_true", help="agents without jitter, to compare with")
    asked = parser.parse_args(words)
    if asked.agents < READERS:
        parser.error(f"--agents: at least {READERS}")
    figures = run(asked.agents, asked.seconds, asked.check, asked.steady)
    sys.stdout.write(json.dumps(figures) + "\n")
    told = (
        asked.seconds < STALE_CHECKS * asked.check + DELAY_S
        or figures["health named the cluster after s"] is not None
    )
    return int(not (told and figures["mirrors are the same"] and not figures["reads that failed"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
