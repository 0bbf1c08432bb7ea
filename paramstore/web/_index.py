"""What the page knows of a journal: by value the entries that touched it, built once and then advanced by each new line.

Answers take as long as what they say, not as the journal: places of lines are kept, and only those that an answer needs
are read and parsed. About 0.3 kB are kept per entry, and 0.1 kB per value and point of its sparkline.
"""

from __future__ import annotations

import heapq
import threading
import time
from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from paramstore._as_json import entry_json
from paramstore._history import At
from paramstore._ledger import place_of, real_changes, seconds
from paramstore._outline import Line
from paramstore._past import about
from paramstore._records import VALUELESS, entry
from paramstore._store import ParamStore
from paramstore.errors import JournalError, ParamstoreError, UnknownRevisionError
from paramstore.web._lines import Lines, Replaced, lines_of

POINTS = 24  # of a sparkline
WAIT_S = 10.0  # how long an answer waits while the journal is read for the first time, or anew
TRIES = 20  # while git puts another journal in place
MOST_OF_REVISION = 1_000  # refusals are entries of the revision that stood, and may be many
AT_A_TIME = 64  # entries that are read for an answer before it is seen whether more are needed

Numbers = Iterable[int]
Found = TypeVar("Found")
Named = TypeVar("Named", str, tuple[str, str])


class BuildingError(ParamstoreError):
    """The journal is still being read for the first time; ask again in a moment."""


Json = dict[str, Any]


class Page(NamedTuple):
    """Entries as ``history --json`` gives them, oldest first, and whether there are older ones."""

    entries: list[Json]
    more: bool


class Counts(NamedTuple):
    """What metrics count: entries that changed values by author and kind, refusals by author and broken rule, and
    when each author last committed (seconds since 1970)."""

    commits: Mapping[tuple[str, str], int]
    refusals: Mapping[tuple[str, str], int]
    last: Mapping[str, float]
    entries: int


class Spark:
    """The newest points of one value; ``None`` is where an override was removed."""

    __slots__ = ("times", "values")

    def __init__(self) -> None:
        self.times: deque[float] = deque(maxlen=POINTS)
        self.values: deque[Any] = deque(maxlen=POINTS)

    def add(self, time: float, item: Mapping[str, Any]) -> None:
        if not self.times and "old" in item:  # the journal begins amid its life
            self.times.append(time)
            self.values.append(item["old"])
        self.times.append(time)
        self.values.append(item.get("new"))


