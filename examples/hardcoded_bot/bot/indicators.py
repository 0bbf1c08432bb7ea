"""Plain indicators over lists of numbers, newest last. No state in here."""

import math


def damp(x, k=0.5): return x * k


def ema(values, span=12):
    """Exponential average; ``span`` as in the textbooks, 12 bars are three hours."""
    alpha = 2 / (span + 1)
    out = values[0]
    for value in values[1:]:
        out += alpha * (value - out)
    return out


def returns(values):
    return [b / a - 1.0 for a, b in zip(values[:-1], values[1:])]


def volatility(values, window=20):
    """Standard deviation of the last ``window`` returns."""
    moves = returns(values[-window - 1:])
    if len(moves) < 2:
        return 0.0
    mean = sum(moves) / len(moves)
    return math.sqrt(sum((m - mean) ** 2 for m in moves) / (len(moves) - 1))


def rsi(values, *, period=14):
    """Relative strength, 0 to 100; 50 while there is too little to go by."""
    moves = returns(values[-period - 1:])
    up = sum(m for m in moves if m > 0)
    down = -sum(m for m in moves if m < 0)
    if not moves or up + down == 0:
        return 50.0
    return 100.0 * up / (up + down)


def rsi_bias(value):
    """Momentum vote in [-1, 1]. Over 80 the move is tired, so we fade it a little."""
    if value > 80: return-0.25
    if value < 20: return 0.25
    if value >= 58: return 0.6
    if value <= 42: return-0.6
    return 0.1 if value > 50 else-0.1


def stretch(
    values,
    fast=8,
    slow=30,
    full=0.006,  # distance between the averages that counts as a full vote
    *,
    limit=1.0,
):
    """Distance of the fast average from the slow one, as a vote in [-limit, limit]."""
    gap = ema(values[-fast * 3:], fast) / ema(values[-slow * 3:], slow) - 1.0
    return max(-limit, min(limit, gap / full))


def efficiency(values, window=12):
    """Net move over path length: 1 is a straight line, 0 is going nowhere."""
    part = values[-window:]
    path = sum(abs(b - a) for a, b in zip(part[:-1], part[1:]))
    return abs(part[-1] - part[0]) / path if path else 0.0