"""What takes long to find out, found out aside: what ``doctor`` says, and the scorecard.

Each is made in a thread of its own when somebody asks, and kept: until something has changed, and for at least twenty times as
long as it took, so that neither the page nor a learner is slowed by it. A failure is an answer as well: ``problem`` says why.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from paramstore._as_json import report_json, scorecard_json
from paramstore._examined import examined
from paramstore._looked import looked
from paramstore._scorecard import Fields, Gathered, gather, known_revisions, read, scorecard
from paramstore._sources import files, named_in
from paramstore._store import ParamStore
from paramstore.errors import InvalidFileError, ParamstoreError

LEAST_S = 5.0  # for which an answer is kept
TIMES = 20  # as long as it took to make
OLD_S = 300.0  # after which it is made anew though nothing has changed: silence grows by itself
LEVEL, MIN_COUNT = 0.95, 20  # of the scorecard, as on the command line
REVISION_FIELD = "params_revision"
SHOWN = 5  # lines of a file of outcomes that a refusal names

Json = dict[str, Any]


class Aside:
    """An answer that ``make`` gives, made in a thread of its own. ``basis`` says what it is made from, to be compared."""

    def __init__(self, name: str, make: Callable[[], Json], basis: Callable[[], tuple[Any, ...]]) -> None:
        self._name, self._make, self._basis = name, make, basis
        self._lock = threading.Lock()
        self._answer: Json | None = None
        self._made_from: tuple[Any, ...] | None = None
        self._made_at = self._kept_until = 0.0
        self._thread: threading.Thread | None = None

    def get(self) -> tuple[Json | None, float]:
        """Return the newest answer (``None`` before the first) and its age in seconds. Has a new one made if it is old."""
        with self._lock:
            if self._thread is None and self._is_old():
                self._thread = threading.Thread(
                    target=self._run, name=f"paramstore-{self._name}", daemon=True
                )
                self._thread.start()
            return self._answer, 0.0 if self._answer is None else time.monotonic() - self._made_at

    def _is_old(self) -> bool:
        now = time.monotonic()
        if self._answer is None:
            return True
        return now >= self._kept_until and (now - self._made_at > OLD_S or self._stands() != self._made_from)

    def _stands(self) -> tuple[Any, ...] | None:
        try:
            return self._basis()
        except (ParamstoreError, OSError):
            return None

    def _run(self) -> None:
        began = time.monotonic()
        basis = self._stands()  # before it is made: what comes meanwhile makes it old
        answer = self._made()
        with self._lock:
            now = time.monotonic()
            self._answer, self._made_from, self._made_at = answer, basis, now
            self._kept_until = now + max(LEAST_S, TIMES * (now - began))
            self._thread = None

    def _made(self) -> Json:
        try:
            return self._make()
        except ParamstoreError as error:
            return {"problem": str(error)}
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return {"problem": f"{where}{error.strerror or error}"}
        except Exception as error:  # of input that nobody foresaw: who asks must be told, not left waiting
            logging.getLogger("paramstore").exception("what %s says cannot be found out", self._name)
            return {
                "problem": f"It cannot be found out, by a fault of paramstore: {type(error).__name__}: {error}"
            }


class Background:
    """What ``doctor`` says of ``store``, and what came of each change by the file ``outcomes`` and its field ``metric``."""

    def __init__(self, store: ParamStore, outcomes: str | None = None, metric: str | None = None) -> None:
        self._store = store
        self._outcomes, self._metric = outcomes, metric
        self._doctor = Aside("doctor", self.examine, self._stands)
        self._scorecard = Aside("scorecard", self.judge, lambda: (*self._stands(), self._file()))

    def doctor(self) -> tuple[Json | None, float]:
        """Return what ``doctor --json`` says, or ``problem``, and its age in seconds; ``None`` before the first is ready."""
        return self._doctor.get()

    def scorecard(self) -> tuple[Json | None, float]:
        """Return what ``scorecard --json`` says, in the same way. Of a server without outcomes, ``problem`` says so."""
        return self._scorecard.get()

    def _stands(self) -> tuple[Any, ...]:
        """Return what is another thing after each entry and each edit by hand, and not where files were only looked at again."""
        snapshot = self._store.newest()[1]
        place = getattr(
            snapshot.state.position, "journal", None
        )  # of a store in files: how far its journal goes
        return snapshot, snapshot.state if place is None else place.plain()

    def _file(self) -> tuple[int, ...]:
        stat = os.stat(self._outcomes or "")
        return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns

    def examine(self) -> Json:
        """Return what ``doctor --json`` says, made now. Raises ``ParamstoreError`` and ``OSError``, as the next."""
        store = self._store
        mirror = looked(store)
        entries = store.history(refused=True)
        folders = [os.path.join(store.root or "", name) for name in store.options.doctor_sources]
        for folder in folders:
            if not os.path.isdir(folder):
                raise ParamstoreError(f"the setting doctor_sources names {folder}, which is no directory")
        named = named_in(files(folders), store.keys(), lambda: None) if folders else None
        report = examined(store, entries, None if named is None else named.keys)
        return report_json(report, named.unparsed if named is not None else (), mirror)

    def judge(self) -> Json:
        """Return what ``scorecard --json`` says, made now."""
        if not self._outcomes or not self._metric:
            raise ParamstoreError("No outcomes were named: `paramstore serve --outcomes FILE --metric NAME`.")
        entries = self._store.history()
        with open(self._outcomes, "rb") as lines:
            fields = Fields(self._metric, REVISION_FIELD, ())
            gathered = gather(read(lines, fields, known_revisions(entries)))
        _require_joined(gathered, self._outcomes)
        card = scorecard(entries, gathered.tallies, level=LEVEL, min_count=MIN_COUNT, pattern="*")
        return scorecard_json(gathered, card, self._metric, MIN_COUNT)


def _require_joined(gathered: Gathered, file: str) -> None:
    """Raise ``InvalidFileError`` where no line could be joined to the journal."""
    if not gathered.joined:
        said = "; ".join(f"line {problem.line:,}: {problem.text}" for problem in gathered.problems[:SHOWN])
        raise InvalidFileError(
            file, f"no outcome in it could be joined to the journal{f': {said}' if said else ''}"
        )
