"""The frozen records that pass between floors and out of the doors.

Never imported by a plain read: ``dataclasses`` alone costs more than an interpreter start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from paramstore._values import ABSENT, Absent

__all__ = ["ABSENT", "Absent", "Change", "CommitResult", "Entry", "Explanation", "FileChange", "Health", "Kind",
           "LayerValue", "Problem", "Spec"]  # fmt: skip

Kind = Literal["commit", "external", "rollback", "freeze", "abort"]
Context = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spec:
    """What a schema says of one parameter.

    ``type`` is the JSON Schema type. Bounds are inclusive and in ``unit``; ``None`` means none.
    ``decimals`` is the number of digits after the point that a commit keeps. ``max_step`` (in
    ``unit``), ``max_step_relative`` (fraction), ``cooldown_s`` (seconds), ``min_samples``,
    ``owner`` and ``max_drift`` bind learners.
    """

    key: str
    type: str
    schema_file: str
    unit: str = ""
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    default: Any = None
    choices: tuple[Any, ...] | None = None
    learnable: bool = False
    decimals: int | None = None
    max_step: float | None = None
    max_step_relative: float | None = None
    cooldown_s: float | None = None
    min_samples: int | None = None
    owner: str | None = None
    max_drift: float | None = None
    dimensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One value that a commit changed. ``old`` or ``new`` is ``ABSENT`` where there was, or is, none.

    ``requested`` is what the author asked for, ``new`` what was applied, and ``bound_by`` names
    the rule that made them differ.
    """

    key: str
    old: Any
    new: Any
    context: Mapping[str, Any] = field(default_factory=dict)
    requested: Any = None
    bound_by: str | None = None

    @property
    def applied(self) -> Any:
        """What was written: ``new`` by the name that learners know."""
        return self.new


@dataclass(frozen=True, slots=True)
class FileChange:
    """sha256 (hex) of one file before and after an entry; ``None`` where the file did not exist."""

    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. ``time`` is UTC, ISO 8601 with microseconds and ``Z``."""

    revision: int
    id: str
    time: str
    kind: Kind
    author: str
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    files: Mapping[str, FileChange] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What a transaction did. ``revision`` is the one that stands now; ``changes`` is empty when
    nothing differed; ``dry_run`` says that nothing was written."""

    revision: int
    changes: tuple[Change, ...] = ()
    dry_run: bool = False
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that readers refuse, and since when (UTC, ISO 8601)."""

    file: str
    message: str
    since: str


@dataclass(frozen=True, slots=True)
class Health:
    """Whether readers see what the files say. ``revision`` is the one being served."""

    revision: int
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every file is served as it stands."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class LayerValue:
    """One layer's value for a key: ``name`` is yaml, context, environment or override."""

    name: str
    value: Any
    source: str
    applies: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a read gives what it gives: every layer, lowest first, and the last change."""

    key: str
    value: Any
    context: Mapping[str, Any]
    revision: int
    layers: tuple[LayerValue, ...]
    spec: Spec
    last_change: Entry | None = None
