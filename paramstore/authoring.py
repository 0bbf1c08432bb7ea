"""Write the schema and values files of a namespace from a program: what a migration or a generator needs.

>>> from paramstore.authoring import Parameter, namespace_files
>>> files = namespace_files("risk", [Parameter(("cap",), 0.1, "number", minimum=0.0, maximum=0.2)])
>>> sorted(files)
['params/risk.yaml', 'schemas/risk.schema.json']
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paramstore import _files, _init, _yaml
from paramstore._init import ignoring_runtime
from paramstore._schema import Schema, load_schema
from paramstore._values import ABSENT, same, thaw
from paramstore.errors import ValidationError

__all__ = ["Namespace", "Param", "Parameter", "ignoring_runtime", "namespace_files", "table_schema"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter to write: ``path`` below its namespace, today's value, JSON Schema ``type``, inclusive
    bounds, unit, description, and the digits behind the point that commits keep (all, when not given)."""

    path: tuple[str, ...]
    value: Any
    type: str
    minimum: float | int | None = None
    maximum: float | int | None = None
    unit: str = ""
    description: str = ""
    learnable: bool = True
    decimals: int | None = None


def Param(  # noqa: N802 - reads as a record in the field of a model
    *,
    unit: str | None = None,
    learnable: bool | None = None,
    decimals: int | None = None,
    max_step: float | None = None,
    max_step_relative: float | None = None,
    cooldown_s: float | None = None,
    min_samples: int | None = None,
    owner: str | None = None,
    max_drift: float | None = None,
    evidence: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return what a pydantic field says of a parameter: ``Field(0.5, ge=0, json_schema_extra=Param(unit="score"))``.

    The words are those of ``x-param`` (docs/formats.md): steps and drift in the unit, ``max_step_relative`` a fraction.
    """
    given: dict[str, Any] = {
        "unit": unit,
        "learnable": learnable,
        "decimals": decimals,
        "max_step": max_step,
        "max_step_relative": max_step_relative,
        "cooldown_s": cooldown_s,
        "min_samples": min_samples,
        "owner": owner,
        "max_drift": max_drift,
        "evidence": None if evidence is None else list(evidence),
    }
    return {"x-param": {word: value for word, value in given.items() if value is not None}}


def Namespace(  # noqa: N802 - reads as a record in the configuration of a model
    *,
    dimensions: Mapping[str, type | Sequence[Any] | Mapping[str, Any]] | None = None,
    constraints: Iterable[Mapping[str, Any]] | None = None,
    words: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return what the model of a namespace says beside its parameters: ``ConfigDict(json_schema_extra=Namespace(…))``.

    ``dimensions``, least specific first: a type (``str``), the values allowed (``["paper", "live"]``), or JSON Schema.
    ``constraints`` are those of ``x-constraints`` (docs/formats.md). ``words`` are further ones for the nodes around the
    parameters, by the node's name: ``values``, ``overrides``, ``items``, ``at``; ``None`` takes one out.
    """
    given: dict[str, Any] = {}
    if dimensions is not None:
        given["x-dimensions"] = {name: _dimension(allowed) for name, allowed in dimensions.items()}
    if constraints is not None:
        given["x-constraints"] = [dict(each) for each in constraints]
    if words is not None:
        given["x-words"] = {name: dict(more) for name, more in words.items()}
    return given


def _dimension(allowed: type | Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(allowed, type):
        names = {str: "string", int: "integer", float: "number", bool: "boolean"}
        return {"type": names.get(allowed, allowed.__name__)}
    return dict(allowed) if isinstance(allowed, Mapping) else {"enum": list(allowed)}


def namespace_files(
    namespace: str,
    parameters: Sequence[Parameter],
    constraints: Iterable[Mapping[str, Any]] = (),
    existing: tuple[bytes, bytes] | None = None,
) -> dict[str, bytes]:
    """Return the bytes of ``schemas/<namespace>.schema.json`` and ``params/<namespace>.yaml``.

    ``existing`` are the bytes of both as they stand: what they hold stays, and a parameter that is there
    already must have the same value. Raises ``ValidationError`` (nothing was written) when it has another
    one, and ``InvalidFileError`` when the result would break its own rules.
    """
    schema_file, values_file = f"schemas/{namespace}.schema.json", f"params/{namespace}.yaml"
    if existing is None:
        raw_schema = json.loads(_init.frame(namespace)[schema_file])
        raw_schema.pop("$comment", None)
        raw_schema["title"] = namespace.replace("_", " ").capitalize()
        raw_schema["description"] = "Moved here from source."
        raw_schema["properties"]["values"].update(properties={}, **{"x-constraints": []})
        known: Schema | None = None
    else:
        known = _compiled(namespace, existing[0])
        raw_schema = json.loads(existing[0].decode("utf-8-sig"))
    fresh = _missing(parameters, known, existing, namespace, values_file)
    node = raw_schema["properties"]["values"]
    for parameter in fresh:
        _put(node, parameter)
    _constrain(node, constraints)
    schema_bytes = _json(raw_schema) if fresh or existing is None else existing[0]
    schema = _compiled(namespace, schema_bytes)
    if existing is None:
        values = _init.values_text(namespace, schema.defaults()).encode()
    elif fresh:
        text = _yaml.parse(existing[1], values_file)
        values = text.completed({("values", *p.path): _plain(p.value) for p in fresh}).raw
    else:
        values = existing[1]
    schema.document(_yaml.parse(values, values_file).data, values_file, _files.digest(values))
    return {schema_file: schema_bytes, values_file: values}


def _compiled(namespace: str, raw: bytes) -> Schema:
    return load_schema(namespace, raw, f"schemas/{namespace}.schema.json", _files.digest(raw))


def _missing(
    parameters: Sequence[Parameter],
    known: Schema | None,
    existing: tuple[bytes, bytes] | None,
    namespace: str,
    file: str,
) -> list[Parameter]:
    if known is None or existing is None:
        return list(parameters)
    document = known.document(_yaml.parse(existing[1], file).data, file, "")
    fresh, problems = [], []
    for parameter in parameters:
        path = ".".join(parameter.path)
        stands = document.values.get(path, ABSENT)
        if stands is ABSENT:
            fresh.append(parameter)
        elif not same(_plain(thaw(stands)), _plain(parameter.value)):
            problems.append(
                f"`{namespace}.{path}` is {stands!r} in {file} already, and {parameter.value!r} here: give one of them "
                "another key."
            )
    if problems:
        raise ValidationError(problems, "Nothing was written.")
    return fresh


def _put(node: dict[str, Any], parameter: Parameter) -> None:
    for step in parameter.path[:-1]:
        node = node["properties"].setdefault(
            step, {"type": "object", "additionalProperties": False, "properties": {}}
        )
        if "properties" not in node:
            raise ValidationError(
                [f"`{'.'.join(parameter.path)}` would stand below a parameter."], "Nothing was written."
            )
    if "properties" in node["properties"].get(parameter.path[-1], {}):
        raise ValidationError(
            [f"`{'.'.join(parameter.path)}` would be a parameter and a group of others."],
            "Nothing was written.",
        )
    leaf: dict[str, Any] = (
        dict(table_schema(parameter.value)) if parameter.type == "array" else {"type": parameter.type}
    )
    if parameter.minimum is not None:
        leaf["minimum"] = parameter.minimum
    if parameter.maximum is not None:
        leaf["maximum"] = parameter.maximum
    leaf["default"] = _plain(parameter.value)
    leaf["description"] = parameter.description or parameter.path[-1].replace("_", " ").capitalize() + "."
    about: dict[str, Any] = {"unit": parameter.unit} if parameter.unit else {}
    if parameter.decimals is not None:
        about["decimals"] = parameter.decimals
    leaf["x-param"] = {**about, "learnable": parameter.learnable}
    node["properties"][parameter.path[-1]] = leaf


def _constrain(node: dict[str, Any], constraints: Iterable[Mapping[str, Any]]) -> None:
    stand = node.setdefault("x-constraints", [])
    stand += [dict(each) for each in constraints if dict(each) not in stand]


def table_schema(value: Any) -> dict[str, Any]:
    """Return the JSON Schema of a list or tuple of plain data, such that reading gives the same containers
    and the same kinds of numbers. Raises ``ValidationError`` where no schema can say that."""
    return _schema_of([value])


def _schema_of(values: list[Any]) -> dict[str, Any]:
    kinds = {type(value) for value in values}
    if kinds == {tuple}:
        if len({len(value) for value in values}) != 1 or not values[0]:
            raise ValidationError(
                ["Tuples of different length, or empty ones, cannot be one column."], "Nothing was written."
            )
        columns = [_schema_of([value[index] for value in values]) for index in range(len(values[0]))]
        return {"type": "array", "prefixItems": columns, "minItems": len(columns), "maxItems": len(columns)}
    if kinds == {list}:
        inner = [item for value in values for item in value]
        return {"type": "array", "items": _schema_of(inner) if inner else {}}
    names = {float: "number", int: "integer", str: "string", bool: "boolean"}
    if len(kinds) == 1 and (kind := next(iter(kinds))) in names:
        return {"type": names[kind]}
    if kinds & {list, tuple, dict}:
        raise ValidationError(
            ["A column that holds containers and other values has no schema."], "Nothing was written."
        )
    return {}  # several kinds of scalars: each stays as it is


def _plain(value: Any) -> Any:
    """Return tuples as lists, which is what YAML and JSON know."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
