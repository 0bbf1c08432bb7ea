"""Records a scenario's system calls, and holds the worlds that a power failure can make of them against the promises.

A world is opened, read and recovered in this process, without a fork, so that tens of thousands take minutes.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import killing
import plainstore as ps
import powerloss
import tracer
from killing import Outcome, Report, Rig, Scenario

from paramstore import _files, _lock
from paramstore._backends.local import LocalBackend
from paramstore._options import Options

BATCH = 500  # worlds that one process judges: what it maps of each is never unmapped
Bytes = tuple[bytes, ...]


@dataclass
class PowerScenario(Scenario):
    """A scenario with several acknowledgements (``steps``: the bytes after each, from none on), and with bytes that must
    be found in some file whatever happens (``keeps``)."""

    steps: tuple[Bytes, ...] = ()
    keeps: tuple[bytes, ...] = ()
    joined: bool = False  # two journals become one: its revisions are counted, not read


@dataclass
class Run:
    """One undisturbed run of a scenario: where it began, its calls, and who asked for each sync."""

    scenario: Scenario
    base: Path
    root: str
    calls: list[tracer.Call]
    sites: dict[int, str] = field(default_factory=dict)

    def worlds(
        self, without: int | None = None, ordered: bool = False, size: powerloss.Size | None = None
    ) -> list[powerloss.World]:
        return powerloss.all_worlds(self.base, self.root, self.calls, without, ordered, size)


def record(rig: Rig, scenario: Scenario) -> Run:
    """Run the scenario once, traced."""
    root = rig.fresh(scenario)
    base = rig.folder / f"{root.name}-base"
    calls, _, report = killing.traced(scenario, root, None, before=lambda: ps.copy(root, base))
    assert report.acknowledged, report
    scenario.new = killing.watched(root)
    syncs = powerloss.syncs(calls)
    assert len(syncs) == len(report.sites), (scenario.name, syncs, report.sites)
    return Run(scenario, base, str(root), calls, dict(zip(syncs, report.sites, strict=True)))


class HereRig(Rig):
    """A rig that reads and recovers in its own process, below the store's door, so that no thread looks at the files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.exchange = _files.exchange_names

    def read(self, root: Path) -> list[int]:
        documents = LocalBackend(str(root), Options()).load(None).documents
        return [documents[name].values["count"] for name in ps.NAMES]

    def recover(self, root: Path) -> None:
        with LocalBackend(str(root), Options()).session(5.0, None):
            pass
        _lock._shared.clear()  # keyed by path, and the next world's is another


def judge(rig: Rig, scenario: Scenario, world: powerloss.World) -> Outcome:
    """Materialise one world and hold it against the promises."""
    killing.hurry()
    if isinstance(rig, HereRig):  # a file system does not learn to exchange names while the power is off
        vars(_files)["exchange_names"] = _refuse if "renameat2" in scenario.always else rig.exchange
    outcome = Outcome(scenario.name, f"power fails after {world.after}", [])
    root = world.materialise(rig.folder / f"world-{os.getpid()}")
    steps = scenario.steps if isinstance(scenario, PowerScenario) else ()
    last = max(1, len(steps) - 1)
    acknowledged = Report(acknowledged=world.acknowledged >= last and not scenario.recovers)
    try:
        if acknowledged.acknowledged:  # then any tool can read the journal as it lies there
            ps.lines_of(ps.tracked(root))
        if isinstance(scenario, PowerScenario) and scenario.joined:
            rig.recover(root)
        else:
            rig.judge_crash(scenario, root, outcome)
            rig.judge_recovery(scenario, root, acknowledged, outcome)
        outcome.problems += _lost(scenario, world, root)
        if steps and killing.watched(root) not in steps[world.acknowledged :]:
            outcome.problems.append(f"{world.acknowledged} commits were acknowledged, and one is lost")
    except Exception as error:  # noqa: BLE001 - an error of the store is a violation like others
        outcome.problems.append(f"{type(error).__name__}: {error}")
    shutil.rmtree(root)
    return outcome


def _refuse(a: str, b: str) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), a, None, b)


def _lost(scenario: Scenario, world: powerloss.World, root: Path) -> list[str]:
    """Return what was acknowledged, or was there before, and is in no file any more."""
    files = ps.tracked(root)
    raws = [raw for name, raw in files.items() if name.endswith(".jsonl")]
    held = {record["id"] for record in ps.lines_of(files)} if raws else set()
    found = [f"acknowledged entry {name} is lost" for name in sorted(world.entries - held)]
    keeps = scenario.keeps if isinstance(scenario, PowerScenario) else ()
    return found + [f"{kept!r} is lost" for kept in keeps if not any(kept in raw for raw in files.values())]


def judged(
    rig: Rig,
    scenario: Scenario,
    worlds: Sequence[powerloss.World],
    workers: int,
    told: Callable[[int], None] = lambda _: None,
) -> list[Outcome]:
    """Judge all worlds in forked workers, a batch at a time."""
    found: list[Outcome] = []
    for begin in range(0, len(worlds), BATCH * workers):
        batch = worlds[begin : begin + BATCH * workers]
        found += killing.sweep([partial(judge, rig, scenario, world) for world in batch], workers)
        told(len(found))
    return found


def bad(outcomes: Iterable[Outcome]) -> list[str]:
    return [f"{o.scenario}, {o.point}: {o.problems}" for o in outcomes if o.problems]


def misses(rig: Rig, run: Run, sync: int, size: powerloss.Size | None = None, ordered: bool = False) -> str:
    """Leave one sync out; return what the first world says that breaks a promise then, and that was no world before."""
    good = {
        (world.tree, world.entries, world.acknowledged) for world in run.worlds(ordered=ordered, size=size)
    }
    for world in run.worlds(sync, ordered, size):
        new = (world.tree, world.entries, world.acknowledged) not in good
        if new and (problems := judge(rig, run.scenario, world).problems):
            return f"after {world.after}: {problems[0]}"
    return ""


def failing_again(
    rig: Rig, run: Run, world: powerloss.World, size: powerloss.Size, ordered: bool
) -> tuple[int, list[str]]:
    """Have the power fail in the middle of a world's recovery as well: judge the worlds of that, and count them."""
    scenario = run.scenario
    place = world.materialise(rig.folder / f"again-{os.getpid()}")
    last = max(1, len(scenario.steps) - 1 if isinstance(scenario, PowerScenario) else 1)
    acknowledged = scenario.acknowledged or (world.acknowledged >= last and not scenario.recovers)
    own = scenario if isinstance(scenario, PowerScenario) else None
    second = PowerScenario(
        scenario.name, place, killing.recover, None, scenario.always, scenario.edited, True, acknowledged, scenario.before,
        old=scenario.old, fair=scenario.fair, steps=own.steps if own else (), keeps=own.keeps if own else (),
        joined=own is not None and own.joined,
    )  # fmt: skip
    again = record(rig, second)
    second.new = scenario.new
    worlds = [
        powerloss.World(w.tree, world.acknowledged, f"{world.after}, then {w.after}", world.entries)
        for w in again.worlds(ordered=ordered, size=size)
    ]
    problems = bad(judge(rig, second, w) for w in worlds)
    for folder in (place, again.base, Path(again.root)):
        shutil.rmtree(folder)
    return len(worlds), problems
