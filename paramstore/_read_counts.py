"""How often each parameter is read, where that is switched on (``PARAMSTORE_READ_COUNTS=1``).

A store that counts serves ``Counted`` values in place of plain ones; one that does not never imports this
module, and its reads are the same code. A lookup adds one to a number in memory; now and then, and at the
end of the process, the watching thread adds what is new to ``.paramstore/reads.json``. That file may be
deleted at any time; counting then begins anew. Numbers in memory only grow, and what was already added is
remembered beside them, so that a lookup never needs a lock.

Counted are lookups. A read that needs none is not: a live attribute counts once for each revision that it
sees, so does ``get`` with the same key and context, and a section counts every key below it then.
A process that is killed loses what it counted since the last time, ``FLUSH_S`` at most.
"""

from __future__ import annotations

import _thread
import atexit
import fcntl
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from paramstore._files import closed, make_runtime, open_or_create, share
from paramstore._layers import check_context
from paramstore._reads import Snapshot
from paramstore._section import Section, _View
from paramstore._values import FrozenDict, Values

FLUSH_S = 3.0
WAIT_S = 2.0  # for other processes, at the end of this one
FILE, LOCK = "reads.json", "reads.lock"
VERSION = 1
_lookup = dict.__getitem__


class Reads(NamedTuple):
    """Reads by key, of all processes, and since when they are counted (seconds since 1970)."""

    since: float
    counts: dict[str, int]


def load(folder: str) -> Reads | None:
    """Return what ``folder`` (``.paramstore``) says; ``None`` where nothing was counted or the file is spoiled."""
    try:
        with open(os.path.join(folder, FILE), "rb") as file:
            data = json.load(file)
        counts = {str(key): int(count) for key, count in data["reads"].items()}
        return Reads(float(data["since"]), counts) if data["v"] == VERSION else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


# --- counting -------------------------------------------------------------------------------------


class Counted(Values):
    """Values that count their lookups in ``tally``."""

    __slots__ = ("tally",)

    tally: dict[str, int]

    def __getitem__(self, key: str) -> Any:
        value = _lookup(self, key)  # raises for an unknown key
        self.tally[key] += 1  # one thread at a time: no other can run between its reading and writing
        return value


class CountedSnapshot(Snapshot):
    """A snapshot whose lookups are counted, in every context."""

    __slots__ = ()

    def in_context(self, context: Mapping[str, Any]) -> Values:
        values = super().in_context(context)
        if type(values) is not Values:
            return values
        assert isinstance(self._base, Counted)
        known = check_context({**self._context, **context}, self._dimensions)
        place = tuple(known.get(name) for name in self._dimensions)
        counted = self._contexts[place] = _counted(values, self._base.tally)
        return counted

    def at(self, **context: Any) -> Snapshot:
        """Return the same snapshot seen in a context."""
        view = super().at(**context)
        view.__class__ = CountedSnapshot
        return view

    def section(self, prefix: str) -> FrozenDict:
        """Return the values below ``prefix`` as a nested, frozen dictionary."""
        _count_below(self.values, prefix)
        return super().section(prefix)


class CountedSection(Section):
    """A live section that counts every key below it once for each revision that it reads."""

    __slots__ = ()
    __hash__ = None

    def _refresh(self) -> _View:
        before = self._view
        view = super()._refresh()
        if view is not before:
            _count_below(view.known, view.prefix)
        return view


def _counted(values: Values, tally: dict[str, int]) -> Counted:
    counted = Counted(values)
    counted.tally = tally
    for key in values:
        tally.setdefault(key, 0)
    return counted


def _count_below(values: Values, prefix: str) -> None:
    if isinstance(values, Counted):
        start, tally = f"{prefix}.", values.tally
        for key in values:
            if key.startswith(start):
                tally[key] += 1


# --- keeping --------------------------------------------------------------------------------------


