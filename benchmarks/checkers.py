"""Type checkers: what the stub of a large store adds to a check of a file that reads it, from an empty cache.

Processor time and not time on the clock, which other work on the machine would stretch by seconds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Row, compare, failed_row
from benchmarks.plan import Plan
from benchmarks.stores import schema_of, workspace

SECTION = "Type checkers"
NAMESPACES, GROUPS, LEAVES = 20, 10, 5  # 1,000 keys
KINDS = (
    {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5},
    {"type": "number", "default": 0.5},
    {"type": "integer", "default": 3},
    {"type": "boolean", "default": True},
    {"enum": ["fast", "slow"], "default": "fast"},
)
SOURCE = """\
from paramstore import params

total: float = params.get("bench00.group0.p0_0_0") + params.get("bench19.group9.p19_9_1")
total += params.section("bench07.group3")["p7_3_0"]
with params.transaction(author="me") as tx:
    tx["bench03.group1.p3_1_0"] *= 1.1
"""


def rows(plan: Plan) -> list[Row]:
    """mypy, and pyright, on one file: without a stub, and with one of 1,000 keys."""
    with workspace(plan.directory) as parent:
        plain, typed = _project(parent / "plain"), _project(parent / "typed")
        schemas = parent / "typed" / "schemas"
        schemas.mkdir()
        (parent / "typed" / "params").mkdir()
        for number in range(NAMESPACES):
            text = json.dumps(_schema(number), indent=1)
            (schemas / f"bench{number:02}.schema.json").write_text(text + "\n", encoding="ascii")
        stubs = [sys.executable, "-m", "paramstore", "--root", str(typed), "stubs", "--output", "typings"]
        subprocess.run(stubs, cwd=typed, check=True, capture_output=True)
        return [row for name in ("mypy", "pyright") for row in _checked(name, plain, typed, plan)]


def _checked(tool: str, plain: Path, typed: Path, plan: Plan) -> list[Row]:
    name = f"{tool}, stub of 1,000 keys"
    if importlib.util.find_spec(tool) is None:
        return [Row(SECTION, name, missing=f"not installed: {tool}")]
    try:
        base = Case(f"{tool}, no stub", _check(tool, plain))
        return compare(SECTION, base, [Case(name, _check(tool, typed))], plan.starts // 3 or 1)
    except subprocess.CalledProcessError as error:
        return [failed_row(SECTION, name, error)]


def _check(tool: str, root: Path) -> Callable[[], float]:
    strict = ["--strict", "--cache-dir", os.devnull] if tool == "mypy" else ["--pythonpath", sys.executable]
    command = [sys.executable, "-m", tool, *strict, "bot.py"]

    def check() -> float:
        before = _spent_s()
        subprocess.run(command, cwd=root, check=True, capture_output=True)
        return _spent_s() - before

    check()  # a failure shows before the measuring
    return check


def _spent_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _project(root: Path) -> Path:
    root.mkdir()
    (root / "bot.py").write_text(SOURCE, encoding="ascii")
    (root / "mypy.ini").write_text("[mypy]\nmypy_path = $MYPY_CONFIG_FILE_DIR/typings\n", encoding="ascii")
    return root


def _schema(space: int) -> dict[str, Any]:
    """Every second group holds one type, as weights do; the others hold several, and no two have the same names, so
    that each of those needs a class of its own."""

    def group(properties: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": False, "properties": properties}

    def leaves(number: int) -> dict[str, Any]:
        kinds = KINDS if number % 2 else KINDS[:1]
        return {f"p{space}_{number}_{place}": kinds[place % len(kinds)] for place in range(LEAVES)}

    return schema_of(group({f"group{number}": group(leaves(number)) for number in range(GROUPS)}))
