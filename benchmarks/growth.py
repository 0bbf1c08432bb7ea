"""Growth: what a store costs at 60 parameters and at more, up to 10,000."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.commits import first_read, store_commit, writer
from benchmarks.figures import Series, series
from benchmarks.harness import Case, in_turn, once, statement
from benchmarks.plan import Plan
from benchmarks.stores import KEY, paramstore, workspace, write_store

SECTION = "Growth from 60 to 10,000 parameters"
ASKED = (
    ("read: `store.get(key)`", "reads"),
    ("snapshot, and a read in it", "reads"),
    ("durable commit of one key", "commits"),
    ("first read after a commit of another process", "fresh"),
    ("`paramstore check`, a whole process", "checks"),
)


def rows(plan: Plan) -> list[Series]:
    """Each question at every size, the sizes in turn."""
    try:
        paramstore()
    except ImportError as error:
        return [Series(SECTION, "paramstore", {}, missing=f"not available: {error}")]
    with workspace(plan.directory) as parent:
        return _at_every_size(parent, plan)


def _at_every_size(parent: Path, plan: Plan) -> list[Series]:
    """A function of its own, so that no store is left to complain of its directory, which is deleted after it."""
    with ExitStack() as open_ones:
        by_size = [_measures(parent / str(size), size, open_ones) for size in plan.sizes]
        return [
            _series(name, plan, [measures[place] for measures in by_size], getattr(plan, repetitions))
            for place, (name, repetitions) in enumerate(ASKED)
        ]


def _series(name: str, plan: Plan, measures: list[Callable[[], float]], repetitions: int) -> Series:
    cases = [Case(name, measure) for measure in measures]
    return series(SECTION, name, dict(zip(plan.sizes, in_turn(cases, repetitions), strict=True)))


def _measures(root: Path, size: int, open_ones: ExitStack) -> list[Callable[[], float]]:
    """How each of ``ASKED`` is measured. Commits and first reads have a store each, so that neither sees the other's."""
    write_store(root, size)
    commit, _ = store_commit(root)
    store = paramstore().ParamStore(root)
    followed = write_store(root.with_name(f"{root.name}-followed"), size)
    reader = paramstore().ParamStore(followed)
    reader.get(KEY)
    names: dict[str, Any] = {"store": store}
    return [
        statement(f"store.get({KEY!r})", names),
        statement(f"with store.snapshot() as p: p.get({KEY!r})", names),
        once(commit),
        first_read(reader, open_ones.enter_context(writer(followed))),
        _check(root),
    ]


def _check(root: Path) -> Callable[[], float]:
    command = [sys.executable, "-m", "paramstore", "--root", str(root), "check"]
    return once(lambda: subprocess.run(command, check=True, capture_output=True))
