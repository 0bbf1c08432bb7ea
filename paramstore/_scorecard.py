"""Outcomes joined to the revisions they were decided with, and what each change did to them.

Pure: lines and journal entries in, figures out. That a later outcome differs does not say that the change is why; what
else lay between is told as ``shared``, and docs/scorecard.md says what no figure can.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

from paramstore._intervals import Interval, Tally, needed, newcombe, welch
from paramstore._model import ABSENT, Change, Entry
from paramstore._values import same

Verdict = Literal["better", "worse", "cannot tell"]

TIME_FIELDS = ("time", "timestamp", "closed_at")
CHANGING = ("commit", "external", "rollback")  # the kinds of entries that change values
LARGEST = 1e100  # of a metric: its squares, and sums of them, stay finite
UNKNOWN = "unknown revision"
KEPT = 1000  # problems kept with their text; beyond that they are only counted
MILLISECONDS = 1e11  # a time from here on (in seconds: the year 5138) is meant in milliseconds
LAST_TIME = 7_258_118_400.0  # the year 2200; what is outside 1970 to 2200 is no time of a trade


# --- records ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fields:
    """Where a line holds what: dotted paths. The first of ``times`` that is there counts."""

    metric: str
    revision: str = "params_revision"
    times: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one decision. ``seconds`` is UTC since 1970, ``None`` where the line has no usable time."""

    line: int
    revision: int
    metric: float
    digest: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line that could not be joined. ``kind`` is one of a few words, ``text`` says it of this line."""

    line: int
    kind: str
    text: str


class UnusableError(ValueError):
    """Why a line is no outcome: its kind, and the words for this line."""


@dataclass(slots=True)
class Gathered:
    """Outcomes and problems of one reading. Memory grows with revisions and digests, and with lines only where
    outcomes are kept for a drawing."""

    tallies: dict[int, Tally] = field(default_factory=dict)
    digests: dict[int, Counter[str]] = field(default_factory=dict)
    problems: list[Skipped] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def joined(self) -> int:
        return sum(tally.count for tally in self.tallies.values())


@dataclass(frozen=True, slots=True)
class Comparison:
    """One change, before against after: outcomes of the revisions from ``start`` up to the change, and from the
    change up to ``end`` (the next change of one of its keys; ``None``: to the newest). Differences are after minus
    before, intervals at the scorecard's ``adjusted`` level. ``needed`` outcomes per side would show a difference
    of the size seen; ``shared`` are changes of other keys that divide the outcomes compared.
    """

    entry: Entry
    start: int
    end: int | None
    before: Tally
    after: Tally
    shared: tuple[int, ...] = ()
    mean: Interval | None = None
    win_rate: Interval | None = None
    needed: int | None = None
    verdict: Verdict = "cannot tell"
    why: str = ""

    @property
    def changes(self) -> tuple[Change, ...]:
        return moved(self.entry)

    @property
    def win_rate_difference(self) -> float | None:
        """After minus before, in fractions of outcomes; ``None`` where one side has no outcome."""
        if not (self.before.count and self.after.count):
            return None
        return self.after.wins / self.after.count - self.before.wins / self.before.count


@dataclass(frozen=True, slots=True)
class Scorecard:
    """``compared`` changes have enough outcomes on both sides; each is judged at ``adjusted``, so that all
    verdicts together hold at ``level`` (Bonferroni)."""

    level: float
    adjusted: float
    compared: int
    comparisons: tuple[Comparison, ...]


# --- reading ------------------------------------------------------------------------------------


def read(lines: Iterable[str | bytes], fields: Fields, known: Collection[int]) -> Iterator[Outcome | Skipped]:
    """Yield what each line says, blank ones left out. ``known`` are the journal's revisions."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _outcome(number, line, fields, known)
        except UnusableError as problem:
            yield Skipped(number, *problem.args)


