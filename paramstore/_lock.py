"""One lock for all writers of a store: finite waiting, fair, safe when its file vanishes.

Three layers, outermost first. A thread lock, because two locks on one file in one process would block
each other. The gate (see ``_gate``), where waiters sleep in the kernel and take turns. And the lock file in
``.paramstore/``, locked by filelock's ``lock_descriptor``: the lock that any other tool can take with
``FileLock``.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from paramstore._gate import Gate, close, keep, unlock
from paramstore.errors import LockLostError, LockTimeoutError, WriteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

POLL_S = 0.002


class _InProcess:
    """What all locks on one path in this process share."""

    def __init__(self, gate: Gate) -> None:
        self.mutex = threading.Lock()
        self.owner: int | None = None
        self.gate = gate  # by the owner alone


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
        self._in_process = _shared.get(path) or _shared.setdefault(
            path, _InProcess(Gate(*gates, f"{path}.queue"))
        )
        self._file: int | None = None
        self._process = os.getpid()

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self._timeout_s
        if self._in_process.owner == threading.get_ident():
            raise LockTimeoutError(
                "This thread already has a transaction open on this store; write through that one. Nothing was written."
            )
        if not self._in_process.mutex.acquire(timeout=max(0.0, self._timeout_s)):
            raise self._timed_out("another thread of this process")
        self._in_process.owner = threading.get_ident()
        try:
            if not self._in_process.gate.enter(deadline - time.monotonic()):
                raise self._timed_out("another process")
            self._file = self._lock_file(deadline)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if os.getpid() != self._process:
            return  # a fork inside the transaction: the lock is the parent's
        if self._file is not None:
            unlock(self._file)
            self._file = None
        self._in_process.gate.leave()
        self._in_process.owner = None
        self._in_process.mutex.release()

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

    def _lock_file(self, deadline: float) -> int:
        from filelock import lock_descriptor

        try:
            while True:
                fd = keep(self._open_file())
                if lock_descriptor(fd, blocking=False) and os.fstat(fd).st_nlink:
                    return fd
                close(fd)  # held by someone outside the gate, or deleted between opening and locking
                if time.monotonic() >= deadline:
                    raise self._timed_out("another process")
                time.sleep(POLL_S)
        except OSError as error:
            if isinstance(error, LockTimeoutError):
                raise
            raise WriteError(
                f"The lock file {self._path} cannot be used: {error.strerror or error}. Nothing was written."
            ) from error

    def _open_file(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        for _ in range(100):
            try:
                return os.open(self._path, flags, 0o644)
            except FileNotFoundError:  # the folder was deleted just now, as it may be at any time
                with suppress(FileExistsError):
                    os.mkdir(os.path.dirname(self._path))
        return os.open(self._path, flags, 0o644)

    def _timed_out(self, who: str) -> LockTimeoutError:
        return LockTimeoutError(
            f"Could not lock the store within {self._timeout_s:g} s: {who} holds {self._path}. Nothing was written; "
            "try again, or give a longer timeout_s."
        )
