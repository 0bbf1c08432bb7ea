# ruff: noqa: T201 - a command line
"""The web page of a long journal: how long its answers take, against reading one JSON file of their size, and whether all who
follow its events hear of every commit."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import quiet
from benchmarks.etcd_page import Line
from benchmarks.harness import quantity, table, times
from benchmarks.history import write_journal
from benchmarks.page import MADE, laid
from benchmarks.stores import AUTHOR, KEY, LEAF, SIZES, names, paramstore, workspace, write_store

PAGE = Path(__file__).resolve().parents[1] / "docs" / "web-scale.md"
ANSWERS, EVENTS = "Answers", "Events"
PARAMETERS = SIZES[-1]
JOURNALS = (1_000, 10_000, 100_000)
ASKED = {
    "parameters": "every parameter",
    "sparklines": "sparklines",
    f"parameters/{KEY}/history?limit=500": "history of one parameter",
    "history?limit=100": "the newest 100 entries",
}
KEY_EACH = 60  # so many changes of others between two of KEY
PATIENCE_S = 120.0
BUILDING = 503
WRITER = f"""
import sys, time
from paramstore import ParamStore
store, pause_s = ParamStore(sys.argv[1], environ={{}}), float(sys.argv[2])
for line in sys.stdin:
    for turn in range(int(line)):
        with store.transaction(author={AUTHOR!r}, reason="benchmark", force=True) as tx:
            tx[{KEY!r}] = round(tx[{KEY!r}] + 0.001, 4) if tx[{KEY!r}] < 0.6 else 0.3  # never what it is
        print(tx.commit_result.entry.id, time.monotonic(), flush=True)
        time.sleep(pause_s)
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long the journals are, how often is asked, and by how many the events are followed for how long."""

    journals: tuple[int, ...] = JOURNALS
    parameters: int = PARAMETERS
    repetitions: int = 15
    clients: int = 200
    seconds: float = 60.0
    pause_s: float = 0.05


QUICK = Plan(journals=(200, 1_000), parameters=300, repetitions=3, clients=20, seconds=2.0)


# --- a store and its server -------------------------------------------------------------------------


def store_of(parent: Path, plan: Plan, count: int) -> Path:
    """Write a store whose journal has ``count`` entries: every parameter changes (of a short journal as many as can), and one
    far more often."""
    root = write_store(parent / str(count), plan.parameters, limited=False)
    changing = names(min(plan.parameters, count // 2))
    order: list[str] = []
    for place, name in enumerate(changing):
        order += [LEAF] * (place % KEY_EACH == 0) + [name]
    write_journal(root, count, order)
    return root


class Server:
    """``paramstore serve`` in a process of its own, and one connection to it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)

    def get(self, path: str) -> bytes:
        """Return the answer's body, once the journal is known."""
        self._connection.request("GET", f"/api/v1/{path}")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            if answer.status == BUILDING and b"is being read" in body:
                return self.get(path)
            raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
        return body

    def close(self) -> None:
        self._connection.close()

    def memory(self) -> int:
        """Return the bytes of memory that it has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])


@contextmanager
def served(root: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "paramstore", "--root", str(root), "serve", "--port", "0", "--json"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PARAM")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start (status {process.wait()})")
        server = Server(process, int(json.loads(line)["address"].rpartition(":")[2]))
        try:
            yield server
        finally:
            server.close()
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        process.stdout.close()


@contextmanager
def learner(root: Path, pause_s: float = 0.0) -> Iterator[Callable[[int], list[tuple[str, float]]]]:
    """Another process that commits. The call asks for so many commits, and returns each entry's id and when it was acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), str(pause_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    to, back = process.stdin, process.stdout

    def commit(count: int) -> list[tuple[str, float]]:
        to.write(f"{count}\n")
        to.flush()
        found = [back.readline().split() for _ in range(count)]
        return [(entry_id, float(moment)) for entry_id, moment in found]

    try:
        yield commit
    finally:
        to.close()
        process.wait(PATIENCE_S)
        back.close()


