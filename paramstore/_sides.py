"""What people name to compare (a revision, a time, a git commit, a values file, the files as they are), as sides.

Each thing is read once. Files of a commit whose bytes are those of the working tree are not parsed again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from paramstore import _files, _git_read, _yaml
from paramstore._backends.local import LocalBackend
from paramstore._compare import Comparison, Side, compare
from paramstore._history import flatten
from paramstore._ledger import place_of
from paramstore._outline import Line, Outline
from paramstore._records import VALUELESS
from paramstore._scan import scan
from paramstore._schema import Schema, load_schema
from paramstore._schema_form import read_schema
from paramstore._state import Document, split_key
from paramstore._store import ParamStore
from paramstore.errors import (
    DocumentError,
    GitError,
    InvalidFileError,
    JournalError,
    SchemaError,
    UnknownRevisionError,
)

PREFIXES = ("revision:", "git:", "file:")
FILE_ENDS = (".yaml", ".yml")
MODELINE = re.compile(r"#\s*yaml-language-server:\s*\$schema=\S*?([^/\s]+)\.schema\.json")
NOW = "the files"
SHOWN_HASH, SHORTEST_HASH = 10, 4
EXPLICITLY = "Explicit: `revision:42`, `git:main`, `file:x.yaml`."


class BothAtOnceError(ValueError):
    """What was named cannot be compared as it was put; nothing is wrong with the store."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One side before it is known what it is compared with. ``lines`` is ``None`` where it has no journal of its own;
    ``only`` is the one namespace that it holds, if it is a values file."""

    name: str
    documents: Mapping[str, Document]
    schema: Callable[[str], Mapping[str, Any] | None]
    lines: Sequence[Line] | None
    only: str | None = None
    ends: Mapping[str, int] = field(default_factory=dict)


class Sides:
    """The sides that can be named for one store in files."""

    def __init__(self, store: ParamStore) -> None:
        assert store.root is not None  # only a store in files can be in git
        self._store = store
        self._root = store.root
        self._backend = LocalBackend(store.root, store.options)
        self._compiled: dict[tuple[str, str], Schema] = {}

    def compared(self, words: Sequence[str]) -> Comparison:
        """Compare what ``words`` name: two sides, one with the files, or (none) what is not committed yet.

        Raises ``UnknownRevisionError`` for what nothing bears the name of, ``InvalidFileError`` for a side that is
        broken, ``GitError``, and ``BothAtOnceError`` for words that do not go together.
        """
        a, b = self._named_pair(words)
        if a.only and b.only and a.only != b.only:
            raise BothAtOnceError(f"{a.name} holds `{a.only}` and {b.name} `{b.only}`: they share no key")
        a, b = _with_journal(a, b, lambda: self._lines)
        differing = _differing(a, b)
        return compare(_side(a, differing), _side(b, differing))

    def made_by(self, revision: int, records: Iterable[Mapping[str, Any]]) -> Comparison:
        """Return what ``compared`` says of the revision before this one and this one. ``records`` are the entries of it.

        What an entry changed is in the entry, so nothing else of the journal is read, but where values came or went.
        """
        lines = [Line.of(dict(record)) for record in records if record["kind"] not in VALUELESS]
        names = f"revision {revision - 1}", f"revision {revision}"
        items = [item for line in lines for item in line.items]
        if len(lines) != 1 or not all("old" in item and "new" in item for item in items):
            return self.compared([f"revision:{revision - 1}", f"revision:{revision}"])
        order = {place: number for number, place in enumerate(flatten(self._documents))}  # by the schemas
        items.sort(key=lambda item: order.get(place_of(item), len(order)))
        old, new = ({place_of(item): item[side] for item in items} for side in ("old", "new"))
        namespaces = frozenset(split_key(item["key"])[0] for item in items)
        found = ((name, self._schema_now(name)) for name in namespaces)
        schemas = {name: schema for name, schema in found if schema is not None}
        return compare(
            Side(names[0], old, namespaces, schemas), Side(names[1], new, namespaces, schemas, lines)
        )

    # -- what a word names --------------------------------------------------------------------------

    def _named_pair(self, words: Sequence[str]) -> tuple[_Source, _Source]:
        if not words:
            return self._not_committed(), self._now()
        first, dots, second = _range(words[0])
        if not dots:
            return self._named(words[0]), self._named(words[1]) if len(words) > 1 else self._now()
        if len(words) > 1:
            raise BothAtOnceError(f"`{words[0]}` names two sides already, so `{words[1]}` is one too many")
        if dots == "...":
            return self._since_parted(first, second)
        return self._named(first), self._named(second)

    def _since_parted(self, first: str, second: str) -> tuple[_Source, _Source]:
        one, other = self._commit(first), self._commit(second)
        base = _git_read.merge_base(self._root, one, other)
        parted = f"{base[:SHOWN_HASH]} (where {first} and {second} parted)"
        return replace(self._in_git(base, base), name=parted), self._in_git(other, second)

    def _not_committed(self) -> _Source:
        """Return what the files are held against when nothing is named: the git commit they are based on, or the last
        revision."""
        commit = self._commit_or_none("HEAD")
        if commit is not None:
            return self._in_git(commit, "HEAD")
        _git_read.why_not(self._root)  # a git that refuses is told, and not taken for none
        if not self._lines:
            raise UnknownRevisionError(
                "There is nothing to compare the files with: no git commit, and no entry in the journal yet. "
                "Name a values file, or commit first."
            )
        return self._at(str(self._lines[-1].revision))

    def _named(self, word: str) -> _Source:
        kind, _, rest = word.partition(":")
        if f"{kind}:" in PREFIXES:
            explicit: dict[str, Callable[[str], _Source]] = {
                "revision": self._at, "file": self._file, "git": lambda name: self._in_git(self._commit(name), name)
            }  # fmt: skip
            return explicit[kind](rest)
        if word.isdecimal() or _is_time(word):
            return self._at_or_hint(word)
        if word.endswith(FILE_ENDS):
            return self._file(word)
        commit = self._commit_or_none(word)
        if commit is None:
            why = _git_read.why_not(self._root)
            raise UnknownRevisionError(
                f"`{word}` is neither a revision nor a time such as 2026-01-31T12:00:00, no values file (x.yaml), and "
                f"no git commit, branch or tag{why and f' ({why})'}. {EXPLICITLY}"
            )
        return self._in_git(commit, word)

    def _at_or_hint(self, word: str) -> _Source:
        try:
            return self._at(word)
        except UnknownRevisionError as error:
            if self._commit_or_none(word) is None:
                raise
            raise UnknownRevisionError(f"{error} git knows that name: `git:{word}`.") from None

    def _commit_or_none(self, word: str) -> str | None:
        try:
            return _git_read.commit_of(self._root, word)
        except GitError:
            return None

    def _commit(self, word: str) -> str:
        if why := _git_read.why_not(self._root):
            raise GitError(f"`{word}` names no commit: {why}.")
        commit = _git_read.commit_of(self._root, word)
        if commit is None:
            raise UnknownRevisionError(
                f"git knows no commit, branch or tag `{word}`. A shallow clone has only the newest commits: "
                "`git fetch --unshallow`."
            )
        return commit

    # -- sources ------------------------------------------------------------------------------------

    @cached_property
    def _lines(self) -> Sequence[Line]:
        return scan(self._backend.journal)

    @cached_property
    def _documents(self) -> Mapping[str, Document]:
        return self._backend.load(None).documents

    @cached_property
    def _known(self) -> dict[tuple[str, str, str], Document]:
        """Documents that need not be parsed again, by their bytes."""
        try:
            documents = self._documents
        except InvalidFileError:
            return {}  # the files are broken now; a commit need not be
        return {(name, d.digest, d.schema_digest): d for name, d in documents.items()}

    def _now(self) -> _Source:
        return _Source(NOW, self._documents, self._schema_now, self._lines)

    def _schema_now(self, namespace: str) -> Mapping[str, Any] | None:
        file = self._backend.schema_file(namespace)
        try:
            return read_schema(self._backend.read(file, SchemaError).raw, file)
        except SchemaError:
            return None  # a namespace of the past

    def _at(self, when: str) -> _Source:
        past = self._store.as_of(when)
        lines = [line for line in self._lines if line.revision <= past.revision]
        name = f"revision {past.revision}" + ("" if when.isdecimal() else f" ({when})")
        return _Source(name, past.state.documents, self._schema_now, lines)

    def _file(self, path: str) -> _Source:
        try:
            raw = _files.read_whole(path).raw
        except OSError as error:
            raise DocumentError(
                path, f"cannot be read: {error.strerror}. A commit is named `git:…`"
            ) from None
        text = _yaml.parse(raw, path)
        namespace = self._namespace_of(path, raw)
        file = self._backend.schema_file(namespace)
        content = self._backend.read(file, SchemaError)
        schema = self._backend.compiled(namespace, content)
        document = _document(schema, text, _files.digest(raw))
        return _Source(path, {namespace: document}, self._schema_now, None, namespace)

    def _namespace_of(self, path: str, raw: bytes) -> str:
        """Return the namespace that a values file is of: by its name, else by the schema that its first line names."""
        name = os.path.basename(path).rpartition(".")[0]
        known = self._backend.namespaces()
        found = MODELINE.match(raw.decode("utf-8-sig").partition("\n")[0])
        candidates = [name, found[1] if found else ""]
        for candidate in candidates:
            if candidate in known:
                return candidate
        raise DocumentError(
            path, f"of no namespace of this store ({', '.join(known)}). Name the file like one, or begin it with "
            "`# yaml-language-server: $schema=../schemas/NAME.schema.json`"
        )  # fmt: skip

    def _in_git(self, commit: str, word: str) -> _Source:
        short = commit[:SHOWN_HASH]
        by_hash = len(word) >= SHORTEST_HASH and commit.startswith(word)
        name = short if by_hash else f"{word} ({short})"
        place = short if by_hash else word
        files = _git_read.read_commit(self._root, commit, self._store.options.journal)
        documents = {name: self._committed(files, name, place) for name in files.values}

        def schema(namespace: str) -> Mapping[str, Any] | None:
            if namespace not in documents:
                return None
            return read_schema(files.schemas[namespace], f"{place}:{self._backend.schema_file(namespace)}")

        lines = _lines_of(files.journal, place) if files.journal else None
        return _Source(name, documents, schema, lines)

    def _committed(self, files: _git_read.CommitFiles, namespace: str, place: str) -> Document:
        """Return one namespace as a commit has it. Raises ``InvalidFileError`` with git's name for the file."""
        values_file = f"{place}:{self._backend.values_file(namespace)}"
        schema_file = f"{place}:{self._backend.schema_file(namespace)}"
        if namespace not in files.schemas:
            raise SchemaError(
                schema_file, "the file is missing in that commit: every namespace needs its schema"
            )
        raw, schema_raw = files.values[namespace], files.schemas[namespace]
        digest, schema_digest = _files.digest(raw), _files.digest(schema_raw)
        document = self._known.get((namespace, digest, schema_digest))
        if document is None:
            schema = self._compiled.get((namespace, schema_digest))
            if schema is None:
                schema = load_schema(namespace, schema_raw, schema_file, schema_digest)
                self._compiled[namespace, schema_digest] = schema
            document = _document(schema, _yaml.parse(raw, values_file), digest)
            self._known[namespace, digest, schema_digest] = document
        return document


