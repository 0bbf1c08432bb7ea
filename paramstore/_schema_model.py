"""From a pydantic model to the schema of a namespace. The doorkeeper of pydantic for models of users.

A model is another way to write a schema down, no other way to hold values: ``schemas/`` stays the truth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, SchemaError, to_jsonable_python

from paramstore.errors import ParamstoreError

DRAFT = "https://json-schema.org/draft/2020-12/schema"
DIMENSIONS, CONSTRAINTS, WORDS = "x-dimensions", "x-constraints", "x-words"
KINDS: dict[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
ORDER = (
    "title", "type", "enum", "items", "prefixItems", "minItems", "maxItems", "additionalProperties", "pattern", "minLength",
    "maxLength", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "default", "description", "examples", "x-param",
)  # fmt: skip
ORDER_OF_PARAM = (
    "unit", "learnable", "decimals", "max_step", "max_step_relative", "cooldown_s", "min_samples", "owner", "max_drift", "evidence",
)  # fmt: skip
# The nodes around the parameters that may hold words of their own.
FRAME: dict[str, tuple[str, ...]] = {
    "root": (),
    "schema": ("properties", "schema"),
    "values": ("properties", "values"),
    "overrides": ("properties", "overrides"),
    "items": ("properties", "overrides", "items"),
    "at": ("properties", "overrides", "items", "properties", "at"),
}


class ModelError(ParamstoreError):
    """A model that cannot be the schema of a namespace; nothing was written."""


def is_model(thing: object) -> bool:
    """Tell whether ``thing`` is a class of pydantic that has parameters or groups."""
    return isinstance(thing, type) and issubclass(thing, BaseModel)


def is_taken(name: str) -> bool:
    """Tell whether every model has an attribute of this name already."""
    return hasattr(BaseModel, name) or name.startswith("model_")


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON of the schema that ``model`` describes. Raises ``ModelError``."""
    extra = _extra(model.model_config.get("json_schema_extra"), model.__name__)
    own = {word: extra.pop(word) for word in (DIMENSIONS, CONSTRAINTS, WORDS) if word in extra}
    values = _group(model, None, model.__name__, ())
    for word in ("title", "description", *extra):
        values.pop(word, None)
    if CONSTRAINTS in own:
        values[CONSTRAINTS] = own[CONSTRAINTS]
    about = {**_title_and_text(model), **extra}
    schema = frame(about, values, own.get(DIMENSIONS))
    _put_words(schema, own.get(WORDS, {}))
    return schema


