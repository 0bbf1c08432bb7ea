"""Values as readers get them: immutable, and of the container type that the schema names.

Shared by every floor, so it imports nothing heavy: a first read loads this module.
"""

from __future__ import annotations

from paramstore.errors import MalformedKeyError, ReadOnlyError, UnknownParamError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

DICT_WRITES = (
    "__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update",
)  # fmt: skip
LIST_WRITES = (
    "__setitem__", "__delitem__", "__iadd__", "__imul__", "append", "clear", "extend", "insert",
    "pop", "remove", "reverse", "sort",
)  # fmt: skip


def refuse_write(self: object, *_: object, **__: object) -> NoReturn:
    """Stand in for every mutating method of a container that was read."""
    raise ReadOnlyError(
        f"{type(self).__name__} is read-only. Change values inside `with params.transaction(...) as tx:`, "
        "or work on a copy: `dict(x)`, `list(x)`, `x.copy()`."
    )


class FrozenDict(dict):  # type: ignore[type-arg]
    """A dictionary that refuses writes. ``copy()`` gives a plain, writable ``dict``."""

    __slots__ = ()

    def copy(self) -> dict[Any, Any]:
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class FrozenList(list):  # type: ignore[type-arg]
    """A list that refuses writes. ``copy()`` gives a plain, writable ``list``."""

    __slots__ = ()

    def copy(self) -> list[Any]:
        return list(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self),)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


for _name in DICT_WRITES:
    setattr(FrozenDict, _name, refuse_write)
for _name in LIST_WRITES:
    setattr(FrozenList, _name, refuse_write)


def freeze(value: Any) -> Any:
    """Return the immutable twin of plain data: lists and dicts become frozen, tuples stay tuples."""
    kind = type(value)
    if kind is list or kind is FrozenList:
        return FrozenList([freeze(item) for item in value])
    if kind is tuple:
        return tuple([freeze(item) for item in value])
    if kind is dict or kind is FrozenDict:
        return FrozenDict({key: freeze(item) for key, item in value.items()})
    return value


def thaw(value: Any) -> Any:
    """Return JSON-like plain data (lists and dicts) of a frozen value, as files hold it."""
    if isinstance(value, list | tuple):
        return [thaw(item) for item in value]
    if isinstance(value, dict):
        return {key: thaw(item) for key, item in value.items()}
    return value


def same(a: Any, b: Any) -> bool:
    """Tell whether two values are equal in type as well, so that 1, 1.0 and True all differ."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


class Absent:
    """The one value ``ABSENT``: no value at all, which differs from YAML's null."""

    _only: Absent | None = None

    def __new__(cls) -> Absent:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "ABSENT"

    def __reduce__(self) -> tuple[Any, ...]:
        return Absent, ()

    def __bool__(self) -> bool:
        return False


ABSENT = Absent()


class Values(dict):  # type: ignore[type-arg]
    """All values of one snapshot by full key. Never written to once it is built.

    A lookup that misses raises ``UnknownParamError`` from C's own ``dict`` lookup, so that the
    hot path needs no check.
    """

    __slots__ = ()

    def __missing__(self, key: object) -> NoReturn:
        raise unknown_key(key, self)


for _name in DICT_WRITES:
    setattr(Values, _name, refuse_write)

_logged: set[str] = set()
MOST_LOGGED = 10_000  # keys that are remembered: whoever asks for endless ones shall not fill the memory
_listeners: list[Callable[[UnknownParamError], object]] = []


def unknown_key(key: object, known: Iterable[str], stands: str = "") -> UnknownParamError:
    """Build the error for a key that is not known, with the nearest keys, and log it once per key.

    It is logged because strategy code often hides exceptions in a broad ``except``: a misspelt
    key must be seen even there. ``stands`` says what a refused write left as it was.
    """
    if not isinstance(key, str) or not key or "" in key.split("."):
        error: UnknownParamError = MalformedKeyError(key, stands)
    else:
        known = list(known)
        if any(name.startswith(key + ".") for name in known):
            hint = f"It is a group: read it with `params.section({key!r})`; `paramstore list {key}` shows what is in it."
            error = UnknownParamError(key, (), f"{hint} {stands}".strip())
        else:
            close = nearest(key, known)
            error = UnknownParamError(
                key, close, stands if close else f"`paramstore list` shows all. {stands}".strip()
            )
    return announced(error)


def announced(error: UnknownParamError) -> UnknownParamError:
    """Log ``error`` once per key, tell it to all who listen, and return it."""
    if error.key not in _logged:
        if len(_logged) >= MOST_LOGGED:
            _logged.clear()
        _logged.add(error.key)
        import logging

        logging.getLogger("paramstore").error("%s", error)
    for listener in list(_listeners):
        listener(error)
    return error


def on_unknown_key(listener: Callable[[UnknownParamError], object]) -> Callable[[], None]:
    """Call ``listener(error)`` whenever an unknown key is named, in the thread that names it and before it can be
    hidden, each time. Returns what ends it. A read that finds its key costs nothing more."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def require_known(keys: Iterable[str], known: dict[str, Any]) -> None:
    """Raise ``UnknownParamError`` for the first of ``keys`` that is not known; it names all the others."""
    missing = [key for key in keys if key not in known]
    if missing:
        others = ", ".join(f"`{key}`" for key in missing[1:])
        raise unknown_key(missing[0], known, f"Missing as well: {others}." if others else "")


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Return up to three known words most like ``word``, best first."""
    import difflib

    known = list(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if close:  # beside a clear match, what is merely alike would only distract
        likeness = {found: difflib.SequenceMatcher(None, word, found).ratio() for found in close}
        close = [found for found in close if likeness[found] > likeness[close[0]] - 0.05]
    if "." in word:  # the right leaf in the wrong place
        leaf = word.rsplit(".", 1)[1]
        close = [key for key in known if key.rsplit(".", 1)[-1] == leaf] + close
    return list(dict.fromkeys(close))[:3]
