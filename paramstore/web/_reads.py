"""What may be asked: each answer as the bytes of its JSON, made in a thread that reads only.

An answer that is long, and asked for again and again, is kept as long as nothing it says has changed: the snapshot that a
read would see, the newest entry of the journal, and what is frozen.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from paramstore import __version__
from paramstore._as_json import change_json, comparison_json, explanation_json, freeze_json, listed_json
from paramstore._environment import parse
from paramstore._explain import explain
from paramstore._layers import check_context, matching_pattern
from paramstore._listing import listing
from paramstore._reads import Snapshot
from paramstore._sides import Sides
from paramstore._values import ABSENT, nearest, same, thaw
from paramstore.errors import ContextError, UnknownParamError, UnknownRevisionError
from paramstore.web._problems import RefusedError, dumps

if TYPE_CHECKING:
    from paramstore._model import Change
    from paramstore._store import ParamStore
    from paramstore.web._admission import Settings
    from paramstore.web._background import Background
    from paramstore.web._index import Index

AT_A_TIME = 20  # entries that are looked at for the last change of a value
MOST_KEPT = 64  # answers, each of one question
NO_OUTCOMES = (
    "No outcomes are known, so no change can be judged. Start the server with them: "
    "paramstore serve --outcomes FILE --metric NAME"
)


class Answer(NamedTuple):
    """The bytes of an answer, and the tag by which it is known again (empty: it is made anew each time)."""

    body: bytes
    etag: str = ""
    status: int = 200


class Kept:
    """The newest answers to questions that come again: each with what it was made from. Safe between threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, ...], tuple[tuple[Any, ...], Answer]] = OrderedDict()

    def get(self, question: tuple[str, ...], basis: tuple[Any, ...], make: Callable[[], Answer]) -> Answer:
        """Return the answer that was made from ``basis``, whose parts are compared by identity, else make it."""
        with self._lock:
            found = self._answers.get(question)
            if found is not None and _is_same(found[0], basis):
                self._answers.move_to_end(question)
                return found[1]
        answer = make()
        with self._lock:
            self._answers[question] = basis, answer
            self._answers.move_to_end(question)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
        return answer


def _is_same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(a is b or (isinstance(a, str | tuple) and a == b) for a, b in zip(one, other, strict=True))


