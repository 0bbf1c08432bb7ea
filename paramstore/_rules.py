"""What a proposed change must pass before it is written. Pure.

Each request by itself: type and bounds (``Schema.judge``), clamped if asked, rounded to the schema's digits.
Projections then move within what the others leave (``_proposal``). Then guards and constraints, on what a read
would give before and after: in every context that the changes reach, after overrides are laid over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from paramstore._constraints import Constraint, shortfalls, violation
from paramstore._exact import is_finite
from paramstore._guards import (
    Asker,
    Move,
    asking,
    beyond,
    clamp,
    cooling,
    frozen,
    limits,
    move_of,
    named,
    too_many,
)
from paramstore._layers import Layers, agree, contexts
from paramstore._model import ABSENT, Change, Spec, Violation
from paramstore._schema import Schema
from paramstore._state import Document, place, split_key
from paramstore._values import same

if TYPE_CHECKING:
    from paramstore._proposal import Proposal

OnViolation = Literal["reject", "clamp", "project"]
FINEST = 12  # digits by which a value without a number of them is kept off an exclusive bound
WORSE = 1e-12  # of a constraint that was broken before: what adding up floats in another order may be off by


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
    unfit: set[str] = set()  # namespaces with values that cannot be judged together, as some are none
    for request in requests:
        if request.on_violation != "project":
            namespace = split_key(request.key)[0]
            change, wrong = judge_request(schema_of(namespace), documents[namespace], request, asker)
            problems += wrong
            unfit |= {namespace} if wrong else set()
            changes += [change] if change is not None else []
    for proposal in _proposals(requests, documents, schema_of, changes):
        from paramstore._proposal import settle  # few commits need it

        moved, wrong = settle(proposal, asker)
        problems += wrong
        unfit |= {proposal.schema.namespace} if wrong else set()
        changes += moved
    for name in dict.fromkeys(split_key(change.key)[0] for change in changes):
        schema, before, after = schema_of(name), documents[name], laid(documents[name], changes)
        found, overrode = guarded(schema, before, after, changes, asker)
        changes = [_noting(change, overrode) for change in changes]
        problems += found
        if name not in unfit:
            problems += broken_constraints(schema, before, after, changes)
    return (changes, []) if not problems else ([], problems)


# --- one by one ---------------------------------------------------------------------------------


def judge_request(
    schema: Schema, document: Document, request: Request, asker: Asker
) -> tuple[Change | None, list[Violation]]:
    """Return the change that ``request`` comes to (``None``: nothing differs) and what is wrong with it. Guards and
    constraints are judged on all changes together."""
    _, path = split_key(request.key)
    old = document.own_value(path, request.context, ABSENT)
    if request.value is ABSENT:
        return _judge_removal(request, old)
    value, bound_by = request.value, None
    if request.on_violation == "clamp":
        move = move_of(document, path, request.context)
        value, bound_by = _clamped(schema, move, value, asker)
        if bound_by and value == move.old:  # though it may have more digits than the schema keeps
            return Change(request.key, old, old, request.context, request.value, bound_by), []
    value, broken = schema.judge(path, value)
    rounded = round_to(value, schema.specs[path].decimals)
    if not broken and not same(rounded, value):
        value, bound_by = rounded, bound_by or "decimals"
        value, broken = schema.judge(path, value)
    if broken:
        spec = schema.specs[path]
        return None, [_broken(schema, spec, request, sentence, value) for sentence in broken]
    if same(old, value) and bound_by is None:
        return None, []
    requested = request.value if bound_by else value
    return Change(request.key, old, value, request.context, requested, bound_by), []


def _judge_removal(request: Request, old: Any) -> tuple[Change | None, list[Violation]]:
    if not request.context:
        text = f"`{request.key}` cannot be removed: only a value for a context can."
        return None, [Violation(request.key, "type", text)]
    change = Change(request.key, old, ABSENT, request.context, ABSENT)
    return (None if old is ABSENT else change), []


def _clamped(schema: Schema, move: Move, value: Any, asker: Asker) -> tuple[Any, str | None]:
    """Move a number to the nearest limit; anything else is left for ``Schema.judge`` to refuse."""
    spec = schema.specs[move.path]
    if type(value) not in (int, float) or spec.type not in ("number", "integer") or not is_finite(value):
        return value, None
    decimals = 0 if spec.type == "integer" else spec.decimals
    found = limits(schema, move, asker, FINEST if decimals is None else decimals)
    if decimals is None:  # nothing is rounded, so what is strictly within an exclusive bound is left alone
        low, high = schema.exclusive_bounds(move.path)
        inside = {
            "exclusiveMinimum": low is not None and value > low,
            "exclusiveMaximum": high is not None and value < high,
        }
        found = [limit for limit in found if not inside.get(limit.rule)]
    return clamp(value, found, decimals, move.old)


def _broken(schema: Schema, spec: Spec, request: Request, sentence: str, value: Any) -> Violation:
    rule, allowed = "type", None
    low, high = schema.exclusive_bounds(split_key(request.key)[1])
    if spec.choices is not None:
        rule, allowed = "enum", None
    elif type(value) in (int, float):
        tests = (
            ("minimum", spec.minimum is not None and value < spec.minimum),
            ("maximum", spec.maximum is not None and value > spec.maximum),
            ("exclusiveMinimum", low is not None and value <= low),
            ("exclusiveMaximum", high is not None and value >= high),
        )
        rule = next((name for name, beyond_it in tests if beyond_it), rule)
        allowed = (spec.minimum if low is None else low, spec.maximum if high is None else high)
    text = sentence.replace(f"`{request.key}`", named(request.key, request.context), 1)
    return Violation(request.key, rule, f"{text}.", request.value, dict(request.context), allowed)


def round_to(value: Any, decimals: int | None) -> Any:
    """Round a float to the digits that the schema keeps. Minus zero becomes zero."""
    if decimals is None or type(value) is not float:
        return value
    return round(value, decimals) + 0.0


# --- proposals ----------------------------------------------------------------------------------


def laid(document: Document, changes: Iterable[Change]) -> Document:
    """Return the document with those of ``changes`` that are about it."""
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
            grouped.setdefault((split_key(request.key)[0], place(request.context)), []).append(request)
    asked = {(request.key, place(request.context)) for request in requests}
    for (namespace, at), mine in sorted(grouped.items(), key=lambda item: len(item[0][1])):  # the base first
        from paramstore._proposal import Proposal

        schema, document = schema_of(namespace), documents[namespace]
        groups = {request.group for request in mine if request.group}
        members = frozenset(
            path
            for path, spec in schema.specs.items()
            if (spec.key, at) not in asked and any(spec.key.startswith(f"{group}.") for group in groups)
        )
        targets = {split_key(request.key)[1]: request.value for request in mine}
        after, context = laid(document, changes), mine[0].context
        stands, values = (Layers(each, each.values).values(context) for each in (document, after))
        theirs = tuple(dict(other) for name, other in grouped if name == namespace and other != at)
        yield Proposal(schema, document, after, context, stands, values, targets, members, theirs)


# --- together: guards ---------------------------------------------------------------------------


def guarded(
    schema: Schema, before: Document, after: Document, changes: Sequence[Change], asker: Asker
) -> tuple[list[Violation], dict[str, list[str]]]:
    """Return what guards refuse, once for each key and rule; and by key what they would, but for force.

    Steps, drift and cooldown are judged in every context that a change reaches, on what a read there gives
    before and after all of them: a value can move without being written to.
    """
    found: dict[tuple[str, str], Violation] = {}
    for path, mine in _by_path(schema.namespace, changes).items():
        for problem in _guard_path(schema, before, after, path, mine, asker):
            found.setdefault((problem.key, problem.rule), problem)
    overrode: dict[str, list[str]] = {}
    for key, rule in found:
        if asker.forced:
            overrode.setdefault(key, []).append(rule)
    return [problem for problem in found.values() if problem.rule not in asker.exempt], overrode


def _by_path(namespace: str, changes: Iterable[Change]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for change in changes:
        name, path = split_key(change.key)
        if name == namespace and not same(change.old, change.new):
            found.setdefault(path, []).append(change)
    return found


def _guard_path(
    schema: Schema, before: Document, after: Document, path: str, changes: Sequence[Change], asker: Asker
) -> Iterator[Violation]:
    old, new = Layers(before, [path]), Layers(after, [path])
    asked = {place(c.context): c.requested for c in changes if c.requested is not ABSENT}
    for change in changes:
        move = Move(path, change.context, old.values(change.context)[path])
        want = new.values(change.context)[path] if change.requested is ABSENT else change.requested
        yield from asking(schema, move, asker, want)
        yield from frozen(schema, move, asker, want)
    if not _moves_are_limited(schema.specs[path]):
        return
    written = {place(change.context) for change in changes}
    try:
        reached = list(_places(schema, before, after, path, [change.context for change in changes], asker))
    except OverflowError as error:
        yield too_many(schema, error)
        return
    for context in reached:
        value, source = new.values(context)[path], new.source(path, context)
        at = source if source in written else old.source(path, context)
        move = Move(path, context, old.values(context)[path], at)
        if not same(move.old, value):
            want = asked.get(place(context), value)
            yield from beyond(schema, move, value, asker, want)
            yield from cooling(schema, move, asker, want)


def _moves_are_limited(spec: Spec) -> bool:
    limits_ = (spec.max_step, spec.max_step_relative, spec.max_drift, spec.cooldown_s)
    return any(limit is not None for limit in limits_)


def _places(
    schema: Schema,
    before: Document,
    after: Document,
    path: str,
    written: Sequence[Mapping[str, Any]],
    asker: Asker,
) -> Iterator[dict[str, Any]]:
    """Yield the contexts in which a read of ``path`` may have moved: what is written reaches, and those that once had
    a value of their own, from which steps and drift are counted."""
    once = [dict(at) for at in asker.ledger.contexts.get(schema.specs[path].key, ())]
    for context in written:
        yield dict(context)
        if context:  # a base value is hidden wherever an override is, so that no other context can move by it
            yield from contexts(after, [path], [context])
            yield from contexts(before, [path], [context])
        yield from ({**context, **at} for at in once if agree(context, at))


def _noting(change: Change, overrode: Mapping[str, list[str]]) -> Change:
    """Return the change with the guards that force overrode."""
    broken = overrode.get(change.key)
    return replace(change, overrode=tuple(broken)) if broken and not same(change.old, change.new) else change


# --- together: constraints ----------------------------------------------------------------------


def broken_constraints(
    schema: Schema, before: Document, after: Document, changes: Iterable[Change]
) -> list[Violation]:
    """Judge the constraints that changes touch, in every context that they reach.

    What an edit by hand has broken for one context already is no fault of this change, unless it makes it
    worse: ``check`` warns of it.
    """
    found: list[Violation] = []
    touched = _by_path(schema.namespace, changes)
    seen: dict[frozenset[str], list[_Reached]] = {}  # constraints often are about the same values
    for index, constraint in enumerate(schema.constraints):
        mine = [change for path in constraint.paths for change in touched.get(path, ())]
        if not mine:
            continue
        paths = frozenset(constraint.paths)
        try:
            seen[paths] = seen.get(paths) or list(_reached(before, after, constraint.paths, mine))
        except OverflowError as error:
            return [too_many(schema, error)]
        for context, then, now in seen[paths]:
            problem = violation(constraint, now)
            if problem and not _was_broken(constraint, then, now, context):
                asked = {change.key: change.requested for change in mine}
                found.append(_constraint_violation(schema, index, problem, context, asked))
    return found


_Reached = tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]


def _reached(
    before: Document, after: Document, paths: Sequence[str], changes: Iterable[Change]
) -> Iterator[_Reached]:
    """Yield each context in which ``changes`` move one of ``paths``, with all their values before and after."""
    changes = list(changes)
    around = list({place(c.context): c.context for c in changes}.values())
    base = {split_key(change.key)[1] for change in changes if not change.context}
    beside = base if len(around) == 1 else ()  # where all that moves is hidden, nothing does
    then, now = Layers(before, paths), Layers(after, paths)
    for context in [*({} for at in around if not at), *contexts(after, paths, around, beside)]:
        old, new = then.values(context), now.values(context)
        if old != new:
            yield context, old, new


def _constraint_violation(
    schema: Schema, index: int, problem: str, context: Mapping[str, Any], asked: Mapping[str, Any]
) -> Violation:
    where = f"in {dict(context)}: " if context else ""
    pointer = f"{schema.file}#/properties/values/x-constraints/{index}"
    text = f"{where}`{schema.namespace}`: {problem} ({_unit(schema, schema.constraints[index])}{pointer})."
    return Violation(schema.namespace, "constraint", text, dict(asked), dict(context))


def _unit(schema: Schema, constraint: Constraint) -> str:
    """Return the unit that all values of a constraint have, ready to be put before its place."""
    units = {schema.specs[path].unit for path in constraint.paths}
    unit = units.pop()
    return f"{unit}; " if unit and not units else ""


def _was_broken(
    constraint: Constraint,
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    context: Mapping[str, Any],
) -> bool:
    """Tell whether every part of a constraint was broken in this context before, by as much as it is now."""
    if not context:
        return False
    pairs = zip(shortfalls(constraint, now), shortfalls(constraint, then), strict=True)
    return all(short <= before + WORSE for short, before in pairs)
