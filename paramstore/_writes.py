"""What a store writes and remembers: transactions, freezes, approvals, and the past. Thin doors to the modules that
do it, which a plain read never imports."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from paramstore._async import AsyncTransaction
    from paramstore._backends.base import Backend
    from paramstore._bisect import Found, Trial
    from paramstore._evidence import Evidence
    from paramstore._freezing import Confirm, Until
    from paramstore._ledger import Place, Touch
    from paramstore._model import Blame, Change, CommitResult, Entry, Freeze
    from paramstore._reads import Snapshot
    from paramstore._transaction import Transaction
    from paramstore._values import Values


class Writes:
    """The half of ``ParamStore`` that writes and looks back."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _open(self) -> Backend: ...
        def _transaction(
            self, timeout_s: float | None, tolerant: bool = False, **words: Any
        ) -> AbstractContextManager[Transaction]: ...
        def _place(self, key: str) -> tuple[str, str]: ...
        def newest(self, files: bool = False) -> tuple[object, Snapshot]: ...
        def current(self) -> tuple[object, Values]: ...

    # -- values -----------------------------------------------------------------------------------

    def transaction(
        self,
        *,
        author: str,
        reason: str = "",
        evidence: Evidence | Mapping[str, Any] | None = None,
        expected_revision: int | None = None,
        dry_run: bool = False,
        force: bool = False,
        timeout_s: float | None = None,
    ) -> AbstractContextManager[Transaction]:
        """Lock the store, let the block read and propose, then judge and commit everything at once.

        ``force`` is for people: with a ``reason``, the change passes freezes and the limits that bind learners
        (never types, bounds or constraints), and the journal says which. Raises ``LockTimeoutError`` after
        ``timeout_s`` seconds (else the setting's), ``ConflictError`` when ``expected_revision`` is past,
        ``ValidationError``, ``WriteError``: then, and when the block raises, nothing was written.
        ``DurabilityUnknownError``: written, not confirmed.
        """
        return self._transaction(
            timeout_s,
            author=author,
            reason=reason,
            evidence=evidence,
            expected_revision=expected_revision,
            dry_run=dry_run,
            force=force,
        )

    def atransaction(self, **words: Any) -> AsyncTransaction:
        """Return ``transaction`` for ``async with``: neither waiting for the lock nor a commit blocks the event loop.

        It takes what ``transaction`` takes and raises what that raises. Cancelled while it waits, it holds nothing and
        wrote nothing; a commit that has begun ends before the cancellation is told.
        """
        from paramstore._async import AsyncTransaction

        return AsyncTransaction(lambda: self.transaction(**words))

    def rollback(
        self,
        to: int | str,
        *,
        author: str,
        reason: str = "",
        keys: str | None = None,
        by: str | None = None,
        dry_run: bool = False,
        force: bool = False,
        confirm: Callable[[CommitResult], object] | None = None,
        timeout_s: float | None = None,
    ) -> CommitResult:
        """Make a new revision with the values of revision or time ``to``; the journal is never rewritten.

        ``keys`` limits it to a pattern. ``by`` takes back only what that author gave after ``to``: each such value
        becomes what someone else last wrote since, else what stood at ``to``; one that others have changed since stays.
        ``kept`` of the result names what stays, and parameters that did not exist then and so keep their values.
        The limits that bind learners do not apply; a freeze does, unless ``force`` is given with a ``reason``.
        ``confirm`` is called with what would be done, under the lock, just before it is: to raise keeps it from being written.
        Raises ``UnknownRevisionError``, and what ``transaction`` raises: old values must satisfy today's bounds and
        constraints.
        """
        from dataclasses import replace

        from paramstore._model import CommitResult
        from paramstore._past import restoration
        from paramstore._reads import matching_keys

        if keys is not None:
            matching_keys(self.current()[1], keys)
        if not force:
            reason = reason or f"rollback to {to}" + (f" of what {by} did" if by is not None else "")
        with self._transaction(
            timeout_s, author=author, reason=reason, kind="rollback", force=force, dry_run=dry_run
        ) as tx:
            found = restoration(self._open(), to, keys, by, tx)
            for key, context, value in found.requests:
                tx.request(key, value, context)
            if confirm is not None:
                confirm(CommitResult(tx.revision, tx.preview(), True, kept=found.kept))
        return replace(tx.commit_result, kept=found.kept)

    # -- who may write ----------------------------------------------------------------------------

    def freeze(
        self,
        pattern: str,
        *,
        author: str,
        reason: str,
        until: Until = None,
        confirm: Confirm | None = None,
        timeout_s: float | None = None,
    ) -> Entry:
        """Refuse writes to the keys that match ``pattern`` from now on, in every process: ``"*"`` is all, a namespace
        or group everything in it, one key a pin. Reads go on; edits of the files by hand are not hindered.

        ``until``: a ``datetime``, ISO text (UTC if it names no zone), a length such as ``"2h"`` or seconds from now; ``None``:
        until unfrozen. ``confirm`` is called with the details of the entry, under the lock, just before it is written: to
        raise keeps it from being written.
        It works while a values file is broken, too, and waits for the lock longer than other writes do (a minute, unless
        ``timeout_s`` says otherwise): a transaction under way ends first. Freezes of the same pattern stand side by
        side, each to its own end; ``unfreeze`` ends them all. Raises ``UnknownParamError`` for a pattern that
        matches nothing, ``ValidationError`` without a reason or for an end that is past.
        """
        from paramstore._freezing import freeze

        with self._transaction(timeout_s, tolerant=True, author=author, reason=reason) as tx:
            return freeze(tx, pattern, until, confirm)

    def unfreeze(
        self,
        pattern: str,
        *,
        author: str,
        reason: str = "",
        confirm: Confirm | None = None,
        timeout_s: float | None = None,
    ) -> Entry:
        """End every freeze of exactly this pattern. ``confirm`` as for ``freeze``; its ``"ends"`` are the ids of the freezes.
        Raises ``ValidationError`` that names what is frozen if there is none."""
        from paramstore._freezing import unfreeze

        with self._transaction(timeout_s, tolerant=True, author=author, reason=reason) as tx:
            return unfreeze(tx, pattern, confirm)

    def freezes(self) -> tuple[Freeze, ...]:
        """Return what is frozen now, oldest first."""
        backend = self._open()
        return backend.past().freezes(backend.clock.now())

    def approve(
        self,
        pattern: str = "*",
        *,
        author: str,
        reason: str,
        confirm: Confirm | None = None,
        timeout_s: float | None = None,
    ) -> Entry:
        """Make the values of the keys that match ``pattern``, as they stand, the baseline that ``max_drift`` counts
        from. ``confirm`` as for ``freeze``; its ``"baselines"`` are the values. Raises ``UnknownParamError`` for a pattern that matches nothing, ``ValidationError`` without a reason.
        """
        from paramstore._freezing import approve

        with self._transaction(timeout_s, author=author, reason=reason) as tx:
            return approve(tx, pattern, confirm)

    # -- the past ---------------------------------------------------------------------------------

    def history(
        self, key: str | None = None, *, refused: bool = False, newest: int | None = None
    ) -> list[Entry]:
        """Return the journal's entries, oldest first; with ``key`` (or a pattern), only what touched it.

        With ``refused`` also what was refused: entries of kind ``refusal``, whose ``details`` say why. ``newest``:
        only so many of them, counted from the end, which is cheaper than all.
        """
        from paramstore._past import history

        if key is not None and not any(sign in key for sign in "*?["):
            self._place(key)
        return history(self._open(), key, refused, newest)

    def blame(self, *what: str) -> tuple[Blame, ...]:
        """Return the lines of values files, each with the entry that gave it the value it has, if it holds one.

        ``what`` are namespaces, values files, keys or patterns; of the latter, only their lines. Raises
        ``UnknownParamError`` for what matches nothing and ``InvalidFileError`` for a file that is broken.
        """
        from paramstore._blame import blame

        return blame(self._open(), what, self.newest(files=True)[1].state)

    def bisect(
        self, good: Any, bad: Any, command: Sequence[str], *, tell: Callable[[Trial], None] | None = None
    ) -> Found:
        """Return the entry that made ``command`` fail, by binary search between revisions or times ``good`` and ``bad``.

        It runs with ``PARAMSTORE_ROOT`` leading to a temporary store; status 0 is good, 1 to 127 bad, 125 cannot tell.
        ``tell`` hears of each run. Raises ``ParamstoreError`` when an end is not what it should be or the command stops
        the search, ``UnknownRevisionError``, ``OSError`` when it cannot be run.
        """
        from paramstore._bisect import bisect

        state = self.newest(files=True)[1].state
        return bisect(self._open(), state, (good, bad), command, tell or (lambda trial: None))

    def touches(self) -> dict[Place, Touch]:
        """Return by key and context (sorted pairs, ``()`` is the base value) the entry that last changed it."""
        return dict(self._open().past().latest)

    def visits(self) -> dict[str, float]:
        """Return when each author last had nothing to change, in seconds since 1970: a learner at rest is not dead.
        Kept in ``.paramstore/`` only, so it may be gone."""
        return self._open().visits()

    def pending(self) -> tuple[Change, ...]:
        """Return edits by hand that no entry records yet; the next transaction will record them."""
        from paramstore._past import pending

        return pending(self._open(), self.newest(files=True)[1].state)

    def diff(self, a: int | str, b: int | str | None = None) -> tuple[Change, ...]:
        """Return what changed from revision or time ``a`` to ``b`` (when not given: to what the files say now)."""
        from paramstore._past import diff

        return diff(self._open(), a, b, self.newest(files=b is None)[1].state)

    def as_of(self, when: Any) -> Snapshot:
        """Return the values as written at a revision (int) or time (``datetime`` or ISO text, UTC if it
        names no zone). At a time, nothing is seen that was made after it, even where a clock was set back or another
        history was joined: it is what stood before the first entry made later. Raises ``UnknownRevisionError``."""
        from paramstore._past import as_of

        return as_of(self._open(), when, self.newest()[1].state)
