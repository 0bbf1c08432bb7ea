"""The migration end to end: scan, plan, apply, verify, probe, revert, on a bot with every shape and trap."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from plan_file import Call, accept_what_is_live, plan_of, rewrite_plan, write

from paramstore import ParamStore
from paramstore.cli import cli

BOT = Path(__file__).resolve().parents[1] / "examples" / "hardcoded_bot"


@pytest.fixture
def bot(call: Call, tmp_path: Path) -> Path:
    shutil.copytree(BOT, tmp_path, dirs_exist_ok=True)
    return tmp_path


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.py"))}


def play(root: Path) -> str:
    """Return what the bot prints: its journal line is a hash of all its trades."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PARAM")}
    package = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=root, capture_output=True, text=True, check=False,
        env={**environment, "PYTHONPATH": package},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the bot ---------------------------------------------------------------------------------------


def test_the_bot_is_moved_proved_and_moved_back(bot: Path, call: Call) -> None:
    before, played = files_of(bot), play(bot)
    call("scan", ".")
    rewrite_plan(bot, accept_what_is_live)
    shown = call("apply", "plan.yaml")
    assert "Nothing was written" in shown.output and files_of(bot) == before
    assert not (bot / "params").exists()
    call("apply", "plan.yaml", "--write")
    moved = files_of(bot)
    assert moved != before
    assert play(bot) == played
    assert CliRunner().invoke(cli, ["--root", str(bot), "check"]).exit_code == 0
    proof = json.loads(call("verify", "plan.yaml", "--run", "--json").stdout)
    assert proof["ok"] and len(proof["proved"]) >= 14
    assert len(proof["probes"]) > 120 and all(each["live"] for each in proof["probes"])
    assert "Nothing is left to move" in call("apply", "plan.yaml", "--write").output
    assert files_of(bot) == moved
    call("revert", "plan.yaml", "--write")
    assert files_of(bot) == before
    assert play(bot) == played


def test_a_changed_digit_in_the_store_fails_the_proof(bot: Path, call: Call) -> None:
    call("scan", ".")
    call("apply", "plan.yaml", "--write")
    site = next(site for site in plan_of(bot) if site["accept"] and site["shape"] == "comparison")
    with ParamStore(bot, environ={}).transaction(author="someone") as tx:
        tx[site["key"]] = tx[site["key"]] * 1.1
    said = call("verify", "plan.yaml", status=1).output
    assert site["file"] in said and "was 0.55 in the source" in said


def test_revert_puts_todays_values_into_the_source(bot: Path, call: Call) -> None:
    before = files_of(bot)
    call("scan", ".")
    call("apply", "plan.yaml", "--write")
    store = ParamStore(bot, environ={})
    site = next(
        s for s in plan_of(bot) if s["accept"] and s["shape"] == "comparison" and s["type"] == "number"
    )
    value = round(store.get(site["key"]) * 1.1 + 0.001, 6)
    with store.transaction(author="someone") as tx:
        tx[site["key"]] = value
    call("revert", "plan.yaml", "--write")
    after = files_of(bot)
    assert [name for name in after if after[name] != before[name]] == [site["file"]]
    line = after[site["file"]].decode("latin-1").splitlines()[site["line"] - 1]
    assert repr(value) in line


def test_the_traps_are_told_apart(bot: Path, call: Call) -> None:
    call("scan", ".")
    said = {(site["file"], site["literal"], site["line"]): site for site in plan_of(bot)}
    kinds = {site["liveness"] for site in said.values()}
    assert {"live", "captured", "mutated", "dead"} <= kinds
    assert all(
        site["accept"] == (site["tier"] == "yes" and site["liveness"] == "live") for site in said.values()
    )


def test_the_plan_is_the_same_on_every_run_and_sorted(bot: Path, call: Call) -> None:
    call("scan", ".")
    first = (bot / "plan.yaml").read_bytes()
    (bot / "plan.yaml").unlink()
    call("scan", ".")
    assert (bot / "plan.yaml").read_bytes() == first
    places = [(site["file"], site["line"], site["column"]) for site in plan_of(bot)]
    assert places == sorted(places)
    call("scan", ".")
    assert (bot / "plan.yaml").read_bytes() == first


