"""How often, and where: what every group of rows is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """``directory`` is where stores are written; ``sources`` the code that is scanned; the counts are
    repetitions."""

    directory: Path
    reads: int = 101
    starts: int = 41
    commits: int = 201
    fresh: int = 101
    scans: int = 7
    sources: Path = Path(__file__).resolve().parents[1]

    @classmethod
    def quick(cls, directory: Path, sources: Path) -> Plan:
        """A few repetitions: does everything run? The figures are rough."""
        return cls(directory, reads=11, starts=5, commits=15, fresh=9, scans=1, sources=sources)
