"""What dataclasses need so that a field stays live. Imported only once `dataclasses` is in use."""

from __future__ import annotations

import dataclasses
import sys
import types

from paramstore._live import Live, in_slot, is_live, keep_state
from paramstore.errors import LiveError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_init: Any = vars(dataclasses.Field)["init"]  # the slot, below the property that hides it


def live_field(stock: Any, live: Live) -> LiveField:
    """Return the field with ``live`` as its default, all else as in ``stock``."""
    field = LiveField.__new__(LiveField)
    for name in dataclasses.Field.__slots__:
        setattr(field, name, getattr(stock, name))
    field.default = live
    return field


class LiveField(dataclasses.Field):  # type: ignore[type-arg]
    """A field whose default is a live attribute.

    dataclasses lets a field have a say only by reading its attributes. It reads ``init`` at the two
    moments that matter: when it makes a class, and when ``replace()`` copies an instance.
    """

    __slots__ = ()

    @property
    def init(self) -> bool:
        frame: types.FrameType | None = sys._getframe(1)
        stored = bool(_init.__get__(self))
        while frame is not None and frame.f_globals is vars(dataclasses):
            if frame.f_code.co_name == "_process_class":
                self._enter(frame.f_locals["cls"], frame.f_locals["slots"])
                return stored
            if frame.f_code.co_name in {"replace", "_replace"}:
                return stored and self._is_carried(frame.f_locals)
            frame = frame.f_back
        if frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "pydantic":
            raise LiveError(
                f"Field `{self.name}` cannot be live: pydantic copies defaults into instances. Use a "
                "dataclass of the standard library, or read `params.get(...)` where the value is needed."
            )
        return stored

    @init.setter
    def init(self, value: bool) -> None:
        _init.__set__(self, value)

    def _enter(self, cls: type, slots: bool) -> None:
        """Prepare for a class that has this field, its own or inherited."""
        if self._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]
            raise LiveError(
                f"`{cls.__name__}.{self.name}` cannot be live: an InitVar is only passed on. Make it a "
                "field, or read `params.get(...)` in __post_init__."
            )
        if slots:
            if _Slots.HOOK not in vars(cls):
                setattr(cls, _Slots.HOOK, _Slots())
                keep_state(cls)  # or a frozen class gets methods that save each field's value
            vars(cls)[_Slots.HOOK].lives[self.name] = self.default

    def _is_carried(self, replace: Mapping[str, Any]) -> bool:
        """Tell whether a copy gets a value of its own; a field that is not in ``init`` is left live."""
        instance = replace["obj"] if "obj" in replace else replace["self"]  # the latter since Python 3.13
        return self.name in replace["changes"] or not is_live(instance, self.name)


class _Slots:
    """Put live attributes over the slots of the class that ``@dataclass(slots=True)`` makes anew.

    It drops the descriptors, makes a class with a slot under each field's name, and copies every other
    attribute, such as this one, which is then told about the new class.
    """

    HOOK = "__live_slots__"

    def __init__(self) -> None:
        self.lives: dict[str, Live] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        delattr(owner, name)
        for field, live in self.lives.items():
            setattr(owner, field, in_slot(live, _slot_of(owner, field)))


def _slot_of(cls: type, name: str) -> types.MemberDescriptorType:
    """Find the slot of the class or, where a base has it already, of that base."""
    found = [vars(base)[name] for base in cls.__mro__ if name in vars(base)]
    slots = [attr._slot if isinstance(attr, Live) else attr for attr in found]
    return next(slot for slot in slots if isinstance(slot, types.MemberDescriptorType))
