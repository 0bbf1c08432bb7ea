"""Where the store has to work: in an event loop, beside other users, on mounts of all kinds."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from conversing import converse
from mutants import PYTEST, Mutant, planted, run_on, sample

from paramstore import ParamStore
from paramstore.errors import LockTimeoutError, ValidationError

sys.path.insert(0, str(Path(__file__).parent / "faults"))
from plainstore import fast_folder, make_store
from processes import Shared, running

KEY = "alpha.count"


@pytest.fixture
def root() -> Iterator[Path]:
    folder = fast_folder()
    yield make_store(folder / "store")
    shutil.rmtree(folder)


@pytest.fixture
def store(root: Path) -> Iterator[ParamStore]:
    store = ParamStore(root, environ={})
    yield store
    store.reset()


# --- in an event loop ---------------------------------------------------------------------------------


async def ticks(until: asyncio.Future[Any]) -> float:
    """Return the longest time, in seconds, that the loop was not there for another task."""
    longest, last = 0.0, time.monotonic()
    while not until.done():
        await asyncio.sleep(0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    return longest


def hold(root: Path, shared: Shared) -> None:
    with ParamStore(root, environ={}).transaction(author="other") as tx:
        shared[0] = 1
        shared.wait(1, 20)
        tx[KEY] += 1


def test_waiting_for_the_lock_leaves_the_loop_to_others(root: Path, store: ParamStore) -> None:
    shared = Shared()

    async def learn() -> int:
        async with store.atransaction(author="me", timeout_s=5) as tx:
            tx[KEY] += 10
        return tx.commit_result.revision

    async def both() -> tuple[int, float]:
        learning = asyncio.ensure_future(learn())
        ticking = asyncio.ensure_future(ticks(learning))
        await asyncio.sleep(0.6)
        assert not learning.done()
        shared[1] = 1
        return await learning, await ticking

    with running(lambda: hold(root, shared)):
        shared.wait(0)
        revision, longest = asyncio.run(both())
    assert (store.get(KEY), revision) == (21, 2)
    assert longest < 0.4  # the other process held the lock for longer than that


def test_a_commit_that_the_disk_holds_up_leaves_the_loop_to_others(
    store: ParamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def slow(fd: int) -> None:
        time.sleep(0.3)
        real(fd)

    async def learn() -> None:
        async with store.atransaction(author="me") as tx:
            tx[KEY] += 1
            monkeypatch.setattr(os, "fsync", slow)

    async def both() -> float:
        learning = asyncio.ensure_future(learn())
        return await ticks(learning)

    assert asyncio.run(both()) < 0.25
    assert store.get(KEY) == 11


def test_cancelled_while_waiting_it_holds_nothing(root: Path, store: ParamStore) -> None:
    shared = Shared()

    async def wait() -> None:
        async with store.atransaction(author="me", timeout_s=20) as tx:
            tx[KEY] = 99

    async def cancelled() -> float:
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0.3)
        began = time.monotonic()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        took = time.monotonic() - began
        shared[1] = 1
        return took

    with store.transaction(author="me", dry_run=True):
        pass  # what a first transaction imports takes longer than the wait
    with running(lambda: hold(root, shared)) as children:
        shared.wait(0)
        assert asyncio.run(cancelled()) < 5
        children[0].result()
    with store.transaction(author="next", timeout_s=5) as tx:
        tx[KEY] += 1
    assert store.get(KEY) == 12


def test_cancelled_inside_of_the_block_it_writes_nothing(store: ParamStore) -> None:
    async def linger() -> None:
        async with store.atransaction(author="me") as tx:
            tx[KEY] = 99
            await asyncio.sleep(60)

    async def cancelled() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(linger(), 0.2)
        async with store.atransaction(author="next", timeout_s=2) as tx:
            tx[KEY] += 1

    asyncio.run(cancelled())
    assert (store.get(KEY), store.revision) == (11, 1)


def test_what_goes_wrong_in_a_loop_is_what_goes_wrong_elsewhere(root: Path, store: ParamStore) -> None:
    shared = Shared()

    async def wrong() -> None:
        with pytest.raises(ZeroDivisionError):
            async with store.atransaction(author="me") as tx:
                tx[KEY] = 99
                raise ZeroDivisionError
        with pytest.raises(ValidationError):
            async with store.atransaction(author="me") as tx:
                tx[KEY] = -1
        with pytest.raises(ValidationError):
            async with store.atransaction(author="") as tx:
                raise AssertionError("never reached")

    async def late() -> None:
        with pytest.raises(LockTimeoutError):
            async with store.atransaction(author="me", timeout_s=0.1):
                raise AssertionError("never reached")

    asyncio.run(wrong())
    with running(lambda: hold(root, shared)):
        shared.wait(0)
        asyncio.run(late())
        shared[1] = 1
    assert store.get(KEY) == 10 or store.revision == 1


def test_many_tasks_take_turns_and_context_variables_are_kept(store: ParamStore) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    async def learn(name: str) -> None:
        who.set(name)
        async with store.atransaction(author=who.get(), timeout_s=20) as tx:
            assert who.get() == name
            await asyncio.sleep(0)
            tx[KEY] += 1
        assert who.get() == name

    async def all_of_them() -> None:
        await asyncio.gather(*(learn(f"learner {n}") for n in range(12)))

    asyncio.run(all_of_them())
    assert store.get(KEY) == 22
    assert len({entry.author for entry in store.history()}) == 13


# --- in several processes and threads -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_parent_and_child_see_each_others_commits_at_once(root: Path, store: ParamStore, method: str) -> None:
    """The store was opened before the child began. One that is forked goes on with it, another opens its own."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    assert store.get(KEY) == 10
    words = (str(root), theirs, *([store] if method == "fork" else []))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is the point
        child = context.Process(  # type: ignore[attr-defined]
            target=converse, args=words
        )
        child.start()
    try:
        assert answer(ours) == 10
        for number in range(11, 17, 2):
            with store.transaction(author="parent") as tx:
                tx[KEY] += 1
            ours.send(True)
            assert answer(ours) == [number, number + 1]
            assert store.get(KEY) == number + 1
        ours.send(False)
        child.join(20)
        assert child.exitcode == 0
    finally:
        child.kill()


