"""One file: its candidates as sites, and what it exports to and takes from other files."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from itertools import pairwise

from paramstore.migrate._facts import (
    FUNCTIONS,
    Facts,
    Node,
    Resolver,
    When,
    bindings,
    class_of,
    function_of,
    link,
    number_value,
    scopes,
    statement_of,
)
from paramstore.migrate._judge import NAMED, Verdict, bounds_of, judge, kind_of, value_of
from paramstore.migrate._liveness import decide, decide_attribute, leaks
from paramstore.migrate._names import can_be_path, key_path, outside, told_apart
from paramstore.migrate._reads import (
    Read,
    is_called_at_import_only,
    kept_at_import,
    of_attribute,
    of_global,
    read_of,
)
from paramstore.migrate._shapes import OURS, Found, find, is_data
from paramstore.migrate._sites import (
    ATTRIBUTE,
    CAPTURED,
    DEFAULT,
    GET,
    IMPORT_ONLY,
    LEAF,
    LIVE,
    MUTATED,
    NAME,
    SECTION,
    Site,
)  # fmt: skip
from paramstore.migrate._source import LINE, Source
from paramstore.migrate._ties import Ties, ties
from paramstore.migrate._wording import expression_name
from paramstore.migrate._words import parts, unit_of

COMMENT = re.compile(r"#+[:!]?\s*(.*)")
FIXED_BASES = {
    "Enum",
    "IntEnum",
    "StrEnum",
    "Flag",
    "IntFlag",
    "NamedTuple",
    "TypedDict",
    "BaseModel",
    "BaseSettings",
    "Structure",
}


@dataclass
class Analysed:
    """A file's sites and its ties to other files."""

    file: str
    sha256: str
    sites: list[Site]
    ties: Ties = field(default_factory=Ties)


def analyse(source: Source, file: str, namespace: str, tiers: tuple[str, ...]) -> Analysed:
    """Return the sites of the ``tiers`` asked for. Pure: nothing is read from disk."""
    facts = link(source.tree)
    return _File(source, facts, file, namespace).analysed(tiers)