class Tally:
    """What this process counted of one store, and how much of it is in the file already."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.counts: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._due = 0.0
        self._since = time.time()
        self._busy = _thread.allocate_lock()
        self.at_exit()

    def adopt(self, snapshot: Snapshot) -> None:
        """Make ``snapshot``, which nobody has seen yet, count its lookups."""
        snapshot.__class__ = CountedSnapshot
        snapshot._base = snapshot.values = _counted(snapshot.values, self.counts)
        snapshot.get = snapshot.values.__getitem__

    def attach(self, view: Any) -> None:
        """Make a section that was just opened count what it reads."""
        if type(view) is Section:
            view.__class__ = CountedSection
            _count_below(view._view.known, view._view.prefix)

    def flush_if_due(self) -> None:
        """Add what is new to the file if it was last done ``FLUSH_S`` seconds ago. Never raises, hardly waits."""
        if time.monotonic() >= self._due:
            self.flush()

    def flush(self, wait_s: float = 0.0) -> bool:
        """Add what is new to the file; tell whether that is done. A busy or unwritable file is left for later."""
        self._due = time.monotonic() + FLUSH_S
        deadline = time.monotonic() + wait_s
        if not self._busy.acquire(timeout=wait_s + 1):
            return False
        try:
            while not self._add():
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.002)
            return True
        except OSError:
            return False
        finally:
            self._busy.release()

    def merged(self) -> dict[str, int]:
        """Return the reads of all processes by key, own ones that are not in the file yet included."""
        with self._busy:
            reads = load(self.folder)
            return _sum(reads.counts if reads else {}, self._new())

    def _new(self) -> dict[str, int]:
        counts = self.counts.copy()  # in one step: another thread may add a key
        new = {key: count - self._kept.get(key, 0) for key, count in counts.items()}
        return {key: count for key, count in new.items() if count}

    def _add(self) -> bool:
        new = self._new()
        if not new:
            return True
        fd = _lock(os.path.join(self.folder, LOCK))
        if fd is None:
            return False
        try:
            reads = load(self.folder) or Reads(self._since, {})
            _write(os.path.join(self.folder, FILE), Reads(reads.since, _sum(reads.counts, new)))
            self._kept = _sum(self._kept, new)
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child that was forked meanwhile has it too
            os.close(fd)
        return True

    def at_exit(self) -> None:
        """Flush when the process ends, also where multiprocessing ends it without Python's own way."""
        atexit.register(self.flush, WAIT_S)
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.Finalize(None, self.flush, args=(WAIT_S,), exitpriority=0)

    def after_fork(self) -> None:
        """In a child, begin at zero: what is not in the file yet is the parent's to add."""
        self._busy = _thread.allocate_lock()
        self._kept = self.counts.copy()
        util = sys.modules.get("multiprocessing.util")
        if util is not None:  # it forgets what was to be done at the end, and calls this afterwards
            util.register_after_fork(self, Tally.at_exit)


def _sum(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {**counts, **{key: counts.get(key, 0) + count for key, count in more.items()}}


def _lock(path: str) -> int | None:
    """Return a descriptor that holds the lock, or ``None`` while another has it. Raises ``OSError``."""
    make_runtime(os.path.dirname(path))
    fd = open_or_create(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.stat(path), os.fstat(fd)):  # else it was deleted meanwhile
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _write(path: str, reads: Reads) -> None:
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="ascii", opener=closed) as file:
            share(file.fileno(), os.path.dirname(path))
            json.dump(
                {"v": VERSION, "since": reads.since, "reads": reads.counts}, file, indent=0, sort_keys=True
            )
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


_tallies: dict[str, Tally] = {}


def tally_of(root: str) -> Tally:
    """Return the one tally that this process keeps for the store at ``root``."""
    folder = os.path.join(root, ".paramstore")
    return _tallies.get(folder) or _tallies.setdefault(folder, Tally(folder))


def _after_fork_in_child() -> None:
    for tally in _tallies.values():
        tally.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
