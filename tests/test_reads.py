"""The read API on files: layers, contexts, snapshots, live changes by others, and what a read costs."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from local_store import age, number, schema, write, write_store

from paramstore import ParamStore, _values
from paramstore._backends import _commit, _loader
from paramstore._model import Change
from paramstore.errors import (
    ContextError,
    MalformedKeyError,
    ReadOnlyError,
    SettingsError,
    StoreNotFoundError,
    UnknownParamError,
    ValidationError,
)

REPOSITORY = Path(__file__).resolve().parents[1]
PAIR = {
    "type": "array",
    "prefixItems": [{"type": "number"}, {"type": "string"}],
    "minItems": 2,
    "maxItems": 2,
}
SCHEMAS = {
    "gate": schema(
        {
            "min_trades": {
                "type": "integer",
                "minimum": 1,
                "maximum": 500,
                "default": 30,
                "description": "Trades before statistics count.",
                "x-param": {"unit": "trades", "learnable": True, "owner": "gate_learner", "cooldown_s": 60},
            },
            "on": {"type": "boolean", "default": True},
            "style": {"enum": ["slow", "fast"], "default": "slow"},
            "pairs": {"type": "array", "items": PAIR, "default": []},
            "table": {"type": "object", "additionalProperties": {"type": "number"}, "default": {}},
        }
    ),
    "weights": schema(
        {"funding": number(1.0), "hurst": number(2.0)},
        {"mode": {"enum": ["paper", "live"]}, "symbol": {"type": "string"}, "level": {"type": "integer"}},
        [{"sum": ["*"], "maximum": 15}],
    ),
}
GATE = """\
schema: 1
values:
  min_trades: 30
  on: true
  style: slow
  pairs: [[1, a], [0.5, b]]   # number and name
  table: {x: 1, w: 2.5}
"""
WEIGHTS = """\
schema: 1
values:
  funding: 1.0   # comment
  hurst: 2.0
overrides:
  - at: {symbol: BTC}
    values: {funding: 1.2}
  - at: {mode: live}
    values: {funding: 1.1, hurst: 2.1}
  - at: {mode: live, symbol: BTC}
    values: {funding: 1.3}
  - at: {level: 2}
    values: {funding: 1.4}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", SCHEMAS, {"gate": GATE, "weights": WEIGHTS})


@pytest.fixture
def params(root: Path) -> Iterator[ParamStore]:
    store = ParamStore(root, environ={})
    yield store
    store.reset()


def other(root: Path) -> ParamStore:
    return ParamStore(root, environ={})


def commit(store: ParamStore, **values: Any) -> None:
    with store.transaction(author="test") as tx:
        for key, value in values.items():
            tx[key.replace("__", ".")] = value


def run(*words: str, cwd: Path, **environ: str) -> str:
    """Run a command and return its output; a failure shows its errors."""
    keep = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    environ = {**keep, "PYTHONPATH": str(REPOSITORY), **environ}
    done = subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def within(seconds: float, condition: Callable[[], bool]) -> float:
    """Wait until ``condition`` holds and return how long it took; fail after ``seconds``."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - start


# -- keys and defaults ----------------------------------------------------------------------------


def test_a_misspelt_key_suggests_and_is_a_key_error(params: ParamStore) -> None:
    with pytest.raises(KeyError) as caught:
        params.get("gate.min_trade")
    assert isinstance(caught.value, UnknownParamError)
    assert str(caught.value).startswith(
        "`gate.min_trade` is not a known parameter. Did you mean `gate.min_trades`"
    )
    assert caught.value.nearest[0] == "gate.min_trades"
    with pytest.raises(UnknownParamError, match=r"Did you mean `weights\.hurst` or"):
        params.get("gate.hurst")  # the right leaf in the wrong place


@pytest.mark.parametrize("key", ["", ".", "gate.", ".gate", "gate..on", None, 3, 1.5])
def test_what_is_no_key_is_refused(params: ParamStore, key: Any) -> None:
    with pytest.raises(
        MalformedKeyError, match=r"is not a key: a key is a string like `namespace.path.to.leaf`"
    ):
        params.get(key)


def test_a_misspelt_key_is_logged_once_even_where_the_error_is_hidden(
    params: ParamStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="paramstore"):
        for _ in range(3):
            for read in (params.get, params.at(symbol="BTC").get, params.snapshot().get):
                with contextlib.suppress(Exception):  # what strategy code does
                    read("gate.hidden_misspelling")
    assert [record.getMessage() for record in caplog.records] == [
        "`gate.hidden_misspelling` is not a known parameter. `paramstore list` shows all."
    ]


def test_endless_misspelt_keys_do_not_fill_the_memory(
    params: ParamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_values, "MOST_LOGGED", 10)
    for each in range(50):
        with pytest.raises(UnknownParamError):
            params.get(f"gate.no_such_{each}")
    assert len(_values._logged) <= 10


def test_text_that_cannot_be_written_is_no_context(params: ParamStore) -> None:
    assert params.get("weights.funding", symbol="₿") == params.get("weights.funding")
    with pytest.raises(ContextError, match="is not a value of dimension `symbol`"):
        params.get("weights.funding", symbol="\ud800")


def test_there_is_no_default(params: ParamStore) -> None:
    for opened in (False, True):  # the first read goes another way
        store = params if opened else ParamStore(params.root, environ={})
        reads: list[Any] = [store.get, params.at(symbol="BTC").get]
        for read in reads:
            with pytest.raises(TypeError):
                read("gate.min_trades", 30)
            with pytest.raises(TypeError, match="default"):
                read("gate.min_trades", default=30)
            with pytest.raises((UnknownParamError, TypeError)):
                read("gate.min_trade", None)
    with pytest.raises(TypeError):
        params.snapshot().get("gate.min_trades", 30)  # type: ignore[call-arg]


# -- layers and contexts --------------------------------------------------------------------------


def test_contexts_by_number_of_dimensions_then_by_the_later_one(params: ParamStore) -> None:
    get = params.get
    assert get("weights.funding") == 1.0
    assert get("weights.funding", mode="paper") == 1.0
    assert get("weights.funding", mode="live") == 1.1
    assert get("weights.funding", symbol="BTC") == 1.2
    assert get("weights.funding", mode="live", symbol="BTC") == 1.3
    assert get("weights.hurst", mode="live", symbol="BTC") == 2.1
    assert get("weights.funding", mode="live", level=2) == 1.4  # level is declared later than mode
    assert get("weights.funding", symbol="BTC", level=2) == 1.4
    assert get("weights.funding", mode="live", symbol="BTC", level=2) == 1.3  # two dimensions beat one
    assert get("weights.funding", symbol="ETH") == 1.0
    assert get("gate.min_trades", symbol="BTC") == 30  # a namespace without the dimension does not mind


def test_the_latest_dimension_decides_first(tmp_path: Path) -> None:
    at = {name: {"type": "string"} for name in ("a", "b", "c", "d")}
    text = """\
