"""A branch of git in step with a cluster: what is committed on one side comes to the other, and nothing is lost on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from etcd_servers import Shop
from local_store import number, schema

from paramstore import ParamStore, _git
from paramstore._etcd_place import parse
from paramstore._git_branch import Branch
from paramstore._git_mirror import GitMirror, Round
from paramstore._lock import alone
from paramstore.cli import cli
from paramstore.errors import GitError, InvalidFileError, ParamstoreError
from paramstore.testing import SCHEMAS, VALUES

FILES = "params/gate.yaml", "params/weights.yaml", "schemas/gate.schema.json", "schemas/weights.schema.json"


class Desk:
    """A repository beside a cluster, its work tree where a person works, and a learner on another machine."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        shop.fill(SCHEMAS, VALUES)
        self.shop = shop
        self.root = folder / "tree"
        self.run(folder, "init", "--quiet", "--initial-branch=main", str(self.root))
        self.far = shop.backend("far")
        self.learner = ParamStore(backend=self.far, environ={})
        self._mirrors = 0

    def run(self, folder: Path, *words: str, status: int = 0) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout.strip()

    def git(self, *words: str, status: int = 0) -> str:
        return self.run(self.root, *words, status=status)

    def mirror(self, remote: str | None = None, branch: str = "main", within: str = ".") -> GitMirror:
        self._mirrors += 1
        if remote is None and branch != "main" and not self.git("branch", "--list", branch):
            tree = self.git("hash-object", "-t", "tree", "-w", os.devnull)
            self.git("branch", branch, self.git("commit-tree", "-m", "Begin", tree))
        return GitMirror(
            Branch(str(self.root), branch, remote, within), self.shop.backend(f"here{self._mirrors}")
        )

    @property
    def path(self) -> Path:
        return self.root / "params" / "gate.yaml"

    def edit(self, old: str, new: str, path: Path | None = None) -> None:
        path = path or self.path
        text = path.read_text()
        assert old in text, text
        path.write_text(text.replace(old, new))

    def merge(self, old: str, new: str, subject: str = "Raise the bar") -> str:
        """Edit a values file and commit it, as a merged pull request does; return the commit."""
        self.edit(old, new)
        self.git("commit", "--quiet", "--all", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def learn(self, value: int) -> None:
        with self.learner.transaction(author="learner", reason="it pays") as tx:
            tx["gate.trades"] = value

    def get(self, key: str) -> object:
        """Return a value as the learner's machine has it once it has heard of all that was committed."""
        self.far.follower.catch_up(5.0)
        return self.learner.get(key)

    def shown(self, file: str, ref: str = "main") -> bytes:
        return subprocess.run(
            ["git", "show", f"{ref}:{file}"], cwd=self.root, capture_output=True, check=True
        ).stdout

    def journal(self, ref: str = "main") -> list[str]:
        files = self.git("ls-tree", "-r", "--name-only", ref, "params/journal").split()
        return [json.loads(line)["id"] for file in files for line in self.shown(file, ref).splitlines()]

    def in_step(self, ref: str = "main") -> None:
        """See that a branch holds what the cluster holds, values, schemas and journal, and that the work tree is clean."""
        self.far.follower.catch_up(5.0)
        assert self.journal(ref) == [entry.id for entry in self.learner.history(refused=True)]
        for file in FILES:
            assert (self.shop.folder / "far" / file).read_bytes() == self.shown(file, ref)
        assert self.git("status", "--porcelain") == ""


@pytest.fixture
def desk(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name in [name for name in os.environ if name.startswith(("GIT_", "PARAM"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Ann Person")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "ann@example.org")
    return Desk(shop, tmp_path)


# --- one way, and the other -----------------------------------------------------------------------


def test_each_commit_of_a_learner_becomes_a_git_commit(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.in_step()
    for value in (40, 41):
        desk.learn(value)
    desk.learner.freeze("gate.trades", author="boss", reason="enough")
    with desk.learner.transaction(author="other") as tx:
        tx["weights.a"] = 0.55
    desk.learner.unfreeze("gate.trades", author="boss", reason="go on")
    done = mirror.round()
    assert (done.proposed, done.revision, done.entries, len(done.commits)) == ([], None, 5, 4)
    assert "trades: 41" in desk.path.read_text()
    assert desk.git("log", "-5", "--format=%s").splitlines() == [
        "params: unfreeze (boss)",
        "params: weights.a 0.5 -> 0.55 (2 authors)",
        "params: gate.trades 40 -> 41 (learner)",
        "params: gate.trades 30 -> 40 (learner)",
        "params: 14 values as first recorded (external)",
    ]
    said = desk.git("show", "--format=%an%n%B", "main~2")
    assert said.startswith("learner\nparams: gate.trades 40 -> 41") and "it pays" in said
    assert [len(desk.journal(f"main~{back}")) for back in (0, 1, 2, 3, 4)] == [6, 5, 3, 2, 1]
    desk.in_step()
    assert mirror.round() == Round() and desk.git("rev-list", "--count", "main") == "5"
    desk.git("revert", "--no-edit", "main~2", status=1)  # one of them, and none of those after it
    desk.git("checkout", "--ours", "params/journal")  # lines follow it: either side will do
    desk.git("add", "--all")
    desk.git("-c", "core.editor=true", "revert", "--continue")
    mirror.round()
    assert (desk.get("gate.trades"), desk.get("weights.a")) == (40, 0.55)


def test_a_merged_edit_becomes_a_commit_with_its_author(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    made = desk.merge("trades: 30", "trades: 50  # as decided on Monday")
    done = mirror.round()
    assert (done.proposed, done.revision) == (["params/gate.yaml"], 1)
    assert desk.get("gate.trades") == 50
    entry = desk.learner.history()[-1]
    assert (entry.kind, entry.author, entry.reason) == ("external", "Ann Person", "Raise the bar")
    assert [(change.key, change.old, change.new) for change in entry.changes] == [("gate.trades", 30, 50)]
    assert entry.evidence == {"git_commit": made, "git_branch": "main"}
    assert "# as decided on Monday" in (desk.shop.folder / "far" / "params" / "gate.yaml").read_text()
    desk.in_step()


def test_edits_on_both_sides_meet(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.learn(45)
    desk.edit("schema: 1", "schema: 1  # bolder")
    desk.merge("high: 0.5", "high: 0.6")
    mirror.round()
    assert (desk.get("gate.trades"), desk.get("gate.tiers.high")) == (45, 0.6)
    assert "# bolder" in desk.path.read_text() and "trades: 45" in desk.path.read_text()
    desk.in_step()


@pytest.mark.parametrize(("decided", "stands"), [("--ours", 60), ("--theirs", 45)])
def test_what_both_changed_is_decided_by_a_merge_for_either_side(
    desk: Desk, decided: str, stands: int
) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.learn(45)
    desk.merge("trades: 30", "trades: 60")
    words = (
        r"git and the cluster both changed trades: git 60, the cluster 45.*nothing of it went to the cluster"
    )
    for _ in range(2):
        with pytest.raises(GitError, match=words):
            mirror.round()
    assert desk.get("gate.trades") == 45 and "trades: 60" in desk.path.read_text()
    assert b"trades: 45" in desk.shown("params/gate.yaml", "main-cluster")
    desk.learn(46)  # which is shown as well
    with pytest.raises(GitError, match="main-cluster"):
        mirror.round()
    desk.in_step("main-cluster")
    desk.git("merge", "--quiet", "main-cluster", status=1)
    desk.git("checkout", decided, "params/gate.yaml")
    desk.git("add", "--all")
    desk.git("commit", "--quiet", "--message", "Decide")
    mirror.round()
    assert desk.get("gate.trades") == (46 if stands == 45 else 60)
    desk.in_step()


def test_a_revert_takes_back_what_a_learner_did(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.learn(45)
    mirror.round()
    desk.git("revert", "--no-edit", "HEAD")
    assert "trades: 30" in desk.path.read_text()
    mirror.round()
    assert desk.get("gate.trades") == 30 and len(desk.learner.history()) == 3
    desk.in_step()  # its line is in the journal, which the revert had taken out


def _clash(mirror: GitMirror) -> str:
    """Return what is said of what a person has to decide."""
    with pytest.raises(GitError) as raised:
        mirror.round()
    return str(raised.value)


def test_what_was_decided_on_that_branch_is_left_alone(desk: Desk) -> None:
    """As where a site for reviews resolves conflicts: it merges main into the branch, and that into main later."""
    mirror = desk.mirror()
    mirror.round()
    desk.learn(45)
    desk.merge("trades: 30", "trades: 60")
    _clash(mirror)
    desk.git("checkout", "--quiet", "main-cluster")
    desk.git("merge", "--quiet", "main", status=1)
    desk.git("checkout", "--theirs", "params/gate.yaml")
    desk.git("commit", "--quiet", "--all", "--message", "Sixty it is")
    decided = desk.git("rev-parse", "HEAD")
    desk.learn(46)
    assert "main-cluster is work that is not merged yet" in _clash(mirror)
    assert desk.git("rev-parse", "main-cluster") == decided
    desk.git("checkout", "--quiet", "main")
    desk.git("merge", "--quiet", "main-cluster")
    assert "What stands there is on the branch main-cluster" in _clash(mirror)  # of 46 nobody has decided
    desk.git("merge", "--quiet", "main-cluster", status=1)
    desk.git("checkout", "--ours", "params/gate.yaml")
    desk.git("commit", "--quiet", "--all", "--message", "Sixty still")
    mirror.round()
    assert desk.get("gate.trades") == 60
    desk.in_step()


def test_what_a_learner_took_back_stays_so_when_a_clash_is_decided(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.merge("trades: 30", "trades: 60")
    _cut_off(
        mirror, monkeypatch, "paramstore._git_branch.Branch.advance"
    )  # the cluster has it, git no word of that
    desk.learn(30)
    with desk.learner.transaction(author="learner") as tx:
        tx["weights.c"] = 0.3
    desk.edit("c: 0.2", "c: 0.4", desk.root / "params" / "weights.yaml")
    desk.git("commit", "--quiet", "--all", "--message", "Clash")
    _clash(mirror)
    desk.git("merge", "--quiet", "main-cluster", status=1)
    desk.git("checkout", "--ours", "params/weights.yaml")
    desk.git("commit", "--quiet", "--all", "--message", "Decide")
    mirror.round()
    assert (desk.get("gate.trades"), desk.get("weights.c")) == (30, 0.4)
    desk.in_step()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("trades: 30", "trades: 5000", "above its maximum 500"),
        ("high: 0.5", "high: 0.1", "must be above"),
        ("trades: 30", "trades: [", "gate.yaml"),
        ("trades: 30", "trades: true", "trades"),
    ],
)
def test_an_edit_that_breaks_a_rule_reaches_nobody(desk: Desk, old: str, new: str, words: str) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.merge(old, new)
    with pytest.raises(InvalidFileError, match=f"(?s){words}.*nothing of it went to the cluster"):
        mirror.round()
    assert desk.get("gate.trades") == 30 and desk.learner.revision == 0
    desk.learn(44)
    with pytest.raises(ParamstoreError):
        mirror.round()
    desk.git("revert", "--no-edit", "HEAD")
    mirror.round()
    assert desk.get("gate.trades") == 44
    desk.in_step()


def test_a_frozen_value_is_not_moved_by_a_merge(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.learner.freeze("gate.trades", author="boss", reason="hold it")
    desk.merge("trades: 30", "trades: 50")
    with pytest.raises(GitError, match=r"`gate\.trades` \(by boss: hold it\): frozen"):
        mirror.round()
    assert desk.get("gate.trades") == 30
    desk.learner.unfreeze("gate.trades", author="boss", reason="go")
    mirror.round()
    assert desk.get("gate.trades") == 50
    desk.in_step()


# --- namespaces and schemas -----------------------------------------------------------------------


def _add(desk: Desk, name: str, values: bool = True) -> None:
    made = json.dumps(schema({"x": number(1.0)}), indent=1) + "\n"
    (desk.root / "schemas" / f"{name}.schema.json").write_text(made)
    if values:
        (desk.root / "params" / f"{name}.yaml").write_text("schema: 1\nvalues:\n  x: 2.0\n")
    desk.git("add", "--all")


def test_schemas_and_new_namespaces_go_over(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    _add(desk, "extra")
    desk.edit('"maximum": 500', '"maximum": 600', desk.root / "schemas" / "gate.schema.json")
    desk.merge("trades: 30", "trades: 550", "More")
    desk.learn(31)  # beside a schema that changes
    with pytest.raises(GitError, match="both changed trades"):
        mirror.round()
    desk.edit("trades: 550", "trades: 31")
    desk.git("commit", "--quiet", "--all", "--message", "Agree")
    done = mirror.round()
    changed = [
        "params/extra.yaml",
        "params/gate.yaml",
        "schemas/extra.schema.json",
        "schemas/gate.schema.json",
    ]
    assert done.proposed == changed
    assert desk.get("extra.x") == 2.0
    desk.learn(590)
    mirror.round()
    desk.in_step()


def test_half_a_namespace_waits_for_the_other_half(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    _add(desk, "extra", values=False)
    desk.git("commit", "--quiet", "--message", "Draft")
    with pytest.raises(GitError, match=r"extra\.schema\.json is there without params/extra\.yaml"):
        mirror.round()
    _add(desk, "extra")
    desk.git("commit", "--quiet", "--message", "Whole")
    mirror.round()
    assert desk.get("extra.x") == 2.0


def test_a_schema_that_both_changed_is_decided_in_git(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    path = desk.root / "schemas" / "gate.schema.json"
    raw = path.read_bytes()
    client = desk.shop.cluster.client()
    client.write([], [(desk.shop.place.schema("gate"), raw.replace(b"500", b"700"))], [], [], 5.0)
    client.close()
    desk.edit('"maximum": 500', '"maximum": 600', path)
    desk.git("commit", "--quiet", "--all", "--message", "Six")
    with pytest.raises(GitError, match=r"gate\.schema\.json was changed in git and in the cluster"):
        mirror.round()
    desk.git("merge", "--quiet", "--strategy-option=theirs", "--no-edit", "main-cluster")
    mirror.round()
    assert b"700" in desk.shown("schemas/gate.schema.json")
    desk.learn(690)
    mirror.round()
    assert desk.git("status", "--porcelain") == ""


def test_a_namespace_goes_once_both_sides_removed_it(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.git("rm", "--quiet", "params/weights.yaml", "schemas/weights.schema.json")
    desk.git("commit", "--quiet", "--message", "Away")
    with pytest.raises(GitError, match=r"params/weights\.yaml was removed in git.*approver"):
        mirror.round()
    client, place = desk.shop.cluster.client(), desk.shop.place
    client.write([], [], [place.values("weights"), place.schema("weights")], [], 5.0)
    mirror.round()
    assert "weights" not in desk.git("ls-tree", "-r", "--name-only", "main")
    client.write([], [], [place.values("gate"), place.schema("gate")], [], 5.0)
    client.close()
    mirror.round()  # and the other way round
    assert "gate" not in desk.git("ls-tree", "-r", "--name-only", "main")


def test_a_namespace_that_went_comes_back(desk: Desk) -> None:
    """Both sides came to the same without a line in the journal, and git goes on from that."""
    mirror = desk.mirror()
    mirror.round()
    _add(desk, "extra")
    desk.git("commit", "--quiet", "--message", "Extra")
    mirror.round()
    desk.git("revert", "--no-edit", "HEAD~")
    client, place = desk.shop.cluster.client(), desk.shop.place
    client.write([], [], [place.values("extra"), place.schema("extra")], [], 5.0)
    client.close()
    mirror.round()
    _add(desk, "extra")
    desk.git("commit", "--quiet", "--message", "Extra after all")
    mirror.round()
    assert desk.get("extra.x") == 2.0
    assert mirror.round() == Round()


def test_values_there_that_break_a_rule_are_told(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    raw = desk.path.read_bytes()
    client, key = desk.shop.cluster.client(), desk.shop.place.values("gate")
    client.write([], [(key, raw.replace(b"30", b"5000"))], [], [], 5.0)
    with pytest.raises(GitError, match=r"breaks a rule.*above its maximum 500.*Put it right there"):
        mirror.round()
    client.write([], [(key, raw)], [], [], 5.0)
    client.close()
    mirror.round()
    desk.in_step()


# --- where git stands -----------------------------------------------------------------------------


def test_what_others_keep_beside_the_store_stays(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    (desk.root / "params" / ".lint.yaml").write_text("x: 1\n")
    (desk.root / "params" / "journal" / "notes.jsonl").write_text("{}\n")
    desk.git("add", "--all")
    desk.git("commit", "--quiet", "--message", "Notes")
    desk.learn(44)
    mirror.round()
    listed = desk.git("ls-tree", "-r", "--name-only", "main").split()
    assert {"params/.lint.yaml", "params/journal/notes.jsonl"} <= set(listed)


def test_settings_of_git_change_nothing(desk: Desk) -> None:
    for setting in ("grep.patternType=fixed", "i18n.logOutputEncoding=ISO-8859-1", "merge.autoStash=true"):
        desk.git("config", *setting.split("="))
    mirror = desk.mirror()
    mirror.round()
    assert mirror.round() == Round()
    desk.merge("trades: 30", "trades: 50", "Größer\x85\x0bnun")
    mirror.round()
    entry = desk.learner.history()[-1]
    assert (entry.author, entry.reason) == ("Ann Person", "Größer\x85\x0bnun")
    desk.in_step()
    desk.edit("trades: 50", "trades: 51")
    desk.learn(52)
    with pytest.raises(GitError, match="overwritten by merge"):
        mirror.round()
    assert "trades: 51" in desk.path.read_text()


def test_a_first_commit_overwrites_no_ignored_files(desk: Desk) -> None:
    (desk.root / ".git" / "info" / "exclude").write_text("params/\n")
    desk.path.parent.mkdir()
    desk.path.write_text("mine\n")
    with pytest.raises(GitError, match=r"params/gate\.yaml: there in .*Move them away"):
        desk.mirror().round()
    assert desk.path.read_text() == "mine\n"
    desk.path.unlink()
    desk.mirror().round()
    desk.in_step()


def test_a_work_tree_that_is_gone_holds_up_nothing(desk: Desk, tmp_path: Path) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.git("worktree", "add", "--quiet", "-b", "other", str(tmp_path / "gone"))
    shutil.rmtree(tmp_path / "gone")
    (tmp_path / "gone").mkdir()  # something else is there now
    desk.learn(46)
    mirror.round()
    desk.in_step()


def test_a_link_in_place_of_values_holds_back_git_alone(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.path.rename(desk.root / "elsewhere.yaml")
    desk.path.symlink_to("../elsewhere.yaml")
    desk.git("add", "--all")
    desk.git("commit", "--quiet", "--message", "Link")
    desk.learn(44)
    with pytest.raises(InvalidFileError, match=r"a symbolic link.*main-cluster"):
        mirror.round()
    assert b"trades: 44" in desk.shown("params/gate.yaml", "main-cluster")


def test_git_packs_what_the_rounds_leave(desk: Desk) -> None:
    for setting in ("gc.auto=1", "gc.autoDetach=false"):
        desk.git("config", *setting.split("="))
    for number_ in range(700):  # git guesses from one of its 256 folders
        (desk.root / f"{number_}").write_text(f"{number_}")
    desk.git("add", "--all")
    mirror = desk.mirror(branch="beside")  # checked out nowhere, so that git's merge tidies nothing
    mirror.round()
    assert "packs: 1" in desk.git("count-objects", "-v")


def test_a_repository_with_longer_names(desk: Desk) -> None:
    shutil.rmtree(desk.root)
    desk.run(
        desk.root.parent,
        "init",
        "--quiet",
        "--object-format=sha256",
        "--initial-branch=other",
        str(desk.root),
    )
    desk.mirror().round()  # checked out is another
    desk.git("checkout", "--quiet", "main")
    desk.merge("trades: 30", "trades: 45")
    desk.mirror().round()
    assert desk.get("gate.trades") == 45
    desk.in_step()


def test_folders_are_no_patterns(desk: Desk) -> None:
    name = ":(top)wie[ab]* ö"
    mirror = desk.mirror(within=name)
    mirror.round()
    desk.edit("trades: 30", "trades: 33", desk.root / name / "params" / "gate.yaml")
    desk.git("commit", "--quiet", "--all", "--message", "Here")
    mirror.round()
    assert (desk.get("gate.trades"), desk.learner.history()[-1].reason) == (33, "Here")


def test_edits_that_are_not_committed_stay(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    (desk.root / "notes.txt").write_text("mine")
    desk.edit("c: 0.2", "c: 0.4", desk.root / "params" / "weights.yaml")
    desk.learn(45)
    mirror.round()  # of another file: git brings both together
    assert "trades: 45" in desk.path.read_text()
    assert "c: 0.4" in (desk.root / "params" / "weights.yaml").read_text()
    desk.edit("trades: 45", "trades: 50")
    desk.learn(46)
    with pytest.raises(GitError, match=r"(?s)git merge.*params/gate\.yaml"):
        mirror.round()
    assert "trades: 50" in desk.path.read_text() and (desk.root / "notes.txt").read_text() == "mine"
    desk.git("stash", "--quiet")
    mirror.round()
    (desk.root / "notes.txt").unlink()
    desk.in_step()


def test_nothing_moves_while_git_is_amid_something(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.git("checkout", "--quiet", "-b", "mine")
    desk.merge("trades: 30", "trades: 60")
    desk.git("checkout", "--quiet", "main")
    desk.merge("trades: 30", "trades: 70")
    before = desk.learner.revision
    desk.git("rebase", "mine", status=1)
    with pytest.raises(GitError, match="A rebase is under way"):
        mirror.round()
    assert desk.learner.revision == before and desk.git("rev-parse", "--git-path", "rebase-merge")
    desk.mirror(branch="beside").round()  # which that rebase is no part of
    desk.git("checkout", "--theirs", "params/gate.yaml")
    desk.git("add", "--all")
    desk.git("-c", "core.editor=true", "rebase", "--continue")
    mirror.round()
    assert desk.get("gate.trades") == 70
    desk.in_step()


def test_only_the_branch_counts_whatever_is_checked_out(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.git("checkout", "--quiet", "-b", "idea")
    desk.merge("trades: 30", "trades: 60")
    desk.learn(45)
    mirror.round()
    assert desk.get("gate.trades") == 45 and "trades: 60" in desk.path.read_text()
    desk.in_step("main")
    desk.git("checkout", "--quiet", "--detach", "main~")
    desk.learn(46)
    mirror.round()
    assert "trades: 30" in desk.path.read_text()
    desk.in_step("main")


def test_journal_lines_that_git_lost_or_made_up_are_put_right(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    for value in (40, 41, 42):
        desk.learn(value)
        mirror.round()
    segment = next((desk.root / "params" / "journal").iterdir())
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:2], lines[0]]))
    desk.git("commit", "--quiet", "--all", "--message", "Lose lines")
    mirror.round()
    desk.in_step()
    assert len(desk.journal()) == 4


def test_a_repository_holds_more_than_the_store(desk: Desk) -> None:
    (desk.root / "bot.py").write_text("print()\n")
    (desk.root / "live" / "params").mkdir(parents=True)
    (desk.root / "live" / "params" / "README.md").write_text("Values.\n")
    desk.git("add", "--all")
    desk.git("commit", "--quiet", "--message", "A bot")
    mirror = desk.mirror(within="live")
    mirror.round()
    desk.edit("trades: 30", "trades: 33", desk.root / "live" / "params" / "gate.yaml")
    (desk.root / "bot.py").write_text("print(1)\n")
    desk.git("commit", "--quiet", "--all", "--message", "Both")
    assert mirror.round().proposed == ["params/gate.yaml"]
    assert desk.get("gate.trades") == 33
    listed = desk.git("ls-tree", "-r", "--name-only", "main").split()
    assert {"bot.py", "live/params/README.md", "live/params/gate.yaml"} <= set(listed)
    assert b"print(1)" in desk.shown("bot.py") and desk.git("status", "--porcelain") == ""


# --- where both begin -----------------------------------------------------------------------------


def test_the_copied_store_is_gone_on_with(desk: Desk, tmp_path: Path) -> None:
    desk.mirror().round()
    desk.learn(40)
    desk.mirror(branch="other").round()
    text = desk.git("log", "-1", "--format=%B", "other")
    plain = "\n".join(line for line in text.splitlines() if "In-Step" not in line)
    tree = desk.git("rev-parse", "other^{tree}")
    start = desk.git("commit-tree", "-m", plain, tree)  # as whoever copied it has it in git
    desk.git("branch", "copied", start)
    desk.git("checkout", "--quiet", "copied")
    desk.merge("high: 0.5", "high: 0.6")
    desk.learn(41)
    mirror = desk.mirror(branch="copied")
    mirror.round()
    assert desk.get("gate.tiers.high") == 0.6 and desk.get("gate.trades") == 41
    desk.in_step("copied")


def test_another_store_is_not_taken_for_this_one(desk: Desk) -> None:
    desk.mirror().round()
    desk.git("checkout", "--quiet", "--orphan", "strange")
    desk.merge("trades: 30", "trades: 31")
    with pytest.raises(GitError, match="none of its last commits is as this cluster is or was"):
        desk.mirror(branch="strange").round()
    assert desk.get("gate.trades") == 30


def test_a_cluster_that_was_put_back_is_told_apart(desk: Desk, cluster: object, tmp_path: Path) -> None:
    desk.mirror().round()
    desk.learn(40)
    desk.mirror().round()
    other = Shop(desk.shop.cluster, tmp_path / "else")
    (tmp_path / "else").mkdir()
    other.fill(SCHEMAS, VALUES)
    mirror = GitMirror(Branch(str(desk.root), "main", None), other.backend("one"), moved=True)
    with pytest.raises(GitError, match="the journal of this cluster has no such entry"):
        mirror.round()
    other.close()
    desk.in_step()


def test_what_was_tried_on_another_store_is_merged_into_the_live_branch(desk: Desk, tmp_path: Path) -> None:
    """Both stores have their branch, in the same folder; the claims of the one say nothing of the other."""
    desk.mirror().round()
    (tmp_path / "trial").mkdir()
    shop = Shop(desk.shop.cluster, tmp_path / "trial")
    shop.fill(SCHEMAS, VALUES)
    desk.git("branch", "trial", desk.git("rev-parse", "main"))
    desk.git("checkout", "--quiet", "trial")
    claims = desk.git("log", "-1", "--format=%B")
    desk.git("commit", "--quiet", "--amend", "--message", claims.partition("Paramstore-In-Step")[0])
    trial = GitMirror(Branch(str(desk.root), "trial", None), shop.backend("one"))
    trial.round()
    for value in (70, 71, 72):
        desk.merge(
            "trades: 30" if value == 70 else f"trades: {value - 1}", f"trades: {value}", f"Try {value}"
        )
        trial.round()
    desk.git("checkout", "--quiet", "main")
    desk.git(
        "merge",
        "--quiet",
        "--no-ff",
        "--strategy-option=theirs",
        "--allow-unrelated-histories",
        "--message",
        "Promote",
        "trial",
    )
    desk.learn(30)
    desk.mirror().round()
    assert desk.get("gate.trades") == 72
    desk.in_step()
    shop.close()


def test_a_store_that_moved_goes_on_and_a_wrong_one_does_not(desk: Desk, tmp_path: Path) -> None:
    desk.mirror().round()
    desk.learn(40)
    desk.mirror().round()
    for words in (
        (desk.shop.place.url, str(tmp_path / "files")),
        (str(tmp_path / "files"), f"{desk.shop.place.url}-new"),
    ):
        assert CliRunner().invoke(cli, ["copy", *words]).exit_code == 0
    (tmp_path / "new").mkdir()
    shop = Shop(desk.shop.cluster, tmp_path / "new")
    shop.place = parse(f"{desk.shop.place.url}-new")
    learner = ParamStore(backend=shop.backend("far"), environ={})
    with learner.transaction(author="elsewhere") as tx:
        tx["gate.trades"] = 77  # the past is shared, this is not
    branch, backend = Branch(str(desk.root), "main", None), shop.backend("one")
    with pytest.raises(GitError, match=r"never with one at .*-new/\. Is it the right branch\?"):
        GitMirror(branch, backend).round()
    desk.in_step()
    GitMirror(branch, backend, moved=True).round()
    assert "trades: 77" in desk.path.read_text()
    GitMirror(branch, backend).round()
    desk.mirror().round()  # the old one has claims of its own, and a person's decision to go on with the new
    shop.close()


def test_a_branch_that_is_not_there_is_not_made_up(desk: Desk) -> None:
    desk.mirror().round()
    with pytest.raises(GitError, match="There is no branch mian; there is main"):
        GitMirror(Branch(str(desk.root), "mian", None), desk.shop.backend("typo")).round()
    assert desk.git("branch", "--format=%(refname:short)") == "main"


def test_a_claim_whose_content_is_another_is_not_believed(desk: Desk) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.learn(40)
    mirror.round()
    claim = desk.git("log", "-1", "--format=%B")
    desk.edit("high: 0.5", "high: 0.6")
    desk.git("commit", "--quiet", "--all", "--message", f"Squashed\n\n{claim}")
    for number_ in ("9" * 5000, "--5"):  # no number that anybody can count to
        desk.git("commit", "--allow-empty", "--message", f"Odd\n\nParamstore-In-Step: {number_} a {64 * '0'}")
    desk.mirror().round()
    assert desk.get("gate.tiers.high") == 0.6
    desk.in_step()


def test_the_mirror_of_the_machine_is_kept_out_of_the_work_tree(desk: Desk) -> None:
    (desk.root / "mirror").mkdir()
    for name in ("tree/mirror", "tree/not/yet/there"):
        with pytest.raises(GitError, match="is in the work tree"):
            GitMirror(Branch(str(desk.root), "main", None), desk.shop.backend(name))


# --- cut off, and others at the same time ----------------------------------------------------------


def _cut_off(mirror: GitMirror, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(name, die)
        with pytest.raises(KeyboardInterrupt):
            mirror.round()


@pytest.mark.parametrize(
    "where", ["paramstore._git_branch.Branch.advance", "paramstore._git_mirror.GitMirror._commit"]
)
def test_a_round_that_was_cut_off_is_gone_on_with(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    mirror = desk.mirror()
    mirror.round()
    desk.merge("trades: 30", "trades: 50")
    _cut_off(mirror, monkeypatch, where)
    assert desk.get("gate.trades") == 50
    desk.learn(51)  # no clash: what git has was taken over, and changed after that
    desk.merge("high: 0.5", "high: 0.6")
    desk.mirror().round()
    assert desk.get("gate.trades") == 51 and desk.get("gate.tiers.high") == 0.6
    desk.in_step()


class Hub(Desk):
    """The same with a remote, to which a person pushes from a clone."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        super().__init__(shop, folder)
        self.remote, self.clone = folder / "remote.git", folder / "clone"
        self.run(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
        self.git("remote", "add", "origin", str(self.remote))

    def person(self, old: str, new: str) -> None:
        """Push an edit from the clone."""
        if not self.clone.exists():
            self.run(self.root.parent, "clone", "--quiet", str(self.remote), str(self.clone))
        self.run(self.clone, "pull", "--quiet", "--rebase")
        self.edit(old, new, self.clone / "params" / "gate.yaml")
        self.run(self.clone, "commit", "--quiet", "--all", "--message", f"{old} to {new}")
        self.run(self.clone, "push", "--quiet")


@pytest.fixture
def hub(desk: Desk, tmp_path: Path) -> Hub:
    (tmp_path / "hub").mkdir()
    return Hub(Shop(desk.shop.cluster, tmp_path / "hub"), tmp_path / "hub")


def test_the_branch_of_a_remote(hub: Hub) -> None:
    mirror = hub.mirror("origin")
    mirror.round()
    hub.git("checkout", "--quiet", "-b", "main", "origin/main")
    hub.person("high: 0.5", "high: 0.7")
    hub.learn(47)
    done = mirror.round()
    assert (done.revision, done.behind) == (2, "")
    assert (hub.get("gate.tiers.high"), hub.get("gate.trades")) == (0.7, 47)
    hub.in_step()  # the local branch, with its work tree, came after
    assert hub.git("rev-parse", "main") == hub.run(hub.remote, "rev-parse", "main")
    hub.edit("trades: 47", "trades: 48")
    hub.learn(49)
    assert "params/gate.yaml" in mirror.round().behind  # told, and no reason to stop
    hub.git("checkout", "--quiet", "params/gate.yaml")
    mirror.round()
    hub.in_step()


def test_what_was_decided_at_the_remote_is_left_alone(hub: Hub) -> None:
    mirror = hub.mirror("origin")
    mirror.round()
    hub.learn(45)
    hub.person("trades: 30", "trades: 60")
    assert "origin/main-cluster" in _clash(mirror)

    def there(*words: str, status: int = 0) -> str:
        return hub.run(hub.clone, *words, status=status)

    def decide(branch: str, other: str, side: str) -> None:
        there("fetch", "--quiet")
        there("checkout", "--quiet", branch)
        there("merge", "--quiet", other, status=1)
        there("checkout", side, "params/gate.yaml")
        there("commit", "--quiet", "--all", "--message", "Sixty")
        there("push", "--quiet")

    decide("main-cluster", "origin/main", "--theirs")
    hub.learn(46)
    assert "is not merged yet" in _clash(mirror)
    there("checkout", "--quiet", "main")
    there("merge", "--quiet", "main-cluster")
    there("push", "--quiet")
    assert "What stands there is on the branch" in _clash(mirror)  # begun anew there, beside what was merged
    decide("main", "origin/main-cluster", "--ours")
    mirror.round()
    assert hub.get("gate.trades") == 60
    hub.git("fetch", "--quiet")
    hub.in_step("origin/main")


def test_others_push_between_fetch_and_push(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = hub.mirror("origin")
    mirror.round()
    hub.person("high: 0.5", "high: 0.6")
    plain: Callable[..., bool] = Branch.advance
    came: list[str] = []

    def crowded(self: Branch, commit: str, tip: str, ref: str = "") -> bool:
        if len(came) < 2:  # the cluster has what was fetched, and now there is more in git and in the cluster
            came.append(commit)
            hub.person(f"trades: {29 + len(came)}", f"trades: {30 + len(came)}")
            with hub.learner.transaction(author="learner") as tx:
                tx["gate.tiers.high"] = 0.6 + len(came) / 100
        return plain(self, commit, tip, ref)

    monkeypatch.setattr(Branch, "advance", crowded)
    mirror.round()
    assert (hub.get("gate.tiers.high"), hub.get("gate.trades")) == (0.62, 32)
    hub.git("fetch", "--quiet")
    hub.in_step("origin/main")


def test_two_mirrors_of_one_branch(hub: Hub) -> None:
    other = Desk.mirror(hub, "origin")
    mirror = hub.mirror("origin")
    mirror.round()
    for number_ in range(6):
        hub.person(f"trades: {30 + number_}", f"trades: {31 + number_}")
        (mirror if number_ % 2 else other).round()
        assert (other if number_ % 2 else mirror).round().revision is None
    assert hub.get("gate.trades") == 36 and len(hub.learner.history()) == 7
    hub.git("fetch", "--quiet")
    hub.in_step("origin/main")


def test_two_mirrors_bring_an_edit_there_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look of one and its transaction another brings the edit there, and a learner takes it back."""
    mirror, other = desk.mirror(), GitMirror(Branch(str(desk.root), "main", None), desk.shop.backend("else"))
    mirror.round()
    desk.merge("trades: 30", "trades: 60")
    plain = mirror._backend.session
    came: list[bool] = []

    def crowded(*words: Any) -> Any:
        if not came:
            came.append(True)
            with monkeypatch.context() as patch:
                patch.setattr(
                    "paramstore._git_mirror.alone", lambda *_: nullcontext()
                )  # as on a machine of its own
                _cut_off(other, patch, "paramstore._git_branch.Branch.advance")
            desk.learn(30)
        return plain(*words)

    monkeypatch.setattr(mirror._backend, "session", crowded)
    mirror.round()
    assert desk.get("gate.trades") == 30
    desk.in_step()


def test_mirrors_in_one_repository_take_turns(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = desk.mirror()
    mirror.round()
    with ThreadPoolExecutor() as pool, alone(str(desk.root / ".git" / "paramstore-mirror.lock"), ""):
        with monkeypatch.context() as patch, pytest.raises(GitError, match="Another mirror is at work"):
            patch.setattr(mirror._backend.options, "timeout_s", 0.1)
            mirror.round()
        waiting = pool.submit(mirror.round)
        time.sleep(0.3)
        assert not waiting.done()
    assert waiting.result() == Round()


def test_a_remote_may_be_a_path_from_the_work_tree_and_mirrored(hub: Hub) -> None:
    hub.git("remote", "set-url", "origin", "../remote.git")
    hub.git(
        "config", "remote.origin.mirror", "true"
    )  # as in a clone that a server keeps; git would push all refs or none
    hub.mirror("origin").round()
    hub.git("fetch", "--quiet")
    hub.in_step("origin/main")


def test_a_remote_that_is_silent_or_refuses(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = hub.mirror("origin")
    mirror.round()
    hook = hub.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho closed >&2\nexit 1\n")
    hook.chmod(0o755)
    hub.learn(41)
    with pytest.raises(GitError, match=r"(?s)git push: .*closed"):
        mirror.round()
    hook.unlink()
    hub.person("trades: 30", "trades: 60")
    hook.write_text("#!/bin/sh\necho closed >&2\nexit 1\n")
    hook.chmod(0o755)
    assert "could not be shown on the branch origin/main-cluster: git push" in _clash(mirror)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hub.git("remote", "set-url", "origin", f"git://127.0.0.1:{silent.getsockname()[1]}/x")
        monkeypatch.setattr(_git, "REMOTE_S", 0.5)
        with pytest.raises(GitError, match=r"git ls-remote: no answer within 0\.5 s"):
            mirror.round()


# --- the command ------------------------------------------------------------------------------------


def run(*words: str, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def command(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("PARAMSTORE_BACKEND", desk.shop.place.url)
    monkeypatch.setenv("PARAMSTORE_MIRROR", str(desk.shop.folder / "cli"))
    return desk


def test_the_command_makes_one_round(command: Desk) -> None:
    where = str(command.root)
    assert "to git as" in run("mirror", where, "--branch=main", "--once").output
    command.merge("trades: 30", "trades: 31")
    said = json.loads(run("mirror", where, "--branch=main", "--once", "--json").output)
    assert (said["revision"], said["proposed"], said["entries"]) == (1, ["params/gate.yaml"], 1)
    assert run("mirror", where, "--branch=main", "--once").output == ""
    command.merge("trades: 31", "trades: 3100")
    assert "above its maximum" in run("mirror", where, "--branch=main", "--once", status=2).output
    for words, told in (
        ((str(command.shop.folder), "--branch=main"), "not a git repository"),
        ((where, "--branch", "-x"), "no branch"),
        ((where, "--branch", "mian"), "There is no branch mian; there are main, main-cluster"),
        ((where, "--branch=main", "--remote", "nowhere"), "nowhere"),
    ):
        assert told in run("mirror", *words, "--once", status=1).output


def test_it_waits_out_what_the_system_refuses(command: Desk) -> None:
    """A folder of its own that cannot be written, for one, as where a disk is full."""
    words = [sys.executable, "-m", "paramstore", "mirror", str(command.root), "--branch=main", "--every=0.1"]
    folder = Path(os.environ["PARAMSTORE_MIRROR"])
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = [process.stdout.readline()]
            folder.rename(folder.with_suffix(".away"))
            folder.touch()
            said.append(process.stdout.readline())
            time.sleep(0.5)
            running = process.poll() is None
            folder.unlink()
            command.learn(44)
            time.sleep(3.0)
        finally:
            process.terminate()
            said += process.communicate(timeout=20)[0].splitlines()
    assert "to git as" in said[0] and "[Errno" in said[1] and running, said
    assert "to git as" in said[-1] and process.returncode == 0, said


def test_it_survives_kills_anywhere_and_goes_on(command: Desk) -> None:
    """A mirror that is killed at odd moments while a learner and a person commit loses nothing, and ends in step."""
    run("mirror", str(command.root), "--branch=main", "--once")
    line = [
        sys.executable,
        "-m",
        "paramstore",
        "mirror",
        str(command.root),
        "--branch=main",
        "--every",
        "0.1",
    ]
    for number_ in range(8):
        with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(0.3 + 0.11 * number_)
            command.learn(40 + number_)
            process.send_signal(signal.SIGKILL)
        (command.root / ".git" / "index.lock").unlink(missing_ok=True)  # of a git that died with it
        command.git("reset", "--quiet", "--hard")
        high = "0.5" if number_ == 0 else f"0.5{number_ - 1}1"
        command.merge(f"high: {high}", f"high: 0.5{number_}1")
    with subprocess.Popen([*line, "--json"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["commits"]
        process.terminate()
        assert process.wait(timeout=20) == 0
    assert command.get("gate.trades") == 47
    assert command.get("gate.tiers.high") == 0.571
    command.in_step()
