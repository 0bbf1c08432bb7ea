"""A proposal that asks for the nearest values that satisfy every rule: which keys may move, within which limits.

Pure. ``_project`` does the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
)
from paramstore._model import ABSENT, Change, Violation
from paramstore._project import Infeasible, Row, Variable, project
from paramstore._schema import Schema
from paramstore._state import Document
from paramstore._values import same


class Proposal(NamedTuple):
    """Everything that is proposed for one namespace and context: ``targets`` by relative key, and the keys of the
    same groups (``members``) that may make room for them."""

    schema: Schema
    document: Document  # as it stands
    context: Mapping[str, Any]
    values: Mapping[str, Any]  # in this context, with what else the transaction asks for
    targets: Mapping[str, Any]
    members: frozenset[str]


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
        applied = _solve(proposal, movers)
    except Infeasible as error:
        return [], [_contradiction(proposal, error)]
    changes = [_kept(proposal, path, found[0].rule) for path, found in held.items() if found]
    changes += [_moved(proposal, mover, applied[path]) for path, mover in movers.items()]
    return [change for change in changes if not _is_nothing(change)], []


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
    from paramstore._layers import value_in

    return Move(path, proposal.context, value_in(proposal.document, path, proposal.context))


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
    if proposal.schema.specs[path].type not in ("number", "integer"):
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
    return _Mover(
        move, target, decimals, [*limits(schema, move, asker), *_open_limits(schema, path, decimals)]
    )


def _open_limits(schema: Schema, path: str, decimals: int) -> Iterator[Limit]:
    """Yield exclusive bounds as the inclusive ones that they come to in so many digits."""
    low, high = schema.exclusive_bounds(path)
    unit = Decimal(1).scaleb(-decimals)
    if low is not None:
        yield Limit("exclusiveMinimum", exact(low) + unit, None)
    if high is not None:
        yield Limit("exclusiveMaximum", None, exact(high) - unit)


def _solve(proposal: Proposal, movers: Mapping[str, _Mover]) -> dict[str, Decimal]:
    key = {path: proposal.schema.specs[path].key for path in movers}
    variables = [_variable(key[path], mover) for path, mover in movers.items()]
    found = [row for c in proposal.schema.constraints for row in _rows(proposal, c, movers)]
    solved = project(variables, found)
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
    """Yield the rows of ``constraint`` over what moves; what does not is moved to the other side."""
    if movers.keys().isdisjoint(constraint.paths):
        return
    decimals = {
        p: movers[p].decimals if p in movers else digits(proposal.values[p]) for p in constraint.paths
    }
    for terms in rows(constraint, {path: Decimal(1).scaleb(-count) for path, count in decimals.items()}):
        fixed = sum(
            (f * exact(proposal.values[p]) for p, f in terms.coefficients.items() if p not in movers),
            Decimal(0),
        )
        moving = {proposal.schema.specs[p].key: f for p, f in terms.coefficients.items() if p in movers}
        if moving:
            low = None if terms.low is None else terms.low - fixed
            high = None if terms.high is None else terms.high - fixed
            yield Row(moving, low, high, str(constraint))


def _contradiction(proposal: Proposal, error: Infeasible) -> Violation:
    schema = proposal.schema
    where = f" at {dict(proposal.context)}" if proposal.context else ""
    text = f"`{schema.namespace}`{where}: no values satisfy these rules together: {'; '.join(error.rules)} ({schema.file})."
    return Violation(schema.namespace, "constraint", text, dict(proposal.targets), dict(proposal.context))


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
    new: Any = as_number(applied, 0 if spec.type == "integer" else None)
    bound_by = None if exact(asked) == applied else _bound_by(proposal.schema, mover, applied)
    if path not in proposal.targets and applied == exact(mover.target):
        new = old  # it made no room, so nothing is written for it
    elif path in proposal.targets and bound_by and applied == exact(mover.move.old):
        new = old
    return Change(spec.key, old, new, proposal.context, asked, bound_by)


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
