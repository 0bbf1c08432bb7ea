"""Questions about the past, answered from the journal's lines: only those that an answer needs are parsed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from paramstore._backends.base import Backend
from paramstore._clock import utc_text
from paramstore._history import Written, changes_between, documents_at, flatten, shaped
from paramstore._model import ABSENT, Change, Entry
from paramstore._outline import Line, keys_of, replayed
from paramstore._reads import Snapshot
from paramstore._records import VALUELESS, entry
from paramstore._rollback import Restoration, author_restoration, check_author, whole, without_author
from paramstore._state import State
from paramstore._transaction import Transaction
from paramstore.errors import InvalidFileError, UnknownRevisionError

When = int | str | datetime


def history(
    backend: Backend, key: str | None, refused: bool = False, newest: int | None = None
) -> list[Entry]:
    """Return all entries, or those that touched ``key`` (a pattern) with only those changes. Refusals touch nothing;
    they are left out unless asked for. ``newest``: only so many, counted from the end."""
    lines = (line for line in reversed(backend.lines()) if refused or line.kind != "refusal")
    found: list[Entry] = []
    for line in lines if key is None else _naming(lines, key):
        if newest is not None and len(found) >= newest:
            break
        made = entry(line.record) if key is None else about(entry(line.record), key)
        if made is not None:
            found.append(made)
    return found[::-1]


def about(e: Entry, key: str) -> Entry | None:
    """Return an entry with only its changes of keys that match ``key``; ``None`` where it says nothing of any."""
    e = replace(e, changes=tuple(c for c in e.changes if fnmatchcase(c.key, key)))
    return e if e.changes or _concerns(e, key) else None


def _naming(lines: Iterable[Line], key: str) -> Iterable[Line]:
    """Leave out the lines that say nothing of keys that match ``key``; what is left may say something."""
    if not any(sign in key for sign in "*?["):
        name = json.dumps(key).encode()
        return (line for line in lines if line.kind in VALUELESS or _names(line, key, name))
    known: dict[str, bool] = {}

    def matches(name: str) -> bool:
        if name not in known:
            known[name] = fnmatchcase(name, key)
        return known[name]

    return (line for line in lines if line.kind in VALUELESS or any(map(matches, keys_of(line))))


def _names(line: Line, key: str, name: bytes) -> bool:
    """Tell whether a line may have changed ``key``, written ``name`` unless somebody escaped more than they had to."""
    return name in line.raw or ((not line.raw or b"\\" in line.raw) and key in keys_of(line))


def last_change(backend: Backend, key: str) -> Entry | None:
    """Return the newest entry that changed ``key``, in whatever context."""
    for line in _naming(reversed(backend.lines()), key):
        if line.kind not in VALUELESS:
            made = entry(line.record)
            made = replace(made, changes=tuple(change for change in made.changes if change.key == key))
            if made.changed:
                return made
    return None


def _concerns(e: Entry, key: str) -> bool:
    """Tell whether an entry without changes is about keys that match ``key``."""
    if e.kind == "refusal":
        return any(fnmatchcase(violation["key"], key) for violation in e.details.get("violations", ()))
    pattern = e.details.get("pattern")
    return pattern is not None and (fnmatchcase(key, pattern) or fnmatchcase(pattern, key))


def pending(backend: Backend, state: State) -> tuple[Change, ...]:
    """Return what the files say differently from the journal; nothing while there is no journal."""
    written = backend.written()
    return changes_between(in_shape(backend, written), flatten(state.documents)) if written else ()


def diff(backend: Backend, a: When, b: When | None, now: State) -> tuple[Change, ...]:
    lines = backend.lines()
    newer = flatten(now.documents) if b is None else written_at(backend, lines, revision_of(lines, b))
    return changes_between(written_at(backend, lines, revision_of(lines, a)), newer)


def as_of(backend: Backend, when: When, now: State) -> Snapshot:
    lines = backend.lines()
    if not lines and when == 0:
        return Snapshot(now)
    revision = revision_of(lines, when)
    written = written_at(backend, lines, revision)
    return Snapshot(State(revision, documents_at(written, now.documents)))


def revision_of(lines: Sequence[Line], when: When) -> int:
    """Return the revision that stood at ``when``. Raises ``UnknownRevisionError``.

    At a time, that is the last one before the first entry made later: a clock may have been set back, and histories may
    have been joined, but nothing that was made after that time is ever seen.
    """
    if not lines:
        raise UnknownRevisionError("The journal is empty: nothing was committed yet.")
    first, newest = lines[0].revision, lines[-1].revision
    if isinstance(when, str) and when.isdecimal():
        when = int(when)
    if isinstance(when, int) and not isinstance(when, bool):
        if first <= when <= newest:
            return when
        raise UnknownRevisionError(f"There is no revision {when}; the journal holds {first} to {newest}.")
    moment = utc_text(_moment(when).timestamp())
    revision = None
    for line in lines:
        if line.time > moment:
            break
        revision = line.revision
    if revision is None:
        raise UnknownRevisionError(f"The journal begins at {lines[0].time}, after {when}.")
    return revision


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


def written_at(backend: Backend, lines: Sequence[Line], revision: int) -> Written:
    """Return every value that stood at ``revision``, of the types that its schema gives it."""
    return in_shape(backend, replayed(lines, revision))


def in_shape(backend: Backend, written: Written) -> Written:
    """Return plain values with the container types of today's schemas."""
    schemas = {}
    for namespace in {key.partition(".")[0] for key, _ in written}:
        try:
            schemas[namespace] = backend.schema(namespace)
        except (InvalidFileError, KeyError):
            continue  # a namespace that is gone: its values come back as plain data
    return shaped(written, schemas)


def restoration(backend: Backend, to: When, keys: str | None, by: str | None, tx: Transaction) -> Restoration:
    """Return what a rollback to revision or time ``to`` writes, within ``tx``; ``by`` limits it to one author's."""
    lines, documents = backend.lines(), tx.state.documents
    revision = revision_of(lines, to)
    now = flatten(documents)
    if by is None:
        return whole(now, written_at(backend, lines, revision), documents, keys)
    check_author(lines, by, tx.revision)
    found, theirs = without_author(lines, revision, by, replayed(lines, revision), tx.ledger.latest)
    there = in_shape(backend, {spot: value for spot, value in found.items() if value is not ABSENT})
    return author_restoration(now, {**found, **there}, theirs, documents, keys)
