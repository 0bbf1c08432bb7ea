"""Forked processes: both sides stay fresh, nothing deadlocks, no thread is lost or left over."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import plainstore as ps
import pytest
from figures import figure
from processes import Shared, running

from paramstore import ParamStore

FORKS = 200


@pytest.fixture
def root() -> Iterator[Path]:
    folder = ps.fast_folder()
    yield ps.make_store(folder / "store", count=0)
    shutil.rmtree(folder)


@pytest.fixture
def store(root: Path) -> Iterator[ParamStore]:
    store = ParamStore(root)
    store.get("alpha.count")
    yield store
    store.reset()


def set_count(root: Path, value: int) -> None:
    with ParamStore(root).transaction(author="learner") as tx:
        tx["alpha.count"] = value


def watchers() -> int:
    """Count the threads of this process: those of the watch are not Python's own."""
    return len(os.listdir("/proc/self/task"))


def settle(threads: int) -> None:
    """Wait until there are as many threads as before; one takes a moment to go."""
    deadline = time.monotonic() + 3
    while watchers() != threads:
        assert time.monotonic() < deadline, f"{watchers()} threads, not {threads}"
        time.sleep(0.02)


def test_child_and_parent_both_stay_fresh(root: Path, store: ParamStore) -> None:
    shared = Shared()

    def child() -> list[int]:
        seen = [store.get("alpha.count")]
        shared[0] = 1
        shared.wait(1)
        seen.append(store.get("alpha.count"))
        set_count(root, 3)
        return [*seen, store.get("alpha.count")]

    with running(child) as (process,):
        shared.wait(0)
        set_count(root, 2)
        assert store.get("alpha.count") == 2
        shared[1] = 1
        assert process.result() == [0, 2, 3]
    assert store.get("alpha.count") == 3


def test_the_child_sees_edits_by_hand_too(root: Path, store: ParamStore) -> None:
    shared = Shared()

    def child() -> bool:
        shared[0] = 1
        deadline = time.monotonic() + 5
        while store.get("alpha.count") != 9 and time.monotonic() < deadline:
            time.sleep(0.01)
        return bool(store.get("alpha.count") == 9)

    with running(child) as (process,):
        shared.wait(0)
        (root / "params" / "alpha.yaml").write_bytes(ps.text_of("alpha", 9))
        assert process.result()


def test_two_hundred_forks_with_the_watch_running(root: Path, store: ParamStore) -> None:
    set_count(root, 0)  # Python itself deadlocks a child forked while another thread is importing
    before = watchers()
    stop = threading.Event()

    def busy() -> None:
        value = 0
        while not stop.is_set():
            value += 1
            with store.transaction(author="learner", timeout_s=30) as tx:
                tx["beta.count"] = value
            store.get("beta.count")

    thread = threading.Thread(target=busy)
    thread.start()
    begin = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is the point
            for number in range(FORKS):
                pid = os.fork()
                if pid == 0:
                    fine = store.get("alpha.count") == 0 and store.get("beta.count") >= 0
                    if number % 20 == 0:
                        with store.transaction(author="child", timeout_s=30) as tx:
                            tx["alpha.pace"] = number / FORKS
                    os._exit(0 if fine else 1)
                _wait(pid)
    finally:
        stop.set()
        thread.join()
    figure("200 forks beside commits: seconds", time.monotonic() - begin)
    settle(before)
    assert ps.problems_of(ps.tracked(root)) == []


def _wait(pid: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0
            return
        time.sleep(0.0005)
    os.kill(pid, 9)
    raise AssertionError("a child deadlocked")


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # of forks beside threads; no thread may set it for itself
def test_two_threads_that_fork_at_once_leave_the_watch_running(root: Path, store: ParamStore) -> None:
    before = watchers()

    def fork_often() -> None:
        for _ in range(40):
            try:
                pid = os.fork()
            except (
                RuntimeError
            ) as error:  # filelock, once imported, refuses forks of two threads at once from 3.12 on
                assert "filelock" in str(error)
                continue
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)

    threads = [threading.Thread(target=fork_often) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(before)
    (root / "params" / "alpha.yaml").write_bytes(ps.text_of("alpha", 9))
    deadline = time.monotonic() + 2
    while store.get("alpha.count") != 9:
        assert time.monotonic() < deadline, "nobody looks at the files any more"
        time.sleep(0.01)


def _increment(root: str) -> int:
    store = ParamStore(root)
    with store.transaction(author="learner", timeout_s=30) as tx:
        tx["alpha.count"] += 1
    return int(store.get("alpha.count"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_of_processes(root: Path, store: ParamStore, method: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(method).Pool(2) as pool:
            found = pool.map(_increment, [str(root)] * 20)
    assert sorted(found)[-1] == 20
    assert store.get("alpha.count") == 20


def test_stores_leave_no_thread_behind(root: Path) -> None:
    time.sleep(0.2)  # for threads of other tests that are just ending
    before = watchers()
    for _ in range(20):
        store = ParamStore(root)
        store.get("alpha.count")
        store.reset()
    settle(before)
    for _ in range(5):
        ParamStore(root).get("alpha.count")  # a store that nobody holds any more
    settle(before)
