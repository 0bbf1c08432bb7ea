"""Keys that read well, hold no line number, and stay the same when other lines come and go."""

from __future__ import annotations

import ast
import os
import re
from collections import Counter
from collections.abc import Collection

from paramstore.migrate._facts import FUNCTIONS, Node
from paramstore.migrate._shapes import Found
from paramstore.migrate._words import parts, snake

VERBS = {
    "calculate",
    "calc",
    "compute",
    "get",
    "check",
    "is",
    "evaluate",
    "eval",
    "apply",
    "do",
    "run",
    "the",
    "make",
    "should",
}
SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
LONGEST = 48


def namespace_of(path: str, taken: dict[str, str]) -> str:
    """Return the namespace for a file: its stem, with directories before it where another file has that."""
    folders = path.split("/")
    stem = os.path.splitext(folders.pop())[0]
    name = snake(stem) or "module"
    if stem == "__init__" and folders:
        name = snake(folders.pop()) or name
    while taken.get(name, path) != path and folders:
        name = f"{snake(folders.pop())}_{name}".strip("_")
    number = 2
    base = name
    while taken.get(name, path) != path:
        name, number = f"{base}_{number}", number + 1
    if not name[0].isalpha():
        name = f"m_{name}"
    taken[name] = path
    return name


def key_path(found: Found, namespace: str, classes: int) -> tuple[str, ...]:
    """Return the path below the namespace that the candidate would have, before doubles are told apart.

    The names in a dictionary stay as they are: code that reads the dictionary reads them.
    """
    head = [name for scope in found.scope if (name := _scope_name(scope, namespace, classes))]
    words = list(found.words)
    if found.group is not None:
        count = len(found.path)
        return (*head, *[_segment(word) for word in words[: len(words) - count]], *found.path)
    tail = _shorten("_".join(snake(word) for word in words if word))
    return (*head, tail or "value")


def _scope_name(scope: Node, namespace: str, classes: int) -> str:
    if type(scope) is ast.ClassDef:
        name = snake(scope.name)
        return "" if classes == 1 or name == namespace or name in namespace else name
    if type(scope) in FUNCTIONS:
        words = parts(scope.name) or ["call"]
        if scope.name == "__init__":
            return "init"
        while len(words) > 1 and words[0] in VERBS:
            words.pop(0)
        return _shorten("_".join(words))
    return ""


def _segment(word: str) -> str:
    return snake(word) or "value"


def _shorten(name: str) -> str:
    words: list[str] = []
    for word in name.split("_"):
        if not words or words[-1] != word:  # win_rate_rate
            words.append(word)
    while len("_".join(words)) > LONGEST and len(words) > 2:
        words.pop(len(words) // 2)
    return "_".join(words)


def can_be_path(path: tuple[str, ...]) -> bool:
    return all(SEGMENT.fullmatch(part) and "__" not in part for part in path)


def outside(path: tuple[str, ...], sections: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the path, or one beside the first section that it is below: a section in place of a dictionary holds
    the entries of that alone."""
    for depth in range(1, len(path)):
        if path[:depth] in sections:
            return outside((*path[: depth - 1], "_".join(path[depth - 1 :])), sections)
    return path


def told_apart(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Number the doubles in order of appearance, and lift out what would be value and group at once."""
    seen: Counter[tuple[str, ...]] = Counter()
    taken: set[tuple[str, ...]] = set()
    result = []
    groups = {path[:depth] for path in paths for depth in range(1, len(path))}
    for path in paths:
        seen[path] += 1
        number = seen[path]
        found = path
        while found in taken or found in groups:
            if number == 1 and found in groups and (*path[:-1], f"{path[-1]}_value") not in taken:
                found = (*path[:-1], f"{path[-1]}_value")
                continue
            number = max(number, 2)
            found = (*path[:-1], f"{path[-1]}_{number}")
            number += 1
        taken.add(found)
        result.append(found)
    return result
