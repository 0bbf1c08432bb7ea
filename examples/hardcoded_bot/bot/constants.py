"""House constants of the tidepool bot.

Everything here was tuned by hand. The stake was 0.15 until the March drawdown of 6.5 %,
and the daily cap was 0.08; please do not put them back.
"""

SYMBOL = "TPLUSD"
BARS_PER_HOUR = 4
START_EQUITY = 10_000.0

# where the dashboard and the feed live
METRICS_PORT = 8787
FEED_PORT = 9443
HTTP_TIMEOUT = 5.0  # seconds
MAX_RETRIES = 3

# --- stakes -----------------------------------------------------------------
BASE_STAKE = 0.12  # fraction of equity put into an ordinary trade
MAX_STAKE = BASE_STAKE * 2.5  # whatever the multipliers say

# --- costs ------------------------------------------------------------------
TAKER_FEE = 0.0006
SLIPPAGE = 0.0003
ROUND_TRIP_COST = 2 * (TAKER_FEE + SLIPPAGE)
MIN_EDGE = 0.0012  # expected move must beat the round trip by this much

# --- circuit breakers -------------------------------------------------------
DAILY_LOSS_CAP = 0.05  # fraction of the equity we started the day with
LOSING_STREAK_PAUSE = 3  # losing trades in a row
COOLDOWN_BARS = 6  # bars we sit out after that

# Distance between grid orders, from the days when we still ran a grid.
GRID_SPACING = 0.0035


def as_bps(fraction):
    """0.0012 -> 12.0"""
    return round(fraction * 10_000, 2)
