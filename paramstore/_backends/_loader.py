"""One pass over the files of a store: what to believe by hash, what to parse, what is not settled yet."""

from __future__ import annotations

import os

from paramstore import _files, _sidecar
from paramstore._journal import START, Position
from paramstore._state import Dimension, Document, State
from paramstore._values import ABSENT, freeze
from paramstore.errors import DocumentError, InvalidFileError, JournalError, SchemaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from paramstore._backends.local import LocalBackend

    Contents = tuple[_files.Content, _files.Content]


class NeedFiles(Exception):  # noqa: N818 - a signal between functions, never seen outside
    """The journal alone does not tell the new values."""


class Place:
    """What a state was read from: the journal position and each file's identity."""

    __slots__ = ("files", "journal")

    def __init__(self, journal: Position, files: dict[str, _files.Identity | None]) -> None:
        self.journal = journal
        self.files = files


class Loader:
    """Reads everything once. ``settled`` is false while a save or a commit is in the middle, ``moved`` is
    true when a file was replaced meanwhile: then what was read may never have stood together.

    Files are read before the journal: then whatever a commit has put in place is announced. What the
    generation file said is asked even before that: only so it tells of commits that the files show.
    """

    def __init__(self, backend: LocalBackend, last: State | None, locked: bool = False) -> None:
        self.backend = backend
        self.last = last
        self.settled = True
        self._locked = locked
        self.files: dict[str, _files.Identity | None] = {}
        self.errors: dict[str, InvalidFileError] = {}
        self._parsed = 0
        self._news = False
        self._tail: list[dict[str, Any]] = []
        self._known: dict[tuple[str, str, str], Document] = {}
        self._published = backend.published()
        contents = self._read_all()
        self.journal = self._read_journal()
        self.moved = any(_has_moved(content) for pair in contents.values() for content in pair)
        self.documents = self._documents(contents)
        self._settle_last_record({name: values.digest for name, (_, values) in contents.items()})
        if self.settled and not self.errors and (self._parsed or self._news):
            self._save_sidecar()

    def state(self) -> State:
        """Return the state, with the last good document of each namespace that has none now.

        Raises ``InvalidFileError`` when there is a namespace without any good document.
        """
        before = self.last.documents if self.last is not None else {}
        failed = {namespace_of(file) for file in self.errors}
        kept = {name: before[name] for name in failed if name in before}
        if self.last is None and self.errors:
            raise _all_in_one(list(self.errors.values()))
        documents = {**kept, **self.documents}
        return State(
            self.journal.revision,
            {name: documents[name] for name in sorted(documents)},
            Place(self.journal, self.files),
            {file: str(error) for file, error in self.errors.items()},
        )

    # -- reading ----------------------------------------------------------------------------------

    def _read_all(self) -> dict[str, Contents]:
        found = {}
        for name in self.backend.namespaces():
            schema_file, values_file = self.backend.schema_file(name), self.backend.values_file(name)
            schema = self._read(schema_file, SchemaError)
            values = self._read(values_file, DocumentError)
            if schema is not None and values is not None:
                found[name] = schema, values
        return found

    def _read(self, file: str, error: type[InvalidFileError]) -> _files.Content | None:
        self.files[file] = None
        try:
            content = self.backend.read(file, error)
        except InvalidFileError as problem:
            self.errors[file] = problem
            return None
        self.files[file] = content.identity
        return content

    def _read_journal(self) -> Position:
        try:
            return self._follow_journal()
        except OSError as error:
            file = os.path.relpath(error.filename or self.backend.journal.path, self.backend.root)
            self.errors[file] = JournalError(file, f"cannot be read: {error.strerror}")
            self.files = dict.fromkeys(self.files)  # look again
            return self.last.position.journal if self.last is not None else START

    def _follow_journal(self) -> Position:
        """Collect the documents that can be believed by hash: those of the last state or the sidecar, and
        what the journal made of them since. Return where the journal ends."""
        journal = self.backend.journal
        try:
            if self.last is not None:
                start, documents = self.last.position.journal, self.last.documents
            else:
                start, documents = _from_sidecar(_sidecar.load(self.backend.sidecar()))
            self._remember(documents)
            if not documents or not journal.holds(start):
                raise NeedFiles
            self._tail, end = journal.read(start)
            self._news = self.last is None and bool(
                self._tail
            )  # reading JSON costs half an interpreter start
            for record in self._tail:
                documents = apply_records(documents, [record])
                self._remember(documents)
        except (NeedFiles, JournalError):
            end, newest = journal.tail()
            self._tail = self._tail or ([newest] if newest is not None else [])
        return end

    def _remember(self, documents: Mapping[str, Document]) -> None:
        for name, document in documents.items():
            self._known[name, document.digest, document.schema_digest] = document

    # -- judging ----------------------------------------------------------------------------------

    def _documents(self, contents: Mapping[str, Contents]) -> dict[str, Document]:
        announced = {sums["after"] for record in self._tail for sums in record["files"].values()}
        found: dict[str, Document] = {}
        unknown: dict[str, Contents] = {}
        for name, (schema, values) in contents.items():
            document = self._known.get((name, values.digest, schema.digest))
            if document is not None:
                found[name] = document
            else:
                unknown[name] = schema, values
        strange = [pair for pair in unknown.values() if pair[1].digest not in announced]
        self.settled = all(self._is_whole(content) for pair in strange for content in pair)
        for name, pair in unknown.items():
            if not self.settled and self.last is not None and pair in strange:
                self.files[self.backend.values_file(name)] = None  # look again
                if name in self.last.documents:
                    found[name] = self.last.documents[name]
                continue
            try:
                found[name] = self._parse(name, *pair)
            except InvalidFileError as error:
                self.errors[error.file] = error
        return found

    def _is_whole(self, content: _files.Content) -> bool:
        """A writer, who cannot wait for a busy editor to rest, asks the kernel whether anyone has the
        file open for writing; everyone else waits until the bytes have been quiet for a while."""
        return content.is_quiet() or (self._locked and _files.nobody_writes(content))

    def _parse(self, name: str, schema_content: _files.Content, content: _files.Content) -> Document:
        from paramstore import _yaml

        schema = self.backend.compiled(name, schema_content)
        file = self.backend.values_file(name)
        document = schema.document(_yaml.parse(content.raw, file).data, file, content.digest)
        self._parsed += 1
        return document

    def _settle_last_record(self, digests: Mapping[str, str]) -> None:
        """Look whether the last commit is in place, and whether all of it is.

        Not at all: it is in flight or its writer died, and its revision does not stand; or it was published,
        and someone has put the old values back since. Partly (several files): not settled; if it stays so,
        finish it in memory as recovery will on disk.
        """
        if not self._tail:
            return
        files = self._tail[-1]["files"]
        now = {file: digests.get(namespace_of(file)) for file in files}
        old = [file for file, sums in files.items() if now[file] == sums["before"] != sums["after"]]
        if old and len(old) == len(files):
            if not self._is_published():
                self.journal = self._before_last_record()
        elif old and all(now[file] in (sums["before"], sums["after"]) for file, sums in files.items()):
            self.settled = False
            self._finish_in_memory()

    def _is_published(self) -> bool:
        said, end = self._published, self.journal
        return said is not None and (said.segment, said.offset) == (end.segment, end.offset)

    def _before_last_record(self) -> Position:
        """Return a place from which the last record will be read again, once it is announced. Bookmarking its
        end would make its bytes those of a stranger, which have to rest before they are believed."""
        revision = self._tail[-1]["revision"] - 1
        start = self.last.position.journal if self.last is not None else START
        if start.offset == 0 or not self.backend.journal.holds(start):
            return Position(self.journal.segment, 0, revision)
        return Position(start.segment, start.offset, revision, start.crc)

    def _finish_in_memory(self) -> None:
        if self.last is not None:
            before = self.last.documents
            self.documents = {name: before.get(name, document) for name, document in self.documents.items()}
            self.journal = self.last.position.journal
            self.files = dict.fromkeys(self.files)  # look again
            return
        try:
            self.documents = apply_records(self.documents, self._tail[-1:])
        except NeedFiles:
            pass  # a container changed: the files as they are must do until a writer recovers

    def _save_sidecar(self) -> None:
        documents = {name: _plain_document(document) for name, document in self.documents.items()}
        try:
            os.makedirs(self.backend.runtime, exist_ok=True)
        except OSError:
            return
        _sidecar.save(self.backend.sidecar(), {"journal": self.journal.plain(), "documents": documents})


