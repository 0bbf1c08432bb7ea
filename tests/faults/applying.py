"""A migration that is killed, refused a call, or cut off by a power failure: run it up to there, and judge what is left.

The judge shares no code with the migration. It knows the bytes before and after an undisturbed run, and asks: is each
file one of the two, does a rewritten source find the store's files, does the error say what is true, and does the same
command, run again, end in just the bytes of the undisturbed run?

python tests/faults/applying.py CHECK CASE [CALL] stops at the first violation, and ends with 1 then.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import killing
import plainstore as ps
import powerloss
import tracer
from click.testing import CliRunner
from killing import Files, Job, Outcome, Report, Scenario, in_child, traced
from refusals import Refusal
from tracer import KILL, Call

from paramstore.cli import cli

PLAN = "plans/plan.yaml"
RECORD, MARKER = f"{PLAN}.applied.json", f"{PLAN}.applying"
STAGED = (".paramstore-new", ".applying.new")
OURS = (*STAGED, ".applying")
NOTHING_LEFT = "Nothing of"  # what a revert says when an earlier run has done it all
SOURCES = {
    "src/a.py": "MIN_SCORE = 0.3\nMAX_RISK = 0.2\n\ndef f(x):\n    return x > MIN_SCORE\n",
    "src/b.py": "from a import MAX_RISK\n\nFLOOR_RATE = 0.1\n\ndef g(x):\n    return x * MAX_RISK > FLOOR_RATE\n",
    "src/c.py": "from a import MAX_RISK\n\ndef h(x):\n    return x < MAX_RISK\n",  # only reads what another has
}
MINE = b"# mine\n"  # what a person, or a learner, saves meanwhile
WINDOW = 9  # calls from opening a file for the last look at it to its rename, in which a save would be lost
SEED = 1
Work = Callable[[Path], None]


class ToldError(Exception):
    """The command ended with a status other than 0; the message holds it, with what was said."""


@dataclass
class Case:
    """What is done to a directory that was made ready: ``command``, and the bytes before and after all of it.

    ``old`` are the bytes before the change began, though the base may be what a crash left of it.
    """

    name: str
    command: str
    base: Path
    old: Files
    new: Files = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    goes_on: bool = False  # the base is what a kill left

    @property
    def scenario(self) -> Scenario:
        return Scenario(self.name, self.base, lambda root: demand(root, self.command), calls=self.calls)


def run(root: Path, *words: str) -> tuple[int, str]:
    """Run ``paramstore migrate`` in this process; return its status and what it said."""
    result = CliRunner().invoke(cli, ["migrate", *words])
    said = result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        said += "".join(traceback.format_exception(result.exception))
    return result.exit_code, said


def demand(root: Path, command: str) -> None:
    status, said = run(root, command, str(root / PLAN), "--write")
    if status:
        raise ToldError(json.dumps([status, said]))


# -- the directories ------------------------------------------------------------------------------------------


def fresh(root: Path) -> None:
    """Write the sources and their plan; there is no store yet."""
    for name, text in SOURCES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / ".gitignore").write_text(".paramstore/\n")
    (root / "plans").mkdir()
    scan(root)


def scan(root: Path) -> None:
    os.chdir(root)
    status, said = run(root, "scan", "src", "--plan", PLAN)
    assert status == 0, said


def applied_in_part(root: Path) -> None:
    """Move one number, and accept the others: what follows changes files that are all there."""
    fresh(root)
    first, *rest = (root / PLAN).read_text().split("\n- file:")
    one, *others = rest
    text = "\n- file:".join([first, one, *(each.replace("accept: true", "accept: false") for each in others)])
    (root / PLAN).write_text(text)
    demand(root, "apply")
    scan(root)
    (root / PLAN).write_text((root / PLAN).read_text().replace("accept: false", "accept: true"))


def applied(root: Path) -> None:
    fresh(root)
    demand(root, "apply")


def made(folder: Path, name: str, work: Work) -> Path:
    root = folder / name.replace(" ", "-")
    root.mkdir()
    in_child(lambda: work(root))
    return rested(root)


def rested(root: Path) -> Path:
    """Have no file look as if it was just being saved, so that each run makes the same calls."""
    shutil.rmtree(root / ".paramstore", ignore_errors=True)
    for folder, _, files in os.walk(root):
        for name in files:
            os.utime(os.path.join(folder, name), (1e9, 1e9))
    return root


BASES: dict[str, tuple[str, Work]] = {
    "apply": ("apply", fresh),
    "apply more": ("apply", applied_in_part),
    "revert": ("revert", applied),
}


def cases(folder: Path, *names: str) -> dict[str, Case]:
    """Build the bases of the named cases (all) below ``folder``, and of what a kill amid each leaves; learn what an
    undisturbed run does."""
    warm = folder / "imports"
    warm.mkdir()
    here = os.getcwd()
    applied(warm)  # has the library load, before any fork, what it loads when it is first needed
    os.chdir(here)
    found = []
    for name in names or BASES:
        command, work = BASES[name]
        case = _case(name, command, made(folder, name, work))
        learn(case, folder)
        crashed = _cut_off(case, folder)
        found += [case, Case(f"{name}, going on", command, crashed, case.old, case.new, goes_on=True)]
        learn(found[-1], folder)
    return {case.name: case for case in found}


def _case(name: str, command: str, base: Path) -> Case:
    return Case(name, command, base, ps.tracked(base))


def _cut_off(case: Case, folder: Path) -> Path:
    """Return what a kill leaves when half of the files have their new content."""
    renames = [i for i, call in enumerate(case.calls) if call.name == "rename" and not _is_marker(call)]
    at = renames[len(renames) // 2]
    root = ps.copy(case.base, folder / f"{case.name}-cut".replace(" ", "-"))
    _, status, report = traced(case.scenario, root, lambda index, _: KILL if index == at else 0)
    assert os.WIFSIGNALED(status), report
    return rested(root)


def _is_marker(call: Call) -> bool:
    return any(MARKER in path for path in call.paths)


def learn(case: Case, folder: Path) -> None:
    root = ps.copy(case.base, folder / "undisturbed")
    case.calls, _, report = traced(case.scenario, root, None)
    now = ps.tracked(root)
    shutil.rmtree(root)
    assert report.acknowledged or (case.goes_on and NOTHING_LEFT in report.message), (case.name, report)
    assert not case.goes_on or now == case.new, (case.name, _different(now, case.new))
    assert not left_over(now), (case.name, left_over(now))
    case.new = now


# -- one point, and its judge ---------------------------------------------------------------------------------


class Rig:
    """Runs points of cases in directories of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._serial = 0

    def root(self) -> Path:
        self._serial += 1
        return self.folder / f"{os.getpid()}-{self._serial}"

    def kill(self, case: Case, index: int) -> Outcome:
        decide: tracer.Decide = lambda i, _: KILL if i == index else 0  # noqa: E731
        return self._run(case, f"kill at {index} {case.calls[index]}", decide)

    def fail(self, case: Case, index: int, refusal: Refusal) -> Outcome:
        call = case.calls[index]
        return self._run(case, f"{refusal} {index} {call}", refusal.decide(index), (refusal, call))

    def save(self, case: Case, saved: str, index: int) -> Outcome:
        """Have someone save a file, by rename, when call ``index`` is about to be made."""
        outcome = Outcome(case.name, f"{saved} is saved at {index} {case.calls[index]}", [])
        root = ps.copy(case.base, self.root())
        text = MINE if saved in SOURCES else case.old[saved] + MINE

        def decide(i: int, _: Call) -> int:
            if i == index:
                (root / "mine").write_bytes(text)
                os.replace(root / "mine", root / saved)
            return 0

        _, _, report = traced(case.scenario, root, decide)
        now = ps.tracked(root)
        first, *_, rename = looks_at(case, saved)
        if report.acknowledged and index < rename and now[saved] == text:
            outcome.problems.append(f"ended well, but {saved} has not got its new content")
        elif case.goes_on and index < first and _different(now, ps.tracked(case.base)) != [saved]:
            outcome.problems.append(
                f"{_different(now, ps.tracked(case.base))} were touched, though {saved} was not as before"
            )
        outcome.problems += judge_save(case, root, report, saved)
        shutil.rmtree(root)
        return outcome

    def power(self, case: Case, world: powerloss.World) -> Outcome:
        """Let the power fail, and go on from what the disk then holds."""
        outcome = Outcome(case.name, f"power fails after {world.after}", [])
        root = world.materialise(self.root())
        outcome.problems += judge(case, root, finished=bool(world.acknowledged))
        shutil.rmtree(root)
        return outcome

    def _run(
        self, case: Case, point: str, decide: tracer.Decide, refused: tuple[Refusal, Call] | None = None
    ) -> Outcome:
        root = ps.copy(case.base, self.root())
        outcome = Outcome(case.name, point, [])
        _, status, report = traced(case.scenario, root, decide)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if refused is not None and not killed:
            outcome.problems += judge_report(case, ps.tracked(root), report, *refused)
        outcome.problems += judge(case, root, finished=False)
        shutil.rmtree(root)
        return outcome