def frame(
    about: Mapping[str, Any], values: Mapping[str, Any], dimensions: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return a schema with everything that is the same in all of them around ``values``."""
    properties: dict[str, Any] = {"schema": {"const": 1}, "values": values}
    if dimensions is not None:
        at = {"type": "object", "minProperties": 1, "additionalProperties": False}
        items = {
            "type": "object",
            "required": ["at", "values"],
            "additionalProperties": False,
            "properties": {"at": {**at, "properties": dimensions}, "values": {"$ref": "#/properties/values"}},
        }
        properties["overrides"] = {"type": "array", "items": items}
    head = {"$schema": DRAFT, **about, "type": "object", "required": ["schema", "values"]}
    return {**head, "additionalProperties": False, "properties": properties}


def _put_words(schema: dict[str, Any], words: Mapping[str, Mapping[str, Any]]) -> None:
    for label, more in words.items():
        node = schema
        for step in FRAME[label]:
            node = node[step]
        for word, value in more.items():
            node[word] = value
            if value is None:
                del node[word]


# --- groups and parameters --------------------------------------------------------------------------


def _group(
    model: type[BaseModel], defaults: BaseModel | None, path: str, around: tuple[type[BaseModel], ...]
) -> dict[str, Any]:
    """Return the node of a group. ``defaults``: an instance whose values are the defaults of its parameters."""
    if model in around:
        raise ModelError(f"{path}: a group cannot stand within itself. Nothing was written.")
    properties: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        here = f"{path}.{name}"
        inner: Any = field.annotation
        known = getattr(defaults, name) if defaults is not None else PydanticUndefined
        if is_model(inner):
            given = known if known is not PydanticUndefined else _default_of(field, inner)
            instance = given if isinstance(given, BaseModel) else None
            node = _group(inner, instance, here, (*around, model))
            node.update(_given(description=field.description, title=field.title))
        else:
            node = leaf_of(field, here, known)
        properties[field.alias or name] = node
    if not properties:
        raise ModelError(f"{path}: a group needs at least one parameter. Nothing was written.")
    head = {**_title_and_text(model), "type": "object", "additionalProperties": False}
    extra = _extra(model.model_config.get("json_schema_extra"), path) if around else {}
    return {**head, **extra, "properties": properties}


def _title_and_text(model: type[BaseModel]) -> dict[str, Any]:
    import inspect

    text = inspect.cleandoc(model.__doc__) if model.__doc__ else None
    return _given(title=model.model_config.get("title"), description=text)


def _given(**words: Any) -> dict[str, Any]:
    return {word: value for word, value in words.items() if value is not None}


def _extra(given: Any, path: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ModelError(f"{path}: json_schema_extra must be a dictionary here. Nothing was written.")
    return dict(given)


def leaf_of(field: FieldInfo, path: str = "", default: Any = PydanticUndefined) -> dict[str, Any]:
    """Return the schema of one parameter: what its annotation says, then what its ``Field`` says."""
    leaf = _of_annotation(field, path)
    default = _default_of(field, None) if default is PydanticUndefined else default
    if default is not PydanticUndefined:
        leaf["default"] = _plain(default, path)
    words = {"title": field.title, "description": field.description, "examples": field.examples}
    leaf |= _given(**words, deprecated=field.deprecated)
    return ordered(leaf | _extra(field.json_schema_extra, path))


def ordered(leaf: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parameter with its words in the order in which people read them."""
    found = _sorted(leaf, ORDER)
    if isinstance(found.get("x-param"), dict):
        found["x-param"] = _sorted(found["x-param"], ORDER_OF_PARAM)
    return found


def _sorted(node: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    place = {word: number for number, word in enumerate(order)}
    return dict(sorted(node.items(), key=lambda item: place.get(item[0], len(place))))


def _default_of(field: FieldInfo, group: type[BaseModel] | None) -> Any:
    factory = field.default_factory
    if factory is None:
        return field.default
    return PydanticUndefined if factory is group else factory()  # type: ignore[call-arg]


def _plain(value: Any, path: str) -> Any:
    try:
        return json.loads(json.dumps(to_jsonable_python(value), allow_nan=False))
    except ValueError as error:
        raise ModelError(
            f"{path}: the default {value!r} is not plain data: {error}. Nothing was written."
        ) from None


def _of_annotation(field: FieldInfo, path: str) -> dict[str, Any]:
    annotation: Any = field.annotation
    full: Any = Annotated[(annotation, *field.metadata)] if field.metadata else annotation
    try:
        found = TypeAdapter(full).json_schema()
    except (PydanticUserError, SchemaError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{path}: its type has no JSON Schema: {reason}. Nothing was written.") from None
    if "$defs" in found:
        raise ModelError(
            f"{path}: a parameter holds plain data, no models; write the model as a group, a field of its own type. "
            "Nothing was written."
        )
    _without_noise(found)
    if get_origin(annotation) is Literal:
        found["enum"] = found.pop("enum", None) or [found.pop("const")]
        found.pop("type", None)  # the choices say it
    return dict(found)


def _without_noise(node: Any) -> None:
    """Take out what pydantic adds and says nothing: titles made of names, and rules that allow everything."""
    for inner in _inner(node):
        _without_noise(inner)
    if isinstance(node, dict):
        node.pop("title", None)
        if node.get("items") == {}:
            del node["items"]
        if node.get("additionalProperties") is True:
            del node["additionalProperties"]


def _inner(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from (node[word] for word in ("items", "additionalProperties") if word in node)
        for word in ("prefixItems", "anyOf"):
            yield from node.get(word, ())


# --- drift ------------------------------------------------------------------------------------------


def same_schema(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Tell whether two schemas say the same, parameters and dimensions in the same order."""
    return a == b and _order(a) == _order(b)


def _order(node: Any) -> list[Any]:
    if isinstance(node, Mapping):
        inner = [[name, _order(value)] for name, value in node.items() if isinstance(value, Mapping | list)]
        names = list(node.get("properties", {})) if isinstance(node.get("properties"), Mapping) else []
        return [names, sorted(inner, key=lambda pair: str(pair[0]))]
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [_order(item) for item in node]
    return []


def schema_bytes(schema: Mapping[str, Any]) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
