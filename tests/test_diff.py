"""What differs between two sides: values, who made that, rules; in real git repositories, for people, programs, comments."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from git_store import GitStore
from local_store import age
from markdown_it import MarkdownIt

from paramstore import _figures
from paramstore._compare import Side, compare
from paramstore._git_show import annotated, described, namespace_of, plain_schema
from paramstore._values import ABSENT
from paramstore.cli._diff_markdown import MOST_CHARACTERS, code

FUNDING, LIQUIDATION = "signal_weights.funding", "signal_weights.liquidation"
FLOOR, MIDDLE = "win_rate.floor", "win_rate.middle"
WEIGHTS_FILE, RATES_FILE = "params/signal_weights.yaml", "params/win_rate.yaml"
RATES_SCHEMA, WEIGHTS_SCHEMA = "schemas/win_rate.schema.json", "schemas/signal_weights.schema.json"
JOURNAL = "params/journal/00000001.jsonl"
BY_HAND = "edited by hand, not recorded"
SOURCE = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PARAM", "GIT_")) or name in ("FORCE_COLOR", "COLUMNS", "NO_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))


@pytest.fixture
def repo(tmp_path: Path) -> GitStore:
    """A store with revision 1 in its first git commit, and nothing of paramstore in git's own config."""
    return GitStore.made(tmp_path / "bot", installed=False)


def edit(repo: GitStore, file: str, old: str, new: str) -> None:
    """Edit a file long ago, so that nobody waits for the save to end."""
    repo.edit(file, old, new)
    age(repo.root / file)


def move(repo: GitStore, step: float = 0.01, **more: Any) -> None:
    """Move weight from liquidation to funding."""
    now, other = repo.get(FUNDING), repo.get(LIQUIDATION)
    repo.set({FUNDING: round(now + step, 4), LIQUIDATION: round(other - step, 4)}, **more)


def data(repo: GitStore, *words: str) -> Any:
    return json.loads(repo.say("diff", *words, "--json"))


def changed(found: Any) -> dict[str, tuple[Any, Any]]:
    """Return old and new by key, with its context."""
    return {
        c["key"] + "".join(f"@{n}={v}" for n, v in c["context"].items()): (c.get("old"), c.get("new"))
        for c in found["changes"]
    }


def only(found: Any) -> Any:
    assert len(found["changes"]) == 1, found
    return found["changes"][0]


# --- figures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "absolute", "text"),
    [
        (0.16, 0.17, "0.01", "+0.01 (+6.25 %)"),
        (0.1, 0.3, "0.2", "+0.2 (+200 %)"),  # 0.19999999999999998 in binary
        (0.3, 0.1, "-0.2", "-0.2 (-66.7 %)"),
        (30, 40, "10", "+10 (+33.3 %)"),
        (0, 5, "5", "+5"),
        (-2, -1, "1", "+1 (+50 %)"),
        (1e-300, 1e300, None, "+1e+300 ("),
        (2**62, 2**62 + 1, "1", "+1 (+2.17e-17 %)"),
        (1, 100_000, "99999", "+99999 (+9,999,900 %)"),
        (True, False, None, ""),
        ("a", "b", None, ""),
        (ABSENT, 1, None, ""),
        (0.1, float("nan"), None, ""),
    ],
)
def test_a_difference_is_that_of_the_numbers_people_read(
    old: Any, new: Any, absolute: str | None, text: str
) -> None:
    if absolute is not None:
        assert _figures.difference(old, new) == Decimal(absolute)
    assert _figures.change_text(old, new).startswith(text)
    assert bool(_figures.change_text(old, new)) is bool(text)


@pytest.mark.parametrize(
    ("value", "low", "high", "place"),
    [(0.5, 0, 1, 0.5), (0.01, 0.01, 0.5, 0.0), (0.5, 0.01, 0.5, 1.0), (2, 0, 1, 2.0), (1, 1, 1, None), (1, None, 2, None),
     ("a", 0, 1, None), (True, 0, 1, None)],
)  # fmt: skip
def test_a_position_is_the_way_from_minimum_to_maximum(
    value: Any, low: Any, high: Any, place: float | None
) -> None:
    assert _figures.position(value, low, high) == place


def test_two_positions_that_round_alike_are_told_apart() -> None:
    assert _figures.position_text(0.351, 0.353) == "35.1 % → 35.3 %"
    assert _figures.position_text(0.35, 0.36) == "35 % → 36 %"
    assert _figures.position_text(0.35, 0.35) == "35 % → 35 %"


# --- git against the files ----------------------------------------------------------------------------


