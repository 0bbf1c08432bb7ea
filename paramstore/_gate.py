"""The gate that writers of a store pass one at a time, in the order in which they came.

``flock`` wakes sleepers, but whoever is already running usually takes the lock before they are up: eight
processes that commit in a loop get shares that differ by a third and more. So the gate has two parts.
*Exclusion* is ``flock`` on the store's ``params/`` directory, which nobody deletes by cleaning up run-time
files. *Order* is a queue: each comer draws a number (a counter in ``.paramstore/lock.queue``, drawn under
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
import time
from contextlib import suppress

from paramstore._files import open_or_create
from paramstore.errors import WriteError

PATIENCE_S = 1.0  # how long a free gate is left to those in line
IDLE_S = 0.05  # how long it must have been free
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
    """The gate of one store in one process: ``enter``, then ``leave``, by one thread at a time.

    An interrupt may come between any two steps. What is locked is therefore always known to ``leave``: as
    ``_held``, or to ``_place``, whose thread alone closes the descriptors that it sleeps in.
    """

    def __init__(self, outer: str, inner: str, queue: str) -> None:
        self._outer = outer
        self._inner = inner
        self._queue = queue
        self._held: int | None = None
        self._place: _Place | None = None

    def enter(self, timeout_s: float) -> bool:
        """Return whether the gate was passed within ``timeout_s`` seconds.

        Where directories cannot be locked (NFS) it stands open, and the lock file alone must do. Raises
        ``WriteError`` when a directory is not there.
        """
        self.leave()  # what an interrupt left behind
        deadline = time.monotonic() + timeout_s
        if self._place is None or not self._place.retake():
            self._place = None
            place = self._first_try()
            if place is None:
                return True
            self._place = place
            place.start()
        while not self._place.wait(min(PATIENCE_S, deadline - time.monotonic())):
            if self._overtake():
                return True
            if time.monotonic() >= deadline:
                return False
        return True

    def leave(self) -> None:
        """Let go of the gate, or stop wanting it: a place in line stays, for the next try."""
        held = self._held
        if held is not None:
            fcntl.flock(held, fcntl.LOCK_UN)  # first: an interrupt right after it leaves nothing locked
            self._held = None
            close(held)
        if self._place is not None:
            self._place.let_go()

    def _first_try(self) -> _Place | None:
        """Pass at once if nobody is there, else return a new place, not in line yet."""
        outer = _open_directory(self._outer)
        left: list[int] = [outer]
        try:
            inner = _open_directory(self._inner)
            left.append(inner)
            queue = self._open_queue()
            left += [] if queue is None else [queue]
            if not _is_free(outer, inner, queue):
                place = _Place(outer, inner, queue)
                left.clear()
                return place
            self._held = inner
        except BaseException as error:
            self._close(left)
            if isinstance(error, OSError) and not isinstance(error, WriteError):
                return None  # no such locks here
            raise
        self._close(left)
        return None

    def _close(self, left: list[int]) -> None:
        while left:
            fd = left.pop()
            if fd != self._held:
                close(fd)

    def _overtake(self) -> bool:
        """Pass the gate if it is idle though someone is in line, who must be stopped (Ctrl-Z) or stuck."""
        with suppress(OSError):
            inner = _open_directory(self._inner)
            try:
                fcntl.flock(inner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(inner, fcntl.LOCK_UN)
                time.sleep(IDLE_S)  # free between two holders is not idle
                fcntl.flock(inner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._held = inner
            finally:
                if self._held != inner:
                    close(inner)
            assert self._place is not None
            self._place.let_go()
            return True
        return False

    def _open_queue(self) -> int | None:
        with suppress(OSError):
            return keep(open_or_create(self._queue))
        return None


class _Place:
    """A place in the queue, held by a thread that sleeps until the inner lock is this process's."""

    def __init__(self, outer: int, inner: int, queue: int | None) -> None:
        self._outer = outer
        self._inner = inner
        self._queue = queue
        self._state = threading.Lock()  # guards the four below
        self._claimed = False  # the thread runs; before that an interrupt may have kept it from being
        self._wanted = True
        self._won = False
        self._gone = False
        self._woken = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="paramstore-lock", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Return whether the lock is held."""
        self._woken.wait(max(0.0, timeout_s))
        with self._state:
            return self._won and not self._gone

    def let_go(self) -> None:
        """Release the lock if it is held; otherwise stop wanting it, and stay in line."""
        with self._state:
            self._wanted = False
            if self._won:
                self._release()

    def retake(self) -> bool:
        """Want the lock again; return whether the thread is still in line for it."""
        with self._state:
            if not self._claimed:
                self._gone = True  # it never ran, or will see this and close what it has
            self._wanted = not self._gone
            return self._wanted

    def _release(self) -> None:
        if not self._gone:
            fcntl.flock(self._inner, fcntl.LOCK_UN)
            self._gone = True
            close(self._inner)

    def _run(self) -> None:
        with self._state:
            self._claimed = True
            if self._gone:
                for fd in (self._outer, self._inner, self._queue):
                    if fd is not None:
                        close(fd)
                return
        self._sleep()
        with self._state:
            self._won = True
            if not self._wanted:
                self._release()
        self._woken.set()

    def _sleep(self) -> None:
        number = self._draw()
        if number is not None and self._queue is not None:
            with suppress(OSError):  # a deadlock that the kernel suspects among several stores
                fcntl.lockf(self._queue, fcntl.LOCK_EX, 1, number - 1)
        fcntl.flock(self._inner, fcntl.LOCK_EX)
        if self._queue is not None:
            close(self._queue)  # the next in line may now wait at the inner lock

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


def _is_free(outer: int, inner: int, queue: int | None) -> bool:
    """Take the inner lock if nobody holds it or waits for it. Raises ``OSError`` if it cannot be locked at all."""
    try:
        fcntl.flock(outer, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            if queue is not None and _has_waiters(queue):
                return False
            fcntl.flock(inner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        finally:
            fcntl.flock(outer, fcntl.LOCK_UN)
    except (BlockingIOError, PermissionError):
        return False


def _last_number(queue: int) -> int:
    return int.from_bytes(os.pread(queue, NUMBER_BYTES, 0), "little") & MASK


def _has_waiters(queue: int) -> bool:
    """Tell whether the newest number drawn is still in line. A queue that cannot be read has no order."""
    try:
        number = _last_number(queue)
    except OSError:
        return False
    try:
        fcntl.lockf(queue, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except OSError:
        return True
    fcntl.lockf(queue, fcntl.LOCK_UN, 1, number)
    return False
