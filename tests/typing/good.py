"""What type checkers must accept, and infer, with the stub of the shipped store and ``kinds``. Never run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, assert_type, cast

import paramstore
import paramstore.errors
from paramstore import Evidence, ParamStore, ParamstoreError, params
from paramstore.errors import UnknownParamError, ValidationError
from paramstore.testing import BackendContract, memory_store

# --- reads: the type that the schema says --------------------------------------------------------------

assert_type(params.get("signal_weights.funding"), float)
assert_type(params.get("conviction_gate.min_trades"), int)
assert_type(params.get("kinds.text"), str)
assert_type(params.get("kinds.flag"), bool)
assert_type(params.get("kinds.mode"), Literal["fast", "slow"])
assert_type(params.get("kinds.level"), Literal[1, 2])
assert_type(params.get("kinds.pair"), tuple[float, str])
steps: list[float] = params.get("kinds.steps")
loose: list[Any] = params.get("kinds.loose")
table: dict[str, int] = params.get("kinds.table")
assert_type(params.get("kinds.inner.far"), int)
assert_type(params.get("kinds.ratio", venue="a", depth=3), float)
assert_type(params.get("signal_weights.funding", symbol="BTCUSDT", regime="trend"), float)
assert_type(params.get("signal_weights.funding", symbol=None), float)

# --- views ---------------------------------------------------------------------------------------------

btc = params.at(symbol="BTCUSDT")
assert_type(btc.get("signal_weights.funding"), float)
assert_type(btc.at(regime="chop").get("conviction_gate.min_trades", mode="paper"), int)
assert_type(btc.snapshot().get("kinds.flag"), bool)
with params.snapshot() as p:
    assert_type(p.get("signal_weights.funding"), float)
    assert_type(p["conviction_gate.min_trades"], int)
    assert_type(p.at(symbol="X").get("kinds.text"), str)
    assert_type(p.revision, int)
    assert_type(p.stamp(), dict[str, Any])
    assert_type(p.section("signal_weights")["funding"], float)
assert_type(params.as_of(0).get("kinds.count"), int)


class Gate:
    MIN_TRADES = params.live("conviction_gate.min_trades")
    MODE = params.live("kinds.mode")

    def passes(self, trades: int) -> bool:
        return trades >= self.MIN_TRADES


assert_type(Gate().MIN_TRADES, int)
assert_type(Gate.MIN_TRADES, int)
mode: Literal["fast", "slow"] = Gate().MODE


@dataclass(frozen=True)
class Sizes:
    fee_rate: float = params.live("conviction_gate.fee_rate")


# --- sections: mappings of text, and precise where a name is written out -------------------------------


def total(weights: Mapping[str, float]) -> float:
    return sum(weights.values())


def scaled(weights: dict[str, float], name: str) -> float:
    return weights[name] * 2


weights = params.section("signal_weights")
assert_type(weights["funding"], float)
assert_type(weights.get("funding"), float)
assert_type(weights.get("unknown", None), float | None)
assert_type(weights.copy(), dict[str, float])
total(weights)
total(dict(weights))
scaled(weights, "funding")
copied: dict[str, float] = dict(weights)
merged: dict[str, float] = {**weights, "new": 0.1}
doubled = {name: weight * 2 for name, weight in weights.items()}
assert_type(doubled, dict[str, float])
strongest = max(weights, key=weights.__getitem__)
assert_type(weights[strongest], float)  # a name that is known at run time only
json.dumps(weights)
gate = params.section("conviction_gate")
assert_type(gate["min_trades"], int)
assert_type(gate["score_tiers"]["ultra"]["threshold"], float)
tiers = params.section("conviction_gate.win_rate_tiers")
assert_type([tier["multiplier"] for tier in tiers.values()], list[float])
assert_type(params.section("kinds.inner")["near"], float)
assert_type(params.section("kinds.inner")[strongest], float | int)

# --- keys: what they give can be read with ---------------------------------------------------------------

for key in params.keys("signal_weights.*"):
    assert_type(params.get(key), float)
for every in params.keys():  # noqa: SIM118 - a store is no dictionary
    params.spec(every)
    params.get(every)

# --- writes ----------------------------------------------------------------------------------------------

with params.transaction(author="me", evidence=Evidence(samples=3), timeout_s=1.0) as tx:
    tx["signal_weights.funding"] *= 1.1
    tx["conviction_gate.min_trades"] += 1
    tx["conviction_gate.fee_rate"] = 0  # an int is a number
    tx["kinds.mode"] = "slow"
    tx["kinds.steps"] = [1, 2.5]
    tx["kinds.pair"] = (1, "a")
    tx["kinds.table"] = {"a": 1}
    for weight in params.keys("signal_weights.*"):
        tx[weight] *= 0.9
    tx.set("signal_weights.hurst", 0.1, "clamp", symbol="BTCUSDT", regime="trend")
    tx.set("kinds.count", 3, venue="a", depth=2)
    tx.remove("signal_weights.hurst", symbol="BTCUSDT")
    tx.propose("signal_weights", {"funding": 0.2}, on_violation="project")
    tx.propose("signal_weights", doubled)
    tx.propose("conviction_gate", {"score_tiers": {"ultra": {"threshold": 0.5}}, "min_trades": 3})
    tx.propose("", {"signal_weights.funding": 0.1, "kinds.text": "b"})
    assert_type(tx.get("signal_weights.funding", symbol="BTCUSDT"), float)
    assert_type(tx["kinds.flag"], bool)
assert_type(tx.commit_result.revision, int)

with params.override({"signal_weights.funding": 0.2, "conviction_gate.min_trades": 5, "kinds.mode": "slow"}):
    pass

# --- the past, and everything else as it is without a stub ------------------------------------------------

assert_type(params.explain("kinds.count", depth=1).value, Any)
assert_type(params.spec("kinds.count").unit, str)
assert_type([entry.author for entry in params.history("signal_weights.*")], list[str])
assert_type(params.revision, int)
assert_type(params.health.ok, bool)
params.rollback(3, author="me", keys="signal_weights.*")
params.freeze("signal_weights.*", author="me", reason="it loses money")
params.subscribe("signal_weights.*", print)
store: ParamStore = memory_store({})
assert_type(paramstore.__version__, str)
raised: type[ParamstoreError] = ValidationError
known: type[KeyError] = paramstore.errors.UnknownParamError


class Contract(BackendContract): ...


# --- a key that is known at run time only -----------------------------------------------------------------


def read(asked: ParamStore, name: str) -> object:
    try:
        return asked.get(name)
    except UnknownParamError:
        return None


read(params, "signal_weights.funding")  # the store of this stub is a store
cast(ParamStore, params).get("signal_weights." + strongest)
