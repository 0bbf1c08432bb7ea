"""One file: its candidates as sites, and what it exports to and takes from other files."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from paramstore.migrate._facts import (
    FUNCTIONS,
    Facts,
    Node,
    Resolver,
    When,
    class_of,
    function_of,
    link,
    scopes,
)
from paramstore.migrate._judge import NAMED, Verdict, bounds_of, judge, kind_of, value_of
from paramstore.migrate._names import can_be_path, key_path, told_apart
from paramstore.migrate._reads import Read, is_called_at_import_only, of_attribute, of_global
from paramstore.migrate._shapes import OURS, Found, expression_name, find, is_data
from paramstore.migrate._sites import (
    ATTRIBUTE,
    CAPTURED,
    DEAD,
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
from paramstore.migrate._words import parts, unit_of

COMMENT = re.compile(r"#+[:!]?\s*(.*)")
IGNORE = re.compile(r"#\s*paramstore:\s*ignore(?:\[([^\]]*)\])?")
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
COPY_SHAPES = ("item", "returned literal", "local dict", "keyword argument")


@dataclass
class Analysed:
    """A file's sites and its ties to other files. ``taken`` maps (module, name) to uses here; ``attributes``
    the same for ``module.NAME``; ``stars`` are the modules imported with ``*``."""

    file: str
    sha256: str
    sites: list[Site]
    taken: dict[tuple[str, str], list[Read]] = field(default_factory=dict)
    stars: dict[str, dict[str, list[Read]]] = field(default_factory=dict)


def analyse(source: Source, file: str, namespace: str, tiers: tuple[str, ...]) -> Analysed:
    """Return the sites of the ``tiers`` asked for. Pure: nothing is read from disk."""
    facts = link(source.tree)
    return _File(source, facts, file, namespace).analysed(tiers)


class _File:
    def __init__(self, source: Source, facts: Facts, file: str, namespace: str) -> None:
        self.source, self.facts, self.file, self.namespace = source, facts, file, namespace
        self.resolver = Resolver()
        self.sha256 = source.sha256
        self._reads: dict[int, list[Read]] = {}
        self._once: dict[int, bool] = {}

    def analysed(self, tiers: tuple[str, ...]) -> Analysed:
        found = find(self.facts.numbers)
        classes = sum(type(node) is ast.ClassDef for node in self.facts.definitions)
        judged = _as_wholes([(each, self._verdict(each)) for each in found])
        paths = told_apart([key_path(each, self.namespace, classes) for each, _ in judged])
        sites = [
            self._site(each, verdict, path)
            for (each, verdict), path in zip(judged, paths, strict=True)
            if verdict.tier in tiers
        ]
        self._share_copies(sites)
        return Analysed(self.file, self.sha256, sites, self._taken(), self._stars())

    def _verdict(self, found: Found) -> Verdict:
        named = found.words if found.shape in NAMED else [text for text in found.words if text not in OURS]
        local = [word for text in named for word in parts(text)]
        around = [word for scope in found.scope for word in parts(scope.name)] + parts(self.namespace)
        verdict = judge(found, local, around)
        if verdict.tier != "no" and found.path and not can_be_path(found.path):
            return Verdict("no", f"`{'.'.join(found.path)}` cannot be a key")
        if verdict.tier != "no" and (ignored := IGNORE.search(self.source.line_text(found.node.lineno))):
            return Verdict("no", f"is ignored: {ignored.group(1) or 'no reason given'}")
        return verdict

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
        elif shape == "default argument":
            site.keep, site.default_of = (
                DEFAULT,
                (self.source.span(found.node.parent.parent)[0], found.words[0]),
            )
            if found.when is When.IMPORT or function_of(found.node) is not None:
                site.liveness_why = "read on every call that leaves the argument out"
        elif shape == "lambda default":
            self._set(
                site, CAPTURED, "a lambda's default is made once and a lambda has no body to read it in"
            )
        elif shape == "instance attribute":
            self._set(site, CAPTURED, "each instance keeps what it read when it was made")
        elif found.when is When.IMPORT:
            self._set(site, IMPORT_ONLY, "this line runs once, at import")
        elif self._runs_once(found):
            self._set(site, IMPORT_ONLY, f"`{found.scope[0].name}` is called at import only")
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
        if found.group is not None:
            self._group(site, found, reads)
        else:
            site.keep = NAME
            site.reads = [read for read in reads if read.kind != "store"]
        decide(site, reads)

    def _class_name(self, site: Site, found: Found) -> None:
        target = self._definition(found) if found.shape != "dataclass field" else _field_target(found.node)
        owner = class_of(target)
        site.name = target.id if type(target) is ast.Name else ""
        assert owner is not None
        bases = {expression_name(base) or "" for base in owner.bases}
        site.keep = ATTRIBUTE
        if bases & FIXED_BASES:
            self._set(
                site,
                CAPTURED,
                f"a {'/'.join(sorted(bases & FIXED_BASES))} takes its values when the class is made",
            )
            return
        reads = [*of_attribute(self.source, self.facts, site.name), *self._in_class_body(owner, target)]
        if found.group is not None:
            self._group(site, found, reads)
            site.keep = SECTION if site.keep == SECTION else LEAF
        decide_attribute(site, reads)

    def _in_class_body(self, owner: Node, target: Node) -> list[Read]:
        from paramstore.migrate._reads import read_of

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

    # -- other files ------------------------------------------------------------------------------

    def _taken(self) -> dict[tuple[str, str], list[Read]]:
        found: dict[tuple[str, str], list[Read]] = {}
        for statement in self.facts.imports:
            if type(statement) is ast.ImportFrom:
                module = "." * statement.level + (statement.module or "")
                for alias in statement.names:
                    local = alias.asname or alias.name
                    if alias.name == "*":
                        continue
                    if not alias.name.islower():
                        reads = of_global(self.source, self.facts, local, self.resolver)
                        found.setdefault((module, alias.name), []).extend(reads)
                    inner = f"{module}{'' if module.endswith('.') or not module else '.'}{alias.name}"
                    self._through(found, inner, local)
            else:
                for alias in statement.names:
                    self._through(found, alias.name, alias.asname or alias.name)
        return found

    def _through(self, found: dict[tuple[str, str], list[Read]], module: str, local: str) -> None:
        """Collect the uses of ``local.NAME``, where ``local`` may name an imported module."""
        from paramstore.migrate._reads import read_of

        for attribute, nodes in self.facts.attributes.items():
            if attribute.islower():
                continue
            for node in nodes:
                if _dotted(node.value) == local:
                    found.setdefault((module, attribute), []).append(read_of(self.source, node))

    def _stars(self) -> dict[str, dict[str, list[Read]]]:
        modules = [
            "." * statement.level + (statement.module or "")
            for statement in self.facts.imports
            if type(statement) is ast.ImportFrom and any(alias.name == "*" for alias in statement.names)
        ]
        if not modules:
            return {}
        names = {name for name in self.facts.names if not name.islower()}
        uses = {name: of_global(self.source, self.facts, name, self.resolver) for name in names}
        return dict.fromkeys(modules, uses)


def is_section(group: Node | None) -> bool:
    """Tell whether a dictionary moves as a whole: nothing but numbers and tables, under names that keys can have."""
    return group is not None and type(group) is ast.Dict and is_data(group) and _is_uniform(group)


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


def decide(site: Site, reads: list[Read]) -> None:
    """Tell a module-level site's liveness from every use of its name, here and in other files."""
    where = _where(site, reads)
    if any(read.kind == "mutate" and _touches(site, read) for read in reads) or any(
        read.kind == "store" for read in reads
    ):
        first = next(read for read in reads if read.kind in ("store", "mutate"))
        site.liveness, site.liveness_why = MUTATED, f"the program writes to it ({where(first)})"
    elif not reads:
        site.liveness, site.liveness_why = DEAD, "nothing reads it"
    elif captured := _captured(site, reads):
        site.liveness, site.liveness_why = CAPTURED, f"{captured[0]} ({where(captured[1])})"
    else:
        count = len(reads)
        site.liveness = LIVE
        site.liveness_why = f"{count} use{'s' if count > 1 else ''}, all when functions run"


