"""A git work tree in step with a cluster: what is committed on one side comes to the other, and nothing is lost on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from etcd_servers import Shop
from local_store import number, schema

from paramstore import ParamStore
from paramstore._git_mirror import GitMirror
from paramstore._journal import Journal
from paramstore.cli import cli
from paramstore.errors import DocumentError, GitError
from paramstore.testing import SCHEMAS, VALUES


class Tree:
    """The work tree of a person beside a cluster, the remote that both push to, and a learner on another machine."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        shop.fill(SCHEMAS, VALUES)
        self.shop = shop
        self.remote, self.root = folder / "remote.git", folder / "tree"
        self.environ = {
            name: text for name, text in os.environ.items() if not name.startswith(("GIT_", "PARAM"))
        }
        self.environ["GIT_CONFIG_GLOBAL"] = os.devnull
        for name in ("AUTHOR", "COMMITTER"):
            self.environ |= {f"GIT_{name}_NAME": "Ann Person", f"GIT_{name}_EMAIL": "ann@example.org"}
        self.run(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
        self.run(folder, "init", "--quiet", "--initial-branch=main", str(self.root))
        self.git("remote", "add", "origin", str(self.remote))
        self.learner = ParamStore(backend=shop.backend("far"), environ={})
        self.rounds = GitMirror(str(self.root), shop.backend("here"))

    def run(self, folder: Path, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=folder, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def git(self, *words: str) -> str:
        return self.run(self.root, *words)

    @property
    def path(self) -> Path:
        return self.root / "params" / "gate.yaml"

    def edit(self, old: str, new: str, path: Path | None = None) -> None:
        path = path or self.path
        text = path.read_text()
        assert old in text, text
        path.write_text(text.replace(old, new))

    def merge(self, old: str, new: str, subject: str = "Raise the bar") -> None:
        """Edit a values file and commit it, as a merged pull request does."""
        self.edit(old, new)
        self.git("commit", "--quiet", "--all", "--message", subject)

    def learn(self, value: int) -> None:
        with self.learner.transaction(author="learner", reason="it pays") as tx:
            tx["gate.trades"] = value

    def journal(self) -> list[str]:
        return [record["id"] for record in Journal(str(self.root / "params/journal")).read(_start())[0]]

    def in_step(self) -> None:
        """See that both sides hold the same, git has all of it, and the work tree is clean."""
        assert self.journal() == [entry.id for entry in self.learner.history()]
        far = self.shop.folder / "far"
        for file in ("params/gate.yaml", "params/weights.yaml", "schemas/gate.schema.json"):
            assert (far / file).read_bytes() == (self.root / file).read_bytes()
        assert self.git("status", "--porcelain") == ""


def _start() -> Any:
    from paramstore._journal import START

    return START


@pytest.fixture
def tree(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    made = Tree(shop, tmp_path)
    for name in [name for name in os.environ if name.startswith(("GIT_", "PARAM"))]:
        monkeypatch.delenv(name)
    for name in [name for name in made.environ if name.startswith("GIT_")]:
        monkeypatch.setenv(name, made.environ[name])
    return made


def test_a_learners_commits_become_git_commits(tree: Tree) -> None:
    tree.rounds.round()
    tree.in_step()
    for value in (40, 41):
        tree.learn(value)
    done = tree.rounds.round()
    assert done.taken == 2 and len(done.commits) == 1
    assert "trades: 41" in tree.git("show", "HEAD:params/gate.yaml")
    assert "gate.trades" in tree.git("log", "-1", "--format=%B")
    tree.in_step()
    again = tree.rounds.round()
    assert (again.pushed, again.taken, again.commits) == ([], 0, [])


def test_a_merged_edit_becomes_a_commit_with_its_author(tree: Tree) -> None:
    tree.rounds.round()
    tree.merge("trades: 30", "trades: 50  # as decided on Monday")
    done = tree.rounds.round()
    assert done.pushed == ["params/gate.yaml"] and done.revision == 1
    entry = tree.learner.history()[-1]
    assert (entry.kind, entry.author, entry.reason) == ("external", "Ann Person", "Raise the bar")
    assert [(change.key, change.old, change.new) for change in entry.changes] == [("gate.trades", 30, 50)]
    assert entry.evidence["git_commit"] == tree.git("rev-parse", "HEAD~").strip()
    assert tree.learner.get("gate.trades") == 50
    assert "# as decided on Monday" in (tree.shop.folder / "far" / "params" / "gate.yaml").read_text()
    tree.in_step()


def test_edits_on_both_sides_meet(tree: Tree) -> None:
    tree.rounds.round()
    tree.learn(45)
    tree.edit("schema: 1", "schema: 1  # bolder")
    tree.merge("high: 0.5", "high: 0.6")
    tree.rounds.round()
    assert (tree.learner.get("gate.trades"), tree.learner.get("gate.tiers.high")) == (45, 0.6)
    assert "# bolder" in tree.path.read_text() and "trades: 45" in tree.path.read_text()
    tree.in_step()


def test_both_changed_the_same_value(tree: Tree) -> None:
    tree.rounds.round()
    tree.learn(45)
    tree.merge("trades: 30", "trades: 60")
    with pytest.raises(GitError, match=r"`gate\.trades` changed in git and in the cluster"):
        tree.rounds.round()
    assert tree.learner.get("gate.trades") == 45 and "trades: 60" in tree.path.read_text()
    tree.merge("trades: 60", "trades: 45", "Agree")  # a person decides, in git
    tree.rounds.round()
    tree.in_step()


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ("trades: 30", "trades: 5000", DocumentError, "above its maximum 500"),
        ("high: 0.5", "high: 0.1", DocumentError, "must be above"),
        ("trades: 30", "trades: [", DocumentError, "gate.yaml"),
    ],
)
def test_an_edit_that_breaks_a_rule_reaches_nobody(
    tree: Tree, old: str, new: str, kind: type[Exception], words: str
) -> None:
    tree.rounds.round()
    tree.merge(old, new)
    with pytest.raises(kind, match=words):
        tree.rounds.round()
    assert tree.learner.get("gate.trades") == 30 and tree.learner.revision == 0
    tree.git("revert", "--no-edit", "HEAD")
    tree.rounds.round()
    tree.in_step()


def test_a_frozen_value_is_not_moved_by_a_merge(tree: Tree) -> None:
    tree.rounds.round()
    tree.learner.freeze("gate.trades", author="boss", reason="hold it")
    tree.merge("trades: 30", "trades: 50")
    with pytest.raises(GitError, match=r"`gate\.trades` \(by boss: hold it\): frozen"):
        tree.rounds.round()
    assert tree.learner.get("gate.trades") == 30
    tree.learner.unfreeze("gate.trades", author="boss", reason="go")
    tree.rounds.round()
    assert tree.learner.get("gate.trades") == 50
    tree.in_step()


def test_an_edit_that_is_not_committed_waits(tree: Tree) -> None:
    tree.rounds.round()
    tree.learn(45)
    tree.edit("trades: 30", "trades: 50")
    with pytest.raises(GitError, match=r"params/gate\.yaml was edited and not committed"):
        tree.rounds.round()
    assert "trades: 50" in tree.path.read_text() and tree.learner.get("gate.trades") == 45
    tree.git("checkout", "--quiet", "--", "params/gate.yaml")
    tree.rounds.round()
    tree.in_step()


def test_schemas_and_new_namespaces_go_over(tree: Tree) -> None:
    tree.rounds.round()
    made = json.dumps(schema({"x": number(1.0)}), indent=1) + "\n"
    (tree.root / "schemas" / "extra.schema.json").write_text(made)
    (tree.root / "params" / "extra.yaml").write_text("schema: 1\nvalues:\n  x: 2.0\n")
    path = tree.root / "schemas" / "gate.schema.json"
    tree.edit('"maximum": 500', '"maximum": 600', path)
    tree.git("add", "--all")
    tree.git("commit", "--quiet", "--message", "One more namespace")
    done = tree.rounds.round()
    assert done.pushed == ["params/extra.yaml", "schemas/extra.schema.json", "schemas/gate.schema.json"]
    assert tree.learner.get("extra.x") == 2.0
    tree.learn(550)
    tree.rounds.round()
    tree.in_step()


def test_a_namespace_that_is_removed_in_git_stays(tree: Tree) -> None:
    tree.rounds.round()
    tree.git("rm", "--quiet", "params/gate.yaml")
    tree.git("commit", "--quiet", "--message", "Away")
    with pytest.raises(GitError, match=r"params/gate\.yaml was removed in git"):
        tree.rounds.round()
    assert tree.learner.get("gate.trades") == 30


def test_a_round_that_was_cut_off_is_gone_on_with(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.rounds.round()
    tree.merge("trades: 30", "trades: 50")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tree.rounds, "_take", die)  # right after the commit in the cluster
    with pytest.raises(KeyboardInterrupt):
        tree.rounds.round()
    monkeypatch.undo()
    assert tree.learner.get("gate.trades") == 50
    monkeypatch.setattr("paramstore._git_mirror.commit", die)  # right before the one in git
    with pytest.raises(KeyboardInterrupt):
        tree.rounds.round()
    monkeypatch.undo()
    done = tree.rounds.round()
    assert done.revision is None and tree.learner.revision == 1
    tree.in_step()


def test_a_journal_that_git_changed_is_put_right(tree: Tree) -> None:
    tree.rounds.round()
    for value in (40, 41, 42):
        tree.learn(value)
        tree.rounds.round()
    segment = next((tree.root / "params" / "journal").iterdir())
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:2]))
    tree.git("commit", "--quiet", "--all", "--message", "Lose lines")
    tree.learn(43)
    tree.rounds.round()
    tree.in_step()


