"""Judge what processes on several machines did against the journal in the cluster: a pure check that shares no code with
the library.

As ``tests/histories/checker.py`` does, with what several machines and lost answers add: every attempt is noted before it is
made and carries a tag, which its entry in the journal carries too; an attempt may have ended without an answer; and a read
must know what was acknowledged on its own machine, while what others did may come later.
"""

from __future__ import annotations

import hashlib
import json
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from explained import UNSEEN, blame, first, matches
from explained import Verdict as Judgement

KEYS = ("alpha.count", "alpha.theirs", "beta.count", "beta.theirs")
COMMIT, ROLLBACK, FREEZE, UNFREEZE, GET, SECTION, SNAPSHOT, END = range(8)
NAMES = ("commit", "rollback", "freeze", "unfreeze", "get", "section", "snapshot", "end")
TRIED, DONE, REFUSED, UNKNOWN = range(4)  # what came of it
NOTHING = (UNSEEN,) * len(KEYS)
VALUELESS = ("freeze", "unfreeze", "approve", "refusal")
RECORD = struct.Struct("<BBii2q8i")
FROZEN = "alpha.theirs"
CLOSER = "closer"  # makes the first commit and the last
CONVERGE_S = 15.0


class Operation(NamedTuple):
    """What one process did: times in nanoseconds of ``CLOCK_MONOTONIC``; ``values`` written or read, in the order of ``KEYS``;
    ``seen``: what a transaction read."""

    kind: int
    outcome: int
    tag: int
    revision: int
    begun: int
    ended: int
    values: tuple[int, ...]
    seen: tuple[int, ...] = NOTHING
    process: str = ""

    @property
    def machine(self) -> str:
        return self.process.partition("-")[0]

    def __str__(self) -> str:
        return (
            f"{NAMES[self.kind]} by {self.process} at {self.begun}..{self.ended}: revision {self.revision}, tag {self.tag}, "
            f"{list(self.values)}"
        )


@dataclass
class Verdict(Judgement):
    """``acknowledged``: how many commits were."""

    acknowledged: int = 0


