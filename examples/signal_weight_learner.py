"""A learner to copy: outcomes of closed trades become signal weights, by way of the guards. For a timer, or cron.

    python examples/signal_weight_learner.py outcomes.jsonl [--root STORE]

A line of ``outcomes.jsonl`` is one closed trade: the strength that each signal had when it was opened, what it
returned in basis points, and the stamp of the decision (``p.stamp()``):

    {"signals": {"funding": 0.9, …}, "return_bps": 12.5, "params_revision": 7, "params_digest": "…"}

The estimator. A signal's expected value is the mean of strength times return. Its share is its part of all that
is positive; what earned nothing gets its minimum. The weights go towards these shares by n / (n + ``PRIOR``), n
being the trades that were decided since this learner's last change: each trade teaches once, and what older ones
taught is in the weights themselves. Where signals explain 60 % of what returns vary by, no weight is further than
0.02 from the right answer after 16 runs of 1000 trades (tests/test_examples.py); docs/learners.md has a table
with more noise, where it is worse.

What it cannot do. Strengths must be on one scale around zero: one that is always positive earns what the market
did. Signals that say the same are both paid for it. Returns are taken as they are: a few huge ones decide. Noise
counts as earning where it is positive, so weak signals are overpaid. And it sees only trades that were made.

Exit status: 0 done, or nothing to do; 1 refused (or the store or file cannot be used), with the reason on stderr.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import fsum
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from paramstore import Evidence, ParamStore, ParamstoreError, params

if TYPE_CHECKING:
    from paramstore._model import CommitResult

AUTHOR = "signal_weight_learner"  # the owner that the schema names
GROUP = "signal_weights"
PRIOR = 2000  # trades that the present weights count for; more is slower and steadier
LARGEST = 1e6  # bps or strength; what is beyond is a broken line, and must not teach


class Trade(NamedTuple):
    """One closed trade: strength by signal, return in bps, and the revision that it was decided with."""

    strengths: Mapping[str, float]
    return_bps: float
    revision: int


class Lesson(NamedTuple):
    """What some trades teach: the weights to ask for (none: nothing to ask), and why."""

    values: Mapping[str, float]  # expected value by signal, bps
    weights: Mapping[str, float]
    evidence: Evidence


def trade_in(line: str, names: Iterable[str]) -> Trade | None:
    """Return the outcome in ``line``; ``None`` if it is torn, or a number is missing or not plausible."""
    try:
        record = json.loads(line)
        strengths = {name: float(record["signals"][name]) for name in names}
        found = Trade(strengths, float(record["return_bps"]), int(record["params_revision"]))
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        return None
    plausible = all(abs(number) <= LARGEST for number in (found.return_bps, *strengths.values()))
    return found if plausible else None


def fresh(trades: Iterable[Trade], store: ParamStore = params) -> list[Trade]:
    """Return the trades that were decided since this learner's last change: the others have taught already."""
    since = last_change(store, store.revision)
    return [trade for trade in trades if trade.revision >= since]


@lru_cache(maxsize=1)
def last_change(store: ParamStore, revision: int) -> int:
    """Return the revision of this learner's last change, reading the journal once for each ``revision``."""
    entries = [entry for entry in store.history(f"{GROUP}.*") if entry.author == AUTHOR]
    return max((entry.revision for entry in entries if entry.kind == "commit"), default=0)


def towards(
    values: Mapping[str, float], weights: Mapping[str, float], floors: Mapping[str, float], samples: int
) -> dict[str, float]:
    """Return ``weights`` moved towards each signal's share of what was earned; nothing if none earned."""
    total = fsum(value for value in values.values() if value > 0)
    if total <= 0:
        return {}
    left = 1 - fsum(floors[name] for name, value in values.items() if value <= 0)
    share = {name: left * value / total if value > 0 else floors[name] for name, value in values.items()}
    trust = samples / (samples + PRIOR)
    return {name: weight + trust * (share[name] - weight) for name, weight in weights.items()}


