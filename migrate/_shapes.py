"""What a number in source is: its shape, what it would be called, and whether it may move at all."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from paramstore.migrate._facts import (
    FUNCTIONS,
    Node,
    When,
    class_of,
    function_of,
    number_value,
    scopes,
    signed,
    when,
)
from paramstore.migrate._wording import (
    call_name,
    condition_words,
    expression_name,
    label,
    target_words,
    test_words,
)  # fmt: skip

CLAMPS = {"max": "floor", "min": "cap"}
FALLBACKS = {"get", "getattr", "pop", "setdefault", "getfloat", "getint", "getenv"}
OURS = {  # words that this module adds to a name; they say nothing about what the number is for
    "min", "max", "equals", "factor", "divisor", "dividend", "offset", "exponent", "operand", "increment", "decrement",
    "result", "floor", "cap", "default", "if_true", "if_false", "else",
}  # fmt: skip
SEQUENCES = (ast.List, ast.Tuple)
LOWER = {ast.Gt, ast.GtE}
UPPER = {ast.Lt, ast.LtE}


@dataclass
class Found:
    """One candidate. ``node`` is what would be replaced: a signed number, or a whole list or tuple when
    that moves as one value. ``words`` name it inside ``scope``; ``path`` is its place in ``group``, the
    dictionary at module or class level that it is a leaf of."""

    node: Node
    shape: str
    words: list[str]
    scope: list[Node]
    when: When
    group: Node | None = None
    path: tuple[str, ...] = ()
    never: str = ""  # why it must not move, if so
    partner: str = ""  # the other side of an operator, the function called: what the number is for
    numbers: list[Node] = field(default_factory=list)


def find(numbers: list[Node]) -> list[Found]:
    """Return one candidate for each number, or for each list or tuple that moves as one; in source order."""
    found: list[Found] = []
    units: dict[int, Found] = {}
    for number in numbers:
        node = signed(number)
        unit, group, path = _climb(node)
        known = units.get(id(unit))
        if known is not None:
            known.numbers.append(number)
            continue
        candidate = _describe(unit, group, path)
        candidate.numbers.append(number)
        if unit is not node:
            units[id(unit)] = candidate
        found.append(candidate)
    return found


def _climb(node: Node) -> tuple[Node, Node | None, tuple[str, ...]]:
    """Return what moves as one value, the outermost dictionary literal that it is a leaf of, and its path there.

    In a function each number moves by itself; outside, a list or tuple is one value.
    """
    unit, group = node, None
    path: tuple[str, ...] = ()
    top = node.parent
    if type(top) not in (*SEQUENCES, ast.Dict):
        return node, None, ()
    inside = function_of(node) is not None and class_of(node) is None
    here = node
    while True:
        if type(top) in SEQUENCES and not inside and group is None:
            unit = top
        elif type(top) is ast.Dict and here in top.values:
            key = top.keys[top.values.index(here)]
            name = key.value if type(key) is ast.Constant and type(key.value) is str else None
            path = (name if name is not None else "\0", *path)
            group = top
        elif type(top) not in SEQUENCES:
            break
        elif group is not None:  # a dictionary inside a list
            path = ("\0", *path)
            group = top
        here, top = top, top.parent
    return unit, group, path


def _describe(node: Node, group: Node | None, path: tuple[str, ...]) -> Found:
    moment = when(node)
    found = Found(node, "other", [], scopes(node), moment, group, path)
    outer = group if group is not None else node
    if "\0" in path:
        found.group, found.path = None, ()
    words = [part for part in path if part != "\0"]
    parent = outer.parent
    while type(parent) in SEQUENCES:
        outer, parent = parent, parent.parent
    found.never = _never(node)
    _by_parent(found, outer, parent, words)
    if type(node) in SEQUENCES and not _is_data(node):
        found.never = found.never or "stands in a list with code in it"
    if "\0" in path and found.shape in ("module dict", "class dict", "module table", "class table"):
        found.shape = "module expression"  # below a key that is no text: it cannot be told where it is read
    if type(outer) is ast.Dict and outer is found.group and found.shape not in ("module dict", "class dict"):
        found.group = None
    return found


def _by_parent(found: Found, outer: Node, parent: Node, words: list[str]) -> None:
    kind = type(parent)
    handler = _BY_KIND.get(kind)
    if handler is not None:
        handler(found, outer, parent)
    else:
        found.words = target_words(outer)
    found.words += words


def _assigned(found: Found, outer: Node, parent: Node) -> None:
    target = parent.targets[0] if type(parent) is ast.Assign else parent.target
    found.words = [name] if (name := expression_name(target)) else []
    level = "function" if function_of(parent) is not None else "module"
    if type(parent.parent) is ast.ClassDef:
        level = "class"
    kind = "dict" if type(outer) is ast.Dict else "table" if type(outer) in SEQUENCES else "scalar"
    if level == "function":
        attribute = type(target) is ast.Attribute
        found.shape = (
            "instance attribute" if attribute else "item" if type(target) is ast.Subscript else "local"
        )
        if kind == "dict":
            found.shape = "local dict"
    elif level == "class":
        found.shape = {"scalar": "class attribute", "dict": "class dict", "table": "class table"}[kind]
        if kind == "scalar" and is_dataclass(parent.parent):
            found.shape = "dataclass field"
    else:
        found.shape = f"module {kind}"
    if type(target) is not ast.Name and level != "function":
        found.shape = "module expression"
    if type(parent) is ast.Assign and len(parent.targets) > 1 and level != "function":
        found.shape = "module expression"


def _compared(found: Found, outer: Node, parent: Node) -> None:
    sides = [parent.left, *parent.comparators]
    index = sides.index(outer)
    before = index > 0
    operator = parent.ops[index - 1] if before else parent.ops[0]
    other = sides[index - 1] if before else sides[1]
    kind = type(operator)
    lower = kind in LOWER if before else kind in UPPER
    suffix = "min" if lower else "max" if kind in LOWER | UPPER else "equals"
    found.shape = "comparison"
    found.partner = expression_name(other) or ""
    found.words = [found.partner, suffix] if found.partner else [suffix]
    if outcome := label(parent):
        found.words.append(outcome)
    if suffix == "equals" or isinstance(operator, (ast.In, ast.NotIn, ast.Is, ast.IsNot)):
        found.never = found.never or "is compared for identity, not for size"


def _operated(found: Found, outer: Node, parent: Node) -> None:
    other = parent.right if outer is parent.left else parent.left
    target = target_words(parent)
    found.partner = expression_name(other) or ""
    kind = type(parent.op)
    found.shape = (
        "factor" if kind in (ast.Mult, ast.Div) else "term" if kind in (ast.Add, ast.Sub) else "operand"
    )
    suffix = {ast.Mult: "factor", ast.Div: "divisor" if outer is parent.right else "dividend", ast.Add: "offset",
              ast.Sub: "offset", ast.Pow: "exponent"}.get(kind, "operand")  # fmt: skip
    base = [found.partner] if found.partner else target
    found.words = [*base, suffix]
    if kind is ast.Mod or isinstance(
        parent.op, (ast.LShift, ast.RShift, ast.BitAnd, ast.BitOr, ast.BitXor, ast.FloorDiv)
    ):
        found.never = found.never or "belongs to integer arithmetic"


def _augmented(found: Found, outer: Node, parent: Node) -> None:
    found.shape = "augmented assignment"
    found.partner = expression_name(parent.target) or ""
    kind = type(parent.op)
    suffix = {ast.Mult: "factor", ast.Div: "divisor", ast.Add: "increment", ast.Sub: "decrement"}.get(
        kind, "operand"
    )
    found.words = [*([found.partner] if found.partner else []), suffix]


def _returned(found: Found, outer: Node, parent: Node) -> None:
    found.shape = "returned literal"
    function = function_of(parent)
    found.words = [*condition_words(parent), "result"]
    if type(outer) is ast.Dict:
        found.words = []
    found.partner = function.name if function is not None and type(function) is not ast.Lambda else ""


def _chosen(found: Found, outer: Node, parent: Node) -> None:
    found.shape = "if-expression"
    target = target_words(parent)
    found.words = [*target, *test_words(parent.test), "if_true" if outer is parent.body else "if_false"]
    found.partner = target[-1] if target else ""


def _either(found: Found, outer: Node, parent: Node) -> None:
    found.shape = "fallback"
    name = expression_name(parent.values[0])
    found.words = [*([name] if name else target_words(parent)), "default"]
    found.partner = name or ""


def _passed(found: Found, outer: Node, parent: Node) -> None:
    called = call_name(parent)
    found.partner = called
    if called in CLAMPS and len(parent.args) > 1:
        found.shape = "clamp"
        others = [expression_name(each) for each in parent.args if each is not outer]
        base = next((name for name in others if name), None)
        found.words = [*(target_words(parent) or ([base] if base else [])), CLAMPS[called]]
    elif called in FALLBACKS and len(parent.args) > 1 and outer is parent.args[-1]:
        found.shape = "fallback"
        key = parent.args[-2]
        name = key.value if type(key) is ast.Constant and type(key.value) is str else expression_name(key)
        found.words = [str(name)] if name else target_words(parent)
        found.words.append("default")
        found.partner = str(name or "")
    else:
        found.shape = "argument"
        found.words = (
            [*target_words(parent), called or "call", str(parent.args.index(outer) + 1)]
            if outer in parent.args
            else []
        )


def _keyword(found: Found, outer: Node, parent: Node) -> None:
    found.shape = "keyword argument"
    called = call_name(parent.parent) if type(parent.parent) is ast.Call else ""
    found.partner = called
    if called == "field" and parent.arg == "default" and type(parent.parent.parent) is ast.AnnAssign:
        found.shape = "dataclass field"
        found.words = [expression_name(parent.parent.parent.target) or ""]
    elif called == "get" and parent.arg == "default":
        found.shape = "fallback"
        found.words = [*target_words(parent.parent), "default"]
    else:
        found.words = [*([called] if called else []), parent.arg or "argument"]


def _defaulted(found: Found, outer: Node, parent: Node) -> None:
    positional = [*parent.posonlyargs, *parent.args]
    if outer in parent.defaults:
        argument = positional[len(positional) - len(parent.defaults) + parent.defaults.index(outer)]
    else:
        argument = parent.kwonlyargs[parent.kw_defaults.index(outer)]
    function = parent.parent
    found.shape = "lambda default" if type(function) is ast.Lambda else "default argument"
    found.words = [argument.arg]


def _of_lambda(found: Found, outer: Node, parent: Node) -> None:
    found.shape = "returned literal"
    holder = parent.parent
    if type(holder) is ast.keyword and holder.arg == "default_factory" and type(holder.parent) is ast.Call:
        found.shape = "default_factory"
        found.words = target_words(holder.parent)
    else:
        found.words = target_words(parent)


def _expression(found: Found, outer: Node, parent: Node) -> None:
    found.words = []
    found.never = found.never or "is a statement without effect"


_BY_KIND = {
    ast.Assign: _assigned, ast.AnnAssign: _assigned, ast.Compare: _compared, ast.BinOp: _operated,
    ast.AugAssign: _augmented, ast.Return: _returned, ast.IfExp: _chosen, ast.BoolOp: _either, ast.Call: _passed,
    ast.keyword: _keyword, ast.arguments: _defaulted, ast.Lambda: _of_lambda, ast.Expr: _expression,
}  # fmt: skip


def _never(node: Node) -> str:
    """Return why a number at this place must not move, whatever it means."""
    child, parent = node, node.parent
    while not isinstance(child, ast.stmt):
        kind = type(parent)
        if kind in (ast.JoinedStr, ast.FormattedValue):
            return "stands in an f-string"
        if kind is ast.Subscript and child is parent.slice:
            return "is an index"
        if kind is ast.Slice:
            return "is a slice bound"
        if kind in (ast.AnnAssign, ast.arg) and child is parent.annotation:
            return "stands in an annotation"
        if kind is ast.Dict and child in parent.keys:
            return "is a dictionary key"
        if kind is ast.Set:
            return "is a member of a set"
        if isinstance(parent, ast.pattern) or (kind is ast.match_case and child is not parent.guard):
            return "is a pattern"
        if isinstance(parent, (*FUNCTIONS, ast.ClassDef)) and child in getattr(parent, "decorator_list", ()):
            return "stands in a decorator"
        child, parent = parent, parent.parent
    return ""


def _is_data(node: Node) -> bool:
    if type(node) in SEQUENCES:
        return all(_is_data(each) for each in node.elts)
    if number_value(node) is not None:
        return True
    return type(node) is ast.Constant and (node.value is None or type(node.value) in (str, bool))


def is_data(node: Node) -> bool:
    """Tell whether a literal is plain data: numbers, text, truth values, in lists, tuples and dictionaries
    with text keys that can be names in a key."""
    if type(node) is ast.Dict:
        keys = all(type(key) is ast.Constant and type(key.value) is str for key in node.keys)
        return keys and all(is_data(value) for value in node.values)
    return _is_data(node)


def is_dataclass(node: Node) -> bool:
    return type(node) is ast.ClassDef and any(
        (expression_name(each.func if type(each) is ast.Call else each) or "") == "dataclass"
        for each in node.decorator_list
    )
