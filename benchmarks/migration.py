"""The migration's scan of a whole code base, against parsing and walking the same files."""

from __future__ import annotations

import ast
import os
import resource
import warnings
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Case, Row, compare, once
from benchmarks.plan import Plan

SECTION = "Scan of a code base"
TARGET = 3.0


def rows(plan: Plan) -> list[Row]:
    """One row: `migrate scan` of every Python file below ``plan.sources``."""
    from paramstore.migrate._scan import python_files, scan

    folder = str(plan.sources)
    files = sorted(python_files([folder], False, {}))

    def base() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for file in files:
                _walk(file)

    baseline = Case(f"`ast.parse` and `ast.walk` of {len(files)} files", once(base))
    case = Case("`migrate scan`", once(lambda: scan([folder], os.path.dirname(folder) or "/")), TARGET)
    found = compare(SECTION, baseline, [case], plan.scans)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [replace(row, note=f"peak of the process {peak:.0f} MB") for row in found]


def _walk(file: str) -> None:
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (SyntaxError, ValueError):
        return
    for _ in ast.walk(tree):
        pass