schema: 1
values: {x: 1.0}
overrides:
  - at: {a: "1", d: "1"}
    values: {x: 2.0}
  - at: {b: "1", c: "1"}
    values: {x: 3.0}
"""
    store = other(write_store(tmp_path / "s", {"n": schema({"x": number(1.0)}, at)}, {"n": text}))
    assert store.get("n.x", a="1", b="1", c="1", d="1") == 2.0
    assert store.get("n.x", a="1", b="1", c="1") == 3.0


def test_a_dimension_that_is_none_is_not_there(params: ParamStore) -> None:
    assert params.get("weights.funding", symbol=None, mode="live") == 1.1
    assert params.at(symbol=None).get("weights.funding") == 1.0
    assert params.at(symbol="BTC").get("weights.funding", symbol=None) == 1.2  # nothing more is said
    assert params.snapshot().at(symbol=None).get("weights.funding") == 1.0


def test_unknown_dimensions_and_values(params: ParamStore) -> None:
    for read in (params.get, params.at(mode="live").get):
        with pytest.raises(TypeError, match="simbol"):
            read("weights.funding", simbol="BTC")
    with pytest.raises(ContextError, match=r"`simbol` is no declared dimension .* Did you mean `symbol`\?"):
        params.at(simbol="BTC")
    with pytest.raises(
        ContextError, match=r"'lvie' is not a value of dimension `mode`: one of 'paper', 'live'"
    ):
        params.get("weights.funding", mode="lvie")
    for level in ("2", 2.0, True):
        with pytest.raises(ContextError, match=r"a(n)? integer is expected"):
            params.get("weights.funding", level=level)
    with pytest.raises(ContextError):
        params.snapshot().at(symbol=3)


def test_bound_views_have_the_same_reads(params: ParamStore) -> None:
    btc = params.at(symbol="BTC")
    assert (btc.get("weights.funding"), btc.get("weights.funding", mode="live")) == (1.2, 1.3)
    assert btc.at(mode="live").get("weights.funding") == 1.3
    assert btc.section("weights") == {"funding": 1.2, "hurst": 2.0}
    assert btc.snapshot().at(mode="live").get("weights.funding") == 1.3
    assert btc.explain("weights.funding").value == 1.2
    assert btc.keys("weights.*") == ["weights.funding", "weights.hurst"]
    assert btc.spec("weights.hurst").key == "weights.hurst"
    assert params.at(symbol="BTC") is btc


def test_dimensions_of_the_same_name_allow_what_any_namespace_allows(tmp_path: Path) -> None:
    schemas = {
        "a": schema({"x": number(1.0)}, {"regime": {"enum": ["trend", "chop"]}}),
        "b": schema({"x": number(1.0)}, {"regime": {"enum": ["bull", "bear"]}}),
    }
    bull = "schema: 1\nvalues: {x: 1.0}\noverrides:\n  - at: {regime: bull}\n    values: {x: 2.0}\n"
    store = ParamStore(
        write_store(tmp_path / "s", schemas, {"a": "schema: 1\nvalues: {x: 1.0}\n", "b": bull})
    )
    assert (store.get("b.x", regime="bull"), store.get("b.x", regime="trend")) == (2.0, 1.0)
    with pytest.raises(ContextError, match="'bull', 'bear'"), store.transaction(author="test") as tx:
        tx.set("b.x", 3.0, regime="trend")  # b's own file would be refused afterwards
    assert store.refresh().ok


def test_environment_lies_over_contexts_and_below_overrides(root: Path) -> None:
    store = ParamStore(root, environ={"PARAM__weights__funding": "3.5", "PARAM__gate__on": "false"})
    assert (store.get("weights.funding"), store.get("weights.funding", symbol="BTC")) == (3.5, 3.5)
    assert store.get("gate.on") is False
    with store.override({"weights.funding": 4}):
        assert store.get("weights.funding", symbol="BTC") == 4.0
        why = store.explain("weights.funding", symbol="BTC")
        layers = [(layer.name, layer.value, layer.applies) for layer in why.layers]
    assert layers == [
        ("yaml", 1.0, True), ("context", 1.1, False), ("context", 1.3, False), ("context", 1.4, False),
        ("context", 1.2, True), ("environment", 3.5, True), ("override", 4.0, True),
    ]  # fmt: skip
    commit(store, weights__funding=2.0)
    assert store.get("weights.funding") == 3.5
    assert store.as_of(1).get("weights.funding") == 2.0
    with store.transaction(author="test", dry_run=True) as tx:
        assert tx["weights.funding"] == 2.0  # a learner builds on what is written


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("PARAM__gate__min_trade", "3", ["sets no known parameter", "PARAM__gate__min_trades?"]),
        ("PARAM__gate__min_trades", "x", ["`gate.min_trades` = 'x'", "an integer is expected"]),
        ("PARAM__gate__min_trades", "501", ["above its maximum 500", "schemas/gate.schema.json"]),
        ("PARAM__gate__min_trades", "30.0", ["an integer is expected"]),
        ("PARAM__weights__funding", "nan", ["not a finite number"]),
        ("PARAM__weights__funding", "1e999", ["not a finite number"]),
        ("PARAM__gate__on", "yes", ["a boolean is expected"]),
        ("PARAM__gate__pairs", "[[1]]", ["breaks the rule"]),
        ("PARAM__gate__pairs", "[[", ["an array is expected"]),
    ],
)
def test_wrong_environment_variables(root: Path, name: str, text: str, words: list[str]) -> None:
    store = ParamStore(root, environ={name: text})
    with pytest.raises(ValidationError) as caught:
        store.get("gate.min_trades")
    for word in [name, *words, "Nothing was opened: unset the variable, or correct it."]:
        assert word in str(caught.value)


def test_environment_must_keep_constraints_and_takes_structures(root: Path) -> None:
    environ = {"PARAM__weights__funding": "9", "PARAM__weights__hurst": "9"}
    with pytest.raises(ValidationError, match="sum of funding, hurst is at most 15, but it is 18"):
        ParamStore(root, environ=environ).get("gate.on")
    store = ParamStore(root, environ={"PARAM__gate__pairs": '[[1, "z"]]', "PARAM__gate__style": "fast"})
    assert repr(store.get("gate.pairs")) == "[(1.0, 'z')]"
    assert store.get("gate.style") == "fast"


# -- overrides ------------------------------------------------------------------------------------


def test_overrides_nest_and_end_with_their_block(params: ParamStore) -> None:
    bound, section = params.at(symbol="BTC"), params.section("weights")
    with params.override({"weights.funding": 3, "gate.on": False}):
        assert repr(params.get("weights.funding")) == "3.0"
        with params.override({"weights.funding": 4.0}):
            assert (params.get("weights.funding"), bound.get("weights.funding")) == (4.0, 4.0)
            assert section["funding"] == 4.0
            assert params.get("gate.on") is False
            commit(params, weights__funding=5.0)
            assert params.get("weights.funding") == 4.0
        assert (params.get("weights.funding"), section["funding"]) == (3.0, 3.0)
    assert (params.get("weights.funding"), bound.get("weights.funding"), section["funding"]) == (
        5.0,
        1.2,
        5.0,
    )
    with pytest.raises(ZeroDivisionError), params.override({"gate.min_trades": 5}):
        raise ZeroDivisionError
    assert params.get("gate.min_trades") == 30


def test_wrong_overrides_lay_nothing(params: ParamStore) -> None:
    with pytest.raises(UnknownParamError, match=r"gate\.min_trades"), params.override({"gate.min_trade": 3}):
        pass
    wrong = {"gate.on": False, "gate.min_trades": 0, "weights.funding": True}
    with pytest.raises(ValidationError) as caught, params.override(wrong):
        pass
    assert len(caught.value.violations) == 2
    assert str(caught.value).endswith("Nothing was overridden.")
    assert params.get("gate.on") is True


# -- spec, keys, explain, section -----------------------------------------------------------------


def test_spec_tells_what_the_schema_says(params: ParamStore) -> None:
    spec = params.spec("gate.min_trades")
    assert (spec.type, spec.unit, spec.minimum, spec.maximum, spec.default) == (
        "integer",
        "trades",
        1,
        500,
        30,
    )
    assert (spec.learnable, spec.owner, spec.cooldown_s, spec.max_step) == (True, "gate_learner", 60, None)
    assert (spec.description, spec.schema_file) == (
        "Trades before statistics count.",
        "schemas/gate.schema.json",
    )
    assert params.spec("weights.funding").dimensions == ("mode", "symbol", "level")
    assert params.spec("gate.style").choices == ("slow", "fast")
    with pytest.raises(UnknownParamError, match=r"gate.min_trades"):
        params.spec("gate.min_trade")


def test_keys_by_pattern(params: ParamStore) -> None:
    assert params.keys("gate.*") == [
        f"gate.{name}" for name in ("min_trades", "on", "style", "pairs", "table")
    ]
    assert len(params.keys()) == 7
    assert params.keys("gate.on") == ["gate.on"]
    assert params.keys("nothing.*") == []
    with pytest.raises(UnknownParamError):
        params.keys("gate.min_trade")


def test_explain_names_the_last_change(params: ParamStore) -> None:
    assert params.explain("weights.funding").last_change is None
    commit(params, weights__funding=2.0)
    commit(params, gate__on=False)
    why = params.explain("weights.funding", mode="live")
    assert (why.value, why.revision, dict(why.context)) == (1.1, 2, {"mode": "live"})
    assert why.last_change is not None
    assert (why.last_change.revision, why.last_change.author) == (1, "test")
    assert [(layer.source, layer.applies) for layer in why.layers if layer.applies] == [
        ("params/weights.yaml", True), ("params/weights.yaml at mode=live", True),
    ]  # fmt: skip
    assert why.spec.key == "weights.funding"
    with pytest.raises(UnknownParamError):
        params.explain("weights.fundign")


def test_a_section_is_live_and_read_only(params: ParamStore, root: Path) -> None:
    section = params.section("weights")
    frozen = params.snapshot().section("weights")
    commit(other(root), weights__funding=2.0)
    assert (section["funding"], frozen["funding"]) == (2.0, 1.0)
    for one in (section, frozen):
        with pytest.raises(ReadOnlyError):
            one["funding"] = 3.0
    with pytest.raises(UnknownParamError, match=r"Did you mean `weights`\?"):
        params.section("weight")


# -- snapshots ------------------------------------------------------------------------------------


def test_a_snapshot_has_one_revision_and_a_stamp(params: ParamStore, root: Path) -> None:
    with params.snapshot() as p:
        commit(other(root), weights__funding=2.0, weights__hurst=3.0)
        assert params.get("weights.funding") == 2.0
        assert (p.get("weights.funding"), p["weights.hurst"], p.revision) == (1.0, 2.0, 0)
        assert p.stamp() == {"params_revision": 0, "params_digest": p.digest}
        assert (len(p), next(iter(p)), p.keys("weights.h*")) == (7, "gate.min_trades", ["weights.hurst"])
        with pytest.raises(ReadOnlyError):
            p.values["weights.hurst"] = 9.0
        with pytest.raises(ReadOnlyError):
            p.values.update({"weights.hurst": 9.0})
    assert params.snapshot().revision == 1


def test_equal_digests_mean_equal_values(params: ParamStore) -> None:
    first = params.snapshot()
    digest = first.digest
    assert (len(digest), int(digest, 16) >= 0) == (16, True)
    commit(params, weights__funding=2.0)
    assert params.snapshot().digest != digest
    commit(params, weights__funding=1.0)
    assert params.snapshot().digest == digest
    assert first.at(symbol="BTC").digest != digest  # other values, whenever it is asked
    with params.override({"weights.funding": 1.5}):
        assert params.snapshot().digest != digest


def test_a_snapshot_in_a_context_narrows_step_by_step(params: ParamStore) -> None:
    p = params.snapshot()
    assert p.at(symbol="BTC").at(mode="live").get("weights.funding") == 1.3
    assert p.at(mode="live").at(symbol="BTC").get("weights.funding") == 1.3
    assert p.at(symbol="BTC").at(symbol="ETH").get("weights.funding") == 1.0
    assert p.at(symbol="BTC").at().get("weights.funding") == 1.2
    assert p.at(symbol="BTC").section("weights") == {"funding": 1.2, "hurst": 2.0}


def test_as_of_takes_revisions_and_times(params: ParamStore) -> None:
    assert params.as_of(0).get("weights.funding") == 1.0  # before anything was recorded
    commit(params, weights__funding=2.0)
    between = datetime.now(UTC)
    commit(params, weights__funding=3.0)
    naive = between.replace(tzinfo=None)
    for when in (1, "1", between, between.isoformat(), naive, naive.isoformat()):
        assert params.as_of(when).get("weights.funding") == 2.0
    for wrong in (3, -1, "²", "yesterday", None, 1.5, True):
        with pytest.raises(LookupError):
            params.as_of(wrong)


# -- threads and processes ------------------------------------------------------------------------


def test_threads_never_see_half_of_a_commit_nor_go_back(params: ParamStore, root: Path) -> None:
    stop = threading.Event()
    wrong: list[Any] = []

    def read() -> None:
        last = 0
        while not stop.is_set():
            with params.snapshot() as p:
                funding, hurst = p["weights.funding"], p["weights.hurst"]
                pairs = p["gate.pairs"]
            if funding + 1 != hurst or p.revision < last or pairs[0][0] not in (1.0, funding):
                wrong.append((p.revision, last, funding, hurst, pairs))
            last = p.revision

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    writer = other(root)
    for step in range(60):
        value = 1 + step / 10
        commit(writer, weights__funding=value, weights__hurst=value + 1, gate__pairs=[(value, "n")])
        if params.get("weights.funding") != value:
            wrong.append(("stale", value))
    stop.set()
    for thread in threads:
        thread.join(10)
    assert wrong == []


@pytest.mark.parametrize("commits", [1, 2, 3])
@pytest.mark.parametrize("structured", [False, True])
def test_commits_while_files_are_being_read(
    params: ParamStore, root: Path, monkeypatch: pytest.MonkeyPatch, commits: int, structured: bool
) -> None:
    """A reader that has read the files, but not yet the journal, must not take old bytes for the newest."""
    writer, loader = other(root), _loader.Loader
    assert params.get("weights.funding") == 1.0
    read_all, times = loader._read_all, iter(range(1, commits + 1))

    def read_then_be_overtaken(self: Any) -> Any:
        contents = read_all(self)
        if self.last is not None and not self._locked:
            for step in times:
                more = {"gate__pairs": [(step, "s")]} if structured else {}
                commit(writer, weights__funding=1.0 + step, **more)
        return contents

    monkeypatch.setattr(loader, "_read_all", read_then_be_overtaken)
    age(root / "params" / "gate.yaml")  # something to look at
    params.refresh()
    assert params.get("weights.funding") == 1.0 + commits
    assert params.snapshot().revision == commits
    if structured:
        assert params.get("gate.pairs")[0][0] == commits


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize("fresh", [False, True])
def test_files_that_are_read_in_the_middle_of_a_commit(
    params: ParamStore, root: Path, monkeypatch: pytest.MonkeyPatch, structured: bool, fresh: bool
) -> None:
    """The entry is in the journal, its values not in place: whoever looks then must see them right after."""
    reader = other(root) if fresh else params
    writer = other(root)
    commit(writer, gate__on=False)
    if not fresh:
        assert reader.get("gate.on") is False
    swap, seen = _commit.LocalSession._swap, []

    def look_and_swap(self: Any, plans: Any) -> None:
        age(root / "params" / "gate.yaml")
        reader.refresh()
        seen.append((reader.get("weights.funding"), reader.revision))
        swap(self, plans)

    monkeypatch.setattr(_commit.LocalSession, "_swap", look_and_swap)
    for step in (2, 3):
        more = {"gate__pairs": [(step, "s")]} if structured else {}
        commit(writer, weights__funding=float(step), **more)
        assert (reader.get("weights.funding"), reader.revision) == (float(step), step)
        assert not structured or reader.get("gate.pairs")[0][0] == step
    assert seen == [(1.0, 1), (2.0, 2)]


def test_a_commit_of_another_process_is_seen_at_once(params: ParamStore, root: Path) -> None:
    program = """if True:
        import sys
        from paramstore import params
        with params.transaction(author="elsewhere") as tx:
            tx["weights.funding"] = 4.0
            tx.set("weights.hurst", 4.5, symbol="SOL")
            tx["gate.pairs"] = [(3, "c")]
            tx["gate.table"] = {"z": 9}
    """
    assert params.get("weights.funding") == 1.0
    run(sys.executable, "-c", program, cwd=root)
    assert params.get("weights.funding") == 4.0
    assert params.get("weights.hurst", symbol="SOL") == 4.5
    assert repr((params.get("gate.pairs"), params.get("gate.table"))) == "([(3.0, 'c')], {'z': 9.0})"


# -- structured values ----------------------------------------------------------------------------


def test_structured_values_are_immutable_and_typed(params: ParamStore, root: Path) -> None:
    assert repr(params.get("gate.pairs")) == "[(1.0, 'a'), (0.5, 'b')]"
    assert repr(params.get("gate.table")) == "{'x': 1.0, 'w': 2.5}"
    assert isinstance(params.get("gate.pairs"), list)
    assert isinstance(params.get("gate.table"), dict)
    attempts: list[Callable[[], Any]] = [
        lambda: params.get("gate.pairs").append((1.0, "z")),
        lambda: params.get("gate.pairs").__setitem__(0, (1.0, "z")),
        lambda: params.get("gate.table").update(z=1.0),
        lambda: params.get("gate.table").pop("x"),
    ]
    for attempt in attempts:
        with pytest.raises(ReadOnlyError, match="read-only"):
            attempt()
    plain = params.get("gate.pairs").copy()
    plain.append((0.1, "z"))
    commit(params, gate__pairs=plain)
    assert (
        "  pairs: [[1, a], [0.5, b], [0.1, z]]   # number and name\n"
        in (root / "params/gate.yaml").read_text()
    )
    commit(params, gate__table={"x": 1.0, "w": 3, "new": 1})
    assert "  table: {x: 1, w: 3.0, new: 1.0}\n" in (root / "params/gate.yaml").read_text()
    assert repr(other(root).get("gate.pairs")) == "[(1.0, 'a'), (0.5, 'b'), (0.1, 'z')]"
    change = params.history("gate.pairs")[-1].changes[0]
    assert (change.old, change.new) == ([[1.0, "a"], [0.5, "b"]], [[1.0, "a"], [0.5, "b"], [0.1, "z"]])
    params.rollback(to=0, author="test")
    assert repr(params.get("gate.pairs")) == "[(1.0, 'a'), (0.5, 'b')]"
    assert repr(params.as_of(1).get("gate.pairs")) == "[(1.0, 'a'), (0.5, 'b'), (0.1, 'z')]"


# -- subscriptions --------------------------------------------------------------------------------


def test_subscribers_hear_of_matching_changes(params: ParamStore, root: Path) -> None:
    heard: list[tuple[Change, ...]] = []
    threads: set[int] = set()

    def listen(changes: tuple[Change, ...]) -> None:
        threads.add(threading.get_ident())
        heard.append(changes)

    subscription = params.subscribe("weights.*", listen)
    commit(other(root), weights__funding=2.0, weights__hurst=3.0, gate__on=False)
    within(1, lambda: bool(heard))
    assert [(c.key, c.old, c.new) for c in heard[0]] == [
        ("weights.funding", 1.0, 2.0),
        ("weights.hurst", 2.0, 3.0),
    ]
    commit(params, gate__on=True)
    params.health  # noqa: B018 - asking must not call back in this thread
    commit(params, weights__funding=4.0)
    within(1, lambda: len(heard) == 2)
    assert [(c.old, c.new) for c in heard[1]] == [(2.0, 4.0)]
    subscription.cancel()
    commit(params, weights__funding=5.0)
    time.sleep(0.3)
    assert len(heard) == 2
    assert threading.get_ident() not in threads
    with pytest.raises(UnknownParamError):
        params.subscribe("weights.fundign", listen)


def test_a_failing_subscriber_is_logged_and_silences_nobody(
    params: ParamStore, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    def fail(_: Any) -> None:
        raise ZeroDivisionError("subscriber")

    with params.subscribe("weights.*", fail), params.subscribe("weights.*", heard.append):
        commit(params, weights__funding=2.0)
        within(1, lambda: bool(heard))
        commit(params, weights__funding=3.0)
        within(1, lambda: len(heard) == 2)
    assert "a subscriber to 'weights.*' failed" in caplog.text
    assert "ZeroDivisionError: subscriber" in caplog.text


# -- finding and opening a store ------------------------------------------------------------------


def test_nothing_is_opened_before_the_first_use(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing"
    store = ParamStore(missing, environ={})
    assert repr(store) == "<ParamStore, not opened yet>"
    with pytest.raises(StoreNotFoundError) as caught:
        store.get("gate.on")
    assert f"The given root is {missing}, which has no params/ and no schemas/." in str(caught.value)
    assert "Run `paramstore init`" in str(caught.value)
    root.rename(missing)  # and once it is there, the same object reads it
    assert store.get("gate.on") is True
    assert str(missing) in repr(store)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_importing_touches_no_store(root: Path) -> None:
    run("strace", "-f", "-o", "trace", sys.executable, "-c", "from paramstore import params", cwd=root)
    touched = (root / "trace").read_text()
    assert "params/weights.yaml" not in touched
    assert ".paramstore" not in touched
    assert not (root / ".paramstore").exists()


def test_the_root_is_found_upward_or_named(root: Path, tmp_path: Path) -> None:
    deep = root / "src" / "bot"
    deep.mkdir(parents=True)
    read = "from paramstore import params; print(params.get('gate.min_trades'), params.root)"
    assert run(sys.executable, "-c", read, cwd=deep).strip() == f"30 {root}"
    assert run(sys.executable, "-c", read, cwd=tmp_path, PARAMSTORE_ROOT=str(root)).strip() == f"30 {root}"
    store = ParamStore(environ={"PARAMSTORE_ROOT": str(tmp_path)})
    with pytest.raises(
        StoreNotFoundError, match=r"PARAMSTORE_ROOT is .*, which has no params/ and no schemas/"
    ):
        store.get("gate.on")


def test_no_store_anywhere_is_said_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        ParamStore(environ={}).get("gate.on")
    for word in (str(tmp_path), "params/", "schemas/", "`paramstore init`", "PARAMSTORE_ROOT"):
        assert word in str(caught.value)


def test_reset_opens_anew(params: ParamStore, root: Path, tmp_path: Path) -> None:
    section, bound = params.section("weights"), params.at(symbol="BTC")
    assert section["funding"] == 1.0
    environ = {"PARAMSTORE_ROOT": str(root)}
    store = ParamStore(environ=environ)
    assert store.get("weights.funding") == 1.0
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    write(copy / "params" / "weights.yaml", WEIGHTS.replace("funding: 1.0", "funding: 7.0"))
    environ["PARAMSTORE_ROOT"] = str(copy)
    assert store.get("weights.funding") == 1.0
    store.reset()
    assert store.get("weights.funding") == 7.0
    write(root / "params" / "weights.yaml", WEIGHTS.replace("funding: 1.0", "funding: 6.0"))
    params.reset()
    assert (section["funding"], bound.get("weights.hurst")) == (6.0, 2.0)


def test_settings_from_environment_and_file(root: Path) -> None:
    write(root / "paramstore.toml", 'timeout_s = 2.5\njournal = "logs/audit.jsonl"\n')
    store = ParamStore(root, environ={"PARAMSTORE_TIMEOUT_S": "7"})
    assert (store.options.timeout_s, store.options.journal, store.options.poll_s) == (
        7.0,
        "logs/audit.jsonl",
        0.1,
    )
    commit(store, weights__funding=2.0)
    assert (root / "logs" / "audit.jsonl").read_text().count("\n") == 2
    assert not (root / "params" / "journal").exists()


@pytest.mark.parametrize(
    ("environ", "toml", "words"),
    [
        ({"PARAMSTORE_TIMEOUT": "7"}, "", ["PARAMSTORE_TIMEOUT is not a setting", "PARAMSTORE_TIMEOUT_S?"]),
        ({"PARAMSTORE_TIMEOUT_S": "soon"}, "", ["PARAMSTORE_TIMEOUT_S", "'soon'", "valid number"]),
        ({"PARAMSTORE_TIMEOUT_S": "0"}, "", ["PARAMSTORE_TIMEOUT_S", "greater than 0"]),
        ({"PARAMSTORE_TIMEOUT_S": "nan"}, "", ["PARAMSTORE_TIMEOUT_S"]),
        ({"PARAMSTORE_POLL_S": "3"}, "", ["PARAMSTORE_POLL_S", "less than or equal to 0.5"]),
        ({"PARAMSTORE_JOURNAL": "params"}, "", ["PARAMSTORE_JOURNAL", "a directory of its own"]),
        ({}, "timeot_s = 3\n", ["timeot_s", "paramstore.toml", "timeout_s"]),
        ({}, "timeout_s = \n", ["paramstore.toml", "line 1"]),
        ({}, "poll_s = 'x'\n", ["poll_s", "'x'"]),
    ],
)
def test_wrong_settings(root: Path, environ: dict[str, str], toml: str, words: list[str]) -> None:
    if toml:
        write(root / "paramstore.toml", toml)
    with pytest.raises(SettingsError) as caught:
        ParamStore(root, environ=environ).get("gate.on")
    for word in [*words, "Nothing was opened."]:
        assert word in str(caught.value)


def test_a_first_read_imports_nothing_heavy(root: Path) -> None:
    other(root).get("gate.on")  # leaves the sidecar
    assert (root / ".paramstore" / "cache").exists()
    program = f"""if True:
        import sys
        before = set(sys.modules)
        sys.path.insert(0, {str(REPOSITORY)!r})
        from paramstore import params
        assert params.get("weights.funding", symbol="BTC") == 1.2
        assert params.at(mode="live").get("weights.funding") == 1.1
        print(*sorted(set(sys.modules) - before))
    """
    new = set(run(sys.executable, "-I", "-S", "-c", program, cwd=root).split())
    heavy = {
        "pydantic", "pydantic_settings", "jsonschema", "filelock", "ruamel", "dataclasses", "json", "re",
        "typing", "logging", "inspect", "pathlib", "tempfile", "yaml", "decimal", "datetime",
    }  # fmt: skip
    assert "paramstore._store" in new
    assert new & heavy == set()


# -- edits that nobody announces ------------------------------------------------------------------


def git(root: Path, *words: str) -> str:
    name = ("-c", "user.name=t", "-c", "user.email=t@t.invalid", "-c", "init.defaultBranch=main")
    return run("git", *name, *words, cwd=root)


def test_edits_by_hand_are_seen_within_a_second(params: ParamStore, root: Path) -> None:
    file = root / "params" / "weights.yaml"
    heard: list[Any] = []
    params.subscribe("weights.*", heard.append)
    section, revision = params.section("weights"), params.revision
    for value in (3.0, 4.0):  # in place, as `echo >` does; then by rename, as editors do
        text = WEIGHTS.replace("funding: 1.0 ", f"funding: {value} ")
        if value == 3.0:
            file.write_text(text)
        else:
            (root / "swap").write_text(text)
            (root / "swap").rename(file)
        within(1, lambda value=value: params.get("weights.funding") == value)  # type: ignore[misc]
        assert (section["funding"], params.at(symbol="BTC").get("weights.hurst")) == (value, 2.0)
    assert params.health.ok
    assert params.revision == revision  # not a commit yet
    assert [(c.key, c.old, c.new) for c in params.pending()] == []  # nothing is recorded to compare with
    within(1, lambda: len(heard) == 2)
    commit(params, gate__on=False)
    first = params.history()[0]
    assert (first.kind, first.revision, params.as_of(0).get("weights.funding")) == ("external", 0, 4.0)
    file.write_text(file.read_text().replace("funding: 4.0 ", "funding: 5.0 "))
    within(1, lambda: params.get("weights.funding") == 5.0)
    assert [(c.key, c.old, c.new) for c in params.pending()] == [("weights.funding", 4.0, 5.0)]
    commit(params, gate__on=True)
    newest = [(e.revision, e.kind, e.author) for e in params.history()[-2:]]
    assert newest == [(2, "external", "external"), (3, "commit", "test")]
    assert (params.as_of(1).get("weights.funding"), params.as_of(2).get("weights.funding")) == (4.0, 5.0)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_checkout_and_pull_are_seen_within_a_second(
    params: ParamStore, root: Path, tmp_path: Path
) -> None:
    git(root, "init", "-q")
    write(root / ".gitignore", ".paramstore/\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    commit(params, weights__funding=2.0, gate__pairs=[(2, "z")])
    git(root, "add", ".")
    git(root, "commit", "-qm", "learned")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(root), str(clone))

    git(root, "checkout", "-q", "HEAD~1", "--", "params/weights.yaml", "params/gate.yaml")
    within(1, lambda: params.get("weights.funding") == 1.0)
    assert repr(params.get("gate.pairs")) == "[(1.0, 'a'), (0.5, 'b')]"
    git(root, "checkout", "-q", "HEAD", "--", "params")
    within(1, lambda: params.get("weights.funding") == 2.0)
    assert params.get("gate.pairs")[0] == (2.0, "z")

    commit(other(clone), weights__funding=3.0)
    git(clone, "commit", "-qam", "elsewhere")
    git(root, "pull", "-q", str(clone), "main")
    within(1, lambda: params.get("weights.funding") == 3.0)
    within(1, lambda: params.revision == 2)  # the journal came along
    commit(params, weights__funding=4.0)
    assert [e.revision for e in params.history()] == [0, 1, 2, 3]
    assert [e.kind for e in params.history()] == ["external", "commit", "commit", "commit"]

    git(root, "checkout", "-q", "-f", "HEAD~2")  # before any journal
    within(1, lambda: params.get("weights.funding") == 1.0)
    commit(params, weights__funding=5.0)
    assert other(root).get("weights.funding") == 5.0


@pytest.mark.parametrize("fresh_writer", [False, True])
def test_the_last_commit_put_back_by_hand_stays_in_history(
    params: ParamStore, root: Path, fresh_writer: bool
) -> None:
    before = (root / "params" / "weights.yaml").read_bytes()
    commit(params, weights__funding=2.0)
    write(root / "params" / "weights.yaml", before)  # `git checkout params/weights.yaml`
    within(1, lambda: params.get("weights.funding") == 1.0)
    assert params.revision == other(root).revision == 1
    commit(other(root) if fresh_writer else params, gate__on=False)
    assert [(e.revision, e.kind) for e in params.history()] == [
        (0, "external"), (1, "commit"), (2, "external"), (3, "commit"),
    ]  # fmt: skip
    assert [params.as_of(n).get("weights.funding") for n in range(4)] == [1.0, 2.0, 1.0, 1.0]


def test_health_of_a_good_store(params: ParamStore) -> None:
    health = params.health
    assert (health.ok, health.problems, health.revision) == (True, (), 0)


def test_partial_overrides_that_break_a_constraint_are_a_warning_that_stays(root: Path) -> None:
    text = f"""{WEIGHTS}\
  - at: {{symbol: SOL}}
    values: {{funding: 9.9, hurst: 2.0}}
  - at: {{symbol: XRP}}
    values: {{hurst: 9.9}}
