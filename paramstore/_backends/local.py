"""Values in YAML files under a root directory: how they are found, read, trusted and kept fresh.

The commit itself is in ``_commit``. Readers take no lock and need no write permission.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock

from paramstore import _files, _trust
from paramstore._backends._follow import NeedFiles, apply_records, standing
from paramstore._backends._loader import Loader, Place
from paramstore._clock import SYSTEM
from paramstore._generation import Generation, Published, create
from paramstore._journal import START, Journal, Position
from paramstore._options import Options, is_root
from paramstore._state import State
from paramstore.errors import InvalidFileError, JournalError, SchemaError, WriteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from paramstore._backends._commit import LocalWriter
    from paramstore._backends.base import Session
    from paramstore._clock import Clock
    from paramstore._history import Written
    from paramstore._ledger import Ledger
    from paramstore._memory import Memory
    from paramstore._outline import Line
    from paramstore._schema import Schema

RUNTIME = ".paramstore"
SETTLE_S = 1.0  # how long a load waits for a save in flight to end where nothing else tells what stands
# How long any load tries to see all files side by side while others commit all the time. It must be far longer: what was
# read at different moments may mix two revisions, which is worse than waiting on a machine that has too much to do.
TOGETHER_S = 30.0


class LocalBackend:
    """The files under ``root``; see ``base.Backend`` for what each method promises."""

    def __init__(self, root: str, options: Options, clock: Clock = SYSTEM) -> None:
        self.root = root
        self.options = options
        self.clock = clock
        self.journal = Journal(os.path.join(root, options.journal))
        self.runtime = os.path.join(root, RUNTIME)
        self.generation_path = os.path.join(self.runtime, "generation")
        self._generation: Generation | None = None
        self._index = 0
        self._schemas: dict[str, Schema] = {}
        self._writer: Any = None
        self._past: Memory | None = None
        self._past_lock = allocate_lock()

    # -- names ------------------------------------------------------------------------------------

    def values_file(self, namespace: str) -> str:
        return f"params/{namespace}.yaml"

    def schema_file(self, namespace: str) -> str:
        return f"schemas/{namespace}.schema.json"

    def path(self, file: str) -> str:
        """Return the absolute path of a file named relative to the root."""
        return f"{self.root}/{file}"

    def namespaces(self) -> list[str]:
        """Return every namespace that has a schema or a values file, sorted."""
        found = {n.removesuffix(".schema.json") for n in _files.names(self.path("schemas"), ".schema.json")}
        found |= {n.removesuffix(".yaml") for n in _files.names(self.path("params"), ".yaml")}
        return sorted(found)

    # -- freshness --------------------------------------------------------------------------------

    def signal(self) -> object:
        """Return an object that turns true once a commit supersedes what a ``load`` after this call sees."""
        published, generation = self.published(), self._generation
        if generation is None:
            return _Missing(self.generation_path)
        self._index = published.index if published is not None else self._index
        return generation.flag(self._index)

    def published(self) -> Published | None:
        """Return what the last publisher said, if there is a generation file that tells."""
        if self._generation is None or not self._generation.is_current():
            self._generation, self._index = self._map_generation(), 0
        return self._generation.published() if self._generation is not None else None

    def _map_generation(self) -> Generation | None:
        if self._why_not():
            return None  # a first load says so; nothing is made or believed in such a place
        try:
            if not os.path.exists(self.generation_path):
                _files.make_runtime(self.runtime)
                create(self.generation_path, Published(0, 0, 0, 0))
            return Generation(self.generation_path)
        except OSError:
            return None  # no write permission and no writer yet: _Missing looks for the file instead

    def _why_not(self) -> str:
        return _trust.why_not(self.root, self.options.any_user_may_write) or self._why_not_journal()

    def _why_not_journal(self) -> str:
        try:
            segments = [] if self.options.any_user_may_write else self.journal.segments()
        except OSError:
            return ""  # told by whoever needs it
        return _trust.why_not_files(map(self.journal.file, segments))

    # -- loading ----------------------------------------------------------------------------------

    def load(self, last: State | None, files: bool = False) -> State:
        """Return the newest good state. See ``base.Backend.load``."""
        if last is not None and not is_root(
            self.root
        ):  # moved, or a mount that went away: nothing was removed
            problems = {"params/": f"{self.root} no longer holds params/ and schemas/: bring them back"}
            return State(last.revision, last.documents, last.position, problems)
        if last is not None and not files:
            try:
                advanced = self._advance(last)
            except (NeedFiles, OSError, JournalError):
                advanced = None
            if advanced is not None:
                return advanced
        return self._load_files(last)

    def _advance(self, last: State) -> State | None:
        """Apply what was published since ``last`` from the journal's tail, without reading any YAML."""
        published = self._generation.published() if self._generation is not None else None
        place: Place = last.position
        if published is None:
            return None
        end = Position(published.segment, published.offset, published.revision)
        found = self.journal.following(place.journal, end)
        if found is None and not self.journal.holds(place.journal):
            return None
        if (end.segment, end.offset) <= (place.journal.segment, place.journal.offset):
            return last if end.revision == last.revision else None
        documents, position = last.documents, place.journal
        for lines, reached in [found] if found is not None else self.journal.parts(position, end):
            documents, position = apply_records(documents, standing(lines)), reached
        return State(position.revision, documents, Place(position, place.files), last.problems)

    def _load_files(self, last: State | None) -> State:
        problem = self._why_not() if last is None else ""
        if problem:
            raise InvalidFileError(self.root, problem)
        if last is not None and (problem := self._why_not_journal()):  # who runs goes on with what was good
            return State(last.revision, last.documents, last.position, {self.options.journal: problem})
        begin = time.monotonic()
        while True:
            loader = Loader(self, last)
            settled = loader.settled or (last is not None and loader.sure)
            patience_s = TOGETHER_S if loader.moved else 0.0 if settled else SETTLE_S
            if time.monotonic() - begin >= patience_s:
                return loader.state()
            time.sleep(0.001 if loader.moved else 0.02)

    def poll(self, last: State) -> bool:
        """Tell whether any file may differ from ``last``: a few ``stat`` calls."""
        if self._generation is not None and not self._generation.is_current():
            return True
        place: Place = last.position
        names = self.namespaces()
        files = [file for name in names for file in (self.values_file(name), self.schema_file(name))]
        if place.files.keys() != set(files):
            return True
        for file in files:
            try:
                if _files.identity(os.stat(self.path(file))) != place.files[file]:
                    return True
            except OSError:
                if place.files.get(file) is not None:
                    return True
        return False

    def schema(self, namespace: str, digest: str = "") -> Schema:
        """Return the compiled schema: that of ``digest`` if it is at hand, else as its file stands now.

        Raises ``SchemaError``.
        """
        known = self._schemas.get(namespace)
        if known is not None and known.digest == digest:
            return known
        return self.compiled(namespace, self.read(self.schema_file(namespace), SchemaError))

    def compiled(self, namespace: str, content: _files.Content) -> Schema:
        """Compile ``content``, or return what the same bytes gave before."""
        known = self._schemas.get(namespace)
        if known is None or known.digest != content.digest:
            from paramstore._schema import load_schema

            known = load_schema(namespace, content.raw, self.schema_file(namespace), content.digest)
            self._schemas[namespace] = known
        return known

    def read(self, file: str, error: type[InvalidFileError]) -> _files.Content:
        """Return the content of a file named relative to the root, or raise ``error``."""
        try:
            content = _files.read_whole(self.path(file))
        except FileNotFoundError:
            raise error(file, _missing(file)) from None
        except OSError as problem:
            raise error(file, f"cannot be read: {problem.strerror}") from None
        unsafe = _trust.open_to_anyone(self.path(file), content.mode)
        if unsafe and not self.options.any_user_may_write:
            raise error(file, unsafe)
        return content

    # -- the rest of the protocol -----------------------------------------------------------------

    def past(self) -> Ledger:
        """Return the ledger of the journal, reading on from where the last call came to."""
        with self._past_lock:
            return self._read_past().ledger

    def written(self) -> Written:
        with self._past_lock:
            return dict(self._read_past().written)

    def _read_past(self) -> Memory:
        from paramstore._memory import recall

        known, self._past = self._past, None  # should an entry be damaged, the next call begins anew
        if known is None or not self.journal.holds(known.position):
            known = recall(self.memory_file(), self.journal)
        else:
            known.read_on(self.journal)
        if known.aborted:  # of an entry that was taken in
            known = recall(self.memory_file(), self.journal)
        self._past = known
        return known

    def session(
        self, timeout_s: float, last: State | None, tolerant: bool = False
    ) -> AbstractContextManager[Session]:
        if self._writer is None:
            self._writer = self._make_writer()
        if problem := self._why_not():
            stands = self._writer.stands(last)
            raise WriteError(f"{problem}. Nothing was written; revision {stands} stands.")
        session: AbstractContextManager[Session] = self._writer.session(timeout_s, last, tolerant)
        return session

    def _make_writer(self) -> LocalWriter:
        from paramstore._backends._commit import LocalWriter

        return LocalWriter(self)

    def records(self) -> list[dict[str, Any]]:
        return self.journal.read(START)[0]

    def lines(self) -> list[Line]:
        from paramstore._scan import scan

        return scan(self.journal)

    def visits(self) -> dict[str, float]:
        from paramstore import _attempts

        return _attempts.load(self.runtime)

    def age_s(self) -> float:
        return 0.0  # files tell at once

    def close(self) -> None:
        """Nothing is held that would have to be given back."""

    def after_fork(self) -> None:
        self._writer = None
        self._past, self._past_lock = None, allocate_lock()

    def sidecar(self) -> str:
        return os.path.join(self.runtime, "cache")

    def memory_file(self) -> str:
        return os.path.join(self.runtime, "memory")


def _missing(file: str) -> str:
    if file.startswith("params/"):
        return (
            f"the file is missing. `git checkout -- {file}` brings back the values of the last git commit; "
            "`paramstore check --fix` writes the schema's defaults, and `paramstore rollback` to the newest revision before that "
            "brings back what the journal has, which is all that was committed"
        )
    return "the file is missing: every namespace in params/ needs its schema"


class _Missing:
    """The signal while there is no generation file and this process may not make one: one look at the
    disk per read, until a writer makes the file."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __bool__(self) -> bool:
        try:
            os.stat(self.path)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # it may be there and not be ours to see: look at the files
        return True
