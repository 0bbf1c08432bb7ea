"""A thread per store that looks at the files now and then, and tells subscribers.

It sees what no commit announces: edits by hand, ``git checkout``, a deleted generation file. It is
stopped around a fork, because a child has no threads, and a lock held by one would never open there.

Made of ``_thread`` alone: every process that reads has one, and ``threading`` would cost a quarter of an
interpreter start.
"""

from __future__ import annotations

import _thread
import os
import weakref

import paramstore._section  # noqa: F401 - its fork hook must run after ours, which waits for threads that use its lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Watched(Protocol):
        def look(self) -> None: ...
        def after_fork(self) -> None: ...


class Watcher:
    """Calls ``watched.look()`` every ``period_s`` seconds, and at once after ``wake()``."""

    def __init__(self, watched: Watched, period_s: float) -> None:
        self._watched = weakref.ref(watched)
        self._period_s = period_s
        self._forking: set[int] = set()  # the threads that fork just now: it starts again after the last
        self._reset()
        _watchers[id(self)] = weakref.ref(self)

    def _reset(self) -> None:
        self._asleep = _thread.allocate_lock()  # held while there is nothing to do; released by wake()
        self._asleep.acquire()
        self._ended = _thread.allocate_lock()  # held while the thread runs
        self._ident = 0
        self._stopping = False

    def start(self) -> None:
        self._reset()
        self._ended.acquire()
        self._ident = _thread.start_new_thread(
            _run, (weakref.ref(self), self._asleep, self._ended, self._period_s)
        )

    def wake(self) -> None:
        try:
            self._asleep.release()
        except RuntimeError:
            pass  # it is awake

    def stop(self) -> None:
        """End the thread and wait for it; ``start`` begins a new one."""
        self._stopping = True
        self.wake()
        if self._ident != _thread.get_ident():
            with self._ended:
                pass
        self._ident = 0

    @property
    def running(self) -> bool:
        return self._ident != 0

    def pause(self) -> bool:
        """Note that the current thread is about to fork, and tell whether to ``stop`` for it."""
        if self.running or self._forking:
            self._forking.add(_thread.get_ident())
            return True
        return False

    def resume(self, in_child: bool) -> None:
        self._forking.discard(_thread.get_ident())
        if in_child:
            self._forking.clear()  # no other thread came along
        if not self._forking and not self.running:
            self.start()

    def watched(self) -> Watched | None:
        return self._watched()

    def turn(self) -> bool:
        """Look once; tell whether to go on."""
        watched = self._watched()
        if watched is None or self._stopping:
            return False
        try:
            watched.look()
        except Exception:
            import logging

            logging.getLogger("paramstore").exception("looking at the store's files failed; trying again")
        return True


def _run(
    reference: weakref.ref[Watcher], asleep: _thread.LockType, ended: _thread.LockType, period_s: float
) -> None:
    try:
        asleep.acquire(timeout=period_s)
        import json  # noqa: F401 - so that the first commit that a reader sees need not wait for it

        while True:
            watcher = reference()  # weakly, so that a store that nobody holds any more can go
            if watcher is None or not watcher.turn():
                return
            del watcher
            asleep.acquire(timeout=period_s)
    finally:
        ended.release()


_watchers: dict[int, weakref.ref[Watcher]] = {}
_paused: dict[int, list[Watcher]] = {}  # by the thread that forks: several may at once
_deciding = _thread.allocate_lock()  # who stops and who starts; never held while waiting for a thread


def _living() -> list[Watcher]:
    found = [(key, reference()) for key, reference in list(_watchers.items())]
    for key, watcher in found:
        if watcher is None:
            _watchers.pop(key, None)
    return [watcher for _, watcher in found if watcher is not None]


def _before_fork() -> None:
    with _deciding:
        paused = _paused[_thread.get_ident()] = [watcher for watcher in _living() if watcher.pause()]
    for watcher in paused:
        watcher.stop()


def _resume(in_child: bool = False) -> None:
    with _deciding:
        for watcher in _paused.pop(_thread.get_ident(), ()):
            watcher.resume(in_child)


def _after_fork_in_child() -> None:
    global _deciding  # noqa: PLW0603 - another thread may have held it at the fork
    _deciding = _thread.allocate_lock()
    for watcher in _living():
        watched = watcher.watched()
        if watched is not None:
            watched.after_fork()
    _resume(in_child=True)
    _paused.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_resume, after_in_child=_after_fork_in_child)
