"""What a syntax tree says when each node knows what it stands in: numbers, names, scopes, when code runs."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
Node = Any  # an ast node with ``parent`` set by ``link``


class When(Enum):
    """When the code at a place runs."""

    RUN = "when a function is called"
    IMPORT = "once, at import"
    MAIN = "in the `__main__` part only"
    NEVER = "for type checkers only"


@dataclass
class Facts:
    """All that one pass over a tree collects, in no particular order."""

    tree: ast.Module
    numbers: list[Node] = field(default_factory=list)
    names: dict[str, list[Node]] = field(default_factory=dict)
    attributes: dict[str, list[Node]] = field(default_factory=dict)
    imports: list[Node] = field(default_factory=list)
    definitions: list[Node] = field(default_factory=list)
    words: set[str] = field(default_factory=set)  # every name that the file binds or reads
    arguments: set[str] = field(default_factory=set)
    bound: dict[str, int] = field(default_factory=dict)  # by patterns and exception handlers


def link(tree: ast.Module) -> Facts:
    """Give every node its ``parent`` and collect the nodes that the migration looks at."""
    facts = Facts(tree)
    numbers, names, attributes, words = facts.numbers, facts.names, facts.attributes, facts.words
    stack: list[Any] = [tree]
    pop, push = stack.pop, stack.append
    leaves = (ast.Load, ast.Store, ast.Del)
    while stack:
        node = pop()
        for label, value in list(vars(node).items()):
            if label == "parent":
                continue
            kind = type(value)
            if kind is list:
                children = value
            elif isinstance(value, ast.AST):
                children = (value,)
            else:
                continue
            for child in children:
                kind = type(child)
                if kind is ast.Constant:
                    if type(child.value) in (int, float):
                        child.parent = node
                        numbers.append(child)
                    elif kind is ast.Constant:
                        child.parent = node
                    continue
                if kind in leaves or not isinstance(child, ast.AST):
                    continue
                child.parent = node
                push(child)
                if kind is ast.Name:
                    names.setdefault(child.id, []).append(child)
                elif kind is ast.Attribute:
                    attributes.setdefault(child.attr, []).append(child)
                elif kind in (ast.Import, ast.ImportFrom):
                    facts.imports.append(child)
                elif kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
                    facts.definitions.append(child)
                    words.add(child.name)
                elif kind is ast.arg:
                    facts.arguments.add(child.arg)
                elif kind in (ast.MatchAs, ast.MatchStar, ast.ExceptHandler) and child.name:
                    facts.bound[child.name] = facts.bound.get(child.name, 0) + 1
                elif kind is ast.MatchMapping and child.rest:
                    facts.bound[child.rest] = facts.bound.get(child.rest, 0) + 1
                elif kind in (ast.Global, ast.Nonlocal):
                    words.update(child.names)
    words.update(names, facts.arguments)
    for statement in facts.imports:
        words.update((a.asname or a.name).partition(".")[0] for a in statement.names)
    numbers.sort(key=lambda n: (n.lineno, n.col_offset))
    return facts


def has_docstring(body: list[Node]) -> bool:
    first = body[0].value if body and type(body[0]) is ast.Expr else None
    return type(first) is ast.Constant and type(first.value) is str


def leading_imports(tree: ast.Module) -> list[Node]:
    """Return the first run of imports, behind the docstring."""
    start = end = int(has_docstring(tree.body))
    while end < len(tree.body) and isinstance(tree.body[end], (ast.Import, ast.ImportFrom)):
        end += 1
    return tree.body[start:end]


def signed(number: Node) -> Node:
    """Return the node with its minus sign, if it has one. (A plus, and the minus of a whole zero, stay.)"""
    parent = number.parent
    minus = type(parent) is ast.UnaryOp and type(parent.op) is ast.USub
    return parent if minus and (number.value != 0 or type(number.value) is float) else number


def number_value(node: Node) -> int | float | None:
    """Return the number that a literal, with or without a sign, stands for."""
    if type(node) is ast.UnaryOp:
        inner = number_value(node.operand)
        return -inner if inner is not None and type(node.op) is ast.USub else None
    if type(node) is ast.Constant and type(node.value) in (int, float):
        value: Any = node.value
        return value  # type: ignore[no-any-return]
    return None


def statement_of(node: Node) -> Node:
    """Return the innermost statement around ``node`` (itself, when it is one)."""
    while not isinstance(node, ast.stmt):
        node = node.parent
    return node


def function_of(node: Node) -> Node | None:
    """Return the innermost function in whose *body* the node stands: defaults, decorators and annotations
    belong to what is outside."""
    child, parent = node, getattr(node, "parent", None)
    while parent is not None:
        if type(parent) is ast.Lambda:
            if child is parent.body:
                return parent
        elif type(parent) in FUNCTIONS and child in parent.body:
            return parent
        child, parent = parent, getattr(parent, "parent", None)
    return None


def class_of(node: Node) -> Node | None:
    """Return the class in whose body a statement stands directly."""
    parent = getattr(node, "parent", None)
    while parent is not None and not isinstance(parent, (*FUNCTIONS, ast.ClassDef)):
        parent = getattr(parent, "parent", None)
    return parent if type(parent) is ast.ClassDef else None


def scopes(node: Node) -> list[Node]:
    """Return the functions and classes around a node, outermost first."""
    found = []
    parent = getattr(node, "parent", None)
    while parent is not None:
        if type(parent) in (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef):
            found.append(parent)
        parent = getattr(parent, "parent", None)
    return found[::-1]


def when(node: Node) -> When:
    """Tell when the code at ``node`` runs."""
    found = When.RUN if function_of(node) is not None else When.IMPORT
    child, parent = node, getattr(node, "parent", None)
    while parent is not None:
        if type(parent) is ast.If and (guard := _guard(parent)) is not None and child in parent.body:
            return guard
        child, parent = parent, getattr(parent, "parent", None)
    return found


def _guard(statement: Node) -> When | None:
    """Return when the body of an ``if`` runs, if its condition says so; remembered at the node."""
    known = getattr(statement, "guard", 0)
    if known == 0:
        words = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(statement.test)}
        known = When.MAIN if "__name__" in words else When.NEVER if "TYPE_CHECKING" in words else None
        statement.guard = known
    return known  # type: ignore[return-value]


def bound_in(function: Node) -> set[str]:
    """Return the names that a function (or lambda) binds itself, so that they hide a module's."""
    arguments = function.args
    every = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    found = {argument.arg for argument in every if argument is not None}
    outside: set[str] = set()
    stack = [function.body] if type(function) is ast.Lambda else list(function.body)
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
            found.add(node.name)
            continue
        if kind is ast.Lambda:
            continue
        if kind is ast.Name and type(node.ctx) is not ast.Load:
            found.add(node.id)
        elif kind in (ast.Import, ast.ImportFrom):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif kind is ast.ExceptHandler and node.name:
            found.add(node.name)
        elif kind is ast.Global:
            outside.update(node.names)
        elif kind in (ast.MatchAs, ast.MatchStar) and node.name:
            found.add(node.name)
        elif kind is ast.MatchMapping and node.rest:
            found.add(node.rest)
        stack.extend(ast.iter_child_nodes(node))
    return found - outside


