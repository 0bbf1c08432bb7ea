"""A thread per store that looks at the files now and then, and tells subscribers.

It sees what no commit announces: edits by hand, ``git checkout``, a deleted generation file. It is
stopped around a fork, because a child has no threads, and a lock held by one would never open there.
"""

from __future__ import annotations

import os
import threading
import weakref

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
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        _watchers.add(self)

    def start(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="paramstore-watch", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """End the thread and wait for it; ``start`` begins a new one."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def running(self) -> bool:
        return self._thread is not None

    def watched(self) -> Watched | None:
        return self._watched()

    def _run(self) -> None:
        self._wake.wait(self._period_s)
        import json  # noqa: F401 - so that the first commit seen by a reader need not wait for the import

        while not self._stopping:
            self._wake.clear()
            watched = self._watched()
            if watched is None:
                return
            try:
                watched.look()
            except Exception:  # noqa: BLE001 - a look that fails must not end all looking
                import logging

                logging.getLogger("paramstore").exception("looking at the store's files failed; trying again")
            del watched
            self._wake.wait(self._period_s)


_watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()
_paused: list[Watcher] = []


def _before_fork() -> None:
    _paused[:] = [watcher for watcher in _watchers if watcher.running()]
    for watcher in _paused:
        watcher.stop()


def _resume() -> None:
    for watcher in _paused:
        watcher.start()
    _paused.clear()


def _after_fork_in_child() -> None:
    for watcher in list(_watchers):
        watched = watcher.watched()
        if watched is not None:
            watched.after_fork()
    _resume()


os.register_at_fork(before=_before_fork, after_in_parent=_resume, after_in_child=_after_fork_in_child)