def _range(word: str) -> tuple[str, str, str]:
    """Split ``A..B`` or ``A...B``; without dots, or for a file, the first part is the word. An empty end is HEAD."""
    if word.endswith(FILE_ENDS) or word.startswith("file:"):
        return word, "", ""
    found = re.fullmatch(r"(git:)?(.*?)(\.\.\.?)(.*)", word, re.DOTALL)
    if found is None:
        return word, "", ""
    prefix, first, dots, second = found.groups()
    if dots == "...":
        return first.removeprefix("git:") or "HEAD", dots, second.removeprefix("git:") or "HEAD"
    return (prefix or "") + (first or "HEAD"), dots, _prefixed(prefix or "", second or "HEAD")


def _prefixed(prefix: str, word: str) -> str:
    return word if word.startswith(PREFIXES) else prefix + word


def _is_time(word: str) -> bool:
    try:
        datetime.fromisoformat(word)
    except ValueError:
        return False
    return True


def _document(schema: Schema, text: _yaml.YamlText, digest: str) -> Document:
    """Judge a values file; what breaks a rule is told with its line."""
    try:
        return schema.document(text.data, text.file, digest)
    except DocumentError as error:
        from paramstore._check import (
            _line_of as line_of,
        )  # only where something is wrong: it brings the whole audit

        lines = [line_of(text, schema.namespace, problem) for problem in error.problem.split("\n  ")]
        raise DocumentError(text.file, error.problem, line=next(filter(None, lines), None)) from None


