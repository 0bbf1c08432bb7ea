"""From the schemas of namespaces to the source of pydantic models; ``_schema_model`` is the way back. Pure."""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from pydantic import Field
from pydantic.fields import FieldInfo

from paramstore import _schema_model as model
from paramstore._schema_model import CONSTRAINTS, FRAME, KINDS, ModelError

HEAD = '''\
"""Parameters as pydantic models: `paramstore schema from MODULE:CLASS` writes the schema of each from here."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from paramstore.authoring import Namespace, Param
'''
WORDS_OF_FIELD = {
    "minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt", "title": "title",
    "description": "description", "examples": "examples", "pattern": "pattern", "minLength": "min_length",
    "maxLength": "max_length",
}  # fmt: skip
ITEMS = {"minItems": "min_length", "maxItems": "max_length"}
USED = {"Any", "Literal", "BaseModel", "ConfigDict", "Field", "Namespace", "Param", "list", "tuple", "dict", "float", "int", "bool", "str"}  # fmt: skip
PLAIN_TEXT = re.compile(r'[^\\"\s](?:[^\\"\n]*[^\\"\s])?')  # what a docstring gives back as it is


def source_of(schemas: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of a module with one model for each namespace, each group a class of its own.

    Raises ``ModelError`` for a schema that no model can give back.
    """
    taken: set[str] = set(USED)
    parts = [HEAD]
    for namespace in schemas:
        parts += _classes(namespace, schemas[namespace], taken)
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts)


def same_source(a: str, b: str) -> bool:
    """Tell whether two modules differ in layout and comments at most."""
    try:
        return ast.dump(ast.parse(a)) == ast.dump(ast.parse(b))
    except (SyntaxError, ValueError):
        return False


def _classes(namespace: str, raw: Mapping[str, Any], taken: set[str]) -> list[str]:
    values = raw["properties"]["values"]
    at: Any = raw
    for step in FRAME["at"]:
        at = at.get(step, {})
    dimensions = at.get("properties") if "overrides" in raw["properties"] else None
    own = _frame_words(raw, values, dimensions)
    root = own.pop("root", {})
    about = {word: value for word, value in raw.items() if word in ("title", "description")}
    extra = {word: value for word, value in root.items() if value is not None and word not in about}
    own = {**own, "root": {word: None for word, value in root.items() if value is None}}
    given = {
        "dimensions": None if dimensions is None else Source(_dimensions(dimensions)),
        "constraints": values.get(CONSTRAINTS),
        "words": {label: words for label, words in own.items() if words} or None,
    }
    text = ", ".join(
        f"{word}={value if isinstance(value, Source) else _value(value)}"
        for word, value in given.items()
        if value is not None
    )
    settings = _merged(f"Namespace({text})" if text else "", extra)
    found: list[str] = []
    _class(_class_name(namespace, taken), values, about, settings, taken, found)
    if model.schema_of(_compiled(found)) != raw:  # never let a model stand for what it does not say
        raise ModelError(
            f"schemas/{namespace}.schema.json has words that a model cannot hold. Nothing was written."
        )
    return found


class Source(str):
    """Text that is source already."""

    __slots__ = ()


def _compiled(classes: Iterable[str]) -> Any:
    """Return the last of these classes; they hold nothing but what was written here."""
    scope: dict[str, Any] = {"__name__": "paramstore_models"}
    classes = list(classes)
    exec(
        compile("\n\n".join([HEAD, *classes]), "<models>", "exec", dont_inherit=True), scope
    )  # own text, no user's code
    name = classes[-1].partition("class ")[2].partition("(")[0]
    return scope[name]


def _frame_words(raw: Mapping[str, Any], values: Any, dimensions: Any) -> dict[str, dict[str, Any]]:
    """Return what the nodes around the parameters say beyond what all schemas say (``None``: do not say)."""
    about = {word: raw[word] for word in ("title", "description") if word in raw}
    plain = model.frame(about, values, dimensions)
    found = {}
    for label, path in FRAME.items():
        usual: Any = plain
        real: Any = raw
        for step in path:
            usual, real = usual.get(step, {}), real.get(step, {})
        if label == "values":
            usual = {"type": "object", "additionalProperties": False, "properties": ..., CONSTRAINTS: ...}
            usual = {word: ... for word in usual if word in real}
            real = {word: ... if word in usual else value for word, value in real.items()}
        deeper = {
            more[len(path)] for more in FRAME.values() if len(more) > len(path) and more[: len(path)] == path
        }
        words = {w: v for w, v in real.items() if w not in deeper and (w not in usual or usual[w] != v)}
        words |= {word: None for word in usual if word not in real}
        if words:
            found[label] = words
    return found


# --- classes ----------------------------------------------------------------------------------------


def _class_name(text: str, taken: set[str]) -> str:
    words = re.split("[^A-Za-z0-9]+", text)
    base = "".join(word[:1].upper() + word[1:] for word in words) or "Group"
    base = base if base[0].isalpha() else f"N{base}"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}{number}", number + 1
    taken.add(name)
    return name


def _class(
    name: str,
    node: Mapping[str, Any],
    about: Mapping[str, Any],
    settings: str,
    taken: set[str],
    found: list[str],
) -> None:
    """Add the class of a group, after those of the groups in it."""
    lines, fields, given = [], [], set[str]()
    for key, inner in node["properties"].items():
        field, alias = _field_name(key, given)
        if "properties" in inner and "x-param" not in inner:
            below = _class_name(f"{name}_{key}", taken)
            words = {word: inner[word] for word in ("title", "description") if word in inner}
            rest = {word: value for word, value in inner.items() if word not in (*words, "type", "additionalProperties", "properties")}  # fmt: skip
            _class(below, inner, words, _merged("", rest), taken, found)
            complete = all("default" in leaf for leaf in _leaves(inner))
            parts = [f"default_factory={below}"] if complete else []
            parts += [f"alias={_value(alias)}"] if alias else []
            fields.append(f"    {field}: {below}" + (f" = Field({', '.join(parts)})" if parts else ""))
        else:
            fields.append(_field(field, alias, inner))
    text = about.get("description")
    config = [f"title={_value(about['title'])}"] if "title" in about else []
    if isinstance(text, str) and text.isprintable() and PLAIN_TEXT.fullmatch(text):
        lines += [f'    """{text}"""', ""]
    elif text is not None:
        settings = _merged(settings, {"description": text})
    config += [f"json_schema_extra={settings}"] if settings else []
    if config:
        lines += [f"    model_config = ConfigDict({', '.join(config)})", ""]
    found.append("\n".join([f"class {name}(BaseModel):", *lines, *fields]))


def _leaves(node: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for inner in node["properties"].values():
        if "properties" in inner and "x-param" not in inner:
            yield from _leaves(inner)
        else:
            yield inner


def _merged(call: str, extra: Mapping[str, Any]) -> str:
    if not extra:
        return call
    if not call:
        return _value(dict(extra))
    spread = call[:-1] if call.startswith("{") else f"{{**{call}"
    return f"{spread}, {_value(dict(extra))[1:]}"


def _field_name(key: str, given: set[str]) -> tuple[str, str | None]:
    """Return the name of a field and, where a field cannot be called like its parameter, the alias that says it."""
    good = re.fullmatch("[a-z][a-z0-9_]*", key) and not keyword.iskeyword(key)
    name = key
    if not good or model.is_taken(key) or key in USED or key in given:
        base = "p_" + re.sub("[^a-z0-9_]", "_", key.lower())
        name, number = base, 2
        while name in given:
            name, number = f"{base}_{number}", number + 1
    given.add(name)
    return name, None if name == key else key


def _dimensions(dimensions: Mapping[str, Any]) -> str:
    names = {text: kind.__name__ for kind, text in KINDS.items()}
    parts = []
    for name, node in dimensions.items():
        value = _value(node)
        if node.keys() == {"type"} and node["type"] in names:
            value = names[node["type"]]
        elif node.keys() == {"enum"}:
            value = _value(node["enum"])
        parts.append(f"{_value(name)}: {value}")
    return "{" + ", ".join(parts) + "}"


# --- fields -----------------------------------------------------------------------------------------


def _field(name: str, alias: str | None, leaf: Mapping[str, Any]) -> str:
    """Return one parameter as a field. What its type and ``Field`` cannot say is said in ``json_schema_extra``."""
    leaf = model.ordered(leaf)
    text, annotation = _annotation(leaf)
    words = {**WORDS_OF_FIELD, **(ITEMS if text.startswith("list") else {})}
    given = {words[word]: value for word, value in leaf.items() if word in words}
    said = _said(annotation, given, leaf)
    if said is None:  # the type says more than the schema, or other things: let the schema speak alone
        text, given = "Any", {}
        said = _said(Any, given, leaf) or {}
    extra = {word: value for word, value in leaf.items() if word not in said or said[word] != value}
    param = extra.pop("x-param", None)
    call = "" if param is None else f"Param({', '.join(f'{w}={_value(v)}' for w, v in param.items())})"
    first = [f"default={_default(leaf['default'], text)}"] if "default" in leaf else []
    first += [f"{word}={_value(value)}" for word, value in given.items() if word not in ("title", "description", "examples")]  # fmt: skip
    first += [f"alias={_value(alias)}"] if alias else []
    more = [f"{word}={_value(given[word])}" for word in ("title", "description", "examples") if word in given]
    settings = _merged(call, extra)
    more += [f"json_schema_extra={settings}"] if settings else []
    lines = [", ".join(first)] if first else []
    body = "".join(f"        {line},\n" for line in lines + more)
    return f"    {name}: {text} = Field(\n{body}    )" if body else f"    {name}: {text}"


def _said(annotation: Any, given: Mapping[str, Any], leaf: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a field of this type says; ``None`` if that is anything that the schema does not say."""
    default = {"default": leaf["default"]} if "default" in leaf else {}
    try:
        info = FieldInfo.from_annotated_attribute(annotation, cast(Any, Field)(**default, **given))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a default of another type is judged by the schema
            said = model.leaf_of(info)
    except (ModelError, TypeError, ValueError, RuntimeError):
        return None
    return said if said.keys() <= leaf.keys() else None


def _annotation(leaf: Any) -> tuple[str, Any]:
    """Return the type that says most of a schema, as text and as itself."""
    if not isinstance(leaf, dict):
        return "Any", Any
    kind, choices = leaf.get("type"), leaf.get("enum")
    if choices and all(type(choice) in (str, int, bool) for choice in choices):
        return f"Literal[{', '.join(map(_value, choices))}]", Literal[tuple(choices)]
    plain = {text: found for found, text in KINDS.items()}
    if isinstance(kind, str) and kind in plain:
        return plain[kind].__name__, plain[kind]
    return _container(leaf)


def _container(leaf: Mapping[str, Any]) -> tuple[str, Any]:
    found: tuple[str, Any] = ("Any", Any)
    if leaf.get("type") == "array" and leaf.get("prefixItems"):
        texts, kinds = zip(*map(_annotation, leaf["prefixItems"]), strict=True)
        found = f"tuple[{', '.join(texts)}]", tuple.__class_getitem__(kinds)
    elif leaf.get("type") == "array":
        text, inner = _annotation(leaf.get("items"))
        found = f"list[{text}]", list.__class_getitem__(inner)
    elif leaf.get("type") == "object" and "properties" not in leaf:
        text, inner = _annotation(leaf.get("additionalProperties"))
        found = f"dict[str, {text}]", dict.__class_getitem__((str, inner))
    return found


def _default(value: Any, annotation: str) -> str:
    """Return a default as a value of its type, so that type checkers accept it."""
    if annotation.startswith("tuple[") and isinstance(value, list) and value:
        return f"({', '.join(map(_value, value))},)"
    return _value(value)


def _value(value: Any) -> str:
    """Return plain data as source, texts in double quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value(key)}: {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        text = repr(value)
        if text.startswith("'") and '"' not in text:
            return '"' + text[1:-1].replace("\\'", "'") + '"'
        return text
    return repr(value)
