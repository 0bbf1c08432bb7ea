"""``paramstore serve`` as a process: where it listens, what it says, hung clients, its end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from serving import REAL, TINY, Served, served

from paramstore.cli import cli
from paramstore.web import _server
from paramstore.web._server import ListenError, is_loopback, listen, tls_context

SECURITY = ("content-security-policy", "x-content-type-options", "x-frame-options", "cache-control")
HANGING = 300
# shorter than they are, so that nobody waits for them
HASTY = json.dumps({"HEAD_S": 0.8, "STUCK_S": 0.8, "IDLE_S": 1, "body_s": 0.6, "send_s": 0.8})


def refused(root: Path, *words: str, code: int) -> str:
    result = CliRunner().invoke(cli, ["--root", str(root), "serve", "--port", "0", *words])
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    return result.stderr


def refused_by_process(root: Path, *words: str) -> str:
    """As ``refused``, for what would be served for ever if it were not."""
    command = [*TINY, "--root", str(root), "serve", "--port", "0", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def ended(connection: socket.socket, within_s: float) -> bool:
    """Tell whether the other side ends the connection in that time."""
    connection.settimeout(within_s)
    with suppress(ConnectionResetError):
        try:
            while connection.recv(65536):
                pass
        except TimeoutError:
            return False
    return True


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    place = tmp_path_factory.mktemp("tls")
    cert, key = str(place / "cert.pem"), str(place / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


# --- where it listens -----------------------------------------------------------------------------


def test_what_is_ready_and_who_is_answered(root: Path) -> None:
    with served(root, "--allow-writes", "--allow-host", "desk.example") as server:
        assert server.ready.keys() == {"address", "token_file", "writes", "private"}
        assert server.ready["writes"] and not server.ready["private"]
        assert server.ready["token_file"] == str(root / ".paramstore/web-token") and len(server.token) == 43
        for host in (f"localhost:{server.port}", f"[::1]:{server.port}", f"desk.example:{server.port}"):
            assert server.get("/api/x", Host=host)[0] == 200
        for path in ("/", "/metrics", "/nothing", "/api/x"):
            status, headers, body = server.get(path, Host="evil.example")
            assert status == 403 and json.loads(body)["status"] == 403
            assert all(name in headers for name in SECURITY) and "server" not in headers
        assert server.post("/api/x")[0] == 200
        assert server.post("/api/x", Authorization="Bearer x")[0] == 401
        assert server.post("/api/x", Origin=f"http://evil.example:{server.port}")[0] == 403
        assert server.ask("OPTIONS", "/api/x")[0] == 405
        assert server.ask("HEAD", "/api/x")[2] == b""


def test_reads_need_the_token_when_private_and_the_page_asks_for_it(root: Path) -> None:
    with served(root, "--private") as server:
        assert server.ready["private"] and not server.ready["writes"]
        assert server.get("/api/x")[0] == 401 and server.get("/metrics")[0] == 401
        assert server.get("/")[0] == 200 and server.get("/assets/app.js")[0] == 200
        assert server.get("/api/x", Authorization=f"Bearer {server.token}")[0] == 200
        status, _, body = server.post("/api/x")
        assert status == 403 and "--allow-writes" in json.loads(body)["detail"]


def test_without_need_no_token_is_made(root: Path) -> None:
    with served(root) as server:
        assert server.ready["token_file"] is None and not (root / ".paramstore/web-token").exists()
        assert server.get("/api/x")[0] == 200


def test_what_it_tells_a_person(root: Path) -> None:
    command = [*TINY, "--root", str(root), "serve", "--port", "0", "--allow-writes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] != "Ctrl-C stops it.\n":
            lines.append(process.stdout.readline())
            assert lines[-1], process.communicate()
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=10)
    text = "".join(lines)
    assert (
        next(line for line in lines if line.startswith("http"))
        .strip()
        .removeprefix("http://127.0.0.1:")
        .isdigit()
    )
    assert f"The token is in {root}/.paramstore/web-token\n" in lines and "Changes are on" in text
    assert (root / ".paramstore/web-token").read_text().strip() not in text
    assert rest == ("", "") and process.returncode == 130


def test_another_machine_needs_tls_or_a_word_that_it_does_not(root: Path) -> None:
    said = refused_by_process(root, "--host", "0.0.0.0")
    assert "--tls-cert" in said and "--without-tls" in said and "token" in said
    with served(root, "--host", "0.0.0.0", "--without-tls", "--allow-host", "desk.example:9") as server:
        assert server.ready["private"] and server.ready["address"] == "http://desk.example:9"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tls-cert", __file__], "together"), (["--metric", "pnl"], "together"), (["--allow-host", "http://x"], "NAME"),
        (["--tls-cert", __file__, "--tls-key", __file__, "--without-tls"], "exclude"), (["--port", "70000"], "70000"),
        (["--tls-cert", "/none", "--tls-key", "/none"], "/none"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_together_is_refused(root: Path, words: list[str], said: str) -> None:
    assert said in refused(root, *words, code=2)


def test_a_certificate_that_is_none_and_a_token_that_is_open_are_refused(root: Path, tmp_path: Path) -> None:
    assert "are not a certificate" in refused(root, "--tls-cert", __file__, "--tls-key", __file__, code=1)
    (tmp_path / "token").write_text("t" * 43)
    (tmp_path / "token").chmod(0o644)
    assert "by others" in refused(root, "--allow-writes", "--token-file", str(tmp_path / "token"), code=1)


def test_a_port_that_is_in_use_is_told_before_anything_is_promised(root: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        said = refused(root, "--port", str(port), code=1)
        assert f"Port {port} of 127.0.0.1 is in use" in said and "--port 0" in said


def test_a_store_that_is_broken_is_told_before_anything_listens(root: Path) -> None:
    (root / "params/win_rate.yaml").write_text("values: [\n")
    os.utime(root / "params/win_rate.yaml", (0, 0))
    assert "win_rate.yaml" in refused_by_process(root)


def test_addresses() -> None:
    assert (
        is_loopback("127.0.0.1")
        and is_loopback("::1")
        and is_loopback("localhost")
        and is_loopback("127.9.9.9")
    )
    assert not is_loopback("0.0.0.0") and not is_loopback("10.0.0.1") and not is_loopback("::")
    with pytest.raises(ListenError, match="--host"):
        listen("192.0.2.1", 0)
    with pytest.raises(ListenError, match="is not an address"):
        is_loopback("no such name")


def test_what_is_missing_is_told_with_the_command_that_brings_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('none', name='uvicorn')\n")
    done = subprocess.run(
        [*REAL, "--root", str(root), "serve"], capture_output=True, text=True, check=False, timeout=30,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(_server.__file__).parents[2]}"},
    )  # fmt: skip
    assert done.returncode == 2 and "pip install 'paramstore[web]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_of_it_is_imported_before_it_runs() -> None:
    code = "import sys, paramstore.cli; print(sorted({'fastapi', 'uvicorn', 'starlette', 'paramstore.web'} & set(sys.modules)))"  # fmt: skip
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


# --- TLS ------------------------------------------------------------------------------------------


def test_with_tls(root: Path, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    with served(root, "--allow-writes", "--tls-cert", cert, "--tls-key", key, TINY_LIMITS=HASTY) as server:
        assert server.address == f"https://127.0.0.1:{server.port}"
        trusted = ssl.create_default_context(cafile=cert)
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=trusted, timeout=10)
        for origin, wanted in ((server.address, 200), (server.address.replace("https", "http"), 403)):
            headers = {"Origin": origin, "Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}  # fmt: skip
            connection.request("POST", "/api/x", b"{}", headers)
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (wanted, True)
        connection.close()
        with server.connect() as silent, server.connect() as plain:  # neither agrees on TLS
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert ended(plain, 3) and ended(silent, 3)


def test_an_old_tls_is_not_agreed_to(certificate: tuple[str, str]) -> None:
    assert tls_context(*certificate).minimum_version == ssl.TLSVersion.TLSv1_2


# --- clients that hang ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that is as impatient as a test."""
    from paramstore import _init

    place = tmp_path_factory.mktemp("store")
    for name, raw in _init.shipped().items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(raw)
        os.utime(place / name, (0, 0))
    with served(place, "--allow-writes", TINY_LIMITS=HASTY) as server:
        yield server


