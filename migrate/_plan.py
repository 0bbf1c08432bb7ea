"""The plan: one YAML document that a person reads and edits, and what a new scan keeps of it."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from paramstore.errors import ParamstoreError
from paramstore.migrate._share import kept, offers, own_key, share
from paramstore.migrate._sites import TIERS, Site

VERSION = 1
LABEL = re.compile("[a-z][a-z_0-9]*")
MAX_DEPTH = 32  # of brackets within each other; a plan has two
MOST = 20  # problems told at once
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


OFFERS = """\
# Copies of the same numbers. With `accept: true` all of a set become one parameter, named `key`, which you may edit.
"""
OFFER_FIELDS = ("key", "of", "entries", "accept")
KINDS: dict[str, tuple[type, ...]] = {
    "file": (str,), "line": (int,), "column": (int,), "literal": (str,), "key": (str,), "shape": (str,), "tier": (str,),
    "liveness": (str,), "accept": (bool,), "keep": (str,), "type": (str,), "minimum": (int, float, type(None)),
    "maximum": (int, float, type(None)), "unit": (str,), "description": (str,), "scope": (str,), "name": (str,),
    "reads": (dict,), "sha256": (str,), "proposed": (str,),
}  # fmt: skip
OFFER_KINDS: dict[str, tuple[type, ...]] = {"key": (str,), "of": (list,), "accept": (bool,)}
OPTIONAL: dict[str, Any] = {
    "liveness": "", "keep": "", "type": "", "unit": "", "description": "", "scope": "", "name": "", "reads": {},
    "sha256": "", "proposed": "",
}  # fmt: skip
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a mapping", list: "a list",
         type(None): "null"}  # fmt: skip


Place = tuple[str, int, int, str]  # where a site stood when it was moved, and its key


class PlanError(ParamstoreError):
    """The plan cannot be used; the message says why. Nothing was written."""


def refuse(problems: Sequence[str]) -> None:
    """Raise ``PlanError`` with all problems, if there are any."""
    if problems:
        more = [f"... and {len(problems) - MOST} more"] if len(problems) > MOST else []
        raise PlanError("\n".join([*problems[:MOST], *more]) + " Nothing was written.")


@dataclass
class Plan:
    """``root`` is the directory that the sites' files are relative to; ``sites`` are mappings with ``FIELDS``,
    sorted by file and place; ``skipped`` maps each file that was not scanned to the reason; ``shared`` are
    offers of one key for copies (see ``_share``)."""

    root: str
    sites: list[dict[str, Any]]
    skipped: dict[str, str] = field(default_factory=dict)
    path: str = ""
    shared: list[dict[str, Any]] = field(default_factory=list)


def entry_of(site: Site) -> dict[str, Any]:
    """Return a site as the plan holds it."""
    values: dict[str, Any] = {name: getattr(site, name) for name in FIELDS if hasattr(site, name)}
    files = sorted({*(read.file for read in site.reads), *site.through} - {site.file})
    values["span"] = list(site.bytes_at)
    values["reads"] = {"here": sum(read.file == site.file for read in site.reads), "in": files}
    return {name: values[name] for name in FIELDS}


def text_of(plan: Plan, name: str) -> str:
    """Return the plan's text: the same for the same sites."""
    lines = [HEAD.format(name=name), f"plan: {VERSION}\n", f"root: {_json(plan.root)}\n"]
    if plan.skipped:
        lines.append("skipped:\n")
        lines += [f"  {_json(file)}: {_json(why)}\n" for file, why in sorted(plan.skipped.items())]
    if plan.shared:
        lines += ["\n", OFFERS, "shared:\n", *_items(plan.shared, OFFER_FIELDS), "\n"]
    lines.append("sites:\n" if plan.sites else "sites: []\n")
    return "".join([*lines, *_items(plan.sites, FIELDS)])


