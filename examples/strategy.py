"""A strategy that reads its parameters live: no restart, no reload, and each decision on one revision."""

from __future__ import annotations

from paramstore import params


def decide(signals: dict[str, float], symbol: str) -> dict[str, object]:
    """Return the decision on ``signals`` (strength by name), stamped with the revision it was made with."""
    with params.at(symbol=symbol).snapshot() as p:
        weights = p.section("signal_weights")
        score = sum(weights[name] * strength for name, strength in signals.items())
        trade = score >= p.get("conviction_gate.score_tiers.medium.threshold")
        return {"symbol": symbol, "trade": trade, **p.stamp()}


if __name__ == "__main__":
    print(decide({"funding": 0.9, "liquidation": 0.8}, symbol="BTCUSDT"))  # noqa: T201
