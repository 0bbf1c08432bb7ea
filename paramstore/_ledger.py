"""What guards must know of the past: when a value last changed, what a person approved, what is frozen.

Built from journal records, one after the other; nothing of it is kept anywhere else. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from paramstore._model import ABSENT, Freeze
from paramstore._values import same
from paramstore.errors import JournalError

At = tuple[tuple[str, Any], ...]
Place = tuple[str, At]  # full key, sorted context items; () is the base value

RECORDED_S = 3600.0
BOOTS_MOST = 1000  # changes of boot that are remembered; without one, a wait only begins later
RECORDED_MOST = 60  # refusals of one author within RECORDED_S: a learner that spins must not fill the disk


class Moment(NamedTuple):
    """When something happened: the ``number`` of its entry, the wall clock of then (seconds since 1970), the boot
    and its uptime in seconds."""

    number: int
    time: float
    boot: str
    uptime: float


class Touch(NamedTuple):
    """The entry that gave a place the value it has, or took its value away."""

    revision: int
    time: str
    kind: str
    author: str
    reason: str
    id: str


class Ledger:
    """The past of one journal, up to the last record absorbed."""

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self.changed: dict[Place, Moment] = {}
        self.baselines: dict[Place, Any] = {}
        self.contexts: dict[str, set[At]] = {}  # by key, every context that ever had a value of its own
        self.latest: dict[Place, Touch] = {}
        self._freezes: dict[str, Freeze] = {}  # by the ids of their entries, oldest first
        self._refused: dict[str, list[float]] = {}
        self._boots: list[Moment] = []  # the entries with which another boot of a machine begins to write
        self._count = 0
        for record in records:
            self.absorb(record)

    # -- what is known ----------------------------------------------------------------------------

    def freezes(self, now: float) -> tuple[Freeze, ...]:
        """Return what is frozen at ``now``, oldest first."""
        return tuple(f for f in self._freezes.values() if f.until is None or seconds(f.until) > now)

    def freezes_of(self, pattern: str) -> list[str]:
        """Return the ids of the freezes of exactly ``pattern``, those that have run out too."""
        return [name for name, freeze in self._freezes.items() if freeze.pattern == pattern]

    def frozen(self, key: str, now: float) -> Freeze | None:
        """Return the freeze that holds ``key`` at ``now``."""
        return next((freeze for freeze in self.freezes(now) if fnmatchcase(key, freeze.pattern)), None)

    def baseline(self, key: str, context: Mapping[str, Any], order: Mapping[str, int]) -> Any:
        """Return the value that a person last stood for: written for exactly this context, else for the
        most specific one around it. ``order`` ranks dimensions. ``None`` if there is none."""
        if not context:
            return self.baselines.get((key, ()))
        best: tuple[int, list[int]] = (-1, [])
        found = None
        for (name, at), value in self.baselines.items():
            if name == key and all(context.get(dimension) == wanted for dimension, wanted in at):
                rank = len(at), sorted((order.get(dimension, -1) for dimension, _ in at), reverse=True)
                if rank > best:
                    best, found = rank, value
        return found

    def waited_s(self, place: Place, now: float, boot: str, uptime: float) -> float:
        """Return the seconds since a value changed, at least zero, whatever was done to the wall clock.

        On the same boot the uptime tells. Else the wall clock does, unless it stands before the change: then it was
        set back, and only the time counts for which this boot has had entries since. So a clock that is set back
        can neither end a wait early nor add more to it than the wait itself.
        """
        moment = self.changed.get(place)
        if moment is None:
            return float("inf")
        if moment.boot == boot and _is_known(boot):
            return max(0.0, uptime - moment.uptime)
        since = (start.uptime for start in self._boots if start.boot == boot and start.number > moment.number)
        return max(0.0, now - moment.time, uptime - next(since, uptime))

    def may_record(self, author: str, now: float) -> bool:
        """Tell whether one more refusal of ``author`` still belongs into the journal."""
        recent = [moment for moment in self._refused.get(author, ()) if abs(now - moment) < RECORDED_S]
        return len(recent) < RECORDED_MOST

    # -- what is taken in -------------------------------------------------------------------------

    def absorb(self, record: Mapping[str, Any]) -> None:
        """Take in the next record that stands. Raises ``JournalError`` for one with a time that is none."""
        try:
            self._absorb(record, record["kind"], record.get("details", {}))
        except ValueError as error:
            place = f"entry {record['id']} of revision {record['revision']}"
            raise JournalError("journal", f"{error}. Correct or restore the line", place=place) from None

    def _absorb(self, record: Mapping[str, Any], kind: str, details: Mapping[str, Any]) -> None:
        moment = self._moment(record)
        if kind == "freeze":
            freeze = _freeze(record, details)
            seconds(
                freeze.until or freeze.since
            )  # a time that is none shall be found here, not when it is asked for
            self._freezes[record["id"]] = freeze
        elif kind == "unfreeze":
            for ended in details.get("ends", self.freezes_of(details["pattern"])):
                self._freezes.pop(ended, None)
        elif kind == "approve":
            for item in details["baselines"]:
                self.baselines[place_of(item)] = item.get("value")
        elif kind == "refusal":
            self._refused.setdefault(record["author"], []).append(moment.time)
            del self._refused[record["author"]][:-RECORDED_MOST]
        else:
            merged = bool(details.get("merged"))  # whose values these are, a merge cannot tell
            by_person = (kind == "external" and not merged) or (
                kind == "commit" and bool(details.get("forced"))
            )
            touch = Touch(*(record[name] for name in Touch._fields))
            for item in real_changes(record["changes"]):
                self.latest[place_of(item)] = touch
                self._change(item, moment, by_person, record["revision"] == 0)
                if merged and "old" not in item and not item.get("context"):  # else it would have no baseline
                    self.baselines.setdefault(place_of(item), item["new"])

    def _moment(self, record: Mapping[str, Any]) -> Moment:
        time = seconds(record["time"])
        boot, uptime = record.get("uptime", ("", 0.0))
        self._count += 1
        moment = Moment(self._count, time, boot, uptime)
        if _is_known(boot) and (not self._boots or self._boots[-1].boot != boot):
            self._boots.append(moment)
            del self._boots[:-BOOTS_MOST]
        return moment

    def _change(self, item: Mapping[str, Any], moment: Moment, by_person: bool, begins: bool) -> None:
        place = place_of(item)
        if place[1]:
            self.contexts.setdefault(place[0], set()).add(place[1])
        if "old" in item or (place[1] and not begins):  # else it is where the journal, or the key, begins
            self.changed[place] = moment
        if by_person and "new" in item:
            self.baselines[place] = item["new"]
        elif by_person:
            self.baselines.pop(place, None)

    # -- as plain data ----------------------------------------------------------------------------

    def plain(self) -> tuple[Any, ...]:
        """Return all of it in built-in types, for a cache."""
        touches: dict[Touch, int] = {}
        latest = {place: touches.setdefault(touch, len(touches)) for place, touch in self.latest.items()}
        return (
            {place: tuple(moment) for place, moment in self.changed.items()},
            self.baselines,
            self.contexts,
            ([tuple(touch) for touch in touches], latest),
            {name: (f.pattern, f.author, f.reason, f.since, f.until) for name, f in self._freezes.items()},
            self._refused,
            [tuple(boot) for boot in self._boots],
            self._count,
        )

    @classmethod
    def of_plain(cls, data: tuple[Any, ...]) -> Ledger:
        """Return the ledger of which ``plain`` gave ``data``."""
        ledger = cls()
        (
            changed,
            ledger.baselines,
            ledger.contexts,
            (touches, latest),
            freezes,
            ledger._refused,
            boots,
            count,
        ) = data
        entries = [Touch(*touch) for touch in touches]
        ledger.changed = {place: Moment(*moment) for place, moment in changed.items()}
        ledger.latest = {place: entries[index] for place, index in latest.items()}
        ledger._freezes = {name: Freeze(*freeze) for name, freeze in freezes.items()}
        ledger._boots = [Moment(*boot) for boot in boots]
        ledger._count = count
        return ledger


def _is_known(boot: str) -> bool:
    return boot not in ("", "-")


def real_changes(items: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield what changed; what a rule kept as it was is in the record as well."""
    for item in items:
        if not same(item.get("old", ABSENT), item.get("new", ABSENT)):
            yield item


def place_of(item: Mapping[str, Any]) -> Place:
    """Return the key and context of a change, as the journal has it, by which the past is known."""
    context = item.get("context")
    return item["key"], tuple(sorted(context.items())) if context else ()


def _freeze(record: Mapping[str, Any], details: Mapping[str, Any]) -> Freeze:
    return Freeze(
        details["pattern"], record["author"], record["reason"], record["time"], details.get("until")
    )


def seconds(text: str) -> float:
    """Return a journal time as seconds since 1970. Raises ``ValueError``."""
    return datetime.fromisoformat(text).timestamp()
