"""A hook for after each closed trade: three lines turn what the latest trades teach into a bounded, evidenced proposal.

The bot keeps its latest trades, in memory say, each with the revision that it was decided with:

    TRADES: deque[Trade] = deque(maxlen=5000)
    ...
    TRADES.append(Trade(signals, return_bps, decision["params_revision"]))  # decision = p.stamp() at the entry
    after_trade(TRADES)

Being refused is normal here. Where trades close faster than the weights may change (``cooldown_s``), most calls come
too early; the journal has the refusal, and no trade is lost to it: it teaches with the next call that is let through.
The journal keeps at most 60 refusals an hour, of about 1 kB each here; call the hook for each tenth trade, say, where
that is too much. With too few trades (``min_samples``) nothing is proposed, and nothing written. What is no refusal
(a lock that is never free, a full disk) is raised: the bot shall hear of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from signal_weight_learner import AUTHOR, GROUP, Trade, fresh, lesson

from paramstore import ParamStore, params
from paramstore.errors import ValidationError


def after_trade(trades: Iterable[Trade], store: ParamStore = params) -> None:
    """Propose what those of ``trades`` teach that were decided since the weights last changed."""
    _, weights, evidence = lesson(fresh(trades, store), store)
    with suppress(ValidationError), store.transaction(author=AUTHOR, reason="trade", evidence=evidence) as tx:
        tx.propose(GROUP, weights, on_violation="project")
