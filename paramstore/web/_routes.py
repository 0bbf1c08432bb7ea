"""The addresses of the API, what each takes, and what it answers with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from paramstore.web import _answers as types
from paramstore.web import _questions as asked
from paramstore.web._actions import Actions
from paramstore.web._events import Stream
from paramstore.web._problems import dumps
from paramstore.web._reads import Answer, Reads

if TYPE_CHECKING:
    from paramstore.web._news import News
    from paramstore.web._threads import Threads

JSON = "application/json"
TAGGED = {"headers": {"ETag": {"description": "Changes when the answer does.", "schema": {"type": "string"}}}}
UNCHANGED = {"description": "The answer is still the one that If-None-Match names.", **TAGGED}
Key = Annotated[
    str, Path(max_length=500, description="The full key of a parameter.", examples=["signal_weights.funding"])
]


def read_routes(reads: Reads, news: News, threads: Threads, private: bool) -> APIRouter:
    """Return every route that only reads."""
    router = APIRouter(prefix="/api/v1")

    async def answer(request: Request, work: Callable[[], Answer], long: bool = False) -> Response:
        found = await threads.read(work, request.scope.get("bears_token", False), long)
        return _respond(request, found, private)

    _value_routes(router, reads, answer)
    _past_routes(router, reads, answer)
    _state_routes(router, reads, answer)

    @router.get(
        "/events",
        **_shown(None, "Every entry of the journal as it comes, as server-sent events", stream=True),
    )
    async def events(request: Request, query: Annotated[asked.AfterQuery, Query()]) -> Response:
        return Stream(news, request.headers.get("last-event-id") or query.after)

    return router


MANY = 1_000  # entries, from which on a history takes long
Answering = Callable[..., Awaitable[Response]]


def _value_routes(router: APIRouter, reads: Reads, answer: Answering) -> None:
    @router.get("/values", **_shown(types.Values, "All values in one context, at one revision", tagged=True))
    async def values(request: Request, query: Annotated[asked.AtQuery, Query()]) -> Response:
        return await answer(request, partial(reads.values, query.at))

    @router.get("/values/{key}", **_shown(types.Value, "One value", tagged=True))
    async def value(request: Request, key: Key, query: Annotated[asked.AtQuery, Query()]) -> Response:
        return await answer(request, partial(reads.value, key, query.at))

    @router.get(
        "/parameters", **_shown(list[types.Parameter], "Every written value with its rules", tagged=True)
    )
    async def parameters(request: Request, query: Annotated[asked.PatternQuery, Query()]) -> Response:
        return await answer(request, partial(reads.parameters, query.pattern))

    @router.get("/sparklines", **_shown(types.Sparklines, "How values moved lately", tagged=True))
    async def sparklines(request: Request) -> Response:
        return await answer(request, reads.sparklines)

    @router.get("/parameters/{key}", **_shown(types.Explanation, "Why a value is what it is"))
    async def parameter(request: Request, key: Key, query: Annotated[asked.AtQuery, Query()]) -> Response:
        return await answer(request, partial(reads.explained, key, query.at))

    @router.get("/contexts", **_shown(types.Contexts, "What two contexts see differently"))
    async def contexts(request: Request, query: Annotated[asked.ContextsQuery, Query()]) -> Response:
        return await answer(request, partial(reads.contexts, query.a, query.b))


def _past_routes(router: APIRouter, reads: Reads, answer: Answering) -> None:
    @router.get("/parameters/{key}/history", **_shown(types.History, "What happened to one parameter"))
    async def key_history(
        request: Request, key: Key, query: Annotated[asked.KeyHistoryQuery, Query()]
    ) -> Response:
        work = partial(reads.key_history, key, query.limit, query.before, query.refused)
        return await answer(request, work, query.limit > MANY)

    @router.get("/history", **_shown(types.History, "What happened"))
    async def history(request: Request, query: Annotated[asked.HistoryQuery, Query()]) -> Response:
        which = query.pattern, query.limit, query.before, query.refused, query.author, query.kind
        return await answer(request, partial(reads.history, *which), query.limit > MANY)

    @router.get("/authors", **_shown(list[types.Author], "Who did how much, by kinds of entries"))
    async def authors(request: Request) -> Response:
        return await answer(request, reads.authors)

    @router.get(
        "/revisions/{number}", **_shown(types.Revision, "One revision: who, why, and what it changed")
    )
    async def revision(
        request: Request, number: Annotated[int, Path(ge=0, le=2**62, examples=[0])]
    ) -> Response:
        return await answer(request, partial(reads.revision, number))

    @router.get("/diff", **_shown(types.Comparison, "What differs between two revisions or times"))
    async def diff(request: Request, query: Annotated[asked.DiffQuery, Query()]) -> Response:
        return await answer(request, partial(reads.diff, query.a, query.b), long=True)


def _state_routes(router: APIRouter, reads: Reads, answer: Answering) -> None:
    @router.get("/doctor", **_shown(types.Doctor, "Whether learning is alive", aside=True))
    async def doctor(request: Request) -> Response:
        return await answer(request, reads.doctor)

    @router.get("/scorecard", **_shown(types.Scorecard, "What came of each change", aside=True))
    async def scorecard(request: Request, query: Annotated[asked.ScorecardQuery, Query()]) -> Response:
        return await answer(request, partial(reads.scorecard, query.revision))

    @router.get("/freezes", **_shown(list[types.Freeze], "What is frozen now"))
    async def freezes(request: Request) -> Response:
        return await answer(request, reads.freezes)

    @router.get("/health", **_shown(types.Health, "Whether all is well, and what this server allows"))
    async def health(request: Request) -> Response:
        return await answer(request, reads.health)


def action_routes(actions: Actions, threads: Threads) -> APIRouter:
    """Return every route that writes."""
    router = APIRouter(prefix="/api/v1")
    done = partial(_shown, types.Done)

    async def act(work: Callable[[], dict[str, Any]]) -> Response:
        return Response(dumps(await threads.write(work)), media_type=JSON)

    @router.post("/set", **done("Change values in one transaction"))
    async def set_values(body: asked.SetValues) -> Response:
        return await act(partial(actions.set, body))

    @router.post("/rollback", **done("Bring back the values of an earlier revision"))
    async def roll_back(body: asked.RollBack) -> Response:
        return await act(partial(actions.rollback, body))

    @router.post("/freeze", **done("Refuse writes to keys"))
    async def freeze(body: asked.FreezeKeys) -> Response:
        if body.dry_run:
            return await act(partial(actions.freeze, body))
        return Response(dumps(await threads.switch(partial(actions.freeze, body))), media_type=JSON)

    @router.post("/unfreeze", **done("End every freeze of exactly a pattern"))
    async def unfreeze(body: asked.ForKeys) -> Response:
        return await act(partial(actions.unfreeze, body))

    @router.post("/approve", **done("Make values, as they stand, the baseline that drift is measured from"))
    async def approve(body: asked.ForKeys) -> Response:
        return await act(partial(actions.approve, body))

    return router


def _shown(
    model: Any, summary: str, *, tagged: bool = False, aside: bool = False, stream: bool = False
) -> dict[str, Any]:
    """Return what a route declares of its answers; ``describe`` adds what any may be refused with."""
    ok: dict[str, Any] = {"description": "The answer.", **(TAGGED if tagged else {})}
    if stream:
        ok["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    else:
        ok["model"] = model
    responses: dict[int | str, dict[str, Any]] = {200: ok}
    if tagged:
        responses[304] = UNCHANGED
    if aside:
        responses[202] = {"description": "Being computed for the first time.", "model": types.Pending}
    return {"summary": summary, "responses": responses, "response_model": None, "response_class": Response}


def _respond(request: Request, answer: Answer, private: bool) -> Response:
    headers = {"Cache-Control": "no-store"}
    if answer.etag:
        headers = {"ETag": answer.etag, "Cache-Control": "no-store" if private else "private, no-cache"}
        if _knows(request, answer.etag):
            return Response(status_code=304, headers=headers)
    return Response(answer.body, answer.status, headers, JSON)


def _knows(request: Request, etag: str) -> bool:
    given = [tag.strip() for value in request.headers.getlist("if-none-match") for tag in value.split(",")]
    return "*" in given or etag in [tag.removeprefix("W/") for tag in given]
