"""What type checkers must refuse: an error on every line that says so, and on no other. Never run."""

from __future__ import annotations

from dataclasses import dataclass

from paramstore import ParamStore, params
from paramstore.errors import NoSuchError  # noqa: F401  # error

# --- keys ------------------------------------------------------------------------------------------------

params.get("signal_weights.fundng")  # error
params.get("signal_weights")  # error
params.live("conviction_gate.min_trade")  # error
params.spec("signal_weights.fundng")  # error
params.explain("signal_weights.fundng")  # error
params.section("signal_weight")  # error
params.section("signal_weights.funding")  # error
params.snapshot().get("signal_weights.fundng")  # error
params.snapshot()["signal_weights.fundng"]  # error
params.at(symbol="X").get("signal_weights.fundng")  # error
params.as_of(3).get("signal_weights.fundng")  # error


def read(name: str) -> float:
    return params.get(name)  # error


# --- what is read ------------------------------------------------------------------------------------------

text: str = params.get("signal_weights.funding")  # error
count: int = params.get("signal_weights.funding")  # error
mode_text: bool = params.get("kinds.mode")  # error
params.get("kinds.count").upper()  # error
params.get("signal_weights.funding", 0.2)  # error
for key in params.keys("signal_weights.*"):
    number: int = params.get(key)  # error


class Gate:
    MIN_TRADES = params.live("conviction_gate.min_trades")


named: str = Gate().MIN_TRADES  # error


@dataclass
class Sizes:
    fee_rate: str = params.live("conviction_gate.fee_rate")  # error


# --- contexts ------------------------------------------------------------------------------------------------

params.get("signal_weights.funding", symbl="x")  # error
params.get("signal_weights.funding", symbol=3)  # error
params.get("signal_weights.funding", regime="trendy")  # error
params.get("kinds.count", depth="deep")  # error
params.at(symbl="x")  # error
params.at(regime="trendy")  # error
params.snapshot().at(regime="trendy")  # error
params.snapshot().get("signal_weights.funding", symbol="X")  # error
params.explain("signal_weights.funding", regime="trendy")  # error

# --- sections ------------------------------------------------------------------------------------------------

weights = params.section("signal_weights")
weights["funding"] = 0.2  # error
weights.update({"funding": 0.2})  # error
del weights["funding"]  # error
weights["funding"].upper()  # error
tier: int = params.section("conviction_gate.score_tiers")["ultra"]["threshold"]  # error
params.get("kinds.steps").append(1.0)  # error
params.get("kinds.table")["a"] = 1  # error

# --- writes --------------------------------------------------------------------------------------------------

with params.transaction(author="me") as tx:
    tx["signal_weights.funding"] = "a"  # error
    tx["signal_weights.fundng"] = 0.1  # error
    tx["conviction_gate.min_trades"] = 1.5  # error
    tx["conviction_gate.min_trades"] *= 1.5  # error
    tx["kinds.mode"] = "medium"  # error
    tx["kinds.level"] = 3  # error
    tx["kinds.steps"] = ["a"]  # error
    tx.get("signal_weights.fundng")  # error
    tx.get("signal_weights.funding", regime="trendy")  # error
    tx.set("signal_weights.funding", "a")  # error
    tx.set("signal_weights.funding", 0.1, "bend")  # error
    tx.set("signal_weights.funding", 0.1, venue="a")  # error
    tx.set("signal_weights.funding", 0.1, symbol=None)  # error
    tx.set("kinds.count", 3, symbol="X")  # error
    tx.remove("signal_weights.fundng")  # error
    tx.remove("signal_weights.funding", depth=1)  # error
    tx.propose("signal_weight", {"funding": 0.2})  # error
    tx.propose("signal_weights", {"funding": "a"})  # error
    tx.propose("signal_weights", {"funding": 0.2}, on_violation="bend")  # error
    tx.propose("kinds.inner", {"far": "a"})  # error
params.transaction(reason="no author")  # error

with params.override({"signal_weights.fundng": 0.2}):  # error
    pass
with params.override({"signal_weights.funding": "a"}):  # error
    pass

# --- everything else stays as strict as it was ------------------------------------------------------------------

params.freeze("*", author="me")  # error
params.no_such_method()  # error
ParamStore(3)  # error
