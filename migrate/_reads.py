"""Who reads, and who writes, a name of a module or a class: the ground on which liveness is told."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from paramstore.migrate._facts import (
    FUNCTIONS,
    Facts,
    Node,
    Resolver,
    When,
    function_of,
    scopes,
    statement_of,
    when,
)
from paramstore.migrate._source import Source

MUTATORS = frozenset(
    {
        "update",
        "pop",
        "popitem",
        "setdefault",
        "clear",
        "append",
        "extend",
        "insert",
        "remove",
        "sort",
        "reverse",
        "__setitem__",
    }
)

HARMLESS = frozenset(
    {"len", "sum", "max", "min", "sorted", "dict", "list", "set", "tuple", "any", "all", "enumerate", "zip", "isinstance", "float",
     "str", "repr", "print", "iter", "reversed", "map", "filter", "bool", "hash", "id"}
)  # fmt: skip


@dataclass(frozen=True)
class Read:
    """One place that uses a name. ``span`` is in characters; ``path`` are the constant text subscripts
    that follow at once (``NAME["a"]["b"]``), which ``span`` then includes."""

    file: str
    line: int
    span: tuple[int, int]
    text: str
    kind: str  # load, store, mutate, copy, other
    when: When
    path: tuple[str, ...] = ()
    in_f_string: str = ""  # the quote that its f-string uses
    whole: tuple[int, int] = (0, 0)  # the span without subscripts
    leaks: str = ""  # how a container leaves under another name, if so
    kept_by: str = ""  # the function around it, if a result of that is kept at import


def read_of(source: Source, node: Node) -> Read:
    """Describe one use of a name (a ``Name`` or an ``Attribute`` node)."""
    top, path = node, []
    while (
        type(top.parent) is ast.Subscript
        and top is top.parent.value
        and type(top.parent.slice) is ast.Constant
        and type(top.parent.slice.value) is str
    ):
        top = top.parent
        path.append(top.slice.value)
    return Read(
        source.path, node.lineno, source.span(top), source.segment(top), _kind(node, top), when(node), tuple(path),
        _quote(source, node), source.span(node), _leak(top),
    )  # fmt: skip


def _leak(top: Node) -> str:
    """Return how a dictionary or list gets where something may write to it, or ask it for what it has not."""
    parent = top.parent
    kind = type(parent)
    if kind in (
        ast.Assign,
        ast.AnnAssign,
        ast.NamedExpr,
        ast.Return,
        ast.Yield,
        ast.keyword,
        ast.Dict,
        ast.List,
        ast.Tuple,
    ):
        return "it goes on under another name, which may write to it"
    if kind is ast.Call and top in parent.args and getattr(parent.func, "id", "") not in HARMLESS:
        return "it is passed on, and may be written to there"
    if (
        kind is ast.Attribute
        and type(parent.parent) is ast.Call
        and parent.attr == "get"
        and len(parent.parent.args) == 1
    ):
        return "`.get` of an entry that it has not gives None here, and is an error in a section"
    return ""


def _kind(node: Node, top: Node) -> str:
    if type(node.ctx) is not ast.Load:
        return "store"
    if type(top.ctx) is not ast.Load:
        return "mutate"
    parent = top.parent
    if type(parent) is ast.AugAssign and parent.target is top:
        return "mutate"
    if type(parent) is ast.Subscript and parent.value is top and type(parent.ctx) is not ast.Load:
        return "mutate"
    if type(parent) is ast.Attribute and type(parent.parent) is ast.Call and parent.parent.func is parent:
        if parent.attr in MUTATORS:
            return "mutate"
        if parent.attr == "copy":
            return "copy"
    if (
        type(parent) is ast.Call
        and top in parent.args
        and getattr(parent.func, "id", "") in ("dict", "list", "deepcopy")
    ):
        return "copy"
    return "load"


def _quote(source: Source, node: Node) -> str:
    """Return the quote of the f-string around a node, empty if there is none."""
    parent, found = node.parent, None
    while not isinstance(parent, ast.stmt):
        if type(parent) is ast.JoinedStr:
            found = parent
        parent = parent.parent
    if found is None:
        return ""
    text = source.segment(found).lstrip("rRfFbBuU")
    return '"""' if text.startswith('"""') else "'''" if text.startswith("'''") else text[:1] or '"'


def of_global(
    source: Source, facts: Facts, name: str, resolver: Resolver, skip: Node | None = None
) -> list[Read]:
    """Return every use of a module's own global ``name``, except the node that defines it."""
    nodes = [node for node in facts.names.get(name, ()) if node is not skip and resolver.is_global(node)]
    reads = []
    for node in nodes:
        read, outer = read_of(source, node), next(iter(scopes(node)), None)
        if outer is not None and resolver.once(outer, lambda f: kept_at_import(facts, f, resolver)):
            read = replace(read, kept_by=outer.name)
        reads.append(read)
    return sorted(reads, key=lambda read: read.span)


def kept_at_import(
    facts: Facts, function: Node, resolver: Resolver, seen: frozenset[str] = frozenset()
) -> bool:
    """Tell whether a module's function is called, at import, such that what it returns is kept: ``NAME = f()``,
    or in a function of which that is so."""
    if (
        type(function) not in FUNCTIONS[:2]
        or type(function.parent) is not ast.Module
        or function.name in seen
    ):
        return False
    for node in facts.names.get(function.name, ()):
        call = node.parent
        if type(call) is not ast.Call or call.func is not node or not resolver.is_global(node):
            continue
        if when(node) is When.IMPORT and type(statement_of(node)) is not ast.Expr:
            return True
        outer = next(iter(scopes(node)), None)
        if outer is not None and kept_at_import(facts, outer, resolver, seen | {function.name}):
            return True
    return False


def of_attribute(source: Source, facts: Facts, name: str) -> list[Read]:
    """Return every ``something.name`` in a file, whatever the something is."""
    return [read_of(source, node) for node in facts.attributes.get(name, ())]


def is_called_at_import_only(facts: Facts, function: Node, resolver: Resolver) -> bool:
    """Tell whether a module's function is called in that module, and by code that runs at import alone."""
    if type(function) is ast.Lambda or type(getattr(function, "parent", None)) is not ast.Module:
        return False
    uses = [node for node in facts.names.get(function.name, ()) if resolver.is_global(node)]
    if not uses:
        return False
    return all(
        type(node.parent) is ast.Call
        and node.parent.func is node
        and when(node) is When.IMPORT
        and function_of(node) is None
        for node in uses
    )
