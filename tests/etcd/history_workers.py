"""Processes on several machines that use one store in etcd, and write down what they tried, did and saw.

Each note is on its way to its file before the next step, so that a killed process leaves all that it noted.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import NamedTuple

from explained import UNSEEN
from history_checker import (
    COMMIT,
    DONE,
    END,
    FREEZE,
    GET,
    KEYS,
    NOTHING,
    RECORD,
    REFUSED,
    ROLLBACK,
    SECTION,
    SNAPSHOT,
    TRIED,
    UNFREEZE,
    UNKNOWN,
)  # fmt: skip
from processes import Shared

from paramstore import ParamStore
from paramstore._clock import Clock
from paramstore.errors import (
    DurabilityUnknownError,
    InvalidFileError,
    ParamstoreError,
    UnreachableError,
    ValidationError,
)

# places in the shared numbers
READY, OVER, HEALED, FINAL, LEAVE, FAULTS, SHIFT, WIRES, INSIDE, ACKED, NOTED = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    16,
    32,
    48,
)
SIZE = 64
CHECK_S = "0.5"
FROZEN = "alpha.theirs"
FIRST_TRIES_S = 30.0


class Post(NamedTuple):
    """Where a process stands: its machine, its place among the processes, a number that no other has, and what it is."""

    machine: int
    slot: int
    ident: int
    role: str
    address: str
    mirror: Path
    folder: Path
    seed: int

    @property
    def name(self) -> str:
        return f"m{self.machine}-{self.role}-{self.ident}"


class Shifted(Clock):
    """The clock of another machine: one boot of its own, and a wall clock that is wrong by what is ``shared``."""

    def __init__(self, machine: int, shared: Shared) -> None:
        self._machine = machine
        self._shared = shared

    def now(self) -> float:
        return time.time() + (self._shared[SHIFT] if self._machine == 2 else 0)

    def uptime(self) -> tuple[str, float]:
        return f"boot{self._machine}", time.monotonic() / (1 + self._machine)


class Recorder:
    """Writes one process's operations to a file, each at once."""

    def __init__(self, post: Post, shared: Shared) -> None:
        self.post = post
        self._shared = shared
        self._fd = os.open(post.folder / "history" / post.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(
        self, kind: int, outcome: int, begun: int, values: Sequence[int], revision: int = UNSEEN, tag: int = 0,
        seen: Sequence[int] = NOTHING,
    ) -> None:  # fmt: skip
        os.write(self._fd, RECORD.pack(kind, outcome, tag, revision, begun, monotonic_ns(), *values, *seen))
        self._shared[NOTED + self.post.slot] += outcome != TRIED

    def tell(self, what: str) -> None:
        """Write down what should not have been."""
        with (self.post.folder / "told").open("a") as file:
            file.write(f"{self.post.name}: {' '.join(what.split())[-1500:]}\n")

    def tell_of_thread(self, ended: threading.ExceptHookArgs) -> None:
        """Write down that a thread, such as the follower's, ended by an error."""
        self.tell(
            "thread: "
            + "".join(traceback.format_exception(ended.exc_type, ended.exc_value, ended.exc_traceback))
        )

    def count(self, what: str) -> None:
        with (self.post.folder / "counts").open("a") as file:
            file.write(what + "\n")


def start(post: Post, work: Callable[[Worker], None], shared: Shared) -> int:
    """Fork a process that does ``work``; return its number."""
    pid = os.fork()
    if pid == 0:
        logging.getLogger("paramstore").setLevel(
            logging.CRITICAL
        )  # each of many readers says that the cluster is away
        worker = None
        try:
            worker = Worker(post, shared)
            threading.excepthook = worker.out.tell_of_thread
            work(worker)
        except BaseException:  # noqa: BLE001 - told to the checker
            (worker.out if worker else Recorder(post, shared)).tell(traceback.format_exc())
        finally:
            os._exit(0)
    return pid


class Worker:
    """What every process has: its store, its recorder, its dice."""

    def __init__(self, post: Post, shared: Shared) -> None:
        self.post = post
        self.shared = shared
        self.out = Recorder(post, shared)
        self.dice = random.Random(post.seed * 1000 + post.ident)
        self.store = self.opened()
        self.serial = 0
        self._parent = os.getppid()

    def opened(self) -> ParamStore:
        environ = {
            "PARAMSTORE_BACKEND": self.post.address, "PARAMSTORE_MIRROR": str(self.post.mirror),
            "PARAMSTORE_ETCD_CHECK_S": CHECK_S,
        }  # fmt: skip
        return ParamStore(environ=environ, clock=Shifted(self.post.machine, self.shared))

    def first_read(self) -> None:
        """Open the store; a machine whose mirror was left in the middle and that cannot reach the cluster may have to wait."""
        deadline = time.monotonic() + FIRST_TRIES_S
        while True:
            try:
                self.store.newest()
                return
            except (InvalidFileError, UnreachableError) as error:
                self.out.count(f"opening: {type(error).__name__}")
                if time.monotonic() > deadline or self.left():
                    raise
            time.sleep(0.05)

    def left(self) -> bool:
        return bool(self.shared[LEAVE]) or os.getppid() != self._parent

    def over(self) -> bool:
        return bool(self.shared[OVER]) or os.getppid() != self._parent

    # -- writing ----------------------------------------------------------------------------------

    def tag(self) -> int:
        self.serial += 1
        return 1000 + self.serial * 256 + self.post.ident

    def tried(self, kind: int, tag: int, values: Sequence[int], work: Callable[[], int]) -> bool:
        """Do ``work``, which returns a revision, and note what came of it."""
        begun = monotonic_ns()
        self.out.note(kind, TRIED, begun, values, tag=tag)
        self.seen: Sequence[int] = NOTHING
        outcome, revision = REFUSED, UNSEEN
        try:
            revision, outcome = work(), DONE
            self.shared[ACKED + self.post.slot] += 1
        except DurabilityUnknownError:
            outcome = UNKNOWN
            self.out.count("unknown")
        except ParamstoreError as error:
            if "Nothing was written" not in str(error) and not isinstance(error, ValidationError):
                where = traceback.extract_tb(error.__traceback__)[-1]
                self.out.tell(f"words: {type(error).__name__}: {error} ({where.name}, line {where.lineno})")
            self.out.count(type(error).__name__)
        self.shared[INSIDE + self.post.slot] = 0
        self.out.note(kind, outcome, begun, values, revision, tag, self.seen)
        return outcome == DONE

    def commit(self) -> None:
        tag = self.tag()
        keys = self.dice.choice((KEYS[:1], KEYS[1:2], (KEYS[0], KEYS[2]), KEYS[:2], KEYS))
        pause_s = self.dice.uniform(0.02, 0.15) if self.dice.random() < 0.1 else 0.0
        values = [tag if key in keys else UNSEEN for key in KEYS]

        def work() -> int:
            given = {
                "author": f"learner{self.post.ident}",
                "reason": str(tag),
                "timeout_s": self.dice.choice((3, 6, 20)),
            }
            with self.store.transaction(**given) as tx:  # type: ignore[arg-type]
                self.seen = [tx[key] for key in KEYS]
                self.shared[INSIDE + self.post.slot] = 1
                time.sleep(pause_s)
                for key in keys:
                    tx[key] = tag
            return tx.commit_result.revision

        self.tried(COMMIT, tag, values, work)

    def roll_back(self) -> None:
        tag, back = self.tag(), max(0, self.store.revision - self.dice.randint(1, 4))

        def work() -> int:
            result = self.store.rollback(back, author="person", reason=str(tag), timeout_s=8)
            return result.revision if result.entry is not None else UNSEEN

        self.tried(ROLLBACK, tag, (back, UNSEEN, UNSEEN, UNSEEN), work)

    def learn(self) -> None:
        """Commit numbers that nobody else writes, and now and then bring back older ones."""
        self.first_read()
        while not self.over():
            if self.dice.random() < 0.04:
                self.roll_back()
            else:
                self.commit()
            time.sleep(self.dice.uniform(0, 0.04))

    def freeze(self) -> None:
        """Freeze one key for a while, and thaw it again."""
        self.first_read()
        while not self.over():
            self._freeze(UNFREEZE)  # of one that was killed, or whose answer was lost
            time.sleep(self.dice.uniform(0.1, 0.5))
            self._freeze(FREEZE)
            time.sleep(self.dice.uniform(0.05, 0.3))
        while not self._freeze(UNFREEZE) and self.store.freezes():
            time.sleep(0.2)

    def _freeze(self, kind: int) -> bool:
        tag = self.tag()

        def work() -> int:
            if kind == FREEZE:
                self.store.freeze(FROZEN, author="person", reason=str(tag), timeout_s=8)
            elif self.store.freezes():
                self.store.unfreeze(FROZEN, author="person", reason=str(tag), timeout_s=8)
            return UNSEEN

        return self.tried(kind, tag, NOTHING, work)

    # -- reading ----------------------------------------------------------------------------------

    def ways(self) -> list[Callable[[], None]]:
        """Return the reads, each of which records itself."""
        store, section = self.store, self.store.section("alpha")

        def one(place: int) -> Callable[[], None]:
            before, after, key = NOTHING[:place], NOTHING[place + 1 :], KEYS[place]

            def call() -> None:
                begun = monotonic_ns()
                self.out.note(GET, DONE, begun, (*before, store.get(key), *after))

            return call

        def copy() -> None:
            begun = monotonic_ns()
            found = dict(section)
            self.out.note(SECTION, DONE, begun, (found["count"], found["theirs"], UNSEEN, UNSEEN))

        return [*map(one, range(len(KEYS))), copy, self.snapshot]

    def snapshot(self) -> None:
        begun = monotonic_ns()
        with self.store.snapshot() as p:
            self.out.note(SNAPSHOT, DONE, begun, [p.get(key) for key in KEYS], p.revision)

    def read(self, pause_s: float) -> None:
        """Read in every way, in bursts between which others run; an error of any read is one too many."""
        self.first_read()
        calls = self.ways()
        while not self.over():
            for call in self.dice.choices(calls, k=8):
                call()
            time.sleep(self.dice.uniform(0, 2 * pause_s))
        self.arrive()

    def arrive(self) -> None:
        """Wait for the last revision, note when it came, and keep reading until all others have it as well."""
        self.shared.wait(FINAL, 120)
        deadline = time.monotonic() + 30
        while self.store.revision != self.shared[FINAL] - 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        begun = monotonic_ns()
        with self.store.snapshot() as p:
            self.out.note(END, DONE, begun, [p.get(key) for key in KEYS], p.revision)
        while not self.left():
            time.sleep(0.05)

    def open_anew(self) -> None:
        """Open the store over and over, and see all of it at once."""
        while not self.over():
            self.first_read()
            self.snapshot()
            self.store.reset()
            time.sleep(self.dice.uniform(0, 0.2))