def _lines_of(segments: Sequence[tuple[str, bytes]], place: str) -> list[Line]:
    """Return the lines that stand in a commit's journal. A torn last line was being written when it was committed."""
    outline = Outline()
    for path, raw in segments:
        lines = raw.splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            if not outline.take(line):
                if number == len(lines) and not line.endswith(b"\n"):
                    break
                raise JournalError(
                    f"{place}:{path}",
                    "the line is not a journal entry, or its checksum is wrong",
                    line=number,
                )
    return outline.standing()


# --- from sources to sides ------------------------------------------------------------------------


def _with_journal(a: _Source, b: _Source, ours: Callable[[], Sequence[Line]]) -> tuple[_Source, _Source]:
    """Lend a side that has no journal the other's (or ``ours``), as far as its files are those that an entry left.

    So a journal that git does not hold, or did not hold then, still says who made a difference.
    """
    if b.lines is None:
        b = _lent(b, a.lines if a.lines is not None else ours())
    if a.lines is None:
        a = _lent(a, b.lines or ())
    return a, b


def _lent(source: _Source, lines: Sequence[Line]) -> _Source:
    ends = {name: _made_up_to(lines, document.digest) for name, document in source.documents.items()}
    return replace(source, lines=lines, ends=ends)


def _made_up_to(lines: Sequence[Line], digest: str) -> int:
    """Return how many lines there are up to the last one that left a file with these bytes; 0 if none did."""
    mark = digest.encode()
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index]
        if not line.raw or mark in line.raw:
            files = line.record["files"].values()
            if any(sums.get("after") == digest for sums in files):
                return index + 1
    return 0


def _differing(a: _Source, b: _Source) -> set[str]:
    """Return the namespaces that can differ at all: those whose bytes do, and that both sides are about."""
    names = {name for only in (a.only, b.only) if (name := only)} or {*a.documents, *b.documents}
    return {name for name in names if _bytes_of(a, name) != _bytes_of(b, name) or not all(_bytes_of(a, name))}


def _bytes_of(source: _Source, namespace: str) -> tuple[str, str]:
    """Return the hashes of the two files; empty where it comes from the journal."""
    document = source.documents.get(namespace)
    return (document.digest, document.schema_digest) if document is not None else ("", "")


def _side(source: _Source, namespaces: set[str]) -> Side:
    documents = {name: document for name, document in source.documents.items() if name in namespaces}
    found = ((name, source.schema(name)) for name in sorted(namespaces))
    return Side(
        source.name,
        flatten(documents),
        frozenset(documents),
        {name: schema for name, schema in found if schema is not None},
        source.lines or (),
        source.ends,
    )
