"""May this request come in? Pure: from what a request says of itself, and the settings, to a refusal or ``None``.

The threats, one by one, are in docs/web-security.md. Whoever is on this machine, and every page that this machine's browser shows, can
send requests to a loopback address: that a request arrives says nothing about who sent it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

MOST_BODY = 256 * 1024  # bytes
METHODS = ("GET", "HEAD", "POST")
ASSETS = "/assets/"
# The page itself, which asks for the token: nothing in it comes from the store. All other paths are data.
SHELL = frozenset({"/", "/favicon.ico"})
_URL_TOKENS = frozenset({b"token", b"access_token"})
_JSON = re.compile(r'application/json[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?', re.I)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests at once, and so many a second for good."""

    burst: float
    per_s: float


@dataclass(frozen=True, slots=True)
class Settings:
    """How the page is served. ``hosts`` are the values of a Host header that are answered, each exactly as it is sent."""

    hosts: frozenset[str]
    scheme: str = "http"
    writes: bool = False
    private: bool = False  # reads need the token, too
    token: str | None = field(default=None, repr=False)
    author: str = ""  # what the page offers as author of a change
    outcomes: str | None = None  # file and metric of the scorecard
    metric: str | None = None
    most_body: int = MOST_BODY
    body_s: float = 10.0  # in which a request's body must have come
    send_s: float = 30.0  # in which a client must take the next piece of its answer
    reads: Rate = Rate(1200, 300)  # of each client's address, as the next two
    changes: Rate = Rate(30, 5)
    wrong_tokens: Rate = Rate(10, 0.2)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered: a sentence, and what to do."""

    status: int
    detail: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    wrong_token: bool = False  # one was given, and it is not ours

    def problem(self) -> dict[str, Any]:
        """Return the body of the answer (RFC 9457)."""
        return {"title": HTTPStatus(self.status).phrase, "status": self.status, "detail": self.detail}


def refusal(scope: Mapping[str, Any], settings: Settings) -> Refusal | None:
    """Return why the request of an ASGI ``scope`` is refused, or ``None``. The body's size is judged by its announcement only."""
    headers = Headers(scope["headers"])
    return (
        _place(scope, headers, settings)
        or _method(scope["method"])
        or _origin(headers, settings)
        or (
            _write(headers, settings)
            if scope["method"] == "POST"
            else _read(scope["path"], headers, settings)
        )
        or _size(headers, settings)
    )


class Headers:
    """The headers of a request: all values of a name, since one that comes twice is a trick."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[str]] = {}
        for name, value in raw:
            self._values.setdefault(name.lower(), []).append(value.decode("latin-1").strip(" \t"))

    def all(self, name: bytes) -> list[str]:
        return self._values.get(name, [])

    def only(self, name: bytes) -> str | None:
        """Return the value of a header that came once, else ``None``."""
        found = self.all(name)
        return found[0] if len(found) == 1 else None


def has_right_token(headers: Headers, settings: Settings) -> bool:
    """Tell whether the one Authorization header bears the token; compared in constant time."""
    word, _, given = (headers.only(b"authorization") or "").partition(" ")
    if not settings.token or word.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip(" ").encode(), settings.token.encode())


def hosts_for(names: Iterable[str], port: int, scheme: str) -> frozenset[str]:
    """Return the Host values of ``names``: with ``port``, or their own (NAME:PORT); without, too, where the port is the scheme's."""
    found = set()
    for name in names:
        host, own = split_host(name)
        number = port if own is None else own
        found.add(f"{host}:{number}")
        if number == _PORTS[scheme]:
            found.add(host)
    return frozenset(found)


def split_host(text: str) -> tuple[str, int | None]:
    """Return host and port of NAME, NAME:PORT, [ADDRESS] or [ADDRESS]:PORT. Raises ``ValueError`` for anything else."""
    found = re.fullmatch(
        r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(\d{1,5}))?", text
    )
    if not found or (found[2] and not 0 < int(found[2]) < 65536):
        raise ValueError(f"{text} is not NAME or NAME:PORT")
    return found[1].lower(), int(found[2]) if found[2] else None


