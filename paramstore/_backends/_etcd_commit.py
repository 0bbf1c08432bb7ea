"""The commit of a store in etcd: hold it, bring the mirror in step, judge as any store does, and write one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from paramstore import _records
from paramstore._backends._commit import LocalSession, LocalWriter, unwritten
from paramstore._backends._mirror import Followed, GapError, News
from paramstore._backends._remote import Hold
from paramstore._backends.base import Draft
from paramstore._etcd_client import ASK, DeniedError
from paramstore._etcd_place import ANSWER_S, homes
from paramstore._etcd_roles import named, who_may
from paramstore._etcd_versions import unsafe
from paramstore._lock import WriteLock
from paramstore._model import Entry
from paramstore._state import State
from paramstore.errors import DurabilityUnknownError, JournalError, ParamstoreError, WriteError

if TYPE_CHECKING:
    from paramstore._backends.etcd import EtcdBackend


class EtcdWriter(LocalWriter):
    """What one process keeps between its commits. ``known`` is how far the mirror came when the transaction began."""

    backend: EtcdBackend

    def __init__(self, backend: EtcdBackend) -> None:
        super().__init__(backend)
        self.known = Followed()
        self.hold = Hold(b"")
        self._judged = False

    @contextmanager
    def session(self, timeout_s: float, last: State | None, tolerant: bool = False) -> Iterator[LocalSession]:
        self.backend.prepare()
        try:
            with super().session(timeout_s, last, tolerant) as session:
                yield session
        except WriteError as error:
            raise _unwritten(error, self.stands(last)) from None

    @contextmanager
    def held(self, timeout_s: float) -> Iterator[WriteLock]:
        deadline = time.monotonic() + timeout_s
        with (
            super().held(timeout_s) as lock,
            self.backend.remote.held(max(0.001, deadline - time.monotonic())) as self.hold,
        ):
            self._judge_server()
            try:
                self.known = self.backend.follower.catch_up(ANSWER_S)
            except JournalError as error:
                raise unwritten(error, self.stands(None)) from None
            yield lock

    def stands(self, last: State | None) -> int:
        if last is None and not self._started and (known := self.backend.mirror.followed()) is not None:
            return known.place().revision
        return super().stands(last)

    def _judge_server(self) -> None:
        """Raise ``WriteError`` for a server that is known to lose what it acknowledged. Asked once in a process."""
        if not self._judged:
            client = self.backend.remote.client
            problem = unsafe(client.status(ANSWER_S).version)
            if problem:
                raise WriteError(
                    f"etcd at {client.endpoint}: {problem}. Nothing was written; revision {self.stands(None)} stands."
                )
            self._judged = True

    def _catch_up(self) -> None:
        if not self._started or not self.backend.journal.holds(self.position):
            self._begin_anew()
        self._read_on()
        self._started = True

    def _record_strange(self, state: State) -> State:
        try:
            return super()._record_strange(state)
        except DeniedError:
            return state  # somebody who may will record it

    def append(self, entry: Entry) -> None:
        """Record an entry that changes no file, and keep holding the store."""
        self.put(entry, {}, keep=True)

    def put(self, entry: Entry, texts: Mapping[str, bytes], keep: bool = False) -> None:
        """Do a commit in the cluster, and take it over here."""
        record, line = _records.encode(entry)
        remote, namespaces = self.backend.remote, self.backend.namespaces()
        touched = homes(record, namespaces)
        try:
            news = remote.commit(
                self.hold, self.known, entry.revision, entry.id, line, touched, texts, keep=keep
            )
        except DeniedError as error:
            needs = who_may(named(remote.place), touched)
            error.message = error.message.replace(ASK, f"This needs {needs}")
            raise
        self._take(news, entry.revision)

    def _take(self, news: News, revision: int) -> None:
        """Take over what was just committed here. Whatever fails, it stands in the cluster."""
        mirror = self.backend.mirror
        try:
            try:
                with mirror.locked():
                    known = mirror.followed()
                    if known is None:
                        raise GapError
                    self.known = mirror.take(known, news)
            except GapError:  # somebody died while making the mirror anew
                self.known = self.backend.follower.catch_up(ANSWER_S)
        except (OSError, ParamstoreError) as error:
            raise DurabilityUnknownError(
                f"Revision {revision} stands in {self.backend.remote.place.url}, but its mirror in {self.backend.root} could not "
                f"take it over ({error}). Do not retry: other machines see it. Mend that, then start anew."
            ) from error
        self._read_on()

    def publish(self) -> None:
        """The mirror has told readers."""


class EtcdSession(LocalSession):
    """One transaction. See ``base.Session``."""

    writer: EtcdWriter

    def refresh(self) -> State:
        self.writer.known = self.writer.backend.follower.catch_up(ANSWER_S)
        return super().refresh()

    def commit(self, draft: Draft) -> tuple[State, Entry]:
        try:
            plans = self._plan(draft)
            entry = self._entry(draft, plans)
            self.writer.put(entry, {plan.file: plan.text.raw for plan in plans})
        except DurabilityUnknownError:
            raise
        except WriteError as error:
            raise _unwritten(error, self.state.revision) from None
        return self._next_state(plans, entry), entry


EtcdWriter.session_class = EtcdSession


def _unwritten(error: WriteError, revision: int) -> WriteError:
    if "Nothing was written" not in error.message or "stands" not in error.message:
        text = error.message.rstrip(".").removesuffix(" Nothing was written").rstrip(".")
        error.message = f"{text}. Nothing was written; revision {revision} stands."
    return error
