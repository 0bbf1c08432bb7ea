"""Views bound to a context."""

from __future__ import annotations

from paramstore._reads import Memo, Reader, reader_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from paramstore._model import Explanation, Spec
    from paramstore._reads import Snapshot
    from paramstore._section import Section
    from paramstore._store import ParamStore
    from paramstore._values import Values


class Bound(Reader):
    """What ``params.at(symbol="BTCUSDT")`` gives: the same reads, in a context."""

    __slots__ = ("_context", "_store")

    def __init__(self, store: ParamStore, context: Mapping[str, Any]) -> None:
        self._store = store
        self._context = dict(context)
        self.flag: object = True
        store.attach(self)
        self.refetch()

    def refetch(self) -> None:
        self._store.newest()  # what is to be logged is logged without the lock
        with self._store.lock:  # or an override that begins meanwhile would be forgotten
            flag, snapshot = self._store.newest()
            self.values = snapshot.in_context(self._context)
            names = tuple(snapshot.state.dimensions())
            self.memo = Memo(snapshot, names, self._context)
            kind = reader_class(Bound, names)
            if self.__class__ is not kind:  # a schema declared its dimensions anew
                self.__class__ = kind
            self.flag = flag

    def current(self) -> tuple[object, Values]:
        if self.flag:
            self.refetch()
        return self.flag, self.values

    def attach(self, view: Any) -> None:
        self._store.attach(view)

    def at(self, **context: Any) -> Bound:
        """Return a view with more dimensions; one that is given again replaces its value."""
        return self._store.at(**{**self._context, **context})

    def section(self, prefix: str) -> Section:
        """Return a live, read-only dictionary of the values below ``prefix``, in this context."""
        from paramstore._section import Section

        return Section(self, prefix)

    def live(self, key: str) -> Any:
        """Return a class attribute that always reads the newest value in this context."""
        from paramstore._live import Live

        return Live(self, key)

    def snapshot(self) -> Snapshot:
        """Return all values at the newest revision, in this context, immutable."""
        return self._store.snapshot().at(**self._context)

    def explain(self, key: str, **context: Any) -> Explanation:
        """Return every layer's value for ``key`` in this context, lowest first, and the last change."""
        return self._store.explain(key, **{**self._context, **context})

    def spec(self, key: str) -> Spec:
        """Return type, bounds, unit and learner limits of ``key``."""
        return self._store.spec(key)

    def keys(self, pattern: str = "*") -> list[str]:
        """Return the keys that match a shell-style pattern, in schema order."""
        return self._store.keys(pattern)
