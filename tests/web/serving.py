"""``paramstore serve`` as a process, for tests; with ``TINY``, around an application that fails, streams and is slow on demand."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from paramstore.cli import main as run
from paramstore.web import _server
from paramstore.web._guard import Guard, Message, Receive, Send

REAL = [sys.executable, "-m", "paramstore"]
TINY = [sys.executable, __file__]


@dataclass
class Served:
    """A server that answers, and what it has written."""

    process: subprocess.Popen[bytes]
    address: str
    token: str
    ready: dict[str, Any]
    out: Path
    err: Path

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.ask("GET", path, None, **headers)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(
                method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            answer = connection.getresponse()
            return (
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
            )
        finally:
            connection.close()

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        right = {
            "Origin": self.address,
            "Authorization": f"Bearer {self.token}",
            "Content_Type": "application/json",
        }
        return self.ask("POST", path, json.dumps(body).encode(), **{**right, **headers})

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal, and return the exit status and the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(10), time.monotonic() - started

    def written(self) -> str:
        return self.out.read_text() + self.err.read_text()


@contextmanager
def served(root: Path, *words: str, program: list[str] | None = None, **environ: str) -> Iterator[Served]:
    """Serve the store at ``root`` on a port that is free, until the block ends."""
    out, err = root / "served.out", root / "served.err"
    command = [*(program or TINY), "--root", str(root), "serve", "--port", "0", "--json", *words]
    with (
        out.open("wb") as to,
        err.open("wb") as errors,
        subprocess.Popen(command, stdout=to, stderr=errors, env={**os.environ, **environ}) as process,
    ):
        try:
            ready = json.loads(_first_line(process, out, err))
            token = Path(ready["token_file"]).read_text().strip() if ready["token_file"] else ""
            yield Served(process, ready["address"], token, ready, out, err)
        finally:
            process.kill()


def _first_line(process: subprocess.Popen[bytes], out: Path, err: Path) -> str:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        line, end, _ = out.read_text().partition("\n")
        if end:
            return line
        time.sleep(0.02)
    raise AssertionError(out.read_text() + err.read_text())


# --- the tiny application -------------------------------------------------------------------------


async def tiny(scope: Any, receive: Receive, send: Send) -> None:
    """Do what the path says."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    path = scope["path"]
    if path == "/api/fail":
        raise RuntimeError(f"a fault of {dict(scope['headers']).get(b'authorization', b'')!r}")
    size = int(path.removeprefix("/api/big/")) if path.startswith("/api/big/") else 0
    headers = [(b"content-type", b"text/plain"), (b"server", b"tiny/1.0"), (b"x-frame-options", b"ALLOWALL")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path == "/api/stream":
        await _stream(receive, send)
        return
    if path == "/api/deaf":  # a stream that does not ask whether its client has gone
        while True:
            await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
            await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b"x" * size or path.encode()})


async def _lifespan(receive: Receive, send: Send) -> None:
    for word in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{word}.complete"})


async def _stream(receive: Receive, send: Send) -> None:
    gone = asyncio.ensure_future(_gone(receive))
    while not gone.done():
        await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
        await asyncio.wait([gone], timeout=0.1)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    message: Message = {}
    while message.get("type") != "http.disconnect":
        message = await receive()


def main() -> None:
    limits = json.loads(os.environ.get("TINY_LIMITS", "{}"))  # for seconds that a test does not have
    for name in [name for name in limits if name.isupper()]:
        setattr(_server, name, limits.pop(name))
    stand_in: Any = ModuleType("paramstore.web._app")
    stand_in.make_app = lambda store, settings: Guard(tiny, replace(settings, **limits))
    sys.modules["paramstore.web._app"] = stand_in
    run()


if __name__ == "__main__":
    main()
