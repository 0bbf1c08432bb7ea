"""The store's audit of itself: everything that could be wrong, each finding with its place.

Nothing here goes through an open store, which would stop at the first broken file. Files are read before
the journal, and what may be a commit under way gets a moment to end.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from paramstore import _environment, _files, _git_install, _records, _yaml
from paramstore._backends._unfinished import temporary_name
from paramstore._backends.local import RUNTIME, LocalBackend
from paramstore._history import changes_between, flatten, replay, shaped
from paramstore._init import create, values_text
from paramstore._journal import without_aborted
from paramstore._lock import WriteLock
from paramstore._model import ABSENT, Change
from paramstore._schema import Schema
from paramstore._schema_form import form_errors, read_schema
from paramstore._state import Document, State
from paramstore._yaml import Path, YamlText
from paramstore.errors import DocumentError, GitError, InvalidFileError, SchemaError, ValidationError

Level = Literal["finding", "warning", "information"]

IN_FLIGHT_S = 0.3  # longer than a commit needs from its first byte to its last
NAMED = re.compile(r"`([^`]+)`")
OVERRIDE = re.compile(r" in override (\d+)")
MODELINE = re.compile(r"#\s*yaml-language-server:\s*\$schema=(\S+)")
LOST = "entries are missing, or two histories were merged"
TORN = "half an entry from a crash was set aside here; nothing committed is in it. Look, then delete it"
LEFT_BEHIND = (".tmp", ".new", ".old")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the audit has to say. Only ``finding`` means that the store is not in order."""

    file: str
    problem: str
    line: int | None = None
    place: str = ""
    level: Level = "finding"

    def __str__(self) -> str:
        line = f":{self.line}" if self.line is not None else ""
        return f"{self.file}{line}{self.place and f' at {self.place}'}: {self.problem}"


