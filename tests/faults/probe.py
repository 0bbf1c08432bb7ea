"""Runs one check of the faults on whatever package comes first on the path; ends with 1 if it reports a violation.

python tests/faults/probe.py kills|refusals|power|random|telling|amid|fair [SCENARIO[: REFUSAL]]
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

import killing
import plainstore as ps
import random_kills
from killing import Job, Rig


def kills(rig: Rig, name: str) -> list[str]:
    scenario = next(s for s in killing.scenarios(rig.folder) if s.name == name)
    rig.learn(scenario)
    return told([partial(rig.kill, scenario, index) for index in killing.kill_points(scenario, False)])


def refusals(rig: Rig, name: str) -> list[str]:
    name, _, code = name.partition(": ")
    scenario = next(s for s in killing.scenarios(rig.folder) if s.name == name)
    rig.learn(scenario)
    return told(
        [
            partial(rig.fail, scenario, index, r)
            for index, r in killing.fail_points(scenario)
            if code in str(r)
        ]
    )


def power(rig: Rig, name: str) -> list[str]:
    from powercheck import HereRig, judge, record
    from powerscenarios import all_scenarios, keeps_order

    scenario = all_scenarios(rig.folder)[name]
    worlds = record(rig, scenario).worlds(ordered=keeps_order(scenario))
    here = HereRig(rig.folder)
    return told([partial(judge, here, scenario, world) for world in worlds])


def at_random(rig: Rig, name: str) -> list[str]:
    return random_kills.rounds(rig.folder, int(name or 100), seed=1).problems


def told(jobs: list[Job]) -> list[str]:
    outcomes = killing.sweep(jobs, 2)
    return [f"{o.scenario}, {o.point}: {problem}" for o in outcomes for problem in o.problems]


def telling(rig: Rig, _: str) -> list[str]:
    import test_random_kills

    return test_random_kills.untold_after_a_kill(rig.folder)


def amid(rig: Rig, _: str) -> list[str]:
    import test_saved_amid as t

    found = []
    for number in range(3):
        for check in (
            partial(t.test_readers_see_all_or_nothing_beside_a_save, exchanges=number, edited="alpha"),
            partial(t.test_what_is_in_flight_hides_nothing_that_was_acknowledged, exchanges=number),
            partial(t.test_a_save_that_is_not_believed_hides_nothing_that_was_acknowledged, saved=t.EDITED),
        ):
            try:
                check(rig.folder / f"amid-{number}-{check.func.__name__}")
            except AssertionError as error:
                found.append(f"{check.func.__name__}: {error}")
    return found


def fair(rig: Rig, _: str) -> list[str]:
    import test_many_writers as t

    root = ps.make_store(rig.folder / "fair", names=("alpha",), count=0)
    counts = sorted(commits for commits, *_ in t.shares(root, 1.0))
    return [f"unfair: {counts}"] if counts[-1] > t.FAIREST * counts[0] else []


CHECKS = {
    "fair": fair,
    "amid": amid,
    "telling": telling,
    "kills": kills,
    "refusals": refusals,
    "power": power,
    "random": at_random,
}


def main() -> int:
    check, name, *_ = (*sys.argv[1:], "")
    folder: Path = ps.fast_folder()
    try:
        problems = CHECKS[check](Rig(folder), name)
    except AssertionError as error:  # already the undisturbed run breaks a promise
        problems = [str(error)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for problem in problems[:5]:
        sys.stdout.write(f"violation: {problem}\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
