"""Why a read gives what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paramstore._environment import variable
from paramstore._layers import check_context, matching
from paramstore._model import Entry, Explanation, LayerValue, Spec
from paramstore._reads import Snapshot
from paramstore._state import split_key


def explain(
    snapshot: Snapshot,
    key: str,
    context: Mapping[str, Any],
    spec: Spec,
    above: tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]],
    last_change: Entry | None,
) -> Explanation:
    """Collect every layer's value for ``key``; ``above`` holds the environment and the overrides."""
    known = check_context(context, snapshot.state.dimensions())
    namespace, path = split_key(key)
    document = snapshot.state.documents[namespace]
    file = f"params/{namespace}.yaml"
    layers = [LayerValue("yaml", document.values[path], file, True)]
    applying = matching(document, known)
    rest = [index for index in range(len(document.overrides)) if index not in applying]
    for index in [*rest, *applying]:
        at, own = document.overrides[index]
        if path in own:
            where = ", ".join(f"{name}={value}" for name, value in at.items())
            layers.append(LayerValue("context", own[path], f"{file} at {where}", index in applying))
    environment, overrides = above
    if key in environment:
        layers.append(LayerValue("environment", environment[key], variable(key), True))
    for layer in overrides:
        if key in layer:
            layers.append(LayerValue("override", layer[key], "in this process", True))
    value = snapshot.in_context(known)[key]
    return Explanation(key, value, known, snapshot.revision, tuple(layers), spec, last_change)
