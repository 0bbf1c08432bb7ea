"""Whether each parameter is learned, and how: stale, pinned, back and forth, drifting, unread. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from paramstore._clock import span_text
from paramstore._doctor_learners import Moment, is_forced, violations
from paramstore._doctor_report import At, Note, Parameter, Place, Thresholds
from paramstore._model import ABSENT, Change, Entry, Spec
from paramstore._values import same

STEP_RULES = ("max_step", "max_step_relative")
DRIFT_SHARE = 0.8  # of max_drift
DRIFT_CHANGES = 8  # in one direction, where no max_drift is set


@dataclass(slots=True)
class Track:
    """What the journal tells of one place. ``baseline`` is what a person last stood for, or ``ABSENT``."""

    first: float | None = None
    last: float | None = None  # time of the last real change
    moves: list[Change] = field(default_factory=list)  # real changes; not where it first appeared
    baseline: Any = ABSENT
    bound_by: frozenset[str] = frozenset()  # the rules that met the last change or refusal


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the journal. ``reads`` and ``named`` are ``None`` where nobody looked;
    ``read_since`` is when counting began, ``None`` for long ago. ``frozen`` says by whom a key is."""

    now: float
    thresholds: Thresholds
    frozen: Callable[[str], str | None]
    reads: Mapping[str, int] | None = None
    read_since: float | None = None
    named: Collection[str] | None = None


def parameters(
    entries: Iterable[Entry], specs: Mapping[str, Spec], values: Mapping[Place, Any], moment: Moment,
    known: Known,
) -> Iterator[Parameter]:  # fmt: skip
    """Yield every written value whose key a schema declares, in the order of ``values``."""
    tracks = _tracks(entries, moment)
    for (key, at), value in values.items():
        spec = specs.get(key)
        if spec is not None:
            track = tracks.get((key, at), Track())
            notes = tuple(_notes(spec, at, value, tracks, known))
            last, changes = track.last, len(track.moves)
            yield Parameter(key, dict(at), value, spec.learnable, spec.owner, last, changes, notes)


def place_of(key: str, context: Mapping[str, Any]) -> Place:
    return key, tuple(sorted(context.items()))


# --- the journal ----------------------------------------------------------------------------------


def _tracks(entries: Iterable[Entry], moment: Moment) -> dict[Place, Track]:
    tracks: dict[Place, Track] = {}
    for entry in entries:
        if entry.kind == "refusal":
            _refuse(tracks, entry)
        elif entry.kind == "approve":
            _approve(tracks, entry)
        by_person = (entry.kind == "external" and not entry.details.get("merged")) or is_forced(entry)
        for change in entry.changes:
            track = tracks.setdefault(place_of(change.key, change.context), Track())
            _absorb(track, change, moment(entry), by_person)
    return tracks


def _refuse(tracks: dict[Place, Track], entry: Entry) -> None:
    rules: dict[Place, set[str]] = {}
    for key, context, rule in violations(entry):
        rules.setdefault(place_of(key, context), set()).add(rule)
    for place, broken in rules.items():
        tracks.setdefault(place, Track()).bound_by = frozenset(broken)


def _approve(tracks: dict[Place, Track], entry: Entry) -> None:
    for item in entry.details.get("baselines", ()):
        place = place_of(item["key"], item.get("context") or {})
        tracks.setdefault(place, Track()).baseline = item["value"]


def _absorb(track: Track, change: Change, time: float, by_person: bool) -> None:
    track.bound_by = frozenset() if change.bound_by is None else frozenset({change.bound_by})
    if track.first is None:
        track.first = time
        if change.old is not ABSENT and not change.context:
            track.baseline = change.old  # the journal does not reach back to its beginning
    if same(change.old, change.new):
        return  # a rule kept it as it was
    if change.new is ABSENT:
        track.first, track.last, track.baseline = None, None, ABSENT
        track.moves.clear()  # what comes under this name again is another value
        return
    appeared = change.old is ABSENT
    if by_person or (appeared and not change.context):
        track.baseline = change.new
    if not appeared:
        track.moves.append(change)
        track.last = time


# --- judging --------------------------------------------------------------------------------------


def _notes(spec: Spec, at: At, value: Any, tracks: Mapping[Place, Track], known: Known) -> Iterator[Note]:
    track = tracks.get((spec.key, at), Track())
    if spec.learnable:
        yield from _age(spec, track, known)
        yield from _pinned_at_bound(spec, value, track)
        yield from _pinned_at_step(track, known.thresholds.pinned)
        yield from _flipping(track, known.thresholds.flips)
        yield from _drifting(spec, at, value, tracks)
    if not at:
        yield from _unused(spec.key, known)


