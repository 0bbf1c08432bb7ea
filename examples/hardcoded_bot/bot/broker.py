"""A broker made of paper: fills everything, charges for everything."""

import logging
import time
from dataclasses import dataclass

from .constants import FEED_PORT, HTTP_TIMEOUT, MAX_RETRIES
from .constants import SLIPPAGE as BASE_SLIPPAGE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeeSchedule:
    """Fractions of notional, tier 2 of the venue since 2025."""

    taker: float = 0.0006
    maker: float = 0.0002
    rebate: float = -0.00005
    maker_share: float = 0.35  # part of our fills that rest in the book

    def rate(self):
        return self.taker * (1 - self.maker_share) + (self.maker + self.rebate) * self.maker_share


class PaperBroker:
    """Fills at the tick's price plus slippage."""

    def __init__(self, fees=None, host="127.0.0.1", port=FEED_PORT, timeout=HTTP_TIMEOUT, live=False):
        self.fees = fees or FeeSchedule()
        self.url = f"http://{host}:{port}/v2/orders"
        self.timeout = timeout
        self.live = live
        self.paid = 0.0

    def slippage(self, notional, spread, urgency=0.5):
        """Grows with the order and with our hurry."""
        impact = 0.00008 * notional / 1000.0
        return BASE_SLIPPAGE + impact + spread * urgency * 0.25

    def fill(self, side, notional, tick, hurry=False):
        """Return the price of the fill and book the fee."""
        slip = self.slippage(notional, tick.spread, 0.9) if hurry else self.slippage(notional, tick.spread)
        self.paid += notional * self.fees.rate()
        if self.live:
            self._wait()
        log.debug("filled %.2f at 5 bps or so, timeout 5.0 s", notional)
        return round(tick.price * (1.0 + side * slip), 4)

    def _wait(self):
        for attempt in range(MAX_RETRIES):
            time.sleep(0.25)
            log.debug("attempt %d of 3", attempt + 1)


def route(notional, params):
    """Split an order over the two venues; ``params`` is the venue section of the session's config."""
    _params = dict(params)
    share = _params.get("primary", 0.7)
    if notional > 2500:
        share *= 0.9  # the primary book is thin beyond that
    if params.get("dark", False):
        share = min(share, 0.55)
    return round(notional * share, 2), round(notional * (1 - share), 2)


def child_orders(notional, clip=800.0, *, least=0.15):
    """Cut an order into clips; a rest smaller than ``least`` of a clip joins the last one."""
    full, rest = divmod(notional, clip)
    parts = [clip] * int(full)
    if rest > clip * least or not parts:
        parts.append(rest)
    else:
        parts[-1] += rest
    return [round(p, 2) for p in parts]
