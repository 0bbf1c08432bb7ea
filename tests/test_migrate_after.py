"""What comes after a move: edits and formatters, commits, another apply, the way back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plan_file import MOVED, Call, Site, accept_what_is_live, plan_of, rewrite_plan, write

from paramstore import ParamStore


@pytest.fixture
def moved(call: Call, tmp_path: Path) -> Path:
    """A directory whose ``moved.py`` was moved, all that can be live."""
    write(tmp_path, "moved.py", MOVED)
    call("scan", ".")
    rewrite_plan(tmp_path, accept_what_is_live)
    call("apply", "plan.yaml", "--write")
    return tmp_path


# -- edits afterwards ----------------------------------------------------------------------------------

EDITS = {
    "another formatter": None,
    "lines above and a comment that speaks of a read": (
        "MIN_SCORE =",
        '# see params.get("moved.min_score")\nOTHER = 1\nMIN_SCORE =',
    ),
    "a function moved up": (
        "\ndef stop(",
        "\ndef first(x):\n    return x\n\ndef stop(",
    ),
    "a renamed function": ("def stop(", "def stop_at("),
    "an import joined": ("from paramstore import params\n", "from paramstore import ParamStore, params\n"),
}


@pytest.mark.parametrize("name", EDITS)
def test_moved_code_may_be_edited_and_formatted(name: str, call: Call, tmp_path: Path) -> None:
    path = write(tmp_path, "moved.py", MOVED)
    call("scan", ".")
    rewrite_plan(tmp_path, accept_what_is_live)
    call("apply", "plan.yaml", "--write")
    before = path.read_text()
    edit = EDITS[name]
    if edit is None:
        subprocess.run([sys.executable, "-m", "ruff", "format", "--line-length=60", "-q", path], check=True)
        subprocess.run([sys.executable, "-m", "ruff", "check", "--select=I", "--fix", "-q", path], check=True)
    else:
        path.write_text(before.replace(*edit))
    assert path.read_text() != before
    call("verify", "plan.yaml")
    values = tmp_path / "params" / "moved.yaml"
    good = values.read_text()
    values.write_text(good.replace("0.85", "0.86"))
    assert "0.86" in call("verify", "plan.yaml", status=1).output
    values.write_text(good)
    call("revert", "plan.yaml", "--write")
    back = path.read_text()
    assert "params." not in back.replace("# see params.get", "") and "boost=1.15" in back.replace(" ", "")
    spaces: dict[str, object] = {}
    exec(compile(back, "moved.py", "exec"), spaces)
    assert spaces["Gate"]().size(0.9) == min(0.75, 0.9 * 1.15 * 0.85)  # type: ignore[operator]


def test_a_read_taken_out_by_hand_is_told(call: Call, tmp_path: Path) -> None:
    path = write(tmp_path, "moved.py", MOVED)
    call("scan", ".")
    rewrite_plan(tmp_path, accept_what_is_live)
    call("apply", "plan.yaml", "--write")
    path.write_text(re.sub(r"params\.get\(\"[a-z.]*boost\"\) if", "1.2 if", path.read_text()))
    assert "no longer those" in call("verify", "plan.yaml", status=1).output
    text = path.read_bytes()
    assert "put them back by hand" in call("revert", "plan.yaml", "--write", status=1).output
    assert path.read_bytes() == text


# -- commits afterwards --------------------------------------------------------------------------------

KEY = "moved.min_score"


def commit(root: Path, value: float) -> None:
    with ParamStore(root, environ={}).transaction(author="learner", reason="won more") as tx:
        tx[KEY] = value


def test_an_edit_by_hand_that_no_commit_has_recorded_fails_the_proof(moved: Path, call: Call) -> None:
    commit(moved, 0.35)
    commit(moved, 0.3)
    call("verify", "plan.yaml")
    values = moved / "params" / "moved.yaml"
    values.write_text(values.read_text().replace("min_score: 0.3", "min_score: 0.6"))
    assert (
        f"`{KEY}` is 0.6 in the store and was 0.30 in the source"
        in call("verify", "plan.yaml", status=1).output
    )
    call("revert", "plan.yaml", "--write")
    assert "MIN_SCORE = 0.6\n" in (moved / "moved.py").read_text()


def test_what_was_learned_is_told_and_can_be_no_fault(moved: Path, call: Call) -> None:
    commit(moved, 0.35)
    assert "--learned" in call("verify", "plan.yaml", status=1).output
    call("verify", "plan.yaml", "--learned")
    source = moved / "moved.py"
    source.write_text(source.read_text().replace("return max(", "return min("))
    call("verify", "plan.yaml", "--learned")
    source.write_text(source.read_text().replace("* 0.", "* 1."))
    found = json.loads(call("verify", "plan.yaml", "--learned", "--json").stdout)
    assert list(found["changed"]) == [KEY]


def test_more_moved_after_a_commit_is_proved_and_reverted(moved: Path, call: Call) -> None:
    commit(moved, 0.35)
    source = moved / "moved.py"
    text = source.read_text()
    source.write_text(text + "\n\ndef cut(pnl):\n    return pnl < -0.03\n")
    call("scan", ".")
    assert any(site["literal"] == "-0.03" and site["accept"] for site in plan_of(moved))
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml", "--learned", "--run")
    call("revert", "plan.yaml", "--write")
    assert "pnl < -0.03" in source.read_text() and "MIN_SCORE = 0.35\n" in source.read_text()


TABLES = "SIZE_LADDER = [(0.8, 1.5), (0.6, 1.0)]\nSTOP_LEVELS = (0.1, 0.2)\nEXIT_RATES = [0.1, 0.3]\n\ndef f():\n    return SIZE_LADDER, STOP_LEVELS, EXIT_RATES\n"


def test_what_was_taken_back_can_be_moved_again(call: Call, tmp_path: Path) -> None:
    path = write(tmp_path, "tables.py", TABLES)
    call("scan", ".")
    for _ in range(2):
        rewrite_plan(tmp_path, accept_what_is_live)
        call("apply", "plan.yaml", "--write")
        assert path.read_text().count("params.get") == 6
        call("verify", "plan.yaml", "--run")
        call("revert", "plan.yaml", "--write")
        assert path.read_text() == TABLES


def test_revert_leaves_out_only_the_file_that_it_cannot_put_back(moved: Path, call: Call) -> None:
    other = write(moved, "other.py", "MAX_LOSS = 0.2\n\ndef f(x):\n    return x > MAX_LOSS\n")
    text = other.read_text()
    call("scan", ".")
    call("apply", "plan.yaml", "--write")
    source = moved / "moved.py"
    source.write_text(
        source.read_text()
        .replace("0.015", "0.016")
        .replace('params.get("moved.stop', 'params.get("moved.stops')
    )
    assert "moved.py" in call("revert", "plan.yaml", "--write", status=1).output
    assert other.read_text() == text and "params.get" in source.read_text()
    assert json.loads((moved / "plan.yaml.applied.json").read_text())["files"].keys() == {"moved.py"}


def test_lint_names_new_code_that_reads_a_value_of_import(moved: Path, call: Call) -> None:
    call("lint", ".")
    write(
        moved,
        "fresh.py",
        "from moved import MIN_SCORE\nimport moved\n\ndef f(x):\n    return x > MIN_SCORE, moved.MIN_SCORE\n",
    )
    source = moved / "moved.py"
    source.write_text(source.read_text() + "\n\ndef late(x):\n    return x > MIN_SCORE\n")
    said = call("lint", ".", status=1).output
    assert (
        said.count(f'params.get("{KEY}")') == 3 and "fresh.py:5: `MIN_SCORE` is as it was at import" in said
    )


def test_a_move_keeps_run_time_files_out_of_git_and_is_told_by_the_next_scan(moved: Path, call: Call) -> None:
    assert (moved / ".gitignore").read_text() == ".paramstore/\n"
    said = call("scan", ".").output
    assert "moved already" in said and "none accepted" in said


def test_a_commit_keeps_few_digits(moved: Path) -> None:
    commit(moved, 0.30 - 0.1)
    assert "min_score: 0.2\n" in (moved / "params" / "moved.yaml").read_text().replace("  #", "\n")


# -- what is refused before it is written ----------------------------------------------------------------

NAMES = "MIN_A = 0.3\nMIN_B = 0.4\n\ndef f(x):\n    return x > MIN_A, x > MIN_B\n"


@pytest.mark.parametrize("first", [True, False])
def test_a_key_below_another_is_refused(first: bool, call: Call, tmp_path: Path) -> None:
    write(tmp_path, "bot.py", NAMES)
    call("scan", ".")

    def below(site: Site) -> None:
        accept_what_is_live(site)
        if (site["name"] == "MIN_A") == first:
            site["key"] = "bot.min_b.a" if first else "bot.min_a.b"

    rewrite_plan(tmp_path, below)
    assert "bot.min_" in call("apply", "plan.yaml", "--write", status=1).output.replace("`min_", "`bot.min_")
    assert (tmp_path / "bot.py").read_text() == NAMES and not (tmp_path / "params").exists()


def test_bounds_that_exclude_the_value_are_refused_with_its_place(call: Call, tmp_path: Path) -> None:
    write(tmp_path, "bot.py", NAMES)
    call("scan", ".")

    def bound(site: Site) -> None:
        accept_what_is_live(site)
        site["minimum"] = 0.35

    rewrite_plan(tmp_path, bound)
    assert "bot.py:1: 0.3 is not within minimum 0.35" in call("apply", "plan.yaml", status=1).output


def test_a_misspelt_field_is_refused(call: Call, tmp_path: Path) -> None:
    write(tmp_path, "bot.py", NAMES)
    call("scan", ".")

    def misspell(site: Site) -> None:
        site["minimun"] = site.pop("minimum")

    rewrite_plan(tmp_path, misspell)
    said = call("apply", "plan.yaml", status=1).output
    assert "bot.py:1" in said and "no field `minimun`; is it `minimum`?" in said


KINDS = {
    "an Enum": (
        "from enum import Enum\n\nclass Tier(Enum):\n    HIGH_SCORE = 1.5\n",
        "Tier.HIGH_SCORE.value",
    ),
    "a NamedTuple": (
        "from typing import NamedTuple\n\nclass Tier(NamedTuple):\n    high_score: float = 1.5\n",
        "Tier().high_score",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_captured_site_may_be_moved_and_still_imports(name: str, call: Call, tmp_path: Path) -> None:
    text, read = KINDS[name]
    path = write(tmp_path, "kinds.py", text + f"\ndef f():\n    return {read}\n")
    call("scan", ".")

    def accept(site: Site) -> None:
        assert site["liveness"] == "captured"
        site["accept"] = True

    rewrite_plan(tmp_path, accept)
    call("apply", "plan.yaml", "--write")
    assert "params.get(" in path.read_text()
    call("verify", "plan.yaml", "--run")
    done = subprocess.run(
        [sys.executable, "-c", "import kinds; print(kinds.f())"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "1.5\n", done.stderr


STATES = {
    "a counter in a dictionary": (
        "STATE = {'trades_today': 0.5, 'blocked': set()}\n\ndef opened():\n    STATE['trades_today'] += 1\n\n"
        "def may():\n    return STATE['trades_today'] < 2\n"
    ),
    "a dictionary of numbers": (
        "WEIGHTS = {'a_weight': 0.5, 'b_weight': 0.7}\n\ndef opened():\n    WEIGHTS['a_weight'] += 1\n\n"
        "def may():\n    return WEIGHTS['a_weight'] < 2\n"
    ),
    "a global": (
        "BUDGET_USD = 2.5\n\ndef opened():\n    global BUDGET_USD\n    BUDGET_USD -= 1\n\ndef may():\n    return BUDGET_USD > 1\n"
    ),
    "a class dictionary": (
        "class Gate:\n    WEIGHTS = {'a_weight': 0.5, 'b_weight': 0.7}\n\ndef opened():\n    Gate.WEIGHTS['a_weight'] += 1\n\n"
        "def may():\n    return Gate.WEIGHTS['a_weight'] < 2\n"
    ),
    "a class attribute": (
        "class Gate:\n    START_RATE = 0.5\n\ndef opened():\n    Gate.START_RATE += 1\n\ndef may():\n    return Gate.START_RATE < 2\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_what_the_program_writes_to_only_starts_with_the_stores_value(
    name: str, call: Call, tmp_path: Path
) -> None:
    path = write(tmp_path, "state.py", STATES[name])
    call("scan", ".")

    def accept(site: Site) -> None:
        assert site["liveness"] == "mutated" or site["literal"] in ("0.7", "2", "1")
        site["accept"] = True

    rewrite_plan(tmp_path, accept)
    call("apply", "plan.yaml", "--write")
    assert "params." in path.read_text()
    call("verify", "plan.yaml", "--run")
    program = "import state\nfor _ in range(3): print(state.may()); state.opened()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\nTrue\nFalse\n", done.stderr


# -- the way back, when things have changed --------------------------------------------------------------

BACK = {  # source, what becomes of the moved text, what becomes of a value, and what is said or written
    "a number glued to a keyword": (
        "def f(risk):\n    if risk > 0.3: return-0.5\n",
        None,
        ("-0.5", 0.25),
        "return 0.25",
    ),
    "a negative number under a power": (
        "def f(decay_days):\n    return 0.5 ** decay_days\n",
        None,
        ("0.5", -0.5),
        "(-0.5) ** decay_days",
    ),
    "an import taken out": (
        "from base import MAX_RISK\n\ndef f(x):\n    return x > MAX_RISK\n",
        ("from base import MAX_RISK\n", ""),
        None,
        "no longer has `MAX_RISK`",
    ),
    "an argument of that name": (
        "from base import MAX_RISK\n\ndef f(x):\n    return x > MAX_RISK\n",
        ("def f(x)", "def f(x, MAX_RISK=9)"),
        None,
        "has another `MAX_RISK` now",
    ),
    "a read of one's own": (
        "def f(score):\n    return score > 0.35\n",
        ("def f(", "def g():\n    return params.revision\n\ndef f("),
        None,
        "from paramstore import params",
    ),
}


@pytest.mark.parametrize("name", BACK)
def test_the_way_back_keeps_the_meaning(name: str, call: Call, tmp_path: Path) -> None:
    text, edit, change, wanted = BACK[name]
    write(tmp_path, "base.py", "MAX_RISK = 0.2\n\ndef g(x):\n    return x > MAX_RISK\n")
    path = write(tmp_path, "bot.py", text)
    call("scan", ".")
    rewrite_plan(tmp_path, accept_what_is_live)
    if change is not None:

        def widen(site: Site) -> None:
            site["minimum"], site["maximum"] = -1.0, 1.0

        rewrite_plan(tmp_path, widen)
    call("apply", "plan.yaml", "--write")
    assert "params.get(" in path.read_text()
    if edit is not None:
        path.write_text(path.read_text().replace(*edit))
    if change is not None:
        key = next(site["key"] for site in plan_of(tmp_path) if site["literal"] == change[0])
        with ParamStore(tmp_path, environ={}).transaction(author="learner") as tx:
            tx[key] = change[1]
    before = path.read_text()
    refused = wanted.startswith(("no longer", "has another"))
    said = call("revert", "plan.yaml", "--write", status=int(refused)).output
    assert wanted in (said if refused else path.read_text())
    if refused:
        assert path.read_text() == before and "params.get" in (tmp_path / "base.py").read_text()


def test_a_section_whose_entries_changed_in_the_store_is_not_put_back(call: Call, tmp_path: Path) -> None:
    text = (
        "EXIT_WEIGHTS = {'atr': 0.6, 'time': 0.3, 'pnl': 0.2}\n\ndef f():\n    return EXIT_WEIGHTS['atr']\n"
    )
    path = write(tmp_path, "bot.py", text)
    call("scan", ".")
    call("apply", "plan.yaml", "--write")
    moved_text = path.read_text()
    schema, values = tmp_path / "schemas" / "bot.schema.json", tmp_path / "params" / "bot.yaml"
    data = json.loads(schema.read_text())
    del data["properties"]["values"]["properties"]["exit_weights"]["properties"]["pnl"]
    schema.write_text(json.dumps(data))
    values.write_text(
        "".join(line for line in values.read_text().splitlines(keepends=True) if "pnl" not in line)
    )
    assert "no longer in the store" in call("revert", "plan.yaml", "--write", status=1).output
    assert path.read_text() == moved_text


def test_a_learner_may_write_thirds_where_the_sum_is_one(call: Call, tmp_path: Path) -> None:
    text = (
        "EXIT_WEIGHTS = {'atr': 0.5, 'time': 0.3, 'pnl': 0.2}\n\ndef f():\n    return EXIT_WEIGHTS['atr']\n"
    )
    write(tmp_path, "bot.py", text)
    call("scan", ".")
    call("apply", "plan.yaml", "--write")
    store = ParamStore(tmp_path, environ={})
    with store.transaction(author="learner") as tx:
        tx.propose("bot.exit_weights", dict.fromkeys(("atr", "time", "pnl"), 1 / 3))
    assert store.get("bot.exit_weights.pnl") == 1 / 3


def test_a_file_whose_reader_has_changed_waits_with_it(call: Call, tmp_path: Path) -> None:
    base = write(tmp_path, "base.py", "MAX_RISK = 0.2\n\ndef g(x):\n    return x > MAX_RISK\n")
    reader = write(
        tmp_path, "bot.py", "from base import MAX_RISK\n\ndef f(score):\n    return score > 0.35, MAX_RISK\n"
    )
    call("scan", ".")
    reader.write_text(reader.read_text() + "\n# later\n")
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "base.py holds a name that bot.py reads" in said and "MAX_RISK = 0.2" in base.read_text()


SPOILED = {
    "plan.yaml.applying": [
        *("[]", "{}", '{"files": 3}', '{"files": [{}]}', '"x"', "[" * 100_000),
        '{"files": [{"path": "a.py", "before": 3, "after": "x"}]}',
        '{"files": [{"path": "\\ud800", "after": "x"}]}',
        '{"files": [{"path": "a\\u0000", "after": "x"}]}',
        '{"files": [{"path": "", "after": "x"}]}',
        '{"files": [{"path": "moved.py", "after": null}]}',  # removes a source
    ],
    "plan.yaml.applied.json": [
        "[]",
        '{"applied": 1, "store": ".", "files": {"moved.py": 3}}',
        '{"applied": 1, "store": ".", "files": {"moved.py": [{}]}}',
        '{"applied": 1, "store": ".", "files": {"moved.py": [{"before": "", "after": "", "alias": "p", "edits": ["x"]}]}}',
    ],
}


@pytest.mark.parametrize("file", SPOILED)
def test_a_spoiled_record_or_marker_is_told(file: str, moved: Path, call: Call) -> None:
    for text in SPOILED[file]:
        (moved / file).write_text(text)
        for command in (["verify", "plan.yaml"], ["revert", "plan.yaml"], ["apply", "plan.yaml"]):
            assert call(*command, status=1).output.startswith("error: ")
            assert (moved / "moved.py").exists()
