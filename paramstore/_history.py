"""Values at an earlier revision, by replaying journal records. Pure: records in, documents out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from paramstore._model import ABSENT, Change
from paramstore._schema import Schema
from paramstore._state import Document, split_key
from paramstore._values import freeze, same

At = tuple[tuple[str, Any], ...]
Written = dict[tuple[str, At], Any]  # (full key, sorted context items) -> value


def replay(records: Iterable[Mapping[str, Any]], until: int | None = None) -> Written:
    """Return every value that stood at revision ``until`` (all of them: now), as the journal tells it."""
    written: Written = {}
    for record in records:
        if until is not None and record["revision"] > until:
            break
        apply(written, record)
    return written


def apply(written: Written, record: Mapping[str, Any]) -> None:
    """Bring ``written`` to where it was after ``record``."""
    apply_items(written, record["changes"])


def apply_items(written: Written, items: Iterable[Mapping[str, Any]]) -> None:
    """Bring ``written`` to where it was after these changes of one record."""
    for item in items:
        place = item["key"], tuple(sorted(item.get("context", {}).items()))
        if "new" in item:
            written[place] = item["new"]
        else:
            written.pop(place, None)


def flatten(documents: Mapping[str, Document]) -> Written:
    """Return every value written in ``documents``, base and overrides, in the form of ``replay``."""
    written: Written = {}
    for name, document in documents.items():
        for path, value in document.values.items():
            written[f"{name}.{path}", ()] = value
        for at, own in document.overrides:
            for path, value in own.items():
                written[f"{name}.{path}", tuple(sorted(at.items()))] = value
    return written


def shaped(written: Written, schemas: Mapping[str, Schema]) -> Written:
    """Give replayed JSON values their container types back, where the schema still knows the key."""
    found: Written = {}
    for (key, at), value in written.items():
        namespace, path = split_key(key)
        schema = schemas.get(namespace)
        known = schema is not None and path in schema.specs
        shape = schema.judge(path, value)[0] if schema is not None and known else value
        found[key, at] = freeze(shape)  # a value that the schema of today refuses has no shape
    return found


def changes_between(old: Written, new: Written) -> tuple[Change, ...]:
    """Return what turns ``old`` into ``new``: values that differ, came (no old) or went (no new)."""
    changes = []
    for place in [*new, *(place for place in old if place not in new)]:
        before, after = old.get(place, ABSENT), new.get(place, ABSENT)
        if not same(before, after):
            key, at = place
            changes.append(Change(key=key, context=dict(at), old=before, new=after, requested=after))
    return tuple(changes)


def documents_at(written: Written, current: Mapping[str, Document]) -> dict[str, Document]:
    """Build documents that hold ``written``, with the dimensions of ``current``; namespaces that
    ``written`` does not mention are left out."""
    values: dict[str, dict[str, Any]] = {}
    overrides: dict[str, dict[At, dict[str, Any]]] = {}
    for (key, at), value in written.items():
        namespace, path = split_key(key)
        mine = values.setdefault(namespace, {})
        (overrides.setdefault(namespace, {}).setdefault(at, {}) if at else mine)[path] = value
    return {
        name: Document(
            name,
            values[name],
            [(dict(at), own) for at, own in overrides.get(name, {}).items()],
            current[name].dimensions if name in current else (),
            "",
            "",
        )
        for name in sorted(values)
    }
