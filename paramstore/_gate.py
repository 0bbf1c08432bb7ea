"""The gate that writers of a store pass one at a time, in the order in which they came.

``flock`` wakes sleepers, but whoever is already running usually takes the lock before they are up: eight
processes that commit in a loop get shares that differ by a third and more. So the gate has two parts.
*Exclusion* is ``flock`` on the store's ``params/`` directory, which nobody deletes by cleaning up run-time
files. *Order* is a queue: each comer draws a number (a counter in ``.paramstore/queue``, drawn under
``flock`` on ``schemas/``), keeps the byte of that number locked, and waits for the byte of the number
before. Each byte has one sleeper, so nobody can overtake it; a process that dies lets its byte go. Only
order hangs on the queue: without it (its file deleted, a file system without such locks) writers still
exclude each other.

These locks have no timeout, so a helper thread sleeps in them. When its transaction gives up, the thread
keeps its place, and the next transaction of the process takes that over.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress

from paramstore.errors import WriteError

NUMBER_BYTES = 8
MASK = 2**62 - 1  # a damaged counter stays a place that can be locked

_open: set[int] = set()  # descriptors that hold or await a lock


def _forget_all() -> None:
    for fd in _open:  # a child that kept them would hold the lock on after its parent was killed
        os.close(fd)
    _open.clear()


os.register_at_fork(after_in_child=_forget_all)


def keep(fd: int) -> int:
    """Have ``fd`` closed in forked children."""
    _open.add(fd)
    return fd


def close(fd: int) -> None:
    _open.discard(fd)
    os.close(fd)


def unlock(fd: int) -> None:
    """Release a ``flock`` and close its descriptor."""
    fcntl.flock(fd, fcntl.LOCK_UN)  # explicit: a forked child may share the descriptor
    close(fd)


class Gate:
    """The gate of one store in one process: ``enter``, then ``leave``, by one thread at a time."""

    def __init__(self, outer: str, inner: str, queue: str) -> None:
        self._outer = outer
        self._inner = inner
        self._queue = queue
        self._held: int | None = None
        self._place: _Place | None = None  # of a transaction that gave up

    def enter(self, timeout_s: float) -> bool:
        """Return whether the gate was passed within ``timeout_s`` seconds.

        Where directories cannot be locked (NFS) it stands open, and the lock file alone must do. Raises
        ``WriteError`` when a directory is not there.
        """
        place, self._place = self._place, None
        if place is None or not place.retake():
            outer, inner = self._open_both()
            queue = self._open_queue()
            try:
                if _is_free(outer, inner, queue):
                    self._held = inner
                    _close_all(outer, queue)
                    return True
                place = _Place(outer, inner, queue)
            except BaseException as error:
                _close_all(outer, inner, queue)
                if isinstance(error, OSError):
                    return True
                raise
        self._place = place
        if not place.wait(timeout_s):
            return False
        self._place, self._held = None, place.inner
        return True

    def leave(self) -> None:
        if self._held is not None:
            unlock(self._held)
            self._held = None

    def _open_both(self) -> tuple[int, int]:
        outer = _open_directory(self._outer)
        try:
            return outer, _open_directory(self._inner)
        except BaseException:
            close(outer)
            raise

    def _open_queue(self) -> int | None:
        with suppress(OSError):
            return keep(os.open(self._queue, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))
        return None


class _Place:
    """A place in the queue, held by a thread that sleeps until the inner lock is this process's."""

    def __init__(self, outer: int, inner: int, queue: int | None) -> None:
        self.inner = inner
        self._outer = outer
        self._queue = queue
        self._state = threading.Lock()  # guards the two below
        self._wanted = True
        self._over = False  # the thread has the lock, or had it and nobody wanted it
        self._woken = threading.Event()
        threading.Thread(target=self._sleep, name="paramstore-lock", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Return whether the lock is held. If not, the place stays in line; so it does on Ctrl-C."""
        try:
            self._woken.wait(max(0.0, timeout_s))
        except BaseException:
            if self._decide():
                unlock(self.inner)  # else this process would hold the lock for nobody, for ever
            raise
        return self._decide()

    def _decide(self) -> bool:
        """Stop waiting for the lock; return whether it is held."""
        with self._state:
            self._wanted = False
            return self._over

    def retake(self) -> bool:
        """Want the lock again; return whether the thread still waits for it."""
        with self._state:
            self._wanted = not self._over
            return self._wanted

    def _sleep(self) -> None:
        number = self._draw()
        if number is not None and self._queue is not None:
            with suppress(OSError):  # a deadlock that the kernel suspects among several stores
                fcntl.lockf(self._queue, fcntl.LOCK_EX, 1, number - 1)
        fcntl.flock(self.inner, fcntl.LOCK_EX)
        if self._queue is not None:
            close(self._queue)  # the next in line may now wait at the inner lock
        with self._state:
            self._over = True
            if not self._wanted:
                unlock(self.inner)
        self._woken.set()

    def _draw(self) -> int | None:
        """Draw the next number and lock its byte."""
        fcntl.flock(self._outer, fcntl.LOCK_EX)
        try:
            if self._queue is None:
                return None
            number = _last_number(self._queue) + 1
            fcntl.lockf(self._queue, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            os.pwrite(self._queue, number.to_bytes(NUMBER_BYTES, "little"), 0)
            return number
        except OSError:
            return None
        finally:
            unlock(self._outer)


def _open_directory(path: str) -> int:
    try:
        return keep(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise WriteError(f"{path}: {error.strerror}. Nothing was written.") from error


def _close_all(*descriptors: int | None) -> None:
    for fd in descriptors:
        if fd is not None:
            close(fd)


def _is_free(outer: int, inner: int, queue: int | None) -> bool:
    """Take the inner lock if nobody holds it or waits for it. Raises ``OSError`` if it cannot be locked at all."""
    try:
        fcntl.flock(outer, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            if queue is not None and _is_locked(queue, _last_number(queue)):
                return False
            fcntl.flock(inner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        finally:
            fcntl.flock(outer, fcntl.LOCK_UN)
    except (BlockingIOError, PermissionError):
        return False


def _last_number(queue: int) -> int:
    return int.from_bytes(os.pread(queue, NUMBER_BYTES, 0), "little") & MASK


def _is_locked(queue: int, number: int) -> bool:
    try:
        fcntl.lockf(queue, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except OSError:
        return True
    fcntl.lockf(queue, fcntl.LOCK_UN, 1, number)
    return False
