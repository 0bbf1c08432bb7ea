"""The power fails at any moment of a commit, whatever of the unsynced part has reached the disk.

Each world is made into a directory, opened, and recovered. Then each sync is left out in turn: the model
must find a world that breaks a promise, or the sync would be for nothing, or the model blind.
``powerrun.py`` does it with more worlds of more runs (``scripts/proof power``).
"""

from __future__ import annotations

import ast
import os
import random
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
from killing import Outcome, Rig, Scenario
from mutants import PACKAGE
from powercheck import HereRig, bad, failing_again, judge, judged, misses, record
from powerscenarios import all_scenarios, keeps_order

pytestmark = pytest.mark.skipif(not tracer.AVAILABLE, reason="traces system calls of Linux on x86-64")

FULL = os.environ.get("FAULT_SWEEP") == "full"
WORKERS = os.cpu_count() or 2
SEED = 1
COMMITS = (
    "first commit ever", "one file, second commit", "two files, second commit", "new segment",
    "two files, no exchange", "freeze and thaw", "edited by hand, noted",
)  # fmt: skip
RECOVERIES = (
    "between two exchanges", "torn journal line", "after the journal line", "displaced save", "torn line cut off", "the last line without its end",
    "between link and rename, then a commit, no exchange", "strange file set aside", "journal joined back",
)  # fmt: skip


