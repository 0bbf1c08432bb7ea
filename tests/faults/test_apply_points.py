"""Kill a migration at every system call, refuse each, save a source at each, cut the power, and judge what is left.

``FAULT_SWEEP=full`` takes every point; without it a fixed sample (``FAULT_SHARE`` sets how much of each kind).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import applying
import killing
import plainstore as ps
import pytest
import tracer
from applying import Case, Rig
from figures import figure
from mutants import Mutant, planted, run_on

pytestmark = pytest.mark.skipif(not tracer.AVAILABLE, reason="traces system calls of Linux on x86-64")

FULL = os.environ.get("FAULT_SWEEP") == "full"
WORKERS = os.cpu_count() or 2
SHARES = {"kills": 0.06, "refusals": 0.006, "saves": 0.01, "saves of values": 0.02, "power": 0.01}
APPLY, PREPARE = "migrate/_apply.py", "migrate/_prepare.py"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    folder = ps.fast_folder()
    yield Rig(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cases(rig: Rig) -> dict[str, Case]:
    return applying.cases(rig.folder)


@pytest.mark.parametrize("check", SHARES)
def test_a_migration_ends_in_the_bytes_of_an_undisturbed_one(
    check: str, rig: Rig, cases: dict[str, Case]
) -> None:
    share = float(os.environ.get("FAULT_SHARE") or (1.0 if FULL else SHARES[check]))
    jobs = []
    for case in cases.values():
        if check.startswith("saves") and case.command == "revert":
            continue  # takes its bytes from what stands, edited or not
        points = (
            applying.kills(rig, case, True)
            if check == "kills" and FULL
            else applying.CHECKS[check](rig, case)
        )
        jobs += points
    chosen = killing.sampled(jobs, share, applying.SEED)
    outcomes = killing.sweep(chosen, WORKERS)
    figure(f"migration, {check}: points", f"{len(outcomes)} of {len(jobs)}")
    assert len(outcomes) >= 10
    assert not applying.told(outcomes), f"seed {applying.SEED}"


# a sync that a run can do without, and why it is there
SPARE = {
    # the root for each folder made in it, and once more for one whose maker may have died; the folder of the plan before
    # the marker gets its name there (which is synced), and after the marker is gone (one that comes back finds all done)
    "apply": ["fsync(root)", "fsync(root)", "fsync(root)", "fsync(plans)", "fsync(plans)"],
    "apply more": ["fsync(root)", "fsync(root)", "fsync(plans)", "fsync(plans)"],
    "revert": ["fsync(plans)"],
}


@pytest.mark.parametrize("name", SPARE if FULL else ["revert"])  # a minute and more
def test_without_any_one_sync_some_world_breaks_a_promise(
    name: str, rig: Rig, cases: dict[str, Case]
) -> None:
    assert applying.spare_syncs(rig, cases[name]) == SPARE[name]


# a planted bug, the check and the case that must report it, and at which calls it shows
CAUGHT = [
    (
        Mutant("staged bytes are not synced", APPLY, "        os.fsync(fd)\n\n\ndef _sync", "\n\ndef _sync"),
        "power",
        "revert",
        "rename(",
    ),
    (
        Mutant(
            "the marker before the staged names are synced",
            APPLY,
            "    for folder in {os.path.dirname(change.path) for change in changes if change.after is not None}:\n        _sync(folder)\n",
            "",
        ),
        "power",
        "apply",
        "rename(a.yaml",
    ),
    (
        Mutant(
            "new folders are not synced",
            APPLY,
            "        _make_folder(folder, made)\n",
            "        os.makedirs(folder, exist_ok=True)\n",
        ),
        "power",
        "apply",
        "rename(c.py",
    ),
    (
        Mutant(
            "the store's names are not synced before a source has its own",
            APPLY,
            "                    step.take(marker)\n                _sync(folder)\n",
            "                    step.take(marker)\n            for folder in {os.path.dirname(step.path) for step in steps}:\n"
            "                _sync(folder)\n",
        ),
        "power",
        "apply",
        "rename(c.py",
    ),
    (
        Mutant("sources before the store", APPLY, "in groupby(steps, ", "in groupby(steps[::-1], "),
        "kills",
        "apply",
        "rename(",
    ),
    (
        Mutant(
            "the marker goes before the last files have their content",
            APPLY,
            "                for step in members:\n                    step.take(marker)\n                _sync(folder)\n        os.unlink(marker)\n",
            "                members = list(members)\n                if members[-1] is steps[-1]:\n                    os.unlink(marker)\n"
            "                for step in members:\n                    step.take(marker)\n                _sync(folder)\n",
        ),
        "kills",
        "apply",
        "rename(",
    ),
    (
        Mutant(
            "a marker is left behind with nothing staged",
            APPLY,
            "        _unmark(marker, folder, error)\n",
            "",
        ),
        "refusals",
        "apply",
        "fsync(plans",
    ),
    (
        Mutant(
            "a refused sync is passed over",
            APPLY,
            "    try:\n        os.fsync(fd)\n    finally:\n        os.close(fd)\n",
            "    with suppress(OSError):\n        os.fsync(fd)\n    os.close(fd)\n",
        ),
        "refusals",
        "apply",
        "fsync(",
    ),
    (
        Mutant(
            "what is staged stays when it was refused",
            APPLY,
            "        _unstage(changes, made)\n",
            "",
        ),
        "refusals",
        "apply",
        "write(",
    ),
    (
        Mutant(
            "going on without comparing",
            APPLY,
            "            return EDITED if there else UNKNOWN\n",
            "            return WAITS if there else DONE\n",
        ),
        "saves",
        "apply, going on",
        "read(",
    ),
    (
        Mutant("no look right before the rename", APPLY, "        _refuse(marker, [self], [state])\n", ""),
        "saves",
        "apply",
        "openat(",
    ),
    (
        Mutant(
            "touched before all were looked at", APPLY, "            _refuse(marker, steps, states)\n", ""
        ),
        "saves",
        "apply, going on",
        "read(",
    ),
    (
        Mutant(
            "places in old text are used in new text",
            PREPARE,
            "            if source.sha256 != seen[file]:",
            "            if False:",
        ),
        "saves",
        "apply",
        "read(a.py",
    ),
    (
        Mutant(
            "a commit in between is overwritten",
            PREPARE,
            "            found[file] = before[file], raw\n",
            "            found[file] = bytes_of(os.path.join(root, file)), raw\n",
        ),
        "saves of values",
        "apply more",
        "a.schema.json",
    ),
    (
        Mutant(
            "a marker stays though nothing was touched",
            APPLY,
            "        _give_up_untouched(marker, edited)\n",
            "",
        ),
        "saves of values",
        "apply more",
        "newfstatat(a.schema.json.paramstore-new",
    ),
    (
        Mutant(
            "what cannot be read is passed over",
            PREPARE,
            "    unseen = {file: why for",
            "    unseen = {} and {file: why for",
        ),
        "refusals",
        "apply",
        "openat(c.py",
    ),
]


@pytest.mark.parametrize(
    ("bug", "check", "name", "part"), CAUGHT, ids=[bug.name.replace(" ", "-") for bug, *_ in CAUGHT]
)
def test_a_planted_bug_is_caught(bug: Mutant, check: str, name: str, part: str, tmp_path: Path) -> None:
    probe = str(Path(__file__).with_name("applying.py"))
    done = run_on(planted(tmp_path, bug), probe, check, name, part)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("violation"), done.stdout + done.stderr
