"""The demonstration: real processes on a store in a temporary directory, each claim checked as it is made.

Nothing that it tells is canned: the strategy and the learners are the programs below, each in a process
of its own, the edit by hand is an edit of a file, and the diff is git's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NoReturn

from paramstore import _demo_bot, _demo_month, _demo_page, _init

Say = Callable[[str], object]

WAIT_S = 30.0
PERSON_WAITS_S = 3.0  # an edit by hand is seen within one second; this machine may be busy

STRATEGY = """\
import json, time
from paramstore import params

seen = {}
while True:
    with params.snapshot() as p:  # one decision reads one revision
        now = {key: p.get(key) for key in p}
    moved = {key: value for key, value in now.items() if seen.get(key) != value}
    if moved:
        print(json.dumps(moved), flush=True)
    seen = now
    time.sleep(0.002)
"""

LEARNER = """\
import json, sys
from paramstore import params

author, lessons = sys.argv[1], json.loads(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()  # so that both learners begin at the same moment
for lesson in lessons:
    evidence = {"samples": 812, "metric": "ev_bps", "before": 1.2, "after": 1.9}
    with params.transaction(author=author, reason="7-day expected value", evidence=evidence) as tx:
        for key, step in lesson.items():
            tx[key] += step
"""

GREEDY = """\
import sys
from paramstore import ParamstoreError, params

try:
    with params.transaction(author="signal_weight_learner", reason="all in", evidence={"samples": 812}) as tx:
        tx["signal_weights.funding"] = 0.9
except ParamstoreError as error:
    sys.exit(str(error))
"""

WILD = """\
from paramstore import params

evidence = {"samples": 640, "metric": "ev_bps"}
with params.transaction(author="ensemble_learner", reason="volume won", evidence=evidence) as tx:
    tx.propose("ensemble.weights", {"volume": 0.9}, on_violation="project")
for change in tx.commit_result.changes:
    print(f"{change.key}: {change.old} to {change.new}, asked for {change.requested}; bound by {change.bound_by}")
print("sum:", round(sum(params.section("ensemble")["weights"].values()), 12))
"""

WEIGHTS = [
    {"signal_weights.funding": 0.004, "signal_weights.liquidation": -0.004},
    {"signal_weights.whale_flow": 0.004, "signal_weights.oi_velocity": -0.004},
    {"signal_weights.ofi_momentum": 0.004, "signal_weights.fear_greed": -0.004},
    {"signal_weights.hurst": 0.004, "signal_weights.lead_lag": -0.004},
    {"signal_weights.volatility_skew": 0.004, "signal_weights.oi_divergence": -0.004},
]
TIERS: list[dict[str, float]] = [
    {f"win_rate.{tier}": 0.005} for tier in ("target", "high", "middle", "low", "floor")
]
LEARNERS = {"signal_weight_learner": WEIGHTS, "calibration_learner": TIERS}
EDITED, OLD_LINE, NEW_LINE = "params/conviction_gate.yaml", "min_trades: 30", "min_trades: 35"


class NotAsTold(Exception):  # noqa: N818 - says what happened, and never leaves this module
    """The demonstration claimed something that did not come true."""


def run(say: Say, port: int | None = None) -> bool:
    """Run the demonstration, telling each step through ``say``; return whether all happened as told.

    With a ``port`` the page of what it made is served there afterwards, until it is interrupted.
    """
    with (
        _ended_by_sigterm(),
        tempfile.TemporaryDirectory(prefix="paramstore-demo-") as root,
        ExitStack() as ends,
    ):
        try:
            demo = _Demo(root, say, ends)
            demo.run()
            _demo_page.name_it(demo) if port is None else _demo_page.serve(demo, port)
        except (NotAsTold, subprocess.TimeoutExpired) as error:
            say(f"NOT AS TOLD: {error}")
            return False
    return True


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Have SIGTERM end the block as an exception does, so that no process and no directory stays behind."""

    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Demo:
    def __init__(self, root: str, say: Say, ends: ExitStack) -> None:
        self.root = root
        self.say = say
        self.ends = ends
        self.environ = _environ(root)
        self.git = shutil.which("git")

    def run(self) -> None:
        _demo_bot.write_bot(self)
        self.write_store()
        self.live_a_month()
        _demo_bot.move_its_numbers(self)
        _demo_bot.let_it_learn(self, _Watched)
        strategy = self.start_strategy()
        self.let_learners_write(strategy)
        self.refuse_the_greedy()
        self.bend_the_wild(strategy)
        self.pull_the_switch()
        self.edit_by_hand(strategy)
        self.show_diff()
        self.show_history()
        self.expect(strategy.process.poll() is None, "the strategy ran through it all, without a restart")

    # -- the steps --------------------------------------------------------------------------------

    def write_store(self) -> None:
        self.step("A store with the shipped parameters, in a temporary directory")
        written = _init.write(self.root, _init.shipped())
        funding = self.command("get", "signal_weights.funding")
        self.say(f"{len(written.written)} files written; the weight of funding is {funding}")
        if self.git is None:
            self.say("git is not installed here: the diff at the end is left out")
            return
        self.run_git("init", "--quiet")
        self.commit("parameters as shipped")

    def live_a_month(self) -> None:
        self.step("A month of four learners and two people, under a clock that runs fast")
        month = _demo_month.live(self.root, time.time())
        self.began = self.revision()
        told = f"{month.commits} commits, {month.refusals} refusals, {month.trades:,} trades in {_demo_month.OUTCOMES}"
        self.expect(self.began == month.commits - 1, told)  # values as they were are revision 0
        if self.git is not None:
            self.commit("a month of learning")

    def start_strategy(self) -> _Watched:
        self.step("A strategy reads them live, in a loop, in a process of its own")
        self.quote(STRATEGY)
        strategy = _Watched(self.ends.enter_context(self.spawn(STRATEGY)))
        funding = float(self.command("get", "signal_weights.funding"))
        self.expect(strategy.sees("signal_weights.funding", funding), "it has read its first values")
        return strategy

    def let_learners_write(self, strategy: _Watched) -> None:
        self.step("Two learners write at the same time, each in a process of its own")
        self.quote(LEARNER)
        wanted = self.after_lessons()
        learners = [
            self.ends.enter_context(self.spawn(LEARNER, author, json.dumps(lessons)))
            for author, lessons in LEARNERS.items()
        ]
        for learner in learners:
            self.expect(_line(learner) == "ready", "a learner is ready", quiet=True)
        for learner in learners:
            _tell(learner, "go")
        for learner in learners:
            learner.wait(WAIT_S)
            self.expect(learner.returncode == 0, "a learner came to its end", quiet=True)
        commits = [
            entry
            for entry in self.entries()
            if entry["author"] in LEARNERS and entry["revision"] > self.began
        ]
        lessons = sum(map(len, LEARNERS.values()))
        self.expect(len(commits) == lessons, f"{len(commits)} commits of {lessons} are in the journal")
        self.expect(self.values(wanted) == wanted, "no step of either learner is lost")
        self.expect(
            all(strategy.sees(key, value) for key, value in wanted.items()), "the strategy sees all of them"
        )

    def refuse_the_greedy(self) -> None:
        self.step("A learner proposes a weight out of bounds")
        before = self.revision()
        with self.spawn(GREEDY, stderr=subprocess.PIPE) as greedy:
            _, error = greedy.communicate(timeout=WAIT_S)
        self.quote(error)
        self.expect(greedy.returncode == 1 and "above its maximum" in error, "it is refused, and told why")
        self.expect(self.revision() == before, f"revision {before} stands")

    def bend_the_wild(self, strategy: _Watched) -> None:
        self.step("Another asks for the nearest values that every rule allows: steps, bounds, and a sum of 1")
        self.quote(WILD)
        told = self.output_of(sys.executable, "-c", WILD)
        self.quote(told)
        self.expect("sum: 1.0" in told, "the weights sum to 1, and each step is within its limit")
        self.expect(strategy.sees("ensemble.weights.volume", 0.24), "the strategy sees them")

    def pull_the_switch(self) -> None:
        self.step("A person freezes everything; the next commit of any process obeys, reads go on")
        self.quote(self.command("freeze", "*", "--author", "you", "--reason", "it loses money"))
        with self.spawn(WILD, stderr=subprocess.PIPE) as wild:
            _, error = wild.communicate(timeout=WAIT_S)
        self.quote("\n".join(line for line in error.splitlines() if "is frozen by" in line))
        self.expect(
            "is frozen by you" in error and "it loses money" in error,
            "a learner is refused, and told by whom",
        )
        self.command("unfreeze", "*", "--author", "you")

    def edit_by_hand(self, strategy: _Watched) -> None:
        self.step(f"A person edits {EDITED}: `{OLD_LINE}` becomes `{NEW_LINE}`")
        path = os.path.join(self.root, EDITED)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.expect(OLD_LINE in text, "the line is there", quiet=True)
        with open(path + "~", "w", encoding="utf-8") as file:
            file.write(text.replace(OLD_LINE, NEW_LINE))
        os.replace(path + "~", path)
        saved = time.monotonic()
        self.expect(strategy.sees("conviction_gate.min_trades", 35), "the strategy sees it", quiet=True)
        took_s = time.monotonic() - saved
        self.expect(took_s < PERSON_WAITS_S, f"the strategy sees it {took_s:.2f} s after the save")

    def show_diff(self) -> None:
        if self.git is None:
            return
        self.step("git diff: one changed number is one changed line")
        diff = self.run_git("diff", "--unified=0", "--no-color", "--", "params/*.yaml")
        self.quote(diff)
        lines = [line for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++")]
        moved = sum(len(lesson) for lessons in LEARNERS.values() for lesson in lessons) + 7
        self.expect(
            len(lines) == moved,
            f"{len(lines)} lines differ, for {moved} changed numbers, by four learners and a person",
        )

    def show_history(self) -> None:
        self.step("paramstore history: who changed what, and why")
        told = self.command("history", "--since", str(self.began))
        self.quote(told)
        self.expect(all(author in told for author in LEARNERS), "both learners are in it")
        self.expect("edited by hand" in told, "and the edit that nobody committed")

    # -- what they are made of --------------------------------------------------------------------

    def step(self, title: str) -> None:
        self.say("")
        self.say(f"== {title}")

    def quote(self, text: str) -> None:
        for line in text.rstrip().splitlines():
            self.say(f"   | {line}")

    def expect(self, true: bool, claim: str, quiet: bool = False) -> None:
        if not true:
            raise NotAsTold(claim)
        if not quiet:
            self.say(f"ok: {claim}")

    @contextmanager
    def spawn(self, code: str, *args: str, stderr: int | None = None) -> Iterator[subprocess.Popen[str]]:
        """Run a program in a process of its own, which ends with the block at the latest."""
        process = subprocess.Popen(
            [sys.executable, "-c", code, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=self.environ,
            cwd=self.root,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def output_of(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        self.expect(
            done.returncode == 0, f"`{' '.join(command)}` works; it says {done.stderr.strip()}", quiet=True
        )
        return done.stdout.rstrip()

    def command(self, *args: str) -> str:
        return self.output_of(sys.executable, "-m", "paramstore", *args)

    def commit(self, message: str) -> None:
        self.run_git("add", ".")
        self.run_git("commit", "--quiet", "-m", message)

    def run_git(self, *args: str) -> str:
        assert self.git is not None
        return self.output_of(self.git, *args)

    def entries(self) -> list[dict[str, Any]]:
        return list(json.loads(self.command("history", "--json"))["entries"])

    def revision(self) -> int:
        return int(json.loads(self.command("get", "signal_weights.funding", "--json"))["revision"])

    def values(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        found = json.loads(self.command("list", "--json"))
        return {line["key"]: line["value"] for line in found if line["key"] in keys and not line["context"]}

    def after_lessons(self) -> dict[str, float]:
        """Return what all lessons together must make of the values that stand now."""
        steps = {k: step for lessons in LEARNERS.values() for lesson in lessons for k, step in lesson.items()}
        return {key: round(value + steps[key], 4) for key, value in self.values(steps).items()}


class _Watched:
    """The strategy's process, and all that it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._said: dict[str, Any] = {}
        self._news = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._said.update(json.loads(line))
                self._news.notify_all()

    def sees(self, key: str, value: Any) -> bool:
        """Wait until the strategy has read ``value`` for ``key``; tell whether it did in time."""
        with self._news:
            return self._news.wait_for(lambda: bool(self._said.get(key) == value), WAIT_S)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has died; its exit status will tell
        os.write(process.stdin.fileno(), f"{line}\n".encode())  # unbuffered, so nothing is left to fail later


def _environ(root: str) -> dict[str, str]:
    """Return an environment in which neither the user's parameters nor their git settings have a say, and
    in which the package that is running now is the one that is found."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PARAM", "GIT_"))}
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    author = {
        f"GIT_{who}_{what}": text
        for who in ("AUTHOR", "COMMITTER")
        for what, text in (("NAME", "demo"), ("EMAIL", "demo@example.invalid"))
    }
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    kept.pop("FORCE_COLOR", None)
    return {**kept, **author, **alone, "PARAMSTORE_ROOT": root, "PYTHONPATH": here}
