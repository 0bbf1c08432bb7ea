"""Rounds of learn, pull and push: two machines that learn, a bare remote between them, a reader and a busy learner on each.

    python tests/sync_rounds.py 500

Every value counts up, so that a reader that ever sees one go back has seen a state that nobody made. Learners write down what
was acknowledged; at the end both journals must hold all of it, and both machines must have the same values.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from git_store import GitStore

from paramstore import ParamStore
from paramstore._backends.local import LocalBackend
from paramstore._git_sync import Sync
from paramstore.errors import LockTimeoutError

KEYS = 4  # that each machine learns alone
FRESH_S = 1.0  # by then a reader must see what a round brought
SPAWN = mp.get_context("spawn")


@dataclass
class Figures:
    """What came of the rounds."""

    rounds: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    went_back: list[str] = field(default_factory=list)
    refused: int = 0  # learners that waited too long for the lock; they wrote nothing
    slowest_s: float = 0.0  # of a round's sync, with its wait for the lock
    problems: list[str] = field(default_factory=list)


def store_at(root: Path) -> GitStore:
    """Make a work tree with counters: ``n.a0`` to ``n.b3`` for one machine each, ``n.busy_a``, ``n.busy_b``, ``n.shared``."""
    names = [f"{side}{number}" for side in "ab" for number in range(KEYS)] + ["busy_a", "busy_b", "shared"]
    frame: dict[str, Any] = {"type": "object", "additionalProperties": False}
    counter = {"type": "integer", "minimum": 0, "default": 0, "x-param": {"learnable": True}}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema", **frame, "required": ["schema", "values"],
        "properties": {"schema": {"const": 1}, "values": {**frame, "properties": dict.fromkeys(names, counter)}},
    }  # fmt: skip
    repo = GitStore(root)
    (root / "params").mkdir(parents=True)
    (root / "schemas").mkdir()
    (root / "schemas/n.schema.json").write_text(json.dumps(schema))
    (root / "params/n.yaml").write_text(
        "schema: 1\nvalues:\n" + "".join(f"  {name}: 0   # counts\n" for name in names)
    )
    (root / ".gitignore").write_text(".paramstore/\n")
    repo.git("init", "--quiet", "--initial-branch=main")
    repo.identify()
    repo.say("git", "install")
    with repo.params().transaction(author="begin") as tx:
        tx["n.shared"] = 1
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message", "begin")
    return repo


def learn_on(root: str, key: str, log: str, stop: Any) -> None:
    """Count ``key`` up without a pause worth the name, and write down each revision's entry once it is acknowledged."""
    store = ParamStore(root, environ={})
    with open(log, "a", encoding="utf-8") as acknowledged:
        while not stop.is_set():
            try:
                with store.transaction(author=f"busy {key}", timeout_s=20) as tx:
                    tx[key] += 1
            except LockTimeoutError:
                acknowledged.write("refused\n")
                continue
            assert tx.commit_result.entry is not None
            acknowledged.write(f"{tx.commit_result.entry.id}\n")
            acknowledged.flush()
            time.sleep(0.03)


def read_on(root: str, keys: list[str], seen: Any, back: Any, stop: Any) -> None:
    """Read all counters again and again; keep the newest in ``seen``, and count those that went back."""
    store = ParamStore(root, environ={})
    while not stop.is_set():
        for index, key in enumerate(keys):
            value = store.get(key)
            if value < seen[index]:
                back[index] += 1
            seen[index] = value
        time.sleep(0.001)


