"""Processes that use one store at once, and write down what they did and saw."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Any

import plainstore as ps
from checker import COMMIT, FREEZE, GET, KEYS, RECORD, SECTION, SNAPSHOT, UNFREEZE
from explained import UNSEEN
from processes import Shared, running

from paramstore import ParamStore
from paramstore.errors import ValidationError

OVER, STARTED = 0, 1  # places in the shared numbers
NOTHING = (UNSEEN,) * len(KEYS)
FROZEN = tuple(int(key == "alpha.theirs") for key in KEYS)


class Recorder:
    """Keeps one process's operations in memory and writes them when it ends, 37 bytes each."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / name
        self.raw = bytearray()
        self.count = 0

    def note(self, kind: int, begun: int, values: Sequence[int], revision: int = UNSEEN) -> None:
        self.raw += RECORD.pack(kind, revision, begun, monotonic_ns(), *values)
        self.count += 1

    def save(self) -> int:
        self.file.write_bytes(self.raw)
        return self.count


def learn(root: Path, out: Recorder, shared: Shared, number: int, seed: int) -> int:
    """Commit values that nobody else writes, to one key or to several in both files, until it is over."""
    store, dice, serial = ParamStore(root), random.Random(seed + number), 0
    while not shared[OVER]:
        serial += 1
        value = 100 + serial * 16 + number
        keys = dice.choice((KEYS[:1], KEYS[1:2], (KEYS[0], KEYS[2]), KEYS[:2], KEYS))
        begun = monotonic_ns()
        try:
            with store.transaction(author=f"learner{number}", timeout_s=60) as tx:
                for key in keys:
                    tx[key] = value
        except ValidationError:  # frozen
            time.sleep(0.001)
            continue
        values = [value if key in keys else UNSEEN for key in KEYS]
        out.note(COMMIT, begun, values, tx.commit_result.revision)
    return out.save()


def ways(store: ParamStore, out: Recorder) -> list[Callable[[], None]]:
    """Return the reads, each of which records itself."""
    section, get = store.section("alpha"), store.get

    class Gate:
        COUNT = store.live("alpha.count")

    def one(place: int, read: Callable[[], int]) -> Callable[[], None]:
        before, after = NOTHING[:place], NOTHING[place + 1 :]

        def call() -> None:
            begun = monotonic_ns()
            value = read()
            out.note(GET, begun, (*before, value, *after))

        return call

    def copy() -> None:
        begun = monotonic_ns()
        found = dict(section)
        out.note(SECTION, begun, (found["count"], found["theirs"], UNSEEN, UNSEEN))

    return [
        one(0, lambda: get("alpha.count")), one(2, lambda: get("beta.count")), one(3, lambda: get("beta.theirs")),
        one(1, lambda: section["theirs"]), one(0, lambda: Gate.COUNT), copy, lambda: snapshot(store, out),
    ]  # fmt: skip


def snapshot(store: ParamStore, out: Recorder) -> None:
    begun = monotonic_ns()
    with store.snapshot() as p:
        out.note(SNAPSHOT, begun, [p.get(key) for key in KEYS], p.revision)


def read(root: Path, out: Recorder, shared: Shared, reads: int, seed: int) -> int:
    """Read in every way, in bursts between which others run."""
    store, dice = ParamStore(root), random.Random(seed)
    calls = ways(store, out)
    for number in range(reads):
        dice.choice(calls)()
        if number % 4 == 0:
            os.sched_yield()
        if number % 16 == 0:
            time.sleep(0.0005)
    return out.save()


def open_anew(root: Path, out: Recorder, shared: Shared) -> int:
    """Open the store over and over, and see all of it at once."""
    while not shared[OVER]:
        store = ParamStore(root)
        begun = monotonic_ns()
        with store.snapshot() as p:
            out.note(SNAPSHOT, begun, [p.get(key) for key in KEYS], p.revision)
        snapshot(store, out)
        store.reset()
        time.sleep(0.005)
    return out.save()


def roll_back(root: Path, out: Recorder, shared: Shared, pause_s: float) -> int:
    """Bring back the values of a few revisions ago, now and then."""
    store = ParamStore(root)
    while not shared[OVER]:
        time.sleep(pause_s)
        begun = monotonic_ns()
        try:
            result = store.rollback(max(0, store.revision - 3), author="person", timeout_s=60)
        except ValidationError:  # frozen
            continue
        if result.entry is not None:
            out.note(COMMIT, begun, NOTHING, result.revision)
    return out.save()


def freeze(root: Path, out: Recorder, shared: Shared, pause_s: float) -> int:
    """Freeze one key for a while, and thaw it again."""
    store = ParamStore(root)
    while not shared[OVER]:
        time.sleep(pause_s)
        begun = monotonic_ns()
        store.freeze("alpha.theirs", author="person", reason="test", timeout_s=60)
        out.note(FREEZE, begun, FROZEN)
        time.sleep(pause_s)
        begun = monotonic_ns()
        store.unfreeze("alpha.theirs", author="person", timeout_s=60)
        out.note(UNFREEZE, begun, FROZEN)
    return out.save()


def work(
    root: Path, folder: Path, operations: int, seed: int, learners: int = 4, readers: int = 4
) -> dict[str, Any]:
    """Run all processes on a store until the readers have made their share of ``operations``."""
    shared = Shared()
    pause_s = 0.05 if operations < 100_000 else 0.5

    def out(name: str) -> Recorder:
        return Recorder(folder, name)

    def learner(number: int) -> Callable[[], int]:
        return lambda: learn(root, out(f"learner{number}"), shared, number, seed)

    def reader(number: int) -> Callable[[], int]:
        return lambda: read(root, out(f"reader{number}"), shared, operations // readers, seed + 100 + number)

    others = [
        *map(learner, range(learners)),
        lambda: open_anew(root, out("opener"), shared),
        lambda: roll_back(root, out("roller"), shared, pause_s),
        lambda: freeze(root, out("freezer"), shared, pause_s),
    ]
    begun = time.monotonic()
    with running(*others, *map(reader, range(readers))) as children:
        counts = [child.result() for child in children[len(others) :]]
        shared[OVER] = 1
        counts += [child.result() for child in children[: len(others)]]
    return {"operations": sum(counts), "seconds": round(time.monotonic() - begun, 1)}


def fresh_store(folder: Path) -> Path:
    """Make a store with a first commit, so that no reader sees values from before the journal."""
    root = ps.make_store(folder / "store", count=1)
    store = ParamStore(root)
    with store.transaction(author="person", dry_run=True):
        pass
    store.reset()
    return root
