"""From literals in source to live parameters, proved: ``scan``, ``apply``, ``verify``, ``revert``, ``lint``.

An annex of paramstore: it uses the public names of the store only. The code that it reads is parsed, never
imported and never executed, except by ``verify --run``, which says so.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from paramstore import ParamStore
from paramstore.errors import StoreNotFoundError
from paramstore.migrate import _apply, _plan, _prepare, _scan, _store, _verify
from paramstore.migrate._plan import Plan, PlanError
from paramstore.migrate._share import offers
from paramstore.migrate._source import bytes_of, read
from paramstore.migrate._verify import Proof

__all__ = [
    "Applied",
    "Plan",
    "PlanError",
    "Proof",
    "Reverted",
    "apply",
    "make_plan",
    "prepared_diff",
    "revert",
    "store_of",
    "verify",
]


@dataclass
class Applied:
    """What ``apply`` did, or would do: the unified diff of each file, and the files that it refused."""

    diff: dict[str, str]
    sites: int
    refused: dict[str, str] = field(default_factory=dict)
    written: bool = False
    completed: bool = False  # a change that was begun before


def make_plan(
    paths: Sequence[str], plan_path: str, every: bool = False, told: Callable[[str], None] = lambda _: None
) -> Plan:
    """Scan and return the plan for ``plan_path``, with a person's decisions of the plan that is there."""
    old = _plan.read(plan_path) if os.path.exists(plan_path) else None
    _apply.resume(plan_path)
    root = os.path.abspath(old.root) if old is not None else os.getcwd()
    own = _plan.namespaces(old) if old is not None else {}
    tiers = ("yes", "review", "no") if every else ("yes", "review")
    found = _scan.scan(paths, root, tiers, every, own, told)
    relative = os.path.relpath(root, os.path.dirname(os.path.abspath(plan_path)))
    entries = [_plan.entry_of(site) for site in found.sites()]
    plan = Plan(relative.replace(os.sep, "/"), entries, found.skipped, plan_path, offers(entries))
    if old is None:
        return plan
    gone = {entry["file"] for entry in old.sites if not os.path.exists(os.path.join(root, entry["file"]))}
    return _plan.merged(old, plan, moved(plan_path), {*found.files, *gone})


def moved(plan_path: str) -> set[_plan.Place]:
    """Return the places of what ``apply`` has already moved: it stays in the plan."""
    return _moved(_apply.read_record(plan_path, _plan.read(plan_path).root))


def _moved(record: dict[str, Any] | None) -> set[_plan.Place]:
    return {
        (file, *site)
        for file, layers in (record or {"files": {}})["files"].items()
        for layer in layers
        for site in layer["sites"]
    }


def store_of(plan: Plan, given: str | None) -> str:
    """Return the store's directory: as given, else the one around the plan's root, else that root itself."""
    if given is not None:
        return os.path.abspath(given)
    folder = os.path.abspath(plan.root)
    while True:
        if all(os.path.isdir(os.path.join(folder, name)) for name in ("params", "schemas")):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            return os.path.abspath(plan.root)
        folder = above


def apply(plan_path: str, store: str | None = None, write: bool = False) -> Applied:
    """Rewrite what the plan accepts. Without ``write`` nothing changes. Raises ``PlanError`` or what the
    store's rules raise; then nothing was written."""
    completed = _apply.resume(plan_path)
    plan = _plan.read(plan_path)
    record = _apply.read_record(plan_path, plan.root)
    done = _moved(record)
    for entry in plan.sites:
        entry["accept"] = entry["accept"] and _plan.place_of(entry) not in done
    if record is not None and not any(entry["accept"] for entry in plan.sites):
        return Applied({}, 0, completed=completed)
    root = store_of(plan, store)
    there = os.path.isdir(os.path.join(root, "params")) and os.path.isdir(os.path.join(root, "schemas"))
    stored = _open(root).keys() if there else ()
    prepared = _prepare.prepare(plan, root, stored, _apply.sections_in(record))
    result = Applied(prepared_diff(prepared), len(prepared.sites), prepared.refused, completed=completed)
    if write and prepared.sites:
        with _store.held(root):
            _apply.same(plan_path, plan.root, record)
            prepared.store = _prepare.store_files(prepared.sites, root)  # a learner may have committed since
            changes = _apply.changes_of(prepared, root, _apply.record_of(prepared, root, record))
            _apply.write_all(plan_path, changes)
        result.diff, result.written = prepared_diff(prepared), True
    return result


