"""The types of every answer of the HTTP API, from which its description (OpenAPI) is made.

Answers are written as plain JSON and never pass through these types, so that they cost nothing; the tests hold what is sent
to what is declared here. Whatever may be missing from an answer has a default.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Context = dict[str, Any]
Bound = int | float | None
Number = int | float


def plain(schema: dict[str, Any]) -> None:
    """Leave out what says nothing to a reader of the description: generated titles, and defaults of what may be missing."""
    for name, node in schema.get("properties", {}).items():
        node.pop("title", None)
        if node.get("default", ...) is None and name not in schema.get("required", ()):
            node.pop("default")


class Answer(BaseModel):
    """What the server sends: exactly these members."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=plain)


class Open(Answer):
    """What the server sends: these members at least."""

    model_config = ConfigDict(extra="allow", json_schema_extra=plain)


# --- what goes wrong ------------------------------------------------------------------------------


class Violation(Answer):
    """One rule that a request breaks. ``allowed``: the inclusive limits now, where there are any."""

    key: str
    rule: str
    text: str
    requested: Any
    context: Context
    allowed: list[Any] | None


# --- values ---------------------------------------------------------------------------------------


class Values(Answer):
    """All effective values in one context, at one revision."""

    revision: int
    digest: str
    context: Context
    values: dict[str, Any]


class Value(Answer):
    """One effective value."""

    key: str
    value: Any
    context: Context
    revision: int


class Touch(Answer):
    """The entry that last changed a value."""

    revision: int
    time: str
    author: str


class Parameter(Answer):
    """One written value (with a context: an override), with what its schema says and who changed it last."""

    key: str
    context: Context
    value: Any
    default: Any
    changed: bool
    type: str
    minimum: Bound
    maximum: Bound
    unit: str
    learnable: bool
    frozen: bool
    edited_by_hand: bool
    last_change: Touch | None
    environment: Any = None


class Points(Answer):
    """How one value moved: seconds since 1970, and what it was from then on."""

    key: str
    context: Context
    times: list[Number]
    values: list[Any]


class Sparklines(Answer):
    """The newest points of every value that ever changed."""

    revision: int
    points: list[Points]


# --- the past ---------------------------------------------------------------------------------------


class Change(Answer):
    """A change as the journal has it: without ``old`` it made the value, without ``new`` it took it away."""

    key: str
    context: Context
    old: Any = None
    new: Any = None
    requested: Any = None
    bound_by: str = ""
    overrode: list[str] = []


class Entry(Answer):
    """An entry of the journal."""

    revision: int
    id: str
    time: str
    kind: str
    author: str
    reason: str
    evidence: dict[str, Any]
    changes: list[Change]
    details: dict[str, Any]


class History(Answer):
    """Entries, oldest first. ``more``: there are older ones; ask with ``before`` = the first one's id."""

    entries: list[Entry]
    pending: list[Change]
    more: bool


class Author(Answer):
    """Somebody who is named as an author, and how many entries of each kind are theirs."""

    author: str
    kinds: dict[str, int]


class Recorded(Answer):
    """The entry that a difference comes from."""

    revision: int
    id: str
    time: str
    kind: str
    author: str
    reason: str
    entries: int
    taken_back: bool
    edited_since: bool
    overrode: list[str]
    bound_by: str = ""
    requested: Any = None


class Position(Answer):
    """Where the values lie between their bounds, as fractions."""

    old: float | None
    new: float | None


class Difference(Answer):
    """One value that differs."""

    key: str
    context: Context
    old: Any = None
    new: Any = None
    absolute: Number | None
    relative: Number | None
    position: Position
    minimum: Bound
    maximum: Bound
    unit: str
    entry: Recorded | None


class RuleChange(Answer):
    """One rule of a schema that differs."""

    key: str
    rule: str
    old: Any = None
    new: Any = None
    effect: str | None


class Namespaces(Answer):
    """Namespaces that only one side has."""

    came: list[str]
    went: list[str]


