"""A make-believe market: one seeded generator, the same 200 bars on every machine."""

import random
from typing import NamedTuple

SIGNAL_NAMES = (
    "momentum", "book_imbalance", "funding", "basis", "open_interest",
    "liquidations", "whale_prints", "sentiment", "skew", "lead_lag",
)

DRIFT = 0.0026  # strongest drift per bar
NOISE = 0.0042  # standard deviation of a bar's return around the drift
MOOD_SWING = 0.14  # chance per bar that the crowd changes its mind


class Tick(NamedTuple):
    """One bar as the feed sends it."""

    index: int
    price: float
    volume: float
    signals: dict
    spread: float = 0.0004  # the feed leaves it out when the book is quiet


def _session_curve():
    """Relative volume by hour: thin at night, busiest around 14:00 UTC."""
    curve = []
    for hour in range(24):
        distance = abs(hour - 14) / 14
        curve.append(0.55 + 0.9 * max(0.0, 1 - distance))
    return curve


SESSION_CURVE = _session_curve()


def volume_at(index, bars_per_hour=4):
    """Return the usual volume for that bar of the session."""
    return SESSION_CURVE[(index // bars_per_hour) % 24]


def _clip(x):
    return max(-1.0, min(1.0, x))


def _signals(rng, lean):
    """Ten noisy opinions on the drift; the first three see it best."""
    out = {}
    for place, name in enumerate(SIGNAL_NAMES):
        noise = 0.35 if place < 3 else 0.55
        out[name] = round(_clip(0.9 * lean + rng.gauss(0.0, noise)), 4)
    return out


def generate(count=200, seed=20260314):
    """Yield ``count`` ticks. The same seed gives the same ticks."""
    rng = random.Random(seed)
    price, drift, mood = 100.0, 0.0, 0
    for index in range(count):
        if rng.random() < MOOD_SWING:
            mood = rng.choice((-1, 0, 1))
        drift = 0.8 * drift + 0.2 * mood * DRIFT
        price *= 1.0 + drift + rng.gauss(0.0, NOISE)
        volume = volume_at(index) * (1.0 + abs(drift) / DRIFT) * rng.uniform(0.7, 1.3)
        signals = _signals(rng, drift / DRIFT)
        if rng.random() < 0.15:  # a busy book: the feed sends the spread
            yield Tick(index, round(price, 4), round(volume, 4), signals, round(rng.uniform(0.0003, 0.0012), 5))
        else:
            yield Tick(index, round(price, 4), round(volume, 4), signals)
