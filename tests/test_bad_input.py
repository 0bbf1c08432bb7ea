"""Whatever is wrong with the input: a typed error that says what to do, or the last good values served on."""

from __future__ import annotations

import copy
import enum
import json
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from local_store import age, number, schema, write, write_store

from paramstore import ParamStore
from paramstore.errors import (
    ContextError,
    DocumentError,
    InvalidFileError,
    JournalError,
    ParamstoreError,
    SchemaError,
    StoreNotFoundError,
    UnknownParamError,
    ValidationError,
    WriteError,
)

REPOSITORY = Path(__file__).resolve().parents[1]
RISK = schema(
    {
        "fraction": {**number(0.1, maximum=0.25), "x-param": {"unit": "fraction of equity"}},
        "trades": {"type": "integer", "minimum": 1, "maximum": 500, "default": 30},
        "on": {"type": "boolean", "default": True},
        "style": {"enum": ["slow", "fast"], "default": "slow"},
        "name": {"type": "string", "default": "n"},
        "list": {"type": "array", "items": {"type": "number"}, "default": []},
        "table": {"type": "object", "default": {}},
        "tiers": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"high": number(0.5), "low": number(0.2)},
        },
    },
    {"symbol": {"type": "string"}, "regime": {"enum": ["trend", "chop"]}},
    [{"descending": ["tiers.high", "tiers.low"], "strict": True}],
)
OTHER = schema({"x": number(1.0)})
TEXT = """\
schema: 1
values:
  fraction: 0.1
  trades: 30
  on: true
  style: slow
  name: n
  list: []
  table: {}
  tiers:
    high: 0.5
    low: 0.2
overrides:
  - at: {symbol: BTC}
    values: {fraction: 0.2}
"""
OTHER_TEXT = "schema: 1\nvalues:\n  x: 1.0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_store(
        tmp_path / "store", {"risk": RISK, "other": OTHER}, {"risk": TEXT, "other": OTHER_TEXT}
    )


@pytest.fixture
def params(root: Path) -> Iterator[ParamStore]:
    store = ParamStore(root, environ={})
    assert store.get("risk.fraction") == 0.1
    yield store
    store.reset()


def commit(store: ParamStore, values: dict[str, Any], **context: Any) -> Any:
    with store.transaction(author="test") as tx:
        for key, value in values.items():
            tx.set(key, value, **context)
    return tx.commit_result