class Audit:
    """One pass over the store of ``backend``; run every one of ``steps()``, then read ``findings``."""

    def __init__(self, backend: LocalBackend, environ: Mapping[str, str]) -> None:
        self.backend = backend
        self.environ = environ
        self.findings: list[Finding] = []
        self.missing: dict[str, list[str]] = {}  # namespace -> relative keys that its values file lacks
        self.schemas: dict[str, Schema] = {}
        self._documents: dict[str, Document] = {}
        self._names = backend.namespaces()
        self._records: list[dict[str, Any]] = []
        self._lines: dict[str, tuple[str, int]] = {}  # entry id -> file and line
        self._foreign: set[str] = set()  # entries that merges say came from another history

    def steps(self) -> list[Callable[[], None]]:
        """Return the parts of the audit, in order."""
        return [
            *(partial(self._namespace, name) for name in self._names),
            *(partial(self._segment, segment) for segment in self.backend.journal.segments()),
            self._chain,
            self._against_journal,
            self._leftovers,
            self._environment,
            self._runtime,
            self._git,
        ]

    def _add(self, file: str, problem: str, line: int | None = None, level: Level = "finding") -> None:
        self.findings.append(Finding(file, problem, line, level=level))

    def _add_error(self, error: InvalidFileError) -> None:
        self.findings.append(Finding(error.file, error.problem, error.line, error.place))

    # -- schemas and values -----------------------------------------------------------------------

    def _namespace(self, name: str) -> None:
        try:
            schema = self._schema(name)
        except SchemaError as error:
            self._add_error(error)
            schema = None
        file = self.backend.values_file(name)
        try:
            content = self.backend.read(file, DocumentError)
            text = _yaml.parse(content.raw, file)
        except DocumentError as error:
            self._add_error(error)
            return
        if schema is not None:
            self._values(schema, text, content)

    def _schema(self, name: str) -> Schema | None:
        file = self.backend.schema_file(name)
        content = self.backend.read(file, SchemaError)
        wrong = form_errors(read_schema(content.raw, file), file)
        for error in wrong:
            self._add_error(error)
        if wrong:
            return None
        schema = self.schemas[name] = self.backend.compiled(name, content)
        for spec in schema.specs.values():
            if spec.default is None:
                self._add(
                    file, f"`{spec.key}` has no default, so no file can be written for it. Add `default`"
                )
        return schema

    def _values(self, schema: Schema, text: YamlText, content: _files.Content) -> None:
        said: dict[str, int | None] = {}
        try:
            document = schema.document(text.data, text.file, content.digest)
        except DocumentError as error:
            said = {
                problem: _line_of(text, schema.namespace, problem) for problem in error.problem.split("\n  ")
            }
            self.missing[schema.namespace] = _missing_keys(schema, said)
        else:
            self._documents[schema.namespace] = document
            for warning in schema.warnings(document):
                self._add(text.file, warning, level="warning")
        for problem, line in said.items():
            self._add(text.file, problem, line)
        self._as_an_editor(schema, text, said)
        self._modeline(schema, text)

    def _as_an_editor(self, schema: Schema, text: YamlText, said: Mapping[str, int | None]) -> None:
        """Validate with nothing but JSON Schema; leave out what has been said of the same key or line."""
        for path, message in schema.plain_errors(text.data):
            names = [str(step) for step in path if step not in ("values", "overrides") and type(step) is str]
            key = ".".join([schema.namespace, *names])
            line = text.line(path)
            if line in said.values() or any(
                f"`{key}`" in problem or f"`{key}." in problem for problem in said
            ):
                continue
            self._add(text.file, f"an editor would say: {message} ({schema.file})", line)

    def _modeline(self, schema: Schema, text: YamlText) -> None:
        first = text.raw.decode("utf-8-sig").partition("\n")[0]
        found = MODELINE.match(first)
        wanted = f"../{schema.file}"
        if found is None:
            hint = f"begin with `# yaml-language-server: $schema={wanted}`, so that editors validate it"
            self._add(text.file, hint, 1, "information")
        elif "://" not in found[1] and os.path.normpath(found[1]) != wanted:
            self._add(text.file, f"editors are sent to {found[1]}; its schema is {wanted}", 1)

    # -- the journal ------------------------------------------------------------------------------

    def _segment(self, segment: int) -> None:
        path = self.backend.journal.file(segment)
        file = self._relative(path)
        lines = _journal_lines(path)
        for number, line in enumerate(lines, 1):
            record = _records.parse(line) if line.endswith(b"\n") else None
            if record is not None and record["id"] in self._lines:
                first = ":".join(map(str, self._lines[record["id"]]))
                self._add(file, f"the same entry as in {first}: delete one of the two lines", number)
            elif record is not None:
                self._records.append(record)
                self._lines[record["id"]] = file, number
            elif number == len(lines) and segment == self.backend.journal.segments()[-1]:
                self._add(file, "the last line is torn; the next commit sets it aside and goes on", number)
            else:
                self._add(
                    file,
                    "the line is no journal entry, or its checksum is wrong (damage, or a merge conflict). "
                    "Restore the file with `git checkout`, or resolve the conflict line by line",
                    number,
                )

    def _chain(self) -> None:
        """Hold each entry to the one before it."""
        stands: int | None = None
        before: str | None = None
        for record in self._records:
            last, stands = stands, _records.number(record, stands, before)
            before = record["id"]
            if last is not None and stands > last + 1:
                where = self._lines[record["id"]]
                self._add(
                    where[0], f"revision {stands} follows revision {last}: entries are missing", where[1]
                )
        self._records = without_aborted(self._records)
        after: dict[str, str | None] = {}
        for record in self._records:
            if record["kind"] == "merge" or self._is_foreign(record):
                after = {}
            for file, sums in record["files"].items():
                if file in after and sums["before"] != after[file]:
                    where = self._lines[record["id"]]
                    problem = f"revision {record['revision']} does not build on the {file} that an earlier entry left: "
                    self._add(where[0], problem + LOST, where[1])
                if _records.SAID not in record:  # else the file may never have stood here
                    after[file] = sums["after"]

    def _is_foreign(self, record: Mapping[str, Any]) -> bool:
        """Tell whether an entry came from another history, so that it need not build on the one before it."""
        if not self._foreign:
            merges = (r["details"]["joined"] for r in self._records if r["kind"] == "merge")
            self._foreign = {"", *(entry for joined in merges for entry in joined)}
        return record["id"] in self._foreign or _records.SAID in record

    def _against_journal(self) -> None:
        """Compare the files with what the journal says of them. Edits by hand are information."""
        if not self._records:
            return
        after: dict[str, str | None] = {}
        once: dict[str, str | None] = {}  # also from before two histories were joined, and of the other one
        for record in self._records:  # as writers know it (`Memory.absorb`)
            if record["kind"] == "merge" or _records.SAID in record:
                after = {}
            found = {file: sums["after"] for file, sums in record["files"].items()}
            once.update(found)
            if _records.SAID not in record:
                after.update(found)
        recorded = shaped(replay(self._records), self.schemas)
        for name, document in self._documents.items():
            file = self.backend.values_file(name)
            mine = {place: value for place, value in recorded.items() if place[0].startswith(f"{name}.")}
            changes = changes_between(mine, flatten({name: document}))
            if after.get(file) == document.digest:
                for change in changes:
                    self._add(file, f"{_told(change)}, though it has the bytes that the journal vouches for")
            elif (changes or once.get(file) != document.digest) and self._is_still(document):
                self._unrecorded(file, document, changes)

    def _is_still(self, document: Document) -> bool:
        """Tell whether the file is as it was read: else a commit or a save came in between."""
        try:
            return _files.read_whole(self._path(document.namespace)).digest == document.digest
        except OSError:
            return False

    def _unrecorded(self, file: str, document: Document, changes: tuple[Change, ...]) -> None:
        last = self._records[-1]
        if os.path.lexists(temporary_name(os.path.realpath(self.backend.path(file)), last["id"])):
            said = [
                f"revision {last['revision']} is being written, or its writer died; "
                "the next commit settles it"
            ]
        elif _records.SAID in last or (last["kind"] == "merge" and not last["files"]):
            said = [f"a merge decided: {_told(change)}; the next commit records it" for change in changes]
            said = said or ["two histories were joined; the next commit notes what the file holds since"]
        else:
            said = [f"edited by hand: {_told(change)}; the next commit records it" for change in changes]
        for problem in said or ["edited by hand without changing a value; the next commit notes it"]:
            self._add(file, problem, level="information")

    # -- everything else --------------------------------------------------------------------------

    def _leftovers(self) -> None:
        for folder in ("schemas", "params"):
            for name in sorted(os.listdir(self.backend.path(folder))):
                path = self.backend.path(f"{folder}/{name}")
                problem = _left(name) or _misnamed(folder, name)
                if problem and not (name.startswith(".") and _vanishes(path)):
                    self._add(f"{folder}/{name}", problem)
        journal = os.path.dirname(self.backend.journal.file(1))
        for name in _files.names(journal, ".torn"):
            self._add(self._relative(os.path.join(journal, name)), TORN)

    def _environment(self) -> None:
        """Judge ``PARAM__`` variables, but for those of a namespace that is broken anyway."""
        broken = tuple(_environment.variable(f"{n}.") for n in self._names if n not in self._documents)
        environ = {name: text for name, text in self.environ.items() if not name.startswith(broken)}
        try:
            _environment.read(environ, State(0, self._documents), self.schemas.__getitem__)
        except ValidationError as error:
            for problem in error.violations:
                self._add("environment", problem.rstrip("."))

    def _runtime(self) -> None:
        folder = self.backend.path(RUNTIME)
        probe = folder if os.path.lexists(folder) else self.backend.root
        if not os.path.isdir(probe) or not os.access(probe, os.W_OK | os.X_OK):
            problem = "cannot be written to: nothing can be committed here, and first reads are slower"
            self._add(f"{RUNTIME}/", problem, level="information")

    def _git(self) -> None:
        """Tell if this clone lacks the merge drivers of which .gitattributes speaks."""
        try:
            lacking = _git_install.missing(self.backend.root)
        except GitError:
            return  # no git here: nothing will be merged here either
        if lacking:
            problem = "names merge drivers that this clone does not have: run `paramstore git install`"
            self._add(".gitattributes", problem, level="information")

    # -- small things -----------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return self.backend.path(self.backend.values_file(name))

    def _relative(self, path: str) -> str:
        relative = os.path.relpath(path, self.backend.root)
        return path if relative.startswith("..") else relative


