"""A writer dies between the exchanges of one commit, and a person saves one of its files before anyone recovers.

Readers see all or nothing of it, and in any case all that was acknowledged before.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import plainstore as ps
import pytest

from paramstore import ParamStore, _files
from paramstore._backends.local import LocalBackend
from paramstore._options import Options

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
    for store in (running, ParamStore(root)):
        store.refresh()
        assert set(seen(store)[0]) <= {1, 9}
