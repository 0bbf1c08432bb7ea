"""The hot path: one ``get`` for stores and bound views, and snapshots that never change.

A reader holds ``flag`` and ``values``. While the flag is false nothing has been committed since, by any
process, and a read is one dictionary lookup. ``values`` is always assigned before ``flag``: a thread that
sees the new flag sees the new values.
"""

from __future__ import annotations

from paramstore._layers import base_values, check_context, context_values, effective
from paramstore._values import Values, unknown_key
from paramstore.errors import ContextError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, Self

    from paramstore._state import State
    from paramstore._values import FrozenDict

MEMO_LIMIT = 50_000  # remembered (key, context) pairs; then forgotten all at once


class Snapshot:
    """All values at one revision. Immutable; ``with params.snapshot() as p`` reads one revision only.

    ``p.get(key)`` is the dictionary's own lookup, because nothing has to be checked. It takes no
    dimensions: ``p.at(symbol="BTCUSDT").get(key)`` reads the same revision in a context.
    """

    __slots__ = ("_base", "_context", "_contexts", "_digest", "_dimensions", "_layers", "get", "revision",
                 "state", "values")  # fmt: skip

    get: Callable[[str], Any]

    def __init__(self, state: State, *layers: Mapping[str, Any]) -> None:
        self.state = state
        self.revision = state.revision
        self._base = self.values = effective(base_values(state.documents), *layers)
        self._context: dict[str, Any] = {}
        self.get = self.values.__getitem__
        self._layers = layers
        self._dimensions = state.dimensions()
        self._contexts: dict[tuple[Any, ...], Values] = {}
        self._digest = ""

    def in_context(self, context: Mapping[str, Any]) -> Values:
        """Return all values as they are in ``context``. Raises ``ContextError``."""
        known = check_context({**self._context, **context}, self._dimensions)
        if not known:
            return self._base
        place = tuple(known.get(name) for name in self._dimensions)
        values = self._contexts.get(place)
        if values is None:
            mine = context_values(self.state.documents, known)
            values = effective(self._base, mine, *self._layers) if mine else self._base
            if len(self._contexts) > 1000:
                self._contexts.clear()
            self._contexts[place] = values
        return values

    def at(self, **context: Any) -> Snapshot:
        """Return the same snapshot seen in a context."""
        view = object.__new__(Snapshot)
        for name in Snapshot.__slots__:
            setattr(view, name, getattr(self, name))
        view.values, view._digest = self.in_context(context), ""
        view._context = {**self._context, **context}
        view.get = view.values.__getitem__
        return view

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def section(self, prefix: str) -> FrozenDict:
        """Return the values below ``prefix`` as a nested, frozen dictionary."""
        from paramstore._section import frozen_section

        return frozen_section(self.values, prefix)

    def keys(self, pattern: str = "*") -> list[str]:
        """Return the keys that match a shell-style pattern, in schema order."""
        return matching_keys(self.values, pattern)

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the sha256 of all effective values: equal digests, equal values."""
        if not self._digest:
            import hashlib

            self._digest = hashlib.sha256(repr(sorted(self.values.items())).encode()).hexdigest()[:16]
        return self._digest

    def stamp(self) -> dict[str, Any]:
        """Return what a log line needs to say which values a decision was made with."""
        return {"params_revision": self.revision, "params_digest": self.digest}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"<Snapshot revision {self.revision}, {len(self.values)} parameters>"


class Memo(dict):  # type: ignore[type-arg]
    """Values by ``(key, dimension value, …)``, found on first use and bounded in number."""

    __slots__ = ("_context", "_names", "_snapshot")

    def __init__(self, snapshot: Snapshot, names: tuple[str, ...], context: Mapping[str, Any]) -> None:
        self._snapshot = snapshot
        self._names = names
        self._context = context

    def __missing__(self, place: tuple[Any, ...]) -> Any:
        key, *named = place
        more = {name: value for name, value in zip(self._names, named, strict=True) if value is not None}
        value = self._snapshot.in_context({**self._context, **more})[key]
        if len(self) > MEMO_LIMIT:
            self.clear()
        self[place] = value
        return value


class Reader:
    """What a store and a bound view share. ``refetch`` brings ``values``, ``memo`` and ``flag`` up to date."""

    __slots__ = ("__weakref__", "flag", "memo", "values")

    flag: object
    values: Values
    memo: Memo

    def refetch(self) -> None:
        raise NotImplementedError

    def prepare(self, no_default: object) -> None:
        """Bring the values up to date; refuse what was meant as a default."""
        if no_default is not None:
            raise ContextError(
                f"get() takes no default, but {no_default!r} was given: a misspelt key must not trade on a guess. "
                "Defaults stand in the schema; dimensions are given by name."
            )
        self.refetch()

    if TYPE_CHECKING:

        def get(self, key: str, no_default: None = None, /, **context: Any) -> Any:
            """Return the value of ``key``, in the context of the named dimensions."""


_GET = """
def get(self, key, no_default=None, /{parameters}):
    if self.flag or no_default is not None{or_given}:
        if self.flag or no_default is not None:
            self.prepare(no_default)
        {in_context}
    return self.values[key]
"""


_classes: dict[tuple[type, tuple[str, ...]], type] = {}


def reader_class(base: type, names: tuple[str, ...]) -> type:
    """Return the subclass of ``base`` whose ``get`` takes exactly these dimensions."""
    found = _classes.get((base, names))
    if found is None:
        found = _classes[base, names] = _make_reader_class(base, names)
    return found


def _make_reader_class(base: type, names: tuple[str, ...]) -> type:
    """Write ``get`` out as source, the way dataclasses writes ``__init__``.

    Collecting ``**context`` would cost three times as much, and keyword-only parameters a quarter more. What ``dict.get`` takes second is
    caught by name, so that nobody believes to have given a default.
    """
    given = " or ".join(f"{name} is not None" for name in names)
    source = _GET.format(
        parameters="".join(f", {name}=None" for name in names),
        or_given=f" or {given}" if names else "",
        in_context=f"if {given}: return self.memo[key, {', '.join(names)}]" if names else "",
    )
    scope: dict[str, Any] = {}
    exec(source, {"__builtins__": {}}, scope)  # the names are identifiers: the schema was checked
    get = scope["get"]
    get.__doc__ = "Return the value of ``key``, in the context of the named dimensions."
    get.__module__, get.__qualname__ = base.__module__, f"{base.__qualname__}.get"
    return type(base.__name__, (base,), {"__slots__": (), "get": get, "__module__": base.__module__})


def matching_keys(values: Mapping[str, Any], pattern: str) -> list[str]:
    """Return the keys that match; a pattern without wildcards that matches none is an error."""
    from fnmatch import fnmatchcase

    found = [key for key in values if fnmatchcase(key, pattern)]
    if not found and not any(sign in pattern for sign in "*?["):
        raise unknown_key(pattern, values)
    return found
