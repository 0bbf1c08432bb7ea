"""What one file has to do with others: the names it takes from them, and what it writes on their objects."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from paramstore.migrate._facts import Facts, Node, Resolver, When, bindings
from paramstore.migrate._reads import Read, of_global, read_of
from paramstore.migrate._source import Source

PATCHERS = frozenset({"setattr", "patch", "object", "dict"})  # they name what they write by text


@dataclass
class Ties:
    """``taken`` maps (module, name) to the uses here, ``module.NAME`` included and ``module.Class`` for a
    class's attribute; ``imported`` each name to the (module, name) that it was imported as, and whether it is bound to
    nothing else; ``stars`` each
    module imported with ``*`` to the uses of names that it may give; ``touched`` each attribute or name to the
    places that write to it on some object, or by text; ``kept`` each name that takes a value of the store at
    import to its key and to the uses in functions, which read it as it was then."""

    taken: dict[tuple[str, str], list[Read]] = field(default_factory=dict)
    imported: dict[str, list[tuple[str, str, bool]]] = field(default_factory=dict)
    stars: dict[str, dict[str, list[Read]]] = field(default_factory=dict)
    touched: dict[str, list[Read]] = field(default_factory=dict)
    kept: dict[str, tuple[str, list[Read]]] = field(default_factory=dict)
    closed: bool = False  # it has an ``__all__``
    ignored: frozenset[int] = frozenset()  # lines with a comment that keeps them as they are


def ties(source: Source, facts: Facts, resolver: Resolver) -> Ties:
    """Return what a linked file takes and writes."""
    return _Ties(source, facts, resolver).found()


class _Ties:
    def __init__(self, source: Source, facts: Facts, resolver: Resolver) -> None:
        self.source, self.facts, self.resolver = source, facts, resolver
        self.ties = Ties(closed="__all__" in facts.names, ignored=frozenset(source.ignored))
        self.chains: dict[str, list[tuple[str, Node]]] = {}  # by first name: what stands before an attribute
        self.meant: dict[str, set[tuple[str, str]]] = {}  # what the imports bind each name to

    def found(self) -> Ties:
        for nodes in self.facts.attributes.values():
            for node in nodes:
                first = _first_name(node)
                if first is not None:
                    self.chains.setdefault(first.id, []).append((_dotted(node.value), node))
        bound = list(self._bound())
        for local, module, name in bound:
            self.meant.setdefault(local.partition(".")[0], set()).add((module, name))
        for local, module, name in dict.fromkeys(bound):
            if name:
                self._named(local, module, name)
            self._through(joined(module, name) if name else module, local)
        self._star_uses()
        for name, read in self._writes():
            self.ties.touched.setdefault(name, []).append(read)
        self._kept()
        return self.ties

    def _bound(self) -> Iterator[tuple[str, str, str]]:
        """Yield (local name, module, name in it or nothing) for each import."""
        for statement in self.facts.imports:
            module = "." * getattr(statement, "level", 0) + (getattr(statement, "module", "") or "")
            for alias in statement.names:
                if type(statement) is ast.Import:
                    yield alias.asname or alias.name, alias.name, ""
                elif alias.name == "*":
                    self.ties.stars[module] = {}
                else:
                    yield alias.asname or alias.name, module, alias.name

    def _is_alone(self, root: str) -> bool:
        """Tell whether all that binds a name, in the whole file, are imports of one and the same thing."""
        meant = self.meant[root]
        same = len(meant) == 1 or all(not name and "." in module for module, name in meant)
        imports = sum(
            (alias.asname or alias.name.partition(".")[0]) == root
            for statement in self.facts.imports
            for alias in statement.names
        )
        return same and imports == bindings(self.facts, root) and root not in self.facts.arguments

    def _named(self, local: str, module: str, name: str) -> None:
        alone = self._is_alone(local)
        self.ties.imported.setdefault(local, []).append((module, name, alone))
        if self._is_only_called(local):
            return
        nodes = self.facts.names.get(local, ())
        reads = [read_of(self.source, node) for node in nodes if type(node.ctx) is ast.Load]
        self.ties.taken.setdefault((module, name), []).extend(reads if alone else doubts(reads))

    def _is_only_called(self, name: str) -> bool:
        nodes = self.facts.names.get(name, ())
        return name.islower() and all(
            type(node.parent) is ast.Call and node.parent.func is node for node in nodes
        )

    def _through(self, module: str, local: str) -> None:
        """Collect the uses of ``local.NAME`` and ``local.inner.NAME``, where ``local`` may be a module or class."""
        root = local.partition(".")[0]
        for before, node in self.chains.get(root, ()):
            called = type(node.parent) is ast.Call and node.parent.func is node
            if called or not f"{before}.".startswith(f"{local}."):
                continue
            read = read_of(self.source, node)
            if not self._is_alone(root):
                if not self.resolver.is_global(_first_name(node)) and bindings(self.facts, root) > 1:
                    continue  # a local of that name
                read = replace(read, kind="doubt")
            self.ties.taken.setdefault((module + before[len(local) :], node.attr), []).append(read)

    def _star_uses(self) -> None:
        stars = self.ties.stars
        if not stars:
            return
        for name in self.facts.names:
            if self._is_only_called(name):
                continue
            reads = of_global(self.source, self.facts, name, self.resolver)
            if len(stars) > 1 or bindings(self.facts, name):  # which of them gives it cannot be told
                reads = doubts(reads)
            for uses in stars.values():
                uses[name] = reads

    def _writes(self) -> Iterator[tuple[str, Read]]:
        for name, nodes in self.facts.attributes.items():
            for node in nodes:
                if getattr(node.value, "id", "") in ("self", "cls"):
                    continue
                if type(node.ctx) is not ast.Load:
                    yield name, replace(read_of(self.source, node), kind="store")
                elif type(node.parent) in (ast.Subscript, ast.Attribute):
                    read = read_of(self.source, node)
                    if read.kind == "mutate":
                        yield name, read
        for name in PATCHERS:
            for node in (*self.facts.names.get(name, ()), *self.facts.attributes.get(name, ())):
                yield from self._by_text(node)

    def _kept(self) -> None:
        aliases = {local for local, what in self.meant.items() if what == {("paramstore", "params")}}
        for statement in self.facts.tree.body if aliases else ():
            target = (
                statement.targets[0] if type(statement) is ast.Assign else getattr(statement, "target", None)
            )
            call = getattr(statement, "value", None)
            if type(target) is not ast.Name or type(call) is not ast.Call or not call.args:
                continue
            if statement.lineno in self.ties.ignored:
                continue
            alias, _, method = _dotted(call.func).partition(".")
            if alias in aliases and method == "get" and type(call.args[0]) is ast.Constant:
                reads = of_global(self.source, self.facts, target.id, self.resolver, target)
                self.ties.kept[target.id] = str(call.args[0].value), late(reads)

    def _by_text(self, function: Node) -> Iterator[tuple[str, Read]]:
        """Yield what ``setattr(module, "NAME", …)`` and ``patch("module.NAME")`` write."""
        call = function.parent
        if type(call) is not ast.Call or call.func is not function:
            return
        for argument in call.args[:2]:
            if type(argument) is ast.Constant and type(argument.value) is str:
                yield argument.value.rpartition(".")[2], replace(read_of(self.source, function), kind="store")


def late(reads: list[Read]) -> list[Read]:
    """Return the reads that happen when functions run."""
    return [read for read in reads if read.when is When.RUN and read.kind == "load"]


def doubts(reads: list[Read]) -> list[Read]:
    """Return reads of which it cannot be told whether they are of this name."""
    return [read if read.kind == "store" else replace(read, kind="doubt") for read in reads]


def joined(module: str, name: str) -> str:
    return f"{module}{'' if module.endswith('.') or not module else '.'}{name}"


def _first_name(node: Node) -> Node | None:
    while type(node) is ast.Attribute:
        node = node.value
    return node if type(node) is ast.Name else None


def _dotted(node: Node) -> str:
    if type(node) is ast.Name:
        return str(node.id)
    if type(node) is ast.Attribute:
        inner = _dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""
