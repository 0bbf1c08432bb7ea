"""A reader beside a journal that git replaced: what came from the other machine must reach it, and soon."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_store import GitStore

from paramstore._backends.local import LocalBackend

OURS, THEIRS = "win_rate.floor", "win_rate.low"  # of one file


@pytest.fixture
def machines(tmp_path: Path) -> tuple[GitStore, GitStore]:
    """Two clones of one remote, in step."""
    a = GitStore.made(tmp_path / "a")
    a.git("clone", "--quiet", "--bare", ".", str(tmp_path / "remote.git"))
    a.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    a.git("fetch", "--quiet")
    a.git("branch", "--quiet", "--set-upstream-to=origin/main")
    return a, GitStore(tmp_path / "remote.git").clone(tmp_path / "b")


def test_a_value_joined_into_an_older_segment_reaches_a_reader(
    machines: tuple[GitStore, GitStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that join an older segment come before those of this machine, as if the value had been there when they were
    written. The entry of the merged files changes nothing then, but its files hold more than a reader has."""
    a, b = machines
    b.set({THEIRS: 0.46})
    b.say("git", "sync")
    monkeypatch.setattr("paramstore._journal.SEGMENT_BYTES", 1)
    a.set({OURS: 0.41})
    a.set({OURS: 0.42})
    reader, learner = a.params(), a.params()
    assert (reader.get(OURS), reader.get(THEIRS)) == (0.42, 0.45)
    with learner.transaction(author="learner", reason="before", force=True) as tx:
        tx[OURS] = 0.421
    a.say("git", "sync")
    with learner.transaction(author="learner", reason="after", force=True) as tx:
        assert tx[THEIRS] == 0.46
        tx[OURS] = 0.43
    assert (reader.get(OURS), reader.get(THEIRS)) == (0.43, 0.46)
    assert (a.get(OURS), a.get(THEIRS)) == (0.43, 0.46)  # not even what readers keep for each other
    a.in_order()


def test_what_a_sync_brought_is_announced(machines: tuple[GitStore, GitStore]) -> None:
    """Else each reader finds it only when it looks at the files, and each commit takes it for one that was cut off."""
    a, b = machines
    b.set({THEIRS: 0.46})
    b.say("git", "sync")
    a.set({OURS: 0.41})
    a.say("git", "sync")
    backend = LocalBackend(str(a.root), a.params().options)
    said, (end, _) = backend.published(), backend.journal.tail()
    assert said is not None
    assert (said.segment, said.offset) == (end.segment, end.offset)


def test_a_running_writer_finds_a_segment_that_git_brought(
    machines: tuple[GitStore, GitStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where git has a later segment than the one that a writer wrote last, nobody announces it."""
    a, b = machines
    monkeypatch.setattr("paramstore._journal.SEGMENT_BYTES", 1)
    learner = a.params()
    with learner.transaction(author="learner", reason="before", force=True) as tx:
        tx[OURS] = 0.41
    a.say("git", "sync")
    b.say("git", "sync")
    b.set({THEIRS: 0.46})
    b.say("git", "sync")
    a.git("pull", "--quiet", "--rebase")
    with learner.transaction(author="learner", reason="after", force=True) as tx:
        assert tx[THEIRS] == 0.46
        tx[OURS] = 0.42
    a.in_order()
