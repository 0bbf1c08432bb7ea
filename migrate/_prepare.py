"""What ``apply`` would write, in memory, proved before a byte is on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from paramstore.authoring import Parameter, ignoring_runtime, namespace_files
from paramstore.errors import ParamstoreError
from paramstore.migrate._constraints import shown
from paramstore.migrate._plan import EDITABLE, Plan, PlanError, namespaces, refuse
from paramstore.migrate._prove import inverses
from paramstore.migrate._reads import Read
from paramstore.migrate._rewrite import Rewritten, rewrite
from paramstore.migrate._scan import Scan, named, scan
from paramstore.migrate._sites import LIVE, SECTION, Site
from paramstore.migrate._source import Source, Unreadable, bytes_of, read

MOST_DECIMALS = 15  # what a schema may say


@dataclass
class Prepared:
    """``sources`` maps each file to its old source and its rewriting; ``store`` the store's files to their
    bytes (None where there was no file) before and after; ``refused`` files to the reason."""

    plan: Plan
    sites: list[Site]
    sources: dict[str, tuple[Source, Rewritten]] = field(default_factory=dict)
    store: dict[str, tuple[bytes | None, bytes]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


def prepare(plan: Plan, store_root: str, stored: Collection[str], earlier: Mapping[str, str]) -> Prepared:
    """Rewrite all accepted sites in memory. ``stored``: the keys that the store has; ``earlier``: those of sections that
    were made before, with their files. Raises ``PlanError``, with all that stands against it, or what the
    store's rules raise; a file that has changed since the scan is in ``refused``, and nothing of it moves."""
    accepted = [entry for entry in plan.sites if entry["accept"]]
    if not accepted:
        raise PlanError(
            "No site is accepted: set `accept: true` where a literal shall move. Nothing was written."
        )
    found, refused = _scanned_again(plan, accepted)
    sites, problems = _matched(plan, found, refused)
    refuse(problems + _key_problems(sites))
    prepared = Prepared(plan, sites, refused=refused)
    refuse(
        _rewrite_all(prepared, _reads_of(sites), {file: each.sha256 for file, each in found.files.items()})
    )
    prepared.store = store_files(sites, store_root)
    refuse(_strangers(sites, stored, earlier))
    prepared.values = {site.key: site.value for site in sites}
    refuse(
        [
            f"{file}: the rewriting does not prove right ({wrong[0]})."
            for file, (source, rewritten) in prepared.sources.items()
            if (wrong := inverses(source, rewritten, prepared.values))
        ]
    )
    return prepared


def _scanned_again(plan: Plan, accepted: list[dict[str, Any]]) -> tuple[Scan, dict[str, str]]:
    """Scan the plan's files again: only what the plan saw may be rewritten."""
    refused: dict[str, str] = {}
    sums = {entry["file"]: entry.get("sha256", "") for entry in accepted}
    files = sorted({entry["file"] for entry in accepted})
    others = {file for entry in accepted for file in (entry.get("reads") or {}).get("in", ())}
    for file in files:
        try:
            with open(os.path.join(plan.root, file), "rb") as stream:
                now = hashlib.sha256(stream.read()).hexdigest()
        except FileNotFoundError as error:
            refused[file] = f"cannot be read: {error.strerror}"
            continue
        except OSError as error:
            # of this moment: another try can read it, and must not find half of the plan moved
            raise PlanError(f"{file} cannot be read: {error.strerror}. Nothing was written.") from None
        if now != sums[file]:
            refused[file] = (
                "has changed since the scan. Scan again with the same plan: your decisions are kept"
            )
    _refuse_tied(accepted, refused)
    near = {
        file
        for file in others
        if not os.path.isabs(file) and ".." not in file.split("/") and file.endswith(".py")
    }
    paths = [os.path.join(plan.root, file) for file in sorted({*files, *near} - refused.keys())]
    found = scan(paths, plan.root, ("yes", "review", "no"), True, namespaces(plan))
    unseen = {file: why for file, why in found.skipped.items() if file in near or file in files}
    refuse(
        [
            f"{file} {why}."
            for file, why in unseen.items()
            if file in files or why.startswith("cannot be read")
        ]
    )
    refused.update(unseen)  # what reads a name and cannot be rewritten holds the name back
    _refuse_tied(accepted, refused)
    return found, refused


