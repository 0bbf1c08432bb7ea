"""What went wrong, as an answer (RFC 9457): one table says which status each error of the store has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from paramstore._exact import is_finite, show
from paramstore._model import Violation
from paramstore._records import LONGEST_REQUEST
from paramstore._values import ABSENT, thaw
from paramstore.errors import (
    ConflictError,
    ContextError,
    DurabilityUnknownError,
    InvalidFileError,
    LockTimeoutError,
    ParamstoreError,
    UnknownParamError,
    UnknownRevisionError,
    UnreachableError,
    ValidationError,
    WriteError,
)
from paramstore.web._index import BuildingError
from paramstore.web._threads import BusyError

MEDIA_TYPE = "application/problem+json"
RETRY_S = 1

# The first that fits, from the top.
TABLE: tuple[tuple[type[Exception], int, str], ...] = (
    (UnknownParamError, 404, "unknown_parameter"),
    (UnknownRevisionError, 404, "unknown_revision"),
    (ContextError, 400, "context"),
    (ValidationError, 422, "rule"),
    (ConflictError, 409, "conflict"),
    (LockTimeoutError, 503, "lock_timeout"),
    (DurabilityUnknownError, 503, "durability_unknown"),
    (InvalidFileError, 503, "invalid_file"),
    (UnreachableError, 503, "unreachable"),
    (WriteError, 503, "not_written"),
    (BuildingError, 503, "building"),
    (BusyError, 503, "busy"),
    (ParamstoreError, 503, "store"),
    (RecursionError, 400, "malformed"),
    (OSError, 503, "system"),
)


class RefusedError(Exception):
    """A request that is turned down by the API itself, with the answer to it."""

    def __init__(self, status: int, kind: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.more = status, kind, detail, more


def dumps(data: Any) -> bytes:
    """Write JSON in ASCII, which no encoding can spoil, without what is no JSON. Raises ``ValueError`` for NaN and infinity."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii")


def problem(
    status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """Return the answer that says what went wrong."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Refused"
    body = {"title": title, "status": status, "detail": detail, "kind": kind, **more}
    return Response(dumps(body), status, dict(headers or {}), MEDIA_TYPE)


def problem_of(error: Exception) -> Response:
    """Return the answer to an error that bad input, or the state of the store, can cause."""
    if isinstance(error, RefusedError):
        return problem(error.status, error.kind, error.detail, **error.more)
    status, kind = next((status, kind) for known, status, kind in TABLE if isinstance(error, known))
    more: dict[str, Any] = {}
    if isinstance(error, ValidationError) and error.broken:
        more["violations"] = violations_json(error.broken)
    if isinstance(error, UnknownParamError) and error.nearest:
        more["nearest"] = list(error.nearest)
    soon = isinstance(error, LockTimeoutError | BuildingError | BusyError)
    headers = {"Retry-After": str(RETRY_S)} if soon else {}
    return problem(status, kind, _sentence(error), headers, **more)


def _sentence(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "The request is nested too deep. Nothing was written."
    if isinstance(error, OSError) and not isinstance(error, ParamstoreError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return str(error)


def violations_json(broken: Iterable[Violation]) -> list[dict[str, Any]]:
    """Return broken rules as plain data; what is no plain finite data is shown as Python writes it."""
    return [
        {
            "key": each.key,
            "rule": each.rule,
            "text": each.text,
            "requested": _asked(each.requested),
            "context": dict(each.context),
            "allowed": None if each.allowed is None else list(each.allowed),
        }
        for each in broken
    ]


def _asked(value: Any) -> Any:
    if value is ABSENT:
        return None
    plain = is_finite(value) and len(repr(value)) <= LONGEST_REQUEST
    return thaw(value) if plain else show(value)