def _json(value: Any) -> str:
    """Return JSON that is YAML as well, which allows no control characters and no halves of characters."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 0xD800 else "\ufffd" for c in text
    )


def _items(entries: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Iterator[str]:
    for entry in entries:
        for number, label in enumerate(labels):
            value = _json(own_key(entry) if label == "key" else entry.get(label))
            yield f"{'- ' if number == 0 else '  '}{label}: {value}\n"


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
    shared, skipped = data.get("shared") or [], data.get("skipped") or {}
    if not isinstance(shared, list) or not isinstance(skipped, dict):
        raise PlanError(f"{path}: `shared` must be a list, and `skipped` a mapping.")
    for entries, kinds, name in ((data["sites"], KINDS, "site"), (shared, OFFER_KINDS, "shared")):
        for number, entry in enumerate(entries, 1):
            _check(entry, kinds, f"{path}: {name} {number}")
    share(data["sites"], shared)
    if not _is_text(str(data.get("root", "."))):
        raise PlanError(f"{path}: `root` names no directory.")
    root = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(path)), str(data.get("root", "."))))
    return Plan(root, data["sites"], skipped, path, shared)


def _as_written(text: str) -> dict[str, Any] | None:
    """Read the layout that ``text_of`` writes, fifty times faster than a YAML parser; ``None`` for any other."""
    data: dict[str, Any] = {}
    block = ""
    try:
        for line in text.split("\n"):
            if not line or line.startswith("#"):
                continue
            if line[0] not in "- ":
                block, _, value = line.partition(":")
                if block in data or not LABEL.fullmatch(block):
                    return None
                data[block] = json.loads(value) if value else {} if block == "skipped" else []
            elif block == "skipped":
                file, _, why = line.strip().rpartition('": "')
                data[block][json.loads(file + '"')] = json.loads('"' + why)
            else:
                label, colon, value = line[2:].partition(": ")
                if line.startswith("- "):
                    data[block].append({})
                if (
                    not colon
                    or line[:2] not in ("- ", "  ")
                    or not LABEL.fullmatch(label)
                    or label in data[block][-1]
                ):
                    return None
                data[block][-1][label] = json.loads(value)
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return None
    return data


def _as_yaml(text: str, path: str) -> Any:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = _plain_scanner()
    try:
        return yaml.load(text)
    except Exception as error:  # noqa: BLE001 - the parser raises TypeError, AttributeError and more
        first = " ".join(str(error).split())[:200]
        raise PlanError(f"{path} is not YAML: {first}.") from None


@cache
def _plain_scanner() -> Any:
    from ruamel.yaml.scanner import Scanner, ScannerError

    class PlainScanner(Scanner):
        def fetch_flow_collection_start(self, *args: Any, **named: Any) -> None:
            if (
                self.flow_level >= MAX_DEPTH
            ):  # or it reads all the brackets ahead, and at each looks at all before
                raise ScannerError(
                    None, None, f"nested deeper than {MAX_DEPTH} levels", self.reader.get_mark()
                )
            super().fetch_flow_collection_start(*args, **named)

        def fetch_alias(
            self,
        ) -> None:  # aliases of aliases are a document that no memory holds, once it is shown
            problem = "anchors and aliases (`&x`, `*x`) are not allowed; write the value out"
            raise ScannerError(None, None, problem, self.reader.get_mark())

        fetch_anchor = fetch_alias

    return PlainScanner


def _is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def _check(entry: Any, kinds: Mapping[str, tuple[type, ...]], where: str) -> None:
    if not isinstance(entry, dict):
        raise PlanError(f"{where} is not a mapping.")
    if "file" in entry:
        where += f" ({entry['file']}:{entry.get('line')}, `{entry.get('key')}`)"
    if unknown := entry.keys() - {*FIELDS, *OFFER_FIELDS}:
        name = min(map(str, unknown))
        near = difflib.get_close_matches(name, FIELDS, 1)
        raise PlanError(f"{where}: there is no field `{name}`{f'; is it `{near[0]}`?' if near else '.'}")
    if entry.get("accept") in ("yes", "no"):
        entry["accept"] = entry["accept"] == "yes"
    if entry.get("tier") is True or entry.get("tier") is False:  # yes and no, read as YAML 1.1
        entry["tier"] = "yes" if entry["tier"] else "no"
    if any(isinstance(value, str) and not _is_text(value) for value in entry.values()):
        raise PlanError(f"{where}: a text in it holds a NUL or half a character.")
    for name, allowed in kinds.items():
        value = entry.get(name, OPTIONAL.get(name))
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            wanted = " or ".join(WORDS[kind] for kind in allowed)
            said = "is missing" if value is None else f"must be {wanted}, not {_shown(value)}"
            raise PlanError(f"{where}: `{name}` {said}.")
    if "tier" in kinds and entry["tier"] not in TIERS:
        raise PlanError(f"{where}: `tier` must be one of {', '.join(TIERS)}.")
    names = (entry.get("reads") or {}).get("in", []) if "reads" in kinds else entry["of"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PlanError(f"{where}: {_shown(names)} must be a list of names.")


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = "a list of lists of lists"
    return text if len(text) <= 60 else text[:57] + "…"


def namespaces(plan: Plan) -> dict[str, str]:
    """Return the namespace that each file was given, from the keys that nobody has changed."""
    found: dict[str, str] = {}
    for entry in plan.sites:
        namespace, _, path = own_key(entry).partition(".")
        if path == entry.get("proposed"):
            found.setdefault(namespace, entry["file"])
    return found


def place_of(entry: Mapping[str, Any]) -> Place:
    return entry["file"], entry["line"], entry["column"], entry["key"]


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


def merged(old: Plan, new: Plan, moved: Collection[Place] = (), scanned: Collection[str] = ()) -> Plan:
    """Return the new scan with a person's decisions of the old plan.

    What ``apply`` has moved (``moved`` holds its place) and what stands in files that were not
    ``scanned`` this time stays as it is; anything else that is gone from the source leaves the plan.
    """
    stay: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for entry in old.sites:
        keep = place_of(entry) in moved or entry["file"] not in scanned
        (stay if keep else rest).append(entry)
    for before, entry in matched(rest, new.sites):
        entry.update({name: before[name] for name in EDITABLE if name in before})
        entry["key"] = own_key(before)
    new.sites = sorted([*new.sites, *stay], key=lambda site: (site["file"], site["line"], site["column"]))
    gone = [entry for entry in new.sites if place_of(entry) not in moved]
    new.shared = kept(old.shared, offers(gone))
    share(new.sites, new.shared)
    return new
