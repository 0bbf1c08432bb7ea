"""Values laid over everything, in this process only: for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from paramstore.errors import ValidationError

if TYPE_CHECKING:
    from paramstore._store import ParamStore


@contextmanager
def override(store: ParamStore, values: Mapping[str, Any]) -> Iterator[None]:
    """See ``ParamStore.override``."""
    layer: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in values.items():
        layer[key], wrong = store.judge(key, value)
        problems += [f"{problem}." for problem in wrong]
    if problems:
        raise ValidationError(problems, "Nothing was overridden.")
    store.lay(layer)
    try:
        yield
    finally:
        store.lift(layer)
