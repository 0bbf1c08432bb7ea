"""Questions about the past of a long journal, against reading and parsing that journal once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Case, Row, compare, once, process
from benchmarks.plan import Plan
from benchmarks.startup import FIRST_READ, settled_environ
from benchmarks.stores import (
    AUTHOR,
    EVIDENCE,
    KEY,
    SIZES,
    drop_caches,
    names,
    paramstore,
    values,
    workspace,
    write_store,
)

if TYPE_CHECKING:
    from paramstore._model import Entry

ENTRIES, FEW = 100_000, 5_000
QUICK_SCANS = 1  # repetitions by which a rough run is known
STEP_S = 60.0
BEGAN = 1_750_000_000.0
FILE = "params/bench.yaml"
FIRST_WRITE = (
    "import time; from paramstore import params\n"
    f"with params.transaction(author={AUTHOR!r}, reason='benchmark', force=True) as tx:\n"
    f"    tx[{KEY!r}] = 0.3 + time.time_ns() % 4000 / 10_000"
)


def rows(plan: Plan) -> list[Row]:
    """One row per question; the journal has 100,000 entries (a rough run: 5,000)."""
    count = FEW if plan.scans <= QUICK_SCANS else ENTRIES
    section = f"The past: a journal of {count:,} entries"
    try:
        paramstore()
    except ImportError as error:
        return [Row(section, "history", missing=f"not available: {error}")]
    with workspace(plan.directory) as parent:
        root = write_store(parent / "long", SIZES[0], limited=False)
        write_journal(root, count)
        store = _store(root)
        try:
            return compare(section, _baseline(root), _cases(store, root, count), plan.scans)
        finally:
            store.reset()  # or its watcher would go on writing into a directory that is deleted


def _baseline(root: Path) -> Case:
    from paramstore._journal import START, Journal

    journal = Journal(f"{root}/params/journal")
    return Case("reading and parsing the journal once", once(lambda: journal.read(START)))


def _store(root: Path) -> Any:
    return paramstore().ParamStore(root, environ={})


def _cases(store: Any, root: Path, count: int) -> list[Case]:
    from paramstore._clock import utc_text

    middle = count // 2
    time = utc_text(BEGAN + STEP_S * middle)
    store.touches()  # the first of all questions reads everything, and remembers what it comes to
    asked = {
        "`history(key)`: 1 entry in 60": lambda: store.history(KEY),
        "`history(newest=20)`": lambda: store.history(newest=20),
        "`as_of(revision)`, in the middle": lambda: store.as_of(middle),
        "`as_of(time)`, in the middle": lambda: store.as_of(time),
        "`diff(a, b)`": lambda: store.diff(count // 10, count - 10),
        "`rollback(to)`, dry run": lambda: store.rollback(middle, author=AUTHOR, dry_run=True),
        "`rollback(to, by=)`, dry run": lambda: store.rollback(middle, by="person", author=AUTHOR, dry_run=True),
        "`explain(key)`": lambda: store.explain(KEY),
        "`blame(namespace)`": lambda: store.blame("bench"),
        "last change of every value, as `list` shows it": store.touches,
    }  # fmt: skip
    cases = [Case(name, once(ask)) for name, ask in asked.items()]
    environ = settled_environ(root)
    forget = partial(_forget, root)
    return [
        *cases,
        Case("new process: first read, sidecar present", process(FIRST_READ, environ)),
        Case(
            "new process: first read, every cache deleted",
            process(FIRST_READ, environ, before=partial(drop_caches, root)),
        ),
        Case(
            "new process: first transaction", process(FIRST_WRITE, environ, before=partial(_remember, root))
        ),
        Case(
            "new process: first transaction, nothing remembered", process(FIRST_WRITE, environ, before=forget)
        ),
    ]


def _remember(root: Path) -> None:
    store = _store(root)
    store.touches()
    store.reset()


def _forget(root: Path) -> None:
    (root / ".paramstore" / "memory").unlink(missing_ok=True)


def write_journal(root: Path, count: int, order: Sequence[str] = ()) -> None:
    """Write ``count`` entries that lead to the values in the file, in segments, as learners would over months: each changes
    one parameter, in this ``order`` again and again (else the first 60)."""
    from paramstore._journal import SEGMENT_BYTES, Journal
    from paramstore._records import encode
    from paramstore.testing import ManualClock

    store = paramstore().ParamStore(root, environ={}, clock=ManualClock(BEGAN))
    with store.transaction(author=AUTHOR, reason="begin", force=True) as tx:
        tx[KEY] = 0.4
    store.reset()
    drop_caches(root)
    journal = Journal(f"{root}/params/journal")
    position = journal.tail()[0]
    now = hashlib.sha256((root / FILE).read_bytes()).hexdigest()
    order = order or names(SIZES[0])
    current = {**values(SIZES[-1]), KEY.partition(".")[2]: 0.4}
    path, found = Path(journal.file(position.segment)), [Path(journal.file(position.segment)).read_bytes()]
    size = position.offset
    for number, entry in enumerate(_entries(current, now, position.revision, count, order)):
        line = encode(entry)[1]
        if size + len(line) > SEGMENT_BYTES:
            path.write_bytes(b"".join(found))
            path, found, size = Path(journal.file(position.revision + 1 + number)), [], 0
        found.append(line)
        size += len(line)
    path.write_bytes(b"".join(found))
    os.sync()


def _entries(
    current: dict[str, float], digest: str, revision: int, count: int, order: Sequence[str]
) -> Iterator[Entry]:
    """Yield commits that change one value after the other, and at the end leave them as they are now."""
    from paramstore._clock import utc_text
    from paramstore._model import Change, Entry, FileChange

    last, before = dict(current), digest
    for step in range(count):
        name, ends = order[step % len(order)], step >= count - len(order)
        new = last[name] if ends else round(0.2 + step * 7919 % 6000 / 10_000, 4)
        after = digest if step == count - 1 else hashlib.sha256(str(step).encode()).hexdigest()
        yield Entry(
            revision + 1 + step, f"{step:016x}", utc_text(BEGAN + STEP_S * step), "commit",
            AUTHOR if step % 3 else "person", "7-day expected value", EVIDENCE,
            (Change(f"bench.{name}", current[name], new, {}, new),), {FILE: FileChange(before, after)},
            uptime=("0000", STEP_S * step),
        )  # fmt: skip
        current[name], before = new, after