def gather(found: Iterable[Outcome | Skipped], keep: bool = False) -> Gathered:
    """Add it all up; with ``keep`` the outcomes are held as well."""
    result = Gathered()
    for item in found:
        if isinstance(item, Skipped):
            result.kinds[item.kind] += 1
            if len(result.problems) < KEPT:
                result.problems.append(item)
            continue
        result.tallies.setdefault(item.revision, Tally()).add(item.metric)
        if item.digest is not None:
            result.digests.setdefault(item.revision, Counter())[item.digest] += 1
        if keep:
            result.outcomes.append(item)
    return result


def lookup(record: Mapping[str, Any], path: str) -> Any:
    """Return what a dotted path leads to, else ``ABSENT``. A name that holds the dots itself comes first."""
    if path in record:
        return record[path]
    head, _, rest = path.partition(".")
    inner = record.get(head)
    return lookup(inner, rest) if rest and isinstance(inner, dict) else ABSENT


def _outcome(number: int, line: str | bytes, fields: Fields, known: Collection[int]) -> Outcome:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise UnusableError("not JSON", "not JSON") from None
    if not isinstance(record, dict):
        raise UnusableError("not JSON", f"{_shown(record)}, not a JSON object")
    metric = _metric(record, fields.metric)  # first: a line of unknown revision is then usable otherwise
    revision = _revision(record, fields.revision, known)
    digest = lookup(record, _beside(fields.revision))
    seconds = _seconds(record, fields.times)
    return Outcome(number, revision, metric, digest if isinstance(digest, str) else None, seconds)


def _metric(record: Mapping[str, Any], path: str) -> float:
    value = lookup(record, path)
    if value is ABSENT:
        raise UnusableError("no metric", f"no `{path}`")
    if type(value) not in (int, float):  # a bool is no number
        raise UnusableError("metric is not a number", f"`{path}` is {_shown(value)}, not a number")
    if not abs(value) <= LARGEST:
        raise UnusableError(
            "metric is not finite", f"`{path}` is {_shown(value)}, not finite (at most 1e100)"
        )
    return float(value)


def _revision(record: Mapping[str, Any], path: str, known: Collection[int]) -> int:
    value = lookup(record, path)
    if value is ABSENT:
        raise UnusableError("no stamp", f"no `{path}`")
    if type(value) is not int:
        raise UnusableError("revision is not an integer", f"`{path}` is {_shown(value)}, not an integer")
    if value not in known:
        raise UnusableError(UNKNOWN, f"revision {_shown(value)} is unknown to the journal")
    return value


def _beside(path: str) -> str:
    parent, dot, _ = path.rpartition(".")
    return f"{parent}{dot}params_digest"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value) if not isinstance(value, int) or abs(value) < 10**40 else "a huge number"
    return text if len(text) <= 40 else f"{text[:40]}…"


def _seconds(record: Mapping[str, Any], paths: tuple[str, ...]) -> float | None:
    """Return the first time that is there, in seconds since 1970; ``None`` where it is no time of a trade."""
    value: Any = next((v for v in (lookup(record, path) for path in paths) if v is not ABSENT), None)
    if isinstance(value, str):
        value = _moment(value)
    elif type(value) in (int, float) and MILLISECONDS <= value <= LAST_TIME * 1000:
        value /= 1000
    usable = type(value) in (int, float) and 0 <= value <= LAST_TIME
    return float(value) if usable else None


