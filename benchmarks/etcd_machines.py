"""``python -m benchmarks.etcd_machines``: two "machines" (a mirror and an agent each) on one real server, beside a raw watch
in the same run. ``--docs`` lays the tables into the page."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from benchmarks import quiet
from benchmarks.etcd_page import Line, can_start, parser, publish
from benchmarks.figures import Seen, spread_of
from benchmarks.harness import Case, compare, quantity, statement, times
from benchmarks.reads import dictionary
from benchmarks.stores import AUTHOR, KEY, VALUE, write_store

if TYPE_CHECKING:
    from etcd_servers import Cluster

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "benchmarks.etcd_machines"
PAGE = ROOT / "docs" / "scale.md"
OTHER = round(VALUE + 0.01, 4)
COUNT = 60
PATIENCE_S = 20.0
REST_S = 0.008, 0.016  # between two changes: whatever follows a change has then been done
SEED = 1
WARMING = 4  # changes of each that are not counted
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
# Both writers say how long they judged what they had read (in nanoseconds), when they called what sends the transaction, and
# when they knew that it stands.
WRITER = """
import sys, time
from paramstore import params
from paramstore._etcd_client import Client
clock, read, write, stamps = time.monotonic_ns, Client.read, Client.write, [0, 0]
def reading(*words, **more):
    found = read(*words, **more)
    stamps[0] = clock()
    return found
def writing(client, guards, puts, *rest):
    if puts:
        stamps[1] = clock()
    return write(client, guards, puts, *rest)
Client.read, Client.write = reading, writing
params.get({key!r})
print("ready", flush=True)
for line in sys.stdin:
    with params.transaction(author={author!r}, force=True, reason="benchmark") as tx:
        tx[{key!r}] = float(line)
    print(stamps[1] - stamps[0], stamps[1], clock(), flush=True)
"""
# The calls of a commit: the lock, what is new, and after as much work as ours had with that, the same keys, texts and guards.
RAW_WRITER = """
import sys, time
from paramstore import _yaml
from paramstore._etcd_client import Client, Guard, Range
from paramstore._etcd_place import Credentials, Place
clock = time.monotonic_ns
ours, raw = Place(({endpoint!r},), {ours!r}), Place(({endpoint!r},), {raw!r})
client = Client(Credentials(ours.endpoints))
asked = [Range(ours.head), Range(ours.values("bench")), Range(*ours.below("journal"))]
(head,), (text,), entries = (answer.found for answer in client.read(asked, 5.0)[1])
lease, seq, at = client.grant(600, 5.0), 1, 0
print("ready", flush=True)
for line in sys.stdin:
    hold = client.lock(raw.lock, lease, 5.0)
    below = [raw.below(kind) for kind in ("values", "schemas")]
    client.read([Range(raw.copying), Range(raw.head), *(Range(*each, at + 1) for each in below)], 5.0)
    read = clock()
    while clock() < read + int(line):
        _yaml.parse(text.value, "bench")
    entry = raw.entry("bench", seq)
    puts = [(raw.head, head.value), (raw.values("bench"), text.value), (entry, entries[-1].value)]
    guards = [Guard(raw.head, at), Guard(hold, exists=True), Guard(raw.values("bench"), at)]
    guards += [Guard(start, at + 1, end) for start, end in below]
    sent = clock()
    done, at, _ = client.write(guards, puts, [hold], [entry, hold], 5.0)
    assert done
    print(sent - read, sent, clock(), flush=True)
    seq += 1
"""
RAW_READER = """
import grpc, threading, time
from paramstore._etcd_messages import MESSAGES
from paramstore._etcd_place import Place
clock, asked = time.monotonic_ns, MESSAGES["WatchRequest"]()
asked.create_request.key, asked.create_request.range_end = Place((), {place!r}).watched
def requests():
    yield asked
    threading.Event().wait()
answers = grpc.insecure_channel({endpoint!r}).stream_stream(
    "/etcdserverpb.Watch/Watch",
    request_serializer=MESSAGES["WatchRequest"].SerializeToString,
    response_deserializer=MESSAGES["WatchResponse"].FromString,
)(requests())
next(answers)
print("ready", flush=True)
for _ in answers:
    print(clock(), flush=True)
