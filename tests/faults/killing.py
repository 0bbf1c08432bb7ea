"""One point of a scenario: run a child up to it, let it die or fail there, and judge what is left.

Children are forked from a process that has imported everything, so that a point takes milliseconds and
no import is among the system calls.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plainstore as ps
import tracer
from refusals import REFUSALS, Refusal
from tracer import KILL, Call

import paramstore._backends._commit
import paramstore._backends._loader
import paramstore._backends.local
import paramstore._journal
import paramstore._lock
import paramstore._sidecar
import paramstore._transaction
from paramstore import ParamStore, _files
from paramstore.errors import DurabilityUnknownError, ParamstoreError, ValidationError

Act = Callable[[Path], None]
Files = dict[str, bytes]
WATCHED = ("params/alpha.yaml", "params/beta.yaml")


@dataclass
class Scenario:
    """What a child does to a store (``act``), from which files on (``base``), and what is fair then.

    ``warm`` runs in the child before the tracing begins. ``always`` fails some calls by name in every
    run. ``edited``: someone else saves files in between, so their bytes are fair as well.
    """

    name: str
    base: Path
    act: Act
    warm: Act | None = None
    always: dict[str, int] = field(default_factory=dict)
    edited: bool = False
    recovers: bool = False  # the base is what a crash left, and ``act`` only recovers
    acknowledged: bool = False  # the base holds a commit that had been acknowledged
    before: tuple[str, ...] = ()  # kinds of entries that came, and were acknowledged, before the commit did
    calls: list[Call] = field(default_factory=list)
    old: tuple[bytes, ...] = ()  # the bytes when the tracing begins
    new: tuple[bytes, ...] = ()
    fair: set[tuple[bytes, ...]] = field(default_factory=set)


@dataclass
class Report:
    """What the child said before it ended."""

    acknowledged: bool = False
    error: str = ""
    message: str = ""
    typed: bool = False
    unknown: bool = False
    applied: bool = False
    trace: str = ""
    sites: list[str] = field(default_factory=list)  # where in the source each sync was asked for


@dataclass
class Outcome:
    scenario: str
    point: str
    problems: list[str]
    conflicts: int = 0
    strays: int = 0


def set_count(root: Path, value: int, *names: str) -> None:
    """Commit ``value`` to the count of each namespace."""
    with ParamStore(root).transaction(author="learner") as tx:
        for name in names:
            tx[f"{name}.count"] = value


def recover(root: Path) -> None:
    """Begin a transaction that asks for nothing: all it does is recover."""
    with ParamStore(root).transaction(author="learner"):
        pass


def in_child(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns (plain data) in a forked child that then exits at once."""
    source, target = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(source)
        try:
            answer = json.dumps({"is": work()})
        except BaseException:  # noqa: BLE001 - told to the parent
            answer = json.dumps({"error": traceback.format_exc()})
        with os.fdopen(target, "w") as file:
            file.write(answer)
        os._exit(0)
    os.close(target)
    with os.fdopen(source) as file:
        text = file.read()
    os.waitpid(pid, 0)
    if not text:
        raise AssertionError("the child died")
    found = json.loads(text)
    if "error" in found:
        raise AssertionError(found["error"])
    return found["is"]


def traced(
    scenario: Scenario, root: Path, decide: tracer.Decide | None, before: Callable[[], object] = lambda: None
) -> tuple[list[Call], int, Report]:
    """Run the scenario's child under the tracer; ``before`` is called when the tracing begins."""
    source, target = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(source)
        _be_the_child(scenario, root, target)
    os.close(target)

    def both(index: int, call: Call) -> int:
        if call.name in scenario.always:
            return scenario.always[call.name]
        return decide(index, call) if decide is not None else 0

    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    before()
    calls, status = tracer.follow(pid, str(root), both)
    with os.fdopen(source) as file:
        text = file.read()
    report = Report(**json.loads(text)) if text else Report()
    return calls, status, report


