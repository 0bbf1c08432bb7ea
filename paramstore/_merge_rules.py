"""Which rules a merged values file must keep: those of the schema that the merge comes to, as far as git lets us know it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from paramstore import _git
from paramstore._constraints import Constraint, violation
from paramstore._merge import Leaves, Place
from paramstore._merge_text import Rules
from paramstore._schema import Schema, load_schema
from paramstore.errors import DocumentError, GitError, InvalidFileError

UNKNOWN_KEY = ("` is not in ", "` is missing")  # as `Schema.document` words it


def rules_for(folder: str, path: str) -> Rules:
    """Return the rules for the values file ``path`` (from the top of the work tree ``folder``) during a merge.

    Without a schema that can be read nothing is judged: `paramstore check` and every reader still do.
    """
    namespace = os.path.basename(path).removesuffix(".yaml")
    file = os.path.normpath(os.path.join(os.path.dirname(path), "..", "schemas", f"{namespace}.schema.json"))
    raw, certain = _merged_schema(folder, file)
    try:
        schema = load_schema(namespace, raw or b"", file, "")
    except InvalidFileError:
        return Rules()
    return rules_of(schema, certain)


def rules_of(schema: Schema, certain: bool = True) -> Rules:
    """Return the rules of a schema. If it is not ``certain`` to be that of the merge, keys that it does not know pass."""

    def judge(data: Mapping[str, Any], found: Leaves) -> tuple[list[str], set[Place]]:
        try:
            schema.document(data, schema.namespace, "")
        except DocumentError as error:
            problems = error.problem.split("\n  ")
            if not certain:
                problems = [p for p in problems if not any(words in p for words in UNKNOWN_KEY)]
            return problems, _involved(schema, problems, found)
        return [], set()

    return Rules(schema.specs.keys(), judge)


def _involved(schema: Schema, problems: list[str], found: Leaves) -> set[Place]:
    """Return the places that a problem names, and those of broken constraints in their context."""
    named = {
        place
        for place in found
        if place.at is not None
        and any(f"`{schema.namespace}.{place.key}`" in problem for problem in problems)
    }
    if named:
        return named
    contexts = {place.at for place in found if place.at is not None}
    broken = ((at, rule) for at in contexts for rule in schema.constraints if _is_broken(rule, at, found))
    return {
        place
        for at, rule in broken
        for path in rule.paths
        for place in _at_and_base(at, tuple(path.split(".")))
    }


def _at_and_base(at: tuple[Any, ...], path: tuple[str, ...]) -> set[Place]:
    return {Place(at, path), Place((), path)}


def _is_broken(rule: Constraint, at: tuple[Any, ...], found: Leaves) -> bool:
    values = {}
    for path in rule.paths:
        names = tuple(path.split("."))
        value = found.get(Place(at, names), found.get(Place((), names)))
        if type(value) not in (int, float):
            return False
        values[path] = value
    return violation(rule, values) is not None


# --- the schema of the merge ----------------------------------------------------------------------


def _merged_schema(folder: str, file: str) -> tuple[bytes | None, bool]:
    """Return the bytes of the schema that the merge comes to, and whether that is certain.

    git tells a driver only what is merged, not from where; for a merge it names the other commit in the environment,
    for a rebase in its list of what is done.
    """
    ours = _working(folder, file)
    other = _other_commit(folder)
    if other is None:
        return ours, False
    try:
        base = _base_commit(folder, other)
    except GitError:
        return ours, False
    theirs, before = _git.blob(folder, other, file), _git.blob(folder, base, file)
    if theirs in (before, ours):
        return ours, True
    if ours == before:
        return theirs, True
    combined = merge_lines(folder, before or b"", ours or b"", theirs or b"")
    return (combined, True) if combined is not None else (ours, False)


def _working(folder: str, file: str) -> bytes | None:
    try:
        with open(os.path.join(folder, file), "rb") as stream:
            return stream.read()
    except OSError:
        return None


def _other_commit(folder: str) -> str | None:
    named = [name.removeprefix("GITHEAD_") for name in os.environ if name.startswith("GITHEAD_")]
    if len(named) == 1:
        return named[0]
    done = os.path.join(_git.text(folder, "rev-parse", "--absolute-git-dir"), "rebase-merge", "done")
    try:
        with open(done, encoding="utf-8", errors="replace") as stream:
            words = stream.read().splitlines()[-1].split()
    except (OSError, IndexError):
        return None
    return words[1] if len(words) > 1 and words[0] in ("pick", "edit", "reword", "squash", "fixup") else None


def _base_commit(folder: str, other: str) -> str:
    if f"GITHEAD_{other}" in os.environ:
        return _git.text(folder, "merge-base", "HEAD", other)
    return _git.text(folder, "rev-parse", "--verify", f"{other}^")


def merge_lines(folder: str, base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Return git's own merge of three texts, or ``None`` where lines conflict."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="paramstore-") as place:
        for name, raw in (("base", base), ("ours", ours), ("theirs", theirs)):
            with open(os.path.join(place, name), "wb") as stream:
                stream.write(raw)
        names = [os.path.join(place, name) for name in ("ours", "base", "theirs")]
        done = _git.run(folder, "merge-file", "--stdout", *names)
    return done.stdout if done.returncode == 0 else None
