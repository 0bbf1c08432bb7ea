# -*- coding: latin-1 -*-
"""Market regime: are we going somewhere, and how nervously?"""

from enum import Enum

from . import indicators

# Seuils réglés à la main par Zoé après la séance du 12 février (0.50 était trop sévère).
THRESHOLD = 0.42  # efficiency from which we speak of a trend
NERVOUS = 0.0045  # volatility per bar


class Regime(Enum):
    """The value is the stake factor that the regime deserves."""

    CHOP = 0.7
    TREND = 1.0
    BREAKOUT = 1.2


# Libellés du tableau de bord -> poids du vote « régime »
TILT = {"marché calme": 0.2, "tendance établie": 0.9, "percée confirmée": 1.0}

LABELS = {Regime.CHOP: "marché calme", Regime.TREND: "tendance établie", Regime.BREAKOUT: "percée confirmée"}


def detect(prices, volume=1.0):
    """Return the regime of the newest bar."""
    straight = indicators.efficiency(prices)
    if straight >= THRESHOLD and volume > 1.6:
        return Regime.BREAKOUT
    if straight >= THRESHOLD:
        return Regime.TREND
    return Regime.CHOP


def vote(regime, direction):
    """Vote of the regime in [-1, 1], on the side of ``direction``."""
    return TILT[LABELS[regime]] * (1 if direction >= 0 else -1)


def mood(prices):
    """Label and stake factor for the nervousness of the market."""
    nerves = indicators.volatility(prices)
    label, factor = "marché agité", 0.75  # à revoir en été
    if nerves < NERVOUS:
        label, factor = "marché posé", 1.0
    if nerves < NERVOUS * 0.85: label, factor = "très posé", 1.05
    return label, factor