# -- shapes, one by one ------------------------------------------------------------------------------


SHAPES: dict[str, tuple[str, str, str]] = {
    # name: source, what it becomes, an expression to evaluate
    "comparison": ("def f(win_rate):\n    return win_rate >= 0.55\n", "win_rate >= params.get(", "f(0.5), f(0.6)"),
    "negative": ("def f(pnl):\n    return pnl < -0.5\n", "pnl < params.get(", "f(-0.4), f(-0.6)"),
    "no space": ("def f(score):\n    if score > 0.3:\n        return-0.5\n    return-0.25\n", "return params.get(", "f(1), f(0)"),
    "clamp": ("def f(size):\n    size = max(0.25, min(0.75, size))\n    return size\n", "max(params.get(", "f(0), f(0.5), f(9)"),
    "factor": ("def f(size):\n    size = size * 1.15\n    return size\n", "size * params.get(", "f(2)"),
    "augmented": ("def f(size):\n    size *= 0.8\n    return size\n", "size *= params.get(", "f(2)"),
    "if-expression": ("def f(hot):\n    size_mult = 1.5 if hot else 0.6\n    return size_mult\n", "params.get(", "f(1), f(0)"),
    "fallback": ("def f(conf):\n    return conf.get('min_score', 0.3)\n", "'min_score', params.get(", "f({}), f({'min_score': 1})"),
    "scalar": ("MIN_EDGE = 0.002\ndef f():\n    return MIN_EDGE\n", "return params.get(", "f(), MIN_EDGE"),
    "f-string": ('MIN_EDGE = 0.002\ndef f():\n    return f"edge {MIN_EDGE:.4f}"\n', "params.get('", "f()"),
    "flat dict": ("WEIGHTS = {'a': 0.6, 'b': 0.4}\ndef f(k):\n    return WEIGHTS[k]\n", "WEIGHTS = params.section(", "f('a'), dict(WEIGHTS), list(WEIGHTS)"),
    "nested dict": ("TIERS = {'HIGH': {'min_score': 0.5, 'mult': 2}, 'LOW': {'min_score': 0.1, 'mult': 1}}\ndef f(k):\n    return TIERS[k]['mult']\n",
                    "params.section(", "f('HIGH'), type(f('LOW'))"),
    "table": ("TIERS = [(0.5, 2.0, 'ULTRA'), (-999, 0.4, 'MIN')]\ndef f(score):\n    for low, mult, name in TIERS:\n        if score >= low:\n            return mult, name\n",
              "in params.get(", "f(0.6), f(0), TIERS, type(TIERS[1][0])"),
    "mixed dict": ("from collections import deque\nSTATE = {'weight': 0.3, 'seen': deque(maxlen=3)}\ndef f(x):\n    STATE['seen'].append(x)\n    return STATE['weight'] * x\n",
                   "return params.get(", "f(2), len(STATE['seen'])"),
    "class attribute": ("class Gate:\n    MIN_SCORE = 0.3\n    def f(self, x):\n        return x >= self.MIN_SCORE\n", "MIN_SCORE = params.live(", "Gate().f(0.3), Gate.MIN_SCORE"),
    "class dict": ("class Gate:\n    WEIGHTS = {'a': 0.7}\n    def f(self):\n        return self.WEIGHTS['a']\n", "params.section(", "Gate().f()"),
    "class table": ("class Gate:\n    CURVE = [(0.5, 2.0), (0.2, 1.0)]\n    def f(self):\n        return self.CURVE[0]\n", "CURVE = params.live(", "Gate().f(), Gate.CURVE"),
    "dataclass": ("from dataclasses import dataclass, asdict\n@dataclass(frozen=True, slots=True)\nclass Cfg:\n    min_score: float = 0.3\n", "params.live(", "asdict(Cfg()), Cfg(0.5).min_score"),
    "default_factory": ("from dataclasses import dataclass, field\n@dataclass\nclass Cfg:\n    weights: dict = field(default_factory=lambda: {'a': 0.6})\n", "params.get(", "Cfg().weights"),
    "default": ("def f(x, *, floor=0.25):\n    '''Doc.'''\n    return max(x, floor)\n", "floor=...", "f(0), f(1), f(0, floor=0.1), f(0, floor=-1)"),
    "one-line default": ("def f(x, factor=0.5): return x * factor\n", "factor=...", "f(4), f(4, 2)"),
    "several on a line": ("def f(score, size):\n    return size * 1.5 if score > 0.6 else size * 0.5 if score < 0.2 else size\n", "params.get(", "f(1, 2), f(0, 2), f(0.5, 2)"),
    "ladder": ("def f(win_rate):\n    if win_rate >= 0.55:\n        return 1.3\n    elif win_rate >= 0.45:\n        return 1.1\n    return 0.4\n", "return params.get(", "f(1), f(0.5), f(0)"),
    "int": ("MIN_TRADES = 30\ndef f(trades):\n    return trades >= MIN_TRADES\n", "params.get(", "f(29), f(30), type(MIN_TRADES)"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_moves_stays_live_and_computes_the_same(name: str, call: Call, tmp_path: Path) -> None:
    source, expected, expression = SHAPES[name]
    write(tmp_path, "bot.py", source)
    wanted = evaluate(tmp_path, expression)
    call("scan", "bot.py")
    rewrite_plan(tmp_path, accept_what_is_live)
    sites = plan_of(tmp_path)
    assert any(site["accept"] for site in sites), sites
    call("apply", "plan.yaml", "--write")
    text = (tmp_path / "bot.py").read_text()
    assert expected in text
    assert evaluate(tmp_path, expression) == wanted
    proof = json.loads(call("verify", "plan.yaml", "--run", "--json").stdout)
    assert proof["ok"] and proof["probes"] and all(each["live"] for each in proof["probes"])
    call("revert", "plan.yaml", "--write")
    assert (tmp_path / "bot.py").read_text() == source


def evaluate(root: Path, expression: str) -> str:
    code = f"from bot import *\nprint(repr(({expression},)))"
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PARAM")}
    package = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False,
        env={**environment, "PYTHONPATH": package},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


NEVER = {
    "docstring": '"""Win rate 0.55."""\ndef f():\n    "min 0.4"\n',
    "comment": "# win_rate 0.55\n",
    "f-string": "def f(score):\n    return f'score {score:.2f} of {0.75}'\n",
    "log": "def f(log):\n    log.info('min win rate 0.55')\n",
    "index": "def f(scores):\n    return scores[3], scores[1:7], scores[-2]\n",
    "port": "def f(connect):\n    connect(port=8080, timeout=30)\n",
    "round": "def f(score):\n    return round(score, 4)\n",
    "sleep": "import time\ndef f():\n    time.sleep(2.5)\n",
    "main": "def f(score):\n    return score\nif __name__ == '__main__':\n    print(f(0.55 * 1.3))\n",
    "annotation": "from typing import Literal\ndef f(score: Literal[3]):\n    return score\n",
    "key": "def f(score):\n    return {3: score}\n",
    "pattern": "def f(score):\n    match score:\n        case 3:\n            return score\n",
    "decorator": "def f(score):\n    return lambda g: g\n@f(0.55)\ndef g():\n    pass\n",
    "ignored": "MIN_SCORE = 0.3  # paramstore: ignore[of the exchange]\ndef f():\n    return MIN_SCORE\n",
}


@pytest.mark.parametrize("name", NEVER)
def test_what_is_no_tunable_is_not_proposed(name: str, call: Call, tmp_path: Path) -> None:
    write(tmp_path, "bot.py", NEVER[name])
    call("scan", "bot.py")
    assert plan_of(tmp_path) == []


LIVENESS = {
    "copy at import": (
        "BASE_SCORE = 0.3\nMAX_SCORE = BASE_SCORE * 2\ndef f():\n    return BASE_SCORE\n",
        "captured",
    ),
    "copy of a dict": (
        "WEIGHTS = {'a': 0.6}\nMINE = WEIGHTS.copy()\ndef f():\n    return WEIGHTS, MINE\n",
        "captured",
    ),
    "default of a function": ("MIN_SCORE = 0.3\ndef f(x=MIN_SCORE):\n    return x, MIN_SCORE\n", "captured"),
    "once at import": (
        "def _load():\n    score_min = 0.3\n    return score_min\nX = _load()\n",
        "import-only",
    ),
    "at module level": ("import math\nEDGE_FLOOR = math.sqrt(0.04)\n", "import-only"),
    "rebound": ("MIN_SCORE = 0.3\ndef f(x):\n    global MIN_SCORE\n    MIN_SCORE = x\n", "mutated"),
    "written dict": ("WEIGHTS = {'a': 0.6}\ndef f():\n    WEIGHTS['a'] = 1\n", "mutated"),
    "updated dict": ("WEIGHTS = {'a': 0.6}\ndef f(x):\n    WEIGHTS.update(x)\n", "mutated"),
    "written attribute": (
        "class G:\n    MIN_SCORE = 0.3\n    def f(self):\n        self.MIN_SCORE = 1\n",
        "mutated",
    ),
    "kept by a call at import": (
        "MIN_SCORE = 0.3\ndef g():\n    return MIN_SCORE\ndef h():\n    return g()\nNOW = h()\ndef f():\n    return NOW, g()\n",
        "captured",
    ),
    "dead": ("MIN_SCORE = 0.3\n", "dead"),
    "enum": ("from enum import Enum\nclass Tier(Enum):\n    HIGH_SCORE = 0.5\n", "captured"),
    "instance": ("class G:\n    def __init__(self):\n        self.min_score = 0.3\n", "captured"),
    "lambda": ("f = lambda score, floor=0.3: max(score, floor)\n", "captured"),
}


@pytest.mark.parametrize("name", LIVENESS)
def test_liveness_is_told(name: str, call: Call, tmp_path: Path) -> None:
    source, expected = LIVENESS[name]
    write(tmp_path, "bot.py", source)
    call("scan", "bot.py")
    first = plan_of(tmp_path)[0]
    assert (first["liveness"], first["accept"]) == (expected, False), first
    assert first["liveness_why"]


# -- files together ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reader",
    [
        "from pack.limits import MIN_EDGE\ndef f():\n    return MIN_EDGE\n",
        "from .limits import MIN_EDGE as EDGE\ndef f():\n    return EDGE\n",
        "from pack import limits\ndef f():\n    return limits.MIN_EDGE\n",
        "import pack.limits\ndef f():\n    return pack.limits.MIN_EDGE\n",
        "import pack.limits as lim\ndef f():\n    return lim.MIN_EDGE\n",
        "from .limits import *\ndef f():\n    return MIN_EDGE\n",
    ],
)
def test_a_constant_stays_live_where_other_modules_read_it(reader: str, call: Call, tmp_path: Path) -> None:
    write(tmp_path, "pack/__init__.py", "")
    write(tmp_path, "pack/limits.py", "MIN_EDGE = 0.002\n")
    write(tmp_path, "pack/user.py", reader)
    call("scan", "pack")
    (site,) = plan_of(tmp_path)
    assert site["liveness"] == "live" and site["reads"]["in"] == ["pack/user.py"]
    call("apply", "plan.yaml", "--write")
    assert 'params.get("limits.min_edge")' in (tmp_path / "pack/user.py").read_text()
    assert json.loads(call("verify", "plan.yaml", "--run", "--json").stdout)["ok"]
    call("revert", "plan.yaml", "--write")
    assert (tmp_path / "pack/user.py").read_text() == reader


def test_the_same_name_in_two_modules_is_two_parameters(call: Call, tmp_path: Path) -> None:
    for name, value in (("a", "0.3"), ("b", "0.7")):
        write(tmp_path, f"{name}.py", f"THRESHOLD = {value}\ndef f():\n    return THRESHOLD\n")
    call("scan", "a.py", "b.py")
    assert [site["key"] for site in plan_of(tmp_path)] == ["a.threshold", "b.threshold"]


def test_one_key_at_two_sites_is_one_parameter_if_the_values_agree(call: Call, tmp_path: Path) -> None:
    for name, value in (("a", "0.3"), ("b", "0.30"), ("c", "0.4")):
        write(tmp_path, f"{name}.py", f"THRESHOLD = {value}\ndef f():\n    return THRESHOLD\n")
    call("scan", "a.py", "b.py", "c.py")

    def share(site: dict[str, Any]) -> None:
        site["key"] = "shared.threshold"

    rewrite_plan(tmp_path, share)
    said = call("apply", "plan.yaml", status=1).output
    assert "`shared.threshold` is 0.3 at a.py:1 and 0.4 at c.py:1" in said
    rewrite_plan(tmp_path, lambda site: site.update(accept=site["file"] != "c.py"))
    call("apply", "plan.yaml", "--write")
    assert ParamStore(tmp_path).keys() == ["shared.threshold"]
    assert json.loads(call("verify", "plan.yaml", "--run", "--json").stdout)["ok"]


def test_a_dictionary_moves_as_a_whole_or_not_at_all(call: Call, tmp_path: Path) -> None:
    write(tmp_path, "bot.py", "WEIGHTS = {'a': 0.6, 'b': 0.4}\ndef f():\n    return WEIGHTS\n")
    call("scan", "bot.py")
    rewrite_plan(tmp_path, lambda site: site.update(accept=site["literal"] == "0.6"))
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "moves as a whole" in said and "b as well" in said
    assert not (tmp_path / "params").exists()


def test_values_show_their_constraints(call: Call, tmp_path: Path) -> None:
    write(
        tmp_path, "bot.py",
        "WEIGHTS = {'a': 0.5, 'b': 0.3, 'c': 0.2}\n"
        "THRESHOLDS = {'high': 0.5, 'mid': 0.3, 'low': 0.1}\n"
        "def f(k):\n    return WEIGHTS[k], THRESHOLDS[k]\n",
    )  # fmt: skip
    call("scan", "bot.py")
    call("apply", "plan.yaml", "--write")
    rules = json.loads((tmp_path / "schemas/bot.schema.json").read_text())["properties"]["values"][
        "x-constraints"
    ]
    assert rules == [
        {"sum": ["weights.*"], "equals": 1},
        {"descending": ["thresholds.high", "thresholds.mid", "thresholds.low"], "strict": True},
    ]


def test_descriptions_come_from_the_comments(call: Call, tmp_path: Path) -> None:
    write(
        tmp_path,
        "bot.py",
        "MIN_EDGE = 0.002  # what a trade must earn\n# how often we win\nMIN_WIN_RATE = 0.4\ndef f():\n    return MIN_EDGE, MIN_WIN_RATE\n",
    )
    call("scan", "bot.py")
    assert [site["description"] for site in plan_of(tmp_path)] == [
        "what a trade must earn",
        "how often we win",
    ]


# -- names and places ---------------------------------------------------------------------------------


def test_the_alias_collides_with_nothing(call: Call, tmp_path: Path) -> None:
    source = "def f(params, size):\n    _params = 2\n    if size > 0.5:\n        return params.get('min_score', 0.3) * _params\n    return size\n"
    write(tmp_path, "bot.py", source)
    wanted = evaluate(tmp_path, "f({}, 1), f({'min_score': 5}, 1), f({}, 0)")
    call("scan", "bot.py")
    rewrite_plan(tmp_path, accept_what_is_live)
    call("apply", "plan.yaml", "--write")
    text = (tmp_path / "bot.py").read_text()
    assert "import params as live_params" in text and "params.get('min_score', live_params.get(" in text
    assert evaluate(tmp_path, "f({}, 1), f({'min_score': 5}, 1), f({}, 0)") == wanted


def test_a_missing_key_is_told_at_import_not_in_a_broad_except(call: Call, tmp_path: Path) -> None:
    write(
        tmp_path,
        "bot.py",
        "def f(score):\n    try:\n        return score > 0.3\n    except Exception:\n        return None\n",
    )
    call("scan", "bot.py")
    call("apply", "plan.yaml", "--write")
    key = plan_of(tmp_path)[0]["key"]
    for folder, suffix in (("params", ".yaml"), ("schemas", ".schema.json")):
        path = tmp_path / folder / f"bot{suffix}"
        path.write_text(path.read_text().replace(key.split(".")[-1], "other"))
    with pytest.raises(AssertionError, match="UnknownParamError"):
        evaluate(tmp_path, "1")


HEADS = {
    "docstring": '"""Doc."""\nfrom __future__ import annotations\nimport os\n',
    "licence": "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n# Licence: MIT\n\n",
    "future": "from __future__ import annotations\n",
    "comment above": "import os\n\n# what we need at least\n",
    "nothing": "",
}


@pytest.mark.parametrize("name", HEADS)
def test_the_head_of_a_file_stays_where_it_is(name: str, call: Call, tmp_path: Path) -> None:
    head = HEADS[name]
    write(tmp_path, "bot.py", head + "MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n")
    call("scan", "bot.py")
    call("apply", "plan.yaml", "--write")
    text = (tmp_path / "bot.py").read_text()
    without = re.sub(r"from paramstore import params\nparams\.require\(.*\)\n", "", text)
    assert without.startswith(head) and text.index("from paramstore") <= text.index("MIN_SCORE")
    assert evaluate(tmp_path, "f()") == "(0.3,)\n"


def test_keys_stay_when_other_lines_come(call: Call, tmp_path: Path) -> None:
    body = "def f(win_rate):\n    if win_rate > 0.5:\n        return 1.3\n    return 0.4\n"
    write(tmp_path, "bot.py", body)
    call("scan", "bot.py")
    keys = [site["key"] for site in plan_of(tmp_path)]
    (tmp_path / "plan.yaml").unlink()
    write(tmp_path, "bot.py", "import os\n\n\ndef other():\n    return os.sep\n\n\n" + body)
    call("scan", "bot.py")
    assert [site["key"] for site in plan_of(tmp_path)] == keys
    assert not any(re.search(r"line|\d{2,}", key) for key in keys)


# -- decisions survive ---------------------------------------------------------------------------------


def test_a_new_scan_keeps_what_a_person_decided(call: Call, tmp_path: Path) -> None:
    write(tmp_path, "bot.py", "MIN_SCORE = 0.3\nMAX_SIZE = 2.5\ndef f():\n    return MIN_SCORE, MAX_SIZE\n")
    call("scan", "bot.py")

    def decide(site: dict[str, Any]) -> None:
        if site["literal"] == "0.3":
            site.update(key="gate.least", accept=False, maximum=0.9, description="mine")

    rewrite_plan(tmp_path, decide)
    write(
        tmp_path,
        "bot.py",
        "import os\nMIN_SCORE = 0.3\nMAX_SIZE = 2.5\nEXTRA_SCORE = 0.7\ndef f():\n    return MIN_SCORE, MAX_SIZE, EXTRA_SCORE\n",
    )
    call("scan", "bot.py")
    first, second, third = plan_of(tmp_path)
    assert (first["line"], first["key"], first["accept"], first["maximum"], first["description"]) == (
        2,
        "gate.least",
        False,
        0.9,
        "mine",
    )
    assert (second["accept"], third["key"]) == (True, "bot.extra_score")


def test_a_file_that_changed_since_is_refused_and_the_others_go_on(call: Call, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, f"{name}.py", "MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n")
    call("scan", "a.py", "b.py")
    write(tmp_path, "a.py", "MIN_SCORE = 0.4\ndef f():\n    return MIN_SCORE\n")
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "a.py has changed since the scan" in said
    assert (tmp_path / "a.py").read_text().startswith("MIN_SCORE = 0.4")
    assert "params.get" in (tmp_path / "b.py").read_text()


def test_more_can_be_moved_later_and_all_of_it_proved_and_reverted(call: Call, tmp_path: Path) -> None:
    before = write(
        tmp_path, "bot.py", "MIN_SCORE = 0.3\nMAX_SIZE = 2.5\ndef f():\n    return MIN_SCORE, MAX_SIZE\n"
    ).read_bytes()
    call("scan", "bot.py")
    rewrite_plan(tmp_path, lambda site: site.update(accept=site["literal"] == "0.3"))
    call("apply", "plan.yaml", "--write")
    call("scan", "bot.py")
    rewrite_plan(tmp_path, lambda site: site.update(accept=True))
    call("apply", "plan.yaml", "--write")
    assert ParamStore(tmp_path).keys() == ["bot.min_score", "bot.max_size"]
    assert json.loads(call("verify", "plan.yaml", "--run", "--json").stdout)["ok"]
    call("revert", "plan.yaml", "--write")
    assert (tmp_path / "bot.py").read_bytes() == before


def test_an_edit_after_apply_neither_breaks_the_proof_nor_the_way_back(call: Call, tmp_path: Path) -> None:
    write(tmp_path, "bot.py", "MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n")
    call("scan", "bot.py")
    call("apply", "plan.yaml", "--write")
    path = tmp_path / "bot.py"
    path.write_text("import os\n" + path.read_text() + "def g():\n    return os.sep\n")
    call("verify", "plan.yaml")
    call("revert", "plan.yaml", "--write")
    assert (
        path.read_text()
        == "import os\nMIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\ndef g():\n    return os.sep\n"
    )


# -- lint ---------------------------------------------------------------------------------------------


def test_lint_finds_what_is_new(call: Call, tmp_path: Path) -> None:
    write(tmp_path, "bot.py", "MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n")
    call("scan", "bot.py")
    call("lint", "bot.py")
    write(tmp_path, "bot.py", "MIN_SCORE = 0.3\nMAX_SCORE = 0.9\ndef f():\n    return MIN_SCORE, MAX_SCORE\n")
    said = call("lint", "bot.py", status=1).output
    assert said.splitlines()[0].startswith("bot.py:2: 0.9 could be `bot.max_score`")
    found = json.loads(call("lint", "bot.py", "--format", "sarif", status=1).stdout)
    (result,) = found["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 2, "startColumn": 13}
    write(
        tmp_path,
        "bot.py",
        "MIN_SCORE = 0.3\nMAX_SCORE = 0.9  # paramstore: ignore[fixed by the exchange]\ndef f():\n    return MIN_SCORE, MAX_SCORE\n",
    )
    call("lint", "bot.py")


# -- what must not be taken for something else -----------------------------------------------------------


NOT_ACCEPTED = {
    "import may bind it": "try:\n    from fast import MIN_SCORE\nexcept ImportError:\n    MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n",
    "star may bind it": "MIN_SCORE = 0.3\ntry:\n    from mine import *\nexcept ImportError:\n    pass\ndef f():\n    return MIN_SCORE\n",
    "a definition binds it": "MIN_SCORE = 0.3\ndef MIN_SCORE():\n    pass\ndef f():\n    return MIN_SCORE\n",
    "a pattern binds it": "min_score = 0.3\nmatch 7:\n    case min_score:\n        pass\ndef f():\n    return min_score\n",
    "another name writes": "WEIGHTS = {'a': 0.6}\ndef f():\n    w = WEIGHTS\n    w['a'] = 1\n",
    "passed on": "WEIGHTS = {'a': 0.6}\ndef f(g):\n    g(WEIGHTS)\n",
    "get without default": "WEIGHTS = {'a': 0.6}\ndef f(k):\n    return WEIGHTS.get(k)\n",
    "instance keeps a default": "class A:\n    def __init__(self, min_score=0.3):\n        self.m = min_score\n",
    "dict of an instance": "class A:\n    MIN_SCORE = 0.3\n    def __init__(self, **k):\n        self.__dict__.update(k)\n    def f(self):\n        return self.MIN_SCORE\n",
    "metaclass": "class A(metaclass=type):\n    MIN_SCORE = 0.3\n    def f(self):\n        return self.MIN_SCORE\n",
    "decorated default": "def d(f):\n    return f\n@d\ndef f(score=0.3):\n    return score\n",
    "dictionary as default": "def f(x, weights={'a': 0.3}):\n    return weights\n",
}


@pytest.mark.parametrize("name", NOT_ACCEPTED)
def test_a_doubt_is_left_to_a_person(name: str, call: Call, tmp_path: Path) -> None:
    write(tmp_path, "bot.py", NOT_ACCEPTED[name])
    said = call("scan", "bot.py").output
    assert "could not be analysed" not in said
    assert not any(site["accept"] for site in plan_of(tmp_path)), plan_of(tmp_path)


READERS = {
    "another limits": ("from limits import MIN_EDGE\ndef f():\n    return MIN_EDGE\n", "0.5"),
    "a local": (
        "import pack.limits as limits\nclass O:\n    MIN_EDGE = 0.5\ndef g(limits):\n    return limits.MIN_EDGE\ndef f():\n    return g(O)\n",
        "0.5",
    ),
    "two imports": (
        "from pack.limits import MIN_EDGE\nfrom limits import MIN_EDGE\ndef f():\n    return MIN_EDGE\n",
        "0.5",
    ),
    "two modules": (
        "def f():\n    import limits as m\n    return m.MIN_EDGE\ndef g():\n    import pack.limits as m\n    return m.MIN_EDGE\n",
        "0.5",
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_read_is_never_taken_for_that_of_another_module(name: str, call: Call, tmp_path: Path) -> None:
    source, value = READERS[name]
    write(tmp_path, "limits.py", "MIN_EDGE = 0.5  # paramstore: ignore[fixed]\n")
    write(tmp_path, "pack/__init__.py", "")
    write(tmp_path, "pack/limits.py", "MIN_EDGE = 0.002\ndef f():\n    return MIN_EDGE\n")
    write(tmp_path, "bot.py", source + "MIN_SCORE = 0.3\ndef h():\n    return MIN_SCORE\n")
    call("scan", ".")
    rewrite_plan(
        tmp_path,
        lambda site: site.update(accept=site["tier"] == "yes" and site["liveness"] in ("live", "mutated")),
    )
    call("apply", "plan.yaml", "--write")
    assert evaluate(tmp_path, "f()") == f"({value},)\n"


def test_a_refusal_survives_the_move_of_its_double(call: Call, tmp_path: Path) -> None:
    write(
        tmp_path,
        "bot.py",
        "def f(win_rate):\n    if win_rate > 0.55:\n        return 1\n    if win_rate > 0.55:\n        return 2\n",
    )
    call("scan", "bot.py")
    rewrite_plan(
        tmp_path,
        lambda site: site.update({"accept": False} if site["line"] == 4 else {"key": "gate.win_rate"}),
    )
    call("apply", "plan.yaml", "--write")
    after = (tmp_path / "bot.py").read_text()
    call("scan", "bot.py")
    assert "Nothing is left" in call("apply", "plan.yaml", "--write").output
    assert (tmp_path / "bot.py").read_text() == after and "if win_rate > 0.55" in after


def test_decisions_on_files_that_were_not_scanned_this_time_stay(call: Call, tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path, f"{name}.py", "MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n")
    call("scan", ".")
    rewrite_plan(tmp_path, lambda site: site.update(accept=False))
    call("scan", "a.py")
    call("scan", ".")
    assert [site["accept"] for site in plan_of(tmp_path)] == [False, False]


def test_the_same_number_under_another_name_is_new(call: Call, tmp_path: Path) -> None:
    write(tmp_path, "bot.py", "RISK_PCT = 0.3\ndef f():\n    return RISK_PCT\n")
    call("scan", "bot.py")
    call("apply", "plan.yaml", "--write")
    path = tmp_path / "bot.py"
    path.write_text(path.read_text() + "STOP_LOSS_PCT = 0.3\ndef g():\n    return STOP_LOSS_PCT\n")
    assert "bot.stop_loss_pct" in call("lint", "bot.py", status=1).output
    write(tmp_path, "wrong.py", "def f(:\n")
    assert "not scanned" in call("lint", "wrong.py", status=1).output


def test_what_git_put_back_can_be_moved_again(call: Call, tmp_path: Path) -> None:
    path = write(tmp_path, "bot.py", "RISK_PCT = 0.3\ndef f():\n    return RISK_PCT\n")
    raw = path.read_bytes()
    call("scan", "bot.py")
    call("apply", "plan.yaml", "--write")
    moved = path.read_bytes()
    path.write_bytes(raw)
    call("apply", "plan.yaml", "--write")
    assert path.read_bytes() == moved
    call("verify", "plan.yaml")


def test_links_are_not_followed(call: Call, tmp_path: Path) -> None:
    write(tmp_path, "real/a.py", "RISK_PCT = 0.3\ndef f():\n    return RISK_PCT\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").symlink_to("../real/a.py")
    assert "is a link" in call("scan", "src", "real").output
    call("apply", "plan.yaml", "--write")
    assert (tmp_path / "src" / "a.py").is_symlink()