def answer(source: Connection) -> object:
    assert source.poll(30), "nobody answered"
    return source.recv()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking beside threads, which is the point
def test_a_fork_while_another_thread_holds_the_lock(root: Path, store: ParamStore) -> None:
    """The lock is the parent's alone: the child waits for it as any process does, and gets it when the thread is done."""
    shared, held, done = Shared(), threading.Event(), threading.Event()
    with store.transaction(author="me", dry_run=True):
        pass  # Python itself deadlocks a child forked while another thread is importing

    def learn() -> None:
        with store.transaction(author="thread") as tx:
            tx[KEY] += 1
            held.set()
            assert done.wait(20)

    def child() -> int:
        with pytest.raises(LockTimeoutError), store.transaction(author="child", timeout_s=0.1):
            pass
        shared[0] = 1
        with store.transaction(author="child", timeout_s=6) as tx:
            tx[KEY] += 1
        return int(store.get(KEY))

    thread = threading.Thread(target=learn)
    thread.start()
    assert held.wait(20)
    with running(child) as (process,):
        try:
            shared.wait(0)
        finally:
            done.set()
            thread.join()
        assert process.result() == 12
    assert store.get(KEY) == 12


BLOCKING = Mutant(
    "the lock is taken in the loop", "_async.py",
    "        return asyncio.get_running_loop().run_in_executor(self._thread, context.run, work)\n",
    "        done = asyncio.get_running_loop().create_future()\n        done.set_result(context.run(work))\n        return done\n",
)  # fmt: skip
KEPT = Mutant(
    "a cancelled wait keeps the lock",
    "_async.py",
    "self._thread.submit(self._give_back)",
    "asyncio.kept = self",
)
INHERITED = Mutant(
    "a child keeps what its parent held", "_lock.py",
    "os.register_at_fork(\n    after_in_child=_shared.clear\n)", "(_shared.clear)",
)  # fmt: skip
PLANTED = {
    INHERITED: "test_a_fork_while_another_thread_holds_the_lock",
    BLOCKING: "test_waiting_for_the_lock_leaves_the_loop_to_others",
    KEPT: "test_cancelled_while_waiting_it_holds_nothing",
}


@pytest.mark.parametrize(("mutant", "test"), sample(PLANTED.items()), ids=lambda it: getattr(it, "name", ""))
def test_the_checks_catch_a_planted_bug(mutant: Mutant, test: str, tmp_path: Path) -> None:
    place = planted(tmp_path, mutant)
    done = run_on(place, *PYTEST, f"{__file__}::{test}")
    assert done.returncode == 1, done.stdout + done.stderr
