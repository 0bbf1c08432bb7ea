"""The same questions put to other libraries: one read, the start, the memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.changing import DURABLE, REDIS
from benchmarks.contenders import OTHERS, PARAMSTORE, Contender
from benchmarks.harness import Case, Row, compare, failed_row, process, statement
from benchmarks.memory import dictionary_bytes, memory_row
from benchmarks.plan import Plan
from benchmarks.reads import dictionary
from benchmarks.startup import bare
from benchmarks.stores import SIZES, VALUE, drop_caches, workspace

READS = "Other libraries: one read of a float"
START = "Other libraries: interpreter, import and first read, 60 values"
MEMORY = "Other libraries: memory"
COUNT = SIZES[0]


def rows(plan: Plan) -> list[Row]:
    """Every library of ``contenders``, and paramstore beside them, in the same run."""
    with workspace(plan.directory) as parent:
        return _reads(parent, plan) + _starts(parent, plan) + _memory(parent)


def _reads(parent: Path, plan: Plan) -> list[Row]:
    with _same_environ(), ExitStack() as served:
        everyone = (PARAMSTORE, *OTHERS, *DURABLE, REDIS)
        cases, gaps = _collect(
            READS, everyone, lambda contender: _read_cases(contender, parent / "read", served)
        )
        return compare(READS, dictionary(), cases, plan.reads) + gaps


@contextmanager
def _same_environ() -> Iterator[None]:
    """Variables set in this block are gone after it: the processes started later must not carry them."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]


def _read_cases(contender: Contender, parent: Path, served: ExitStack) -> list[Case]:
    root = served.enter_context(contender.laid(_place(contender, parent), COUNT))
    os.environ.update(contender.variables(COUNT))
    namespace: dict[str, Any] = {}
    path = sys.path.copy()
    exec(f"{contender.loaded(root)}\n{contender.freeze}", namespace)
    served.callback(exec, contender.closes, namespace)
    sys.path[:] = path
    cases = []
    for caption, source in {**contender.reads, **contender.frozen}.items():
        if (seen := eval(source, namespace)) != VALUE:
            raise ValueError(f"{source} gave {seen!r}, not {VALUE!r}")
        note = "never fresh" if caption in contender.frozen else contender.lacks
        cases.append(Case(f"{contender.name}: {caption}", statement(source, namespace), note=note))
    return cases


def _starts(parent: Path, plan: Plan) -> list[Row]:
    def build(contender: Contender) -> list[Case]:
        return [_start_case(contender, parent / "start")]

    cases, gaps = _collect(START, (PARAMSTORE, *OTHERS, *DURABLE), build)
    if not PARAMSTORE.absence:
        cases.append(_first_ever(parent / "start"))
    return compare(START, bare(), cases, plan.starts) + gaps


def _start_case(contender: Contender, parent: Path) -> Case:
    root = _place(contender, parent)
    contender.write(root, COUNT)
    environ = {**os.environ, **contender.variables(COUNT)}
    return Case(contender.name, process(_start(contender, root), environ), note=_about(contender))


def _first_ever(parent: Path) -> Case:
    contender = replace(PARAMSTORE, name="paramstore, every cache deleted")
    root = _place(contender, parent)
    contender.write(root, COUNT)
    start = process(_start(contender, root), os.environ, before=partial(drop_caches, root))
    return Case(contender.name, start, note=_about(contender))


def _about(contender: Contender) -> str:
    return "; ".join(filter(None, (contender.source, contender.lacks)))


def _start(contender: Contender, root: Path) -> str:
    return f"{contender.loaded(root)}\n{contender.first_read}"


def _memory(parent: Path) -> list[Row]:
    plain = dictionary_bytes()
    found = []
    for contender in (PARAMSTORE, *OTHERS):
        if missing := contender.absence or contender.untraced:
            found.append(Row(MEMORY, contender.name, unit="B", missing=missing))
            continue
        try:
            row = memory_row(MEMORY, contender, contender.first_read, parent / "memory", plain)
            found.append(replace(row, note="; ".join(filter(None, (row.note, contender.lacks)))))
        except (RuntimeError, OSError) as error:
            found.append(failed_row(MEMORY, contender.name, error))
    return found


def _collect(
    section: str, contenders: Sequence[Contender], build: Callable[[Contender], Sequence[Case]]
) -> tuple[list[Case], list[Row]]:
    """The cases of all that are here, and a row for each that is not, or that failed."""
    cases: list[Case] = []
    gaps: list[Row] = []
    for contender in contenders:
        if missing := contender.absence:
            gaps.append(Row(section, contender.name, missing=missing))
            continue
        try:
            cases += build(contender)
        except Exception as error:  # noqa: BLE001 - one library that changed its API must not cost the others
            gaps.append(failed_row(section, contender.name, error))
    return cases, gaps


def _place(contender: Contender, parent: Path) -> Path:
    parent.mkdir(exist_ok=True)
    return parent / "".join(letter if letter.isalnum() else "-" for letter in contender.name)
