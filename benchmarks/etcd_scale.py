"""``python -m benchmarks.etcd_scale``: how size, namespaces, watchers, a long journal and many commits grow the cost, on one real
server, and straight lines fitted to it. ``--docs`` lays the tables into the page."""

from __future__ import annotations

import json
import statistics
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import quiet
from benchmarks.etcd_load import (
    PATIENCE_S,
    TICK_S,
    Bench,
    Raw,
    counted,
    heard,
    server,
    short_schema,
    watchers,
)
from benchmarks.etcd_machines import PAGE, agent
from benchmarks.etcd_page import Line, can_start, parser, publish
from benchmarks.harness import Case, compare, quantity, times
from benchmarks.stores import AUTHOR, LEAF

PROGRAM = "benchmarks.etcd_scale"
COMMIT, BYTES, WATCHERS = "A commit, by size", "Bytes of a commit", "Watchers of one server"
MIRROR, GROWTH, MODEL = "A new machine", "How the database grows", "The model"
SIZES, MANY, CROWDS, JOURNALS = (
    (60, 500, 2_000, 10_000),
    (10, 50),
    (1, 10, 50, 100, 200),
    (100, 1_000, 10_000),
)
SENT = (
    "parameters in namespaces", "schema of the largest", "the transaction", "calls", "all that is asked", "all answers", "to each machine",
)  # fmt: skip
IN_EACH = 60  # parameters, where there are several namespaces
WATCHED = 500  # parameters of the namespace whose commits are watched
QUOTA = 2 * 1024**3  # bytes of a database, unless a server is told otherwise


@dataclass(frozen=True, slots=True)
class Points:
    """What grows with what: ``ys`` in ``unit`` over ``xs``."""

    name: str
    of: str
    unit: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def line(self) -> Line:
        """The straight line by least squares, weighed so that small and large count by their relative error."""
        base, each = fitted(self.xs, self.ys)
        errors = [abs(base + each * x - y) / y for x, y in zip(self.xs, self.ys, strict=True)]
        columns = "what", "at nothing", "for each", "more", "points", "worst miss"
        amounts = tuple(_amount(figure, self.unit) for figure in (base, each))
        return Line(
            MODEL,
            columns,
            (self.name, amounts[0], self.of, amounts[1], str(len(self.xs)), f"{100 * max(errors):.0f} %"),
        )