def _has_moved(content: _files.Content) -> bool:
    try:
        return _files.identity(os.stat(content.path)) != content.identity
    except OSError:
        return True


def namespace_of(file: str) -> str:
    """Return the namespace that a file of the store (relative path) belongs to."""
    return os.path.basename(file).partition(".")[0]


def apply_records(
    documents: Mapping[str, Document], records: Iterable[Mapping[str, Any]]
) -> dict[str, Document]:
    """Return ``documents`` after ``records``. Raises ``NeedFiles`` when they do not build on each other."""
    found = dict(documents)
    for record in records:
        changes: dict[str, list[tuple[str, Any, Any]]] = {}
        for item in record["changes"]:
            namespace, _, path = item["key"].partition(".")
            new = item.get("new", ABSENT)
            if isinstance(new, list | dict):
                raise NeedFiles  # containers get their type from the schema
            changes.setdefault(namespace, []).append((path, item.get("context", {}), new))
        for file, sums in record["files"].items():
            document = found.get(namespace_of(file))
            if document is None or document.digest not in (sums["before"], sums["after"]):
                raise NeedFiles
            if document.digest == sums["before"]:
                name = document.namespace
                try:
                    found[name] = document.with_values(changes.get(name, ()), ABSENT, sums["after"])
                except KeyError:
                    raise NeedFiles from None  # its schema changed as well
    return found


def _all_in_one(errors: list[InvalidFileError]) -> InvalidFileError:
    """Return one error that tells of all broken files, of the first one's class."""
    first = errors[0]
    first.message = "\n".join(map(str, errors)) + "\nNo values can be served: there is no earlier good state."
    return first


def _plain_document(document: Document) -> tuple[Any, ...]:
    return (
        document.digest,
        document.schema_digest,
        tuple(dimension.plain() for dimension in document.dimensions),
        _plain(document.values),
        [(_plain(at), _plain(own)) for at, own in document.overrides],
    )


def _plain(value: Any) -> Any:
    """Return ``value`` of built-in types only, tuples kept: what marshal can hold."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple([_plain(item) for item in value])
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _from_sidecar(data: Any) -> tuple[Position, dict[str, Document]]:
    if data is None:
        return START, {}
    documents = {}
    for name, (digest, schema_digest, dimensions, values, overrides) in data["documents"].items():
        documents[name] = Document(
            name,
            {path: freeze(value) for path, value in values.items()},
            [(freeze(at), {path: freeze(v) for path, v in own.items()}) for at, own in overrides],
            tuple(Dimension(*parts) for parts in dimensions),
            digest,
            schema_digest,
        )
    return Position(*data["journal"]), documents
