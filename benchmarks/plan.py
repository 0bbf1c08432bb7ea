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
    checks: int = 3  # of a whole store; ten seconds for one of 10,000
    seen: int = 500  # commits that another process follows, if as many fit into ``fresh_s``
    fresh_s: float = 15.0
    pauses: tuple[str, ...] = ("in a loop", "each millisecond")  # of a process that reads
    crowd: int = 3  # times that all processes run together, ``crowd_s`` each
    crowd_s: float = 0.7
    durable_sizes: tuple[int, int] = (60, 1_000)
    sizes: tuple[int, ...] = (60, 300, 1_000, 3_000, 10_000)
    processes: tuple[int, ...] = (1, 2, 4, 8)
    sources: Path = Path(__file__).resolve().parents[1]

    @classmethod
    def quick(cls, directory: Path, sources: Path) -> Plan:
        """A few repetitions: does everything run? The figures are rough."""
        return cls(
            directory,
            reads=11,
            starts=5,
            commits=15,
            fresh=9,
            scans=1,
            checks=1,
            seen=30,
            fresh_s=1.0,
            crowd=1,
            crowd_s=0.3,
            sources=sources,
        )