def _be_the_child(scenario: Scenario, root: Path, target: int) -> None:
    report = Report()
    try:
        hurry()
        if scenario.warm is not None:
            scenario.warm(root)
        name_the_syncs(report.sites)
        tracer.trace_me()
        try:
            scenario.act(root)
            report.acknowledged = True
        except BaseException as error:  # noqa: BLE001 - told to the parent
            report.error, report.message = type(error).__name__, str(error)
            report.typed = isinstance(error, ParamstoreError)
            report.unknown = isinstance(error, DurabilityUnknownError)
            report.applied = getattr(error, "applied", False)
            report.trace = "" if report.typed else traceback.format_exc()
        os.write(target, json.dumps(vars(report)).encode())
    finally:
        os._exit(0)


def name_the_syncs(sites: list[str]) -> None:
    """From here on, append to ``sites`` which function of the library asked for each sync, and of what."""

    def named(sync: Callable[[int], None]) -> Callable[[int], None]:
        def call(fd: int) -> None:
            frame, kind = sys._getframe(1), "file"
            while frame.f_back is not None and frame.f_code.co_name in _PASSED_THROUGH:
                frame, kind = frame.f_back, "folder"
            sites.append(f"{frame.f_code.co_name}: {kind}")
            sync(fd)

        return call

    vars(os).update(fsync=named(os.fsync), fdatasync=named(os.fdatasync))


_PASSED_THROUGH = ("fsync_directory", "sync_folders")


def hurry() -> None:
    """Wait less for a save in progress: where a commit is cut off in the middle, none will come."""
    paramstore._backends.local.SETTLE_S = 0.03
    paramstore._backends._commit.SETTLE_S = 0.15


def read_counts(root: Path) -> list[int]:
    """Return what a reader who opens the store now sees."""
    hurry()
    with ParamStore(root).snapshot() as p:
        return [p.get("alpha.count"), p.get("beta.count")]


def import_everything(folder: Path) -> None:
    """Have the library load, here and before any fork, whatever it loads when it is first needed."""
    root = ps.make_store(folder / "imports")
    set_count(root, 11, "alpha")
    store = ParamStore(root)
    store.get("alpha.count")
    store.reset()
    shutil.rmtree(root)