def test_nothing_named_shows_what_is_not_committed_to_git(repo: GitStore) -> None:
    assert re.fullmatch(r"no value differs between HEAD \([0-9a-f]{10}\) and the files\n", repo.say("diff"))
    repo.set({FLOOR: 0.41}, author="tier_learner", reason="more wins")
    edit(repo, RATES_FILE, "middle: 0.50", "middle: 0.52")
    said = repo.say("diff").splitlines()
    assert re.fullmatch(r"HEAD \([0-9a-f]{10}\) → the files", said[0])
    line = next(line for line in said if line.startswith(FLOOR))
    for part in ("0.4", "0.41", "+0.01 (+2.5 %)", "50 % → 52 % of 0.2…0.6 fraction of trades", "revision 2"):
        assert part in line
    assert BY_HAND in next(line for line in said if line.startswith(MIDDLE))
    entry = next(line for line in said if "tier_learner" in line)
    assert entry.split()[0] == "2" and entry.endswith("more wins")
    repo.commit_all()
    assert repo.say("diff").startswith("no value differs")


def test_every_figure_is_in_the_json(repo: GitStore) -> None:
    repo.set({FLOOR: 0.43}, author="tier_learner", reason="more wins")
    found = data(repo)
    assert (found["b"], found["namespaces"], found["rules"]) == ("the files", {"came": [], "went": []}, [])
    change = only(found)
    entry = change.pop("entry")
    assert change == {
        "key": FLOOR, "context": {}, "old": 0.4, "new": 0.43, "absolute": 0.03, "relative": 0.075,
        "position": {"old": 0.5, "new": 0.575}, "minimum": 0.2, "maximum": 0.6, "unit": "fraction of trades",
    }  # fmt: skip
    newest = repo.params().history()[-1]
    assert (entry["id"], entry["time"], entry["revision"]) == (newest.id, newest.time, 2)
    assert (entry["author"], entry["reason"], entry["kind"]) == ("tier_learner", "more wins", "commit")
    assert (entry["entries"], entry["taken_back"], entry["edited_since"]) == (1, False, False)


def test_commits_branches_tags_and_ranges(repo: GitStore) -> None:
    repo.git("tag", "-a", "v1", "-m", "begin")
    move(repo)
    repo.commit_all()
    repo.git("branch", "later")
    expected = {LIQUIDATION: (0.22, 0.21), FUNDING: (0.16, 0.17)}
    head = repo.git("rev-parse", "HEAD").strip()
    for words in (
        ["v1"], ["HEAD~1", "HEAD"], ["v1..later"], ["git:v1..later"], ["v1.."], ["v1", head[:12]], ["v1...later"]
    ):  # fmt: skip
        assert changed(data(repo, *words)) == expected, words
    assert changed(data(repo, "later..v1")) == {key: pair[::-1] for key, pair in expected.items()}
    assert data(repo, head[:12])["a"] == head[:10]


