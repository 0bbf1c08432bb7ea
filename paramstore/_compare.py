"""Two sides of a store compared: which values differ and who made that, and which rules do. Pure: plain data in, records out.

A side is the store at a revision, in a git commit, or as the files say now. Journal entries are known by their ids, so
that "in the one and not in the other" holds across branches, where a revision may be counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from paramstore._constraints import compile_constraint
from paramstore._figures import bounds, difference, position, relative, unit
from paramstore._history import At, Written, changes_between
from paramstore._model import ABSENT, Change
from paramstore._outline import Line, keys_of
from paramstore._records import VALUELESS
from paramstore._schema_form import leaves
from paramstore._state import split_key
from paramstore._values import same, thaw

Effect = Literal["looser", "tighter", ""]
Leaf = Mapping[str, Any]
Place = tuple[str, At]

# Words of a schema that say something to people and bind nobody.
_TELLING = {"title", "description", "default", "examples", "$comment", "deprecated", "x-param"}
_LOOSER_LOWER = {
    "minimum",
    "exclusiveMinimum",
    "cooldown_s",
    "min_samples",
    "minLength",
    "minItems",
    "minProperties",
}
_LOOSER_HIGHER = {
    "maximum", "exclusiveMaximum", "max_step", "max_step_relative", "max_drift", "maxLength", "maxItems", "maxProperties",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Side:
    """One side: every written value by its place, the plain schemas by namespace, and the journal's ``lines``.

    ``ends`` says of how many lines a namespace's values are made, where that is not all of them.
    """

    name: str
    values: Written
    namespaces: frozenset[str]
    schemas: Mapping[str, Mapping[str, Any]]
    lines: Sequence[Line] = ()
    ends: Mapping[str, int] = field(default_factory=dict)

    def leaf(self, key: str) -> Leaf:
        """Return what the schema says of ``key``; nothing for one that it does not know."""
        namespace, path = split_key(key)
        node: Any = self.schemas.get(namespace, {}).get("properties", {}).get("values", {})
        for name in path.split("."):
            node = node.get("properties", {}).get(name)
            if node is None:
                return {}
        leaf: Leaf = node
        return leaf


@dataclass(frozen=True, slots=True)
class Recorded:
    """The journal entry that a difference comes from, and of how many it is the last.

    With ``undone`` it is an entry that only the old side has: what it did is not there on the new one. ``overrode`` holds
    the guards that any of the entries was forced past. ``complete`` is false where the entry left another value than
    the one that stands: it was edited by hand since.
    """

    revision: int
    id: str
    time: str
    kind: str
    author: str
    reason: str
    count: int
    undone: bool
    complete: bool
    requested: Any = ABSENT
    bound_by: str | None = None
    overrode: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs. ``absolute`` is exact, ``relative`` a fraction of the old value; positions are fractions
    of the way from minimum to maximum, by the rules of each side."""

    key: str
    context: Mapping[str, Any]
    old: Any
    new: Any
    absolute: Decimal | None
    relative: float | None
    old_position: float | None
    new_position: float | None
    old_leaf: Leaf
    new_leaf: Leaf
    recorded: Recorded | None

    @property
    def leaf(self) -> Leaf:
        """What the newer of the schemas that know the key says of it."""
        return self.new_leaf or self.old_leaf

    @property
    def unit(self) -> str:
        """The unit of the value."""
        return unit(self.leaf)


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One rule of a schema that differs: ``word`` of a key, or ``constraint`` or ``dimension`` of a namespace.
    ``effect`` says whether more is allowed now, or less, where that can be told."""

    key: str
    word: str
    old: Any
    new: Any
    effect: Effect


@dataclass(frozen=True, slots=True)
class Comparison:
    """What turns side ``a`` into side ``b``. ``came`` and ``went`` are namespaces; their values are among ``differences``."""

    a: str
    b: str
    came: tuple[str, ...]
    went: tuple[str, ...]
    differences: tuple[Difference, ...]
    rules: tuple[RuleChange, ...]

    @property
    def empty(self) -> bool:
        """Whether the two sides are alike in values and rules."""
        return not (self.came or self.went or self.differences or self.rules)


def compare(a: Side, b: Side) -> Comparison:
    """Return everything in which ``b`` differs from ``a``."""
    changes = _in_order(changes_between(a.values, b.values), b, a)
    keys = {change.key for change in changes}
    made, undone = _Past(b, a, keys), _Past(a, b, keys)
    return Comparison(
        a.name,
        b.name,
        tuple(sorted(b.namespaces - a.namespaces)),
        tuple(sorted(a.namespaces - b.namespaces)),
        tuple(_difference(change, a, b, made, undone) for change in changes),
        tuple(_rules(a, b)),
    )


def _in_order(changes: Iterable[Change], *sides: Side) -> list[Change]:
    """Sort by namespace, then by the schema's order; of one key the base first."""
    order: dict[str, int] = {}
    for side in sides:
        for key, _ in side.values:
            order.setdefault(key, len(order))
    return sorted(changes, key=lambda c: (split_key(c.key)[0], order[c.key], bool(c.context)))