class Rig:
    """Runs points of scenarios in directories of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._serial = 0

    def read(self, root: Path) -> list[int]:
        """Return what a reader who opens the store now sees."""
        return list(in_child(lambda: read_counts(root)))

    def recover(self, root: Path) -> None:
        """Have a writer that begins now recover."""
        in_child(lambda: recover(root))

    def fresh(self, scenario: Scenario) -> Path:
        self._serial += 1
        return ps.copy(scenario.base, self.folder / f"{os.getpid()}-{self._serial}")

    def learn(self, scenario: Scenario) -> None:
        """Run the scenario undisturbed, to know its system calls and what it leaves."""
        root = self.fresh(scenario)
        scenario.calls, _, report = traced(scenario, root, None)
        assert report.acknowledged, (scenario.name, report)
        in_child(lambda: recover(root))
        scenario.new = watched(root)
        problems = problems_after(root, scenario)
        assert not problems, (scenario.name, problems)
        shutil.rmtree(root)

    def kill(self, scenario: Scenario, index: int) -> Outcome:
        """Kill the child at the entry of its call number ``index``."""
        return self._run(
            scenario, f"kill at {index} {scenario.calls[index]}", lambda i, _: KILL if i == index else 0
        )

    def fail(self, scenario: Scenario, index: int, refusal: Refusal) -> Outcome:
        """Refuse call ``index``; a lasting refusal refuses those after it too."""
        call = scenario.calls[index]
        return self._run(scenario, f"{refusal} {index} {call}", refusal.decide(index), (refusal, call))

    def _run(
        self,
        scenario: Scenario,
        point: str,
        decide: tracer.Decide,
        refused: tuple[Refusal, Call] | None = None,
    ) -> Outcome:
        root = self.fresh(scenario)
        outcome = Outcome(scenario.name, point, [])
        try:
            _, status, report = traced(scenario, root, decide)
            if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
                self._judge_report(scenario, root, report, outcome)
                if (
                    refused is not None and not scenario.before
                ):  # a refusal of the store is recorded where it can be
                    outcome.problems += refused[0].wronged(refused[1], report.acknowledged, str(report))
            self.judge_crash(scenario, root, outcome)
            self.judge_recovery(scenario, root, report, outcome)
        except AssertionError as error:
            outcome.problems.append(str(error))
        shutil.rmtree(root)
        return outcome

    def _judge_report(self, scenario: Scenario, root: Path, report: Report, outcome: Outcome) -> None:
        """A child that lived on must have said what is true."""
        bad = outcome.problems
        now = watched(root)
        if not (report.acknowledged or report.error):
            bad.append("the child died without a word")
        elif report.acknowledged:
            if now != scenario.new:
                bad.append("it was acknowledged, but the new bytes are not there")
        elif not report.typed:
            bad.append(f"untyped {report.trace or report}")
        elif report.unknown:
            if report.applied and now != scenario.new:
                bad.append(f"said to be applied, but is not: {report.message}")
        elif "othing was written" not in report.message:
            bad.append(f"does not say that nothing was written: {report.error}: {report.message}")
        elif not scenario.edited and not scenario.recovers and now != scenario.old:
            bad.append(f"something was written: {report.message}")

    def judge_crash(self, scenario: Scenario, root: Path, outcome: Outcome) -> None:
        """Before recovery: each file whole, each reader sees all or nothing."""
        for place, raw in enumerate(watched(root)):
            if raw not in {state[place] for state in scenario.fair}:
                outcome.problems.append(f"{WATCHED[place]} is torn or foreign: {raw!r}")
        counts = self.read(root)
        if counts not in [_counts(state) for state in scenario.fair]:
            outcome.problems.append(f"a reader before recovery sees {counts}")

    def judge_recovery(self, scenario: Scenario, root: Path, report: Report, outcome: Outcome) -> None:
        self.recover(root)
        once = ps.tracked(root)
        self.recover(root)
        twice = ps.tracked(root)
        bad = outcome.problems
        if once != twice:
            names = sorted(name for name in {*once, *twice} if once.get(name) != twice.get(name))
            bad.append(f"recovering again changed {names}")
        bad += problems_after(root, scenario)
        state = watched(root)
        if not scenario.edited and state != scenario.old:
            bad += unexplained(once)
        kinds = [entry["kind"] for entry in ps.standing(ps.lines_of(once))]
        if state == scenario.new and not set(scenario.before) <= set(kinds):
            bad.append(f"an acknowledged entry is lost: {kinds}")
        if state not in scenario.fair:
            bad.append(f"not all or nothing: {_counts(state)}")
        if (report.acknowledged or scenario.acknowledged or report.applied) and state != scenario.new:
            bad.append("an acknowledged commit is lost")
        refused = report.typed and not report.unknown and not scenario.edited and not scenario.recovers
        if refused and state != scenario.old:
            bad.append("refused, but applied by recovery")
        counts = self.read(root)
        if counts != _counts(state):
            bad.append(f"a reader after recovery sees {counts}, the files say {_counts(state)}")
        outcome.conflicts = sum(name.endswith(".conflict") for name in once)
        outcome.strays = len(set(os.listdir(root / ".paramstore")) - {"lock", "generation", "cache"})


def watched(root: Path) -> tuple[bytes, ...]:
    return tuple((root / name).read_bytes() for name in WATCHED)


def unexplained(files: Files) -> list[str]:
    """New values must stand in the journal as the learner's commit, not as values found in the files."""
    commits = [entry for entry in ps.standing(ps.lines_of(files)) if entry["author"] == "learner"]
    sums = {sums["after"] for entry in commits for sums in entry["files"].values()}
    if hashlib.sha256(files[WATCHED[0]]).hexdigest() in sums:
        return []
    return ["new values are in place, but the commit that made them is not in the journal"]


def problems_after(root: Path, scenario: Scenario) -> list[str]:
    return ps.problems_of(ps.tracked(root), scenario.edited)


def _counts(state: tuple[bytes, ...]) -> list[Any]:
    return [ps.values_in(raw)["count"] for raw in state]


def kill_points(scenario: Scenario, full: bool) -> list[int]:
    """Return the calls to kill at: all, or those before which something on disk may have changed."""
    found = []
    changed = True
    for index, call in enumerate(scenario.calls):
        if full or changed or call.changes:
            found.append(index)
        changed = call.changes
    return found


def fail_points(scenario: Scenario) -> list[tuple[int, Refusal]]:
    """Return (call, refusal) for every call that a disk, or the kernel, can refuse."""
    return [
        (index, refusal)
        for index, call in enumerate(scenario.calls)
        for refusal in REFUSALS
        if call.name not in scenario.always and refusal.suits(call)
    ]