"""
    write(root / "params" / "weights.yaml", text.replace("funding: 1.0 ", "funding: 6.0 "))
    for _ in range(2):  # the second reads the sidecar
        store = other(root)
        assert store.health.ok
        assert len(store.health.warnings) == 1
        assert "XRP" in store.health.warnings[0]
        assert "sum of funding, hurst is at most 15, but it is 15.9" in store.health.warnings[0]
    commit(store, weights__funding=5.0)
    assert store.health.warnings == ()


def test_an_override_without_values_does_not_shift_its_neighbours(params: ParamStore, root: Path) -> None:
    text = WEIGHTS.replace("values: {funding: 1.2}", "values: {}")
    write(root / "params" / "weights.yaml", text)
    store = other(root)
    commit(store, weights__hurst=2.5)
    with store.transaction(author="test") as tx:
        tx.set("weights.funding", 1.15, mode="live")
    shutil.rmtree(root / ".paramstore")  # so that a fresh reader looks into the file itself
    for reader in (store, other(root)):
        assert reader.get("weights.funding", mode="live") == 1.15
        assert reader.get("weights.funding", symbol="BTC") == 1.0


def test_a_new_segment_that_stayed_empty_does_not_restart_revisions(params: ParamStore, root: Path) -> None:
    commit(params, weights__funding=2.0)
    write(root / "params" / "journal" / "00000002.jsonl", b"")  # its writer died before the first line
    file = root / "params" / "weights.yaml"
    write(file, file.read_text().replace("funding: 2.0", "funding: 3.0"))
    store = other(root)
    commit(store, gate__on=False)
    assert [e.revision for e in store.history()] == [0, 1, 2, 3]
    assert [e.kind for e in store.history()[1:]] == ["commit", "external", "commit"]
    assert store.get("weights.funding") == 3.0
