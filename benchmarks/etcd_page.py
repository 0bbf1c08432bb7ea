# ruff: noqa: T201 - of a command line
"""What programs that measure etcd share: their options, whether a server can be started here, rows of tables, and the page."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import quiet
from benchmarks.harness import table
from benchmarks.page import MADE, laid

ROOT = Path(__file__).resolve().parents[1]
SERVERS = [str(ROOT / "tests" / name) for name in ("", "faults", "etcd")]  # who starts etcd for the tests


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table of a section."""

    section: str
    columns: tuple[str, ...]
    figures: tuple[str, ...]
    failed: bool = False

    def head(self) -> tuple[str, ...]:
        return self.columns

    def cells(self) -> tuple[str, ...]:
        return self.figures


def parser(program: str, about: str | None, page: Path) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=f"python -m {program}", description=about)
    made.add_argument("--quick", action="store_true", help="few repetitions: does everything run?")
    made.add_argument(
        "--docs", type=Path, nargs="?", const=page, metavar="PAGE", help=f"lay tables into {page.name}"
    )
    return made


def can_start() -> bool:
    """Make what starts servers importable; tell whether there is a server to start, or print what to install."""
    sys.path[:0] = SERVERS
    try:
        from etcd_servers import BINARY
    except ImportError as error:
        print(f"{error}: pip install 'paramstore[bench]'", file=sys.stderr)
        return False
    if BINARY is None:
        print("etcd is not installed (Debian: etcd-server)", file=sys.stderr)
    return BINARY is not None


def publish(
    program: str, options: argparse.Namespace, sections: Sequence[str], lines: Sequence[Line], server: str,
    others: Callable[[], float],
) -> None:  # fmt: skip
    """Print a table for each section, with how it was made, and lay them into the page if ``options`` name one."""
    how = (
        f"{MADE}python -m {program}{' --quick' if options.quick else ''} --docs` on {time.strftime('%Y-%m-%d')} "
        f"(CPython {platform.python_version()}, {os.cpu_count()} processors, {server}); {quiet.verdict(others())}."
    )
    tables = {
        name: f"{how}\n\n{table([line for line in lines if line.section == name])}" for name in sections
    }
    print("\n\n".join(f"## {name}\n\n{text}" for name, text in tables.items()))
    if options.docs:
        options.docs.write_text(laid(options.docs.read_text(encoding="utf-8"), tables), encoding="utf-8")
