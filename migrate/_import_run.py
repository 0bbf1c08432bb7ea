"""Write what was found in a learner's file: every version judged, in order, before the first is written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from paramstore import ParamStore, errors
from paramstore.migrate._import_json import (
    LITERAL,
    MOST_LISTED,
    MOST_PROBLEMS,
    Imported,
    ImportPlan,
    ImportReport,
    ImportStoppedError,
    Place,
    Version,
    Words,
)  # fmt: skip


def run_import(
    store: ParamStore,
    plan: ImportPlan,
    *,
    author: str,
    reason: str = "",
    dry_run: bool = False,
    on_violation: str = "reject",
) -> ImportReport:
    """Write each version that changes something as one transaction, once all of them are judged, in order. A person
    brings in what learners did elsewhere, so the limits of a single step do not apply: each entry is marked as forced.

    A version that breaks a rule refuses the whole import, or with ``on_violation="skip"`` is left out. Raises
    ``ValidationError`` with all problems, ``UnknownParamError`` and ``ContextError`` for wrong maps, and what
    ``transaction`` raises: nothing was written. ``ImportStoppedError``: some versions were.
    """
    if on_violation not in ("reject", "skip"):
        problem = f"on_violation={on_violation!r} is not known; use 'reject' or 'skip'."
        raise errors.ValidationError([problem], "Nothing was written.")
    with store.transaction(author=author, reason=reason, dry_run=True) as tx:
        start, state = tx.revision, tx.state
        stands = f"Nothing was written; revision {start} stands."
        _refuse_unknown(store, plan, stands)
        keys = {cell.key for version in plan.versions for cell in version.values}
        for key in keys:
            tx.get(key)  # raises if its file is broken
    _refuse_frozen(store, keys, stands)
    kinds = {name: dimension.type for name, dimension in state.dimensions().items()}
    versions = [
        replace(version, values=tuple(_typed(cell, kinds) for cell in version.values))
        for version in plan.versions
    ]
    words = {"author": author, "expected_revision": start, "force": True, "reason": "import"}
    versions = _judged(store, versions, state, words, stands)
    bad = [f"{version.where}: {problem}" for version in versions for problem in version.problems]
    if bad and on_violation == "reject":
        more = [f"… and {len(bad) - MOST_PROBLEMS} more."] if len(bad) > MOST_PROBLEMS else []
        todo = "Correct the file or the maps, or leave such versions out with --on-violation skip."
        raise errors.ValidationError(bad[:MOST_PROBLEMS] + more, f"{stands} {todo}")
    if not dry_run:
        versions = _written(store, plan, versions, author, reason, start)
    revision = max([start, *(version.revision or 0 for version in versions)])
    about = (plan.name, plan.sha256, tuple(versions), plan.unmatched, plan.unmatched_count)
    return ImportReport(*about, dry_run, revision)


def _refuse_unknown(store: ParamStore, plan: ImportPlan, stands: str) -> None:
    known = set(store.keys())
    cells = {cell.key: cell for version in plan.versions for cell in version.values}
    missing = [cell for key, cell in cells.items() if key not in known]
    named = ", ".join(f"`{cell.key}` ({cell.where})" for cell in missing[1:MOST_LISTED])
    others = f" Unknown as well: {named}{', …' * (len(missing) > MOST_LISTED)}." if named else ""
    todo = "Correct the map, or name the values one by one instead of with `*`."
    try:
        store.require(*(cell.key for cell in missing[:1]))
    except errors.UnknownParamError as error:
        hint = f"{missing[0].where} in {plan.name} is mapped to it.{others} {stands} {todo}"
        raise errors.UnknownParamError(error.key, error.nearest, hint) from None


def _typed(cell: Imported, kinds: Mapping[str, str]) -> Imported:
    """Return ``cell`` with its context typed as declared; what cannot be stays text, to be refused."""
    context = dict(cell.context)
    for name, text in cell.context.items():
        if kinds.get(name, "string") != "string" and re.fullmatch(LITERAL, text):
            value = json.loads(text)
            context[name] = float(value) if kinds[name] == "number" and type(value) is int else value
    return replace(cell, context=context)


def _judged(
    store: ParamStore, versions: list[Version], state: Any, words: Words, stands: str
) -> list[Version]:
    """Return the versions with their changes or problems. Each is judged by the state that it would leave:
    its values on top of those before that are not left out."""
    now = {cell.place: _stored(cell, state) for version in versions for cell in version.values}
    before, standing, found = now, dict[Place, Imported](), []
    for version in versions:
        wanted = standing | {cell.place: cell for cell in version.values}
        judged = ((cell, store.judge(cell.key, cell.new)[1]) for cell in version.values)
        problems = [f"{problem}, from {cell.where}." for cell, wrong in judged for problem in wrong]
        try:
            later = {} if problems else before | _outcome(store, wanted.values(), words, stands)
        except errors.ValidationError as error:
            problems = [*error.violations, *_rounded(store, version)]
        if problems:
            found.append(replace(version, problems=tuple(problems)))
            continue
        changes = [replace(cell, old=now[cell.place], new=later[cell.place]) for cell in version.values]
        standing, now = wanted, later
        found.append(replace(version, changes=tuple(cell for cell in changes if cell.old != cell.new)))
    return found


def _refuse_frozen(store: ParamStore, keys: Iterable[str], stands: str) -> None:
    """Raise ``ValidationError`` for what is frozen, which the force of an import would pass."""
    frozen = [freeze for freeze in store.freezes() if any(fnmatchcase(key, freeze.pattern) for key in keys)]
    if frozen:
        said = [f"`{f.pattern}` is frozen by {f.author}: {f.reason}." for f in frozen]
        raise errors.ValidationError(said, f"{stands} `paramstore unfreeze` ends a freeze.")


def _stored(cell: Imported, state: Any) -> Any:
    namespace, _, path = cell.key.partition(".")
    return state.documents[namespace].own_value(path, cell.context, None)


def _outcome(store: ParamStore, cells: Iterable[Imported], words: Words, stands: str) -> dict[Place, Any]:
    """Return what would change if ``cells`` were written now. Raises ``ValidationError``."""
    with store.transaction(dry_run=True, **words) as tx:
        for cell in cells:
            try:
                tx.set(cell.key, cell.new, **cell.context)
            except errors.ContextError as error:
                todo = "Correct the map; {dimension:this|that} in it takes these names only."
                raise errors.ContextError(f"{cell.where}: {error} {stands} {todo}") from None
    changes = tx.commit_result.changes
    return {(change.key, tuple(sorted(change.context.items()))): change.new for change in changes}


def _rounded(store: ParamStore, version: Version) -> list[str]:
    """Say which digits were dropped before a rule was broken: often that is what broke it."""
    digits = [(cell, store.spec(cell.key).decimals) for cell in version.values if type(cell.new) is float]
    kept = [(cell, round(cell.new, count)) for cell, count in digits if count is not None]
    words = [f"`{cell.key}` = {cell.new!r} as {short!r}" for cell, short in kept if short != cell.new]
    more = f" and {len(words) - 1} others" if len(words) > 1 else ""
    return [f"The schema's `decimals` keep {words[0]}{more}."] if words else []


def _written(
    store: ParamStore, plan: ImportPlan, versions: list[Version], author: str, reason: str, start: int
) -> list[Version]:
    """Write the versions that change something, each on top of the one before and of nothing else."""
    done, revision = list(versions), start
    for index, version in enumerate(versions):
        count = f"{index + 1} of {len(versions)}"
        about = {"imported_from": plan.name, "sha256": plan.sha256, "time": version.time, "version": count}
        why = ": ".join(filter(None, (reason, version.reason))) or f"imported from {plan.name}"
        if not version.changes:
            continue
        try:
            with store.transaction(
                author=author, reason=why, evidence=about, expected_revision=revision, force=True
            ) as tx:
                for cell in version.values:
                    tx.set(cell.key, cell.new, **cell.context)
        except errors.ParamstoreError as error:
            if revision == start:
                raise
            problem = f"Version {count} and those after it were not imported: {error}"
            todo = f"`paramstore rollback {start}` takes back everything since; then import again."
            stands = f"Those before it are written; revision {revision} stands."
            raise ImportStoppedError(f"{problem}\n{stands} {todo}") from error
        revision = tx.commit_result.revision
        done[index] = replace(version, revision=revision)
    return done
