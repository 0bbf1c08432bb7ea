"""Every point of a sweep, run in a process that has imported little else: a fork of it costs much less than one of pytest's.

python tests/faults/sweeping.py kills|refusals SHARE [full]
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from os import cpu_count
from typing import Any

import killing
import plainstore as ps
from killing import Job, Outcome, Rig, Scenario
from mutants import run_on

WORKERS = cpu_count() or 2
PATIENCE_S = 4 * 3600.0  # all points of all scenarios take an hour


def kills(rig: Rig, scenario: Scenario, full: bool) -> list[Job]:
    return [partial(rig.kill, scenario, index) for index in killing.kill_points(scenario, full)]


def refusals(rig: Rig, scenario: Scenario, _: bool) -> list[Job]:
    return [partial(rig.fail, scenario, *point) for point in killing.fail_points(scenario)]


SWEEPS = {"kills": kills, "refusals": refusals}


def outcomes(what: str, share: float, full: bool) -> tuple[list[Outcome], float]:
    """Run a share of a sweep's points here; return what came of them, and in how many seconds."""
    folder = ps.fast_folder()
    try:
        rig = Rig(folder)
        jobs: list[Job] = []
        for scenario in killing.scenarios(folder):
            rig.learn(scenario)
            jobs += SWEEPS[what](rig, scenario, full)
        begin = time.monotonic()
        found = killing.sweep(killing.sampled(jobs, share, seed=1), WORKERS)
        return found, time.monotonic() - begin
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def swept(what: str, share: float, full: bool) -> tuple[list[Outcome], float]:
    """Have a process of its own run a share of a sweep's points."""
    words = (what, str(share), *["full"] * full)
    done = run_on(None, __file__, *words, timeout_s=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return [Outcome(**outcome) for outcome in said["outcomes"]], said["seconds"]


def main(words: Sequence[str]) -> None:
    found, seconds = outcomes(words[0], float(words[1]), "full" in words[2:])
    sys.stdout.write(json.dumps({"outcomes": [asdict(outcome) for outcome in found], "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1:])