def files(root: Path) -> dict[str, bytes]:
    """Return every file that counts: what is in ``.paramstore`` may be deleted at any time."""
    paths = [path for path in root.rglob("*") if path.is_file() and ".paramstore" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def says(error: BaseException | str, *words: str) -> None:
    for word in words:
        assert word in str(error), f"{word!r} is missing in: {error}"


# -- values ---------------------------------------------------------------------------------------


class _Style(str, enum.Enum):  # noqa: UP042 - the old way is what people have
    FAST = "fast"


class _Numpy(float):
    """Stands for numpy.float64, which is a float as well."""


GOOD = [
    ("risk.fraction", 0, "0.0"),
    ("risk.fraction", _Numpy(0.2), "0.2"),
    ("risk.fraction", -0.0, "-0.0"),
    ("risk.trades", 500, "500"),
    ("risk.style", _Style.FAST, "'fast'"),
    ("risk.name", "größer\n\x00 '\"#: ", "'größer\\n\\x00 \\'\"#: '"),
    ("risk.list", (1, 2.5), "[1.0, 2.5]"),
    ("risk.table", {"a": [1, {"b": None}]}, "{'a': [1, {'b': None}]}"),
]


@pytest.mark.parametrize(("key", "value", "stored"), GOOD, ids=range(len(GOOD)))
def test_what_is_stored_is_plain(params: ParamStore, root: Path, key: str, value: Any, stored: str) -> None:
    commit(params, {key: value})
    for store in (params, ParamStore(root, environ={})):
        assert repr(store.get(key)) == stored
    assert type(params.get(key)) is type(ParamStore(root, environ={}).get(key))


def _nested(levels: int, word: str = "") -> Any:
    value: Any = {} if word else 1
    for _ in range(levels):
        value = {word: value} if word else [value]
    return value


WRONG: list[tuple[str, Any, list[str]]] = [
    ("risk.fraction", True, ["= True is a boolean, a number is expected"]),
    ("risk.fraction", "0.1", ["= '0.1' is a string, a number is expected"]),
    ("risk.fraction", None, ["= None is empty, a number is expected"]),
    ("risk.fraction", float("nan"), ["= nan is not a finite number"]),
    ("risk.fraction", float("inf"), ["= inf is not a finite number"]),
    ("risk.fraction", float("1e999"), ["= inf is not a finite number"]),
    ("risk.list", [10**400], ["is not plain data"]),
    ("risk.list", _nested(101), ["is not plain data"]),
    ("risk.fraction", 10**400, ["is too large for a number"]),
    ("risk.fraction", 10**5000, ["a number of 16610 bits is too large for a number"]),
    ("risk.fraction", 2**60 + 1, ["cannot be kept exactly as a number"]),
    (
        "risk.fraction",
        0.35,
        ["= 0.35 is above its maximum 0.25 (fraction of equity; schemas/risk.schema.json)"],
    ),
    ("risk.fraction", -1e-9, ["is below its minimum 0.0 (fraction of equity; schemas/risk.schema.json)"]),
    ("risk.trades", 1.5, ["= 1.5 is a number, an integer is expected"]),
    ("risk.trades", 1.0, ["= 1.0 is a number, an integer is expected"]),
    ("risk.trades", False, ["= False is a boolean, an integer is expected"]),
    ("risk.trades", 10**5000, ["a number of 16610 bits"]),
    ("risk.trades", 2**63, ["64 bits"]),
    ("risk.trades", 0, ["= 0 is below its minimum 1"]),
    ("risk.on", 1, ["= 1 is an integer, a boolean is expected"]),
    ("risk.style", "medium", ["= 'medium' is not one of 'slow', 'fast'"]),
    ("risk.style", 3, ["= 3 is an integer, a string is expected"]),
    ("risk.name", b"n", ["is a bytes, a string is expected"]),
    ("risk.name", "\ud800", ["is not plain data"]),
    ("risk.list", [1, "x"], ["at 1", "'x' is not of type 'number'"]),
    ("risk.list", [float("nan")], ["is not plain data", "finite numbers"]),
    ("risk.list", [object()], ["is not plain data"]),
    ("risk.list", {1, 2}, ["is a set, an array is expected"]),
    ("risk.table", {1: 2}, ["is not plain data", "text keys"]),
    ("risk.table", [], ["is an array, an object is expected"]),
    ("risk.tiers.low", 0.5, ["tiers.high = 0.5 must be above tiers.low = 0.5"]),
]


def only_refusals_came(root: Path, before: Mapping[str, bytes]) -> None:
    """Fail if any file differs from ``before``, but for refusals at the end of the journal."""
    after = files(root)
    journal = [name for name in before if "journal" in name]
    for name in journal:
        assert after[name].startswith(before[name])
        added = after[name][len(before[name]) :].splitlines()
        assert added and all(json.loads(line)["kind"] == "refusal" for line in added)
    assert {**after, **{name: before[name] for name in journal}} == before


@pytest.mark.parametrize(("key", "value", "words"), WRONG, ids=range(len(WRONG)))
def test_wrong_values_are_refused_and_nothing_is_written(
    params: ParamStore, root: Path, key: str, value: Any, words: list[str]
) -> None:
    commit(params, {"risk.trades": 31})
    before = files(root)
    with pytest.raises(ValidationError) as caught:
        commit(params, {"other.x": 2.0, key: value})
    says(caught.value, *words, "schemas/risk.schema.json", "Nothing was written; revision 1 stands.")
    only_refusals_came(root, before)
    assert params.history(refused=True)[-1].kind == "refusal"
    assert (params.get("other.x"), params.get("risk.fraction"), params.revision) == (1.0, 0.1, 1)


def test_every_form_of_constraint_says_what_is_wrong(tmp_path: Path) -> None:
    constraints = [
        {"sum": ["a", "b"], "minimum": 2},
        {"sum": ["a", "b"], "maximum": 6},
        {"sum": ["b", "c"], "minimum": 1, "maximum": 9},
        {"ascending": ["a", "b"]},
        {"descending": ["d", "c"], "strict": True},
    ]
    raw = schema(
        {name: number(value) for name, value in zip("abcd", (1, 2, 3, 4), strict=True)}, None, constraints
    )
    text = "schema: 1\nvalues: {a: 1.0, b: 2.0, c: 3.0, d: 4.0}\n"
    store = ParamStore(write_store(tmp_path / "s", {"n": raw}, {"n": text}), environ={})
    for values, words in (
        ({"n.a": 0.0, "n.b": 1.0}, ["sum of a, b is at least 2, but it is 1, 1 too little"]),
        ({"n.a": 3.0, "n.b": 3.5}, ["sum of a, b is at most 6, but it is 6.5, 0.5 too much"]),
        ({"n.b": 4.0, "n.c": 6.0, "n.d": 7.0}, ["sum of b, c is at least 1 and at most 9, but it is 10"]),
        ({"n.a": 2.5}, ["a = 2.5 must be below or equal to b = 2.0"]),
        ({"n.c": 4.0}, ["d = 4.0 must be above c = 4.0"]),
        ({"n.a": 4.0, "n.c": 5.0}, ["a = 4.0", "d = 4.0 must be above c = 5.0"]),
    ):
        with pytest.raises(ValidationError) as caught:
            commit(store, values)
        says(caught.value, *words, "schemas/n.schema.json", "Nothing was written; revision 0 stands.")
    commit(store, {"n.a": 2.0})


def test_the_message_is_the_one_that_was_promised(params: ParamStore) -> None:
    with pytest.raises(ValidationError) as caught:
        commit(params, {"risk.fraction": 0.35})
    assert str(caught.value) == (
        "`risk.fraction` = 0.35 is above its maximum 0.25 (fraction of equity; schemas/risk.schema.json). "
        "Nothing was written; revision 0 stands. Next: ask for a value within bounds."
    )


def test_wrong_keys_and_contexts_in_a_transaction(params: ParamStore, root: Path) -> None:
    commit(params, {"risk.trades": 31})
    before = files(root)
    for key in ("risk.fractoin", "risk", "risk.tiers", "rsik.fraction", "risk.fraction.x"):
        with pytest.raises(UnknownParamError) as caught:
            commit(params, {key: 0.2})
        says(caught.value, f"`{key}` is not a known parameter.", "Nothing was written; revision 1 stands.")
    for wrong in ("", "..", "risk..fraction", None, 3):
        with pytest.raises(UnknownParamError) as caught:
            commit(params, {wrong: 0.2})  # type: ignore[dict-item]
        says(
            caught.value,
            "is not a key",
            "`namespace.path.to.leaf`",
            "Nothing was written; revision 1 stands.",
        )
    for context in ({"simbol": "BTC"}, {"regime": "trned"}, {"symbol": 3}):
        with pytest.raises(ContextError):
            commit(params, {"risk.fraction": 0.2}, **context)
    with pytest.raises(ValidationError, match="`other` has no dimension `symbol`"):
        commit(params, {"other.x": 2.0}, symbol="BTC")
    with (
        pytest.raises(ValidationError, match="on_violation='bend' is not known"),
        params.transaction(author="test") as tx,
    ):
        tx.propose("risk", {"fraction": 0.2}, on_violation="bend")  # type: ignore[arg-type]
    only_refusals_came(root, before)
    refused = [entry for entry in params.history(refused=True) if entry.kind == "refusal"]
    assert {v["rule"] for entry in refused for v in entry.details["violations"]} == {"unknown", "context"}


# -- schemas that are wrong -----------------------------------------------------------------------


def _values(raw: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = raw["properties"]["values"]["properties"]
    return properties


def _leaf(**words: Any) -> Callable[[dict[str, Any]], object]:
    return lambda raw: _values(raw)["fraction"].update(words)


def _at(raw: dict[str, Any]) -> dict[str, Any]:
    dimensions: dict[str, Any] = raw["properties"]["overrides"]["items"]["properties"]["at"]["properties"]
    return dimensions


def _constraint(**words: Any) -> Callable[[dict[str, Any]], object]:
    return lambda raw: raw["properties"]["values"]["x-constraints"].append(words)


FRACTION = "/properties/values/properties/fraction"
MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], object] | bytes, str, list[str]]] = {
    "not JSON": (b"{", "schemas/risk.schema.json:1", ["is not JSON"]),
    "empty": (b"", "schemas/risk.schema.json:1", ["is not JSON"]),
    "not an object": (b"[]", "", ["must be a JSON object"]),
    "not UTF-8": (b'{"a": "\xff"}', "", ["is not JSON"]),
    "NaN": (b'{"minimum": NaN}', "", ["NaN is not a number"]),
    "infinite": (b'{"maximum": 1e999}', "", ["1e999 is not a number"]),
    "huge": (b'{"maximum": ' + b"9" * 5000 + b"}", "", ["is not JSON"]),
    "duplicate names": (b'{"a": 1, "a": 2}', "", ["the name 'a' occurs twice"]),
    "too deep": (b"[" * 100_000, "", ["is nested deeper than 68 levels"]),
    "cut": (json.dumps(RISK).encode()[:-40], "schemas/risk.schema.json:1", ["is not JSON"]),
    "no properties": (lambda raw: raw.pop("properties"), " at /", ["'properties' is a required property"]),
    "no values": (lambda raw: raw["properties"].pop("values"), " at /properties", ["'values' is a required"]),
    "no schema": (lambda raw: raw["properties"].pop("schema"), " at /properties", ["'schema' is a required"]),
    "another format": (
        lambda raw: raw["properties"]["schema"].update(const=2), " at /properties/schema/const", ["1 was expected"],
    ),
    "no parameters": (
        lambda raw: _values(raw).clear(), " at /properties/values/properties", ["declares no parameter"],
    ),
    "open group": (
        lambda raw: raw["properties"]["values"].pop("additionalProperties"), " at /properties/values",
        ["additionalProperties"],
    ),
    "type": (_leaf(type="float"), f" at {FRACTION}/type", ["'float' is not one of"]),
    "no type": (lambda raw: _values(raw)["fraction"].pop("type"), f" at {FRACTION}", ["`fraction` needs `type` or `enum`"]),
    "minimum is text": (_leaf(minimum="0"), f" at {FRACTION}/minimum", ["'0' is not of type 'number'"]),
    "minimum above maximum": (_leaf(minimum=0.3), f" at {FRACTION}/minimum", ["minimum 0.3 is above maximum 0.25"]),
    "default out of bounds": (_leaf(default=0.9), f" at {FRACTION}/default", ["above its maximum 0.25"]),
    "default of another type": (_leaf(default="0.1"), f" at {FRACTION}/default", ["a number is expected"]),
    "default too deep": (
        lambda raw: _values(raw)["list"].update(default=_nested(500)),
        " at /properties/values/properties/list/default/0/0/0/0/…", ["is nested deeper than 68 levels"],
    ),
    "schema too deep for its judge": (
        lambda raw: _values(raw)["list"].update(items=_nested(90, "items")),
        " at /properties/values/properties/list/items/items/items/items/items/…", ["is nested deeper than 68 levels"],
    ),
    "default too large": (_leaf(default=10**400), f" at {FRACTION}/default", ["a number of 1329 bits is too large"]),
    "default too large within": (
        lambda raw: _values(raw)["list"].update(default=[0.1, -(10**400)]), " at /properties/values/properties/list/default/1",
        ["a number of 1329 bits is too large"],
    ),
    "bound too large": (_leaf(maximum=10**400), f" at {FRACTION}/maximum", ["a number of 1329 bits is too large"]),
    "guard too large": (
        _leaf(**{"x-param": {"max_step": 10**400}}), f" at {FRACTION}/x-param/max_step", ["a number of 1329 bits is too large"],
    ),
    "multipleOf": (_leaf(multipleOf=0.05), f" at {FRACTION}", ["`multipleOf` is not allowed", "x-param.decimals"]),
    "unknown x-param": (
        _leaf(**{"x-param": {"max_stp": 1}}), f" at {FRACTION}/x-param", ["'max_stp' was unexpected"],
    ),
    "x-param of a wrong type": (
        _leaf(**{"x-param": {"decimals": 1.5}}), f" at {FRACTION}/x-param/decimals", ["not of type 'integer'"],
    ),
    "empty enum": (
        lambda raw: _values(raw)["style"].update(enum=[]), " at /properties/values/properties/style/enum",
        ["[] should be non-empty"],
    ),
    "pattern": (
        lambda raw: _values(raw)["name"].update(pattern="["), " at /properties/values/properties/name/pattern",
        ["is not a 'regex'"],
    ),
    "unusual word": (
        lambda raw: _values(raw)["name"].update(minLength=-1), " at /properties/values/properties/name/minLength",
        ["-1 is less than the minimum of 0"],
    ),
    "reference": (_leaf(**{"$ref": "http://127.0.0.1:9/x"}), f" at {FRACTION}", ["`$ref` is not followed"]),
    "name with a dot": (
        lambda raw: _values(raw).update({"a.b": number(1.0)}), " at /properties/values/properties", ["'a.b'"],
    ),
    "constraint on nothing": (
        _constraint(sum=["weights.*"], equals=1), " at /properties/values/x-constraints/1",
        ["'weights.*' matches no number below `values`"],
    ),
    "constraint without a kind": (_constraint(equals=1), " at /properties/values/x-constraints/1", ["is either `sum`"]),
    "constraint of two kinds": (
        _constraint(sum=["*"], equals=1, ascending=["*"]), " at /properties/values/x-constraints/1",
        ["is either `sum`"],
    ),
    "dimension name": (
        lambda raw: _at(raw).update({"Symbol!": {"type": "string"}}),
        " at /properties/overrides/items/properties/at/properties", ["'Symbol!' does not match"],
    ),
    "dimension that is a word of Python": (
        lambda raw: _at(raw).update({"class": {"type": "string"}}),
        " at /properties/overrides/items/properties/at/properties/class", ["cannot be called `class`"],
    ),
    "dimension that get takes": (
        lambda raw: _at(raw).update({"self": {"type": "string"}}),
        " at /properties/overrides/items/properties/at/properties/self", ["cannot be called `self`"],
    ),
    "dimension without a type": (
        lambda raw: _at(raw).update({"venue": {}}),
        " at /properties/overrides/items/properties/at/properties/venue", ["`venue` needs `type` or `enum`"],
    ),
}  # fmt: skip