def sampled(points: list[Any], share: float, seed: int) -> list[Any]:
    """Return a part of ``points`` that is the same at every run."""
    if share >= 1:
        return points
    chosen = random.Random(seed).sample(range(len(points)), round(len(points) * share))
    return [points[index] for index in sorted(chosen)]


# -- the scenarios ----------------------------------------------------------------------------------


def scenarios(folder: Path) -> list[Scenario]:
    """Build every scenario's base below ``folder``."""
    import_everything(folder)
    blank = ps.make_store(folder / "blank")
    used = ps.copy(blank, folder / "used")
    in_child(lambda: set_count(used, 11, "alpha", "beta"))
    make = _Maker(folder, used)
    found = [
        Scenario("first commit ever", blank, lambda root: set_count(root, 11, "alpha")),
        Scenario("one file", used, lambda root: set_count(root, 12, "alpha")),
        Scenario("two files", used, lambda root: set_count(root, 12, "alpha", "beta")),
        Scenario("one file, second commit", used, _commit_warm("alpha"), warm=_open_warm),
        Scenario("two files, second commit", used, _commit_warm("alpha", "beta"), warm=_open_warm),
        Scenario(
            "freeze and approve, then commit",
            used,
            _freeze_and_commit,
            before=("freeze", "approve"),  # a refusal is recorded where it can be
        ),
        Scenario("new segment", used, lambda root: set_count(root, 12, "alpha"), warm=_small_segments),
        Scenario(
            "one file, no exchange",
            used,
            lambda root: set_count(root, 12, "alpha"),
            always={"renameat2": errno.EINVAL},
        ),
        Scenario(
            "two files, no exchange",
            used,
            lambda root: set_count(root, 12, "alpha", "beta"),
            always={"renameat2": errno.EINVAL},
        ),
    ]
    found += [make.recovery(*how) for how in _CRASHES]
    found += [make.torn(), make.displaced(), make.edited({}), make.edited({"renameat2": errno.EINVAL})]
    for scenario in found:
        states = [
            (ps.text_of("alpha", a, theirs), ps.text_of("beta", b)) for a, b, theirs in _FAIR[scenario.name]
        ]
        scenario.fair = set(states)
        scenario.old = states[0] if scenario.warm is not None else watched(scenario.base)
    return found


# a crashed two-file commit, by the call that it was killed at: its name, which one of that name, and the file
_CRASHES = [
    ("after the temporary files", "openat", "jsonl", 1, False),
    ("after the journal line", "renameat2", "alpha", 1, False),
    ("between two exchanges", "renameat2", "beta", 1, False),
    ("before the directory", "fsync", "params", 2, False),
    ("before the old bytes go", "unlink", "alpha", 1, True),
]

_BOTH = [(11, 11, 0), (12, 12, 0)]
_ONE = [(11, 11, 0), (12, 11, 0)]
_FAIR = {
    "first commit ever": [(10, 10, 0), (11, 10, 0)],
    "one file": _ONE,
    "two files": _BOTH,
    "one file, second commit": [(12, 11, 0), (13, 11, 0)],
    "two files, second commit": [(12, 11, 0), (13, 13, 0)],
    "freeze and approve, then commit": _ONE,
    "new segment": _ONE,
    "one file, no exchange": _ONE,
    "two files, no exchange": _BOTH,
    "torn journal line": [(11, 11, 0)],
    "displaced save": [(11, 11, 7), (12, 12, 0)],
    **{name: _BOTH for name, *_ in _CRASHES},
    "someone saves in between": [(11, 11, 0), (12, 12, 0), (11, 11, 7), (12, 12, 7), (12, 11, 0)],
    "someone saves in between, no exchange": [(11, 11, 0), (12, 12, 0), (11, 11, 7), (12, 12, 7)],
}

_kept: list[ParamStore] = []


def _open_warm(root: Path) -> None:
    """Commit once before the tracing, so that the traced commit is one in a long-running process."""
    _kept[:] = [ParamStore(root)]
    with _kept[0].transaction(author="learner") as tx:
        tx["alpha.count"] = 12


def _commit_warm(*names: str) -> Act:
    def act(_: Path) -> None:
        with _kept[0].transaction(author="learner") as tx:
            for name in names:
                tx[f"{name}.count"] = 13

    return act