class Reads:
    """Every question that is answered without writing anything. Each method may wait for a disk."""

    def __init__(self, store: ParamStore, settings: Settings, index: Index, background: Background) -> None:
        self._store = store
        self._settings = settings
        self._index = index
        self._background = background
        self._kept = Kept()
        self._unrecorded: tuple[tuple[Snapshot, tuple[int, str | None, int]], tuple[Change, ...]] | None = (
            None
        )

    # -- values -----------------------------------------------------------------------------------

    def values(self, at: Sequence[str]) -> Answer:
        snapshot = self._store.snapshot()
        context = self.context_of(snapshot, at)

        def make() -> Answer:
            view = snapshot.at(**context)
            body = {"revision": view.revision, "digest": view.digest, "context": context}
            values = {key: thaw(value) for key, value in view.values.items()}
            return Answer(dumps({**body, "values": values}), _tag(view))

        return self._kept.get(("values", *sorted(at)), (snapshot,), make)

    def value(self, key: str, at: Sequence[str]) -> Answer:
        snapshot = self._store.snapshot()
        context = self.context_of(snapshot, at)
        value = snapshot.in_context(context)[known_key(key, snapshot.values)]
        body = dumps({"key": key, "value": thaw(value), "context": context, "revision": snapshot.revision})
        return Answer(body, _tag_of(body))

    def parameters(self, pattern: str | None) -> Answer:
        store = self._store
        snapshot, frozen = store.newest(files=True)[1], store.freezes()

        def make() -> Answer:
            keys = set(store.keys(known_pattern(pattern, store.keys())) if pattern else store.keys())
            body = dumps([listed_json(line) for line in listing(store, keys)])
            return Answer(body, _tag_of(body))

        basis = snapshot, self._newest(), tuple(frozen)  # not the state: each look at the files makes another
        return self._kept.get(("parameters", pattern or ""), basis, make)

    def sparklines(self) -> Answer:
        def make() -> Answer:
            body = dumps({"revision": self._store.revision, "points": self._index.sparklines()})
            return Answer(body, _tag_of(body))

        return self._kept.get(("sparklines",), (self._store.snapshot(), self._newest()), make)

    def explained(self, key: str, at: Sequence[str]) -> Answer:
        store = self._store
        snapshot = store.snapshot()
        spec = store.spec(known_key(key, snapshot.values))
        layers = store._environment, store._overrides
        found = explain(snapshot, key, self.context_of(snapshot, at), spec, layers, None)
        frozen = [freeze for freeze in store.freezes() if fnmatchcase(key, freeze.pattern)]
        return Answer(dumps(explanation_json(found, frozen) | {"last_change": self._last_change(key)}))

    def _last_change(self, key: str) -> Mapping[str, Any] | None:
        """Return the newest entry that changed ``key``; the store itself would read the whole journal for it."""
        before = None
        while True:
            page = self._index.history(key, AT_A_TIME, before)
            for entry in reversed(page.entries):
                if any(not same(c.get("old", ABSENT), c.get("new", ABSENT)) for c in entry["changes"]):
                    return entry
            if not page.more:
                return None
            before = page.entries[0]["id"]

    # -- the past ---------------------------------------------------------------------------------

    def key_history(self, key: str, limit: int, before: str | None, refused: bool) -> Answer:
        known_key(key, self._store.snapshot().values)
        return self._history(key, limit, before, refused)

    def history(
        self,
        pattern: str | None,
        limit: int,
        before: str | None,
        refused: bool,
        author: str | None = None,
        kinds: Sequence[str] = (),
    ) -> Answer:
        chosen = known_pattern(pattern, self._store.keys()) if pattern else None
        return self._history(chosen, limit, before, refused, author, kinds)

    def _history(
        self,
        pattern: str | None,
        limit: int,
        before: str | None,
        refused: bool,
        author: str | None = None,
        kinds: Sequence[str] = (),
    ) -> Answer:
        entries, more = self._index.history(pattern, limit, before, refused, author, kinds)
        pending = [c for c in self._pending() if pattern is None or fnmatchcase(c.key, pattern)]
        body = {"entries": entries, "pending": [change_json(change) for change in pending], "more": more}
        return Answer(dumps(body))

    def authors(self) -> Answer:
        return Answer(dumps(self._index.authors()))

    def _pending(self) -> tuple[Change, ...]:
        """Return edits by hand that no entry records; found anew only when the files or the journal say something else."""
        basis = self._store.newest(files=True)[1], self._newest()
        known = self._unrecorded
        if known is None or known[0][0] is not basis[0] or known[0][1] != basis[1]:
            self._unrecorded = known = basis, self._store.pending()
        return known[1]

    def revision(self, number: int) -> Answer:
        entries = self._index.entries_of(number)
        newest = self._store.revision
        if not entries:
            raise UnknownRevisionError(f"There is no revision {number}; the newest is {newest}.")
        try:
            comparison = comparison_json(self._sides().made_by(number, entries))
        except UnknownRevisionError:  # the journal begins here
            comparison = None
        body = {"revision": number, "entries": entries, "comparison": comparison, "newest": newest}
        return Answer(dumps(body))

    def diff(self, a: str, b: str | None) -> Answer:
        for word in (a, b):  # never a file or a git name: that would read any file
            if word is not None and not _is_moment(word):
                raise UnknownRevisionError(
                    f"{word!r} is neither a revision nor a time such as 2026-01-31T12:00:00."
                )
        return Answer(dumps(self._compared(a, b)))

    def _compared(self, a: str, b: str | None) -> Mapping[str, Any]:
        return comparison_json(
            self._sides().compared([f"revision:{word}" for word in (a, b) if word is not None])
        )

    def _sides(self) -> Sides:
        if self._store.root is None:
            raise RefusedError(404, "not_in_files", "Revisions are compared for stores in files only.")
        return Sides(self._store)

    def contexts(self, a: Sequence[str], b: Sequence[str]) -> Answer:
        snapshot = self._store.snapshot()
        one, other = self.context_of(snapshot, a), self.context_of(snapshot, b)
        here, there = snapshot.in_context(one), snapshot.in_context(other)
        differing = [key for key, value in here.items() if not same(value, there[key])]
        specs = {key: self._store.spec(key) for key in differing}
        found = [
            {
                "key": key,
                "a": thaw(here[key]),
                "b": thaw(there[key]),
                "unit": spec.unit,
                "minimum": spec.minimum,
                "maximum": spec.maximum,
            }
            for key, spec in specs.items()
        ]
        return Answer(dumps({"a": one, "b": other, "differences": found}))

    # -- whether all is well ------------------------------------------------------------------------

    def freezes(self) -> Answer:
        return Answer(dumps([freeze_json(freeze) for freeze in self._store.freezes()]))

    def doctor(self) -> Answer:
        return _aside(self._background.doctor())

    def scorecard(self, revision: int | None = None) -> Answer:
        """Return what came of each change, or of that of one revision alone."""
        if not self._settings.outcomes:
            raise RefusedError(404, "no_outcomes", NO_OUTCOMES)
        card, age_s = self._background.scorecard()
        if revision is not None and card is not None and "changes" in card:
            card = {**card, "changes": [one for one in card["changes"] if one["revision"] == revision]}
            card["revisions"] = [one for one in card["revisions"] if one["revision"] == revision]
        return _aside((card, age_s))

    def health(self) -> Answer:
        store, settings = self._store, self._settings
        found = store.health
        dimensions = store.snapshot().state.dimensions().values()
        body = {
            "revision": found.revision,
            "ok": found.ok,
            "problems": [asdict(problem) for problem in found.problems],
            "warnings": list(found.warnings),
            "age_s": found.age_s if math.isfinite(found.age_s) else None,
            "store": store.root or "in memory",
            "writes": settings.writes,
            "private": settings.private,
            "scorecard": settings.outcomes is not None,
            "author": settings.author,
            "version": __version__,
            "dimensions": [
                {
                    "name": d.name,
                    "type": d.type,
                    **({} if d.choices is None else {"choices": list(d.choices)}),
                }
                for d in dimensions
            ],
        }
        return Answer(dumps(body))

    # -- what several need --------------------------------------------------------------------------

    def _newest(self) -> Any:
        self._index.sync()
        return self._index.newest

    @staticmethod
    def context_of(snapshot: Snapshot, pairs: Sequence[str]) -> dict[str, Any]:
        """Return the context that ``dimension=value`` pairs name, typed as dimensions say. Raises ``ContextError``."""
        dimensions = snapshot.state.dimensions()
        found: dict[str, Any] = {}
        for pair in filter(None, pairs):  # an empty one is the base
            name, sign, text = pair.partition("=")
            if not (name and sign):
                raise ContextError(f"{pair!r} is no context: write it as dimension=value.")
            if name in found:
                raise ContextError(f"`{name}` is named twice.")
            found[name] = parse(text, dimensions[name].type) if name in dimensions else text
        return check_context(found, dimensions)


