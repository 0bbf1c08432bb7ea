"""Who follows is told of every entry once and in order, and of nothing that no reader sees; none holds up another."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from git_store import GitStore
from local_store import write, write_store
from test_index import SCHEMAS, VALUES, begun, by_hand

from paramstore import ParamStore
from paramstore.errors import ParamstoreError
from paramstore.testing import memory_store
from paramstore.web._index import Index
from paramstore.web._news import RELOAD, Event, Log, News, event

PATIENCE_S = 20.0
WRITER = """
import sys, time
from paramstore import ParamStore
from paramstore.errors import ParamstoreError
root, author, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = ParamStore(root)
for turn in range(count):
    try:
        with store.transaction(author=author, reason=f"{author} {turn}", timeout_s=30) as tx:
            tx["ns.a"] = 99.0 if turn % 7 == 3 else 1.0 + turn / 1000 + (author == "one") / 7
    except ParamstoreError:
        pass
    print(time.time(), flush=True)
    time.sleep(0.002)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", SCHEMAS, VALUES)


@asynccontextmanager
async def news_of(root: Path | ParamStore, log: Log | None = None) -> AsyncIterator[News]:
    store = root if isinstance(root, ParamStore) else ParamStore(root, environ={})
    news = News(store, Index(store), log)
    news.start(asyncio.get_running_loop())
    try:
        yield news
    finally:
        news.stop()
        store.reset()


async def come(follower: AsyncIterator[Event]) -> tuple[str, Any, str | None]:
    """Return name, data and id of the next event, read from its bytes as a browser reads them."""
    made = await asyncio.wait_for(anext(follower), PATIENCE_S)
    assert made.data.endswith(b"\n\n")
    assert b"\n\n" not in made.data[:-2] and b"\r" not in made.data
    fields = dict(line.split(": ", 1) for line in made.data.decode("ascii").rstrip("\n").split("\n"))
    assert fields["event"] == made.name
    assert fields.get("id") == made.id
    return made.name, json.loads(fields["data"]), made.id


async def entries(follower: AsyncIterator[Event], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        name, data, entry_id = await come(follower)
        assert name in ("entry", "health"), name
        if name == "entry":
            assert data["id"] == entry_id
            found.append(data["id"])
    return found


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(test())


def commit(root: Path, value: float, reason: str = "a test") -> str:
    """Commit as another process would, and return the entry's id."""
    store = ParamStore(root, environ={})
    with store.transaction(author="learner", reason=reason, force=True) as tx:
        tx["ns.a"] = value
    store.reset()
    assert tx.commit_result.entry is not None
    return tx.commit_result.entry.id


def told_ids(root: Path) -> list[str]:
    store = ParamStore(root, environ={})
    found = [entry.id for entry in store.history(refused=True)]
    store.reset()
    return found


def test_each_of_many_is_told_of_every_entry_of_other_processes_soon(root: Path) -> None:
    commit(root, 1.5)
    count, clients = 40, 30
    seen_at: dict[str, float] = {}

    async def follow(news: News, all_ids: int) -> list[str]:
        found: list[str] = []
        async with aclosing(news.follow()) as follower:
            assert (await come(follower))[0] == "hello"
            while len(found) < all_ids:
                found += await entries(follower, 1)
                seen_at.setdefault(found[-1], time.time())
        return found

    async def test() -> None:
        async with news_of(root) as news:
            before = len(told_ids(root))
            following = [asyncio.create_task(follow(news, 2 * count)) for _ in range(clients)]
            while news.clients < clients:
                await asyncio.sleep(0.01)
            writers = [
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, str(root), name, str(count)], stdout=subprocess.PIPE
                )
                for name in ("one", "two")
            ]
            found = await asyncio.gather(*following)
            done = sorted(float(line) for writer in writers for line in writer.communicate()[0].splitlines())
            assert all(ids == told_ids(root)[before:] for ids in found)
            late = [
                seen - acknowledged for seen, acknowledged in zip(sorted(seen_at.values()), done, strict=True)
            ]
            assert statistics.median(late) < 0.2
        assert news.clients == 0

    run(test)


