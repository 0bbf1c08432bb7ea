"""Start: interpreter, import and first read, as one whole process."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from benchmarks.harness import Case, Row, compare, failed_row, process
from benchmarks.plan import Plan
from benchmarks.stores import KEY, SIZES, drop_caches, paramstore, workspace, write_store

SECTION = "Start"
FIRST_READ = f"from paramstore import params; params.get({KEY!r})"
WARM = (("sidecar present, 60 parameters", SIZES[0], 2.5), ("sidecar present, 1,000", SIZES[1], None))
COLD = (("every cache deleted, 60 parameters", SIZES[0], 1.5), ("every cache deleted, 1,000", SIZES[1], 2.0))


def rows(plan: Plan) -> list[Row]:
    """First reads with the sidecar against a bare interpreter, without it against pydantic_settings."""
    try:
        paramstore()
    except ImportError as error:
        missing = f"not available: {error}"
        return [Row(SECTION, name, target=target, missing=missing) for name, _, target in (*WARM, *COLD)]
    with workspace(plan.directory) as parent:
        return _warm(parent, plan) + _cold(parent, plan)


def bare() -> Case:
    return Case("`python -c pass`", process("pass", os.environ))


def settled_environ(root: Path) -> dict[str, str]:
    return {**os.environ, "PARAMSTORE_ROOT": str(root)}


def _warm(parent: Path, plan: Plan) -> list[Row]:
    cases, failures = [], []
    for name, count, target in WARM:
        root = write_store(parent / f"warm-{count}", count)
        try:
            measure = process(FIRST_READ, settled_environ(root))  # its first run writes the sidecar
            note = "" if (root / ".paramstore").is_dir() else "no .paramstore was written"
            cases.append(Case(name, measure, target, note))
        except RuntimeError as error:
            failures.append(failed_row(SECTION, name, error, target))
    return compare(SECTION, bare(), cases, plan.starts) + failures


def _cold(parent: Path, plan: Plan) -> list[Row]:
    cases, failures = [], []
    for name, count, target in COLD:
        root = write_store(parent / f"cold-{count}", count)
        try:
            measure = process(FIRST_READ, settled_environ(root), before=partial(drop_caches, root))
            cases.append(Case(name, measure, target))
        except RuntimeError as error:
            failures.append(failed_row(SECTION, name, error, target))
    base = Case("`import pydantic_settings`", process("import pydantic_settings", os.environ))
    return compare(SECTION, base, cases, plan.starts) + failures