def fitted(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Return ``a`` and ``b`` of ``y = a + b x`` with the least squares of relative errors."""
    weights = [1 / (y * y) for y in ys]
    whole = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, xs, strict=True)) / whole
    mean_y = sum(w * y for w, y in zip(weights, ys, strict=True)) / whole
    along = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, xs, strict=True))
    both = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in zip(weights, xs, ys, strict=True))
    each = both / along if along else 0.0
    return mean_y - each * mean_x, each


def _amount(figure: float, unit: str) -> str:
    sign = "-" if figure < 0 else ""
    return sign + (f"{abs(figure):,.1f} B" if unit == "B" else quantity(abs(figure), unit))


def _size(count: float) -> str:
    return f"{count:,.0f} B" if count < 1e5 else f"{count / 1e6:,.2f} MB"


# --- measuring ------------------------------------------------------------------------------------


def commits(
    bench: Bench, sizes: Mapping[str, int], touched: int, repetitions: int
) -> tuple[Any, Raw, tuple[str, ...]]:
    """Commits to ``touched`` of the namespaces beside the raw transaction: the row, that transaction, and the bytes."""
    from paramstore import ParamStore
    from paramstore._etcd_place import end_of

    name = bench.fill(sizes)
    environ = bench.environ(name)
    keys = [f"{namespace}.{LEAF}" for namespace in list(sizes)[:touched]]
    turn = 0

    def commit() -> float:
        nonlocal turn
        turn += 1
        begin = time.perf_counter()
        with store.transaction(author=AUTHOR, force=True, reason="benchmark") as tx:
            for key in keys:
                tx[key] = 0.5 + turn % 2 / 100
        return time.perf_counter() - begin

    with agent(environ):
        store = ParamStore(environ=environ)
        for _ in range(3):
            commit()
        backend: Any = store._backend
        below = f"/{name}/".encode()
        with counted(backend.remote.client) as seen, watchers(bench, below, end_of(below), 1) as (pipe,):
            commit()
            arrived = 0
            while words := heard(pipe, 0.5):
                arrived += int(words[1])
        raw = Raw(bench, seen["puts"])
        raw.write()
        what = f"{sum(sizes.values()):,} in {len(sizes)}, {touched} touched"
        base = Case("a guarded transaction with the same bytes", lambda: _write_s(raw))
        row = compare(COMMIT, base, [Case(what, commit)], repetitions)[0]
        backend.close()
    figures = what, _size(len(short_schema(max(sizes.values())))), _size(seen["commit"]), f"{seen['calls']}", _size(seen["asked"]), _size(seen["answered"]), _size(arrived)  # fmt: skip
    return row, raw, figures


def _write_s(raw: Raw) -> float:
    begin = time.perf_counter()
    raw.write()
    return time.perf_counter() - begin


def watched(bench: Bench, raw: Raw, counts: Sequence[int], each: int) -> tuple[list[Line], list[Points]]:
    """Changes to so many watchers, of everything and of all but texts."""
    columns = (
        "watchers",
        "what they watch",
        "server's CPU for a change",
        "last has it after (p50)",
        "bytes to each",
    )
    lines, points = [], []
    ranges = {"all": (raw.prefix, raw.prefix[:-1] + b"0"), "all but texts": (raw.prefix + b"head", raw.prefix + b"journal0")}  # fmt: skip
    for what, (key, end) in ranges.items():
        cpus, lasts = [], []
        for count in counts:
            with watchers(bench, key, end, count) as pipes:
                begin, delays, size = bench.cpu_s(), [], 0
                for _ in range(each):
                    done = raw.write()
                    told = [heard(pipe) for pipe in pipes]
                    delays.append((max(int(words[0]) for words in told) - done) * 1e-9)
                    size = sum(int(words[1]) for words in told)
                cpus.append(max(TICK_S, bench.cpu_s() - begin) / each)
            lasts.append(max(1e-6, statistics.median(delays)))
            last = quantity(lasts[-1], "s")
            lines.append(Line(WATCHERS, columns, (f"{count}", what, quantity(cpus[-1], "s"), last, _size(size / count))))  # fmt: skip
        xs = tuple(map(float, counts))
        points.append(Points(f"server's CPU for a change, {what} watched", "watcher", "s", xs, tuple(cpus)))
        points.append(
            Points(f"until the last has it, {what} watched", "watcher", "s", xs[1:], tuple(lasts[1:]))
        )
    return lines, points


def asked(bench: Bench, raw: Raw, count: int) -> list[Line]:
    """What the server spends on a question for the newest entry, on one connection and on one that is made for it."""
    from paramstore._etcd_client import Range

    columns = (
        "watchers",
        "what they watch",
        "server's CPU for a change",
        "last has it after (p50)",
        "bytes to each",
    )
    lines = []
    for name, fresh, many in (("a question for `head`", False, count), ("the same, with a new connection", True, count // 5)):  # fmt: skip
        begin = bench.cpu_s()
        for _ in range(many):
            client = bench.cluster.client() if fresh else bench.client
            client.read([Range(raw.prefix + b"head")], PATIENCE_S)
            if fresh:
                client.close()
        lines.append(
            Line(WATCHERS, columns, (name, "", quantity((bench.cpu_s() - begin) / many, "s"), "", ""))
        )
    return lines


def long_journal(bench: Bench, entries: int) -> str:
    """A store of ``IN_EACH`` parameters whose last entry stands there so many times more; return its prefix."""
    from paramstore import _records
    from paramstore._etcd_client import Range
    from paramstore._etcd_place import Head, parse

    place = parse(bench.cluster.url(bench.fill({"bench": IN_EACH})))
    _, (head, journal) = bench.client.read([Range(place.head), Range(*place.below("journal"))], PATIENCE_S)
    last = Head.decoded(head.found[0].value)
    record = _records.parse(journal.found[-1].value)
    assert record is not None
    lines = [_line(record, last.revision + more) for more in range(1, entries + 1)]
    for begin in range(0, entries, 100):
        part = [(place.entry("bench", last.seq + 1 + begin + at), line) for at, line in enumerate(lines[begin : begin + 100])]  # fmt: skip
        bench.client.write([], part, [], [], PATIENCE_S)
    now = Head(last.seq + entries, last.revision + entries, _id(last.revision + entries))
    bench.client.write([], [(place.head, now.encoded())], [], [], PATIENCE_S)
    return place.prefix.strip("/")


def _id(revision: int) -> str:
    return f"{revision:016x}"


def _line(record: Mapping[str, Any], revision: int) -> bytes:
    """The same entry at another revision."""
    body = {key: value for key, value in record.items() if key != "crc"} | {
        "revision": revision,
        "id": _id(revision),
    }
    text = json.dumps(body, separators=(",", ":")).encode("ascii")
    return text[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(text[:-1])


def mirrors(bench: Bench, journals: Sequence[int], each: int) -> tuple[list[Line], list[Points]]:
    """A machine that has nothing makes its mirror."""
    from paramstore._backends.etcd import open_backend
    from paramstore._opening import options_of

    columns = "entries in the journal", "mirror made in (median)", "bytes read", "calls"
    lines, medians, sizes = [], [], []
    for entries in journals:
        name, took = long_journal(bench, entries), []
        for machine in range(each):
            environ = bench.environ(name, f"m{machine}")
            backend = open_backend(options_of(None, environ), environ)
            with counted(backend.remote.client) as seen:
                begin = time.perf_counter()
                backend.follower.catch_up(PATIENCE_S)
                took.append(time.perf_counter() - begin)
            backend.close()
        medians.append(statistics.median(took))
        sizes.append(float(seen["answered"]))
        lines.append(Line(MIRROR, columns, (f"{entries:,}", quantity(medians[-1], "s"), _size(sizes[-1]), str(seen["calls"]))))  # fmt: skip
    xs = tuple(map(float, journals))
    return lines, [
        Points("a new mirror", "entry", "s", xs, tuple(medians)),
        Points("bytes read for it", "entry", "B", xs, tuple(sizes)),
    ]


def growth(raws: Mapping[int, Raw], count: int) -> tuple[list[Line], list[Points]]:
    """``count`` commits to a server of their own, a compaction, and as many again."""
    columns = "parameters", "bytes of a commit", "database, for each commit", "for each of as many more, after a compaction", "commits to 2 GiB, if never compacted"  # fmt: skip
    lines, xs, ys = [], [], []
    for parameters, raw in raws.items():
        with server() as bench:
            first, more = _grown(bench, Raw(bench, raw.puts), count)
        xs.append(float(raw.size))
        ys.append(first)
        figures = f"{parameters:,}", _size(raw.size), _size(first), _size(more), f"{QUOTA / first:,.0f}"
        lines.append(Line(GROWTH, columns, figures))
    return lines, [Points("growth of the database for a commit", "byte of it", "B", tuple(xs), tuple(ys))]


def _grown(bench: Bench, raw: Raw, count: int) -> tuple[float, float]:
    from paramstore._etcd_messages import MESSAGES

    raw.write()
    sizes = [bench.client.status(PATIENCE_S).dbSize]
    for _ in range(2):
        for _ in range(count):
            raw.write()
        time.sleep(0.3)  # etcd writes its database in batches
        sizes.append(bench.client.status(PATIENCE_S).dbSize)
        bench.client.call(
            "Compact", MESSAGES["CompactionRequest"](revision=raw.at, physical=True), PATIENCE_S
        )
        time.sleep(0.3)
    return max(1.0, sizes[1] - sizes[0]) / count, (sizes[2] - sizes[1]) / count


def sizes(bench: Bench, repetitions: int) -> tuple[dict[int, Raw], list[Any], list[Points]]:
    """Commits to one namespace of each size, and to one and to all of many."""
    raws, rows = {}, []
    for size in SIZES:
        row, raws[size], figures = commits(bench, {"bench": size}, 1, repetitions)
        rows.append((row, figures))
    for count in MANY:
        for touched in (1, count):
            many = {f"n{number}": IN_EACH for number in range(count)}
            row, _, figures = commits(bench, many, touched, repetitions)
            rows.append((row, figures))
    seconds = [row.absolute for row, _ in rows]
    one, all_of_them = [seconds[0], *seconds[len(SIZES) :: 2]], [seconds[0], *seconds[len(SIZES) + 1 :: 2]]
    counts = tuple(map(float, (1, *MANY)))
    points = [
        Points("a commit", "parameter of its namespace", "s", tuple(map(float, SIZES)), tuple(seconds[: len(SIZES)])),
        Points("a commit to one namespace", "namespace of 60 that stands beside it", "s", counts, tuple(one)),
        Points("a commit to all namespaces", "namespace of 60", "s", counts, tuple(all_of_them)),
    ]  # fmt: skip
    return (
        raws,
        [_commit_line(row) for row, _ in rows] + [Line(BYTES, SENT, figures) for _, figures in rows],
        points,
    )


def _commit_line(row: Any) -> Line:
    columns = (
        "parameters in namespaces",
        "median",
        "to a guarded transaction with the same bytes",
        "middle half",
    )
    half = f"{times(row.q1)} to {times(row.q3)}"
    return Line(COMMIT, columns, (row.name, quantity(row.absolute, "s"), times(row.ratio), half))


def measured(bench: Bench, quick: bool) -> list[Any]:
    repetitions, each = (3, 5) if quick else (100, 500)
    raws, lines, points = sizes(bench, repetitions)
    for some, more in (
        watched(bench, raws[WATCHED], CROWDS[:2] if quick else CROWDS, each),
        mirrors(bench, JOURNALS[:2] if quick else JOURNALS, 2 if quick else 5),
        growth({size: raws[size] for size in (60, 500, 2_000)}, 50 if quick else 1_000),
    ):
        lines += some
        points += more
    return [*lines, *asked(bench, raws[WATCHED], 100 if quick else 3_000), *(each.line() for each in points)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 when all was measured, 2 when nothing can be here."""
    options = parser(PROGRAM, __doc__, PAGE).parse_args(arguments)
    if not can_start():
        return 2
    others = quiet.others()
    with server() as bench:
        lines = measured(bench, options.quick)
    sections = COMMIT, BYTES, WATCHERS, MIRROR, GROWTH, MODEL
    publish(PROGRAM, options, sections, lines, "one server, data and mirrors in memory", others)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
