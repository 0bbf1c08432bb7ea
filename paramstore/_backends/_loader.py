"""One pass over the files of a store: what to believe by hash, what to parse, what is not settled yet."""

from __future__ import annotations

import os
from contextlib import suppress

from paramstore import _files, _sidecar
from paramstore._backends._follow import FOUND, NeedFiles, apply_records, forward, is_after, told
from paramstore._journal import START, Position, without_aborted
from paramstore._records import SAID
from paramstore._state import Dimension, Document, State, namespace_of
from paramstore._values import freeze
from paramstore.errors import DocumentError, InvalidFileError, JournalError, SchemaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from paramstore._backends.local import LocalBackend

    Contents = tuple[_files.Content, _files.Content]


class Place:
    """What a state was read from: the journal position and each file's identity."""

    __slots__ = ("files", "journal")

    def __init__(self, journal: Position, files: dict[str, _files.Identity | None]) -> None:
        self.journal = journal
        self.files = files

    def is_after(self, other: Place) -> bool:
        """Tell whether this was read at a later place in the journal."""
        mine, theirs = self.journal, other.journal
        return (mine.segment, mine.offset) > (theirs.segment, theirs.offset)


class Loader:
    """Reads everything once. ``settled`` is false while a save is in the middle, and ``sure`` while besides the journal
    does not tell what stands instead; ``moved`` is true when a file was replaced meanwhile and the journal
    could not tell how to bring what was read together: it may never have stood side by side.

    Files are read before the journal: then whatever a commit has put in place is announced. What the
    generation file said, and where the journal is followed from, is asked even before that.
    """

    def __init__(self, backend: LocalBackend, last: State | None, locked: bool = False) -> None:
        self.backend = backend
        self.last = last
        self.settled = self.sure = True
        self._partial = False
        self._locked = locked
        self.files: dict[str, _files.Identity | None] = {}
        self.errors: dict[str, InvalidFileError] = {}
        self._parsed = 0
        self._news = False
        self._tail: list[dict[str, Any]] = []
        self._seen: list[dict[str, Any]] = []  # without a last one that is not in place
        self._strange: list[str] = []  # namespaces of which the file must rest before it is believed
        self._known: dict[tuple[str, str, str], Document] = {}
        self._believed: Mapping[str, Document] = {}
        self._published = backend.published()
        self._start = self._bookmark()
        contents = self._read_all()
        self.journal = self._read_journal()
        self._seen = self._tail
        moved = {name for name, pair in contents.items() if any(map(_has_moved, pair))}
        self.moved = bool(moved)
        self.documents = self._documents(contents)
        digests = {name: values.digest for name, (_, values) in contents.items()}
        if moved and self._bring_together(digests, moved):
            self.moved = False
        else:
            self._settle_last_record(contents)
        rough = self.moved or self._partial or self.errors
        if self.settled and not rough and (self._parsed or self._news):
            self._save_sidecar()

    def state(self, tolerant: bool = False) -> State:
        """Return the state, with the last good document of each namespace that has none now.

        Raises ``InvalidFileError`` when there is a namespace without any good document, unless ``tolerant``.
        """
        kept: dict[str, Document] = {}
        for file in self.errors:
            self._keep(namespace_of(file), kept)
        if self.last is None and self.errors and not tolerant:
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

    def _bookmark(self) -> Position:
        """Remember the documents of the last state or the sidecar; return the place in the journal where
        they stood, or where it ends now."""
        journal = self.backend.journal
        start: Position
        if self.last is not None:
            start, documents = self.last.position.journal, self.last.documents
        else:
            start, documents = _from_sidecar(_sidecar.load(self.backend.sidecar()))
        self._remember(documents)
        if documents and journal.holds(start):
            self._believed = documents
            return start
        try:
            return journal.tail()[0]
        except OSError:
            return START  # told when the journal is followed

    def _follow_journal(self) -> Position:
        """Collect what the journal made of the documents that can be believed by hash. Return where the
        journal ends."""
        journal = self.backend.journal
        try:
            older: list[dict[str, Any]] = []
            newer: list[dict[str, Any]] = []
            for lines, reached in journal.parts(self._start):
                if older:  # two parts are kept: what can be in flight, or in a file that was just read, is in the last
                    self._believed = told(self._believed, older)
                older, newer, end = newer, lines, reached
            self._tail = without_aborted([*older, *newer])
            documents = self._believed
            if not documents:
                raise NeedFiles
            self._news = self.last is None and bool(self._tail)  # reading JSON costs half a start
            for record in self._tail:
                documents = apply_records(documents, [record])
                self._remember(documents)
        except NeedFiles:
            if self._tail:
                return end  # never a later end than that of the entries seen
            last, newest = journal.tail()
            if newest is not None and last.plain() == end.plain():
                self._tail = [newest]
        except JournalError:
            end, newest = journal.tail()
            self._tail, self._believed = [newest] if newest is not None else [], {}
        return end

    def _remember(self, documents: Mapping[str, Document]) -> None:
        for name, document in documents.items():
            self._known[name, document.digest, document.schema_digest] = document

    # -- judging ----------------------------------------------------------------------------------

    def _documents(self, contents: Mapping[str, Contents]) -> dict[str, Document]:
        found: dict[str, Document] = {}
        unknown: dict[str, Contents] = {}
        for name, (schema, values) in contents.items():
            document = self._known.get((name, values.digest, schema.digest))
            if document is not None:
                found[name] = document
            else:
                unknown[name] = schema, values
        strange = self._unsettled(unknown.values(), self._tail)
        if strange:  # the files of the commits just before the tail have not rested yet either
            strange = self._unsettled(strange, self.backend.journal.recent())
        self.settled = not strange
        for name, pair in unknown.items():
            if not self.settled and self.last is not None and pair in strange:
                self.files[self.backend.values_file(name)] = None  # look again
                self._strange.append(name)
                self._keep(name, found)
                continue
            self._take(name, pair[0], pair[1].raw, pair[1].digest, found)
        return found

    def _keep(self, name: str, found: dict[str, Document]) -> None:
        """Put what commits have made of a namespace whose own file cannot be believed now into ``found``, if there ever
        was one. Not merely what was last read: what was acknowledged since would be missing."""
        if self.last is None:
            return
        try:
            if name in self._believed:
                found[name] = forward(self._believed[name], self._seen)
                return
        except NeedFiles:
            pass
        self.sure = False
        if name in self.last.documents:
            found[name] = self.last.documents[name]

    def _unsettled(self, pairs: Iterable[Contents], records: Iterable[Mapping[str, Any]]) -> list[Contents]:
        """Return the pairs that may be half of a save: values that no record announces and that have not
        rested, and schemas, which nobody announces."""
        announced = {sums["after"] for record in records for sums in record["files"].values()}
        return [
            (schema, values)
            for schema, values in pairs
            if not self._is_whole(schema) or not (values.digest in announced or self._is_whole(values))
        ]

    def _is_whole(self, content: _files.Content) -> bool:
        """A writer, who cannot wait for a busy editor to rest, asks the kernel whether anyone has the
        file open for writing; everyone else waits until the bytes have been quiet for a while."""
        return content.is_quiet() or (self._locked and _files.nobody_writes(content))

    def _take(
        self, name: str, schema: _files.Content, raw: bytes, digest: str, found: dict[str, Document]
    ) -> None:
        """Parse the bytes of a values file into ``found``, or note why they cannot be used."""
        from paramstore import _yaml

        file = self.backend.values_file(name)
        try:
            compiled = self.backend.compiled(name, schema)
            found[name] = compiled.document(_yaml.parse(raw, file).data, file, digest)
            self._parsed += 1
        except InvalidFileError as error:
            self.errors[error.file] = error

    def _settle_last_record(self, contents: Mapping[str, Contents]) -> None:
        """Look whether the last commit is in place, all of it, and else take the files as they are without it.

        A commit that was published stands, whatever someone has put back since. Else it is in flight or its writer died.
        """
        if not self._tail or self._locked or self._is_settled():  # a writer has recovered before it loads
            return
        from paramstore._backends._unfinished import Unfinished, as_read

        record = self._tail[-1]
        seen = {self.backend.values_file(name): (v.raw, v.digest) for name, (_, v) in contents.items()}
        try:
            files = [
                Unfinished(_files.resolve(self.backend.path(file)), file, record, seen.get(file, (b"", None)))
                for file in record["files"]
            ]
        except OSError as error:
            self._leave_out(record, error)
            return
        stands, instead = as_read(files)
        whole = all(file.done for file in files) or not any(file.done for file in files)
        if instead or not whole:  # the writer may have gone on since the files were read: then look again
            self.moved = self.moved or any(_has_moved(values) for _, values in contents.values())
        if files and (instead or not stands):
            self._seen = self._tail if stands else self._tail[:-1]
            self.journal = self._before_last_record(record["revision"] - (not stands))
        for name in self._strange:
            self._keep(name, self.documents)
        for file in instead:
            name = namespace_of(file.file)
            self._partial, self.files[file.file] = True, None  # look again
            if file.spare not in (file.before, file.after) and not file.quiet:  # a save that may go on
                self.settled = False
                self._keep(name, self.documents)
            elif name in contents:  # else it is told that it cannot be read
                self._take(name, contents[name][0], file.spare_raw, file.spare or "", self.documents)

    def _leave_out(self, record: Mapping[str, Any], error: OSError) -> None:
        """Have none of the files of a commit that was cut off believed, because one of those beside them cannot be read."""
        self.settled = self.sure = False
        self._seen, self.journal = self._tail[:-1], self._before_last_record(record["revision"] - 1)
        for file in record["files"]:
            self.documents.pop(namespace_of(file), None)
            why = f"amid a commit that was cut off, and {error.filename} cannot be read: {error.strerror}. The next commit settles it"
            self.errors[file], self.files[file] = DocumentError(file, why), None

    def _bring_together(self, digests: Mapping[str, str], moved: set[str]) -> bool:
        """Bring documents that were read at different moments to what stood at the end of the journal.

        Only where the journal leaves no doubt: each file that moved held bytes that it knows, the last commit
        is either in place or not begun, and no file that held still is touched.
        """
        standing = self._standing(digests, moved)
        if standing is None:
            return False
        records, end = standing
        found = {}
        for name, document in self.documents.items():
            try:
                found[name] = forward(document, records)
            except NeedFiles:
                return False
            known = name in self._believed and self._believed[name].digest == document.digest
            if name in moved and not (known or is_after(document, records)):
                return False  # an edit by hand, or a commit that was taken back
            if name not in moved and found[name] is not document:
                return False  # someone has put it back
        self.documents, self.journal = found, end
        return True

    def _standing(
        self, digests: Mapping[str, str], moved: set[str]
    ) -> tuple[list[dict[str, Any]], Position] | None:
        """Return the records that stand and where they end; ``None`` while the last is neither in place nor
        clearly not begun, or there is none."""
        if not self._tail:
            return None
        last = self._tail[-1]["files"]
        now = {file: digests.get(namespace_of(file)) for file in last}
        settled = self._is_settled()
        if settled or all(now[file] == sums["after"] for file, sums in last.items()):
            in_place = True
        elif all(now[file] == sums["before"] for file, sums in last.items()):
            in_place = False
        else:
            return None
        if not settled and any(namespace_of(file) in moved for file in last):
            return None  # in flight, and what was read of it may be older
        if in_place:
            return self._tail, self.journal
        return self._tail[:-1], self._before_last_record(self._tail[-1]["revision"] - 1)

    def _is_settled(self) -> bool:
        """Tell whether the last record took place for sure: it was published, tells what was found, or a line follows it."""
        said, end, record = self._published, self.journal, self._tail[-1]
        if said is not None and (said.segment, said.offset) == (end.segment, end.offset):
            return True
        from paramstore._backends._unfinished import is_last_line

        return record["kind"] in FOUND or SAID in record or not is_last_line(record, end)

    def _before_last_record(self, revision: int) -> Position:
        """Return a place from which the last record will be read again, once it is announced, and judged until then.
        Bookmarking its end would make its bytes those of a stranger, which have to rest before they are believed."""
        with suppress(OSError):
            found = self.backend.journal.before(self._tail[-1], self.journal, revision)
            if found is not None:
                return found
        return Position(self.journal.segment, 0, revision)

    def _save_sidecar(self) -> None:
        documents = {name: _plain_document(document) for name, document in self.documents.items()}
        try:
            _files.make_runtime(self.backend.runtime)
        except OSError:
            return
        _sidecar.save(self.backend.sidecar(), {"journal": self.journal.plain(), "documents": documents})


def _has_moved(content: _files.Content) -> bool:
    try:
        return _files.identity(os.stat(content.path)) != content.identity
    except OSError:
        return True


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
