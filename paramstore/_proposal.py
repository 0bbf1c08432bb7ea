"""A proposal that asks for the nearest values that satisfy every rule: which keys may move, within which limits.

Pure. ``_project`` does the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from paramstore._constraints import Constraint, rows
from paramstore._exact import digits, exact, is_finite
from paramstore._guards import (
    Asker,
    Limit,
    Move,
    as_number,
    asking,
    decimals_of,
    holding,
    limits,
    named,
    tightest,
    too_many,
)
from paramstore._layers import Layers, contexts
from paramstore._model import ABSENT, Change, Spec, Violation
from paramstore._project import Infeasible, Row, Variable, project
from paramstore._schema import Schema
from paramstore._state import Document, place
from paramstore._values import same

MOST_OTHERS = 60  # contexts beside its own that a projection looks after; the rest is judged when it is done
_MOVING: Any = object()


class Proposal(NamedTuple):
    """Everything that is proposed for one namespace and context: ``targets`` by relative key, and the keys of the
    same groups (``members``) that may make room for them."""

    schema: Schema
    document: Document  # as it stands
    after: Document  # with what else the transaction asks for
    context: Mapping[str, Any]
    stands: Mapping[str, Any]  # values of ``document`` in this context
    values: Mapping[str, Any]  # of ``after``
    targets: Mapping[str, Any]
    members: frozenset[str]
    others: tuple[Mapping[str, Any], ...] = ()  # contexts that the transaction projects by themselves


class _Mover(NamedTuple):
    move: Move
    target: float
    decimals: int
    limits: list[Limit]


def settle(proposal: Proposal, asker: Asker) -> tuple[list[Change], list[Violation]]:
    """Return the changes that the proposal comes to, among them what a rule kept as it was; or what is wrong."""
    wrong = [violation for path in proposal.targets for violation in _wrong(proposal, path, asker)]
    if wrong:
        return [], wrong
    held = {path: _held(proposal, path, asker) for path in proposal.targets}
    if all(held.values()) and any(proposal.targets[path] != proposal.values[path] for path in held):
        return [], [violation for found in held.values() for violation in found]
    movers = {
        path: mover for path in _movable(proposal, held, asker) if (mover := _mover(proposal, path, asker))
    }
    try:
        ties = [row for c in proposal.schema.constraints for row in _rows(proposal, c, movers)]
    except OverflowError as error:
        return [], [too_many(proposal.schema, error)]
    try:
        applied = _solve(proposal, movers, ties)
    except Infeasible as error:
        return [], [_contradiction(proposal, error)]
    changes = [_kept(proposal, path, found[0].rule) for path, found in held.items() if found]
    changes += [_moved(proposal, mover, applied[path]) for path, mover in movers.items()]
    if proposal.context and not all(same(change.old, change.new) for change in changes):
        changes = [_completed(proposal, change, applied) for change in changes]
    wrong = [problem for change in changes for problem in _misfits(proposal, change)]
    return [change for change in changes if not (wrong or _is_nothing(change))], wrong


def _misfits(proposal: Proposal, change: Change) -> list[Violation]:
    """Return what a schema says against a projected value within limits: it may allow certain numbers only."""
    if change.new is ABSENT or same(change.old, change.new):
        return []
    _, problems = proposal.schema.judge(change.key.partition(".")[2], change.new)
    return [Violation(change.key, "type", f"{text}.", change.requested, change.context) for text in problems]


def _wrong(proposal: Proposal, path: str, asker: Asker) -> list[Violation]:
    """Return what rules out the request as a whole: no number, or not theirs to ask."""
    schema, target = proposal.schema, proposal.targets[path]
    spec, move = schema.specs[path], _move(proposal, path)
    if type(target) not in (int, float) or spec.type not in ("number", "integer") or not is_finite(target):
        _, problems = schema.judge(path, target)
        text = problems[0] if problems else f"{named(spec.key, {})} is no number, so it cannot be projected"
        return [Violation(spec.key, "type", f"{text}.", target, dict(proposal.context))]
    return [v for v in asking(schema, move, asker, target) if v.rule not in asker.exempt]


def _held(proposal: Proposal, path: str, asker: Asker) -> list[Violation]:
    found = holding(
        proposal.schema, _move(proposal, path), asker, proposal.targets.get(path, proposal.values[path])
    )
    return [violation for violation in found if violation.rule not in asker.exempt]


def _move(proposal: Proposal, path: str) -> Move:
    return Move(path, proposal.context, proposal.stands[path], place(proposal.context))


def _movable(proposal: Proposal, held: Mapping[str, list[Violation]], asker: Asker) -> list[str]:
    """Return the keys that may move, in schema order: those asked for, and the members of their groups that
    constraints tie to them, as far as this author may move them now."""
    reached = set(proposal.targets)
    grown = True
    while grown:
        tied = [c.paths for c in proposal.schema.constraints if not reached.isdisjoint(c.paths)]
        fresh = {path for paths in tied for path in paths if path in proposal.members} - reached
        reached |= fresh
        grown = bool(fresh)
    return [
        path for path in proposal.schema.specs if path in reached and _is_free(proposal, path, held, asker)
    ]


def _is_free(proposal: Proposal, path: str, held: Mapping[str, list[Violation]], asker: Asker) -> bool:
    if path in held:
        return not held[path]
    if not proposal.schema.is_plain_number(path):
        return False
    found = asking(proposal.schema, _move(proposal, path), asker, proposal.values[path])
    return not _held(proposal, path, asker) and all(violation.rule in asker.exempt for violation in found)


def _mover(proposal: Proposal, path: str, asker: Asker) -> _Mover:
    schema, spec = proposal.schema, proposal.schema.specs[path]
    move, target = _move(proposal, path), proposal.targets.get(path, proposal.values[path])
    if path in proposal.targets:
        decimals = decimals_of(spec, target, move.old)
    else:  # finer than its schema asks for, if it is written so: what nobody asked for shall not be rounded
        decimals = max(decimals_of(spec, target), digits(target))
    return _Mover(move, target, decimals, limits(schema, move, asker, decimals))


def _solve(proposal: Proposal, movers: Mapping[str, _Mover], ties: list[Row]) -> dict[str, Decimal]:
    key = {path: proposal.schema.specs[path].key for path in movers}
    variables = [_variable(key[path], mover) for path, mover in movers.items()]
    solved = project(variables, ties)
    return {path: solved[name] for path, name in key.items()}


def _variable(name: str, mover: _Mover) -> Variable:
    low, high = tightest(mover.limits)
    return Variable(
        name,
        mover.target,
        low and low.low,
        high and high.high,
        mover.decimals,
        low.rule if low else "minimum",
        high.rule if high else "maximum",
    )


def _rows(proposal: Proposal, constraint: Constraint, movers: Mapping[str, _Mover]) -> Iterator[Row]:
    """Yield the rows of ``constraint`` over what moves, in this context and in each that it reaches: where other
    overrides give some of the values, those stand, and what moves has to suit them as well."""
    if movers.keys().isdisjoint(constraint.paths):
        return
    places = [(path, proposal.context, _MOVING) for path in constraint.paths if path in movers]
    moving = Layers(proposal.after.with_values(places, ABSENT, ""), constraint.paths)
    reached = contexts(proposal.after, constraint.paths, [proposal.context])
    others = [
        context
        for context in reached
        if context != proposal.context and not any(at.items() <= context.items() for at in proposal.others)
    ][:MOST_OTHERS]
    seen: set[tuple[Any, ...]] = set()
    for context in [proposal.context, *others]:
        values = moving.values(context)
        known = tuple(path if value is _MOVING else value for path, value in values.items())
        if known not in seen:
            seen.add(known)
            yield from _rows_in(proposal, constraint, movers, context, values)


def _rows_in(
    proposal: Proposal,
    constraint: Constraint,
    movers: Mapping[str, _Mover],
    context: Mapping[str, Any],
    values: Mapping[str, Any],
) -> Iterator[Row]:
    now = {path: proposal.values[path] if value is _MOVING else value for path, value in values.items()}
    decimals = {path: movers[path].decimals if v is _MOVING else digits(v) for path, v in values.items()}
    units = {path: Decimal(1).scaleb(-count) for path, count in decimals.items()}
    elsewhere = context != proposal.context
    label = f"{constraint} in {dict(context)}" if elsewhere else str(constraint)
    for terms in rows(constraint, units):
        free = {
            proposal.schema.specs[p].key: f for p, f in terms.coefficients.items() if values[p] is _MOVING
        }
        rest = sum(
            (f * exact(now[p]) for p, f in terms.coefficients.items() if values[p] is not _MOVING), Decimal(0)
        )
        total = sum((f * exact(now[p]) for p, f in terms.coefficients.items()), Decimal(0))
        low, high = terms.low, terms.high
        if elsewhere:  # what was broken there by hand may stay, but not get worse
            low = None if low is None else min(low, total)
            high = None if high is None else max(high, total)
        if free:
            yield Row(free, None if low is None else low - rest, None if high is None else high - rest, label)


def _contradiction(proposal: Proposal, error: Infeasible) -> Violation:
    schema = proposal.schema
    where = f" at {dict(proposal.context)}" if proposal.context else ""
    text = f"`{schema.namespace}`{where}: no values satisfy these rules together: {'; '.join(error.rules)} ({schema.file})."
    return Violation(schema.namespace, "infeasible", text, dict(proposal.targets), dict(proposal.context))


# --- what came of it ----------------------------------------------------------------------------


def _own(proposal: Proposal, path: str) -> Any:
    return proposal.document.own_value(path, proposal.context, ABSENT)


def _kept(proposal: Proposal, path: str, rule: str) -> Change:
    own, asked = _own(proposal, path), proposal.targets[path]
    bound_by = None if asked == proposal.values[path] else rule
    return Change(proposal.schema.specs[path].key, own, own, proposal.context, asked, bound_by)


def _moved(proposal: Proposal, mover: _Mover, applied: Decimal) -> Change:
    path, spec = mover.move.path, proposal.schema.specs[mover.move.path]
    asked = proposal.targets.get(path, mover.target)
    old = _own(proposal, path)
    new: Any = _number(spec, applied)
    bound_by = None if exact(asked) == applied else _bound_by(proposal.schema, mover, applied)
    if applied == exact(proposal.values[path]) and (bound_by or path not in proposal.targets):
        new = old  # a read gives it anyway, and nobody asked for it to be written
    return Change(spec.key, old, new, proposal.context, asked, bound_by)


def _completed(proposal: Proposal, change: Change, applied: Mapping[str, Decimal]) -> Change:
    """Return the change with its value written: a context gets all that was weighed together for it, or what other
    contexts say of the rest would break what holds here."""
    path = change.key.partition(".")[2]
    if change.new is not ABSENT or path not in applied:
        return change
    return replace(change, new=_number(proposal.schema.specs[path], applied[path]))


def _number(spec: Spec, applied: Decimal) -> float:
    return as_number(applied, 0 if spec.type == "integer" else None)


def _bound_by(schema: Schema, mover: _Mover, applied: Decimal) -> str:
    """Name the rule that keeps a value from what was asked: the limit it stands at, else the digits, else the
    constraints it is part of."""
    unit = Decimal(1).scaleb(-mover.decimals)
    target = exact(mover.target)
    low, high = tightest(mover.limits)
    if low is not None and low.low is not None and target < low.low and applied < low.low + unit:
        return low.rule
    if high is not None and high.high is not None and target > high.high and applied > high.high - unit:
        return high.rule
    if abs(target - applied) < unit and target % unit:
        return "decimals"
    return "; ".join(_ties(schema, mover.move.path)) or "decimals"


def _ties(schema: Schema, path: str) -> Iterable[str]:
    return [str(constraint) for constraint in schema.constraints if path in constraint.paths]


def _is_nothing(change: Change) -> bool:
    return same(change.old, change.new) and change.bound_by is None
