"""The past of the demonstration: a month of learners and people at work, lived in a second under a clock of its own.

Each step is a real transaction, refusal, freeze or edit of a file; only the market that they learn from is made up.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from paramstore import ParamStore
from paramstore._clock import utc_text
from paramstore.errors import ValidationError
from paramstore.testing import ManualClock

OUTCOMES = "outcomes.jsonl"
HOURS, HOUR_S, DAY_H = 30 * 24, 3600.0, 24
TRADES_AN_HOUR = 5
LIQUIDATION, FUNDING = "signal_weights.liquidation", "signal_weights.funding"
COOLDOWN = "params/profit_engine.yaml", "cooldown_min: 30", "cooldown_min: 45"


class Month(NamedTuple):
    """What happened in it: entries that changed values, refusals, trades."""

    commits: int
    refusals: int
    trades: int


def live(root: str, until: float) -> Month:
    """Live the month that ends an hour before ``until`` (seconds since 1970) in the store at ``root``."""
    clock = ManualClock(until - (HOURS + 1) * HOUR_S)
    store = ParamStore(root, clock=clock)
    try:
        month = _Month(store, root)
        for hour in range(HOURS):
            month.hour(hour)
            clock.advance(HOUR_S)
        entries = store.history(refused=True)
        changed = sum(bool(entry.changed) for entry in entries)
        return Month(changed, sum(entry.kind == "refusal" for entry in entries), month.trades)
    finally:
        store.reset()


class _Month:
    def __init__(self, store: ParamStore, root: str) -> None:
        self.store = store
        self.root = root
        self.chance = random.Random(7)
        self.weights = store.section("signal_weights")
        self.best = dict(self.weights)  # what the market would pay for, if anybody knew
        self.trades = 0

    def hour(self, hour: int) -> None:
        """One hour: whoever's turn it is acts, and some trades are closed."""
        routines: tuple[tuple[int, int, Callable[[int], None]], ...] = (
            (12, 8, self.weigh),
            (24, 3, self.calibrate),
            (12, 5, self.follow_the_flow),
            (48, 15, self.time_exits),
        )
        for every, at, act in routines:
            if hour % every == at % every:
                act(hour // DAY_H)
        days: dict[int, Callable[[], None]] = {
            9 * DAY_H + 1: self.overreach, 12 * DAY_H + 10: self.tell_bitcoin_apart, 16 * DAY_H + 14: self.guess,
            18 * DAY_H + 14: self.take_back, 22 * DAY_H + 11: self.freeze, 25 * DAY_H + 16: self.edit,
        }  # fmt: skip
        if hour in days:
            days[hour]()
        self.trade()

    # -- learners ---------------------------------------------------------------------------------

    def weigh(self, day: int) -> None:
        """Move three weights some of the way to where they seem to belong; the others make room."""
        for name in self.best:
            self.best[name] = min(0.3, max(0.04, self.best[name] + self.chance.gauss(0, 0.006)))
        names = self.chance.sample(sorted(self.best), 3)
        wanted = {n: self.weights[n] + 0.4 * (self.best[n] - self.weights[n]) + self.chance.gauss(0, 0.004) for n in names}  # fmt: skip
        with self.learner("signal_weight_learner", "7-day expected value", "ev_bps", 5.0) as tx:
            tx.propose("signal_weights", wanted, on_violation="project")

    def calibrate(self, day: int) -> None:
        step = 0.005 if day % 5 < 3 else -0.005
        tiers = ("target", "high") if day % 2 else ("middle", "low")
        with self.learner("calibration_learner", "tiers where the odds turn", "brier", 0.2) as tx:
            for tier in tiers:
                tx[f"win_rate.{tier}"] += step

    def follow_the_flow(self, day: int) -> None:
        """Back and forth, without getting anywhere; in the end it dies, and nobody notices but ``doctor``."""
        if day >= 19:
            return
        with self.learner("flow_learner", "flow of the last 12 hours", "hit_rate", 0.5) as tx:
            key = "predictive_flow.conviction.high.confidence"
            tx.set(key, 0.62 if tx[key] < 0.61 else 0.6, on_violation="clamp")

    def time_exits(self, day: int) -> None:
        """Ask for more than one step allows, and get a step."""
        key = "profit_discipline.time_exits.second_h"
        with (
            suppress(ValidationError),
            self.learner("exit_learner", "winners run longer", "ev_bps", 4.0) as tx,
        ):
            tx.set(key, tx[key] + (1.6 if day < 14 else -1.2), on_violation="clamp")

    def overreach(self) -> None:
        with (
            suppress(ValidationError),
            self.learner("signal_weight_learner", "all in on what won", "ev_bps", 9.0) as tx,
        ):
            tx[FUNDING] = 0.6

    def learner(self, author: str, reason: str, metric: str, level: float) -> Any:
        before = round(level * self.chance.uniform(0.7, 1.1), 3)
        evidence = {"samples": self.chance.randint(300, 900), "metric": metric, "before": before,
                    "after": round(before * self.chance.uniform(1.0, 1.2), 3)}  # fmt: skip
        return self.store.transaction(author=author, reason=reason, evidence=evidence)

    # -- people -----------------------------------------------------------------------------------

    def tell_bitcoin_apart(self) -> None:
        with self.person("ana", "funding leads on the majors") as tx:
            tx.set(FUNDING, round(tx[FUNDING] + 0.03, 4), symbol="BTCUSDT")
            tx.set(LIQUIDATION, round(tx[LIQUIDATION] - 0.03, 4), symbol="BTCUSDT")

    def guess(self) -> None:
        self.before_the_guess = self.store.revision
        with self.person("ana", "after that squeeze liquidations matter more") as tx:
            moved = round(tx[FUNDING] - 0.02, 4)
            tx[FUNDING] = 0.02
            tx[LIQUIDATION] = round(tx[LIQUIDATION] + moved, 4)

    def take_back(self) -> None:
        to, reason = self.before_the_guess, "two days of losses since that guess"
        self.store.rollback(to, author="ben", keys="signal_weights.*", reason=reason)
        self.store.approve(
            "signal_weights", author="ben", reason="drift counts from here, not from the guess"
        )

    def freeze(self) -> None:
        self.store.freeze(
            "profit_discipline.*", author="ben", reason="exits stay while the fee tier changes", until=3 * DAY_H * HOUR_S
        )  # fmt: skip

    def edit(self) -> None:
        file, old, new = COOLDOWN
        path = os.path.join(self.root, file)
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text.replace(old, new))

    def person(self, author: str, reason: str) -> Any:
        return self.store.transaction(author=author, reason=reason, force=True)

    # -- the market -------------------------------------------------------------------------------

    def trade(self) -> None:
        """Close some trades: the nearer the weights are to the best ones, the better they end."""
        snapshot = self.store.snapshot()
        wrong = sum((snapshot[f"signal_weights.{name}"] - best) ** 2 for name, best in self.best.items())
        now = utc_text(self.store.clock.now())
        with open(os.path.join(self.root, OUTCOMES), "a", encoding="ascii") as stream:
            for _ in range(TRADES_AN_HOUR):
                pnl = round(self.chance.gauss(6 - 900 * wrong, 12), 2)
                line: Mapping[str, Any] = {"time": now, "pnl_bps": pnl, **snapshot.stamp()}
                stream.write(json.dumps(line) + "\n")
                self.trades += 1
