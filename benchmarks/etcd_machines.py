# ruff: noqa: T201 - a command line
"""``python -m benchmarks.etcd_machines``: two "machines" (a mirror and an agent each) on one real server, beside a raw watch
in the same run. ``--docs`` lays the tables into the page."""

from __future__ import annotations

import argparse
import os
import platform
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from benchmarks import quiet
from benchmarks.figures import Seen, spread_of
from benchmarks.harness import Case, compare, quantity, statement, table, times
from benchmarks.page import MADE, laid
from benchmarks.reads import dictionary
from benchmarks.stores import AUTHOR, KEY, VALUE, write_store

if TYPE_CHECKING:
    from etcd_servers import Cluster

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scale.md"
SERVERS = [str(ROOT / "tests" / name) for name in ("", "faults", "etcd")]  # who starts etcd for the tests
OTHER = round(VALUE + 0.01, 4)
COUNT = 60
PATIENCE_S = 20.0
FRESH, READS = "From one machine to another", "A read beside the agent"
NS = 1e-9

READER = """
import time
from paramstore import params
clock, get = time.monotonic_ns, params.get
known = get({key!r})
print("ready", flush=True)
while True:
    value = get({key!r})
    if value != known:
        print(clock(), flush=True)
        known = value
    {pause}
"""
WRITER = """
import sys, time
from paramstore import params
params.get({key!r})
print("ready", flush=True)
for line in sys.stdin:
    with params.transaction(author={author!r}, force=True, reason="benchmark") as tx:
        tx[{key!r}] = float(line)
    print(time.monotonic_ns(), flush=True)
"""
RAW_WRITER = """
import sys, time
from paramstore._etcd_client import Client
from paramstore._etcd_place import Credentials
client = Client(Credentials(({endpoint!r},)))
client.write([], [(b"/raw", b"x")], [], [], 5.0)
print("ready", flush=True)
for line in sys.stdin:
    client.write([], [(b"/raw", line.encode())], [], [], 5.0)
    print(time.monotonic_ns(), flush=True)
"""
RAW_READER = """
import time
from paramstore._etcd_client import Client
from paramstore._etcd_place import Credentials
watch = Client(Credentials(({endpoint!r},))).watch(b"/raw", b"", 0)
print("ready", flush=True)
for _ in watch:
    print(time.monotonic_ns(), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table."""

    section: str
    name: str
    columns: tuple[str, ...]
    figures: tuple[str, ...]
    failed: bool = False

    def head(self) -> tuple[str, ...]:
        return self.columns

    def cells(self) -> tuple[str, ...]:
        return self.name, *self.figures


@contextmanager
def child(code: str, environ: Mapping[str, str]) -> Iterator[tuple[IO[str], IO[str]]]:
    """A process that has said it is ready, and is ended afterwards."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, env=environ, **pipes) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout.readline() == "ready\n", "it did not come to life"
            yield process.stdin, process.stdout
        finally:
            process.kill()


def stamp(pipe: IO[str]) -> int:
    if not select.select([pipe], [], [], PATIENCE_S)[0]:
        raise TimeoutError(f"nothing within {PATIENCE_S:.0f} s")
    return int(pipe.readline())


def machine(cluster: Cluster, folder: Path) -> dict[str, str]:
    """The environment of the processes of one machine."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PARAM")}
    return {**kept, "PARAMSTORE_BACKEND": cluster.url("bench"), "PARAMSTORE_MIRROR": str(folder)}


