"""The stream of events: what is committed comes at once, in order, none missed and none twice; who leaves is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pages import make_store, server
from streams import stream

from paramstore import ParamStore
from paramstore.web._events import HEARTBEAT, Stream
from paramstore.web._news import Event


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("events") / "store"
    commit(make_store(root))  # the values before it are an entry, too
    return root


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with server(root) as (found, _):
        yield found


@pytest.fixture
def store(root: Path) -> ParamStore:
    return ParamStore(root, environ={})


def commit(store: ParamStore) -> str:
    """Change something, and return the id of the entry."""
    value = 2.0 + (store.revision + 1) % 500 / 100
    with store.transaction(author="sizer", reason="won", evidence={"samples": 80}) as tx:
        tx["risk.stop"] = value
    entry = tx.commit_result.entry
    assert entry is not None
    return entry.id


def test_each_commit_comes_once_in_order_and_soon(address: str, store: ParamStore) -> None:
    with stream(address) as events:
        assert (events.status, events.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert events.headers["cache-control"] == "no-store"
        assert events.headers["x-content-type-options"] == "nosniff"
        hello = events.take(1)[0]
        assert (hello.name, hello.id, hello.data["revision"]) == ("hello", "", store.revision)
        begin = time.monotonic()
        ids = [commit(store) for _ in range(30)]
        came = events.take(30)
        assert time.monotonic() - begin < 5
        assert [event.id for event in came] == ids
        assert {event.name for event in came} == {"entry"}
        listed = httpx.get(f"{address}/api/v1/history?limit=30", trust_env=False).json()["entries"]
        assert [event.data for event in came] == listed
        begin = time.monotonic()
        commit(store)
        events.take(1)
        assert time.monotonic() - begin < 1


@pytest.mark.parametrize("way", ["header", "query"])
def test_who_comes_back_is_given_what_was_missed(address: str, store: ParamStore, way: str) -> None:
    ids = [commit(store) for _ in range(5)]
    assert (
        ids[-1] in httpx.get(f"{address}/api/v1/history", trust_env=False).text
    )  # a client has ids from the server
    query, headers = ("", {"Last-Event-ID": ids[1]}) if way == "header" else (f"?after={ids[1]}", {})
    with stream(address, query, headers) as events:
        came = events.take(4)
        assert [event.name for event in came] == ["hello", "entry", "entry", "entry"]
        assert [event.id for event in came[1:]] == ids[2:]
        last = commit(store)
        assert events.take(1)[0].id == last


def test_who_comes_back_with_an_id_that_nobody_knows_is_told_to_reload(address: str) -> None:
    with stream(address, "?after=nobody") as events:
        assert [event.name for event in events.take(2)] == ["hello", "reload"]


def test_an_edit_by_hand_that_breaks_a_file_is_told_as_health(address: str, root: Path) -> None:
    file = root / "params/weights.yaml"
    whole = file.read_bytes()
    try:
        with stream(address) as events:
            events.take(1)
            file.write_bytes(b"values: [\n")
            told = events.take(1)[0]
            assert (told.name, told.id, told.data["ok"]) == ("health", "", False)
            assert told.data["problems"][0]["file"] == "params/weights.yaml"
    finally:
        file.write_bytes(whole)


def test_who_leaves_is_forgotten_at_once(address: str) -> None:
    def clients() -> float:
        text = httpx.get(f"{address}/metrics", trust_env=False).text
        return float(
            next(line for line in text.splitlines() if line.startswith("paramstore_event_clients ")).split()[
                1
            ]
        )

    def become(count: float) -> None:
        end = time.monotonic() + 3
        while clients() != count:
            assert time.monotonic() < end, f"{clients()} clients, not {count}"
            time.sleep(0.02)

    become(0)
    with stream(address) as one, stream(address) as other:
        one.take(1)
        other.take(1)
        become(2)
    become(0)


class Silent:
    """News of which there are none."""

    def __init__(self) -> None:
        self.left = False

    async def follow(self, after: str | None) -> Any:
        try:
            yield Event(None, "hello", b"event: hello\ndata: {}\n\n")
            await asyncio.sleep(3600)
        finally:
            self.left = True


def test_a_silent_stream_shows_that_it_is_alive_and_ends_when_the_client_goes() -> None:
    async def follow() -> tuple[list[bytes], Silent, float]:
        news, sent, gone = Silent(), [], asyncio.Event()

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            if sent.count(HEARTBEAT) == 3:
                gone.set()

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        begin = time.monotonic()
        await Stream(news, None, heartbeat_s=0.03)({"type": "http"}, receive, send)  # type: ignore[arg-type]
        return sent, news, time.monotonic() - begin

    sent, news, took_s = asyncio.run(follow())
    assert sent[1].startswith(b"event: hello")
    assert sent[2:5] == [HEARTBEAT] * 3
    assert news.left
    assert took_s < 1