def _refuse_tied(accepted: list[dict[str, Any]], refused: dict[str, str]) -> None:
    """A name and its uses in other files move together: refuse the files that share one with a refused file."""
    ties = [(entry["file"], set((entry.get("reads") or {}).get("in", ()))) for entry in accepted]
    while tied := [
        (file, other) for file, others in ties for other in others & refused.keys() if file not in refused
    ]:
        for file, other in tied:
            refused[file] = f"holds a name that {other} reads, which is refused"


def _matched(plan: Plan, found: Scan, refused: Mapping[str, str]) -> tuple[list[Site], list[str]]:
    """Return the accepted sites as the scan sees them, with what the plan's reader decided, and what is wrong."""
    sites = {(site.file, site.line, site.column): site for site in found.sites()}
    result, problems = [], []
    for entry in plan.sites:
        if not entry["accept"] or entry["file"] in refused:
            continue
        site = sites.get((entry["file"], entry["line"], entry["column"]))
        problem = _mismatch(entry, site)
        if site is None or problem:
            problems.append(f"{entry['file']}:{entry['line']}: {problem}.")
            continue
        for name in EDITABLE:
            if name in entry:
                setattr(site, name, entry[name])
        result.append(site)
    return result, problems


def _mismatch(entry: Mapping[str, Any], site: Site | None) -> str:
    """Return what speaks against moving a site as the plan says, nothing if it is well."""
    if site is None or site.literal != entry["literal"]:
        return f"the plan's literal {entry['literal']!r} is not there. Scan again"
    if site.tier == "no" and site.tier_why and entry.get("tier") != "no":
        return f"{site.literal} {site.tier_why}"
    if entry.get("liveness") == LIVE and site.liveness != LIVE:
        return f"{site.literal} is no longer live: {site.liveness_why}. Scan again"
    if entry.get("type") != site.type:
        return (
            f"{site.literal} is of type {site.type}, and the plan says {entry.get('type')}: code would read another "
            "kind of number"
        )
    return ""


def _key_problems(sites: list[Site]) -> list[str]:
    known: dict[str, Site] = {}
    problems = []
    for site in sites:
        first = known.setdefault(site.key, site)
        if type(first.value) is not type(site.value) or first.value != site.value:
            problems.append(
                f"`{site.key}` is {first.literal} at {first.file}:{first.line} and {site.literal} at {site.file}:{site.line}: "
                "one parameter has one value. Give one of them another key."
            )
        low, high = site.minimum, site.maximum
        if type(site.value) in (int, float) and (
            (low is not None and site.value < low) or (high is not None and site.value > high)
        ):
            problems.append(
                f"{site.file}:{site.line}: {site.literal} is not within minimum {low} and maximum {high} of `{site.key}`."
            )
        if len(site.key.split(".")) < 2 or "" in site.key.split("."):
            problems.append(f"`{site.key}` ({site.file}:{site.line}) is no key: use `namespace.name`.")
    return problems


def _strangers(sites: list[Site], stored: Collection[str], earlier: Mapping[str, str]) -> list[str]:
    """Return what stands below a dictionary's section without being an entry of the dictionary. ``stored`` are the keys
    that the store has; ``earlier`` are the sections that were made before, with their files."""
    sections: dict[tuple[str, tuple[int, int], str], dict[str, Site]] = {}
    for site in sites:
        end = "".join(f".{part}" for part in site.group_path)
        if site.keep == SECTION and site.group is not None and site.key.endswith(end):
            prefix = site.key.removesuffix(end)
            sections.setdefault((site.file, site.group, prefix), {})[site.key] = site
    problems = []
    for (file, _, prefix), entries in sections.items():
        first = next(iter(entries.values()))
        where = f"{first.name or 'the dictionary'} ({file}:{first.line})"
        problems += [
            _stranger(s, prefix, where) for s in sites if s.key not in entries and _below(s.key, prefix)
        ]
        problems += [
            f"`{key}`, which the store has, stands below `{prefix}`, which takes the place of {where} and holds its entries "
            f"alone. Give these other keys in the plan, such as `{prefix}_2{first.key.removeprefix(prefix)}`."
            for key in stored
            if key not in entries and _below(key, prefix)
        ]
    for prefix, file in earlier.items():
        where = f"a dictionary of {file}"
        problems += [
            _stranger(s, prefix, where) for s in sites if s.key not in stored and _below(s.key, prefix)
        ]
    return list(dict.fromkeys(problems))


def _below(key: str, prefix: str) -> bool:
    return key.startswith(f"{prefix}.")