class Machine:
    """One clone: its learner between rounds, its busy learner and its reader as processes of their own."""

    def __init__(self, repo: GitStore, side: str, keys: list[str], place: Path) -> None:
        self.repo = repo
        self.side = side
        self.keys = keys
        self.store = repo.params()
        self.acknowledged: list[str] = []
        self.log = place / f"busy_{side}.log"
        self.seen: Any = SPAWN.Array("q", len(keys))
        self.back: Any = SPAWN.Array("q", len(keys))
        self.stop = SPAWN.Event()
        words = (str(repo.root), f"n.busy_{side}", str(self.log), self.stop)
        self.busy = SPAWN.Process(target=learn_on, args=words)
        self.reader = SPAWN.Process(
            target=read_on, args=(str(repo.root), keys, self.seen, self.back, self.stop)
        )
        self.busy.start()
        self.reader.start()

    def learn(self, dice: random.Random) -> None:
        for _ in range(dice.randint(1, 3)):
            with self.store.transaction(author=f"learner {self.side}", reason="a round", timeout_s=20) as tx:
                tx[f"n.{self.side}{dice.randrange(KEYS)}"] += 1
                if dice.random() < 0.3:
                    tx["n.shared"] += dice.randint(1, 5)
            assert tx.commit_result.entry is not None
            self.acknowledged.append(tx.commit_result.entry.id)

    def sync(self) -> None:
        backend = LocalBackend(str(self.repo.root), self.store.options)
        Sync(backend, None, None, "remote").run(20, True, 60.0)

    def has_fresh_reader(self) -> str | None:
        """Wait until the reader has what the files say now; return what is stale after a second."""
        wanted = [self.repo.params().get(key) for key in self.keys]
        deadline = time.monotonic() + FRESH_S
        while time.monotonic() < deadline:
            if all(seen >= value for seen, value in zip(self.seen, wanted, strict=True)):
                return None
            time.sleep(0.005)
        return f"{self.side}: reads {list(self.seen)}, the files say {wanted}"

    def rest(self) -> None:
        """End the busy learner, but not the reader."""
        self.stop.set()
        self.busy.join()

    def busy_ids(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []


def run(place: Path, rounds: int, seed: int = 0, say: Any = lambda line: None) -> Figures:
    """Run the rounds in an empty directory."""
    dice, figures = random.Random(seed), Figures()
    begin = store_at(place / "a")
    begin.git("clone", "--quiet", "--bare", ".", str(place / "remote.git"))
    begin.git("remote", "add", "origin", str(place / "remote.git"))
    begin.git("fetch", "--quiet")
    begin.git("branch", "--quiet", "--set-upstream-to=origin/main")
    other = GitStore(place / "remote.git").clone(place / "b")
    keys = [f"n.{name}" for name in (*(f"{s}{n}" for s in "ab" for n in range(KEYS)), "busy_a", "busy_b")]
    machines = [Machine(begin, "a", keys, place), Machine(other, "b", keys, place)]
    try:
        for number in range(rounds):
            machine = machines[number % 2] if dice.random() < 0.8 else dice.choice(machines)
            machine.learn(dice)
            before = time.monotonic()
            machine.sync()
            figures.slowest_s = max(figures.slowest_s, time.monotonic() - before)
            stale = machine.has_fresh_reader()
            figures.stale += [f"round {number}: {stale}"] if stale else []
            figures.rounds += 1
            if number % 25 == 24:
                say(f"{number + 1} rounds, stale: {figures.stale or 'none'}")
    finally:
        for machine in machines:
            machine.rest()
    for machine in (*machines, *machines):  # so that each has what the other learned last
        machine.sync()
    _settle(machines, figures)
    return figures


def _settle(machines: list[Machine], figures: Figures) -> None:
    """Hold both journals to what was acknowledged, and both machines to the same values."""
    said = [name for machine in machines for name in (*machine.acknowledged, *machine.busy_ids())]
    figures.refused = said.count("refused")
    acknowledged = {name for name in said if name != "refused"}
    figures.acknowledged = len(acknowledged)
    for machine in machines:
        held = [entry.id for entry in machine.repo.params().history()]
        figures.lost += [f"{machine.side} lacks {name}" for name in acknowledged - set(held)]
        figures.problems += [f"{machine.side}: an entry twice"] if len(held) != len(set(held)) else []
        audit = machine.repo.say("check")
        figures.problems += [f"{machine.side}: {audit}"] if "everything is in order" not in audit else []
        for index, times in enumerate(machine.back):
            figures.went_back += [f"{machine.side}: {machine.keys[index]} {times} times"] if times else []
    for key in [*machines[0].keys, "n.shared"]:
        a, b = (machine.repo.get(key) for machine in machines)
        counted = sum(len(e.changes) for e in machines[0].repo.params().history(key) if e.kind == "commit")
        if a != b or (key != "n.shared" and a != counted):
            figures.lost.append(f"{key}: a has {a}, b has {b}, {counted} were committed")


def main(words: list[str]) -> int:
    """Run as many rounds as the first word says, and print what came of it."""
    with tempfile.TemporaryDirectory() as place:
        begin = time.monotonic()
        figures = run(Path(place), int(words[0]) if words else 500, say=lambda line: print(line, flush=True))  # noqa: T201
        print(f"{figures} in {time.monotonic() - begin:.0f} s")  # noqa: T201
    return 1 if figures.lost or figures.stale or figures.went_back or figures.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
