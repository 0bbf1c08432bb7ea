"""The process that keeps a machine's mirror of the cluster in step, for all others on it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from paramstore._backends.etcd import EtcdBackend
from paramstore._etcd_versions import unsafe, warning
from paramstore.errors import ParamstoreError

LOOK_S = 0.2  # how often it looks whether there is something to tell
STUCK_S = 20.0  # after so long without a turn of the follower's loops, systemd hears that we live no more
CLAIM_S = 1.0  # how often one that stands by tries to take over


class Agent:
    """Follows the cluster of ``backend`` until it is told to end. ``tell`` hears, in a sentence, what has changed; systemd, if
    it started us, hears when there is a mirror to read, and that we live."""

    def __init__(self, backend: EtcdBackend, tell: Callable[[str], None]) -> None:
        self._backend = backend
        self._tell = tell
        self._told = ""
        self._ready = False

    def run(self, stop: threading.Event) -> None:
        """Follow until ``stop`` is set."""
        follower = self._backend.follower
        while not follower.claim():
            self._say(f"another process keeps {self._backend.root} in step; standing by to take over")
            self._tell_ready()
            notify("WATCHDOG=1")
            if stop.wait(CLAIM_S):
                return
        follower.start()
        try:
            while not stop.wait(LOOK_S):
                self._look()
        finally:
            notify("STOPPING=1")
            self._backend.close()

    def _look(self) -> None:
        backend = self._backend
        known = backend.mirror.followed()
        problem, why = backend.stale(), backend.follower.problem
        if problem and not why and not self._told:
            return  # it has only just begun to ask
        stands = "" if known is None else f". Revision {known.place().revision} is still being served."
        if known is not None and not problem:
            where = f"following {backend.place.url} in {backend.root}"
            self._say(f"{where}, revision {known.place().revision}", where)
        elif problem:
            told = f"{problem} ({why})" if why and why not in problem else problem
            self._say(told + stands, problem)
        if known is not None and not self._ready:
            self._warn()
        self._tell_ready()
        if time.monotonic() - backend.follower.alive < STUCK_S:
            notify("WATCHDOG=1")

    def _tell_ready(self) -> None:
        """Tell systemd once that there is something to read, whoever keeps it in step."""
        if not self._ready and self._backend.signs.seen() is not None:
            self._ready = True
            notify("READY=1")

    def _warn(self) -> None:
        """Tell what is known of the server's version. Should it not answer just now, the watch says so."""
        with suppress(ParamstoreError):
            version = str(self._backend.remote.client.status(1.0).version)
            if words := unsafe(version) or warning(version):
                self._tell(words)

    def _say(self, text: str, kind: str = "") -> None:
        """Tell ``text``, unless what it is about (``kind``) was told last."""
        if (kind or text) != self._told:
            self._told = kind or text
            self._tell(text)
            notify(f"STATUS={text.splitlines()[0]}")


def notify(message: str) -> None:
    """Tell systemd, by its protocol (sd_notify(3)); without it, nobody."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door,
        ):
            door.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)
