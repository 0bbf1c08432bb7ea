"""The examples, run as they would be: on outcomes whose right answer is known, with every revision held to every rule.

``python tests/test_examples.py`` prints the table of distances in docs/learners.md.
"""

from __future__ import annotations

import ast
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from paramstore import ParamStore
from paramstore.errors import ValidationError
from paramstore.testing import ManualClock

SOURCE = Path(__file__).resolve().parents[1]
sys.path.append(str(SOURCE / "examples"))  # where a copy stands beside the program that imports it

import post_trade_hook  # noqa: E402
import signal_weight_learner as learner  # noqa: E402
from signal_weight_learner import Trade  # noqa: E402

# The right answer: shares of what is earned, and the minimum for the one signal that loses.
RIGHT = {
    "liquidation": 0.12, "funding": 0.24, "oi_velocity": 0.12, "whale_flow": 0.1, "ofi_momentum": 0.12,
    "fear_greed": 0.02, "hurst": 0.03, "lead_lag": 0.14, "volatility_skew": 0.1, "oi_divergence": 0.01,
}  # fmt: skip
LOSER = "oi_divergence"
EDGE_BPS = {
    name: -6.0 if name == LOSER else 60 * weight for name, weight in RIGHT.items()
}  # at full strength
DISTANCE = 0.02  # no weight is further from the right answer, after RUNS runs of TRADES trades
RUNS, TRADES, NOISE_BPS = 16, 1000, 10.0
COOLDOWN_S = 1800


def outcome(rng: random.Random, revision: int, noise_bps: float = NOISE_BPS) -> Trade:
    """Return a closed trade: strengths around zero, each worth its edge, and noise."""
    strengths = {name: rng.uniform(-1, 1) for name in RIGHT}
    earned = sum(EDGE_BPS[name] * strength for name, strength in strengths.items())
    return Trade(strengths, earned + rng.gauss(0, noise_bps), revision)


def outcomes(rng: random.Random, count: int, revision: int, noise_bps: float = NOISE_BPS) -> list[Trade]:
    return [outcome(rng, revision, noise_bps) for _ in range(count)]


def line(trade: Trade) -> str:
    record = {"signals": trade.strengths, "return_bps": trade.return_bps, "params_revision": trade.revision}
    return json.dumps({**record, "params_digest": "0" * 16})


def distance(weights: dict[str, float]) -> float:
    """Return the largest distance of a weight from the right answer."""
    return max(abs(weights[name] - right) for name, right in RIGHT.items())


@pytest.fixture(autouse=True)
def no_other_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMSTORE_ROOT", "/nowhere")  # a test that forgets its store must not find another


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("schemas", "params"):
        (tmp_path / folder).mkdir()
        for file in (SOURCE / folder).iterdir():
            if file.is_file():
                shutil.copy(file, tmp_path / folder)
    return tmp_path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(root: Path, clock: ManualClock) -> ParamStore:
    return ParamStore(root, clock=clock, environ={})


# --- the judge: knows the rules from the schema's text, and nothing of the store's own checks --------------------


def rules(root: Path) -> dict[str, dict[str, Any]]:
    """Return what the schema says of each weight, numbers as they are written."""
    text = (root / "schemas/signal_weights.schema.json").read_text()
    nodes = json.loads(text, parse_float=Decimal)["properties"]["values"]["properties"]
    return {name: {**node, **node["x-param"]} for name, node in nodes.items()}


def entries(root: Path) -> list[dict[str, Any]]:
    """Return the lines of the journal, numbers as they are written."""
    files = sorted((root / "params/journal").iterdir())
    lines = [line for file in files for line in file.read_text().splitlines()]
    return [json.loads(line, parse_float=Decimal) for line in lines]


