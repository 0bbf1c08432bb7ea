"""The process that keeps a machine's mirror of the cluster in step, for all others on it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from paramstore._backends.etcd import EtcdBackend
from paramstore._etcd_versions import unsafe, warning
from paramstore.errors import ParamstoreError

LOOK_S = 0.2  # how often it looks whether there is something to tell
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
        problem += f" ({why})" if problem and why else ""
        if known is not None and not problem:
            self._say(
                f"following {backend.place.url} in {backend.root}, revision {known.place().revision}",
                once=True,
            )
        elif problem:
            self._say(
                problem
                if known is None
                else f"{problem}. Revision {known.place().revision} is still being served."
            )
        if known is not None and not self._ready:
            self._ready = True
            notify("READY=1")
            self._warn()
        notify("WATCHDOG=1")

    def _warn(self) -> None:
        """Tell what is known of the server's version. Should it not answer just now, the watch says so."""
        with suppress(ParamstoreError):
            version = str(self._backend.remote.client.status(1.0).version)
            if words := unsafe(version) or warning(version):
                self._tell(words)

    def _say(self, text: str, once: bool = False) -> None:
        kind = text.partition(", revision")[0] if once else text
        if kind != self._told:
            self._told = kind
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
