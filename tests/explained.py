"""What the judges of histories share: whether a read is one revision of those that it may be, and which rule it breaks if not.

Used by ``histories/checker.py`` (one machine) and ``etcd/history_checker.py`` (several). Shares no code with the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

UNSEEN = -1  # a value that the operation neither read nor wrote, a revision that it was not told
MOST_TOLD = 20

Past = Sequence[tuple[int, ...]]  # the values that stood, by revision


class Read(Protocol):
    """An operation that read: the revision that it was told, and its values."""

    @property
    def revision(self) -> int: ...

    @property
    def values(self) -> tuple[int, ...]: ...


@dataclass
class Verdict:
    """How much was judged, and what was wrong: (rule, what happened)."""

    operations: int = 0
    revisions: int = 0
    violations: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    def add(self, rule: str, text: str) -> None:
        self.count += 1
        if len(self.violations) < MOST_TOLD:
            self.violations.append((rule, text))

    @property
    def rules(self) -> set[str]:
        return {rule for rule, _ in self.violations}


def first(read: Read, low: int, high: int, past: Past) -> int | None:
    """Return the first revision from ``low`` to ``high`` that holds what was read."""
    if read.revision != UNSEEN:
        fits = low <= read.revision <= high and matches(read.values, past[read.revision])
        return read.revision if fits else None
    return next((r for r in range(low, high + 1) if matches(read.values, past[r])), None)


def matches(values: Sequence[int], stood: Sequence[int]) -> bool:
    return all(value in (UNSEEN, there) for value, there in zip(values, stood, strict=True))


def blame(read: Read, low: int, floor: int, high: int, past: Past) -> str:
    """Name the rule that a read breaks. ``floor`` is the revision of the same reader's read before it."""
    if low < floor and first(read, low, high, past) is not None:
        return "monotone"
    if first(read, 0, max(low, floor) - 1, past) is not None:
        return "stale"
    if first(read, high + 1, len(past) - 1, past) is not None:
        return "too early"
    return "mixed" if sum(value != UNSEEN for value in read.values) > 1 else "phantom"