class _File:
    def __init__(self, source: Source, facts: Facts, file: str, namespace: str) -> None:
        self.source, self.facts, self.file, self.namespace = source, facts, file, namespace
        self.resolver = Resolver(facts)
        self.sha256 = source.sha256
        self._reads: dict[int, list[Read]] = {}
        self._once: dict[int, bool] = {}

    def analysed(self, tiers: tuple[str, ...]) -> Analysed:
        found = find(self.facts.numbers)
        classes = sum(type(node) is ast.ClassDef for node in self.facts.definitions)
        judged = _as_wholes([(each, self._verdict(each)) for each in found])
        paths = [key_path(each, self.namespace, classes) for each, _ in judged]
        paths = told_apart(_beside_sections([each for each, _ in judged], paths))
        sites = [
            self._site(each, verdict, path)
            for (each, verdict), path in zip(judged, paths, strict=True)
            if verdict.tier in tiers
        ]
        self._share_copies(sites)
        return Analysed(self.file, self.sha256, sites, ties(self.source, self.facts, self.resolver))

    def _verdict(self, found: Found) -> Verdict:
        named = found.words if found.shape in NAMED else [text for text in found.words if text not in OURS]
        local = [word for text in named for word in parts(text)]
        around = [word for scope in found.scope for word in parts(scope.name)] + parts(self.namespace)
        verdict = judge(found, local, around)
        if verdict.tier != "no" and found.path and not can_be_path(found.path):
            return Verdict("no", f"`{'.'.join(found.path)}` cannot be a key")
        if verdict.tier != "no" and (reason := self._ignored(found)) is not None:
            return Verdict("no", f"is ignored: {reason or 'no reason given'}")
        return verdict

    def _ignored(self, found: Found) -> str | None:
        """Return the reason of the comment that keeps a literal where it is: on its line, or on the first line
        of its dictionary."""
        node, group = found.node, found.group
        lines = [node.lineno, node.end_lineno]
        if group is not None:
            lines += [group.lineno, statement_of(group).lineno]
        return next((text for line in lines if (text := self.source.ignored.get(line)) is not None), None)

    def _site(self, found: Found, verdict: Verdict, path: tuple[str, ...]) -> Site:
        source, node = self.source, found.node
        start, end = source.span(node)
        value = value_of(node) if not found.never else None
        words = [word for part in path for word in parts(part)]
        low, high, why = bounds_of(value, words) if value is not None else (None, None, "")
        site = Site(
            file=self.file, line=node.lineno, column=node.col_offset, start=start, end=end, literal=source.text[start:end],
            value=value, shape=found.shape, scope=".".join(scope.name for scope in found.scope),
            key=".".join((self.namespace, *path)), type=kind_of(value), minimum=low, maximum=high, bounds_why=why,
            unit=unit_of(words), description=self._description(node), tier=verdict.tier, tier_why=verdict.why,
            keep=GET, liveness=LIVE, liveness_why="", accept=False, sha256=self.sha256,
        )  # fmt: skip
        site.proposed = ".".join(path)
        site.bytes_at = source.byte_offset(node.lineno, start), source.byte_offset(node.end_lineno, end)
        if verdict.tier != "no":
            self._liveness(site, found)
            site.accept = site.tier == "yes" and site.liveness == LIVE
        if site.shape == "fallback" and site.tier != "no":
            site.note = "where the dictionary read has the entry (a JSON configuration, say), that wins over the parameter"
        return site

    # -- how it stays live ------------------------------------------------------------------------

    def _liveness(self, site: Site, found: Found) -> None:
        shape = found.shape
        if shape in ("module scalar", "module table", "module dict"):
            self._module_name(site, found)
        elif shape in ("class attribute", "class table", "class dict", "dataclass field"):
            self._class_name(site, found)
        elif shape == "default argument" and type(found.node.parent) is not ast.arguments:
            self._set(site, CAPTURED, "the default is made once, and more than this number")
        elif shape == "default argument":
            function = found.node.parent.parent
            site.keep, site.default_of = DEFAULT, (self.source.span(function)[0], found.words[0])
            site.liveness_why = "read on every call that leaves the argument out"
            if function.name in ("__init__", "__post_init__", "__new__"):
                self._set(site, CAPTURED, "each instance keeps what it was made with")
            elif function.decorator_list and site.tier == "yes":
                site.tier, site.tier_why = "review", "a decorator may look at the default"
        elif shape == "lambda default":
            self._set(
                site, CAPTURED, "a lambda's default is made once and a lambda has no body to read it in"
            )
        elif shape == "instance attribute" or _is_kept_by_instance(found.node):
            self._set(site, CAPTURED, "each instance keeps what it read when it was made")
        elif found.when is When.IMPORT:
            self._set(site, IMPORT_ONLY, "this line runs once, at import")
        elif self._runs_once(found):
            self._set(site, IMPORT_ONLY, f"`{found.scope[0].name}` is called at import only")
        elif found.scope and self.resolver.once(found.scope[0], self._is_kept):
            self._set(
                site, CAPTURED, f"`{found.scope[0].name}` is called at import as well, and its result is kept"
            )
        else:
            site.liveness_why = "read each time this line runs"

    def _set(self, site: Site, liveness: str, why: str) -> None:
        site.liveness, site.liveness_why = liveness, why

    def _runs_once(self, found: Found) -> bool:
        outer = found.scope[0] if found.scope else None
        if type(outer) not in FUNCTIONS:
            return False
        if id(outer) not in self._once:
            self._once[id(outer)] = is_called_at_import_only(self.facts, outer, self.resolver)
        return self._once[id(outer)]

    def _is_kept(self, function: Node) -> bool:
        return kept_at_import(self.facts, function, self.resolver)

    def _definition(self, found: Found) -> Node:
        node = found.group if found.group is not None else found.node
        statement = node.parent
        return statement.targets[0] if type(statement) is ast.Assign else statement.target

    def _module_name(self, site: Site, found: Found) -> None:
        target = self._definition(found)
        site.name = target.id
        if id(target) not in self._reads:
            self._reads[id(target)] = of_global(self.source, self.facts, target.id, self.resolver, target)
        reads = self._reads[id(target)]
        if (more := self._bound_again(target)) is not None:
            self._set(site, MUTATED, more)
            site.keep = GET
            return
        if found.group is not None:
            self._group(site, found, reads)
        else:
            site.keep = NAME
            site.reads = [read for read in reads if read.kind != "store"]
        decide(site, reads)

    def _bound_again(self, target: Node) -> str | None:
        """Return why a module's name may be something else than its literal, besides plain assignments."""
        stores = sum(type(node.ctx) is not ast.Load for node in self.facts.names.get(target.id, ()))
        if bindings(self.facts, target.id) > stores:
            return "it is bound in another way as well: by an import, a definition, a pattern"
        for statement in self.facts.imports:
            if type(statement) is ast.ImportFrom and any(alias.name == "*" for alias in statement.names):
                return f"`import *` (line {statement.lineno}) may bind it anew"
        if self.facts.names.get("exec") or self.facts.names.get("globals"):
            return "the file writes names by `exec` or `globals()`"
        return None

    def _class_name(self, site: Site, found: Found) -> None:
        target = self._definition(found) if found.shape != "dataclass field" else _field_target(found.node)
        owner = class_of(target)
        site.name = target.id if type(target) is ast.Name else ""
        assert owner is not None
        bases = {expression_name(base) or "" for base in owner.bases}
        site.keep = ATTRIBUTE
        if bases & FIXED_BASES:
            site.keep = GET
            self._set(
                site,
                CAPTURED,
                f"a {'/'.join(sorted(bases & FIXED_BASES))} takes its values when the class is made",
            )
            return
        if (odd := self._odd_class(owner)) is not None and site.tier == "yes":
            site.tier, site.tier_why = "review", odd
        reads = [*of_attribute(self.source, self.facts, site.name), *self._in_class_body(owner, target)]
        if found.group is not None:
            self._group(site, found, reads)
            site.keep = SECTION if site.keep == SECTION else LEAF
        decide_attribute(site, reads)

    def _odd_class(self, owner: Node) -> str | None:
        """Return what may look at a class or its instances other than through attributes."""
        if self.facts.attributes.get("__dict__") or self.facts.names.get("vars"):
            return "the file looks into `__dict__`, where a live attribute is not"
        if owner.keywords:
            return "its class has a metaclass or other keywords"
        names = [
            expression_name(each.func if type(each) is ast.Call else each) for each in owner.decorator_list
        ]
        if any(name != "dataclass" for name in names):
            return "a decorator may look at the attributes of its class"
        return None

    def _in_class_body(self, owner: Node, target: Node) -> list[Read]:
        nodes = [node for node in self.facts.names.get(target.id, ()) if node is not target]
        return [
            read_of(self.source, node)
            for node in nodes
            if function_of(node) is None and owner in scopes(node)
        ]

    def _group(self, site: Site, found: Found, reads: list[Read]) -> None:
        """A dictionary of plain data becomes a section; in any other, only its tunable leaves move."""
        site.group_path = found.path
        if found.group is not None and is_section(found.group):
            leaks(site, reads)
            site.keep, site.group = SECTION, self.source.span(found.group)
            return
        site.keep = LEAF
        site.reads = [read for read in reads if read.path == found.path and read.kind == "load"]

    # -- words ------------------------------------------------------------------------------------

    def _description(self, node: Node) -> str:
        """Return the comment beside a literal, else the comment lines right above it."""
        line = self.source.line_text(node.end_lineno)
        rest = line.encode()[node.end_col_offset :].decode(errors="ignore")
        match = COMMENT.search(rest) if "#" in rest and "'" not in rest and '"' not in rest else None
        if match and match.group(1).strip():
            return _sentence(match.group(1))
        above = self.source.line_text(node.lineno - 1).strip() if node.lineno > 1 else ""
        match = COMMENT.match(above)
        if match and re.search("[A-Za-z]{3}", match.group(1)):
            return _sentence(match.group(1))
        return ""

    def _share_copies(self, sites: list[Site]) -> None:
        """Offer one key where a literal is repeated right after its use, such as the logged copy of a factor."""
        for before, site in pairwise(sites):
            near = (
                0 < site.line - before.line <= 2 and site.scope == before.scope and site.value == before.value
            )
            if near and site.shape == "item" and before.shape in ("augmented assignment", "factor", "local"):
                site.key = before.key
                site.note = f"shares the key of line {before.line}, whose value it repeats"


