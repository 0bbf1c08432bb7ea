"""`paramstore commit` in real git repositories: what goes into a commit, what is refused, and what is never lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from git_store import GitStore

from paramstore import ParamStore

TRADES = "conviction_gate.min_trades"
FLOOR, LOW = "win_rate.floor", "win_rate.low"
FUNDING, LIQUIDATION = "signal_weights.funding", "signal_weights.liquidation"
JOURNAL = "params/journal/00000001.jsonl"
WIN_RATE, GATE = "params/win_rate.yaml", "params/conviction_gate.yaml"
SCHEMA = "schemas/win_rate.schema.json"


@pytest.fixture
def repo(tmp_path: Path) -> GitStore:
    return GitStore.made(tmp_path / "bot")


def changed(repo: GitStore) -> list[str]:
    return repo.git("show", "--format=", "--name-only", "HEAD").split()


def commits(repo: GitStore) -> int:
    return int(repo.git("rev-list", "--count", "HEAD"))


def authors(repo: GitStore) -> list[str]:
    return [entry.author for entry in repo.params().history() if entry.kind == "commit"]


def test_commit_says_what_the_journal_says_and_touches_nothing_else(repo: GitStore) -> None:
    (repo.root / "strategy.py").write_text("staged\n")
    repo.git("add", "strategy.py")
    (repo.root / "notes.txt").write_text("not staged\n")
    repo.set({FLOOR: 0.41}, author="tier_learner", reason="7 days: ev +0.7 bps")
    repo.set(
        {FUNDING: 0.17, LIQUIDATION: 0.21}, author="weight_learner", reason="drift\n\nSigned-off-by: nobody"
    )
    repo.edit("params/conviction_gate.yaml", "min_trades: 31", "min_trades: 35")
    repo.say("commit")
    message = repo.git("log", "-1", "--format=%B")
    assert message.startswith("params: 4 values (3 authors)\n")
    assert "commit by tier_learner: 7 days: ev +0.7 bps\n  win_rate.floor 0.4 -> 0.41\n" in message
    assert "external by external" in message and "conviction_gate.min_trades 31 -> 35" in message
    trailers = repo.git("log", "-1", "--format=%(trailers)").split("\n")
    assert trailers[:4] == ["Paramstore-Revision: 2-4", "Paramstore-Author: tier_learner",
                            "Paramstore-Author: weight_learner", "Paramstore-Author: external"]  # fmt: skip
    changed = repo.git("show", "--format=", "--name-only", "HEAD").split()
    assert changed == [
        "params/conviction_gate.yaml",
        JOURNAL,
        "params/signal_weights.yaml",
        "params/win_rate.yaml",
    ]
    assert repo.git("status", "--porcelain").splitlines() == ["A  strategy.py", "?? notes.txt"]
    assert repo.say("commit") == "nothing to commit: git has every journal entry\n"


def test_commit_by_author_makes_each_state_in_turn(repo: GitStore) -> None:
    repo.set({FLOOR: 0.41}, author="one")
    repo.set({FLOOR: 0.42}, author="two")
    repo.set({LOW: 0.46}, author="two")
    repo.set({FLOOR: 0.43}, author="one")
    said = json.loads(repo.say("commit", "--by-author", "--json"))
    assert [commit["revisions"] for commit in said["commits"]] == [[2], [3, 4], [5]]
    assert repo.git("log", "-3", "--format=%an").split() == ["one", "two", "one"]
    for commit, floor, low, revision in (
        ("HEAD~2", 0.41, 0.45, 2),
        ("HEAD~1", 0.42, 0.46, 4),
        ("HEAD", 0.43, 0.46, 5),
    ):
        other = repo.root.parent / commit.replace("~", "-")
        repo.git("worktree", "add", "--quiet", "--detach", str(other), commit)
        then = ParamStore(other, environ={})
        assert (then.get(FLOOR), then.get(LOW), then.revision) == (floor, low, revision)
        assert not then.pending(), "each commit's files are those that its journal tells of"
        GitStore(other).in_order()


def test_commit_waits_for_a_merge_that_is_under_way(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.set({FLOOR: 0.41})
    repo.commit_all("theirs")
    repo.git("checkout", "--quiet", "main")
    repo.set({FLOOR: 0.42})
    repo.commit_all("ours")
    repo.git("merge", "topic", status=1)
    repo.edit("params/win_rate.yaml", "<<<<<<<", "# <<<<<<<")
    (repo.root / "params/win_rate.yaml").write_text(repo.git("show", ":2:params/win_rate.yaml"))
    assert "A merge is under way" in repo.say("commit", status=1)


def test_commit_outside_of_git_says_so(tmp_path: Path) -> None:
    from paramstore._init import shipped, write

    write(str(tmp_path / "s"), shipped())
    assert "is in no git work tree" in GitStore(tmp_path / "s").say("commit", status=1)


def test_an_owner_that_git_does_not_trust_is_told(repo: GitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    for words in (["git", "install"], ["commit"]):
        said = repo.say(*words, status=1)
        assert "dubious ownership" in said and "safe.directory" in said


def test_the_first_commit_of_a_repository(tmp_path: Path) -> None:
    repo = GitStore(tmp_path / "bot")
    repo.root.mkdir()
    repo.git("init", "--quiet", "--initial-branch=main")
    repo.identify()
    repo.say("init")
    repo.set({FLOOR: 0.41})
    assert "params:" in repo.say("commit", "--dry-run")
    repo.say("commit")
    assert repo.git("log", "--oneline").count("\n") == 1
    subject = repo.git("log", "-1", "--format=%s")
    assert subject == "params: 80 values as first recorded, and 1 changed since (2 authors)\n"
    assert repo.git("ls-files").split()[0].startswith("params/")


# --- no entry is lost ----------------------------------------------------------------------------------


def test_entries_that_head_has_and_the_tree_lacks_are_joined_back(repo: GitStore) -> None:
    repo.set({TRADES: 32}, author="one")
    repo.say("commit")
    repo.set({TRADES: 33}, author="two")
    repo.say("commit")
    committed = repo.read(JOURNAL)
    repo.git("checkout", "HEAD~2", "--", "params")
    repo.git("reset", "--quiet")
    repo.set({FLOOR: 0.41}, author="three")
    said = repo.say("commit", "--dry-run", status=1)
    assert "lacks 2 entries that git has (r2 by one, r3 by two)" in said
    repo.say("commit")
    assert repo.git("show", f"HEAD:{JOURNAL}").startswith(committed)
    assert authors(repo)[-3:] == ["one", "two", "three"]
    assert (repo.get(TRADES), repo.get(FLOOR)) == (31, 0.41), "the values stay as they stand in the files"
    repo.in_order()
    assert repo.git("status", "--porcelain") == ""
    assert "nothing to commit" in repo.say("commit")
    assert repo.set({LOW: 0.46}) == max(e.revision for e in repo.params().history())


def test_a_segment_that_is_gone_comes_back(repo: GitStore) -> None:
    committed = repo.read(JOURNAL)
    (repo.root / JOURNAL).unlink()
    repo.set({FLOOR: 0.41})
    repo.say("commit")
    assert repo.git("show", f"HEAD:{JOURNAL}").startswith(committed)
    repo.in_order()


@pytest.mark.parametrize("running", [False, True])
def test_entries_that_a_revert_took_out_come_back(repo: GitStore, running: bool) -> None:
    bot = repo.params()
    repo.set({FLOOR: 0.41}, author="one")
    repo.say("commit")
    repo.set({FLOOR: 0.42}, author="two")
    repo.say("commit")
    repo.git("revert", "--no-edit", "HEAD")
    repo.git("revert", "--no-edit", "HEAD~2")
    assert len(repo.params().history()) == 2, "git asks no driver"
    if running:
        assert bot.get(FLOOR) == 0.4
        with bot.transaction(author="three", reason="a test", force=True) as tx:
            tx.set(TRADES, 33)
    else:
        repo.set({TRADES: 33}, author="three")
    said = repo.say("commit", "--dry-run", status=1)
    assert "lacks 2 entries that git has (r2 by one, r3 by two)" in said
    assert "git has (r2 by one, r3 by two): brought back" in repo.say("commit")
    assert authors(repo)[-3:] == ["three", "one", "two"], "what HEAD had stands first"
    assert (repo.get(FLOOR), repo.get(TRADES)) == (0.4, 33), "the values stay as the reverts left them"
    repo.in_order()
    assert "nothing to commit" in repo.say("commit")
    assert repo.set({LOW: 0.46}) == max(e.revision for e in repo.params().history())


BACK = {
    "a revert": ("revert", "--no-edit", "HEAD"),
    "a checkout": ("checkout", "HEAD~1", "--", "params"),
}


@pytest.mark.parametrize("how", BACK)
@pytest.mark.parametrize("many", [1, 2])
@pytest.mark.parametrize("command", ["commit", "sync"])
def test_what_is_put_back_at_once_stands_and_passes_for_no_dead_writer(
    repo: GitStore, tmp_path: Path, how: str, many: int, command: str
) -> None:
    bare = tmp_path / "remote.git"
    repo.git("clone", "--quiet", "--bare", ".", str(bare))
    repo.git("remote", "add", "origin", str(bare))
    for number in range(many):
        repo.set({FLOOR: 0.41 + number / 100}, author="one")
    repo.say("commit")
    repo.git(*BACK[how])
    said = repo.say(*(["commit"] if command == "commit" else ["git", "sync"]))
    assert "brought back" in said
    assert authors(repo)[-many:] == ["one"] * many and repo.get(FLOOR) == 0.4
    kinds = [entry.kind for entry in repo.params().history()]
    assert kinds[-2:] == ["merge", "external"] and "abort" not in repo.read(JOURNAL)
    repo.in_order()
    assert repo.set({LOW: 0.46}) == max(e.revision for e in repo.params().history())
    repo.say("commit")
    assert "nothing to commit" in repo.say("commit")


def test_published_lines_stay_where_they_are_when_others_come_back(repo: GitStore) -> None:
    repo.set({FLOOR: 0.41}, author="one")
    repo.say("commit")
    repo.git("revert", "--no-edit", "HEAD")
    repo.set({TRADES: 33}, author="three")
    repo.set({TRADES: 34}, author="four")
    repo.commit_all("by hand")
    published = repo.read(JOURNAL)
    repo.say("commit", "--by-author")
    for commit in repo.git("rev-list", "HEAD~2..HEAD").split():
        assert repo.git("show", f"{commit}:{JOURNAL}").startswith(published)
    assert authors(repo)[-3:] == ["three", "four", "one"]
    assert [repo.params().as_of(n).get(TRADES) for n in (2, 3)] == [33, 34], "revisions stay what they were"
    repo.in_order()


LEFT_ALONE = {  # how lines are taken out that stay out, or that cannot be told
    "it says that it is meant": ("words", "shorten\n\nParamstore-Journal: shortened"),
    "a whole segment": ("gone", "begin anew"),
}


@pytest.mark.parametrize("how", LEFT_ALONE)
def test_what_is_taken_out_on_purpose_stays_out(repo: GitStore, how: str) -> None:
    repo.set({FLOOR: 0.41}, author="one", reason="hunter2")
    repo.say("commit")
    what, message = LEFT_ALONE[how]
    if what == "gone":
        (repo.root / JOURNAL).unlink()
    else:
        text = repo.read(JOURNAL)
        (repo.root / JOURNAL).write_text("".join(t for t in text.splitlines(True) if "hunter2" not in t))
    repo.commit_all(message)
    repo.set({TRADES: 33}, author="three")
    assert "brought back" not in repo.say("commit")
    assert "hunter2" not in repo.read(JOURNAL)
    repo.in_order()


@pytest.mark.parametrize("odd", ["*.jsonl binary", "*.jsonl -diff", "tab", "markers", "no objects"])
def test_looking_for_what_was_taken_out_stops_no_commit(repo: GitStore, odd: str) -> None:
    repo.git("config", "log.showSignature", "true")
    repo.git("config", "log.follow", "true")
    if odd.startswith("*"):
        (repo.root / ".git/info/attributes").write_text(f"{odd}\n")
    if odd == "markers":
        text = repo.read(JOURNAL)
        (repo.root / JOURNAL).write_text(f"<<<<<<< ours\n{text}=======\n>>>>>>> theirs\n")
        repo.commit_all("a conflict, by mistake")
        (repo.root / JOURNAL).write_text(text)
        repo.commit_all("resolved")
    if odd == "tab":
        (repo.root / "a\tb").mkdir()
        (repo.root / "a\tb/x").write_text("x\n")
        repo.git("add", "--all")
        repo.commit_all("a tab")
    repo.set({FLOOR: 0.41}, author="one")
    repo.say("commit")
    before = repo.git("rev-parse", f"HEAD:{JOURNAL}").strip()
    repo.git("revert", "--no-edit", "HEAD")
    if odd == "no objects":
        (repo.root / ".git/objects" / before[:2] / before[2:]).unlink()
    repo.set({TRADES: 33}, author="three")
    said = repo.say("commit")
    assert ("brought back" in said) == (odd != "no objects")
    repo.in_order()


# --- a journal that git does not hold -------------------------------------------------------------------


@pytest.fixture
def apart(repo: GitStore) -> GitStore:
    """A store whose journal git ignores."""
    (repo.root / "paramstore.toml").write_text('journal = "logs/audit.jsonl"\n')
    with open(repo.root / ".gitignore", "a") as stream:
        stream.write("logs/\n")
    repo.set({TRADES: 32})
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message", "the journal elsewhere")
    return repo


def test_without_a_journal_in_git_only_changed_values_make_a_commit(apart: GitStore) -> None:
    before = commits(apart)
    assert "nothing to commit" in apart.say("commit")
    apart.set({FLOOR: 0.41}, author="one")
    apart.set({FLOOR: 0.42}, author="two")
    [made] = json.loads(apart.say("commit", "--by-author", "--json"))["commits"]
    assert made["authors"] == ["one", "two"]
    assert changed(apart) == [WIN_RATE]
    assert "floor: 0.42" in apart.git("show", f"HEAD:{WIN_RATE}")
    assert "nothing to commit" in apart.say("commit")
    apart.set({FLOOR: 0.43})
    apart.set({FLOOR: 0.42})
    assert "nothing to commit" in apart.say("commit"), "there and back again"
    assert commits(apart) == before + 1


def test_a_journal_outside_of_the_repository(repo: GitStore, tmp_path: Path) -> None:
    (repo.root / "paramstore.toml").write_text(f'journal = "{tmp_path}/outside.jsonl"\n')
    repo.set({FLOOR: 0.41}, author="one")
    [made] = json.loads(repo.say("commit", "--json"))["commits"]
    assert made["authors"] == ["one"] and WIN_RATE in changed(repo)
    assert "nothing to commit" in repo.say("commit")


# --- files that are elsewhere ---------------------------------------------------------------------------


def test_a_sparse_checkout_deletes_nothing(repo: GitStore) -> None:
    repo.git("sparse-checkout", "set", "--no-cone", "/*", f"!/{WIN_RATE}", f"!/{SCHEMA}")
    assert not (repo.root / WIN_RATE).exists()
    repo.set({TRADES: 33})
    repo.say("commit")
    assert changed(repo) == [GATE, JOURNAL]


def test_values_behind_a_symbolic_link_are_committed_where_they_are(repo: GitStore) -> None:
    (repo.root / "conf").mkdir()
    (repo.root / "params").rename(repo.root / "conf/p")
    (repo.root / "params").symlink_to("conf/p")
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message", "link")
    repo.set({FLOOR: 0.41})
    repo.say("commit")
    assert changed(repo) == ["conf/p/journal/00000001.jsonl", "conf/p/win_rate.yaml"]
    assert repo.git("status", "--porcelain") == ""


def test_an_executable_file_stays_one(repo: GitStore) -> None:
    os.chmod(repo.root / WIN_RATE, 0o755)
    repo.commit_all()
    repo.set({FLOOR: 0.41})
    repo.say("commit")
    assert repo.git("ls-tree", "HEAD", WIN_RATE).startswith("100755 ")
    assert repo.git("status", "--porcelain") == ""


def test_paths_that_are_no_text(repo: GitStore) -> None:
    odd = os.fsencode(repo.root) + b"/params/\xff.yaml"
    with open(odd, "w") as stream:
        stream.write("x: 1\n")
    repo.git("add", "--all")
    repo.commit_all()
    os.unlink(odd)
    repo.set({FLOOR: 0.41})
    repo.say("commit")
    assert repo.git("status", "--porcelain") == ""


# --- what is refused ------------------------------------------------------------------------------------


def test_what_a_person_has_staged_is_not_overwritten(repo: GitStore) -> None:
    text = repo.read(WIN_RATE)
    repo.edit(WIN_RATE, "floor: 0.40", "floor: 0.45")
    repo.git("add", WIN_RATE)
    (repo.root / WIN_RATE).write_text(text)
    repo.set({TRADES: 33})
    repo.say("commit")
    assert "floor: 0.45" in repo.git("show", f":{WIN_RATE}"), "the file is not part of that commit"
    head = repo.git("rev-parse", "HEAD")
    repo.set({LOW: 0.46})
    said = repo.say("commit", status=1)
    assert f"{WIN_RATE} is staged differently" in said and "nothing was committed" in said
    assert "floor: 0.45" in repo.git("show", f":{WIN_RATE}") and repo.git("rev-parse", "HEAD") == head
    repo.git("add", WIN_RATE)
    repo.say("commit")


def test_values_that_the_schema_in_head_does_not_know_wait_for_it(repo: GitStore) -> None:
    schema = json.loads(repo.read(SCHEMA))
    schema["title"] = "Another title"
    (repo.root / SCHEMA).write_text(json.dumps(schema, indent=1))
    repo.set({FLOOR: 0.41})
    repo.say("commit")  # a description that a person edits stops no learner
    novel = {"type": "number", "default": 0.5, "description": "New."}
    schema["properties"]["values"]["properties"]["novel"] = novel
    (repo.root / SCHEMA).write_text(json.dumps(schema, indent=1))
    repo.edit(WIN_RATE, "  floor:", "  novel: 0.5\n  floor:")
    said = repo.say("commit", status=1)
    assert f"does not keep the rules of {SCHEMA} in HEAD" in said and f"Commit {SCHEMA} first" in said
    repo.git("commit", "--quiet", "--message", "schema", SCHEMA)
    repo.say("commit")


def test_a_new_namespace_waits_for_its_schema(repo: GitStore) -> None:
    text = repo.read(SCHEMA)
    (repo.root / "schemas/wins.schema.json").write_text(text)
    (repo.root / "params/wins.yaml").write_text(repo.read(WIN_RATE))
    assert "commit schemas/wins.schema.json first" in repo.say("commit", status=1)
    repo.git("add", "schemas")
    repo.git("commit", "--quiet", "--message", "schema")
    repo.say("commit")
    assert "params/wins.yaml" in changed(repo)


# --- git's own settings ---------------------------------------------------------------------------------


def test_line_ends_that_git_changes_are_no_difference(apart: GitStore) -> None:
    apart.say("git", "uninstall")  # its attributes keep git from changing any
    apart.commit_all()
    apart.git("config", "core.autocrlf", "true")
    path = apart.root / WIN_RATE
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert "nothing to commit" in apart.say("commit")


@pytest.mark.parametrize(
    "name", ["GIT_DIR", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE", "GIT_NAMESPACE"]
)
def test_what_the_environment_says_of_another_repository_does_not_matter(
    repo: GitStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    other = GitStore.made(tmp_path / "other")
    inside = {"GIT_OBJECT_DIRECTORY": ".git/objects", "GIT_INDEX_FILE": ".git/index", "GIT_NAMESPACE": "x"}
    monkeypatch.setenv(name, str(other.root / inside.get(name, ".git")))
    repo.set({FLOOR: 0.41})
    repo.say("commit")
    assert changed(repo) == [JOURNAL, WIN_RATE]
    assert "missing" not in repo.git("fsck") and commits(other) == 1
    assert repo.git("status", "--porcelain") == "" == other.git("status", "--porcelain")


@pytest.mark.parametrize("author", ["\\", "<>", "...", '"'])
def test_an_author_without_a_letter_is_told_in_the_trailer_only(repo: GitStore, author: str) -> None:
    repo.set({FLOOR: 0.41}, author=author)
    repo.say("commit", "--by-author")
    assert repo.git("log", "-1", "--format=%an") == "A Person\n"
    assert f"Paramstore-Author: {author}" in repo.git("log", "-1", "--format=%B")