def judge_report(case: Case, now: Files, report: Report, refusal: Refusal, call: Call) -> list[str]:
    """A command that lived on must have said what is true, in words for a person."""
    status, said = json.loads(report.message) if report.error == "ToldError" else (0, "")
    if not report.acknowledged and (report.error != "ToldError" or "Traceback" in said):
        return [f"no clean error: {report.trace or said}"]
    if report.acknowledged or (case.goes_on and NOTHING_LEFT in said):
        changed = (
            [f"ended well, but not as it shall be: {_different(now, case.new)}"] if now != case.new else []
        )
        return changed + refusal.wronged(call, True, said)
    found = refusal.wronged(call, False, said)
    if status not in (1, 2) or "error: " not in said:
        found.append(f"no error of ours ({status}): {said}")
    if "not finished" in said:
        return found if MARKER in now else [*found, f"said to be begun, but there is no marker: {said}"]
    before = ps.tracked(case.base)
    if refusal.lasting:  # what was staged could not be removed
        now, before = _without_staged(now), _without_staged(before)
    if now != before and not ("Nothing was written" not in said and now == case.new):
        found.append(f"{_different(now, before)} changed, and it does not say so: {said}")
    return found


def _without_staged(files: Files) -> Files:
    return {name: raw for name, raw in files.items() if not name.endswith(STAGED)}


