# ruff: noqa: T201 - a command line
"""``python -m benchmarks.etcd_simulation``: 10,000 machines and 100,000 parameters, from what ``benchmarks.etcd_scale`` measured.

Pure, and the same for the same seed. What a commit sends out, what the check for the newest entry asks, and who comes in which
second after an outage. ``--docs`` lays the tables into the page.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.etcd_page import Line
from benchmarks.harness import quantity, table
from benchmarks.page import MADE, laid
from paramstore._backends._follower import PAUSE_S
from paramstore._etcd_client import _PAUSE_S as TRY_PAUSE_S
from paramstore._etcd_client import REACH_S

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
MACHINES, PARAMETERS, SEED = 10_000, 100_000, 7
IN_NAMESPACE = 2_000  # parameters: 50 namespaces hold them all, and the text of a schema still fits into etcd
OUTAGE_S = 600.0
WINDOW_S = 0.1
LINKS = 1e9, 10e9  # bit/s
HELD_S = 0.1, 1.0  # a client that gives up a connection soon, and one that waits until a lone server leads
FAN, CHECKS, STORM = (
    "A commit to 10,000 machines",
    "The check for the newest entry",
    "After an outage of ten minutes",
)


@dataclass(frozen=True, slots=True)
class Costs:
    """What one thing costs. The defaults are what ``benchmarks.etcd_scale`` saw, rounded."""

    text_bytes: float = 220.0  # of a values file, without parameters
    parameter_bytes: float = 18.6  # each more in it
    line_bytes: float = 660.0  # an entry, its keys and its head, as a watcher gets them
    lock_bytes: float = 120.0  # the lock taken and given back, as a watcher of the whole prefix gets them
    event_cpu_s: float = 20e-6  # of the server: an event to one watcher
    byte_cpu_s: float = 1.0e-9  # each byte of it
    ask_cpu_s: float = 300e-6  # a question for the newest entry
    catch_up_asks: int = 3  # requests of a machine that comes back: what is new, its watch, a check
    members: int = 3
    cores: int = 2  # of each member
    hop_s: float = 0.002  # from a relay's mirror to the next machine

    def text(self, parameters: int) -> float:
        return self.text_bytes + self.parameter_bytes * parameters


COSTS = Costs()


# --- a commit -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """Who sends what to whom: ``fan`` others for each relay (0: none, every machine asks the cluster)."""

    name: str
    texts: bool = True
    locks: bool = True
    fan: int = 0


LAYOUTS = (
    Layout("as it is: every agent watches everything"),
    Layout("locks left out of the watch", locks=False),
    Layout("texts left out as well: head and journal", texts=False, locks=False),
    Layout("relays, 20 each", fan=20),
    Layout("relays, 100 each", fan=100),
    Layout("relays, 100 each, texts left out", texts=False, locks=False, fan=100),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What one commit comes to: bytes out of the cluster, CPU seconds of all its members, and for each link the seconds
    until the last machine has it."""

    layout: Layout
    each: float
    out: float
    cpu_s: float
    hops: int
    last_s: tuple[float, ...]
    rate: float  # commits per second before the first link, or all cores, are full


def levels(machines: int, fan: int) -> list[int]:
    """How many machines stand in each level of a tree: the first ``fan`` ask the cluster, each of them serves ``fan`` others."""
    found: list[int] = []
    while machines > 0:
        found.append(min(machines, fan ** (len(found) + 1)))
        machines -= found[-1]
    return found


def fan_out(machines: int, parameters: int, layout: Layout, costs: Costs = COSTS) -> Sent:
    """A commit to one namespace of ``parameters``."""
    each = costs.line_bytes + layout.locks * costs.lock_bytes + layout.texts * costs.text(parameters)
    first, *others = levels(machines, layout.fan) if layout.fan else [machines]
    cpu_s = first * ((1 + layout.locks) * costs.event_cpu_s + each * costs.byte_cpu_s)
    own_s = [8 * each * first / costs.members / link for link in LINKS]  # each member has a link of its own
    hop_s = [
        sum(8 * each * min(layout.fan, count) / link + costs.hop_s for count in others) for link in LINKS
    ]
    busy_s = cpu_s / costs.members / costs.cores
    last_s = tuple(max(own, busy_s) + hop for own, hop in zip(own_s, hop_s, strict=True))
    rate = 1 / max(own_s[0], busy_s, 8 * each * layout.fan / LINKS[0])
    return Sent(layout, each, each * first, cpu_s, 1 + len(others), last_s, rate)


