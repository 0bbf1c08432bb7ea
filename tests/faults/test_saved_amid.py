"""A writer dies between the exchanges of one commit, and a person saves one of its files before anyone recovers.

Readers see all or nothing of it, and in any case all that was acknowledged before.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import plainstore as ps
import pytest

from paramstore import ParamStore, _files, _generation
from paramstore._backends.local import LocalBackend
from paramstore._options import Options
from paramstore.errors import InvalidFileError, WriteError

NAMES = ("alpha", "beta", "gamma")
EDITED = b"theirs: 7"


def commit(root: Path, value: int) -> None:
    with ParamStore(root).transaction(author="learner") as tx:
        for name in NAMES:
            tx[f"{name}.count"] = value


def die_after(root: Path, exchanges: int) -> None:
    """Commit in a child that dies after so many exchanges."""
    pid = os.fork()
    if pid == 0:
        exchange, done = _files.exchange_names, 0

        def mortal(a: str, b: str) -> None:
            nonlocal done
            if exchanges:
                exchange(a, b)
            done += 1
            if done >= exchanges:
                os._exit(0)

        _files.exchange_names = mortal
        commit(root, 9)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def save(root: Path, name: str, old: bytes, new: bytes) -> None:
    """Save by rename, as editors do."""
    path = root / "params" / f"{name}.yaml"
    raw = path.read_bytes()
    assert old in raw
    other = path.with_name("editor~")
    other.write_bytes(raw.replace(old, new))
    other.replace(path)


def seen(store: ParamStore) -> tuple[list[int], list[int]]:
    with store.snapshot() as p:
        return [p.get(f"{name}.count") for name in NAMES], [p.get(f"{name}.theirs") for name in NAMES]


def in_files(root: Path) -> list[int | float]:
    return [ps.values_in((root / "params" / f"{name}.yaml").read_bytes())["count"] for name in NAMES]


@pytest.mark.parametrize("edited", NAMES)
@pytest.mark.parametrize("exchanges", [0, 1, 2, 3])
def test_readers_see_all_or_nothing_beside_a_save(tmp_path: Path, exchanges: int, edited: str) -> None:
    root = ps.make_store(tmp_path / "store", names=NAMES, count=0)
    commit(root, 1)
    running = ParamStore(root)
    assert seen(running)[0] == [1, 1, 1]
    die_after(root, exchanges)
    save(root, edited, b"theirs: 0", EDITED)
    time.sleep(_files.QUIET_S + 0.02)  # else it is not believed yet
    running.refresh()
    assert seen(running)[0] in ([1, 1, 1], [9, 9, 9])
    fresh, theirs = seen(ParamStore(root))
    assert theirs[NAMES.index(edited)] == 7
    with ParamStore(root).transaction(author="learner"):
        pass  # recovers
    stands = in_files(root)
    assert stands in ([1, 1, 1], [9, 9, 9])
    assert fresh == stands, "a reader saw what recovery did not make true"
    assert seen(running)[0] == stands
    assert ps.problems_of(ps.tracked(root), edited=True) == []


@pytest.mark.parametrize("exchanges", [0, 1, 2])
def test_what_is_in_flight_hides_nothing_that_was_acknowledged(tmp_path: Path, exchanges: int) -> None:
    root = ps.make_store(tmp_path / "store", names=NAMES, count=0)
    commit(root, 1)
    running = ParamStore(root)
    assert seen(running)[0] == [1, 1, 1]
    for value in (2, 3):
        commit(root, value)
    die_after(root, exchanges)
    fresh = ParamStore(root)
    for store in (running, fresh):
        store.refresh()
        assert seen(store)[0] == [3, 3, 3]
        assert store.revision == 3
    backend = LocalBackend(str(root), Options())
    place = backend.load(None).position.journal
    assert [record["revision"] for record in backend.journal.read(place)[0]] == [4], (
        "it is judged again, alone"
    )
    with ParamStore(root).transaction(author="learner"):
        pass
    assert seen(running)[0] == seen(fresh)[0] == in_files(root)


@pytest.mark.parametrize("saved", [EDITED, b"theirs: [", b"theirs: -1"])
def test_a_save_that_is_not_believed_hides_nothing_that_was_acknowledged(
    tmp_path: Path, saved: bytes
) -> None:
    root = ps.make_store(tmp_path / "store", names=NAMES, count=0)
    commit(root, 1)
    running = ParamStore(root)
    assert seen(running)[0] == [1, 1, 1]
    for value in (2, 3):
        commit(root, value)
    save(root, "beta", b"theirs: 0", saved)
    for _ in range(2):
        running.refresh()
        assert seen(running)[0] == [3, 3, 3]
        time.sleep(_files.QUIET_S + 0.02)


def test_a_temporary_file_that_cannot_be_read_stops_no_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paramstore._backends.local.SETTLE_S", 0.05)
    root = ps.make_store(tmp_path / "store", names=NAMES, count=0)
    commit(root, 1)
    running = ParamStore(root)
    seen(running)
    die_after(root, 1)
    (found,) = (root / "params").glob(".beta.yaml.*.tmp")
    found.unlink()
    found.mkdir()
    assert [problem.file for problem in running.refresh().problems] == [
        f"params/{name}.yaml" for name in NAMES
    ]
    assert seen(running)[0] == [1, 1, 1]
    with pytest.raises(InvalidFileError, match="amid a commit that was cut off"):
        ParamStore(root).get("alpha.count")


@pytest.mark.parametrize("told", [True, False])
def test_an_entry_that_was_taken_back_takes_none_before_it_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Its writer may die before it tells anyone (``told``); and a person puts an acknowledged commit's file back."""
    root = ps.make_store(tmp_path / "store", names=NAMES, count=0)
    commit(root, 1)
    before = (root / "params/alpha.yaml").read_bytes()
    with ParamStore(root).transaction(author="learner") as tx:
        tx["alpha.count"] = 5
    running = ParamStore(root)
    assert running.revision == 2

    def refuse(a: str, b: str) -> None:
        raise OSError(5, "Input/output error", a)

    with monkeypatch.context() as patch:
        patch.setattr(_files, "exchange_names", refuse)
        if not told:
            patch.setattr(_generation, "publish", lambda *_: None)
        with pytest.raises(WriteError), ParamStore(root).transaction(author="learner") as tx:
            tx["beta.count"] = 7
    save(root, "alpha", (root / "params/alpha.yaml").read_bytes(), before)
    time.sleep(_files.QUIET_S + 0.02)
    running.refresh()
    assert running.revision == ParamStore(root).revision == 2, "a reader went back"
    with ParamStore(root).transaction(author="learner") as tx:
        tx["beta.count"] = 8
    entries = [(entry.revision, entry.kind) for entry in ParamStore(root).history()]
    assert entries == [(0, "external"), (1, "commit"), (2, "commit"), (3, "external"), (4, "commit")]


