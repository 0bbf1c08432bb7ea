"""What our closed trades say about us. Rates are fractions (0.38 = 38 %), ≥ means "at or above"."""

import logging

log = logging.getLogger(__name__)

MIN_TRADES = 6  # with fewer, the rates mean nothing
MIN_WR = 0.38  # below it we wait for better weather
HOT_WR = 0.58
WINDOW = 12


class TradeLog:
    """The closed trades of a session, oldest first."""

    def __init__(self):
        self.trades = []

    def add(self, record):
        self.trades.append(record)

    def win_rate(self, prior=0.5):
        """Win rate of the last trades; ``prior`` until there are enough."""
        recent = self.trades[-WINDOW:]
        if len(recent) < MIN_TRADES:
            return prior
        return sum(1 for t in recent if t["pnl"] > 0) / len(recent)

    def streak(self):
        """Wins in a row as a positive number, losses as a negative one."""
        run = 0
        for trade in reversed(self.trades):
            sign = 1 if trade["pnl"] > 0 else -1
            if run * sign < 0:
                break
            run += sign
        return run

    def pnl(self):
        return sum(t["pnl"] for t in self.trades)

    def gate(self):
        """May we open anything at all? Never stops the bot for a bug in the statistics."""
        try:
            rate = self.win_rate()
            if len(self.trades) >= MIN_TRADES and rate < MIN_WR:
                log.info(f"win rate {rate:.2f} is below the min win rate {MIN_WR:.2f}, next look in 4 bars")
                return False
            if self.streak() <= -5:
                return False
        except Exception:
            pass
        return True

    def grade(self):
        """A school grade for the summary."""
        rate = self.win_rate()
        if rate >= HOT_WR:
            return "A"
        return "B" if rate >= 0.5 else "C" if rate >= MIN_WR else "D"


def describe(trades):
    """One line for the log and the summary."""
    count, rate = len(trades.trades), trades.win_rate()
    return f"{count} trades, win rate {rate:.2f} (min win rate {MIN_WR:.2f}), streak {trades.streak():+d}"


def quality(win_rate, payoff):
    """Expected gain in units of the average loss, halved when the sample flatters us."""
    try:
        edge = win_rate * payoff - (1 - win_rate)
        if win_rate > HOT_WR + 0.15:
            edge *= 0.5
        return round(edge, 4)
    except Exception:
        return 0.0
