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
from paramstore.migrate._facts import Resolver, bindings, link
from paramstore.migrate._locate import located
from paramstore.migrate._prove import Findings, byte_inverse, tree_inverse
from paramstore.migrate._rewrite import Edit, new_spans, spaced
from paramstore.migrate._shapes import find
from paramstore.migrate._source import Source, Unreadable, bytes_of, read

NEWER = "was edited since"


@dataclass
class Proof:
    """``problems`` maps each file to what does not hold; ``proved`` are the files for which both inverses do;
    ``changed`` are, by key, the values in the store that are no longer those of the literals."""

    proved: list[str] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    edited: list[str] = field(default_factory=list)  # of those proved: not the bytes that `apply` wrote


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
    """Return the values that the files hold now; ``store`` is opened without environment."""
    return {key: plain(value) for key, value in store.snapshot().values.items()}


def verify(record: Mapping[str, Any], root: str, values: Mapping[str, Any], learned: bool = False) -> Proof:
    """Check both inverses for every file of the record, against the store's ``values``. With ``learned`` a
    value that has changed since is no fault: the code is proved with the literal's."""
    proof = Proof()
    for file, layers in sorted(record["files"].items()):
        found = _verify_file(os.path.join(root, file), layers, values)
        proof.changed |= found.changed
        problems = found.problems if learned else [*found.problems, *found.changed.values()]
        if problems:
            proof.problems[file] = problems
        else:
            proof.proved.append(file)
            if _sum(os.path.join(root, file)) != layers[-1]["after"]:
                proof.edited.append(file)
    return proof


def _sum(path: str) -> str:
    return hashlib.sha256(bytes_of(path) or b"").hexdigest()


def _verify_file(path: str, layers: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> Findings:
    result = Findings()
    try:
        source = read(path)
        for layer in reversed(layers):
            edits = located(source, layer)
            if edits is None:
                result.problems.append(
                    f"{NEWER}, and the reads in it are no longer those that were put there"
                )
                return result
            raw = source.encode(byte_inverse(source.text, edits))
            if hashlib.sha256(raw).hexdigest() != layer["before"] and source.sha256 == layer["after"]:
                result.problems.append("putting the literals back does not give the original bytes")
            old = read(path, raw)
            found = tree_inverse(old, source.tree, source.text, edits, layer["alias"], values)
            result.problems += found.problems
            result.changed |= found.changed
            source = old
    except Unreadable as why:
        result.problems.append(str(why))
    return result


# -- the way out -----------------------------------------------------------------------------------


def reverted(
    record: Mapping[str, Any], root: str, values: Mapping[str, Any]
) -> tuple[dict[str, Change], dict[str, str]]:
    """Return, by file, the sources with today's values as literals (a value that is as it was gets its old
    text), and the files that are refused with the reason: edited such that the reads cannot be found, or
    sharing a parameter with such a file."""
    changes: dict[str, Change] = {}
    refused: dict[str, str] = {}
    keys: dict[str, set[str]] = {}
    for file, layers in sorted(record["files"].items()):
        path = os.path.join(root, file)
        keys[file] = {key for layer in layers for *_, key, _, _ in layer["edits"] if " " not in key}
        try:
            now = source = read(path)
            for layer in reversed(layers):
                edits = located(source, layer)
                if edits is None:
                    raise Unreadable(f"{NEWER}, and the reads cannot all be found: put them back by hand")
                old = read(path, source.encode(_put_back(source.text, edits, values)))
                _check_names(old, edits)
                source = old
            changes[file] = Change(path, now.raw, source.raw)
        except Unreadable as why:
            refused[file] = str(why)
    while tied := [
        (file, other)
        for file in changes
        for other in refused
        if file not in refused and keys[file] & keys[other]
    ]:
        for file, other in tied:
            refused[file] = f"shares parameters with {other}, which is refused: both go back, or none"
    return {file: change for file, change in changes.items() if file not in refused}, refused


def _check_names(source: Source, edits: list[Edit]) -> None:
    """Raise ``Unreadable`` where a name that was put back means something else by now, or nothing."""
    facts = link(source.tree)
    resolver = Resolver(facts)
    places = {edit.start for edit in edits if edit.kind == "read"}
    roots = {edit.old.strip().partition(".")[0].partition("[")[0] for edit in edits if edit.kind == "read"}
    for name in sorted(roots):
        imported = any(
            (alias.asname or alias.name.partition(".")[0]) == name
            for statement in facts.imports
            for alias in statement.names
        )
        stars = any(alias.name == "*" for statement in facts.imports for alias in statement.names)
        for node in facts.names.get(name, ()):
            if source.offset(node.lineno, node.col_offset) not in places:
                continue
            if not (bindings(facts, name) or stars):
                raise Unreadable(f"no longer has `{name}`, which it would read again: import it, then revert")
            if (not imported and not resolver.is_global(node)) or name in facts.arguments:
                raise Unreadable(f"has another `{name}` now (line {node.lineno}): put its reads back by hand")


def _put_back(text: str, edits: list[Edit], values: Mapping[str, Any]) -> str:
    parts, done = [], 0
    for edit, (start, end) in zip(edits, new_spans(edits), strict=True):
        parts += [text[done:start], spaced(text, start, literal(edit, values))]
        done = end
    return "".join([*parts, text[done:]])


def literal(edit: Edit, values: Mapping[str, Any]) -> str:
    """Return the text that takes a read's place: the old one if the value has not changed."""
    if edit.kind not in ("value", "default", "section"):
        return edit.old
    old = ast.literal_eval(edit.old)
    if edit.kind == "section":
        return edit.old if _section(old, edit.key, values) == old else _edited(edit, values)
    new = _known(edit.key, values)
    if repr(new) == repr(old):
        return edit.old
    return f"({new!r})" if repr(new).startswith("-") and not edit.old.startswith("-") else repr(new)


def _known(key: str, values: Mapping[str, Any]) -> Any:
    if key not in values:
        raise Unreadable(f"reads `{key}`, which is no longer in the store")
    return values[key]


def _section(old: Any, prefix: str, values: Mapping[str, Any]) -> Any:
    if not isinstance(old, dict):
        return _known(prefix, values)
    below = f"{prefix}."
    names = {key[len(below) :].partition(".")[0] for key in values if key.startswith(below)}
    if names - set(old):
        raise Unreadable(
            f"reads `{prefix}`, which has new entries in the store: {', '.join(sorted(names - set(old)))}"
        )
    return {name: _section(value, f"{prefix}.{name}", values) for name, value in old.items()}


def _edited(edit: Edit, values: Mapping[str, Any]) -> str:
    """Return a dictionary's old text with the leaves that have changed written anew, the rest as it was."""
    source = read("", f"_ = {edit.old}".encode())
    parts, done = [], 4
    for found in find(link(source.tree).numbers):
        start, end = source.span(found.node)
        new = _known(".".join((edit.key, *found.path)), values)
        if repr(new) != repr(ast.literal_eval(source.text[start:end])):
            parts += [source.text[done:start], repr(new)]
            done = end
    return "".join([*parts, source.text[done:]])
