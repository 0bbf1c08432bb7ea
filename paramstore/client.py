"""Reads over HTTP, for strategies on another host: what ``paramstore serve`` answers, kept and asked for again with its ETag.

It fails closed, as local reads do. A server that does not answer, or refuses, is an error that says how old the values are that were last
known; they are given only to who accepts that age (``max_age_s``). Standard library only.

>>> from paramstore.client import Client
>>> params = Client("http://127.0.0.1:8417")            # doctest: +SKIP
>>> params.get("signal_weights.funding", symbol="BTCUSDT")  # doctest: +SKIP
0.16
"""

from __future__ import annotations

import io
import ipaddress
import json
import os
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from paramstore._values import FrozenDict, freeze
from paramstore.errors import ContextError, ParamstoreError, UnknownParamError

__all__ = ["Client", "ServerError"]

MOST_BYTES = 64 << 20
MOST_CONTEXTS = 256  # whose values are kept
PIECE = 64 * 1024
UNANSWERED = (429, 500, 502, 503, 504)  # as good as no answer: the next may come

Place = tuple[tuple[str, str], ...]  # a context, as it is asked for


class ServerError(ParamstoreError):
    """The server did not answer, or refused. ``age_s``: seconds since the values last known were confirmed, ``None`` if there
    are none; ``status``: what it answered with, ``None`` if it did not."""

    def __init__(self, message: str, age_s: float | None = None, status: int | None = None) -> None:
        self.age_s = age_s
        self.status = status
        known = (
            "Nothing is known from before."
            if age_s is None
            else f"The values last known are {age_s:.1f} s old."
        )
        super().__init__(f"{message} {known}")


class _Known(NamedTuple):
    """What the server last said for one context, and when (seconds by ``_now``) it was last confirmed."""

    revision: int
    etag: str
    values: FrozenDict
    confirmed: float


class _Answer(NamedTuple):
    status: int
    etag: str
    data: Any