def judge_entry(entry: dict[str, Any], said: dict[str, dict[str, Any]]) -> None:
    evidence = entry["evidence"]
    assert entry["author"] == "signal_weight_learner"
    assert evidence["metric"] == "score_ev_bps"
    assert re.fullmatch("[0-9a-f]{40}", evidence["code_revision"])
    assert evidence["window"].startswith("revisions ")
    assert {"before", "after"} <= evidence.keys()
    for item in entry["changes"]:
        rule = said[item["key"].removeprefix("signal_weights.")]
        assert rule["learnable"] and rule["owner"] == entry["author"]
        assert evidence["samples"] >= rule["min_samples"]


def judge_move(old: Decimal, new: Decimal, baseline: Decimal, rule: dict[str, Any]) -> None:
    assert rule["minimum"] <= new <= rule["maximum"]
    assert -new.as_tuple().exponent <= rule["decimals"]  # type: ignore[operator]
    assert abs(new - old) <= rule["max_step"]
    assert abs(new - old) <= rule["max_step_relative"] * abs(old)
    assert abs(new - baseline) <= rule["max_drift"]


def judge(root: Path) -> list[dict[str, Decimal]]:
    """Replay the journal, hold each revision to each rule, and return the weights of each."""
    said = rules(root)
    baseline = {name: Decimal(str(rule["default"])) for name, rule in said.items()}
    revisions, changed_at = [baseline], dict.fromkeys(said, float("-inf"))
    for entry in entries(root):
        if entry["kind"] != "commit":
            continue
        judge_entry(entry, said)
        now, at = dict(revisions[-1]), datetime.fromisoformat(entry["time"]).timestamp()
        for item in entry["changes"]:
            name = item["key"].removeprefix("signal_weights.")
            old, new = Decimal(str(item["old"])), Decimal(str(item["new"]))
            assert old == now[name]
            judge_move(old, new, baseline[name], said[name])
            if new != old:
                assert at - changed_at[name] >= said[name]["cooldown_s"]
                now[name], changed_at[name] = new, at
        assert sum(now.values()) == 1
        assert entry["revision"] == len(revisions)
        revisions.append(now)
    return revisions


def break_rule(root: Path, wrong: Callable[[dict[str, Any]], None], at: int = 2) -> None:
    """Rewrite one entry of the journal, as a store without that rule might have written it."""
    file = next((root / "params/journal").iterdir())
    lines = file.read_text().splitlines()
    entry = json.loads(lines[at])
    wrong(entry)
    file.write_text("\n".join([*lines[:at], json.dumps(entry), *lines[at + 1 :]]) + "\n")


# --- the learner ---------------------------------------------------------------------------------------------


def teach(store: ParamStore, clock: ManualClock, runs: int, seed: int = 7) -> list[str]:
    rng, said = random.Random(seed), []
    for _ in range(runs):
        clock.advance(COOLDOWN_S)
        said.append(learner.learn(outcomes(rng, TRADES, store.revision), store))
    return said


def test_the_learner_finds_the_right_answer_within_every_rule(
    root: Path, store: ParamStore, clock: ManualClock
) -> None:
    begin = distance(dict(store.section("signal_weights")))
    said = teach(store, clock, RUNS)
    revisions = judge(root)
    assert begin >= 0.1
    assert len(revisions) == RUNS + 1  # every run was let through
    assert revisions[-1] == {name: Decimal(str(v)) for name, v in store.section("signal_weights").items()}
    assert distance({name: float(value) for name, value in revisions[-1].items()}) <= DISTANCE
    assert "max_step_relative" in said[0]
    assert f"revision {RUNS}, from {TRADES} trades" in said[-1]


WRONGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a value beyond its bounds": lambda e: e["changes"][0].update(new=0.6),
    "a digit too many": lambda e: e["changes"][0].update(new=e["changes"][0]["old"] + 0.00001),
    "a step too far": lambda e: e["changes"][0].update(new=round(e["changes"][0]["old"] * 1.21, 4)),
    "a sum that is not 1": lambda e: e["changes"][0].update(new=round(e["changes"][0]["new"] + 0.0001, 4)),
    "an old value that did not stand": lambda e: e["changes"][0].update(old=0.1234),
    "a second too soon": lambda e: e.update(
        time=f"{datetime.fromisoformat(e['time']) - timedelta(seconds=1)}"
    ),
    "no evidence": lambda e: e.update(evidence={}),
    "too few samples": lambda e: e["evidence"].update(samples=49),
    "someone else": lambda e: e.update(author="me"),
    "a revision left out": lambda e: e.update(revision=3),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_the_judge_of_these_tests_sees_each_broken_rule(
    root: Path, store: ParamStore, clock: ManualClock, wrong: str
) -> None:
    teach(store, clock, 2)
    assert len(judge(root)) == 3
    break_rule(root, WRONGS[wrong])
    with pytest.raises((AssertionError, KeyError)):
        judge(root)


@pytest.mark.parametrize(
    ("old", "new", "baseline"),
    [("0.3", "0.351", "0.3"), ("0.2", "0.2401", "0.2"), ("0.36", "0.37", "0.21"), ("0.01", "0.0099", "0.01")],
)
def test_the_judge_sees_a_step_or_drift_too_far(old: str, new: str, baseline: str) -> None:
    rule = rules(SOURCE)["funding"]
    judge_move(Decimal(old), Decimal(old), Decimal(baseline), rule)
    with pytest.raises(AssertionError):
        judge_move(Decimal(old), Decimal(new), Decimal(baseline), rule)


def test_each_trade_teaches_once(store: ParamStore, clock: ManualClock) -> None:
    trades = outcomes(random.Random(1), 200, 0)
    clock.advance(COOLDOWN_S)
    assert "revision 1, from 200 trades" in learner.learn(trades, store)
    clock.advance(COOLDOWN_S)
    assert learner.learn(trades, store) == (
        "0 trades since the last change: too few to learn from; the weights stay."
    )
    more = outcomes(random.Random(2), 60, 1)
    assert "revision 2, from 60 trades" in learner.learn([*trades, *more], store)


def test_fewer_trades_move_the_weights_less(store: ParamStore) -> None:
    weights = dict(store.section("signal_weights"))
    values = {name: edge / 3 for name, edge in EDGE_BPS.items()}  # uniform strengths have a variance of 1/3
    floors = dict.fromkeys(weights, 0.01)
    right = learner.towards(values, weights, floors, 10**12)
    assert right == pytest.approx(RIGHT, abs=1e-8)
    half = learner.towards(values, weights, floors, learner.PRIOR)
    assert half == pytest.approx({name: (weights[name] + RIGHT[name]) / 2 for name in weights})


def test_where_no_signal_earns_nothing_is_asked_for(store: ParamStore) -> None:
    losses = [Trade(dict.fromkeys(RIGHT, 1.0), -5.0, 0)] * 60
    assert learner.learn(losses, store) == (
        "60 trades since the last change: no signal earned anything; the weights stay."
    )
    assert store.history(refused=True) == []


def test_a_learner_is_refused_within_the_cooldown(store: ParamStore, clock: ManualClock) -> None:
    teach(store, clock, 1)
    clock.advance(COOLDOWN_S - 1)
    trades = outcomes(random.Random(3), TRADES, 1)
    with pytest.raises(ValidationError, match="within its cooldown_s 1800"):
        learner.learn(trades, store)
    clock.advance(1)
    assert "revision 2" in learner.learn(trades, store)  # what was refused is not lost


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", "7", '{"signals": []}', "[" * 100_000, "NaN", "\x00", "Ω" * 9,
        line(Trade(dict.fromkeys(RIGHT, float("nan")), 1.0, 1)),
        line(Trade(dict.fromkeys(RIGHT, 0.5), float("inf"), 1)),
        line(Trade(dict.fromkeys(RIGHT, 0.5), 1e7, 1)),
        line(Trade({"funding": 0.5}, 1.0, 1)),
        line(Trade(RIGHT, 1.0, 1)).replace('"params_revision": 1', '"params_revision": Infinity'),
        line(Trade(RIGHT, 1.0, 1)).replace('"params_revision": 1', '"params_revision": null'),
        line(Trade(RIGHT, 1.0, 1))[:-9],
    ],
)  # fmt: skip
def test_a_broken_line_teaches_nothing(text: str) -> None:
    assert learner.trade_in(text, list(RIGHT)) is None


