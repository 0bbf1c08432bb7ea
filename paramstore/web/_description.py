"""The description of the API (OpenAPI): what FastAPI makes of the routes, made true of every error and of the token."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from paramstore import __version__
from paramstore.web._answers import Error
from paramstore.web._problems import MEDIA_TYPE

ABOUT = (
    "What a parameter store holds, what happened to it, and (with `--allow-writes`) what a person may do to it. Answers are those of the "
    "command line's `--json`. Every error is a problem (RFC 9457) whose `detail` is a whole sentence. An action is previewed first "
    "(`dry_run`), and done as it was shown or not at all (`seen`)."
)
REFUSALS = {
    400: "The request is malformed, or names a context that there is not.",
    401: "The token is missing or wrong.",
    403: "The request comes from another origin or names another host, or writing is off.",
    404: "There is no such parameter, revision, time or entry.",
    405: "There is no such method here.",
    408: "The request did not come whole in time.",
    429: "Too many requests; `Retry-After` says when to try again.",
    503: "The store is broken or cannot be reached, or another writer held its lock too long.",
}
REFUSALS_OF_WRITES = {
    409: "What would be done is no longer what was shown; `preview` is the new one.",
    413: "The request is too large.",
    415: "The request is not JSON.",
    422: "A rule is broken; `violations` says which.",
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description, made once."""
    if app.openapi_schema is None:
        found = get_openapi(title="paramstore", version=__version__, description=ABOUT, routes=app.routes)
        parts = found.setdefault("components", {})
        parts.setdefault("securitySchemes", {})["bearer"] = {"type": "http", "scheme": "bearer"}
        schemas = parts.setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        error = Error.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
        for name, schema in error.pop("$defs", {}).items():
            schemas.setdefault(name, schema)
        schemas["Error"] = error
        for operations in found["paths"].values():
            for method, operation in operations.items():
                _complete(operation, method == "post")
        app.openapi_schema = found
    return app.openapi_schema


def _complete(operation: dict[str, Any], writes: bool) -> None:
    operation["security"] = [{"bearer": []}] if writes else [{"bearer": []}, {}]
    responses = operation["responses"]
    responses.pop("422", None)
    for status, why in (REFUSALS | (REFUSALS_OF_WRITES if writes else {})).items():
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Error"}}}
        responses.setdefault(str(status), {"description": why, "content": content})
