"""The form of the record of what was applied."""

from __future__ import annotations

from typing import Any


def is_record(data: Any) -> bool:
    """Tell whether a record has the form that ``record_of`` gives it."""
    files = data.get("files")
    if not isinstance(files, dict) or not isinstance(data.get("store"), str):
        return False
    return all(isinstance(layers, list) and all(map(_is_layer, layers)) for layers in files.values())


def _is_layer(layer: Any) -> bool:
    if not isinstance(layer, dict) or not all(
        isinstance(layer.get(n), str) for n in ("before", "after", "alias")
    ):
        return False
    rows = [(layer.get("sites"), (int, int, str)), (layer.get("edits"), (int, int, str, str, str, str, str))]
    return all(
        isinstance(items, list)
        and all(isinstance(row, list) and tuple(map(type, row)) == kinds for row in items)
        for items, kinds in rows
    )
