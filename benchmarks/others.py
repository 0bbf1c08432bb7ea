"""The same questions put to other libraries: one read, the start, the memory."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.contenders import OTHERS, PARAMSTORE, Contender
from benchmarks.harness import Case, Row, compare, failed_row, process, statement
from benchmarks.memory import dictionary_bytes, memory_row
from benchmarks.plan import Plan
from benchmarks.reads import dictionary
from benchmarks.startup import bare
from benchmarks.stores import SIZES, VALUE, paramstore, workspace

READS = "Other libraries: one read of a float"
START = "Other libraries: interpreter, import and first read, 60 values"
MEMORY = "Other libraries: memory"
COUNT = SIZES[0]


def rows(plan: Plan) -> list[Row]:
    """Every library of ``contenders``, and paramstore beside them, in the same run."""
    with workspace(plan.directory) as parent:
        return _reads(parent, plan) + _starts(parent, plan) + _memory(parent)


def absence(contender: Contender) -> str:
    """Why a library cannot be measured here, or nothing."""
    if contender is PARAMSTORE:
        try:
            paramstore()
        except ImportError as error:
            return f"not available: {error}"
        return ""
    here = all(importlib.util.find_spec(module) for module in contender.modules)
    return "" if here else "not installed"


def _reads(parent: Path, plan: Plan) -> list[Row]:
    with _same_environ():
        cases, gaps = _collect(READS, lambda contender: _read_cases(contender, parent / "read"))
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


def _read_cases(contender: Contender, parent: Path) -> list[Case]:
    root = _written(contender, parent)
    os.environ.update(contender.variables(COUNT))
    namespace: dict[str, Any] = {"ROOT": str(root)}
    path = sys.path.copy()
    exec(f"{contender.imports}\n{contender.load}\n{contender.freeze}", namespace)
    sys.path[:] = path
    cases = []
    for caption, source in {**contender.reads, **contender.frozen}.items():
        if (seen := eval(source, namespace)) != VALUE:
            raise ValueError(f"{source} gave {seen!r}, not {VALUE!r}")
        note = "never fresh" if caption in contender.frozen else ""
        cases.append(Case(f"{contender.name}: {caption}", statement(source, namespace), note=note))
    return cases


def _starts(parent: Path, plan: Plan) -> list[Row]:
    cases, gaps = _collect(START, lambda contender: [_start_case(contender, parent / "start")])
    return compare(START, bare(), cases, plan.starts) + gaps


def _start_case(contender: Contender, parent: Path) -> Case:
    root = _written(contender, parent)
    code = f"ROOT = {str(root)!r}\n{contender.imports}\n{contender.load}\n{contender.first_read}"
    environ = {**os.environ, **contender.variables(COUNT)}
    return Case(contender.name, process(code, environ), note=contender.source)


def _memory(parent: Path) -> list[Row]:
    plain = dictionary_bytes()
    found = []
    for contender in (PARAMSTORE, *OTHERS):
        if missing := absence(contender) or contender.untraced:
            found.append(Row(MEMORY, contender.name, unit="B", missing=missing))
            continue
        try:
            found.append(memory_row(MEMORY, contender, contender.first_read, parent / "memory", plain))
        except (RuntimeError, OSError) as error:
            found.append(failed_row(MEMORY, contender.name, error))
    return found


def _collect(section: str, build: Callable[[Contender], Sequence[Case]]) -> tuple[list[Case], list[Row]]:
    """The cases of all libraries that are here, and a row for each that is not, or that failed."""
    cases: list[Case] = []
    gaps: list[Row] = []
    for contender in (PARAMSTORE, *OTHERS):
        if missing := absence(contender):
            gaps.append(Row(section, contender.name, missing=missing))
            continue
        try:
            cases += build(contender)
        except Exception as error:  # noqa: BLE001 - one library that changed its API must not cost the others
            gaps.append(failed_row(section, contender.name, error))
    return cases, gaps


def _written(contender: Contender, parent: Path) -> Path:
    parent.mkdir(exist_ok=True)
    root = parent / contender.name
    contender.write(root, COUNT)
    return root
