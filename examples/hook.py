"""A learner's hook, called when a trade closes: three lines make its lesson a checked, journalled commit."""

from __future__ import annotations

from paramstore import params


def after_trade(edge_bps: float, samples: int) -> None:
    """Move a little weight from liquidation to funding, or back, by the sign of the edge that funding had."""
    step = 0.002 if edge_bps > 0 else -0.002
    evidence = {"samples": samples, "metric": "edge_bps", "after": edge_bps}
    with params.transaction(author="signal_weight_learner", reason="trade closed", evidence=evidence) as tx:
        tx["signal_weights.funding"] += step
        tx["signal_weights.liquidation"] -= step


if __name__ == "__main__":
    after_trade(edge_bps=1.9, samples=812)
    print(params.get("signal_weights.funding"))  # noqa: T201 - an example shows its result
