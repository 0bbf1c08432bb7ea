"""How the page is listened for: addresses, TLS, signals, and the end of clients that hang. The only user of uvicorn.

uvicorn waits for ever for a request that does not come whole and for a client that does not read. Here each connection is given
up after a while, and when there are too many, one that does nothing makes room for the next: no number of hung clients keeps
others out.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import resource
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from paramstore.errors import ParamstoreError
from paramstore.web._guard import Guard, security_headers

HEAD_S = (
    10.0  # in which the head of a request must have come, and in which the TLS of a connection must be agreed
)
IDLE_S = 5  # until a connection that waits for its next request is closed
STUCK_S = 30.0  # that a client may leave a piece of its answer waiting
FLUSH_S = 5.0  # in which it must agree to the end of TLS
STOP_S = 1  # that requests get to end in when the server stops
MOST_CONNECTIONS = 2048
DESCRIPTORS = 2 * MOST_CONNECTIONS  # wanted; files of the store need some, too
MALFORMED = b"The request is not HTTP."


class ListenError(ParamstoreError):
    """The address cannot be listened at. Nothing was started."""


def is_loopback(host: str) -> bool:
    """Tell whether every address of ``host`` is of this machine alone. Raises ``ListenError`` for a name without one."""
    return all(
        ipaddress.ip_address(str(found[4][0]).partition("%")[0]).is_loopback for found in _addresses(host, 0)
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at ``host``; port 0 picks one. Raises ``ListenError``, which says what to do."""
    family, kind, protocol, _, place = _addresses(host, port)[0]
    made = socket.socket(
        family, kind, protocol
    )  # named: or small answers would wait for those before them to be acknowledged
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen(MOST_CONNECTIONS)  # here: two may bind, but only one listen
    except OSError as error:
        made.close()
        raise ListenError(_why_not(error, host, port)) from None
    return made


def _addresses(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenError(
            f"{host} is not an address of this machine ({error}). Name one with --host."
        ) from None


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is in use, perhaps by another `paramstore serve`: stop that, or name another port with --port "
            "(--port 0 picks one that is free)."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} is for the system's own services: name one from 1024 up with --port."
    return f"Cannot listen at {host}, port {port} ({error.strerror}): name an address of this machine with --host."


def tls_context(cert: str, key: str) -> ssl.SSLContext:
    """Return what a server with this certificate agrees to. Raises ``ListenError`` where the two files do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # never asks at the terminal
    except OSError as error:  # SSLError is one
        raise ListenError(
            f"{cert} and {key} are not a certificate and its key, both in PEM and the key without a password ({error.strerror or error})."
        ) from None
    return context


def serve(
    app: Guard, made: socket.socket, tls: ssl.SSLContext | None, ready: Callable[[], None]
) -> int | None:
    """Answer at the listening socket ``made`` until SIGINT or SIGTERM, and return which came. ``ready`` is called once requests
    are answered. Raises ``ListenError`` where the application does not start."""
    # Whatever goes wrong in the application is told by the guard, and what clients do wrong is not worth a line.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
    config = Config(
        app, loop="asyncio", http=_protocol(min(MOST_CONNECTIONS, _raise_limit() // 2)), ws="none", lifespan="on", log_config=None,
        access_log=False, proxy_headers=False, server_header=False, timeout_keep_alive=IDLE_S, timeout_graceful_shutdown=STOP_S,
    )  # fmt: skip
    config.load()
    config.ssl = tls
    server = Stoppable(config, app, ready)
    with asyncio.Runner(loop_factory=_Loop) as runner:
        try:
            runner.run(server.serve(sockets=[made]))
        except SystemExit:
            raise ListenError("The page could not be started; what stands above says why.") from None
    return server.stopped_by


class Stoppable(Server):
    """A server that says when it is ready, and whose open streams do not hold it up when it is to stop."""

    def __init__(self, config: Config, guard: Guard, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._guard, self._ready = guard, ready
        self.stopped_by: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._guard.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise the signal again once it has stopped, and die of it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kept = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, before in kept.items():
                signal.signal(number, before)

    def _stop(self, number: int, _: object) -> None:
        self.force_exit = self.should_exit  # the second time
        self.should_exit = True
        self.stopped_by = self.stopped_by or number


class _Loop(asyncio.SelectorEventLoop):
    async def create_server(self, *args: Any, **kw: Any) -> Any:
        """uvicorn sets no limit to the time in which a client agrees on TLS, and a minute is the default."""
        if kw.get("ssl") is not None:
            kw.update(ssl_handshake_timeout=HEAD_S, ssl_shutdown_timeout=FLUSH_S)
        return await super().create_server(*args, **kw)


def _raise_limit() -> int:
    """Have as many descriptors as are wanted, where the system lets us, and return how many there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return DESCRIPTORS
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft
    return wanted


def _protocol(most: int) -> type[asyncio.Protocol]:
    return type("Limited", (Impatient,), {"most": most})


class Impatient(H11Protocol):
    """A connection that is given up when its client hangs, wherever it does."""

    most = MOST_CONNECTIONS
    _timer: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    since = 0.0  # when it came to do what it does

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # So that `pause_writing` is called as soon as anything is left waiting, also when nothing more is sent or all is to be closed:
        # uvicorn would wait for ever for the last bytes to be taken.
        transport.set_write_buffer_limits(high=1, low=0)
        self.since = self.loop.time()
        self._look()
        if len(self.connections) > self.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._stuck):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def pause_writing(self) -> None:
        self._stuck = self.loop.call_later(STUCK_S, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
        self._stuck = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, with the headers that every answer has; but not in the middle of another answer."""
        if not (self.answering and self.cycle.response_started):
            head = [
                b"HTTP/1.1 400 Bad Request", b"content-type: text/plain; charset=utf-8", b"content-length: %d" % len(MALFORMED),
                b"connection: close", b"cache-control: no-store", *(b"%s: %s" % pair for pair in security_headers()),
            ]  # fmt: skip
            self.transport.write(b"\r\n".join([*head, b"", MALFORMED]))
        self.transport.close()

    @property
    def answering(self) -> bool:
        """Whether a request has come that has not been answered in full."""
        return self.cycle is not None and not self.cycle.response_complete

    def idleness(self) -> tuple[int, float]:
        """What is least makes room first: who has said nothing yet, then who does not read, then whoever was there first."""
        return 0 if not self.answering else 1 if self._stuck is not None else 2, self.since

    def _look(self) -> None:
        """Have a timer run while the head of a request is awaited; what comes of it in small pieces does not set it back."""
        if self.answering or self.transport.is_closing():
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
                self.since = self.loop.time()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def _make_room(self) -> None:
        others = [each for each in self.connections if isinstance(each, Impatient) and each is not self]
        if others:
            least = min(others, key=Impatient.idleness)
            self.connections.discard(least)  # now: the next may come before it is seen to be gone
            least.transport.abort()
