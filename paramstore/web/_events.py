"""The stream of events (``text/event-stream``): what the news says, as it comes, to one client.

The client has a cursor in the log of events and nothing else, so that it can neither hold up others nor fill the memory.
Once it is gone, the stream ends at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from paramstore.web._news import Event, News

HEARTBEAT_S = 15.0
HEARTBEAT = b": still here\n\n"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Stream(Response):
    """An answer that goes on until the client leaves, or can no longer keep up."""

    media_type = "text/event-stream"
    charset = "utf-8"

    def __init__(self, news: News, after: str | None, heartbeat_s: float = HEARTBEAT_S) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._news = news
        self._after = after
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until either side ends it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await sending

    async def _send_all(self, send: Send) -> None:
        follower = self._news.follow(self._after)
        coming: asyncio.Future[Event] | None = None
        try:
            while True:
                coming = coming or asyncio.ensure_future(_next(follower))
                done, _ = await asyncio.wait({coming}, timeout=self._heartbeat_s)
                if not done:
                    await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
                    continue
                try:
                    event = coming.result()
                except StopAsyncIteration:
                    break
                coming = None
                await send({"type": "http.response.body", "body": event.data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if coming is not None:
                coming.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration):
                    await coming
            await follower.aclose()


async def _next(follower: AsyncIterator[Event]) -> Event:
    return await anext(follower)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
