"""Is a schema itself right? Held to JSON Schema 2020-12 and to the form that a namespace's schema has."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from paramstore._schema_safe import TOO_DEEP, check_safe, check_size
from paramstore._values import nearest
from paramstore.errors import SchemaError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError as JsonSchemaError
    from jsonschema.protocols import Validator

PLAIN = {
    "type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "default", "description", "title",
    "enum", "x-param", "examples", "$comment",
}  # fmt: skip
NAMESPACE = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]*")  # as the segments of a key, see the meta-schema
_ANNOTATIONS = {
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$defs",
    "$id", "$anchor", "$dynamicAnchor", "then", "else", "minContains", "maxContains", "contentEncoding",
    "contentMediaType", "contentSchema", "x-param", "x-constraints",
}  # fmt: skip
_META = os.path.join(os.path.dirname(__file__), "namespace.metaschema.json")
_NUMBER = (int, float)
_WORDS: dict[str, type | tuple[type, ...]] = {
    "type": str, "description": str, "title": str, "minimum": _NUMBER, "maximum": _NUMBER, "x-param": dict,
    "default": object,
}  # fmt: skip
_LIMITS: dict[str, tuple[type | tuple[type, ...], float]] = {
    "decimals": (int, 0), "max_step": (_NUMBER, 1e-300), "max_step_relative": (_NUMBER, 1e-300),
    "cooldown_s": (_NUMBER, 0), "min_samples": (int, 0), "max_drift": (_NUMBER, 1e-300),
}  # fmt: skip


def read_schema(raw: bytes, file: str) -> dict[str, Any]:
    """Return the JSON object in the bytes of a schema file. Raises ``SchemaError``."""
    try:
        data = json.loads(
            raw.decode("utf-8-sig"),
            parse_constant=_no_constant,
            parse_float=_finite_float,
            object_pairs_hook=_no_duplicates,
        )
    except json.JSONDecodeError as error:
        raise SchemaError(
            file, f"is not JSON: {error.msg} (column {error.colno})", line=error.lineno
        ) from None
    except RecursionError:
        raise SchemaError(file, TOO_DEEP) from None
    except (UnicodeDecodeError, ValueError) as error:
        raise SchemaError(file, f"is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise SchemaError(file, "must be a JSON object")
    return data


def form_errors(raw: Mapping[str, Any], file: str) -> list[SchemaError]:
    """Return everything in which a schema is not JSON Schema 2020-12, or not the form of a namespace; and
    misspelt keywords, which JSON Schema passes over in silence: a `maximun` bounds nothing."""
    from jsonschema import Draft202012Validator as Validator
    from jsonschema.exceptions import best_match

    try:
        check_size(raw, file)
        check_safe(raw, file)
    except SchemaError as error:
        return [error]

    def errors(validator: Validator, say: Callable[[JsonSchemaError], str]) -> list[SchemaError]:
        best = [best_match([error]) or error for error in validator.iter_errors(raw)]
        places = ["/" + "/".join(map(str, error.absolute_path)) for error in best]
        return [SchemaError(file, say(e), place=place) for e, place in zip(best, places, strict=True)]

    formats = Validator.FORMAT_CHECKER  # regular expressions
    standard = errors(Validator(Validator.META_SCHEMA, format_checker=formats), lambda e: str(e.message))
    ours = errors(_meta_validator(), _form_problem)
    told = {error.place for error in ours}
    found = [*(error for error in standard if error.place not in told), *ours]
    known = {*Validator.VALIDATORS, *_ANNOTATIONS}
    return found or list(_misspelt(raw["properties"]["values"], file, "/properties/values", known))


def _misspelt(node: Mapping[str, Any], file: str, place: str, known: set[str]) -> Iterator[SchemaError]:
    for word in node.keys() - known:
        close = nearest(word, known)
        if close or not word.startswith("x-"):  # other x- keywords are other tools'
            hint = f"; did you mean `{close[0]}`?" if close else ""
            yield SchemaError(file, f"the keyword `{word}` means nothing{hint}", place=place)
    if "x-constraints" in node and place != "/properties/values":
        yield SchemaError(file, "`x-constraints` has a meaning on `values` only", place=place)
    if "x-param" not in node:
        for name, child in node.get("properties", {}).items():
            yield from _misspelt(child, file, f"{place}/properties/{name}", known)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def _finite_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_constant(text)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} occurs twice in one object")
    return found


@cache
def _meta_validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    with open(_META, encoding="utf-8") as file:
        return Draft202012Validator(json.load(file))


def check_form(raw: Mapping[str, Any], file: str) -> None:
    from jsonschema.exceptions import best_match

    check_size(raw, file)
    unusual = _unusual(raw)
    check_safe(unusual, file)
    error = best_match(_meta_validator().iter_errors(unusual))
    if error is not None:
        place = "/" + "/".join(map(str, error.absolute_path))
        raise SchemaError(file, _form_problem(error), place=place)
    for path, leaf in leaves(raw["properties"]["values"], ()):
        if not PLAIN.issuperset(leaf):
            _check_standard(path, leaf, file)


def _unusual(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema without those parameters that are obviously right, all but the first.

    The meta-schema takes a third of a millisecond for each parameter, and nearly all are alike.
    """
    try:
        properties = raw["properties"]
        values = _unusual_group(properties["values"])
        return {**raw, "properties": {**properties, "values": values}}
    except (KeyError, TypeError, AttributeError):
        return raw  # so wrong that only the whole of it can be judged


