"""Kill the writer at every system call, let every disk call fail, and judge what is left.

``FAULT_SWEEP=full`` takes every call and every error; without it, a fixed quarter of the kills at calls that may
find the disk changed, and a fixed sample of the errors (``FAULT_SHARE`` sets how much of them).
"""

from __future__ import annotations

import os
import shutil

import killing
import plainstore as ps
import pytest
import sweeping
import tracer
from figures import figure
from killing import Outcome, Rig

pytestmark = pytest.mark.skipif(not tracer.AVAILABLE, reason="traces system calls of Linux on x86-64")

FULL = os.environ.get("FAULT_SWEEP") == "full"
SHARE_OF_KILLS = 1.0 if FULL else 0.25
SHARE_OF_ERRORS = float(os.environ.get("FAULT_SHARE") or (1.0 if FULL else 0.018))


def run(what: str, sweep: str, share: float) -> list[Outcome]:
    outcomes, seconds = sweeping.swept(sweep, share, FULL)
    figure(f"{what}: points", len(outcomes))
    figure(f"{what}: violations", sum(bool(outcome.problems) for outcome in outcomes))
    figure(f"{what}: seconds", seconds)
    return outcomes


def told(outcomes: list[Outcome]) -> list[str]:
    return [f"{o.scenario}, {o.point}: {o.problems}" for o in outcomes if o.problems]


def test_a_kill_at_any_system_call_leaves_old_or_new() -> None:
    outcomes = run("killed at a system call", "kills", SHARE_OF_KILLS)
    assert len(outcomes) >= 150
    assert not told(outcomes)


def test_a_refusal_of_any_disk_call_is_told_and_leaves_old_or_new() -> None:
    outcomes = run("refused a disk call", "refusals", SHARE_OF_ERRORS)
    assert len(outcomes) >= 150 or "FAULT_SHARE" in os.environ
    assert not told(outcomes)


def test_nothing_but_a_save_of_unknown_origin_is_set_aside() -> None:
    """A commit that had reached the journal is known by its hashes: recovery leaves no ``.conflict``."""
    folder = ps.fast_folder()
    rig = Rig(folder)
    scenario = next(s for s in killing.scenarios(folder) if s.name == "between two exchanges")
    rig.learn(scenario)
    outcomes = [rig.kill(scenario, index) for index in killing.kill_points(scenario, False)[::4]]
    assert outcomes and [outcome.conflicts for outcome in outcomes] == [0] * len(outcomes)
    shutil.rmtree(folder)