class Client:
    """The values that the server at ``address`` (``https://host:port``) gives. Safe to share between threads, and after a fork.

    Each read asks the server, which answers briefly while nothing changed; with ``refresh_s`` only where the last answer is older than
    that many seconds. ``max_age_s``: where the server does not answer within ``timeout_s``, values that it confirmed within so many seconds are
    given all the same; 0 gives none. ``ca``: a file with the certificate that its TLS is signed by.

    A token is never sent in plain to another machine, unless ``without_tls`` says that this is meant. Redirects are not followed. Raises
    ``ValueError`` for an address that is none.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        timeout_s: float = 5.0,
        refresh_s: float = 0.0,
        max_age_s: float = 0.0,
        ca: str | os.PathLike[str] | None = None,
        without_tls: bool = False,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{address!r} is no address such as http://127.0.0.1:8417")
        if parts.username is not None or parts.password is not None:
            raise ValueError("give the token as `token`, not in the address")
        if token and parts.scheme == "http" and not without_tls and not _is_loopback(parts.hostname):
            raise ValueError(
                f"the token would travel to {parts.hostname} in plain; use https, or say without_tls=True"
            )
        if token and not (token.isascii() and token.isprintable()):
            raise ValueError("the token has characters that no token has")
        self._host, self._port, self._tls = parts.hostname, parts.port, parts.scheme == "https"
        self._path = parts.path.rstrip("/") + "/api/v1"
        self._address = f"{parts.scheme}://{parts.netloc}"
        self._token, self._ca = token, ca
        self._timeout_s, self._refresh_s, self._max_age_s = timeout_s, refresh_s, max_age_s
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._connection: HTTPConnection | None = None
        self._known: OrderedDict[Place, _Known] = OrderedDict()

    # -- reads ------------------------------------------------------------------------------------

    def get(self, key: str, /, **context: Any) -> Any:
        """Return the value of ``key`` in a context. Raises ``UnknownParamError``, ``ContextError`` and ``ServerError``."""
        values = self.values(**context)
        if key not in values:
            raise self._unknown(key, context)
        return values[key]

    def values(self, **context: Any) -> Mapping[str, Any]:
        """Return all values in a context, at one revision: a read-only mapping that does not change any more."""
        return self._current(context).values

    @property
    def revision(self) -> int:
        """The revision that a read sees now."""
        return self._current({}).revision

    def refresh(self) -> int:
        """Ask the server now, whatever ``refresh_s`` says, and return the revision."""
        return self._current({}, now=True).revision

    def close(self) -> None:
        """Close the connection; the next read opens another."""
        with self._held():
            self._drop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):  # it may never have been made
            self._drop()

    def __repr__(self) -> str:
        return f"<Client of {self._address}>"  # never the token

    # -- what is known, and whether it is so still ----------------------------------------------------

    def _held(self) -> threading.RLock:
        if self._pid != os.getpid():  # a connection that a fork shares would mix up answers
            self._start()
        return self._lock

    @contextmanager
    def _turn(self, place: Place, deadline: float) -> Iterator[None]:
        """Have the block run alone. Raises ``ServerError`` where others still wait for their answers at the deadline."""
        lock = self._held()
        if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise ServerError(
                f"{self._address} did not answer those who asked before.", _age(self._known.get(place))
            )
        try:
            yield
        finally:
            lock.release()

    def _current(self, context: Mapping[str, Any], now: bool = False) -> _Known:
        place = tuple(sorted((name, _text(value)) for name, value in context.items() if value is not None))
        began, deadline = _now(), time.monotonic() + self._timeout_s
        try:
            with self._turn(place, deadline):
                known = self._known.get(place)
                oldest = began - (0.0 if now else self._refresh_s)
                if known is not None and known.confirmed > oldest:  # perhaps just asked for by another thread
                    return known
                self._known[place] = found = self._confirmed(place, known, deadline)
                self._known.move_to_end(place)
                while len(self._known) > MOST_CONTEXTS:
                    self._known.popitem(last=False)
                return found
        except ServerError as error:
            known = self._known.get(place)
            if known is None or error.age_s is None or error.age_s > self._max_age_s or _is_final(error):
                raise
            return known

    def _confirmed(self, place: Place, known: _Known | None, deadline: float) -> _Known:
        asked = _now()  # what is confirmed was so when it was asked for, at the least
        answer = self._ask(f"/values{_query(place)}", known, deadline)
        if answer.status == 304 and known is not None:
            return known._replace(confirmed=asked)
        data = answer.data
        if answer.status != 200 or not _is_values(data):
            raise self._refusal(answer, known)
        return _Known(data["revision"], answer.etag, freeze(data["values"]), asked)

    def _unknown(self, key: str, context: Mapping[str, Any]) -> ParamstoreError:
        """Ask the server what may have been meant."""
        nearest: list[str] = []
        deadline = time.monotonic() + self._timeout_s
        with suppress(ParamstoreError), self._turn((), deadline):
            said = self._ask(f"/values/{quote(key, safe='')}", None, deadline).data
            if isinstance(said, dict) and isinstance(said.get("nearest"), list):
                nearest = [str(name) for name in said["nearest"]]
        return UnknownParamError(key, nearest)

    def _refusal(self, answer: _Answer, known: _Known | None) -> ParamstoreError:
        said = answer.data if isinstance(answer.data, dict) else {}
        detail = str(said.get("detail") or f"It is no answer of a parameter store (status {answer.status}).")
        if answer.status == 400 and said.get("kind") == "context":
            return ContextError(detail)
        moved = " Redirects are not followed: name the address itself." if 300 <= answer.status < 400 else ""
        return ServerError(f"{self._address} refused: {detail}{moved}", _age(known), answer.status)

    # -- the wire ---------------------------------------------------------------------------------

    def _ask(self, path: str, known: _Known | None, deadline: float) -> _Answer:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        reused = self._connection is not None
        try:
            try:
                return self._exchange(path, headers, deadline)
            except (HTTPException, ConnectionError):
                if not reused:
                    raise
                return self._exchange(path, headers, deadline)  # a server closes connections that rest
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            why = str(error) or type(error).__name__
            raise ServerError(f"{self._address} did not answer ({why}).", _age(known)) from error

    def _exchange(self, path: str, headers: Mapping[str, str], deadline: float) -> _Answer:
        try:
            connection = self._connection or self._connect(_left_s(deadline))
            self._connection = connection
            if connection.sock is not None:
                connection.sock.settimeout(_left_s(deadline))
            connection.request("GET", self._path + path, headers=dict(headers))
            connection.response_class = lambda sock, **words: HTTPResponse(_Timely(sock, deadline), **words)  # type: ignore[assignment, arg-type]
            response = connection.getresponse()
            body = bytearray()
            while piece := response.read1(PIECE):
                body += piece
                if len(body) > MOST_BYTES:
                    raise TimeoutError("the answer does not end")
            if response.length not in (None, 0):
                raise HTTPException("the answer is cut off")
            response.close()  # or the connection would take it for unread
            if response.will_close:
                self._drop()
            data = _parsed(response.status, bytes(body), response.getheader("Content-Type", ""))
            return _Answer(response.status, response.getheader("ETag", ""), data)
        except BaseException:
            self._drop()  # whatever is left in it belongs to no other answer
            raise

    def _connect(self, timeout_s: float) -> HTTPConnection:
        if not self._tls:
            return HTTPConnection(self._host, self._port, timeout=timeout_s)
        import ssl

        context = ssl.create_default_context(cafile=None if self._ca is None else os.fspath(self._ca))
        return HTTPSConnection(self._host, self._port, timeout=timeout_s, context=context)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Timely(io.RawIOBase):
    """What comes from a socket by ``deadline``, however little at a time it comes."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        self._raw = sock.makefile("rb", buffering=0)

    def makefile(self, _: str) -> io.BufferedReader:
        """Return the file that an answer is read from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left_s(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left_s(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _now() -> float:
    """Return the seconds since some moment; they go on while the machine sleeps, where it can tell."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def _age(known: _Known | None) -> float | None:
    return None if known is None else _now() - known.confirmed


def _is_final(error: ServerError) -> bool:
    """Tell whether the server said no, which is no outage."""
    return error.status is not None and error.status not in UNANSWERED


def _is_values(data: Any) -> bool:
    return (
        isinstance(data, dict) and type(data.get("revision")) is int and isinstance(data.get("values"), dict)
    )


def _parsed(status: int, body: bytes, kind: str) -> Any:
    """Return the JSON of an answer; ``None`` for anything else. Raises ``ValueError`` for values in broken JSON."""
    if kind.partition(";")[0].strip().lower() not in ("application/json", "application/problem+json"):
        return None
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        if status == 200:
            raise
        return None  # the status says enough


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)


def _query(place: Place) -> str:
    return "?" + urlencode([("at", f"{name}={text}") for name, text in place]) if place else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"