def _wrong_schema(mistake: str) -> tuple[bytes, list[str]]:
    change, place, words = MISTAKES[mistake]
    if isinstance(change, bytes):
        return change, [f"{place}: " if place else "schemas/risk.schema.json: ", *words]
    raw = copy.deepcopy(RISK)
    change(raw)
    return json.dumps(raw).encode(), [f"schemas/risk.schema.json{place}: ", *words]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_schema_names_its_place_and_is_not_used(params: ParamStore, root: Path, mistake: str) -> None:
    raw, words = _wrong_schema(mistake)
    write(root / "schemas" / "risk.schema.json", raw)
    with pytest.raises(SchemaError) as caught:
        ParamStore(root, environ={}).get("other.x")
    says(caught.value, *words, "No values can be served")
    assert caught.value.file == "schemas/risk.schema.json"
    health = params.refresh()
    assert [(problem.file, params.get("risk.fraction")) for problem in health.problems] == [
        ("schemas/risk.schema.json", 0.1)
    ]
    says(health.problems[0].message, *words)
    with pytest.raises(ValidationError) as refused:
        commit(params, {"risk.trades": 31})
    says(refused.value, *words, "Nothing was written; revision 0 stands.")
    commit(params, {"other.x": 2.0})
    write(root / "schemas" / "risk.schema.json", json.dumps(RISK))
    assert params.refresh().ok
    commit(params, {"risk.trades": 31})


