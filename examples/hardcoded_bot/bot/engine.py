"""One session: ticks in, orders out, a journal of what happened."""

import logging
from dataclasses import dataclass, field

from . import broker, conviction, ensemble, exits, indicators, learner, market, regime, risk, signals, sizing
from .constants import START_EQUITY
from .stats import MIN_TRADES, TradeLog

log = logging.getLogger(__name__)


@dataclass
class EngineConfig:
    """What a session may be started with."""

    warmup: int = 32  # bars before the averages mean anything
    expected_factor: float = 1.4  # expected move in units of volatility, at a verdict of 1
    min_expected: float = 0.0
    cautious: bool = False
    blend: dict = field(default_factory=lambda: {"a": 0.65})
    regime_boost: dict = field(default_factory=lambda: {"CHOP": 0.85, "TREND": 1.1, "BREAKOUT": 1.2})
    venues: dict = field(default_factory=dict)


class Session:
    def __init__(self, config=None, equity=START_EQUITY):
        self.config = config or EngineConfig()
        self.equity = equity
        self.broker = broker.PaperBroker()
        self.risk = (risk.CautiousRiskManager if self.config.cautious else risk.RiskManager)(equity)
        self.trades = TradeLog()
        self.prices, self.journal = [], []
        self.position, self.entry = None, {}

    def step(self, tick):
        self.prices.append(tick.price)
        if len(self.prices) <= self.config.warmup:
            return
        state, votes = signals.votes(tick, self.prices, self.config.blend)
        side, verdict = ensemble.decide(votes)
        if self.position is not None:
            part, reason = exits.decide(self.position, tick.price, tick.index, state.name)
            if part:
                self.close(tick, part, reason)
            elif side == self.position.side and not self.position.added:
                self.add(tick)
        elif side:
            self.open(tick, side, verdict, state)

    def open(self, tick, side, verdict, state):
        volatility = indicators.volatility(self.prices)
        expected = max(self.config.min_expected, volatility * self.config.expected_factor * abs(verdict) * 2)
        if not self.trades.gate() or not exits.worth_it(expected):
            return
        rate, streak = self.trades.win_rate(), self.trades.streak()
        multiplier, label = conviction.stake_multiplier(verdict, signals.agreement(tick.signals, side), rate)
        multiplier *= self.config.regime_boost[state.name] * state.value * regime.mood(self.prices)[1]
        headline = round(signals.headline(tick.signals), 4)
        record = {"opened": tick.index, "side": side, "label": label, "headline": headline}
        ratio = tick.volume / market.volume_at(tick.index)
        size = sizing.position_size(self.equity, multiplier, side, rate, streak, ratio, record)
        size = self.risk.approve(size, self.equity, tick, volatility)
        if size < 25.0:  # not worth the paperwork
            return
        record["size"], record["clips"] = size, len(broker.child_orders(size))
        record["routed"] = broker.route(size, self.config.venues)[0]
        price = self.broker.fill(side, size, tick)
        self.position = exits.Position(side, size, price, tick.index)
        self.entry = {**record, "signals": tick.signals, "pnl": 0.0}

    def add(self, tick):
        """A second helping, once, while the position is ours and winning."""
        position = self.position
        more = sizing.scale_in(position.size, exits.gain(position, tick.price))
        more = min(more, risk.headroom(self.equity, position.size))
        if more <= 0.0:
            return
        price = self.broker.fill(position.side, more, tick)
        position.add(price, more)
        self.entry["added"] = round(more, 2)

    def close(self, tick, part, reason):
        position = self.position
        amount = position.size * part
        price = self.broker.fill(-position.side, amount, tick, hurry=reason in ("stop", "cut"))
        pnl = amount * exits.gain(position, price) - 2 * amount * self.broker.fees.rate()
        self.equity += pnl
        self.entry["pnl"] += pnl
        position.size -= amount
        position.reduced += 1
        if position.size > 1.0:
            return
        seen = self.entry.pop("signals")
        self.journal.append({**self.entry, "closed": tick.index, "reason": reason, "pnl": round(self.entry["pnl"], 4)})
        self.trades.add(self.journal[-1])
        learner.learn(seen, position.side, self.entry["pnl"] > 0)
        self.risk.after_trade(tick.index, self.trades.streak())
        if len(self.trades.trades) >= MIN_TRADES and self.trades.streak() <= -2:
            ensemble.set_sensitivity(0.08)
        self.position = None


def run_session(ticks=200, seed=20260314, config=None, learned=None):
    """Play one session from a clean slate and return it; ``learned`` is a file of signal weights."""
    ensemble.reset()
    learner.forget()
    if learned:
        learner.load_learned(learned)
    session, calm = Session(config), ensemble.SENSITIVITY
    try:
        for tick in market.generate(ticks, seed):
            session.step(tick)
    finally:
        ensemble.set_sensitivity(calm)
    return session
