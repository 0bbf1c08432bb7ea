"""Sections: a group of parameters as a live, read-only dictionary.

A section is never stale (a read sees every commit that was acknowledged before it) and never shows
half of a commit (one operation sees one revision), however many threads and processes commit.

The first promise is kept by ``flag``: it turns true once the values that a view holds are superseded,
so that a read is one truth test and one lookup. The second is easy for whatever runs in one method
(``items``, ``|``, ``==``, ``repr``, JSON) and needs a *pin* for ``dict(x)``, ``{**x}``, ``f(**x)`` and
``d.update(x)``, where CPython calls ``keys()`` and then ``x[key]`` for each key (see ``_Keys``).
"""

from __future__ import annotations

import os
import sys
from _collections_abc import KeysView  # collections.abc would load all of collections
from _thread import RLock, _local, get_ident
from _weakref import ref

from paramstore._values import FrozenDict, announced, unknown_key
from paramstore.errors import ParamstoreError, UnknownParamError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType
    from typing import Any, NoReturn, Protocol

    from paramstore._values import Values

    class View(Protocol):
        """What reads live: ``flag`` is true when its values may be superseded."""

        flag: object

    class Source(Protocol):
        """What views need of a store."""

        def current(self) -> tuple[object, Values]:
            """Return the newest values and a flag that turns true once they are superseded."""

        def attach(self, view: Any) -> None:
            """Call ``expire(view)`` after each change inside this process; hold it weakly."""

    Place = tuple[int, int, CodeType | None]
    Pin = tuple[Iterator[str], FrozenDict, ref["_Thread"]]


# Guards only the few assignments that publish what a view has read, never a read itself. Reentrant, as a
# signal handler may read in the middle. Taken across a fork, since a child would inherit it held.
lock = RLock()
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def expire(view: View) -> None:
    """Make the next read of the view ask its source again."""
    with lock:
        view.flag = True


def frozen_section(values: Values, prefix: str) -> FrozenDict:
    """Return the values below ``prefix``, groups nested, as immutable data of one revision.

    Raises UnknownParamError when ``prefix`` names a parameter, or nothing.
    """
    tree = FrozenDict()
    start = f"{prefix}."
    for key, value in values.items():
        if key.startswith(start):
            *groups, leaf = key[len(start) :].split(".")
            node = tree
            for group in groups:
                node = dict.setdefault(node, group, FrozenDict())
            dict.__setitem__(node, leaf, value)
    return tree or _no_section(values, prefix)


def _no_section(values: Values, prefix: str) -> NoReturn:
    if isinstance(prefix, str) and prefix in values:
        error = UnknownParamError(prefix)
        ParamstoreError.__init__(
            error, f"`{prefix}` is a parameter, not a section: read it with `params.get({prefix!r})`."
        )
        raise announced(error)
    groups = {key[:dot] for key in values for dot, char in enumerate(key) if char == "."}
    raise unknown_key(prefix, sorted(groups))


def _place(frame: FrameType | None) -> Place:
    """Name the instruction that a frame is at; C code called by a thread itself has no frame.

    The code is part of the name: a later frame at the same address is only taken for this one where it is at the very
    instruction, which begins with keys() and so with a pin of its own.
    """
    return (get_ident(), -1, None) if frame is None else (id(frame), frame.f_lasti, frame.f_code)


def _own_places() -> set[Place]:
    """Return the places that the frames of this thread are at.

    Those of other threads are left alone: CPython before 3.12 may switch threads while it makes a frame's object (for a
    garbage collection), so that a walk over frames of a running thread can meet freed memory or a lock for ever
    (its gh-106883).
    """
    found = {_place(None)}
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        found.add(_place(frame))
        frame = frame.f_back
    return found


class _Thread:
    """What lives as long as the thread that made it."""

    __slots__ = ("__weakref__",)


_here = _local()


def _this_thread() -> _Thread:
    try:
        thread: _Thread = _here.thread
    except AttributeError:
        thread = _here.thread = _Thread()
    return thread


class _Keys(KeysView):  # type: ignore[type-arg]
    """The keys of one revision, which pin that revision while C code copies the section.

    To copy a section CPython calls ``keys()``, lists the result, then asks ``x[key]`` for each, and a
    commit may land in between. All of it happens within one instruction of one frame: when the keys are
    iterated at the place where they were made, no Python code of the caller ran since, so this is such a
    copy, and what follows at this very place is answered from the same revision. (``for k in x.keys()``
    makes them and iterates them in two instructions: its ``x[k]`` is fresh.)
    """

    __slots__ = ("_made_at", "_section", "_tree")

    def __init__(self, section: Section, tree: FrozenDict, made_at: Place) -> None:
        super().__init__(tree)
        self._section = section
        self._tree = tree
        self._made_at = made_at

    def __iter__(self) -> Iterator[Any]:
        if _place(sys._getframe().f_back) == self._made_at:
            self._section._pin(self._made_at, self._tree)
        return iter(self._tree)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._tree)

    def __repr__(self) -> str:
        return repr(self._tree.keys())


