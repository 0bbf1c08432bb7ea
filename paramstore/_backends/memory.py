"""Values in this process only, under the same promises: for tests, and for trying things out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from paramstore import _records
from paramstore._backends.base import Draft
from paramstore._clock import SYSTEM, Clock, utc_text
from paramstore._history import Written, changes_between, flatten, replay
from paramstore._ledger import Ledger
from paramstore._model import ABSENT, Change, Entry
from paramstore._outline import Line
from paramstore._schema import Schema
from paramstore._state import State
from paramstore.errors import LockTimeoutError


class MemoryBackend:
    """``schemas`` maps namespaces to schemas (plain JSON data), ``values`` to plain values files; a
    namespace without values starts from its defaults. Raises ``InvalidFileError`` for wrong input."""

    def __init__(
        self,
        schemas: Mapping[str, Mapping[str, Any]],
        values: Mapping[str, Any] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.clock = clock
        self.ledger = Ledger()
        self._visits: dict[str, float] = {}
        self._schemas = {
            name: Schema(name, raw, f"schemas/{name}.schema.json") for name, raw in schemas.items()
        }
        documents = {}
        for name, schema in sorted(self._schemas.items()):
            data = (values or {}).get(name) or {"schema": 1, "values": schema.defaults()}
            documents[name] = schema.document(data, f"params/{name}.yaml", "")
        self._state = State(0, documents)
        self._records: list[dict[str, Any]] = []
        self._superseded: list[bool] = []  # turns true by being appended to: as cheap to test as a flag
        self._mutex = threading.Lock()
        self._owner: int | None = None
        changes = changes_between({}, flatten(documents))
        self._note(
            Entry(
                0,
                "",
                utc_text(clock.now()),
                "external",
                "external",
                "values before the first commit",
                {},
                changes,
                uptime=clock.uptime(),
            )
        )

    def signal(self) -> object:
        return self._superseded

    def load(self, last: State | None, files: bool = False) -> State:
        return self._state

    def poll(self, last: State) -> bool:
        return last is not self._state

    def schema(self, namespace: str, digest: str = "") -> Schema:
        return self._schemas[namespace]

    @contextmanager
    def session(
        self, timeout_s: float, last: State | None, tolerant: bool = False
    ) -> Iterator[MemoryBackend]:
        nested = self._owner == threading.get_ident()
        if nested or not self._mutex.acquire(timeout=max(0.0, timeout_s)):
            who = "this thread has" if nested else "another thread has"
            raise LockTimeoutError(
                f"Could not lock the store: {who} a transaction open. Nothing was written."
            )
        self._owner = threading.get_ident()
        try:
            yield self
        finally:
            self._owner = None
            self._mutex.release()

    def past(self) -> Ledger:
        return self.ledger

    @property
    def state(self) -> State:
        return self._state

    def refresh(self) -> State:
        return self._state

    def came(self, author: str) -> None:
        self._visits[author] = self.clock.now()

    def visits(self) -> dict[str, float]:
        return dict(self._visits)

    def commit(self, draft: Draft) -> tuple[State, Entry]:
        revision = self._state.revision + (draft.kind not in _records.VALUELESS)
        entry = Entry(
            revision,
            os.urandom(8).hex(),
            utc_text(self.clock.now()),
            draft.kind,
            draft.author,
            draft.reason,
            draft.evidence,
            draft.changes,
            details=draft.details,
            uptime=self.clock.uptime(),
        )
        self._note(entry)  # refuses evidence that is no plain data before anything changes
        documents = dict(self._state.documents)
        by_namespace: dict[str, list[Change]] = {}
        for change in draft.changes:
            by_namespace.setdefault(change.key.partition(".")[0], []).append(change)
        for name, changes in by_namespace.items():
            places = [(change.key.partition(".")[2], change.context, change.new) for change in changes]
            documents[name] = documents[name].with_values(places, ABSENT, entry.id)
        self._state = State(revision, documents)
        superseded, self._superseded = self._superseded, []
        superseded.append(True)
        return self._state, entry

    def _note(self, entry: Entry) -> None:
        _, line = _records.encode(entry)
        record = _records.parse(
            line
        )  # through the line, so that what comes back is what a journal would hold
        assert record is not None
        self._records.append(record)
        self.ledger.absorb(record)

    def records(self) -> list[dict[str, Any]]:
        return list(self._records)

    def lines(self) -> list[Line]:
        return [Line.of(record) for record in self._records]

    def written(self) -> Written:
        return replay(self._records)

    def age_s(self) -> float:
        return 0.0

    def close(self) -> None:
        """Nothing is held that would have to be given back."""

    def after_fork(self) -> None:
        self._mutex = threading.Lock()
        self._owner = None