def test_a_whole_line_is_read_as_it_was_written() -> None:
    trade = outcome(random.Random(5), 4)
    assert learner.trade_in(line(trade), list(RIGHT)) == trade


# --- as a program --------------------------------------------------------------------------------------------


def run(*words: str | Path, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PARAM")}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder, env={**clean, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip


PROGRAM = SOURCE / "examples/signal_weight_learner.py"


def test_the_learner_as_a_program(root: Path) -> None:
    file = root / "outcomes.jsonl"
    trades = outcomes(random.Random(11), 400, 0)
    file.write_text("\n".join(map(line, trades)) + '\n{"signals": {"fund')  # a line that is being written
    first = run(PROGRAM, file, folder=root)
    assert (first.returncode, first.stderr) == (0, "")
    assert "1 of 401 lines are no outcomes" in first.stdout
    assert "revision 1, from 400 trades" in first.stdout
    assert re.search(r"^funding +\d+\.\d+ +0\.1600 +0\.\d{4} +0\.\d{4}", first.stdout, re.MULTILINE)
    assert len(judge(root)) == 2

    again = run(PROGRAM, "outcomes.jsonl", "--root", root, folder=SOURCE / "examples")
    assert (again.returncode, again.stdout) == (1, "")  # the file is not there
    again = run(PROGRAM, file, "--root", root, folder=SOURCE / "examples")
    assert (again.returncode, again.stderr) == (0, "")
    assert "0 trades since the last change: too few to learn from; the weights stay." in again.stdout


def test_a_program_that_is_refused_says_why(root: Path) -> None:
    file = root / "outcomes.jsonl"
    file.write_text("\n".join(map(line, outcomes(random.Random(12), 400, 0))))
    store = ParamStore(root, environ={})
    store.freeze("signal_weights", author="me", reason="exchange incident")
    done = run(PROGRAM, file, folder=root)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and "exchange incident" in done.stderr
    assert "Traceback" not in done.stderr
    assert [entry.kind for entry in store.history(refused=True)][-1] == "refusal"


@pytest.mark.parametrize("words", [("absent.jsonl",), (".",), ("outcomes.jsonl", "--root", "nowhere")])
def test_a_program_that_cannot_work_says_why(root: Path, words: tuple[str, ...]) -> None:
    (root / "outcomes.jsonl").write_text("")
    done = run(PROGRAM, *words, folder=root)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_the_strategy_runs(root: Path) -> None:
    done = run(SOURCE / "examples/strategy.py", folder=root)
    assert done.returncode == 0, done.stderr
    decision = ast.literal_eval(done.stdout)
    assert decision["trade"] is True
    assert decision["params_revision"] == 0


# --- the hook ------------------------------------------------------------------------------------------------


def test_the_hook_is_three_lines() -> None:
    tree = ast.parse((SOURCE / "examples/post_trade_hook.py").read_text())
    (hook,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    body = hook.body[1:]  # without its docstring
    assert (body[-1].end_lineno or 0) - body[0].lineno + 1 == 3


def test_the_hook_finds_the_right_answer_within_every_rule(
    root: Path, store: ParamStore, clock: ManualClock
) -> None:
    """Trades close every three minutes, fifteen at a time: most calls come too early, or with too little."""
    rng = random.Random(4)
    trades: deque[Trade] = deque(maxlen=5000)
    for _ in range(450):
        trades.extend(outcomes(rng, 15, store.revision))
        clock.advance(180)
        post_trade_hook.after_trade(trades, store)
    revisions = judge(root)
    assert len(revisions) - 1 == 45  # one each half hour
    assert distance({name: float(value) for name, value in revisions[-1].items()}) <= 0.03


def test_a_refused_hook_goes_on_and_the_journal_has_it(store: ParamStore, clock: ManualClock) -> None:
    store.freeze("signal_weights", author="me", reason="exchange incident")
    post_trade_hook.after_trade(outcomes(random.Random(1), 80, 0), store)
    last = store.history(refused=True)[-1]
    assert (last.kind, last.author) == ("refusal", "signal_weight_learner")
    assert store.revision == 0


def test_a_hook_with_too_few_trades_leaves_no_line(store: ParamStore) -> None:
    post_trade_hook.after_trade(outcomes(random.Random(1), 49, 0), store)
    assert "refusal" not in [entry.kind for entry in store.history(refused=True)]


# --- what the documentation shows ----------------------------------------------------------------------------

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> Iterator[tuple[str, str]]:
    for match in BLOCK.finditer((SOURCE / "docs/learners.md").read_text(encoding="utf-8")):
        yield match[1], match[2]


def test_what_the_documentation_shows_is_what_happens(root: Path) -> None:
    """Each block in a process of its own: the default store is the one in the working directory."""
    ran = {"python": 0, "console": 0}
    for kind, text in blocks():
        if kind in ran:
            {"python": check_python, "console": check_console}[kind](text, root)
            ran[kind] += 1
    assert ran == {"python": 3, "console": 1}


def check_python(text: str, root: Path) -> None:
    (root / "block.txt").write_text(text, encoding="utf-8")
    done = run(
        "-m", "doctest", "-o", "ELLIPSIS", "block.txt", folder=root, PYTHONPATH=str(SOURCE / "examples")
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    assert ">>> " in text


def check_console(text: str, root: Path) -> None:
    for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = step.partition("\n")
        words = shlex.split(command)
        assert words[0] == "python"
        done = run(SOURCE / words[1], *words[2:], folder=root)
        assert (done.stdout + done.stderr).strip() == expected.strip(), command


# --- the table -----------------------------------------------------------------------------------------------


def explained(noise_bps: float) -> float:
    """Return the share of the variance of returns that the signals make; that of a uniform strength is 1/3."""
    signals = sum(edge * edge / 3 for edge in EDGE_BPS.values())
    return signals / (signals + noise_bps**2)


def simulate(seed: int, runs: int, count: int, noise_bps: float) -> float:
    """Return the distance after ``runs`` runs of the estimator alone: without guards, and nothing written."""
    rng, weights = random.Random(seed), {name: float(rule["default"]) for name, rule in rules(SOURCE).items()}
    for _ in range(runs):
        trades = outcomes(rng, count, 0, noise_bps)
        values = {name: sum(t.strengths[name] * t.return_bps for t in trades) / count for name in weights}
        weights = learner.towards(values, weights, dict.fromkeys(weights, 0.01), count) or weights
    return distance(weights)


def main() -> None:
    print("| noise, bps | explained by signals | trades a run | runs | median distance | 19 of 20 below |")  # noqa: T201
    print("|---|---|---|---|---|---|")  # noqa: T201
    for noise_bps, count, runs in [
        (10, 1000, 16),
        (10, 60, 260),
        (30, 1000, 16),
        (100, 1000, 16),
        (100, 60, 260),
    ]:
        found = sorted(simulate(seed, runs, count, noise_bps) for seed in range(100))
        row = (
            f"{noise_bps} | {explained(noise_bps):.0%} | {count} | {runs} | {found[50]:.3f} | {found[94]:.3f}"
        )
        print(f"| {row} |")  # noqa: T201


if __name__ == "__main__":
    main()
