"""What a proposed change must pass before it is written. Pure; each rule is one step, in this order.

type and bounds (``Schema.judge``) → decimals → constraints. Limits that bind learners join between the
last two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Literal, NamedTuple

from paramstore._model import ABSENT, Change
from paramstore._schema import Schema
from paramstore._state import Document, split_key
from paramstore._values import same

OnViolation = Literal["reject", "clamp"]


class Request(NamedTuple):
    """One value that an author asks for; ``ABSENT`` asks to remove an override's value."""

    key: str
    context: Mapping[str, Any]
    value: Any
    on_violation: OnViolation


def judge_request(schema: Schema, document: Document, request: Request) -> tuple[Change | None, list[str]]:
    """Return the change that ``request`` comes to (``None``: nothing differs) and what is wrong with it."""
    _, path = split_key(request.key)
    old = document.own_value(path, request.context, ABSENT)
    if request.value is ABSENT:
        if not request.context:
            return None, [f"`{request.key}` cannot be removed: only a value for a context can"]
        change = Change(request.key, old, ABSENT, request.context, ABSENT)
        return (None if old is ABSENT else change), []
    value, bound_by = request.value, None
    if request.on_violation == "clamp":
        value, bound_by = clamp(schema, path, value)
    value, problems = schema.judge(path, value)
    if problems:
        return None, problems
    rounded = round_to(value, schema.specs[path].decimals)
    if not same(rounded, value):
        value, bound_by = rounded, bound_by or "decimals"
        value, problems = schema.judge(path, value)
    if problems or same(old, value):
        return None, problems
    requested = request.value if bound_by else value
    return Change(request.key, old, value, request.context, requested, bound_by), []


def clamp(schema: Schema, path: str, value: Any) -> tuple[Any, str | None]:
    """Move a number to the nearest bound; anything else is left for ``judge`` to refuse."""
    spec = schema.specs[path]
    if type(value) not in (int, float) or spec.type not in ("number", "integer") or not isfinite(value):
        return value, None
    if spec.minimum is not None and value < spec.minimum:
        return spec.minimum, "minimum"
    if spec.maximum is not None and value > spec.maximum:
        return spec.maximum, "maximum"
    return value, None


def round_to(value: Any, decimals: int | None) -> Any:
    """Round a float to the digits that the schema keeps. Minus zero becomes zero."""
    if decimals is None or type(value) is not float:
        return value
    return round(value, decimals) + 0.0


def broken_constraints(schema: Schema, document: Document, touched: Iterable[Mapping[str, Any]]) -> list[str]:
    """Judge the constraints of a namespace after a change; ``touched`` are the contexts written to."""
    problems = schema.broken_constraints(document.values)
    for at in touched:
        index = document.override_index(at) if at else None
        if index is not None:
            own = document.overrides[index][1]
            problems += [f"in {dict(at)}: {p}" for p in schema.broken_in_context(own, document.values)[0]]
    return problems
