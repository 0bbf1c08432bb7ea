"""Live attributes: ``class Gate: MIN_TRADES = params.live("conviction_gate.min_trades")``.

A read costs one truth test more than any Python descriptor does. To keep it so, everything rare is out of
its way: a descriptor starts as ``Live``; where the attribute is annotated it becomes ``_Annotated``, which
looks whether ``dataclasses`` is asking; once an instance has its own value it becomes ``_Pinned``, which
looks into the instance first.
"""

from __future__ import annotations

import sys

from paramstore._section import lock
from paramstore.errors import LiveError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, MemberDescriptorType
    from typing import Any, NoReturn

    from paramstore._section import Source


class Live:
    """An attribute that always reads the newest value of the parameter ``key``.

    Assigning to an instance gives that instance its own value; ``del`` makes it live again. Raises
    UnknownParamError when made for an unknown key, and LiveError when used outside of a class.
    """

    # _slot is where an instance keeps its own value, if not in its __dict__.
    __slots__ = ("__weakref__", "_key", "_name", "_slot", "_source", "_value", "flag")

    def __init__(self, source: Source, key: str) -> None:
        self._source = source
        self._key = key
        self._name: str | None = None
        self._slot: MemberDescriptorType | None = None
        self._value = source.current()[1][key]
        self.flag: object = True  # the first read asks again: a change before attach() is not lost
        source.attach(self)

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if self.flag:
            return self._refetch()
        return self._value

    def __set__(self, obj: Any, value: Any) -> None:
        if isinstance(value, Live):
            return self._make_live(obj, value)
        self._refuse_copied_default(type(obj))
        self.__class__ = _Pinned  # before the value is stored, so that no later read misses it
        if self._slot is not None:
            self._slot.__set__(obj, value)
        else:
            self._dict_of(obj)[self._name_in(type(obj))] = value
        return None

    def __delete__(self, obj: Any) -> None:
        if self._slot is not None:
            return self._slot.__delete__(obj)
        name = self._name_in(type(obj))
        if self._dict_of(obj).pop(name, self) is self:
            raise AttributeError(f"{type(obj).__name__!r} object has no {name!r} of its own: it is live")
        return None

    def __set_name__(self, owner: type, name: str) -> None:
        _refuse_owner(owner, name)
        # In a second place it needs a twin, as an instance's own value is found by the name.
        live = self if self._name is None else Live(self._source, self._key)
        live._name = name
        if _is_annotated(owner, name):
            live.__class__ = _Annotated
        here = owner.__dict__.get(name)
        if here is self:
            setattr(owner, name, live)
        elif type(here).__module__ == "dataclasses":  # field(default=self), which told us the name
            from paramstore._live_fields import live_field

            setattr(owner, name, live_field(here, live))
        keep_state(owner)

    def _refetch(self) -> Any:
        """Read the newest value, and publish it unless something newer came meanwhile."""
        self.flag = mine = object()  # true, and replaced by whoever reads or expires after us
        flag, values = self._source.current()
        value = values[self._key]
        with lock:
            if self.flag is mine:
                self._value = value  # before the flag: who sees the new flag must see the new value
                self.flag = flag
        return value

    def _own_value(self, obj: Any) -> Any:
        """Return the value that the instance has itself, or ``self`` if it is live there."""
        if self._slot is None:
            return getattr(obj, "__dict__", {}).get(self._name_in(type(obj)), self)
        try:
            return self._slot.__get__(obj)
        except AttributeError:
            return self

    def _make_live(self, obj: Any, default: Live) -> None:
        """Do what ``__init__`` of a dataclass means when it assigns the default."""
        if default._key != self._key or default._source is not self._source:
            raise LiveError(
                f"{default!r} was assigned to an instance, whose class has {self!r} there. Write "
                f"`NAME: type = {default!r}` in the class, under its own `@dataclass` if it is one."
            )
        if self._own_value(obj) is not self:
            self.__delete__(obj)

    def _refuse_copied_default(self, cls: type) -> None:
        # `@dataclass class Sub(Base): X: float`, where Base has `X = params.live(...)` without annotation:
        # dataclasses has read a number as the default, and would give it to every instance.
        field = getattr(cls, "__dataclass_fields__", {}).get(self._name)
        if field is not None and self._slot is None and not isinstance(field.default, Live):
            raise LiveError(
                f"Dataclass {cls.__name__} copied the value of `{self._name}` when it was made, so that it "
                f"would not be live. Write `{self._name}: ... = params.live({self._key!r})` in it."
            )

    def _dict_of(self, obj: Any) -> Any:
        try:
            return obj.__dict__
        except AttributeError:
            message = f"{type(obj).__name__!r} object attribute {self._name!r} is read-only"
            raise AttributeError(message) from None

    def _name_in(self, cls: type) -> str:
        if self._name is None:  # put into the class after it was made
            self._name = next(n for base in cls.__mro__ for n, a in vars(base).items() if a is self)
        return self._name

    def __eq__(self, other: object) -> bool:
        return self is other if isinstance(other, Live) else _misuse(self)

    __hash__ = object.__hash__  # dataclasses takes what has no hash for a mutable default

    def __repr__(self) -> str:
        return f"live({self._key!r})"

    def __copy__(self) -> Live:
        return self

    def __deepcopy__(self, memo: object) -> Live:
        return self

    def __reduce__(self) -> NoReturn:
        _misuse(self)


