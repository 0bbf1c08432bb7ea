"""Who is at work in the soak: learners, readers, and a person who saves files and uses git.

Each is a process of its own. What was acknowledged is written, one line of JSON each, to a file that is only appended to,
so that nobody keeps a list that would grow.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns
from typing import Any

import killing
import plainstore as ps
from git_store import GitStore
from processes import Shared

from paramstore import ParamStore
from paramstore.errors import ParamstoreError

NAMES = ("alpha", "beta", "gamma", "delta")
SYMBOLS = ("BTC", "ETH", "SOL")
OVER, COUNT, PAIR, QUIET_AT, OPERATIONS, SAVES = range(6)  # places of numbers that all see
NEVER = 1 << 62
SETTLED_S = 3.0  # by then readers have long seen what git or a person did to the files
Tell = Callable[[dict[str, Any]], None]
Placed = list[tuple[str, dict[str, str], Any]]


def teller(folder: Path, name: str) -> Tell:
    """Return what appends one fact as one line, whole or not at all."""
    fd = os.open(folder / f"{name}.told", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    return lambda fact: void(os.write(fd, json.dumps(fact).encode() + b"\n"))


def void(_: object) -> None:
    """Nothing."""


# -- learners ---------------------------------------------------------------------------------------


def count_up(tx: Any, _: random.Random) -> Placed:
    """One value of one file."""
    tx["alpha.count"] += 1
    return [("alpha.count", {}, tx["alpha.count"])]


def count_in_two(tx: Any, _: random.Random) -> Placed:
    """One number in two files, which are the same at every revision."""
    value = tx["alpha.theirs"] + 1
    tx["alpha.theirs"] = tx["beta.theirs"] = value
    return [("alpha.theirs", {}, value), ("beta.theirs", {}, value)]


def set_in_contexts(tx: Any, dice: random.Random) -> Placed:
    """A value that has overrides, which come and go."""
    context = {"symbol": dice.choice(SYMBOLS)} if dice.random() < 0.8 else {}
    value = dice.randrange(100) / 100
    tx.set("beta.pace", value, **context)
    return [("beta.pace", context, value)]


def count_beside_people(tx: Any, dice: random.Random) -> Placed:
    """Files that a person saves, and takes back with git, all the time."""
    key = dice.choice(("gamma.count", "delta.count"))
    tx[key] += 1
    return [(key, {}, tx[key])]


LEARNERS = {f.__name__: f for f in (count_up, count_in_two, set_in_contexts, count_beside_people)}


def learn(root: Path, shared: Shared, tell: Tell, name: str, seed: int) -> None:
    """Commit about five times a second until it is over; tell each commit once it is acknowledged."""
    store, dice, change = ParamStore(root, environ={}), random.Random(f"{seed} {name}"), LEARNERS[name]
    while not shared[OVER]:
        time.sleep(dice.uniform(0.1, 0.25))
        try:
            with store.transaction(author=name, timeout_s=60) as tx:
                placed = change(tx, dice)
        except ParamstoreError as error:  # git had a file away, or somebody saved over and over
            tell({"refused": str(error)})
            continue
        entry = tx.commit_result.entry
        if entry is not None:
            tell({"id": entry.id, "placed": placed})
        if name == "count_up":
            shared[COUNT] = placed[0][2]
        elif name == "count_in_two":
            shared[PAIR] = placed[0][2]


# -- readers ----------------------------------------------------------------------------------------


class Reader:
    """Reads one store in one way. ``judge`` is asked only while no file has been touched by git or a person for a while."""

    def __init__(self, root: Path, shared: Shared, tell: Tell) -> None:
        self.store = ParamStore(root, environ={})
        self.shared, self.tell = shared, tell

    def run(self, once: Callable[[], str], pause_s: float = 0.02) -> None:
        while not self.shared[OVER]:
            before = self.shared[QUIET_AT]
            begun = monotonic_ns()
            wrong = once()
            if wrong and begun > before and self.shared[QUIET_AT] == before:
                self.tell({"problem": wrong})
            time.sleep(pause_s)

    def get(self) -> str:
        acknowledged = self.shared[COUNT]
        value = self.store.get("alpha.count")
        self.store.get("beta.pace", symbol=SYMBOLS[value % 3])
        return f"alpha.count is {value} after {acknowledged} was acknowledged" if value < acknowledged else ""

    def section(self) -> str:
        acknowledged = self.shared[COUNT]
        copy = dict(self.store.section("alpha"))
        return (
            f"section: {copy['count']} after {acknowledged} was acknowledged"
            if copy["count"] < acknowledged
            else ""
        )

    def snapshot(self) -> str:
        acknowledged = self.shared[PAIR]
        with self.store.snapshot() as p:
            one, two = p.get("alpha.theirs"), p.get("beta.theirs")
            p.at(symbol="BTC").get("beta.pace")
        if one != two:
            return f"half of a commit: {one} and {two}"
        return f"snapshot: {one} after {acknowledged} was acknowledged" if one < acknowledged else ""


def read(root: Path, shared: Shared, tell: Tell, way: str) -> None:
    """Read until it is over. ``threads``: one store in every way at once, from threads."""
    reader = Reader(root, shared, tell)
    if way != "threads":
        reader.run(getattr(reader, way))
        return
    ways = (reader.get, reader.section, reader.snapshot)
    threads = [threading.Thread(target=reader.run, args=(once, 0.05)) for once in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- the person -------------------------------------------------------------------------------------


class Person:
    """Saves a file by rename now and then, and uses git in between. What takes the journal back for a moment is done under
    the store's lock, as a script would that stops the learners: git knows nothing of lines that are not committed yet."""

    def __init__(self, root: Path, shared: Shared, tell: Tell, seed: int) -> None:
        self.repo, self.shared, self.tell = GitStore(root), shared, tell
        self.store = ParamStore(root, environ={})
        self.dice = random.Random(f"{seed} person")
        self.saved = 0
        self.seed = seed

    def run(self, period_s: float) -> None:
        begun, due = time.monotonic(), time.monotonic() + 2.5  # readers are judged first
        operations = [
            self.commit, self.back_and_forth, self.old_file, self.merge, self.stash, self.switch, self.by_paramstore, self.tidy,
        ]  # fmt: skip
        while not self.shared[OVER]:
            self.save()
            time.sleep(self.dice.uniform(0.2, 0.6))
            if time.monotonic() > due:
                operation = operations[self.shared[OPERATIONS] % len(operations)]
                self.shared[QUIET_AT] = NEVER
                try:
                    operation()
                except AssertionError as error:
                    at = round(time.monotonic() - begun, 1)
                    self.tell({"problem": f"{operation.__name__} after {at} s (seed {self.seed}): {error}"})
                self.shared[QUIET_AT] = monotonic_ns() + round(SETTLED_S * 1e9)
                self.shared[OPERATIONS] += 1
                due = time.monotonic() + period_s

    def save(self) -> None:
        """Save a file as an editor does: read, change one number, write beside it, rename."""
        path = self.repo.root / "params" / "delta.yaml"
        for _ in range(100):
            raw = path.read_bytes()
            now = int(ps.values_in(raw)["theirs"])
            if now >= self.saved:
                break
            time.sleep(0.05)  # a commit that met the save has it back in place by then
        else:
            self.tell({"problem": f"save {self.saved} by rename was overwritten by {now}"})
        new = path.with_name("delta.yaml~")
        new.write_bytes(raw.replace(b"  theirs: %d" % now, b"  theirs: %d" % (now + 1), 1))
        new.replace(path)
        self.saved = now + 1
        self.shared[SAVES] += 1

    def locked(self, work: Callable[[], object]) -> None:
        """Hold the learners off, put all that stands into git, and do ``work``."""
        with self.store.transaction(author="person", dry_run=True, timeout_s=60):
            self.repo.git("add", "--all", "params")
            self.repo.git("commit", "--quiet", "--allow-empty", "--message", "what stands")
            work()

    def look(self) -> None:
        """Let readers see what stands now."""
        time.sleep(0.3)

    def commit(self) -> None:
        self.locked(lambda: None)

    def back_and_forth(self) -> None:
        def work() -> None:
            self.repo.git("checkout", "--quiet", "HEAD~1", "--", "params")
            self.look()
            self.repo.git("checkout", "--quiet", "HEAD", "--", "params")

        self.locked(work)

    def switch(self) -> None:
        def work() -> None:
            self.repo.git("checkout", "--quiet", "--detach", "HEAD~2")
            self.look()
            self.repo.git("checkout", "--quiet", "main")

        self.locked(work)

    def stash(self) -> None:
        with self.store.transaction(author="person", dry_run=True, timeout_s=60):
            if "No local changes" in self.repo.git("stash", "push", "--", "params"):
                return
            self.look()
            self.repo.git("stash", "pop", "--quiet")

    def old_file(self) -> None:
        """Bring back one file of the last git commit amid commits to it; what that undoes is an edit by hand."""
        self.repo.git("checkout", "--quiet", "HEAD~1", "--", "params/gamma.yaml")
        self.repo.git("reset", "--quiet", "--", "params/gamma.yaml", status=None)

    def merge(self) -> None:
        """Merge a branch with a commit, and its journal entry, of another clone of the files."""
        place = self.repo.root.with_name("topic")
        topic = GitStore(place)
        value = self.dice.randrange(1, 100) / 100

        def commit_there() -> None:
            with ParamStore(place, environ={}).transaction(author="topic") as tx:
                tx["gamma.pace"] = value

        def work() -> None:
            self.repo.git("worktree", "add", "--quiet", "--detach", str(place), "HEAD~1")
            killing.in_child(commit_there)
            topic.git("commit", "--quiet", "--allow-empty", "--all", "--message", "topic")
            self.repo.git("merge", "--quiet", "--no-edit", topic.git("rev-parse", "HEAD").strip())
            self.repo.git("worktree", "remove", "--force", str(place))
            shutil.rmtree(place, ignore_errors=True)

        self.locked(work)

    def by_paramstore(self) -> None:
        words = [sys.executable, "-m", "paramstore", "--root", str(self.repo.root), "commit"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def tidy(self) -> None:
        self.repo.git("gc", "--quiet", "--prune=now")
