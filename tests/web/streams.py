"""A client of the event stream, for tests: what comes, event by event, as a browser would take it in."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Event(NamedTuple):
    id: str
    name: str
    data: Any


class Stream:
    """One connection. Reads lines as the standard says: fields until an empty line, comments left out but counted."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers: dict[str, str] = {}
        for raw in iter(self._file.readline, b"\r\n"):
            name, _, value = raw.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        self.comments = 0
        self._left = b""
        self._events = self._parsed()

    def close(self) -> None:
        self._file.close()  # which would keep the connection open

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._file.readline() or b"0", 16):
            yield self._file.read(size)
            self._file.readline()

    def _parsed(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for chunk in self._chunks():
            self._left += chunk
            while b"\n" in self._left:
                raw, self._left = self._left.split(b"\n", 1)
                line = raw.decode()
                name, _, value = line.partition(":")
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    assert name in ("id", "event", "data"), line
                    assert name not in fields, line
                    fields[name] = value.removeprefix(" ")
                elif fields:
                    yield Event(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
                    fields = {}

    def take(self, count: int) -> list[Event]:
        return list(islice(self._events, count))


@contextmanager
def stream(address: str, query: str = "", headers: Mapping[str, str] = {}) -> Iterator[Stream]:
    """Follow the events of the server at ``address``."""
    place = urlsplit(address)
    assert place.hostname and place.port
    with socket.create_connection((place.hostname, place.port), 20) as connection:
        lines = [f"GET /api/v1/events{query} HTTP/1.1", f"Host: {place.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        with closing(Stream(connection)) as found:
            yield found
