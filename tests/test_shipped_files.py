"""The shipped schemas and values: complete, valid for any validator, consistent, and easy to move.

Nothing here uses paramstore: a mistake in the package must not hide a mistake in its data. The
table ``SHIPPED`` is written by hand from the audited constants, not from the files.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
DIMENSIONS = {
    "mode": {"enum": ["paper", "live"]},
    "regime": {"enum": ["trend", "chop"]},
    "symbol": {"type": "string"},
}  # least specific first

SHIPPED: dict[str, dict[str, int | float]] = {
    "signal_weights": {
        "liquidation": 0.22,
        "funding": 0.16,
        "oi_velocity": 0.05,
        "whale_flow": 0.20,
        "ofi_momentum": 0.06,
        "fear_greed": 0.06,
        "hurst": 0.08,
        "lead_lag": 0.08,
        "volatility_skew": 0.05,
        "oi_divergence": 0.04,
    },
    "conviction_gate": {
        "score_tiers.ultra.threshold": 0.50,
        "score_tiers.ultra.multiplier": 2.0,
        "score_tiers.high.threshold": 0.35,
        "score_tiers.high.multiplier": 1.5,
        "score_tiers.medium.threshold": 0.20,
        "score_tiers.medium.multiplier": 1.2,
        "score_tiers.baseline.threshold": 0.10,
        "score_tiers.baseline.multiplier": 1.0,
        "score_tiers.low.threshold": 0.0,
        "score_tiers.low.multiplier": 0.6,
        "score_tiers.below.multiplier": 0.4,
        "win_rate_tiers.excellent.threshold": 0.55,
        "win_rate_tiers.excellent.multiplier": 1.3,
        "win_rate_tiers.good.threshold": 0.45,
        "win_rate_tiers.good.multiplier": 1.1,
        "win_rate_tiers.fair.threshold": 0.35,
        "win_rate_tiers.fair.multiplier": 0.8,
        "win_rate_tiers.poor.threshold": 0.25,
        "win_rate_tiers.poor.multiplier": 0.5,
        "win_rate_tiers.below.multiplier": 0.4,
        "fee_rate": 0.0008,
        "slippage": 0.0005,
        "min_edge": 0.002,
        "min_trades": 30,
        "size_multiplier.min": 0.4,
        "size_multiplier.max": 2.5,
    },
    "ensemble": {
        "weights.mtf": 0.35,
        "weights.volume": 0.20,
        "weights.momentum": 0.15,
        "weights.regime": 0.20,
        "weights.cost_hurdle": 0.10,
        "threshold": 0.35,
        "adaptive_threshold.min": 0.25,
        "adaptive_threshold.max": 0.50,
        "sensitivity": 0.03,
    },
    "predictive_flow": {
        "conviction.high.signals": 4,
        "conviction.high.confidence": 0.6,
        "conviction.high.multiplier": 1.5,
        "conviction.medium.signals": 3,
        "conviction.medium.confidence": 0.4,
        "conviction.medium.multiplier": 1.0,
        "conviction.low.signals": 2,
        "conviction.low.confidence": 0.3,
        "conviction.low.multiplier": 0.5,
    },
    "profit_engine": {
        "min_win_rate.symbol": 0.20,
        "min_win_rate.strategy": 0.20,
        "boost.win_rate": 0.60,
        "boost.multiplier": 1.3,
        "exposure_cap": 0.10,
        "order_cap": 0.20,
        "loss_cap.session": 0.02,
        "loss_cap.daily": 0.05,
        "losing_streak_pause": 5,
        "cooldown_min": 30,
    },
    "profit_discipline": {
        "min_win_rate": 0.40,
        "target_win_rate": 0.60,
        "min_projected_roi": 0.0025,
        "min_mtf_confidence": 0.50,
        "min_volume_boost": 1.25,
        "profit_lock.trigger": 0.005,
        "profit_lock.reduce": 0.25,
        "time_exits.first_h": 2.0,
        "time_exits.second_h": 4.0,
        "time_exits.third_h": 8.0,
        "max_hold_h": 12.0,
    },
    "win_rate": {
        "floor": 0.40,
        "low": 0.45,
        "middle": 0.50,
        "high": 0.55,
        "target": 0.60,
    },
}

# Costs are facts; caps, clamps and pauses are limits. A learner that moves its own limit has none.
MOVED_BY_PEOPLE = {
    "conviction_gate.fee_rate",
    "conviction_gate.slippage",
    "conviction_gate.min_edge",
    "conviction_gate.size_multiplier.min",
    "conviction_gate.size_multiplier.max",
    "ensemble.adaptive_threshold.min",
    "ensemble.adaptive_threshold.max",
    "profit_engine.exposure_cap",
    "profit_engine.order_cap",
    "profit_engine.loss_cap.session",
    "profit_engine.loss_cap.daily",
    "profit_engine.losing_streak_pause",
    "profit_engine.cooldown_min",
    "profit_discipline.max_hold_h",
}

SCORE, WINS, FLOW = "score_tiers", "win_rate_tiers", "conviction"
SCORES = ("ultra", "high", "medium", "baseline", "low")
RATES = ("excellent", "good", "fair", "poor")
LEVELS = ("high", "medium", "low")
CONSTRAINTS: dict[str, list[dict[str, Any]]] = {
    "signal_weights": [{"sum": ["*"], "equals": 1}],
    "conviction_gate": [
        {"descending": [f"{SCORE}.{tier}.threshold" for tier in SCORES], "strict": True},
        {"descending": [f"{SCORE}.{tier}.multiplier" for tier in (*SCORES, "below")], "strict": True},
        {"descending": [f"{WINS}.{tier}.threshold" for tier in RATES], "strict": True},
        {"descending": [f"{WINS}.{tier}.multiplier" for tier in (*RATES, "below")], "strict": True},
        {"ascending": ["size_multiplier.min", "size_multiplier.max"], "strict": True},
    ],
    "ensemble": [
        {"sum": ["weights.*"], "equals": 1},
        {"ascending": ["adaptive_threshold.min", "adaptive_threshold.max"], "strict": True},
        {"ascending": ["adaptive_threshold.min", "threshold", "adaptive_threshold.max"], "strict": False},
    ],
    "predictive_flow": [
        {"descending": [f"{FLOW}.{level}.signals" for level in LEVELS], "strict": True},
        {"descending": [f"{FLOW}.{level}.confidence" for level in LEVELS], "strict": True},
        {"descending": [f"{FLOW}.{level}.multiplier" for level in LEVELS], "strict": True},
    ],
    "profit_engine": [
        {"ascending": ["min_win_rate.symbol", "boost.win_rate"], "strict": True},
        {"ascending": ["min_win_rate.strategy", "boost.win_rate"], "strict": True},
        {"ascending": ["loss_cap.session", "loss_cap.daily"], "strict": False},
    ],
    "profit_discipline": [
        {"ascending": ["min_win_rate", "target_win_rate"], "strict": True},
        {"ascending": [f"time_exits.{nth}_h" for nth in ("first", "second", "third")], "strict": True},
        {"ascending": ["time_exits.third_h", "max_hold_h"], "strict": False},
    ],
    "win_rate": [{"ascending": ["floor", "low", "middle", "high", "target"], "strict": True}],
}


# --- reading the files ------------------------------------------------------------------------


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a JSON object that holds a name twice: ``json`` would silently keep the last."""
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), f"a name occurs twice in {names}"
    return dict(pairs)


