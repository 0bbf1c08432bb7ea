"""Format version 1 stays readable for ever.

The files in ``golden/v1`` must never be regenerated, nor edited to make a test pass: they stand for what is
on people's disks. ``SUMS`` guards against that. The expected values below were written from the files by
hand. A later format gets a directory and tests of its own, beside these.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from local_store import age

from paramstore import ParamStore, _records
from paramstore._model import ABSENT

GOLDEN = Path(__file__).resolve().parent / "golden" / "v1"
SUMS = {
    "params/gate.yaml": "4494289ac8f2d7baee60e2888bfb893fde40d9543cc2a56608da4b60a514ed8e",
    "params/journal/00000001.jsonl": "1bf3faf5253f1aa090208e264ba6cecc018071d2c16b20d518b9abeaeabdbe00",
    "params/journal/00000005.jsonl": "4582dd040bc972c6348b2e71d775f421746cae895892bb29c27f285dba30cd93",
    "params/journal/00000006.jsonl": "b7dd984bae63619eee8b5e548cb9d6121673f178e8bb66e49ac940415bdebd29",
    "params/weights.yaml": "9dd6d2dc94e228eee363e0a773a872ac915f8bbdd894cb9c19ef266f6645c36f",
    "schemas/gate.schema.json": "ecc643812ce5352e0a0016144b5728a95aebb4a990fadaf110fdda3bc3103532",
    "schemas/weights.schema.json": "bb5909f027bcf4d368539cca267eac425cf781bafda3f1cac1c28ba0e06be452",
}
NOW = {
    "gate.min_trades": 500,
    "gate.enabled": False,
    "gate.style": "fast",
    "gate.note": "null",
    "gate.tiers.high": 1.0,
    "gate.tiers.low": 0.25,
    "gate.ladder": [(0.6, 3.0), (0.35, 1.5), (0.1, 0.5)],
    "gate.hours": [2, 4],
    "gate.table": {"b": 2.5, "c": -0.0},
    "weights.liquidation": 0.6,
    "weights.funding": 0.2,
    "weights.hurst": 0.2,
}
FIRST = {
    "gate.min_trades": 30,
    "gate.enabled": True,
    "gate.style": "slow",
    "gate.note": "größer → besser",
    "gate.tiers.high": 0.5,
    "gate.tiers.low": 0.2,
    "gate.ladder": [(0.5, 2.0), (0.35, 1.5)],
    "gate.hours": [2, 4, 8],
    "gate.table": {"a": 1.0, "b": 2.5},
    "weights.liquidation": 0.5,
    "weights.funding": 0.3,
    "weights.hurst": 0.2,
}
ENTRIES = [
    (0, "external", "external", "values before the first commit"),
    (1, "commit", "weight_learner", "7-day expected value"),
    (2, "commit", "gate_learner", "fewer trades"),
    (3, "commit", "gate_learner", "structures"),
    (4, "commit", "weight_learner", "context removed"),
    (5, "external", "external", "edited outside a transaction"),
    (6, "commit", "someone", "after an edit by hand"),
    (7, "rollback", "someone", "it lost money"),
    (8, "commit", "someone", "1.0 is a number"),
]
JOURNAL = sorted((GOLDEN / "params" / "journal").glob("*.jsonl"))
LINES = [line for file in JOURNAL for line in file.read_bytes().splitlines(keepends=True)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy, because opening a store leaves run-time files in it."""
    shutil.copytree(GOLDEN, tmp_path / "v1")
    for path in (tmp_path / "v1").rglob("*"):
        age(path)
    return tmp_path / "v1"


@pytest.fixture
def store(root: Path) -> ParamStore:
    return ParamStore(root, environ={})


