"""What a proposed change must pass before it is written. Pure.

Each request by itself: type and bounds (``Schema.judge``), clamped if asked, rounded to the schema's digits,
guards. Projections then move within what the others leave (``_proposal``). Last, constraints: in every
context, after overrides are laid over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from paramstore._constraints import Constraint, excess, violation
from paramstore._guards import Asker, Move, clamp, judge, limits
from paramstore._layers import contexts, value_in, values_in
from paramstore._model import ABSENT, Change, Spec, Violation
from paramstore._schema import Schema
from paramstore._state import Document, split_key
from paramstore._values import same

if TYPE_CHECKING:
    from paramstore._proposal import Proposal

OnViolation = Literal["reject", "clamp", "project"]


class Request(NamedTuple):
    """One value that an author asks for; ``ABSENT`` asks to remove an override's value. ``group`` is the prefix it
    was proposed below: a projection may move what is there to make room."""

    key: str
    context: Mapping[str, Any]
    value: Any
    on_violation: OnViolation
    group: str = ""


Verdict = tuple[list[Change], list[Violation]]


def judge_all(
    requests: Sequence[Request],
    documents: Mapping[str, Document],
    schema_of: Callable[[str], Schema],
    asker: Asker,
) -> Verdict:
    """Return the changes that ``requests`` come to, or everything that is wrong with them.

    A change may be none: what a rule kept as it was is among them, with the rule in ``bound_by``.
    """
    changes: list[Change] = []
    problems: list[Violation] = []
    for request in requests:
        if request.on_violation != "project":
            namespace = split_key(request.key)[0]
            change, wrong = judge_request(schema_of(namespace), documents[namespace], request, asker)
            problems += wrong
            changes += [change] if change is not None else []
    for proposal in _proposals(requests, documents, schema_of, changes):
        from paramstore._proposal import settle  # few commits need it

        moved, wrong = settle(proposal, asker)
        problems += wrong
        changes += [_with_overrode(proposal.schema, proposal.document, change, asker) for change in moved]
    if not problems:
        for name in dict.fromkeys(split_key(change.key)[0] for change in changes):
            problems += broken_constraints(schema_of(name), documents[name], _after(documents[name], changes))
    return (changes, []) if not problems else ([], problems)


# --- one by one ---------------------------------------------------------------------------------


def judge_request(
    schema: Schema, document: Document, request: Request, asker: Asker
) -> tuple[Change | None, list[Violation]]:
    """Return the change that ``request`` comes to (``None``: nothing differs) and what is wrong with it."""
    _, path = split_key(request.key)
    old = document.own_value(path, request.context, ABSENT)
    move = Move(path, request.context, value_in(document, path, request.context))
    if request.value is ABSENT:
        return _judge_removal(schema, document, request, move, asker)
    value, bound_by = request.value, None
    if request.on_violation == "clamp":
        value, bound_by = _clamped(schema, move, value, asker)
    value, broken = schema.judge(path, value)
    if broken:
        return None, [_broken(schema.specs[path], request, sentence, value) for sentence in broken]
    rounded = round_to(value, schema.specs[path].decimals)
    if not same(rounded, value):
        value, bound_by = rounded, bound_by or "decimals"
        value, broken = schema.judge(path, value)
        if broken:
            return None, [_broken(schema.specs[path], request, sentence, value) for sentence in broken]
    requested = request.value if bound_by else value
    change = Change(request.key, old, value, request.context, requested, bound_by)
    if same(old, value):
        return (change if bound_by else None), []
    return _guarded(schema, move, value, change, asker)


def _judge_removal(
    schema: Schema, document: Document, request: Request, move: Move, asker: Asker
) -> tuple[Change | None, list[Violation]]:
    if not request.context:
        text = f"`{request.key}` cannot be removed: only a value for a context can."
        return None, [Violation(request.key, "type", text)]
    old = document.own_value(move.path, request.context, ABSENT)
    if old is ABSENT:
        return None, []
    without = document.with_values([(move.path, request.context, ABSENT)], ABSENT, "")
    then = value_in(without, move.path, request.context)
    change = Change(request.key, old, ABSENT, request.context, ABSENT)
    return _guarded(schema, move, then, change, asker)


def _guarded(
    schema: Schema, move: Move, new: Any, change: Change, asker: Asker
) -> tuple[Change | None, list[Violation]]:
    found = judge(schema, move, new, asker, new if change.requested is ABSENT else change.requested)
    binding = [problem for problem in found if problem.rule not in asker.exempt]
    return (None, binding) if binding else (_noting(change, found, asker), [])


def _noting(change: Change, found: Iterable[Violation], asker: Asker) -> Change:
    """Return the change with the guards that force overrode."""
    broken = tuple(dict.fromkeys(problem.rule for problem in found)) if asker.forced else ()
    if not broken:
        return change
    return Change(
        change.key, change.old, change.new, change.context, change.requested, change.bound_by, overrode=broken
    )


def _with_overrode(schema: Schema, document: Document, change: Change, asker: Asker) -> Change:
    if not asker.forced or same(change.old, change.new):
        return change
    _, path = split_key(change.key)
    move = Move(path, change.context, value_in(document, path, change.context))
    return _noting(change, judge(schema, move, change.new, asker, change.requested), asker)


def _clamped(schema: Schema, move: Move, value: Any, asker: Asker) -> tuple[Any, str | None]:
    """Move a number to the nearest limit; anything else is left for ``Schema.judge`` to refuse."""
    spec = schema.specs[move.path]
    if type(value) not in (int, float) or spec.type not in ("number", "integer") or not isfinite(value):
        return value, None
    decimals = 0 if spec.type == "integer" else spec.decimals
    return clamp(value, limits(schema, move, asker), decimals, move.old)


def _broken(spec: Spec, request: Request, sentence: str, value: Any) -> Violation:
    rule = "type"
    if type(value) in (int, float):
        below = spec.minimum is not None and value < spec.minimum
        above = spec.maximum is not None and value > spec.maximum
        rule = "minimum" if below else "maximum" if above else rule
    elif spec.choices is not None:
        rule = "enum"
    allowed = (spec.minimum, spec.maximum) if rule in ("minimum", "maximum") else None
    return Violation(request.key, rule, f"{sentence}.", request.value, dict(request.context), allowed)


def round_to(value: Any, decimals: int | None) -> Any:
    """Round a float to the digits that the schema keeps. Minus zero becomes zero."""
    if decimals is None or type(value) is not float:
        return value
    return round(value, decimals) + 0.0


# --- together -----------------------------------------------------------------------------------


def _after(document: Document, changes: Iterable[Change]) -> Document:
    places = [
        (split_key(change.key)[1], change.context, change.new)
        for change in changes
        if split_key(change.key)[0] == document.namespace and not same(change.old, change.new)
    ]
    return document.with_values(places, ABSENT, "") if places else document


def _proposals(
    requests: Sequence[Request],
    documents: Mapping[str, Document],
    schema_of: Callable[[str], Schema],
    changes: list[Change],
) -> Iterable[Proposal]:
    """Yield what is to be projected, by namespace and context; ``changes`` grows while they are settled."""
    grouped: dict[tuple[str, tuple[Any, ...]], list[Request]] = {}
    for request in requests:
        if request.on_violation == "project":
            place = split_key(request.key)[0], tuple(sorted(request.context.items()))
            grouped.setdefault(place, []).append(request)
    for (namespace, at), mine in sorted(grouped.items(), key=lambda item: len(item[0][1])):  # the base first
        asked = {(request.key, tuple(sorted(request.context.items()))) for request in requests}
        groups = {request.group for request in mine if request.group}
        keys = {f"{namespace}.{path}": path for path in documents[namespace].values}
        members = {
            path
            for key, path in keys.items()
            if (key, at) not in asked and any(key.startswith(f"{group}.") for group in groups)
        }
        context = mine[0].context
        values = values_in(_after(documents[namespace], changes), context)
        targets = {split_key(request.key)[1]: request.value for request in mine}
        schema, document = schema_of(namespace), documents[namespace]
        from paramstore._proposal import Proposal

        yield Proposal(schema, document, context, values, targets, frozenset(members))


def broken_constraints(schema: Schema, before: Document, after: Document) -> list[Violation]:
    """Judge the constraints of a namespace in every context, base first.

    What an edit by hand has broken for one context already is no fault of this change, unless it makes it
    worse: ``check`` warns of it.
    """
    found = []
    for index, constraint in enumerate(schema.constraints):
        try:
            places = [{}, *contexts(after, constraint.paths)]
        except OverflowError as error:
            return [_too_many(schema, error)]
        for context in places:
            values = values_in(after, context) if context else after.values
            problem = violation(constraint, values)
            if problem and not _was_broken(constraint, before, context, values):
                where = f"in {context}: " if context else ""
                place = f"{schema.file}#/properties/values/x-constraints/{index}"
                text = f"{where}`{schema.namespace}`: {problem} ({_unit(schema, constraint)}{place})."
                found.append(Violation(schema.namespace, "constraint", text, context=dict(context)))
    return found


def _unit(schema: Schema, constraint: Constraint) -> str:
    """Return the unit that all values of a constraint have, ready to be put before its place."""
    units = {schema.specs[path].unit for path in constraint.paths}
    unit = units.pop()
    return f"{unit}; " if unit and not units else ""


def _was_broken(
    constraint: Constraint, before: Document, context: Mapping[str, Any], now: Mapping[str, Any]
) -> bool:
    if not context:
        return False
    then = excess(constraint, values_in(before, context))
    return then > 0 and excess(constraint, now) <= then + 1e-12


def _too_many(schema: Schema, error: OverflowError) -> Violation:
    text = (
        f"`{schema.namespace}`: its overrides combine to more than {error.args[0]} contexts, too many to hold its "
        f"constraints to ({schema.file}). Merge overrides, or give fewer dimensions."
    )
    return Violation(schema.namespace, "constraint", text)
