"""A read after another process's commit was acknowledged never gives an older value."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plainstore as ps
import pytest
from figures import figure
from processes import Shared, running

from paramstore import ParamStore

FULL = os.environ.get("FAULT_SWEEP") == "full"
DONE, READY, END, SEEN = 0, 1, 2, 5
ON_DISK, IN_MEMORY = (10_000, 100_000) if FULL else (400, 2_000)


@pytest.fixture
def in_memory() -> Iterator[Path]:
    folder = ps.fast_folder()
    yield folder
    shutil.rmtree(folder)


def ways_to_read(store: ParamStore) -> list[Callable[[], Any]]:
    section = store.section("alpha")
    bound = store.at(symbol="BTCUSDT")

    class Gate:
        COUNT = store.live("alpha.count")

    return [
        lambda: store.get("alpha.count"),
        lambda: section["count"],
        lambda: Gate.COUNT,
        lambda: Gate().COUNT,
        lambda: bound.get("alpha.count"),
        lambda: store.get("alpha.count", symbol="ETHUSDT"),
        lambda: store.snapshot()["alpha.count"],
    ]


def stale_reads(root: Path, commits: int, touch_both: bool) -> tuple[int, int]:
    """Return (acknowledgements read after, stale reads) of a process that reads all the time, in turn in every
    way, and so right after each acknowledgement; the next commit begins once it has."""
    shared = Shared()

    def write() -> None:
        store = ParamStore(root)
        shared.wait(READY)
        for number in range(1, commits + 1):
            with store.transaction(author="learner") as tx:
                tx["alpha.count"] = number
                if touch_both and number % 3 == 0:
                    tx["beta.count"] = number
            shared[DONE] = number
            while shared[SEEN] < number:
                os.sched_yield()
        shared[END] = 1

    def read() -> list[int]:
        store = ParamStore(root)
        ways = ways_to_read(store)
        for way in ways:
            way()
        shared[READY] = 1
        reads = stale = seen = 0
        while not shared[END]:
            acknowledged = shared[DONE]
            stale += ways[reads % len(ways)]() < acknowledged
            if acknowledged > seen:
                reads += 1
                shared[SEEN] = seen = acknowledged
        return [reads, stale]

    with running(write, read) as (writer, reader):
        writer.result()
        reads, stale = reader.result()
    return reads, stale


def test_no_stale_read_on_disk(tmp_path: Path) -> None:
    root = ps.make_store(tmp_path / "store", count=0)
    begin = time.monotonic()
    reads, stale = stale_reads(root, ON_DISK, touch_both=True)
    figure(f"staleness on disk, {ON_DISK} commits: each read after", reads)
    figure(f"staleness on disk, {ON_DISK} commits: stale", stale)
    figure(f"staleness on disk, {ON_DISK} commits: seconds", time.monotonic() - begin)
    assert (stale, reads) == (0, ON_DISK)


def test_no_stale_read_in_memory(in_memory: Path) -> None:
    root = ps.make_store(in_memory / "store", count=0)
    begin = time.monotonic()
    reads, stale = stale_reads(root, IN_MEMORY, touch_both=False)
    figure(f"staleness in memory, {IN_MEMORY} commits: each read after", reads)
    figure(f"staleness in memory, {IN_MEMORY} commits: stale", stale)
    figure(f"staleness in memory, {IN_MEMORY} commits: seconds", time.monotonic() - begin)
    assert (stale, reads) == (0, IN_MEMORY)


def test_a_reader_that_opens_the_store_at_any_moment_is_not_stale(in_memory: Path) -> None:
    """A first load may fall between the journal line and the exchange of a commit under way."""
    root = ps.make_store(in_memory / "store", count=0)
    shared = Shared()
    opens = 100 if not FULL else 3000

    def write() -> None:
        store = ParamStore(root)
        number = 0
        while not shared[END]:
            number += 1
            with store.transaction(author="learner") as tx:
                tx[f"{ps.NAMES[number % 2]}.count"] = number
            shared[3 + number % 2] = number

    def read() -> int:
        stale = 0
        shared.wait(3)
        for _ in range(opens):
            store = ParamStore(root)
            stale += store.get("alpha.count") < 0
            until = time.monotonic() + 0.004
            while time.monotonic() < until:
                alpha, beta = shared[3], shared[4]
                stale += store.get("alpha.count") < alpha or store.get("beta.count") < beta
            store.reset()
        shared[END] = 1
        return stale

    with running(write, read) as (_, reader):
        stale = reader.result()
    figure("staleness of a store just opened: opens", opens)
    figure("staleness of a store just opened: stale", stale)
    assert stale == 0
