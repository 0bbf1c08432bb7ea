"""Which keys the source code names. Files are parsed, never imported or run; nothing in them is trusted.

Named is a key that stands in a string as it is, below a group or namespace that does
(``params.section("signal_weights")``), or under a prefix that ends in a dot and is completed at run time
(``f"signal_weights.{name}"``, ``"signal_weights." + name``, ``"signal_weights.%s"``), or that a pattern with
``*`` below its namespace matches. A file that does not parse names every key whose text occurs in it.
"""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

MOST_BYTES = 5_000_000  # of a file that is parsed; real ones are a hundred times smaller
SKIPPED = frozenset({"venv", "site-packages", "node_modules", "__pycache__"})
OPEN = re.compile(r"[{%]")  # where ``format`` and ``%`` put something in


@dataclass(slots=True)
class Named:
    """The keys that were found, and the files that could not be parsed, each with the reason."""

    keys: set[str] = field(default_factory=set)
    unparsed: list[tuple[str, str]] = field(default_factory=list)


def files(folders: Sequence[str]) -> list[str]:
    """Return the Python files below ``folders``, sorted, without hidden folders, environments and packages."""
    found: set[str] = set()
    for folder in folders:
        for place, below, names in os.walk(folder):
            below[:] = [name for name in below if not _is_skipped(place, name)]
            found.update(os.path.join(place, name) for name in names if name.endswith(".py"))
    return sorted(path for path in found if os.path.isfile(path))  # a pipe would never end


def _is_skipped(place: str, name: str) -> bool:
    return name.startswith(".") or name in SKIPPED or os.path.exists(os.path.join(place, name, "pyvenv.cfg"))


def named_in(paths: Sequence[str], keys: Collection[str], advance: Callable[[], None]) -> Named:
    """Return which of ``keys`` these files name; ``advance`` is called after each file."""
    named, words = Named(), set[str]()
    for path in paths:
        try:
            words.update(_words(_read(path)))
        except _UnparsedError as error:
            named.unparsed.append((path, error.why))
            named.keys.update(key for key in keys if key.encode() in error.raw)
        advance()
    named.keys.update(_matched(words, keys))
    return named


class _UnparsedError(Exception):
    """Why a file was not parsed, and its bytes as far as they were read."""

    def __init__(self, why: str, raw: bytes = b"") -> None:
        super().__init__(why)
        self.why, self.raw = why, raw


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES * 10)
    except OSError as error:
        raise _UnparsedError(error.strerror or "it cannot be read") from None
    if len(raw) > MOST_BYTES:
        raise _UnparsedError(f"it is longer than {MOST_BYTES:,} bytes", raw)
    return raw


def _words(raw: bytes) -> set[str]:
    """Return the strings of a program that may name keys; one that is completed at run time ends in a dot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on odd escapes, which are none of our business
            tree = ast.parse(raw)
        return {word for node in ast.walk(tree) for word in _said(node)}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(getattr(error, "msg", error)) or type(error).__name__
        raise _UnparsedError(f"it does not parse: {reason}", raw) from None


def _said(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
        yield from _up_to_dot(OPEN.split(node.value, maxsplit=1)[0], node.value)
    elif isinstance(node, ast.JoinedStr):
        yield from _up_to_dot(_text(node.values[0]) if node.values else "", "")
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts: list[str] = []
        for part in _terms(node):
            parts.append(_text(part))
            if not isinstance(part, ast.Constant):
                break
        yield "".join(parts)
        yield from _up_to_dot("".join(parts), "")


def _up_to_dot(start: str, whole: str) -> Iterator[str]:
    if start.endswith(".") and start != whole:
        yield start


def _terms(node: ast.expr) -> list[ast.expr]:
    """Return what a chain of ``+`` adds up, first to last; a chain may be long, so without recursion."""
    terms: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        terms.append(node.right)
        node = node.left
    return [node, *reversed(terms)]


def _text(node: ast.expr) -> str:
    """Return the text that an expression begins with, as far as it is written there."""
    if isinstance(node, ast.JoinedStr):
        return _text(node.values[0]) if node.values else ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _matched(words: set[str], keys: Collection[str]) -> Iterator[str]:
    namespaces = {key.partition(".")[0] for key in keys}
    patterns = [word for word in words if "*" in word and word.partition(".")[0] in namespaces]
    for key in keys:
        groups = [key[:dot] for dot, sign in enumerate(key) if sign == "."]
        exact = key in words or any(group in words or f"{group}." in words for group in groups)
        if exact or any(fnmatchcase(key, pattern) for pattern in patterns):
            yield key
