"""What would be written can be looked at under the lock, and kept from being written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from local_store import number, schema, write_store

from paramstore import ParamStore
from paramstore._model import CommitResult
from paramstore.errors import ValidationError
from paramstore.testing import ManualClock


class NotThis(Exception):  # noqa: N818 - it reads like a sentence
    """What someone raises who does not want it."""


@pytest.fixture
def store(tmp_path: Path) -> ParamStore:
    rules = {"x-param": {"max_step": 0.5, "decimals": 1}}
    names = {"a": number(1.0, **rules), "b": number(2.0)}
    root = write_store(
        tmp_path / "store", {"risk": schema(names)}, {"risk": {"schema": 1, "values": {"a": 1.0, "b": 2.0}}}
    )
    return ParamStore(root, environ={}, clock=ManualClock())


def refuse(_: Any) -> None:
    raise NotThis


def test_a_preview_is_what_the_commit_then_does(store: ParamStore) -> None:
    with store.transaction(author="ann") as tx:
        assert tx.preview() == ()
        tx.propose("risk", {"a": 9.0, "b": 2.5}, on_violation="clamp")
        shown = tx.preview()
        assert [(c.key, c.old, c.new, c.bound_by) for c in shown] == [
            ("risk.a", 1.0, 1.5, "max_step"),
            ("risk.b", 2.0, 2.5, None),
        ]
    assert tx.commit_result.changes == shown


def test_a_preview_of_what_would_be_refused_raises_and_can_be_mended(store: ParamStore) -> None:
    with store.transaction(author="ann") as tx:
        tx["risk.a"] = 9.0
        with pytest.raises(ValidationError, match="max_step"):
            tx.preview()
        tx["risk.a"] = 1.2
    assert store.get("risk.a") == 1.2
    assert "refusal" not in [entry.kind for entry in store.history(refused=True)]


def test_who_raises_upon_a_preview_keeps_all_from_being_written(store: ParamStore) -> None:
    with pytest.raises(NotThis), store.transaction(author="ann") as tx:
        tx["risk.a"] = 1.2
        raise NotThis(tx.preview())
    assert (store.get("risk.a"), store.revision) == (1.0, 0)


def test_a_rollback_is_confirmed_by_what_it_would_do(store: ParamStore) -> None:
    with store.transaction(author="learner") as tx:
        tx["risk.a"] = 1.2
    seen: list[CommitResult] = []
    with pytest.raises(NotThis):
        store.rollback(0, author="ann", reason="r", confirm=refuse)
    assert (store.get("risk.a"), store.revision) == (1.2, 1)
    done = store.rollback(0, author="ann", reason="r", confirm=seen.append)
    assert [(c.key, c.old, c.new) for c in seen[0].changes] == [("risk.a", 1.2, 1.0)]
    assert (seen[0].changes, seen[0].kept, seen[0].revision) == (done.changes, done.kept, 1)
    assert store.get("risk.a") == 1.0


def test_freezes_and_approvals_are_confirmed_by_their_details(store: ParamStore) -> None:
    seen: list[Any] = []
    with pytest.raises(NotThis):
        store.freeze("risk", author="ann", reason="odd", confirm=refuse)
    assert store.freezes() == ()
    made = store.freeze("risk", author="ann", reason="odd", confirm=seen.append)
    with pytest.raises(NotThis):
        store.unfreeze("risk", author="ann", confirm=refuse)
    assert len(store.freezes()) == 1
    ended = store.unfreeze("risk", author="ann", confirm=seen.append)
    with store.transaction(author="learner") as tx:
        tx["risk.a"] = 1.2
    with pytest.raises(NotThis):
        store.approve("risk", author="ann", reason="fine", confirm=refuse)
    approved = store.approve("risk", author="ann", reason="fine", confirm=seen.append)
    assert seen == [made.details, ended.details, approved.details]
    assert seen[1]["ends"] == [made.id]
    assert [entry.kind for entry in store.history()] == [
        "external",
        "freeze",
        "unfreeze",
        "commit",
        "approve",
    ]


@pytest.mark.parametrize(
    ("length", "seconds"), [("90s", 90), ("30min", 1800), ("2h", 7200), ("1.5 h", 5400), ("3d", 259_200)]
)
def test_a_freeze_may_last_a_length_of_time(store: ParamStore, length: str, seconds: float) -> None:
    from datetime import datetime

    made = store.freeze("risk", author="ann", reason="odd", until=length)
    begin, end = (datetime.fromisoformat(text) for text in (made.time, made.details["until"]))
    assert (end - begin).total_seconds() == seconds


@pytest.mark.parametrize("length", ["0s", "99999999d", "2 weeks", "-3h", "h"])
def test_what_is_no_length_of_time_is_refused(store: ParamStore, length: str) -> None:
    with pytest.raises(ValidationError, match="until"):
        store.freeze("risk", author="ann", reason="odd", until=length)
