"""Planted bugs: copies of the package with one line broken, which the checks of the proof suite must catch.

A check that cannot fail is worth nothing. Each check names the mutants it must catch, and runs on them as on the real
thing, in a process of its own whose path begins with the copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PACKAGE = Path(__file__).resolve().parent.parent / "paramstore"
# a run of tests on a copy; the plugin of hypothesis imports hypothesis, which takes longer than most of those tests
PYTEST = ("-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")

EVERY = 3  # of the planted bugs; all of them with FAULT_SWEEP=full
T = TypeVar("T")


def sample(bugs: Iterable[T]) -> list[T]:
    """Return those that are planted in each run, a fixed share; with ``FAULT_SWEEP=full`` all."""
    return list(bugs)[:: 1 if os.environ.get("FAULT_SWEEP") == "full" else EVERY]


@dataclass(frozen=True)
class Mutant:
    """One planted bug: in ``module`` (a path below the package) ``old``, which is there once, becomes ``new``."""

    name: str
    module: str
    old: str
    new: str


def planted(folder: Path, mutant: Mutant) -> Path:
    """Make a copy of the package with the bug below ``folder``; return the folder to put first on the path."""
    place = folder / mutant.name.replace(" ", "-")
    # with what Python compiled already, which goes by the time of a source; not what it is writing just now
    shutil.copytree(PACKAGE, place / "paramstore", ignore=shutil.ignore_patterns("*.pyc.*"))
    plant(place, mutant)
    return place


def plant(place: Path, mutant: Mutant) -> None:
    """Put one more bug into such a copy."""
    file = place / "paramstore" / mutant.module
    text = file.read_text()
    assert text.count(mutant.old) == 1, (
        f"{mutant.name}: {mutant.old!r} is there {text.count(mutant.old)} times"
    )
    file.write_text(text.replace(mutant.old, mutant.new))
    for compiled in file.parent.glob(f"__pycache__/{file.stem}.*"):
        compiled.unlink()


def run_on(
    place: Path | None, *words: str, timeout_s: float = 120, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with ``words`` on a mutant (``None``: on the real package), with the tests' own modules on the path."""
    tests = Path(__file__).parent
    path = [
        *([str(place)] if place is not None else []),
        str(PACKAGE.parent),
        str(tests),
        str(tests / "faults"),
    ]
    return subprocess.run(
        [sys.executable, *words], env={**os.environ, **environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
