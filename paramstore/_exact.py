"""The exact Python type of a value: what JSON Schema leaves open, and money must not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from itertools import repeat
from typing import Any

from paramstore._values import freeze

_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "boolean": (bool,),
    "string": (str,),
    "array": (list, tuple),
    "object": (dict,),
}
LARGEST_INTEGER = 2**63 - 1  # beyond, other readers of the same files lose digits
MOST_LEVELS = 100  # of lists and mappings within each other; a values file holds a third of them


def type_name(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "string")


def hold_to_type(value: Any, kind: str) -> tuple[Any, str | None]:
    """Hold ``value`` to the Python type of ``kind``. Only int to float is converted, and only exactly."""
    if kind == "number":
        if type(value) is int:
            try:
                exact = float(value)
            except OverflowError:
                return value, "is too large for a number"
            return (exact, None) if int(exact) == value else (value, "cannot be kept exactly as a number")
        return value, None if type(value) is float else f"is {_kind(value)}, a number is expected"
    fits = isinstance(value, _TYPES[kind]) and (type(value) is not bool or kind == "boolean")
    article = "an" if kind[0] in "aio" else "a"
    return value, None if fits else f"is {_kind(value)}, {article} {kind} is expected"


def bare(value: Any) -> Any:
    """Return a subclass of a plain scalar (``numpy.float64``, a member of an enum) as the plain scalar:
    it is the same value, and what a later read of the file gives."""
    if isinstance(value, float):
        return value if type(value) is float else float(value)
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    return int(value) if isinstance(value, int) and type(value) not in (int, bool) else value


def exact(number: float) -> Decimal:
    """Return a number as what people read: 0.1 is one tenth, not the binary fraction next to it."""
    return Decimal(number) if type(number) is int else Decimal(repr(float(number)))


def digits(number: float) -> int:
    """Return how many digits behind the point a number is written with."""
    return max(0, -int(exact(number).normalize().as_tuple().exponent))


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    name = {bool: "boolean", int: "integer", float: "number", str: "string"}.get(type(value))
    if name is None:
        name = (
            "array"
            if isinstance(value, list | tuple)
            else "object"
            if isinstance(value, dict)
            else type(value).__name__
        )
    return f"{'an' if name[0] in 'aio' else 'a'} {name}"


def is_finite(value: Any) -> bool:
    """Tell whether a value is plain data with finite numbers of 64 bits, and neither too deep nor within itself."""
    return _is_finite(value, MOST_LEVELS)


def _is_finite(value: Any, left: int) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -LARGEST_INTEGER <= value <= LARGEST_INTEGER
    if isinstance(value, list | tuple):
        return left > 0 and all(map(_is_finite, value, repeat(left - 1)))
    if isinstance(value, dict):
        plain = left > 0 and all(type(key) is str for key in value)
        return plain and all(map(_is_finite, value.values(), repeat(left - 1)))
    return value is None or (isinstance(value, str) and _encodes(value))


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, which no file can hold
        return False
    return True


def shape(value: Any, leaf: Mapping[str, Any]) -> Any:
    """Freeze ``value`` into the containers that the schema means: ``prefixItems`` makes a tuple, and a
    number inside stays or becomes a float. For what is finite (``is_finite``)."""
    if isinstance(value, list | tuple):
        prefix, rest = leaf.get("prefixItems", ()), leaf.get("items", {})
        inner = [
            shape(item, prefix[i] if i < len(prefix) else rest if isinstance(rest, dict) else {})
            for i, item in enumerate(value)
        ]
        return tuple(inner) if prefix else freeze(inner)
    if isinstance(value, dict):
        known, rest = leaf.get("properties", {}), leaf.get("additionalProperties", {})
        rest = rest if isinstance(rest, dict) else {}
        return freeze({name: shape(item, known.get(name, rest)) for name, item in value.items()})
    if leaf.get("type") == "number" and type(value) is int:
        return float(value)
    return freeze(value)


def as_json(value: Any) -> Any:
    """jsonschema knows an array only as a ``list``."""
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    return value


def one_line(text: str) -> str:
    """Return text that people wrote with control characters escaped: it can neither break a line nor steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def show(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of more than some thousand digits
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else "a huge value"
    return text if len(text) <= 60 else text[:57] + "…"
