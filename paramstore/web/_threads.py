"""Threads for what blocks: reads, writes and the kill switch wait in lines of their own.

An action that waits for the store's lock keeps no answer from being given, and no line of previews keeps the switch from
being pulled. Reads that take long wait apart from those that do not, and those of who bears the token apart from those of
everybody else, so that nobody keeps others from what they need by asking much. A line of reads that is full takes in no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from paramstore.errors import ParamstoreError

READERS, WRITERS, SWITCHERS = 8, 4, 2
LONG_READERS = 2
MOST_READS, MOST_LONG = 256, 16  # that are answered, or wait for it, at once
Found = TypeVar("Found")


class BusyError(ParamstoreError):
    """Too many questions wait for an answer; ask again in a moment."""


class Line:
    """Some threads, and at most ``most`` calls that have one or wait for one."""

    def __init__(self, name: str, threads: int, most: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, f"paramstore-web-{name}")
        self._most, self._now = most, 0

    async def do(self, work: Callable[[], Found]) -> Found:
        """Do ``work`` in a thread. Raises ``BusyError``."""
        if self._most is not None and self._now >= self._most:
            raise BusyError("Too many questions are being answered. Ask again in a moment.")
        self._now += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._now -= 1

    def stop(self) -> None:
        """Take nothing in any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Threads:
    """A line for each kind of work."""

    def __init__(self) -> None:
        self._reads = {apart: Line("read", READERS, MOST_READS) for apart in (False, True)}
        self._long = {apart: Line("long", LONG_READERS, MOST_LONG) for apart in (False, True)}
        self._writes = Line("write", WRITERS)
        self._switch = Line("switch", SWITCHERS)

    async def read(self, work: Callable[[], Found], apart: bool = False, long: bool = False) -> Found:
        """Do what only reads; ``apart``: for who bears the token. Raises ``BusyError``."""
        return await (self._long if long else self._reads)[apart].do(work)

    async def write(self, work: Callable[[], Found]) -> Found:
        """Do what may wait for the store's lock."""
        return await self._writes.do(work)

    async def switch(self, work: Callable[[], Found]) -> Found:
        """Do what must not wait behind other writes of this server."""
        return await self._switch.do(work)

    def stop(self) -> None:
        """Take nothing in any more; what has begun ends by itself."""
        for line in (*self._reads.values(), *self._long.values(), self._writes, self._switch):
            line.stop()
