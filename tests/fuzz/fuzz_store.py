"""The good files that are damaged: a schema, two values files, a journal; and a store of them."""

from __future__ import annotations

import json
from pathlib import Path

from local_store import number, schema, write

from paramstore import ParamStore, _records
from paramstore._model import ABSENT, Change, Entry, FileChange

SCHEMA = json.dumps(
    schema(
        {
            "fraction": number(0.1, maximum=0.25),
            "trades": {"type": "integer", "minimum": 1, "maximum": 500, "default": 30},
            "on": {"type": "boolean", "default": True},
            "style": {"enum": ["slow", "fast"], "default": "slow"},
            "name": {"type": "string", "default": "n", "maxLength": 40},
            "list": {"type": "array", "items": {"type": "number"}, "default": []},
            "tiers": {"type": "object", "additionalProperties": False, "properties": {"high": number(0.5), "low": number(0.2)}},
        },
        {"symbol": {"type": "string"}, "regime": {"enum": ["trend", "chop"]}},
        [{"descending": ["tiers.high", "tiers.low"], "strict": True}, {"sum": ["fraction", "tiers.low"], "maximum": 5}],
    )
).encode()  # fmt: skip
OTHER_SCHEMA = json.dumps(schema({"x": number(1.0)})).encode()
TEXT = """\
# yaml-language-server: $schema=../schemas/risk.schema.json
schema: 1
values:
  fraction: 0.1   # of equity; größer nie
  trades: 30
  on: true
  style: slow
  name: 'n'
  list: [0.5, 1, -2.0e-3]
  tiers:
    high: 0.5
    low: 0.2
overrides:
  - at: {symbol: BTC}
    values: {fraction: 0.2}   # why
  - at:
      regime: trend
    values:
      tiers: {low: 0.25}
""".encode()
OTHER_TEXT = b"schema: 1\nvalues:\n  x: 1.0\n"
FILES = {
    "schemas/risk.schema.json": SCHEMA, "schemas/other.schema.json": OTHER_SCHEMA, "params/risk.yaml": TEXT,
    "params/other.yaml": OTHER_TEXT,
}  # fmt: skip


def _line(revision: int, kind: str = "commit", **details: object) -> bytes:
    changes = () if details or kind == "abort" else (
        Change("risk.fraction", 0.1, 0.12, {"symbol": "BTC"} if revision % 2 else {}, 0.12),
        Change("risk.name", ABSENT if revision == 0 else "n", "é", {}, "é", "max_step", ("cooldown_s",)),
    )  # fmt: skip
    sums = {"params/risk.yaml": FileChange("a" * 64, "b" * 64)} if changes else {}
    evidence = (
        {"aborts": f"id{revision - 1:014d}"} if kind == "abort" else {"samples": 812, "metric": "ev_bps"}
    )
    name = f"{'id' if kind == 'commit' else kind[:3]}{revision:014d}"
    entry = Entry(revision, name, f"2025-12-20T10:00:{revision % 60:02d}.000000Z", kind, "learner", "why", evidence,  # type: ignore[arg-type]
                  changes, sums, details, ("boot", 12.5 + revision))  # fmt: skip
    return _records.encode(entry)[1]


def journal_of(count: int) -> bytes:
    """Return a segment of ``count`` commits."""
    return b"".join(_line(revision) for revision in range(count))


ENTRIES = b"".join([
    journal_of(4), _line(4, "abort"), _line(3, "freeze", pattern="risk.*", until="2025-12-21T10:00:00Z"), _line(3, "unfreeze", pattern="risk.*"),
    _line(3, "approve", baselines=[{"key": "risk.fraction", "value": 0.1}]),
    _line(3, "refusal", violations=[{"key": "risk.fraction", "rule": "maximum", "requested": 0.9, "text": "no"}]),
    _line(4), _line(5, "rollback"), _line(6, "external"), _line(6, "merge", joined=["id1"]),
])  # fmt: skip


def make_store(root: Path) -> Path:
    """Write the store, with a journal of three commits."""
    for name, raw in FILES.items():
        write(root / name, raw)
    store = ParamStore(root, environ={})
    for step in range(3):
        with store.transaction(author="learner", reason="r", evidence={"samples": step}) as tx:
            tx["risk.fraction"] = 0.11 + step / 100
            tx["other.x"] = 2.0 + step
    store.reset()
    return root