def _freeze_and_commit(root: Path) -> None:
    """Write entries that change no value, the last of them a refusal, and then one that does."""
    store = ParamStore(root)
    store.freeze("beta", author="person", reason="hold")
    store.approve("alpha", author="person", reason="looks right")
    try:
        with store.transaction(author="learner") as tx:
            tx["beta.count"] = 12
    except ValidationError:
        set_count(root, 12, "alpha")


def _small_segments(_: Path) -> None:
    paramstore._journal.SEGMENT_BYTES = 300


class _Maker:
    """Builds the directories that a crash leaves."""

    def __init__(self, folder: Path, used: Path) -> None:
        self.folder = folder
        self.used = used

    def recovery(self, name: str, call: str, part: str, which: int, acknowledged: bool) -> Scenario:
        crashed = self._crash(name, lambda root: set_count(root, 12, "alpha", "beta"), call, part, which)
        return Scenario(name, crashed, recover, recovers=True, acknowledged=acknowledged)

    def torn(self) -> Scenario:
        name = "torn journal line"
        crashed = self._crash(name, lambda root: set_count(root, 12, "alpha"), "renameat2", "alpha", 1)
        (journal,) = (crashed / "params" / "journal").glob("*.jsonl")
        raw = journal.read_bytes()
        journal.write_bytes(raw[: raw.rindex(b"\n", 0, -1) + 60])
        return Scenario(name, crashed, recover, recovers=True)

    def displaced(self) -> Scenario:
        name = "displaced save"
        crashed = self._crash(name, commit_with_a_save, "renameat2", "alpha", 2)
        return Scenario(name, crashed, recover, recovers=True, edited=True)

    def edited(self, always: dict[str, int]) -> Scenario:
        name = "someone saves in between" + (", no exchange" if always else "")
        return Scenario(name, self.used, commit_with_a_save, always=always, edited=True)

    def _crash(
        self, name: str, act: Act, call: str, part: str, which: int, always: dict[str, int] | None = None
    ) -> Path:
        root = ps.copy(self.used, self.folder / name.replace(" ", "-"))
        seen = 0

        def decide(_: int, at: Call) -> int:
            nonlocal seen
            seen += (
                at.name == call
                and any(part in os.path.basename(path) for path in at.paths)
                and (at.changes or at.writes)
            )
            return KILL if seen == which else 0

        _, status, report = traced(Scenario(name, self.used, act, always=always or {}), root, decide)
        assert os.WIFSIGNALED(status), (name, report)
        return root


def commit_with_a_save(root: Path, synced: bool = False) -> None:
    """Commit to both files, while someone saves the first at the worst moment: after the last look. ``synced``: as good
    editors save."""
    swap_in = _files.swap_in
    target = str(root / "params" / "alpha.yaml")

    def save_first(new: str, to: str, base: bytes) -> bool:
        if to == target:
            vars(_files)["swap_in"] = swap_in
            with open(target + "~", "wb") as file:
                file.write(ps.text_of("alpha", 11, theirs=7))
                if synced:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(target + "~", target)
        return swap_in(new, to, base)

    vars(_files)["swap_in"] = save_first
    set_count(root, 12, "alpha", "beta")


Job = Callable[[], Outcome]


def sweep(jobs: Sequence[Job], workers: int) -> list[Outcome]:
    """Run ``jobs`` in forked workers, each taking every so-many-th, and return all outcomes."""
    pipes = []
    for worker in range(workers):
        source, target = os.pipe()
        if os.fork() == 0:
            os.close(source)
            outcomes = [vars(_run_job(job)) for job in jobs[worker::workers]]
            with os.fdopen(target, "w") as file:
                file.write(json.dumps([{**outcome, "scenario": outcome["scenario"]} for outcome in outcomes]))
            os._exit(0)
        os.close(target)
        pipes.append(source)
    found = []
    for source in pipes:
        with os.fdopen(source) as file:
            found += [Outcome(**outcome) for outcome in json.loads(file.read())]
    for _ in pipes:
        os.wait()
    return found


def _run_job(job: Job) -> Outcome:
    try:
        return job()
    except Exception:  # noqa: BLE001 - told to the parent
        return Outcome("?", "?", [traceback.format_exc()])