# --- one question each ----------------------------------------------------------------------------


def _place(scope: Mapping[str, Any], headers: Headers, settings: Settings) -> Refusal | None:
    if headers.only(b"host") not in settings.hosts:
        return Refusal(
            403,
            "This server does not answer under the name that the request asks for (Host). Use the address that it printed when it "
            "started, or start it with --allow-host NAME.",
        )
    path = scope["path"]
    if (
        not path.startswith("/")
        or {".", ".."} & set(path.split("/"))
        or not path.isprintable()
        or "\\" in path
    ):
        return Refusal(400, "The path is malformed.")
    if any(_name_of(pair) in _URL_TOKENS for pair in scope.get("query_string", b"").split(b"&")):
        return Refusal(
            400,
            "A token does not belong in an address, which logs and histories keep: send it as `Authorization: Bearer`. If this one is "
            "in use, delete the token file and start the server again.",
        )
    if any("websocket" in value.lower() for value in headers.all(b"upgrade")):
        return Refusal(400, "There are no websockets here: events come from /api/v1/events.")
    return None


def _name_of(pair: bytes) -> bytes:
    return unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" ")).strip().lower()


def _method(method: str) -> Refusal | None:
    if method in METHODS:
        return None
    return Refusal(
        405, f"Only {', '.join(METHODS)} are answered.", ((b"allow", ", ".join(METHODS).encode()),)
    )


def _origin(headers: Headers, settings: Settings) -> Refusal | None:
    if "cross-site" in (value.lower() for value in headers.all(b"sec-fetch-site")):
        return Refusal(
            403,
            "A page of another site sent this request. To come here, put the address into the browser's address line yourself.",
        )
    # its own host, not any of ours: one origin of a browser is one page
    if headers.all(b"origin") and headers.only(b"origin") != f"{settings.scheme}://{headers.only(b'host')}":
        return Refusal(
            403, "A page of another origin sent this request (Origin): only this server's own page may."
        )
    return None


def _read(path: str, headers: Headers, settings: Settings) -> Refusal | None:
    if not settings.private or path in SHELL or path.startswith(ASSETS) or has_right_token(headers, settings):
        return None
    return _no_token(headers, "Reading")


def _write(headers: Headers, settings: Settings) -> Refusal | None:
    if not headers.all(b"origin"):
        return Refusal(
            403, "A change must say which page it comes from (Origin): send this server's own address."
        )
    if not settings.writes:
        return Refusal(403, "Changes are off. Start the server with `paramstore serve --allow-writes`.")
    if not has_right_token(headers, settings):
        return _no_token(headers, "Changing")
    if not _JSON.fullmatch(headers.only(b"content-type") or ""):
        return Refusal(415, "Send JSON, with `Content-Type: application/json`.")
    if headers.all(b"content-encoding"):
        return Refusal(415, "Send JSON as it is, without Content-Encoding.")
    return None


def _no_token(headers: Headers, doing: str) -> Refusal:
    given = bool(headers.all(b"authorization"))
    problem = "the one given is not it" if given else "none was given"
    return Refusal(
        401,
        f"{doing} needs the token, and {problem}. It stands in the file that the server named when it started; send it as "
        "`Authorization: Bearer`.",
        ((b"www-authenticate", b"Bearer"),),
        given,
    )


def _size(headers: Headers, settings: Settings) -> Refusal | None:
    lengths = headers.all(b"content-length")
    if not lengths:
        return None
    if len(set(lengths)) > 1 or not re.fullmatch(r"[0-9]{1,18}", lengths[0]):
        return Refusal(400, "Content-Length is malformed.")
    return too_large(settings) if int(lengths[0]) > settings.most_body else None


def too_large(settings: Settings) -> Refusal:
    """Return the refusal of a body that is, or goes on to be, larger than it may be."""
    return Refusal(413, f"The request is larger than {settings.most_body:,} bytes.")
