"""Several processes at once, from forks, and what each of them has to say."""

from __future__ import annotations

import json
import mmap
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Shared:
    """Numbers that all forked processes see."""

    def __init__(self, size: int = 8) -> None:
        self._numbers = memoryview(mmap.mmap(-1, size * 8)).cast("q")  # each is written in one piece

    def __getitem__(self, index: int) -> int:
        return self._numbers[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._numbers[index] = value

    def wait(self, index: int, timeout_s: float = 10.0) -> None:
        """Wait until a number is not zero."""
        deadline = time.monotonic() + timeout_s
        while not self[index]:
            assert time.monotonic() < deadline, "nobody answered"
            time.sleep(0.0005)


class Child:
    """A forked process that does ``work`` and tells what came of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._source, target = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._source)
            try:
                text = json.dumps({"is": work()})
            except BaseException:  # noqa: BLE001 - told to the parent
                text = json.dumps({"error": traceback.format_exc()})
            with os.fdopen(target, "w") as file:
                file.write(text)
            os._exit(0)
        os.close(target)
        self._over = False

    def result(self) -> Any:
        """Wait for the end and return what ``work`` returned."""
        with os.fdopen(self._source) as file:
            text = file.read()
        os.waitpid(self.pid, 0)
        self._over = True
        assert text, "the child died"
        found = json.loads(text)
        assert "error" not in found, found["error"]
        return found["is"]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._source)
        self._over = True

    def kill_if_running(self) -> None:
        if not self._over:
            self.kill()


@contextmanager
def running(*works: Callable[[], Any]) -> Iterator[list[Child]]:
    """Run ``works`` in processes of their own; whatever still runs at the end is killed."""
    children = [Child(work) for work in works]
    try:
        yield children
    finally:
        for child in children:
            child.kill_if_running()


def together(*works: Callable[[], Any]) -> list[Any]:
    with running(*works) as children:
        return [child.result() for child in children]