@pytest.mark.parametrize("name", ["a.b", "a b", "ä", "-a"])
def test_a_file_name_that_is_no_namespace(root: Path, name: str) -> None:
    write(root / "schemas" / f"{name}.schema.json", json.dumps(OTHER))
    write(root / "params" / f"{name}.yaml", OTHER_TEXT)
    with pytest.raises(SchemaError) as caught:
        ParamStore(root, environ={}).get("other.x")
    says(caught.value, f"schemas/{name}.schema.json", f"`{name}` is no namespace: rename both files")


# -- values files that are wrong ------------------------------------------------------------------

DOCUMENTS: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["empty"]),
    "a list": (b"- 1\n", ["the top level is not a mapping"]),
    "duplicate key": (TEXT.replace("  on: true", "  on: true\n  on: false").encode(), [":6: the key `on`", "second time"]),
    "anchor and alias": (TEXT.replace("0.5", "&a 0.5").encode(), [":11: anchors and aliases"]),
    "merge key": (TEXT.replace("  name: n", "  <<: {name: n}").encode(), [":7: merge keys"]),
    "tag": (TEXT.replace("name: n", "name: !!python/name:os.system n").encode(), [":7: tags"]),
    "conflict": (
        TEXT.replace("  trades: 30\n", "<<<<<<< HEAD\n  trades: 30\n=======\n  trades: 31\n>>>>>>> b\n").encode(),
        [":4: a merge-conflict marker. Resolve the conflict and save again"],
    ),
    "tab": (TEXT.replace("  trades", "\ttrades").encode(), [":4: a tab in the indentation"]),
    "UTF-16": (TEXT.encode("utf-16"), ["encoded as UTF-16. Save the file as UTF-8"]),
    "Latin-1": (TEXT.replace("name: n", "name: ä").encode("latin-1"), [":7: not UTF-8"]),
    "NUL": (TEXT.replace("name: n", "name: \0").encode(), [":7: NUL bytes"]),
    "brackets": (b"[" * 100_000, [":1: not valid YAML: nested deeper than 32 levels"]),
    "directive": (b"%YAML 1.1\n---\n" + TEXT.encode(), [":1: a directive"]),
    "two documents": (TEXT.encode() + b"---\nschema: 1\n", ["a second document"]),
    "not closed": (TEXT.replace("{symbol: BTC}", "{symbol: BTC").encode(), ["not valid YAML"]),
    "another format": (TEXT.replace("schema: 1", "schema: 2").encode(), ["`schema: 1` must stand at the top, not 2"]),
    "format 1.0": (TEXT.replace("schema: 1", "schema: 1.0").encode(), ["`schema: 1` must stand at the top"]),
    "no values": (b"schema: 1\n", ["`values` must be a mapping", "`risk.fraction` is missing"]),
    "unknown at the top": (TEXT.encode() + b"more: 1\n", ["`more` is not known at the top level"]),
    "missing key": (TEXT.replace("  trades: 30\n", "").encode(), ["`risk.trades` is missing"]),
    "unknown key": (
        TEXT.replace("trades", "trade").encode(),
        ["`risk.trade` is not in schemas/risk.schema.json", "did you mean `risk.trades`?", "`risk.trades` is missing"],
    ),
    "group for a value": (TEXT.replace("trades: 30", "trades: {a: 1}").encode(), ["an object, an integer is expected"]),
    "value for a group": (
        TEXT.replace("  tiers:\n    high: 0.5\n    low: 0.2\n", "  tiers: 3\n").encode(),
        ["`risk.tiers` is a group, not 3"],
    ),
    "boolean": (TEXT.replace("0.1", "true").encode(), ["`risk.fraction` = True is a boolean"]),
    "yes": (TEXT.replace("on: true", "on: yes").encode(), ["`risk.on` = 'yes' is a string"]),
    "NaN": (TEXT.replace("0.1", ".nan").encode(), ["`risk.fraction` = nan is not a finite number"]),
    "1e999": (TEXT.replace("0.1", "1e999").encode(), ["`risk.fraction` = inf is not a finite number"]),
    "fraction of a trade": (TEXT.replace("30", "30.5").encode(), ["`risk.trades` = 30.5 is a number"]),
    "30.0": (TEXT.replace("30", "30.0").encode(), ["`risk.trades` = 30.0 is a number"]),
    "digits": (TEXT.replace("30", "9" * 600).encode(), [":4: a number of 600 digits"]),
    "octal": (TEXT.replace("30", "030").encode(), [":4: `030` is a number to some parsers only"]),
    "out of bounds": (TEXT.replace("0.1", "0.35").encode(), ["`risk.fraction` = 0.35 is above its maximum 0.25"]),
    "constraint": (TEXT.replace("high: 0.5", "high: 0.1").encode(), ["tiers.high = 0.1 must be above tiers.low"]),
    "override out of bounds": (TEXT.replace("fraction: 0.2", "fraction: 0.35").encode(), ["0.35", "in override 1"]),
    "override of nothing": (TEXT.replace("fraction: 0.2", "fractoin: 0.2").encode(), ["`risk.fractoin`", "override 1"]),
    "override without at": (TEXT.replace("at: {symbol: BTC}", "on: 3").encode(), ["exactly `at` and `values`"]),
    "unknown dimension": (TEXT.replace("symbol:", "simbol:").encode(), ["`simbol` is no declared dimension", "`symbol`?"]),
    "unknown dimension value": (TEXT.replace("symbol: BTC", "regime: up").encode(), ["'up'", "'trend', 'chop'"]),
    "context without a value": (TEXT.replace("symbol: BTC", "symbol: ~").encode(), ["a dimension without a value"]),
    "context twice": (
        (TEXT + "  - at: {symbol: BTC}\n    values: {fraction: 0.1}\n").encode(), ["has an override already"],
    ),
    "constraint in a context": (
        TEXT.replace("{fraction: 0.2}", "{tiers: {high: 0.1, low: 0.3}}").encode(), ["symbol", "tiers.high = 0.1"],
    ),
    "overrides are no list": (TEXT.partition("overrides")[0].encode() + b"overrides: {}\n", ["must be a list"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", DOCUMENTS)
def test_a_wrong_file_is_never_served(
    params: ParamStore, root: Path, mistake: str, caplog: pytest.LogCaptureFixture
) -> None:
    raw, words = DOCUMENTS[mistake]
    file = root / "params" / "risk.yaml"
    words = ["params/risk.yaml", *words]
    write(file, raw)
    with pytest.raises(DocumentError) as caught:
        ParamStore(root, environ={}).get("other.x")
    says(caught.value, *words, "No values can be served: there is no earlier good state.")
    section = params.section("risk")
    for _ in range(3):
        health = params.refresh()
    assert [problem.file for problem in health.problems] == ["params/risk.yaml"]
    says(health.problems[0].message, *words)
    assert (params.get("risk.fraction"), params.get("risk.trades"), section["on"]) == (0.1, 30, True)
    logged = [r.getMessage() for r in caplog.records if "params/risk.yaml" in r.getMessage()]
    assert len(logged) == 1
    says(logged[0], *words, "Revision 0 is still being served; correct the file.")

    with pytest.raises(ValidationError) as refused:
        commit(params, {"risk.trades": 31})
    says(refused.value, *words, "Nothing was written; revision 0 stands.")
    assert file.read_bytes() == raw
    commit(params, {"other.x": 2.0})
    assert (params.get("other.x"), (root / "params/other.yaml").read_text()) == (
        2.0,
        "schema: 1\nvalues:\n  x: 2.0\n",
    )
    assert not params.health.ok

    write(file, TEXT.replace("trades: 30", "trades: 33"))
    assert params.refresh().ok
    commit(params, {"risk.fraction": 0.2})
    assert (params.get("risk.trades"), params.get("risk.fraction")) == (33, 0.2)


def test_all_broken_files_are_named_at_once(root: Path) -> None:
    write(root / "params" / "risk.yaml", b"- 1\n")
    write(root / "schemas" / "other.schema.json", b"{")
    with pytest.raises(InvalidFileError) as caught:
        ParamStore(root, environ={}).get("other.x")
    says(caught.value, "params/risk.yaml", "schemas/other.schema.json", "No values can be served")
    with pytest.raises(InvalidFileError) as again:
        commit(ParamStore(root, environ={}), {"other.x": 2.0})
    says(again.value, "params/risk.yaml", "schemas/other.schema.json")


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("schemas/risk.schema.json", ["the file is missing: every namespace in params/ needs its schema"]),
        ("params/risk.yaml", ["the file is missing", "`paramstore check --fix` writes"]),
    ],
)
def test_a_missing_file(
    params: ParamStore, root: Path, gone: str, words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (root / gone).rename(root / "aside")
    with pytest.raises(InvalidFileError) as caught:
        ParamStore(root, environ={}).get("other.x")
    says(caught.value, gone, *words)
    for _ in range(3):
        health = params.refresh()
    assert [problem.file for problem in health.problems] == [gone]
    says(health.problems[0].message, *words)
    assert (params.get("risk.fraction"), params.get("risk.fraction", symbol="BTC")) == (0.1, 0.2)
    assert len([r for r in caplog.records if gone in r.getMessage()]) == 1
    with pytest.raises(ValidationError, match="Nothing was written; revision 0 stands"):
        commit(params, {"risk.trades": 31})
    commit(params, {"other.x": 2.0})
    (root / "aside").rename(root / gone)
    assert params.refresh().ok
    commit(params, {"risk.trades": 31})


@pytest.mark.parametrize("folder", ["params", "schemas"])
def test_a_missing_folder(params: ParamStore, root: Path, folder: str) -> None:
    (root / folder).rename(root / "aside")
    with pytest.raises(StoreNotFoundError, match=f"has no {folder}/"):
        ParamStore(root, environ={}).get("other.x")
    assert not params.refresh().ok
    assert params.get("risk.fraction") == 0.1
    with pytest.raises(ParamstoreError, match="Nothing was written"):
        commit(params, {"other.x": 2.0})
    (root / "aside").rename(root / folder)
    assert params.refresh().ok


def test_a_file_cut_at_every_byte(tmp_path: Path) -> None:
    for folder in ("params", "schemas"):
        (tmp_path / folder).mkdir()
    for file in ("params/win_rate.yaml", "schemas/win_rate.schema.json"):
        shutil.copy(REPOSITORY / file, tmp_path / file)
        age(tmp_path / file)
    store = ParamStore(tmp_path, environ={})
    keys = store.keys()
    logging.getLogger("paramstore").disabled = True
    try:
        for file in ("params/win_rate.yaml", "schemas/win_rate.schema.json"):
            whole = (tmp_path / file).read_bytes()
            for length in range(len(whole)):
                if file.startswith("schemas") and length % 10:
                    continue
                write(tmp_path / file, whole[:length])
                ok = store.refresh().ok
                assert store.keys() == keys, length
                assert all(0 <= store.get(key) <= 1 for key in keys), length
                assert not ok or length > len(whole) - 10, length
            write(tmp_path / file, whole)
            assert store.refresh().ok
    finally:
        logging.getLogger("paramstore").disabled = False


def test_half_a_save_is_not_read(params: ParamStore, root: Path) -> None:
    """A file that grows under the reader is left alone until it rests; without a newline it rests longer."""
    file = root / "params" / "risk.yaml"
    head, tail = TEXT.replace("trades: 30", "trades: 31").split("overrides:\n")
    with file.open("w") as stream:
        stream.write(head)
        stream.flush()
        params.refresh()
        assert params.get("risk.trades") == 30
        stream.write("overrides:\n" + tail.rstrip("\n"))
        stream.flush()
        params.refresh()
        assert (params.get("risk.trades"), params.health.ok) == (30, True)
        stream.write("\n")
    deadline = time.monotonic() + 1
    while params.get("risk.trades") != 31:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- the journal ----------------------------------------------------------------------------------


def journal(root: Path) -> Path:
    return root / "params" / "journal" / "00000001.jsonl"


def test_a_directory_where_the_journal_should_be(params: ParamStore, root: Path) -> None:
    journal(root).mkdir(parents=True)
    before = files(root)
    with pytest.raises(WriteError) as caught:
        commit(params, {"other.x": 2.0})
    says(caught.value, str(journal(root)), "Is a directory", "Nothing was written; revision 0 stands.")
    assert files(root) == before
    assert params.get("risk.fraction") == 0.1
    health = params.refresh()
    assert [problem.file for problem in health.problems] == ["params/journal/00000001.jsonl"]
    says(health.problems[0].message, "cannot be read: Is a directory")
    with pytest.raises(JournalError, match=r"00000001\.jsonl: cannot be read: Is a directory"):
        ParamStore(root, environ={}).get("other.x")
    journal(root).rmdir()
    assert params.refresh().ok
    commit(params, {"other.x": 2.0})


@pytest.mark.parametrize(
    "name",
    ["7.jsonl", "\u00b2.jsonl", "\u0663\u0663\u0663\u0663\u0663\u0663\u0663\u0663.jsonl", "000000001.jsonl"],
)
def test_what_is_no_segment_beside_the_journal_is_left_alone(
    params: ParamStore, root: Path, name: str
) -> None:
    commit(params, {"other.x": 2.0})
    (root / "params/journal" / name).write_text("notes of somebody\n")
    fresh = ParamStore(root, environ={})
    commit(fresh, {"other.x": 3.0})
    assert [entry.revision for entry in ParamStore(root).history()] == [0, 1, 2]
    assert (root / "params/journal" / name).read_text() == "notes of somebody\n"


def test_a_file_where_the_journal_folder_should_be(params: ParamStore, root: Path) -> None:
    write(root / "params" / "journal", "not a folder")
    with pytest.raises(ParamstoreError) as caught:
        commit(params, {"other.x": 2.0})
    says(caught.value, "journal", "Nothing was written; revision 0 stands.")
    assert (params.get("other.x"), (root / "params/journal").read_text()) == (1.0, "not a folder")


def test_damage_in_the_middle_of_the_journal(params: ParamStore, root: Path) -> None:
    for step in range(4):
        commit(params, {"other.x": 2.0 + step})
    raw = journal(root).read_bytes()
    lines = raw.splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"new":', b'"nwe":')
    write(journal(root), b"".join(lines))
    fresh = ParamStore(root, environ={})
    for store in (params, fresh):  # the values are whole, so reads go on
        assert (store.get("other.x"), store.revision) == (5.0, 4)
    before = files(root)
    for attempt in (
        lambda: commit(ParamStore(root, environ={}), {"other.x": 9.0}),
        lambda: commit(fresh, {"other.x": 9.0}),
        fresh.history,
        lambda: fresh.as_of(1),
        lambda: fresh.rollback(to=1, author="test"),
    ):
        with pytest.raises(JournalError) as caught:
            attempt()
        place = sum(map(len, lines[:2]))
        says(
            caught.value, "00000001.jsonl", f"the line at byte {place} is not a journal entry", "git checkout"
        )
    with pytest.raises(JournalError, match="Nothing was written; revision 4 stands"):
        commit(fresh, {"other.x": 9.0})
    assert files(root) == before
    write(journal(root), raw)
    commit(fresh, {"other.x": 9.0})
    assert fresh.as_of(2).get("other.x") == 3.0


@pytest.mark.parametrize("torn", [b'{"v":1,"revis', b"\0" * 100, b"garbage\n", b'{"v":1}\n'])
def test_a_torn_last_line_is_set_aside(params: ParamStore, root: Path, torn: bytes) -> None:
    commit(params, {"other.x": 2.0})
    raw = journal(root).read_bytes()
    write(journal(root), raw + torn)
    store = ParamStore(root, environ={})
    assert (store.get("other.x"), store.revision, len(store.history())) == (2.0, 1, 2)
    commit(store, {"other.x": 3.0})
    assert [entry.revision for entry in store.history()] == [0, 1, 2]
    assert journal(root).read_bytes().startswith(raw + b'{"v":1,')
    kept = list(journal(root).parent.glob("*.torn"))
    assert [path.read_bytes() for path in kept] == [torn]
    assert params.get("other.x") == 3.0


# -- places that cannot be written ----------------------------------------------------------------


def mount(*words: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine does not let tests mount: {done.stderr.strip()}")


def unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_readers_need_no_place_to_write(params: ParamStore, root: Path) -> None:
    params.reset()
    shutil.rmtree(root / ".paramstore")
    write(root / ".paramstore", "in the way")
    store = ParamStore(root, environ={})
    for _ in range(2):
        assert (store.get("risk.fraction"), store.get("risk.fraction", symbol="BTC")) == (0.1, 0.2)
        assert store.health.ok
    with pytest.raises(WriteError) as caught:
        commit(store, {"other.x": 2.0})
    says(caught.value, ".paramstore/lock", "Nothing was written")
    write(root / "params" / "other.yaml", OTHER_TEXT.replace("1.0", "4.0"))
    assert store.refresh().ok
    assert store.get("other.x") == 4.0


def test_a_read_only_file_system(root: Path, tmp_path: Path) -> None:
    view = tmp_path / "view"
    view.mkdir()
    mount("--bind", root, view)
    try:
        mount("-o", "remount,bind,ro", view)
        store = ParamStore(view, environ={})
        assert (store.get("risk.fraction"), store.health.ok) == (0.1, True)
        with pytest.raises(WriteError) as caught:
            commit(store, {"other.x": 2.0})
        says(caught.value, "Read-only file system", "Nothing was written")
        commit(ParamStore(root, environ={}), {"other.x": 2.0})  # a writer elsewhere makes the signal file
        assert store.get("other.x") == 2.0
        commit(ParamStore(root, environ={}), {"other.x": 3.0})
        assert (store.get("other.x"), store.revision) == (3.0, 2)
    finally:
        unmount(view)


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", disk)
    try:
        root = write_store(
            disk / "store", {"risk": RISK, "other": OTHER}, {"risk": TEXT, "other": OTHER_TEXT}
        )
        store = ParamStore(root, environ={})
        commit(store, {"other.x": 2.0})
        with (disk / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 512)
            except OSError:
                pass
        refusals = 0
        for step in range(60):
            before, revision = files(root), store.revision
            try:
                commit(store, {"other.x": 3.0 + step / 10, "risk.trades": 31 + step})
            except WriteError as error:
                refusals += 1
                says(error, "No space left on device", f"Nothing was written; revision {revision} stands.")
                assert files(root) == before
        assert refusals
        assert ParamStore(root, environ={}).get("risk.trades") == store.get("risk.trades")
        assert store.health.ok
        os.unlink(disk / "filler")
        commit(store, {"other.x": 9.5})
        assert [entry.revision for entry in store.history()] == list(range(store.revision + 1))
    finally:
        unmount(disk)
