"""Type stubs of ``paramstore`` for one store: its schemas as text that mypy and pyright read. Pure.

Overloads are scanned one after the other and compared two by two, so there is one for each type of value
and not one for each key: its parameter is an alias of all keys of that type. Each alias names itself (in a class
that nobody can have), for two reasons: mypy then writes its name into a message instead of a thousand keys, and
compares overloads without comparing a thousand keys with a thousand others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paramstore._schema_form import leaves
from paramstore._stubs_text import HEAD, METHODS
from paramstore._stubs_types import context_type, read_type, union, write_type

__all__ = ["stub_text"]

RULE = 'on_violation: OnViolation = "reject"'
NAMES = {"float": "Float", "int": "Int", "bool": "Bool", "str": "Str"}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One parameter: its key, and the types that a read gives and a write takes."""

    key: str
    read: str
    write: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """What one schema declares. ``dimensions`` is parameters of a function, as text."""

    name: str
    leaves: tuple[Leaf, ...]
    dimensions: Mapping[str, str]


def stub_text(schemas: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the stub for valid schemas (namespace to JSON). The same schemas give the same text."""
    spaces = [_namespace(name, schemas[name]) for name in sorted(schemas)]
    every = [leaf for space in spaces for leaf in space.leaves]
    names = Names()
    parts = [HEAD]
    keys = _read_keys(every, names, parts)
    context = _context_of(spaces)
    groups = _groups(every)
    sections = _sections(groups, names, parts)
    any_read = union(leaf.read for leaf in every)
    optional = _parameters(context, " | None = None")
    get = _overloads("get", "key: {key}, no_default: None = None, /" + optional, keys, any_read)
    words = {
        "get": get,
        "live": _overloads("live", "key: {key}", keys, any_read),
        "section": _chosen("section", "prefix", sections),
        "keys": _keys_method(spaces, names, parts),
        "context": optional,
        "bare_get": _overloads("get", "key: {key}, /", keys, any_read),
        "item": _overloads("__getitem__", "key: {key}, /", keys, any_read),
        "tx_get": _overloads("get", "key: {key}" + optional, keys, any_read),
        "tx_writes": _writes(spaces, keys, names, parts),
        "tx_propose": _propose(spaces, groups, names, parts),
    }
    parts.append(_values(every))
    parts.append(METHODS.format_map(words))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


class Names:
    """Names for classes and aliases, each given once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def fresh(self, text: str, suffix: str = "") -> str:
        """Return ``text`` (a key, say) as the name of a class, with a number if there is one already."""
        words = re.split("[^A-Za-z0-9]+", text)
        base = "_" + "".join(word[:1].upper() + word[1:] for word in words)
        name, number = base + suffix, 2
        while name in self._given:
            name, number = f"{base}{number}{suffix}", number + 1
        self._given.add(name)
        return name


def _namespace(name: str, raw: Mapping[str, Any]) -> Namespace:
    properties = raw["properties"]
    found = tuple(
        Leaf(f"{name}.{path}", read_type(leaf), write_type(leaf))
        for path, leaf in leaves(properties["values"], ())
    )
    at: Mapping[str, Any] = {}
    if "overrides" in properties:
        at = properties["overrides"]["items"]["properties"]["at"]["properties"]
    return Namespace(name, found, {dimension: context_type(node) for dimension, node in at.items()})


def _context_of(spaces: Sequence[Namespace]) -> dict[str, str]:
    """Return every dimension with the values that any namespace allows for it: what a read takes."""
    found: dict[str, list[str]] = {}
    for space in spaces:
        for name, kind in space.dimensions.items():
            found.setdefault(name, []).append(kind)
    return {name: union(kinds) for name, kinds in found.items()}


def _parameters(context: Mapping[str, str], end: str) -> str:
    return ", *" + "".join(f", {name}: {kind}{end}" for name, kind in context.items()) if context else ""


# --- keys -----------------------------------------------------------------------------------------


def _literal(texts: Iterable[str]) -> str:
    """Return a ``Literal`` of texts, one a line, so that a change of keys is a small diff."""
    lines = "".join(f'    "{text}",\n' for text in texts)
    return f"Literal[\n{lines}]"


def _read_keys(every: Sequence[Leaf], names: Names, parts: list[str]) -> dict[str, str]:
    """Add an alias for the keys of each type; return them, ``{type: alias}``."""
    by_type: dict[str, list[str]] = {}
    for leaf in every:
        by_type.setdefault(leaf.read, []).append(leaf.key)
    return {
        kind: _alias(keys, "Key", names, parts, NAMES.get(kind, keys[0])) for kind, keys in by_type.items()
    }


def _keys_method(spaces: Sequence[Namespace], names: Names, parts: list[str]) -> str:
    """Return ``keys``: for the pattern of a whole namespace it gives that namespace's, so that a loop over them reads
    no wider type than it needs."""
    lines, aliases = [], []
    for space in spaces:
        name = names.fresh(space.name, "Keys")
        aliases.append(name)
        parts.append(f"{name}: TypeAlias = {_literal(leaf.key for leaf in space.leaves)}")
        lines += ["@overload", f'def keys(self, pattern: Literal["{space.name}.*"]) -> list[{name}]: ...']
    parts.append(f"_AnyKeys: TypeAlias = {' | '.join(aliases)}")
    parts.append('_AnyKey: TypeAlias = _AnyKeys | _Only["_AnyKey"]')
    lines += ["@overload", 'def keys(self, pattern: str = "*") -> list[_AnyKeys]: ...']
    return _body(lines)


# --- methods --------------------------------------------------------------------------------------


def _body(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _overloads(name: str, parameters: str, keys: Mapping[str, str], any_read: str) -> str:
    """Return a method that reads: one overload for each type, and one for a key that may be of several."""
    variants = [*((alias, kind) for kind, alias in keys.items())]
    if len(variants) > 1:
        variants.append(("_AnyKey", any_read))
    lines = []
    for alias, kind in variants:
        signature = f"def {name}(self, {parameters.format(key=alias)}) -> {kind}: ..."
        lines += ["@overload", signature] if len(variants) > 1 else [signature]
    return _body(lines)


def _chosen(name: str, parameter: str, results: Mapping[str, Sequence[str]]) -> str:
    lines = []
    for result, texts in results.items():
        literal = ", ".join(f'"{text}"' for text in texts)
        signature = f"def {name}(self, {parameter}: Literal[{literal}]) -> {result}: ..."
        lines += ["@overload", signature] if len(results) > 1 else [signature]
    return _body(lines)


# --- sections -------------------------------------------------------------------------------------


def _groups(every: Sequence[Leaf]) -> dict[str, list[Leaf]]:
    """Return what is below each namespace and group, in schema order."""
    found: dict[str, list[Leaf]] = {}
    for leaf in every:
        for dot, sign in enumerate(leaf.key):
            if sign == ".":
                found.setdefault(leaf.key[:dot], []).append(leaf)
    return found


def _sections(groups: Mapping[str, Sequence[Leaf]], names: Names, parts: list[str]) -> dict[str, list[str]]:
    """Return the prefixes of each type of section. A group whose members have one type needs no class of its own, and
    groups of one shape share theirs. The deepest come first, because those around them name them."""
    shapes: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    of_prefix: dict[str, str] = {}
    for prefix in sorted(groups, key=lambda text: (-text.count("."), text)):
        members = _members(prefix, groups[prefix], of_prefix)
        every = union(members.values())
        kind, body = f"_FrozenDict[{every}]", _section_body(members, every)
        if len(set(members.values())) > 1:
            if body not in shapes:
                shapes[body] = names.fresh(prefix)
                parts.append(f"@type_check_only\nclass {shapes[body]}({kind}):\n{body}")
            kind = shapes[body]
        of_prefix[prefix] = kind
        found.setdefault(kind, []).append(prefix)
    return found


def _members(prefix: str, below: Sequence[Leaf], of_prefix: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for leaf in below:
        name, _, deeper = leaf.key.removeprefix(f"{prefix}.").partition(".")
        found[name] = of_prefix[f"{prefix}.{name}"] if deeper else leaf.read
    return found


def _section_body(members: Mapping[str, str], every: str) -> str:
    """Return how a section is read: names that are known give their own type, and any text what all have in common,
    so that a section is the mapping of text that other code expects."""
    by_type: dict[str, list[str]] = {}
    for name, kind in members.items():
        by_type.setdefault(kind, []).append(f'"{name}"')
    lines = []
    for kind, found in by_type.items():
        lines += [
            "@overload",
            f"def __getitem__(self, key: Literal[{', '.join(found)}], /) -> {kind}: ...",
        ]
    lines += ["@overload", f"def __getitem__(self, key: str, /) -> {every}: ..."]
    return _body(lines)


# --- writes ---------------------------------------------------------------------------------------


def _writes(spaces: Sequence[Namespace], read_keys: Mapping[str, str], names: Names, parts: list[str]) -> str:
    """Return ``__setitem__``, ``set`` and ``remove``. A write takes the dimensions of the key's own namespace, and
    no ``None``."""
    by_type: dict[str, list[str]] = {}
    by_place: dict[tuple[str, str], list[str]] = {}
    places: dict[str, list[str]] = {}
    for space in spaces:
        context = _parameters(space.dimensions, " = ...")
        for leaf in space.leaves:
            by_type.setdefault(leaf.write, []).append(leaf.key)
            by_place.setdefault((leaf.write, context), []).append(leaf.key)
            places.setdefault(context, []).append(leaf.key)
    alias_of = {
        kind: read_keys.get(kind) or _alias(keys, "Write", names, parts) for kind, keys in by_type.items()
    }
    items = [f"__setitem__(self, key: {alias}, value: {kind}, /)" for kind, alias in alias_of.items()]
    sets, removes = [], []
    for (kind, context), keys in by_place.items():
        alias = alias_of[kind] if len(places) == 1 else _alias(keys, "Set", names, parts)
        sets.append(f"set(self, key: {alias}, value: {kind}, {RULE}{context})")
    for context, keys in places.items():
        alias = "_AnyKey" if len(places) == 1 else _alias(keys, "Place", names, parts)
        removes.append(f"remove(self, key: {alias}{context})")
    return "\n".join(map(_variants, (items, sets, removes)))


def _variants(signatures: Sequence[str]) -> str:
    """Return a method that returns nothing, in one variant or several."""
    mark = ["@overload"] if len(signatures) > 1 else []
    return _body(line for each in signatures for line in (*mark, f"def {each} -> None: ..."))


def _alias(keys: Sequence[str], suffix: str, names: Names, parts: list[str], base: str = "") -> str:
    """Add an alias of keys that names itself. They stand in it, not in another alias: mypy would unfold that one at
    each comparison, ten times as slowly."""
    name = names.fresh(base or keys[0], suffix)
    parts.append(f'{name}: TypeAlias = {_literal(keys)} | _Only["{name}"]')
    return name


def _propose(
    spaces: Sequence[Namespace], groups: Mapping[str, Sequence[Leaf]], names: Names, parts: list[str]
) -> str:
    """Return ``propose``: the group is one of those there are, and its values have the types that occur in it."""
    context_of = {space.name: _parameters(space.dimensions, " = ...") for space in spaces}
    shared = next(iter(context_of.values())) if len(set(context_of.values())) == 1 else ""
    chosen: dict[tuple[str, str], list[str]] = {}
    for prefix, below in groups.items():
        values = union(leaf.write for leaf in below)
        chosen.setdefault((values, context_of[prefix.partition(".")[0]]), []).append(prefix)
    every = union(leaf.write for space in spaces for leaf in space.leaves)
    chosen.setdefault((every, shared), []).append("")  # whole keys, of several namespaces
    trees: dict[str, str] = {}
    signatures = []
    for (values, context), prefixes in chosen.items():
        if values not in trees:
            trees[values] = names.fresh(prefixes[0] or "every", "Tree")
            parts.append(f'{trees[values]}: TypeAlias = Mapping[str, {values} | "{trees[values]}"]')
        literal = ", ".join(f'"{prefix}"' for prefix in prefixes)
        signatures.append(
            f"propose(self, prefix: Literal[{literal}], values: {trees[values]}, {RULE}{context})"
        )
    return _variants(signatures)


def _values(every: Sequence[Leaf]) -> str:
    lines = "".join(f'        "{leaf.key}": {leaf.write},\n' for leaf in every)
    return f'_Values = TypedDict(\n    "_Values",\n    {{\n{lines}    }},\n    total=False,\n)'
