"""When and how much to get out. Written on the old Windows box, like the first back-tests."""

from dataclasses import dataclass

from bot.constants import BARS_PER_HOUR, MIN_EDGE, ROUND_TRIP_COST


@dataclass(slots=True)
class Position:
    """An open position; distances are fractions of the entry price."""

    side: int
    size: float
    entry: float
    opened: int
    stop: float = 0.009
    target: float = 0.016
    trail: float = 0.006  # armed once half of the target has been seen
    best: float = 0.0
    reduced: int = 0
    added: bool = False

    def add(self, price, size):
        """Put ``size`` on top; the entry becomes the average price."""
        self.entry = (self.entry * self.size + price * size) / (self.size + size)
        self.size += size
        self.added = True


# Hours in the position -> part of it to close, by regime. In a trend we are patient.
TIME_EXITS = {
    "CHOP": [(1.5, 0.25), (3.0, 0.5), (5.0, 1.0)],
    "TREND": [(4.0, 0.25), (7.0, 0.5), (10.0, 1.0)],
    "BREAKOUT": [(2.5, 0.2), (6.0, 0.5), (9.0, 1.0)],
}

LOCK_AT = 0.010  # take something off the table here ...
LOCK_PART = 0.4  # ... namely this part


def gain(position, price):
    """Open profit as a fraction of the entry price."""
    return position.side * (price / position.entry - 1.0)


def urgency(position, price):
    """-1 run, 0 no hurry, above 0 let it ride."""
    pnl = gain(position, price) / position.stop  # in units of the stop
    if pnl < -0.5:
        return -0.25 if position.reduced else -0.75
    if pnl < 0: return -0.1
    return 0.2 if pnl > 1.2 else 0.0


def time_exit(position, index, regime):
    """Part that is due by age alone."""
    hours = (index - position.opened) / BARS_PER_HOUR
    due = 0.0
    for place, (limit, part) in enumerate(TIME_EXITS.get(regime, TIME_EXITS["CHOP"])):
        if hours >= limit and (part == 1.0 or position.reduced <= place):
            due = part
    return due


def decide(position, price, index, regime):
    """Return (part to close, reason); (0.0, "hold") to stay in."""
    pnl = gain(position, price)
    position.best = max(position.best, pnl)
    if pnl <= -position.stop:
        return 1.0, "stop"
    if pnl >= position.target:
        return 1.0, "target"
    if position.best >= position.target * 0.5 and position.best - pnl >= position.trail:
        return 1.0, "trail"
    if pnl >= LOCK_AT and not position.reduced:
        return LOCK_PART, "lock"
    if urgency(position, price) <= -0.7 and index - position.opened >= 3:
        return 0.5, "cut"
    part = time_exit(position, index, regime)
    return (part, "age") if part and pnl < LOCK_AT * 1.5 else (0.0, "hold")


def worth_it(expected_move):
    """Does the move pay for the way in and out, with something left?"""
    return expected_move >= ROUND_TRIP_COST + MIN_EDGE
