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
    class's attribute; ``imported`` each name to the (module, name) that it was imported as; ``stars`` each
    module imported with ``*`` to the uses of names that it may give; ``touched`` each attribute or name to the
    places that write to it on some object, or by text; ``kept`` each name that takes a value of the store at
    import to its key and to the uses in functions, which read it as it was then."""

    taken: dict[tuple[str, str], list[Read]] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    stars: dict[str, dict[str, list[Read]]] = field(default_factory=dict)
    touched: dict[str, list[Read]] = field(default_factory=dict)
    kept: dict[str, tuple[str, list[Read]]] = field(default_factory=dict)


def ties(source: Source, facts: Facts, resolver: Resolver) -> Ties:
    """Return what a linked file takes and writes."""
    return _Ties(source, facts, resolver).found()


class _Ties:
    def __init__(self, source: Source, facts: Facts, resolver: Resolver) -> None:
        self.source, self.facts, self.resolver = source, facts, resolver
        self.ties = Ties()
        self.chains: dict[str, list[tuple[str, Node]]] = {}  # by first name: what stands before an attribute

    def found(self) -> Ties:
        for nodes in self.facts.attributes.values():
            for node in nodes:
                first = _first_name(node)
                if first is not None:
                    self.chains.setdefault(first.id, []).append((_dotted(node.value), node))
        for statement in self.facts.imports:
            if type(statement) is ast.ImportFrom:
                self._from(statement)
            else:
                for alias in statement.names:
                    self._through(alias.name, alias.asname or alias.name, statement)
        self._star_uses()
        for name, read in self._writes():
            self.ties.touched.setdefault(name, []).append(read)
        self._kept()
        return self.ties

    def _from(self, statement: Node) -> None:
        module = "." * statement.level + (statement.module or "")
        for alias in statement.names:
            if alias.name == "*":
                self.ties.stars[module] = {}
                continue
            local = alias.asname or alias.name
            self.ties.imported[local] = module, alias.name
            if not self._is_only_called(local):
                self.ties.taken.setdefault((module, alias.name), []).extend(self._uses(local, statement))
            inner = f"{module}{'' if module.endswith('.') or not module else '.'}{alias.name}"
            self._through(inner, local, statement)

    def _is_only_called(self, name: str) -> bool:
        nodes = self.facts.names.get(name, ())
        return name.islower() and all(
            type(node.parent) is ast.Call and node.parent.func is node for node in nodes
        )

    def _uses(self, name: str, statement: Node) -> list[Read]:
        """Return the uses of an imported name; as writes, if it may be bound to something else as well."""
        reads = of_global(self.source, self.facts, name, self.resolver)
        alone = bindings(self.facts, name) == 1 and type(statement.parent) is ast.Module
        return reads if alone else _as_writes(reads)

    def _through(self, module: str, local: str, statement: Node) -> None:
        """Collect the uses of ``local.NAME``, where ``local`` may name an imported module or class."""
        root = local.partition(".")[0]
        alone = type(statement.parent) is ast.Module and (local != root or bindings(self.facts, root) <= 1)
        for before, node in self.chains.get(root, ()):
            called = type(node.parent) is ast.Call and node.parent.func is node
            if before != local or called or not self.resolver.is_global(_first_name(node)):
                continue
            read = read_of(self.source, node)
            self.ties.taken.setdefault((module, node.attr), []).append(
                read if alone else replace(read, kind="store")
            )

    def _star_uses(self) -> None:
        stars = self.ties.stars
        if not stars:
            return
        for name in self.facts.names:
            if self._is_only_called(name):
                continue
            reads = of_global(self.source, self.facts, name, self.resolver)
            if len(stars) > 1 or bindings(self.facts, name):  # which of them gives it cannot be told
                reads = _as_writes(reads)
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
        aliases = {local for local, what in self.ties.imported.items() if what == ("paramstore", "params")}
        for statement in self.facts.tree.body if aliases else ():
            target = (
                statement.targets[0] if type(statement) is ast.Assign else getattr(statement, "target", None)
            )
            call = getattr(statement, "value", None)
            if type(target) is not ast.Name or type(call) is not ast.Call or not call.args:
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


def _as_writes(reads: list[Read]) -> list[Read]:
    return [replace(read, kind="store") for read in reads]


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
