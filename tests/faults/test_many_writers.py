"""Eight processes increment one number: nothing is lost, revisions have no gaps, and nobody starves."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import plainstore as ps
import pytest
from figures import figure
from processes import Shared, together

from paramstore import ParamStore

pytestmark = pytest.mark.alone

FULL = os.environ.get("FAULT_SWEEP") == "full"
WRITERS, TIMES = 8, 500
FAIREST = 1.5  # busiest to slowest
FAIR_S = 20.0 if FULL else 4.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A directory on disk for the full size; in memory for the daily one, because locks know no disk."""
    if FULL:
        yield tmp_path
        return
    fast = ps.fast_folder()
    yield fast
    shutil.rmtree(fast)


def test_eight_processes_of_five_hundred_increments_end_at_four_thousand(folder: Path) -> None:
    root = ps.make_store(folder / "store", names=("alpha",), count=0)

    def work() -> None:
        store = ParamStore(root)
        for _ in range(TIMES):
            with store.transaction(author="learner", timeout_s=120) as tx:
                tx["alpha.count"] += 1

    begin = time.monotonic()
    together(*[work] * WRITERS)
    figure("8 writers: seconds for 4,000 commits", time.monotonic() - begin)
    files = ps.tracked(root)
    assert ps.values_in(files["params/alpha.yaml"])["count"] == WRITERS * TIMES
    assert ps.problems_of(files) == []
    assert [entry["revision"] for entry in ps.standing(ps.lines_of(files))] == list(
        range(WRITERS * TIMES + 1)
    )
    assert len(ps.lines_of(files)) == WRITERS * TIMES + 1, "an entry was aborted without need"


def shares(root: Path, for_s: float) -> list[list[float]]:
    """Have all writers commit in a loop; return each one's number of commits, its longest and its mean wait in seconds."""
    ready, go = Shared(WRITERS), Shared(1)

    def work(number: int) -> list[float]:
        store = ParamStore(root)
        commits, longest, waits = 0, 0.0, 0.0
        with store.transaction(author="learner", timeout_s=60) as tx:
            tx["alpha.pace"] = tx["alpha.pace"]
        ready[number] = 1
        go.wait(0, timeout_s=60)
        end = time.monotonic() + for_s
        while (begin := time.monotonic()) < end:
            with store.transaction(author="learner", timeout_s=60) as tx:
                waited = time.monotonic() - begin
                tx["alpha.count"] += 1
            commits, longest, waits = commits + 1, max(longest, waited), waits + waited
        return [commits, longest, waits / commits]

    def start() -> None:
        for number in range(WRITERS):  # a first commit imports and parses: it is no measure
            ready.wait(number, timeout_s=60)
        go[0] = 1

    *found, _ = together(*(partial(work, number) for number in range(WRITERS)), start)
    return found


def test_no_writer_gets_much_more_than_another(tmp_path: Path) -> None:
    root = ps.make_store(tmp_path / "store", names=("alpha",), count=0)
    found = shares(root, FAIR_S)
    counts = sorted(int(commits) for commits, _, _ in found)
    longest = max(longest for _, longest, _ in found)
    figure("8 writers: commits per second", sum(counts) / FAIR_S)
    figure("8 writers: busiest to slowest", counts[-1] / counts[0])
    figure("8 writers: longest wait in seconds", longest)
    figure("8 writers: mean wait in seconds", sum(mean for _, _, mean in found) / WRITERS)
    assert counts[-1] <= FAIREST * counts[0]
    assert ps.problems_of(ps.tracked(root)) == []
