"""Signal weights that the nightly job has learned. Until it has run, the defaults."""

import json
import logging

log = logging.getLogger(__name__)

# Same as in signals.py. Keep them the same.
DEFAULT_WEIGHTS = {
    "momentum": 0.18, "book_imbalance": 0.14, "funding": 0.12, "basis": 0.08, "open_interest": 0.10,
    "liquidations": 0.12, "whale_prints": 0.09, "sentiment": 0.05, "skew": 0.05, "lead_lag": 0.07,
}

WEIGHTS = DEFAULT_WEIGHTS.copy()

STEP = 0.004  # how far one trade moves one weight
FLOOR = 0.02  # no signal is ever switched off
CEILING = 0.30


def load_learned(path):
    """Replace the weights by those in a JSON file. False (and no change) if it is not usable."""
    try:
        with open(path, encoding="utf-8") as f:
            learned = json.load(f)
    except (OSError, ValueError):
        log.warning("no learned weights at %s, keeping momentum at 0.18 and the rest", path)
        return False
    for name, weight in learned.items():
        if name in WEIGHTS:
            WEIGHTS[name] = max(FLOOR, min(CEILING, float(weight)))
    _normalise()
    return True


def forget():
    WEIGHTS.update(DEFAULT_WEIGHTS)


def score(signals):
    return sum(WEIGHTS[name] * signals.get(name, 0.0) for name in WEIGHTS)


def learn(signals, side, won):
    """After a trade: weight to the signals that were right, from those that were wrong."""
    for name, strength in signals.items():
        if name not in WEIGHTS or abs(strength) < 0.2:
            continue
        right = (strength * side > 0) == won
        WEIGHTS[name] += STEP if right else -STEP
        WEIGHTS[name] = max(FLOOR, min(CEILING, WEIGHTS[name]))
    _normalise()


def blend(hand, learned, params):
    """Mix the hand-made score with the learned one; ``params`` comes from the session's config."""
    a = params.get("a", 0.5)
    mixed = a * hand + (1 - a) * learned
    if hand * learned < 0:
        mixed *= 0.6  # they disagree on the side
    return mixed


def _normalise():
    total = sum(WEIGHTS.values())
    for name in WEIGHTS:
        WEIGHTS[name] /= total