def test_who_comes_back_misses_nothing_and_hears_nothing_twice(root: Path) -> None:
    """Away for a while, again and again, while two learners commit; the server is started anew meanwhile."""
    first, dice, count = commit(root, 1.5), random.Random(3), 60

    async def test() -> None:
        found, all_ids = [first], 1 + 2 * count
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(root), name, str(count)], stdout=subprocess.DEVNULL
            )
            for name in ("one", "two")
        ]
        while len(found) < all_ids:
            async with news_of(root) as news:
                for _ in range(4):
                    async with aclosing(news.follow(found[-1])) as follower:
                        assert (await come(follower))[0] == "hello"
                        some = min(dice.randint(1, 9), all_ids - len(found))
                        found += await entries(follower, some)
                    if len(found) == all_ids:
                        break
                    await asyncio.sleep(dice.choice([0.0, 0.0, 0.05]))
        for writer in writers:
            assert writer.wait() == 0
        assert found == told_ids(root)[-all_ids:]

    run(test)


def test_hello_says_where_the_stream_begins(root: Path) -> None:
    async def test() -> None:
        async with news_of(root) as news:
            async with aclosing(news.follow()) as follower:
                assert await come(follower) == ("hello", {"revision": 0, "newest": None}, None)
                newest = commit(root, 1.5)
                assert await entries(follower, 2) == told_ids(root)
            assert news.newest == newest
            async with aclosing(news.follow()) as follower:
                assert await come(follower) == ("hello", {"revision": 1, "newest": newest}, None)

    run(test)


def test_an_id_that_nobody_knows_reloads(root: Path) -> None:
    commit(root, 1.5)

    async def test() -> None:
        async with news_of(root) as news, aclosing(news.follow("nobody")) as follower:
            assert [(await come(follower))[0] for _ in range(2)] == ["hello", "reload"]
            newest = commit(root, 1.6)
            assert await entries(follower, 1) == [newest]

    run(test)


def test_who_was_away_too_long_reloads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramstore.web._news.MOST_MISSED", 3)
    ids = [commit(root, 1.0 + turn / 100 + 0.01) for turn in range(5)]

    async def test() -> None:
        async with news_of(root) as news:
            async with aclosing(news.follow(ids[0])) as follower:
                assert [(await come(follower))[0] for _ in range(2)] == ["hello", "reload"]
            async with aclosing(news.follow(ids[1])) as follower:
                assert (await come(follower))[0] == "hello"
                assert await entries(follower, 3) == ids[2:]

    run(test)


def test_who_is_slow_reloads_and_holds_up_nobody(root: Path) -> None:
    commit(root, 1.5)

    async def test() -> None:
        async with (
            news_of(root, Log(most=4)) as news,
            aclosing(news.follow()) as slow,
            aclosing(news.follow()) as quick,
        ):
            await come(slow)
            await come(quick)
            for turn in range(10):
                newest = commit(root, 2.0 + turn / 100)
                assert await entries(quick, 1) == [newest]
            assert await come(slow) == ("reload", {}, None)
            newest = commit(root, 3.0)
            assert await entries(slow, 1) == [newest]
            assert await entries(quick, 1) == [newest]

    run(test)


def test_what_is_kept_is_bounded_by_its_bytes() -> None:
    log = Log(most=1000, most_bytes=10_000)
    for turn in range(100):
        log.add(event("entry", "x" * 900, str(turn)))
    kept = [log.get(number) for number in range(log.first, log.end)]
    assert all(kept) and 8 <= len(kept) <= 11
    assert log.get(log.first - 1) is None
    log.add(event("entry", "x" * 20_000, "large"))
    assert (log.end - log.first, log.end) == (1, 101)


def test_a_commit_that_is_taken_back_is_never_told(root: Path) -> None:
    commit(root, 1.5)
    writer = ParamStore(root, environ={})

    async def test() -> None:
        async with news_of(root) as news, aclosing(news.follow()) as follower:
            await come(follower)
            begun(writer, 4.5)
            await asyncio.sleep(0.3)
            later = commit(root, 1.6)  # whose writer takes back what it finds cut off
            assert await entries(follower, 1) == [later]

    run(test)
    writer.reset()


