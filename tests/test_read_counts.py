"""Counting reads: off it is not there, on it loses nothing, and never stands in a reader's way."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinMethodType
from typing import Any

import pytest
from local_store import age, group, number, schema, write_store

from paramstore import ParamStore, _read_counts
from paramstore._read_counts import Counted, Reads, Tally, load, tally_of
from paramstore._values import Values
from paramstore.errors import UnknownParamError

ON = {"PARAMSTORE_READ_COUNTS": "1"}
A, B, DEEP = "gate.a", "gate.b", "gate.tiers.high"
LEARNED = {"x-param": {"learnable": True}}
GATE = schema(
    {"a": number(1, **LEARNED), "b": number(2, **LEARNED), "tiers": group({"high": number(3)})},
    {"symbol": {"type": "string"}},
)
VALUES = {
    "schema": 1,
    "values": {"a": 1.0, "b": 2.0, "tiers": {"high": 3.0}},
    "overrides": [{"at": {"symbol": "BTC"}, "values": {"a": 5.0}}],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", {"gate": GATE}, {"gate": VALUES})


@pytest.fixture
def store(root: Path) -> Iterator[ParamStore]:
    opened = ParamStore(root, environ=ON)
    yield opened
    opened.reset()


def tally(root: Path) -> Tally:
    return tally_of(str(root))


def kept(root: Path) -> dict[str, int]:
    found = load(str(root / ".paramstore"))
    return found.counts if found else {}


def worker(root: str, reads: int) -> None:
    """Read in a process of its own."""
    opened = ParamStore(root, environ=ON)
    for _ in range(reads):
        opened.get(A)


def forked(opened: ParamStore, reads: int) -> None:
    for _ in range(reads):
        opened.get(A)


# --- off ------------------------------------------------------------------------------------------


def test_off_is_the_default_and_the_plain_code(root: Path) -> None:
    store = ParamStore(root, environ={})
    assert store.get(A) == 1.0
    assert type(store.values) is Values and type(store.snapshot().values) is Values
    assert store.snapshot().get.__self__ is store.values  # type: ignore[attr-defined]
    assert store.snapshot().get.__name__ == "__getitem__"
    assert isinstance(store.snapshot().get, BuiltinMethodType)  # C's own lookup
    assert store.read_counts() == {}
    assert not (root / ".paramstore/reads.json").exists()


def test_off_loads_nothing_and_on_changes_only_the_values(root: Path) -> None:
    code = (
        "import sys\nfrom paramstore import ParamStore\nstore = ParamStore(sys.argv[1], environ={})\n"
        "store.get('gate.a'); store.section('gate')['a']; store.snapshot().get('gate.a')\n"
        "sys.exit('paramstore._read_counts' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(root)], check=False).returncode == 0
    off, on = ParamStore(root, environ={}), ParamStore(root, environ=ON)
    assert off.get(A) == on.get(A)
    assert type(off).get is type(on).get  # one function, one bytecode, for both
    assert type(on.values) is Counted
    on.reset()


# --- what is counted ------------------------------------------------------------------------------


def test_every_way_to_look_up_counts(store: ParamStore) -> None:
    class Gate:
        B = store.live("gate.b")

    assert [store.get(A), store.snapshot().get(A), store.snapshot()[A], store.at(symbol="BTC").get(A)] == [
        1,
        1,
        1,
        5,
    ]
    assert store.snapshot().at(symbol="BTC").get(A) == store.get(A, symbol="BTC") == 5.0
    assert store.read_counts() == {A: 6, B: 1}
    assert Gate.B == 2.0  # once when made, once for the revision that it sees
    assert store.read_counts()[B] == 2


def test_a_repeated_read_in_a_context_counts_once_a_revision(store: ParamStore) -> None:
    for _ in range(5):
        store.get(A, symbol="BTC")
    assert store.read_counts() == {A: 1}
    with store.transaction(author="me") as tx:
        tx[B] = 2.5
    store.get(A, symbol="BTC")
    assert store.read_counts()[A] == 2


@pytest.mark.parametrize("prefix", ["gate", "gate.tiers"])
def test_a_section_counts_each_key_below_it_once_a_revision(store: ParamStore, prefix: str) -> None:
    section = store.section(prefix)
    for _ in range(3):
        dict(section)
    below = [key for key in (A, B, DEEP) if key.startswith(f"{prefix}.")]
    assert store.read_counts() == dict.fromkeys(below, 1)
    with store.transaction(author="me") as tx:
        tx[B] = 2.5
    before = store.read_counts().get(DEEP, 0)
    assert dict(section) and store.read_counts()[DEEP] == before + 1


def test_sections_in_a_context_and_of_a_snapshot_count(store: ParamStore) -> None:
    assert store.at(symbol="BTC").section("gate")["a"] == 5.0
    assert store.read_counts() == {A: 1, B: 1, DEEP: 1}
    assert store.snapshot().at(symbol="BTC").section("gate.tiers") == {"high": 3.0}
    assert store.read_counts() == {A: 1, B: 1, DEEP: 2}


def test_questions_about_a_parameter_are_no_reads(store: ParamStore) -> None:
    store.require(A, B)
    store.spec(A)
    store.keys("gate.*")
    store.snapshot().stamp()
    with pytest.raises(UnknownParamError):
        store.get("gate.c")
    assert store.read_counts() == {}


def test_values_stay_right_through_commits_edits_and_overrides(store: ParamStore, root: Path) -> None:
    assert store.get(A) == 1.0
    with store.transaction(author="me") as tx:
        tx[A] = 1.5
    assert store.get(A) == 1.5
    with store.override({A: 9.0}):
        assert store.get(A) == store.section("gate")["a"] == 9.0
    file = root / "params/gate.yaml"
    file.write_text(file.read_text().replace("a: 1.5", "a: 1.7"))
    age(file)
    assert store.refresh().ok and store.get(A) == 1.7
    assert store.read_counts()[A] == 5  # the section is one of them


def test_threads_lose_no_counts(store: ParamStore) -> None:
    store.get(A)
    threads = [threading.Thread(target=forked, args=(store, 20_000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read_counts() == {A: 80_001}


# --- processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_read_at_once_lose_no_counts(root: Path, store: ParamStore, method: Any) -> None:
    store.get(B)
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=worker, args=(str(root), 1000 + n)) for n in range(4)]
    if method == "fork":  # with a store that is open already, and has counted
        processes += [context.Process(target=forked, args=(store, 500)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert store.read_counts() == {A: 4006 + (2000 if method == "fork" else 0), B: 1}
    assert tally(root).flush(1.0) and kept(root) == store.read_counts()


def test_a_plain_fork_begins_at_zero(root: Path) -> None:
    code = (
        "import os, sys\nfrom paramstore import ParamStore\n"
        "store = ParamStore(sys.argv[1], environ={'PARAMSTORE_READ_COUNTS': '1'})\n"
        "for _ in range(5): store.get('gate.a')\n"
        "child = os.fork()\n"
        "for _ in range(3 if child == 0 else 10): store.get('gate.b')\n"
        "if child: os.waitpid(child, 0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)
    assert kept(root) == {A: 5, B: 13}


def test_the_watching_thread_keeps_counts_now_and_then(
    root: Path, store: ParamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_read_counts, "FLUSH_S", 0.05)
    store.get(A)
    tally(root)._due = 0.0
    deadline = time.monotonic() + 5
    while kept(root) != {A: 1} and time.monotonic() < deadline:
        time.sleep(0.02)
    assert kept(root) == {A: 1}


# --- trouble --------------------------------------------------------------------------------------


def test_a_held_lock_delays_neither_a_read_nor_the_thread(root: Path, store: ParamStore) -> None:
    store.get(A)
    (root / ".paramstore").mkdir(exist_ok=True)
    with (root / ".paramstore/reads.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        began = time.monotonic()
        assert store.get(A) == 1.0 and not tally(root).flush()
        assert time.monotonic() - began < 0.5
        assert kept(root) == {}
    assert tally(root).flush(1.0) and kept(root) == {A: 2}  # nothing was lost meanwhile


@pytest.mark.parametrize(
    "spoiled",
    [b"", b"{", b"[]", b'{"v":1}', b'{"v":1,"since":0,"reads":{"gate.a":"x"}}', b"\xff", b"[" * 100_000,
     b'{"v":2,"since":0,"reads":{}}', b'{"v":1,"since":0,"reads":{"gate.a":1e999}}'],
)  # fmt: skip
def test_a_spoiled_file_begins_anew(root: Path, store: ParamStore, spoiled: bytes) -> None:
    store.get(A)
    (root / ".paramstore").mkdir(exist_ok=True)
    (root / ".paramstore/reads.json").write_bytes(spoiled)
    assert load(str(root / ".paramstore")) is None
    assert store.read_counts() == {A: 1}
    assert tally(root).flush() and kept(root) == {A: 1}


def test_everything_may_be_deleted_at_any_time(root: Path, store: ParamStore) -> None:
    store.get(A)
    assert tally(root).flush()
    shutil.rmtree(root / ".paramstore")
    store.get(A)
    assert tally(root).flush() and kept(root) == {A: 1}  # what was counted before is gone with the file
    (root / ".paramstore/reads.lock").unlink()
    store.get(A)
    assert tally(root).flush() and kept(root) == {A: 2}


def test_a_lock_that_was_deleted_while_it_was_taken_is_none(
    root: Path, store: ParamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, left = fcntl.flock, [1]

    def meddled(fd: int, operation: int) -> None:
        flock(fd, operation)
        if left:
            left.pop()
            (root / ".paramstore/reads.lock").unlink()
            (root / ".paramstore/reads.lock").touch()

    store.get(A)
    monkeypatch.setattr(fcntl, "flock", meddled)
    assert not tally(root).flush()
    assert tally(root).flush() and kept(root) == {A: 1}


def test_where_nothing_can_be_written_reads_go_on(
    root: Path, store: ParamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    store.get(A)
    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", full)
        assert not tally(root).flush()
        patch.setattr(os, "makedirs", full)
        assert not tally(root).flush()
    assert store.get(A) == 1.0 and store.read_counts() == {A: 2}
    assert not list((root / ".paramstore").glob("reads.json*"))
    assert tally(root).flush() and kept(root) == {A: 2}


def test_the_file_says_since_when(root: Path, store: ParamStore) -> None:
    before = time.time()
    store.get(A)
    tally(root).flush()
    found = load(str(root / ".paramstore"))
    assert found is not None and abs(found.since - before) < 5
    old = {"v": 1, "since": 7.0, "reads": {A: 2, B: 1}}
    (root / ".paramstore/reads.json").write_text(json.dumps(old))
    store.get(A)
    tally(root).flush()
    assert load(str(root / ".paramstore")) == Reads(7.0, {A: 3, B: 1})


def test_two_stores_on_one_root_share_their_counts(root: Path, store: ParamStore) -> None:
    other = ParamStore(root, environ=ON)
    store.get(A)
    other.get(A)
    assert store.read_counts() == other.read_counts() == {A: 2}
    other.reset()
    assert other.get(A) == 1.0 and other.read_counts() == {A: 3}
    other.reset()


def test_settings_switch_it_on(root: Path) -> None:
    (root / "paramstore.toml").write_text("read_counts = true\n")
    on, off = ParamStore(root, environ={}), ParamStore(root, environ={"PARAMSTORE_READ_COUNTS": "0"})
    assert on.get(A) == off.get(A)
    assert (type(on.values), type(off.values)) == (Counted, Values)
    on.reset()