def _difference(change: Change, a: Side, b: Side, made: _Past, undone: _Past) -> Difference:
    before, after = a.leaf(change.key), b.leaf(change.key)
    place = change.key, tuple(sorted(change.context.items()))
    return Difference(
        key=change.key,
        context=change.context,
        old=change.old,
        new=change.new,
        absolute=difference(change.old, change.new),
        relative=relative(change.old, change.new),
        old_position=position(change.old, *bounds(before)),
        new_position=position(change.new, *bounds(after)),
        old_leaf=before,
        new_leaf=after,
        recorded=made.of(place, change.new) or undone.of(place, change.old, undone=True),
    )


# --- who made it ----------------------------------------------------------------------------------


class _Past:
    """The entries of ``side`` that ``other`` does not have, by the places that they changed."""

    def __init__(self, side: Side, other: Side, keys: Set[str]) -> None:
        self._found: dict[Place, list[tuple[Line, Mapping[str, Any]]]] = {}
        groups: dict[tuple[int, int], set[str]] = {}  # namespaces that are made of the same lines
        for key in keys:
            namespace = split_key(key)[0]
            groups.setdefault((_end(side, namespace), _end(other, namespace)), set()).add(key)
        for (end, other_end), group in groups.items():
            known = {line.id for line in other.lines[:other_end]}
            for line in side.lines[:end]:
                if (
                    line.kind not in VALUELESS
                    and line.id not in known
                    and not group.isdisjoint(keys_of(line))
                ):
                    self._take(line, group, line is side.lines[0])

    def _take(self, line: Line, keys: Set[str], begins: bool) -> None:
        for item in line.items:
            old, new = item.get("old", ABSENT), item.get("new", ABSENT)
            listed = begins and old is ABSENT  # what stood when the journal began is no change
            if item["key"] in keys and not listed and not same(old, new):
                place = item["key"], tuple(sorted(item.get("context", {}).items()))
                self._found.setdefault(place, []).append((line, item))

    def of(self, place: Place, left: Any, undone: bool = False) -> Recorded | None:
        """Return the last entry that changed ``place``; ``left`` is the value on its side."""
        found = self._found.get(place)
        if not found:
            return None
        line, last = found[-1]
        record = line.record
        forced = (guard for _, item in found for guard in item.get("overrode", ()))
        return Recorded(
            revision=line.revision,
            id=line.id,
            time=record["time"],
            kind=record["kind"],
            author=record["author"],
            reason=record["reason"],
            count=len(found),
            undone=undone,
            complete=_agree(last.get("new", ABSENT), left),
            requested=last.get("requested", ABSENT),
            bound_by=last.get("bound_by"),
            overrode=tuple(dict.fromkeys(forced)),
        )


def _end(side: Side, namespace: str) -> int:
    return side.ends.get(namespace, len(side.lines))


def _agree(recorded: Any, value: Any) -> bool:
    """Tell whether a value is what the journal says; a float may have been recorded without its point."""
    plain = thaw(value)
    return bool(recorded == plain) and isinstance(recorded, bool) == isinstance(plain, bool)


# --- rules ----------------------------------------------------------------------------------------