class Known:
    """What is known of the first ``count`` lines. Only ever added to; numbers are counted from zero."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.count = 0
        self.epoch = 0  # one more than of what it replaces, where that turned out to be no beginning of it
        self.revisions = array("q")
        self.numbers: dict[str, int] = {}  # by id
        self.shown = array("I")  # all that are no refusals
        self.touched: dict[str, array[int]] = {}  # by key: who changed it
        self.refused: dict[str, array[int]] = {}  # by key: who was not allowed to
        self.patterns: dict[str, array[int]] = {}  # freezes and the like, by what they are of
        self.made: dict[tuple[str, str], array[int]] = {}  # by author and kind
        self.sparks: dict[tuple[str, At], Spark] = {}
        self.commits: Counter[tuple[str, str]] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.last: dict[str, float] = {}
        self.damage: JournalError | None = None  # a line that is none, though its checksum is right

    def take(self, lines: Iterable[Line]) -> None:
        for line in lines:
            number = self.count
            self.revisions.append(line.revision)
            self.numbers[line.id] = number
            try:
                self._note(line, number)
            except JournalError as error:
                self.damage = self.damage or error
            except ValueError as error:
                place = f"entry {line.id} of revision {line.revision}"
                self.damage = self.damage or JournalError(
                    "journal", f"{error}. Correct or restore the line", place=place
                )
            self.count = number + 1  # last: who reads meanwhile finds all of it

    def _note(self, line: Line, number: int) -> None:
        _note(self.made, (line.author, line.kind), number)
        if line.kind == "refusal":
            self._refuse(line, number)
        else:
            self.shown.append(number)
            self._change(line, number)

    def _change(self, line: Line, number: int) -> None:
        items, time = line.items, seconds(line.time)
        for item in items:
            _note(self.touched, item["key"], number)
        for change in real_changes(items):
            if not isinstance(change.get("new", change.get("old")), list | dict):
                place = place_of(change)
                spark = self.sparks.get(place)
                if spark is None:
                    spark = self.sparks[place] = Spark()
                spark.add(time, change)
        if line.kind in VALUELESS:
            pattern = line.record.get("details", {}).get("pattern")
            if isinstance(pattern, str):
                _note(self.patterns, pattern, number)
        else:
            author = line.author
            self.commits[author, line.kind] += 1
            self.last[author] = time

    def _refuse(self, line: Line, number: int) -> None:
        violations = line.record["details"]["violations"]
        for violation in violations:
            _note(self.refused, violation["key"], number)
        for rule in {str(violation.get("rule", "")) for violation in violations}:
            self.refusals[line.author, rule] += 1

    # -- which lines an answer needs ---------------------------------------------------------------

    def newest_first(self, key: str | None, refused: bool, below: int) -> Iterator[int]:
        """Yield the numbers below ``below`` of lines that may be about ``key`` (a pattern; ``None``: any)."""
        if key is None:
            return iter(range(below - 1, -1, -1)) if refused else _down(self.shown, below)
        whole = not any(sign in key for sign in "*?[")
        found = _of(self.touched, key, whole)
        found += [a for p, a in list(self.patterns.items()) if fnmatchcase(key, p) or fnmatchcase(p, key)]
        if refused:
            found += _of(self.refused, key, whole)
        return _once(heapq.merge(*(_down(numbers, below) for numbers in found), reverse=True))

    def of_author(self, author: str | None, kinds: Sequence[str], refused: bool, below: int) -> Iterator[int]:
        """Yield the numbers below ``below`` of what ``author`` did (``None``: anybody), newest first; of ``kinds``, if any are given,
        else of all, refusals only if ``refused``."""
        found = [
            numbers
            for (name, kind), numbers in list(self.made.items())
            if author in (None, name) and (kind in kinds if kinds else refused or kind != "refusal")
        ]
        return heapq.merge(*(_down(numbers, below) for numbers in found), reverse=True)

    def of_revision(self, revision: int) -> range:
        first = bisect_left(self.revisions, revision, 0, self.count)
        return range(first, bisect_left(self.revisions, revision + 1, first, self.count))


class Index:
    """What the page knows of the journal of ``store``. Any thread may ask."""

    def __init__(self, store: ParamStore) -> None:
        self._store = store
        self._turn = threading.Lock()  # of whoever takes in lines
        self._known: Known | None = None
        self._begun: Known | None = None  # what is not whole yet
        self._share = 0.0  # of a journal that is being read, from 0 to 1
        self._drawn: tuple[tuple[int, int], list[Json]] | None = None

    # -- taking in -----------------------------------------------------------------------------------

    def start(self) -> threading.Thread:
        """Read the journal in a thread of its own; answers wait for it."""
        thread = threading.Thread(target=self._build, name="paramstore-index", daemon=True)
        thread.start()
        return thread

    def _build(self) -> None:
        try:
            self.sync(wait_s=3600.0)
        except (ParamstoreError, OSError):
            return  # whoever asks is told

    def sync(self, wait_s: float = WAIT_S) -> None:
        """Take in what came since the last call. Raises ``BuildingError`` where that takes others longer than ``wait_s``, and
        ``JournalError``."""
        if not self._turn.acquire(timeout=wait_s):
            raise BuildingError(
                f"The journal is being read: {self._share:.0%} so far. Ask again in a moment."
            )
        try:
            self._take_in()
        except OSError as error:
            raise JournalError(
                str(error.filename or "journal"), f"cannot be read: {error.strerror}"
            ) from None
        finally:
            self._turn.release()

    def _take_in(self) -> None:
        known = self._begun or self._known or Known(lines_of(self._store._open()))
        for _ in range(TRIES):
            self._begun = known
            try:
                for batch in known.lines.news(self._store.newest()[1].state):
                    known.take(batch.lines)
                    self._share = batch.share
            except Replaced:
                known = Known(known.lines.again())
                time.sleep(0.002)
                continue
            if known.damage is not None:
                raise known.damage
            self._serve(known)
            return
        raise JournalError("journal", "is being replaced all the time. Try again")

    def _serve(self, known: Known) -> None:
        before, self._begun = self._known, None
        if before is known:
            return
        if before is not None:
            known.epoch = before.epoch + (known.lines.ids[: before.count] != before.lines.ids)
        self._known = known

    @property
    def waits(self) -> bool:
        """Whether something came that no reader sees yet, so that another ``sync`` may soon find more."""
        return self._known is None or self._known.lines.waits or self._known.lines.void

    @property
    def count(self) -> int:
        """How many entries are known."""
        return self._known.count if self._known is not None else 0

    @property
    def stands(self) -> tuple[int, tuple[int, str | None, int]]:
        """In which epoch entries are counted, and ``newest``, of one moment."""
        known = self._known
        return (0, (0, None, 0)) if known is None else (known.epoch, _newest(known))

    @property
    def newest(self) -> tuple[int, str | None, int]:
        """How many entries are known, and the id and revision of the newest (``None``, 0 without one)."""
        return self.stands[1]

    # -- answers -------------------------------------------------------------------------------------

    def history(
        self,
        key: str | None = None,
        limit: int | None = None,
        before: str | None = None,
        refused: bool = False,
        author: str | None = None,
        kinds: Sequence[str] = (),
    ) -> Page:
        """Return what ``ParamStore.history`` does: the newest ``limit`` entries, of those before the one with id ``before``;
        with ``author`` or ``kinds`` only those. A kind that is named needs no ``refused``.

        Raises ``UnknownRevisionError`` for an id that is not in the journal, ``BuildingError`` and ``JournalError``.
        """
        most = None if limit is None else limit + 1

        def find(known: Known) -> list[Json]:
            below = known.count if before is None else _place(known, before)
            numbers = known.newest_first(key, refused or "refusal" in kinds, below)
            if author is not None or kinds:
                theirs = known.of_author(author, kinds, refused, below)
                numbers = theirs if key is None else _in_both(numbers, theirs)
            return list(islice(_entries(known, numbers, key), most))

        found = self._answer(find)
        more = limit is not None and len(found) > limit
        return Page(found[:limit][::-1] if limit is not None else found[::-1], more)

    def entries_of(self, revision: int) -> list[Json]:
        """Return the entries that name ``revision``, oldest first: the one that made it, and those that were recorded
        while it stood; of very many, the first and the newest."""

        def find(known: Known) -> list[Json]:
            numbers = known.of_revision(revision)
            shown = [*numbers[:1], *numbers[1:][-MOST_OF_REVISION:]]
            return list(_entries(known, shown, None))

        return self._answer(find)

    def following(self, epoch: int, number: int, most: int) -> list[Json] | None:
        """Return up to ``most`` entries from ``number`` on, refusals included, of what was known in ``epoch``; ``None`` where that is
        no longer what is there. Takes in nothing new."""
        known = self._known
        if known is None or known.epoch != epoch:
            return None
        try:
            return list(_entries(known, range(number, min(number + most, known.count)), None))
        except Replaced:
            known.lines.void = True
            return None

    def place_after(self, entry_id: str) -> int | None:
        """Return the number of the entry after the one with this id; ``None`` where that is not known."""
        number = self._known.numbers.get(entry_id) if self._known is not None else None
        return None if number is None else number + 1

    def sparklines(self) -> list[Json]:
        """Return the newest points of each value that ever changed: ``key``, ``context``, ``times``, ``values``."""
        self.sync()
        known = self._known
        assert known is not None
        with self._turn:  # points are added to what is read here
            stamp = known.epoch, known.count
            if self._drawn is None or self._drawn[0] != stamp:
                self._drawn = (
                    stamp,
                    [
                        {
                            "key": key,
                            "context": dict(at),
                            "times": list(spark.times),
                            "values": list(spark.values),
                        }
                        for (key, at), spark in known.sparks.items()
                        if len(spark.times) > 1
                    ],
                )
            return self._drawn[1]

    def authors(self) -> list[Json]:
        """Return everybody who is named as an author, by name: ``author``, and ``kinds``, how many entries of each."""
        self.sync()
        known = self._known
        assert known is not None
        found: dict[str, dict[str, int]] = {}
        for (author, kind), numbers in sorted(known.made.copy().items()):
            found.setdefault(author, {})[kind] = len(numbers)
        return [{"author": author, "kinds": kinds} for author, kinds in found.items()]

    def counts(self) -> Counts:
        """Return what metrics count, as far as the journal has been taken in; nothing before."""
        known = self._known
        if known is None:
            return Counts({}, {}, {}, 0)
        return Counts(known.commits.copy(), known.refusals.copy(), known.last.copy(), known.count)

    def _answer(self, find: Callable[[Known], Found]) -> Found:
        """Return what is found, in what is known now; once more should the journal be replaced meanwhile."""
        for _ in range(TRIES):
            self.sync()
            known = self._known
            assert known is not None
            try:
                return find(known)
            except Replaced:
                known.lines.void = True
        raise JournalError("journal", "is being replaced all the time. Try again")


def _entries(known: Known, numbers: Numbers, key: str | None) -> Iterator[Json]:
    numbers = iter(numbers)
    while part := list(islice(numbers, AT_A_TIME)):
        for record in known.lines.records(part):
            made = entry(record) if key is None else about(entry(record), key)
            if made is not None:
                yield entry_json(made)


def _newest(known: Known) -> tuple[int, str | None, int]:
    count = known.count
    return (count, known.lines.ids[count - 1], known.revisions[count - 1]) if count else (0, None, 0)


def _place(known: Known, entry_id: str) -> int:
    try:
        return known.numbers[entry_id]
    except KeyError:
        raise UnknownRevisionError(f"There is no entry {entry_id!r} in the journal.") from None


def _note(places: dict[Named, array[int]], key: Named, number: int) -> None:
    numbers = places.get(key)
    if numbers is None:
        places[key] = array("I", (number,))
    elif numbers[-1] != number:
        numbers.append(number)


def _of(places: Mapping[str, array[int]], key: str, whole: bool) -> list[array[int]]:
    if whole:
        return [places[key]] if key in places else []
    return [numbers for name, numbers in list(places.items()) if fnmatchcase(name, key)]


def _down(numbers: array[int], below: int) -> Iterator[int]:
    return (numbers[place] for place in range(bisect_left(numbers, below) - 1, -1, -1))


def _in_both(one: Iterator[int], other: Iterator[int]) -> Iterator[int]:
    """Yield what both have, of numbers that only fall."""
    a, b = next(one, -1), next(other, -1)
    while a >= 0 and b >= 0:
        if a == b:
            yield a
        a, b = (next(one, -1) if a >= b else a), (next(other, -1) if b >= a else b)


def _once(numbers: Iterable[int]) -> Iterator[int]:
    last = -1
    for number in numbers:
        if number != last:
            yield number
        last = number
