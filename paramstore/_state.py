"""What a backend holds at one revision: plain immutable data, cheap to build and to compare.

Part of every first read, so it imports nothing heavy.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Override = tuple[Mapping[str, Any], Mapping[str, Any]]
    At = tuple[tuple[str, Any], ...]  # a context as a key: sorted items; the empty one is the base


class Dimension:
    """One dimension of a namespace: its name and, when the schema lists them, its allowed values."""

    __slots__ = ("choices", "name", "type")

    def __init__(self, name: str, kind: str = "string", choices: tuple[Any, ...] | None = None) -> None:
        self.name = name
        self.type = kind
        self.choices = choices

    def plain(self) -> tuple[Any, ...]:
        return self.name, self.type, self.choices

    def joined(self, other: Dimension) -> Dimension:
        """Return the dimension that allows what either allows."""
        if self.choices is None or other.choices is None:
            return self if self.choices is None else other
        return Dimension(self.name, self.type, tuple(dict.fromkeys(self.choices + other.choices)))


class Document:
    """The validated content of one namespace.

    ``values`` maps relative keys to frozen values, in schema order; ``overrides`` holds
    ``(at, values)`` pairs in file order; ``dimensions`` go from least to most specific.
    ``digest`` and ``schema_digest`` are sha256 (hex) of the bytes that this was read from.
    """

    __slots__ = ("_full", "digest", "dimensions", "namespace", "overrides", "schema_digest", "values")

    def __init__(
        self,
        namespace: str,
        values: Mapping[str, Any],
        overrides: Iterable[Override],
        dimensions: tuple[Dimension, ...],
        digest: str,
        schema_digest: str,
    ) -> None:
        self.namespace = namespace
        self.values = values
        self.overrides = tuple(overrides)
        self.dimensions = dimensions
        self.digest = digest
        self.schema_digest = schema_digest
        self._full: dict[str, Any] | None = None

    @property
    def full(self) -> dict[str, Any]:
        """The base values by full key."""
        if self._full is None:
            self._full = {f"{self.namespace}.{path}": value for path, value in self.values.items()}
        return self._full

    def override_index(self, at: Mapping[str, Any]) -> int | None:
        """Return the position of the override for exactly this context."""
        for index, (where, _) in enumerate(self.overrides):
            if where == at:
                return index
        return None

    def own_value(self, path: str, at: Mapping[str, Any], absent: Any) -> Any:
        """Return the value written for exactly this context (``{}`` is the base), else ``absent``."""
        if not at:
            return self.values.get(path, absent)
        index = self.override_index(at)
        return absent if index is None else self.overrides[index][1].get(path, absent)

    def with_values(
        self, changes: Iterable[tuple[str, Mapping[str, Any], Any]], absent: Any, digest: str
    ) -> Document:
        """Return a document with ``(path, at, new)`` applied; ``absent`` removes an override's value."""
        values, full = dict(self.values), dict(self.full)
        overrides: list[tuple[Mapping[str, Any], dict[str, Any]]] = [
            (at, dict(v)) for at, v in self.overrides
        ]
        for path, at, new in changes:
            if not at:
                if new is absent or path not in values:
                    raise KeyError(path)
                values[path] = full[f"{self.namespace}.{path}"] = new
                continue
            found = next((v for where, v in overrides if where == at), None)
            if found is None:
                found = {}
                overrides.append((dict(at), found))
            if new is absent:
                found.pop(path, None)
            else:
                found[path] = new
        kept = [(at, v) for at, v in overrides if v]
        changed = Document(self.namespace, values, kept, self.dimensions, digest, self.schema_digest)
        changed._full = full  # building thousands of names anew would cost more than the commit
        return changed


class State:
    """Every namespace at one revision, and the problems that keep newer files out.

    ``documents`` is keyed by namespace, sorted. ``problems`` maps a file to what is wrong with it.
    ``position`` is the backend's own bookmark.
    """

    __slots__ = ("documents", "position", "problems", "revision")

    def __init__(
        self,
        revision: int,
        documents: Mapping[str, Document],
        position: Any = None,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        self.revision = revision
        self.documents = documents
        self.position = position
        self.problems = problems or {}

    def missing(self) -> set[str]:
        """Return the namespaces with a problem that have not even an earlier good document."""
        return {namespace_of(file) for file in self.problems} - {""} - self.documents.keys()

    def dimensions(self) -> dict[str, Dimension]:
        """Return every declared dimension by name, in order of first declaration. One that several
        namespaces declare takes the values that any of them allows."""
        found: dict[str, Dimension] = {}
        for document in self.documents.values():
            for dimension in document.dimensions:
                known = found.get(dimension.name)
                found[dimension.name] = dimension if known is None else known.joined(dimension)
        return found


def place(context: Mapping[str, Any]) -> At:
    """Return a context in the form in which it is a key of dictionaries."""
    return tuple(sorted(context.items()))


def namespace_of(file: str) -> str:
    """Return the namespace that a file of the store (relative path) belongs to."""
    return file.rpartition("/")[2].partition(".")[0]


def split_key(key: str) -> tuple[str, str]:
    """Split ``namespace.path.to.leaf`` into namespace and path; the path is empty for a bare namespace."""
    namespace, _, path = key.partition(".")
    return namespace, path