def test_a_range_of_three_dots_begins_where_the_histories_parted(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.set({FLOOR: 0.41})
    repo.commit_all()
    repo.git("checkout", "--quiet", "main")
    repo.set({MIDDLE: 0.51})
    repo.commit_all()
    assert changed(data(repo, "main...topic")) == {FLOOR: (0.4, 0.41)}
    assert data(repo, "main...topic")["a"].endswith(" (where main and topic parted)")
    assert changed(data(repo, "main..topic")) == {FLOOR: (0.4, 0.41), MIDDLE: (0.51, 0.5)}


def test_a_store_below_the_top_of_the_work_tree(tmp_path: Path) -> None:
    repo = GitStore.made(tmp_path / "top" / "deep" / "bot", installed=False)
    for name in (".git", ".gitattributes"):
        if (repo.root / name).is_dir():
            (repo.root / name).rename(tmp_path / "top" / name)
    repo.git("add", "--all", ":/")
    repo.git("commit", "--quiet", "--message", "moved below")
    repo.set({FLOOR: 0.41})
    assert only(data(repo))["entry"]["revision"] == 2
    assert data(repo, "HEAD~1")["namespaces"]["came"][0] == "conviction_gate"  # there was no store here then


def test_git_is_asked_for_all_contents_at_once(
    repo: GitStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, folder = tmp_path / "calls", tmp_path / "bin"
    folder.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "git").write_text(f'#!/bin/sh\necho "$1" >> {log}\nexec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    move(repo)
    repo.say("diff")
    assert sorted(log.read_text().split()) == ["cat-file", "ls-tree", "rev-parse"]


# --- who made it --------------------------------------------------------------------------------------


def test_of_several_entries_the_last_is_named_and_the_others_counted(repo: GitStore) -> None:
    repo.set({FLOOR: 0.41}, reason="first")
    repo.set({FLOOR: 0.42, MIDDLE: 0.51}, reason="second")
    with repo.params().transaction(author="me", reason="third", evidence={"samples": 500}, force=True) as tx:
        tx[FLOOR] = 0.425
    found = {change["key"]: change["entry"] for change in data(repo)["changes"]}
    assert (found[FLOOR]["reason"], found[FLOOR]["entries"], found[FLOOR]["revision"]) == ("third", 3, 4)
    assert (found[MIDDLE]["reason"], found[MIDDLE]["entries"]) == ("second", 1)
    assert "min_samples" in found[FLOOR]["overrode"]  # one of the earlier ones was forced
    assert "revision 4, the last of 3" in repo.say("diff")


def test_a_value_edited_after_its_entry_says_so(repo: GitStore) -> None:
    repo.set({FLOOR: 0.41})
    edit(repo, RATES_FILE, "floor: 0.41", "floor: 0.43")
    change = only(data(repo))
    assert (change["new"], change["entry"]["edited_since"]) == (0.43, True)
    assert "revision 2; since then by hand, not recorded" in repo.say("diff")


def test_what_bound_a_request_and_what_force_passed(repo: GitStore) -> None:
    evidence = {"samples": 812}
    with repo.params().transaction(author="signal_weight_learner", reason="r", evidence=evidence) as tx:
        tx.propose("signal_weights", {"hurst": 0.2}, on_violation="project")
    hurst = next(c for c in data(repo)["changes"] if c["key"] == "signal_weights.hurst")
    assert (hurst["entry"]["bound_by"], hurst["entry"]["requested"]) == ("max_step_relative", 0.2)
    assert "max_step_relative (asked for 0.2)" in repo.say("diff")
    repo.commit_all()
    repo.set({FLOOR: 0.41}, author="me")
    assert only(data(repo))["entry"]["overrode"] == ["min_samples"]
    said = repo.say("diff")
    assert "forced past min_samples" in said and "commit, forced" in said


def test_the_other_direction_says_which_entry_is_not_there(repo: GitStore) -> None:
    repo.set({FLOOR: 0.41}, reason="up")
    repo.commit_all()
    change = only(data(repo, "HEAD", "HEAD~1"))
    assert (change["old"], change["new"], change["entry"]["taken_back"]) == (0.41, 0.4, True)
    said = repo.say("diff", "2", "1")
    assert "without revision 2" in said and said.rstrip().endswith("up")
    assert "forced past" not in said  # what bound the entry says nothing of this direction


def test_entries_of_two_branches_are_told_apart_by_their_ids(repo: GitStore) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.set({FLOOR: 0.41}, author="theirs")
    repo.commit_all()
    repo.git("checkout", "--quiet", "main")
    repo.set({MIDDLE: 0.51}, author="ours")  # revision 2 as well
    repo.commit_all()
    found = {c["key"]: c["entry"] for c in data(repo, "main..topic")["changes"]}
    assert (found[FLOOR]["author"], found[FLOOR]["revision"], found[FLOOR]["taken_back"]) == (
        "theirs",
        2,
        False,
    )
    assert (found[MIDDLE]["author"], found[MIDDLE]["revision"], found[MIDDLE]["taken_back"]) == (
        "ours",
        2,
        True,
    )
    assert re.search(r"^ +2 +\S+ +commit, forced +theirs", repo.say("diff", "main..topic"), re.M)


def test_an_edit_that_was_recorded_later_has_its_entry(repo: GitStore) -> None:
    edit(repo, RATES_FILE, "middle: 0.50", "middle: 0.52")
    repo.set({FLOOR: 0.41})
    found = {c["key"]: c["entry"] for c in data(repo)["changes"]}
    assert (found[MIDDLE]["kind"], found[FLOOR]["kind"]) == ("external", "commit")


def test_what_stood_when_the_journal_began_is_nobodys_change(tmp_path: Path) -> None:
    from paramstore._init import shipped, write

    write(str(tmp_path), shipped())
    repo = GitStore(tmp_path)
    repo.git("init", "--quiet")
    repo.identify()
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message", "no journal yet")
    edit(repo, RATES_FILE, "middle: 0.50", "middle: 0.52")
    repo.set({FLOOR: 0.41})  # its first entry lists every value, that of the edit as well
    found = {c["key"]: c["entry"] for c in data(repo)["changes"]}
    assert found[MIDDLE] is None and found[FLOOR]["revision"] == 1


def test_a_journal_that_git_does_not_hold_still_tells(tmp_path: Path) -> None:
    repo = GitStore.made(tmp_path / "bot", installed=False)
    repo.git("rm", "--quiet", "-r", "--cached", "params/journal")
    (repo.root / ".gitignore").write_text(".paramstore/\nparams/journal/\n")
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message", "without the journal")
    repo.set({FLOOR: 0.41}, reason="second")
    repo.commit_all()
    repo.set({FLOOR: 0.42}, reason="third")
    last = only(data(repo))["entry"]
    assert (last["reason"], last["entries"]) == ("third", 1)  # git's file has the bytes that revision 2 left
    before = only(data(repo, "HEAD~1..HEAD"))["entry"]
    assert (before["reason"], before["entries"]) == ("second", 1)
    both = only(data(repo, "HEAD~1"))["entry"]
    assert (both["reason"], both["entries"]) == ("third", 2)


def test_a_journal_elsewhere_is_found(tmp_path: Path) -> None:
    repo = GitStore.made(tmp_path / "bot", installed=False)
    (repo.root / "paramstore.toml").write_text('journal = "logs/learning_audit.jsonl"\n')
    repo.set({FLOOR: 0.41}, reason="there")
    repo.git("add", "--all")
    repo.commit_all()
    assert only(data(repo, "HEAD~1..HEAD"))["entry"]["reason"] == "there"
    (repo.root / "paramstore.toml").write_text(f'journal = "{tmp_path}/outside.jsonl"\n')
    repo.set({FLOOR: 0.42}, reason="outside")
    assert only(data(repo))["entry"]["reason"] == "outside"


# --- what came and went, and rules --------------------------------------------------------------------


def test_overrides_come_and_go(repo: GitStore) -> None:
    repo.set({FLOOR: 0.44}, symbol="BTC")
    assert f"{FLOOR} @symbol=BTC" in repo.say("diff")
    assert changed(data(repo)) == {f"{FLOOR}@symbol=BTC": (None, 0.44)}
    repo.commit_all()
    repo.say("set", FLOOR, "--unset", "--at", "symbol=BTC", "--force", "--reason", "r")
    change = only(data(repo))
    assert (change["old"], "new" in change, change["absolute"]) == (0.44, False, None)


def test_namespaces_come_and_go_in_one_line_each(repo: GitStore) -> None:
    before = data(repo, "HEAD")
    assert before["namespaces"] == {"came": [], "went": []}
    for file in (RATES_FILE, RATES_SCHEMA):
        (repo.root / file).unlink()
    found = data(repo)
    assert found["namespaces"] == {"came": [], "went": ["win_rate"]} and len(found["changes"]) == 5
    said = repo.say("diff")
    assert "namespace win_rate went: 5 values" in said and FLOOR not in said
    repo.commit_all()
    assert "namespace win_rate came: 5 values" in repo.say("diff", "HEAD", "HEAD~1")
    assert "win_rate came" in html.unescape(repo.say("diff", "HEAD", "HEAD~1", "--markdown"))


def test_a_loosened_rule_shows_without_any_value(repo: GitStore) -> None:
    edit(repo, RATES_SCHEMA, '"maximum": 0.6,', '"maximum": 0.65,')
    said = repo.say("diff")
    assert re.search(rf"^{re.escape(FLOOR)} +maximum +0\.6 +0\.65 +looser$", said, re.M)
    assert data(repo)["rules"] == [
        {"key": FLOOR, "rule": "maximum", "old": 0.6, "new": 0.65, "effect": "looser"}
    ]
    repo.commit_all()
    assert data(repo, "HEAD..HEAD~1")["rules"][0]["effect"] == "tighter"
    assert "looser" in repo.say("diff", "HEAD~1..HEAD", "--markdown")
    edit(repo, RATES_SCHEMA, '"title": "', '"title": "Common: ')  # what binds nobody is no rule
    assert data(repo)["rules"] == []


def test_positions_are_by_the_bounds_of_each_side(repo: GitStore) -> None:
    edit(repo, RATES_SCHEMA, '"maximum": 0.6,', '"maximum": 0.7,')
    repo.set({FLOOR: 0.44})
    assert only(data(repo))["position"] == {"old": 0.5, "new": 0.48}
    assert "50 % of 0.2…0.6 → 48 % of 0.2…0.7 fraction of trades" in repo.say("diff")


def side(leaf: dict[str, Any], more: dict[str, Any] | None = None, at: dict[str, Any] | None = None) -> Side:
    """One namespace ``n`` with the number ``x``, as plain data."""
    values = {"properties": {"x": {"type": "number", **leaf}, "y": {"type": "number"}}, **(more or {})}
    schema: dict[str, Any] = {"properties": {"values": values}}
    if at is not None:
        schema["properties"]["overrides"] = {"items": {"properties": {"at": {"properties": at}}}}
    return Side("s", {("n.x", ()): 1.0}, frozenset({"n"}), {"n": schema})


@pytest.mark.parametrize(
    ("old", "new", "word", "effect"),
    [
        ({"minimum": 1}, {"minimum": 0}, "minimum", "looser"),
        ({"minimum": 1}, {}, "minimum", "looser"),
        ({}, {"maximum": 1}, "maximum", "tighter"),
        ({"maximum": 1}, {"maximum": 2}, "maximum", "looser"),
        ({"exclusiveMinimum": 0}, {"exclusiveMinimum": 1}, "exclusiveMinimum", "tighter"),
        ({}, {"x-param": {"learnable": True}}, "learnable", "looser"),
        ({"x-param": {"learnable": True}}, {"x-param": {"unit": "bps"}}, "learnable", "tighter"),
        ({"x-param": {"max_step": 1}}, {"x-param": {"max_step": 2}}, "max_step", "looser"),
        ({"x-param": {"max_drift": 1}}, {}, "max_drift", "looser"),
        ({"x-param": {"cooldown_s": 60}}, {"x-param": {"cooldown_s": 30}}, "cooldown_s", "looser"),
        ({"x-param": {"min_samples": 5}}, {"x-param": {"min_samples": 50}}, "min_samples", "tighter"),
        ({"x-param": {"owner": "a"}}, {}, "owner", "looser"),
        ({"x-param": {"owner": "a"}}, {"x-param": {"owner": "b"}}, "owner", ""),
        ({"x-param": {"evidence": ["a", "b"]}}, {"x-param": {"evidence": ["a"]}}, "evidence", "looser"),
        ({"enum": [1, 2]}, {"enum": [1, 2, 3]}, "enum", "looser"),
        ({"enum": [1, 2]}, {"enum": [1, 3]}, "enum", ""),
        ({}, {"type": "integer"}, "type", ""),
        ({}, {"x-param": {"unit": "bps"}}, "unit", ""),
    ],
)
def test_which_way_a_rule_moved(old: dict[str, Any], new: dict[str, Any], word: str, effect: str) -> None:
    rules = {rule.word: rule for rule in compare(side(old), side(new)).rules}
    assert rules[word].effect == effect and rules[word].key == "n.x"
    assert compare(side(old), side(old)).empty


def test_what_binds_nobody_is_no_rule() -> None:
    assert (
        compare(side({"description": "a", "default": 1}), side({"description": "b", "default": 2})).rules
        == ()
    )
    assert compare(side({"x-param": {"learnable": False}}), side({"minimum": 0})).rules[0].word == "minimum"
    assert compare(side({"x-param": {"learnable": False}}), side({})).rules == ()
    assert [
        rule.word for rule in compare(side({"minimum": 0}), side({"minimum": 0.0, "maximum": 5})).rules
    ] == ["maximum"]


def test_constraints_and_dimensions_come_and_go() -> None:
    total = {"x-constraints": [{"sum": ["*"], "equals": 1}]}
    came = compare(side({}), side({}, total)).rules[0]
    assert (came.key, came.word, came.new, came.effect) == (
        "n",
        "constraint",
        "sum of x, y equals 1",
        "tighter",
    )
    assert compare(side({}, total), side({})).rules[0].effect == "looser"
    wider = compare(
        side({}, at={"mode": {"enum": ["paper"]}}), side({}, at={"mode": {"enum": ["paper", "live"]}})
    )
    assert [(rule.word, rule.new) for rule in wider.rules] == [("dimension mode", ["paper", "live"])]


def test_a_parameter_that_came_is_a_value_and_no_change_of_rules() -> None:
    a, b = side({}), side({})
    b = Side(b.name, {**b.values, ("n.z", ()): 2.0}, b.namespaces, b.schemas)
    found = compare(a, b)
    assert [(each.key, each.old, each.new) for each in found.differences] == [("n.z", ABSENT, 2.0)]
    assert found.rules == () and found.differences[0].recorded is None


# --- what a word names --------------------------------------------------------------------------------


def test_a_number_is_a_revision_and_a_branch_of_that_name_can_be_meant(repo: GitStore) -> None:
    repo.git("branch", "1")
    repo.set({FLOOR: 0.41})
    repo.commit_all()
    repo.git("branch", "7")
    assert data(repo, "1")["a"] == "revision 1"
    assert data(repo, "revision:1")["a"] == "revision 1"
    assert data(repo, "git:1")["a"].startswith("1 (")
    first = repo.git("rev-parse", "HEAD")[0]
    repo.git("branch", "--force", first)
    assert data(repo, f"git:{first}")["a"].startswith(f"{first} ("), "a name, though its hash begins so"
    said = repo.say("diff", "7", status=1)
    assert "There is no revision 7" in said and "`git:7`" in said


def test_times(repo: GitStore) -> None:
    moment = repo.params().history()[-1].time
    repo.set({FLOOR: 0.41})
    found = data(repo, moment)
    assert found["a"] == f"revision 1 ({moment})" and changed(found) == {FLOOR: (0.4, 0.41)}
    assert data(repo, f"revision:{moment}..HEAD")["changes"] == []
    assert "begins at" in repo.say("diff", "2001-01-01", status=1)


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (["nope"], "no git commit, branch or tag", 1),
        (["git:nope"], "git knows no commit, branch or tag `nope`", 1),
        (["git:--help"], "git knows no commit", 1),
        (["HEAD..nope"], "`nope` is neither a revision nor a time", 1),
        (["nope...HEAD"], "git knows no commit", 1),
        (["revision:nope"], "neither a revision nor a time", 1),
        ([""], "is neither a revision nor a time", 1),
        (["gone.yaml"], "gone.yaml: cannot be read: No such file", 2),
        (["file:."], "cannot be read", 2),
        (["HEAD..HEAD", "HEAD"], "names two sides already", 2),
        (["--markdown", "--json"], "give one", 2),
        (["a\x1b[2J\n"], r"`a\x1b[2J", 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_say_what_was_tried(repo: GitStore, words: list[str], said: str, status: int) -> None:
    shown = repo.say("diff", *words, status=status)
    assert shown.startswith("error: ") and said in shown and "Traceback" not in shown


def test_without_git_the_journal_is_what_the_files_are_held_against(tmp_path: Path) -> None:
    from paramstore._init import shipped, write

    write(str(tmp_path), shipped())
    store = GitStore(tmp_path)
    for file in tmp_path.glob("*/*"):
        age(file)
    assert "nothing to compare the files with" in store.say("diff", status=1)
    store.set({FLOOR: 0.41})
    assert store.say("diff") == "no value differs between revision 1 and the files\n"
    edit(store, RATES_FILE, "middle: 0.50", "middle: 0.52")
    assert changed(data(store)) == {MIDDLE: (0.5, 0.52)}
    assert "is in no git work tree" in store.say("diff", "HEAD", status=1)
    assert "is in no git work tree" in store.say("diff", "git:HEAD", status=1)


def test_without_git_installed_and_with_a_git_that_refuses(
    repo: GitStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    assert repo.say("diff").startswith("no value differs between revision 1 and")
    assert "(git is not installed)" in repo.say("diff", "HEAD", status=1)
    assert "names no commit: git is not installed" in repo.say("diff", "git:HEAD", status=1)
    (folder / "git").write_text("#!/bin/sh\necho 'fatal: detected dubious ownership' >&2\nexit 128\n")
    (folder / "git").chmod(0o755)
    for words in ([], ["HEAD"], ["git:HEAD"]):
        assert "dubious ownership" in repo.say("diff", *words, status=1)


def test_git_without_a_commit_yet_is_like_no_git(tmp_path: Path) -> None:
    from paramstore._init import shipped, write

    write(str(tmp_path), shipped())
    store = GitStore(tmp_path)
    store.git("init", "--quiet")
    store.set({FLOOR: 0.41})
    assert store.say("diff") == "no value differs between revision 1 and the files\n"


def test_a_values_file_is_compared_with_its_namespace_alone(repo: GitStore, tmp_path: Path) -> None:
    copy = tmp_path / "win_rate.yaml"
    copy.write_bytes((repo.root / RATES_FILE).read_bytes())
    repo.set({FLOOR: 0.41, FUNDING: 0.17, LIQUIDATION: 0.21}, reason="since the copy")
    found = data(repo, str(copy))
    assert changed(found) == {FLOOR: (0.4, 0.41)} and found["a"] == str(copy)
    assert only(found)["entry"]["reason"] == "since the copy"  # by the bytes of the copy
    assert changed(data(repo, "HEAD", f"file:{copy}")) == {}
    other = copy.rename(tmp_path / "candidate.yaml")  # its first line says what it is
    assert changed(data(repo, str(other))) == {FLOOR: (0.4, 0.41)}
    other.write_text("schema: 1\nvalues: {}\n")
    assert "of no namespace of this store" in repo.say("diff", str(other), status=2)
    weights = str(repo.root / WEIGHTS_FILE)
    assert "they share no key" in repo.say("diff", weights, str(repo.root / RATES_FILE), status=2)


# --- what is broken -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (RATES_FILE, "low: 0.45", "low: [0.45", "HEAD:params/win_rate.yaml:7: not valid YAML"),
        (RATES_FILE, "low: 0.45", "<<<<<<< ours\n  low: 0.45", "HEAD:params/win_rate.yaml:"),
        (RATES_FILE, "low: 0.45", "low: 0.95", "HEAD:params/win_rate.yaml:6: `win_rate.low` = 0.95 is above its maximum"),
        (RATES_FILE, "  low: 0.45\n", "", "`win_rate.low` is missing"),
        (RATES_SCHEMA, '"title":', '"title"', "HEAD:schemas/win_rate.schema.json:3: is not JSON"),
        (JOURNAL, '{"v"', '{"w"', f"HEAD:{JOURNAL}:1: the line is not a journal entry"),
    ],
    ids=["yaml", "conflict", "bounds", "missing", "schema", "journal"],
)  # fmt: skip
def test_a_broken_commit_is_told_with_file_and_line(
    repo: GitStore, file: str, old: str, new: str, said: str
) -> None:
    good = repo.read(file)
    edit(repo, file, old, new)
    repo.commit_all("broken")
    (repo.root / file).write_text(good)
    age(repo.root / file)
    shown = repo.say("diff", "HEAD", status=2)
    assert said in shown and "Traceback" not in shown
    assert "no value differs" in repo.say("diff", "HEAD~1")


def test_a_commit_without_a_schema_or_with_a_link_is_told(repo: GitStore) -> None:
    repo.git("rm", "--quiet", "--cached", RATES_SCHEMA)
    repo.git("commit", "--quiet", "--message", "no schema")
    assert f"HEAD:{RATES_SCHEMA}: the file is missing in that commit" in repo.say("diff", status=2)
    repo.git("add", "--all")
    (repo.root / "elsewhere.yaml").write_text(repo.read(RATES_FILE))
    (repo.root / RATES_FILE).unlink()
    (repo.root / RATES_FILE).symlink_to("../elsewhere.yaml")
    repo.git("add", "--all")
    repo.commit_all("a link")
    assert "a symbolic link" in repo.say("diff", status=2)


def test_broken_files_do_not_keep_two_commits_from_being_compared(repo: GitStore) -> None:
    repo.set({FLOOR: 0.41}, reason="committed")
    repo.commit_all()
    edit(repo, RATES_FILE, "low: 0.45", "low: [")
    assert only(data(repo, "HEAD~1..HEAD"))["entry"]["reason"] == "committed"
    assert "params/win_rate.yaml" in repo.say("diff", status=2)


def test_a_torn_last_line_in_a_commit_is_left_out(repo: GitStore) -> None:
    whole = (repo.root / JOURNAL).read_bytes()
    (repo.root / JOURNAL).write_bytes(whole + b'{"v":1,"revi')
    repo.commit_all("torn")
    (repo.root / JOURNAL).write_bytes(whole)
    repo.set({FLOOR: 0.41})
    assert only(data(repo))["entry"]["revision"] == 2


# --- output -------------------------------------------------------------------------------------------


def test_the_exit_status_can_tell(repo: GitStore) -> None:
    repo.say("diff", "--exit-code", status=0)
    repo.set({FLOOR: 0.41})
    for form in ([], ["--json"], ["--markdown"]):
        repo.say("diff", *form, status=0)
        repo.say("diff", "--exit-code", *form, status=1)


HOSTILE = (
    "a|b \\| c\\", "@everyone and a@b.example", "</code><img src=x onerror=alert(1)>", "`x` **b** _i_ [l](http://e.example)",
    "http://e.example www.e.example #1 GH-1 :tada:", "&lt;b&gt; &#64;you", "two\nlines | x\r\u202e", "<!-- x", "| --- |",
)  # fmt: skip


def cells(markdown: str) -> list[list[str]]:
    """Return the cells of all tables as a reader of the rendered comment sees them; nothing but code may be in them."""
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    allowed = r"</?(table|thead|tbody|tr|th|td|p|strong|ul|li|code)>"
    assert set(re.findall(r"<[^>]*>", re.sub(allowed, "", shown))) == set(), shown
    rows = re.findall(r"<tr>(.*?)</tr>", shown, re.DOTALL)
    return [
        [html.unescape(re.sub("</?code>", "", cell)) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", row)]
        for row in rows
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_from_the_journal_does_anything_in_markdown(repo: GitStore, text: str) -> None:
    repo.set({FLOOR: 0.41}, author=text, reason=text)
    shown = repo.say("diff", "--markdown")
    rows = cells(shown)
    assert [len(row) for row in rows] == [7, 7, 4, 4]
    expected = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    assert rows[-1][2].replace("\u200b", "") == rows[-1][3].replace("\u200b", "") == expected
    assert not re.search(
        r"@\w", html.unescape(shown)
    )  # nor where it is decoded before mentions are looked for
    assert not re.search(r"://|www\.", shown) and shown.isprintable() is False and "\x1b" not in shown


def test_markdown_of_nothing_and_of_too_much(repo: GitStore) -> None:
    assert repo.say("diff", "--markdown") == "No parameter changes.\n"
    edit(repo, RATES_SCHEMA, '"maximum": 0.6,', '"maximum": 0.65,')
    entries = "".join(f"  - at: {{symbol: S{n}}}\n    values: {{floor: 0.44}}\n" for n in range(500))
    (repo.root / RATES_FILE).write_text(f"{repo.read(RATES_FILE)}overrides:\n{entries}")
    age(repo.root / RATES_FILE)
    shown = repo.say("diff", "--markdown")
    assert len(shown) < MOST_CHARACTERS + 2_000 and re.search(
        r"and \d+ more; `paramstore diff` shows all", shown
    )
    assert "looser" in shown  # a loosened bound is never what is cut off


def test_a_long_text_is_cut_short_in_markdown() -> None:
    assert len(html.unescape(code("x" * 5_000))) < 320 and code("x" * 5_000).endswith("…</code>")
    assert code(" ") == ""


def test_what_others_wrote_cannot_steer_the_terminal(repo: GitStore) -> None:
    repo.set({FLOOR: 0.41}, author="a\x1b]0;evil\x07", reason="two\nlines\x1b[2J")
    said = repo.say("diff")
    assert "\x1b" not in said and r"two\nlines\x1b[2J" in said


# --- what git itself shows ----------------------------------------------------------------------------

NOTE = re.compile(rb"    \| [^\r\n]*")


def schema_of(name: str) -> Any:
    return plain_schema((SOURCE / f"schemas/{name}.schema.json").read_bytes())


@pytest.mark.parametrize("path", sorted((SOURCE / "params").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("form", ["lf", "crlf", "bom", "unfinished"])
def test_an_annotated_file_is_the_file_and_a_note_for_each_value(path: Path, form: str) -> None:
    raw = path.read_bytes()
    raw = {
        "lf": raw,
        "crlf": raw.replace(b"\n", b"\r\n"),
        "bom": b"\xef\xbb\xbf" + raw,
        "unfinished": raw.rstrip(),
    }[form]
    schema = schema_of(path.stem)
    assert schema is not None
    shown = annotated(raw, namespace_of(str(path), raw), schema)
    assert NOTE.sub(b"", shown) == raw
    keys = re.findall(r"    \| (\S+)", shown.decode())
    from paramstore import ParamStore

    assert keys == ParamStore(SOURCE, environ={}).keys(f"{path.stem}.*")


def test_a_note_says_key_context_place_and_unit() -> None:
    raw = (
        b"schema: 1  # x\nvalues:\n  # funding: 0.1\n  funding: 0.18  # why\noverrides:\n"
        b"  - at: {symbol: BTC, regime: trend}\n    values: {funding: 0.01, hurst: 0.5}\n"
    )
    shown = annotated(raw, "signal_weights", schema_of("signal_weights")).decode().splitlines()
    at = "@symbol=BTC, regime=trend"
    assert shown == [
        "schema: 1  # x",
        "values:",
        "  # funding: 0.1",
        f"  funding: 0.18  # why    | {FUNDING} 35 % of 0.01…0.5 fraction of score",
        "overrides:",
        "  - at: {symbol: BTC, regime: trend}",
        f"    values: {{funding: 0.01, hurst: 0.5}}    | {FUNDING} {at} 0 % of 0.01…0.5 fraction of score; "
        f"signal_weights.hurst {at} 100 % of 0.01…0.5 fraction of score",
    ]


def test_structures_texts_and_unknown_keys_are_one_value_each() -> None:
    raw = b"values:\n  group:\n    list:\n      - 1\n      - 2\n    text: |\n      a\n      b\n    table: {a: 1}\n  new: 3\n"
    leaf = {"type": "object", "properties": {"a": {}}, "x-param": {"unit": "bps"}}
    group = {"properties": {"list": {"type": "array"}, "text": {"type": "string"}, "table": leaf}}
    schema = {"properties": {"values": {"properties": {"group": group}}}}
    shown = annotated(raw, "n", schema).decode()
    assert re.findall(r"    \| (.*)", shown) == ["n.group.list", "n.group.text", "n.group.table bps", "n.new"]
    assert re.findall(r"    \| (.*)", annotated(raw, "n", None).decode())[2] == "n.group.table.a"


@pytest.mark.parametrize(
    "raw",
    [b"", b"values: [\n", b"\xff\xfe", b"a: 1\na: 2\n", b"values: 3\n", b"overrides: 3\nvalues:\n", b"[" * 3000,
     b"overrides: [1, {at: 2, values: 3}, {values: }]\n"],
)  # fmt: skip
def test_what_cannot_be_read_is_shown_as_it_is(raw: bytes) -> None:
    assert annotated(raw, "n", {"properties": 3}) == raw
    assert annotated(raw, "n", None) == raw


def test_a_few_lines_describe_what_changed_in_a_file() -> None:
    raw = (SOURCE / WEIGHTS_FILE).read_bytes()
    schema = schema_of("signal_weights")
    new = raw.replace(b"funding: 0.16", b"funding: 0.17", 1)
    assert described(WEIGHTS_FILE, raw, new, schema) == (
        f"{FUNDING}: 0.16 → 0.17  +0.01 (+6.25 %)  31 % → 33 % of 0.01…0.5 fraction of score\n"
    )
    over = raw.rstrip() + b"\noverrides:\n  - at: {symbol: BTC}\n    values: {hurst: 0.1}\n"
    assert described(WEIGHTS_FILE, raw, over, schema).startswith(
        "signal_weights.hurst @symbol=BTC: none → 0.1  18 % of"
    )
    assert (
        described(WEIGHTS_FILE, raw, raw.replace(b"values:", b"values:  # x"), schema) == "no value differs\n"
    )
    assert described(WEIGHTS_FILE, None, raw, schema).count("none → ") == 10
    assert described(WEIGHTS_FILE, raw, None, None).count(" → none") == 10
    broken = described(WEIGHTS_FILE, raw, b"values: [\n\x1b", schema)
    assert broken.startswith(f"the new version cannot be read: {WEIGHTS_FILE}:") and "\x1b" not in broken
    twice = described("n.yaml", raw, "a\u200eb: 1\na\u200eb: 2\n".encode(), schema)
    assert r"`a\u200eb` is here a second time" in twice and "\u200e" not in twice


def test_the_namespace_is_what_the_first_line_says() -> None:
    line = b"\xef\xbb\xbf# yaml-language-server: $schema=../schemas/win_rate.schema.json\n"
    assert namespace_of("/tmp/git-blob-x/other.yaml", line) == "win_rate"
    assert namespace_of("/tmp/git-blob-x/other.yaml", b"schema: 1\n") == "other"
    assert plain_schema(b"[1]") is None and plain_schema(b"{") is None and plain_schema(None) is None


def test_showing_a_file_imports_no_heavy_library() -> None:
    code_ = (
        "import sys; from paramstore._git_show import annotated, described; "
        "raw = b'values:\\n  a: 1\\n'; annotated(raw, 'n', {}); described('n.yaml', raw, raw, {}); "
        "print([m for m in ('click', 'rich', 'jsonschema', 'pydantic', 'filelock', 'typing_extensions') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code_], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