# --- the check ------------------------------------------------------------------------------------


def check_rate(machines: int, check_s: float) -> float:
    """Questions per second: each machine waits half of ``check_s`` to all of it before the next."""
    return machines / (0.75 * check_s)


# --- after an outage ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a machine tries while nobody answers: ``again``: a call tries again by itself for seconds, as ours do;
    ``checks``: the check goes on meanwhile; ``longest_s``: between two calls."""

    name: str
    jitter: bool = True
    again: bool = True
    checks: bool = True
    longest_s: float = PAUSE_S[1]

    def spread(self, chance: random.Random) -> float:
        return chance.uniform(0.5, 1.5) if self.jitter else 1.0


AGAIN = Waiting("tries again in each call, and checks meanwhile")
PAUSES = Waiting("as it is: one try for each pause, no check meanwhile", again=False, checks=False)
WAITINGS = (
    AGAIN,
    replace(AGAIN, name="that without jitter", jitter=False),
    PAUSES,
    replace(PAUSES, name="the same without jitter", jitter=False),
    replace(PAUSES, name="the same, with pauses up to 30 s", longest_s=30.0),
)


def first_asks(
    machines: int, outage_s: float, how: Waiting, check_s: float = 2.0, seed: int = SEED
) -> list[float]:
    """When each machine first asks after the outage, in seconds from its end. The watch of all is cut at its beginning."""
    chance = random.Random(seed)
    found = []
    for _ in range(machines):
        moments = [_next(_calls(how, chance), outage_s, how, REACH_S, chance)]
        if how.checks:
            moments.append(_next(_checks(check_s, how, chance), outage_s, how, check_s + 1.0, chance))
        found.append(min(moments) - outage_s)
    return found


def _calls(how: Waiting, chance: random.Random) -> Iterator[float]:
    """The pauses before each call of the one who follows."""
    pause_s = PAUSE_S[0]
    while True:
        yield pause_s * how.spread(chance)
        pause_s = min(2 * pause_s, how.longest_s)


def _checks(check_s: float, how: Waiting, chance: random.Random) -> Iterator[float]:
    """The pauses before each check; when the first comes depends on when the agent was started."""
    yield chance.uniform(0.0, check_s)
    while True:
        yield check_s * (chance.uniform(0.5, 1.0) if how.jitter else 0.75)


def _next(
    pauses: Iterator[float], outage_s: float, how: Waiting, reach_s: float, chance: random.Random
) -> float:
    """The first try at ``outage_s`` or later. Calls that end before are not looked into: they take all of ``reach_s``."""
    end = 0.0
    for pause in pauses:
        begin = end + pause
        end = begin + how.again * reach_s
        if end >= outage_s:
            at, again_s = begin, TRY_PAUSE_S[0]
            while at < outage_s:
                at = min(end, at + again_s * how.spread(chance))
                again_s = min(2 * again_s, TRY_PAUSE_S[1])
            return at
    raise AssertionError("pauses never end")


def held_back(asks: Sequence[float], silent_s: float) -> list[float]:
    """A server that was just started accepts connections before it answers; those who came in the last ``silent_s`` of that
    time, and did not give up, are answered at one moment."""
    return [max(moment, silent_s) for moment in asks]


def largest_window(moments: Sequence[float]) -> int:
    """How many lie within the fullest ``WINDOW_S``."""
    ordered, most, begin = sorted(moments), 0, 0
    for place, moment in enumerate(ordered):
        while moment - ordered[begin] >= WINDOW_S:
            begin += 1
        most = max(most, place - begin + 1)
    return most


def by_second(moments: Sequence[float]) -> dict[int, int]:
    return dict(sorted(Counter(int(moment) for moment in moments).items()))


def longest_wait(moments: Sequence[float], each_s: float) -> float:
    """The longest that one waits for an answer, if answering takes ``each_s`` and one comes after another."""
    free = most = 0.0
    for moment in sorted(moments):
        free = max(free, moment) + each_s
        most = max(most, free - moment)
    return most


# --- tables ---------------------------------------------------------------------------------------


def commits(machines: int = MACHINES) -> list[Line]:
    columns = (
        "layout", "to each machine", "out of the cluster", "CPU of the cluster", "last machine, 1 Gbit/s", "10 Gbit/s", "hops",
        "most commits/s",
    )  # fmt: skip
    lines = []
    for layout in LAYOUTS:
        sent = fan_out(machines, IN_NAMESPACE, layout)
        figures = (
            layout.name, _bytes(sent.each), _bytes(sent.out), quantity(sent.cpu_s, "s"),
            *(quantity(seconds, "s") for seconds in sent.last_s), str(sent.hops), f"{sent.rate:.3g}",
        )  # fmt: skip
        lines.append(Line(FAN, columns, figures))
    return lines


def checks(machines: int = MACHINES) -> list[Line]:
    columns = "`PARAMSTORE_ETCD_CHECK_S`", "questions per second", "cores of the cluster"
    lines = []
    for check_s in (2.0, 10.0, 60.0):
        rate = check_rate(machines, check_s)
        lines.append(
            Line(CHECKS, columns, (f"{check_s:g} s", f"{rate:,.0f}", f"{rate * COSTS.ask_cpu_s:.2f}"))
        )
    return lines


def storms(machines: int = MACHINES, outage_s: float = OUTAGE_S, seed: int = SEED) -> list[Line]:
    columns = (
        "machines wait", "in second 0, 1, 2, 3, 4, 5", "later", "last after", "most in 0.1 s",
        *(f"if a server that starts holds connections for {silent_s:g} s" for silent_s in HELD_S), "longest wait for an answer then",
    )  # fmt: skip
    lines = []
    each_s = COSTS.catch_up_asks * COSTS.ask_cpu_s / COSTS.members / COSTS.cores
    for how in WAITINGS:
        asks = first_asks(machines, outage_s, how, seed=seed)
        counts = by_second(asks)
        early = ", ".join(f"{counts.get(second, 0):,}" for second in range(6))
        later = f"{sum(count for second, count in counts.items() if second > 5):,}"
        held = [held_back(asks, silent_s) for silent_s in HELD_S]
        most = [f"{100 * largest_window(moments) / machines:.3g} %" for moments in (asks, *held)]
        wait = quantity(longest_wait(held[-1], each_s), "s")
        lines.append(Line(STORM, columns, (how.name, early, later, quantity(max(asks), "s"), *most, wait)))
    return lines


def _bytes(count: float) -> str:
    return (
        f"{count:,.0f} B"
        if count < 1e4
        else f"{count / 1e3:,.0f} kB"
        if count < 1e6
        else f"{count / 1e6:,.0f} MB"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.etcd_simulation", description=__doc__)
    parser.add_argument("--machines", type=int, default=MACHINES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--docs", type=Path, nargs="?", const=PAGE, metavar="PAGE", help=f"lay tables into {PAGE.name}"
    )
    options = parser.parse_args(arguments)
    how = f"{MADE}python -m benchmarks.etcd_simulation --docs` (seed {options.seed})."
    made = {
        FAN: commits(options.machines),
        CHECKS: checks(options.machines),
        STORM: storms(options.machines, seed=options.seed),
    }
    tables = {name: f"{how}\n\n{table(lines)}" for name, lines in made.items()}
    print("\n\n".join(f"## {name}\n\n{text}" for name, text in tables.items()))
    if options.docs:
        options.docs.write_text(laid(options.docs.read_text(encoding="utf-8"), tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
