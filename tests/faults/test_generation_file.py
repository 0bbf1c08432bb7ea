"""The generation file is deleted, replaced, torn, used up, or cannot be made: readers stay fresh."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import plainstore as ps
import pytest
from figures import figure
from processes import Shared, running

from paramstore import ParamStore, _generation
from paramstore._backends.local import LocalBackend
from paramstore._options import Options

pytestmark = pytest.mark.alone

DONE, END = 0, 1
FRESH_S = 1.0


@pytest.fixture
def root() -> Iterator[Path]:
    folder = ps.fast_folder()
    root = ps.make_store(folder / "store", count=0)
    with ParamStore(root).transaction(author="learner") as tx:
        tx["alpha.count"] = 1
    yield root
    shutil.rmtree(folder)


def set_count(root: Path, value: int) -> None:
    with ParamStore(root).transaction(author="learner") as tx:
        tx["alpha.count"] = value


def seconds_until(store: ParamStore, value: int) -> float:
    begin = time.monotonic()
    while store.get("alpha.count") != value:
        assert time.monotonic() - begin < 5, "never seen"
        time.sleep(0.002)
    return time.monotonic() - begin


def delete_folder(root: Path) -> None:
    shutil.rmtree(root / ".paramstore")


def delete_file(root: Path) -> None:
    (root / ".paramstore" / "generation").unlink()


def replace_by_an_old_one(root: Path) -> None:
    fresh = root / ".paramstore" / "generation.new"
    _generation.create(str(fresh), _generation.Published(0, 0, 0, 0))
    fresh.replace(root / ".paramstore" / "generation")


def replace_by_garbage(root: Path) -> None:
    fresh = root / ".paramstore" / "generation.new"
    fresh.write_bytes(b"garbage")
    fresh.replace(root / ".paramstore" / "generation")


def tear_header(root: Path) -> None:
    with open(root / ".paramstore" / "generation", "r+b") as file:
        file.write(b"PSGEN\0\0\1" + b"\xff" * 20)


def clear_header(root: Path) -> None:
    with open(root / ".paramstore" / "generation", "r+b") as file:
        file.write(bytes(64))


HARMS = [delete_folder, delete_file, replace_by_an_old_one, replace_by_garbage, tear_header, clear_header]


@pytest.mark.parametrize("harm", HARMS)
def test_readers_are_fresh_and_writers_go_on_after(harm: Callable[[Path], None], root: Path) -> None:
    store = ParamStore(root)
    assert store.get("alpha.count") == 1
    harm(root)
    set_count(root, 2)
    assert seconds_until(store, 2) < FRESH_S
    set_count(root, 3)
    assert store.get("alpha.count") == 3
    harm(root)
    assert ParamStore(root).get("alpha.count") == 3
    set_count(root, 4)
    assert seconds_until(store, 4) < FRESH_S
    assert ps.problems_of(ps.tracked(root)) == []


def test_thousands_of_commits_use_up_many_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_generation, "SLOTS", 5)
    store = ParamStore(root)
    writer = ParamStore(root)
    for value in range(2, 200):
        with writer.transaction(author="learner") as tx:
            tx["alpha.count"] = value
        assert store.get("alpha.count") == value

    def more() -> None:
        for n in range(40):
            set_count(root, 1000 + n)

    with running(more) as (other,):
        other.result()
    assert store.get("alpha.count") == 1039


def test_the_real_file_is_used_up_in_passing(root: Path) -> None:
    path = str(root / ".paramstore" / "generation")
    store = ParamStore(root)
    store.get("alpha.count")
    with open(path, "rb") as file:
        last = _generation.Published.unpack(file.read(64))
    assert last is not None
    for _ in range(_generation.SLOTS + 50):
        _generation.publish(path, last.revision, last.segment, last.offset)
    set_count(root, 2)
    assert store.get("alpha.count") == 2


def test_the_place_in_a_file_is_not_carried_over_to_the_next(root: Path) -> None:
    """Of a new file that a publisher is just writing to, a reader knows nothing: it must ask again."""
    backend, path = LocalBackend(str(root), Options()), root / ".paramstore" / "generation"
    for revision in range(2, 9):
        _generation.publish(str(path), revision, 1, 100 * revision)
    assert not backend.signal()
    path.unlink()
    for revision in (9, 10):
        _generation.publish(str(path), revision, 1, 100 * revision)
    with path.open("r+b") as file:
        file.seek(12)
        file.write(b"\xff")
    assert backend.published() is None
    assert backend.signal()


def test_the_folder_is_deleted_at_any_moment_while_all_run(root: Path) -> None:
    shared = Shared()
    seconds = 4.0

    def write() -> None:
        store = ParamStore(root)
        value = 1
        while not shared[END]:
            value += 1
            try:
                with store.transaction(author="learner", timeout_s=30) as tx:
                    tx["alpha.count"] = value
            except Exception as error:
                if type(error).__name__ != "LockLostError":
                    raise
                value -= 1
                continue
            shared[DONE] = value
            time.sleep(0.001)

    def read() -> float:
        store = ParamStore(root)
        store.get("alpha.count")
        longest = 0.0
        behind_since = 0.0
        while not shared[END]:
            acknowledged = shared[DONE]
            now = time.monotonic()
            if store.get("alpha.count") >= acknowledged:
                behind_since = 0.0
                continue
            behind_since = behind_since or now
            longest = max(longest, now - behind_since)
        return longest

    def delete() -> int:
        deletions = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            shutil.rmtree(root / ".paramstore", ignore_errors=True)
            deletions += 1
            time.sleep(0.01)
        shared[END] = 1
        return deletions

    with running(write, read, read, delete) as (writer, one, other, deleter):
        deletions = deleter.result()
        writer.result()
        longest = max(one.result(), other.result())
    figure("run-time folder deleted while all run: deletions", deletions)
    figure("run-time folder deleted while all run: commits", shared[DONE])
    figure("run-time folder deleted while all run: longest staleness in seconds", longest)
    assert longest < FRESH_S
    assert shared[DONE] > 20
    assert ps.values_in((root / "params" / "alpha.yaml").read_bytes())["count"] == shared[DONE]
    assert ps.problems_of(ps.tracked(root)) == []


def test_no_run_time_folder_can_be_made(root: Path) -> None:
    shutil.rmtree(root / ".paramstore")
    (root / ".paramstore").write_text("in the way")
    store = ParamStore(root)
    assert store.get("alpha.count") == 1
    (root / "params" / "alpha.yaml").write_bytes(ps.text_of("alpha", 2))
    assert seconds_until(store, 2) < FRESH_S
    (root / ".paramstore").unlink()
    set_count(root, 3)
    assert seconds_until(store, 3) < FRESH_S
    set_count(root, 4)
    assert store.get("alpha.count") == 4


@pytest.fixture
def read_only(root: Path, tmp_path: Path) -> Iterator[Path]:
    """The same files at another path, through which nothing can be written."""
    view = tmp_path / "view"
    view.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "--bind", root, view], capture_output=True, check=False).returncode
    ):
        pytest.skip("cannot mount here")
    subprocess.run(["mount", "-o", "remount,bind,ro", view], check=True)
    yield view
    subprocess.run(["umount", "-l", view], check=True)


@pytest.mark.parametrize("prepared", [True, False])
def test_a_reader_of_a_read_only_directory_is_fresh(root: Path, read_only: Path, prepared: bool) -> None:
    if not prepared:
        shutil.rmtree(root / ".paramstore")
    store = ParamStore(read_only)
    assert store.get("alpha.count") == 1
    set_count(root, 2)
    assert store.get("alpha.count") == 2
    for value in range(3, 30):
        set_count(root, value)
        assert store.get("alpha.count") == value
    with pytest.raises(OSError, match="Nothing was written"):
        set_count(read_only, 5)