def decide_attribute(site: Site, reads: list[Read]) -> None:
    where = _where(site, reads)
    for read in reads:
        if read.kind == "store" or (read.kind == "mutate" and _touches(site, read)):
            site.liveness, site.liveness_why = MUTATED, f"the program writes to it ({where(read)})"
            return
    for read in reads:
        if read.when is When.IMPORT:
            site.liveness = CAPTURED
            site.liveness_why = f"a value is derived from it when the class is made ({where(read)})"
            return
    if site.keep == LEAF:
        site.liveness, site.liveness_why = (
            CAPTURED,
            "its dictionary holds more than plain data and is made once",
        )
        return
    site.liveness, site.liveness_why = LIVE, "read through the class each time"


def _where(site: Site, reads: list[Read]) -> Any:
    return lambda read: f"line {read.line}" if read.file == site.file else f"{read.file}:{read.line}"


def _touches(site: Site, read: Read) -> bool:
    """Tell whether a write below a name may change this leaf of it."""
    if site.keep == LEAF:
        return not read.path or site.group_path[: len(read.path)] == read.path
    return True


def _captured(site: Site, reads: list[Read]) -> tuple[str, Read] | None:
    for read in reads:
        if read.when is When.IMPORT:
            if read.kind == "copy":
                return "a copy is made at import", read
            if site.keep != SECTION or read.kind != "load":
                return "a value is taken from it at import", read
            return "it is used at import", read
        if (
            site.keep == LEAF
            and site.group_path[: len(read.path)] == read.path
            and read.path != site.group_path
        ):
            return "its dictionary is used as a whole", read
        if site.keep in (NAME, LEAF) and read.in_f_string and sys.version_info < (3, 12) and not _sure(read):
            return "it is used in an f-string where its place is not certain", read
    return None


def _sure(read: Read) -> bool:
    """Tell whether the span found inside an f-string is the name: before 3.12 places there can be wrong."""
    return bool(re.fullmatch(r"[A-Za-z_][\w.]*(\[['\"]\w+['\"]\])*", read.text))


def _is_uniform(node: Node) -> bool:
    """Tell whether every leaf of a dictionary is a number, or a table of plain data."""
    names = [key.value for key in node.keys]
    return can_be_path(tuple(names)) and len(set(names)) == len(names) and all(
        _is_uniform(value) if type(value) is ast.Dict
        else type(value) in (ast.List, ast.Tuple) or type(value_of_or_none(value)) in (int, float)
        for value in node.values
    ) and bool(node.values)  # fmt: skip


def value_of_or_none(node: Node) -> Any:
    from paramstore.migrate._facts import number_value

    return number_value(node)


def _field_target(node: Node) -> Node:
    while not isinstance(node, ast.AnnAssign | ast.Assign):
        node = node.parent
    return node.target if isinstance(node, ast.AnnAssign) else node.targets[0]


def _dotted(node: Node) -> str:
    if type(node) is ast.Name:
        return str(node.id)
    if type(node) is ast.Attribute:
        inner = _dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def _sentence(text: str) -> str:
    text = LINE.sub(" ", text).strip(" -=#*")
    return text[:200]