@pytest.fixture(scope="module")
def rig() -> Iterator[HereRig]:
    folder = ps.fast_folder()
    yield HereRig(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def scenarios(rig: HereRig) -> dict[str, Scenario]:
    return all_scenarios(rig.folder)


@pytest.mark.parametrize("name", COMMITS + RECOVERIES)
def test_no_world_after_a_power_failure_breaks_a_promise(
    name: str, rig: HereRig, scenarios: dict[str, Scenario]
) -> None:
    scenario = scenarios[name]
    worlds = record(rig, scenario).worlds(ordered=keeps_order(scenario))
    outcomes = judged(rig, scenario, worlds, WORKERS)
    figure(f"power loss, {name}: worlds", len(outcomes))
    assert not bad(outcomes)


def test_a_write_that_is_torn_at_any_byte_breaks_no_promise(
    rig: HereRig, scenarios: dict[str, Scenario]
) -> None:
    scenario = scenarios["three commits"]
    size = powerloss.Size(most=8, cuts=20, dice=random.Random(SEED))
    worlds = record(rig, scenario).worlds(size=size)
    outcomes = judged(rig, scenario, worlds, WORKERS)
    figure("power loss, torn at drawn bytes: worlds", len(outcomes))
    assert not bad(outcomes), f"seed {SEED}"


def test_the_power_fails_again_amid_recovery(rig: HereRig, scenarios: dict[str, Scenario]) -> None:
    run = record(rig, scenarios["two files"])
    worlds = random.Random(SEED).sample(run.worlds(), 6)
    count, problems = 0, list[str]()
    for world in worlds:
        size = powerloss.Size(20, 2, random.Random(SEED))
        more, wrong = killing.in_child(partial(failing_again, rig, run, world, size, False))
        count, problems = count + more, problems + wrong
    figure("power loss, a second time amid recovery: worlds", count)
    assert not problems, f"seed {SEED}"


def test_a_reader_goes_forward_where_the_old_bytes_have_no_name(
    rig: HereRig, scenarios: dict[str, Scenario]
) -> None:
    """Only without exchange can a power failure take the displaced file alone: recovery then finishes, and so do readers."""
    root = rig.fresh(scenarios["between two exchanges"])
    (displaced,) = (root / "params").glob(".alpha.yaml.*.tmp")
    displaced.unlink()
    assert killing.watched(root) == (ps.text_of("alpha", 12), ps.text_of("beta", 11))
    assert killing.in_child(partial(rig.read, root)) == [12, 12]
    killing.in_child(partial(rig.recover, root))
    assert killing.in_child(partial(rig.read, root)) == [12, 12]
    assert ps.problems_of(ps.tracked(root)) == []


# where the source asks for a sync, and a run in which it is missed. In other runs some are spare: an exchange keeps the old
# bytes under the other name, so recovery can undo, and several files need their temporary names on disk only where there is
# no exchange; of several lines, the last one's sync is that of all; a folder is made once.
NEEDED = {
    "write_new: file": "one file",
    "append: file": "one file",
    "_confirm: folder": "one file",
    "make_folder: folder": "first commit ever",
    "_create: folder": "first commit ever",
    "_apply: folder": "two files, no exchange",
    "recover: folder": "between two exchanges, then a commit",
    "end_last_line: file": "the last line gets its end",
    "repair: folder": "torn line set aside",
    "repair: file": "torn line cut off",
    "set_aside: folder": "strange file set aside",
    "put_whole: folder": "journal joined back",
}


@pytest.mark.parametrize("site", NEEDED)
def test_without_any_one_sync_some_world_breaks_a_promise(
    site: str, rig: HereRig, scenarios: dict[str, Scenario]
) -> None:
    run = record(rig, scenarios[NEEDED[site]])
    places = [sync for sync, of in run.sites.items() if of == site]
    assert places
    assert any(misses(rig, run, sync) for sync in places)


def test_each_place_in_the_source_that_asks_for_a_sync_is_among_them() -> None:
    asks = {"fsync", "fdatasync", "fsync_directory", "sync_folders"}
    found = set()
    for path in (PACKAGE / "_files.py", PACKAGE / "_journal.py", *(PACKAGE / "_backends").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name not in asks:
                calls = (part.func for part in ast.walk(node) if isinstance(part, ast.Call))
                names = {ast.unparse(called).rpartition(".")[2] for called in calls}
                found |= {node.name} if names & asks else set()
    assert found == {site.partition(":")[0] for site in NEEDED}


RUNTIME_FILES = ("generation", "cache", "memory", "lock", "lock.queue", "attempts.json")


def garbled(raw: bytes, older: bytes, dice: random.Random) -> dict[str, bytes | None]:
    """Return what may have become of a run-time file."""
    at = dice.randrange(max(1, len(raw)))
    flipped = raw[:at] + bytes([(raw[at] if raw else 0) ^ 0x41]) + raw[at + 1 :]
    early = dice.randrange(min(64, max(1, len(raw))))
    header = raw[:early] + b"\xff" + raw[early + 1 :]
    found = {
        "gone": None, "empty": b"", "half": raw[: len(raw) // 2], "zeros": bytes(len(raw)), "older": older,
        f"byte {at} flipped": flipped, f"byte {early} set": header, "random": dice.randbytes(len(raw)),
    }  # fmt: skip
    return {what: become for become, what in {become: what for what, become in found.items()}.items()}


def test_losing_or_garbling_run_time_files_loses_nothing(rig: HereRig) -> None:
    """They are caches and signals: no acknowledged commit hangs on them, and no reader believes them."""
    dice = random.Random(SEED)
    root = ps.make_store(rig.folder / "caches", count=10)
    killing.in_child(lambda: killing.set_count(root, 11, "alpha", "beta"))
    older = ps.copy(root, rig.folder / "caches-older")
    killing.in_child(lambda: killing.set_count(root, 12, "alpha"))
    runtime = root / ".paramstore"
    assert {path.name for path in runtime.iterdir()} <= set(RUNTIME_FILES)
    problems, count = [], 0
    for name in RUNTIME_FILES:
        raw, then = (_bytes(place / ".paramstore" / name) for place in (root, older))
        for what, become in garbled(raw, then, dice).items():
            place = ps.copy(root, rig.folder / f"caches-{count}")
            _put(place / ".paramstore" / name, become)
            found = killing.in_child(partial(_lives_on, rig, place))
            problems += [f"{name} {what} (seed {SEED}): {problem}" for problem in found]
            shutil.rmtree(place)
            count += 1
    figure("run-time files lost or garbled: states", count)
    assert not problems


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _put(path: Path, raw: bytes | None) -> None:
    path.unlink(missing_ok=True)
    if raw is not None:
        path.write_bytes(raw)


def _lives_on(rig: HereRig, root: Path) -> list[str]:
    """Read, commit and read again; return what is wrong."""
    killing.hurry()
    before, first = ps.tracked(root), rig.read(root)
    killing.set_count(root, 13, "beta")
    files, then = ps.tracked(root), rig.read(root)
    found = ps.problems_of(files)
    if (first, then) != ([12, 11], [12, 13]):
        found.append(f"read {first}, and {then} after the commit")
    lost = {entry["id"] for entry in ps.lines_of(before)} - {entry["id"] for entry in ps.lines_of(files)}
    return found + [f"entry {name} is lost" for name in lost]


@pytest.mark.parametrize(
    ("name", "value"), [("first commit ever", 11), ("new segment", 12), ("two files", 12)]
)
def test_killed_first_and_then_the_power_fails(
    name: str, value: int, rig: HereRig, scenarios: dict[str, Scenario]
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
