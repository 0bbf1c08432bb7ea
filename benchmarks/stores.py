"""A synthetic store of N parameters: ``schemas/bench.schema.json`` and ``params/bench.yaml``."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIZES = (60, 1_000, 5_000)
LEAF = "p0001"
KEY = f"bench.{LEAF}"
VALUE = 0.5  # of KEY without context
SYMBOL_VALUE = 0.52  # of KEY at symbol=BTCUSDT
BOTH_VALUE = 0.53  # of KEY at symbol=BTCUSDT, regime=trend
AUTHOR = "bench"
EVIDENCE = {"samples": 812, "metric": "ev_bps", "before": 1.2, "after": 1.9}

# Long enough for the guard to look, and shorter than any disk takes to commit.
COOLDOWN_OF_KEY_S = 0.0001


def names(count: int) -> list[str]:
    return [f"p{index:04d}" for index in range(count)]


def values(count: int) -> dict[str, float]:
    """The same floats each time, within 0.2 to 0.8, four digits."""
    spread = {name: round(0.2 + (index * 7919 % 6000) / 10_000, 4) for index, name in enumerate(names(count))}
    return spread | {LEAF: VALUE}


def write_store(root: Path, count: int, limited: bool = True) -> Path:
    """Write a store of ``count`` parameters (at least 60) below ``root`` and return ``root``. ``limited`` gives each
    parameter every limit that binds learners."""
    (root / "schemas").mkdir(parents=True)
    (root / "params").mkdir()
    schema = json.dumps(_schema(count, limited), indent=1)
    (root / "schemas" / "bench.schema.json").write_text(schema + "\n", encoding="ascii")
    (root / "params" / "bench.yaml").write_text(_yaml(count), encoding="ascii")
    return root


def drop_caches(root: Path) -> None:
    """Delete every cache of the store; bytecode of Python modules is not the store's and stays."""
    shutil.rmtree(root / ".paramstore", ignore_errors=True)


def _schema(count: int, limited: bool) -> dict[str, Any]:
    parameters = {name: _parameter(name, value, limited) for name, value in values(count).items()}
    return schema_of({"type": "object", "additionalProperties": False, "properties": parameters})


def schema_of(group: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a namespace with these ``values`` and two dimensions."""
    dimensions = {"regime": {"enum": ["trend", "chop"]}, "symbol": {"type": "string"}}
    at = {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": dimensions}
    override = {
        "type": "object",
        "required": ["at", "values"],
        "additionalProperties": False,
        "properties": {"values": {"$ref": "#/properties/values"}, "at": at},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Benchmark",
        "type": "object",
        "required": ["schema", "values"],
        "additionalProperties": False,
        "properties": {
            "schema": {"const": 1},
            "values": group,
            "overrides": {"type": "array", "items": override},
        },
    }


def _parameter(name: str, default: float, limited: bool) -> dict[str, Any]:
    about: dict[str, Any] = {"unit": "fraction of score", "learnable": True, "decimals": 4}
    limits = {
        "max_step": 0.05,
        "max_step_relative": 0.2,
        "cooldown_s": COOLDOWN_OF_KEY_S if name == LEAF else 1800,
        "min_samples": 50,
        "owner": AUTHOR,
        "max_drift": 0.15,
        "evidence": ["metric"],
    }
    return {
        "type": "number",
        "minimum": 0.01,
        "maximum": 0.99,
        "default": default,
        "description": f"Synthetic weight {name} of the composite score, as long as a real description is.",
        "x-param": {**about, **limits} if limited else about,
    }


def _yaml(count: int) -> str:
    lines = ["# yaml-language-server: $schema=../schemas/bench.schema.json", "schema: 1", "values:"]
    for index, (name, value) in enumerate(values(count).items()):
        comment = "   # reviewed with the desk" if index % 10 == 0 else ""
        lines.append(f"  {name}: {value}{comment}")
    lines += [
        "overrides:",
        "  - at: {symbol: BTCUSDT}",
        f"    values: {{{LEAF}: {SYMBOL_VALUE}, p0002: 0.61}}",
        "  - at: {regime: chop}",
        "    values: {p0003: 0.31}",
        "  - at: {symbol: BTCUSDT, regime: trend}",
        f"    values: {{{LEAF}: {BOTH_VALUE}}}",
    ]
    return "\n".join(lines) + "\n"


def paramstore() -> Any:
    """The package, or ImportError while it, or its ``ParamStore``, is not there.

    Loaded by name, so that the benchmarks import, and the other rows run, without it.
    """
    module = importlib.import_module("paramstore")
    if not hasattr(module, "ParamStore"):
        raise ImportError("paramstore has no ParamStore")
    return module


@contextmanager
def default_root(root: Path) -> Iterator[None]:
    """``from paramstore import params`` opens ``root`` inside this block."""
    before = os.environ.get("PARAMSTORE_ROOT")
    os.environ["PARAMSTORE_ROOT"] = str(root)
    try:
        yield
    finally:
        os.environ.pop("PARAMSTORE_ROOT")
        if before is not None:
            os.environ["PARAMSTORE_ROOT"] = before


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A directory of its own below ``parent``, deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="paramstore-bench-", dir=parent) as name:
        yield Path(name)


def file_system(path: Path) -> str:
    """The type of the file system that holds ``path``, such as ``ext4``, or ``unknown``."""
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return kind
    for line in mounts:
        point, found = line.split()[1:3]
        inside = str(path.resolve()).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def durable_parent() -> Path:
    """The first usual place for temporary files that is on a disk: in memory, fsync costs nothing."""
    for candidate in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()):
        if os.access(candidate, os.W_OK) and file_system(candidate) not in {"tmpfs", "ramfs"}:
            return candidate
    return Path(tempfile.gettempdir())