def head(server: Served, path: str = "/api/x", *more: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *more, "", ""]
    return "\r\n".join(lines).encode()


def test_a_head_that_does_not_come_whole_ends_the_connection(hasty: Served) -> None:
    with hasty.connect() as silent, hasty.connect() as partial, hasty.connect() as blank:
        partial.sendall(head(hasty)[:-2])
        blank.sendall(b"\r\n")
        assert ended(silent, 3) and ended(partial, 3) and ended(blank, 3)


def test_a_head_that_comes_in_drops_is_not_waited_for(hasty: Served) -> None:
    with hasty.connect() as dripping:
        started = time.monotonic()
        with suppress(ConnectionError):
            for byte in head(hasty) * 10:
                dripping.sendall(bytes([byte]))
                time.sleep(0.1)
        assert time.monotonic() - started < 3


def test_a_second_head_is_not_waited_for_either(hasty: Served) -> None:
    with hasty.connect() as connection:
        connection.sendall(head(hasty))
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET ")
        started = time.monotonic()
        assert ended(connection, 3) and time.monotonic() - started > 0.3


def test_a_connection_is_kept_for_the_next_request_but_not_for_long(hasty: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", hasty.port, timeout=5)
    for _ in range(3):
        connection.request("GET", "/api/x")
        assert connection.getresponse().read() == b"/api/x"
        kept = connection.sock
        time.sleep(0.2)
    assert connection.sock is kept and ended(kept, 3)
    connection.close()


def test_a_body_that_does_not_come_is_answered_with_408(hasty: Served) -> None:
    with hasty.connect() as connection:
        right = (
            f"Origin: {hasty.address}",
            f"Authorization: Bearer {hasty.token}",
            "Content-Type: application/json",
        )
        connection.sendall(head(hasty, "/api/x", *right, "Content-Length: 10", method="POST") + b"{")
        assert connection.recv(4096).startswith(b"HTTP/1.1 408") and ended(connection, 3)


def test_a_large_body_is_refused_and_its_sender_sees_it(hasty: Served) -> None:
    assert hasty.post("/api/x", "x" * 300_000)[0] == 413
    for _ in range(5):
        assert hasty.post("/api/x", "x" * 900_000, Authorization="Bearer x")[0] == 401


def test_what_is_not_http_is_answered_with_the_headers_too(hasty: Served) -> None:
    with hasty.connect() as connection:
        connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        text = connection.recv(4096).decode()
        assert text.startswith("HTTP/1.1 400") and all(f"{name}: " in text for name in SECURITY)
        assert ended(connection, 3)


def slow_reader(server: Served, path: str) -> socket.socket:
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(10)
    reader.connect(("127.0.0.1", server.port))
    reader.sendall(head(server, path))
    return reader


def connections(server: Served) -> int:
    """Return how many sockets the server has open."""
    count = 0
    for each in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(OSError):
            count += os.readlink(each).startswith("socket:")
    return count


def goes_on(stream: socket.socket) -> bool:
    """Tell whether more comes than what has been on its way."""
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        if not stream.recv(4096):
            return False
    return True


def fewer(server: Served, than: int, within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while connections(server) >= than and time.monotonic() < until:
        time.sleep(0.05)
    return connections(server) < than


def test_clients_that_do_not_read_are_given_up_whatever_is_left_for_them(hasty: Served) -> None:
    before = connections(hasty)
    with ExitStack() as stack:
        # how much the system takes is not known: for some of these, the last piece alone is left
        for size in [8_000_000, *range(40_000, 4_000_000, 40_000)]:
            stack.enter_context(slow_reader(hasty, f"/api/big/{size}"))
        assert hasty.get("/api/x")[0] == 200 and connections(hasty) > before
        assert fewer(hasty, before + 1)


def test_hundreds_that_hang_keep_nobody_out(hasty: Served) -> None:
    with ExitStack() as stack:
        for number in range(HANGING):
            connection = stack.enter_context(hasty.connect())
            if number % 3 == 0:
                connection.sendall(head(hasty)[:-2])
        for _ in range(50):
            stack.enter_context(slow_reader(hasty, "/api/big/8000000"))
        started = time.monotonic()
        for _ in range(20):
            assert hasty.get("/api/x")[0] == 200
        assert time.monotonic() - started < 3
    assert fewer(hasty, 20)


def test_when_there_are_too_many_who_does_least_makes_room(root: Path) -> None:
    with served(root, TINY_LIMITS=json.dumps({"MOST_CONNECTIONS": 20})) as server, ExitStack() as stack:
        stream = stack.enter_context(server.connect())
        stream.sendall(head(server, "/api/stream"))
        assert stream.recv(4096)
        silent = [stack.enter_context(server.connect()) for _ in range(60)]
        assert server.get("/api/x")[0] == 200
        assert ended(silent[0], 1) and not ended(silent[-1], 0.1)  # longest waiting, first to go
        assert goes_on(stream)
        for _ in range(30):
            newest = stack.enter_context(server.connect())
            newest.sendall(head(server, "/api/stream"))
            assert newest.recv(4096)
        assert server.get("/api/x")[0] == 200 and newest.recv(4096)
        assert ended(stream, 1)


def test_more_descriptors_are_asked_for(root: Path) -> None:
    command = ["prlimit", "--nofile=256:20000", *TINY]
    with served(root, program=command) as server:
        line = next(line for line in Path(f"/proc/{server.process.pid}/limits").read_text().splitlines() if "open files" in line)  # fmt: skip
        assert line.split()[3] == str(_server.DESCRIPTORS)


# --- its end, and what is left in the log ---------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_at_once_though_streams_are_open(root: Path, number: int, status: int) -> None:
    with served(root) as server, ExitStack() as stack:
        for path in ("/api/stream", "/api/deaf", "/api/stream"):
            connection = stack.enter_context(server.connect())
            connection.sendall(head(server, path))
            assert connection.recv(4096)
        stack.enter_context(slow_reader(server, "/api/big/8000000"))
        stack.enter_context(server.connect()).sendall(b"GET ")
        ended_with, took_s = server.stop(number)
        assert ended_with == status and took_s < 2
        assert server.err.read_text() == ""


def test_the_token_is_in_no_log(root: Path) -> None:
    with served(root, "--allow-writes", "--private", "--access-log") as server:
        right = {"Authorization": f"Bearer {server.token}"}
        assert server.get("/api/x?at=symbol=HIDDEN", **right)[0] == 200
        assert server.get(f"/api/x?token={server.token}", **right)[0] == 400
        assert server.get("/api/fail", **right)[0] == 500  # what it raises has the token in it
        assert server.get("/api/x", Authorization=f"Bearer x{server.token}")[0] == 401
        assert server.get(f"/{server.token}", **right)[0] == 200
        server.stop()
        log = server.written()
    assert "GET /api/x 200" in log and "GET /api/x 401" in log and "HIDDEN" not in log
    assert "RuntimeError" in log and "in tiny" in log  # where it was raised
    assert server.token not in log and "[token]" in log


def test_without_being_asked_it_logs_no_requests(root: Path) -> None:
    with served(root) as server:
        server.get("/api/x")
        server.stop()
        assert server.err.read_text() == "" and len(server.out.read_text().splitlines()) == 1