def judge(case: Case, root: Path, finished: bool) -> list[str]:
    """Each file is whole, and the same command run again ends in just the bytes of an undisturbed run."""
    found = []
    now = ps.tracked(root)
    for name in sorted({*now, *case.old, *case.new}):
        if now.get(name) not in (case.old.get(name), case.new.get(name)) and not name.endswith(OURS):
            found.append(f"{name} is torn or foreign: {now.get(name)!r}")
    is_new = {name: now.get(name) == case.new.get(name) for name in {*now, *case.old, *case.new}}
    store = [name for name in case.new if name.startswith(("params/", "schemas/"))]
    moved = [name for name in SOURCES if case.new[name] != case.old[name] and is_new[name]]
    if case.command == "apply" and moved and not all(is_new[name] for name in store):
        found.append(f"{moved} read what the store has not: {[name for name in store if not is_new[name]]}")
    if finished and _different(now, case.new):
        found.append(f"ended well, but after a power failure {_different(now, case.new)} are old")
    status, said = in_child(lambda: run(root, case.command, str(root / PLAN), "--write"))
    if status and not (case.command == "revert" and NOTHING_LEFT in said):
        found.append(f"cannot go on ({status}): {said}")
    after = ps.tracked(root)
    if after != case.new:
        found.append(f"going on leaves {_different(after, case.new)} other than an undisturbed run: {said}")
    return found


def judge_save(case: Case, root: Path, report: Report, saved: str) -> list[str]:
    """What a person saved stays, and once it is out of the way the command goes on."""
    found = []
    now = ps.tracked(root)
    if MINE not in now[saved]:
        return [f"{saved} was saved, and is overwritten"]
    if not report.acknowledged and (report.error != "ToldError" or "Traceback" in report.message):
        return [f"no clean error: {report.trace or report.message}"]
    if MARKER not in now:
        return []
    if {*_different(now, case.old)} <= {saved, *left_over(now)}:
        return [f"the marker stays, though nothing but {saved} is changed: {report.message}"]
    if f"/{saved}" not in report.message:
        found.append(f"does not name {saved}: {report.message}")
    status, said = in_child(lambda: run(root, case.command, str(root / PLAN), "--write"))
    if status != 1 or ps.tracked(root) != now:
        found.append(f"the next run touches {_different(ps.tracked(root), now)} ({status}): {said}")
    (root / saved).write_bytes(case.old[saved])
    return found + judge(case, root, finished=False)


def left_over(files: Files) -> list[str]:
    return sorted(name for name in files if name.endswith(OURS))


def _different(a: Files, b: Files) -> list[str]:
    return sorted(name for name in {*a, *b} if a.get(name) != b.get(name))


