"""Proof of what was applied: the bytes, the tree with the store's values, and the way back."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paramstore import ParamStore
from paramstore.migrate._apply import Change
from paramstore.migrate._facts import link
from paramstore.migrate._locate import located
from paramstore.migrate._plan import PlanError
from paramstore.migrate._prove import byte_inverse, tree_inverse
from paramstore.migrate._rewrite import Edit, new_spans
from paramstore.migrate._shapes import find
from paramstore.migrate._source import Unreadable, read

NEWER = "was edited since"


@dataclass
class Proof:
    """``problems`` maps each file to what does not hold; ``proved`` are the files for which both inverses do."""

    proved: list[str] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)


def plain(value: Any) -> Any:
    """Return a value of the store in built-in containers, tuples kept."""
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def store_values(store: ParamStore) -> dict[str, Any]:
    """Return the values as they are written, whatever the environment lays over them."""
    return {key: plain(value) for key, value in store.as_of(store.revision).values.items()}


def verify(record: Mapping[str, Any], root: str, values: Mapping[str, Any]) -> Proof:
    """Check both inverses for every file of the record, against the store's ``values``."""
    proof = Proof()
    for file, layers in sorted(record["files"].items()):
        problems = _verify_file(os.path.join(root, file), layers, values)
        if problems:
            proof.problems[file] = problems
        else:
            proof.proved.append(file)
    return proof


def _verify_file(path: str, layers: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []
    try:
        source = read(path)
        for layer in reversed(layers):
            edits = located(source, layer)
            if edits is None:
                return [*problems, f"{NEWER}, and the reads in it are no longer those that were put there"]
            raw = source.encode(byte_inverse(source.text, edits))
            if hashlib.sha256(raw).hexdigest() != layer["before"] and source.sha256 == layer["after"]:
                problems.append("putting the literals back does not give the original bytes")
            old = read(path, raw)
            problems += tree_inverse(old, source.tree, source.text, edits, layer["alias"], values)
            source = old
    except Unreadable as why:
        problems.append(str(why))
    return problems


# -- the way out -----------------------------------------------------------------------------------


def reverted(record: Mapping[str, Any], root: str, values: Mapping[str, Any]) -> list[Change]:
    """Return the sources with today's values as literals; a value that is as it was gets its old text.

    Raises ``PlanError`` when a file was edited such that the reads cannot be found.
    """
    changes = []
    for file, layers in sorted(record["files"].items()):
        path = os.path.join(root, file)
        try:
            now = source = read(path)
            for layer in reversed(layers):
                edits = located(source, layer)
                if edits is None:
                    raise PlanError(
                        f"{file} {NEWER}, and the reads cannot all be found: put them back by hand. Nothing was written."
                    )
                source = read(path, source.encode(_put_back(source.text, edits, values, file)))
        except Unreadable as why:
            raise PlanError(f"{file} {why}. Nothing was written.") from None
        changes.append(Change(path, now.raw, source.raw))
    return changes


def _put_back(text: str, edits: list[Edit], values: Mapping[str, Any], file: str) -> str:
    parts, done = [], 0
    for edit, (start, end) in zip(edits, new_spans(edits), strict=True):
        parts += [text[done:start], literal(edit, values, file)]
        done = end
    return "".join([*parts, text[done:]])


def literal(edit: Edit, values: Mapping[str, Any], file: str) -> str:
    """Return the text that takes a read's place: the old one if the value has not changed."""
    if edit.kind not in ("value", "default", "section"):
        return edit.old
    old = ast.literal_eval(edit.old)
    if edit.kind == "section":
        return edit.old if _section(old, edit.key, values) == old else _edited(edit, values)
    if edit.key not in values:
        raise PlanError(f"{file}: `{edit.key}` is no longer in the store. Nothing was written.")
    new = values[edit.key]
    return edit.old if repr(new) == repr(old) else repr(new)


def _section(old: Any, prefix: str, values: Mapping[str, Any]) -> Any:
    if isinstance(old, dict):
        return {name: _section(value, f"{prefix}.{name}", values) for name, value in old.items()}
    return values.get(prefix)


def _edited(edit: Edit, values: Mapping[str, Any]) -> str:
    """Return a dictionary's old text with the leaves that have changed written anew, the rest as it was."""
    source = read("", f"_ = {edit.old}".encode())
    parts, done = [], 4
    for found in find(link(source.tree).numbers):
        start, end = source.span(found.node)
        new = values.get(".".join((edit.key, *found.path)))
        old = source.text[start:end]
        if repr(new) != repr(ast.literal_eval(old)):
            parts += [source.text[done:start], repr(new)]
            done = end
    return "".join([*parts, source.text[done:]])