def _missing_keys(schema: Schema, problems: Iterable[str]) -> list[str]:
    return [
        path for path in schema.specs if f"`{schema.namespace}.{path}` is missing" in problems
    ]  # as `Schema.document` words it


def _line_of(text: YamlText, namespace: str, problem: str) -> int | None:
    """Return the line of what a problem names, or of the nearest thing around it that is there."""
    named, override = NAMED.search(problem), OVERRIDE.search(problem)
    if named is None:
        return None
    path: Path = ("overrides", int(override[1]) - 1) if override else ()
    if named[1] == namespace or named[1].startswith(f"{namespace}."):
        path = (*path, "values", *named[1].split(".")[1:])
    else:  # a word of the file's own, such as `schema: 1` or `at`
        path = (*path, named[1].partition(":")[0])
    while path and text.line(path) is None:
        path = path[:-1]
    return text.line(path) if path else None


def _journal_lines(path: str) -> list[bytes]:
    for wait_s in (IN_FLIGHT_S, 0.0):
        with open(path, "rb") as stream:
            raw = stream.read()
        if raw.endswith(b"\n") or not raw:
            break
        time.sleep(wait_s)  # a commit may be appending it at this very moment
    return raw.splitlines(keepends=True)


def _told(change: Change) -> str:
    """Say how the file differs from the journal."""
    where = "".join(f" at {name}={value}" for name, value in change.context.items())
    if change.new is ABSENT:
        return f"`{change.key}`{where} is gone; the journal has {change.old!r}"
    known = "does not know it" if change.old is ABSENT else f"has {change.old!r}"
    return f"`{change.key}`{where} is {change.new!r}; the journal {known}"


