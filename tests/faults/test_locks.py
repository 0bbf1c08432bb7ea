"""What the lock does when its holder is busy, dead, forked, or robbed of its file."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plainstore as ps
import pytest
from processes import Shared, running, together

from paramstore import ParamStore
from paramstore.errors import LockLostError, LockTimeoutError, ParamstoreError

pytestmark = pytest.mark.alone

HELD, GO = 0, 1


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = ps.make_store(tmp_path / "store", count=0)
    with ParamStore(root).transaction(author="learner"):
        pass  # writes the first line of the journal
    yield root


@pytest.fixture
def shared() -> Shared:
    return Shared()


def count(root: Path) -> Any:
    return ps.values_in((root / "params" / "alpha.yaml").read_bytes())["count"]


def increment(root: Path, timeout_s: float = 10.0) -> None:
    with ParamStore(root).transaction(author="learner", timeout_s=timeout_s) as tx:
        tx["alpha.count"] += 1


def hold(root: Path, shared: Shared, seconds: float = 30.0) -> None:
    with ParamStore(root).transaction(author="holder"):
        shared[HELD] = 1
        time.sleep(seconds)


def test_a_lock_held_elsewhere_is_waited_for_and_then_told(root: Path, shared: Shared) -> None:
    with running(lambda: hold(root, shared)):
        shared.wait(HELD)
        begin = time.monotonic()
        with pytest.raises(LockTimeoutError) as error:
            increment(root, timeout_s=0.3)
        waited = time.monotonic() - begin
    assert 0.25 <= waited < 2.0
    for part in ("within 0.3 s", "another process", ".paramstore/lock", "Nothing was written", "timeout_s"):
        assert part in str(error.value)
    assert count(root) == 0


def test_a_killed_holder_frees_the_lock_at_once(root: Path, shared: Shared) -> None:
    with running(lambda: hold(root, shared)) as (holder,):
        shared.wait(HELD)
        threading.Timer(0.2, os.kill, (holder.pid, signal.SIGKILL)).start()
        begin = time.monotonic()
        increment(root)
        assert time.monotonic() - begin < 1.0
    assert (root / ".paramstore" / "lock").exists()
    increment(root)
    assert count(root) == 2


def test_a_child_of_a_killed_holder_does_not_hold_the_lock_on(root: Path, shared: Shared) -> None:
    def hold_and_fork() -> None:
        with ParamStore(root).transaction(author="holder"):
            if os.fork() == 0:
                shared[2] = os.getpid()
                time.sleep(20)
                os._exit(0)
            shared[HELD] = 1
            time.sleep(20)

    with running(hold_and_fork) as (holder,):
        shared.wait(HELD)
        shared.wait(2)
        holder.kill()
        begin = time.monotonic()
        increment(root)
        waited = time.monotonic() - begin
        os.kill(shared[2], signal.SIGKILL)
    assert waited < 1.0


def test_a_fork_inside_a_transaction_leaves_it_to_the_parent(root: Path) -> None:
    store = ParamStore(root)
    source, target = os.pipe()
    child = 0
    try:
        with store.transaction(author="learner") as tx:
            tx["alpha.count"] = 7
            child = os.fork()
            if child:
                other = os.read(source, 1000)
                with (
                    pytest.raises(LockTimeoutError),
                    ParamStore(str(root) + "/").transaction(author="other", timeout_s=0.1),
                ):
                    pass
    except ParamstoreError as error:
        if child == 0:
            os.write(target, f"{type(error).__name__}: {error}".encode())
        else:
            raise
    finally:
        if child == 0:
            os._exit(0)
    os.waitpid(child, 0)
    assert other.decode().startswith("LockLostError") and b"Nothing was written" in other
    assert count(root) == 7
    assert ps.problems_of(ps.tracked(root)) == []


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_file_that_goes_while_held_stops_the_commit(root: Path, replaced: bool) -> None:
    before = ps.tracked(root)
    with pytest.raises(LockLostError) as error, ParamStore(root).transaction(author="learner") as tx:
        tx["alpha.count"] = 5
        (root / ".paramstore" / "lock").unlink()
        if replaced:
            (root / ".paramstore" / "lock").touch()
    assert "Nothing was written" in str(error.value)
    assert ps.tracked(root) == before
    increment(root)
    assert count(root) == 1


def test_two_holders_never_meet_though_the_lock_file_is_deleted_all_the_time(
    root: Path, shared: Shared
) -> None:
    def work() -> int:
        lost = done = 0
        store = ParamStore(root)
        while done < 60:
            try:
                with store.transaction(author="learner", timeout_s=30) as tx:
                    tx["alpha.count"] += 1
                done += 1
            except LockLostError:
                lost += 1
        shared[GO] += 1
        return lost

    def delete() -> None:
        while shared[GO] < 2:
            (root / ".paramstore" / "lock").unlink(missing_ok=True)
            time.sleep(0.004)

    together(work, work, delete)
    assert count(root) == 120
    assert ps.problems_of(ps.tracked(root)) == []


def test_a_second_transaction_in_the_same_thread_is_refused_at_once(root: Path) -> None:
    store = ParamStore(root)
    begin = time.monotonic()
    with store.transaction(author="learner") as tx:
        tx["alpha.count"] = 3
        with pytest.raises(LockTimeoutError, match="already has a transaction open"):
            increment(root)
    assert time.monotonic() - begin < 2.0
    assert count(root) == 3


def test_threads_of_one_process_take_turns(root: Path) -> None:
    store = ParamStore(root)
    errors: list[BaseException] = []

    def work(mine: ParamStore) -> None:
        try:
            for _ in range(25):
                with mine.transaction(author="learner", timeout_s=30) as tx:
                    tx["alpha.count"] += 1
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(s,)) for s in (store, store, ParamStore(root), ParamStore(root))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert count(root) == 100
    assert ps.problems_of(ps.tracked(root)) == []


def test_waiters_are_served_in_the_order_in_which_they_came(root: Path, shared: Shared) -> None:
    waiters = 6

    def wait(number: int) -> int:
        shared.wait(HELD)
        time.sleep(0.1 * number)
        with ParamStore(root).transaction(author="learner", timeout_s=30) as tx:
            tx["alpha.count"] += 1
            return int(tx["alpha.count"])

    with running(lambda: hold(root, shared, 1.5), *[lambda n=n: wait(n) for n in range(waiters)]) as (
        _,
        *others,
    ):
        assert [other.result() for other in others] == [1, 2, 3, 4, 5, 6]


def test_a_waiter_that_dies_in_line_holds_nobody_up(root: Path, shared: Shared) -> None:
    def wait() -> None:
        shared.wait(HELD)
        increment(root, timeout_s=30)

    with running(lambda: hold(root, shared, 1.0), wait, wait, wait) as (_, first, second, third):
        shared.wait(HELD)
        time.sleep(0.5)
        second.kill()
        first.result()
        third.result()
    assert count(root) == 2


@pytest.mark.parametrize("damage", ["gone", "long", "text", "folder", "read-only"])
def test_without_its_queue_the_gate_still_excludes(root: Path, shared: Shared, damage: str) -> None:
    queue = root / ".paramstore" / "lock.queue"
    queue.unlink()
    if damage == "folder":
        queue.mkdir()
    elif damage != "gone":
        queue.write_bytes({"long": b"\xff" * 4096, "text": b"hello", "read-only": b""}[damage])
        queue.chmod(0o400 if damage == "read-only" else 0o600)

    def work() -> None:
        store = ParamStore(root)
        for number in range(20):
            with store.transaction(author="learner", timeout_s=30) as tx:
                tx["alpha.count"] += 1
            if damage == "gone" and number % 5 == 0:
                queue.unlink(missing_ok=True)

    together(work, work, work)
    assert count(root) == 60
    assert ps.problems_of(ps.tracked(root)) == []


def test_one_who_gave_up_keeps_the_place_for_the_next_try(root: Path, shared: Shared) -> None:
    store = ParamStore(root)
    with running(lambda: hold(root, shared)) as (holder,):
        shared.wait(HELD)
        for _ in range(20):
            with pytest.raises(LockTimeoutError), store.transaction(author="learner", timeout_s=0.01):
                pass
        assert [thread.name for thread in threading.enumerate()].count("paramstore-lock") == 1
        holder.kill()
    increment(root)
    assert count(root) == 1


def test_waiting_leaves_no_thread_and_no_descriptor(root: Path, shared: Shared) -> None:
    with running(lambda: hold(root, shared)):
        shared.wait(HELD)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with pytest.raises(LockTimeoutError):
                increment(root, timeout_s=0.01)
    increment(root)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(t.name == "paramstore-lock" for t in threading.enumerate()):
        time.sleep(0.01)
    assert not any(thread.name == "paramstore-lock" for thread in threading.enumerate())
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_an_interrupt_while_waiting_does_not_keep_the_lock_for_ever(root: Path, shared: Shared) -> None:
    def interrupted() -> bool:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            increment(root, timeout_s=30)
        shared[GO] = 1
        time.sleep(1.5)
        return True

    def hold_a_while() -> None:
        with ParamStore(root).transaction(author="holder"):
            shared[HELD] = 1
            shared.wait(GO)

    with running(hold_a_while) as (holder,):
        shared.wait(HELD)
        with running(interrupted) as (other,):
            shared.wait(GO)
            holder.result()
            begin = time.monotonic()
            increment(root)
            assert time.monotonic() - begin < 1.0
            assert other.result()
