"""Where the edits of a rewriting stand now: at their places, or found again after the file was edited or formatted."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from paramstore.migrate._facts import FUNCTIONS, Node, has_docstring, link, scopes
from paramstore.migrate._rewrite import Edit
from paramstore.migrate._source import LINE, Source

METHODS = ("get", "section", "live")


def located(source: Source, layer: Mapping[str, Any]) -> list[Edit] | None:
    """Return a layer's edits as they stand in a file: at their places if it is unchanged since, else found in
    its syntax tree; ``None`` if some are gone or others came to be."""
    edits = [Edit(*each) for each in layer["edits"]]
    if source.sha256 == layer["after"]:
        return edits
    try:
        return _Finder(source, layer["alias"]).found(edits)
    except _GoneError:
        return None


def scoped(edits: Iterable[Edit], new: Source, alias: str, starts: Iterable[int]) -> list[list[Any]]:
    """Return edits as a record holds them: each with the function or class that it stands in."""
    scope = {start: name for _, reads in _Finder(new, alias).reads.items() for start, _, name in reads}
    return [
        [e.start, e.end, e.new, e.kind, e.key, e.old, scope.get(start + len(e.new) - len(e.new.lstrip()), "")]
        for e, start in zip(edits, starts, strict=True)
    ]


class _GoneError(Exception):
    """An edit is not there as it was put."""


class _Finder:
    """The reads, and what goes with them, in a source that reads the store as ``alias``."""

    def __init__(self, source: Source, alias: str) -> None:
        self.source, self.alias = source, alias
        self.facts = link(source.tree)
        self.bodies: dict[str, list[tuple[Node, str]]] = {}  # by key: the line, and the argument it fills
        self._ours = 0  # reads found that were put there
        self.requires: list[tuple[set[str], Node]] = []
        self.reads: dict[tuple[str, str], list[tuple[int, int, str]]] = {}  # by method and key
        calls = [call for name in self.facts.names.get(alias, ()) if (call := _call_of(name)) is not None]
        for call in sorted(calls, key=source.span):
            self._sort(call)

    def _sort(self, call: Node) -> None:
        method, keys = call.func.attr, [argument.value for argument in call.args]
        if method == "require" and type(call.parent) is ast.Expr:
            self.requires.append((set(keys), call.parent))
        elif method in METHODS and len(keys) == 1:
            if (name := _filled(call)) is not None:
                self.bodies.setdefault(keys[0], []).append((call.parent.parent, name))
                return
            start, end = self.source.span(call)
            if not self.source.text.startswith(self.alias, start):  # in an f-string, before 3.12
                raise _GoneError
            scope = ".".join(each.name for each in scopes(call))
            self.reads.setdefault((method, keys[0]), []).append((start, end, scope))

    def found(self, edits: list[Edit]) -> list[Edit]:
        result = [*self._reads(edits), *self._defaults(edits)]
        for edit in edits:
            if edit.kind == "import":
                result += self._imports(edit)
        return _shifted(sorted(result))

    def _reads(self, edits: list[Edit]) -> Iterator[Edit]:
        wanted: dict[tuple[str, str], list[Edit]] = {}
        for edit in edits:
            if edit.kind in ("value", "section", "read"):
                method = edit.new.strip().removeprefix(f"{self.alias}.").partition("(")[0]
                wanted.setdefault((method, edit.key), []).append(edit)
        for key, mine in wanted.items():
            for edit, (start, end, _) in _paired(mine, self.reads.get(key, [])):
                self._ours += 1
                yield self._edit(start, end, edit.kind, edit.key, edit.old)

    def _defaults(self, edits: list[Edit]) -> Iterator[Edit]:
        wanted: dict[str, list[Edit]] = {}
        for edit in edits:
            if edit.kind == "default":
                wanted.setdefault(edit.key, []).append(edit)
        for key, mine in wanted.items():
            lines = self.bodies.get(key, [])
            if len(mine) != len(lines):
                raise _GoneError
            for edit, (line, name) in zip(mine, lines, strict=True):
                self._ours += 1
                yield self._line(line, "body", key)
                yield self._edit(*self.source.span(_default(line, name)), "default", key, edit.old)

    def _imports(self, edit: Edit) -> Iterator[Edit]:
        keys = set(edit.key.split())
        same = [statement for known, statement in self.requires if known == keys]
        if len(same) != 1:
            raise _GoneError
        yield self._line(same[0], "import", edit.key)
        if "import " not in edit.new or len(self.facts.names[self.alias]) > self._ours + 1:
            return  # not ours, or used by what was written since
        for statement in self.facts.imports:
            names = [(each.name, each.asname) for each in statement.names]
            own = ("params", None if self.alias == "params" else self.alias)
            if getattr(statement, "module", "") == "paramstore" and own in names:
                if len(names) == 1:
                    yield self._line(statement, "import", edit.key)
                    return
                left = ", ".join(f"{n} as {a}" if a else n for n, a in names if (n, a) != own)
                start, end = self.source.span(statement)
                yield self._edit(start, end, "import", edit.key, f"from paramstore import {left}")
                return
        raise _GoneError

    def _line(self, statement: Node, kind: str, key: str) -> Edit:
        """Return the edit that put a statement there as lines of its own."""
        text = self.source.text
        first, (start, end) = self.source.offset(statement.lineno, 0), self.source.span(statement)
        match = LINE.search(text, end)
        last = match.end() if match else len(text)
        if text[first:start].strip() or text[end:last].strip():
            raise _GoneError
        return self._edit(first, last, kind, key, "")

    def _edit(self, start: int, end: int, kind: str, key: str, old: str) -> Edit:
        """Return an edit that says where its new text stands; ``_shifted`` turns that into where the old stood."""
        return Edit(start, end, self.source.text[start:end], kind, key, old)


def _shifted(edits: list[Edit]) -> list[Edit]:
    found, shift = [], 0
    for edit in edits:
        start = edit.start - shift
        found.append(Edit(start, start + len(edit.old), edit.new, edit.kind, edit.key, edit.old))
        shift += len(edit.new) - len(edit.old)
    return found


def _call_of(name: Node) -> Node | None:
    """Return the call ``alias.method("text", …)`` that a name begins."""
    call = getattr(name.parent, "parent", None)
    if type(name.parent) is not ast.Attribute or type(call) is not ast.Call or call.func is not name.parent:
        return None
    plain = all(type(each) is ast.Constant and type(each.value) is str for each in call.args)
    return call if plain and call.args and not call.keywords else None


def _filled(call: Node) -> str | None:
    """Return the argument that ``name = alias.get(…) if name is ... else name`` fills, if that is the statement."""
    choice = call.parent
    if type(choice) is not ast.IfExp or choice.body is not call:
        return None
    line: Node = getattr(choice, "parent", None)
    if type(line) is not ast.Assign:
        return None
    target, test = line.targets[0], choice.test
    if type(target) is not ast.Name or type(test) is not ast.Compare or type(test.ops[0]) is not ast.Is:
        return None
    missing = test.comparators[0]
    if (
        type(missing) is not ast.Constant
        or missing.value is not ...
        or ast.dump(test.left) != ast.dump(choice.orelse)
    ):
        return None
    return str(target.id)


def _default(line: Node, name: str) -> Node:
    """Return the ``...`` that stands as the default of an argument of the function around a line."""
    function = line.parent
    if type(function) in FUNCTIONS and _is_first(line, function.body):
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        pairs = [
            *zip(reversed(positional), reversed(arguments.defaults), strict=False),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        for argument, default in pairs:
            if argument.arg == name and type(default) is ast.Constant and default.value is ...:
                return default
    raise _GoneError


def _is_first(line: Node, body: list[Node]) -> bool:
    """Tell whether only a docstring and other such lines stand before a line."""
    before = body[int(has_docstring(body)) : body.index(line)]
    fills = [type(each) is ast.Assign and type(each.value) is ast.IfExp for each in before]
    return all(fills)


def _paired(
    edits: list[Edit], places: list[tuple[int, int, str]]
) -> Iterator[tuple[Edit, tuple[int, int, str]]]:
    """Pair the reads of one key with where they stand now: by their function, and in it by their order. Where a
    function has another name now, any will do if all were put in place of the same text."""
    if len(edits) != len(places):
        raise _GoneError
    if sorted(edit.scope for edit in edits) != sorted(scope for _, _, scope in places):
        if len({(edit.kind, edit.old) for edit in edits}) > 1:
            raise _GoneError
        yield from zip(edits, places, strict=True)
        return
    yield from zip(
        sorted(edits, key=lambda edit: edit.scope), sorted(places, key=lambda place: place[2]), strict=True
    )
