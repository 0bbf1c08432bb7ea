"""One lock for all writers of a store: finite waiting, fair, safe when its file vanishes.

Three layers, outermost first. A thread lock, because two locks on one file in one process would block
each other. The gate (see ``_gate``), where waiters sleep in the kernel and take turns. And the lock file in
``.paramstore/``, locked by filelock's ``lock_descriptor``: the lock that any other tool can take with
``FileLock``.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import weakref
from contextlib import contextmanager
from errno import ELOOP

from paramstore._files import make_runtime, open_or_create
from paramstore._gate import Gate, close, keep
from paramstore.errors import GitError, LockLostError, LockTimeoutError, WriteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

POLL_S = 0.002
TURN_S = 0.05  # between two looks of who waits for what takes longer


class _InProcess:
    """What all locks on one path in this process share."""

    def __init__(self, gate: Gate) -> None:
        self.mutex = threading.RLock()  # it knows its thread, so that letting go twice does no harm
        self.holder: Callable[[], WriteLock | None] = lambda: None  # weakly, see `__del__`
        self.gate = gate  # the holder's


_shared: dict[str, _InProcess] = {}
os.register_at_fork(
    after_in_child=_shared.clear
)  # a mutex held by another thread would never open in the child


class WriteLock:
    """``with WriteLock(gates, path, timeout_s) as lock:`` holds the store for writing.

    ``gates`` are the outer and the inner directory, ``path`` the lock file. Raises
    ``LockTimeoutError`` after ``timeout_s`` seconds and ``WriteError`` where locking is impossible.
    """

    def __init__(self, gates: tuple[str, str], path: str, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._active = False
        self._in_process = _shared.get(path) or _shared.setdefault(
            path, _InProcess(Gate(*gates, f"{path}.queue"))
        )
        self._file: int | None = None
        self._process = os.getpid()
        self._thread = threading.get_ident()

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self._timeout_s
        holder = self._in_process.holder()
        if holder is not None and holder._thread == self._thread:
            if holder._active:
                raise LockTimeoutError(
                    "This thread already has a transaction open on this store; write through that one. Nothing was "
                    "written."
                )
            holder._let_go()  # an interrupt cut its end short
        try:
            if not self._in_process.mutex.acquire(timeout=max(0.0, self._timeout_s)):
                raise self._timed_out("another thread of this process")
            self._in_process.holder = weakref.ref(self)
            if not self._in_process.gate.enter(deadline - time.monotonic()):
                raise self._timed_out("another process")
            self._lock_file(deadline)
            self._active = True
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._active = False
        if os.getpid() == self._process:  # else a fork inside the transaction: the lock is the parent's
            self._let_go()

    def __del__(self) -> None:
        if self._active:  # an interrupt came before the first line of `__exit__`
            self.__exit__()

    def _let_go(self) -> None:
        """Release whatever is held. Each step can be done twice, as an interrupt may come after any."""
        if self._in_process.holder() is self:
            if self._file is not None:
                fcntl.flock(self._file, fcntl.LOCK_UN)
                fd, self._file = self._file, None
                close(fd)
            self._in_process.gate.leave()
        try:
            while True:
                self._in_process.mutex.release()
        except RuntimeError:
            pass  # it is no longer this thread's
        if self._in_process.holder() is self:
            self._in_process.holder = lambda: None

    def check(self) -> None:
        """Raise ``LockLostError`` if the lock file is not the one that was locked, or the parent's."""
        if os.getpid() != self._process:
            raise LockLostError(
                f"This transaction was opened by process {self._process}, before a fork, and is still its own. Nothing "
                "was written; open a transaction in this process."
            )
        try:
            held = self._file is not None and os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except OSError:
            held = False
        if not held:
            raise LockLostError(
                f"The lock file {self._path} was deleted or replaced while it was held. Nothing was written; "
                "run the transaction again."
            )

    def _lock_file(self, deadline: float) -> None:
        from filelock import lock_descriptor

        try:
            while True:
                fd = self._file = keep(self._open_file())
                if lock_descriptor(fd, blocking=False) and os.fstat(fd).st_nlink:
                    return
                self._file = None
                close(fd)  # held by someone outside the gate, or deleted between opening and locking
                if time.monotonic() >= deadline:
                    raise self._timed_out("another process")
                time.sleep(POLL_S)
        except OSError as error:
            if isinstance(error, LockTimeoutError):
                raise
            if error.errno == ELOOP:
                error.strerror = (
                    "it is a symbolic link, and another file must not be locked in its place: remove it"
                )
            raise WriteError(
                f"The lock file {self._path} cannot be used: {error.strerror or error}. Nothing was written."
            ) from error

    def _open_file(self) -> int:
        for _ in range(100):
            try:
                return open_or_create(self._path)
            except FileNotFoundError:  # the folder was deleted just now, as it may be at any time
                make_runtime(os.path.dirname(self._path))
        return open_or_create(self._path)

    def _timed_out(self, who: str) -> LockTimeoutError:
        return LockTimeoutError(
            f"Could not lock the store within {self._timeout_s:g} s: {who} holds {self._path}. Nothing was written; "
            "try again, or give a longer timeout_s."
        )


@contextmanager
def alone(path: str, told: str, wait_s: float = 0.0) -> Iterator[None]:
    """Let one at a time do what the file ``path`` stands for; the kernel forgets one that died. Raises ``GitError`` that says
    ``told`` while another does, ``wait_s`` seconds from now."""
    deadline = time.monotonic() + wait_s
    fd = open_or_create(path)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise GitError(told) from None
                time.sleep(TURN_S)
        yield
    finally:
        os.close(fd)
