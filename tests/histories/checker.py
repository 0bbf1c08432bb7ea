"""Judge a history of operations against the journal: a pure check that shares no code with the library.

The idea is that of Jepsen's Elle and of porcupine: every process notes when it began and ended each operation, on one
clock, and what it saw; afterwards it is decided whether some order of the commits explains all of it. Here the store
itself names that order (the revisions), so that no search is needed: each read must be the replay of the journal at
one revision that could have stood while the read went on.
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from explained import UNSEEN, Verdict, blame, first, matches

KEYS = ("alpha.count", "alpha.theirs", "beta.count", "beta.theirs")
COMMIT, GET, SECTION, SNAPSHOT, FREEZE, UNFREEZE, EDIT = range(7)
NAMES = ("commit", "get", "section", "snapshot", "freeze", "unfreeze", "edit")
VALUELESS = ("freeze", "unfreeze", "approve", "refusal")
RECORD = struct.Struct("<Bi2q4i")


class Operation(NamedTuple):
    """What one process did: times in nanoseconds of ``CLOCK_MONOTONIC``; ``values`` in the order of ``KEYS``."""

    kind: int
    revision: int
    begun: int
    ended: int
    values: tuple[int, ...]
    process: str = ""

    def __str__(self) -> str:
        return f"{NAMES[self.kind]} by {self.process} at {self.begun}..{self.ended}: revision {self.revision}, {list(self.values)}"


def read_operations(file: Path) -> Iterator[Operation]:
    """Yield what one process recorded, in its own order."""
    for kind, revision, begun, ended, *values in RECORD.iter_unpack(file.read_bytes()):
        yield Operation(kind, revision, begun, ended, tuple(values), file.stem)


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Return the journal's standing entries that have a revision of their own."""
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    records = [json.loads(line) for line in lines]
    aborted = {record["evidence"]["aborts"] for record in records if record["kind"] == "abort"}
    skipped = (*VALUELESS, "abort")
    return [r for r in records if r["kind"] not in skipped and r["id"] not in aborted]


def check(entries: Sequence[dict[str, Any]], histories: Iterable[Iterable[Operation]]) -> Verdict:
    """Judge the operations of all processes, each process's in its own order."""
    verdict = Verdict(revisions=len(entries))
    said = [entry["revision"] for entry in entries]
    if said != list(range(len(said))):
        odd = next((i for i, revision in enumerate(said) if revision != i), len(said))
        verdict.add("revisions", f"the journal's entry number {odd} has revision {said[odd]}")
    processes = [list(history) for history in histories]
    commits = [op for ops in processes for op in ops if op.kind == COMMIT]
    past = _replay(entries)
    _check_commits(verdict, entries, commits, past)
    window = _window(entries, commits)
    _check_order(verdict, commits, window)
    _check_freezes(verdict, processes, entries)
    for ops in processes:
        verdict.operations += len(ops)
        _check_reads(verdict, ops, window, past)
    return verdict


def _replay(entries: Sequence[dict[str, Any]]) -> list[tuple[int, ...]]:
    """Return all values after each entry."""
    values = dict.fromkeys(KEYS, UNSEEN)
    found = []
    for entry in entries:
        for change in entry["changes"]:
            if change["key"] in values and not change.get("context"):
                values[change["key"]] = change["new"]
        found.append(tuple(values.values()))
    return found


def _check_commits(
    verdict: Verdict,
    entries: Sequence[dict[str, Any]],
    commits: Sequence[Operation],
    past: Sequence[tuple[int, ...]],
) -> None:
    """Each acknowledged commit is one entry with its values, and each entry was made by one of them."""
    seen: dict[int, Operation] = {}
    for op in commits:
        if op.revision in seen:
            verdict.add("twice", f"{op}; the revision was also given to {seen[op.revision].process}")
        seen[op.revision] = op
        if not 0 <= op.revision < len(past):
            verdict.add("lost", f"{op}; the journal ends at {len(past) - 1}")
        elif not matches(op.values, past[op.revision]):
            verdict.add("lost", f"{op}; the journal holds {past[op.revision]} there")
    for number, entry in enumerate(entries):
        if number not in seen and entry["kind"] != "external":
            verdict.add("unexplained", f"revision {number}: nobody's commit was acknowledged with it")


Window = Callable[[int, int], tuple[int, int]]


def _window(entries: Sequence[dict[str, Any]], commits: Sequence[Operation]) -> Window:
    """Return what tells the lowest and the highest revision that an operation may see: the newest acknowledged before
    it began, and the newest begun before it ended."""
    begun = [(op.begun, op.revision) for op in commits]
    known = {op.revision: op for op in commits}
    soonest = 0
    for number in range(
        len(entries) - 1, -1, -1
    ):  # a change by hand is recorded by the commit that follows it
        if number in known:
            soonest = known[number].begun
        else:
            begun.append((soonest, number))
    ended = _newest_by_time([(op.ended, op.revision) for op in commits])
    started = _newest_by_time(begun)

    def window(begin: int, end: int) -> tuple[int, int]:
        return _newest(ended, begin), _newest(started, end)

    return window


def _newest_by_time(moments: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    times, newest, best = [], [], 0
    for time, revision in sorted(moments):
        best = max(best, revision)
        times.append(time)
        newest.append(best)
    return times, newest


def _newest(of: tuple[list[int], list[int]], moment: int) -> int:
    place = bisect_left(of[0], moment)
    return of[1][place - 1] if place else 0


def _check_order(verdict: Verdict, commits: Sequence[Operation], window: Window) -> None:
    for op in commits:
        acknowledged, _ = window(op.begun, op.ended)
        if op.revision <= acknowledged:
            verdict.add("order", f"{op} began when revision {acknowledged} had been acknowledged")


def _check_freezes(
    verdict: Verdict, processes: Sequence[Sequence[Operation]], entries: Sequence[dict[str, Any]]
) -> None:
    """No commit that lies wholly within a freeze changes what is frozen (``values`` says which keys: 1)."""
    spans = []
    for ops in processes:
        since: Operation | None = None
        for op in ops:
            if op.kind == FREEZE:
                since = op
            elif op.kind == UNFREEZE and since is not None:
                spans.append(
                    (since.ended, op.begun, {k for k, v in zip(KEYS, since.values, strict=True) if v == 1})
                )
    spans.sort(key=lambda span: span[0])
    starts = [span[0] for span in spans]
    for op in (op for ops in processes for op in ops if op.kind == COMMIT):
        place = bisect_left(starts, op.begun) - 1
        if place < 0 or op.ended > spans[place][1] or not 0 <= op.revision < len(entries):
            continue
        broken = spans[place][2] & {change["key"] for change in entries[op.revision]["changes"]}
        if broken:
            verdict.add("freeze", f"{op} changed {sorted(broken)}, frozen {spans[place][:2]}")


def _check_reads(
    verdict: Verdict, ops: Sequence[Operation], window: Window, past: Sequence[tuple[int, ...]]
) -> None:
    """Follow one reader: each of its reads is one revision in its window, and none is older than the one before."""
    floor = 0
    for op in ops:
        if op.kind not in (GET, SECTION, SNAPSHOT):
            continue
        low, high = window(op.begun, op.ended)
        high = min(high, len(past) - 1)
        found = first(op, max(low, floor), high, past)
        if found is None:
            verdict.add(blame(op, low, floor, high, past), f"{op} may see {max(low, floor)} to {high}")
        else:
            floor = found
