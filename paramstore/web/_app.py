"""The application put together: the API, the metrics and the page, behind the guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from paramstore import __version__
from paramstore.errors import ParamstoreError
from paramstore.web import _page
from paramstore.web._actions import Actions
from paramstore.web._background import Background
from paramstore.web._description import describe
from paramstore.web._guard import Guard
from paramstore.web._index import Index
from paramstore.web._metrics import Metrics
from paramstore.web._news import News
from paramstore.web._problems import RefusedError, problem, problem_of
from paramstore.web._reads import Reads
from paramstore.web._routes import action_routes, read_routes
from paramstore.web._threads import Threads

if TYPE_CHECKING:
    from paramstore._store import ParamStore
    from paramstore.web._admission import Settings

SHOWN = 5  # faults of a request that its answer names


def make_app(store: ParamStore, settings: Settings) -> Guard:
    """Return the application for ``store``; it starts its threads when the server does."""
    index = Index(store)
    background = Background(store, settings.outcomes, settings.metric)
    news = News(store, index)
    metrics = Metrics(store, index, news, background)
    threads = Threads()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        index.start()
        news.start(asyncio.get_running_loop())
        try:
            yield
        finally:
            news.stop()
            threads.stop()

    app = FastAPI(
        title="paramstore",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # they would load from other hosts
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        redirect_slashes=False,
    )
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    app.include_router(
        read_routes(Reads(store, settings, index, background), news, threads, settings.private)
    )
    app.include_router(action_routes(Actions(store), threads))
    _add_page(app)
    _add_metrics(app, metrics, threads)
    _add_refusals(app)
    return Guard(app, settings, [_page.map_hash().strip("'")])


def _add_page(app: FastAPI) -> None:
    async def page(request: Request) -> Response:
        found = _page.respond(request.url.path, request.headers.get("if-none-match", ""))
        if found is None:
            raise HTTPException(404)
        return Response(found.body, found.status, found.headers)

    app.add_api_route("/", page, include_in_schema=False)
    app.add_api_route("/assets/{name:path}", page, include_in_schema=False)


def _add_metrics(app: FastAPI, metrics: Metrics, threads: Threads) -> None:
    async def scrape(request: Request) -> Response:
        work = partial(metrics.exposition, request.headers.get("accept", ""))
        body, media_type = await threads.read(work, request.scope.get("bears_token", False))
        return Response(body, media_type=media_type)

    app.add_api_route("/metrics", scrape, include_in_schema=False)


def _add_refusals(app: FastAPI) -> None:
    """Turn whatever bad input and a broken store can raise into a problem."""

    async def refused(_: Request, error: Exception) -> Response:
        return problem_of(error)

    for kind in (ParamstoreError, OSError, RecursionError, RefusedError):
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _of_framework)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = [_fault(each) for each in error.errors()[:SHOWN]]
    return problem(
        400, "malformed", f"{'; '.join(said)}.{' Nothing was written.' if request.method == 'POST' else ''}"
    )


def _fault(found: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in found["loc"][1:])
    text = found["msg"].removeprefix("Value error, ")
    return f"{place}: {text}" if place else text


async def _of_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {
        400: ("malformed", "The request is malformed."),
        404: (
            "no_such_path",
            f"There is nothing at {request.url.path}; /api/v1/openapi.json says what there is.",
        ),
        405: ("no_such_method", f"{request.url.path} does not answer to {request.method}."),
    }
    kind, detail = words.get(error.status_code, ("refused", str(error.detail)))
    return problem(error.status_code, kind, detail, error.headers)
