# ruff: noqa: T201 - run as a command, it prints
"""Damaged input through every door that reads it, a seed at a time: ``python tests/fuzz/fuzzing.py [--inputs N]``.

Each input has a seed of its own, which is printed with a violation: ``--only TARGET --seed S --inputs 1`` runs it again.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import targets  # noqa: E402
from damage import damaged  # noqa: E402

from paramstore.errors import ParamstoreError  # noqa: E402

SLOW_S = 0.1  # of processor time for one input
MOST_SHOWN = 10


@dataclass
class Outcome:
    """What came of many inputs: how many per target, how many of them were accepted, and what must not be."""

    inputs: collections.Counter[str] = field(default_factory=collections.Counter)
    accepted: collections.Counter[str] = field(default_factory=collections.Counter)
    slow: collections.Counter[str] = field(default_factory=collections.Counter)
    slowest_s: float = 0.0
    slowest: str = ""
    violations: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take in what another run came to."""
        self.inputs += other.inputs
        self.accepted += other.accepted
        self.slow += other.slow
        self.violations += other.violations
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest = other.slowest_s, other.slowest


def one(name: str, seeds: list[bytes], seed: int, outcome: Outcome) -> None:
    """Run one target on the input of one seed."""
    raw = damaged(random.Random(seed), seeds)
    begin = time.process_time()
    try:
        outcome.accepted[name] += targets.TARGETS[name](raw)
    except ParamstoreError:
        pass
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        outcome.violations.append(
            f"{name}, seed {seed}: {type(error).__name__} at {where}: {str(error)[:200]!r}; input {raw[:200]!r}"
        )
    took = time.process_time() - begin
    outcome.inputs[name] += 1
    if took > SLOW_S:
        outcome.slow[name] += 1
    if took > outcome.slowest_s:
        outcome.slowest_s, outcome.slowest = took, f"{name}, seed {seed}"


def run(count: int, seed: int, only: str = "") -> Outcome:
    """Run ``count`` inputs beginning with ``seed``, all targets in turn or only one."""
    shm = "/dev/shm"
    folder = Path(tempfile.mkdtemp(prefix="paramstore-fuzz-", dir=shm if os.access(shm, os.W_OK) else None))
    targets.work_in(folder)
    outcome = Outcome()
    try:
        corpus = {name: make() for name, make in targets.SEEDS.items()}
        chosen = [only] if only else random.Random(seed).choices(list(corpus), targets.weights(), k=count)
        for number in range(count):
            name = chosen[number % len(chosen)]
            one(name, corpus[name], seed + number, outcome)
    finally:
        shutil.rmtree(folder)
    return outcome


def _piece(words: tuple[int, int, str]) -> Outcome:
    return run(*words)


def side_by_side(count: int, seed: int, only: str, jobs: int, piece: int = 5000) -> Outcome:
    """The same in several processes."""
    total = Outcome()
    work = [(min(piece, count - begin), seed + begin, only) for begin in range(0, count, piece)]
    if jobs == 1:
        for words in work:
            total.add(run(*words))
        return total
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for outcome in pool.imap_unordered(_piece, work):
            total.add(outcome)
            print(
                f"{sum(total.inputs.values())} inputs, {len(total.violations)} violations",
                file=sys.stderr,
                flush=True,
            )
            for violation in outcome.violations[:MOST_SHOWN]:
                print(violation, file=sys.stderr, flush=True)
    return total


def main() -> int:
    """Run as a command; exit status 1 where anything is violated."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--inputs", type=int, default=20_000)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--only", default="", choices=["", *targets.TARGETS])
    words.add_argument("--jobs", type=int, default=1)
    asked = words.parse_args()
    total = side_by_side(asked.inputs, asked.seed, asked.only, asked.jobs)
    for name in targets.TARGETS:
        print(
            f"{name}: {total.inputs[name]} inputs, {total.accepted[name]} accepted, {total.slow[name]} above {SLOW_S} s"
        )
    print(
        f"{sum(total.inputs.values())} inputs, {len(total.violations)} violations, slowest {total.slowest_s:.3f} s ({total.slowest})"
    )
    for violation in total.violations[:MOST_SHOWN]:
        print(violation)
    return bool(total.violations)


if __name__ == "__main__":
    sys.exit(main())
