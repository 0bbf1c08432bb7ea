"""Single moments that went wrong once, or would if one line of the core were missing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import plainstore as ps
import pytest

from paramstore import ParamStore, _files
from paramstore.errors import WriteError

KEPT = b"a person's own temporary file"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = ps.make_store(tmp_path / "store", count=0)
    commit(root, 1)
    return root


def commit(root: Path, value: int) -> None:
    with ParamStore(root).transaction(author="learner") as tx:
        tx["alpha.count"] = value
        tx["beta.count"] = value


def counts(root: Path) -> list[int | float]:
    files = ps.tracked(root)
    return [ps.values_in(files[f"params/{name}.yaml"])["count"] for name in ps.NAMES]


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_right_after_an_exchange_puts_all_back(
    root: Path, monkeypatch: pytest.MonkeyPatch, which: int, kind: type[BaseException]
) -> None:
    exchange = _files.exchange_names
    done = 0

    def interrupted(a: str, b: str) -> None:
        nonlocal done
        exchange(a, b)
        done += 1
        if done == which:
            raise kind

    monkeypatch.setattr(_files, "exchange_names", interrupted)
    with pytest.raises(kind):
        commit(root, 2)
    assert counts(root) == [1, 1]
    commit(root, 3)
    assert counts(root) == [3, 3]
    assert ps.problems_of(ps.tracked(root)) == []


def test_recovery_leaves_the_temporary_files_of_other_programs_alone(root: Path) -> None:
    others = [root / "params" / name for name in (".alpha.yaml.tmp", ".alpha.yaml.swp", ".draft.tmp")]
    for path in others:
        path.write_bytes(KEPT)
    (root / "params" / ".empty.tmp").touch()
    commit(root, 2)
    assert [path.read_bytes() for path in others] == [KEPT] * 3
    assert (root / "params" / ".empty.tmp").exists()


def test_recovery_cleans_up_beside_the_file_that_a_link_points_to(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    alpha = root / "params" / "alpha.yaml"
    raw = alpha.read_bytes()
    (elsewhere / "real.yaml").write_bytes(raw)
    alpha.unlink()
    alpha.symlink_to(elsewhere / "real.yaml")
    (elsewhere / f".real.yaml.{'a' * 16}.tmp").write_bytes(raw)
    commit(root, 2)
    assert alpha.is_symlink()
    assert os.listdir(elsewhere) == ["real.yaml"]


def test_a_journal_replaced_during_the_transaction_is_not_written_to(root: Path) -> None:
    (journal,) = (root / "params" / "journal").glob("*.jsonl")
    before = ps.tracked(root)
    with (
        pytest.raises(WriteError, match=r"Nothing was written") as error,
        ParamStore(root).transaction(author="learner") as tx,
    ):
        tx["alpha.count"] = 2
        pulled = journal.read_bytes()
        with open(journal, "ab") as file:
            file.write(pulled.splitlines(keepends=True)[-1])  # as a `git pull` might
    assert "changed by someone else" in str(error.value)
    after = ps.tracked(root)
    name = str(journal.relative_to(root))
    assert after.pop(name).startswith(before.pop(name))
    assert after == before


def test_a_journal_deep_below_the_root_survives(tmp_path: Path) -> None:
    root = ps.make_store(tmp_path / "store", count=0)
    (root / "paramstore.toml").write_text('journal = "logs/of/learning.jsonl"\n')
    commit(root, 5)
    entries = ps.standing(ps.lines_of(ps.tracked(root), journal="logs/of/"))
    assert [entry["revision"] for entry in entries] == [0, 1]


def test_a_save_right_after_the_exchange_is_not_taken_for_our_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the committing process would never see it: what it knows would pass for what is there."""
    store = ParamStore(root)
    assert store.get("alpha.count") == 1
    target, sync = root / "params" / "alpha.yaml", _files.fsync_directory

    def save_then_sync(path: str) -> None:
        monkeypatch.setattr(_files, "fsync_directory", sync)
        new = root / "theirs"
        new.write_bytes(ps.text_of("alpha", 77))
        new.rename(target)
        sync(path)

    monkeypatch.setattr(_files, "fsync_directory", save_then_sync)
    with store.transaction(author="learner") as tx:
        tx["alpha.count"] = 2
    deadline = time.monotonic() + 5
    while store.get("alpha.count") != 77 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.get("alpha.count") == 77
    commit(root, 3)
    assert [e.kind for e in store.history("alpha.count")][-3:] == ["commit", "external", "commit"]
