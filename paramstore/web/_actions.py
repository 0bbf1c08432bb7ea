"""What a person does: first a preview, then exactly what it showed, or a conflict.

A preview answers with ``seen``, which stands for everything that it showed. Who acts gives it back. Then all is judged again
under the store's lock, and only if it comes to the very same is it written, before the lock is let go. So nothing that was
committed meanwhile is lost or passed over unseen; and a learner that commits without a pause keeps nobody out, because the
lock is given in the order in which it was asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from paramstore._as_json import change_json, entry_json, freeze_json, kept_json
from paramstore._figures import place_text, value_text
from paramstore._layers import Layers
from paramstore._model import ABSENT, Change, CommitResult, Entry, Freeze
from paramstore._state import split_key
from paramstore._values import same, thaw
from paramstore.errors import InvalidFileError, ParamstoreError, ValidationError
from paramstore.web._problems import RefusedError, dumps, violations_json
from paramstore.web._questions import Action, ForKeys, FreezeKeys, RollBack, SetValues
from paramstore.web._reads import known_pattern

if TYPE_CHECKING:
    from paramstore._store import ParamStore
    from paramstore._transaction import Transaction

NOTHING = "Nothing changes."
SAID = 3  # changes that a summary spells out
UNSEEN = "Nothing was written: ask for a preview (`dry_run`: true) first, and give back its `seen`."
CHANGED = (
    "Nothing was written: what would be done is no longer what was shown, because the store changed meanwhile. "
    "Look at the new preview and decide anew."
)


@dataclass(frozen=True)
class Preview:
    """What an action would do. ``more`` is what only some actions show: baselines, freezes, keys, what a removal leaves."""

    revision: int
    summary: str
    changes: Sequence[Mapping[str, Any]] = ()
    kept: Sequence[Mapping[str, Any]] = ()
    error: ValidationError | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def violations(self) -> list[dict[str, Any]]:
        return violations_json(self.error.broken) if self.error is not None else []

    @property
    def seen(self) -> str:
        """Limits and the sentences with them are left out: they move with the clock, and do not change what is done."""
        broken = [[v["key"], v["context"], v["rule"], v["requested"]] for v in self.violations]
        shown = [self.changes, self.kept, broken, self.more]
        return hashlib.sha256(dumps(shown)).hexdigest()[:32]

    def body(self, dry_run: bool, **more: Any) -> dict[str, Any]:
        return {
            "dry_run": dry_run,
            "revision": self.revision,
            "changes": self.changes,
            "kept": self.kept,
            "violations": self.violations,
            "detail": "" if self.error is None else str(self.error),
            "summary": self.summary,
            "seen": self.seen,
            **self.more,
            **more,
        }


class _Enough(Exception):  # noqa: N818 - no error: how a preview leaves before anything is written
    """Raised under the lock when all is known that a preview shows."""


class _Gate:
    """Decides under the lock: a preview ends here, and so does an action that would do something else than was shown.

    ``seen`` is ``None`` for what needs no preview.
    """

    def __init__(self, dry_run: bool, seen: str | None) -> None:
        self.dry_run = dry_run
        self._seen = seen
        self._preview: Preview | None = None

    def meet(self, preview: Preview) -> None:
        """Go on if this is what was shown. Raises ``RefusedError``, and ``_Enough`` where a preview is all that was wanted."""
        self._preview = preview
        if self.dry_run:
            raise _Enough
        if self._seen is None:
            return
        if not self._seen:
            raise RefusedError(409, "not_previewed", UNSEEN, preview=preview.body(True))
        if self._seen != preview.seen:
            raise RefusedError(409, "changed", CHANGED, preview=preview.body(True))

    def shown(self) -> dict[str, Any]:
        """Return the answer to a preview."""
        assert self._preview is not None
        return self._preview.body(True)

    def done(self, revision: int, entry: Entry | None) -> dict[str, Any]:
        """Return the answer to what was done."""
        assert self._preview is not None
        more = {} if entry is None else {"entry": entry_json(entry)}
        return self._preview.body(False, **more) | {"revision": revision}


class Actions:
    """Every action, previewed or done. Each method may wait for the lock, and returns the plain data of its answer."""

    def __init__(self, store: ParamStore) -> None:
        self._store = store

    # -- values -----------------------------------------------------------------------------------

    def set(self, wanted: SetValues) -> dict[str, Any]:
        """Change values in one transaction."""
        gate = _gate(wanted)

        def act() -> CommitResult:
            with self._store.transaction(
                author=wanted.author, reason=wanted.reason, force=wanted.force, dry_run=wanted.dry_run
            ) as tx:
                _request(tx, wanted)
                changes = tx.preview()
                gate.meet(_preview(CommitResult(tx.revision, changes), left=_left(tx, changes)))
            return tx.commit_result

        return self._change(gate, act)

    def rollback(self, wanted: RollBack) -> dict[str, Any]:
        """Bring back the values of an earlier revision."""
        gate, store = _gate(wanted), self._store
        keys = known_pattern(wanted.keys, store.keys()) if wanted.keys is not None else None
        return self._change(
            gate,
            lambda: store.rollback(
                wanted.to,
                author=wanted.author,
                reason=wanted.reason,
                keys=keys,
                by=wanted.by,
                force=wanted.force,
                dry_run=wanted.dry_run,
                confirm=lambda found: gate.meet(_preview(found)),
            ),
        )

    def _change(self, gate: _Gate, act: Callable[[], CommitResult]) -> dict[str, Any]:
        try:
            result = act()
        except _Enough:
            return gate.shown()
        except ValidationError as error:
            if not error.broken:
                raise
            try:
                gate.meet(_broken(error, self._store.revision))
            except _Enough:
                return gate.shown()  # a preview is an answer
            raise
        return gate.done(result.revision, result.entry)

    # -- who may write ----------------------------------------------------------------------------

    def freeze(self, wanted: FreezeKeys) -> dict[str, Any]:
        """Refuse writes: the kill switch, which needs no preview."""
        _need_reason(wanted.reason)
        store, gate = self._store, _Gate(wanted.dry_run, None)

        def confirm(details: Mapping[str, Any]) -> None:
            pattern, until = details["pattern"], details.get("until")
            keys = self._matching(pattern)
            summary = (
                f"{_count(len(keys), 'parameter')} frozen by {pattern}{f' until {until}' if until else ''}"
            )
            gate.meet(Preview(self._revision(), summary, more={"keys": keys}))

        done = _record(
            gate,
            lambda: store.freeze(
                wanted.pattern,
                author=wanted.author,
                reason=wanted.reason,
                until=wanted.until,
                confirm=confirm,
                timeout_s=store.options.timeout_s if wanted.dry_run else None,
            ),
        )
        return done | {"freezes": list(map(freeze_json, store.freezes()))}

    def unfreeze(self, wanted: ForKeys) -> dict[str, Any]:
        """End every freeze of exactly a pattern."""
        store, gate = self._store, _gate(wanted)

        def confirm(details: Mapping[str, Any]) -> None:
            pattern = details["pattern"]
            ended = [freeze_json(freeze) for freeze in store.freezes() if freeze.pattern == pattern]
            still = [freeze for freeze in store.freezes() if freeze.pattern != pattern]
            summary = f"{_count(len(ended), 'freeze')} of {pattern} ended{self._still(pattern, still)}"
            more = {"keys": self._matching(pattern), "freezes": ended}
            gate.meet(Preview(self._revision(), summary, more=more))

        return _record(
            gate,
            lambda: store.unfreeze(
                wanted.pattern, author=wanted.author, reason=wanted.reason, confirm=confirm,
                timeout_s=store.options.timeout_s if wanted.dry_run else None,
            ),
        )  # fmt: skip

    def approve(self, wanted: ForKeys) -> dict[str, Any]:
        """Make values, as they stand, the baseline that drift is measured from."""
        store, gate = self._store, _gate(wanted)

        def confirm(details: Mapping[str, Any]) -> None:
            baselines = [{"context": {}, **item} for item in details["baselines"]]
            summary = f"{_count(len(baselines), 'baseline')} moved to the value that stands"
            gate.meet(Preview(self._revision(), summary, more={"baselines": baselines}))

        return _record(
            gate,
            lambda: store.approve(
                wanted.pattern, author=wanted.author, reason=wanted.reason, confirm=confirm
            ),
        )

    def _matching(self, pattern: str) -> list[str]:
        try:
            return [key for key in self._store.keys() if fnmatchcase(key, pattern)]  # noqa: SIM118 - no mapping
        except InvalidFileError:
            return []  # a freeze holds all the same

    def _revision(self) -> int:
        try:
            return self._store.revision
        except ParamstoreError:
            return 0  # nothing can be read, and the switch works all the same

    def _still(self, ended: str, others: Sequence[Freeze]) -> str:
        keys = self._matching(ended)
        held = [f.pattern for f in others if any(fnmatchcase(key, f.pattern) for key in keys)]
        return f"; still frozen by {', '.join(dict.fromkeys(held))}" if held else ""


def _gate(wanted: Action) -> _Gate:
    _need_reason(wanted.reason)
    return _Gate(wanted.dry_run, wanted.seen)


def _need_reason(reason: str) -> None:
    if not reason.strip():
        raise ValidationError(["What a person does needs a reason."], "Nothing was written.")


def _record(gate: _Gate, act: Callable[[], Entry]) -> dict[str, Any]:
    try:
        entry = act()
    except _Enough:
        return gate.shown()
    return gate.done(entry.revision, entry)


def _request(tx: Transaction, wanted: SetValues) -> None:
    asked: set[str] = set()
    for change in wanted.changes:
        place = repr((change.key, sorted(change.context.items())))
        if place in asked:
            stands = f"Nothing was written; revision {tx.revision} stands."
            raise ValidationError([f"`{change.key}` is named twice."], stands)
        asked.add(place)
        tx.request(change.key, ABSENT if change.remove else change.value, change.context)


def _left(tx: Transaction, changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return what reads will give where a value is removed: it comes from elsewhere, and may change there."""
    gone = [(*split_key(change.key), change.context) for change in changes if change.new is ABSENT]
    layers = {}
    for name in {name for name, _, _ in gone}:
        own = [(split_key(c.key), c.context, c.new) for c in changes]
        written = [(path, at, new) for (namespace, path), at, new in own if namespace == name]
        after = tx.state.documents[name].with_values(written, ABSENT, "")
        layers[name] = Layers(after, {path for namespace, path, _ in gone if namespace == name})
    return [
        {"key": f"{name}.{path}", "context": dict(at), "value": thaw(layers[name].values(at)[path])}
        for name, path, at in gone
    ]


def _preview(found: CommitResult, **more: Any) -> Preview:
    moved = [change for change in found.changes if not same(change.old, change.new)]
    said = [_said(change) for change in moved[:SAID]]
    others = f", and {len(moved) - SAID} more" if len(moved) > SAID else ""
    summary = ", ".join(said) + others if moved else NOTHING
    changes = [change_json(change) for change in found.changes]
    return Preview(found.revision, summary, changes, kept_json(found), more=more)


def _said(change: Change) -> str:
    old, new = ("nothing" if value is ABSENT else value_text(value) for value in (change.old, change.new))
    return f"{place_text(change.key, change.context)} {old} → {new}"


def _broken(error: ValidationError, revision: int) -> Preview:
    rules = dict.fromkeys(f"{each.key}: {each.rule}" for each in error.broken)
    return Preview(revision, f"Refused by {_count(len(rules), 'rule')}.", error=error)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
