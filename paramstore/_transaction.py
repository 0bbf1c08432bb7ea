"""A locked read-modify-write: collect requests, judge them together, commit all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, get_args

from paramstore._backends.base import Draft, Session
from paramstore._clock import Clock
from paramstore._evidence import Evidence, checked
from paramstore._exact import bare
from paramstore._guards import EVERY_GUARD, GUARDS, Asker, next_steps
from paramstore._history import changes_between, flatten
from paramstore._layers import check_context, context_values
from paramstore._ledger import Ledger
from paramstore._model import ABSENT, Change, CommitResult, Entry, Kind, Violation
from paramstore._records import LONGEST_REQUEST, violation_data
from paramstore._rules import OnViolation, Request, judge_all
from paramstore._state import Document, State, namespace_of, place, split_key
from paramstore._values import same, unknown_key
from paramstore.errors import ConflictError, ContextError, ParamstoreError, UnknownParamError, ValidationError


@contextmanager
def transaction(
    session: AbstractContextManager[Session], take: Callable[[State], None], words: Mapping[str, Any]
) -> Iterator[Transaction]:
    """Run one transaction in ``session``; ``take`` gets the state that it made."""
    with session as held:
        tx = Transaction(held, **words)
        try:
            tx.begin()
            yield tx
            state = tx.finish()
        except (ValidationError, UnknownParamError, ContextError) as error:
            if error is tx.refused:  # else another store's, which has recorded it
                tx.record_refusal(error)
            raise
        finally:
            tx.end()
        if state is not None:
            take(state)


MOST_RECORDED = 100  # broken rules of one refusal
RETRIES = 20  # a person who saves over and over again wins in the end

At = tuple[tuple[str, Any], ...]


def check_timeout(timeout_s: Any) -> float:
    """Return ``timeout_s`` if it is a number of seconds that a lock can wait. Raises ``ValidationError``."""
    if type(timeout_s) not in (int, float) or not 0 <= timeout_s <= 86_400:
        raise ValidationError(
            [f"timeout_s = {timeout_s!r} is not within 0 and 86400 seconds."], "Nothing was written."
        )
    return float(timeout_s)


class Transaction:
    """What ``with params.transaction(...) as tx`` gives. Reads see the locked, latest values with the
    requests made so far on top; environment and in-process overrides are left out, because what a
    learner builds on is what gets written.

    ``commit_result`` is set once the block has ended without an exception.
    """

    def __init__(
        self,
        session: Session,
        *,
        author: str,
        reason: str = "",
        evidence: Evidence | Mapping[str, Any] | None = None,
        expected_revision: int | None = None,
        dry_run: bool = False,
        force: bool = False,
        kind: Kind = "commit",
    ) -> None:
        self._session = session
        self._requests: dict[tuple[str, At], Request] = {}
        self._asked: set[str] = set()
        self._read: set[str] = set()
        self._expected = expected_revision
        self._dry_run = dry_run
        self._kind: Kind = kind
        self._result: CommitResult | None = None
        self._ended = False
        self.refused: Exception | None = None  # what this transaction itself raised last
        self._author = author
        self._reason = reason
        self._force = force
        self._given = evidence
        self._evidence: dict[str, Any] = {}

    def begin(self) -> None:
        """Hold the words of the transaction to their rules, before anything is asked."""
        self._check_words()
        self._evidence = self._mine(checked, self._given, self._stands())
        if self._expected is not None and self._expected != self.revision:
            raise ConflictError(
                f"Revision {self._expected} was expected, but {self.revision} stands: someone committed or edited "
                f"meanwhile. Nothing was written; read again and decide anew."
            )

    # -- who asks ---------------------------------------------------------------------------------

    @property
    def author(self) -> str:
        """Who commits."""
        return self._author

    @property
    def reason(self) -> str:
        """Why."""
        return self._reason

    @property
    def evidence(self) -> dict[str, Any]:
        """What the author has seen; a copy."""
        return dict(self._evidence)

    # -- what an author does ----------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The revision that this transaction builds on."""
        return self._session.state.revision

    @property
    def commit_result(self) -> CommitResult:
        """What was done. Raises ``ParamstoreError`` before the block has ended well."""
        if self._result is None:
            raise ParamstoreError("There is no commit result: the transaction has not ended, or it failed.")
        return self._result

    @property
    def state(self) -> State:
        """What is stored now, before this transaction."""
        return self._session.state

    def __getitem__(self, key: str) -> Any:
        return self.get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def get(self, key: str, **context: Any) -> Any:
        """Return the value of ``key`` as this transaction would leave it."""
        document, path = self._find(key)
        at = self._context(context)
        self._read.add(key)
        if any(request.on_violation != "reject" for request in self._requests.values()):
            # what they come to depends on all of them
            asked = [(c.key, c.context, c.new) for c in self._judge()]
        else:
            asked = [(r.key, r.context, r.value) for r in self._requests.values() if r.key == key]
        places = [(split_key(k)[1], at, v) for k, at, v in asked if k == key and (at or v is not ABSENT)]
        if places:
            document = document.with_values(places, ABSENT, "")
        return context_values({document.namespace: document}, at).get(key, document.values[path])

    def set(self, key: str, value: Any, on_violation: OnViolation = "reject", **context: Any) -> None:
        """Ask for ``value``; with dimensions, for exactly that context."""
        self._ask(key, value, on_violation, context)

    def remove(self, key: str, **context: Any) -> None:
        """Ask to remove the value written for exactly this context, so that a less specific one applies."""
        self._ask(key, ABSENT, "reject", context)

    def propose(
        self, prefix: str, values: Mapping[str, Any], on_violation: OnViolation = "reject", **context: Any
    ) -> None:
        """Ask for several values below ``prefix`` at once (keys relative to it, nested or dotted).

        ``on_violation``: ``"reject"`` refuses the whole transaction when a rule is broken. ``"clamp"`` moves each
        value to its nearest limit (bounds, steps, drift), in the schema's digits; constraints are never bent.
        ``"project"`` takes the nearest values (least squares) that satisfy limits and constraints together,
        sums exact in decimal; what is below ``prefix`` but not in ``values`` may move to make room. A value
        that is frozen or cooling down stays, and the others move around it. ``commit_result.changes`` says
        per key what was requested, what was applied, and which rule made them differ.
        """
        self._propose(prefix, prefix, values, on_violation, context)

    def _propose(
        self,
        group: str,
        prefix: str,
        values: Mapping[str, Any],
        on_violation: OnViolation,
        context: Mapping[str, Any],
    ) -> None:
        if not isinstance(values, Mapping):
            raise ValidationError(
                [f"propose takes a mapping of keys to values, not {values!r}; for one key: tx[key] = value."],
                self._stands(),
            )
        for name, value in values.items():
            key = f"{prefix}.{name}" if prefix else name
            if isinstance(value, Mapping) and not self._is_parameter(key):
                self._propose(group, key, value, on_violation, context)
            else:
                self._ask(key, value, on_violation, context, group)

    def request(self, key: str, value: Any, context: Mapping[str, Any]) -> None:
        """Ask for ``value`` (``ABSENT`` removes) in a context given as a mapping."""
        self._ask(key, value, "reject", context)

    def preview(self) -> tuple[Change, ...]:
        """Return what would be written if the block ended now, guards and constraints included. What is decided upon it is
        decided under the lock: to raise keeps all of it from being written. Raises ``ValidationError`` for what would be refused.
        """
        return self._judge()

    @property
    def ledger(self) -> Ledger:
        """What the journal says of the past."""
        return self._session.ledger

    @property
    def clock(self) -> Clock:
        """Where this store's time comes from."""
        return self._session.clock

    def record(self, kind: Kind, details: Mapping[str, Any]) -> Entry:
        """Write an entry that changes no value, at once."""
        return self._session.commit(Draft(kind, self._author, (), self._reason, self._evidence, details))[1]

    # -- how it ends ------------------------------------------------------------------------------

    def finish(self) -> State | None:
        """Judge and commit everything. Returns the new state, or ``None`` when nothing was written.

        Raises ``ValidationError`` with all violations, which the journal then holds as a refusal, and whatever
        ``Session.commit`` raises.
        """
        for _ in range(RETRIES):
            changes = self._judge()
            if self._dry_run or all(same(change.old, change.new) for change in changes):
                bent = [_bent(change) for change in changes if change.bound_by != "decimals"]
                self._record(bent)
                if self._requests and not bent and not self._dry_run:
                    self._session.came(self._author)
                self._result = CommitResult(self.revision, changes, self._dry_run)
                return None
            details = {"forced": True} if self._force else {}
            draft = Draft(self._kind, self._author, changes, self._reason, self._evidence, details)
            try:
                state, entry = self._session.commit(draft)
            except ConflictError as conflict:
                self._rebase(conflict, {change.key for change in changes})
                continue
            self._result = CommitResult(state.revision, changes, entry=entry)
            return state
        raise ConflictError(
            f"The files were saved by someone else {RETRIES} times in a row. Nothing was written by this transaction; "
            f"revision {self.revision} stands. Try again when they are done."
        )

    def record_refusal(self, error: ValidationError | UnknownParamError | ContextError) -> None:
        """Leave a line of what was refused: a learner that fails must not fail unseen."""
        if isinstance(error, ValidationError):
            self._record(error.broken)
        elif isinstance(error, UnknownParamError):
            self._record([Violation(error.key, "unknown", str(error))])
        else:
            self._record([Violation("*", "context", str(error))])

    def _record(self, broken: Sequence[Violation]) -> None:
        session = self._session
        named = isinstance(self._author, str) and self._author.strip()
        if self._dry_run or not broken or not named:
            return
        if not session.ledger.may_record(self._author, session.clock.now()):
            return
        details = {"violations": [violation_data(violation) for violation in broken[:MOST_RECORDED]]}
        reason = self._reason if isinstance(self._reason, str) else ""
        evidence = self._evidence if len(json.dumps(self._evidence)) < LONGEST_REQUEST else {}
        draft = Draft("refusal", self._author, (), reason, evidence, details)
        with suppress(OSError, ParamstoreError):  # the refusal itself is what the author has to hear of
            session.commit(draft)

    def _rebase(self, conflict: ConflictError, moved: Collection[str]) -> None:
        """Go on from an edit by hand that came in between, unless it touches what this author looked at."""
        before = flatten(self._session.state.documents)
        after = flatten(self._session.refresh().documents)
        mine = self._read | self._asked | {*moved}
        theirs = sorted({change.key for change in changes_between(before, after)} & mine)
        if theirs or self._expected is not None:
            names = ", ".join(f"`{key}`" for key in theirs) or "the revision"
            raise ConflictError(
                f"{names} changed by hand during the transaction. The edit stands, nothing was written by this "
                f"transaction; revision {self.revision} stands. Read again and decide anew."
            ) from conflict

    def _judge(self) -> tuple[Change, ...]:
        requests = list(self._requests.values())
        for request in requests:
            self._find(request.key)  # the file may have been broken since
        changes, broken = judge_all(
            requests, self._session.state.documents, self._session.schema, self._asker()
        )
        if broken:
            self.refused = ValidationError(
                [violation.text for violation in broken],
                self._stands(),
                broken=broken,
                next_step=next_steps([violation.rule for violation in broken]),
            )
            raise self.refused
        return tuple(changes)

    def _asker(self) -> Asker:
        session = self._session
        exempt = EVERY_GUARD if self._force else GUARDS if self._kind == "rollback" else frozenset()
        return Asker(
            self._author,
            self._evidence,
            session.ledger,
            session.clock.now(),
            session.clock.uptime(),
            exempt,
            self._force,
        )

    def _mine(self, judge: Callable[..., Any], *words: Any) -> Any:
        """Return what ``judge`` returns; what it raises is this transaction's own refusal."""
        try:
            return judge(*words)
        except (ValidationError, UnknownParamError, ContextError) as error:
            self.refused = error
            raise

    # -- small things -----------------------------------------------------------------------------

    def _stands(self) -> str:
        return f"Nothing was written; revision {self.revision} stands."

    def _find(self, key: str) -> tuple[Document, str]:
        documents = self._session.state.documents
        namespace, path = split_key(key) if isinstance(key, str) else ("", "")
        document = documents.get(namespace)
        if document is None or path not in document.values:
            known = [f"{name}.{p}" for name, d in documents.items() for p in d.values]
            self.refused = unknown_key(key, known, self._stands())
            raise self.refused
        self._refuse_broken(document)
        return document, path

    def _is_parameter(self, key: str) -> bool:
        namespace, path = split_key(key)
        document = self._session.state.documents.get(namespace)
        return document is not None and path in document.values

    def _refuse_broken(self, document: Document) -> None:
        for file, problem in self._session.state.problems.items():
            if namespace_of(file) == document.namespace:
                raise ValidationError([f"{problem}."], self._stands())

    def _context(self, context: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._mine(check_context, context, self._session.state.dimensions())
        return found

    def end(self) -> None:
        """Refuse whatever comes after the block: the lock is no longer held."""
        self._ended = True

    def _ask(
        self, key: str, value: Any, on_violation: OnViolation, context: Mapping[str, Any], group: str = ""
    ) -> None:
        if self._ended:
            raise ParamstoreError(
                "This transaction has ended, so the change would go nowhere. Nothing was written; open another one."
            )
        if on_violation not in get_args(OnViolation):
            known = " or ".join(map(repr, get_args(OnViolation)))
            raise ValidationError(
                [f"on_violation={on_violation!r} is not known; use {known}."], self._stands()
            )
        document, _ = self._find(key)
        for name, named in context.items():
            if (
                named is None
            ):  # a read may leave a dimension open; a write that did would change the base value
                raise ValidationError(
                    [f"`{key}`: {name}=None names no context. Leave `{name}` out to write the base value."],
                    self._stands(),
                )
        own = {dimension.name: dimension for dimension in document.dimensions}
        for name in self._context(context):
            if name not in own:
                raise ValidationError(
                    [
                        f"`{document.namespace}` has no dimension `{name}`, so `{key}` cannot have a value for it."
                    ],
                    self._stands(),
                )
        value = bare(value)  # numpy's float64 is a float
        at = self._mine(
            check_context, context, own
        )  # another namespace may allow other values for the dimension
        self._asked.add(key)
        self._requests[key, place(at)] = Request(key, at, value, on_violation, group)

    def _check_words(self) -> None:
        if not isinstance(self._author, str) or not self._author.strip():
            raise ValidationError(
                ["A transaction needs an author: the learner or person who commits."], self._stands()
            )
        if not isinstance(self._reason, str):
            raise ValidationError([f"reason must be text, not {self._reason!r}."], self._stands())
        if self._force and not self._reason.strip():
            raise ValidationError(
                [
                    "A forced change needs a reason: it passes the limits that bind learners, and the journal says why."
                ],
                self._stands(),
            )


def _bent(change: Change) -> Violation:
    """Say of a value that stayed as it was which rule kept it."""
    text = f"`{change.key}` stays as it is: {change.requested!r} was asked for, {change.bound_by} allows no change."
    return Violation(change.key, str(change.bound_by), text, change.requested, change.context)
