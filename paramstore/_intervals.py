"""Means, win rates and the intervals of their differences. Pure: numbers in, numbers out.

Sources: Wilson (1927), J. Am. Stat. Assoc. 22, 209; Welch (1947), Biometrika 34, 28; Newcombe (1998), Statistics in
Medicine 17, 873, method 10. A level is the probability that an interval holds the true value, such as 0.95.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

Interval = tuple[float, float]

POWER = 0.8  # the chance to see a difference that is there, for which outcomes are asked
MANY_FREE = 1000  # degrees of freedom from where the expansion of t is exact to 1e-9
STANDARD = NormalDist()


@dataclass(slots=True)
class Tally:
    """All that the figures need of any number of outcomes. ``squares`` is the sum of squared deviations from the
    mean (Welford 1962; merged as Chan, Golub and LeVeque 1979), a win a metric above zero."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    wins: int = 0

    def add(self, value: float) -> None:
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)
        self.wins += value > 0

    def merge(self, other: Tally) -> None:
        total = self.count + other.count
        if not other.count:
            return
        delta = other.mean - self.mean
        self.squares += other.squares + delta * delta * self.count / total * other.count
        self.mean += delta * other.count / total
        self.count, self.wins = total, self.wins + other.wins

    @property
    def variance(self) -> float:
        """The unbiased one; needs two outcomes."""
        return self.squares / (self.count - 1)

    @property
    def deviation(self) -> float | None:
        return math.sqrt(self.variance) if self.count > 1 else None

    @property
    def win_rate(self) -> float | None:
        return self.wins / self.count if self.count else None


def t_quantile(level: float, freedom: float) -> float:
    """Return the t that Student's distribution keeps within ±t with probability ``level``."""
    tail = (1 - level) / 2
    if freedom >= MANY_FREE:
        return _expanded(-STANDARD.inv_cdf(tail), freedom)
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > tail:
        low, high = high, high * 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if t_tail(middle, freedom) > tail else (low, middle)
    return high


def t_tail(t: float, freedom: float) -> float:
    """Return the chance that Student's t is above ``t`` > 0: half of I_x(freedom/2, 1/2), x = freedom/(freedom + t²)."""
    a, b, total = freedom / 2, 0.5, freedom + t * t
    x, y = freedom / total, t * t / total
    log = a * math.log(x) + b * math.log(y) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log) * _fraction(a, b, x) / a / 2
    return (1 - math.exp(log) * _fraction(b, a, y) / b) / 2


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's method."""
    value = c = 1.0
    d = 0.0
    for step in range(1, 2000):
        m = step // 2
        term = -(a + m) * (a + b + m) if step % 2 else m * (b - m)
        term *= x / ((a + step - 1) * (a + step))
        d = 1 / (1 + term * d)
        c = 1 + term / c
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return 1 / value


def _expanded(z: float, freedom: float) -> float:
    """The t of a normal quantile for many degrees of freedom (Abramowitz and Stegun 26.7.5)."""
    s = z * z
    g1 = z * (s + 1) / 4
    g2 = z * ((5 * s + 16) * s + 3) / 96
    g3 = z * (((3 * s + 19) * s + 17) * s - 15) / 384
    g4 = z * ((((79 * s + 776) * s + 1482) * s - 1920) * s - 945) / 92160
    return z + (g1 + (g2 + (g3 + g4 / freedom) / freedom) / freedom) / freedom


def wilson(wins: int, count: int, level: float) -> Interval:
    """Return the score interval of a rate. ``count`` is at least 1."""
    z = -STANDARD.inv_cdf((1 - level) / 2)
    rate, weight = wins / count, z * z / count
    middle = (rate + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(rate * (1 - rate) / count + weight / (4 * count))
    return (0.0 if wins == 0 else middle - reach), (1.0 if wins == count else middle + reach)


def newcombe(before: Tally, after: Tally, level: float) -> Interval:
    """Return the interval of the difference of two win rates, made of each one's Wilson interval."""
    p, q = before.wins / before.count, after.wins / after.count
    (p_low, p_high), (q_low, q_high) = (wilson(side.wins, side.count, level) for side in (before, after))
    return q - p - math.hypot(q - q_low, p_high - p), q - p + math.hypot(q_high - q, p - p_low)


def welch(before: Tally, after: Tally, level: float) -> Interval:
    """Return the interval of the difference of two means with unequal variances. Each side has two outcomes or more."""
    difference = after.mean - before.mean
    parts = [side.variance / side.count for side in (before, after)]
    error = sum(parts)
    if error == 0:
        return difference, difference
    shares = [
        (part / error) ** 2 / (side.count - 1) for part, side in zip(parts, (before, after), strict=True)
    ]
    reach = t_quantile(level, 1 / sum(shares)) * math.sqrt(error)
    return difference - reach, difference + reach


def needed(before: Tally, after: Tally, level: float) -> int | None:
    """Return how many outcomes per side show a difference of the size seen with 80 % power (normal approximation,
    rounded up to two digits); ``None`` where there is no difference to speak of: over 10⁹."""
    difference = abs(after.mean - before.mean)
    z = STANDARD.inv_cdf(POWER) - STANDARD.inv_cdf((1 - level) / 2)
    reach = z * math.sqrt(before.variance + after.variance)
    if reach >= difference * 3e4:
        return None
    count = max(2, math.ceil((reach / difference) ** 2))
    unit = 10 ** max(0, len(str(count)) - 2)
    return int(-(-count // unit) * unit)
