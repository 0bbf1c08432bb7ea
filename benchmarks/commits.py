"""Commits: one durable change of one key, against the system calls that it cannot do without."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Row, compare, failed_row, once, statement
from benchmarks.plan import Plan
from benchmarks.stores import (
    AUTHOR,
    EVIDENCE,
    KEY,
    SIZES,
    VALUE,
    names,
    paramstore,
    values,
    workspace,
    write_store,
)

SECTION = "One durable commit of one key"
GUARDS = "Guards: one durable commit of one key under every limit"
GUARDS_TARGET = 1.1
FRESH = "First read after a commit by another process"
TARGETS = {SIZES[0]: 1.8, SIZES[1]: 2.5}
OTHER_VALUE = 0.51
ENTRY_BYTES = 640  # a journal line, where no store is there to say


def rows(plan: Plan) -> list[Row]:
    """Commits at 60 and 1,000 keys, then the first read after one of another process."""
    found: list[Row] = []
    for count, target in TARGETS.items():
        with workspace(plan.directory) as parent:
            found += _commits(parent, count, target, plan)
    with workspace(plan.directory) as parent:
        found += _guards(parent, plan)
    for count in SIZES:
        with workspace(plan.directory) as parent:
            found.append(_fresh(parent, count, plan))
    return found


def _guards(parent: Path, plan: Plan) -> list[Row]:
    """A commit under every limit against one in a store whose schema has none."""
    count, name = SIZES[0], "owner, samples, evidence, steps, cooldown, drift"
    try:
        free, _ = store_commit(write_store(parent / "free", count, limited=False))
        bound, _ = store_commit(write_store(parent / "bound", count))
    except ImportError as error:
        return [Row(GUARDS, name, missing=f"not available: {error}")]
    base = Case("the same commit without limits", once(free))
    return compare(GUARDS, base, [Case(name, once(bound), GUARDS_TARGET)], plan.commits)


def _commits(parent: Path, count: int, target: float, plan: Plan) -> list[Row]:
    root = write_store(parent / "store", count)
    document = (root / "params" / "bench.yaml").read_bytes()
    name = f"store, {count:,} keys"
    cases: list[Case] = []
    failures: list[Row] = []
    entry_bytes = ENTRY_BYTES
    try:
        commit, entry_bytes = store_commit(root)
        cases.append(Case(name, once(commit), target, f"journal line of {entry_bytes} bytes"))
    except ImportError as error:
        failures.append(Row(SECTION, name, target=target, missing=f"not available: {error}"))
    except Exception as error:  # noqa: BLE001 - the rows that do not need the store still run
        failures.append(failed_row(SECTION, name, error, target))
    (parent / "raw").mkdir()
    (parent / "sqlite").mkdir()
    raw = RawCommit(parent / "raw", document, entry_bytes)
    with closing(raw), closing(SqliteCommit(parent / "sqlite", count, entry_bytes)) as sqlite:
        base = Case(f"raw system calls, {count:,} keys", once(raw))
        cases.append(Case(f"SQLite (WAL, FULL), {count:,} keys", once(sqlite)))
        return compare(SECTION, base, cases, plan.commits) + failures


def store_commit(root: Path) -> tuple[Callable[[], None], int]:
    """A commit that flips KEY between two values, warmed, and the size of its journal line."""
    store = paramstore().ParamStore(root)
    turns = _turns()

    def commit() -> None:
        with store.transaction(author=AUTHOR, reason="benchmark", evidence=EVIDENCE) as tx:
            tx[KEY] = next(turns)

    commit()
    before = _journal_bytes(root)
    commit()
    if store.get(KEY) != VALUE:
        raise ValueError(f"{KEY} is {store.get(KEY)!r} after a commit of {VALUE}")
    return commit, max(_journal_bytes(root) - before, 1)


def _turns() -> Iterator[float]:
    while True:
        yield OTHER_VALUE
        yield VALUE


def _journal_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / "params" / "journal").rglob("*") if path.is_file())


class RawCommit:
    """The least that a durable and audited change of a file needs, with nothing checked.

    Write a new file, fsync, rename over the old one, open and fsync the directory, append a journal
    line to an open file, fdatasync: the same bytes as the store writes.
    """

    def __init__(self, root: Path, document: bytes, entry_bytes: int) -> None:
        self._root, self._document = str(root), document
        self._entry = b"x" * (entry_bytes - 1) + b"\n"
        self._path, self._new = str(root / "bench.yaml"), str(root / "bench.yaml.new")
        self._journal = os.open(root / "journal.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        (root / "bench.yaml").write_bytes(document)

    def __call__(self) -> None:
        new = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        os.write(new, self._document)
        os.fsync(new)
        os.close(new)
        os.rename(self._new, self._path)
        directory = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(directory)
        os.close(directory)
        os.write(self._journal, self._entry)
        os.fdatasync(self._journal)

    def close(self) -> None:
        os.close(self._journal)


class SqliteCommit:
    """One row changed and one journal row added, in one transaction with a full sync."""

    def __init__(self, root: Path, count: int, entry_bytes: int) -> None:
        self._entry, self._turns = "x" * entry_bytes, _turns()
        self._connection = sqlite3.connect(root / "bench.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE param (key TEXT PRIMARY KEY, value REAL) WITHOUT ROWID")
        self._connection.execute("CREATE TABLE journal (revision INTEGER PRIMARY KEY, entry TEXT)")
        all_values = values(count)
        filled = [(f"bench.{name}", all_values[name]) for name in names(count)]
        self._connection.executemany("INSERT INTO param VALUES (?, ?)", filled)

    def __call__(self) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        run("UPDATE param SET value = ? WHERE key = ?", (next(self._turns), KEY))
        run("INSERT INTO journal (entry) VALUES (?)", (self._entry,))
        run("COMMIT")

    def close(self) -> None:
        self._connection.close()


# Commits each value it reads from standard input, and answers once it is acknowledged.
_WRITER = """
import sys
from paramstore import ParamStore
store = ParamStore(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    with store.transaction(author={author!r}, reason="benchmark", evidence={evidence!r}) as tx:
        tx[{key!r}] = float(line)
    print("done", flush=True)
"""


def _fresh(parent: Path, count: int, plan: Plan) -> Row:
    name = f"{count:,} parameters"
    try:
        store = paramstore().ParamStore(write_store(parent / "store", count))
        store.get(KEY)
        with writer(parent / "store") as commit:
            base = Case("a plain read", statement(f"store.get({KEY!r})", {"store": store}))
            case = Case(name, first_read(store, commit))
            return compare(FRESH, base, [case], plan.fresh)[0]
    except ImportError as error:
        return Row(FRESH, name, missing=f"not available: {error}")
    except Exception as error:  # noqa: BLE001 - the other sizes still run
        return failed_row(FRESH, name, error)


@contextmanager
def writer(root: Path) -> Iterator[Callable[[float], None]]:
    """Another process that commits on demand; the call returns once the commit is acknowledged."""
    code = _WRITER.format(author=AUTHOR, evidence=EVIDENCE, key=KEY)
    command = [sys.executable, "-c", code, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("the writer has no pipes")
        into, out = child.stdin, child.stdout

        def hear(word: str) -> None:
            if out.readline().strip() != word:
                raise RuntimeError("the writing process ended")

        def commit(value: float) -> None:
            into.write(f"{value}\n")
            into.flush()
            hear("done")

        hear("ready")
        yield commit
        into.close()


def first_read(store: Any, commit: Callable[[float], None]) -> Callable[[], float]:
    turns = _turns()

    def measure() -> float:
        value = next(turns)
        commit(value)
        start = time.perf_counter()
        seen = store.get(KEY)
        elapsed = time.perf_counter() - start
        if seen != value:
            raise ValueError(f"a read after the commit of {value} gave {seen}: stale")
        return elapsed

    return measure
