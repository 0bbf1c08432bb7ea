"""Parameters in real git repositories: merges of every kind, commits from the journal, and clones that know nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import sync_rounds
from git_store import GitStore

from paramstore._model import Kind
from paramstore._yaml import parse
from paramstore.errors import WriteError

TRADES = "conviction_gate.min_trades"
FLOOR, LOW = "win_rate.floor", "win_rate.low"
FUNDING, LIQUIDATION, WHALE, HURST = (
    f"signal_weights.{n}" for n in ("funding", "liquidation", "whale_flow", "hurst")
)
JOURNAL = "params/journal/00000001.jsonl"


@pytest.fixture
def repo(tmp_path: Path) -> GitStore:
    return GitStore.made(tmp_path / "bot")


def branches(repo: GitStore, theirs: dict[str, float], ours: dict[str, float]) -> None:
    """Commit ``theirs`` on a branch `topic` and ``ours`` on main, from the same commit."""
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.set(theirs, author="their_learner", reason="theirs")
    repo.commit_all("theirs")
    repo.git("checkout", "--quiet", "main")
    repo.set(ours, author="our_learner", reason="ours")
    repo.commit_all("ours")


def told(repo: GitStore) -> list[tuple[int, str, Kind]]:
    """Return revision, author and kind of each entry but the first two, which every test begins with."""
    return [(entry.revision, entry.author, entry.kind) for entry in repo.params().history()][2:]


# --- merge ------------------------------------------------------------------------------------------


def test_different_keys_merge_and_both_journals_stay_whole(repo: GitStore) -> None:
    branches(repo, {TRADES: 33}, {FUNDING: 0.17, LIQUIDATION: 0.21})
    before = repo.read(JOURNAL)
    theirs = repo.git("show", f"topic:{JOURNAL}").splitlines()[-1]
    repo.git("merge", "--quiet", "topic")
    assert repo.get(TRADES) == 33 and repo.get(FUNDING) == 0.17 and repo.get(LIQUIDATION) == 0.21
    assert repo.read(JOURNAL).startswith(before) and theirs in repo.read(JOURNAL)
    repo.in_order()
    assert told(repo) == [
        (2, "our_learner", "commit"),
        (3, "their_learner", "commit"),
        (3, "paramstore", "merge"),
    ]
    assert repo.set({FLOOR: 0.41}) == 4  # the next commit works
    repo.in_order()
    assert repo.params().diff(1)[0].old is not None
    assert repo.params().as_of(3).get(TRADES) == 33


def test_keys_on_lines_side_by_side_merge(repo: GitStore) -> None:
    branches(repo, {FLOOR: 0.41}, {LOW: 0.46})
    repo.git("merge", "--quiet", "topic")
    assert (repo.get(FLOOR), repo.get(LOW)) == (0.41, 0.46)
    repo.in_order()


def test_the_same_key_on_both_sides_is_a_conflict_with_ordinary_markers(repo: GitStore) -> None:
    branches(repo, {FLOOR: 0.41, TRADES: 32}, {FLOOR: 0.42})
    said = repo.git("merge", "topic", status=1)
    assert "both sides changed floor: ours 0.42, theirs 0.41" in said
    text = repo.read("params/win_rate.yaml")
    assert "\n  floor: 0.42\n=======\n  floor: 0.41\n>>>>>>> theirs\n" in text
    assert repo.git("diff", "--name-only", "--diff-filter=U").split() == ["params/win_rate.yaml"]
    store = repo.params()
    with pytest.raises(ValueError, match="merge-conflict marker"):
        store.get(FLOOR)  # a reader that starts now has no good values; one that runs keeps them
    ours = repo.git("show", ":2:params/win_rate.yaml")
    (repo.root / "params/win_rate.yaml").write_text(ours.replace("0.42", "0.41"))
    repo.git("add", "params")
    repo.git("commit", "--quiet", "--no-edit")
    assert repo.get(FLOOR) == 0.41 and repo.get(TRADES) == 32
    repo.set({TRADES: 34})
    repo.in_order()
    assert [e.author for e in repo.params().history(FLOOR)][1:] == ["our_learner", "their_learner"]


def test_two_valid_sides_that_break_a_sum_together_are_a_conflict_that_says_so(repo: GitStore) -> None:
    branches(repo, {FUNDING: 0.17, LIQUIDATION: 0.21}, {WHALE: 0.21, LIQUIDATION: 0.21})
    said = repo.git("merge", "topic", status=1)
    assert "each side keeps the rules, both together do not" in said
    assert "but it is 1.01, 0.01 too much" in said
    assert "<<<<<<< ours: each side keeps the rules" in repo.read("params/signal_weights.yaml")
    repo.git("merge", "--abort")
    assert repo.get(WHALE) == 0.21
    repo.in_order()


def test_a_bound_that_theirs_tightened_holds_for_the_value_of_ours(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.edit("schemas/win_rate.schema.json", '"maximum": 0.6', '"maximum": 0.41')
    repo.commit_all("tighten")
    repo.edit("params/win_rate.yaml", "target: 0.60", "target: 0.60   # theirs")
    repo.commit_all("a comment, so that both sides changed the file")
    repo.git("checkout", "--quiet", "main")
    repo.set({FLOOR: 0.43})
    repo.commit_all("ours")
    said = repo.git("merge", "topic", status=1)
    assert "`win_rate.floor` = 0.43 is above its maximum 0.41" in said


def test_a_parameter_that_theirs_added_with_its_schema_merges(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    schema = json.loads(repo.read("schemas/win_rate.schema.json"))
    schema["properties"]["values"]["properties"]["novel"] = {
        "type": "number",
        "default": 0.5,
        "description": "New.",
    }
    (repo.root / "schemas/win_rate.schema.json").write_text(json.dumps(schema, indent=1))
    repo.edit("params/win_rate.yaml", "  floor:", "  novel: 0.5\n  floor:")
    repo.commit_all("theirs")
    repo.git("checkout", "--quiet", "main")
    repo.set({FLOOR: 0.41})
    repo.commit_all("ours")
    repo.git("merge", "--quiet", "topic")
    assert repo.get("win_rate.novel") == 0.5 and repo.get(FLOOR) == 0.41
    assert "everything is in order" in repo.say("check")


def test_comments_of_both_sides_stay(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.edit("params/win_rate.yaml", "target: 0.60", "target: 0.60   # theirs")
    repo.commit_all()
    repo.git("checkout", "--quiet", "main")
    repo.edit("params/win_rate.yaml", "schema: 1", "schema: 1   # ours")
    repo.set({FLOOR: 0.41})
    repo.commit_all()
    repo.git("merge", "--quiet", "topic")
    assert "# theirs" in repo.read("params/win_rate.yaml") and "# ours" in repo.read("params/win_rate.yaml")
    repo.set({LOW: 0.46})
    repo.in_order()


def test_both_sides_added_a_namespace(repo: GitStore) -> None:
    for branch, value in (("topic", 2), ("main", 1)):
        repo.git("checkout", "--quiet", *(["-b", "topic"] if branch == "topic" else ["main"]))
        frame = {"type": "object", "additionalProperties": False}
        own = {"n": {"type": "integer", "default": 1}, "m": {"type": "integer", "default": 1}}
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema", **frame, "required": ["schema", "values"],
            "properties": {"schema": {"const": 1}, "values": {**frame, "properties": own}},
        }  # fmt: skip
        (repo.root / "schemas/novel.schema.json").write_text(json.dumps(schema))
        (repo.root / "params/novel.yaml").write_text(f"schema: 1\nvalues:\n  n: {value}\n\n\n\n  m: 1\n")
        repo.git("add", "--all")
        repo.git("commit", "--quiet", "--message", branch)
    said = repo.git("merge", "topic", status=1)
    assert "both sides changed n: ours 1, theirs 2" in said
    assert "  n: 1\n=======\n  n: 2\n" in repo.read("params/novel.yaml")


def test_a_file_deleted_on_one_side_and_changed_on_the_other_is_gits_own_conflict(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.git("rm", "--quiet", "params/win_rate.yaml", "schemas/win_rate.schema.json")
    repo.git("commit", "--quiet", "--message", "delete")
    repo.git("checkout", "--quiet", "main")
    repo.set({FLOOR: 0.41})
    repo.commit_all()
    assert "CONFLICT (modify/delete)" in repo.git("merge", "topic", status=1)
    assert "floor: 0.41" in repo.read("params/win_rate.yaml")


def test_a_renamed_namespace_takes_the_change_along(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.git("mv", "params/win_rate.yaml", "params/wins.yaml")
    repo.git("mv", "schemas/win_rate.schema.json", "schemas/wins.schema.json")
    repo.edit("params/wins.yaml", "win_rate.schema.json", "wins.schema.json")
    repo.commit_all("rename")
    repo.git("checkout", "--quiet", "main")
    repo.set({FLOOR: 0.41})
    repo.commit_all()
    repo.git("merge", "--quiet", "topic")
    assert repo.get("wins.floor") == 0.41
    repo.set({"wins.low": 0.46})
    assert "everything is in order" in repo.say("check")


def test_line_ends_of_ours_stay_when_theirs_has_others(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.set({FLOOR: 0.41})
    repo.commit_all()
    repo.git("checkout", "--quiet", "main")
    path = repo.root / "params/win_rate.yaml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    repo.set({LOW: 0.46})
    repo.commit_all("CRLF")
    repo.git("merge", "--quiet", "topic")
    raw = path.read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n")
    assert parse(raw, "x").data["values"] | {"floor": 0.41, "low": 0.46} == parse(raw, "x").data["values"]
    repo.set({TRADES: 40})
    repo.in_order()


def test_a_freeze_of_theirs_holds_after_the_merge(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.params().freeze("win_rate.*", author="person", reason="looks wrong")
    repo.commit_all()
    repo.git("checkout", "--quiet", "main")
    repo.set({TRADES: 40})
    repo.commit_all()
    repo.git("merge", "--quiet", "topic")
    assert [freeze.pattern for freeze in repo.params().freezes()] == ["win_rate.*"]


def test_a_running_reader_and_a_running_writer_see_the_merge(repo: GitStore) -> None:
    store = repo.params()
    assert store.get(TRADES) == 31
    branches(repo, {TRADES: 33}, {FLOOR: 0.41})
    with store.transaction(author="person", reason="x", force=True) as tx:
        tx[LOW] = 0.46
    repo.commit_all()
    repo.git("merge", "--quiet", "topic")
    with store.transaction(author="person", reason="y", force=True) as tx:
        assert tx[TRADES] == 33
        tx[LOW] = 0.47
    assert store.get(TRADES) == 33 and store.get(FLOOR) == 0.41
    repo.in_order()


# --- other ways to combine --------------------------------------------------------------------------


def test_rebase_replays_entries_on_top(repo: GitStore) -> None:
    branches(repo, {TRADES: 33}, {FLOOR: 0.41})
    repo.git("checkout", "--quiet", "topic")
    repo.set({TRADES: 34}, author="their_learner")
    repo.commit_all()
    repo.git("rebase", "--quiet", "main")
    assert (repo.get(TRADES), repo.get(FLOOR)) == (34, 0.41)
    repo.in_order()
    values = [entry for entry in told(repo) if entry[2] == "commit"]
    assert values == [
        (2, "our_learner", "commit"),
        (3, "their_learner", "commit"),
        (4, "their_learner", "commit"),
    ]
    assert repo.set({LOW: 0.46}) == 5


def test_cherry_pick_brings_an_entry_along(repo: GitStore) -> None:
    branches(repo, {TRADES: 33}, {FLOOR: 0.41})
    repo.git("cherry-pick", "topic")
    assert (repo.get(TRADES), repo.get(FLOOR)) == (33, 0.41)
    repo.set({LOW: 0.46})
    repo.in_order()


def test_a_stash_comes_back_onto_what_was_pulled(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.set({TRADES: 33}, author="their_learner")
    repo.commit_all()
    repo.git("checkout", "--quiet", "main")
    repo.set({FLOOR: 0.41}, author="our_learner")
    repo.git("stash", "--quiet")
    assert repo.get(FLOOR) == 0.4
    repo.git("merge", "--quiet", "topic")
    repo.git("stash", "pop", "--quiet")
    assert (repo.get(TRADES), repo.get(FLOOR)) == (33, 0.41)
    repo.set({LOW: 0.46})
    repo.in_order()


def test_each_work_tree_is_a_store_of_its_own(repo: GitStore, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", "-b", "topic", str(tmp_path / "other"))
    other = GitStore(tmp_path / "other")
    other.set({TRADES: 33})
    other.commit_all()
    assert repo.get(TRADES) == 31
    repo.set({FLOOR: 0.41})
    repo.commit_all()
    repo.git("merge", "--quiet", "topic")
    assert (repo.get(TRADES), repo.get(FLOOR)) == (33, 0.41)
    repo.in_order()
    assert other.get(FLOOR) == 0.4


def test_merges_across_and_back_join_each_entry_once(repo: GitStore, tmp_path: Path) -> None:
    branches(repo, {TRADES: 33}, {FLOOR: 0.41})
    repo.git("branch", "old-main")
    repo.git("merge", "--quiet", "topic")
    repo.git("checkout", "--quiet", "topic")
    repo.git("merge", "--quiet", "old-main")
    repo.set({LOW: 0.46}, author="third")
    repo.commit_all()
    repo.git("checkout", "--quiet", "main")
    repo.git("merge", "--quiet", "topic")
    assert (repo.get(TRADES), repo.get(FLOOR), repo.get(LOW)) == (33, 0.41, 0.46)
    repo.set({TRADES: 35})
    repo.in_order()
    ids = [entry.id for entry in repo.params().history()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("theirs", "ours"), [(3, 3), (5, 2), (2, 5)])
def test_journals_of_many_segments_join(
    repo: GitStore, monkeypatch: pytest.MonkeyPatch, theirs: int, ours: int
) -> None:
    """Each side began segments of its own, of the same and of other names."""
    monkeypatch.setattr("paramstore._journal.SEGMENT_BYTES", 1200)
    repo.git("checkout", "--quiet", "-b", "topic")
    for number in range(theirs):
        repo.set({TRADES: 40 + number}, author="theirs", reason="x" * 400)
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message", "theirs")
    repo.git("checkout", "--quiet", "main")
    for number in range(ours):
        repo.set({FLOOR: round(0.401 + number / 1000, 3)}, author="ours", reason="y" * 400)
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message", "ours")
    repo.git("merge", "--quiet", "topic")
    assert (repo.get(TRADES), repo.get(FLOOR)) == (39 + theirs, round(0.40 + ours / 1000, 3))
    revision = repo.set({LOW: 0.46})
    assert revision == 1 + theirs + ours + 1
    repo.in_order()
    assert repo.params().revision == revision
    authors = [entry.author for entry in repo.params().history() if entry.kind == "commit"]
    assert (authors.count("theirs"), authors.count("ours")) == (theirs, ours)
    assert repo.params().as_of(revision - 1).get(TRADES) == 39 + theirs


def test_writers_wait_out_a_rebase_that_a_person_is_in(repo: GitStore) -> None:
    branches(repo, {FLOOR: 0.41}, {FLOOR: 0.42})
    repo.git("checkout", "--quiet", "topic")
    repo.git("rebase", "main", status=1)
    with pytest.raises(WriteError, match=r"A git rebase is under way .*Nothing was written"):
        repo.set({TRADES: 40})
    repo.git("rebase", "--abort")
    repo.set({TRADES: 40})
    repo.in_order()


def test_a_freeze_works_even_then(repo: GitStore) -> None:
    os.makedirs(repo.root / ".git/rebase-merge")
    repo.params().freeze("*", author="person", reason="stop")
    assert repo.params().freezes()


def test_a_dirty_learned_tree_pulls_with_autostash(repo: GitStore, tmp_path: Path) -> None:
    repo.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    machine = GitStore(tmp_path / "bare.git").clone(tmp_path / "machine")
    person = GitStore(tmp_path / "bare.git").clone(tmp_path / "person")
    person.set({FLOOR: 0.41}, author="person")
    person.commit_all()
    person.git("push", "--quiet")
    machine.set({LOW: 0.46}, author="learner")
    machine.commit_all()
    machine.set({TRADES: 40}, author="learner")  # learned, and not committed to git
    reader = machine.params()
    assert reader.get(TRADES) == 40
    machine.git("pull", "--quiet", "--rebase", "--autostash")
    assert (machine.get(FLOOR), machine.get(LOW), machine.get(TRADES)) == (0.41, 0.46, 40)
    reader.refresh()
    assert (reader.get(FLOOR), reader.get(LOW), reader.get(TRADES)) == (0.41, 0.46, 40)
    machine.set({TRADES: 41})
    machine.in_order()
    assert [e.author for e in machine.params().history() if e.kind == "commit"] == [
        "person", "person", "learner", "learner", "learner",
    ]  # fmt: skip


def test_check_tells_a_clone_that_lacks_the_drivers(repo: GitStore, tmp_path: Path) -> None:
    plain = repo.clone(tmp_path / "plain", installed=False)
    assert "run `paramstore git install`" in plain.say("check")
    plain.say("git", "install")
    assert plain.say("check") == "everything is in order\n"


# --- paramstore git sync ----------------------------------------------------------------------------


@pytest.fixture
def machines(repo: GitStore, tmp_path: Path) -> tuple[GitStore, GitStore]:
    """Two clones of a bare remote."""
    repo.git("clone", "--quiet", "--bare", ".", str(tmp_path / "remote.git"))
    remote = GitStore(tmp_path / "remote.git")
    return remote.clone(tmp_path / "a"), remote.clone(tmp_path / "b")


def test_sync_commits_pulls_and_pushes(machines: tuple[GitStore, GitStore]) -> None:
    a, b = machines
    a.set({FLOOR: 0.41}, author="on_a")
    b.set({LOW: 0.46}, author="on_b")
    assert a.say("git", "sync") == "committed 1, pulled 0 commits, pushed 1\n"
    assert b.say("git", "sync").startswith("committed 1, pulled 1 commit, pushed ")
    assert a.say("git", "sync").startswith("committed 0, pulled ")
    for machine in machines:
        assert (machine.get(FLOOR), machine.get(LOW)) == (0.41, 0.46)
        machine.in_order()
        assert machine.git("status", "--porcelain") == ""
        assert machine.say("git", "sync") == "in step already\n"
    assert a.read(JOURNAL) == b.read(JOURNAL)
    assert a.git("log", "--format=%P").count(" ") == 0, "no merge commits"


def test_sync_moves_nothing_where_both_sides_changed_a_value(machines: tuple[GitStore, GitStore]) -> None:
    a, b = machines
    a.set({FLOOR: 0.41, LOW: 0.46})
    a.say("git", "sync")
    b.set({FLOOR: 0.42})
    said = b.say("git", "sync", status=1)
    assert (
        "both sides changed floor: the remote 0.41, this machine 0.42" in said and "Nothing was moved" in said
    )
    assert (b.get(FLOOR), b.get(LOW)) == (0.42, 0.45)
    assert b.git("worktree", "list").count("\n") == 1
    b.set({FLOOR: 0.43})  # it learns on
    b.in_order()
    b.say("git", "sync", "--prefer", "local")
    assert (b.get(FLOOR), b.get(LOW)) == (0.43, 0.46)
    b.in_order()
    a.say("git", "sync")
    assert a.get(FLOOR) == 0.43
    assert [e.author for e in a.params().history(FLOOR)].count("learner") == 3


def test_sync_takes_the_remote_value_where_told_to(machines: tuple[GitStore, GitStore]) -> None:
    a, b = machines
    a.set({FLOOR: 0.41})
    a.say("git", "sync")
    b.set({FLOOR: 0.42, LOW: 0.46}, author="on_b")
    b.say("git", "sync", "--prefer", "remote")
    assert (b.get(FLOOR), b.get(LOW)) == (0.41, 0.46)
    b.in_order()
    assert [e.changes[0].new for e in b.params().history(FLOOR) if e.author == "on_b"] == [0.42]


def test_sync_brings_code_along_and_leaves_what_is_not_committed(machines: tuple[GitStore, GitStore]) -> None:
    a, b = machines
    (a.root / "strategy.py").write_text("new\n")
    a.git("add", "strategy.py")
    a.git("commit", "--quiet", "--message", "code")
    a.say("git", "sync")
    (b.root / "notes.txt").write_text("mine\n")
    b.set({FLOOR: 0.41})
    b.say("git", "sync")
    assert (b.root / "strategy.py").read_text() == "new\n"
    assert b.git("status", "--porcelain") == "?? notes.txt\n"
    (b.root / "strategy.py").write_text("edited\n")
    (a.root / "strategy.py").write_text("newer\n")
    a.git("commit", "--quiet", "--all", "--message", "code")
    a.say("git", "sync")
    assert "strategy.py" in b.say("git", "sync", status=1)
    assert (b.root / "strategy.py").read_text() == "edited\n" and b.get(FLOOR) == 0.41


def test_sync_refuses_what_breaks_a_rule_together(machines: tuple[GitStore, GitStore]) -> None:
    a, b = machines
    a.set({FUNDING: 0.17, LIQUIDATION: 0.21})
    a.say("git", "sync")
    b.set({WHALE: 0.21, LIQUIDATION: 0.21})
    assert "both together do not" in b.say("git", "sync", status=1)
    b.in_order()


def test_rounds_of_two_machines_lose_nothing(tmp_path: Path) -> None:
    figures = sync_rounds.run(tmp_path, rounds=8)
    assert figures.rounds == 8 and figures.acknowledged > 20
    assert not figures.lost and not figures.stale and not figures.went_back and not figures.problems, figures


# --- clones without paramstore ------------------------------------------------------------------------


def test_git_goes_on_plainly_where_nothing_is_installed(repo: GitStore, tmp_path: Path) -> None:
    repo.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    plain = GitStore(tmp_path / "bare.git").clone(tmp_path / "plain", installed=False)
    plain.git("checkout", "--quiet", "-b", "topic")
    plain.edit("params/win_rate.yaml", "floor: 0.40", "floor: 0.41")
    plain.commit_all()
    plain.git("checkout", "--quiet", "main")
    plain.edit("params/conviction_gate.yaml", "min_trades: 31", "min_trades: 32")
    plain.commit_all()
    assert "+  floor: 0.41" in plain.git("diff", "main", "topic")
    assert "+  floor: 0.41" in plain.git("log", "-p", "topic")
    plain.git("merge", "--quiet", "topic")
    assert (plain.get(FLOOR), plain.get(TRADES)) == (0.41, 32)


def test_both_sides_of_a_journal_kept_by_hand_are_a_sound_journal(repo: GitStore, tmp_path: Path) -> None:
    plain = repo.clone(tmp_path / "plain", installed=False)
    branches(plain, {TRADES: 33}, {FLOOR: 0.41})
    plain.git("merge", "topic", status=1)
    text = plain.read(JOURNAL)
    assert "<<<<<<< HEAD" in text
    kept = [line for line in text.splitlines(keepends=True) if line.startswith("{")]
    (plain.root / JOURNAL).write_text("".join(kept))
    plain.git("add", "--all")
    plain.git("commit", "--quiet", "--no-edit")
    plain.set({LOW: 0.46})
    plain.in_order()
    assert [entry.author for entry in plain.params().history() if entry.kind == "commit"] == [
        "person", "our_learner", "their_learner", "learner",
    ]  # fmt: skip


def test_a_driver_that_is_gone_lets_git_merge_by_lines(repo: GitStore) -> None:
    for name in ("paramstore", "paramstore-journal"):
        call = repo.git("config", f"merge.{name}.driver").strip()
        python = call.split(" -P ")[0]
        repo.git("config", f"merge.{name}.driver", call.replace(python, "/nowhere/python"))
    branches(repo, {TRADES: 33}, {FLOOR: 0.41})
    repo.git("merge", "topic", status=1)  # the journal conflicts, as both sides appended
    assert (repo.get(TRADES), repo.get(FLOOR)) == (33, 0.41)
    assert "<<<<<<< ours" in repo.read(JOURNAL)


def test_uninstall_takes_all_of_it_back(tmp_path: Path) -> None:
    for number, attributes in enumerate((None, b"*.png binary\n", b"*.png binary")):
        repo = GitStore.made(tmp_path / str(number), installed=False)
        if attributes is not None:
            (repo.root / ".gitattributes").write_bytes(attributes)
        config = repo.read(".git/config")
        assert "wrote .gitattributes" in repo.say("git", "install")
        assert repo.say("git", "install") == "nothing to do\n"
        assert "merge=paramstore" in repo.read(".gitattributes") and "paramstore" in repo.read(".git/config")
        assert "took back .gitattributes" in repo.say("git", "uninstall")
        assert repo.read(".git/config") == config
        path = repo.root / ".gitattributes"
        assert (path.read_bytes() if path.exists() else None) == attributes
        assert repo.say("git", "uninstall") == "nothing to do\n"


# --- what git shows ---------------------------------------------------------------------------------


def test_plain_git_diff_says_what_changed_above_an_ordinary_diff(repo: GitStore) -> None:
    repo.set({FLOOR: 0.41})
    repo.edit("params/win_rate.yaml", "schema: 1", "schema: 1   # edited")
    said = repo.git("diff")
    assert "win_rate.floor: 0.4 → 0.41  +0.01 (+2.5 %)" in said and "0.2…0.6" in said
    assert "\n-  floor: 0.40\n+  floor: 0.41\n" in said and "+schema: 1   # edited" in said
    patch = repo.root / "x.patch"
    patch.write_text(said)
    repo.git("stash", "--quiet")
    repo.git("apply", "x.patch")
    assert "floor: 0.41" in repo.read("params/win_rate.yaml")


def test_git_log_shows_key_and_place_within_bounds(repo: GitStore) -> None:
    repo.set({FLOOR: 0.41})
    repo.commit_all()
    said = repo.git("log", "-p", "-1")
    assert "\n+  floor: 0.41    | win_rate.floor" in said and "0.2…0.6" in said
    assert "win_rate.floor" not in repo.git("log", "-p", "-1", "--no-textconv", "--", "params/win_rate.yaml")


def test_git_says_in_words_what_came_into_a_journal(repo: GitStore) -> None:
    repo.set({FLOOR: 0.41}, author="tier_learner", reason="ev\n+0.7")
    words = ["r2 ", " commit by tier_learner: ev\\n+0.7", "win_rate.floor 0.4 -> 0.41"]
    said = repo.git("diff", "params/journal")
    above, _, below = said.partition("diff --git")
    assert all(word in above for word in words) and "r1" not in above
    assert '\n+{"' in below, "the patch stays one"
    repo.commit_all()
    said = repo.git("log", "-p", "-1", "--", "params/journal")
    assert all(word in said for word in words) and '{"' not in said
    repo.git("rm", "--quiet", "params/journal/00000001.jsonl")
    assert "  GONE: r2 " in repo.git("diff", "--cached", "--", "params/journal")


@pytest.mark.parametrize("change", ["rename", "mode", "rename and edit", "torn"])
@pytest.mark.parametrize("file", ["params/win_rate.yaml", "params/journal/00000001.jsonl"])
def test_a_diff_of_another_name_or_mode_is_a_patch(repo: GitStore, file: str, change: str) -> None:
    repo.commit_all("all") if repo.git("status", "--porcelain") else None
    new = file.replace("win_rate", "moved").replace("00000001", "00000007")
    if "rename" in change:
        repo.git("mv", file, new)
    if change == "mode":
        (repo.root / file).chmod(0o755)
        repo.git("add", "--all")
    if change == "rename and edit":
        (repo.root / new).write_text(repo.read(new) + "#\n")
        repo.git("add", "--all")
    if change == "torn":
        (repo.root / file).write_text(repo.read(file) + "#")
        repo.git("add", "--all")
    tree = repo.git("write-tree")
    said = repo.git("diff", "--cached")
    assert "\ndiff --git a/" in said
    (repo.root / "x.patch").write_text(said)
    repo.git("reset", "--quiet", "--hard")
    repo.git("apply", "--index", "x.patch")
    assert repo.git("write-tree") == tree


def test_a_file_that_came_or_went_is_shown(repo: GitStore) -> None:
    repo.git("rm", "--quiet", "params/win_rate.yaml")
    said = repo.git("diff", "--cached")
    assert "deleted file mode" in said and "win_rate.floor: 0.4 → " in said


def test_git_shows_plainly_where_python_is_gone(repo: GitStore) -> None:
    for name in ("diff.paramstore.textconv", "diff.paramstore.command"):
        call = repo.git("config", name).strip()
        python = call.split("{ ")[1].split(" -P ")[0]
        repo.git("config", name, call.replace(python, "/nowhere/python"))
    repo.set({FLOOR: 0.41})
    assert "+  floor: 0.41" in repo.git("diff")
    repo.commit_all()
    assert "+  floor: 0.41" in repo.git("log", "-p", "-1")
