"""The power fails at any moment of a commit, whatever of the unsynced part has reached the disk.

Each world is made into a directory, opened, and recovered. Then each sync is left out in turn: the model
must find a world that breaks a promise, or the sync would be for nothing, or the model blind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import killing
import plainstore as ps
import powerloss
import pytest
import tracer
from figures import figure
from killing import Outcome, Report, Rig, Scenario

pytestmark = pytest.mark.skipif(not tracer.AVAILABLE, reason="traces system calls of Linux on x86-64")

FULL = os.environ.get("FAULT_SWEEP") == "full"
WORKERS = os.cpu_count() or 2
COMMITS = ("first commit ever", "one file, second commit", "two files, second commit", "new segment")
RECOVERIES = ("between two exchanges", "torn journal line", "after the journal line", "displaced save")


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    folder = ps.fast_folder()
    yield Rig(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def scenarios(rig: Rig) -> dict[str, Scenario]:
    return {scenario.name: scenario for scenario in killing.scenarios(rig.folder)}


def record(rig: Rig, scenario: Scenario) -> tuple[Path, str, list[tracer.Call]]:
    """Run the scenario once; return its base as it was when the tracing began, the root, and the calls."""
    root = rig.fresh(scenario)
    base = rig.folder / f"{root.name}-base"
    calls, _, report = killing.traced(scenario, root, None, before=lambda: ps.copy(root, base))
    assert report.acknowledged, report
    scenario.new = killing.watched(root)
    return base, str(root), calls


def judge(rig: Rig, scenario: Scenario, world: powerloss.World) -> Outcome:
    """Materialise one world and hold it against the promises."""
    outcome = Outcome(scenario.name, f"power fails after {world.after}", [])
    root = world.materialise(rig.folder / f"world-{os.getpid()}")
    acknowledged = Report(acknowledged=world.acknowledged and not scenario.recovers)
    try:
        rig.judge_crash(scenario, root, outcome)
        rig.judge_recovery(scenario, root, acknowledged, outcome)
    except (AssertionError, OSError) as error:
        outcome.problems.append(str(error))
    shutil.rmtree(root)
    return outcome


def bad(outcomes: list[Outcome]) -> list[str]:
    return [f"{o.scenario}, {o.point}: {o.problems}" for o in outcomes if o.problems]


@pytest.mark.parametrize("name", COMMITS + RECOVERIES)
def test_no_world_after_a_power_failure_breaks_a_promise(
    name: str, rig: Rig, scenarios: dict[str, Scenario]
) -> None:
    scenario = scenarios[name]
    base, root, calls = record(rig, scenario)
    # what recovery itself does in a directory is judged as file systems with a log order it
    worlds = powerloss.all_worlds(base, root, calls, ordered=name in RECOVERIES)
    outcomes = killing.sweep([partial(judge, rig, scenario, world) for world in worlds], WORKERS)
    figure(f"power loss, {name}: worlds", len(outcomes))
    assert not bad(outcomes)


def blind_to(rig: Rig, scenario: Scenario) -> list[str]:
    """Return the syncs of one run that no world misses."""
    base, root, calls = record(rig, scenario)
    good = {world.tree for world in powerloss.all_worlds(base, root, calls)}
    found = []
    for index in powerloss.syncs(calls):
        worlds = [w for w in powerloss.all_worlds(base, root, calls, without=index) if w.tree not in good]
        if not any(judge(rig, scenario, world).problems for world in worlds):
            found.append(str(calls[index]))
    figure(f"power loss, {scenario.name}: syncs", len(powerloss.syncs(calls)))
    figure(f"power loss, {scenario.name}: of them proved necessary", len(powerloss.syncs(calls)) - len(found))
    return found


# a sync that one run could do without, and why it is there
SPARE = {
    # the commit's own line is synced before anything depends on the line of revision 0
    "first commit ever": ["fdatasync(00000001.jsonl)"],
    # an exchange keeps the old bytes under the other name, so recovery can undo; a plain rename does not
    "two files, second commit": ["fsync(params)"],
    "two files, no exchange": [],
    # for the case that the directory's maker was killed before its name was on disk
    "new segment": ["fsync(params)"],
    "one file, second commit": [],
}


@pytest.mark.parametrize("name", SPARE)
def test_without_any_one_sync_some_world_breaks_a_promise(
    name: str, rig: Rig, scenarios: dict[str, Scenario]
) -> None:
    assert blind_to(rig, scenarios[name]) == SPARE[name]


@pytest.mark.parametrize(
    ("name", "value"), [("first commit ever", 11), ("new segment", 12), ("two files", 12)]
)
def test_killed_first_and_then_the_power_fails(
    name: str, value: int, rig: Rig, scenarios: dict[str, Scenario]
) -> None:
    """A second process recovers from a kill, commits, and is acknowledged: that must outlive the power,
    though the dead one's own names and lines were never synced."""
    scenario = scenarios[name]
    rig.learn(scenario)
    points = killing.kill_points(scenario, FULL)[:: 1 if FULL else 2]
    jobs = [partial(_kill_then_fail, rig, scenario, index) for index in points]
    outcomes = killing.sweep(jobs, WORKERS)
    figure(f"kill, then power loss, {name}: kill points", len(outcomes))
    assert not bad(outcomes)


def _kill_then_fail(rig: Rig, scenario: Scenario, index: int) -> Outcome:
    outcome = Outcome(scenario.name, f"kill at {scenario.calls[index]}, then the power fails", [])
    root = rig.fresh(scenario)
    base = ps.copy(root, rig.folder / f"{root.name}-base")
    first, _, _ = killing.traced(scenario, root, lambda i, _: tracer.KILL if i == index else 0)
    second = Scenario(scenario.name, scenario.base, lambda where: killing.set_count(where, 13, "alpha"))
    after, _, report = killing.traced(second, root, None)
    second.new = killing.watched(root)
    second.old = scenario.old
    second.fair = {second.new}
    if not report.acknowledged:
        outcome.problems.append(report.message)
    worlds = powerloss.all_worlds(base, str(root), [*first[:-1], *after])
    for world in worlds:
        if world.acknowledged:
            outcome.problems += judge(rig, second, world).problems
    shutil.rmtree(root)
    shutil.rmtree(base)
    return outcome