def is_section(group: Node | None) -> bool:
    """Tell whether a dictionary moves as a whole: nothing but numbers and tables, under names that keys can have."""
    return group is not None and type(group) is ast.Dict and is_data(group) and _is_uniform(group)


def _beside_sections(found: list[Found], paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the paths such that each dictionary's section has a place of its own, with its own entries alone below it."""
    heads: dict[int, tuple[str, ...]] = {}
    for each, path in zip(found, paths, strict=True):
        if is_section(each.group):
            heads.setdefault(id(each.group), path[: len(path) - len(each.path)])
    apart = told_apart([outside(head, set(heads.values()) - {head}) for head in heads.values()])
    places = dict(zip(heads, apart, strict=True))
    return [
        (*places[id(each.group)], *each.path) if id(each.group) in places else outside(path, apart)
        for each, path in zip(found, paths, strict=True)
    ]


def _as_wholes(judged: list[tuple[Found, Verdict]]) -> list[tuple[Found, Verdict]]:
    """Give all leaves of a dictionary that moves as a whole one tier: it is a tunable if most of them are."""
    groups: dict[int, list[Verdict]] = {}
    for found, verdict in judged:
        if is_section(found.group):
            groups.setdefault(id(found.group), []).append(verdict)
    whole: dict[int, Verdict] = {}
    for group, verdicts in groups.items():
        some = [verdict for verdict in verdicts if verdict.tier != "no"]
        sure = [verdict for verdict in verdicts if verdict.tier == "yes"]
        if some:
            whole[group] = sure[0] if 2 * len(sure) >= len(verdicts) else Verdict("review", some[0].why)
        elif verdicts:
            whole[group] = verdicts[0]
    return [(found, whole.get(id(found.group), verdict)) for found, verdict in judged]


def _is_uniform(node: Node) -> bool:
    """Tell whether every leaf of a dictionary is a number, or a table of plain data."""
    names = [key.value for key in node.keys]
    return can_be_path(tuple(names)) and len(set(names)) == len(names) and all(
        _is_uniform(value) if type(value) is ast.Dict
        else type(value) in (ast.List, ast.Tuple) or type(number_value(value)) in (int, float)
        for value in node.values
    ) and bool(node.values)  # fmt: skip


def _is_kept_by_instance(node: Node) -> bool:
    """Tell whether the value goes into an attribute of an instance that is being made."""
    function = function_of(node)
    if function is None or getattr(function, "name", "") not in ("__init__", "__post_init__", "__new__"):
        return False
    statement = statement_of(node)
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return any(type(target) is ast.Attribute for target in targets)


def _field_target(node: Node) -> Node:
    while not isinstance(node, ast.AnnAssign | ast.Assign):
        node = node.parent
    return node.target if isinstance(node, ast.AnnAssign) else node.targets[0]


def _sentence(text: str) -> str:
    text = LINE.sub(" ", text).strip(" -=#*")
    return text[:200]