def _age(spec: Spec, track: Track, known: Known) -> Iterator[Note]:
    frozen_by = known.frozen(spec.key)
    if frozen_by is not None:
        yield Note("frozen", f"frozen by {frozen_by}", "information")
    since = track.first if track.last is None else track.last
    age_s = 0.0 if since is None else known.now - since
    old = age_s > known.thresholds.stale_s and frozen_by is None
    if track.last is not None:
        if old:
            yield Note("stale", f"stale: last changed {span_text(age_s)} ago")
    elif since is None:
        yield Note("never_changed", "never changed: the journal does not know it yet", "information")
    else:
        text = f"never changed since it appeared {span_text(max(age_s, 0.0))} ago"
        yield Note("never_changed", text, "finding" if old else "information")


def _pinned_at_bound(spec: Spec, value: Any, track: Track) -> Iterator[Note]:
    if not _is_number(value):
        return
    for side, bound in (("minimum", spec.minimum), ("maximum", spec.maximum)):
        if bound is None or not _equal(value, bound):
            continue
        moved = bool(track.moves) and _is_number(track.moves[-1].new) and _equal(track.moves[-1].new, bound)
        if moved or side in track.bound_by:
            yield Note("at_bound", f"pinned at its {side} {bound:g}")


def _pinned_at_step(track: Track, least: int) -> Iterator[Note]:
    moves, signs = track.moves[-least:], _signs(track)[-least:]
    bound = len(moves) == least and all(move.bound_by in STEP_RULES for move in moves)
    if bound and len(signs) == least and len(set(signs)) == 1:
        way = "up" if signs[0] > 0 else "down"
        text = f"pinned at its step limit: the last {least} changes went {way} as far as they may"
        yield Note("at_step_limit", text)


def _flipping(track: Track, least: int) -> Iterator[Note]:
    signs = _signs(track)[-least:]
    if len(signs) == least and all(a == -b for a, b in pairwise(signs)):
        text = f"flipping back and forth: each of the last {least} changes went against the one before"
        yield Note("flipping", text)


def _drifting(spec: Spec, at: At, value: Any, tracks: Mapping[Place, Track]) -> Iterator[Note]:
    if spec.max_drift is None:
        signs = _signs(tracks.get((spec.key, at), Track()))[-DRIFT_CHANGES:]
        if len(signs) == DRIFT_CHANGES and len(set(signs)) == 1:
            way = "up" if signs[0] > 0 else "down"
            yield Note("drifting", f"drifting: the last {DRIFT_CHANGES} changes all went {way}")
        return
    baseline = _baseline(spec, at, tracks)
    if _is_number(value) and _is_number(baseline):
        away = abs(value - baseline)
        if away > DRIFT_SHARE * spec.max_drift:
            text = f"drifting: {away:g} away from {baseline:g}, its max_drift is {spec.max_drift:g}"
            yield Note("drifting", text)


def _baseline(spec: Spec, at: At, tracks: Mapping[Place, Track]) -> Any:
    """Return what a person stood for in exactly this context, else in the most specific one around it."""
    order = {name: rank for rank, name in enumerate(spec.dimensions)}
    around = [
        (len(other), sorted((order.get(name, -1) for name, _ in other), reverse=True), track.baseline)
        for (key, other), track in tracks.items()
        if key == spec.key and track.baseline is not ABSENT and set(other) <= set(at)
    ]
    return max(around, key=lambda found: found[:2])[2] if around else ABSENT


def _unused(key: str, known: Known) -> Iterator[Note]:
    if known.reads is not None and not known.reads.get(key):
        counted_s = math.inf if known.read_since is None else known.now - known.read_since
        since = "" if known.read_since is None else f" in {span_text(max(counted_s, 0.0))} of counting"
        long = counted_s > known.thresholds.stale_s
        yield Note("never_read", f"never read{since}", "finding" if long else "information")
    if known.named is not None and key not in known.named:
        yield Note("not_in_code", "in the schema, but not named in the source")


def _signs(track: Track) -> list[int]:
    """Return the direction of each change of a number: 1 up, -1 down."""
    numbers = [(move.old, move.new) for move in track.moves if _is_number(move.old) and _is_number(move.new)]
    return [1 if new > old else -1 for old, new in numbers]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _equal(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-15)
