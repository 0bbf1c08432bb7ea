"""Each line of a values file with the entry that gave it the value it has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from paramstore import _yaml
from paramstore._backends.base import Backend
from paramstore._backends.local import LocalBackend
from paramstore._history import At, changes_between, flatten
from paramstore._layers import matching_pattern
from paramstore._ledger import Touch
from paramstore._model import Blame
from paramstore._past import in_shape
from paramstore._state import Document, State, namespace_of, place
from paramstore._yaml import YamlText
from paramstore.errors import DocumentError, ParamstoreError

Place = tuple[str, At]


def blame(backend: Backend, what: Sequence[str], now: State) -> tuple[Blame, ...]:
    """Return the lines that ``what`` names; without any, those of all values files. See ``ParamStore.blame``."""
    if not isinstance(backend, LocalBackend):
        raise ParamstoreError(
            "This store is not in files: there are no lines to blame. Ask `history` instead."
        )
    documents = now.documents
    keys = [f"{name}.{path}" for name, document in documents.items() for path in document.values]
    wanted: dict[str, list[str] | None] = {}  # namespace -> patterns; None: every line
    for text in what or sorted(documents):
        name = _namespace(backend, text)
        if name is not None:
            wanted[name] = None
            continue
        pattern = matching_pattern(text, keys)
        for found in {key.partition(".")[0] for key in keys if fnmatchcase(key, pattern)}:
            patterns = wanted.setdefault(found, [])
            if patterns is not None:
                patterns.append(pattern)
    return tuple(line for name in sorted(wanted) for line in _file(backend, name, wanted[name]))


def _namespace(backend: LocalBackend, text: str) -> str | None:
    """Return the namespace that ``text`` names, by itself or by its file; ``None`` if it is a key or a pattern."""
    names = backend.namespaces()
    if text in names:
        return text
    name = namespace_of(text)
    if name not in names or not text.endswith((".yaml", ".yml")):
        return None
    file = backend.path(backend.values_file(name))
    places = (text, os.path.join(backend.root, text))
    return name if any(os.path.realpath(path) == os.path.realpath(file) for path in places) else None


def _file(backend: LocalBackend, name: str, patterns: list[str] | None) -> Iterator[Blame]:
    file = backend.values_file(name)
    text = _yaml.parse(backend.read(file, DocumentError).raw, file)
    document = backend.schema(name).document(text.data, file, "")
    touches, by_hand = backend.past().latest, _by_hand(backend, document)
    holding: dict[int, list[Place]] = {}
    for spot, (first, last) in _places(text, document):
        for number in range(first, last + 1):
            holding.setdefault(number, []).append(spot)
    for number, shown in enumerate(_lines(text), 1):
        spots = holding.get(number, [])
        if patterns is None or any(fnmatchcase(key, pattern) for key, _ in spots for pattern in patterns):
            yield _line(file, number, shown, spots, touches, by_hand)


def _lines(text: YamlText) -> list[str]:
    lines = text.raw.decode("utf-8-sig").split("\n")
    return [line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])]


def _by_hand(backend: LocalBackend, document: Document) -> set[Place]:
    """Return what the file says differently from the journal."""
    written = backend.written()
    mine = {spot: v for spot, v in written.items() if spot[0].partition(".")[0] == document.namespace}
    if not written:
        return set()
    changes = changes_between(in_shape(backend, mine), flatten({document.namespace: document}))
    return {(change.key, place(change.context)) for change in changes}


def _places(text: YamlText, document: Document) -> Iterator[tuple[Place, tuple[int, int]]]:
    """Yield key and context of every value in the file, and its first and last line."""
    for path, lines in text.spans().items():
        if path[0] == "values":
            at: At = ()
            names = path[1:]
        elif path[0] == "overrides" and path[2:3] == ("values",):
            at, names = place(text.data["overrides"][path[1]]["at"]), path[3:]
        else:
            continue
        relative = ".".join(map(str, names))
        if relative in document.values:
            yield (f"{document.namespace}.{relative}", at), lines


def _line(
    file: str,
    number: int,
    text: str,
    spots: Iterable[Place],
    touches: Mapping[Place, Touch],
    by_hand: set[Place],
) -> Blame:
    spots = list(spots)
    if not spots:
        return Blame(file, number, text)
    edited = [spot for spot in spots if spot in by_hand]
    if edited:
        key, at = edited[0]
        return Blame(file, number, text, key, dict(at), by_hand=True)
    key, at = max(spots, key=lambda spot: touches[spot].revision if spot in touches else -1)
    touch = touches.get((key, at))
    if touch is None:  # there is no journal yet
        return Blame(file, number, text, key, dict(at))
    return Blame(
        file, number, text, key, dict(at), touch.revision, touch.time, touch.kind, touch.author, touch.reason
    )
