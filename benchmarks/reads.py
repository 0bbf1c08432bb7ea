"""Reads: what one value costs, against a dictionary in a function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Row, compare, failed_row, statement
from benchmarks.plan import Plan
from benchmarks.stores import (
    BOTH_VALUE,
    KEY,
    LEAF,
    SIZES,
    SYMBOL_VALUE,
    VALUE,
    default_root,
    paramstore,
    values,
    workspace,
    write_store,
)

SECTION = "Reads"
FLAT = "Reads: 60 against 5,000 parameters"
FLAT_TARGET = 1.15


@dataclass(frozen=True, slots=True)
class Read:
    """``setup`` runs once, where ``store`` is open; ``source`` is timed and must give ``expected``."""

    name: str
    source: str
    target: float
    setup: str = ""
    expected: float = VALUE


CLASS = f"class Gate:\n    X = store.live({KEY!r})\n\ngate = Gate()"
CONTEXT = 'symbol="BTCUSDT", regime="trend"'
PLAIN = (
    Read("`store.get(key)`", f"store.get({KEY!r})", 2.3),
    Read(
        "`store.at(symbol=).get(key)`",
        f"view.get({KEY!r})",
        2.3,
        'view = store.at(symbol="BTCUSDT")',
        SYMBOL_VALUE,
    ),
    Read("`section[key]`", f"section[{LEAF!r}]", 2.3, 'section = store.section("bench")'),
    Read("`live` on an instance", "gate.X", 2.3, CLASS),
    Read("`live` on the class", "Gate.X", 2.3, CLASS),
)
DEFAULT = Read("`params.get(key)`", f"params.get({KEY!r})", 2.3, "from paramstore import params")
SNAPSHOT = Read(
    "`p.get(key)` in a snapshot", f"p.get({KEY!r})", 1.2, "opened = store.snapshot()\np = opened.__enter__()"
)
WITH_CONTEXT = (
    Read("`get(key, symbol=, regime=)`", f"store.get({KEY!r}, {CONTEXT})", 6.0, "", BOTH_VALUE),
    Read("`get(key, symbol=, regime=)` without override", f'store.get("bench.p0005", {CONTEXT})', 6.0),
)


def rows(plan: Plan) -> list[Row]:
    """Each kind of read at 60 parameters against the baseline; then the same read at 5,000 against 60."""
    try:
        package = paramstore()
    except ImportError as error:
        return [_absent(read, error) for read in (DEFAULT, *PLAIN, SNAPSHOT, *WITH_CONTEXT)]
    with workspace(plan.directory) as parent:
        roots = {count: write_store(parent / str(count), count) for count in (SIZES[0], SIZES[-1])}
        with default_root(roots[SIZES[0]]):
            return _ratios(package, roots[SIZES[0]], plan) + _flatness(package, roots, plan)


def dictionary(count: int = SIZES[0]) -> Case:
    """The baseline. Its keys are equal to the literal in the call but not the same object, as in a store."""
    d = {f"bench.{name}": value for name, value in values(count).items()}
    namespace: dict[str, Any] = {"d": d}
    exec("def get(k): return d[k]", namespace)
    return Case("`def get(k): return d[k]`", statement(f"get({KEY!r})", namespace))


def _ratios(package: Any, root: Path, plan: Plan) -> list[Row]:
    store = package.ParamStore(root)
    cases, failures = [], []
    for read in (DEFAULT, *PLAIN, SNAPSHOT, *WITH_CONTEXT):
        try:
            cases.append(_case(read, store))
        except Exception as error:  # noqa: BLE001 - one missing method must not cost the other rows
            failures.append(failed_row(SECTION, read.name, error, read.target))
    return compare(SECTION, dictionary(), cases, plan.reads) + failures


def _flatness(package: Any, roots: dict[int, Path], plan: Plan) -> list[Row]:
    small, large = (package.ParamStore(roots[count]) for count in (SIZES[0], SIZES[-1]))
    found = []
    for read in PLAIN:
        try:
            base = Case(f"{read.name}, {SIZES[0]}", _case(read, small).measure)
            case = Case(f"{read.name}, {SIZES[-1]:,}", _case(read, large).measure, FLAT_TARGET)
            found += compare(FLAT, base, [case], plan.reads)
        except Exception as error:  # noqa: BLE001 - as above
            found.append(failed_row(FLAT, read.name, error, FLAT_TARGET))
    return found


def _case(read: Read, store: Any) -> Case:
    namespace: dict[str, Any] = {"store": store}
    exec(read.setup, namespace)
    seen = eval(read.source, namespace)
    wanted = values(SIZES[0])["p0005"] if "p0005" in read.source else read.expected
    if seen != wanted:
        raise ValueError(f"{read.source} gave {seen!r}, not {wanted!r}")
    return Case(read.name, statement(read.source, namespace), read.target)


def _absent(read: Read, error: ImportError) -> Row:
    return Row(SECTION, read.name, target=read.target, missing=f"not available: {error}")
