"""What each process of a soak holds, sample by sample, and whether it stays flat.

The rule is statistical, and generous: the lowest count of descriptors, threads and files, and the median of memory, in the
last quarter of a run are held against those in its second quarter; the first is warm-up. What is in flight at a sample
moves neither; a leak moves both.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Sample = Mapping[str, Any]  # t (seconds since the begin), process, and what it holds
MEMORY_KB, MEMORY_SHARE = 2048, 0.03
SLOTS = 16_320  # of a generation file: readers keep each that they have mapped (paramstore/_generation.py)
LONG_S = 600  # from here on growth is held to all of the rule; before, a process is still filling its caches
SHORT_MEMORY_KB, SHORT_COUNT = 6144, 3
RUNTIME = {"lock", "lock.queue", "generation", "cache", "memory", "attempts.json"}


def of_process(pid: int) -> dict[str, int]:
    """Return memory (kB), descriptors, threads and mappings of a process."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return {
        "memory_kb": int(status["VmRSS"].split()[0]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
        "maps": Path(f"/proc/{pid}/maps").read_text().count("\n"),
    }


def of_store(root: Path) -> dict[str, int]:
    """Return how many files the store has that are there for a moment only, or should not be there."""
    return {"files": len(spare_files(root))}


def spare_files(root: Path) -> list[str]:
    """Return every name that is neither a values file, a segment of the journal, nor one of the run-time files."""
    params, runtime = root / "params", root / ".paramstore"
    found = [name for name in os.listdir(params) if name != "journal" and not _is_plain(name, ".yaml")]
    found += [name for name in os.listdir(params / "journal") if not _is_plain(name, ".jsonl")]
    return sorted([*found, *(set(os.listdir(runtime)) - RUNTIME)])


def _is_plain(name: str, suffix: str) -> bool:
    return name.endswith(suffix) and not name.startswith(".")


def quarters(samples: Iterable[Sample], process: str, what: str) -> tuple[list[int], list[int]]:
    """Return the figures of the second and of the last quarter of a run."""
    mine = [sample for sample in samples if sample["process"] == process and what in sample]
    end = max((sample["t"] for sample in mine), default=0)
    second = [sample[what] for sample in mine if end / 4 <= sample["t"] < end / 2]
    last = [sample[what] for sample in mine if sample["t"] >= end * 3 / 4]
    return second, last


def growth(samples: list[Sample], process: str, what: str) -> tuple[float, float] | None:
    """Return the figure of the second quarter and that of the last: the median of memory, the lowest of a count."""
    second, last = quarters(samples, process, what)
    if not second or not last:
        return None
    middle = statistics.median if what == "memory_kb" else min
    return float(middle(second)), float(middle(last))


def rising(samples: list[Sample], commits: int) -> list[str]:
    """Return what grew, and by how much."""
    end = max((sample["t"] for sample in samples), default=0)
    found = []
    for process in sorted({sample["process"] for sample in samples}):
        for what in ("memory_kb", "descriptors", "threads", "maps", "files"):
            both = growth(samples, process, what)
            if both is not None and both[1] - both[0] > allowed(what, both[0], end, commits):
                found.append(f"{process}: {what} rose from {both[0]:.0f} to {both[1]:.0f}")
    return found


def allowed(what: str, before: float, end: float, commits: int) -> float:
    """Return by how much a figure may be higher in the last quarter than in the second."""
    if what == "memory_kb":
        return min(MEMORY_KB, before * MEMORY_SHARE) if end >= LONG_S else SHORT_MEMORY_KB
    if what == "maps":
        return 8 + commits / SLOTS
    return 0 if end >= LONG_S else SHORT_COUNT


def table(samples: list[Sample]) -> list[str]:
    """Return one line per process: second quarter → last quarter of each figure, and the highest memory."""
    found = []
    for process in sorted({sample["process"] for sample in samples}):
        parts = []
        for what in ("memory_kb", "descriptors", "threads", "maps", "files"):
            both = growth(samples, process, what)
            if both is not None:
                parts.append(f"{what} {both[0]:.0f} → {both[1]:.0f}")
        found.append(f"{process}: {', '.join(parts)}")
    return found
