"""Kill the writer at every system call, let every disk call fail, and judge what is left.

``FAULT_SWEEP=full`` takes every call and every error; without it, a fixed half of the kills at calls that may
find the disk changed, and a fixed sample of the errors (``FAULT_SHARE`` sets how much of them).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from functools import partial

import killing
import plainstore as ps
import pytest
import tracer
from figures import figure
from killing import Job, Outcome, Rig, Scenario

pytestmark = pytest.mark.skipif(not tracer.AVAILABLE, reason="traces system calls of Linux on x86-64")

FULL = os.environ.get("FAULT_SWEEP") == "full"
WORKERS = os.cpu_count() or 2
SHARE_OF_KILLS = 1.0 if FULL else 0.3
SHARE_OF_ERRORS = float(os.environ.get("FAULT_SHARE") or (1.0 if FULL else 0.018))


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    folder = ps.fast_folder()
    yield Rig(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def scenarios(rig: Rig) -> list[Scenario]:
    found = killing.scenarios(rig.folder)
    for scenario in found:
        rig.learn(scenario)
    return found


def run(what: str, jobs: list[Job]) -> list[Outcome]:
    begin = time.monotonic()
    outcomes = killing.sweep(jobs, WORKERS)
    figure(f"{what}: points", len(outcomes))
    figure(f"{what}: violations", sum(bool(outcome.problems) for outcome in outcomes))
    figure(f"{what}: seconds", time.monotonic() - begin)
    return outcomes


def told(outcomes: list[Outcome]) -> list[str]:
    return [f"{o.scenario}, {o.point}: {o.problems}" for o in outcomes if o.problems]


def test_a_kill_at_any_system_call_leaves_old_or_new(rig: Rig, scenarios: list[Scenario]) -> None:
    jobs: list[Job] = []
    for scenario in scenarios:
        jobs += [partial(rig.kill, scenario, index) for index in killing.kill_points(scenario, FULL)]
    outcomes = run("killed at a system call", killing.sampled(jobs, SHARE_OF_KILLS, seed=1))
    assert len(outcomes) >= 150
    assert not told(outcomes)


def test_a_refusal_of_any_disk_call_is_told_and_leaves_old_or_new(
    rig: Rig, scenarios: list[Scenario]
) -> None:
    jobs: list[Job] = []
    for scenario in scenarios:
        jobs += [partial(rig.fail, scenario, *point) for point in killing.fail_points(scenario)]
    outcomes = run("refused a disk call", killing.sampled(jobs, SHARE_OF_ERRORS, seed=1))
    assert not told(outcomes)


def test_nothing_but_a_save_of_unknown_origin_is_set_aside(rig: Rig, scenarios: list[Scenario]) -> None:
    """A commit that had reached the journal is known by its hashes: recovery leaves no ``.conflict``."""
    scenario = next(s for s in scenarios if s.name == "between two exchanges")
    outcomes = [rig.kill(scenario, index) for index in killing.kill_points(scenario, False)[::4]]
    assert [outcome.conflicts for outcome in outcomes] == [0] * len(outcomes)