def known_key(key: str, known: Collection[str]) -> str:
    """Return ``key`` if it is known. The library logs one that is not, once each: a client could fill log and memory with them."""
    if key in known:
        return key
    raise UnknownParamError(key, nearest(key, known))


def known_pattern(text: str, known: Collection[str]) -> str:
    """Return ``text`` as a pattern that matches something, as ``matching_pattern`` does, without a word in the log."""
    if text in known or any(key.startswith(f"{text}.") or fnmatchcase(key, text) for key in known):
        return matching_pattern(text, known)
    raise UnknownParamError(text, nearest(text, known))


def _aside(found: tuple[Mapping[str, Any] | None, float]) -> Answer:
    data, age_s = found
    if data is None:
        return Answer(dumps({"pending": True}), status=202)
    if "problem" in data:
        raise RefusedError(503, "not_found_out", data["problem"])
    return Answer(dumps({**data, "age_s": round(age_s, 1)}))


def _tag(view: Snapshot) -> str:
    return f'"{view.revision}-{view.digest[:12]}"'


def _tag_of(body: bytes) -> str:
    import hashlib

    return f'"{hashlib.sha256(body).hexdigest()[:24]}"'


def _is_moment(word: str) -> bool:
    if word.isdecimal():
        return True
    try:
        datetime.fromisoformat(word)
    except ValueError:
        return False
    return True
