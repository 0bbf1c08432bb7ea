# ruff: noqa: T201 - a command line
"""``python -m benchmarks``: measure, print the tables, and keep them as JSON, Markdown, or in the page with its drawings."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import (
    checkers,
    commits,
    crowd,
    durable,
    freshness,
    growth,
    history,
    memory,
    migration,
    others,
    projection,
    quiet,
    reads,
    startup,
)
from benchmarks.figures import Ahead, ahead
from benchmarks.harness import Line, by_section, failed_row, markdown, plain
from benchmarks.page import MADE, publish
from benchmarks.plan import Plan
from benchmarks.stores import durable_parent, file_system

GROUPS: dict[str, Callable[[Plan], Sequence[Line]]] = {
    "reads": reads.rows,
    "startup": startup.rows,
    "commits": commits.rows,
    "history": history.rows,
    "projection": projection.rows,
    "memory": memory.rows,
    "migration": migration.rows,
    "checkers": checkers.rows,
    "others": others.rows,
    "durable": durable.rows,
    "freshness": freshness.rows,
    "growth": growth.rows,
    "crowd": crowd.rows,
}
SIDE_BY_SIDE = (
    "others",
    "durable",
    "freshness",
    "growth",
    "crowd",
)  # what Ahead looks at, and the page describes
PAGE = Path("docs/benchmarks.md")
DISTRIBUTIONS = (
    "paramstore",
    "dynaconf",
    "omegaconf",
    "gin-config",
    "pydantic-settings",
    "python-decouple",
    "traitlets",
    "openfeature-sdk",
    "lmdb",
    "diskcache",
    "ruamel.yaml",
    "PyYAML",
    "watchfiles",
    "redis",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen groups. Exit 0 when every row ran, or was not installed; 1 when one failed."""
    options = _options(arguments)
    directory: Path = options.dir or durable_parent()
    sources = options.sources.resolve()
    plan = Plan.quick(directory, sources) if options.quick else Plan(directory, sources=sources)
    found: list[Line] = []
    made: dict[str, str] = {}
    about = _about(directory, options.quick)
    for name in options.only:
        lines, how = _run(name, plan, about)
        found += lines
        made |= dict.fromkeys(by_section(lines), how)
    if set(SIDE_BY_SIDE) <= set(options.only):
        found += ahead(found)
        on = "; ".join(f"{name}: {text}" for name, text in about.items())
        made[Ahead.section] = f"{MADE}python -m benchmarks --only {','.join(SIDE_BY_SIDE)}` on: {on}."
    text = markdown(found, about)
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(plain(found, about), indent=1) + "\n", encoding="utf-8")
    if options.docs:
        publish(options.docs, found, made)
    return int(any(line.failed for line in found))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions: does everything run?")
    parser.add_argument("--only", type=_groups, default=list(GROUPS), metavar=",".join(GROUPS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table")
    parser.add_argument(
        "--docs",
        type=Path,
        nargs="?",
        const=PAGE,
        metavar="PAGE",
        help=f"lay tables into {PAGE} and draw them",
    )
    parser.add_argument("--dir", type=Path, help="where stores are written; must be on a disk, not in memory")
    parser.add_argument(
        "--sources", type=Path, default=Path(), help="the code base to scan; default: this one"
    )
    return parser.parse_args(arguments)


def _groups(text: str) -> list[str]:
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in GROUPS]:
        raise argparse.ArgumentTypeError(f"no group {', '.join(unknown)}; there is {', '.join(GROUPS)}")
    return chosen


def _run(name: str, plan: Plan, about: Mapping[str, str]) -> tuple[Sequence[Line], str]:
    """Run one group; its lines, and how and on what they were made."""
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    start, others_used = time.perf_counter(), quiet.others()
    try:
        lines = GROUPS[name](plan)
    except Exception as error:  # noqa: BLE001 - a group that breaks must not cost the others their hour
        lines = [failed_row(name, name, error)]
    share = quiet.verdict(others_used())
    if any(line.failed for line in lines):
        share += "; something failed, see its table"
    print(f"{time.perf_counter() - start:.0f} s, {share}", file=sys.stderr)
    rough = " --quick" if "repetitions" in about else ""
    on = f"{about['python']}, {about['processors']} processors, {about['file system']}"
    return (
        lines,
        f"{MADE}python -m benchmarks{rough} --only {name}` on {time.strftime('%Y-%m-%d')} ({on}); {share}.",
    )


def _about(directory: Path, quick: bool) -> dict[str, str]:
    about = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": str(os.cpu_count()),
        "file system": file_system(directory),
        "packages": ", ".join(f"{name} {_version(name)}" for name in DISTRIBUTIONS),
    }
    if about["file system"] in {"tmpfs", "ramfs"}:
        about["warning"] = "the stores were in memory, where fsync costs nothing: commits mean little"
    if quick:
        about["repetitions"] = "few (--quick): rough figures"
    return about


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    raise SystemExit(main())
