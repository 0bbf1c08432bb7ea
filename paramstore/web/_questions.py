"""The types of every question of the HTTP API: bodies of actions, and parameters of addresses. They are what a request is held to."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from paramstore._model import Kind
from paramstore.web._answers import Context, Number, plain


class Asked(BaseModel):
    """What a client sends: these members, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=plain)


# --- actions ----------------------------------------------------------------------------------------


class WantedChange(Asked):
    """One value to write, or with ``remove`` to take away, for exactly this context (``{}``: the base value)."""

    key: str = Field(max_length=500, examples=["signal_weights.funding"])
    value: Any = Field(None, examples=[0.15])
    remove: bool = Field(False, examples=[False])
    context: Context = Field({}, examples=[{}, {"symbol": "BTCUSDT"}])

    @model_validator(mode="after")
    def _one_of_both(self) -> WantedChange:
        if self.remove == ("value" in self.model_fields_set):
            raise ValueError("give either a value, or `remove`: true")
        return self


Author = Annotated[str, Field(description="Who acts; not empty.", examples=["ann"])]
Reason = Annotated[
    str, Field(description="Why; kept in the journal; not empty.", examples=["reviewed the week"])
]
Keys = Annotated[
    str,
    Field(
        max_length=500,
        description="A key, a namespace, a group, or a shell-style pattern.",
        examples=["signal_weights"],
    ),
]
Seen = Annotated[
    str,
    Field(
        max_length=100, description="`seen` of the preview that was shown; required to act, not to preview."
    ),
]
Force = Annotated[
    bool,
    Field(description="As a person: pass freezes and learners' limits, never types, bounds or constraints."),
]
DryRun = Annotated[bool, Field(description="Only show what would be done.")]


class Action(Asked):
    """What every action takes."""

    author: Author
    reason: Reason
    dry_run: DryRun = False
    seen: Seen = ""


class SetValues(Action):
    """Change values in one transaction: all of them, or none."""

    changes: Annotated[list[WantedChange], Field(min_length=1, max_length=10_000)]
    force: Force = False


class RollBack(Action):
    """Make a new revision with the values of revision or time ``to``; ``by``: only what that author did since."""

    to: Annotated[int, Field(ge=0, le=2**62)] | Annotated[str, Field(max_length=100)] = Field(examples=[0])
    keys: Keys | None = None
    by: str | None = None
    force: Force = False


class FreezeKeys(Asked):
    """Refuse writes to the keys that match; no preview is needed for the kill switch."""

    author: Author
    reason: Reason
    pattern: Keys
    until: str | Number | None = Field(
        None, description="A time, a length (90s, 30min, 2h, 3d) or seconds from now."
    )
    dry_run: DryRun = False


class ForKeys(Action):
    """What concerns the keys that match a pattern; a namespace or group stands for everything in it."""

    pattern: Keys


# --- what is asked in an address ------------------------------------------------------------------------

At = Annotated[
    list[str],
    Field(
        max_length=50,
        description="`dimension=value`; repeat it for several dimensions.",
        examples=[["symbol=BTCUSDT"]],
    ),
]
Pattern = Annotated[
    str | None,
    Field(
        max_length=500,
        description="A key, a namespace, a group, or a shell-style pattern.",
        examples=["signal_weights"],
    ),
]


class Query(BaseModel):
    """The parameters of an address; others than these are refused."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, asked: Any) -> Any:
        known = list(cls.model_fields)
        unknown = [name for name in asked if name not in known] if isinstance(asked, dict) else []
        if unknown:
            hint = f"; a dimension is written at={unknown[0]}=VALUE" if "at" in known else ""
            raise ValueError(f"{unknown[0]} cannot be asked here, only {', '.join(known)}{hint}")
        return asked


class AtQuery(Query):
    """A context."""

    at: At = []


class PatternQuery(Query):
    """Some keys."""

    pattern: Pattern = None


class PastQuery(Query):
    """Which entries."""

    before: str | None = Field(
        None,
        max_length=64,
        description="Only entries before the one with this id, as given in an earlier answer.",
    )
    refused: bool = Field(False, description="Also what was refused.")


class KeyHistoryQuery(PastQuery):
    """Which entries of one key."""

    limit: int = Field(500, ge=1, le=10_000)


class HistoryQuery(PastQuery, PatternQuery):
    """Which entries of all."""

    limit: int = Field(100, ge=1, le=10_000)
    author: str | None = Field(
        None, max_length=500, description="Only what is in this name.", examples=["ann"]
    )
    kind: list[Kind] = Field(
        [],
        max_length=20,
        description="Only entries of this kind; may be repeated. `refusal` needs no `refused`.",
    )


Moment = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        description="A revision, or a time such as 2026-01-31T12:00:00.",
        examples=["0"],
    ),
]


class DiffQuery(Query):
    """Two sides."""

    a: Moment
    b: Annotated[
        str | None, Field(max_length=100, description="As a; without it: the files as they are.")
    ] = None


class ContextsQuery(Query):
    """Two contexts."""

    a: At = []
    b: At = []


class ScorecardQuery(Query):
    """Which changes."""

    revision: int | None = Field(None, ge=0, le=2**62, description="Only the change that made this revision.")


class AfterQuery(Query):
    """Where a stream goes on."""

    after: str | None = Field(None, max_length=64, description="Only entries after the one with this id.")
