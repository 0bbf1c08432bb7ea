"""Two inverses that prove a rewriting: literals put back give the old bytes, the store's values the old tree."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paramstore.migrate._rewrite import Edit, Rewritten, new_spans
from paramstore.migrate._source import Source, Unreadable, compiled, read


@dataclass
class Findings:
    """``problems``: what does not hold of a file; ``changed``: by key, a value in the store that is no longer
    that of the literal."""

    problems: list[str] = field(default_factory=list)
    changed: dict[str, str] = field(default_factory=dict)


def inverses(source: Source, rewritten: Rewritten, values: Mapping[str, Any]) -> list[str]:
    """Return what does not hold of both inverses; nothing if the rewriting is proved."""
    problems = []
    back = byte_inverse(rewritten.text, rewritten.edits)
    if back != source.text:
        problems.append("putting the literals back does not give the old bytes")
    try:
        tree = read(source.path, source.encode(rewritten.text)).tree
        compiled(rewritten.text, source.path)
    except Unreadable as why:
        return [*problems, f"the new text {why}"]
    found = tree_inverse(source, tree, rewritten.text, rewritten.edits, rewritten.alias, values)
    return [*problems, *found.problems, *found.changed.values()]


def byte_inverse(text: str, edits: list[Edit]) -> str:
    """Return the new text with each edit's old text put back."""
    parts, done = [], 0
    for edit, (start, end) in zip(edits, new_spans(edits), strict=True):
        parts += [text[done:start], edit.old]
        done = end
    return "".join([*parts, text[done:]])


def tree_inverse(
    old: Source, tree: ast.Module, text: str, edits: list[Edit], alias: str, values: Mapping[str, Any]
) -> Findings:
    """Return where the new tree, each read replaced by the store's value, differs from the old one."""
    spans = {span: edit for edit, span in zip(edits, new_spans(edits), strict=True)}
    new = Source("", b"", text, "utf-8", False, tree)
    restored = _Restorer(new, spans, alias, values)
    body = restored.visit(tree)
    if not restored.problems and ast.dump(body) != ast.dump(old.tree):
        restored.problems.append(_difference(old.tree, body))
    return Findings(restored.problems, restored.changed)


class _Restorer(ast.NodeTransformer):
    """Replaces reads by values. It knows each read by its place; what stands there must be what was put."""

    def __init__(
        self, source: Source, spans: Mapping[tuple[int, int], Edit], alias: str, values: Mapping[str, Any]
    ) -> None:
        self._source, self._alias, self._values = source, alias, values
        self._by_end = {end: (start, edit) for (start, end), edit in spans.items()}
        self._inserted = [(span, edit) for span, edit in spans.items() if edit.kind in ("import", "body")]
        self._defaults = {end: edit for (_, end), edit in spans.items() if edit.kind == "default"}
        self._left = {
            end for (_, end), edit in spans.items() if edit.kind in ("value", "section", "read", "default")
        }
        self.problems: list[str] = []
        self.changed: dict[str, str] = {}  # by key: a value that is no longer that of the literal

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Module):
            found = super().visit(node)
            if self._left:
                self.problems.append(f"{len(self._left)} of the reads are not where they were put")
            return found
        if isinstance(node, ast.stmt) and (edit := self._inserted_by(node)) is not None:
            return ast.parse(edit.old).body
        if isinstance(node, ast.Call) and (value := self._read(node)) is not None:
            return value
        if isinstance(node, ast.Constant) and node.value is ...:
            end = self._source.span(node)[1]
            if end in self._defaults:
                self._left.discard(end)
                return self._value(self._defaults[end].key, self._defaults[end].old)
        return super().visit(node)

    def _inserted_by(self, node: ast.stmt) -> Edit | None:
        start, end = self._source.span(node)
        return next((edit for (a, b), edit in self._inserted if a <= start and end <= b), None)

    def _read(self, node: ast.Call) -> ast.expr | None:
        function = node.func
        if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
            return None
        if (
            function.value.id != self._alias
            or function.attr not in ("get", "section", "live")
            or len(node.args) != 1
        ):
            return None
        end = self._source.span(node)[1]
        place = self._by_end.get(end)
        if place is None or end not in self._left:
            return None
        edit, argument = place[1], node.args[0]
        if not (isinstance(argument, ast.Constant) and argument.value == edit.key):
            self.problems.append(f"`{edit.key}` is read under another name")
            return None
        self._left.discard(end)
        if edit.kind == "read":
            return ast.parse(edit.old, mode="eval").body
        return self._section(edit) if edit.kind == "section" else self._value(edit.key, edit.old)

    def _value(self, key: str, old: str) -> ast.expr:
        """Return the store's value as the parser would read it; one that is not the literal's is a problem."""
        if key not in self._values:
            self.problems.append(f"`{key}` is not in the store")
            return ast.Constant(None)
        value, literal = self._values[key], ast.literal_eval(old)
        if repr(value) != repr(literal):
            self.changed[key] = f"`{key}` is {value!r} in the store and was {old} in the source"
            return node_of(literal)
        return node_of(value)

    def _section(self, edit: Edit) -> ast.expr:
        """Return the dictionary that the store's values below a prefix make, in the order of the old one."""
        return self._filled(ast.parse(edit.old, mode="eval").body, edit.key)

    def _filled(self, node: ast.expr, prefix: str) -> ast.expr:
        if not isinstance(node, ast.Dict):
            return self._value(prefix, ast.unparse(node))
        names = [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]
        below = f"{prefix}."
        stored = [key[len(below) :].partition(".")[0] for key in self._values if key.startswith(below)]
        if (stored := list(dict.fromkeys(stored))) != names:
            self.problems.append(
                f"`{prefix}` holds {', '.join(stored)} in the store, and the dictionary {', '.join(names)}"
            )
            return node
        inner = [
            self._filled(value, f"{prefix}.{name}") for name, value in zip(names, node.values, strict=True)
        ]
        return ast.Dict(node.keys, inner)


def node_of(value: Any) -> ast.expr:
    """Return the syntax tree of a plain value, as the parser would make it."""
    if isinstance(value, tuple):
        return ast.Tuple([node_of(item) for item in value], ast.Load())
    if isinstance(value, list):
        return ast.List([node_of(item) for item in value], ast.Load())
    if type(value) in (int, float) and (value < 0 or str(value) == "-0.0"):
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def _difference(old: ast.AST, new: ast.AST) -> str:
    """Return a sentence about the first place in which two trees differ."""
    if type(old) is not type(new):
        return f"line {getattr(old, 'lineno', '?')}: {type(old).__name__} became {type(new).__name__}"
    for name in old._fields:
        a, b = getattr(old, name, None), getattr(new, name, None)
        if isinstance(a, ast.AST) and isinstance(b, ast.AST):
            if ast.dump(a) != ast.dump(b):
                return _difference(a, b)
        elif isinstance(a, list) and isinstance(b, list):
            for x, y in zip(a, b, strict=False):
                if isinstance(x, ast.AST) and isinstance(y, ast.AST) and ast.dump(x) != ast.dump(y):
                    return _difference(x, y)
            if len(a) != len(b):
                return f"line {getattr(old, 'lineno', '?')}: {len(a)} became {len(b)} in `{name}`"
        elif a != b or type(a) is not type(b):
            return f"line {getattr(old, 'lineno', '?')}: {a!r} became {b!r}"
    return "they differ"
