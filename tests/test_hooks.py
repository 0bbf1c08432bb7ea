"""The hooks for pre-commit, run by pre-commit in a repository of a user; and the workflow for GitHub."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from paramstore import _init

SOURCE = Path(__file__).resolve().parents[1]
HOOKS = YAML(typ="safe", pure=True).load(SOURCE / ".pre-commit-hooks.yaml")
# What the package is built from; the repository itself is never touched.
PARTS = (
    ".pre-commit-hooks.yaml",
    "LICENSE",
    "README.md",
    "migrate",
    "params",
    "paramstore",
    "pyproject.toml",
    "schemas",
)
BOT = "def passes(confidence):\n    return confidence > {number}\n"


def shell(folder: Path, *words: str, status: int | None = 0, **environ: str) -> str:
    names = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PARAM", "GIT_", "PRE_COMMIT"))
    }
    done = subprocess.run(
        words, cwd=folder, env={**names, **environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )  # fmt: skip
    assert status is None or done.returncode == status, f"{' '.join(words)}\n{done.stdout}"
    return done.stdout


def git(folder: Path, *words: str) -> str:
    person = (
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t.invalid",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "core.hooksPath=",
    )
    return shell(folder, "git", *person, *words)


def repository(folder: Path) -> Path:
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "all")
    return folder


class User:
    """A repository with a store and a bot, where pre-commit has installed our hooks."""

    def __init__(self, folder: Path, hooks: Path) -> None:
        self.root, self._cache = folder / "bot", str(folder / "cache")
        _init.write(str(self.root), _init.shipped())
        self.write("bot.py", BOT.format(number="0"))
        revision = git(hooks, "rev-parse", "HEAD").strip()
        names = [{"id": hook["id"]} for hook in HOOKS]
        chosen = {"repos": [{"repo": str(hooks), "rev": revision, "hooks": names}]}
        with (self.root / ".pre-commit-config.yaml").open("w") as file:
            YAML(typ="safe", pure=True).dump(chosen, file)
        repository(self.root)

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def pre_commit(self, *words: str, status: int | None = 0) -> str:
        command = (sys.executable, "-m", "pre_commit", *words)
        return shell(
            self.root, *command, status=status, PRE_COMMIT_HOME=self._cache, PRE_COMMIT_COLOR="never"
        )

    def run(self, hook: str, status: int = 0) -> str:
        """Run a hook on all files, as for a commit of everything; it must leave every file as it was."""
        git(self.root, "add", "-A")
        said = self.pre_commit("run", hook, "--all-files", status=status)
        assert git(self.root, "diff", "--stat") == ""
        return said


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    folder = tmp_path_factory.mktemp("hooks")
    hooks = folder / "paramstore"
    hooks.mkdir()
    for part in PARTS:
        if (SOURCE / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "journal", ".paramstore", "*.conflict")
            shutil.copytree(SOURCE / part, hooks / part, symlinks=True, ignore=ignored)
        else:
            shutil.copy(SOURCE / part, hooks / part)
    user = User(folder, repository(hooks))
    said = user.pre_commit("install-hooks", status=None)
    if "Could not find a version" in said or "Connection" in said:
        assert "CI" not in os.environ, said
        pytest.skip("pre-commit cannot install the package: no package index can be reached")
    assert "An error has occurred" not in said, said
    return user


@pytest.mark.parametrize("hook", [hook["id"] for hook in HOOKS])
def test_every_hook_is_a_command(hook: str) -> None:
    entry = next(each["entry"] for each in HOOKS if each["id"] == hook)
    words = entry.split()
    assert words[0] == "paramstore"
    said = shell(
        SOURCE, sys.executable, "-m", *[word for word in words if not word.startswith("-")], "--help"
    )
    assert all(word in said for word in words if word.startswith("-"))


def test_check_refuses_what_readers_would(user: User) -> None:
    assert "Passed" in user.run("paramstore-check")
    file = user.root / "params" / "signal_weights.yaml"
    right = file.read_text()
    file.write_text(right.replace("funding: 0.16", "funding: 0.9"))
    said = user.run("paramstore-check", status=1)
    assert "funding" in said
    assert "0.5" in said
    file.write_text(right.replace("funding: 0.16", "funding: 0.15"))  # each in bounds, but the sum is not 1
    assert "sum of" in user.run("paramstore-check", status=1)
    file.write_text(right)
    assert "Passed" in user.run("paramstore-check")


def test_check_runs_only_when_the_store_changes(user: User) -> None:
    git(user.root, "add", "-A")
    assert "Skipped" in user.pre_commit("run", "paramstore-check", "--files", "bot.py")
    for name in ("params/win_rate.yaml", "schemas/win_rate.schema.json"):
        assert "Passed" in user.pre_commit("run", "paramstore-check", "--files", name)


def test_lint_refuses_a_new_tunable(user: User) -> None:
    assert "Passed" in user.run("paramstore-lint")
    user.write("bot.py", BOT.format(number="0.55"))
    assert "bot.py:2: 0.55 could be" in user.run("paramstore-lint", status=1)
    user.write("bot.py", BOT.format(number="0.55  # paramstore: ignore[by the exchange]"))
    assert "Passed" in user.run("paramstore-lint")
    user.write("bot.py", BOT.format(number="0.55"))
    shell(user.root, sys.executable, "-m", "paramstore", "migrate", "scan", "bot.py")
    assert "Passed" in user.run("paramstore-lint")  # it is in the plan: somebody has looked at it


def test_stubs_must_follow_the_schemas(user: User) -> None:
    user.run("paramstore-stubs", status=1)  # there are none yet
    shell(user.root, sys.executable, "-m", "paramstore", "stubs")
    assert "Passed" in user.run("paramstore-stubs")
    file = user.root / "schemas" / "win_rate.schema.json"
    right = file.read_text()
    file.write_text(right.replace('"middle"', '"centre"'))
    assert "centre" in user.run("paramstore-stubs", status=1)
    file.write_text(right)
    assert "Passed" in user.run("paramstore-stubs")


def test_the_documented_choices_are_right(user: User, tmp_path: Path) -> None:
    text = (SOURCE / "docs" / "editors.md").read_text(encoding="utf-8")
    whole, more = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / ".pre-commit-config.yaml").write_text(whole + more)
    shell(tmp_path, sys.executable, "-m", "pre_commit", "validate-config")
    named = [hook for repo in YAML(typ="safe", pure=True).load(whole)["repos"] for hook in repo["hooks"]]
    assert [hook["id"] for hook in named] == [hook["id"] for hook in HOOKS]
    for hook in YAML(typ="safe", pure=True).load(more):
        offered = next(each for each in HOOKS if each["id"] == hook["id"])
        words = [*hook.get("entry", offered["entry"]).split()[1:], *hook.get("args", [])]
        words = [{"bot": ".", "migration/plan.yaml": "plan.yaml"}.get(word, word) for word in words]
        scanned = ["bot.py"] if hook["id"] == "paramstore-lint" else []
        shell(user.root, sys.executable, "-m", "paramstore", "migrate", "scan", "bot.py")
        shell(user.root, sys.executable, "-m", "paramstore", *words, *scanned)


# -- the workflow -----------------------------------------------------------------------------------

WORKFLOW = SOURCE / "examples" / "github-action.yml"
# Stands in for GitHub: keeps one comment in a file.
GH = """#!/usr/bin/env bash
echo "$@" >> "$CALLS"
last="${@: -1}"
case "$*" in
  *--jq*) [ ! -e "$POSTED" ] || echo 17 ;;
  *body=@*) cp "${last#body=@}" "$POSTED" ;;
  *) exit 1 ;;
