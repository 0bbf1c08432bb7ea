"""What a reader would call the value of an expression: the words that keys are made of."""

from __future__ import annotations

import ast

from paramstore.migrate._facts import Node, statement_of

PASS_THROUGH = {"abs", "float", "int", "round", "max", "min", "sum", "mean", "Decimal"}


def call_name(call: Node) -> str:
    """Return the last part of the name of what is called."""
    function = call.func
    if type(function) is ast.Attribute:
        return str(function.attr)
    return str(function.id) if type(function) is ast.Name else ""


def expression_name(node: Node) -> str | None:
    """Return what a reader would call the value of an expression, if it has a name at all."""
    kind = type(node)
    if kind is ast.Name:
        return str(node.id)
    if kind is ast.Attribute:
        return str(node.attr)
    if kind is ast.Subscript:
        key = node.slice
        if type(key) is ast.Constant and type(key.value) is str:
            return key.value
        return expression_name(node.value)
    if kind is ast.Call:
        return _call_value_name(node)
    if kind is ast.UnaryOp:
        return expression_name(node.operand)
    if kind is ast.BinOp:
        return expression_name(node.left) or expression_name(node.right)
    if kind is ast.IfExp:
        return expression_name(node.body)
    if kind is ast.BoolOp:
        return expression_name(node.values[0])
    return None


def _call_value_name(node: Node) -> str | None:
    called = call_name(node)
    if called in ("get", "pop", "setdefault") and node.args:
        key = node.args[0]
        if type(key) is ast.Constant and type(key.value) is str:
            return key.value
        return expression_name(node.func.value) if type(node.func) is ast.Attribute else None
    if called in PASS_THROUGH and node.args:
        return next((name for each in node.args if (name := expression_name(each))), called)
    if called == "len" and node.args:
        inner = expression_name(node.args[0])
        return f"{inner}_count" if inner else "count"
    return called or None


def target_words(node: Node) -> list[str]:
    """Return the name that the statement around an expression gives its value."""
    child = node
    while not isinstance(child, ast.stmt):
        parent = child.parent
        if type(parent) is ast.keyword and parent.arg:
            return [parent.arg]
        if type(parent) is ast.Dict and child in parent.values:
            key = parent.keys[parent.values.index(child)]
            if type(key) is ast.Constant and type(key.value) is str:
                return [key.value]
        child = parent
    if isinstance(child, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        target = child.targets[0] if type(child) is ast.Assign else child.target
        name = expression_name(target)
        return [name] if name else []
    return []


def test_words(test: Node) -> list[str]:
    """Return the names that a condition is about."""
    if type(test) is ast.Compare:
        name = expression_name(test.left) or expression_name(test.comparators[0])
        return [name] if name else []
    if type(test) is ast.BoolOp:
        return test_words(test.values[0])
    name = expression_name(test)
    return [name] if name else []


def condition_words(node: Node) -> list[str]:
    """Return what the ``if`` around a statement tests, with its label."""
    child = statement_of(node)
    parent = child.parent
    if type(parent) is not ast.If:
        return []
    if child in parent.body:
        return test_words(parent.test)
    return [*test_words(parent.test), "else"]


def label(test: Node) -> str | None:
    """Return the text that the branch behind a condition gives: ``if x > 0.5: return "STRONG"``."""
    statement = statement_of(test)
    if type(statement) is not ast.If or len(statement.body) > 3:
        return None
    for inner in statement.body:
        value = getattr(inner, "value", None)
        parts = value.elts if type(value) is ast.Tuple else [value]
        for part in parts:
            if (
                type(part) is ast.Constant
                and type(part.value) is str
                and part.value.replace("_", "").isalnum()
            ):
                return part.value if len(part.value) <= 24 else None
    return None
