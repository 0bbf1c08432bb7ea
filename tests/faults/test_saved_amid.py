"""A writer dies between the exchanges of one commit, and a person saves one of its files before anyone recovers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import plainstore as ps
import pytest

from paramstore import ParamStore, _files

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
        commit(root, 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def save(root: Path, name: str, old: bytes, new: bytes) -> None:
    """Save by rename, as editors do, and let the file rest until it is believed."""
    path = root / "params" / f"{name}.yaml"
    raw = path.read_bytes()
    assert old in raw
    other = path.with_name("editor~")
    other.write_bytes(raw.replace(old, new))
    other.replace(path)
    time.sleep(_files.QUIET_S + 0.02)


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
    running.refresh()
    assert seen(running)[0] in ([1, 1, 1], [2, 2, 2])
    fresh, theirs = seen(ParamStore(root))
    assert theirs[NAMES.index(edited)] == 7
    with ParamStore(root).transaction(author="learner"):
        pass  # recovers
    stands = in_files(root)
    assert stands in ([1, 1, 1], [2, 2, 2])
    assert fresh == stands, "a reader saw what recovery did not make true"
    assert seen(running)[0] == stands
    assert ps.problems_of(ps.tracked(root), edited=True) == []
