"""A sync that fails or dies half way: files, index and HEAD stand or come to stand, and no entry is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from git_store import GitStore

FLOOR, LOW = "win_rate.floor", "win_rate.low"
TRADES = "conviction_gate.min_trades"

DIES = """
import os, signal, sys
from paramstore import _git, _git_move
where, number, root = sys.argv[1], int(sys.argv[2]), sys.argv[3]
left = [number]

def dying(call):
    def died(*words, **named):
        done = call(*words, **named) if where != "update-ref" or "update-ref" in words else call(*words, **named)
        if where in ("put",) or where in words:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return done
    return died

if where == "put":
    _git_move._File.put = dying(_git_move._File.put)
else:
    _git_move._git.git = dying(_git.git)
from paramstore.cli import cli
cli.main(["--root", root, "git", "sync"])
"""


@pytest.fixture
def machines(tmp_path: Path) -> tuple[GitStore, GitStore]:
    """Two clones of a bare remote; `a` has pushed values, a schema and code that `b` lacks, and `b` learned as well."""
    begin = GitStore.made(tmp_path / "begin")
    (begin.root / "strategy.py").write_text("old\n")
    begin.git("add", "--all")
    begin.git("commit", "--quiet", "--message", "code")
    begin.git("clone", "--quiet", "--bare", ".", str(tmp_path / "remote.git"))
    remote = GitStore(tmp_path / "remote.git")
    a, b = remote.clone(tmp_path / "a"), remote.clone(tmp_path / "b")
    a.edit("schemas/win_rate.schema.json", '"maximum": 0.6', '"maximum": 0.61')
    (a.root / "strategy.py").write_text("new\n")
    a.set({FLOOR: 0.41, TRADES: 40}, author="on_a")
    a.commit_all("code and schema")
    a.say("git", "sync")
    b.set({LOW: 0.46}, author="on_b")
    return a, b


def both_are_whole(a: GitStore, b: GitStore) -> None:
    """Sync both, and hold them to the same values, files and entries."""
    b.say("git", "sync")
    a.say("git", "sync")
    for machine in (a, b):
        assert (machine.get(FLOOR), machine.get(LOW), machine.get(TRADES)) == (0.41, 0.46, 40)
        machine.in_order()
        assert machine.git("status", "--porcelain") == ""
        assert machine.read("strategy.py") == "new\n"
        assert {"on_a", "on_b"} <= {entry.author for entry in machine.params().history()}
    assert not [name for name in os.listdir(b.root / "params") if name.endswith((".tmp", ".conflict"))]


@pytest.mark.parametrize(
    ("where", "number"), [("put", 0), ("put", 1), ("put", 2), ("read-tree", 1), ("update-ref", 0)]
)
def test_a_sync_that_is_killed_while_files_move_is_finished_by_the_next(
    machines: tuple[GitStore, GitStore], where: str, number: int
) -> None:
    a, b = machines
    done = subprocess.run(
        [sys.executable, "-c", DIES, where, str(number), str(b.root)], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    both_are_whole(a, b)


def test_learners_go_on_after_a_killed_sync_and_nothing_of_theirs_is_lost(
    machines: tuple[GitStore, GitStore],
) -> None:
    a, b = machines
    subprocess.run([sys.executable, "-c", DIES, "put", "2", str(b.root)], capture_output=True, check=False)
    b.set({"win_rate.middle": 0.51}, author="on_b")
    both_are_whole(a, b)
    assert a.get("win_rate.middle") == 0.51


def test_a_move_that_git_refuses_at_its_end_leaves_all_as_it_was(machines: tuple[GitStore, GitStore]) -> None:
    a, b = machines
    lock = b.root / ".git/refs/heads/main.lock"
    b.say("commit")
    head = b.git("rev-parse", "HEAD")
    lock.touch()
    assert "cannot lock ref" in b.say("git", "sync", status=1)
    assert (b.get(FLOOR), b.get(LOW), b.read("strategy.py")) == (0.40, 0.46, "old\n")
    assert b.git("rev-parse", "HEAD") == head and b.git("status", "--porcelain") == ""
    b.set({"win_rate.middle": 0.51})
    lock.unlink()
    both_are_whole(a, b)


def test_nobody_commits_to_git_while_files_move(machines: tuple[GitStore, GitStore]) -> None:
    _, b = machines
    (b.root / ".git/index.lock").touch()
    assert "index.lock" in b.say("git", "sync", status=1)
    assert b.get(LOW) == 0.46
    (b.root / ".git/index.lock").unlink()
    both_are_whole(*machines)


def test_what_a_dead_sync_left_of_its_work_tree_is_removed(machines: tuple[GitStore, GitStore]) -> None:
    _, b = machines
    half = b.root / ".git/worktrees/paramstore-sync"
    half.mkdir(parents=True)
    (half / "HEAD").write_text("0" * 40 + "\n")
    (half / "locked").write_text("initializing\n")
    both_are_whole(*machines)
    assert b.git("worktree", "list").count("\n") == 1


def test_a_save_that_comes_in_between_stands(machines: tuple[GitStore, GitStore]) -> None:
    _, b = machines
    b.say("commit")
    b.edit("schemas/win_rate.schema.json", '"maximum": 0.6', '"maximum": 0.62')
    b.say("git", "sync", status=1)
    assert '"maximum": 0.62' in b.read("schemas/win_rate.schema.json")
    assert b.get(FLOOR) == 0.40 and b.read("strategy.py") == "old\n"


def test_a_store_in_a_folder_with_spaces_and_a_journal_in_one_file(tmp_path: Path) -> None:
    top = GitStore(tmp_path / "top")
    top.root.mkdir()
    top.git("init", "--quiet", "--initial-branch=main")
    top.identify()
    store = GitStore(top.root / "my bot [1]")
    store.root.mkdir()
    store.say("init")
    (store.root / "paramstore.toml").write_text('journal = "my logs/audit log.jsonl"\n')
    store.say("git", "install")
    store.set({FLOOR: 0.41})
    top.git("add", "--all")
    top.git("commit", "--quiet", "--message", "begin")
    top.git("clone", "--quiet", "--bare", ".", str(tmp_path / "remote.git"))
    sides = [GitStore(tmp_path / "remote.git").clone(tmp_path / name, installed=False) for name in "ab"]
    a, b = (GitStore(side.root / "my bot [1]") for side in sides)
    a.set({LOW: 0.46})
    a.say("git", "sync")
    b.set({TRADES: 40})
    b.say("git", "sync")
    a.say("git", "sync")
    assert (a.get(LOW), a.get(TRADES), b.get(LOW)) == (0.46, 40, 0.46)
    a.in_order()


def test_a_remote_is_never_taken_for_an_option(machines: tuple[GitStore, GitStore]) -> None:
    _, b = machines
    assert "is neither a remote nor a branch" in b.say(
        "git", "sync", "--remote=--upload-pack=touch x", status=1
    )
