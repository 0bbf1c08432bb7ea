"""A parameter store: live reads, snapshots, history, and the way into a transaction."""

from __future__ import annotations

import os
import sys
import weakref
from _thread import RLock

from paramstore import _environment
from paramstore._bound import Bound
from paramstore._clock import SYSTEM
from paramstore._complaints import Complaints
from paramstore._opening import opened
from paramstore._options import Options
from paramstore._reads import Memo, Reader, Snapshot, matching_keys, reader_class
from paramstore._values import require_known, unknown_key
from paramstore._watch import Watcher
from paramstore._writes import Writes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import Any

    from paramstore._backends.base import Backend
    from paramstore._clock import Clock
    from paramstore._live import Live
    from paramstore._model import Explanation, Health, Spec
    from paramstore._read_counts import Tally
    from paramstore._section import Section
    from paramstore._state import State
    from paramstore._subscription import Callback, Subscription
    from paramstore._transaction import Transaction
    from paramstore._values import Values


PATIENT_S = 60.0  # how long a freeze waits for the lock: who pulls the switch wants it pulled


class ParamStore(Writes, Reader):
    """The parameters under ``root`` (a directory with ``params/`` and ``schemas/``).

    Without ``root``: the cluster that ``PARAMSTORE_BACKEND`` names, else ``PARAMSTORE_ROOT``, else the nearest such
    directory upward from the working directory. Nothing is read before the first use, which raises ``StoreNotFoundError``,
    ``InvalidFileError`` or ``SettingsError`` if there is no good state to serve. ``backend`` replaces
    the files; ``environ`` stands in for ``os.environ``, ``clock`` for the machine's clock.
    """

    __slots__ = ("_backend", "_bound", "_clock", "_complaints", "_due", "_environ", "_environment", "_given", "_options", "_overrides",
                 "_pending", "_root", "_sections", "_snapshot", "_subscribers", "_views", "_watcher", "lock")  # fmt: skip

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        backend: Backend | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._root = None if root is None else os.path.abspath(os.path.expanduser(os.fspath(root)))
        self._given = backend
        self._environ = os.environ if environ is None else environ
        self._clock = clock
        self._start()

    def _start(self) -> None:
        self._backend = self._given
        self._options = Options()
        self.lock = RLock()
        self._snapshot: Snapshot | None = None
        self._environment: dict[str, Any] = {}
        self._overrides: list[dict[str, Any]] = []
        self._views: weakref.WeakValueDictionary[int, Any] = (
            weakref.WeakValueDictionary()
        )  # sections do not hash
        self._bound: dict[tuple[Any, ...], Bound] = {}
        self._sections: dict[str, Section] = {}
        self._subscribers: list[Subscription] = []
        self._pending: list[tuple[Snapshot, Snapshot]] = []
        self._complaints = Complaints()
        self._due = False  # the next read shall look at the files
        self._watcher: Watcher | None = None
        self.flag: object = True

    def get(self, key: str, no_default: None = None, /, **context: Any) -> Any:
        """Return the value of ``key``, in the context of the named dimensions.

        Raises ``UnknownParamError`` (a ``KeyError``) for a key that no schema declares and
        ``TypeError`` for a dimension that no schema declares or a value that it does not allow. There is
        no default: a misspelt key cannot trade.
        """
        self.newest()  # the first read makes this a class whose ``get`` knows the dimensions
        return self.get(key, no_default, **context)

    # -- freshness --------------------------------------------------------------------------------

    def refetch(self) -> None:
        self.newest()

    def newest(self, files: bool = False) -> tuple[object, Snapshot]:
        """Return the newest snapshot and the flag that tells when it is superseded."""
        with self.lock:
            if self.flag or files or self._snapshot is None:
                self._refresh(files or self._due)
            assert self._snapshot is not None
            found = self.flag, self._snapshot
        if self._complaints.unsaid:
            self._complaints.say()
        return found

    def _refresh(self, files: bool) -> None:
        self._due = False
        backend = self._open()
        last = self._snapshot.state if self._snapshot is not None else None
        flag = backend.signal()  # before loading: a commit in between shows in the flag
        state = backend.load(last, files)
        if last is None:
            self._environment = _environment.read(self._environ, state, backend.schema)
        self._adopt(state, flag)

    def _adopt(self, state: State, flag: object) -> None:
        old = self._snapshot
        if old is not None and old.state.documents == state.documents and old.revision == state.revision:
            old.state = state  # the same values, known from newer files
            self._complaints.note(state)
            self.flag = flag
            return
        self._serve(Snapshot(state, self._environment, *self._overrides), flag)
        self._complaints.note(state)

    def _serve(self, snapshot: Snapshot, flag: object) -> None:
        old = self._snapshot
        names = tuple(snapshot.state.dimensions())
        if self._options.read_counts:
            self._tally().adopt(snapshot)
        self.values = snapshot.values
        self.memo = Memo(snapshot, names, {})
        kind = reader_class(ParamStore, names)
        if self.__class__ is not kind:
            self.__class__ = kind
        # Next to last: a signal handler that raises before this leaves the old snapshot, so that the next
        # read does it all again instead of taking the values for served.
        self._snapshot = snapshot
        self.flag = flag
        self._expire(list(self._views.values()))
        if old is None:
            self._watch()
        elif self._subscribers:
            self._pending.append((old, snapshot))
            self._wake()

    @staticmethod
    def _expire(views: list[Any]) -> None:
        if views:
            from paramstore._section import expire

            for view in views:
                expire(view)

    def _open(self) -> Backend:
        if self._backend is None:
            self._backend, self._options = opened(self._root, self._environ, self._clock)
        return self._backend

    def _watch(self) -> None:
        self._watcher = Watcher(self, self._options.poll_s)
        self._watcher.start()

    def _wake(self) -> None:
        if self._watcher is not None:
            self._watcher.wake()

    def look(self) -> None:
        """Look at the files for changes that nobody announced, and tell subscribers what changed.

        Reading a file imports modules. The first to import ``threading`` is the main thread for it, and a
        program whose watcher is that never ends; so where nobody has, the next read looks instead.
        """
        backend, snapshot = self._backend, self._snapshot
        if self._options.read_counts:
            self._tally().flush_if_due()
        if "threading" in sys.modules:
            self._look_at_files()
            self._tell()
        elif backend is not None and snapshot is not None:
            try:
                if not backend.poll(snapshot.state):
                    return
            except OSError:
                pass  # the next read meets it as well
            self._due = self.flag = True
            self._expire(list(self._views.values()))

    def _look_at_files(self) -> None:
        backend, snapshot = self._backend, self._snapshot
        if backend is None or snapshot is None:
            return
        if backend.poll(snapshot.state):
            self.newest(files=True)
        elif self.flag and self._subscribers:
            self.newest()

    def _tell(self) -> None:
        while True:
            try:
                old, new = self._pending.pop(0)
            except IndexError:
                return
            for subscription in list(self._subscribers):
                subscription.tell(old, new)

    def after_fork(self) -> None:
        """Forget what belongs to the parent's threads; the mapped generation is shared and stays."""
        self.lock = RLock()
        if self._backend is not None:
            self._backend.after_fork()

    def refresh(self) -> Health:
        """Look at the files now instead of within a second, and return the health that results."""
        self.newest(files=True)
        return self.health

    @property
    def health(self) -> Health:
        """Whether readers see what the files say; if not, which file is refused, why, and since when."""
        from paramstore._model import Health

        self.newest()
        self._look_at_files()
        with self.lock:
            assert self._snapshot is not None
            state = self._snapshot.state
            problems = self._complaints.problems()
        return Health(state.revision, problems, tuple(self._warnings(state)), self._open().age_s())

    def _warnings(self, state: State) -> Iterator[str]:
        for name, document in state.documents.items():
            if document.overrides and not {f"schemas/{name}.schema.json", "params/"} & state.problems.keys():
                schema = self._open().schema(name, document.schema_digest)
                if schema.digest == document.schema_digest:
                    yield from schema.warnings(document)

    @property
    def root(self) -> str | None:
        """The directory with params/ and schemas/; ``None`` for a store that is not in files."""
        return getattr(self._open(), "root", None)

    @property
    def options(self) -> Options:
        """The store's own settings, as ``PARAMSTORE_*`` and ``paramstore.toml`` give them."""
        self._open()
        return self._options

    @property
    def clock(self) -> Clock:
        """Where time comes from: dates of entries, cooldowns, ends of freezes."""
        return self._open().clock

    @property
    def revision(self) -> int:
        """The revision that a read would see now."""
        return self.newest()[1].revision

    # -- reads ------------------------------------------------------------------------------------

    def current(self) -> tuple[object, Values]:
        flag, snapshot = self.newest()
        return flag, snapshot.values

    def attach(self, view: Any) -> None:
        self._views[id(view)] = view
        if self._options.read_counts:
            self._tally().attach(view)

    def _tally(self) -> Tally:
        from paramstore._read_counts import tally_of

        return tally_of(str(self.root))  # only a store in files has settings

    def read_counts(self) -> dict[str, int]:
        """Return how often each key was read, by all processes; empty unless ``read_counts`` is set (docs/doctor.md)."""
        return self._tally().merged() if self.options.read_counts else {}

    def dimensions(self) -> list[str]:
        """Return the names of all declared dimensions."""
        return list(self.newest()[1].state.dimensions())

    def at(self, **context: Any) -> Bound:
        """Return a view with the same reads in a context. Raises ``ContextError`` for an unknown one."""
        names, place = tuple(self.dimensions()), tuple(sorted(context.items()))
        view = self._bound.get((names, place))
        if view is None:
            bound: type[Bound] = reader_class(Bound, names)
            view = bound(self, context)
            if len(self._bound) >= 1000:
                self._bound.clear()
            self._bound[names, place] = view
        return view

    def section(self, prefix: str) -> Section:
        """Return a live, read-only dictionary of the values below ``prefix`` (a namespace or group)."""
        section = self._sections.get(prefix)
        if section is None:
            from paramstore._section import Section

            section = self._sections[prefix] = Section(self, prefix)
        return section

    def live(self, key: str) -> Any:
        """Return a class attribute, or dataclass field default, that always reads the newest value.

        Raises ``UnknownParamError`` at once for an unknown key, and ``LiveError`` where it cannot stay live.
        """
        from paramstore._live import Live

        live: Live = Live(self, key)
        return live

    def snapshot(self) -> Snapshot:
        """Return all values at the newest revision, immutable: one decision reads one revision."""
        return self.newest()[1]

    def spec(self, key: str) -> Spec:
        """Return type, bounds, unit and learner limits of ``key``."""
        namespace, path = self._place(key)
        document = self.newest()[1].state.documents[namespace]
        return self._open().schema(namespace, document.schema_digest).specs[path]

    def keys(self, pattern: str = "*") -> list[str]:
        """Return the keys that match a shell-style pattern (``*`` crosses dots), in schema order."""
        return matching_keys(self.current()[1], pattern)

    def require(self, *keys: str) -> None:
        """Check at start, where no ``except`` hides it, that all keys exist; else ``UnknownParamError``."""
        require_known(keys, self.current()[1])

    def explain(self, key: str, **context: Any) -> Explanation:
        """Return every layer's value for ``key`` in ``context``, lowest first, and the last change."""
        from paramstore._explain import explain
        from paramstore._past import last_change

        self._place(key)
        last = last_change(self._open(), key)
        layers = self._environment, self._overrides
        return explain(self.newest()[1], key, context, self.spec(key), layers, last)

    def _place(self, key: str) -> tuple[str, str]:
        values = self.current()[1]
        if key not in values:
            raise unknown_key(key, values)
        namespace, _, path = key.partition(".")
        return namespace, path

    # -- overrides and subscriptions --------------------------------------------------------------

    def override(self, values: Mapping[str, Any]) -> AbstractContextManager[None]:
        """For tests: lay ``values`` over everything, in this process only, while the block runs.

        Types and bounds hold (``ValidationError``); constraints do not, so that one weight can be set.
        """
        from paramstore._override import override

        return override(self, values)

    def lay(self, layer: dict[str, Any]) -> None:
        """Put an override layer on top; see ``override``, which takes it off again."""
        self._overrides = [*self._overrides, layer]
        self._lay_anew()

    def lift(self, layer: dict[str, Any]) -> None:
        self._overrides = [other for other in self._overrides if other is not layer]
        self._lay_anew()

    def judge(self, key: str, value: Any) -> tuple[Any, list[str]]:
        """Return ``value`` as it would be stored and the rules that it breaks, as sentences."""
        namespace, path = self._place(key)
        return self._open().schema(namespace).judge(path, value)

    def _lay_anew(self) -> None:
        with self.lock:
            if self._snapshot is None:
                return  # what opens it lays them on
        self.newest()  # what is to be logged is logged without the lock
        with self.lock:
            flag, snapshot = self.newest()
            self._serve(Snapshot(snapshot.state, self._environment, *self._overrides), flag)

    def subscribe(self, pattern: str, callback: Callback) -> Subscription:
        """Call ``callback(changes)`` after each new revision that changes keys matching ``pattern``.

        ``changes`` is a tuple of ``Change`` with effective old and new values, never half of a commit.
        It runs in a thread of the store's own, usually within a quarter of a second; an exception in it
        is logged. Returns a handle to ``cancel``.
        """
        import threading  # noqa: F401 - here, and not first in the thread that runs the callback

        matching_keys(self.current()[1], pattern)
        from paramstore._subscription import Subscription

        subscription = Subscription(self, pattern, callback)
        self._subscribers.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; once it has ended, nothing happens."""
        self._subscribers = [other for other in self._subscribers if other is not subscription]

    # -- what a transaction needs -------------------------------------------------------------------

    def _transaction(
        self, timeout_s: float | None, tolerant: bool = False, **words: Any
    ) -> AbstractContextManager[Transaction]:
        from paramstore._transaction import check_timeout, transaction

        backend = self._open()
        patient_s = max(self._options.timeout_s, PATIENT_S if tolerant else 0.0)
        wait_s = patient_s if timeout_s is None else check_timeout(timeout_s)
        last = self._snapshot.state if self._snapshot is not None else None

        def take(state: State) -> None:
            if self._backend is backend:  # else it was reopened meanwhile, maybe elsewhere
                self._take(state)

        return transaction(backend.session(wait_s, last, tolerant), take, words)

    def _take(self, state: State) -> None:
        """Serve a state that this process has just committed, without reading it back."""
        with self.lock:
            if self._snapshot is not None and self._snapshot.revision < state.revision:
                flag = self._open().signal()
                self._adopt(state, flag)

    def reset(self) -> None:
        """Forget everything read, so that the next use opens the store anew. For tests and forked workers."""
        if self._watcher is not None:
            self._watcher.stop()
        self._close()
        views = list(self._views.values())
        self.__class__ = ParamStore
        self._start()
        for view in views:
            self.attach(view)
        self._expire(views)

    def reopen(self) -> None:
        """Open the store anew at the next use, at the root that is named or found by then. For tests.

        Views, overrides and subscriptions stay, and subscribers hear what differs.
        """
        if self._watcher is not None:
            self._watcher.stop()
        with self.lock:
            old, self._snapshot = self._snapshot, None
            self._close()
            self._backend, self._options = self._given, Options()
            self._environment, self._complaints = {}, Complaints()
            self._watcher, self._due = None, False
            self.__class__ = ParamStore
            self.flag = True
        self._expire(list(self._views.values()))
        if old is not None and self._subscribers:
            self._pending.append((old, self.newest()[1]))
            self._wake()

    def _close(self) -> None:
        if self._backend is not None and self._backend is not self._given:
            self._backend.close()

    def __repr__(self) -> str:
        if self._snapshot is None:
            return "<ParamStore, not opened yet>"
        return (
            f"<ParamStore {getattr(self._backend, 'root', 'in memory')}, revision {self._snapshot.revision}>"
        )