def _moment(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


# --- comparing ----------------------------------------------------------------------------------


def known_revisions(entries: Iterable[Entry]) -> set[int]:
    """Return the revisions that a stamp can name; before the first commit that is 0."""
    return {entry.revision for entry in standing(entries)} or {0}


def standing(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries without aborts and what they took back."""
    listed = list(entries)
    aborted = {entry.evidence.get("aborts") for entry in listed if entry.kind == "abort"}
    return [entry for entry in listed if entry.kind != "abort" and entry.id not in aborted]


def moved(entry: Entry) -> tuple[Change, ...]:
    return tuple(change for change in entry.changes if not same(change.old, change.new))


def value_changes(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that changed values, by revision. Revision 0 is the beginning, no change."""
    found = [e for e in standing(entries) if e.kind in CHANGING and e.revision > 0 and moved(e)]
    return sorted(found, key=lambda entry: entry.revision)


def scorecard(
    entries: Iterable[Entry],
    tallies: Mapping[int, Tally],
    *,
    level: float = 0.95,
    min_count: int = 20,
    pattern: str = "*",
) -> Scorecard:
    """Compare each change of a key that matches ``pattern``, before against after."""
    changed = value_changes(entries)
    windows = _windows([(e.revision, {change.key for change in moved(e)}) for e in changed])
    revisions = [entry.revision for entry in changed]
    chosen = [
        _sides(entry, window, tallies, revisions)
        for entry, window in zip(changed, windows, strict=True)
        if any(fnmatchcase(change.key, pattern) for change in moved(entry))
    ]
    compared = sum(min(c.before.count, c.after.count) >= max(2, min_count) for c in chosen)
    adjusted = 1 - (1 - level) / max(1, compared)
    judged = tuple(_judged(comparison, adjusted, max(2, min_count)) for comparison in chosen)
    return Scorecard(level, adjusted, compared, judged)


def _windows(changed: Sequence[tuple[int, set[str]]]) -> list[tuple[int, int | None]]:
    """Return for each change the last revision before it, and the first after it, that changed one of its keys."""
    starts = [max(found, default=0) for found in _passed(changed)]
    ends = [min(found, default=None) for found in _passed(changed[::-1])]
    return list(zip(starts, ends[::-1], strict=True))


def _passed(changed: Iterable[tuple[int, set[str]]]) -> Iterator[list[int]]:
    seen: dict[str, int] = {}
    for revision, keys in changed:
        yield [seen[key] for key in keys if key in seen]
        seen.update(dict.fromkeys(keys, revision))


def _sides(
    entry: Entry, window: tuple[int, int | None], tallies: Mapping[int, Tally], changed: Sequence[int]
) -> Comparison:
    start, end = window
    stamped = sorted(tallies)
    first, here = bisect_left(stamped, start), bisect_left(stamped, entry.revision)
    last = len(stamped) if end is None else bisect_left(stamped, end)
    return Comparison(
        entry,
        start,
        end,
        _total(tallies, stamped[first:here]),
        _total(tallies, stamped[here:last]),
        _between(changed, stamped[first:last], entry.revision),
    )


def _total(tallies: Mapping[int, Tally], revisions: Iterable[int]) -> Tally:
    total = Tally()
    for revision in revisions:
        total.merge(tallies[revision])
    return total


def _between(changed: Sequence[int], compared: Sequence[int], own: int) -> tuple[int, ...]:
    """Return the other changes that some of the outcomes compared were made before, and some after."""
    if not compared:
        return ()
    inside = changed[bisect_right(changed, compared[0]) : bisect_right(changed, compared[-1])]
    return tuple(revision for revision in inside if revision != own)


def _judged(found: Comparison, level: float, least: int) -> Comparison:
    """Add the intervals and the verdict, which is about the mean alone: two tests would err twice as often."""
    before, after = found.before, found.after
    few = [
        f"{side.count} {name}" for side, name in ((before, "before"), (after, "after")) if side.count < least
    ]
    if few:
        return replace(found, why=f"{' and '.join(few)}: fewer than {least} outcomes")
    low, high = mean = welch(before, after, level)
    rate = newcombe(before, after, level)
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
    count = needed(before, after, level) if verdict == "cannot tell" else None
    return replace(
        found, mean=mean, win_rate=rate, needed=count, verdict=verdict, why=_why(verdict, rate, count)
    )


def _why(verdict: Verdict, rate: Interval, count: int | None) -> str:
    if verdict != "cannot tell":
        against = rate[1] < 0 if verdict == "better" else rate[0] > 0
        return "the win rate moved the other way" if against else ""
    if count is None:
        return "no difference to speak of"
    return f"the interval includes 0; this difference takes about {count:,} outcomes per side"