def _schema(namespace: str) -> dict[str, Any]:
    text = (ROOT / "schemas" / f"{namespace}.schema.json").read_text(encoding="ascii")
    schema: dict[str, Any] = json.loads(text, object_pairs_hook=_no_twins)
    return schema


def _text(namespace: str) -> str:
    return (ROOT / "params" / f"{namespace}.yaml").read_bytes().decode("ascii")


def _parse(text: str) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return document


def _groups(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object schema from ``node`` down, with its dotted path."""
    yield path, node
    for name, child in node["properties"].items():
        if "x-param" not in child:
            yield from _groups(child, f"{path}.{name}" if path else name)


@cache
def _leaves(namespace: str) -> dict[str, dict[str, Any]]:
    """Return the schema of each parameter by its path below ``values``, in the order of the file."""

    def walk(group: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, child in group["properties"].items():
            if "x-param" in child:
                yield path + name, child
            else:
                yield from walk(child, f"{path}{name}.")

    return dict(walk(_schema(namespace)["properties"]["values"], ""))


def _flat(node: dict[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, child in node.items():
        here = f"{path}.{name}" if path else name
        flat |= _flat(child, here) if isinstance(child, dict) else {here: child}
    return flat


@cache
def _values(namespace: str) -> dict[str, Any]:
    return _flat(_parse(_text(namespace))["values"])


# --- judging constraints, independently of the package -----------------------------------------


def _match(pattern: str, key: str) -> bool:
    """Tell whether ``key`` fits; ``*`` stands within one segment, never across a dot."""
    wanted, given = pattern.split("."), key.split(".")
    return len(wanted) == len(given) and all(map(fnmatchcase, given, wanted))


def _members(constraint: dict[str, Any], keys: list[str]) -> list[str]:
    patterns = next(constraint[form] for form in ("sum", "ascending", "descending") if form in constraint)
    return [key for pattern in patterns for key in keys if _match(pattern, key)]


def _holds(constraint: dict[str, Any], values: dict[str, Any]) -> bool:
    members = [values[key] for key in _members(constraint, list(values))]
    if "sum" in constraint:
        total = math.fsum(members)
        low, high = constraint.get("minimum", -math.inf), constraint.get("maximum", math.inf)
        return bool(total == constraint.get("equals", total) and low <= total <= high)
    if "descending" in constraint:
        members.reverse()
    return all(a < b or (a == b and not constraint["strict"]) for a, b in pairwise(members))


def _broken(namespace: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for c in _schema(namespace)["properties"]["values"]["x-constraints"] if not _holds(c, values)]


Damage = tuple[str, dict[str, Any], dict[str, Any]]


def _damages() -> Iterator[Damage]:
    """Yield every smallest change that must break a constraint: namespace, constraint, values.

    A sum breaks when one member moves by its last digit. An order breaks when one member is put on
    its neighbour (strict), or one digit beyond it.
    """
    for namespace, constraints in CONSTRAINTS.items():
        values, leaves = _values(namespace), _leaves(namespace)
        for constraint in constraints:
            members = _members(constraint, list(values))
            if "sum" in constraint:
                for key in members:
                    digit = 10.0 ** -leaves[key]["x-param"]["decimals"]
                    yield namespace, constraint, values | {key: values[key] + digit}
                    yield namespace, constraint, values | {key: values[key] - digit}
                continue
            sign = 1 if "ascending" in constraint else -1
            for left, right in pairwise(members):
                digit = 10.0 ** -leaves[left]["x-param"]["decimals"]
                beyond = 0.0 if constraint["strict"] else digit
                yield namespace, constraint, values | {left: values[right] + sign * beyond}
                yield namespace, constraint, values | {right: values[left] - sign * beyond}


# --- what the tests run over --------------------------------------------------------------------

NAMESPACES = sorted(SHIPPED)
every_namespace = pytest.mark.parametrize("namespace", NAMESPACES)
every_leaf = pytest.mark.parametrize(
    ("namespace", "path"), [(ns, path) for ns in NAMESPACES for path in SHIPPED[ns]]
)


def test_the_shipped_set_is_exactly_the_seven_namespaces() -> None:
    assert sorted(p.name for p in (ROOT / "params").glob("*.yaml")) == [f"{ns}.yaml" for ns in NAMESPACES]
    assert sorted(p.name for p in (ROOT / "schemas").iterdir()) == [f"{ns}.schema.json" for ns in NAMESPACES]
    assert len(NAMESPACES) == 7


# --- schemas ------------------------------------------------------------------------------------


@every_namespace
def test_schema_is_valid_json_schema_2020_12(namespace: str) -> None:
    schema = _schema(namespace)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@every_namespace
def test_schema_has_the_frame_of_the_format(namespace: str) -> None:
    schema = _schema(namespace)
    values = schema["properties"]["values"]
    assert {**schema, "title": "", "description": "", "properties": {}} == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "",
        "description": "",
        "type": "object",
        "required": ["schema", "values"],
        "additionalProperties": False,
        "properties": {},
    }
    assert schema["title"] == namespace.replace("_", " ").capitalize()
    assert schema["description"].endswith(".")
    assert list(schema["properties"]) == ["schema", "values", "overrides"]
    assert schema["properties"]["schema"] == {"const": 1}
    assert set(values) == {"type", "additionalProperties", "properties", "x-constraints"}
    item = schema["properties"]["overrides"]["items"]
    assert item["required"] == ["at", "values"]
    assert item["additionalProperties"] is False
    assert item["properties"]["values"] == {"$ref": "#/properties/values"}


@every_namespace
def test_groups_refuse_unknown_names_and_allow_missing_ones(namespace: str) -> None:
    # An override names only what differs, so `required` inside `values` would make editors reject it.
    for path, group in _groups(_schema(namespace)["properties"]["values"]):
        assert group["type"] == "object", path
        assert group["additionalProperties"] is False, path
        assert "required" not in group, path


@every_namespace
def test_dimensions_are_the_same_everywhere_in_order(namespace: str) -> None:
    at = _schema(namespace)["properties"]["overrides"]["items"]["properties"]["at"]
    assert list(at["properties"].items()) == list(DIMENSIONS.items())
    assert at["minProperties"] == 1
    assert at["additionalProperties"] is False


@every_namespace
def test_parameters_are_the_audited_ones_in_order(namespace: str) -> None:
    assert list(_leaves(namespace)) == list(_values(namespace))
    assert set(_leaves(namespace)) == set(SHIPPED[namespace])


@every_namespace
def test_constraints_are_declared(namespace: str) -> None:
    assert _schema(namespace)["properties"]["values"]["x-constraints"] == CONSTRAINTS[namespace]


# --- one parameter ------------------------------------------------------------------------------


@every_leaf
def test_value_and_default_are_the_audited_value(namespace: str, path: str) -> None:
    expected, leaf, value = SHIPPED[namespace][path], _leaves(namespace)[path], _values(namespace)[path]
    kind = {"number": float, "integer": int}[leaf["type"]]
    assert (value, type(value)) == (expected, kind)
    assert (leaf["default"], type(leaf["default"])) == (expected, kind)
    assert type(expected) is kind


@every_leaf
def test_bounds_hold_the_default_with_room_on_both_sides(namespace: str, path: str) -> None:
    leaf = _leaves(namespace)[path]
    assert -math.inf < leaf["minimum"] < leaf["default"] < leaf["maximum"] < math.inf


@every_leaf
def test_parameter_is_described(namespace: str, path: str) -> None:
    leaf = _leaves(namespace)[path]
    assert set(leaf) == {"type", "minimum", "maximum", "default", "description", "x-param"}
    assert leaf["description"].endswith(".")
    assert leaf["description"].count(". ") == 0, "one sentence"
    spec = leaf["x-param"]
    assert spec["unit"]
    assert type(spec["learnable"]) is bool
    assert type(spec["decimals"]) is int
    assert (leaf["type"] == "integer") == (spec["decimals"] == 0)


@every_leaf
def test_decimals_keep_every_number_of_the_parameter(namespace: str, path: str) -> None:
    leaf = _leaves(namespace)[path]
    spec = leaf["x-param"]
    numbers = [leaf["minimum"], leaf["default"], leaf["maximum"], spec.get("max_step", 0)]
    assert [round(number, spec["decimals"]) for number in numbers] == numbers


@every_leaf
def test_only_people_move_costs_and_limits(namespace: str, path: str) -> None:
    spec = _leaves(namespace)[path]["x-param"]
    assert spec["learnable"] is (f"{namespace}.{path}" not in MOVED_BY_PEOPLE)
    if not spec["learnable"]:
        assert set(spec) == {"unit", "learnable", "decimals"}


@every_leaf
def test_learners_move_in_small_steps_and_never_get_stuck(namespace: str, path: str) -> None:
    leaf = _leaves(namespace)[path]
    spec = leaf["x-param"]
    if not spec["learnable"]:
        return
    digit = 10.0 ** -spec["decimals"]
    assert digit <= spec["max_step"] <= (leaf["maximum"] - leaf["minimum"]) / 2
    assert spec["cooldown_s"] > 0
    assert spec["min_samples"] > 0
    if "max_step_relative" in spec:
        # A relative step allows nothing at zero, and nothing where it is less than one digit.
        assert 0 < spec["max_step_relative"] < 1
        assert leaf["minimum"] * spec["max_step_relative"] >= digit


@every_leaf
def test_names_of_durations_carry_their_unit(namespace: str, path: str) -> None:
    unit = _leaves(namespace)[path]["x-param"]["unit"]
    assert path.endswith("_h") == (unit == "hours")
    assert path.endswith("_min") == (unit == "minutes")


@pytest.mark.parametrize("path", SHIPPED["signal_weights"])
def test_signal_weights_have_one_owner(path: str) -> None:
    assert _leaves("signal_weights")[path]["x-param"]["owner"] == "signal_weight_learner"


# --- values -------------------------------------------------------------------------------------


@every_namespace
def test_document_is_valid(namespace: str) -> None:
    document = _parse(_text(namespace))
    Draft202012Validator(_schema(namespace)).validate(document)
    assert list(document) == ["schema", "values"], "the shipped files carry no overrides"


@every_namespace
def test_document_names_its_schema_on_the_first_line(namespace: str) -> None:
    text = _text(namespace)
    first, rest = text.split("\n", 1)
    assert first == f"# yaml-language-server: $schema=../schemas/{namespace}.schema.json"
    assert rest.startswith("schema: 1\nvalues:\n")
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert all(line == line.rstrip() and "\t" not in line for line in text.split("\n"))


@every_leaf
def test_validators_notice_a_value_out_of_bounds(namespace: str, path: str) -> None:
    validator, leaf = Draft202012Validator(_schema(namespace)), _leaves(namespace)[path]
    digit = 1 if leaf["type"] == "integer" else 10.0 ** -leaf["x-param"]["decimals"]
    *groups, name = path.split(".")
    for bad in (leaf["minimum"] - digit, leaf["maximum"] + digit, "0.1", None):
        document = _parse(_text(namespace))
        node = document["values"]
        for group in groups:
            node = node[group]
        node[name] = bad
        assert [list(error.absolute_path) for error in validator.iter_errors(document)] == [
            ["values", *path.split(".")]
        ]


@pytest.mark.parametrize(
    ("override", "valid"),
    [
        ({"at": {"symbol": "BTCUSDT"}, "values": {"funding": 0.18}}, True),
        ({"at": {"mode": "live", "regime": "chop", "symbol": "BTCUSDT"}, "values": {"funding": 0.18}}, True),
        ({"at": {"symbol": "BTCUSDT"}, "values": {"fundng": 0.18}}, False),
        ({"at": {"symbol": "BTCUSDT"}, "values": {"funding": 0.9}}, False),
        ({"at": {"regime": "sideways"}, "values": {"funding": 0.18}}, False),
        ({"at": {"exchange": "X"}, "values": {"funding": 0.18}}, False),
        ({"at": {}, "values": {"funding": 0.18}}, False),
        ({"values": {"funding": 0.18}}, False),
    ],
)
def test_overrides_may_be_partial_but_not_misspelt(override: dict[str, Any], valid: bool) -> None:
    document = _parse(_text("signal_weights")) | {"overrides": [override]}
    assert Draft202012Validator(_schema("signal_weights")).is_valid(document) is valid


def test_the_commented_override_works_once_uncommented() -> None:
    head, example = _text("signal_weights").split("# overrides:\n")
    document = _parse(head + "overrides:\n" + "".join(line[2:] for line in example.splitlines(keepends=True)))
    Draft202012Validator(_schema("signal_weights")).validate(document)
    (override,) = document["overrides"]
    assert override["values"]
    assert _broken("signal_weights", document["values"] | override["values"]) == []


# --- constraints --------------------------------------------------------------------------------


@every_namespace
def test_values_keep_every_constraint(namespace: str) -> None:
    assert _broken(namespace, _values(namespace)) == []


@pytest.mark.parametrize(("namespace", "group"), [("signal_weights", ""), ("ensemble", "weights.")])
def test_weights_sum_to_exactly_one(namespace: str, group: str) -> None:
    weights = [value for path, value in _values(namespace).items() if path.startswith(group)]
    assert math.fsum(weights) == 1


@every_namespace
def test_constraints_name_parameters_that_exist(namespace: str) -> None:
    keys = list(_leaves(namespace))
    for constraint in CONSTRAINTS[namespace]:
        members = _members(constraint, keys)
        assert len(members) >= 2
        assert len(set(members)) == len(members)
        if "sum" not in constraint:
            assert members == (constraint.get("ascending") or constraint["descending"])


@every_namespace
def test_bounds_leave_room_to_keep_the_sum(namespace: str) -> None:
    leaves = _leaves(namespace)
    for constraint in CONSTRAINTS[namespace]:
        if "sum" in constraint:
            members = [leaves[key] for key in _members(constraint, list(leaves))]
            assert math.fsum(leaf["minimum"] for leaf in members) < 1
            assert math.fsum(leaf["maximum"] for leaf in members) > 1


def _damage_name(damage: Damage) -> str:
    namespace, constraint, values = damage
    before = _values(namespace)
    (key,) = (key for key in values if values[key] != before[key])
    return f"{namespace}.{key}-{next(iter(constraint))}-{values[key]:.6g}"


@pytest.mark.parametrize("damage", list(_damages()), ids=_damage_name)
def test_the_smallest_violation_is_noticed(damage: Damage) -> None:
    namespace, constraint, values = damage
    assert constraint in _broken(namespace, values)


EVALUATION: list[tuple[dict[str, Any], Callable[[float], dict[str, Any]], float, float]] = [
    ({"sum": ["g.*"], "maximum": 1}, lambda x: {"g.a": x, "g.b": 0.5, "other": 9}, 0.5, 0.51),
    ({"sum": ["g.*"], "minimum": 1}, lambda x: {"g.a": x, "g.b": 0.5, "g.deep.c": 9}, 0.5, 0.49),
    ({"ascending": ["a", "b"], "strict": True}, lambda x: {"a": x, "b": 1}, 0.9, 1),
    ({"ascending": ["a", "b"], "strict": False}, lambda x: {"a": x, "b": 1}, 1, 1.1),
    ({"descending": ["a", "b"], "strict": True}, lambda x: {"a": x, "b": 1}, 1.1, 1),
    ({"descending": ["a", "b"], "strict": False}, lambda x: {"a": x, "b": 1}, 1, 0.9),
]


@pytest.mark.parametrize(("constraint", "values", "good", "bad"), EVALUATION)
def test_the_evaluation_used_here_is_right(
    constraint: dict[str, Any], values: Callable[[float], dict[str, Any]], good: float, bad: float
) -> None:
    assert _holds(constraint, values(good))
    assert not _holds(constraint, values(bad))


def test_a_wheel_takes_exactly_the_shipped_files() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    files = [*ROOT.glob("params/*.yaml"), *ROOT.glob("schemas/*.json")]
    named = {str(file.relative_to(ROOT)) for file in files}
    assert build["force-include"] == {name: f"paramstore/_shipped/{name}" for name in named}
