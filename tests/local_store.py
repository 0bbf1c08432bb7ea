"""Stores in files, for tests: written whole, and old enough for a reader to believe them at once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Json = Mapping[str, Any]


def group(properties: Json, **more: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties, **more}


def learnable(properties: Json) -> dict[str, Any]:
    """Return the parameters with those declared learnable that say nothing of it: anyone may write them."""
    found = {}
    for name, node in properties.items():
        if "properties" in node and "x-param" not in node:
            found[name] = {**node, "properties": learnable(node["properties"])}
        else:
            found[name] = {**node, "x-param": {"learnable": True, **node.get("x-param", {})}}
    return found


def free_for_all(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return a store's files with its schemas rid of what binds learners: for tests that are about something else."""
    return {name: _freed(raw) if name.endswith(".json") else raw for name, raw in files.items()}


def _freed(raw: bytes) -> bytes:
    content = json.loads(raw)

    def free(node: Any) -> None:
        for child in node.values():
            if isinstance(child, dict):
                free(child)
        if "x-param" in node:
            kept = {name: node["x-param"][name] for name in ("unit", "decimals") if name in node["x-param"]}
            node["x-param"] = {**kept, "learnable": True}

    free(content["properties"]["values"])
    return json.dumps(content).encode()


def schema(properties: Json, dimensions: Json | None = None, constraints: Any = ()) -> dict[str, Any]:
    """Return a namespace's schema with these parameters, dimensions and constraints."""
    parts: dict[str, Any] = {"schema": {"const": 1}, "values": group(learnable(properties))}
    if constraints:
        parts["values"]["x-constraints"] = list(constraints)
    if dimensions is not None:
        at = {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": dimensions}
        items = group({"at": at, "values": {"$ref": "#/properties/values"}}, required=["at", "values"])
        parts["overrides"] = {"type": "array", "items": items}
    return group(parts, required=["schema", "values"])


def number(default: float, **more: Any) -> dict[str, Any]:
    return {"type": "number", "minimum": 0.0, "maximum": 10.0, "default": default, **more}


def age(path: Path) -> None:
    """Make a file ten seconds older than now, so that nobody waits for its save to end."""
    then = time.time() - 10
    os.utime(path, (then, then))


def write(path: Path, text: str | bytes) -> Path:
    """Write a file in place, as old as ``age`` makes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    age(path)
    return path


def write_store(root: Path, schemas: Mapping[str, Json], values: Mapping[str, Json | str]) -> Path:
    """Write ``schemas`` and ``values`` (plain data, or the text itself) and return ``root``."""
    (root / "params").mkdir(parents=True)
    (root / "schemas").mkdir()
    for name, content in schemas.items():
        write(root / "schemas" / f"{name}.schema.json", json.dumps(content, indent=1))
    for name, data in values.items():
        path = root / "params" / f"{name}.yaml"
        if isinstance(data, str):
            path.write_text(data)
        else:
            with path.open("w") as file:
                YAML(typ="safe", pure=True).dump(dict(data), file)
        age(path)
    return root