def test_a_commit_whose_writer_died_is_told_once_its_files_are_there(root: Path) -> None:
    commit(root, 1.5)
    writer = ParamStore(root, environ={})

    async def test() -> None:
        async with news_of(root) as news, aclosing(news.follow()) as follower:
            await come(follower)
            new = begun(writer, 4.5)[2]
            write(root / "params" / "other.yaml", new)
            assert await entries(follower, 1) == ["cafe" * 4]

    run(test)
    writer.reset()


def test_edits_by_hand_and_broken_files_are_told_as_health(root: Path) -> None:
    commit(root, 1.5)
    path = root / "params" / "other.yaml"
    good = path.read_bytes()

    async def test() -> None:
        async with news_of(root) as news, aclosing(news.follow()) as follower:
            await come(follower)
            by_hand(root, random.Random(1))
            name, data, _ = await come(follower)
            assert (name, data) == ("health", {"revision": 1, "ok": True, "problems": []})
            write(path, "values: [")
            name, data, _ = await come(follower)
            assert (name, data["ok"], data["problems"][0]["file"]) == ("health", False, "params/other.yaml")
            assert "params/other.yaml" in data["problems"][0]["message"]
            write(path, good)
            name, data, _ = await come(follower)
            assert (name, data["ok"]) == ("health", True)
            journal = next((root / "params" / "journal").iterdir())
            sound = journal.read_bytes()
            journal.write_bytes(b"<<<<<<<\n" + sound)
            name, data, _ = await come(follower)
            assert (name, data["ok"], data["problems"][-1]["file"]) == ("health", False, "journal")
            journal.write_bytes(sound)
            name, data, _ = await come(follower)
            assert (name, data["ok"]) == ("health", True)

    run(test)


def test_another_journal_is_told_as_reload(tmp_path: Path) -> None:
    repo = GitStore.made(tmp_path / "bot")
    repo.git("checkout", "--quiet", "-b", "topic")
    for value in (0.41, 0.42, 0.43):
        repo.set({"win_rate.floor": value})
    repo.commit_all("theirs")

    async def test() -> None:
        async with news_of(repo.root) as news, aclosing(news.follow()) as follower:
            _, hello, _ = await come(follower)
            assert hello["revision"] == 4
            repo.git("checkout", "--quiet", "main")
            names = []
            while "reload" not in names:
                names.append((await come(follower))[0])
            assert set(names) <= {"reload", "health"}
            repo.set({"win_rate.floor": 0.44})
            name, data, _ = await come(follower)
            while name == "health":
                name, data, _ = await come(follower)
            assert (name, data["revision"], data["changes"][0]["new"]) == ("entry", 2, 0.44)
            async with aclosing(news.follow(hello["newest"])) as other:  # it is of the other branch
                assert [(await come(other))[0] for _ in range(2)] == ["hello", "reload"]

    run(test)


def test_of_a_store_in_memory_it_tells_as_well() -> None:
    store = memory_store(SCHEMAS, VALUES)

    async def test() -> None:
        async with news_of(store) as news, aclosing(news.follow()) as follower:
            await come(follower)
            with store.transaction(author='a\n\nevent: "x"\r<b>\u2028é', reason="one\n\nid: 7") as tx:
                tx["ns.a"] = 1.5
            with suppress(ParamstoreError), store.transaction(author="learner", reason="refused") as tx:
                tx["ns.a"] = 99.0
            store.freeze("ns.*", author="person", reason="stop")
            told = [(await come(follower))[1] for _ in range(3)]
            assert [entry["kind"] for entry in told] == ["commit", "refusal", "freeze"]
            assert told[0]["author"] == 'a\n\nevent: "x"\r<b>\u2028é'
            assert told[0]["reason"] == "one\n\nid: 7"

    run(test)


def test_stopping_ends_every_stream(root: Path) -> None:
    async def test() -> None:
        async with news_of(root) as news:
            followers = [news.follow() for _ in range(3)]
            for follower in followers:
                await come(follower)
            assert news.clients == 3
            waiting = [asyncio.ensure_future(anext(follower)) for follower in followers]
            await asyncio.sleep(0.05)
            news.stop()
            for ended in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(ended, StopAsyncIteration)
            assert news.clients == 0

    run(test)


def test_reload_is_an_event() -> None:
    assert RELOAD.data == b"event: reload\ndata: {}\n\n"
