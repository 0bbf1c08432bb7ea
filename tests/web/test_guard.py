"""What stands around the application: it is called for the right requests only, and every answer has the same headers."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from test_admission import (
    HOSTS,
    METHODS,
    ORIGINS,
    SETTINGS,
    TOKEN,
    TOKENS,
    TYPES,
    expected,
    named,
    right,
    scope_of,
)

from paramstore.web._admission import Rate, Settings
from paramstore.web._guard import MOST_CLIENTS, PIECE, Buckets, Guard, Message, Receive, Send, address_of

UNLIMITED = Rate(1e9, 1e9)
FREE = replace(SETTINGS, reads=UNLIMITED, changes=UNLIMITED, wrong_tokens=UNLIMITED)
SECURITY = {
    "content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy", "cross-origin-opener-policy",
    "cross-origin-resource-policy", "permissions-policy", "cache-control",
}  # fmt: skip
App = Callable[[Any, Receive, Send], Awaitable[None]]


def answering(status: int = 200, body: bytes = b"done", *headers: tuple[bytes, bytes]) -> App:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        app.called.append((scope["method"], (await receive()).get("body")))  # type: ignore[attr-defined]
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    app.called = []  # type: ignore[attr-defined]
    return app


async def call(guard: Guard, scope: Any, *pieces: bytes, wait: float | None = None) -> list[Message]:
    """Send a request whose body comes in ``pieces``, the last only after ``wait`` seconds, and return what comes back."""
    sent: list[Message] = []
    coming = list(pieces or (b"",))

    async def receive() -> Message:
        if not coming:
            await asyncio.Event().wait()
        if wait is not None and len(coming) == 1:
            await asyncio.sleep(wait)
        return {"type": "http.request", "body": coming.pop(0), "more_body": bool(coming)}

    async def send(message: Message) -> None:
        sent.append(message)

    await guard(scope, receive, send)
    return sent


def ask(app: App, scope: Any, *pieces: bytes, settings: Settings = FREE, wait: float | None = None) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
    sent = asyncio.run(call(Guard(app, settings), scope, *pieces, wait=wait))
    return told(sent)


def told(sent: list[Message]) -> tuple[int, dict[str, str], bytes]:
    headers = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    assert len(headers) == len(dict(headers)), headers  # none twice
    return sent[0]["status"], dict(headers), b"".join(message["body"] for message in sent[1:])


@pytest.mark.parametrize(("hosts", "right_host"), HOSTS)
def test_the_application_is_called_for_the_right_request_only(
    hosts: tuple[str, ...], right_host: bool
) -> None:
    app, came = answering(), 0
    guard = Guard(app, FREE)

    async def all_of_them() -> None:
        nonlocal came
        for method, (origins, origin), (tokens, token), (types, kind) in itertools.product(METHODS, ORIGINS[:5], TOKENS[:4], TYPES[::2]):  # fmt: skip
            host = hosts[0] if hosts else ""
            headers = [
                *named("Host", hosts), *named("Origin", tuple(each.format(host=host) for each in origins)),
                *named("Authorization", tokens), *named("Content-Type", types),
            ]  # fmt: skip
            status, sent, _ = told(await call(guard, scope_of(method, "/api/v1/set", *headers)))
            wanted = expected(FREE, method, False, origin, token, kind) if right_host else 403
            assert status == (wanted or 200), (method, headers)
            assert sent.keys() >= SECURITY and (status == 200 or sent["connection"] == "close")
            came += not wanted

    asyncio.run(all_of_them())
    assert len(app.called) == came and bool(came) == right_host  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
def test_every_answer_has_the_headers_and_none_that_tells_or_opens(status: int) -> None:
    loose = [
        (b"Server", b"x/1"), (b"X-Powered-By", b"x"), (b"Set-Cookie", b"a=b"), (b"Access-Control-Allow-Origin", b"*"),
        (b"Content-Security-Policy", b"default-src *"), (b"X-Frame-Options", b"ALLOWALL"), (b"ETag", b'"1"'),
    ]  # fmt: skip
    _, headers, _ = ask(answering(status, b"", *loose), right())
    assert headers.keys() == SECURITY | {"etag"}
    assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'", "img-src": "'self' data:",
        "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'", "require-trusted-types-for": "'script'",
        "trusted-types": "lit-html",
    }  # fmt: skip


def test_the_application_may_say_what_is_kept_and_which_script_is_inline() -> None:
    assert (
        ask(answering(200, b"", (b"Cache-Control", b"no-cache")), right())[1]["cache-control"] == "no-cache"
    )
    sent = asyncio.run(call(Guard(answering(), FREE, ["sha256-abc="]), right()))
    assert "script-src 'self' 'sha256-abc=';" in told(sent)[1]["content-security-policy"]


def test_a_websocket_is_closed_unopened() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Guard(answering(), FREE)({"type": "websocket", "headers": []}, send, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


# --- the body -------------------------------------------------------------------------------------


def test_the_body_comes_whole_before_the_application_is_called() -> None:
    app = answering()
    assert ask(app, right("POST"), b"a" * 100_000, b"b" * 100_000, b"")[0] == 200
    assert app.called == [("POST", b"a" * 100_000 + b"b" * 100_000)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("pieces", [[FREE.most_body + 1], [FREE.most_body, 1], [1] * 5 + [FREE.most_body]])
def test_a_body_that_is_too_large_is_refused_while_it_comes(pieces: list[int]) -> None:
    app = answering()
    status, headers, body = ask(app, right("POST"), *(b"x" * size for size in pieces), b"never read")
    assert (status, headers["connection"]) == (413, "close") and json.loads(body)["status"] == 413
    assert not app.called  # type: ignore[attr-defined]
    assert ask(answering(), right("POST"), b"x" * FREE.most_body)[0] == 200


def test_a_body_that_does_not_end_is_refused() -> None:
    app = answering()
    slow = replace(FREE, body_s=0.05)
    assert ask(app, right("POST"), b"{", b"}", settings=slow, wait=5)[0] == 408
    assert not app.called  # type: ignore[attr-defined]
    assert ask(answering(), right("POST"), b"{", b"}", settings=slow, wait=0.01)[0] == 200


def test_a_client_that_leaves_amid_its_body_is_not_answered() -> None:
    app, sent = answering(), []

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Guard(app, FREE)(right("POST"), gone, send))
    assert not sent and not app.called  # type: ignore[attr-defined]


# --- the answer -----------------------------------------------------------------------------------


def test_a_large_answer_goes_out_in_pieces() -> None:
    body = bytes(range(256)) * 1000
    sent = asyncio.run(call(Guard(answering(200, body), FREE), right()))
    assert told(sent)[2] == body and max(len(message["body"]) for message in sent[1:]) == PIECE
    assert [message["more_body"] for message in sent[1:]] == [True] * (len(sent) - 2) + [False]


def test_head_is_the_answer_to_get_without_its_body_and_ends_a_stream() -> None:
    async def stream(scope: Any, receive: Receive, send: Send) -> None:
        assert scope["method"] == "GET"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"etag", b"1")]})
        await receive()
        while (await receive())["type"] != "http.disconnect":
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    status, headers, body = ask(stream, right("HEAD"))
    assert (status, headers["etag"], body) == (200, "1", b"")


def test_a_client_that_takes_nothing_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[Message] = []

    async def send(message: Message) -> None:
        if len(taken) == 2:
            await asyncio.Event().wait()
        taken.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    guard = Guard(answering(200, b"x" * 10 * PIECE), replace(FREE, send_s=0.05))
    asyncio.run(asyncio.wait_for(guard(right(), receive, send), 5))
    assert len(taken) == 2 and not caplog.records


@pytest.mark.parametrize("started", [False, True])
def test_a_fault_of_the_application_tells_nothing_but_the_log(started: bool, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    async def failing(scope: Any, receive: Receive, send: Send) -> None:
        if started:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("very secret")

    status, headers, body = ask(failing, right())
    assert status == (200 if started else 500) and headers.keys() >= SECURITY and b"secret" not in body
    assert not started or body == b""
    assert "in failing" in caplog.text and "GET /api/v1/values failed" in caplog.text


def test_an_application_that_says_nothing_is_a_fault() -> None:
    async def silent(scope: Any, receive: Receive, send: Send) -> None:
        pass

    assert ask(silent, right())[0] == 500


def test_streams_are_told_to_end_when_the_server_stops() -> None:
    async def stream(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body", "body": b"bye"})

    async def stopped() -> list[Message]:
        guard = Guard(stream, FREE)
        asyncio.get_running_loop().call_later(0.05, guard.close)
        return await asyncio.wait_for(call(guard, right()), 5)

    assert told(asyncio.run(stopped()))[2] == b"bye"


def test_what_is_cut_off_when_the_server_stops_is_answered_if_it_can_be() -> None:
    async def hanging(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def stopped(close: bool) -> list[Message]:
        guard = Guard(hanging, FREE)
        task = asyncio.ensure_future(call(guard, right()))
        await asyncio.sleep(0.01)
        if close:
            guard.close()
        task.cancel()
        return await task

    assert told(asyncio.run(stopped(True)))[0] == 503
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped(False))


# --- how often ------------------------------------------------------------------------------------


class Hands:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_is_emptied_and_filled_again() -> None:
    clock = Hands()
    buckets = Buckets(Rate(3, 0.5), clock)
    assert [buckets.wait_s("a") for _ in range(5)] == [0, 0, 0, 2, 2]
    assert buckets.wait_s("b") == 0
    clock.now += 2
    assert [buckets.wait_s("a") for _ in range(2)] == [0, 2]
    clock.now += 1e6
    assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0, 2]


def test_so_many_clients_are_remembered_and_no_more() -> None:
    buckets = Buckets(Rate(1, 0.001), Hands())
    for number in range(3 * MOST_CLIENTS):
        assert buckets.wait_s(number) == 0
    assert len(buckets._left) == MOST_CLIENTS
    assert buckets.wait_s(3 * MOST_CLIENTS - 1) > 0 and buckets.wait_s(0) == 0


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("10.0.0.1", 5), "10.0.0.1"), (("::ffff:10.0.0.1", 5), "10.0.0.1"), (("2001:db8::1", 5), "2001:db8::/64"),
        (("2001:db8::ffff:1", 5), "2001:db8::/64"), (("fe80::1%eth0", 5), "fe80::/64"), (None, ""), (("testclient", 1), "testclient"),
    ],
)  # fmt: skip
def test_by_what_a_client_is_counted(client: Any, address: str) -> None:
    assert address_of({"client": client}) == address


def many(guard: Guard, *scopes: Any) -> list[int]:
    async def each() -> list[int]:
        return [told(await call(guard, scope))[0] for scope in scopes]

    return asyncio.run(each())


def of(scope: Any, address: str) -> Any:
    return {**scope, "client": (address, 1)}


def test_too_many_requests_of_one_client_are_refused_and_others_are_not() -> None:
    guard = Guard(answering(), replace(FREE, private=False, reads=Rate(3, 0.1)))
    anyone = scope_of("GET", "/api/v1/values", ("Host", "localhost:8417"))
    assert many(guard, *[of(anyone, "10.0.0.1")] * 3) == [200] * 3
    sent = told(asyncio.run(call(guard, of(anyone, "10.0.0.1"))))
    assert sent[0] == 429 and 9 <= int(sent[1]["retry-after"]) <= 10
    assert many(guard, of(anyone, "10.0.0.2")) == [200]
    assert many(guard, of(right(), "10.0.0.1")) == [200]  # who bears the token is not kept out by others


def test_what_is_refused_uses_up_nothing_that_others_may_ask() -> None:
    guard = Guard(answering(), replace(FREE, private=False, reads=Rate(3, 0.1)))
    anyone = scope_of("GET", "/api/v1/values", ("Host", "localhost:8417"))
    foreign = {**anyone, "headers": [*anyone["headers"], (b"sec-fetch-site", b"cross-site")]}
    assert (
        many(guard, *[of(foreign, "127.0.0.1")] * 5) == [403] * 3 + [429] * 2
    )  # a page of another site in a loop
    assert many(guard, *[of(anyone, "127.0.0.1")] * 4) == [200] * 3 + [429]


def test_the_application_is_told_who_bears_the_token() -> None:
    told_of = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        told_of.append((scope["method"], scope["bears_token"]))
        await answering()(scope, receive, send)

    anyone = scope_of("GET", "/api/v1/values", ("Host", "localhost:8417"))
    many(Guard(app, replace(FREE, private=False)), anyone, right(), right("HEAD"), right("POST"))
    assert told_of == [("GET", False), ("GET", True), ("GET", True), ("POST", True)]


def test_changes_are_counted_more_strictly() -> None:
    guard = Guard(answering(), replace(FREE, changes=Rate(2, 0.1)))
    assert many(guard, *[of(right("POST"), "10.0.0.1")] * 3, of(right(), "10.0.0.1")) == [200, 200, 429, 200]


def test_guesses_at_the_token_are_slowed_down_and_the_right_one_never() -> None:
    guard = Guard(answering(), replace(FREE, wrong_tokens=Rate(5, 0.1)))
    guesses = [
        of(scope_of("GET", "/metrics", ("Host", "localhost:8417"), ("Authorization", f"Bearer {n}{TOKEN[1:]}")), "10.0.0.1")
        for n in range(8)
    ]  # fmt: skip
    assert many(guard, *guesses) == [401] * 5 + [429] * 3
    none = scope_of("GET", "/metrics", ("Host", "localhost:8417"))
    assert many(guard, of(right(), "10.0.0.1"), of(none, "10.0.0.1"), guesses[0] | {"client": ("10.0.0.2", 1)}) == [200, 401, 401]  # fmt: skip


def test_the_log_of_requests_has_no_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "paramstore.web.access")
    ask(answering(), right(query=b"at=symbol=SECRET"))
    assert [record.getMessage() for record in caplog.records] == ["GET /api/v1/values 200"]


def test_a_path_cannot_write_lines_of_its_own_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "paramstore.web.access")
    ask(answering(), right(path="/x\n2026-01-01T00:00:00 POST /api/v1/freeze"))
    assert [record.getMessage() for record in caplog.records] == [
        "GET /x\\n2026-01-01T00:00:00 POST /api/v1/freeze 400"
    ]
