"""The store as the migration meets it: with its settings from the environment, and held against commits."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from paramstore.errors import LockTimeoutError, WriteError

PREFIX = "PARAMSTORE_"
JOURNAL = f"{PREFIX}JOURNAL"
WAIT_S = 30.0
POLL_S = 0.002


def settings() -> dict[str, str]:
    """Return the store's settings of the environment, without what sets a value for one process."""
    return {name: text for name, text in os.environ.items() if name.startswith(PREFIX)}


def target(path: str) -> str:
    """Return what a link leads to, so that it stays one."""
    return os.path.realpath(path) if os.path.islink(path) else path


@contextmanager
def held(root: str) -> Iterator[None]:
    """Keep every commit out, where there is a store and its folders can be locked.

    Whoever commits holds a lock on ``params/``, and whoever comes passes ``schemas/`` first (docs/design.md): holding
    that too lets those who wait already through, and nobody else. Raises ``LockTimeoutError`` and ``WriteError``.
    """
    fds: list[int] = []
    deadline = time.monotonic() + WAIT_S
    try:
        for name in ("schemas", "params"):
            path = os.path.join(root, name)
            try:
                fds.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            except FileNotFoundError:
                break  # no store yet
            except OSError as error:
                raise WriteError(
                    f"{path} cannot be locked: {error.strerror}. Run this again once it can."
                ) from error
            _lock(fds[-1], path, deadline)
        yield
    finally:
        for fd in reversed(fds):
            os.close(fd)


def _lock(fd: int, path: str, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockTimeoutError(
                    f"Could not lock the store within {WAIT_S:g} s: another process holds {path}. Run this again once "
                    "that has ended."
                ) from None
            time.sleep(POLL_S)
        except OSError:
            return None  # a file system without locks
