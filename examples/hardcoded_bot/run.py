"""Play one simulated session and print what came of it.

    python3.11 run.py [--ticks 200] [--seed 20260314] [--learned weights.json] [--cautious]
"""

import argparse
import hashlib
import json

from bot import stats
from bot.constants import ROUND_TRIP_COST, START_EQUITY, SYMBOL, as_bps
from bot.engine import EngineConfig, run_session


def fingerprint(journal):
    """A short hash of every closed trade, to see at a glance whether two sessions were the same."""
    return hashlib.sha256(json.dumps(journal, sort_keys=True).encode()).hexdigest()[:16]


def summary(session):
    """Return the lines of the summary."""
    pnl = session.equity - START_EQUITY
    wins = [t["pnl"] for t in session.journal if t["pnl"] > 0]
    losses = [-t["pnl"] for t in session.journal if t["pnl"] <= 0]
    payoff = (sum(wins) / len(wins)) / (sum(losses) / len(losses)) if wins and losses else 1.0
    reasons = {}
    for trade in session.journal:
        reasons[trade["reason"]] = reasons.get(trade["reason"], 0) + 1
    return [
        f"{SYMBOL}: {len(session.prices)} bars, last price {session.prices[-1]:.2f}",
        stats.describe(session.trades) + f", grade {session.trades.grade()}",
        f"equity {session.equity:.2f} ({pnl:+.2f}, {as_bps(pnl / START_EQUITY):+.1f} bps), fees {session.broker.paid:.2f}",
        f"round trip {as_bps(ROUND_TRIP_COST):.1f} bps; {session.risk.describe()}",
        f"payoff {payoff:.2f}, quality {stats.quality(session.trades.win_rate(), payoff):+.2f}",
        "exits: " + ", ".join(f"{name} {count}" for name, count in sorted(reasons.items())),
        f"journal {fingerprint(session.journal)}",
    ]


def main(argv=None):
    parser = argparse.ArgumentParser(description="Play one simulated session.")
    parser.add_argument("--ticks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20260314)
    parser.add_argument("--learned", help="JSON file of learned signal weights")
    parser.add_argument("--cautious", action="store_true")
    args = parser.parse_args(argv)
    session = run_session(args.ticks, args.seed, EngineConfig(cautious=args.cautious), args.learned)
    print("\n".join(summary(session)))


if __name__ == "__main__":
    main()
