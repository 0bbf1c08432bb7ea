"""A small store for the tests of views: one number in shared memory, from which all values follow."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from paramstore._section import expire
from paramstore._values import Values

GENERATIONS = 1 << 21


@contextmanager
def child(job: Callable[[], None]) -> Iterator[None]:
    """Run ``job`` in a forked process until the block ends."""
    with warnings.catch_warnings():  # Python 3.12 warns of threads, which other tests may have left
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            job()
        finally:
            os._exit(0)  # never back into the test runner
    try:
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


class SharedSource:
    """Values are ``make(x)``; any process that shares the mapping may commit another ``x``.

    A generation is a byte, true once superseded, and a number, written before it is the latest.
    """

    def __init__(self, make: Callable[[float], dict[str, Any]], x: float) -> None:
        self._map = mmap.mmap(-1, 8 + GENERATIONS * 9)
        self._make = make
        self._views: list[weakref.ref[Any]] = []
        self._over: dict[str, Any] = {}
        struct.pack_into("<d", self._map, 8 + GENERATIONS, x)
        self._state = self._load()

    def commit(self, x: float) -> None:
        (old,) = struct.unpack_from("<q", self._map, 0)
        struct.pack_into("<d", self._map, 8 + GENERATIONS + 8 * (old + 1), x)
        struct.pack_into("<q", self._map, 0, old + 1)
        self._map[8 + old] = 1  # acknowledged

    def override(self, **values: Any) -> None:
        self._over = {key.replace("__", "."): value for key, value in values.items()}
        self._state = self._load()
        for ref in self._views:
            if (view := ref()) is not None:
                expire(view)

    def _load(self) -> tuple[object, Values]:
        (new,) = struct.unpack_from("<q", self._map, 0)
        (x,) = struct.unpack_from("<d", self._map, 8 + GENERATIONS + 8 * new)
        return ctypes.c_ubyte.from_buffer(self._map, 8 + new), Values(self._make(x) | self._over)

    def current(self) -> tuple[object, Values]:
        flag, values = self._state
        if flag:  # once: a writer may always be faster, and who sees the flag still true looks again
            self._state = flag, values = self._load()
        return flag, values

    def attach(self, view: Any) -> None:
        self._views.append(weakref.ref(view))

    @contextmanager
    def writer(self, between: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Let another process commit in a loop."""

        def write() -> None:
            for n in range(GENERATIONS - 1000):
                self.commit(n % 1000 / 1000)
                between()

        with child(write):
            yield

    @contextmanager
    def remote(self) -> Iterator[Callable[[float], None]]:
        """Give a commit that another process makes and acknowledges."""
        ask, tell = os.pipe(), os.pipe()

        def serve() -> None:
            while message := os.read(ask[0], 8):
                self.commit(*struct.unpack("<d", message))
                os.write(tell[1], b"!")

        def commit(x: float) -> None:
            os.write(ask[1], struct.pack("<d", x))
            os.read(tell[0], 1)

        with child(serve):
            yield commit
        for end in (*ask, *tell):
            os.close(end)