@contextmanager
def agent(environ: Mapping[str, str]) -> Iterator[None]:
    command = [sys.executable, "-m", "paramstore", "agent"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "following" in process.stdout.readline()
            yield
        finally:
            process.terminate()


def delays(write: IO[str], acknowledged: IO[str], read: IO[str], values: Sequence[object]) -> list[float]:
    """How long after each acknowledgement the other side saw it, in seconds; below zero, before it."""
    found = []
    for value in values:
        write.write(f"{value}\n")
        write.flush()
        done = stamp(acknowledged)
        found.append((stamp(read) - done) * NS)
        time.sleep(0.002)
    return found


def fresh(cluster: Cluster, one: dict[str, str], two: dict[str, str], turns: int, each: int) -> list[Line]:
    """Ours and a raw watch in turn, for two kinds of reader."""
    endpoint = cluster.endpoints[0]
    found: dict[str, list[float]] = {"raw": []}
    pauses = {"in a loop": "pass", "each millisecond": "time.sleep(0.001)"}
    with ExitStack() as stack:
        raw = stack.enter_context(child(RAW_WRITER.format(endpoint=endpoint), one))
        watch = stack.enter_context(child(RAW_READER.format(endpoint=endpoint), two))
        write = stack.enter_context(child(WRITER.format(key=KEY, author=AUTHOR), one))
        for _ in range(turns):
            found["raw"] += delays(*raw, watch[1], range(each))
            for name, pause in pauses.items():
                with child(READER.format(key=KEY, pause=pause), two) as (_, read):
                    got = delays(*write, read, [OTHER, VALUE] * (each // 2 + 1))
                    found.setdefault(name, []).extend(got[2:])  # the first ones load what a commit needs
    columns = "who", "p50", "p99", "longest", "p50, to the raw watch's", "p99, to the raw watch's"
    base = spread_of(FRESH, "", Seen(found.pop("raw")), "")
    lines = [Line(FRESH, "a raw watch, from a put", columns, (*_spread(base), times(1), times(1)))]
    for name, seconds in found.items():
        spread = spread_of(FRESH, name, Seen(seconds), "")
        ratios = times(spread.p50 / base.p50), times(spread.p99 / base.p99)
        lines.append(
            Line(FRESH, f"paramstore, read {name}, from a commit", columns, (*_spread(spread), *ratios))
        )
    return lines


def _spread(spread: object) -> tuple[str, ...]:
    return tuple(_delay(getattr(spread, name)) for name in ("p50", "p99", "most"))


def _delay(seconds: float) -> str:
    return "before it" if seconds < 0 else quantity(seconds, "s")


def reads(one: dict[str, str], repetitions: int) -> list[Line]:
    """A read of a process beside the agent, and one of a store in files, each to a dictionary in a function."""
    from paramstore import ParamStore

    beside = ParamStore(environ=one)
    columns = "what", "to a dictionary", "middle half"
    if beside.get(KEY) not in (VALUE, OTHER):
        raise ValueError("the mirror gave another value")
    cases = [
        Case("`params.get(key)`, the values in etcd", statement(f"store.get({KEY!r})", {"store": beside}))
    ]
    rows = compare(READS, dictionary(), cases, repetitions)
    return [
        Line(READS, row.name, columns, (times(row.ratio), f"{times(row.q1)} to {times(row.q3)}"), row.failed)
        for row in rows
    ]


def measured(turns: int, each: int, repetitions: int) -> list[Line]:
    from etcd_servers import Cluster
    from plainstore import fast_folder

    from paramstore import _copy

    folder = fast_folder()
    with Cluster(folder=folder) as cluster:
        source = write_store(folder / "source", COUNT)
        _copy.copy(str(source), cluster.url("bench"), {})
        one, two = machine(cluster, folder / "one"), machine(cluster, folder / "two")
        with agent(one), agent(two):
            return fresh(cluster, one, two, turns, each) + reads(two, repetitions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 when all was measured, 2 when nothing can be here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.etcd_machines", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions: does everything run?")
    parser.add_argument(
        "--docs", type=Path, nargs="?", const=PAGE, metavar="PAGE", help=f"lay tables into {PAGE.name}"
    )
    options = parser.parse_args(arguments)
    sys.path[:0] = SERVERS
    try:
        from etcd_servers import BINARY
    except ImportError as error:
        print(f"{error}: pip install 'paramstore[bench]'", file=sys.stderr)
        return 2
    if BINARY is None:
        print("etcd is not installed (Debian: etcd-server)", file=sys.stderr)
        return 2
    others = quiet.others()
    lines = measured(1, 6, 2) if options.quick else measured(5, 100, 40)
    words = " --quick" if options.quick else ""
    how = (
        f"{MADE}python -m benchmarks.etcd_machines{words} --docs` on {time.strftime('%Y-%m-%d')} (CPython "
        f"{platform.python_version()}, {os.cpu_count()} processors, one server, data and mirrors in memory); "
        f"{quiet.verdict(others())}."
    )
    tables = {
        name: f"{how}\n\n{table([line for line in lines if line.section == name])}" for name in (FRESH, READS)
    }
    print("\n\n".join(f"## {name}\n\n{text}" for name, text in tables.items()))
    if options.docs:
        options.docs.write_text(laid(options.docs.read_text(encoding="utf-8"), tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
