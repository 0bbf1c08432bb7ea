"""Read a values file strictly, and change one scalar of it without touching another byte.

The doorkeeper of ruamel.yaml. It knows nothing of schemas, and its only error is ``DocumentError``.

The language is YAML 1.2's core schema, minus everything on which parsers disagree or that can
carry more than plain data: anchors, tags, merge keys, directives, ``1_000``, ``012``. So ``yes``,
``on``, ``12:30:00`` and ``2020-01-01`` are strings, ``0x1f`` and ``0o17`` are integers.

The text is kept in pieces, every other one a scalar: text, scalar, text, scalar, text. An edit of
one number replaces one piece, so positions never shift and a chain of edits never parses again.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn

from paramstore._yaml_edit import (
    MISSING,
    CannotEdit,
    Path,
    appended,
    apply,
    changes,
    differences,
    dotted,
    lookup,
    number_text,
    plain,
    regenerated,
    removals,
    removed,
    updated,
    without,
)
from paramstore.errors import DocumentError

__all__ = ["Path", "YamlText", "parse"]

MAX_BYTES = 4 * 1024 * 1024
MAX_LINE = 128 * 1024  # the parser takes a second for one scalar of the most bytes
MAX_DEPTH = 32
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
MAX_DIGITS = 500  # below the lowest limit that Python lets anyone set for int() and str()

WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
FLOAT = re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
NUMBER_TO_SOME = re.compile(
    r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-f_]+|\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:e[-+]?[0-9]+)?", re.I
)
WRITTEN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:e[-+][0-9]+)?)?")  # alike in every parser
SURROGATE = re.compile("[\ud800-\udfff]")
KEY_END = re.compile(r"[ \t]*:")

GUARDS = (
    (re.compile("\0"), "NUL bytes: an unfinished write or a damaged disk. Restore the file from git"),
    (
        re.compile("[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"),
        "a control character, U+{code:04X}. Delete it, or write it as an escape inside double quotes",
    ),
    (re.compile(r"\r(?!\n)"), "a carriage return without a line feed. Save with LF or CRLF line ends"),
    (
        re.compile(r"^(?:<<<<<<< |\|\|\|\|\|\|\| |=======\r?$|>>>>>>> )", re.M),
        "a merge-conflict marker. Resolve the conflict and save again",
    ),
    (re.compile(r"^%", re.M), "a directive. Delete the line: the file is read as YAML 1.2"),
    (re.compile(r"^ *\t", re.M), "a tab in the indentation. Indent with spaces"),
)
OTHER_ENCODINGS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


@dataclass(slots=True)
class Node:
    """One value and where its text is, in characters.

    ``head`` is where its mapping key starts and ``colon`` where the text after the key's colon
    does; both are ``start`` for an item of a sequence. ``end`` of a block collection is the end of
    its last scalar, not where the parser noticed that the block was over.
    """

    start: int
    end: int
    value: Any
    flow: bool = False
    children: dict[Any, Node] = field(default_factory=dict)
    head: int = -1
    colon: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class YamlText:
    """The bytes of one values file, its plain data, and where each scalar stands.

    Versions of a file share data, so nobody may write to ``data``.
    """

    raw: bytes
    file: str
    data: dict[str, Any]
    _pieces: Sequence[str] = field(repr=False)
    _at: Mapping[Path, int] = field(repr=False)  # scalar's path -> its index in the pieces
    _root: Node | None = field(repr=False)  # gone after a quick edit: its positions are of older text

    def edited(
        self,
        sets: Mapping[Path, Any],
        appends: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]] = (),
        removes: Sequence[Path] = (),
    ) -> YamlText:
        """Return a new text in which exactly these values differ, with that proved.

        ``sets`` gives values by path from the document's root. A path that does not exist is
        refused, except a new key in an existing entry of ``overrides``. ``appends`` adds entries,
        each the context and the nested values. ``removes`` takes values out of entries, or whole
        entries by the index they had before; what becomes empty goes too. A value equal to the old
        one leaves its text alone. Raises ``DocumentError`` when this cannot be done without
        touching other values, and ``TypeError`` for a value that is not plain data.
        """
        try:
            edits = differences(self.data, sets)
            if not (edits or appends or removes):
                return self
            quick = None if appends or removes else self._with_numbers(edits)
            return quick or self._rewritten(edits, appends, removes)
        except CannotEdit as error:
            raise DocumentError(self.file, f"{error}. Nothing was edited; edit the file by hand") from None

    def completed(self, missing: Mapping[Path, Any]) -> YamlText:
        """Return a new text that has these values as well, each at the end of its group, with that proved.

        Unlike ``edited``, this adds keys anywhere. Raises ``DocumentError`` when it cannot be done.
        """
        try:
            for path in missing:
                parents = (lookup(self.data, path[:depth]) for depth in range(1, len(path)))
                if any(parent is not MISSING and type(parent) is not dict for parent in parents):
                    raise CannotEdit(f"`{dotted(path)}` has no mapping to stand in")
            return self._rewritten([(path, plain(value)) for path, value in missing.items()], (), ())
        except CannotEdit as error:
            raise DocumentError(self.file, f"{error}. Nothing was edited; edit the file by hand") from None

    def without(self, removes: Sequence[Path]) -> YamlText:
        """Return a new text that lacks these values below ``values``, with that proved.

        Raises ``DocumentError`` when it cannot be done.
        """
        text = self.raw.decode("utf-8-sig")
        cuts = removals(text, self._tree(text), removes)
        new = self._proved(lambda: apply(text, cuts), without(self.data, removes))
        if new is None:
            raise DocumentError(
                self.file, f"`{dotted(removes[0])}` cannot be taken out. Edit the file by hand"
            )
        return new

    def line(self, path: Path) -> int | None:
        """Return the 1-based line on which the value at ``path`` has its key, if it is there."""
        text = self.raw.decode("utf-8-sig")
        node = self._tree(text)
        for step in path:
            if step not in node.children:
                return None
            node = node.children[step]
        return line_of(text, node.head if node.head >= 0 else node.start)

    def spans(self) -> dict[Path, tuple[int, int]]:
        """Return by path the first and last line (1-based) of every value, its key included."""
        text = self.raw.decode("utf-8-sig")
        starts = [0, *(found.end() for found in re.finditer("\n", text))]

        def walk(node: Node, path: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
            for step, child in node.children.items():
                head = child.head if child.head >= 0 else child.start
                last = max(head, child.end - 1)
                yield (*path, step), (bisect_right(starts, head), bisect_right(starts, last))
                yield from walk(child, (*path, step))

        return dict(walk(self._tree(text), ()))

    def _with_numbers(self, edits: Sequence[tuple[Path, Any]]) -> YamlText | None:
        """Replace plain numbers by plain numbers, or return ``None`` if these edits are not that.

        This needs no second parse: a plain number token, wherever it stands, can be exchanged for
        another one without a change in how its neighbours are read, and both tokens are resolved
        here. Every other byte is the same object.
        """
        pieces = list(self._pieces)
        for path, value in edits:
            index = self._at.get(path)
            if index is None or type(value) not in (int, float):
                return None
            token = number_text(value)
            if not WRITTEN_NUMBER.fullmatch(token) or not identical(resolved(token), value):
                return None
            old = lookup(self.data, path)
            if type(old) not in (int, float) or not identical(number(pieces[index]), old):
                return None
            pieces[index] = token
        raw = "".join(pieces).encode()
        if len(raw) > MAX_BYTES:
            return None
        return YamlText(raw, self.file, updated(self.data, edits), pieces, self._at, None)

    def _rewritten(
        self,
        edits: Sequence[tuple[Path, Any]],
        appends: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
        removes: Sequence[Path],
    ) -> YamlText:
        text = self.raw.decode("utf-8-sig")
        expected = removed(appended(updated(self.data, edits), appends), removes)

        def minimal() -> str:
            new = apply(text, changes(text, self._tree(text), edits, appends))
            return apply(new, removals(new, compose(new, self.file), removes)) if removes else new

        def overrides_anew() -> str:
            elsewhere = [edit for edit in edits if edit[0][0] != "overrides"]
            return apply(text, regenerated(text, self._tree(text), elsewhere, expected))

        attempts = (minimal, overrides_anew) if appends or removes else (minimal,)
        for attempt in attempts:
            new = self._proved(attempt, expected)
            if new is not None:
                return new
        first = next(iter([*dict(edits), *removes]), ("overrides",))
        raise CannotEdit(f"`{dotted(first)}` cannot be edited without touching other values")

    def _tree(self, text: str) -> Node:
        return self._root or compose(text, self.file)

    def _proved(self, attempt: Callable[[], str], expected: dict[str, Any]) -> YamlText | None:
        """Return what ``attempt`` wrote if it parses to the expected data, types included."""
        bom = "\ufeff" if self.raw.startswith(b"\xef\xbb\xbf") else ""
        try:
            new = parse((bom + attempt()).encode(), self.file)
        except (CannotEdit, DocumentError, UnicodeEncodeError):
            return None
        return new if identical(new.data, expected) else None


def identical(a: Any, b: Any) -> bool:
    """Tell whether plain data is the same to the bit: 1, 1.0 and True differ, and 0.0 and -0.0 do.

    ``repr`` writes the type and every bit of a float, and runs in C.
    """
    return repr(a) == repr(b)


def parse(raw: bytes, file: str) -> YamlText:
    """Parse a values file of up to 4 MiB. Everything that is wrong raises ``DocumentError``."""
    text = guarded(raw, file)
    root = compose(text, file)
    pieces: list[str] = []
    at: dict[Path, int] = {}
    done = 0
    for path, node in scalars(root, ()):
        pieces += (text[done : node.start], text[node.start : node.end])
        at[path] = len(pieces) - 1
        done = node.end
    pieces.append(text[done:])
    if raw.startswith(b"\xef\xbb\xbf"):
        pieces[0] = "\ufeff" + pieces[0]
    return YamlText(raw, file, root.value, pieces, at, root)


def scalars(node: Node, path: Path) -> Iterator[tuple[Path, Node]]:
    """Yield every scalar below ``node`` with its path, in the order of the text."""
    for key, child in node.children.items():
        if child.children:
            yield from scalars(child, (*path, key))
        elif not isinstance(child.value, dict | list):
            yield (*path, key), child


def guarded(raw: bytes, file: str) -> str:
    """Decode, and refuse what the parser would choke on, be slow on, or quietly accept."""
    if len(raw) > MAX_BYTES:
        raise DocumentError(file, f"{len(raw)} bytes, more than {MAX_BYTES}. Split it into namespaces")
    longest = max(map(len, raw.split(b"\n"))) if len(raw) > MAX_LINE else 0
    if longest > MAX_LINE:
        raise DocumentError(file, f"a line of {longest} bytes, more than {MAX_LINE}. Break it up")
    for mark, name in OTHER_ENCODINGS:
        if raw.startswith(mark):
            raise DocumentError(file, f"encoded as {name}. Save the file as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentError(file, "not UTF-8. Save the file as UTF-8", line=line) from None
    for pattern, problem in GUARDS:
        if found := pattern.search(text):
            line = line_of(text, found.start())
            raise DocumentError(file, problem.format(code=ord(found[0][0])), line=line)
    return text


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def compose(text: str, file: str) -> Node:
    """Return the tree of values and positions; anything the parser raises becomes a ``DocumentError``."""
    try:
        return _Composer(text, file).document()
    except DocumentError:
        raise
    except Exception as error:  # noqa: BLE001 - the parser raises ValueError, AttributeError and more
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or f"the parser failed ({type(error).__name__})"
        line = line_of(text, mark.index) if mark else None
        raise DocumentError(file, f"not valid YAML: {problem}. Correct it by hand", line=line) from None


@cache
def _shallow_scanner() -> Any:
    from ruamel.yaml.scanner import Scanner, ScannerError

    class ShallowScanner(Scanner):
        # Or it reads a thousand brackets ahead before the first event: 0.6 s instead of 4 ms.
        def fetch_flow_collection_start(self, *args: Any, **named: Any) -> None:
            if self.flow_level >= MAX_DEPTH:
                raise ScannerError(None, None, TOO_DEEP, self.reader.get_mark())
            super().fetch_flow_collection_start(*args, **named)

    return ShallowScanner


class _Composer:
    """Builds nodes straight from parser events: ruamel's own nodes and resolver are not needed."""

    def __init__(self, text: str, file: str) -> None:
        from ruamel.yaml import YAML

        self.text = text
        self.file = file
        yaml = YAML(typ="safe", pure=True)  # one for each parse: it is not safe to share between threads
        yaml.Scanner = _shallow_scanner()
        self.events: Iterator[Any] = yaml.parse(text)

    def refuse(self, problem: str, offset: int) -> NoReturn:
        raise DocumentError(self.file, problem, line=line_of(self.text, offset))

    def next(self) -> tuple[str, Any]:
        event = next(self.events)
        return type(event).__name__, event

    def document(self) -> Node:
        self.next()  # the stream's start
        kind, event = self.next()
        root = self.node(*self.next(), 0) if kind != "StreamEndEvent" else Node(0, 0, None)
        if root.value is None:
            raise DocumentError(self.file, "empty. Restore it from git, or write `values:` and the values")
        if not isinstance(root.value, dict):
            self.refuse("the top level is not a mapping. Write `values:` and the values below it", root.start)
        _, event = self.next()
        if event.explicit:
            self.refuse("`...` ends the document. Delete the line", event.start_mark.index)
        kind, event = self.next()
        if kind != "StreamEndEvent":
            self.refuse("a second document starts here. One file holds one document", event.start_mark.index)
        return root

    def node(self, kind: str, event: Any, depth: int) -> Node:
        start = event.start_mark.index
        if kind == "AliasEvent" or event.anchor is not None:
            self.refuse("anchors and aliases (`&x`, `*x`) are not allowed. Write the value out", start)
        if event.tag is not None:
            self.refuse("tags (`!x`) are not allowed. Delete the tag", start)
        if kind == "ScalarEvent":
            return self.scalar(event)
        if depth >= MAX_DEPTH:
            self.refuse(TOO_DEEP, start)
        node = Node(start, start, None, bool(event.flow_style))
        end = self.mapping(node, depth) if kind == "MappingStartEvent" else self.sequence(node, depth)
        node.end = end if node.flow else max((child.end for child in node.children.values()), default=start)
        return node

    def scalar(self, event: Any) -> Node:
        start, end, value = event.start_mark.index, event.end_mark.index, event.value
        style = event.style
        if not style:
            try:
                value = resolved(value)
            except ValueError as error:
                self.refuse(str(error), start)
        elif style in "|>":  # the parser's end is after the blank lines and comments that follow
            end = start + len(self.text[start:end].rstrip(" \r\n"))
        elif style == '"' and SURROGATE.search(value):
            self.refuse("half a character (\\ud800 to \\udfff). Write the character itself", start)
        return Node(start, end, value)

    def sequence(self, node: Node, depth: int) -> int:
        value: list[Any] = []
        node.value = value
        while (following := self.next())[0] != "SequenceEndEvent":
            child = self.node(*following, depth + 1)
            child.head = child.colon = child.start
            node.children[len(value)] = child
            value.append(child.value)
        return int(following[1].end_mark.index)

    def mapping(self, node: Node, depth: int) -> int:
        value: dict[str, Any] = {}
        node.value = value
        while (following := self.next())[0] != "MappingEndEvent":
            key, head, colon = self.key(*following)
            if key in value:
                self.refuse(f"the key `{key}` is here a second time. Keep one", head)
            child = self.node(*self.next(), depth + 1)
            child.head, child.colon = head, colon
            if child.start == child.end:  # nothing is written: the parser points at what comes next
                child.start = child.end = colon
            node.children[key] = child
            value[key] = child.value
        return int(following[1].end_mark.index)

    def key(self, kind: str, event: Any) -> tuple[str, int, int]:
        start = event.start_mark.index
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            self.refuse("a key that is itself a mapping or a sequence. A key is a plain word", start)
        node = self.node(kind, event, 0)
        if not event.style and event.value == "<<":
            self.refuse("merge keys (`<<`) are not allowed. Write the values out", start)
        if not isinstance(node.value, str):
            self.refuse(f"the key `{event.value}` is not a string. Put it in quotes", start)
        colon = KEY_END.match(self.text, node.end)
        if colon is None or self.text[start - 2 : start] == "? ":
            self.refuse(f"the key `{node.value}` is not written as `key: value`", start)
        return node.value, start, colon.end()


def resolved(token: str) -> Any:
    """Return the value of a plain scalar. Raises ``ValueError`` for what parsers read differently."""
    if token in WORDS:
        return WORDS[token]
    value = number(token)
    if value is None and NUMBER_TO_SOME.fullmatch(token):
        shown = token[:40]
        raise ValueError(f"`{shown}` is a number to some parsers only. Write plain digits, or quote it")
    return token if value is None else value


def number(token: str) -> int | float | None:
    """Return the number that a plain scalar stands for, or ``None`` for none."""
    if token[:1] not in "+-.0123456789":
        return None
    if FLOAT.fullmatch(token):
        return float(token)
    decimal = DECIMAL.fullmatch(token)
    if not decimal and not OTHER_BASE.fullmatch(token):
        return None
    if len(token) > MAX_DIGITS:
        raise ValueError(f"a number of {len(token)} digits; at most {MAX_DIGITS} are read")
    return int(token) if decimal else int(token, 0)