class _View(dict):  # type: ignore[type-arg]
    """What ``section[key]`` looks up at one revision: parameters, and the groups that were read so far.

    A miss is dealt with by C's own lookup, so that the hot path needs no check.
    """

    __slots__ = ("groups", "known", "prefix", "source", "tree")

    def __init__(self, source: Source, prefix: str, known: Values, groups: dict[str, Section]) -> None:
        self.source, self.prefix, self.known, self.groups = source, prefix, known, groups
        self.tree = frozen_section(known, prefix)
        self.update({key: value for key, value in self.tree.items() if f"{prefix}.{key}" in known})

    def __missing__(self, key: str) -> Any:
        full = f"{self.prefix}.{key}"
        if key not in self.tree:
            return self.known[full]  # raises; only a dotted path to a parameter further down is found
        if key not in self.groups:
            self.groups.setdefault(key, Section(self.source, full))
        self[key] = self.groups[key]
        return self[key]


class Section(FrozenDict):
    """The parameters below ``prefix`` as a live, read-only ``dict``; keys are relative to it.

    ``x[key]`` of a group is again a live section. What takes the whole (``dict(x)``, ``x.items()``,
    ``x | y``, ``x == y``, JSON) holds groups as immutable data of the same revision. ``x.get(key)`` raises
    UnknownParamError for an unknown key, as ``x[key]`` does; only a default written at the call,
    ``x.get(key, 0.0)``, is returned instead. Copies (``copy()``, ``copy.copy``, pickle) are plain ``dict``.

    Several reads made by one call, as in ``"{a} {b}".format_map(x)``, ``match`` patterns or
    ``operator.itemgetter("a", "b")(x)``, are several operations: use ``x.copy()`` for one revision.
    """

    # A subclass of FrozenDict, so that Python asks our __eq__ first in `snapshot_section == x`.
    __slots__ = ("__weakref__", "_pins", "_prefix", "_source", "_view", "flag")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, source: Source, prefix: str) -> None:
        self._source = source
        self._prefix = prefix
        self._pins: dict[Place, Pin] = {}
        self._view = _View(source, prefix, source.current()[1], {})
        self._fill(self._view.tree)
        self.flag: object = True  # the first read asks again: a change before attach() is not lost
        source.attach(self)

    def __getitem__(self, key: str) -> Any:
        if self.flag:
            return self._refetch(key)
        return self._view[key]

    def get(self, key: str, *default: Any) -> Any:
        if len(default) > 1:
            raise TypeError(f"get expected at most 2 arguments, got {len(default) + 1}")
        view = self._now()
        if default and key not in view.tree:
            return default[0]
        return view[key]

    def keys(self) -> _Keys:  # type: ignore[override]
        return _Keys(self, self._now().tree, _place(sys._getframe().f_back))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.copy(),)

    def _now(self) -> _View:
        return self._refresh() if self.flag else self._view

    def _refetch(self, key: str) -> Any:
        if self._pins:
            place = _place(sys._getframe(1).f_back)
            pin = self._pins.get(place)
            # A copy asks for each key once and in order: so much of an ended one cannot be asked again.
            if pin is not None and key in pin[0]:
                if not pin[0].__length_hint__():  # type: ignore[attr-defined]
                    self._pins.pop(place, None)
                return pin[1][key]
        return self._refresh()[key]

    def _refresh(self) -> _View:
        """Read the newest values, and publish them unless something newer came meanwhile."""
        if self._pins:
            self._drop_dead_pins()
        self.flag = mine = object()  # true, and replaced by whoever reads or expires after us
        flag, values = self._source.current()
        view = self._view
        if view.known is not values:
            view = _View(self._source, self._prefix, values, view.groups)
        with lock:
            if self.flag is mine:
                if view is not self._view:
                    self._fill(view.tree)
                self._view = view  # before the flag: who sees the new flag must see the new values
                # While a copy is under way every read is slow, so that the copy finds its pin.
                self.flag = True if self._pins else flag
        return view

    def _fill(self, tree: FrozenDict) -> None:
        """Keep the storage of the base class near the truth, for C code that reads it directly.

        Never cleared: the JSON encoder of another thread takes an empty storage for an empty dict.
        """
        dict.update(self, tree)
        for key in dict.keys(self) - tree.keys():
            dict.__delitem__(self, key)

    def _pin(self, place: Place, tree: FrozenDict) -> None:
        with lock:
            self._pins[place] = iter(tree), tree, ref(_this_thread())
            self.flag = True

    def _drop_dead_pins(self) -> None:
        """Forget the copies of this thread, and of threads that died, which ended early (``f(a=1, **x)`` raised): they would
        keep reads slow. Each living thread looks after its own."""
        pins = self._pins.copy()  # in one step, while list() lets others run if it has to collect garbage
        me, own = _this_thread(), _own_places()
        for place, pin in pins.items():
            thread = pin[2]()
            if thread is None or (thread is me and place not in own):
                with lock:
                    if self._pins.get(place) is pin:
                        del self._pins[place]


def _of_now(name: str) -> Callable[..., Any]:
    """Make a method that does what FrozenDict's does, with the data of the moment."""
    method = getattr(FrozenDict, name)

    def call(self: Section, *args: Any) -> Any:
        # The other side may be a section too, whose storage C would compare, stale as it may be.
        return method(self._now().tree, *[a._now().tree if isinstance(a, Section) else a for a in args])

    call.__name__ = name
    return call


for _name in (
    "__contains__", "__eq__", "__iter__", "__len__", "__ne__", "__or__", "__repr__", "__reversed__",
    "__ror__", "copy", "items", "values",
):  # fmt: skip
    setattr(Section, _name, _of_now(_name))
