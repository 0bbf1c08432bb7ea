"""Questions about the past, answered from the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from paramstore._backends.base import Backend
from paramstore._history import Written, changes_between, documents_at, flatten, replay, shaped
from paramstore._model import ABSENT, Change, Entry
from paramstore._reads import Snapshot
from paramstore._records import entry
from paramstore._state import State
from paramstore.errors import InvalidFileError, UnknownRevisionError

When = int | str | datetime


def history(backend: Backend, key: str | None, refused: bool = False) -> list[Entry]:
    """Return all entries, or those that touched ``key`` (a pattern) with only those changes. Refusals touch nothing;
    they are left out unless asked for."""
    entries = [entry(r) for r in backend.records() if refused or r["kind"] != "refusal"]
    if key is None:
        return entries
    narrowed = [replace(e, changes=tuple(c for c in e.changes if fnmatchcase(c.key, key))) for e in entries]
    return [e for e in narrowed if e.changes or _concerns(e, key)]


def _concerns(e: Entry, key: str) -> bool:
    """Tell whether an entry without changes is about keys that match ``key``."""
    if e.kind == "refusal":
        return any(fnmatchcase(violation["key"], key) for violation in e.details.get("violations", ()))
    pattern = e.details.get("pattern")
    return pattern is not None and (fnmatchcase(key, pattern) or fnmatchcase(pattern, key))


def pending(backend: Backend, state: State) -> tuple[Change, ...]:
    """Return what the files say differently from the journal; nothing while there is no journal."""
    records = backend.records()
    if not records:
        return ()
    return changes_between(_written(backend, records, None), flatten(state.documents))


def diff(backend: Backend, a: When, b: When | None, now: State) -> tuple[Change, ...]:
    records = backend.records()
    newer = flatten(now.documents) if b is None else _written(backend, records, revision_of(records, b))
    return changes_between(_written(backend, records, revision_of(records, a)), newer)


def as_of(backend: Backend, when: When, now: State) -> Snapshot:
    records = backend.records()
    if not records and when == 0:
        return Snapshot(now)
    revision = revision_of(records, when)
    written = _written(backend, records, revision)
    return Snapshot(State(revision, documents_at(written, now.documents)))


def rollback_requests(
    backend: Backend, to: When, keys: str | None, now: State
) -> list[tuple[str, Mapping[str, Any], Any]]:
    """Return ``(key, context, value)`` for everything that differs from revision or time ``to``."""
    records = backend.records()
    then = _written(backend, records, revision_of(records, to))
    found = []
    for change in changes_between(flatten(now.documents), then):
        namespace, _, path = change.key.partition(".")
        known = namespace in now.documents and path in now.documents[namespace].values
        keeps = change.new is ABSENT and not change.context  # it did not exist then
        if known and not keeps and (keys is None or fnmatchcase(change.key, keys)):
            found.append((change.key, change.context, change.new))
    return found


def revision_of(records: list[dict[str, Any]], when: When) -> int:
    """Return the revision that stood at ``when``. Raises ``UnknownRevisionError``."""
    newest = records[-1]["revision"] if records else 0
    if not records:
        raise UnknownRevisionError("The journal is empty: nothing was committed yet.")
    if isinstance(when, str) and when.isdecimal():
        when = int(when)
    if isinstance(when, int) and not isinstance(when, bool):
        if records[0]["revision"] <= when <= newest:
            return when
        first = records[0]["revision"]
        raise UnknownRevisionError(f"There is no revision {when}; the journal holds {first} to {newest}.")
    moment = _moment(when)
    before = [record["revision"] for record in records if _moment(record["time"]) <= moment]
    if not before:
        raise UnknownRevisionError(f"The journal begins at {records[0]['time']}, after {when}.")
    return int(before[-1])


def _moment(when: Any) -> datetime:
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            raise UnknownRevisionError(
                f"{when!r} is neither a revision nor a time such as 2026-01-31T12:00:00."
            ) from None
    if not isinstance(when, datetime):
        raise UnknownRevisionError(f"{when!r} is neither a revision nor a time.")
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _written(backend: Backend, records: list[dict[str, Any]], until: int | None) -> Written:
    written = replay(records, until)
    schemas = {}
    for namespace in {key.partition(".")[0] for key, _ in written}:
        try:
            schemas[namespace] = backend.schema(namespace)
        except (InvalidFileError, KeyError):
            continue  # a namespace that is gone: its values come back as plain data
    return shaped(written, schemas)