def _rules(a: Side, b: Side) -> Iterator[RuleChange]:
    """Yield the rules that differ in namespaces that both sides have, where both know their schemas."""
    for namespace in sorted(a.schemas.keys() & b.schemas.keys()):
        old, new = a.schemas[namespace], b.schemas[namespace]
        if old == new:
            continue
        before, after = (dict(leaves(schema["properties"]["values"], ())) for schema in (old, new))
        for path in after:
            if path in before:
                yield from _words(f"{namespace}.{path}", _binding(before[path]), _binding(after[path]))
        yield from _constraints(namespace, old, new)
        yield from _dimensions(namespace, old, new)


def _binding(leaf: Leaf) -> dict[str, Any]:
    """Return the words of a parameter's schema that bind somebody, its ``x-param`` among them."""
    words = {word: value for word, value in leaf.items() if word not in _TELLING}
    return {"learnable": False, **words, **leaf.get("x-param", {})}


def _words(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[RuleChange]:
    for word in [*new, *(word for word in old if word not in new)]:
        before, after = old.get(word, ABSENT), new.get(word, ABSENT)
        if not _alike(before, after):
            yield RuleChange(key, word, before, after, _effect(word, before, after))


def _alike(a: Any, b: Any) -> bool:
    """Tell whether two limits are the same one: 0 and 0.0 are."""
    return a is b or (type(a) is not bool and type(b) is not bool and a == b)


def _effect(word: str, old: Any, new: Any) -> Effect:
    """Tell whether a rule allows more than it did. One that is not there forbids nothing."""
    if word == "learnable":
        return "looser" if new is True else "tighter"
    if word in ("evidence", "enum"):
        return _set_effect(word, old, new)
    if word in _LOOSER_LOWER | _LOOSER_HIGHER | {"owner", "pattern"}:
        if old is ABSENT or new is ABSENT:
            return "looser" if new is ABSENT else "tighter"
        if word in _LOOSER_LOWER:
            return "looser" if new < old else "tighter"
        if word in _LOOSER_HIGHER:
            return "looser" if new > old else "tighter"
    return ""


def _set_effect(word: str, old: Any, new: Any) -> Effect:
    """Judge a list: fewer required fields of evidence allow more, and so do more choices."""
    if word == "enum" and (old is ABSENT or new is ABSENT):
        return "looser" if new is ABSENT else "tighter"
    before, after = (set(map(json.dumps, items or ())) for items in (old, new))
    if before < after:
        return "looser" if word == "enum" else "tighter"
    if after < before:
        return "tighter" if word == "enum" else "looser"
    return ""


def _constraints(namespace: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[RuleChange]:
    before, after = _constraint_texts(old), _constraint_texts(new)
    for form, text in after.items():
        if form not in before:
            yield RuleChange(namespace, "constraint", ABSENT, text, "tighter")
    for form, text in before.items():
        if form not in after:
            yield RuleChange(namespace, "constraint", text, ABSENT, "looser")


def _constraint_texts(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return each constraint in words, by its form: the words of ``*`` change with every parameter that comes."""
    values = schema["properties"]["values"]
    numbers = [path for path, leaf in leaves(values, ()) if leaf.get("type") in ("number", "integer")]
    found = {}
    for raw in values.get("x-constraints", ()):
        try:
            text = str(compile_constraint(raw, numbers))
        except ValueError:
            text = json.dumps(raw)
        found[json.dumps(raw, sort_keys=True)] = text
    return found


def _dimensions(namespace: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[RuleChange]:
    before, after = _dimension_nodes(old), _dimension_nodes(new)
    for name in [*after, *(name for name in before if name not in after)]:
        was, now = before.get(name, ABSENT), after.get(name, ABSENT)
        if not same(was, now):
            yield RuleChange(namespace, f"dimension {name}", was, now, "")


def _dimension_nodes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a context may say, by dimension: the choices, or the type."""
    try:
        nodes = schema["properties"]["overrides"]["items"]["properties"]["at"]["properties"]
    except KeyError:
        return {}
    return {name: node.get("enum", node.get("type", "any value")) for name, node in nodes.items()}
