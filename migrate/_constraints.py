"""Rules that values show by themselves: weights that add up to one, tiers that descend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from paramstore.migrate._words import parts

WEIGHTS = {"weight", "weights", "share", "allocation", "mix", "alloc"}
TIERS = {"tier", "tiers", "threshold", "thresholds", "curve", "levels", "ladder", "score", "min"}


def shown(namespace: str, values: Mapping[tuple[str, ...], Any]) -> list[dict[str, Any]]:
    """Return constraints for a namespace (paths relative to it, in order of the source)."""
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for path, value in values.items():
        if type(value) in (int, float):
            groups.setdefault(path[:-1], []).append(path)
    found = [rule for group, paths in groups.items() if (rule := _of_group(namespace, group, paths, values))]
    return found + _of_tiers(groups, values)


def _of_group(
    namespace: str,
    group: tuple[str, ...],
    paths: Sequence[tuple[str, ...]],
    values: Mapping[tuple[str, ...], Any],
) -> dict[str, Any] | None:
    numbers = [values[path] for path in paths]
    words = {word for part in group or (namespace,) for word in parts(part)}
    if len(numbers) >= 3 and words & WEIGHTS and min(numbers) >= 0 and abs(sum(numbers) - 1) < 1e-9:
        return {"sum": [".".join((*group, "*"))], "equals": 1}
    if group and len(numbers) >= 3 and words & TIERS and all(a > b for a, b in pairwise(numbers)):
        return {"descending": [".".join(path) for path in paths], "strict": True}
    return None


def _of_tiers(
    groups: Mapping[tuple[str, ...], Sequence[tuple[str, ...]]], values: Mapping[tuple[str, ...], Any]
) -> list[dict[str, Any]]:
    """Find what descends from tier to tier: ``curve.high.min``, ``curve.medium.min``, ``curve.low.min``."""
    columns: dict[tuple[tuple[str, ...], str], list[tuple[str, ...]]] = {}
    for group, paths in groups.items():
        for path in paths:
            if len(group) > 1:
                columns.setdefault((group[:-1], path[-1]), []).append(path)
    found = []
    for (_, name), paths in columns.items():
        numbers = [values[path] for path in paths]
        if len(numbers) >= 3 and set(parts(name)) & TIERS and all(a > b for a, b in pairwise(numbers)):
            found.append({"descending": [".".join(path) for path in paths], "strict": True})
    return found
