"""The commit protocol on files: lock, recover, record edits by hand, write, journal, exchange, confirm.

docs/design.md numbers the steps and says which failure each prevents. The YAML is the truth and the
journal follows it: an entry counts once its file has the entry's ``after`` hash, or a later entry builds
on it. Only a failure adds a line, an ``abort``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from paramstore import _attempts, _files, _generation, _records, _yaml
from paramstore._backends._loader import Loader, Place
from paramstore._backends._plan import Plan, put_back
from paramstore._backends._recovery import leftovers, recover
from paramstore._backends._splice import splice
from paramstore._backends._texts import Texts
from paramstore._backends._unfinished import temporary_name
from paramstore._backends.base import Draft
from paramstore._clock import utc_text
from paramstore._git_state import git_folder, rebasing
from paramstore._history import changes_between, flatten, shaped
from paramstore._journal import Position
from paramstore._ledger import Ledger
from paramstore._lock import WriteLock
from paramstore._memory import Memory, recall
from paramstore._model import ABSENT, Change, Entry, FileChange
from paramstore._schema import Schema
from paramstore._state import State, namespace_of
from paramstore._values import same
from paramstore.errors import ConflictError, DurabilityUnknownError, InvalidFileError, WriteError

if TYPE_CHECKING:
    from paramstore._backends.local import LocalBackend
    from paramstore._clock import Clock


SETTLE_S = 1.0  # how long a writer waits for a save in progress to end


class LocalWriter(Memory):
    """What one process keeps between its commits: how far it knows the journal, and parsed files."""

    session_class: type[LocalSession]

    def __init__(self, backend: LocalBackend) -> None:
        super().__init__()
        self.backend = backend
        self.texts = Texts()
        self.state: State | None = None  # what this process last saw under the lock
        self._git_folder: str | None = ""  # not looked for yet
        self._started = False
        self._journal_file: _files.Identity | None = None  # of the last segment, as this process left it

    @contextmanager
    def session(self, timeout_s: float, last: State | None, tolerant: bool = False) -> Iterator[LocalSession]:
        backend = self.backend
        if not os.path.isdir(backend.runtime):
            try:
                _files.make_runtime(backend.runtime)  # should it be no directory, the lock file will say so
            except OSError as error:
                raise refused(error, self.stands(last)) from error
        if not tolerant:
            self._refuse_amid_rebase(last)
        with self.held(timeout_s) as lock:
            good = self.state
            try:
                yield self.session_class(self, lock, self.prepare(last, tolerant))
            finally:
                if self.state is not None and self.state.missing():
                    self.state = good  # one that lacks what is broken is for a freeze only

    @contextmanager
    def held(self, timeout_s: float) -> Iterator[WriteLock]:
        """Hold the store for writing."""
        gates = self.backend.path("schemas"), self.backend.path("params")
        with WriteLock(gates, f"{self.backend.runtime}/lock", timeout_s) as lock:
            yield lock

    def _refuse_amid_rebase(self, last: State | None) -> None:
        """Raise ``WriteError`` while git replays commits in this work tree: what stands in the files now is a state
        that nobody decided on, and a change to them would stop git half way."""
        if self._git_folder == "":
            self._git_folder = git_folder(self.backend.root)
        if rebasing(self._git_folder):
            raise WriteError(
                f"A git rebase is under way around {self.backend.root}: finish it (`git rebase --continue`) or abort it "
                f"(`git rebase --abort`). Nothing was written; revision {self.stands(last)} stands."
            )

    def prepare(self, last: State | None, tolerant: bool = False) -> State:
        """Recover, load, and record edits by hand: the state that a transaction starts from."""
        if last is None or (self.state is not None and self.state.position.is_after(last.position)):
            last = self.state
        try:
            self._catch_up()
            self.state = self._record_strange(self._load(last, tolerant))
            return self.state
        except OSError as error:
            raise refused(error, self.stands(last)) from error
        except InvalidFileError as error:
            raise unwritten(error, self.stands(last)) from None

    def stands(self, last: State | None) -> int:
        return last.revision if last is not None else self.position.revision

    def absorb(self, record: dict[str, Any]) -> None:
        super().absorb(record)
        self.texts.follow(record)

    # -- before the transaction's own work --------------------------------------------------------

    def _catch_up(self) -> None:
        """Read what others appended, set a torn tail aside, and finish or undo what a dead writer began."""
        backend = self.backend
        known = self._started and self._journal_file is not None and self._journal_file == self._segment()
        if known and self._is_published(self.position):
            return
        backend.journal.end_last_line()  # first: it may be an abort, which takes back what would be known by then
        if not self._started or not backend.journal.holds(self.position):
            self._begin_anew()
        backend.journal.repair(self._read_on())
        published = self._is_published(self.position)
        if self._started and published:
            return
        # if it was published it took place, whatever was put back since
        if self.last is not None and not published and not recover(self, self.last):
            self._begin_anew()  # what was taken back has left its traces
            self._read_on()
        leftovers(self)
        self._started = True

    def _begin_anew(self) -> None:
        self.become(recall(self.backend.memory_file(), self.backend.journal))

    def _read_on(self) -> Position:
        """Take note of what stands in the journal after what is known, and return where it ends."""
        while self.read_on(self.backend.journal) or self.aborted:  # until nothing came meanwhile
            if self.aborted:
                self._begin_anew()
        return self.position

    def _segment(self) -> _files.Identity | None:
        """Return the identity of the segment that this process wrote last, if it is still the last."""
        journal, position = self.backend.journal, self.position
        try:
            last = journal.segments()[-1:] == [position.segment]  # git may bring a later one
            return _files.identity(os.stat(journal.file(position.segment))) if last else None
        except OSError:
            return None

    def _is_published(self, end: Position) -> bool:
        published = self.backend.published()
        return published is not None and (published.segment, published.offset) == (end.segment, end.offset)

    def _load(self, last: State | None, tolerant: bool) -> State:
        """Return the state on disk, waiting a moment for a save in progress to end."""
        backend = self.backend
        if (
            last is not None
            and last.position.journal.plain() == self.position.plain()
            and not backend.poll(last)
        ):
            return last
        deadline = time.monotonic() + SETTLE_S
        while True:
            loader = Loader(backend, last, locked=True)
            if loader.settled or time.monotonic() > deadline:
                return loader.state(tolerant)
            time.sleep(0.002)

    def _record_strange(self, state: State) -> State:
        """Journal what was edited by hand since the last entry, as an entry of its own.

        The very first entry of a journal is revision 0: the values that stood before any commit.
        """
        strange = {
            name: document
            for name, document in state.documents.items()
            if self.after.get(self.backend.values_file(name)) != document.digest
        }
        broken = {namespace_of(file) for file in state.problems}
        strange = {name: document for name, document in strange.items() if name not in broken}
        if not strange:
            return state
        schemas = {name: self.backend.schema(name) for name in strange}
        written = {place: v for place, v in self.written.items() if place[0].split(".")[0] in strange}
        first = self.last is None  # not by the offset: a new segment may be empty
        changes = changes_between(shaped(written, schemas), flatten(strange))
        after_join = self.lacks([self.backend.values_file(name) for name in strange])
        only_joined = after_join and not changes
        entry = Entry(
            revision=0 if first else self.position.revision + (not only_joined),
            id=os.urandom(8).hex(),
            **self.dated(),
            kind="merge" if only_joined else "external",
            author="paramstore" if only_joined else "external",
            reason=self._why_strange(strange, after_join),
            changes=changes,
            details={"joined": []} if only_joined else {"merged": True} if after_join else {},
            files={
                self.backend.values_file(name): FileChange(
                    self.after.get(self.backend.values_file(name)), doc.digest
                )
                for name, doc in strange.items()
            },
        )
        self.append(entry)
        self.publish()
        return State(
            entry.revision,
            state.documents,
            Place(self.position, state.position.files),
            state.problems,
        )

    def _why_strange(self, strange: Iterable[str], after_join: bool) -> str:
        if self.last is None:
            return "values before the first commit"
        if after_join:
            return "the files after a merge"
        known = any(self.backend.values_file(name) in self.after for name in strange)
        return "edited outside a transaction" if known else "values as first seen"

    def dated(self) -> dict[str, Any]:
        """Return when an entry is made: by the clock, and by the machine's uptime."""
        clock = self.backend.clock
        return {"time": utc_text(clock.now()), "uptime": clock.uptime()}

    # -- steps that recovery shares ---------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        """Put one entry on disk at the journal's end."""
        record, line = _records.encode(entry)
        self.position = self.backend.journal.append(line, self.position, entry.revision)
        self.absorb({**record, "crc": self.position.crc.decode()})

    def abort(self, record: Mapping[str, Any], why: str) -> None:
        """Record that an entry did not take place; its revision is given back. What was noted of it is forgotten by
        reading the journal anew."""
        revision = record["revision"]
        entry = Entry(
            revision=revision,
            id=os.urandom(8).hex(),
            **self.dated(),
            kind="abort",
            author="paramstore",
            reason=why,
            evidence={"aborts": record["id"]},
        )
        _, line = _records.encode(entry)
        end = self.backend.journal.append(line, self.position, revision)
        self.position = Position(end.segment, end.offset, revision - 1, end.crc)

    def abort_last(self, why: str) -> None:
        """Take back the entry just appended. Should even that fail, the next session starts from what
        is on disk and recovers."""
        record = self.last
        assert record is not None
        self.forget()
        self.abort(record, why)
        self.publish()  # else the entry before it would be judged again, by what stands in its files later

    def forget(self) -> None:
        """Have the next session read everything anew, and recover."""
        self._started = False

    def publish(self) -> None:
        end = self.position
        self._journal_file = self._segment()
        with suppress(OSError):  # readers then see the files by looking at them, a moment later
            _generation.publish(self.backend.generation_path, end.revision, end.segment, end.offset)


