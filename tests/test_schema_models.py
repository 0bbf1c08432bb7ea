"""Schemas as pydantic models: each way gives back what the other was given, and drift is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from paramstore import ParamStore, _init
from paramstore._schema import load_schema
from paramstore._schema_model import ModelError, same_schema, schema_bytes, schema_of
from paramstore._schema_source import HEAD, same_source, source_of
from paramstore.authoring import Namespace, Param
from paramstore.cli import cli

SCHEMAS = sorted((Path(__file__).parents[1] / "schemas").glob("*.schema.json"))
KINDS = Path(__file__).parent / "typing" / "kinds.schema.json"


def models(text: str) -> dict[str, Any]:
    """Return what a module with this text holds."""
    scope: dict[str, Any] = {"__name__": "models"}
    exec(compile(text, "models.py", "exec", dont_inherit=True), scope)
    return scope


def back(text: str) -> dict[str, Any]:
    """Return the schema of the last model in a module, which is the namespace."""
    classes = [
        each for each in models(text).values() if isinstance(each, type) and issubclass(each, BaseModel)
    ]
    return schema_of(classes[-1])  # fmt: skip


def hold_round(raw: dict[str, Any]) -> None:
    text = source_of({"some_space": raw})
    again = back(text)
    assert again == raw and same_schema(again, raw)
    assert source_of({"some_space": again}) == text
    assert back(source_of({"some_space": again})) == raw


# --- round trips ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*SCHEMAS, KINDS], ids=lambda path: path.name.partition(".")[0])
def test_each_shipped_schema_comes_back(path: Path) -> None:
    hold_round(json.loads(path.read_text()))


def test_the_frame_of_a_new_namespace_comes_back() -> None:
    hold_round(json.loads(_init.frame("fresh")["schemas/fresh.schema.json"]))


@pytest.mark.parametrize(
    "text", ["", " led", "\0", "tab\there", "form\x0cfeed", 'a "quote"', "back\\", "two\nlines", "é…\u2028"]
)
def test_any_text_comes_back(text: str) -> None:
    raw = json.loads(SCHEMAS[0].read_text())
    node = raw["properties"]["values"]["properties"]
    raw["description"] = text
    node["score_tiers"]["description"] = node["fee_rate"]["description"] = text
    hold_round(raw)


NAMES = st.one_of(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,8}", fullmatch=True),
    st.sampled_from(["class", "copy", "model_config", "float", "Field", "json", "schema", "1st", "_x", "a-b", "a_b", "p_copy"]),
)  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6, allow_nan=False))
ABOUT = st.fixed_dictionaries(
    {},
    optional={
        "unit": TEXT, "learnable": st.booleans(), "decimals": st.integers(0, 15), "cooldown_s": st.floats(0, 1e6),
        "min_samples": st.integers(0, 100), "owner": TEXT.filter(bool), "evidence": st.lists(TEXT.filter(bool), max_size=2),
    },
)  # fmt: skip
MORE: dict[str, Any] = {"description": TEXT, "title": TEXT, "x-param": ABOUT, "$comment": TEXT}


def leaf_of(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({word: st.just(value) for word, value in required.items()}, optional={**optional, **MORE})  # fmt: skip


LEAVES = st.one_of(
    leaf_of({"type": "number"}, minimum=st.just(-1e7), maximum=st.just(10**7), default=NUMBERS),
    leaf_of({"type": "integer"}, exclusiveMinimum=st.just(-2000), exclusiveMaximum=st.just(2000), default=st.integers(-1000, 1000)),
    leaf_of({"type": "boolean"}, default=st.booleans()),
    leaf_of({"type": "string"}, default=TEXT, examples=st.lists(TEXT, min_size=1, max_size=2)),
    leaf_of({"type": "string", "pattern": "^a", "minLength": 1}, default=st.just("ab")),
    leaf_of({"enum": ["a", 'b"', "c\\"]}, default=st.just("a")),
    leaf_of({"type": "number", "enum": [0.5, 2]}, default=st.just(2)),
    leaf_of({"type": "integer", "enum": [1, 2]}, default=st.just(1)),
    leaf_of({"type": "array", "items": {"type": "number", "minimum": 0}}, default=st.just([0, 1.5])),
    leaf_of({"type": "array", "items": {"type": "string"}, "maxItems": 3}, default=st.just([])),
    leaf_of({"type": "array", "items": {}}, default=st.just(["a", 1])),
    leaf_of({"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}]}, default=st.just([1, "a"])),
    leaf_of({"type": "array", "prefixItems": [{"type": "number"}], "minItems": 1, "maxItems": 1}, default=st.just([2.5])),
    leaf_of({"type": "object", "additionalProperties": {"type": "integer"}}, default=st.just({"a": 1})),
    leaf_of({"type": "object"}, default=st.just({})),
)  # fmt: skip


def group(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


GROUPS = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda properties, more: {**group(properties), **more},
        st.dictionaries(NAMES, inner, min_size=1, max_size=4),
        st.fixed_dictionaries({}, optional={"description": TEXT, "title": TEXT, "$comment": TEXT}),
    ),
    max_leaves=8,
)
DIMENSIONS = st.dictionaries(
    st.sampled_from(["mode", "symbol", "depth", "hot"]),
    st.sampled_from([{"type": "string"}, {"enum": ["a", "b"]}, {"type": "integer"}, {"type": "string", "enum": ["a"]}, {"type": "boolean", "description": "warm"}]),
    max_size=3,
)  # fmt: skip


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(_init.frame("frame")["schemas/frame.schema.json"])
    values = raw["properties"]["values"]
    values["properties"] = draw(st.dictionaries(NAMES, GROUPS, min_size=1, max_size=5))
    for word in ("title", "description", "$comment"):
        if draw(st.booleans()):
            raw[word] = draw(TEXT)
    if draw(st.booleans()):
        del values["x-constraints"]
    at = raw["properties"]["overrides"]["items"]["properties"]["at"]
    at["properties"] = draw(DIMENSIONS)
    if draw(st.booleans()):
        del at["$comment"]
    if draw(st.booleans()):
        del raw["properties"]["overrides"]
    return raw


@settings(max_examples=150, deadline=None)
@given(schemas())
def test_any_schema_comes_back(raw: dict[str, Any]) -> None:
    load_schema("some_space", schema_bytes(raw).encode(), "schemas/some_space.schema.json", "")  # it is one
    hold_round(raw)


# --- models that people write ---------------------------------------------------------------------------------


class Tier(BaseModel):
    threshold: float = Field(default=0.5, gt=0, lt=1, description="Lowest score of the tier.")
    multiplier: float = Field(
        default=1.0, ge=0.2, le=2.5, json_schema_extra=Param(unit="multiplier", learnable=True)
    )


class ConvictionGate(BaseModel):
    """How conviction scales the size of a trade.

    In two paragraphs.
    """

    model_config = ConfigDict(
        title="Conviction gate",
        json_schema_extra=Namespace(
            dimensions={"mode": ["paper", "live"], "symbol": str, "depth": int},
            constraints=[{"descending": ["ultra.threshold", "high.threshold"], "strict": True}],
        ),
    )

    min_trades: int = Field(default=30, ge=5, le=500, json_schema_extra=Param(unit="trades", max_step=10))
    exit_kind: Literal["market", "limit"] = "market"
    levels: list[float] = Field(default=[0.5, 1.0], max_length=4)
    span: tuple[int, float] = (3, 0.5)
    weights: dict[str, float] = Field(default_factory=dict)
    note: str = Field(default="", pattern="^[a-z]*$")
    live: bool = Field(default=True, alias="live-mode")
    ultra: Tier = Tier(threshold=0.6, multiplier=2.0)
    high: Tier = Field(default_factory=Tier, description="What counts as HIGH.")


def test_a_model_as_people_write_it() -> None:
    raw = schema_of(ConvictionGate)
    schema = load_schema(
        "conviction_gate", schema_bytes(raw).encode(), "schemas/conviction_gate.schema.json", ""
    )
    values = raw["properties"]["values"]["properties"]
    assert values["min_trades"] == {
        "type": "integer", "minimum": 5, "maximum": 500, "default": 30,
        "x-param": {"unit": "trades", "max_step": 10},
    }  # fmt: skip
    assert values["exit_kind"] == {"enum": ["market", "limit"], "default": "market"}
    assert values["levels"] == {
        "type": "array",
        "items": {"type": "number"},
        "maxItems": 4,
        "default": [0.5, 1.0],
    }
    assert values["span"]["prefixItems"] == [{"type": "integer"}, {"type": "number"}]
    assert values["weights"] == {"type": "object", "additionalProperties": {"type": "number"}, "default": {}}
    assert values["note"]["pattern"] == "^[a-z]*$"
    assert values["live-mode"] == {"type": "boolean", "default": True}
    assert values["ultra"]["properties"]["threshold"]["default"] == 0.6
    assert values["high"]["properties"]["threshold"] == {
        "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.5,
        "description": "Lowest score of the tier.",
    }  # fmt: skip
    assert values["high"]["description"] == "What counts as HIGH."
    assert raw["title"] == "Conviction gate"
    assert raw["description"] == "How conviction scales the size of a trade.\n\nIn two paragraphs."
    assert [each.name for each in schema.dimensions] == ["mode", "symbol", "depth"]
    assert schema.dimensions[0].choices == ("paper", "live") and schema.dimensions[2].type == "integer"
    assert [each.paths for each in schema.constraints] == [("ultra.threshold", "high.threshold")]
    assert schema.defaults()["ultra"] == {"threshold": 0.6, "multiplier": 2.0}


class Item(BaseModel):
    size: float = 1.0


class Nested(BaseModel):
    items: list[Item] = []


class Callback(BaseModel):
    run: Any = Field(default=1, json_schema_extra=lambda schema: None)


class Odd(BaseModel):
    when: object = Field(default=object())


class Empty(BaseModel):
    pass


class Unknown(BaseModel):
    thing: type = int


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Nested, "holds plain data"), (Callback, "must be a dictionary"), (Odd, "is not plain data"),
        (Empty, "needs at least one"), (Unknown, "has no JSON Schema"),
    ],
)  # fmt: skip
def test_what_no_schema_can_say_is_refused_with_its_place(model: type[BaseModel], said: str) -> None:
    with pytest.raises(ModelError, match=f"^{model.__name__}.*{said}.*Nothing was written"):
        schema_of(model)


def test_a_schema_that_no_model_can_give_back_is_refused() -> None:
    raw = json.loads(SCHEMAS[0].read_text())
    raw["properties"]["overrides"]["items"]["properties"]["values"]["$comment"] = "again"
    with pytest.raises(ModelError, match=r"schemas/x\.schema\.json has words that a model cannot hold"):
        source_of({"x": raw})


def test_layout_and_comments_of_a_module_do_not_count() -> None:
    text = source_of({"x": json.loads(SCHEMAS[0].read_text())})
    assert same_source(text.replace("(\n        ", "(").replace('"', "'"), text.replace('"', "'"))
    assert same_source("# mine\n" + text, text)
    assert not same_source(text.replace("0.5", "0.51", 1), text) and not same_source("def (", text)


def test_order_counts_where_it_has_a_meaning() -> None:
    raw = json.loads(SCHEMAS[0].read_text())
    values = raw["properties"]["values"]
    turned = dict(reversed(values["properties"].items()))
    other = {**raw, "properties": {**raw["properties"], "values": {**values, "properties": turned}}}
    assert raw == other and not same_schema(raw, other)
    assert same_schema(raw, dict(reversed(raw.items())))


# --- the commands -----------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("PARAM")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    _init.write(str(tmp_path), _init.shipped())
    return tmp_path


def run(*words: str, status: int = 0) -> Result:
    done = CliRunner().invoke(cli, list(words))
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert done.exit_code == status, done.output
    return done


def test_schemas_become_a_module_and_come_back(store: Path) -> None:
    before = {path.name: path.read_bytes() for path in (store / "schemas").iterdir()}
    run("schema", "to", "--output", "bot/all_models.py")
    run("schema", "to", "--output", "bot/all_models.py", "--check")
    for name in before:
        space = name.partition(".")[0]
        model = "".join(word.capitalize() for word in space.split("_"))
        run("schema", "from", f"bot.all_models:{model}", "--check")
        assert "up to date" in run("schema", "from", f"bot.all_models:{model}").stdout
    assert {
        path.name: path.read_bytes() for path in (store / "schemas").iterdir()
    } == before  # layout is kept


def test_drift_is_told_either_way(store: Path) -> None:
    run("schema", "to", "win_rate", "--output", "drift_models.py")
    schema = store / "schemas/win_rate.schema.json"
    schema.write_text(schema.read_text().replace('"maximum": 0.6,', '"maximum": 0.61,', 1))
    said = run("schema", "from", "drift_models:WinRate", "--check", status=1).stdout
    assert '-          "maximum": 0.61,' in said and '+          "maximum": 0.6,' in said
    said = run("schema", "to", "win_rate", "--output", "drift_models.py", "--check", status=1).stdout
    assert "le=0.61" in said
    assert "0.61" not in (store / "drift_models.py").read_text()
    data = json.loads(run("schema", "from", "drift_models:WinRate", "--check", "--json", status=1).stdout)
    assert data["changed"] and '-          "maximum": 0.61,' in data["difference"]
    run("schema", "from", "drift_models:WinRate")
    assert '"maximum": 0.61' not in schema.read_text()
    assert ParamStore(store, environ={}).spec("win_rate.floor").maximum == 0.6


def test_a_new_namespace_begins_with_a_model(store: Path) -> None:
    code = "class ExitRules(BaseModel):\n    max_hold_h: float = Field(default=12.0, ge=1, le=48)\n"
    (store / "exit_models.py").write_text(f"{HEAD}\n\n{code}")
    assert "is missing" in run("schema", "from", "exit_models:ExitRules", "--check", status=1).stdout
    run("schema", "from", "exit_models:ExitRules")
    run("check", "--fix")
    assert ParamStore(store, environ={}).get("exit_rules.max_hold_h") == 12.0
    run("schema", "from", "exit_models:ExitRules", "--namespace", "other")
    assert (store / "schemas/other.schema.json").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('no\\nnetwork')", "cannot be imported: RuntimeError: no network"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("def (", "cannot be imported: SyntaxError"),
        ("Wrong = 3", "has no pydantic model `Wrong`"),
    ],
)
def test_a_module_that_cannot_be_used_ends_in_a_message(store: Path, code: str, said: str) -> None:
    (store / "wrong_models.py").write_text(code)
    sys.modules.pop("wrong_models", None)
    assert said in run("schema", "from", "wrong_models:Wrong", status=2).stderr
    assert "write it as module:class" in run("schema", "from", "wrong_models", status=2).stderr


def test_a_wrong_schema_is_never_written(store: Path) -> None:
    code = "class WinRate(BaseModel):\n    floor: float = Field(default=0.9, le=0.5)\n"
    (store / "bad_models.py").write_text(f"{HEAD}\n\n{code}")
    before = (store / "schemas/win_rate.schema.json").read_bytes()
    assert "the default is wrong" in run("schema", "from", "bad_models:WinRate", status=2).stderr
    run("schema", "from", "bad_models:WinRate", "--namespace", "../evil", status=2)
    assert (store / "schemas/win_rate.schema.json").read_bytes() == before
    assert not list(store.rglob("*evil*")) and not list(store.parent.glob("evil*"))
    assert "needs --output" in run("schema", "to", "--check", status=2).stderr
    assert "no schemas/none.schema.json" in run("schema", "to", "none", status=2).stderr


@pytest.mark.parametrize("words", [("stubs",), ("schema", "to"), ("check",), ("list",)])
def test_no_other_command_imports_what_lies_here(store: Path, words: tuple[str, ...]) -> None:
    trap = "open('imported', 'w').close()\n"
    for name in ("win_rate.py", "mybot.py", "usercustom.py"):
        (store / name).write_text(trap)
    command = [sys.executable, "-m", "paramstore", *words]
    done = subprocess.run(command, cwd=store, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (store / "imported").exists()