class Comparison(Answer):
    """What turns side ``a`` into side ``b``."""

    a: str
    b: str
    namespaces: Namespaces
    changes: list[Difference]
    rules: list[RuleChange]


class Revision(Answer):
    """All entries of one revision, and what it changed; ``comparison`` is missing (null) where the journal begins."""

    revision: int
    entries: list[Entry]
    comparison: Comparison | None
    newest: int


class ContextDifference(Answer):
    """One value that two contexts see differently."""

    key: str
    a: Any
    b: Any
    unit: str
    minimum: Bound
    maximum: Bound


class Contexts(Answer):
    """What two contexts see differently."""

    a: Context
    b: Context
    differences: list[ContextDifference]


# --- why, and whether all is well ---------------------------------------------------------------------


class Freeze(Answer):
    """A freeze that holds now."""

    pattern: str
    author: str
    reason: str
    since: str
    until: str | None


class Layer(Answer):
    """One layer's value."""

    name: str
    value: Any
    source: str
    applies: bool
    wins: bool


class Spec(Answer):
    """What the schema says of a parameter."""

    key: str
    type: str
    schema_file: str
    unit: str
    description: str
    minimum: Bound
    maximum: Bound
    default: Any
    choices: list[Any] | None
    learnable: bool
    decimals: int | None
    max_step: Bound
    max_step_relative: Bound
    cooldown_s: Bound
    min_samples: int | None
    owner: str | None
    max_drift: Bound
    evidence: list[str]
    dimensions: list[str]


class Explanation(Answer):
    """Why a value is what it is: every layer, lowest first, its rules, its last change, and what holds it."""

    key: str
    value: Any
    context: Context
    revision: int
    layers: list[Layer]
    spec: Spec
    last_change: Entry | None
    frozen: list[Freeze]


class Problem(Answer):
    """A file that readers refuse, and since when."""

    file: str
    message: str
    since: str


class Dimension(Answer):
    """One dimension of contexts; ``choices`` where the schema lists them."""

    name: str
    type: str
    choices: list[Any] = []


class Health(Answer):
    """Whether readers see what the files say, and what this server allows."""

    revision: int
    ok: bool
    problems: list[Problem]
    warnings: list[str]
    age_s: float | None
    store: str
    writes: bool
    private: bool
    scorecard: bool
    author: str
    version: str
    dimensions: list[Dimension]


class Pending(Answer):
    """Not computed yet: ask again in a second."""

    pending: Literal[True]


class Doctor(Open):
    """What ``paramstore doctor --json`` says, and the seconds since it was computed."""

    ok: bool
    now: str | None
    learners: list[dict[str, Any]]
    parameters: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    age_s: float


class Scorecard(Open):
    """What ``paramstore scorecard --json`` says, and the seconds since it was computed."""

    metric: str
    revisions: list[dict[str, Any]]
    changes: list[dict[str, Any]]
    age_s: float


# --- actions ----------------------------------------------------------------------------------------


class Done(Answer):
    """What was done, or with ``dry_run`` would be. ``seen`` stands for all of it: give it back to have exactly that done.

    ``keys``: what a freeze holds; ``freezes``: what is frozen (for ``unfreeze``: what it ends); ``baselines``: what an approval
    approves; ``left``: the values that are read where one is removed.
    """

    dry_run: bool
    revision: int
    changes: list[Change]
    kept: list[dict[str, Any]]
    violations: list[Violation]
    detail: str
    summary: str
    seen: str
    entry: Entry | None = None
    keys: list[str] = []
    freezes: list[Freeze] = []
    baselines: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []


class Error(Answer):
    """What went wrong (RFC 9457). ``detail`` is the whole sentence; ``preview``: what would be done now, where that is no
    longer what was shown."""

    title: str
    status: int
    detail: str
    kind: str = ""
    violations: list[Violation] = []
    nearest: list[str] = []
    preview: Done | None = None
