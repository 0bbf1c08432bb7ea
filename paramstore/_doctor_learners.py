"""Whether each learner is alive: who learns, when it last came, how often it usually comes, what stops it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from paramstore._clock import span_text
from paramstore._doctor_report import Learner, Level, Note, Thresholds
from paramstore._doctor_rhythm import usual_interval
from paramstore._model import Entry, Spec

Moment = Callable[[Entry], float]
SHOWN = 3  # keys that a sentence spells out


@dataclass(slots=True)
class _Trail:
    """What one author did."""

    attempts: list[Entry] = field(default_factory=list)
    rollbacks: int = 0
    approvals: int = 0
    thaws: int = 0
    touched: set[str] = field(default_factory=set)

    def of(self, kind: str) -> list[Entry]:
        return [entry for entry in self.attempts if entry.kind == kind]


def is_forced(entry: Entry) -> bool:
    """Tell whether a person stood for this entry, over the guards."""
    return bool(entry.details.get("forced")) or any(change.overrode for change in entry.changes)


def learners(
    entries: Iterable[Entry], specs: Mapping[str, Spec], frozen: Callable[[str], bool], moment: Moment, now: float,
    thresholds: Thresholds, visits: Mapping[str, float],
) -> Iterator[Learner]:  # fmt: skip
    """Yield every author, those who learn first; owners who never came are among them. ``visits`` says when an author
    last came and had nothing to change, which the journal does not tell."""
    trails = _trails(entries)
    owned: dict[str, list[str]] = {}
    for key, spec in specs.items():
        if spec.owner is not None:
            owned.setdefault(spec.owner, []).append(key)
    found = []
    for author in dict.fromkeys([*owned, *trails]):
        trail, owns = trails.get(author, _Trail()), tuple(owned.get(author, ()))
        found.append(_learner(author, trail, owns, frozen, moment, now, thresholds, visits.get(author)))
    yield from sorted(found, key=lambda learner: (not learner.learns, learner.author))


def _trails(entries: Iterable[Entry]) -> dict[str, _Trail]:
    trails: dict[str, _Trail] = {}
    for entry in entries:
        if entry.kind in ("external", "abort", "merge"):
            continue
        trail = trails.setdefault(entry.author, _Trail())
        trail.touched.update(change.key for change in entry.changes)
        trail.touched.update(key for key, _, _ in violations(entry))
        if entry.kind in ("commit", "refusal"):
            trail.attempts.append(entry)
        trail.rollbacks += entry.kind == "rollback"
        trail.approvals += entry.kind == "approve"
        trail.thaws += entry.kind == "unfreeze"
    return trails


def _learner(
    author: str, trail: _Trail, owns: tuple[str, ...], frozen: Callable[[str], bool], moment: Moment, now: float,
    thresholds: Thresholds, visit: float | None,
) -> Learner:  # fmt: skip
    commits, refusals = trail.of("commit"), trail.of("refusal")
    learns = bool(owns) or any(e.evidence and not is_forced(e) for e in trail.attempts)
    times = [moment(entry) for entry in trail.attempts]
    interval_s = usual_interval(times) if learns else None
    last = max([*times, *([visit] if visit is not None else [])], default=None)
    silent = None
    if interval_s is not None and last is not None:
        silent = now - last > thresholds.silent_intervals * interval_s
    mine = owns or tuple(sorted(trail.touched))
    asleep: Level = "information" if mine and all(map(frozen, mine)) else "finding"
    notes: list[Note] = []
    if learns:
        notes += _silence(owns, last, interval_s, silent, now, asleep)
        rests = commits and now - max(map(moment, commits)) <= thresholds.stale_s
        notes += _refused(trail.attempts, thresholds.refused, bool(rests))
        notes += _as_person(trail)
    return Learner(
        author, learns, owns, max(map(moment, commits), default=None), last, len(commits), len(refusals),
        _rules(refusals), interval_s, silent, tuple(notes),
    )  # fmt: skip


def _silence(
    owns: tuple[str, ...], last: float | None, interval_s: float | None, silent: bool | None, now: float, level: Level
) -> Iterator[Note]:  # fmt: skip
    why = " (all that it writes is frozen)" if level == "information" else ""
    if last is None and owns:
        text = f"owns {_named(owns)} and has never tried to change anything{why}"
        yield Note("never_committed", text, level)
    elif silent and last is not None and interval_s is not None:
        text = f"silent for {span_text(now - last)}; it usually comes every {span_text(interval_s)}{why}"
        yield Note("silent", text, level)


def _refused(attempts: list[Entry], least: int, rests: bool) -> Iterator[Note]:
    """Tell of attempts that were all refused. Freezes are somebody's will, and a cooldown is met often by a hook that
    runs after each trade: no findings, the latter only while the learner ``rests`` after a commit."""
    streak = list(takewhile(lambda entry: entry.kind == "refusal", reversed(attempts)))
    if len(streak) < least:
        return
    rules = _rules(streak)
    wanted = {"freeze", "cooldown_s"} if rests else {"freeze"}
    level: Level = "information" if wanted.issuperset(rules) else "finding"
    because = rules_text(rules) or "no rule that is named"
    yield Note("refused", f"refused {len(streak)} times in a row, because of {because}", level)


def _as_person(trail: _Trail) -> Iterator[Note]:
    forced = sum(map(is_forced, trail.of("commit")))
    did = [f"forced {_times(forced)}"] if forced else []
    did += [f"rolled back {_times(trail.rollbacks)}"] if trail.rollbacks else []
    did += [f"approved {_times(trail.approvals)}"] if trail.approvals else []
    did += [f"ended a freeze {_times(trail.thaws)}"] if trail.thaws else []
    if did:
        yield Note("acts_as_person", f"acts as a person: {_listed(did)}")


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _rules(refusals: Iterable[Entry]) -> dict[str, int]:
    """Count the refusals that broke each rule, most frequent first."""
    counts = Counter(rule for entry in refusals for rule in {rule for _, _, rule in violations(entry)})
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def violations(entry: Entry) -> Iterator[tuple[str, Mapping[str, object], str]]:
    """Yield key, context and rule of what a refusal names; what other versions wrote is passed over."""
    found = entry.details.get("violations", ())
    for item in found if isinstance(found, list | tuple) else ():
        if isinstance(item, Mapping):
            key, rule, context = item.get("key", ""), item.get("rule", ""), item.get("context")
            yield str(key), context if isinstance(context, Mapping) else {}, str(rule)


def rules_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{rule} ({count})" for rule, count in counts.items())


def _named(keys: tuple[str, ...]) -> str:
    more = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {more} more" if more > 0 else "")
