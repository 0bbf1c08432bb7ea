"""Python types, as text, of what a schema's parameter reads as, and of what may be written to it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from paramstore._exact import type_name

_SCALARS = {"number": "float", "integer": "int", "boolean": "bool", "string": "str", "null": "None"}


def union(kinds: Iterable[str]) -> str:
    """Return the union of types, each once; ``Any`` takes all others in."""
    found = list(dict.fromkeys(kinds))
    return "Any" if "Any" in found or not found else " | ".join(found)


def read_type(leaf: Mapping[str, Any]) -> str:
    """Return the type of what a read gives."""
    return _type(leaf, ("_FrozenList[{}]", "tuple[{}]", "_FrozenDict[{}]"))


def write_type(leaf: Mapping[str, Any]) -> str:
    """Return the type of what a write takes: any sequence or mapping, where a read gives a frozen one."""
    return _type(leaf, ("Sequence[{}]", "Sequence[{}]", "Mapping[str, {}]"))


def context_type(node: Mapping[str, Any]) -> str:
    """Return the type of a dimension's value."""
    return _type(node, ("Any", "Any", "Any"))


def _type(leaf: Any, containers: tuple[str, str, str]) -> str:
    if not isinstance(leaf, dict):
        return "Any"
    kind = leaf.get("type")
    if kind is None and "enum" in leaf:
        kind = type_name(leaf["enum"][0])
    if isinstance(kind, list):
        return union(_type({**leaf, "type": each}, containers) for each in kind)
    if kind in ("string", "integer", "boolean") and "enum" in leaf:
        return _choices(kind, leaf["enum"])
    if kind == "array":
        return _array(leaf, containers)
    if kind == "object":
        return containers[2].format(_inner(leaf, containers))
    return _SCALARS.get(str(kind), "Any")


def _choices(kind: str, choices: Iterable[Any]) -> str:
    """Return the literals among the choices that are of the type: others can never be a value."""
    fitting = [choice for choice in choices if type_name(choice) == kind and choice is not None]
    if not fitting:
        return _SCALARS[kind]
    return f"Literal[{', '.join(_literal(choice) for choice in fitting)}]"


def _literal(choice: Any) -> str:
    return json.dumps(choice) if isinstance(choice, str) else repr(choice)


def _array(leaf: Mapping[str, Any], containers: tuple[str, str, str]) -> str:
    of_list, of_tuple, _ = containers
    prefix = [_type(item, containers) for item in leaf.get("prefixItems", ())]
    rest = _type(leaf["items"], containers) if "items" in leaf else "Any"
    if not prefix:
        return of_list.format(rest)
    closed = leaf.get("items") is False or leaf.get("maxItems") == len(prefix)
    if of_tuple.startswith("tuple"):
        if closed and leaf.get("minItems") == len(prefix):
            return of_tuple.format(", ".join(prefix))
        return of_tuple.format(f"{union(prefix if closed else [*prefix, rest])}, ...")
    return of_tuple.format(union(prefix if closed else [*prefix, rest]))


def _inner(leaf: Mapping[str, Any], containers: tuple[str, str, str]) -> str:
    known = [_type(node, containers) for node in leaf.get("properties", {}).values()]
    rest = leaf.get("additionalProperties", True)
    return union(known if rest is False and known else [*known, _type(rest, containers)])
