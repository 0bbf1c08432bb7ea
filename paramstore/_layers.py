"""Which layer wins: YAML value, context override, environment, in-process override; lowest first."""

from __future__ import annotations

from paramstore._values import Values, nearest, unknown_key
from paramstore.errors import ContextError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from paramstore._state import Dimension, Document


def base_values(documents: Mapping[str, Document]) -> dict[str, Any]:
    """Return the YAML layer of all namespaces as one flat dictionary of full keys."""
    found: dict[str, Any] = {}
    for document in documents.values():
        found.update(document.full)
    return found


def matching(document: Document, context: Mapping[str, Any]) -> list[int]:
    """Return positions of the overrides that apply in ``context``, weakest first.

    More matching dimensions win; between equally many, the one that names a dimension declared
    later (more specific) wins.
    """
    order = {dimension.name: i for i, dimension in enumerate(document.dimensions)}
    ranked = []
    for index, (at, _) in enumerate(document.overrides):
        if all(name in context and context[name] == value for name, value in at.items()):
            ranked.append((len(at), sorted((order[name] for name in at), reverse=True), index))
    return [index for *_, index in sorted(ranked)]


def context_values(documents: Mapping[str, Document], context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the overrides say in ``context``, by full key; keys without an override are left out."""
    found: dict[str, Any] = {}
    for name, document in documents.items():
        for index in matching(document, context):
            for path, value in document.overrides[index][1].items():
                found[f"{name}.{path}"] = value
    return found


def effective(base: Mapping[str, Any], *layers: Mapping[str, Any]) -> Values:
    """Lay ``layers`` over ``base``, lowest first."""
    values = Values(base)
    for layer in layers:
        dict.update(values, layer)
    return values


def check_context(context: Mapping[str, Any], dimensions: Mapping[str, Dimension]) -> dict[str, Any]:
    """Return ``context`` without its ``None``s, or raise ``ContextError``.

    A misspelt dimension or value would otherwise read the base value in silence.
    """
    known = {}
    for name, value in context.items():
        dimension = dimensions.get(name)
        if dimension is None:
            close = nearest(name, dimensions)
            hint = f" Did you mean `{close[0]}`?" if close else ""
            declared = ", ".join(dimensions) or "none"
            raise ContextError(f"`{name}` is no declared dimension (declared: {declared}).{hint}")
        if value is None:
            continue
        if not _allowed(value, dimension):
            choices = dimension.choices and " one of " + ", ".join(map(repr, dimension.choices))
            raise ContextError(
                f"{value!r} is not a value of dimension `{name}`:{choices or ' a ' + dimension.type} is expected."
            )
        known[name] = value
    return known


def _allowed(value: Any, dimension: Dimension) -> bool:
    if dimension.choices is not None:
        return any(type(value) is type(choice) and value == choice for choice in dimension.choices)
    kinds: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
    return type(value) is kinds.get(dimension.type, str)


MOST_CONTEXTS = 20_000


def matching_pattern(text: str, known: Iterable[str]) -> str:
    """Return ``text`` as a pattern of full keys that matches something; a namespace or group stands for everything
    in it. Raises ``UnknownParamError``."""
    from fnmatch import fnmatchcase

    known = list(known)
    if isinstance(text, str) and text not in known and any(key.startswith(f"{text}.") for key in known):
        return f"{text}.*"
    if isinstance(text, str) and any(fnmatchcase(key, text) for key in known):
        return text
    raise unknown_key(text, known)


def contexts(document: Document, paths: Iterable[str]) -> list[dict[str, Any]]:
    """Return every context in which overrides may give ``paths`` (relative keys) values of their own: each set of
    overrides that can apply together, by the dimensions that it names. The base, ``{}``, is left out.

    Raises ``OverflowError`` beyond ``MOST_CONTEXTS``.
    """
    wanted = set(paths)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for at, own in document.overrides:
        if wanted.isdisjoint(own):
            continue
        for known in [{}, *found.values()]:
            if all(known.get(name, value) == value for name, value in at.items()):
                joined = {**known, **at}
                found.setdefault(tuple(sorted(joined.items())), joined)
        if len(found) > MOST_CONTEXTS:
            raise OverflowError(len(found))
    order = [dimension.name for dimension in document.dimensions]
    return [{name: context[name] for name in order if name in context} for context in found.values()]


def values_in(document: Document, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values of a namespace in ``context``, by relative key."""
    values = dict(document.values)
    for index in matching(document, context):
        values.update(document.overrides[index][1])
    return values


def value_in(document: Document, path: str, context: Mapping[str, Any]) -> Any:
    """Return the value of ``path`` that a read in ``context`` gives."""
    if context:
        for index in reversed(matching(document, context)):
            if path in document.overrides[index][1]:
                return document.overrides[index][1][path]
    return document.values[path]
