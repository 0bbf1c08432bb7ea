"""Changes of parameters as edits of one file's text, which touch no other byte. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paramstore._model import ABSENT, Change
from paramstore._values import thaw
from paramstore._yaml import YamlText


def splice(text: YamlText, changes: list[Change]) -> YamlText:
    """Return the text with ``changes`` made and no other byte touched."""
    sets: dict[tuple[str | int, ...], Any] = {}
    removes: list[tuple[str | int, ...]] = []
    fresh: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for change in changes:
        path = tuple(change.key.split(".")[1:])
        if not change.context:
            sets["values", *path] = _as_written(thaw(change.new), text.data, ("values", *path))
            continue
        index = _override_index(text, change.context)
        if change.new is ABSENT:
            assert index is not None
            removes.append(("overrides", index, "values", *path))
        elif index is not None:
            place: tuple[str | int, ...] = ("overrides", index, "values", *path)
            sets[place] = _as_written(thaw(change.new), text.data, place)
        else:
            at = dict(change.context)
            own = next((values for where, values in fresh if where == at), None)
            if own is None:
                own = {}
                fresh.append((at, own))
            _put(own, path, thaw(change.new))
    return text.edited(sets, fresh, removes)


def _as_written(value: Any, data: Any, path: tuple[str | int, ...]) -> Any:
    """Keep an integer that stands for a float inside a list or mapping as it is written: to the schema both
    are the same number, and lines that nobody changed must not."""
    for step in path:
        if isinstance(data, dict) and step not in data:
            return value
        data = data[step]
    return _alike(value, data)


def _alike(value: Any, old: Any) -> Any:
    if type(value) is float and type(old) is int and value == old:
        return old
    if isinstance(value, list) and isinstance(old, list):
        kept = [_alike(new, before) for new, before in zip(value, old, strict=False)]
        return kept + value[len(kept) :]
    if isinstance(value, dict) and isinstance(old, dict):
        return {name: _alike(new, old.get(name)) for name, new in value.items()}
    return value


def _override_index(text: YamlText, at: Mapping[str, Any]) -> int | None:
    """Find the entry for a context in the text itself: a document does not keep entries without values,
    and a place counted there would write into the wrong entry."""
    for index, item in enumerate(text.data.get("overrides", ())):
        if item["at"] == at:
            return index
    return None


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value
