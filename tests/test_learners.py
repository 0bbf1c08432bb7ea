"""Learners as processes: at the same moment, against a freeze, and stopped in the middle."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest
from local_store import number, schema, write_store

from paramstore import ParamStore
from paramstore.errors import ValidationError

ROUNDS = 1000
NAMES = ("a", "b", "c", "d")
LEARNER = """
import json, random, sys
from paramstore import ParamStore
from paramstore.errors import ParamstoreError
store = ParamStore(sys.argv[1], environ={})
dice = random.Random(int(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    how, done = line.strip(), "committed"
    try:
        with store.transaction(author="learner" + sys.argv[2], timeout_s=60) as tx:
            if how == "swap":
                one, other = dice.sample("abcd", 2)
                step = round(dice.uniform(0.0001, 0.01), 4)
                tx["w." + one] = round(tx["w." + one] + step, 4)
                tx["w." + other] = round(tx["w." + other] - step, 4)
            else:
                tx.propose("w", {name: dice.uniform(0, 1) for name in "abcd"}, on_violation="project")
    except ParamstoreError as error:
        done = json.dumps(getattr(error, "broken", None) and [broken.rule for broken in error.broken])
    print(done, flush=True)
"""


class Learner:
    """A process that tries to change weights each time that it is told to."""

    def __init__(self, root: Path, name: int) -> None:
        words = [sys.executable, "-c", LEARNER, str(root), str(name)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.answer() == "ready"

    def ask(self, how: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(how + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Learner:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A store in memory, where a thousand rounds take no time: locks and files are the same."""
    about = {"x-param": {"learnable": True, "decimals": 4, "max_step": 0.1}}
    leaves = {name: {**number(0.25, maximum=1.0), **about} for name in NAMES}
    raw = schema(leaves, None, [{"sum": ["*"], "equals": 1}])
    values = {"schema": 1, "values": dict.fromkeys(NAMES, 0.25)}
    fast = Path("/dev/shm")
    place = Path(
        subprocess.check_output(
            ["mktemp", "-d", "-p", str(fast if fast.is_dir() else tmp_path)], text=True
        ).strip()
    )
    yield write_store(place / "store", {"w": raw}, {"w": values})
    subprocess.run(["rm", "-rf", str(place)], check=True)


def test_two_learners_at_the_same_moment_never_leave_a_sum_that_is_not_one(root: Path) -> None:
    with ExitStack() as stack:
        learners = [stack.enter_context(Learner(root, name)) for name in range(2)]
        said: list[str] = []
        for turn in range(ROUNDS):
            for index, learner in enumerate(
                learners
            ):  # both at once: one sums, one swaps, then the other way
                learner.ask("swap" if (turn + index) % 2 else "project")
            said += [learner.answer() for learner in learners]
    history = ParamStore(root, environ={}).history()
    committed = sum(answer == "committed" for answer in said)
    assert committed > 1.6 * ROUNDS  # a swap may be refused: a weight has come to its bound
    assert {answer for answer in said if answer != "committed"} <= {
        '["minimum"]',
        '["minimum", "minimum"]',
        '["maximum"]',
    }
    weights: dict[str, Decimal] = {}
    for entry in history:
        old = dict(weights)
        weights |= {change.key: Decimal(repr(change.new)) for change in entry.changes}
        assert sum(weights.values()) == 1, f"revision {entry.revision}"
        assert all(abs(weights[key] - old[key]) <= Decimal("0.1") for key in old)
    assert len(history) <= committed + 1


def test_a_freeze_is_obeyed_by_the_next_commit_of_every_other_process(root: Path) -> None:
    """One process freezes and thaws, others try to commit right after each: a thousand of a thousand."""
    store = ParamStore(root, environ={})
    obeyed = went_on = 0
    dice = random.Random(1)
    with ExitStack() as stack:
        learners = [stack.enter_context(Learner(root, name)) for name in range(2)]
        for turn in range(ROUNDS // 2):
            pattern = dice.choice(["*", "w", "w.*"])
            store.freeze(pattern, author="person", reason=f"turn {turn}")
            before = store.revision
            for learner in learners:
                learner.ask("project")
            answers = [json.loads(learner.answer()) for learner in learners]
            obeyed += sum(set(rules) == {"freeze"} for rules in answers)
            assert store.revision == before
            store.unfreeze(pattern, author="person")
            learners[turn % 2].ask("project")
            went_on += learners[turn % 2].answer() == "committed"
    assert (obeyed, went_on) == (ROUNDS, ROUNDS // 2)


def test_a_frozen_store_can_be_read_by_all(root: Path) -> None:
    store = ParamStore(root, environ={})
    store.freeze("*", author="person", reason="stop")
    code = f"from paramstore import ParamStore; print(ParamStore({str(root)!r}).get('w.a'))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "0.25\n"
    with pytest.raises(ValidationError, match="frozen by person"), store.transaction(author="x") as tx:
        tx["w.a"], tx["w.b"] = 0.26, 0.24


def test_entries_without_values_survive_a_writer_that_dies_right_after(root: Path) -> None:
    code = (
        "import os, sys; from paramstore import ParamStore; store = ParamStore(sys.argv[1]);"
        "store.freeze('w.a', author='me', reason='pin'); store.approve('w.b', author='me', reason='r'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(root)], check=False).returncode == 9
    (root / ".paramstore" / "generation").unlink()
    store = ParamStore(root, environ={})
    assert [freeze.pattern for freeze in store.freezes()] == ["w.a"]
    with pytest.raises(ValidationError, match="frozen by me"), store.transaction(author="x") as tx:
        tx["w.a"], tx["w.b"] = 0.26, 0.24
    assert [(entry.kind, entry.revision) for entry in store.history(refused=True)] == [
        ("external", 0), ("freeze", 0), ("approve", 0), ("refusal", 0),
    ]  # fmt: skip
