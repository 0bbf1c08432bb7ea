"""Processes that learn, read and edit are killed at random moments, and what they were told must stand.

    python tests/faults/random_kills.py [KILLS [SEED]]

Children are forked from a process that has imported everything, so that each is at work within milliseconds. A
learner writes down a commit, in a file of its own that is only appended to, after the transaction has returned.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import killing
import plainstore as ps
from processes import Shared

from paramstore import ParamStore
from paramstore.errors import ConflictError

NAMES = ("alpha", "beta", "gamma")
KILLS_A_ROUND = 250  # then all is checked, and a new store is begun
LONGEST_LIFE_S = 0.06
SAVED, ALPHA, GAMMA = (
    0,
    1,
    2,
)  # numbers that all see: the editor's last save, what each count was when acknowledged
Tell = Callable[[dict[str, Any]], None]


@dataclass
class Round:
    """What one round came to."""

    kills: int = 0
    acknowledged: int = 0
    entries: int = 0
    saves: int = 0
    conflicts: int = 0
    problems: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)  # what a reader saw and should not have, each once


def learn(root: Path, shared: Shared, tell: Tell, seed: int, own: str) -> None:
    """Count up for ever; every third commit changes two more files by the same number."""
    chance, store = random.Random(seed), ParamStore(root)
    place = ALPHA if own == "alpha" else GAMMA
    while True:
        try:
            with store.transaction(author="learner", timeout_s=30) as tx:
                tx[f"{own}.count"] += 1
                values = {f"{own}.count": tx[f"{own}.count"]}
                if chance.random() < 0.33:
                    values["alpha.theirs"] = values["beta.theirs"] = tx["alpha.theirs"] + 1
                    tx["alpha.theirs"] = tx["beta.theirs"] = values["alpha.theirs"]
        except ConflictError:
            continue
        tell({"revision": tx.commit_result.revision, "values": values})
        shared[place] = values[f"{own}.count"]


def watch(root: Path, shared: Shared, tell: Tell) -> None:
    """Read for ever: all or nothing, and never what is older than what was acknowledged."""
    store = ParamStore(root)
    while True:
        acknowledged = shared[ALPHA]
        with store.snapshot() as p:
            count, one, two = p.get("alpha.count"), p.get("alpha.theirs"), p.get("beta.theirs")
        if one != two:
            tell({"read": f"a reader saw half of a commit: {one} and {two}"})
        if count < acknowledged:
            tell({"read": f"a reader saw {count} after {acknowledged} was acknowledged"})
        time.sleep(0.0005)


def edit(root: Path, shared: Shared, tell: Tell) -> None:
    """Save a file by rename for ever, counting the saves in it."""
    path = root / "params" / "gamma.yaml"
    while True:
        saved = shared[SAVED]
        raw = path.read_bytes()
        now = int(ps.values_in(raw)["theirs"])
        if now < saved:
            tell({"problem": f"save {saved} by rename was overwritten by {now}"})
        new = path.with_name("gamma.yaml~")
        new.write_bytes(raw.replace(b"theirs: %d" % now, b"theirs: %d" % (now + 1)))
        new.replace(path)
        shared[SAVED] = now + 1
        time.sleep(0.01)


def one_round(folder: Path, kills: int, seed: int) -> Round:
    """Kill ``kills`` times, then check everything."""
    chance, shared, found = random.Random(seed), Shared(), Round()
    root = ps.make_store(folder / f"store-{seed}", names=NAMES, count=0)
    killing.in_child(lambda: killing.recover(root))
    log = folder / f"told-{seed}"
    works: list[Callable[[Tell, int], None]] = [
        lambda tell, s: learn(root, shared, tell, s, "alpha"),
        lambda tell, s: learn(root, shared, tell, s, "gamma"),
        lambda tell, _: watch(root, shared, tell),
        lambda tell, _: edit(root, shared, tell),
    ]
    with _all_at_work(works, log, chance) as children:
        while found.kills < kills:
            time.sleep(chance.uniform(0, LONGEST_LIFE_S / len(works)))
            which = chance.randrange(len(works))
            if not _kill(children[which]):
                found.problems.append(f"child {which} died by itself")
            found.kills += 1
            children[which] = _start(works[which], log, chance.getrandbits(32))
    _check(root, log, shared[SAVED], found)
    shutil.rmtree(root)
    log.unlink()
    return found


@contextmanager
def _all_at_work(
    works: list[Callable[[Tell, int], None]], log: Path, chance: random.Random
) -> Iterator[list[int]]:
    children = [_start(work, log, chance.getrandbits(32)) for work in works]
    try:
        yield children
    finally:
        for child in children:
            _kill(child)


def _start(work: Callable[[Tell, int], None], log: Path, seed: int) -> int:
    pid = os.fork()
    if pid == 0:
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

        def tell(fact: dict[str, Any]) -> None:
            os.write(fd, json.dumps(fact).encode() + b"\n")  # one call: whole or not at all

        try:
            work(tell, seed)
        except BaseException:  # noqa: BLE001 - told to the parent
            tell({"problem": traceback.format_exc()})
        os._exit(1)
    return pid


def _kill(pid: int) -> bool:
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def _check(root: Path, log: Path, saved: int, found: Round) -> None:
    """Hold the journal and the files against what was told, with no code of the store."""
    killing.in_child(lambda: killing.recover(root))
    files = ps.tracked(root)
    facts = [json.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []
    found.problems += [fact["problem"] for fact in facts if "problem" in fact]
    found.reads += sorted({fact["read"] for fact in facts if "read" in fact})
    found.problems += ps.problems_of(files, edited=True)
    try:
        entries = ps.standing(ps.lines_of(files))
    except AssertionError:
        return
    by_revision = {entry["revision"]: entry for entry in entries}
    told = [fact for fact in facts if "revision" in fact]
    for fact in told:
        changes = by_revision.get(fact["revision"], {"changes": []})["changes"]
        if {change["key"]: change["new"] for change in changes} != fact["values"]:
            found.problems.append(
                f"acknowledged revision {fact['revision']} is lost: {fact['values']}, not {changes}"
            )
    commits = sum("alpha.count" in (c["key"] for c in e["changes"]) for e in entries if e["kind"] == "commit")
    count = ps.values_in(files["params/alpha.yaml"])["count"]
    if count != commits:
        found.problems.append(f"alpha.count is {count} after {commits} commits to it")
    if ps.values_in(files["params/gamma.yaml"])["theirs"] < saved:
        found.problems.append(f"the last of {saved} saves by rename is lost")
    found.acknowledged, found.entries, found.saves = len(told), len(entries), saved
    found.conflicts = sum(name.endswith(".conflict") for name in files)


def rounds(folder: Path, kills: int, seed: int) -> Round:
    """Kill ``kills`` times in as many rounds as it takes; each problem names the seed of its round."""
    killing.import_everything(folder)
    total = Round()
    while total.kills < kills and not total.problems:
        part = one_round(folder, min(KILLS_A_ROUND, kills - total.kills), seed)
        total.problems += [f"seed {seed}: {problem}" for problem in part.problems]
        total.reads += [f"seed {seed}: {read}" for read in part.reads]
        for name in ("kills", "acknowledged", "entries", "saves", "conflicts"):
            setattr(total, name, getattr(total, name) + getattr(part, name))
        seed += 1
    return total


def main() -> int:
    words = sys.argv[1:]
    kills, seed = (int(word) for word in (*words, *("10000", "1")[len(words) :]))
    folder = ps.fast_folder()
    try:
        total = rounds(folder, kills, seed)
    finally:
        shutil.rmtree(folder)
    sys.stdout.write(json.dumps(vars(total), indent=1) + "\n")
    return bool(total.problems or total.reads)


if __name__ == "__main__":
    sys.exit(main())