def bindings(facts: Facts, name: str) -> int:
    """Return in how many places a file binds a name at all, in whatever way and scope."""
    count = sum(type(node.ctx) is not ast.Load for node in facts.names.get(name, ()))
    count += sum(node.name == name for node in facts.definitions)
    for statement in facts.imports:
        count += sum((alias.asname or alias.name.partition(".")[0]) == name for alias in statement.names)
    return int(count) + facts.bound.get(name, 0)


class Resolver:
    """Tells whether a name, where it stands, is the module's own global; remembers what functions bind."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._bound: dict[int, set[str]] = {}
        self._alone: dict[str, bool] = {}
        self._told: dict[int, bool] = {}

    def once(self, function: Node, tell: Callable[[Node], bool]) -> bool:
        """Return what ``tell`` says of a function, asked once."""
        if id(function) not in self._told:
            self._told[id(function)] = tell(function)
        return self._told[id(function)]

    def is_global(self, name: Node) -> bool:
        alone = self._alone.get(name.id)
        if alone is None:
            alone = self._alone[name.id] = self._is_bound_once(name.id)
        return alone or self._stands_global(name)

    def _is_bound_once(self, name: str) -> bool:
        """Tell whether a name is bound in one place of the file only, a statement of the module itself."""
        facts = self._facts
        if name in facts.arguments or bindings(facts, name) != 1:
            return False
        stores = [node for node in facts.names.get(name, ()) if type(node.ctx) is not ast.Load]
        imports = [
            each
            for each in facts.imports
            if any((alias.asname or alias.name.partition(".")[0]) == name for alias in each.names)
        ]
        return any(type(node.parent) is ast.Module for node in imports) or any(
            type(getattr(node.parent, "parent", None)) is ast.Module for node in stores
        )

    def _stands_global(self, name: Node) -> bool:
        child, parent = name, name.parent
        first = True  # a class body sees its own names, functions inside it do not
        while parent is not None:
            kind = type(parent)
            if kind in FUNCTIONS and (
                child is parent.body or (kind is not ast.Lambda and child in parent.body)
            ):
                if name.id in self._of(parent):
                    return False
                first = False
            elif kind is ast.ClassDef and child in parent.body:
                if first and any(name.id == each for each in _class_names(parent)):
                    return False
                first = False
            elif any(_binds(each.target, name.id) for each in getattr(parent, "generators", ())):
                return False
            child, parent = parent, getattr(parent, "parent", None)
        return True

    def _of(self, function: Node) -> set[str]:
        found = self._bound.get(id(function))
        if found is None:
            found = self._bound[id(function)] = bound_in(function)
        return found


def _class_names(node: Node) -> set[str]:
    found: set[str] = set()
    for statement in node.body:
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        found.update(target.id for target in targets if type(target) is ast.Name)
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            found.add(statement.name)
    return found


def _binds(target: Node, name: str) -> bool:
    return any(type(node) is ast.Name and node.id == name for node in ast.walk(target))
