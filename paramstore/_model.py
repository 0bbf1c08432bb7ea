"""The frozen records that pass between floors and out of the doors.

Never imported by a plain read: ``dataclasses`` alone costs more than an interpreter start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from paramstore._values import ABSENT, Absent, same

__all__ = ["ABSENT", "Absent", "Blame", "Change", "CommitResult", "Entry", "Explanation", "FileChange", "Freeze", "Health", "Kept", "Kind",
           "LayerValue", "Problem", "Spec", "Violation"]  # fmt: skip

Kind = Literal["commit", "external", "rollback", "freeze", "unfreeze", "approve", "refusal", "merge", "abort"]
Context = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spec:
    """What a schema says of one parameter.

    ``type`` is the JSON Schema type. Bounds are inclusive and in ``unit``; ``None`` means none.
    ``decimals`` is the number of digits after the point that a commit keeps. ``max_step`` (in
    ``unit``), ``max_step_relative`` (fraction), ``cooldown_s`` (seconds), ``min_samples``,
    ``owner``, ``max_drift`` (in ``unit``) and ``evidence`` (names of required fields) bind learners; see ``_guards``.
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
    evidence: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One value that a commit changed. ``old`` or ``new`` is ``ABSENT`` where there was, or is, none.

    ``requested`` is what the author asked for, ``new`` what was applied, and ``bound_by`` names
    the rule that made them differ; where it let nothing change at all, ``new`` is ``old``.
    ``overrode`` names the guards that a forced change broke.
    """

    key: str
    old: Any
    new: Any
    context: Mapping[str, Any] = field(default_factory=dict)
    requested: Any = None
    bound_by: str | None = None
    overrode: tuple[str, ...] = ()

    @property
    def applied(self) -> Any:
        """What was written: ``new`` by the name that learners know."""
        return self.new


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a request breaks. ``rule`` is its word in the schema, or ``constraint`` or ``freeze``;
    ``allowed`` the inclusive limits for this key now (``None``: none on that side), where there are any;
    ``text`` the whole sentence."""

    key: str
    rule: str
    text: str
    requested: Any = None
    context: Mapping[str, Any] = field(default_factory=dict)
    allowed: tuple[Any, Any] | None = None


@dataclass(frozen=True, slots=True)
class Freeze:
    """Writes to keys that match ``pattern`` are refused. Times are UTC, ISO 8601; ``until`` ``None``: until unfrozen."""

    pattern: str
    author: str
    reason: str
    since: str
    until: str | None = None


@dataclass(frozen=True, slots=True)
class FileChange:
    """sha256 (hex) of one file before and after an entry; ``None`` where the file did not exist."""

    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. ``time`` is UTC, ISO 8601 with microseconds and ``Z``.

    Freezes, approvals and refusals change no value: their ``revision`` is the one that stood. ``details``
    says what is particular to a kind (docs/formats.md). ``uptime`` is the boot and the seconds since it.
    """

    revision: int
    id: str
    time: str
    kind: Kind
    author: str
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    files: Mapping[str, FileChange] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    uptime: tuple[str, float] | None = None

    @property
    def changed(self) -> tuple[Change, ...]:
        """The changes without those that a rule kept from being any."""
        return tuple(change for change in self.changes if not same(change.old, change.new))


@dataclass(frozen=True, slots=True)
class Kept:
    """A value that a rollback left as it was, and ``why``."""

    key: str
    context: Mapping[str, Any]
    why: str


@dataclass(frozen=True, slots=True)
class Blame:
    """One line of a values file. ``key`` and ``context`` are of the value that it holds, ``None`` if it holds none; where
    it holds several, of the one that changed last. ``time`` is UTC, ISO 8601. ``by_hand``: edited, and no entry records it yet."""

    file: str
    line: int
    text: str
    key: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    revision: int | None = None
    time: str = ""
    kind: str = ""
    author: str = ""
    reason: str = ""
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What a transaction did. ``revision`` is the one that stands now; ``changes`` is empty when
    nothing differed, and also holds what a rule kept as it was (``bound_by``); ``dry_run`` says that
    nothing was written; ``kept`` is what a rollback left alone."""

    revision: int
    changes: tuple[Change, ...] = ()
    dry_run: bool = False
    entry: Entry | None = None
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that readers refuse, and since when (UTC, ISO 8601)."""

    file: str
    message: str
    since: str


@dataclass(frozen=True, slots=True)
class Health:
    """Whether readers see what the files say. ``revision`` is the one being served. ``age_s``: seconds since that was last known
    to be the newest; 0 where files tell it at once, ``inf`` where a cluster was never reached."""

    revision: int
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    age_s: float = 0.0

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

    @property
    def winner(self) -> LayerValue:
        """The layer whose value a read gives: the highest that applies."""
        return [layer for layer in self.layers if layer.applies][-1]