def test_another_store_is_not_taken_for_this_one(tree: Tree) -> None:
    tree.rounds.round()
    other = tree.root.parent / "other"
    tree.run(tree.root.parent, "clone", "--quiet", str(tree.root), str(other))
    path = other / "params" / "gate.yaml"
    path.write_text(path.read_text().replace("trades: 30", "trades: 31"))
    with pytest.raises(GitError, match="holds a store that is not the one in etcd://"):
        GitMirror(str(other), tree.shop.backend("here")).round()
    path.write_text(path.read_text().replace("trades: 31", "trades: 30"))
    tree.learn(40)
    rounds = GitMirror(str(other), tree.shop.backend("here"))
    assert rounds.round().taken == 1  # one that is as the cluster was may begin
    assert "trades: 40" in path.read_text()


def test_the_command_pulls_and_pushes(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.rounds.round()
    tree.git("push", "--quiet", "--set-upstream", "origin", "main")
    monkeypatch.setenv("PARAMSTORE_BACKEND", tree.shop.place.url)
    monkeypatch.setenv("PARAMSTORE_MIRROR", str(tree.shop.folder / "cli"))
    person = tree.root.parent / "person"
    tree.run(tree.root.parent, "clone", "--quiet", str(tree.remote), str(person))
    path = person / "params" / "gate.yaml"
    path.write_text(path.read_text().replace("high: 0.5", "high: 0.7"))
    tree.run(person, "commit", "--quiet", "--all", "--message", "Seven")
    tree.run(person, "push", "--quiet")
    tree.learn(47)
    result = run("mirror", str(tree.root), "--once", "--sync")
    assert "params/gate.yaml to the cluster as revision 2" in result.output, result.output
    assert (tree.learner.get("gate.tiers.high"), tree.learner.get("gate.trades")) == (0.7, 47)
    tree.run(person, "pull", "--quiet")
    assert "trades: 47" in path.read_text() and "high: 0.7" in path.read_text()
    assert run("mirror", str(tree.root), "--once", "--sync").output == ""
    (tree.root / "params" / "gate.yaml").write_text("schema: 1\n")
    assert "not committed" in run("mirror", str(tree.root), "--once", status=1).output


def run(*words: str, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


def test_it_goes_on_round_after_round_until_it_is_told_to_end(tree: Tree) -> None:
    environ = {
        **tree.environ,
        "PARAMSTORE_BACKEND": tree.shop.place.url,
        "PARAMSTORE_MIRROR": str(tree.shop.folder / "cli"),
    }
    command = [sys.executable, "-u", "-m", "paramstore", "mirror", str(tree.root), "--every", "0.2", "--json"]
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert "git commit" in json.loads(process.stdout.readline())["message"]
        tree.learn(48)
        assert "1 line of the journal taken over" in json.loads(process.stdout.readline())["message"]
        process.terminate()
        assert process.wait(timeout=20) == 0
    tree.in_step()
