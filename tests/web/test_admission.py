"""Which requests come in: everything but the right one is refused, with the right status."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from paramstore.web._admission import (
    MOST_BODY,
    Refusal,
    Settings,
    has_right_token,
    hosts_for,
    refusal,
    split_host,
)
from paramstore.web._admission import Headers as HeadersOf

PORT = 8417
TOKEN = "a" * 21 + "B" * 22
NAMES = ("127.0.0.1", "localhost", "[::1]", "desk.example")
SETTINGS = Settings(hosts_for(NAMES, PORT, "http"), writes=True, private=True, token=TOKEN)
OPEN = replace(SETTINGS, private=False)
SHUT = replace(SETTINGS, private=False, writes=False, token=None)
Header = tuple[str, str]

# Every value with whether it is right. `{host}` is the host that the request names.
HOSTS: list[tuple[tuple[str, ...], bool]] = [
    (("127.0.0.1:8417",), True),
    (("localhost:8417",), True),
    (("[::1]:8417",), True),
    (("desk.example:8417",), True),
    ((), False),
    (("",), False),
    (("127.0.0.1",), False),
    (("127.0.0.1:80",), False),
    (("evil.example:8417",), False),
    (("127.0.0.1:8417.evil.example",), False),
    (("127.0.0.1:8417, evil.example",), False),
    (("evil.example", "127.0.0.1:8417"), False),
    (("127.0.0.1:8417", "127.0.0.1:8417"), False),
]
ORIGINS: list[tuple[tuple[str, ...], str]] = [
    (("http://{host}",), "ours"),
    ((), "none"),
    (("null",), "wrong"),
    (("https://{host}",), "wrong"),
    (("http://evil.example:8417",), "wrong"),
    (("http://{host}.evil.example",), "wrong"),
    (("http://{host}", "http://evil.example"), "wrong"),
    (("",), "wrong"),
]
TOKENS: list[tuple[tuple[str, ...], bool]] = [
    ((f"Bearer {TOKEN}",), True),
    ((f"bearer {TOKEN}",), True),
    ((), False),
    ((f"Bearer {TOKEN[:-1]}",), False),
    ((f"Bearer {TOKEN}x",), False),
    ((f"Basic {TOKEN}",), False),
    ((TOKEN,), False),
    (("Bearer ",), False),
    ((f"Bearer {TOKEN}", f"Bearer {TOKEN}"), False),
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND"]
TYPES: list[tuple[tuple[str, ...], bool]] = [
    (("application/json",), True),
    (("application/json; charset=utf-8",), True),
    (("Application/JSON;charset=UTF-8",), True),
    ((), False),
    (("text/plain",), False),
    (("application/x-www-form-urlencoded",), False),
    (("text/plain; application/json",), False),
    (("application/json; charset=latin-1",), False),
    (("application/json-patch+json",), False),
    (("application/json", "text/plain"), False),
]
PATHS = [("/", True), ("/assets/app.js", True), ("/api/v1/values", False), ("/metrics", False), ("/nothing", False)]  # fmt: skip


def scope_of(method: str, path: str, *headers: Header, query: bytes = b"") -> dict[str, Any]:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "method": method, "path": path, "query_string": query, "headers": raw}


def named(name: str, values: tuple[str, ...]) -> list[Header]:
    return [(name, value) for value in values]


def status(found: Refusal | None) -> int:
    return found.status if found else 0


def expected(settings: Settings, method: str, shell: bool, origin: str, token: bool, kind: bool) -> int:
    """Say it once more, in other words: the status of a request under a right name, 0 for one that comes in."""
    if method not in ("GET", "HEAD", "POST"):
        return 405
    if origin == "wrong" or (method == "POST" and (origin == "none" or not settings.writes)):
        return 403
    if not token and (method == "POST" or (settings.private and not shell)):
        return 401
    return 415 if method == "POST" and not kind else 0


@pytest.mark.parametrize("settings", [SETTINGS, OPEN, SHUT], ids=["private", "open", "shut"])
@pytest.mark.parametrize(("path", "shell"), PATHS)
@pytest.mark.parametrize(("hosts", "right"), HOSTS)
def test_everything_but_the_right_request_is_refused(
    hosts: tuple[str, ...], right: bool, path: str, shell: bool, settings: Settings
) -> None:
    host, came_in = hosts[0] if hosts else "", 0
    step = 1 if hosts == HOSTS[0][0] else 2  # all of it once is enough
    for method, (origins, origin), (tokens, token), (types, kind) in itertools.product(
        METHODS, ORIGINS[::step], TOKENS[::step], TYPES[::step]
    ):
        headers = [
            *named("Host", hosts),
            *named("Origin", tuple(each.format(host=host) for each in origins)),
            *named("Authorization", tokens),
            *named("Content-Type", types),
        ]
        found = status(refusal(scope_of(method, path, *headers), settings))
        given = token and settings.token is not None
        assert found == (expected(settings, method, shell, origin, given, kind) if right else 403), (
            method,
            headers,
        )
        came_in += not found
    assert bool(came_in) == right


def right(method: str = "GET", path: str = "/api/v1/values", *more: Header, query: bytes = b"") -> dict[str, Any]:  # fmt: skip
    headers = (("Host", "127.0.0.1:8417"), ("Authorization", f"Bearer {TOKEN}"), *more)
    if method == "POST":
        headers += (("Origin", "http://127.0.0.1:8417"), ("Content-Type", "application/json"))
    return scope_of(method, path, *headers, query=query)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_right_request_comes_in(method: str) -> None:
    assert refusal(right(method), SETTINGS) is None


@pytest.mark.parametrize(
    ("site", "refused"),
    [("cross-site", 403), ("Cross-Site", 403), ("same-site", 0), ("same-origin", 0), ("none", 0)],
)
@pytest.mark.parametrize("path", [path for path, _ in PATHS])
def test_a_request_that_another_site_caused_is_refused(site: str, refused: int, path: str) -> None:
    assert status(refusal(right("GET", path, ("Sec-Fetch-Site", site)), OPEN)) == refused


@pytest.mark.parametrize(
    "query",
    [b"token=x", b"a=1&access_token=x", b"TOKEN=", b"%74oken=x", b"token", b"+token=x", b"access%5Ftoken=1"],
)
@pytest.mark.parametrize("path", ["/", "/api/v1/values", "/metrics"])
def test_a_token_in_an_address_is_refused_though_it_is_in_the_header_too(query: bytes, path: str) -> None:
    found = refusal(right("GET", path, query=query), SETTINGS)
    assert found and found.status == 400 and "does not belong in an address" in found.detail


def test_a_query_about_something_else_comes_in() -> None:
    assert refusal(right(query=b"at=token=x&tokens=1&a=token"), SETTINGS) is None


@pytest.mark.parametrize(
    "path",
    ["/assets/../api/v1/values", "/./api", "http://127.0.0.1:8417/", "*", "", "/a\x00b", "/a\nb", "/a\\..\\b"],
)  # fmt: skip
def test_a_path_that_could_be_read_in_two_ways_is_refused(path: str) -> None:
    assert status(refusal(right("GET", path), SETTINGS)) == 400


def test_a_websocket_is_refused_and_another_upgrade_ignored() -> None:
    assert status(refusal(right("GET", "/", ("Upgrade", "WebSocket")), SETTINGS)) == 400
    assert status(refusal(right("GET", "/", ("Upgrade", "h2c")), SETTINGS)) == 0


@pytest.mark.parametrize(
    ("lengths", "refused"),
    [
        ((str(MOST_BODY),), 0),
        ((str(MOST_BODY + 1),), 413),
        (("-1",), 400),
        (("1e3",), 400),
        (("5", "6"), 400),
        (("9" * 30,), 400),
    ],
)
def test_the_announced_size_is_judged(lengths: tuple[str, ...], refused: int) -> None:
    assert status(refusal(right("POST", "/api/v1/set", *named("Content-Length", lengths)), SETTINGS)) == refused  # fmt: skip


def test_a_body_that_is_packed_is_refused() -> None:
    assert status(refusal(right("POST", "/api/v1/set", ("Content-Encoding", "gzip")), SETTINGS)) == 415


def test_what_a_refusal_says() -> None:
    writes = refusal(right("POST"), replace(SETTINGS, writes=False))
    assert writes and "--allow-writes" in writes.detail and not writes.wrong_token
    wrong = refusal(scope_of("GET", "/metrics", ("Host", "localhost:8417"), ("Authorization", "Bearer x")), SETTINGS)  # fmt: skip
    assert wrong and wrong.wrong_token and (b"www-authenticate", b"Bearer") in wrong.headers
    none = refusal(scope_of("GET", "/metrics", ("Host", "localhost:8417")), SETTINGS)
    assert none and not none.wrong_token and "none was given" in none.detail
    method = refusal(right("OPTIONS"), SETTINGS)
    assert method and (b"allow", b"GET, HEAD, POST") in method.headers
    assert wrong.problem() == {"title": "Unauthorized", "status": 401, "detail": wrong.detail}


def test_without_a_token_no_token_is_right() -> None:
    for given in ("Bearer ", "Bearer None", "Bearer"):
        headers = HeadersOf([(b"authorization", given.encode())])
        assert not has_right_token(headers, replace(SETTINGS, token=None))
        assert not has_right_token(headers, replace(SETTINGS, token=""))
    assert status(refusal(right(), replace(SETTINGS, token=None))) == 401


def test_settings_show_no_token() -> None:
    assert TOKEN not in repr(SETTINGS)


def test_the_names_that_are_answered() -> None:
    assert hosts_for(["localhost", "desk:9000"], 8417, "http") == {"localhost:8417", "desk:9000"}
    assert hosts_for(["localhost"], 80, "http") == {"localhost:80", "localhost"}
    assert hosts_for(["localhost"], 80, "https") == {"localhost:80"}
    assert hosts_for(["[::1]"], 443, "https") == {"[::1]:443", "[::1]"}


@pytest.mark.parametrize("text", ["", ":80", "a b", "a/b", "*", "*.example", "a:0", "a:99999", "a:x", "::1", "http://a", "a:1:2"])  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not NAME"):
        split_host(text)


def test_names_are_taken_apart() -> None:
    assert split_host("Desk.Example:90") == ("desk.example", 90)
    assert split_host("[fe80::1]") == ("[fe80::1]", None)
