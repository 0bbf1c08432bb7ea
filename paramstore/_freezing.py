"""Freezes and approvals: entries of the journal that change no value, but who may change it and how far."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from paramstore._clock import utc_text
from paramstore._history import flatten
from paramstore._layers import matching_pattern
from paramstore._model import Entry, Kind
from paramstore._transaction import Transaction
from paramstore._values import same, thaw
from paramstore.errors import ValidationError

CENTURY_S = 3.15e9
LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)")
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
Until = datetime | str | float | None
Confirm = Callable[
    [Mapping[str, Any]], object
]  # gets the details of the entry; what it raises keeps that from being written


def freeze(tx: Transaction, pattern: str, until: Until, confirm: Confirm | None = None) -> Entry:
    """Record a freeze. See ``ParamStore.freeze``."""
    pattern = _pattern(tx, pattern)
    _need_reason(tx, "A freeze")
    details: dict[str, Any] = {"pattern": pattern}
    if until is not None:
        now = tx.clock.now()
        details["until"] = utc_text(_moment(tx, until, now))
    return _record(tx, "freeze", details, confirm)


def unfreeze(tx: Transaction, pattern: str, confirm: Confirm | None = None) -> Entry:
    """Record the end of a freeze. See ``ParamStore.unfreeze``."""
    active = list(dict.fromkeys(found.pattern for found in tx.ledger.freezes(tx.clock.now())))
    if pattern not in active:
        pattern = _pattern(tx, pattern)
    if pattern not in active:
        frozen = ", ".join(f"`{found}`" for found in active) or "nothing"
        _refuse(tx, f"There is no freeze of exactly `{pattern}`. Frozen now: {frozen}.")
    return _record(tx, "unfreeze", {"pattern": pattern, "ends": tx.ledger.freezes_of(pattern)}, confirm)


def _record(tx: Transaction, kind: Kind, details: Mapping[str, Any], confirm: Confirm | None) -> Entry:
    if confirm is not None:
        confirm(details)
    return tx.record(kind, details)


def _pattern(tx: Transaction, text: str) -> str:
    """Return ``text`` as a pattern that holds something, though the file that it is in may be broken just now."""
    documents = tx.state.documents
    broken = tx.state.missing()
    if isinstance(text, str) and (text == "*" or text.partition(".")[0] in broken):
        return f"{text}.*" if text in broken else text
    return matching_pattern(text, [f"{name}.{path}" for name, d in documents.items() for path in d.values])


def approve(tx: Transaction, pattern: str, confirm: Confirm | None = None) -> Entry:
    """Record today's values as baselines. See ``ParamStore.approve``."""
    from fnmatch import fnmatchcase

    pattern = _pattern(tx, pattern)
    _need_reason(tx, "An approval")
    baselines = []
    for (key, at), value in flatten(tx.state.documents).items():
        if fnmatchcase(key, pattern) and not same(tx.ledger.baselines.get((key, at)), thaw(value)):
            item = {"key": key, "value": thaw(value)}
            baselines.append({**item, "context": dict(at)} if at else item)
    return _record(tx, "approve", {"pattern": pattern, "baselines": baselines}, confirm)


def _moment(tx: Transaction, until: Any, now: float) -> float:
    length = LENGTH.fullmatch(until.strip()) if isinstance(until, str) else None
    if length is not None:
        until = float(length[1]) * SECONDS[length[2]]
    if isinstance(until, str):
        try:
            until = datetime.fromisoformat(until)
        except ValueError:
            _refuse(
                tx,
                f"until = {until!r} is no time such as 2026-01-31T12:00:00, and no length such as 90s, 30min, 2h or 3d.",
            )
    if isinstance(until, datetime):
        until = (until if until.tzinfo is not None else until.replace(tzinfo=UTC)).timestamp() - now
        if until <= 0:
            _refuse(tx, f"until is not after now ({utc_text(now)}).")
    if isinstance(until, bool) or not isinstance(until, int | float) or not math.isfinite(until):
        _refuse(tx, f"until = {until!r} is neither a time nor a number of seconds from now.")
    if not 0 < until <= CENTURY_S:  # what lies further could not be read back
        _refuse(tx, f"until = {until!r} seconds from now is not within the next hundred years.")
    return float(now + until)


def _need_reason(tx: Transaction, what: str) -> None:
    if not tx.reason.strip():
        _refuse(tx, f"{what} needs a reason.")


def _refuse(tx: Transaction, problem: str) -> NoReturn:
    raise ValidationError([problem], f"Nothing was written; revision {tx.revision} stands.")