def lesson(trades: Sequence[Trade], store: ParamStore = params) -> Lesson:
    """Return what ``trades`` teach. ``after`` in the evidence is the earning expected of the weights asked for."""
    weights = store.snapshot().section(GROUP)
    specs = {name: store.spec(f"{GROUP}.{name}") for name in weights}
    if len(trades) < max(1, *(spec.min_samples or 0 for spec in specs.values())):
        return Lesson({}, {}, Evidence(samples=len(trades)))
    values = {name: fmean(trade.strengths[name] * trade.return_bps for trade in trades) for name in weights}
    asked = towards(values, weights, {name: spec.minimum or 0.0 for name, spec in specs.items()}, len(trades))
    before, after = (fsum(w * values[name] for name, w in by.items()) for by in (weights, asked or weights))
    window = f"revisions {min(t.revision for t in trades)} to {max(t.revision for t in trades)}"
    evidence = Evidence(len(trades), "score_ev_bps", before, after, window, code_revision=code_revision())
    return Lesson(values, asked, evidence)


def code_revision() -> str:
    """Return git's name for this very file: ``git log --find-object=…`` shows the commit that it came with."""
    raw = Path(__file__).read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(raw), raw)).hexdigest()


def learn(trades: Sequence[Trade], store: ParamStore = params) -> str:
    """Propose what the fresh ones of ``trades`` teach, and say what came of it. Raises ``ValidationError`` if refused."""
    values, weights, evidence = lesson(fresh(trades, store), store)
    if not weights:
        why = "no signal earned anything" if values else "too few to learn from"
        return f"{evidence.samples} trades since the last change: {why}; the weights stay."
    with store.transaction(author=AUTHOR, reason="expected value", evidence=evidence) as tx:
        tx.propose(GROUP, weights, on_violation="project")
    return f"{table(tx.commit_result, values)}\nrevision {tx.commit_result.revision}, from {evidence.samples} trades"


def table(result: CommitResult, values: Mapping[str, float]) -> str:
    """Return one line for each weight: what it was, what was asked for, what was applied, and bound by which rule."""
    rows = [f"{'signal':<16} {'ev_bps':>8} {'before':>8} {'asked':>8} {'applied':>8}  bound by"]
    for change in result.changes:
        name = change.key.removeprefix(f"{GROUP}.")
        numbers = f"{values[name]:8.3f} {change.old:8.4f} {change.requested:8.4f} {change.applied:8.4f}"
        rows.append(f"{name:<16} {numbers}  {change.bound_by or ''}".rstrip())
    return "\n".join(rows)


def learn_from(file: Path, store: ParamStore) -> str:
    """Learn from the outcomes in ``file``, once, and say what came of it. Raises ``OSError`` if it cannot be read,
    ``ValueError`` if no line is an outcome."""
    names = list(store.section(GROUP))
    lines = [line for line in file.read_text(encoding="utf-8", errors="replace").split("\n") if line.strip()]
    trades = [trade for line in lines if (trade := trade_in(line, names)) is not None]
    unusable = len(lines) - len(trades)
    if lines and not trades:
        raise ValueError(
            f"{file}: none of {len(lines)} lines is an outcome; has the format of the log changed?"
        )
    return (f"{unusable} of {len(lines)} lines are no outcomes\n" if unusable else "") + learn(trades, store)


def main() -> int:
    parser = argparse.ArgumentParser(description="Move the signal weights towards what each signal earned.")
    parser.add_argument("outcomes", type=Path, help="JSON lines, one closed trade each")
    parser.add_argument("--root", help="the store; default: PARAMSTORE_ROOT, or the nearest one upward")
    words = parser.parse_args()
    try:
        print(learn_from(words.outcomes, ParamStore(words.root) if words.root else params))  # noqa: T201
    except (ParamstoreError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
