"""Power failures at full size: ``python tests/faults/powerrun.py [--worlds 25000] [--seed 1] [--only SCENARIO]``.

Every scenario is run once under the tracer. Then its worlds are judged: every one of each moment, or a seeded sample, with
each unsynced write torn at drawn bytes; the run is repeated with other draws until there are as many worlds as asked for. A
share of the worlds has the power fail again while they are recovered. Last, each sync of each scenario is left out in turn:
every place in the source that asks for one must be missed in some scenario. Ends with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import killing
import plainstore as ps
import powerloss
from killing import Scenario
from powercheck import HereRig, Run, bad, failing_again, judged, misses, record
from powerscenarios import all_scenarios, keeps_order

AGAIN = 0.03  # the share of worlds whose recovery meets a power failure too
MOST, CUTS = 400, 12
Say = Callable[[str], None]


def worlds_of(rig: HereRig, run: Run, seed: int, seen: set[int]) -> list[powerloss.World]:
    """Return worlds of one run that were not judged before."""
    size = powerloss.Size(MOST, CUTS, random.Random(f"{seed} {run.scenario.name}"))
    found = [w for w in run.worlds(ordered=keeps_order(run.scenario), size=size) if hash(w) not in seen]
    seen.update(map(hash, found))
    return found


def fail_all(
    rig: HereRig, scenarios: list[Scenario], wanted: int, seed: int, say: Say
) -> tuple[int, list[str]]:
    """Judge ``wanted`` worlds or more; return how many, and what was wrong."""
    count, again, problems = 0, 0, list[str]()
    seen: set[int] = set()
    runs = [record(rig, scenario) for scenario in scenarios]
    begun = time.monotonic()
    while count + again < wanted and not problems:
        before = count
        for run in runs:
            worlds = worlds_of(rig, run, seed, seen)
            problems += bad(judged(rig, run.scenario, worlds, workers=1))
            count += len(worlds)
            chosen = random.Random(seed).sample(worlds, min(len(worlds), 1 + round(len(worlds) * AGAIN)))
            more, wrong = killing.in_child(partial(twice, rig, run, chosen, seed))
            again, problems = again + more, problems + wrong
            say(f"{run.scenario.name}: {len(worlds)} and {more} worlds, {len(problems)} bad")
        say(
            f"seed {seed}: {count} worlds, {again} of a second failure, {len(problems)} bad, {time.monotonic() - begun:.0f} s"
        )
        if count == before:
            break
        seed += 1
    return count + again, problems


def twice(rig: HereRig, run: Run, worlds: list[powerloss.World], seed: int) -> tuple[int, list[str]]:
    """Fail in the middle of the recovery of each of ``worlds``."""
    count, problems = 0, list[str]()
    for number, world in enumerate(worlds):
        size = powerloss.Size(20, 2, random.Random(f"{seed} {number}"))
        more, wrong = failing_again(rig, run, world, size, keeps_order(run.scenario))
        count, problems = count + more, problems + wrong
    return count, problems


def leave_out_each(rig: HereRig, scenarios: list[Scenario], say: Say) -> tuple[Counter[str], Counter[str]]:
    """Leave out each sync in turn; return how often each place in the source was missed, and how often it was spare."""
    missed: Counter[str] = Counter()
    spare: Counter[str] = Counter()
    for scenario in scenarios:
        run = record(rig, scenario)
        for sync, site in run.sites.items():
            if site.startswith("save_"):  # the editor's own
                continue
            why = killing.in_child(partial(misses, rig, run, sync, powerloss.Size(MOST)))
            (missed if why else spare)[site] += 1
            if not why:
                say(f"spare in {scenario.name!r}: {run.calls[sync]} of {site}")
    return missed, spare


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=25_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="scenarios whose name has this in it")
    asked = parser.parse_args(words)
    folder: Path = ps.fast_folder("parampower-")

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        rig = HereRig(folder)
        scenarios = [s for name, s in all_scenarios(folder).items() if (asked.only or "") in name]
        count, problems = fail_all(rig, scenarios, asked.worlds, asked.seed, say)
        missed, spare = leave_out_each(rig, scenarios, say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for problem in problems[:20]:
        say(f"violation: {problem} (seed {asked.seed})")
    never = sorted(spare.keys() - missed.keys())
    for site in never:
        say(f"violation: no scenario needs the sync of {site}")
    figures = {
        "scenarios": len(scenarios), "worlds": count, "bad": len(problems), "syncs left out": sum((missed + spare).values()),
        "missed": dict(missed), "spare in that run": dict(spare), "seed": asked.seed,
    }  # fmt: skip
    say(json.dumps(figures))
    return int(bool(problems or (never and not asked.only)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