class LocalSession:
    """One locked transaction on files. See ``base.Session``."""

    def __init__(self, writer: LocalWriter, lock: WriteLock, state: State) -> None:
        self.writer = writer
        self.lock = lock
        self.state = state

    @property
    def ledger(self) -> Ledger:
        return self.writer.ledger

    @property
    def clock(self) -> Clock:
        return self.writer.backend.clock

    def schema(self, namespace: str) -> Schema:
        try:
            return self.writer.backend.schema(namespace, self.state.documents[namespace].schema_digest)
        except InvalidFileError as error:
            raise unwritten(error, self.state.revision) from None

    def refresh(self) -> State:
        self.state = self.writer.prepare(self.state)
        return self.state

    def came(self, author: str) -> None:
        with suppress(OSError):
            _attempts.note(self.writer.backend.runtime, author, self.clock.now())

    def commit(self, draft: Draft) -> tuple[State, Entry]:
        try:
            plans = self._plan(draft)
            entry = self._entry(draft, plans)
            self._apply(plans, entry)
        except DurabilityUnknownError:
            raise
        except OSError as error:
            raise refused(error, self.state.revision) from error
        return self._confirm(plans, entry)

    def _entry(self, draft: Draft, plans: list[Plan]) -> Entry:
        entry = Entry(
            revision=self.writer.position.revision + (draft.kind not in _records.VALUELESS),
            id=os.urandom(8).hex(),
            **self.writer.dated(),
            kind=draft.kind,
            author=draft.author,
            reason=draft.reason,
            evidence=draft.evidence,
            changes=draft.changes,
            files={plan.file: FileChange(plan.document.digest, plan.after) for plan in plans},
            details=draft.details,
        )
        for plan in plans:
            plan.temporary = temporary_name(plan.target, entry.id)
        return entry

    def _plan(self, draft: Draft) -> list[Plan]:
        """Splice the changes into each file's text, in memory."""
        by_namespace: dict[str, list[Change]] = {}
        for change in draft.changes:
            if not same(change.old, change.new):  # else a rule kept it as it was, which is only recorded
                by_namespace.setdefault(change.key.partition(".")[0], []).append(change)
        return [self._plan_file(name, changes) for name, changes in by_namespace.items()]

    def _plan_file(self, name: str, changes: list[Change]) -> Plan:
        backend, document = self.writer.backend, self.state.documents[name]
        file = backend.values_file(name)
        target = _files.resolve(backend.path(file))
        known = self.writer.texts.get(document.digest)
        if known is None:
            content = _files.read_whole(target)
            if content.digest != document.digest:
                raise changed_meanwhile(file, self.state.revision)
            known = _yaml.parse(content.raw, file)
        return Plan(file, target, document, changes, known.raw, splice(known, changes))

    def _apply(self, plans: list[Plan], entry: Entry) -> None:
        """Steps 5 to 9: everything up to the new bytes having their names. All or none."""
        writer = self.writer
        with ExitStack() as cleanup:
            for plan in plans:
                _files.write_new(plan.temporary, plan.text.raw, plan.target)
                cleanup.callback(plan.discard)
            if len(plans) > 1:  # recovery goes forward by these files, so their names must be on disk first
                sync_folders(plan.target for plan in plans)
            self.lock.check()
            self._check_base(
                plans
            )  # most saves come while the disk syncs: found here, they leave no aborted entry
            writer.append(entry)
            try:
                self._swap(plans)
            except BaseException as why:
                try:
                    put_back(plans)
                except OSError as error:
                    cleanup.pop_all()  # recovery needs the temporary files to finish or undo
                    writer.forget()
                    raise cut_off(entry.revision, error) from why
                writer.abort_last("the values could not be put in place")
                raise
            cleanup.pop_all()

    def _check_base(self, plans: list[Plan]) -> None:
        """Raise ``ConflictError`` when someone saved meanwhile. The exchange compares the bytes once more."""
        for plan in plans:
            seen = self.state.position.files.get(plan.file)
            if _files.identity(os.stat(plan.target)) != seen and not _files.holds(plan.target, plan.base):
                raise changed_meanwhile(plan.file, self.state.revision)

    def _swap(self, plans: list[Plan]) -> None:
        for plan in plans:
            self._check_base([plan])
            plan.touched = True
            if not _files.swap_in(plan.temporary, plan.target, plan.base):
                raise changed_meanwhile(plan.file, self.state.revision)

    def _confirm(self, plans: list[Plan], entry: Entry) -> tuple[State, Entry]:
        """Steps 10 and 11: on disk, told to all, and the old bytes gone."""
        unknown: OSError | None = None
        try:
            sync_folders(plan.target for plan in plans)
        except OSError as error:
            unknown = error
        self.writer.publish()
        state = self._next_state(plans, entry)
        if unknown is not None:
            raise DurabilityUnknownError(
                f"Revision {entry.revision} is in place and readers see it, but the disk did not confirm it "
                f"({unknown.strerror}): it may be lost in a power failure. Do not retry; check the disk, then run "
                "`paramstore check`."
            ) from unknown
        for plan in plans:
            plan.discard()
        return state, entry

    def _next_state(self, plans: list[Plan], entry: Entry) -> State:
        documents = dict(self.state.documents)
        files = dict(self.state.position.files)
        for plan in plans:
            name = plan.document.namespace
            places = [(change.key.partition(".")[2], change.context, change.new) for change in plan.changes]
            documents[name] = plan.document.with_values(places, ABSENT, plan.after)
            self.writer.texts.put(plan.document.digest, plan.after, plan.text)
            files[plan.file] = plan.placed()
        position = Place(self.writer.position, files)
        self.writer.state = State(entry.revision, documents, position, self.state.problems)
        return self.writer.state


LocalWriter.session_class = LocalSession


def cut_off(revision: int, error: OSError) -> DurabilityUnknownError:
    return DurabilityUnknownError(
        f"Revision {revision} was cut off in the middle: the disk refused both to finish and to undo it "
        f"({error.strerror}). The next transaction finishes or undoes all of it. Check the disk first.",
        applied=False,
    )


def sync_folders(targets: Iterable[str]) -> None:
    for folder in {os.path.dirname(target) for target in targets}:
        _files.fsync_directory(folder)


def refused(error: OSError, revision: int) -> WriteError:
    where = f"{error.filename}: " if error.filename else ""
    return WriteError(f"{where}{error.strerror or error}. Nothing was written; revision {revision} stands.")


def unwritten(error: InvalidFileError, revision: int) -> InvalidFileError:
    """Return ``error`` with the sentence that every refused write ends in."""
    error.message = f"{error.message.rstrip('.')}. Nothing was written; revision {revision} stands."
    return error


def changed_meanwhile(file: str, revision: int) -> ConflictError:
    return ConflictError(
        f"{file} was saved by someone else during the commit; their save stands. Nothing was written by this "
        f"transaction; revision {revision} stands."
    )
