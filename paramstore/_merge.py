"""Three versions of a values file, merged value by value. Pure: plain data in, plain data out.

A *place* is one value: a path below ``values``, in the base or in the override of a context. Each is taken from the
side that changed it. Where both did, differently, it is a conflict, and ours stands until a person has decided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from paramstore._values import ABSENT

At = tuple[tuple[Any, ...], ...]


class Place(NamedTuple):
    """Where a value stands: the sorted items of its context, ``()`` for the base, ``None`` for what is neither (a word
    of the file's own, such as ``schema``), and the path below ``values``."""

    at: At | None
    path: tuple[str, ...]

    @property
    def key(self) -> str:
        return ".".join(self.path)


Leaves = dict[Place, Any]


class NotMergeable(Exception):  # noqa: N818 - a signal to the caller, never seen outside
    """The data does not have the form of a values file."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What three versions come to: all values, and the places at which a person has to decide."""

    leaves: Leaves
    conflicts: tuple[Place, ...]


def leaves(data: Any, whole: Collection[str] = ()) -> Leaves:
    """Return every value by its place. ``whole`` names relative keys whose value is one even if it is a mapping.

    Raises ``NotMergeable`` where the form is another one, or where a context has two entries.
    """
    if not isinstance(data, dict):
        raise NotMergeable
    found: Leaves = {
        Place(None, (word,)): value for word, value in data.items() if word not in ("values", "overrides")
    }
    found |= _below(data.get("values", {}), (), whole)
    entries = data.get("overrides") or []
    if not isinstance(entries, list):
        raise NotMergeable
    seen = set()
    for entry in entries:
        at = _context(entry)
        own = _below(entry["values"], at, whole)
        if at in seen or not own:
            raise NotMergeable
        seen.add(at)
        found |= own
    return found


def _context(entry: Any) -> At:
    if not isinstance(entry, dict) or entry.keys() != {"at", "values"}:
        raise NotMergeable
    at = entry["at"]
    if not isinstance(at, dict) or not at or any(isinstance(value, list | dict) for value in at.values()):
        raise NotMergeable
    return at_of(at)


def at_of(context: Mapping[str, Any]) -> At:
    """Return a context as part of a place. To Python ``True`` and ``1`` are one key, to a schema they are not: so a
    truth value has its type beside it."""
    return tuple(sorted((n, v, "bool") if type(v) is bool else (n, v) for n, v in context.items()))


def context_of(at: At) -> dict[str, Any]:
    """Return the context of which ``at_of`` made ``at``."""
    return {item[0]: item[1] for item in at}


def _below(tree: Any, at: At, whole: Collection[str]) -> Leaves:
    if not isinstance(tree, dict):
        raise NotMergeable
    return {Place(at, path): value for path, value in _walk(tree, (), whole)}


def _walk(
    tree: Mapping[str, Any], prefix: tuple[str, ...], whole: Collection[str]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        path = (*prefix, name)
        if isinstance(value, dict) and value and ".".join(path) not in whole:
            yield from _walk(value, path, whole)
        else:
            yield path, value


def alike(a: Any, b: Any) -> bool:
    """Tell whether two values are the same to a reader: ``1`` and ``1.0`` are, ``True`` and ``1`` are not."""
    if type(a) in (int, float) and type(b) in (int, float):
        return bool(a == b)
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[name], b[name]) for name in a)
    return bool(a == b) or a is b


def merge(base: Leaves | None, ours: Leaves, theirs: Leaves) -> Merged:
    """Merge place by place. Without a ``base`` whatever differs is a conflict."""
    found: Leaves = {}
    conflicts = []
    for place in [*ours, *(place for place in theirs if place not in ours)]:
        mine, other = ours.get(place, ABSENT), theirs.get(place, ABSENT)
        before = base.get(place, ABSENT) if base is not None else None
        value = mine
        if not alike(mine, other):
            if base is not None and alike(before, mine):
                value = other
            elif base is None or not alike(before, other):
                conflicts.append(place)
        if value is not ABSENT:
            found[place] = value
    return Merged(found, tuple(conflicts))


def settled(merged: Merged, side: Leaves, places: Collection[Place]) -> Leaves:
    """Return the merged values with ``places`` as ``side`` has them."""
    found = {place: value for place, value in merged.leaves.items() if place not in places}
    return found | {place: side[place] for place in places if place in side}
