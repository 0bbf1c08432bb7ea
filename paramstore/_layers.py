"""Which layer wins: YAML value, context override, environment, in-process override; lowest first."""

from __future__ import annotations

from paramstore._state import place
from paramstore._values import Values, nearest, unknown_key
from paramstore.errors import ContextError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from paramstore._state import At, Dimension, Document


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
            ranked.append((rank(at, order), index))
    return [index for _, index in sorted(ranked)]


def context_values(documents: Mapping[str, Document], context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the overrides say in ``context``, by full key; keys without an override are left out."""
    found: dict[str, Any] = {}
    for name, document in documents.items():
        for index in matching(document, context):
            for path, value in document.overrides[index][1].items():
                found[f"{name}.{path}"] = value
    return found


def rank(at: Iterable[str], order: Mapping[str, int]) -> tuple[int, list[int]]:
    """Return what decides between overrides that apply: more dimensions win, then the one declared later."""
    places = sorted((order[name] for name in at), reverse=True)
    return len(places), places


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
    return type(value) is kinds.get(dimension.type, str) and (type(value) is not str or _is_text(value))


def _is_text(value: str) -> bool:
    """Tell whether ``value`` can be written at all: half a surrogate pair, which JSON can name, cannot."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


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


def contexts(
    document: Document,
    paths: Iterable[str],
    around: Iterable[Mapping[str, Any]] = ({},),
    beside: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Return every context in which overrides may give ``paths`` (relative keys) values of their own and that has all
    of a context in ``around``: each set of overrides that can apply together, by the dimensions that it names. A
    context in ``around`` is among them, unless it is the base, ``{}``. Overrides that set all of ``beside``, if any,
    are left out.

    Raises ``OverflowError`` beyond ``MOST_CONTEXTS``.
    """
    wanted, hidden = set(paths), set(beside)
    ats = [
        at
        for at, own in document.overrides
        if not wanted.isdisjoint(own) and not (hidden and hidden <= own.keys())
    ]
    order = [dimension.name for dimension in document.dimensions]
    found: dict[At, dict[str, Any]] = {}
    for fixed in around:
        joined: dict[At, Mapping[str, Any]] = {place(fixed): fixed}
        for at in ats:
            if agree(fixed, at):
                for known in list(joined.values()):
                    if agree(known, at):
                        both = {**known, **at}
                        joined.setdefault(place(both), both)
                if len(joined) > MOST_CONTEXTS:
                    raise OverflowError(len(joined))
        found.update((key, {n: c[n] for n in order if n in c}) for key, c in joined.items() if c)
    return list(found.values())


def agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two contexts can be the case at once."""
    return all(one.get(name, value) == value for name, value in other.items())


_ranks: dict[tuple[str, ...], list[tuple[str, ...]]] = {}


def _subsets(context: Mapping[str, Any], order: Sequence[str]) -> Iterator[At]:
    """Yield the places whose overrides apply in ``context``, weakest first; see ``matching``."""
    names = tuple([name for name in order if name in context])
    for chosen in _ranks.get(names) or _rank(names):
        yield tuple([(name, context[name]) for name in chosen])


def _rank(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Remember all choices from ``names`` (in the order of their declaration), weakest first."""
    from itertools import combinations

    found: list[tuple[str, ...]] = []
    for length in range(1, len(names) + 1):
        ranked = sorted(combinations(range(len(names)), length), key=lambda chosen: chosen[::-1])
        found += [tuple(sorted(names[index] for index in chosen)) for chosen in ranked]
    _ranks[names] = found
    return found


class Layers:
    """Some values of one namespace, in any context: what ``matching`` tells, without looking at every override."""

    def __init__(self, document: Document, paths: Iterable[str]) -> None:
        self._base = {path: document.values[path] for path in paths}
        self._order = [dimension.name for dimension in document.dimensions]
        self._own: dict[At, dict[str, Any]] = {}
        for at, own in document.overrides:
            mine = {path: value for path, value in own.items() if path in self._base}
            if mine:
                self._own[place(at)] = mine

    def values(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values by relative key that a read in ``context`` gives."""
        found = dict(self._base)
        if context and self._own:
            for at in _subsets(context, self._order):
                if at in self._own:
                    found.update(self._own[at])
        return found

    def source(self, path: str, context: Mapping[str, Any]) -> At:
        """Return the place that ``path`` comes from in ``context``: sorted items, ``()`` for the base."""
        found: At = ()
        if context and self._own:
            for at in _subsets(context, self._order):
                if path in self._own.get(at, ()):
                    found = at
        return found
