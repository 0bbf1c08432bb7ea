"""The cluster as a store sees it: what is new in it, who holds it for writing, and a commit as one of its transactions."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from paramstore._backends._entries import Found, collect, entry_puts, id_of, is_entry, judged
from paramstore._backends._mirror import Followed, News, Text
from paramstore._etcd_client import Answer, Client, CompactedError, Guard, KeyValue, Range
from paramstore._etcd_place import ANSWER_S, EMPTY, STORE, Credentials, Head, Place
from paramstore._state import namespace_of
from paramstore.errors import (
    ConflictError,
    DurabilityUnknownError,
    JournalError,
    LockLostError,
    LockTimeoutError,
    ParamstoreError,
    StoreNotFoundError,
    UnreachableError,
    WriteError,
)

LEASE_S = 4  # how long a holder that died, or cannot reach the cluster, keeps others waiting
PAGE = 500  # entries read at a time


@dataclass
class Hold:
    """Who holds the store for writing: the key that stands while it does."""

    key: bytes


class Remote:
    """One process's side of the cluster at ``place``."""

    def __init__(self, place: Place, credentials: Credentials) -> None:
        self.place = place
        self._credentials = credentials
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew: a child has no connection, no lease and no thread of its parent's."""
        self.client = Client(self._credentials)
        self._lease = 0
        self._renewed = 0.0
        self._keeper: _Keeper | None = None

    # -- what is new ------------------------------------------------------------------------------

    def news(self, known: Followed, timeout_s: float = ANSWER_S, once: bool = False) -> News:
        """Return what stands in the cluster and is not known yet.

        Raises ``UnreachableError``, ``StoreNotFoundError`` where there is no store, and ``JournalError``.
        """
        place, since = self.place, known.revision + 1
        below = (Range(*place.below(kind), since) for kind in ("values", "schemas"))
        revision, (copying, head, *kinds) = self.client.read(
            [Range(place.copying), Range(place.head), *below], timeout_s, once=once
        )
        if revision < known.revision:
            raise self._other_past(
                f"it is at revision {revision} of etcd, and {known.revision} was seen before"
            )
        if copying.found:
            raise StoreNotFoundError(
                f"A store is being copied to {place.url}, and not all of it is there. If nobody copies any more, run the same "
                "`paramstore copy` again: it goes on."
            )
        files = known.files
        counts = [sum(file.startswith(folder) for file in files) for folder in ("params/", "schemas/")]
        new = [sum(_file(place, kv.key) not in files for kv in answer.found) for answer in kinds]
        if [answer.total for answer in kinds] != [a + b for a, b in zip(counts, new, strict=True)]:
            ranges = [Range(*place.below(kind)) for kind in ("values", "schemas")]
            try:  # something was removed: look at all that is left
                revision, kinds = self.client.read(ranges, timeout_s, revision)
            except CompactedError:  # meanwhile
                return self.news(known, timeout_s)
            there = {_file(place, kv.key) for answer in kinds for kv in answer.found}
            gone = frozenset(files.keys() - there)
        else:
            gone = frozenset()
        if known.revision == 0 and not head.found and not any(answer.found for answer in kinds):
            raise StoreNotFoundError(
                f"There is no store at {place.url}. `paramstore copy DIRECTORY {place.url}` puts one there."
            )
        texts = _texts(place, (kv for answer in kinds for kv in answer.found))
        return self._with_lines(known, head, revision, texts, gone, timeout_s)

    def _with_lines(
        self, known: Followed, head: Answer, revision: int, texts: dict[str, Text], gone: frozenset[str], timeout_s: float
    ) -> News:  # fmt: skip
        now, modified = self._head(head)
        there = ({*known.files} - gone) | texts.keys()
        lines, records = self._lines(known, now, {namespace_of(file) for file in there}, timeout_s)
        return News(revision, now, modified, lines, texts, gone, records)

    def _lines(
        self, known: Followed, now: Head, namespaces: set[str], timeout_s: float
    ) -> tuple[dict[int, bytes], dict[int, dict[str, Any]]]:
        """Return what ``judged`` does of the lines after ``known`` up to ``now``."""
        if (now.seq, now.id) == (known.head.seq, known.head.id):
            return judged({}, known.head, known.stands, now)
        first, last = max(known.head.seq, 0), max(known.head.seq, now.seq)
        starts = [
            (self.place.entry(home, first), self.place.below("journal", home)[1])
            for home in namespaces | {STORE}
        ]
        try:
            return self._judged(self._entries(starts, last, timeout_s), known, now)
        except JournalError:  # that of a namespace which is no more stands elsewhere
            whole = self._entries([self.place.below("journal")], last, timeout_s)
        found = {seq: lines for seq, lines in whole.items() if seq >= first}
        return self._judged(found, known, now)

    def _judged(
        self, found: Found, known: Followed, now: Head
    ) -> tuple[dict[int, bytes], dict[int, dict[str, Any]]]:
        """Return what ``judged`` does of ``found``, which begins with the last line that is known."""
        if known.head.seq >= 0:
            self._refuse_other_past(found.pop(known.head.seq, {}), known)
        return judged(found, known.head, known.stands, now)

    def _refuse_other_past(self, last: Mapping[str, bytes], known: Followed) -> None:
        """Raise ``JournalError`` unless ``last``, what stands for the last entry that is known, is that one: a cluster that was
        restored, and has as many entries again, would be taken for the one that was followed."""
        head = known.head
        if not any(is_entry(line, head.id) for line in last.values()):
            raise self._other_past(f"entry {head.seq} of its journal is not {head.id}, as it was")

    def _other_past(self, why: str) -> JournalError:
        return JournalError(
            self.place.url,
            f"{why}. It was restored from a backup, or emptied and filled again: nothing of it is taken over, and nothing can be "
            "committed from here, until this machine's mirror is moved away while nobody uses it (docs/etcd.md, Restoring the cluster)",
        )

    def _head(self, answer: Answer) -> tuple[Head, int]:
        if not answer.found:
            return EMPTY, 0
        try:
            return Head.decoded(answer.found[0].value), answer.found[0].modified
        except ValueError as error:
            raise JournalError(f"{self.place.url}/head", f"{error}; nothing is taken over") from None

    def _entries(self, ranges: list[tuple[bytes, bytes]], last: int, timeout_s: float) -> Found:
        """Return the lines up to ``last`` in these ranges of the journal, by number and by where they stand.

        They are read as they stand now, for lines never change: an older revision may be compacted between two reads.
        """
        entries: Found = {}
        while ranges:
            now, ranges = ranges[:100], ranges[100:]
            asked = [Range(start, end, limit=PAGE) for start, end in now]
            for (_, end), answer in zip(now, self.client.read(asked, timeout_s)[1], strict=True):
                collect(self.place, answer.found, entries)
                if answer.more:
                    ranges.append((answer.found[-1].key + b"\0", end))
        return {seq: lines for seq, lines in entries.items() if seq <= last}

    def newest(self, timeout_s: float) -> Head:
        """Return what the cluster says was committed last."""
        _, (head,) = self.client.read([Range(self.place.head)], timeout_s, once=True)
        return self._head(head)[0]

    def follow(self, revision: int) -> Any:
        """Return all changes after ``revision`` of etcd, as ``Watch`` gives them."""
        return self.client.watch(*self.place.watched, revision + 1)

    def told(self, known: Followed, revision: int, changes: list[KeyValue]) -> News | None:
        """Return what the changes of one revision of etcd come to, ``None`` if they are none of the store's own."""
        place = self.place
        head, modified = known.head, known.head_modified
        found: Found = {}
        texts: dict[str, Text] = {}
        gone: set[str] = set()
        for kv in changes:
            file = _file(place, kv.key)
            if kv.key == place.head and kv.modified:
                head, modified = self._head(Answer([kv], 1, False))
            elif file and known.files.get(file, (0, ""))[0] >= revision:
                pass  # whoever committed it on this machine has taken it over
            elif file and kv.modified:
                texts[file] = Text(kv.value, kv.modified)
            elif file:
                gone.add(file)
        collect(place, changes, found)
        if known.head.seq in found:
            self._refuse_other_past(found[known.head.seq], known)
        fresh = {seq: lines for seq, lines in found.items() if seq > known.head.seq}
        if not (texts or gone or fresh):
            return None
        if not fresh:
            return News(revision, known.head, modified, texts=texts, gone=frozenset(gone))
        lines, records = judged(fresh, known.head, known.stands, head)
        return News(revision, head, modified, lines, texts, frozenset(gone), records)

    # -- holding it -------------------------------------------------------------------------------

    @contextmanager
    def held(self, timeout_s: float) -> Iterator[Hold]:
        """Hold the store for writing. Raises ``LockTimeoutError`` and ``UnreachableError``."""
        deadline = time.monotonic() + timeout_s
        hold, keeper = Hold(b""), self._keeper or _Keeper(self)
        self._keeper = keeper
        try:
            hold.key = self._locked(keeper, timeout_s, deadline)
            yield hold
        finally:
            keeper.lease = 0
            if hold.key:
                self._unlock(hold.key)

    def _locked(self, keeper: _Keeper, timeout_s: float, deadline: float) -> bytes:
        lease = self._leased(min(timeout_s, ANSWER_S))
        keeper.lease = (
            lease  # from now on: whoever waits for longer than it lasts would lose their place in line
        )
        try:
            while True:
                with suppress(CompactedError):  # of the watch by which etcd itself waits: stand in line again
                    return self.client.lock(self.place.lock, lease, max(0.001, deadline - time.monotonic()))
        except UnreachableError as error:
            self._lease = 0  # whatever stands in line for us goes with it
            with suppress(ParamstoreError):
                self.client.revoke(lease, 1.0)
            if time.monotonic() < deadline:
                raise
            raise LockTimeoutError(
                f"Could not lock the store within {timeout_s:g} s: someone else holds {self.place.url}, or it does not answer "
                f"({error}). Nothing was written; try again, or give a longer timeout_s."
            ) from None
        except BaseException:
            self._lease = 0
            raise

    def _leased(self, timeout_s: float) -> int:
        """Return a lease with most of its time to go."""
        age = time.monotonic() - self._renewed
        if (
            self._lease
            and age > LEASE_S / 3
            and (age > LEASE_S or self.client.keep_alive(self._lease, timeout_s) <= 0)
        ):
            self._lease = 0
        if not self._lease:
            self._lease = self.client.grant(LEASE_S, timeout_s)
        if age > LEASE_S / 3 or not self._renewed:
            self._renewed = time.monotonic()
        return self._lease

    def renew(self, lease: int) -> None:
        if lease == self._lease and self.client.keep_alive(lease, LEASE_S / 3) > 0:
            self._renewed = time.monotonic()

    def _unlock(self, key: bytes) -> None:
        try:
            self.client.write([], [], [key], [], 1.0)
        except ParamstoreError:
            lease, self._lease = self._lease, 0  # which ends by itself, at the latest
            with suppress(ParamstoreError):  # a cluster that is full takes no transaction, but this
                self.client.revoke(lease, 1.0)

    # -- committing -------------------------------------------------------------------------------

    def commit(
        self, hold: Hold, known: Followed, revision: int, entry_id: str, line: bytes, homes: list[str],
        texts: Mapping[str, bytes], keep: bool = False, timeout_s: float = ANSWER_S,
    ) -> News:  # fmt: skip
        """Do a commit: the entry and the files' texts, if nothing was changed since ``known``, and let go of the store
        (unless ``keep``).

        Raises ``ConflictError``, ``LockLostError`` and ``WriteError``; then nothing was written. Raises
        ``DurabilityUnknownError`` when the cluster did not say whether it was.
        """
        place, seq = self.place, known.head.seq + 1
        head = Head(seq, revision, entry_id)
        puts = [(place.head, head.encoded())]
        puts += [(place.file(file), raw) for file, raw in texts.items()]
        puts += entry_puts(place, seq, line, homes)
        guards = [Guard(place.head, known.head_modified), Guard(hold.key, exists=True)]
        guards += [Guard(place.file(file), known.files.get(file, (0, ""))[0]) for file in texts]
        for kind in ("values", "schemas"):
            start, end = place.below(kind)
            guards.append(Guard(start, known.revision + 1, end))
        mine = place.entry(homes[0], seq)
        try:
            done, at, seen = self.client.write(
                guards, puts, [] if keep else [hold.key], [mine, hold.key], timeout_s
            )
        except WriteError as error:
            # a refusal too: it may be that of a second try, when the answer to the first was lost
            at, seen = self._settle(mine, entry_id, error)
            done = True
        standing = {kv.key: kv for kv in seen}
        if not done:
            if (
                mine in standing and id_of(standing[mine].value) == entry_id
            ):  # an answer was lost, and the second try came late
                at = standing[mine].modified
            elif hold.key not in standing:
                hold.key = b""
                raise LockLostError(
                    f"The hold on {place.url} ended during the transaction: the lease of {LEASE_S} s could not be renewed. "
                    f"Nothing was written; revision {known.head.revision} stands. Run the transaction again."
                )
            else:
                raise ConflictError(
                    f"{place.url} was changed by someone else during the commit; their change stands. Nothing was written by "
                    f"this transaction; revision {known.head.revision} stands."
                )
        if not keep:
            hold.key = b""
        return News(at, head, at, {seq: line}, {file: Text(raw, at) for file, raw in texts.items()})

    def _settle(self, mine: bytes, entry_id: str, error: WriteError) -> tuple[int, list[KeyValue]]:
        """Find out whether a commit took place to which the cluster did not answer, or said no. Raises ``error`` if it was
        refused, ``DurabilityUnknownError`` if nobody knows."""
        self._lease, refused = 0, False
        with suppress(ParamstoreError):
            _, (answer,) = self.client.read([Range(mine)], 2.0)
            if answer.found and id_of(answer.found[0].value) == entry_id:
                return answer.found[0].modified, []
            refused = not isinstance(error, UnreachableError)
        if refused:
            raise error
        raise DurabilityUnknownError(
            f"{error}: nobody knows yet whether the commit was written. Do not retry; when it answers again, `paramstore history` "
            f"tells (entry {entry_id}).",
            applied=False,
        ) from None


class _Keeper:
    """Renews the lease while a transaction waits or takes long. One thread for a process."""

    def __init__(self, remote: Remote) -> None:
        self._remote = weakref.ref(remote)
        self.lease = 0  # of the transaction that is open
        threading.Thread(target=self._run, name="paramstore-lease", daemon=True).start()

    def _run(self) -> None:
        while True:
            lease = self.lease
            time.sleep(
                LEASE_S / 6
            )  # seen within one such time, renewed after the next, with a third of it gone before
            remote = self._remote()
            if remote is None:
                return
            if lease and lease == self.lease:
                with suppress(ParamstoreError):
                    remote.renew(lease)
            del remote


def _file(place: Place, key: bytes) -> str:
    """Return the file of the store that a key stands for, or nothing."""
    kind, *rest = place.told(key) or ("",)
    if len(rest) != 1:
        return ""
    return {"values": f"params/{rest[0]}.yaml", "schemas": f"schemas/{rest[0]}.schema.json"}.get(kind, "")


def _texts(place: Place, found: Any) -> dict[str, Text]:
    return {file: Text(kv.value, kv.modified) for kv in found if (file := _file(place, kv.key))}
