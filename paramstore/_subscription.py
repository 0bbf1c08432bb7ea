"""Telling callbacks what a new revision changed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from paramstore._model import Change
    from paramstore._reads import Snapshot
    from paramstore._store import ParamStore

    Callback = Callable[[tuple[Change, ...]], object]


class Subscription:
    """A handle on one subscription; ``cancel()`` ends it, and so does leaving it as a context manager."""

    def __init__(self, store: ParamStore, pattern: str, callback: Callback) -> None:
        self._store = store
        self._pattern = pattern
        self._callback = callback

    def cancel(self) -> None:
        """End the subscription; a call that is under way still ends."""
        self._store.unsubscribe(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def tell(self, old: Snapshot, new: Snapshot) -> None:
        from fnmatch import fnmatchcase

        from paramstore._model import ABSENT, Change
        from paramstore._values import same

        changes = []
        for key in dict.fromkeys([*new.values, *old.values]):
            if fnmatchcase(key, self._pattern):
                before, after = dict.get(old.values, key, ABSENT), dict.get(new.values, key, ABSENT)
                if not same(before, after):
                    changes.append(Change(key, before, after, {}, after))
        if not changes:
            return
        try:
            self._callback(tuple(changes))
        except Exception:
            import logging

            logging.getLogger("paramstore").exception("a subscriber to %r failed", self._pattern)