# --- answers ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """One question to one server: seconds, ratio to reading a JSON file of the answer's size, and that size."""

    seconds: float
    ratio: float
    size: int


def seconds_of(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def asked(server: Server, path: str, file: Path, plan: Plan, before: Callable[[], Any]) -> Measured:
    """Ask again and again, each time after ``before``, and in turn read a file that holds the answer."""
    own, read = [], []
    file.write_bytes(server.get(path))

    def read_file() -> None:
        with file.open(encoding="ascii") as stream:
            json.loads(stream.read())

    for _ in range(plan.repetitions):
        before()
        own.append(seconds_of(lambda: json.loads(server.get(path))))
        read.append(seconds_of(read_file))
    ratio = statistics.median(mine / base for mine, base in zip(own, read, strict=True))
    return Measured(statistics.median(own), ratio, file.stat().st_size)


def answers(parent: Path, plan: Plan) -> list[Line]:
    """One row for each question; a column for each length of the journal."""
    rows: dict[str, list[str]] = {}

    def add(name: str, cell: str) -> None:
        rows.setdefault(name, []).append(cell)

    for count in plan.journals:
        root = store_of(parent, plan, count)
        began = time.perf_counter()
        with served(root) as server, learner(root) as commit:
            server.get("history?limit=1")
            add("start of the server, until it knows the journal", _time(time.perf_counter() - began))
            for path, name in ASKED.items():
                for words, before in (("", lambda: None), (", right after a commit", lambda: commit(1))):
                    found = asked(server, path, parent / "answer.json", plan, before)
                    add(f"{name}{words}", f"{times(found.ratio)} ({_time(found.seconds)})")
                add(f"size of that answer: {name}", f"{found.size / 1000:,.0f} kB")
            add("memory of the server", _megabytes(server.memory()))
    columns = ("entries in the journal", *(f"{count:,}" for count in plan.journals))
    return [Line(ANSWERS, columns, (name, *cells)) for name, cells in rows.items()]


# --- events -----------------------------------------------------------------------------------------


class Follower:
    """A client of the events: what it heard of, and when."""

    def __init__(self) -> None:
        self.heard: dict[str, float] = {}
        self.twice = 0
        self.reloads = 0
        self.began = asyncio.Event()

    async def follow(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        writer.write(f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        try:
            while line := await reader.readline():
                if line.startswith(b"id: "):
                    name = line[4:].strip().decode()
                    self.twice += name in self.heard
                    self.heard.setdefault(name, time.monotonic())
                elif line.startswith(b"event: "):
                    self.reloads += line.startswith(b"event: reload")
                    self.began.set()
        finally:
            writer.close()


@dataclass(frozen=True, slots=True)
class Heard:
    """What all clients together heard of ``commits`` commits, and the server's memory when they had come and at the end."""

    clients: int
    commits: int
    missed: int
    twice: int
    reloads: int
    delays: Sequence[float]
    memory: tuple[int, int]


async def _followed(server: Server, root: Path, plan: Plan) -> Heard:
    followers = [Follower() for _ in range(plan.clients)]
    tasks = [asyncio.create_task(follower.follow(server.port)) for follower in followers]
    await asyncio.wait_for(asyncio.gather(*(follower.began.wait() for follower in followers)), PATIENCE_S)
    with learner(root, plan.pause_s) as commit:
        made = await asyncio.to_thread(commit, 20)
        at_start = server.memory()
        deadline = time.monotonic() + plan.seconds
        while time.monotonic() < deadline:
            made += await asyncio.to_thread(commit, 10)
    ends = time.monotonic() + 10.0
    while time.monotonic() < ends and any(len(follower.heard) < len(made) for follower in followers):
        await asyncio.sleep(0.05)
    at_end = server.memory()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    delays = [f.heard[name] - moment for f in followers for name, moment in made if name in f.heard]
    missed = sum(name not in follower.heard for follower in followers for name, _ in made)
    twice, reloads = sum(f.twice for f in followers), sum(f.reloads for f in followers)
    return Heard(plan.clients, len(made), missed, twice, reloads, sorted(delays), (at_start, at_end))


def followed(root: Path, plan: Plan) -> Heard:
    """Have many follow the events of a server while another process commits."""
    with served(root) as server:
        server.get("history?limit=1")
        return asyncio.run(_followed(server, root, plan))


def events(parent: Path, plan: Plan) -> list[Line]:
    count = plan.journals[-1]
    root = parent / str(count)
    heard = followed(root if root.exists() else store_of(parent, plan, count), plan)
    columns = ("clients", "seconds", "commits", "missed", "heard twice", "reloads", "from acknowledgement to client: median",
               "99 %", "memory at the start", "memory at the end")  # fmt: skip
    cells = (
        f"{heard.clients}", f"{plan.seconds:g}", f"{heard.commits:,}", f"{heard.missed}", f"{heard.twice}", f"{heard.reloads}",
        _delay(heard.delays, 0.5), _delay(heard.delays, 0.99), _megabytes(heard.memory[0]), _megabytes(heard.memory[1]),
    )  # fmt: skip
    return [Line(EVENTS, columns, cells, failed=bool(heard.missed or heard.twice))]


def _delay(delays: Sequence[float], share: float) -> str:
    """Write a delay; a client may be told before its writer has read the acknowledgement."""
    return _time(max(0.0, delays[int(share * (len(delays) - 1))])) if delays else "none"


def _time(seconds: float) -> str:
    return quantity(seconds, "s")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


# --- the command line ---------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        paramstore()
    except ImportError as error:
        print(f"not available: {error}", file=sys.stderr)
        return 2
    plan = QUICK if options.quick else Plan()
    plan = Plan(
        plan.journals, plan.parameters, plan.repetitions, options.clients or plan.clients,
        options.seconds or plan.seconds, plan.pause_s,
    )  # fmt: skip
    parts = {ANSWERS: answers, EVENTS: events}
    others = quiet.others()
    with workspace(options.directory) as parent:
        lines = [
            line
            for name, part in parts.items()
            if options.only in (None, name)
            for line in part(parent, plan)
        ]
    words = "".join(f" --{name} {value}" for name, value in _given(options))
    how = (
        f"{MADE}python -m benchmarks.web_page{words} --docs` on {time.strftime('%Y-%m-%d')} (CPython {platform.python_version()}, "
        f"{os.cpu_count()} processors); {quiet.verdict(others())}."
    )
    found = {
        name: f"{how}\n\n{table([line for line in lines if line.section == name])}"
        for name in parts
        if any(line.section == name for line in lines)
    }
    print("\n\n".join(f"## {name}\n\n{text}" for name, text in found.items()))
    if options.docs:
        options.docs.write_text(laid(options.docs.read_text(encoding="utf-8"), found), encoding="utf-8")
    return int(any(line.failed for line in lines))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    asks = argparse.ArgumentParser(prog="python -m benchmarks.web_page", description=__doc__)
    asks.add_argument(
        "--quick", action="store_true", help="short journals, few repetitions: does everything run?"
    )
    asks.add_argument("--only", choices=(ANSWERS, EVENTS), help="only this part")
    asks.add_argument("--clients", type=int, metavar="N", help="so many follow the events")
    asks.add_argument("--seconds", type=float, metavar="S", help="for so long")
    asks.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where stores are written")
    asks.add_argument(
        "--docs", type=Path, nargs="?", const=PAGE, metavar="PAGE", help=f"lay tables into {PAGE.name}"
    )
    return asks.parse_args(arguments)


def _given(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    for name in ("only", "clients", "seconds"):
        if getattr(options, name) is not None:
            yield name, getattr(options, name)


if __name__ == "__main__":
    sys.exit(main())