def _left(name: str) -> str | None:
    if name.endswith(".conflict"):
        return (
            "a save that came in between commits was kept here. Take from it what is needed, then delete it"
        )
    if name.endswith(".torn"):
        return (
            "half an entry from a crash was set aside here; nothing committed is in it. Look, then delete it"
        )
    if name.startswith(".") and name.endswith(LEFT_BEHIND):
        return "left by a writer that died; the next commit removes it, or keeps it as .conflict"
    if name.endswith(".paramstore-new"):
        return (
            "new content of a migration that was cut off. Run `paramstore migrate apply` with its plan again"
        )
    return None


def _misnamed(folder: str, name: str) -> str | None:
    if folder == "params" and name.endswith(".yml"):
        return "is not read. Rename it to .yaml"
    if folder == "schemas" and name.endswith(".json") and not name.endswith(".schema.json"):
        return "is not read. Rename it to .schema.json"
    return None


def _vanishes(path: str) -> bool:
    """Tell whether a temporary file belonged to a commit that has just ended."""
    time.sleep(IN_FLIGHT_S)
    return not os.path.lexists(path)


# --- --fix --------------------------------------------------------------------------------------


def fix(backend: LocalBackend, audit: Audit, timeout_s: float) -> Iterator[Finding]:
    """Write from the schemas' defaults what the audit found missing, and yield what was done.

    Only files that then satisfy their schema are written. Raises ``LockTimeoutError`` and ``OSError``.
    """
    gates = backend.path("schemas"), backend.path("params")
    _files.make_runtime(backend.runtime)
    with WriteLock(gates, os.path.join(backend.runtime, "lock"), timeout_s):
        for name, schema in audit.schemas.items():
            try:
                if not os.path.lexists(backend.path(backend.values_file(name))):
                    yield _write_values(backend, schema)
                elif audit.missing.get(name):
                    yield _add_keys(backend, schema, audit.missing[name])
            except InvalidFileError as error:
                problem = error.problem.replace("\n ", ";")
                yield Finding(error.file, f"not fixed, as it would still be wrong: {problem}", error.line)


def _write_values(backend: LocalBackend, schema: Schema) -> Finding:
    file = backend.values_file(schema.namespace)
    raw = values_text(schema.namespace, schema.defaults()).encode()
    schema.document(_yaml.parse(raw, file).data, file, "")
    create(backend.path(file), raw)
    return Finding(file, "written from the defaults of its schema", level="information")


def _add_keys(backend: LocalBackend, schema: Schema, missing: list[str]) -> Finding:
    file = backend.values_file(schema.namespace)
    target = os.path.realpath(backend.path(file))
    content = _files.read_whole(target)
    defaults = schema.defaults()
    added: dict[Path, Any] = {}
    for key in missing:
        value: Any = defaults
        for step in key.split("."):
            value = value[step]
        added["values", *key.split(".")] = value
    text = _yaml.parse(content.raw, file).completed(added)
    schema.document(text.data, file, "")
    if not _exchange(target, text.raw, content.raw):
        raise DocumentError(file, "it was saved by someone else meanwhile; run it again")
    names = ", ".join(f"`{key}`" for key in missing)
    return Finding(file, f"added from the defaults of its schema: {names}", level="information")


def _exchange(target: str, raw: bytes, base: bytes) -> bool:
    """Give ``target`` the content ``raw`` if it still holds ``base``; tell whether it did."""
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.new")
    _files.write_new(temporary, raw, target)
    try:
        return _files.swap_in(temporary, target, base)
    finally:
        os.unlink(temporary)
        _files.fsync_directory(folder)
