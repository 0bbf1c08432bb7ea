"""The clients of etcd that are compared, and the process in which one of them runs.

``python -m benchmarks.etcd_candidates NAME HOST:PORT`` takes one order a line (``commit COUNT``, ``read COUNT``,
``follow PREFIX REVISION``, ``resume PREFIX``) and answers with lines of JSON. Each has a process of its own, so that one that
hangs is killed, and its figure says so.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

GUARD, ABSENT, FIRST, SECOND = (
    f"/clients/{name}".encode() for name in ("guard", "absent", "first", "second")
)
VALUE = b"v" * 1000
TIMEOUT_S = 5.0
REOPEN_S = 0.05  # between the end of a watch and the next
_LOOP = asyncio.new_event_loop()


class Grpcio:
    """Ours: grpcio with a table of messages."""

    def __init__(self, host: str, port: int) -> None:
        from paramstore._etcd_client import Client
        from paramstore._etcd_place import Credentials

        self._client = Client(Credentials((f"{host}:{port}",)))

    def commit(self, guard: bytes = GUARD) -> bool:
        from paramstore._etcd_client import Guard

        puts = [(FIRST, VALUE), (SECOND, VALUE)]
        return self._client.write([Guard(guard, exists=True)], puts, [], [], TIMEOUT_S)[0]

    def read(self) -> tuple[bytes, int]:
        from paramstore._etcd_client import Range

        _, [answer] = self._client.read([Range(FIRST)], TIMEOUT_S)
        return answer.found[0].value, answer.found[0].modified

    def watch(self, prefix: bytes, since: int) -> Iterator[tuple[int, bytes]]:
        from paramstore._etcd_place import end_of

        for revision, changes in self._client.watch(prefix, end_of(prefix), since):
            for change in changes:
                yield revision, change.value


class Etcd3gw:
    """The gateway that speaks JSON over HTTP."""

    def __init__(self, host: str, port: int) -> None:
        self._client = import_module("etcd3gw").client(host=host, port=port, timeout=TIMEOUT_S)

    def commit(self, guard: bytes = GUARD) -> bool:
        def text(raw: bytes) -> str:
            return base64.b64encode(raw).decode()

        compare = {"key": text(guard), "target": "MOD", "result": "GREATER", "mod_revision": 0}
        puts = [{"request_put": {"key": text(key), "value": text(VALUE)}} for key in (FIRST, SECOND)]
        answer = self._client.transaction({"compare": [compare], "success": puts, "failure": []})
        return bool(answer.get("succeeded"))

    def read(self) -> tuple[bytes, int]:
        [(value, about)] = self._client.get(FIRST, metadata=True)
        return value, int(about["mod_revision"])

    def watch(self, prefix: bytes, since: int) -> Iterator[tuple[int, bytes]]:
        events, _ = self._client.watch_prefix(prefix, start_revision=since or None)
        for event in events:
            yield int(event["kv"]["mod_revision"]), event["kv"]["value"]


class Etcd3:
    """python-etcd3."""

    def __init__(self, host: str, port: int) -> None:
        self._client = import_module("etcd3").client(host=host, port=port, timeout=TIMEOUT_S)

    def commit(self, guard: bytes = GUARD) -> bool:
        make = self._client.transactions
        puts = [make.put(FIRST, VALUE), make.put(SECOND, VALUE)]
        return bool(self._client.transaction(compare=[make.mod(guard) > 0], success=puts, failure=[])[0])

    def read(self) -> tuple[bytes, int]:
        value, about = self._client.get(FIRST)
        return value, about.mod_revision

    def watch(self, prefix: bytes, since: int) -> Iterator[tuple[int, bytes]]:
        events, _ = self._client.watch_prefix(prefix, start_revision=since or None)
        for event in events:
            yield event.mod_revision, event.value


class Aetcd:
    def __init__(self, host: str, port: int) -> None:
        self._client = import_module("aetcd").Client(host=host, port=port, timeout=int(TIMEOUT_S))
        _LOOP.run_until_complete(self._client.connect())

    async def commit(self, guard: bytes = GUARD) -> bool:
        make = self._client.transactions
        puts = [make.put(FIRST, VALUE), make.put(SECOND, VALUE)]
        done = await self._client.transaction(compare=[make.mod(guard) > 0], success=puts, failure=[])
        return bool(done[0])

    async def read(self) -> tuple[bytes, int]:
        found = await self._client.get(FIRST)
        return found.value, found.mod_revision

    async def watch(self, prefix: bytes, since: int) -> AsyncIterator[tuple[int, bytes]]:
        async for event in await self._client.watch_prefix(prefix, start_revision=since or None):
            yield event.kv.mod_revision, event.kv.value


class EtcdClientPy:
    """A client in Rust."""

    def __init__(self, host: str, port: int) -> None:
        self._rust = import_module("etcd_client")
        self._client = _LOOP.run_until_complete(self._connected(f"http://{host}:{port}"))

    async def _connected(self, url: str) -> Any:
        self._connection = self._rust.Client([url]).connect()
        return await self._connection.__aenter__()

    async def commit(self, guard: bytes = GUARD) -> bool:
        rust = self._rust
        compare = rust.Compare.mod_revision(guard, rust.CompareOp.GREATER, 0)
        puts = [rust.TxnOp.put(FIRST, VALUE), rust.TxnOp.put(SECOND, VALUE)]
        done = await self._client.txn(rust.Txn().when([compare]).and_then(puts))
        return bool(done.succeeded())

    async def read(self) -> tuple[bytes, int]:
        return bytes(await self._client.get(FIRST)), 0

    async def watch(self, prefix: bytes, since: int) -> AsyncIterator[tuple[int, bytes]]:
        async for event in self._client.watch_prefix(prefix):  # it takes no revision to begin with
            yield 0, bytes(event.value)


@dataclass(frozen=True, slots=True)
class Candidate:
    """``distributions`` are what to install, ``module`` is what to import. What has no measurement was read in the source
    of version ``read_in``."""

    distributions: tuple[str, ...]
    module: str
    make: Callable[[str, int], Any]
    environ: dict[str, str] = field(default_factory=dict)
    read_in: str = ""
    certificates: bool = False
    password: bool = False
    endpoints: bool = False
    revisions: bool = True  # it tells the revision of what it reads, and a watch can begin with one


OURS = "grpcio"
CANDIDATES = {
    OURS: Candidate(
        ("grpcio", "protobuf"), "paramstore._etcd_client", Grpcio, certificates=True, password=True, endpoints=True
    ),
    "etcd3gw": Candidate(("etcd3gw",), "etcd3gw", Etcd3gw, read_in="2.7.0", certificates=True),
    "etcd3": Candidate(
        ("etcd3",), "etcd3", Etcd3, {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}, "0.12.0", True, True
    ),  # its generated code is older than what protobuf accepts elsewhere
    "aetcd": Candidate(("aetcd",), "aetcd", Aetcd, read_in="1.0.0", password=True),
    "etcd-client-py": Candidate(
        ("etcd-client-py",), "etcd_client", EtcdClientPy, read_in="0.5.1", password=True, endpoints=True, revisions=False
    ),
}  # fmt: skip


# -- the process ------------------------------------------------------------------------------------------


def say(**words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def times(call: Callable[[], Any], count: int) -> list[float]:
    """Return what each of ``count`` calls took, in seconds."""
    if inspect.iscoroutinefunction(call):
        return _LOOP.run_until_complete(_awaited(call, count))
    found = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return found


async def _awaited(call: Callable[[], Any], count: int) -> list[float]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await call()
        found.append(time.perf_counter() - began)
    return found


def settled(found: Any) -> Any:
    return _LOOP.run_until_complete(found) if inspect.isawaitable(found) else found


def follow(client: Any, prefix: bytes, since: int) -> int:
    """Tell of each change, as the client's documentation shows it; return the last revision when the watch ends, or
    fails, which is told."""
    last = since

    def saw(revision: int, value: bytes) -> None:
        nonlocal last
        say(saw=int(value), at=time.monotonic())
        last = revision + 1

    async def awaited(events: AsyncIterator[tuple[int, bytes]]) -> None:
        async for revision, value in events:
            saw(revision, value)

    try:
        events = client.watch(prefix, since)
        if hasattr(events, "__aiter__"):
            _LOOP.run_until_complete(awaited(events))
        else:
            for revision, value in events:
                saw(revision, value)
        say(ended="ended without an error")
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its figure
        say(ended=f"{type(error).__name__}: {error}".strip()[:200])
    return last


def resume(make: Callable[[], Any], prefix: bytes) -> None:
    """Open the watch again after what was last seen, on a new connection, whenever it ends."""
    since = 0
    while True:
        try:
            client = make()
        except Exception as error:  # noqa: BLE001 - the server is away
            say(ended=f"{type(error).__name__}: {error}".strip()[:200])
        else:
            since = follow(client, prefix, since)
        time.sleep(REOPEN_S)


def main(name: str, address: str) -> None:
    candidate = CANDIDATES[name]
    host, _, port = address.rpartition(":")
    try:
        import_module(candidate.module)
        client = candidate.make(host, int(port))
        if not settled(client.commit()) or settled(client.commit(ABSENT)):
            raise AssertionError("a guard of a transaction is not heeded")
        value, revision = settled(client.read())
        if value != VALUE or (revision > 0) != candidate.revisions:
            raise AssertionError(f"read {value!r} at {revision}")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this candidate's row
        say(failed=f"{type(error).__name__}: {error}".strip().splitlines()[0][:160])
        return
    say(ready=True)
    for line in sys.stdin:
        order, *words = line.split()
        if order in ("commit", "read"):
            say(times=times(getattr(client, order), int(words[0])))
        elif order == "follow":
            follow(client, words[0].encode(), int(words[1]))
        else:
            resume(lambda: candidate.make(host, int(port)), words[0].encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
