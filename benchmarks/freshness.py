"""Freshness: how long after a commit was acknowledged in one process another process first reads the new value."""

from __future__ import annotations

import random
import select
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import IO

from benchmarks.changing import FOLLOWED, PATIENCE_S
from benchmarks.commits import OTHER_VALUE
from benchmarks.contenders import Contender
from benchmarks.figures import Seen, Spread, against_ours, spread_of
from benchmarks.plan import Plan
from benchmarks.stores import SIZES, VALUE, workspace

COUNT = SIZES[0]
PAUSES = {"in a loop": "pass", "each millisecond": "time.sleep(0.001)"}
SEED = 1
NS = 1e-9
WARMING = 2  # commits; the first ones of a process load what they need

# Both clocks are the machine's monotonic one, which all its processes share.
_READER = """
import time
{code}
clock = time.monotonic_ns
known, began = {read}, 0
print("ready", flush=True)
while True:
    last, began = began, clock()
    value = {read}
    if value != known:
        print(last, clock(), flush=True)
        known = value
    {pause}
"""
_WRITER = """
import sys, time
{code}
print("ready", flush=True)
for line in sys.stdin:
    value = float(line)
{change}
    print(time.monotonic_ns(), flush=True)
"""


def rows(plan: Plan) -> list[Spread]:
    """Everything of ``changing`` that another process can follow, one after another, for two kinds of reader."""
    return [line for words in plan.pauses for line in _section(words, plan)]


def _section(words: str, plan: Plan) -> list[Spread]:
    section = f"Freshness: another process reads {words}"
    found = []
    for contender in FOLLOWED:
        if missing := contender.absence:
            found.append(Spread(section, contender.name, missing=missing))
            continue
        try:
            with workspace(plan.directory) as parent, contender.laid(parent / "files", COUNT) as root:
                seen = _watch(contender, root, PAUSES[words], plan)
            found.append(spread_of(section, contender.name, seen, contender.lacks))
        except Exception as error:  # noqa: BLE001 - one that changed its API must not cost the others
            words_of = f"failed: {type(error).__name__}: {error}"[:160]
            found.append(Spread(section, contender.name, missing=words_of, failed=True))
    return against_ours(found)


def _watch(contender: Contender, root: Path, pause: str, plan: Plan) -> Seen:
    reader_code = _READER.format(code=contender.loaded(root), read=contender.first_read, pause=pause)
    change = textwrap.indent(contender.change, "    ")
    writer_code = _WRITER.format(code=contender.opened(root), change=change)
    chance, seen, values = random.Random(SEED), Seen(), cycle([OTHER_VALUE, VALUE])

    def commit(write: IO[str]) -> None:
        time.sleep(chance.uniform(0, contender.period_s))
        write.write(f"{next(values)}\n")
        write.flush()

    with _child(reader_code) as (_, read), _child(writer_code) as (write, acknowledged):
        for _ in range(WARMING):
            commit(write)
            _line(acknowledged)
            _line(read)
        end = time.monotonic() + plan.fresh_s
        while len(seen.delays_s) < plan.seen and time.monotonic() < end:
            commit(write)
            (done,) = _line(acknowledged)
            last, first = _line(read)
            seen.delays_s.append((first - done) * NS)
            seen.stale += last > done
            seen.early += first < done
    return seen


def _line(pipe: IO[str]) -> list[int]:
    if not select.select([pipe], [], [], PATIENCE_S)[0]:
        raise TimeoutError(f"nothing within {PATIENCE_S:.0f} s")
    words = pipe.readline().split()
    if not words:
        raise RuntimeError("the process ended")
    return [int(word) for word in words]


@contextmanager
def _child(code: str) -> Iterator[tuple[IO[str], IO[str]]]:
    """A process that has said it is ready, and is ended afterwards."""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            if child.stdin is None or child.stdout is None or child.stdout.readline() != "ready\n":
                raise RuntimeError("the process did not begin")
            yield child.stdin, child.stdout
        finally:
            child.kill()