# -- all points of a case ---------------------------------------------------------------------------------------


def kills(rig: Rig, case: Case, full: bool) -> list[Job]:
    return [partial(rig.kill, case, index) for index in killing.kill_points(case.scenario, full)]


def refusals(rig: Rig, case: Case) -> list[Job]:
    return [partial(rig.fail, case, *point) for point in killing.fail_points(case.scenario)]


def worlds(rig: Rig, case: Case) -> list[Job]:
    """Return the judging of every state that a power failure during the case may leave."""
    base, root = ps.copy(case.base, rig.root()), ps.copy(case.base, rig.root())
    calls, _, _ = traced(case.scenario, root, None)
    shutil.rmtree(root)
    found = powerloss.all_worlds(base, str(root), calls)
    shutil.rmtree(base)
    return [partial(rig.power, case, world) for world in found]


def spare_syncs(rig: Rig, case: Case, most: int = 80) -> list[str]:
    """Return the syncs that no world misses, of at most so many worlds that come of leaving one out."""
    base, root = ps.copy(case.base, rig.root()), ps.copy(case.base, rig.root())
    calls, _, _ = traced(case.scenario, root, None)
    shutil.rmtree(root)
    good = {world.tree for world in powerloss.all_worlds(base, str(root), calls)}
    found = []
    for index in powerloss.syncs(calls):
        bad = [w for w in powerloss.all_worlds(base, str(root), calls, without=index) if w.tree not in good]
        chosen = random.Random(SEED).sample(bad, min(most, len(bad)))
        if not any(rig.power(case, world).problems for world in chosen):
            found.append(str(calls[index]).replace(root.name, "root"))
    shutil.rmtree(base)
    return found


def saves(rig: Rig, case: Case, saved: str = "src/b.py") -> list[Job]:
    """Return a save at each call but those of the window that remains: from opening the file for the last look to its
    rename."""
    *_, look, rename = looks_at(case, saved)
    assert rename - look <= WINDOW, "the window has grown"
    return [partial(rig.save, case, saved, i) for i in range(len(case.calls)) if not look < i <= rename]


def looks_at(case: Case, saved: str) -> list[int]:
    """Return the calls that open a file up to its rename, and that."""
    (rename,) = (
        i for i, call in enumerate(case.calls) if call.name == "rename" and call.paths[1].endswith(saved)
    )
    opened = [
        i
        for i, call in enumerate(case.calls[:rename])
        if call.name == "openat" and call.paths[0].endswith(saved)
    ]
    return [*opened, rename]


def saves_of_values(rig: Rig, case: Case) -> list[Job]:
    """Return the same of a file of the store, which a learner may change at any time; none where there is none yet."""
    return (
        saves(rig, case, "params/a.yaml")
        if "params/a.yaml" in ps.tracked(case.base) and not case.goes_on
        else []
    )


CHECKS: dict[str, Callable[[Rig, Case], list[Job]]] = {
    "kills": partial(kills, full=False),
    "refusals": refusals,
    "saves": saves,
    "saves of values": saves_of_values,
    "power": worlds,
}


def told(outcomes: list[Outcome]) -> list[str]:
    return [f"{o.scenario}, {o.point}: {problem}" for o in outcomes for problem in o.problems]


def first_violation(check: str, name: str, part: str) -> str:
    """Judge the points of a case at calls whose text holds ``part``, in an order of their own, up to the first that is
    bad; return what is wrong with it."""
    folder = ps.fast_folder()
    try:
        rig = Rig(folder)
        points = CHECKS[check](rig, cases(folder, name.partition(",")[0])[name])
        chosen = [job for job in points if part in _call_of(job)]
        for job in random.Random(SEED).sample(chosen, len(chosen)):
            if problems := told([job()]):
                return problems[0]
    except (AssertionError, ToldError) as error:  # already the undisturbed run breaks a promise
        return str(error) or "an undisturbed run breaks a promise"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ""


def _call_of(job: Job) -> str:
    """Return the text of the call that a point is at."""
    assert isinstance(job, partial)
    case, *rest = job.args
    (place,) = (each for each in rest if isinstance(each, int | powerloss.World))
    return place.after if isinstance(place, powerloss.World) else str(case.calls[place])


def main() -> int:
    check, name, part, *_ = (*sys.argv[1:], "")
    found = first_violation(check, name, part)
    if found:
        sys.stdout.write(f"violation (seed {SEED}): {found}\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
