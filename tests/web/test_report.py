"""The report: one file that holds the answers, whole and harmless, and reaches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from paramstore import ParamStore, _demo_month
from paramstore._as_json import comparison_json, entry_json
from paramstore._sides import Sides

FUNDING, HURST = "signal_weights.funding", "signal_weights.hurst"
EDGE, FEE = "conviction_gate.min_edge", "conviction_gate.fee_rate"
HOSTILE = '</script><script>alert(1)</script><!-- "\u2028 \\u003c &amp;'
BLOCK = re.compile(r"<(script|style)([^>]*)>(.*?)</\1>", re.DOTALL)


@pytest.fixture
def store(root: Path) -> ParamStore:
    store = ParamStore(root)
    with store.transaction(author="ana", reason=HOSTILE, evidence={"why": HOSTILE}, force=True) as tx:
        tx["conviction_gate.min_trades"] = 40
    with store.transaction(author="ben", reason="bitcoin pays more", force=True) as tx:
        tx.set(FUNDING, 0.18, symbol="BTCUSDT")
        tx.set(HURST, 0.06, symbol="BTCUSDT")
    return store


def command(*words: str) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", "paramstore", *words]
    return subprocess.run(run, capture_output=True, text=True, check=False, timeout=60)


def written(root: Path, *words: str) -> str:
    file = root / "out.html"
    done = command("--root", str(root), "report", str(file), *words)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return file.read_text(encoding="utf-8")


def answers(document: str) -> dict[str, Any]:
    (text,) = (body for _, about, body in BLOCK.findall(document) if 'id="embedded"' in about)
    found: dict[str, Any] = json.loads(text)
    return found


def output(root: Path, *words: str) -> Any:
    return json.loads(command("--root", str(root), *words, "--json").stdout)


def without_ages(parameters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**each, "notes": [note["rule"] for note in each["notes"]]} for each in parameters]


def test_it_holds_what_the_command_line_says(root: Path, store: ParamStore) -> None:
    held = answers(written(root))
    assert held["parameters"] == output(root, "list")
    assert held["history"]["entries"] == output(root, "history", "--refused")["entries"]
    assert held[f"parameters/{FUNDING}/history"]["entries"] == output(root, "history", FUNDING)["entries"]
    assert held[f"parameters/{FUNDING}"] == output(root, "explain", FUNDING)
    at = "symbol=BTCUSDT"
    assert held[f"parameters/{FUNDING}?at={at}"] == output(root, "explain", FUNDING, "--at", at)
    assert held["revisions/2"]["comparison"] == output(root, "diff", "1", "2")
    assert held["revisions/1"]["entries"][0]["reason"] == HOSTILE
    assert without_ages(held["doctor"]["parameters"]) == without_ages(output(root, "doctor")["parameters"])
    assert "scorecard" not in held


def test_no_text_in_it_becomes_markup(root: Path, store: ParamStore) -> None:
    document = written(root)
    assert "alert(1)" in document and "<script>alert" not in document
    names = [about for kind, about, _ in BLOCK.findall(document) if kind == "script"]
    assert [name.partition("=")[2].partition('"')[2].partition('"')[0] for name in names] == [
        "importmap", "application/json", "module",
    ]  # fmt: skip


def test_its_policy_allows_its_own_scripts_and_nothing_else(root: Path, store: ParamStore) -> None:
    document = written(root)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', document)
    assert "default-src 'none'" in policy and "connect-src" not in policy and "'self'" not in policy
    for kind, about, body in BLOCK.findall(document):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert ("application/json" in about) != (f"'sha256-{digest}'" in policy), kind
    assert not re.search(r"\b(src|href)=\"(?!#|data:)", document.partition("<style>")[0])


def test_it_does_not_say_where_the_store_is(root: Path, store: ParamStore) -> None:
    document = written(root)
    assert str(root) not in document
    assert answers(document)["health"]["store"] == root.name


def test_a_pattern_limits_it(root: Path, store: ParamStore) -> None:
    held = answers(written(root, "signal_weights"))
    assert {row["key"].partition(".")[0] for row in held["parameters"]} == {"signal_weights"}
    assert {row["key"].partition(".")[0] for row in held["doctor"]["parameters"]} == {"signal_weights"}
    assert not any("conviction_gate" in name for name in held)
    assert HOSTILE not in json.dumps(held["history"])


def keys_in(data: Any) -> set[str]:
    """Return every key that anything in an answer is about."""
    if isinstance(data, list):
        return {key for item in data for key in keys_in(item)}
    if not isinstance(data, dict):
        return set()
    own = {data["key"]} if isinstance(data.get("key"), str) else set()
    return own | set(data.get("owns", ())) | {key for item in data.values() for key in keys_in(item)}


def test_a_pattern_keeps_what_the_same_commits_did_to_others_out_of_it(root: Path, store: ParamStore) -> None:
    with store.transaction(author="ben", reason="both") as tx:
        tx[EDGE] *= 1.01
        tx[FEE] *= 1.01
    with pytest.raises(ValueError), store.transaction(author="ben", reason="too much") as tx:
        tx[EDGE] = 99.0
        tx[FEE] = 99.0
    store.approve("*", author="ben", reason="reviewed")
    store.freeze("signal_weights.*", author="ben", reason="of no concern")
    whole, held = answers(written(root)), answers(written(root, EDGE))
    for name, data in held.items():
        assert keys_in(data) <= {EDGE}, name
    assert "of no concern" not in json.dumps(held) and "of no concern" in json.dumps(whole)
    last = f"revisions/{store.revision}"
    assert [c["key"] for c in held[last]["comparison"]["changes"]] == [EDGE]
    assert [entry["kind"] for entry in held[last]["entries"]] == ["commit", "refusal", "approve"]
    assert FEE in keys_in(whole[last])


def test_entries_limit_it(root: Path, store: ParamStore) -> None:
    held = answers(written(root, "--entries", "1"))
    assert [entry["author"] for entry in held["history"]["entries"]] == ["ben"] and held["history"]["more"]
    assert [name for name in held if name.startswith("revisions/")] == ["revisions/2"]


def test_outcomes_bring_the_scorecard(root: Path, store: ParamStore) -> None:
    outcomes = root / "outcomes.jsonl"
    lines = [{"pnl": place % 3, "params_revision": place % 3} for place in range(90)]
    outcomes.write_text("\n".join(map(json.dumps, lines)))
    held = answers(written(root, "--outcomes", str(outcomes), "--metric", "pnl"))
    told = output(root, "scorecard", str(outcomes), "--metric", "pnl")
    assert {**held["scorecard"], "age_s": 0} == {**told, "age_s": 0}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("out.html", "no_such"), 1, "no_such"),
        (("out.html", "--metric", "pnl"), 2, "--outcomes and --metric together"),
        (("missing/out.html",), 2, "missing"),
        ((), 2, "FILE"),
    ],
)
def test_what_cannot_be_written_is_told(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("--root", str(root), "report", *words)
    assert done.returncode == status and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out.html").exists()


def test_a_revision_by_itself_is_what_a_comparison_of_two_says(root: Path) -> None:
    _demo_month.live(str(root), time.time())
    store = ParamStore(root)
    entries: dict[int, list[dict[str, Any]]] = {}
    for entry in store.history(refused=True):
        entries.setdefault(entry.revision, []).append(entry_json(entry))
    sides = Sides(store)
    for revision in (*range(1, 20), *range(60, 80), *range(120, store.revision + 1)):
        alone = comparison_json(sides.made_by(revision, entries[revision]))
        assert alone == comparison_json(sides.compared([f"revision:{revision - 1}", f"revision:{revision}"]))
