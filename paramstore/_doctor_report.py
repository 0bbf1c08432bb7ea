"""What a look at the journal has to say, as frozen records, and the thresholds that it goes by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["finding", "information"]
At = tuple[tuple[str, Any], ...]
Place = tuple[str, At]  # full key, sorted context items; () is the base value

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When something is a finding. ``silent_intervals`` counts a learner's usual intervals, ``stale_s``
    seconds, ``flips`` and ``pinned`` changes of one value, ``refused`` attempts in a row."""

    silent_intervals: float = 2.0
    stale_s: float = 7 * DAY_S
    flips: int = 4
    pinned: int = 3
    refused: int = 5


@dataclass(frozen=True, slots=True)
class Note:
    """One thing said about a learner or a parameter. Only a ``finding`` means that something is wrong."""

    rule: str
    text: str
    level: Level = "finding"


@dataclass(frozen=True, slots=True)
class Learner:
    """An author. ``learns`` is false for people, of whom nothing is expected.

    Times are seconds since 1970. An attempt is a commit or a refusal; ``refused_by`` counts the refusals
    that broke a rule, by rule. ``interval_s`` is the usual time from one run to the next and ``silent``
    whether it has passed too often; both are ``None`` where that is not known.
    """

    author: str
    learns: bool
    owns: tuple[str, ...] = ()
    last_commit: float | None = None
    last_attempt: float | None = None
    commits: int = 0
    refusals: int = 0
    refused_by: Mapping[str, int] = field(default_factory=dict)
    interval_s: float | None = None
    silent: bool | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One written value: the base value of a parameter, or (with a context) an override.

    ``changes`` counts real ones since it first appeared; ``last_change`` is the time of the last, in
    seconds since 1970.
    """

    key: str
    context: Mapping[str, Any]
    value: Any
    learnable: bool
    owner: str | None = None
    last_change: float | None = None
    changes: int = 0
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All learners and people, and all parameters, as of ``now`` (seconds since 1970)."""

    now: float
    learners: tuple[Learner, ...]
    parameters: tuple[Parameter, ...]

    def notes(self, level: Level) -> Iterator[tuple[Learner | Parameter, Note]]:
        """Yield who or what a note of this level is about, and the note."""
        subjects: tuple[Learner | Parameter, ...] = (*self.learners, *self.parameters)
        for subject in subjects:
            yield from ((subject, note) for note in subject.notes if note.level == level)

    @property
    def ok(self) -> bool:
        """Whether there is no finding."""
        return not any(self.notes("finding"))
