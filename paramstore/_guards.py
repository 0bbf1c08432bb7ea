"""What a change must pass beyond type, bounds and constraints: the limits that bind learners, and freezes.

Three sorts. Some limit the value (``max_step``, ``max_step_relative``, ``max_drift``): together with the
bounds they are ``limits``, which a clamped or projected value obeys. Some hold it for the time being
(``freeze``, ``cooldown_s``). Some concern who asks and why (``owner``, ``learnable``, ``min_samples``,
``evidence``). Pure; distances are decimal, so that a step from 0.15 to 0.2 is exactly 0.05.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Any, NamedTuple

from paramstore._clock import utc_text
from paramstore._exact import digits, exact, one_line, show
from paramstore._layers import Layers, rank
from paramstore._ledger import Ledger
from paramstore._model import Spec, Violation
from paramstore._schema import Schema
from paramstore._schema_form import place_of
from paramstore._state import Document, place
from paramstore._values import nearest

At = tuple[tuple[str, Any], ...]

GUARDS = frozenset(
    {
        "max_step",
        "max_step_relative",
        "max_drift",
        "cooldown_s",
        "owner",
        "learnable",
        "min_samples",
        "evidence",
    }
)
_WIDE = Context(prec=400)  # digits enough for the largest float with the most decimals
EVERY_GUARD = GUARDS | {"freeze"}
AS_A_PERSON = "a person may write it anyway with `--force` (force=True) and a reason"
NEXT_STEP = {
    "type": "give a value of the kind that the schema asks for",
    "enum": "choose one of the values that are listed",
    "minimum": "ask for a value within bounds",
    "maximum": "ask for a value within bounds",
    "exclusiveMinimum": "ask for a value within bounds",
    "exclusiveMaximum": "ask for a value within bounds",
    "infeasible": "ask for less, or have a person change one of these rules",
    "unknown": "correct the key",
    "constraint": 'move the others with it, or propose the group with on_violation="project"',
    "max_step": 'take smaller steps, or propose with on_violation="clamp" or "project"',
    "max_step_relative": 'take smaller steps, or propose with on_violation="clamp" or "project"',
    "max_drift": "have a person look and move the baseline (`paramstore approve`)",
    "cooldown_s": "try again when the wait is over",
    "owner": "leave it to its owner",
    "learnable": "leave it to people, or declare it learnable in the schema",
    "min_samples": "collect more outcomes first",
    "evidence": "give the evidence that is missing",
    "freeze": "ask who froze it; `paramstore unfreeze` ends it",
}


class Limit(NamedTuple):
    """One rule's inclusive limits for a value; ``None`` is none on that side."""

    rule: str
    low: Decimal | None
    high: Decimal | None


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a change, why, when, and against which past. ``exempt`` names the guards that do not
    bind them: all for a person who forces, all but freezes for a rollback."""

    author: str
    evidence: Mapping[str, Any]
    ledger: Ledger
    now: float
    uptime: tuple[str, float]
    exempt: frozenset[str] = field(default=frozenset())
    forced: bool = False


class Move(NamedTuple):
    """One value in question: ``old`` is what a read in this context gives now, and ``at`` the place that is written to
    (sorted items of a context; ``()`` is the base)."""

    path: str
    context: Mapping[str, Any]
    old: Any
    at: At = ()


def move_of(document: Document, path: str, context: Mapping[str, Any]) -> Move:
    """Return what stands in ``context``, as a change of it is judged by."""
    old = Layers(document, [path]).values(context)[path]
    return Move(path, context, old, place(context))


# --- limits of the value ------------------------------------------------------------------------


def limits(schema: Schema, move: Move, asker: Asker, decimals: int) -> list[Limit]:
    """Return every rule that limits the value of a numeric parameter, bounds first; exclusive ones as the inclusive
    ones that they come to in ``decimals`` digits."""
    spec = schema.specs[move.path]
    guards = [limit for limit in _guarding(spec, move, asker) if limit.rule not in asker.exempt]
    return [*bounds(spec), *_opened(*schema.exclusive_bounds(move.path), decimals), *guards]


def _opened(low: float | None, high: float | None, decimals: int) -> Iterator[Limit]:
    unit = Decimal(1).scaleb(-decimals)
    if low is not None:
        yield Limit("exclusiveMinimum", _rounded(exact(low), decimals, ROUND_FLOOR) + unit, None)
    if high is not None:
        yield Limit("exclusiveMaximum", None, _rounded(exact(high), decimals, ROUND_CEILING) - unit)


def bounds(spec: Spec) -> Iterator[Limit]:
    """Yield the limits that hold for everyone."""
    if spec.minimum is not None:
        yield Limit("minimum", exact(spec.minimum), None)
    if spec.maximum is not None:
        yield Limit("maximum", None, exact(spec.maximum))


def _guarding(spec: Spec, move: Move, asker: Asker) -> Iterator[Limit]:
    if type(move.old) not in (int, float):
        return
    old = exact(move.old)
    if spec.max_step is not None:
        yield _around("max_step", old, exact(spec.max_step))
    if spec.max_step_relative is not None:
        yield _around("max_step_relative", old, abs(old) * exact(spec.max_step_relative))
    if spec.max_drift is not None:
        baseline = _baseline(spec, move, asker)
        if type(baseline) in (int, float):
            drift = exact(spec.max_drift)
            # what has drifted too far already, by hand or under an older schema, may stay, or come back
            yield Limit("max_drift", min(exact(baseline) - drift, old), max(exact(baseline) + drift, old))


def _baseline(spec: Spec, move: Move, asker: Asker) -> Any:
    return asker.ledger.baseline(spec.key, move.context, _order(spec))


def _order(spec: Spec) -> dict[str, int]:
    return {name: index for index, name in enumerate(spec.dimensions)}


def _around(rule: str, middle: Decimal, distance: Decimal) -> Limit:
    return Limit(rule, middle - distance, middle + distance)


def tightest(found: list[Limit]) -> tuple[Limit | None, Limit | None]:
    """Return the rules that limit most from below and from above; the first named wins a tie."""
    low = max((limit for limit in found if limit.low is not None), key=_low, default=None)
    high = min((limit for limit in found if limit.high is not None), key=_high, default=None)
    return low, high


def _low(limit: Limit) -> Decimal:
    assert limit.low is not None
    return limit.low


def _high(limit: Limit) -> Decimal:
    assert limit.high is not None
    return limit.high


def clamp(value: float, found: list[Limit], decimals: int | None, old: Any) -> tuple[float, str | None]:
    """Move ``value`` to the nearest limit that it is beyond, rounded inwards, and name the rule; if no value of
    that many digits is within, ``old`` stays."""
    low, high = tightest(found)
    asked = exact(value)
    rounded = _rounded(asked, decimals, ROUND_HALF_EVEN)  # which may carry it across a limit
    if low is not None and min(asked, rounded) < _low(low):
        bent, rule = _rounded(_low(low), decimals, ROUND_CEILING), low.rule
    elif high is not None and max(asked, rounded) > _high(high):
        bent, rule = _rounded(_high(high), decimals, ROUND_FLOOR), high.rule
    else:
        return (as_number(rounded, 0), "decimals") if decimals == 0 and rounded != asked else (value, None)
    inside = (low is None or bent >= _low(low)) and (high is None or bent <= _high(high))
    return (as_number(bent, decimals), rule) if inside or type(old) not in (int, float) else (old, rule)


def _rounded(value: Decimal, decimals: int | None, rounding: str) -> Decimal:
    return value if decimals is None else value.quantize(Decimal(1).scaleb(-decimals), rounding, _WIDE)


def as_number(value: Decimal, decimals: int | None = None) -> float:
    """Return an exact value as the number that files hold."""
    return int(value) if decimals == 0 and value == int(value) else float(value) + 0.0


# --- judging ------------------------------------------------------------------------------------


def beyond(schema: Schema, move: Move, new: Any, asker: Asker, asked: Any) -> list[Violation]:
    """Return the steps and drifts that are too large, exempt or not; ``asked`` is what was requested."""
    numbers = type(new) in (int, float) and schema.specs[move.path].type in ("number", "integer")
    return list(_beyond(schema, move, new, asker, asked)) if numbers else []


def _beyond(schema: Schema, move: Move, new: float, asker: Asker, asked: Any) -> Iterator[Violation]:
    spec = schema.specs[move.path]
    wanted = exact(new)
    every = [*bounds(spec), *_guarding(spec, move, asker)]
    low, high = tightest(every)
    digits_kept = 0 if spec.type == "integer" else None
    allowed = (low and as_number(_low(low), digits_kept), high and as_number(_high(high), digits_kept))
    for limit in every:
        short = limit.low is not None and wanted < limit.low
        if limit.rule not in GUARDS or not (short or (limit.high is not None and wanted > limit.high)):
            continue
        text = _step_text(spec, limit.rule, move, new, asker)
        span = f"Allowed now: {_text(allowed[0])} to {_text(allowed[1])}"
        yield violation(
            schema, move, limit.rule, f"{text} ({_where(schema, move, limit.rule)}). {span}", asked, allowed
        )


def _step_text(spec: Spec, rule: str, move: Move, new: float, asker: Asker) -> str:
    name = f"{named(spec.key, move.context)} = {show(new)}"
    distance = f"{abs(exact(new) - exact(move.old)):f}"
    if rule == "max_step":
        return f"{name} is {distance} away from {show(move.old)}, more than its max_step {spec.max_step:g}"
    if rule == "max_step_relative":
        share = spec.max_step_relative
        return f"{name} is {distance} away from {show(move.old)}, more than its max_step_relative {share:g} of that"
    baseline = _baseline(spec, move, asker)
    away = f"{abs(exact(new) - exact(baseline)):f}"
    return f"{name} is {away} away from the approved baseline {show(baseline)}, more than its max_drift {spec.max_drift:g}"


def holding(schema: Schema, move: Move, asker: Asker, asked: Any) -> list[Violation]:
    """Return what keeps a value as it is for now: a freeze, a cooldown."""
    return [*frozen(schema, move, asker, asked), *cooling(schema, move, asker, asked)]


def frozen(schema: Schema, move: Move, asker: Asker, asked: Any) -> Iterator[Violation]:
    """Yield the freeze that holds a value."""
    spec = schema.specs[move.path]
    freeze = asker.ledger.frozen(spec.key, asker.now)
    if freeze is not None:
        until = f" until {_to_second(freeze.until)}" if freeze.until else ""
        by = f"frozen by {one_line(freeze.author)} since {_to_second(freeze.since)}{until}"
        unit = f" ({spec.unit}; {schema.file})" if spec.unit else f" ({schema.file})"
        why = f"`{freeze.pattern}` is {by}, because: {one_line(freeze.reason)}"
        text = f"{named(spec.key, move.context)} = {show(asked)} is refused: {why}. It stays {show(move.old)}{unit}"
        yield violation(schema, move, "freeze", text, asked, (move.old, move.old))


def cooling(schema: Schema, move: Move, asker: Asker, asked: Any) -> Iterator[Violation]:
    """Yield the cooldown of the place that is written to, and of any within this context that is as specific: it may
    have lost its value just now, which moved what is read here."""
    spec = schema.specs[move.path]
    if not spec.cooldown_s:
        return
    waited_s = min(
        asker.ledger.waited_s(known, asker.now, *asker.uptime) for known in _cooling_places(spec, move, asker)
    )
    if waited_s < spec.cooldown_s:
        left_s = spec.cooldown_s - waited_s
        text = (
            f"{named(spec.key, move.context)} = {show(asked)} comes {waited_s:.0f} s after the last change, within its "
            f"cooldown_s {spec.cooldown_s:g} (seconds; {_place(schema, move, 'cooldown_s')}). It stays "
            f"{show(move.old)} for another {left_s:.0f} s, until {_to_second(utc_text(asker.now + left_s))}"
        )
        yield violation(schema, move, "cooldown_s", text, asked, (move.old, move.old))


def _cooling_places(spec: Spec, move: Move, asker: Asker) -> Iterator[tuple[str, At]]:
    order = _order(spec)
    least = rank(dict(move.at), order)
    yield spec.key, move.at
    for at in asker.ledger.contexts.get(spec.key, ()):
        within = all(name in order and move.context.get(name) == value for name, value in at)
        if within and rank(dict(at), order) > least:
            yield spec.key, at


def asking(schema: Schema, move: Move, asker: Asker, asked: Any) -> list[Violation]:
    """Return what is wrong with who asks, or with their evidence."""
    spec, found = schema.specs[move.path], []
    name = f"{named(spec.key, move.context)} = {show(asked)}"

    def refuse(rule: str, why: str) -> None:
        stays = f"It stays {show(move.old)}"
        text = f"{name} is refused: {why} ({_where(schema, move, rule)}). {stays}"
        found.append(violation(schema, move, rule, text, asked, (move.old, move.old)))

    if not spec.learnable:
        refuse("learnable", "it is not learnable")
    if spec.owner is not None and asker.author != spec.owner:
        refuse("owner", f"its owner is `{spec.owner}`, not `{one_line(asker.author)}`")
    samples = asker.evidence.get("samples")
    if spec.min_samples and (samples is None or samples < spec.min_samples):
        given = f"none are given{_misspelt('samples', asker)}" if samples is None else f"there are {samples}"
        refuse("min_samples", f"its evidence needs at least {spec.min_samples} samples, but {given}")
    missing = [field for field in spec.evidence if asker.evidence.get(field) is None]
    if missing:
        lacks = ", ".join(f"`{field}`{_misspelt(field, asker)}" for field in missing)
        refuse("evidence", f"its evidence lacks {lacks}")
    return found


def _misspelt(name: str, asker: Asker) -> str:
    close = [given for given in nearest(name, asker.evidence) if asker.evidence.get(name) is None]
    return f" (is `{close[0]}` misspelt?)" if close else ""


# --- words --------------------------------------------------------------------------------------


def violation(
    schema: Schema, move: Move, rule: str, text: str, asked: Any, allowed: tuple[Any, Any] | None = None
) -> Violation:
    key = schema.specs[move.path].key
    return Violation(key, rule, f"{text}.", asked, dict(move.context), allowed)


def too_many(schema: Schema, error: OverflowError) -> Violation:
    """Say of ``_layers.contexts`` that it gave up."""
    text = (
        f"`{schema.namespace}`: its overrides combine to {error.args[0]} contexts, too many to hold its rules to "
        f"({schema.file}). Merge overrides, or give fewer dimensions."
    )
    return Violation(schema.namespace, "contexts", text)


def named(key: str, context: Mapping[str, Any]) -> str:
    """Write a key with its context, as messages have it."""
    return f"`{key}`" + (f" at {', '.join(f'{n}={v}' for n, v in context.items())}" if context else "")


def _where(schema: Schema, move: Move, rule: str) -> str:
    unit = schema.specs[move.path].unit
    return f"{f'{unit}; ' if unit else ''}{_place(schema, move, rule)}"


def _place(schema: Schema, move: Move, rule: str) -> str:
    return f"{schema.file}#{place_of(move.path, 'x-param', rule)}"


def _to_second(time: str) -> str:
    return f"{time[:19]}Z"


def _text(value: Any) -> str:
    return "any" if value is None else show(value)


def next_steps(rules: Iterator[str] | list[str]) -> str:
    """Return the sentence that says what to do about broken ``rules``."""
    rules = list(dict.fromkeys(rules))
    steps = list(dict.fromkeys(NEXT_STEP[rule] for rule in rules if rule in NEXT_STEP))
    if rules and EVERY_GUARD.issuperset(rules):
        steps.append(AS_A_PERSON)
    return f"Next: {'; '.join(steps)}." if steps else ""


def decimals_of(spec: Spec, *numbers: float) -> int:
    """Return how many digits behind the point a projected value of ``spec`` has: the schema's, else as many as
    the ``numbers`` are written with, and at least six."""
    if spec.type == "integer":
        return 0
    if spec.decimals is not None:
        return spec.decimals
    return min(15, max([6, *(digits(number) for number in numbers)]))