"""
READERS = {"in a loop": "pass", "each 0.1 ms": "time.sleep(0.0001)", "each millisecond": "time.sleep(0.001)"}


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


def stamps(pipe: IO[str]) -> list[int]:
    if not select.select([pipe], [], [], PATIENCE_S)[0]:
        raise TimeoutError(f"nothing within {PATIENCE_S:.0f} s")
    return [int(word) for word in pipe.readline().split()]


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


@dataclass
class Way:
    """One reader, and how long after a commit it had it, in seconds: since the call that sends it, and since the
    acknowledgement (below zero, before it)."""

    read: IO[str]
    sent: list[float] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)

    def hear(self, sent: int, done: int, count: bool) -> None:
        (seen,) = stamps(self.read)
        if count:
            self.sent.append((seen - sent) * NS)
            self.acknowledged.append((seen - done) * NS)


def asked(write: IO[str], written: IO[str], value: object) -> list[int]:
    write.write(f"{value}\n")
    write.flush()
    return stamps(written)


def fresh(cluster: Cluster, one: dict[str, str], two: dict[str, str], count: int) -> list[Line]:
    """Ours beside a raw watch, for two kinds of reader. First a raw transaction and a commit in turn, so that whatever else
    goes on hits both; then a raw watch of the very commits that ours brings."""
    places, lines = {"endpoint": cluster.endpoints[0], "ours": "/bench/", "raw": "/plain/"}, []
    with child(WRITER.format(key=KEY, author=AUTHOR), one) as write:
        for value in (
            OTHER,
            VALUE,
        ):  # the first loads what a commit needs, the last is what raw ones are made like
            asked(*write, value)
        with child(RAW_WRITER.format(**places), one) as raw_write:
            for name, pause in READERS.items():
                with child(READER.format(key=KEY, pause=pause), two) as (_, read):
                    with child(RAW_READER.format(place=places["raw"], **places), two) as (_, watch):
                        raw, ours = Way(watch), Way(read)
                        in_turn(write, raw_write, raw, ours, count)
                    lines += [
                        _line(f"a raw watch, beside a reader {name}", raw, raw),
                        _line(f"paramstore, read {name}, in turn with it", ours, raw),
                    ]
                    with child(RAW_READER.format(place=places["ours"], **places), two) as (_, watch):
                        raw, ours = Way(watch), Way(read)
                        at_once(write, raw, ours, count)
                    lines += [
                        _line("a raw watch of the commits of the next line", raw, raw),
                        _line(f"paramstore, read {name}", ours, raw),
                    ]
    return lines


Pipes = tuple[IO[str], IO[str]]


def in_turn(write: Pipes, raw_write: Pipes, raw: Way, ours: Way, count: int) -> None:
    chance, judging = random.Random(SEED), 0
    for number in range(-WARMING, count):
        time.sleep(chance.uniform(*REST_S))
        judging, sent, done = asked(*write, (OTHER, VALUE)[number % 2])
        ours.hear(sent, done, number >= 0)
        time.sleep(chance.uniform(*REST_S))
        _, sent, done = asked(*raw_write, judging)
        raw.hear(sent, done, number >= 0)


def at_once(write: Pipes, raw: Way, ours: Way, count: int) -> None:
    chance = random.Random(SEED)
    for number in range(-WARMING, count):
        time.sleep(chance.uniform(*REST_S))
        _, sent, done = asked(*write, (OTHER, VALUE)[number % 2])
        for way in (raw, ours):
            way.hear(sent, done, number >= 0)


COLUMNS = ("who", "p50", "p99", "longest", "p50, to the raw watch's", "p99, to the raw watch's",
           "p50 after the acknowledgement", "p99 after it")  # fmt: skip


def _line(name: str, way: Way, raw: Way) -> Line:
    found, base = (spread_of(FRESH, name, Seen(each.sent), "") for each in (way, raw))
    after = spread_of(FRESH, name, Seen(way.acknowledged), "")
    figures = (
        *map(_delay, (found.p50, found.p99, found.most)),
        times(found.p50 / base.p50),
        times(found.p99 / base.p99),
    )
    return Line(FRESH, COLUMNS, (name, *figures, *map(_delay, (after.p50, after.p99))))


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
        Line(READS, columns, (row.name, times(row.ratio), f"{times(row.q1)} to {times(row.q3)}"), row.failed)
        for row in rows
    ]


def measured(count: int, repetitions: int) -> list[Line]:
    from etcd_servers import Cluster
    from plainstore import fast_folder

    from paramstore import _copy

    folder = fast_folder()
    with Cluster(folder=folder) as cluster:
        source = write_store(folder / "source", COUNT)
        _copy.copy(str(source), cluster.url("bench"), {})
        one, two = machine(cluster, folder / "one"), machine(cluster, folder / "two")
        with agent(one), agent(two):
            return fresh(cluster, one, two, count) + reads(two, repetitions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 when all was measured, 2 when nothing can be here."""
    options = parser(PROGRAM, __doc__, PAGE).parse_args(arguments)
    if not can_start():
        return 2
    others = quiet.others()
    lines = measured(6, 2) if options.quick else measured(500, 40)
    publish(PROGRAM, options, (FRESH, READS), lines, "one server, data and mirrors in memory", others)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
