"""Every written value with its rules, who changed it last, and what holds it: what ``list`` shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from paramstore._ledger import Place, Touch
from paramstore._model import Spec
from paramstore._state import place as place_in
from paramstore._values import same

if TYPE_CHECKING:
    from paramstore._store import ParamStore


@dataclass(frozen=True, slots=True)
class Listed:
    """One written value: the base value of a parameter, or (with a context) an override. ``changed``: it differs from the
    schema's default. ``environment``: the value that a ``PARAM__`` variable puts over it."""

    spec: Spec
    context: Mapping[str, Any]
    value: Any
    changed: bool
    last: Touch | None
    by_hand: bool
    frozen: bool = False
    environment: Any = None


def listing(store: ParamStore, keys: Collection[str]) -> Iterator[Listed]:
    """Yield what is written for ``keys``, in the schemas' order, overrides after the base value of their key."""
    snapshot = store.snapshot()
    last, by_hand = _last_changes(store), {(c.key, place_in(c.context)) for c in store.pending()}
    frozen = store.freezes()
    for name, document in snapshot.state.documents.items():
        for path, value in document.values.items():
            key = f"{name}.{path}"
            if key not in keys:
                continue
            spec = store.spec(key)
            effective = snapshot.values[key]
            over = None if same(effective, value) else effective
            place: Place = (key, ())
            differs = not same(value, spec.default)
            held = any(fnmatchcase(key, freeze.pattern) for freeze in frozen)
            yield Listed(spec, {}, value, differs, last.get(place), place in by_hand, held, over)
            for at, own in document.overrides:
                if path in own:
                    place = (key, place_in(at))
                    yield Listed(spec, at, own[path], True, last.get(place), place in by_hand)


def _last_changes(store: ParamStore) -> dict[Place, Touch]:
    """Return who last changed each value. Revision 0 is where the journal begins, not a change."""
    return {place: touch for place, touch in store.touches().items() if touch.revision > 0}
