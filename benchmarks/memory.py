"""Memory: bytes per parameter, as tracemalloc sees them.

A process at 60 and one at 1,000 parameters are compared, so that what an import costs once does not
count. tracemalloc sees what goes through Python's allocator; memory that a compiled extension takes
by itself shows only in the size of the process, which the note gives.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.contenders import PARAMSTORE, Contender
from benchmarks.harness import Row, failed_row, run_python
from benchmarks.plan import Plan
from benchmarks.stores import SIZES, paramstore, workspace

SECTION = "Memory of 1,000 parameters with all metadata"
SMALL, LARGE = SIZES[0], SIZES[1]
ALL_SPECS = 'specs = [store.spec(key) for key in store.keys("bench.*")]'

_TRACED = """
import gc, tracemalloc
tracemalloc.start()
{code}
gc.collect()
print(tracemalloc.get_traced_memory()[0])
"""
_PEAK = """
{code}
with open("/proc/self/status") as status:
    print([line.split()[1] for line in status if line.startswith("VmHWM")][0])
"""


def rows(plan: Plan) -> list[Row]:
    """The store after one plain read, and with every spec held."""
    steps = {"values, after one plain read": PARAMSTORE.first_read, "values and every spec": ALL_SPECS}
    try:
        paramstore()
    except ImportError as error:
        return [Row(SECTION, name, unit="B", missing=f"not available: {error}") for name in steps]
    found = []
    with workspace(plan.directory) as parent:
        plain = dictionary_bytes()
        for name, read in steps.items():
            try:
                row = memory_row(SECTION, PARAMSTORE, read, parent / name.replace(" ", "-"), plain)
                found.append(replace(row, name=name))
            except RuntimeError as error:
                found.append(failed_row(SECTION, name, error))
    return found


def dictionary_bytes() -> float:
    """Bytes per entry of a plain dictionary from key to float, with its keys."""
    code = 'd = {{f"bench.p{{i:04d}}": i / 7 for i in range({count})}}'
    small, large = (_run_traced(code.format(count=count), os.environ) for count in (SMALL, LARGE))
    return (large - small) / (LARGE - SMALL)


def memory_row(section: str, contender: Contender, read: str, parent: Path, plain: float) -> Row:
    """Bytes per parameter of one library after ``read``. The store's sidecar exists by then."""
    small, large = (_code(contender, read, parent, count) for count in (SMALL, LARGE))
    each = (_traced(contender, large, LARGE) - _traced(contender, small, SMALL)) / (LARGE - SMALL)
    peak = int(run_python(_PEAK.format(code=large), _environ(contender, LARGE)))
    base = int(run_python(_PEAK.format(code=""), os.environ))
    return Row(
        section,
        contender.name,
        baseline="a dict from key to float, each",
        baseline_absolute=plain,
        ratio=each / plain,
        absolute=each,
        unit="B",
        note=f"process at {LARGE:,}: {peak / 1024:.1f} MB, bare interpreter {base / 1024:.1f} MB",
    )


def _code(contender: Contender, read: str, parent: Path, count: int) -> str:
    parent.mkdir(exist_ok=True)
    root = parent / f"{contender.name}-{count}"
    contender.write(root, count)
    code = f"{contender.loaded(root)}\n{read}"
    run_python(code, _environ(contender, count))  # the second start is the usual one
    return code


def _traced(contender: Contender, code: str, count: int) -> float:
    return _run_traced(code, _environ(contender, count))


def _run_traced(code: str, environ: Mapping[str, str]) -> float:
    return float(run_python(_TRACED.format(code=code), environ))


def _environ(contender: Contender, count: int) -> dict[str, str]:
    return {**os.environ, **contender.variables(count)}
