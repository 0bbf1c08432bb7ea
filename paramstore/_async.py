"""``async with store.atransaction(...) as tx``: the same transaction, with its waiting in another thread.

A lock is bound to the thread that took it. So each transaction has a thread of its own, which takes the lock,
commits and lets go; the block runs in the event loop, meanwhile. What is asked of ``tx`` in between is work in
memory. The thread runs in a copy of the caller's context, so that context variables are what they were.
"""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Any

    from paramstore._transaction import Transaction


class AsyncTransaction:
    """What ``atransaction`` gives: ``async with`` it once."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Transaction]]) -> None:
        self._begin = begin
        self._thread: ThreadPoolExecutor | None = None
        self._held: AbstractContextManager[Transaction] | None = None
        self._tx: Transaction | None = None  # once the lock is held

    async def __aenter__(self) -> Transaction:
        self._thread = ThreadPoolExecutor(1, "paramstore-transaction")
        entering = self._there(self._enter)
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            self._thread.submit(self._give_back)  # should the lock still come, within its timeout
            self._thread.shutdown(wait=False)
            raise
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._held is not None and self._thread is not None
        held = self._held
        leaving: asyncio.Future[bool | None] = self._there(lambda: held.__exit__(kind, error, trace))
        self._thread.shutdown(wait=False)
        cancelled: asyncio.CancelledError | None = None
        while (
            not leaving.done()
        ):  # a commit that has begun is waited for: whoever is told must know what stands
            try:
                await asyncio.wait([leaving])
            except asyncio.CancelledError as again:
                cancelled = again
        if cancelled is not None and leaving.exception() is None:
            raise cancelled
        return leaving.result()

    def _enter(self) -> Transaction:
        self._held = self._begin()
        self._tx = self._held.__enter__()
        return self._tx

    def _there(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        context = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(self._thread, context.run, work)

    def _give_back(self) -> None:
        if self._tx is not None and self._held is not None:
            gone = asyncio.CancelledError()
            with suppress(asyncio.CancelledError):
                self._held.__exit__(type(gone), gone, None)