def prepared_diff(prepared: _prepare.Prepared) -> dict[str, str]:
    """Return a unified diff of each file: the sources, the values, then the schemas."""
    found = {}
    for file, (source, rewritten) in sorted(prepared.sources.items()):
        found[file] = source.text, rewritten.text
    for file, (before, after) in sorted(
        prepared.store.items(), key=lambda item: (item[0][:2] == "sc", item[0])
    ):
        found[file] = before.decode(errors="replace") if before else "", after.decode(errors="replace")
    return {file: unified(file, old, new) for file, (old, new) in found.items() if old != new}


def unified(file: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{file}", f"b/{file}"
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def verify(
    plan_path: str, run: bool = False, learned: bool = False, told: Callable[[str], None] = lambda _: None
) -> tuple[Proof, list[dict[str, Any]]]:
    """Prove what was applied; with ``run``, import the user's modules and probe that each read is live (``told``
    is called with each file's name). With ``learned``, values that have changed since are no fault."""
    record, plan, store = _applied(plan_path)
    proof = _verify.verify(record, plan.root, _verify.store_values(_open(store)), learned)
    if not run:
        return proof, []
    from paramstore.migrate._probe import probe

    return proof, probe(record, plan.sites, plan.root, store, told)


def _applied(plan_path: str) -> tuple[dict[str, Any], Plan, str]:
    """Return the record, the plan, and the store's directory. Raises ``PlanError`` if nothing was applied."""
    _apply.resume(plan_path)
    plan = _plan.read(plan_path)
    record = _apply.read_record(plan_path, plan.root)
    if record is None:
        raise PlanError(
            f"Nothing of {plan_path} is applied: `paramstore migrate apply {plan_path} --write` does it."
        )
    return record, plan, os.path.normpath(os.path.join(plan.root, record["store"]))


def _open(root: str) -> ParamStore:
    if not all(os.path.isdir(os.path.join(root, name)) for name in ("params", "schemas")):
        raise StoreNotFoundError(f"{root} holds no params/ and schemas/, where the plan was applied.")
    return ParamStore(root, environ=_store.settings())


@dataclass
class Reverted:
    """What ``revert`` did, or would do: the unified diff of each file, and the files that it refused."""

    diff: dict[str, str]
    refused: dict[str, str]


def revert(plan_path: str, write: bool = False) -> Reverted:
    """Put today's values back into the source as literals; the store keeps its files. A file in which the reads
    cannot be found is refused, and stays recorded as applied. No commit comes between the values that are read and
    the literals that are written; one that was interrupted is completed with the values of then."""
    record, plan, store = _applied(plan_path)
    with _store.held(store) if write else nullcontext():
        _apply.same(plan_path, plan.root, record)
        changes, refused = _verify.reverted(record, plan.root, _verify.store_values(_open(store)))
        if write and changes:
            path = os.path.abspath(plan_path + _apply.RECORD)
            left = {file: layers for file, layers in record["files"].items() if file in refused}
            text = _apply.record_text({**record, "files": left}) if left else None
            _apply.write_all(plan_path, [*changes.values(), _apply.Change(path, bytes_of(path), text)])
    return Reverted(
        {file: _diff(file, c.before or b"", c.after or b"", plan.root) for file, c in changes.items()},
        refused,
    )


def _diff(file: str, before: bytes, after: bytes, root: str) -> str:
    texts = [read(os.path.join(root, file), raw).text for raw in (before, after)]
    return unified(file, *texts)
