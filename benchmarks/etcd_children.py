"""A candidate in a process of its own: ordered about, heard, and killed when it says nothing."""

from __future__ import annotations

import json
import math
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.etcd_candidates import CANDIDATES

if TYPE_CHECKING:
    from etcd_servers import Cluster

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "/clients-watched/"
KNOCK = -1  # what is put until a watch is seen to be open
READY_S, ANSWER_S = 20.0, 20.0  # how long a start and an answer are waited for


class Child:
    """A candidate in a process of its own, which is killed in the end. ``problem`` says why it gives no figures."""

    def __init__(self, name: str, address: str) -> None:
        command = [sys.executable, "-m", "benchmarks.etcd_candidates", name, address]
        environ = {**os.environ, **CANDIDATES[name].environ}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )  # fmt: skip
        self._left = b""
        self.problem = ""
        first = self.hear(READY_S) or {"failed": self.problem or "silent"}
        self.problem = str(first.get("failed", ""))

    def order(self, *words: object) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it ended; then it says nothing more
            self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())
            self._process.stdin.flush()

    def hear(self, limit_s: float) -> dict[str, Any] | None:
        """Return what it says next; ``None`` if it says nothing within ``limit_s``, or has ended."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._left:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                self.problem = self.problem or "its process ended"
                return None
            self._left += more
        line, _, self._left = self._left.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def seconds(self, order: str, count: int) -> float:
        """Return the median of ``count`` calls; ``nan`` when it did not answer, now or before."""
        if self.problem:
            return math.nan
        self.order(order, count)
        said = self.hear(ANSWER_S)
        if said is None:
            self.problem = self.problem or "silent"
            return math.nan
        return float(statistics.median(said["times"]))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what it was not told any more
                pipe.close()


@contextmanager
def children(names: Sequence[str], cluster: Cluster, copies: int = 1) -> Iterator[list[Child]]:
    """``copies`` of each, one after another."""
    made: list[Child] = []
    try:
        for name in (name for name in names for _ in range(copies)):
            made.append(
                Child(name, cluster.endpoints[0])
            )  # one by one: those before one that fails are killed
        yield made
    finally:
        for child in made:
            child.kill()


def put(cluster: Cluster, numbers: Sequence[int], prefix: str = PREFIX, pause_s: float = 0.02) -> None:
    """Make changes that tell themselves apart, by a client of ours."""
    client = cluster.client()
    for number in numbers:
        client.write([], [(f"{prefix}key".encode(), str(number).encode())], [], [], ANSWER_S)
        time.sleep(pause_s)
    client.close()


def knock(cluster: Cluster, child: Child, prefix: str = PREFIX) -> bool:
    """Wait until a watch is open: a change is seen."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and not child.problem:
        put(cluster, [KNOCK], prefix, 0)
        if (child.hear(0.1) or {}).get("saw") == KNOCK:
            return True
    return False
