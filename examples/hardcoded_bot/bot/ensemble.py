"""Five voters, one verdict, and a threshold that moves with the market."""

import logging
from collections import deque

log = logging.getLogger(__name__)

# Verdicts at or above this are traded (regime.py has a threshold of its own, for trends).
THRESHOLD = 0.36

# How far the threshold moves per standard deviation of the recent verdicts.
SENSITIVITY = 0.05

# Shares of the verdict, and what we have seen so far.
ENSEMBLE = {
    "mtf": 0.30,
    "signals": 0.35,
    "volume": 0.10,
    "momentum": 0.15,
    "regime": 0.10,
    "history": deque(maxlen=50),
    "last_shift": 0.0,
}
VOTERS = ("mtf", "signals", "volume", "momentum", "regime")


def set_sensitivity(value):
    """Called by the session when it wants the threshold livelier, or calmer."""
    global SENSITIVITY
    SENSITIVITY = value


def reset():
    ENSEMBLE["history"].clear()
    ENSEMBLE["last_shift"] = 0.0


def verdict(votes):
    """Weighted sum of the votes, in [-1, 1]. A missing voter abstains."""
    return sum(ENSEMBLE[voter] * votes.get(voter, 0.0) for voter in VOTERS)


def threshold():
    """Today's threshold: higher when verdicts run high, but always between 0.25 and 0.50."""
    history = list(ENSEMBLE["history"])
    if len(history) < 10:
        return THRESHOLD
    mean = sum(history) / len(history)
    spread = (sum((h - mean) ** 2 for h in history) / len(history)) ** 0.5
    recent = sum(history[-5:]) / 5
    shift = SENSITIVITY * (recent - mean) / spread if spread > 0.0001 else 0.0
    ENSEMBLE["last_shift"] = shift
    return max(0.25, min(0.50, THRESHOLD + shift))


def decide(votes):
    """Return (side, verdict): side is 1, -1, or 0 for staying out."""
    bar = threshold()
    value = verdict(votes)
    ENSEMBLE["history"].append(abs(value))
    if votes.get("mtf", 0.0) * value < 0:
        value *= 0.7  # against the higher time frames
    if abs(value) < bar:
        log.debug("verdict %.3f below %.3f (base 0.36), staying out", value, bar)
        return 0, value
    return (1 if value > 0 else -1), value
