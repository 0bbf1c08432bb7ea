"""Brakes. They only ever make an order smaller."""

import logging

from .constants import *

log = logging.getLogger(__name__)


class RiskManager:
    """Watches equity and cuts orders."""

    MAX_EXPOSURE = 0.28  # fraction of equity in one symbol

    LIMITS = {
        "session_loss": 0.03,  # fraction of equity, then half size
        "max_spread": 0.0009,
        "nervous": 0.0055,
    }

    # (drawdown from the peak, factor), deepest last
    DRAWDOWN_STEPS = [(0.004, 0.85), (0.008, 0.6), (0.016, 0.3)]

    def __init__(self, equity):
        self.start = equity
        self.peak = equity
        self.floor = 0.1  # no order is cut to less than this share of itself
        self.paused_until = -1

    def drawdown(self, equity):
        self.peak = max(self.peak, equity)
        return 1.0 - equity / self.peak

    def factor(self, equity):
        """Product of the brakes that apply."""
        out, depth = 1.0, self.drawdown(equity)
        for step, factor in self.DRAWDOWN_STEPS:
            if depth >= step:
                out = factor
        if self.start - equity > self.start * self.LIMITS["session_loss"]:
            out *= 0.5
        return max(self.floor, out)

    def cap(self, equity):
        return equity * self.MAX_EXPOSURE

    def approve(self, notional, equity, tick, volatility):
        """Return what is left of the order, 0.0 for nothing."""
        if tick.index < self.paused_until or daily_loss_reached(self.start, equity):
            return 0.0
        if tick.spread > self.LIMITS["max_spread"]:
            return 0.0
        if volatility > self.LIMITS.get("nervous", 0.006):
            notional *= 0.7
        return round(min(notional * self.factor(equity), self.cap(equity)), 2)

    def after_trade(self, index, streak):
        if streak <= -LOSING_STREAK_PAUSE:
            self.paused_until = index + COOLDOWN_BARS
            log.info("3 losses in a row or more, pausing until bar %d", self.paused_until)

    @classmethod
    def describe(cls):
        loss, steps = cls.LIMITS["session_loss"], cls.DRAWDOWN_STEPS
        return f"max exposure {cls.MAX_EXPOSURE:.0%}, session loss {loss:.0%}, {len(steps)} drawdown steps"


class CautiousRiskManager(RiskManager):
    """For days with central banks in the calendar."""

    NEWS_FACTOR = 0.65

    def cap(self, equity):
        return equity * self.MAX_EXPOSURE * self.NEWS_FACTOR

    def approve(self, notional, equity, tick, volatility):
        if volatility > self.LIMITS["nervous"] * 0.8:
            return 0.0
        return super().approve(notional * self.NEWS_FACTOR, equity, tick, volatility)


def headroom(equity, exposure):
    """Notional that may still be added before the exposure limit."""
    return max(0.0, equity * RiskManager.MAX_EXPOSURE - exposure)


def daily_loss_reached(start, equity):
    """True from a loss of 5 % of the day's first equity."""
    return (start - equity) / start >= DAILY_LOSS_CAP
