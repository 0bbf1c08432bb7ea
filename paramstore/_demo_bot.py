"""The first part of the demonstration: a bot full of literals becomes one that learns."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

BOT = '''\
"""A bot as bots are: the numbers that it trades on are literals."""

MIN_SCORE = 0.35  # the score below which we stay out
SIZE_TIERS = {"high": 1.5, "low": 0.6}


def size(score, win_rate):
    if score < MIN_SCORE:
        return 0.0
    return SIZE_TIERS["high"] if win_rate >= 0.55 else SIZE_TIERS["low"]
'''

RUN = """\
import json, time, bot

last = None
while True:
    now = bot.size(score=0.5, win_rate=0.52)
    if now != last:
        print(json.dumps({"size": now}), flush=True)
    last = now
    time.sleep(0.002)
"""

LEARN = """\
from paramstore import params

with params.transaction(author="tier_learner", reason="0.50 wins as much", evidence={"samples": 640}) as tx:
    tx["bot.size.win_rate_min"] = 0.5
"""


class Stage(Protocol):
    """What the demonstration offers to each of its parts."""

    root: str
    git: str | None
    ends: Any
    environ: dict[str, str]
    say: Callable[[str], object]

    def step(self, title: str) -> None: ...
    def quote(self, text: str) -> None: ...
    def expect(self, true: bool, claim: str, quiet: bool = False) -> None: ...
    def spawn(self, code: str, *args: str, stderr: int | None = None) -> AbstractContextManager[Any]: ...
    def output_of(self, *command: str) -> str: ...
    def command(self, *args: str) -> str: ...
    def run_git(self, *args: str) -> str: ...


def write_bot(stage: Stage) -> None:
    stage.step("A bot whose numbers are hardcoded: bot.py")
    with open(os.path.join(stage.root, "bot.py"), "w", encoding="utf-8") as file:
        file.write(BOT)
    stage.quote(BOT)


def move_its_numbers(stage: Stage) -> None:
    """Scan, apply and verify; the bot answers as before."""
    stage.step("paramstore migrate scan, apply, verify: its literals move into the store, with proof")
    before = answers(stage)
    stage.quote(stage.command("migrate", "scan", "bot.py"))
    stage.command("migrate", "apply", "plan.yaml", "--write")
    if stage.git is not None:
        stage.quote(stage.run_git("diff", "--unified=0", "--no-color", "--", "bot.py"))
    stage.quote(stage.command("migrate", "verify", "plan.yaml", "--run"))
    stage.expect(answers(stage) == before, "the bot answers as before")
    if stage.git is not None:
        stage.run_git("add", ".")
        stage.run_git("commit", "--quiet", "-m", "numbers of the bot moved into the store")


def answers(stage: Stage) -> str:
    code = "import bot; print([bot.size(s / 20, w / 20) for s in range(21) for w in range(21)])"
    return stage.output_of(sys.executable, "-c", code)


def let_it_learn(stage: Stage, watch: Any) -> None:
    """Run the bot, and have a learner change what it answers."""
    stage.step("It runs, and a learner lowers the win rate that earns the larger size")
    running = watch(stage.ends.enter_context(stage.spawn(RUN)))
    stage.expect(running.sees("size", 0.6), "at a win rate of 0.52 the running bot answers 0.6")
    stage.quote(LEARN)
    with stage.spawn(LEARN) as learner:
        learner.wait(30)
    stage.expect(running.sees("size", 1.5), "after the commit it answers 1.5, without a restart")
    found = json.loads(stage.command("history", "bot.size.win_rate_min", "--json"))["entries"]
    stage.expect(found[-1]["author"] == "tier_learner", "and the journal says who, and why")
