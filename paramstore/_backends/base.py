"""The one protocol that a backend keeps. ``paramstore.testing`` holds the tests that any must pass."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from paramstore._clock import Clock
from paramstore._history import Written
from paramstore._ledger import Ledger
from paramstore._model import Change, Entry, Kind
from paramstore._outline import Line
from paramstore._schema import Schema
from paramstore._state import State


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has a revision: checked changes, and who wants them and why. One without changes (a
    freeze, an approval, a refusal) is recorded under the revision that stands."""

    kind: Kind
    author: str
    changes: tuple[Change, ...]
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Session(Protocol):
    """Exclusive access to the newest state, after recovery and with edits by hand recorded."""

    @property
    def state(self) -> State: ...

    @property
    def ledger(self) -> Ledger:
        """What the journal says of the past, as guards need it."""

    @property
    def clock(self) -> Clock:
        """Where entries get their time from."""

    def schema(self, namespace: str) -> Schema:
        """Return the schema that ``state`` was validated with."""

    def refresh(self) -> State:
        """Look again at what stands, after a ``ConflictError``, and return it."""

    def came(self, author: str) -> None:
        """Remember that ``author`` was here and had nothing to change. Never raises; may be forgotten."""

    def commit(self, draft: Draft) -> tuple[State, Entry]:
        """Make all changes at once and durable, record them, and tell all readers.

        Raises ``ConflictError`` when someone changed the values meanwhile, ``WriteError`` or
        ``LockLostError`` when it cannot be done: then nothing was written. Raises
        ``DurabilityUnknownError`` when it was done but the disk did not confirm.
        """


class Backend(Protocol):
    """Where values live. Everything returned is immutable."""

    @property
    def clock(self) -> Clock:
        """Where entries get their time from."""

    def signal(self) -> object:
        """Return an object whose truth turns true once a commit by anyone supersedes what a ``load``
        after this call returns. Testing it must cost nanoseconds."""

    def load(self, last: State | None, files: bool = False) -> State:
        """Return the newest good state; ``last`` itself, or cheaply built upon it, where possible.

        ``files`` asks to look for changes that no commit announced as well. Problems of single
        namespaces are in the state, which keeps their last good documents; raises
        ``InvalidFileError`` only when there is none.
        """

    def poll(self, last: State) -> bool:
        """Tell cheaply whether ``load(last, files=True)`` may find something new."""

    def schema(self, namespace: str, digest: str = "") -> Schema:
        """Return the schema of a namespace: that of ``digest`` if it is at hand, else the newest.

        Raises ``SchemaError``.
        """

    def session(
        self, timeout_s: float, last: State | None, tolerant: bool = False
    ) -> AbstractContextManager[Session]:
        """Lock, recover, load. Raises ``LockTimeoutError`` and what ``load`` raises; with ``tolerant``, a namespace
        that has no good document is left out instead, and is among the problems."""

    def past(self) -> Ledger:
        """Return what the journal says of the past, up to now."""

    def records(self) -> list[dict[str, Any]]:
        """Return every journal record (see ``_records``), oldest first, aborted ones left out."""

    def lines(self) -> list[Line]:
        """Return the lines of those records, each parsed only when it is used."""

    def written(self) -> Written:
        """Return every value as the journal tells it, up to now; a dictionary of the caller's own."""

    def visits(self) -> dict[str, float]:
        """Return when each author last came and had nothing to change (seconds since 1970), as far as it is known."""

    def after_fork(self) -> None:
        """Forget, in a forked child, whatever only the parent may use."""

    def age_s(self) -> float:
        """Return the seconds since what ``load`` gives was last known to be the newest; ``inf`` if it never was."""

    def close(self) -> None:
        """Give back what is held: threads, connections. Whatever is asked after that opens it again."""
