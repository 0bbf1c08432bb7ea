"""What git shows of a values file: each value with its full key and its place within bounds, and what changed in few words.

git runs this once for every version of every file in a log, so it imports little and reads the schema as plain JSON. It
only shows: what it cannot read it leaves as it is.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from paramstore._exact import one_line
from paramstore._figures import (
    bounds,
    change_text,
    place_text,
    position,
    position_text,
    spot_text,
    stands_text,
    value_text,
)
from paramstore._merge import alike
from paramstore._values import ABSENT
from paramstore._yaml import Node, compose, guarded
from paramstore.errors import DocumentError

MARK = "    | "
MODELINE = re.compile(rb"\s*#\s*yaml-language-server:\s*\$schema=(?:[^/\s]*/)*([^/\s]+)\.schema\.json")
BOM = "\ufeff"

Schema = Mapping[str, Any]
Leaf = Mapping[str, Any]


class Shown(NamedTuple):
    """One written value: its full key, its context, the value, and where its text begins."""

    key: str
    at: Mapping[str, Any]
    value: Any
    leaf: Leaf
    start: int


def namespace_of(path: str, raw: bytes) -> str:
    """Return the namespace that a values file says it is of, in its first line; else what its name says."""
    found = MODELINE.match(raw.removeprefix(BOM.encode()))
    if found is not None:
        return found[1].decode(errors="replace")
    return path.rpartition("/")[2].removesuffix(".yaml")


def plain_schema(raw: bytes | None) -> Schema | None:
    """Return the JSON of a schema file, unjudged; ``None`` for what is none."""
    try:
        data = json.loads(raw or b"")
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def annotated(raw: bytes, namespace: str, schema: Schema | None) -> bytes:
    """Return the text of a values file with each line that holds a value followed by key, context and place.

    Every other line stays as it is, and so does a file that cannot be read.
    """
    try:
        text = guarded(raw, "")
        values = list(_values(compose(text, ""), namespace, schema))
    except (DocumentError, RecursionError):
        return raw
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    notes: dict[int, list[str]] = {}
    for each in values:
        told = f"{place_text(each.key, each.at)} {stands_text(each.value, each.leaf)}".rstrip()
        notes.setdefault(bisect_right(starts, each.start) - 1, []).append(told)
    shown = [_with_note(line, notes.get(number, ())) for number, line in enumerate(lines)]
    return ((BOM if raw.startswith(BOM.encode()) else "") + "\n".join(shown)).encode()


def _with_note(line: str, notes: Any) -> str:
    end = "\r" if line.endswith("\r") else ""
    return f"{line.removesuffix(end)}{MARK}{'; '.join(notes)}{end}" if notes else line


def described(path: str, old_raw: bytes | None, new_raw: bytes | None, schema: Schema | None) -> str:
    """Return what changed between two versions of a values file, one value a line; ``None`` is a version without it.

    A version that cannot be read is said to be so.
    """
    lines: list[str] = []
    old, new = (
        _by_place(path, raw, schema, which, lines) for which, raw in (("old", old_raw), ("new", new_raw))
    )
    if old is None or new is None:
        return "".join(f"{line}\n" for line in lines)
    for place in [*new, *(place for place in old if place not in new)]:
        before, after = old.get(place), new.get(place)
        if before is None or after is None or not alike(before.value, after.value):
            lines.append(_change(before, after))
    if not lines:
        lines.append("no value differs")
    return "".join(f"{line}\n" for line in lines)


def _by_place(
    path: str, raw: bytes | None, schema: Schema | None, which: str, lines: list[str]
) -> dict[tuple[str, str], Shown] | None:
    """Return the values of one version by place; one that cannot be read adds a line that says so."""
    if not raw:
        return {}
    try:
        root = compose(guarded(raw, path), path)
        return {
            (v.key, repr(sorted(v.at.items()))): v for v in _values(root, namespace_of(path, raw), schema)
        }
    except DocumentError as error:
        lines.append(one_line(f"the {which} version cannot be read: {error}"))
    except RecursionError:
        lines.append(f"the {which} version cannot be read: nested too deep")
    return None


def _change(before: Shown | None, after: Shown | None) -> str:
    known = after or before
    assert known is not None
    old = ABSENT if before is None else before.value
    new = ABSENT if after is None else after.value
    limits = bounds(known.leaf)
    place = position_text(position(old, *limits), position(new, *limits))
    told = (change_text(old, new), spot_text(place, known.leaf))
    return f"{place_text(known.key, known.at)}: {value_text(old)} → {value_text(new)}" + "".join(
        f"  {part}" for part in told if part
    )


# --- where values are -----------------------------------------------------------------------------


def _values(root: Node, namespace: str, schema: Schema | None) -> Iterator[Shown]:
    """Yield every value of a file, base and overrides, in the order of the text."""
    group = _child(_child(schema, "properties"), "values")
    yield from _inside(root, namespace, {}, group)
    entries = root.children.get("overrides")
    for entry in entries.children.values() if entries is not None else ():
        at = entry.children.get("at")
        context = at.value if at is not None and isinstance(at.value, dict) else {}
        yield from _inside(entry, namespace, context, group)


def _inside(node: Node, namespace: str, at: Mapping[str, Any], group: Leaf) -> Iterator[Shown]:
    """Yield what stands below the word ``values`` of a file or of one override."""
    values = node.children.get("values")
    if values is not None and isinstance(values.value, dict):
        yield from _below(values, namespace, at, group)


def _below(node: Node, key: str, at: Mapping[str, Any], leaf: Leaf) -> Iterator[Shown]:
    """Walk a group. A mapping is one where the schema says so, or, where it knows nothing of it, in any case."""
    if isinstance(node.value, dict) and node.value and _is_group(leaf):
        for name, child in node.children.items():
            yield from _below(child, f"{key}.{name}", at, _child(_child(leaf, "properties"), name))
    elif node.value != {}:
        yield Shown(key, at, node.value, leaf, node.start)


def _is_group(leaf: Leaf) -> bool:
    return not leaf or ("properties" in leaf and "x-param" not in leaf)


def _child(node: Any, name: str) -> Any:
    found = node.get(name) if isinstance(node, dict) else None
    return found if isinstance(found, dict) else {}