class _Annotated(Live):
    """A live attribute that may be a field of a dataclass."""

    __slots__ = ()

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is None:
            return self._of_class(sys._getframe(1))
        if self.flag:
            return self._refetch()
        return self._value

    def _of_class(self, caller: FrameType) -> Any:
        # A dataclass takes its defaults by getattr(cls, name): a number would be frozen into __init__.
        if caller.f_code.co_name == "_get_field" and caller.f_globals.get("__name__") == "dataclasses":
            from paramstore._live_fields import live_field

            return live_field(caller.f_globals["field"](), self)
        return self._refetch() if self.flag else self._value


class _Pinned(_Annotated):
    """A live attribute of which some instance has, or had, its own value."""

    __slots__ = ()

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is None:
            return self._of_class(sys._getframe(1))
        value = self._own_value(obj)
        if value is not self:
            return value
        return self._refetch() if self.flag else self._value


def in_slot(live: Live, slot: MemberDescriptorType) -> Live:
    """Return a twin for a class that keeps an instance's own value in ``slot``."""
    twin = _Annotated(live._source, live._key)
    twin._name = slot.__name__
    twin._slot = slot
    return twin


def live_at(cls: type, name: str) -> Live | None:
    """Return the live attribute that instances of the class have under this name."""
    for base in cls.__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            return found if isinstance(found, Live) else None
    return None


def is_live(obj: Any, name: str) -> bool:
    """Tell whether the attribute of this instance is live and not its own."""
    live = live_at(type(obj), name)
    return live is not None and live._own_value(obj) is live


def keep_state(cls: type) -> None:
    """Let copies and pickles of instances carry own values only, unless the class has its own way.

    Without it a slot would be saved with the value of the moment, and what unpickling puts straight
    into ``__dict__`` would not be looked at.
    """
    stock = sys.modules.get("dataclasses")
    known = (
        None, object.__getstate__, _getstate, _setstate,
        getattr(stock, "_dataclass_getstate", None), getattr(stock, "_dataclass_setstate", None),
    )  # fmt: skip
    if any(base.__name__ == "Protocol" for base in cls.__bases__):
        return  # each method would be one more that the protocol asks for
    if cls.__getstate__ in known and getattr(cls, "__setstate__", None) in known:
        for name, method in {"__getstate__": _getstate, "__setstate__": _setstate}.items():
            setattr(cls, name, method)


def _getstate(self: Any) -> Any:
    state = object.__getstate__(self)
    if isinstance(state, tuple):  # (__dict__, slots), each slot read with getattr
        state = state[0], {name: value for name, value in state[1].items() if not is_live(self, name)}
    return state


def _setstate(self: Any, state: Any) -> None:
    fields, slots = state if isinstance(state, tuple) else (state, None)
    for name, value in (fields or {}).items():
        live = live_at(type(self), name)
        if live is None:
            self.__dict__[name] = value
        else:
            live.__set__(self, value)  # even if frozen
    for name, value in (slots or {}).items():
        object.__setattr__(self, name, value)


def _is_annotated(cls: type, name: str) -> bool:
    # Python 3.14 no longer keeps annotations at hand: there, take it that every attribute may have one.
    return name in vars(cls).get("__annotations__", ()) or "__annotate_func__" in vars(cls)


_NOT_LIVE = {  # metaclass: why
    "EnumType": "an Enum fixes the values of its members",
    "_TypedDictMeta": "a TypedDict has keys and no attributes",
    "ModelMetaclass": "pydantic copies defaults into its own fields",
}


def _refuse_owner(cls: type, name: str) -> None:
    if "ClassVar" in str(vars(cls).get("__annotations__", {}).get(name)):
        return
    metaclass: type = type(cls)
    for kind in metaclass.__mro__:
        if kind.__name__ in _NOT_LIVE:
            raise LiveError(
                f"`{cls.__name__}.{name}` cannot be live: {_NOT_LIVE[kind.__name__]}. Use a plain class "
                "or a dataclass, or read `params.get(...)` where the value is needed."
            )


def _misuse(self: Live, *_: object) -> NoReturn:
    """Stand in for whatever would take the descriptor itself for the number it stands for."""
    raise LiveError(
        f"{self!r} was used in place of its value. It is live only as an attribute of a class: write "
        f"`class Gate: NAME = params.live({self._key!r})` and read `Gate().NAME` or `Gate.NAME`. A module, "
        "a function default, NamedTuple or attrs copies the object: write "
        f"`params.get({self._key!r})` there, where the value is needed."
    )


_NUMBER = "add sub mul truediv floordiv mod divmod pow lshift rshift and xor or matmul"
_OTHER = (
    "lt le gt ge bool int float complex index round trunc floor ceil neg pos abs invert str format "
    "iter len contains getitem"
)
for _name in [*_NUMBER.split(), *("r" + name for name in _NUMBER.split()), *_OTHER.split()]:
    setattr(Live, f"__{_name}__", _misuse)
