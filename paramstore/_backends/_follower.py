"""Keeps a mirror in step with etcd: one process per machine does it, for all.

It watches, and resumes after what it has whenever the watch ends. A watch can go deaf without an error (a stopped server, a
lost connection, faults of old servers), so the newest entry is asked for as well, every ``check_s``; each time the cluster
answers, ``.paramstore/heard`` says so, and readers know by it how old what they serve may be.
"""

from __future__ import annotations

import fcntl
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING

from paramstore import _files
from paramstore._backends._mirror import Followed, GapError
from paramstore._etcd_client import CompactedError
from paramstore._gate import keep, unlock
from paramstore.errors import UnreachableError

if TYPE_CHECKING:
    from paramstore._backends._mirror import Mirror
    from paramstore._backends._remote import Remote
    from paramstore._etcd_client import KeyValue

PAUSE_S = 0.1, 5.0  # between two tries to reach the cluster, the shortest and the longest
TRIES = 3  # to take over what is new, while others spoil the mirror
DEAF_S = 0.5  # how long after an entry the watch may bring it


class Follower:
    """Brings ``mirror`` in step with ``remote``: ``catch_up`` at once, ``run`` as long as the process lives."""

    def __init__(self, mirror: Mirror, remote: Remote, check_s: float) -> None:
        self._mirror = mirror
        self._remote = remote
        self._signs = mirror.signs
        self._check_s = check_s
        self._watch: object = None
        self._turn: int | None = None  # the descriptor of the lock that says who follows
        self.stopping = threading.Event()
        self.problem = ""  # why it is not in step
        self.alive = time.monotonic()  # when one of the loops last took a turn

    # -- one step ---------------------------------------------------------------------------------

    def catch_up(self, timeout_s: float, once: bool = False) -> Followed:
        """Take over all that is new. Raises what ``Remote.news`` does, and ``UnreachableError`` should others spoil the mirror
        meanwhile; then nothing was taken over. ``once``: every endpoint is
        asked once."""
        for _ in range(TRIES):
            with self._mirror.locked():
                known = self._mirror.checked()
            news = self._remote.news(known or Followed(), timeout_s, once)
            with self._mirror.locked():
                now = self._mirror.followed() if known is not None else self._mirror.checked()
                if now is None and known is not None:
                    continue  # spoilt meanwhile: asked anew, for all there is, and not while others wait for the mirror
                try:
                    now = self._mirror.take(now or self._mirror.clear(), news)
                except GapError:
                    continue
            self._signs.hear()
            return now
        raise UnreachableError(
            f"{self._mirror.folder}: others keep changing the mirror. Nothing was taken over"
        )

    # -- following --------------------------------------------------------------------------------

    def claim(self) -> bool:
        """Become the one who follows on this machine, unless another does."""
        if self._turn is not None:
            return True
        self._mirror.make()
        try:
            fd = keep(_files.open_or_create(self._signs.turn_file))
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            unlock(fd)
            return False
        self._turn = fd
        return True

    def start(self) -> None:
        """Follow in a thread of this process, for as long as somebody uses the store."""
        target = weakref.WeakMethod(self.run)
        threading.Thread(
            target=lambda: (run := target()) and run(), name="paramstore-follower", daemon=True
        ).start()

    def run(self) -> None:
        """Follow until ``stop``. Errors of the cluster are waited out."""
        threading.Thread(target=self._check, name="paramstore-check", daemon=True).start()
        pause_s = PAUSE_S[0]
        while not self.stopping.is_set():
            self.alive = time.monotonic()
            try:
                known = self.catch_up(self._check_s + 3.0, once=True)
                pause_s = PAUSE_S[0]
                self._tell(None)
                self._follow(known)
            except (GapError, CompactedError):
                pass  # what is missing is read with all the rest
            except Exception as error:  # noqa: BLE001 - one that ended would hold the turn, and its machine would be deaf
                self._tell(error)
            # else all machines come back at the same moment
            self.stopping.wait(pause_s * random.uniform(0.5, 1.5))
            pause_s = min(2 * pause_s, PAUSE_S[1])

    def _follow(self, known: Followed) -> None:
        watch = self._watch = self._remote.follow(known.revision)
        if self.stopping.is_set():  # by one who saw no watch to end
            watch.cancel()
        for revision, changes in watch:
            self._take(revision, changes)
            if self.stopping.is_set():
                watch.cancel()
                return

    def _take(self, revision: int, changes: list[KeyValue]) -> None:
        with self._mirror.locked():
            known = self._mirror.followed()
            if known is None:
                raise GapError
            news = self._remote.told(known, revision, changes)
            if news is None:
                return
            self._mirror.take(known, news)
        self._signs.hear()

    def _tell(self, error: Exception | None) -> None:
        """Remember why it is not in step. What waiting will not mend is told to all processes."""
        self.problem = "" if error is None else str(error) or repr(error)
        self._signs.tell("" if error is None or isinstance(error, UnreachableError) else self.problem)

    def _check(self) -> None:
        """Ask for the newest entry now and then; cut a watch that should have brought it, or whose mirror somebody changed."""
        while not self.stopping.wait(self._check_s * random.uniform(0.5, 1.0)):
            if self.problem:
                continue  # it is being asked already
            self.alive = time.monotonic()
            try:
                if self._is_in_step() or (not self.stopping.wait(DEAF_S) and self._is_in_step()):
                    self._signs.hear()
                else:
                    self.cut()
            except Exception as error:  # noqa: BLE001 - as above: a watch that is deaf would never be cut
                self.problem = str(error) or repr(error)
                if not isinstance(error, UnreachableError):
                    self.cut()

    def _is_in_step(self) -> bool:
        newest = self._remote.newest(self._check_s + 1.0)
        with self._mirror.locked():
            known = self._mirror.checked()
        return known is not None and known.head == newest

    def cut(self) -> None:
        """End the watch, so that it begins anew."""
        cancel = getattr(self._watch, "cancel", None)
        if cancel is not None:
            cancel()

    def stop(self) -> None:
        """End following; another process may take over."""
        self.stopping.set()
        self.cut()
        if self._turn is not None:
            fd, self._turn = self._turn, None
            unlock(fd)
