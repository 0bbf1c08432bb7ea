"""A site: one literal that may move, all that the plan says of it, and how it will stay live."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from paramstore.migrate._reads import Read

LIVE, CAPTURED, IMPORT_ONLY, MUTATED, DEAD = "live", "captured", "import-only", "mutated", "dead"
TIERS = ("yes", "review", "no")

# How a site is kept live.
GET = "params.get in its place"  # also for what the program writes to: a start value
NAME = "params.get at every use of the name"
LEAF = "params.get at every use of this entry"
SECTION = "params.section in place of the dictionary"
ATTRIBUTE = "params.live as class attribute"
DEFAULT = "params.get in the body when the argument is not given"


@dataclass
class Site:
    """``start`` and ``end`` are character offsets of the literal; ``group`` those of the dictionary that a
    section replaces. ``reads`` are the other places that change with it."""

    file: str
    line: int
    column: int
    start: int
    end: int
    literal: str
    value: Any
    shape: str
    scope: str
    key: str
    type: str
    minimum: float | int | None
    maximum: float | int | None
    bounds_why: str
    unit: str
    description: str
    tier: str
    tier_why: str
    keep: str
    liveness: str
    liveness_why: str
    accept: bool
    sha256: str = ""
    bytes_at: tuple[int, int] = (0, 0)
    proposed: str = ""  # the path that the tool gave; a person may have changed the key
    note: str = ""
    name: str = ""
    group: tuple[int, int] | None = None
    group_path: tuple[str, ...] = ()
    default_of: tuple[int, str] | None = None  # start of the function, argument
    reads: list[Read] = field(default_factory=list)
    uses: list[Read] = field(default_factory=list, repr=False)  # by which its liveness was told
    through: list[str] = field(default_factory=list)  # files that hand the name on to those that read it

    @property
    def namespace(self) -> str:
        return self.key.partition(".")[0]

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.key.split(".")[1:])
