"""The plan: one YAML document that a person reads and edits, and what a new scan keeps of it."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paramstore.errors import ParamstoreError
from paramstore.migrate._sites import TIERS, Site

VERSION = 1
EDITABLE = ("key", "type", "minimum", "maximum", "unit", "description", "accept")
FIELDS = (
    "file", "line", "column", "literal", "key", "shape", "tier", "liveness", "accept", "keep", "type", "minimum",
    "maximum", "unit", "description", "scope", "name", "tier_why", "liveness_why", "bounds_why", "note", "span", "reads",
    "sha256", "proposed",
)  # fmt: skip
HEAD = """\
# Which literals move into the store. Yours to edit: key, type, minimum, maximum, unit, description, accept.
# One key at several sites is one parameter; their values must be equal. Then:
#   paramstore migrate apply {name}            shows the diff
#   paramstore migrate apply {name} --write    makes it
#   paramstore migrate verify {name}           proves it
"""


class PlanError(ParamstoreError):
    """The plan cannot be used; the message says why. Nothing was written."""


@dataclass
class Plan:
    """``root`` is the directory that the sites' files are relative to; ``sites`` are mappings with ``FIELDS``,
    sorted by file and place; ``skipped`` maps each file that was not scanned to the reason."""

    root: str
    sites: list[dict[str, Any]]
    skipped: dict[str, str] = field(default_factory=dict)
    path: str = ""


def entry_of(site: Site) -> dict[str, Any]:
    """Return a site as the plan holds it."""
    values: dict[str, Any] = {name: getattr(site, name) for name in FIELDS if hasattr(site, name)}
    files = sorted({read.file for read in site.reads} - {site.file})
    values["span"] = list(site.bytes_at)
    values["reads"] = {"here": sum(read.file == site.file for read in site.reads), "in": files}
    return {name: values[name] for name in FIELDS}


def text_of(plan: Plan, name: str) -> str:
    """Return the plan's text: the same for the same sites."""
    lines = [HEAD.format(name=name), f"plan: {VERSION}\n", f"root: {json.dumps(plan.root)}\n"]
    if plan.skipped:
        lines.append("skipped:\n")
        lines += [f"  {json.dumps(file)}: {json.dumps(why)}\n" for file, why in sorted(plan.skipped.items())]
    lines.append("sites:\n" if plan.sites else "sites: []\n")
    for site in plan.sites:
        for number, label in enumerate(FIELDS):
            value = json.dumps(site.get(label), ensure_ascii=False)
            lines.append(f"{'- ' if number == 0 else '  '}{label}: {value}\n")
    return "".join(lines)


def read(path: str) -> Plan:
    """Read a plan. Raises ``PlanError``."""
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(
            f"The plan {path} cannot be read: {error}. Make one with `paramstore migrate scan`."
        ) from None
    data = _as_written(text) or _as_yaml(text, path)
    if not isinstance(data, dict) or data.get("plan") != VERSION or not isinstance(data.get("sites"), list):
        raise PlanError(
            f"{path} is no plan of version {VERSION}: it needs `plan: {VERSION}` and a list `sites`."
        )
    for number, site in enumerate(data["sites"], 1):
        _check(site, f"{path}: site {number}")
    root = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(path)), str(data.get("root", "."))))
    return Plan(root, data["sites"], dict(data.get("skipped") or {}), path)


def _as_written(text: str) -> dict[str, Any] | None:
    """Read the layout that ``text_of`` writes, fifty times faster than a YAML parser; ``None`` for any other."""
    head, mark, body = text.partition("\nsites:\n")
    if not mark or "\nskipped:" in head:
        head, _, skipped = head.partition("\nskipped:\n")
    else:
        skipped = ""
    data: dict[str, Any] = {"sites": []}
    try:
        for line in head.split("\n"):
            if line and not line.startswith("#"):
                label, _, value = line.partition(": ")
                data[label] = json.loads(value)
        if skipped:
            pairs = [line.strip().rpartition('": "') for line in filter(None, skipped.split("\n"))]
            data["skipped"] = {json.loads(a + '"'): json.loads('"' + b) for a, _, b in pairs}
        for line in filter(None, body.split("\n")):
            label, colon, value = line[2:].partition(": ")
            if line.startswith("- "):
                data["sites"].append({})
            elif not line.startswith("  "):
                return None
            if not colon or not label.isidentifier():
                return None
            data["sites"][-1][label] = json.loads(value)
    except (ValueError, IndexError):
        return None
    return data


def _as_yaml(text: str, path: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        first = " ".join(str(error).split())[:200]
        raise PlanError(f"{path} is not YAML: {first}.") from None


def _check(site: Any, where: str) -> None:
    if not isinstance(site, dict):
        raise PlanError(f"{where} is not a mapping.")
    kinds = {
        "file": str,
        "line": int,
        "column": int,
        "literal": str,
        "key": str,
        "shape": str,
        "accept": bool,
    }
    for name, kind in kinds.items():
        if not isinstance(site.get(name), kind) or (kind is int and isinstance(site[name], bool)):
            raise PlanError(f"{where}: `{name}` must be {kind.__name__}, not {site.get(name)!r}.")
    if site.get("tier") is True or site.get("tier") is False:  # yes and no, read as YAML 1.1
        site["tier"] = "yes" if site["tier"] else "no"
    if site.get("tier") not in TIERS:
        raise PlanError(f"{where}: `tier` must be one of {', '.join(TIERS)}.")


def namespaces(plan: Plan) -> dict[str, str]:
    """Return the namespace that each file was given, from the keys that nobody has changed."""
    found: dict[str, str] = {}
    for entry in plan.sites:
        namespace, _, path = entry["key"].partition(".")
        if path == entry.get("proposed"):
            found.setdefault(namespace, entry["file"])
    return found


def identity(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what a site is known by in another scan: never its line, which moves when others do."""
    return entry["file"], entry["shape"], str(entry.get("proposed", ""))


def looser(entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """The same with its literal in place of its number among doubles, which moves when one of them goes."""
    file, shape, proposed = identity(entry)
    return file, shape, re.sub(r"_\d+$", "", proposed), entry["literal"]


def matched(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the pairs of entries that are the same site, each entry once."""
    free = list(new)
    for known in (identity, looser):
        index: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for entry in old:
            index[known(entry)].append(entry)
        left = []
        for entry in free:
            same = index.get(known(entry))
            if same:
                before = same.pop(0)
                yield before, entry
                old = [each for each in old if each is not before]
            else:
                left.append(entry)
        free = left


def merged(
    old: Plan, new: Plan, moved: Collection[tuple[str, str]] = (), scanned: Collection[str] = ()
) -> Plan:
    """Return the new scan with a person's decisions of the old plan.

    What ``apply`` has moved (``moved`` holds its file and key) and what stands in files that were not
    ``scanned`` this time stays as it is; anything else that is gone from the source leaves the plan.
    """
    stay: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for entry in old.sites:
        keep = (entry["file"], entry["key"]) in moved or entry["file"] not in scanned
        (stay if keep else rest).append(entry)
    for before, entry in matched(rest, new.sites):
        entry.update({name: before[name] for name in EDITABLE if name in before})
    new.sites = sorted([*new.sites, *stay], key=lambda site: (site["file"], site["line"], site["column"]))
    return new
