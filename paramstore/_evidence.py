"""Why a learner believes in a change: a few fields with a meaning, and any others. Pure."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from paramstore._exact import is_finite, show
from paramstore._model import Violation
from paramstore.errors import ValidationError

__all__ = ["Evidence"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a learner has seen. A mapping with the same names does as well.

    ``samples``: outcomes that it rests on, a count. ``metric``: the name of what was measured, with
    ``before`` and ``after`` its value under the old and (expected) under the new parameters. ``window``:
    the time it was measured over, such as ``"7d"``. ``confidence``: a fraction from 0 to 1.
    ``code_revision``: of the program that learned. ``more``: any other plain JSON data, by name.
    """

    samples: int | None = None
    metric: str | None = None
    before: float | None = None
    after: float | None = None
    window: str | None = None
    confidence: float | None = None
    code_revision: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return the fields that are given, as the journal holds them."""
        known = {name: getattr(self, name) for name in NAMES}
        return {**{name: value for name, value in known.items() if value is not None}, **self.more}


NAMES = tuple(item.name for item in fields(Evidence) if item.name != "more")


def checked(evidence: Evidence | Mapping[str, Any] | None, stands: str) -> dict[str, Any]:
    """Return evidence as plain data. Raises ``ValidationError``, which ends in ``stands``, with all that is wrong."""
    if evidence is None:
        return {}
    if not isinstance(evidence, Evidence | Mapping):
        _refuse([f"evidence must be a mapping or Evidence, not {evidence!r}."], stands)
    plain = evidence.plain() if isinstance(evidence, Evidence) else dict(evidence)
    if not plain:
        return plain
    problems = []
    for name in NAMES:
        if plain.get(name) is not None:
            plain[name], problem = _judge(name, plain[name])
            problems += [f"evidence: `{name}` {problem}."] if problem else []
    try:
        plain = dict(
            json.loads(json.dumps(plain, allow_nan=False))
        )  # what is changed afterwards is not recorded
    except (TypeError, ValueError, RecursionError) as error:
        problems = problems or [f"evidence must be plain finite JSON data: {error}."]
    if problems:
        _refuse(problems, stands)
    return plain


def _refuse(problems: list[str], stands: str) -> NoReturn:
    raise ValidationError(problems, stands, broken=[Violation("*", "evidence", text) for text in problems])


def _judge(name: str, value: Any) -> tuple[Any, str | None]:
    """Return the value as plain data (what numpy counts with is no int) and what is wrong with it."""
    if name in ("metric", "window", "code_revision"):
        return value, None if isinstance(value, str) and value.strip() else f"must be text, not {value!r}"
    kind = "whole number" if name == "samples" else "number"
    try:
        if isinstance(value, bool | str):
            raise TypeError
        number = operator.index(value) if name == "samples" else _number(value)
    except (TypeError, ValueError, OverflowError):
        return value, f"must be a {kind}, not {value!r}"
    return number, _out_of_range(name, number)


def _number(value: Any) -> float:
    return value if type(value) in (int, float) else float(value)


def _out_of_range(name: str, number: float) -> str | None:
    if not is_finite(number):
        return f"must be finite and of 64 bits, but is {show(number)}"
    if name == "samples" and number < 0:
        return f"must not be negative, but is {number}"
    if name == "confidence" and not 0 <= number <= 1:
        return f"is a fraction from 0 to 1, but is {number}"
    return None