def _unusual_group(group: Mapping[str, Any]) -> Mapping[str, Any]:
    kept: dict[str, Any] = {}
    plain = False
    for name, node in group["properties"].items():
        if "properties" in node and "x-param" not in node:
            kept[name] = _unusual_group(node)
        elif not plain or not NAMESPACE.fullmatch(name) or not _is_plain(node):
            kept[name] = node
            plain = True
    return {**group, "properties": kept}


def _is_plain(leaf: Mapping[str, Any]) -> bool:
    if leaf.get("type") not in ("number", "integer", "boolean", "string"):
        return False
    for word, value in leaf.items():
        if (
            word not in _WORDS
            or not isinstance(value, _WORDS[word])
            or (word != "default" and type(value) is bool)
        ):
            return False
    return all(_is_plain_limit(word, value) for word, value in leaf.get("x-param", {}).items())


def _is_plain_limit(word: str, value: Any) -> bool:
    if word in ("unit", "owner", "learnable"):
        return type(value) is (bool if word == "learnable" else str) and value != ""
    if word not in _LIMITS or type(value) not in (int, float):
        return False
    kind, least = _LIMITS[word]
    number: float = value
    return isinstance(value, kind) and number >= least and (word != "decimals" or number <= 15)


def _form_problem(error: JsonSchemaError) -> str:
    if error.validator == "not" and "multipleOf" in str(error.validator_value):
        return "`multipleOf` is not allowed: binary fractions make it fail (0.35 is no multiple of 0.05); use x-param.decimals"
    if error.validator == "anyOf" and error.absolute_path:
        return f"`{error.absolute_path[-1]}` needs `type` or `enum`"
    if error.validator == "oneOf":
        return (
            "a constraint is either `sum` or `linear` with `equals`, `minimum` or `maximum`, or `descending`, or "
            "`ascending`, these two with or without `strict` and `gap`"
        )
    return str(error.message)


def _check_standard(path: str, leaf: Mapping[str, Any], file: str) -> None:
    """Hold a parameter with unusual keywords to the 2020-12 meta-schema (too slow to do for every one)."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError as JsonSchemaError

    try:
        formats = Draft202012Validator.FORMAT_CHECKER  # regular expressions
        Draft202012Validator.check_schema(leaf, formats)
    except JsonSchemaError as error:
        inner = "/".join(map(str, error.absolute_path))
        raise SchemaError(
            file, str(error.message), place=place_of(path, *([inner] if inner else []))
        ) from None
    if _refers(leaf):
        problem = "a parameter is written out in full: `$ref` is not followed"
        raise SchemaError(file, problem, place=place_of(path))


def _refers(node: Any) -> bool:
    if isinstance(node, dict):
        return any(name in ("$ref", "$dynamicRef") or _refers(inner) for name, inner in node.items())
    return isinstance(node, list) and any(map(_refers, node))


def place_of(path: str, *more: str) -> str:
    steps = [step for name in path.split(".") for step in ("properties", name)]
    return "/" + "/".join(["properties", "values", *steps, *more])


def leaves(group: Mapping[str, Any], prefix: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, node in group["properties"].items():
        here = (*prefix, name)
        if "properties" in node and "x-param" not in node:
            yield from leaves(node, here)
        else:
            yield ".".join(here), node
