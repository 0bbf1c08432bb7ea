"""What happens in a store, as events for those who look on: one thread sees it, and each client follows at its own pace.

The thread takes in new entries as a reader would see them, makes each event's bytes once, and keeps the newest in one log.
A client is a place in that log and nothing more: none can hold up another, or the thread, or make memory grow. Whoever falls
behind what is kept, or comes back with an id that nobody knows, is told to ``reload``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

from paramstore._reads import Snapshot
from paramstore._state import State
from paramstore._store import ParamStore
from paramstore.errors import ParamstoreError
from paramstore.web._index import BuildingError, Index

PERIOD_S = 0.02  # between two looks at what says that something was committed, which costs microseconds
LOOK_S = 0.5  # between two looks at the journal's files, for what nobody announced
MOST_EVENTS = 10_000  # that are kept for those who follow
MOST_BYTES = 32 << 20
MOST_MISSED = 2_000  # entries that a client who comes back is given; after more, it reads everything anew
AT_A_TIME = 100
HEALTH_S = 1.0  # between two events of health
STOP_S = 1.0


class Event(NamedTuple):
    """One event of a stream: ``data`` is all of it, ready to send. ``id`` is that of an entry, else ``None``."""

    id: str | None
    name: str
    data: bytes


def event(name: str, data: Any, entry_id: str | None = None) -> Event:
    """Return an event whose ``data`` field is JSON, in ASCII: nothing in it can end a line."""
    mark = f"id: {entry_id}\n" if entry_id else ""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Event(entry_id, name, f"{mark}event: {name}\ndata: {text}\n\n".encode("ascii"))


RELOAD = event("reload", {})


class Log:
    """The newest events, numbered from zero; the oldest go as new ones come. Written by one thread, read by any."""

    def __init__(self, most: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes, self._bytes = most, most_bytes, 0
        self._events: dict[int, Event] = {}
        self.first = self.end = 0

    def add(self, made: Event) -> None:
        self._events[self.end] = made
        self._bytes += len(made.data)
        self.end += 1  # last: who reads meanwhile finds it
        while len(self._events) > 1 and (len(self._events) > self._most or self._bytes > self._most_bytes):
            self.first += 1  # before it goes
            self._bytes -= len(self._events.pop(self.first - 1).data)

    def get(self, number: int) -> Event | None:
        """Return an event; ``None`` where it is no longer kept."""
        return self._events.get(number)


class Here(NamedTuple):
    """How far the news has come: ``told`` entries, the last of them ``newest``, by the event ``end`` of the log."""

    epoch: int
    told: int
    end: int
    revision: int
    newest: str | None


class News:
    """The events of ``store``, whose entries ``index`` knows. Between ``start`` and ``stop`` a thread sees to them."""

    def __init__(self, store: ParamStore, index: Index | None = None, log: Log | None = None) -> None:
        self._store = store
        self.index = Index(store) if index is None else index
        self.log = Log() if log is None else log
        self.clients = 0
        self._here: Here | None = None
        self._snapshot: Snapshot | None = None
        self._state: State | None = None
        self._problems: dict[str, str] = {}
        self._unsaid = False  # that something besides entries has changed
        self._said_at = self._looked_at = float("-inf")
        self._turn = asyncio.Event()  # set when there is something new, and then another one takes its place
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    # -- the thread ----------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look, and to tell those who follow in ``loop``."""
        self._loop = loop
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, name="paramstore-news", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every stream and the thread. Called in the loop."""
        self._ending.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(STOP_S)

    @property
    def newest(self) -> str | None:
        """The id of the newest entry that was told, if there is one."""
        return self._here.newest if self._here is not None else None

    def _run(self) -> None:
        complained = ""
        while not self._ending.is_set():
            try:
                if self._look():
                    self._tell()
                complained = ""
            except Exception as error:  # whatever it is: who follows must not be left without news
                if complained != repr(error):
                    complained = repr(error)
                    logging.getLogger("paramstore").exception("looking for news failed; trying again")
            self._ending.wait(PERIOD_S)

    def _tell(self) -> None:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return  # the loop has ended, and so have all who followed in it

    def _wake(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    def _look(self) -> bool:
        """Put what is new into the log; tell whether there was anything."""
        snapshot, here, now = self._store.newest()[1], self._here, time.monotonic()
        state, index = snapshot.state, self.index
        known = here is not None and (here.epoch, here.told) == (index.stands[0], index.count)
        soon = (state is not self._state or not known or index.waits) and "journal" not in self._problems
        if not soon and now - self._looked_at < LOOK_S:
            return self._say_health(now)
        self._looked_at, damage = now, ""
        try:
            index.sync()
            self._advance(snapshot)
        except BuildingError:
            return False
        except ParamstoreError as error:
            damage = str(error)
        if (
            self._here is None
        ):  # of a journal that is damaged nothing is known: once it is, that is told by a reload
            self._here = Here(-1, 0, self.log.end, snapshot.revision, None)
        news = self._here != here
        self._compare(snapshot, news, damage)
        return self._say_health(now) or news

    def _advance(self, snapshot: Snapshot) -> None:
        """Put what came since into the log."""
        here, (epoch, (count, newest, revision)) = self._here, self.index.stands
        replaced = here is not None and (here.epoch != epoch or not 0 <= count - here.told <= MOST_EVENTS)
        if replaced:
            self.log.add(RELOAD)
        if here is None or replaced:
            self._here = Here(epoch, count, self.log.end, revision if count else snapshot.revision, newest)
            return
        told = here.told
        while told < count:
            entries = self.index.following(epoch, told, min(AT_A_TIME, count - told))
            if not entries:
                return  # replaced meanwhile: the next look finds it
            events = [event("entry", entry, entry["id"]) for entry in entries]
            for made in events:
                self.log.add(made)
            told += len(events)
            self._here = Here(epoch, told, self.log.end, entries[-1]["revision"], entries[-1]["id"])

    def _compare(self, snapshot: Snapshot, news: bool, damage: str) -> None:
        """Note whether anything differs that entries do not tell: values by hand, a file that is refused."""
        problems = {**snapshot.state.problems, **({"journal": damage} if damage else {})}
        first = self._snapshot is None
        if not first and (problems != self._problems or (snapshot is not self._snapshot and not news)):
            self._unsaid = True
        self._snapshot, self._state, self._problems = snapshot, snapshot.state, problems

    def _say_health(self, now: float) -> bool:
        """Tell of it, though not all the time: how long a cluster is silent changes with every look."""
        if not self._unsaid or now - self._said_at < HEALTH_S or self._here is None or self._snapshot is None:
            return False
        self._unsaid, self._said_at = False, now
        problems = [{"file": file, "message": message} for file, message in self._problems.items()]
        data = {"revision": self._snapshot.revision, "ok": not problems, "problems": problems}
        self.log.add(event("health", data))
        self._here = self._here._replace(end=self.log.end)
        return True

    # -- those who follow ------------------------------------------------------------------------------

    async def follow(self, after: str | None = None) -> AsyncGenerator[Event, None]:
        """Yield ``hello``, and then what happens from now on; or what happened since the entry with id ``after``, each once
        and in order, or ``reload`` where that is not known any more. Ends with ``stop``."""
        self.clients += 1
        try:
            async for made in self._follow(after):
                yield made
        finally:
            self.clients -= 1

    async def _follow(self, after: str | None) -> AsyncGenerator[Event, None]:
        while (here := self._here) is None:
            if self._ending.is_set():
                return
            await self._turn.wait()
        yield event("hello", {"revision": here.revision, "newest": here.newest})
        place = here.end
        if after:
            async for missed, end in self._missed(after):
                place = end
                if missed is not None:
                    yield missed
        while not self._ending.is_set():
            turn = self._turn  # before it is looked: what comes after that sets it
            if place >= self.log.end:
                await turn.wait()
                continue
            found = self.log.get(place)
            if found is None:  # it went while this client was slow
                place, found = self.log.end, RELOAD
            else:
                place += 1
            yield found

    async def _missed(self, after: str) -> AsyncGenerator[tuple[Event | None, int], None]:
        """Yield the entries after the one with this id that were told already, and where the log goes on then."""
        epoch, number = self._there().epoch, self.index.place_after(after)
        while number is not None and not self._ending.is_set():
            turn, here = self._turn, self._there()
            if here.epoch != epoch or here.told - number > MOST_MISSED:
                break
            if number > here.told:  # an answer had it before the news
                await turn.wait()
            elif number == here.told:
                yield None, here.end
                return
            else:
                most = min(AT_A_TIME, here.told - number)
                entries = await asyncio.to_thread(self.index.following, epoch, number, most)
                if not entries:
                    break
                for entry in entries:
                    yield event("entry", entry, entry["id"]), here.end
                number += len(entries)
        yield RELOAD, self._there().end

    def _there(self) -> Here:
        assert self._here is not None  # nobody is told anything before
        return self._here
