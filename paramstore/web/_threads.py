"""Threads for what blocks: reads, writes and the kill switch wait in lines of their own.

An action that waits for the store's lock keeps no answer from being given, and no line of previews keeps the switch from
being pulled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

READERS, WRITERS, SWITCHERS = 8, 4, 2
Found = TypeVar("Found")


class Threads:
    """Three pools of threads; each call waits for a free thread of its pool."""

    def __init__(self) -> None:
        self._reads = ThreadPoolExecutor(READERS, "paramstore-web-read")
        self._writes = ThreadPoolExecutor(WRITERS, "paramstore-web-write")
        self._switch = ThreadPoolExecutor(SWITCHERS, "paramstore-web-switch")

    async def read(self, work: Callable[[], Found]) -> Found:
        """Do what only reads."""
        return await asyncio.get_running_loop().run_in_executor(self._reads, work)

    async def write(self, work: Callable[[], Found]) -> Found:
        """Do what may wait for the store's lock."""
        return await asyncio.get_running_loop().run_in_executor(self._writes, work)

    async def switch(self, work: Callable[[], Found]) -> Found:
        """Do what must not wait behind other writes of this server."""
        return await asyncio.get_running_loop().run_in_executor(self._switch, work)

    def stop(self) -> None:
        """Take nothing in any more; what has begun ends by itself."""
        for pool in (self._reads, self._writes, self._switch):
            pool.shutdown(wait=False, cancel_futures=True)