esac
"""


def steps(job: str) -> dict[str, str]:
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(WORKFLOW)
    return {step["name"]: step["run"] for step in content["jobs"][job]["steps"] if "run" in step}


def test_the_workflow_is_one() -> None:
    schema = ("--builtin-schema", "vendor.github-workflows")
    shell(SOURCE, sys.executable, "-m", "check_jsonschema", *schema, str(WORKFLOW))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the workflow checks out: a base, and a head that changes a value."""
    root = tmp_path / "bot"
    _init.write(str(root), _init.shipped())
    (root / "bot.py").write_text(BOT.format(number="0"))
    repository(root)
    file = root / "params" / "conviction_gate.yaml"
    file.write_text(file.read_text().replace("min_trades: 30", "min_trades: 40"))
    git(root, "commit", "-qam", "more trades")
    return root


def run_step(folder: Path, run: str, status: int = 0, **environ: str) -> str:
    tools = folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "gh").write_text(GH)
    (tools / "paramstore").write_text(f'#!/bin/sh\nexec {sys.executable} -m paramstore "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    return shell(folder, "bash", "-e", "-o", "pipefail", "-c", run, status=status, PATH=path, **environ)


def test_the_workflow_checks(checkout: Path) -> None:
    run_step(checkout, "paramstore stubs")
    for name, run in steps("check").items():
        if name != "install":
            run_step(checkout, run)
    (checkout / "bot.py").write_text(BOT.format(number="0.55"))
    assert "0.55" in run_step(checkout, steps("check")["no new hardcoded tunables"], status=1)


def test_the_workflow_says_what_changes_in_one_comment(checkout: Path, tmp_path: Path) -> None:
    base, head = (git(checkout, "rev-parse", name).strip() for name in ("HEAD~1", "HEAD"))
    environ: dict[str, str] = {"BASE": base, "HEAD": head, "NUMBER": "5", "GITHUB_REPOSITORY": "me/bot", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
               "CALLS": str(tmp_path / "calls"), "POSTED": str(tmp_path / "posted")}  # fmt: skip
    for _ in range(2):
        run_step(checkout, steps("changes")["compare"], 0, **environ)
        run_step(checkout, steps("changes")["comment"], 0, **environ)
    posted = (tmp_path / "posted").read_text()
    assert posted.startswith("<!-- paramstore -->\n")
    assert all(word in posted for word in ("conviction_gate.min_trades", "30", "40"))
    assert "conviction_gate.min_trades" in (tmp_path / "summary").read_text()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.partition(" ")[2].split()[0] for call in calls[::2]] == [
        "repos/me/bot/issues/5/comments"
    ] * 2
    assert "PATCH" not in calls[1]
    assert "PATCH repos/me/bot/issues/comments/17" in calls[3]
