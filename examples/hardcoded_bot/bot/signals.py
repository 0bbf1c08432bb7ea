"""The composite score: ten signals in [-1, 1], one number in [-1, 1]."""

from . import indicators, learner, market, regime

# Shares of the composite. They must sum to 1, so take from one what you give to another.
SIGNAL_WEIGHTS = {
    "momentum": 0.18,
    "book_imbalance": 0.14,
    "funding": 0.12,
    "basis": 0.08,
    "open_interest": 0.10,
    "liquidations": 0.12,  # was 0.15, too jumpy
    "whale_prints": 0.09,
    "sentiment": 0.05,
    "skew": 0.05,
    "lead_lag": 0.07,
}

# Opinions weaker than this are noise.
DEAD_ZONE = 0.05


def composite(signals):
    """Weighted sum of the signals outside the dead zone."""
    total = 0.0
    for name, weight in SIGNAL_WEIGHTS.items():
        strength = signals.get(name, 0.0)
        if abs(strength) < DEAD_ZONE:
            continue
        total += weight * strength
    if signals.get("funding", 0.5) > 0.9 and total > 0:
        total *= 0.85  # crowded longs
    return total


def headline(signals):
    """The two signals that people ask about, weighed as in the composite."""
    return SIGNAL_WEIGHTS["momentum"] * signals["momentum"] + SIGNAL_WEIGHTS["funding"] * signals["funding"]


def agreement(signals, side):
    """Share of the signals that are clearly on ``side`` (1 or -1)."""
    clear = [s for s in signals.values() if abs(s) >= 0.1]
    if not clear:
        return 0.0
    return sum(1 for s in clear if s * side > 0) / len(clear)


def calm(score, nervous):
    """Take the edge off a score when the market is nervous."""
    return indicators.damp(score, 0.8) if nervous else indicators.damp(score, k=1.0)


def volume_vote(volume, usual, direction):
    """More volume than usual confirms the move, much less contradicts it."""
    ratio = volume / usual if usual else 1.0
    if ratio >= 1.8:
        return 1.0 * direction
    if ratio >= 1.3: return indicators.damp(direction)
    if 0.6 <= ratio < 0.8: return -0.25 * direction
    return -0.5 * direction if ratio < 0.6 else 0.0


def votes(tick, prices, blend):
    """Return the regime and the five votes on this bar."""
    nervous = indicators.volatility(prices) > regime.NERVOUS
    mixed = learner.blend(calm(composite(tick.signals), nervous), learner.score(tick.signals), blend)
    direction = 1 if mixed >= 0 else -1
    state = regime.detect(prices, tick.volume)
    return state, {
        "mtf": indicators.stretch(prices),
        "signals": max(-1.0, min(1.0, mixed * 1.5)),  # raw scores rarely pass 0.6
        "volume": volume_vote(tick.volume, market.volume_at(tick.index), direction),
        "momentum": indicators.rsi_bias(indicators.rsi(prices)),
        "regime": regime.vote(state, direction),
    }