def read_operations(file: Path) -> Iterator[Operation]:
    """Yield what one process recorded, in its own order. A killed one may have left half a record."""
    raw = file.read_bytes()
    for kind, outcome, tag, revision, begun, ended, *values in RECORD.iter_unpack(
        raw[: len(raw) // RECORD.size * RECORD.size]
    ):
        yield Operation(
            kind, outcome, tag, revision, begun, ended, tuple(values[:4]), tuple(values[4:]), file.name
        )


# -- what stands in the cluster -------------------------------------------------------------------


def lines_of(keys: dict[str, str]) -> dict[int, dict[str, str]]:
    """Return what stands for each entry, by its number and by the namespace under which it stands."""
    lines: dict[int, dict[str, str]] = {}
    for key, text in keys.items():
        if key.startswith("journal/"):
            _, home, number = key.split("/")
            lines.setdefault(int(number, 16), {})[home] = text
    return lines


def whole(found: dict[str, str]) -> str:
    """Return an entry's line, which stands whole under one namespace and by its hash under the others."""
    return next(text for text in found.values() if not text.startswith("sha256 "))


def journal_of(keys: dict[str, str], verdict: Verdict) -> list[dict[str, Any]]:
    """Return the entries of a dump of the cluster (names below the prefix, and their text), in order."""
    lines, head = lines_of(keys), json.loads(keys["head"])
    if sorted(lines) != list(range(head["seq"] + 1)):
        verdict.add("gap", f"the journal has {len(lines)} entries, and {head['seq']} is said to be the last")
    records = []
    for seq, found in sorted(lines.items()):
        line = whole(found)
        record = json.loads(line)
        touched = {name.removeprefix("params/").removesuffix(".yaml") for name in record["files"]}
        proof = "sha256 " + hashlib.sha256(line.encode()).hexdigest()
        if not set(found.values()) <= {line, proof} or not touched <= found.keys():
            verdict.add(
                "homes", f"entry {seq} does not stand the same under all that it touches: {sorted(found)}"
            )
        records.append(record)
    if records and (records[-1]["revision"], records[-1]["id"]) != (head["revision"], head["id"]):
        verdict.add("head", f"it says {head}, and the last entry is {records[-1]['revision']}")
    return records


def files_of(keys: dict[str, str]) -> dict[str, str]:
    """Return what a mirror of this dump holds: every file, and the journal in one piece."""
    files = {"journal": "".join(whole(found) for _, found in sorted(lines_of(keys).items()))}
    for key, text in keys.items():
        kind, _, name = key.partition("/")
        if kind == "values":
            files[f"params/{name}.yaml"] = text
        elif kind == "schemas":
            files[f"schemas/{name}.schema.json"] = text
    return files


def mirrored(folder: Path) -> dict[str, str]:
    """Return the same of a mirror directory."""
    found = {"journal": "".join(p.read_text() for p in sorted((folder / "params/journal").glob("*.jsonl")))}
    for file in [*(folder / "params").glob("*.yaml"), *(folder / "schemas").glob("*.json")]:
        found[str(file.relative_to(folder))] = file.read_text()
    return found


# -- judging --------------------------------------------------------------------------------------


class Past:
    """What the journal says: ``values`` after each revision, and which entries carry a tag."""

    def __init__(self, records: Sequence[dict[str, Any]]) -> None:
        self.entries = [r for r in records if r["kind"] not in VALUELESS]
        self.tagged: dict[int, list[dict[str, Any]]] = {}
        for record in records:
            if (
                record["kind"] != "refusal" and record["reason"].isdecimal()
            ):  # that a rule refused it is noted, too
                self.tagged.setdefault(int(record["reason"]), []).append(record)
        self.values: list[tuple[int, ...]] = []
        values = dict.fromkeys(KEYS, UNSEEN)
        for entry in self.entries:
            for change in entry["changes"]:
                if change["key"] in values:
                    values[change["key"]] = change["new"]
            self.values.append(tuple(values.values()))


def check(
    records: Sequence[dict[str, Any]], histories: Sequence[Sequence[Operation]], verdict: Verdict
) -> Verdict:
    """Judge the operations of all processes, each process's in its own order. ``CLOSER`` made the commit before all others."""
    past = Past(records)
    first = next((entry["revision"] for entry in past.entries if entry["author"] == CLOSER), 0)
    verdict.revisions = len(past.entries)
    said = [entry["revision"] for entry in past.entries]
    if said != list(range(len(said))):
        odd = next(i for i, revision in enumerate(said) if revision != i)
        verdict.add("revisions", f"the journal's entry number {odd} has revision {said[odd]}")
        return verdict
    attempts = _attempts(histories)
    _check_attempts(verdict, past, attempts)
    _check_explained(verdict, records, past, {op.tag for op in attempts})
    _check_order(verdict, attempts)
    _check_freezes(verdict, past, attempts)
    begun = [(op.begun, entry["revision"]) for op in attempts for entry in past.tagged.get(op.tag, ())]
    high = _newest_by_time([*begun, (0, first)])
    for ops in histories:
        verdict.operations += sum(op.outcome != TRIED for op in ops)
        machine = ops[0].machine if ops else ""
        here = [(op.ended, op.revision) for op in attempts if op.machine == machine and _is_commit(op)]
        _check_reads(verdict, past, ops, _newest_by_time([*here, (0, first)]), high)
    return verdict


def _is_commit(op: Operation) -> bool:
    return op.kind in (COMMIT, ROLLBACK) and op.outcome == DONE and op.revision != UNSEEN


def _attempts(histories: Sequence[Sequence[Operation]]) -> list[Operation]:
    """Return every write that was tried, with what came of it; of a process that was killed nobody knows."""
    found: dict[int, Operation] = {}
    for op in (op for ops in histories for op in ops if op.tag):
        found[op.tag] = op
    return [op._replace(outcome=UNKNOWN) if op.outcome == TRIED else op for op in found.values()]


def _check_attempts(verdict: Verdict, past: Past, attempts: Sequence[Operation]) -> None:
    """What was acknowledged is there once and as it was told, what was refused is not, what is unknown at most once."""
    for op in attempts:
        entries = past.tagged.get(op.tag, [])
        if len(entries) > 1:
            verdict.add("twice", f"{op}: {len(entries)} entries")
        elif op.outcome == REFUSED and entries:
            verdict.add("phantom", f"{op} was refused, and is revision {entries[0]['revision']}")
        elif _is_commit(op):
            verdict.acknowledged += 1
            _check_acknowledged(verdict, past, op, entries)
        elif op.kind == FREEZE and op.outcome == DONE and not entries:
            verdict.add("lost", str(op))


def _check_acknowledged(
    verdict: Verdict, past: Past, op: Operation, entries: Sequence[dict[str, Any]]
) -> None:
    if not entries or entries[0]["revision"] != op.revision or not 0 < op.revision < len(past.values):
        verdict.add(
            "lost", f"{op}; the journal ends at {len(past.values) - 1} and has its tag at {entries[:1]}"
        )
        return
    stood = past.values[op.revision]
    if op.kind == ROLLBACK and stood != past.values[op.values[0]]:
        verdict.add("rollback", f"{op}: {stood} instead of {past.values[op.values[0]]}")
    if op.kind == COMMIT and not matches(op.values, stood):
        verdict.add("lost", f"{op}; the journal holds {stood} there")
    if not matches(op.seen, past.values[op.revision - 1]):
        verdict.add("isolation", f"{op} read {op.seen} before it, and {past.values[op.revision - 1]} stood")


def _check_explained(verdict: Verdict, records: Sequence[dict[str, Any]], past: Past, tags: set[int]) -> None:
    for number, record in enumerate(records):
        tag = int(record["reason"]) if record["reason"].isdecimal() else None
        if tag not in tags and record["author"] != CLOSER and number:
            verdict.add(
                "unexplained", f"entry {number}, {record['kind']} of {record['author']}: nobody tried it"
            )


Moments = tuple[list[int], list[int]]


def _newest_by_time(moments: list[tuple[int, int]]) -> Moments:
    times, newest, best = [], [], 0
    for time, revision in sorted(moments):
        best = max(best, revision)
        times.append(time)
        newest.append(best)
    return times, newest


def _newest(of: Moments, moment: int) -> int:
    place = bisect_left(of[0], moment)
    return of[1][place - 1] if place else 0


def _check_order(verdict: Verdict, attempts: Sequence[Operation]) -> None:
    """A commit that began after another was acknowledged, on whatever machine, has the higher revision."""
    commits = [op for op in attempts if _is_commit(op)]
    acknowledged = _newest_by_time([(op.ended, op.revision) for op in commits])
    for op in commits:
        if op.revision <= _newest(acknowledged, op.begun):
            verdict.add(
                "order", f"{op} began when revision {_newest(acknowledged, op.begun)} had been acknowledged"
            )


def _check_freezes(verdict: Verdict, past: Past, attempts: Sequence[Operation]) -> None:
    """No commit that lies wholly within a freeze changes what is frozen."""
    thaws = sorted(op.begun for op in attempts if op.kind == UNFREEZE)
    freezes = sorted(op.ended for op in attempts if op.kind == FREEZE and op.outcome == DONE)
    for op in filter(_is_commit, attempts):
        place = bisect_left(freezes, op.begun) - 1
        if place < 0 or not 0 < op.revision < len(past.entries):
            continue
        thaw = bisect_left(thaws, freezes[place])
        within = thaw == len(thaws) or op.ended < thaws[thaw]
        changed = {c["key"] for c in past.entries[op.revision]["changes"] if c.get("old") != c.get("new")}
        if within and FROZEN in changed:
            verdict.add("freeze", f"{op} changed {FROZEN}, frozen since {freezes[place]}")


def _check_reads(
    verdict: Verdict, past: Past, ops: Sequence[Operation], here: Moments, high: Moments
) -> None:
    """Follow one reader: each of its reads is one revision, whole, none is older than the one before, nor than what was
    acknowledged on its machine, and none is of a commit that had not begun."""
    floor = 0
    for op in ops:
        if op.kind < GET:
            continue
        low, top = _newest(here, op.begun), min(_newest(high, op.ended), len(past.values) - 1)
        if op.kind == END:
            top = len(past.values) - 1
        found = first(op, max(low, floor), top, past.values)
        if found is None:
            verdict.add(blame(op, low, floor, top, past.values), f"{op} may see {max(low, floor)} to {top}")
        else:
            floor = found