def test_what_was_found_by_hand_is_never_taken_back(tmp_path: Path) -> None:
    """An entry of a new file and of an edited one is the last; in a clone the edited one is put back."""
    root = ps.make_store(tmp_path / "store", names=("alpha",), count=0)
    commit_one(root, 5)
    before = (root / "params/alpha.yaml").read_bytes()
    other = ps.make_store(tmp_path / "other", names=("gamma",), count=4)
    for name in ("schemas/gamma.schema.json", "params/gamma.yaml"):
        shutil.copy(other / name, root / name)
    save(root, "alpha", b"theirs: 0", EDITED)
    time.sleep(_files.QUIET_S + 0.02)
    with ParamStore(root).transaction(author="learner"):
        pass  # records it
    clone = tmp_path / "clone"
    shutil.copytree(root, clone, ignore=shutil.ignore_patterns(".paramstore"))
    save(clone, "alpha", (clone / "params/alpha.yaml").read_bytes(), before)
    time.sleep(_files.QUIET_S + 0.02)
    store = ParamStore(clone)
    assert (store.get("gamma.count"), store.get("alpha.theirs"), store.revision) == (4, 0, 2)


def commit_one(root: Path, value: int) -> None:
    with ParamStore(root).transaction(author="learner") as tx:
        tx["alpha.count"] = value


def test_half_of_a_save_is_not_served_because_its_file_was_displaced(tmp_path: Path) -> None:
    root = ps.make_store(tmp_path / "store", names=("alpha",), count=0)
    commit_one(root, 1)
    running = ParamStore(root)
    assert running.get("alpha.pace") == 0.5
    path = root / "params/alpha.yaml"
    half = path.read_bytes().partition(b"0.50")[0] + b"0.9"  # of 0.95
    pid = os.fork()
    if pid == 0:
        exchange = _files.exchange_names

        def mortal(a: str, b: str) -> None:
            path.write_bytes(half)
            exchange(a, b)
            os._exit(0)

        _files.exchange_names = mortal
        commit_one(root, 9)
    os.waitpid(pid, 0)
    running.refresh()
    assert (running.get("alpha.pace"), running.get("alpha.count")) == (0.5, 1)
