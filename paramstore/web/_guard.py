"""Around the whole application: only admitted requests reach it, whole and in time, and every answer goes out with the same headers.

ASGI, without a framework. Nothing that a client does or leaves undone holds anything here for long: a body has to come within
``body_s``, and each piece of an answer has to be taken within ``send_s``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from paramstore.web._admission import Headers, Rate, Refusal, Settings, has_right_token, refusal, too_large

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

PIECE = (
    64 * 1024
)  # bytes of an answer that are handed on at once, so that no more of it waits for a slow client
MOST_CLIENTS = 4096  # whose requests are counted
DRAINED, DRAINED_S = 1 << 20, 2.0  # of a body that is refused: or the client may not see the answer
LOG = logging.getLogger("paramstore.web")
ACCESS = logging.getLogger("paramstore.web.access")

# In the order of the policy. Nothing is loaded from anywhere else, nothing is inline, no frame, no form, and text becomes
# markup only through lit-html.
_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types lit-html"
)
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()",
    ),
)
# What an answer never says, whoever adds it: what runs here, cookies, and that another origin may read it.
_NEVER = frozenset(
    {
        b"server", b"x-powered-by", b"set-cookie", b"access-control-allow-origin", b"access-control-allow-credentials",
        b"access-control-allow-headers", b"access-control-allow-methods", b"access-control-expose-headers",
    }
)  # fmt: skip


def security_headers(scripts: Iterable[str] = ()) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every answer. ``scripts``: hashes of inline scripts, as ``sha256-…``."""
    hashes = "".join(f" '{each}'" for each in scripts)
    return ((b"content-security-policy", _POLICY.format(scripts=hashes).encode()), *_ALWAYS)


