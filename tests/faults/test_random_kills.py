"""Learners, readers and an editor killed at random moments; and a publisher killed while it tells the readers.

``FAULT_SWEEP=full`` kills ten thousand times; ``random_kills.py`` takes any number, and a seed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import plainstore as ps
import pytest
import random_kills
import tracer
from figures import figure

from paramstore import _generation

FULL = os.environ.get("FAULT_SWEEP") == "full"
KILLS, SEED = 10_000 if FULL else 100, 9


@pytest.fixture
def folder() -> Iterator[Path]:
    found = ps.fast_folder()
    yield found
    shutil.rmtree(found)


def test_what_was_acknowledged_outlives_kills_at_random_moments(folder: Path) -> None:
    total = random_kills.rounds(folder, KILLS, SEED)
    for name in ("kills", "acknowledged", "entries", "saves", "conflicts"):
        figure(f"killed at random: {name}", getattr(total, name))
    figure("killed at random: violations", len(total.problems))
    figure("killed at random: reads of half a commit, or of one too old", len(total.reads))
    assert total.problems == []
    assert (
        total.reads == [] or not FULL
    )  # rare, and a fault still open: the small size must not fail by chance
    assert total.acknowledged > KILLS // 4


@pytest.mark.skipif(not tracer.AVAILABLE, reason="traces system calls of Linux on x86-64")
def test_every_reader_is_told_though_a_publisher_died(folder: Path) -> None:
    assert untold_after_a_kill(folder) == []


def untold_after_a_kill(folder: Path) -> list[str]:
    """Kill a publisher at each of its calls; return after which of them the next one leaves a reader asleep."""
    found = []
    for start in (0, _generation.SLOTS - 2):  # in the middle of a file, and where one is used up
        index = 0
        while True:
            path = folder / f"generation-{start}-{index}"
            _generation.create(str(path), _generation.Published(start, 1, 1, 100))
            flag = _generation.Generation(str(path)).flag(start)
            call = _killed_at(path, index)
            if call is None:
                break
            _generation.publish(str(path), 3, 1, 300)
            if not flag:
                found.append(f"killed at {index} {call} after generation {start}: a reader is never told")
            index += 1
    return found


def _killed_at(path: Path, index: int) -> tracer.Call | None:
    """Publish twice in a child that dies at call ``index``; return that call, or ``None`` if there is none."""
    pid = os.fork()
    if pid == 0:
        tracer.trace_me()
        for revision in (2, 3):
            _generation.publish(str(path), revision, 1, 100 * revision)
        os._exit(0)
    calls, _ = tracer.follow(pid, str(path), lambda i, _: tracer.KILL if i == index else 0)
    return calls[index] if len(calls) > index else None