def test_the_golden_files_are_untouched() -> None:
    paths = [path for path in GOLDEN.rglob("*") if path.is_file()]
    found = {str(path.relative_to(GOLDEN)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    assert found == SUMS, "golden files are never regenerated: restore them with git"


def test_values(store: ParamStore, root: Path) -> None:
    for reader in (store, ParamStore(root, environ={})):  # the second from the sidecar
        assert {key: repr(reader.get(key)) for key in reader.keys()} == {k: repr(v) for k, v in NOW.items()}  # noqa: SIM118
        assert (reader.revision, reader.health.ok, reader.pending()) == (8, True, ())
        funding = [
            reader.get("weights.funding", symbol="BTCUSDT"),
            reader.get("weights.funding", mode="live"),
            reader.get("weights.funding", mode="live", symbol="BTCUSDT"),
            reader.get("weights.funding", mode="paper", symbol="ETHUSDT"),
        ]
        assert funding == [0.31, 0.32, 0.33, 0.2]
        assert reader.get("weights.hurst", level=2) == 0.25


def test_specs(store: ParamStore) -> None:
    spec = store.spec("weights.liquidation")
    assert (spec.type, spec.unit, spec.minimum, spec.maximum, spec.default) == (
        "number", "fraction of score", 0.0, 1.0, 0.5,
    )  # fmt: skip
    assert (spec.learnable, spec.decimals, spec.max_step, spec.max_step_relative) == (True, 4, 0.05, 0.2)
    assert (spec.cooldown_s, spec.min_samples, spec.owner, spec.max_drift) == (
        1800,
        50,
        "weight_learner",
        0.15,
    )
    assert spec.description == "Weight of liquidations."
    assert spec.dimensions == ("mode", "symbol", "level")


def test_history(store: ParamStore) -> None:
    history = store.history()
    assert [(e.revision, e.kind, e.author, e.reason) for e in history] == ENTRIES
    assert dict(history[1].evidence) == {
        "samples": 812, "metric": "ev_bps", "before": 1.2, "after": 1.9, "by": {"BTCUSDT": [0.1, None, True]},
        "note": "größer → besser\n",
    }  # fmt: skip
    clamped, rounded = history[2].changes
    assert (clamped.old, clamped.new, clamped.requested, clamped.bound_by) == (30, 500, 1000, "maximum")
    assert (rounded.old, rounded.new, rounded.requested, rounded.bound_by, dict(rounded.context)) == (
        ABSENT, 0.5432, 0.54321987, "decimals", {"symbol": "ETHUSDT"},
    )  # fmt: skip
    removed = history[4].changes[0]
    assert (removed.old, removed.new, dict(removed.context)) == (
        0.33,
        ABSENT,
        {"mode": "live", "symbol": "BTCUSDT"},
    )
    assert history[8].files["params/gate.yaml"].after == SUMS["params/gate.yaml"]
    assert history[7].files["params/weights.yaml"].after == SUMS["params/weights.yaml"]


def test_every_earlier_revision(store: ParamStore) -> None:
    past = [store.as_of(revision) for revision in range(9)]
    assert {key: repr(past[0].get(key)) for key in FIRST} == {
        key: repr(value) for key, value in FIRST.items()
    }
    assert {key: repr(past[8].get(key)) for key in NOW} == {key: repr(value) for key, value in NOW.items()}
    assert [p["gate.min_trades"] for p in past] == [30, 30, 500, 500, 500, 500, 500, 500, 500]
    assert [p["gate.tiers.high"] for p in past] == [0.5, 0.5, 0.5, 0.5, 0.5, 0.45, 0.45, 0.45, 1.0]
    assert [p["weights.funding"] for p in past] == [0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
    live = [p.at(mode="live", symbol="BTCUSDT").get("weights.funding") for p in past]
    assert live == [
        0.33,
        0.33,
        0.33,
        0.33,
        0.31,
        0.31,
        0.31,
        0.33,
        0.33,
    ]  # 0.31: symbol is declared after mode
    eth = [p.at(symbol="ETHUSDT").get("weights.liquidation") for p in past]
    assert eth == [0.5, 0.6, 0.5432, 0.5432, 0.5432, 0.5432, 0.5432, 0.6, 0.6]
    assert [c.key for c in store.diff(5, 8)] == [
        "gate.tiers.high", "gate.tiers.low", "weights.funding", "weights.liquidation",
    ]  # fmt: skip


def test_what_was_aborted_never_took_place(store: ParamStore) -> None:
    records: list[dict[str, Any]] = [json.loads(line) for line in LINES]
    assert [(r["revision"], r["kind"]) for r in records if r["revision"] == 4] == [
        (4, "commit"), (4, "abort"), (4, "commit"),
    ]  # fmt: skip
    aborted, abort, _ = (r for r in records if r["revision"] == 4)
    assert abort["evidence"] == {"aborts": aborted["id"]}
    assert aborted["changes"] == [{"key": "gate.min_trades", "old": 500, "new": 77}]
    assert all(change.new != 77 for entry in store.history() for change in entry.changes)


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_line_is_what_the_format_says(line: bytes) -> None:
    """Without our own reader: any program can read a journal by these rules."""
    assert line.isascii()
    assert line.endswith(b'"}\n')
    record = json.loads(line)
    assert list(record) == [
        "v", "revision", "id", "time", "kind", "author", "reason", "evidence", "changes", "files", "crc",
    ]  # fmt: skip
    assert record["v"] == 1
    checked = line[: line.rindex(b',"crc"')]
    assert record["crc"] == format(zlib.crc32(checked), "08x")
    for change in record["changes"]:
        assert change.keys() <= {"key", "context", "old", "new", "requested", "bound_by"}
    for sums in record["files"].values():
        assert sums.keys() == {"before", "after"}
    parsed = _records.parse(line)
    assert parsed is not None
    assert parsed == record


def test_an_old_store_goes_on(store: ParamStore, root: Path) -> None:
    with store.transaction(author="someone", reason="today", force=True) as tx:
        tx["weights.liquidation"] = 0.55
        tx["weights.funding"] = 0.25
    assert (tx.commit_result.revision, ParamStore(root, environ={}).get("weights.funding")) == (9, 0.25)
    old = (GOLDEN / "params/weights.yaml").read_text()
    new = (root / "params/weights.yaml").read_text()
    assert new == old.replace("liquidation: 0.6 ", "liquidation: 0.55 ").replace(
        "funding: 0.2\n", "funding: 0.25\n"
    )
    for file in sorted((GOLDEN / "params/journal").iterdir()):
        assert (root / "params/journal" / file.name).read_bytes().startswith(file.read_bytes())
    store.rollback(to=0, author="someone", reason="back to the start")
    now = {key: repr(store.get(key)) for key in FIRST}
    assert now == {key: repr(value) for key, value in FIRST.items()}
    assert store.get("weights.funding", mode="live", symbol="BTCUSDT") == 0.33