class Buckets:
    """How many requests each client may still make: a bucket of ``burst``, filled at ``per_s``. Forgets the longest unseen."""

    def __init__(
        self, rate: Rate, now: Callable[[], float] = time.monotonic, most: int = MOST_CLIENTS
    ) -> None:
        self._rate, self._now, self._most = rate, now, most
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: object) -> float:
        """Take one from the client's bucket and return 0, or the seconds until there is one."""
        now = self._now()
        left, since = self._left.pop(client, (self._rate.burst, now))
        left = min(self._rate.burst, left + (now - since) * self._rate.per_s)
        wait = 0.0 if left >= 1 else (1 - left) / self._rate.per_s
        self._left[client] = (left if wait else left - 1, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return wait


def bears_token(scope: Any, settings: Settings) -> bool:
    """Tell whether a request comes with the token."""
    return has_right_token(Headers(scope["headers"]), settings)


def address_of(scope: Any) -> str:
    """Return by what a client is counted: its address, or the network of an IPv6 one, which has more than can be counted."""
    text = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return str(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Guard:
    """``app``, behind everything that has to be in order before it is called. ``scripts``: hashes of its inline ones."""

    def __init__(self, app: App, settings: Settings, scripts: Iterable[str] = ()) -> None:
        self.app = app
        self.settings = settings
        self.closing = asyncio.Event()
        self.headers = security_headers(scripts)
        self._reads = Buckets(settings.reads)
        self._changes = Buckets(settings.changes)
        self._wrong = Buckets(settings.wrong_tokens)

    def close(self) -> None:
        """Tell every request that is being answered that its client has gone, so that streams end."""
        self.closing.set()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Any, receive: Receive, send: Send) -> None:
        answer = Answer(self, scope, send)
        try:
            refused = self._judge(scope)
            if refused is not None:
                await _drain(scope, receive)
            else:
                body = await self._body(receive)
                if body is None:
                    return  # it left before it had said all
                if not isinstance(body, Refusal):
                    method = "GET" if scope["method"] == "HEAD" else scope["method"]
                    inner = {**scope, "method": method, "bears_token": bears_token(scope, self.settings)}
                    await self.app(inner, Incoming(body, receive, answer, self.closing), answer.send)
                    if not answer.started:
                        raise RuntimeError("the application did not answer")
                    return
                refused = body
            await answer.refuse(refused)
        except asyncio.CancelledError:
            if not self.closing.is_set():
                raise
            await answer.give_up(Refusal(503, "The server is being stopped."))
        except Exception:
            if not answer.untaken:  # else the server closes what is left open
                LOG.exception("%s %s failed", scope["method"], scope["path"])
                await answer.give_up(Refusal(500, "This is a fault of the server; its log says where."))

    def _judge(self, scope: Any) -> Refusal | None:
        """Return why it is not admitted. Who bears the token is counted apart, so that nobody else can keep them out; and so is what
        is refused: a page of another site cannot use up what the others may ask."""
        refused = refusal(scope, self.settings)
        client = (address_of(scope), bears_token(scope, self.settings))
        if wait := self._reads.wait_s((*client, refused is None)):
            return _too_many("requests", wait)
        if refused is not None:
            # The right token always passes: nobody can guess 256 bits, but everybody on this machine could use up a limit.
            if refused.wrong_token and (wait := self._wrong.wait_s(client)):
                return _too_many("wrong tokens", wait)
            return refused
        if scope["method"] == "POST" and (wait := self._changes.wait_s(client)):
            return _too_many("changes", wait)
        return None

    async def _body(self, receive: Receive) -> bytes | Refusal | None:
        """Return the whole body, or why not, or ``None`` where the client has gone."""
        pieces, size = [], 0
        try:
            async with asyncio.timeout(self.settings.body_s):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > self.settings.most_body:
                        return too_large(self.settings)
                    if not message.get("more_body", False):
                        return b"".join(pieces)
        except TimeoutError:
            return Refusal(408, f"The request did not come whole within {self.settings.body_s:g} s.")


class TookNothingError(Exception):
    """A client does not take its answer."""


class Incoming:
    """What the application receives: the body, whole; then, once there is reason for it, that the client has gone."""

    def __init__(self, body: bytes, receive: Receive, answer: Answer, closing: asyncio.Event) -> None:
        self._body: bytes | None = body
        self._receive, self._answer, self._closing = receive, answer, closing

    async def __call__(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self._answer.only_head or self._closing.is_set():
            return {"type": "http.disconnect"}
        left, ending = asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((left, ending), return_when=asyncio.FIRST_COMPLETED)
            return left.result() if left.done() else {"type": "http.disconnect"}
        finally:
            left.cancel()
            ending.cancel()


class Answer:
    """The way out: adds the headers, cuts what is large, gives up on who does not take it, and writes the line of the log."""

    def __init__(self, guard: Guard, scope: Any, send: Send) -> None:
        self._guard, self._scope, self._out = guard, scope, send
        self.started = False
        self.only_head = False  # and that has been sent
        self.untaken = False  # the client does not take it

    async def send(self, message: Message) -> None:
        """Send what the application sends."""
        if self.only_head:
            return
        if message["type"] == "http.response.start":
            self.started = True
            self._log(message["status"])
            await self._put({**message, "headers": self._headers(message.get("headers", ()))})
            if self._scope["method"] == "HEAD":  # a stream would never come to its end
                await self._put({"type": "http.response.body", "body": b"", "more_body": False})
                self.only_head = True
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        whole = memoryview(body)
        for start in range(0, max(len(body), 1), PIECE):
            last = start + PIECE >= len(body)
            piece = body if len(body) <= PIECE else bytes(whole[start : start + PIECE])
            await self._put({"type": "http.response.body", "body": piece, "more_body": more or not last})

    async def refuse(self, why: Refusal) -> None:
        """Answer with a refusal, and have the connection closed: nobody knows what else comes on it."""
        body = json.dumps(why.problem()).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *why.headers,
        ]
        await self.send({"type": "http.response.start", "status": why.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def give_up(self, why: Refusal) -> None:
        """Answer in place of an application that did not; one that has begun to is cut off by the server."""
        if not self.started:
            await self.refuse(why)

    def _headers(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        ours = dict(self._guard.headers)
        kept = [(name.lower(), value) for name, value in given]
        kept = [(name, value) for name, value in kept if name not in ours and name not in _NEVER]
        if not any(name == b"cache-control" for name, _ in kept):
            kept.append((b"cache-control", b"no-store"))
        return [*kept, *self._guard.headers]

    async def _put(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._guard.settings.send_s):
                await self._out(message)
        except TimeoutError:
            self.untaken = True
            raise TookNothingError from None

    def _log(self, status: int) -> None:
        path = self._scope["path"]
        shown = (
            path if path.isprintable() else path.encode("unicode_escape").decode()
        )  # one line, whatever it is
        ACCESS.info("%s %s %d", self._scope["method"], shown, status)


async def _drain(scope: Any, receive: Receive) -> None:
    """Take what has been sent of a body that is refused, up to a limit: closing on unread bytes would take the answer with it."""
    if Headers(scope["headers"]).all(b"expect"):
        return  # it waits for leave to send
    size = 0
    try:
        async with asyncio.timeout(DRAINED_S):
            while size < DRAINED:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _too_many(what: str, wait_s: float) -> Refusal:
    seconds = max(1, math.ceil(wait_s))
    return Refusal(
        429, f"Too many {what}; try again in {seconds} s.", ((b"retry-after", str(seconds).encode()),)
    )