def _stranger(site: Site, prefix: str, where: str) -> str:
    rest = site.key.removeprefix(f"{prefix}.")
    beside = f"{prefix}_2.{rest}" if site.keep == SECTION else f"{prefix}_{rest.replace('.', '_')}"
    return (
        f"`{site.key}` ({site.file}:{site.line}) stands below `{prefix}`, which takes the place of {where} and holds its "
        f"entries alone. Give it another key in the plan, such as `{beside}`."
    )


def _reads_of(sites: list[Site]) -> dict[str, list[tuple[Site, Read]]]:
    by_file: dict[str, list[tuple[Site, Read]]] = {}
    for site in sites:
        for each in site.reads:
            by_file.setdefault(each.file, []).append((site, each))
    return by_file


def _rewrite_all(
    prepared: Prepared, reads: Mapping[str, list[tuple[Site, Read]]], seen: Mapping[str, str]
) -> list[str]:
    """Rewrite the files of ``prepared``, if they still are as the scan has ``seen`` them (their sums)."""
    own: dict[str, list[Site]] = {}
    for site in prepared.sites:
        own.setdefault(site.file, []).append(site)
    problems = []
    for file in sorted({*own, *reads}):
        try:
            source = named(read(os.path.join(prepared.plan.root, file)), file)
            if source.sha256 != seen[file]:  # places in it mean nothing in other text
                raise Unreadable("changed while it was being migrated; run it again")
            rewritten = rewrite(source, own.get(file, []), reads.get(file, []))
            source.encode(rewritten.text)
            prepared.sources[file] = source, rewritten
        except Unreadable as why:
            problems.append(f"{file} {why}.")
        except UnicodeEncodeError as error:
            problems.append(f"{file}: a key cannot be written in {source.encoding}: {error}.")
        except PlanError as error:
            problems.append(str(error))
    return problems


def store_files(sites: list[Site], root: str) -> dict[str, tuple[bytes | None, bytes]]:
    """Return the store's files with the sites in them: the bytes of each before and after. Raises ``PlanError``."""
    namespaces: dict[str, dict[str, Site]] = {}
    for site in sites:
        namespaces.setdefault(site.namespace, {}).setdefault(site.key, site)
    found: dict[str, tuple[bytes | None, bytes]] = {}
    for namespace, members in namespaces.items():
        names = f"schemas/{namespace}.schema.json", f"params/{namespace}.yaml"
        schema, text = (bytes_of(os.path.join(root, name)) for name in names)
        before = dict(zip(names, (schema, text), strict=True))  # read once: a learner may commit at any time
        existing = (schema, text) if schema is not None and text is not None else None
        rules = shown(namespace, {site.path: site.value for site in members.values()})
        sums = [pattern for rule in rules for pattern in rule.get("sum", ())]
        parameters = [_parameter(site, sums) for site in members.values()]
        try:
            files = namespace_files(namespace, parameters, rules, existing)
        except ParamstoreError as error:
            raise PlanError(f"Namespace `{namespace}`: {error}") from None
        for file, raw in files.items():
            if existing is None and before[file] not in (None, raw):
                (other,) = {*names} - {file}
                raise PlanError(
                    f"{file} is there without {other}, and would be written over: add that, or move it away. Nothing was written."
                )
            found[file] = before[file], raw
    if found and not os.path.islink(os.path.join(root, ".gitignore")):
        ignored = bytes_of(os.path.join(root, ".gitignore"))
        found[".gitignore"] = ignored, ignoring_runtime(ignored)
    return found


def _parameter(site: Site, sums: Sequence[str]) -> Parameter:
    whole = any(
        fnmatchcase(".".join(site.path), pattern) for pattern in sums
    )  # rounded shares sum to something else
    return Parameter(
        site.path, site.value, site.type, site.minimum, site.maximum, site.unit,
        site.description or f"{site.shape.capitalize()} in {site.file}.",
        decimals=None if whole else _decimals(site.value, site.minimum, site.maximum),
    )  # fmt: skip


def _decimals(value: Any, *bounds: float | int | None) -> int | None:
    """Return how many digits behind the point a commit keeps: two more than today's value and its bounds have, four
    at least; all (``None``) where today's value tells no size."""
    if type(value) is not float or value == 0:
        return None
    numbers = [number for number in (value, *bounds) if number is not None]
    digits = max(4, *(2 - int(Decimal(repr(number)).as_tuple().exponent) for number in numbers))
    return digits if digits <= MOST_DECIMALS else None
