"""One value changed and acknowledged as durable: paramstore beside databases and files written by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.changing import DURABLE
from benchmarks.commits import ENTRY_BYTES, OTHER_VALUE, RawCommit
from benchmarks.contenders import PARAMSTORE, Contender
from benchmarks.harness import Case, Row, compare, failed_row, once, run_python
from benchmarks.plan import Plan
from benchmarks.stores import VALUE, workspace

FEWER = 5  # a round trip of the larger file takes a third of a second


def rows(plan: Plan) -> list[Row]:
    """Every store of ``changing``, in turn, against paramstore; and the system calls it cannot do without."""
    small, large = plan.durable_sizes
    return _rows(plan, small, plan.commits) + _rows(plan, large, plan.commits // FEWER or 1)


def _rows(plan: Plan, count: int, repetitions: int) -> list[Row]:
    section = f"Durable commit: one of {count:,} values changed"
    if missing := PARAMSTORE.absence:
        return [Row(section, PARAMSTORE.name, missing=missing)]
    with workspace(plan.directory) as parent:
        return _measured(section, parent, count, repetitions)


def _measured(section: str, parent: Path, count: int, repetitions: int) -> list[Row]:
    """A function of its own, so that no store is left to complain of its directory, which is deleted after it."""
    cases, gaps = [], []
    root = parent / PARAMSTORE.name
    with ExitStack() as opened:
        base = Case("paramstore, a transaction", once(_commit(PARAMSTORE, root, count, opened)))
        (parent / "raw").mkdir()
        document = (root / "params" / "bench.yaml").read_bytes()
        raw = opened.enter_context(closing(RawCommit(parent / "raw", document, ENTRY_BYTES)))
        cases.append(Case("raw system calls", once(raw), note="no lock, nothing checked; the floor"))
        for place, contender in enumerate(DURABLE):
            if missing := contender.absence:
                gaps.append(Row(section, contender.name, missing=missing))
                continue
            try:
                commit = _commit(contender, parent / str(place), count, opened)
                cases.append(Case(contender.name, once(commit), note=contender.lacks))
            except Exception as error:  # noqa: BLE001 - one that changed its API must not cost the others
                gaps.append(failed_row(section, contender.name, error))
        return compare(section, base, cases, repetitions) + gaps


def _commit(contender: Contender, root: Path, count: int, opened: ExitStack) -> Callable[[], None]:
    """A commit that flips the value, after two which another process then saw."""
    contender.write(root, count)
    names: dict[str, Any] = {}
    exec(contender.opened(root), names)
    opened.callback(exec, contender.closes, names)
    code = compile(contender.change, contender.name, "exec")
    turns = cycle([OTHER_VALUE, VALUE])

    def commit() -> None:
        names["value"] = next(turns)
        exec(code, names)

    for value in (OTHER_VALUE, VALUE):
        commit()
        seen = run_python(f"{contender.loaded(root)}\nprint({contender.first_read})", os.environ)
        if float(seen) != value:
            raise ValueError(f"another process reads {seen.strip()} after a commit of {value}")
    return commit
