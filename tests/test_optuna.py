"""A namespace searched by Optuna itself: the space, what the objective sees, and what is proposed in the end."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from local_store import number, schema
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from paramstore import Evidence, ParamStore
from paramstore.errors import UnknownParamError, ValidationError
from paramstore.optuna import current, propose_best, suggest
from paramstore.testing import ManualClock, memory_store

SOURCE = Path(__file__).resolve().parents[1]
OWNED = {"x-param": {"decimals": 2, "owner": "tuner", "min_samples": 30, "max_step": 0.1}}
SIZES = {
    "share": number(0.5, **{"x-param": {"decimals": 3, "max_step": 0.05, "max_drift": 0.08}}),
    "free": number(1.0, minimum=0.25, maximum=4.0, **{"x-param": {}}),
    "count": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10, "x-param": {"max_step": 3}},
    "fast": {"type": "boolean", "default": True},
    "mode": {"type": "string", "enum": ["calm", "wild"], "default": "calm"},
    "tier": {"type": "integer", "enum": [1, 2, 5], "default": 2},
    "fixed": number(1.0, **{"x-param": {"learnable": False}}),
}
WEIGHTS = {name: number(0.25, minimum=0.05, maximum=0.6, **OWNED) for name in ("a", "b", "c", "d")}
WORDS: dict[str, dict[str, Any]] = {
    "text": {"type": "string", "default": "x"},
    "wide": {"type": "number", "default": 1.0, "x-param": {"decimals": 2}},
    "stepped": {"type": "number", "default": 2.0, "x-param": {"decimals": 2, "max_step_relative": 0.1}},
    "whole": {"type": "integer", "default": 7, "x-param": {"max_step": 2}},
    "half": {"type": "number", "minimum": 0.0, "default": 2.0, "x-param": {"decimals": 1, "max_drift": 0.5}},
    "above": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.05, "x-param": {"max_step": 0.1}},
    "fine": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5, "x-param": {"decimals": 1, "max_step": 0.01}},
}  # fmt: skip
SCHEMAS = {
    "sizes": schema(SIZES, {"symbol": {"type": "string"}}),
    "weights": schema(WEIGHTS, constraints=[{"sum": ["*"], "equals": 1}]),
    "words": schema(WORDS),
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PARAMSTORE_ROOT", "/nowhere")  # a test that forgets its store must not find another
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> ParamStore:
    return memory_store(SCHEMAS, clock=clock)


def init(folder: Path) -> None:
    command = [sys.executable, "-m", "paramstore", "--root", str(folder), "init"]
    subprocess.run(command, check=True, capture_output=True)


def study(**more: Any) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=3), study_name="sizes", **more)


def space(namespace: str, store: ParamStore, **more: Any) -> dict[str, Any]:
    trial = study().ask()
    suggest(trial, namespace, store, **more)
    return {key.removeprefix(f"{namespace}."): found for key, found in trial.distributions.items()}


# --- the space -------------------------------------------------------------------------------------------------


def test_the_space_is_what_may_be_learned_within_bounds_and_steps(store: ParamStore) -> None:
    assert space("sizes", store) == {
        "share": FloatDistribution(0.45, 0.55, step=0.001),
        "free": FloatDistribution(0.25, 4.0),
        "count": IntDistribution(7, 13),
        "fast": CategoricalDistribution((False, True)),
        "mode": CategoricalDistribution(("calm", "wild")),
        "tier": CategoricalDistribution((1, 2, 5)),
    }


def test_the_space_can_be_all_that_bounds_allow(store: ParamStore) -> None:
    wide = space("sizes", store, within_steps=False, names=["share", "count"])
    assert wide == {"share": FloatDistribution(0.0, 10.0, step=0.001), "count": IntDistribution(1, 100)}


def test_the_space_follows_steps_and_ends_at_the_drift_limit(store: ParamStore) -> None:
    with store.transaction(author="tuner") as tx:
        tx["sizes.share"] = 0.55
    assert space("sizes", store, names=["share"]) == {"share": FloatDistribution(0.5, 0.58, step=0.001)}


def test_the_space_of_a_context_is_around_its_own_value(store: ParamStore) -> None:
    with store.transaction(author="tuner", force=True, reason="another market") as tx:
        tx.set("sizes.share", 3.0, symbol="BTC")
    found = space("sizes", store, names=["share"], symbol="BTC")
    assert found == {"share": FloatDistribution(2.95, 3.05, step=0.001)}


def test_cooldowns_freezes_and_owners_do_not_narrow_the_space(store: ParamStore) -> None:
    store.freeze("weights", author="me", reason="incident")
    assert space("weights", store)["a"] == FloatDistribution(0.15, 0.35, step=0.01)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("stepped", 1.8, 2.2), ("whole", 5, 9), ("half", 1.5, 2.5)]
)
def test_steps_are_bounds_where_there_are_none(store: ParamStore, name: str, low: float, high: float) -> None:
    found = space("words", store, names=[name])[name]
    assert (found.low, found.high) == (low, high)


def test_limits_between_the_decimals_are_rounded_inwards(clock: ManualClock) -> None:
    values = {
        "words": {
            "schema": 1,
            "values": {**{name: word["default"] for name, word in WORDS.items()}, "stepped": 1.23},
        }
    }
    store = memory_store({"words": SCHEMAS["words"]}, values, clock)
    assert space("words", store, names=["stepped"]) == {"stepped": FloatDistribution(1.11, 1.35, step=0.01)}


@pytest.mark.parametrize(("count", "low", "high"), [(100, 97, 100), (1, 1, 4)])
def test_a_value_at_its_bound_has_the_space_on_the_other_side(
    store: ParamStore, count: int, low: int, high: int
) -> None:
    with store.transaction(author="me", force=True, reason="to the bound") as tx:
        tx["sizes.count"] = count
    assert space("sizes", store, names=["count"]) == {"count": IntDistribution(low, high)}


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("wide", {}, "has neither bounds nor steps"),
        ("stepped", {"within_steps": False}, "has neither bounds nor steps"),
        ("text", {}, "is of type string"),
        ("above", {}, "needs inclusive bounds"),
    ],
)
def test_what_cannot_be_searched_is_refused(store: ParamStore, name: str, more: Any, why: str) -> None:
    with pytest.raises(ValidationError, match=rf"`words\.{name}`.* {why}"):
        space("words", store, names=[name], **more)


def test_only_what_may_be_learned_can_be_named(store: ParamStore) -> None:
    with pytest.raises(ValidationError, match=r"not learnable: `sizes\.fixed`"):
        space("sizes", store, names=["share", "fixed"])
    with pytest.raises(UnknownParamError, match=r"Did you mean `sizes\.share`"):
        space("sizes", store, names=["shore"])
    with pytest.raises(ValidationError, match="nothing to search"):
        space("sizes", store, names=[])


def test_values_have_the_decimals_of_the_schema(store: ParamStore) -> None:
    values = [suggest(study().ask(), "sizes", store)["sizes.share"] for _ in range(20)]
    assert all(value == round(value, 3) for value in values)


def test_steps_finer_than_the_decimals_leave_only_the_value_itself(store: ParamStore) -> None:
    assert suggest(study().ask(), "words", store, ["fine"]) == {"words.fine": 0.5}


def test_a_search_writes_nothing(store: ParamStore) -> None:
    study().optimize(lambda trial: suggest(trial, "weights", store, projected=True)["weights.a"], n_trials=5)
    assert store.revision == 0
    assert "refusal" not in [entry.kind for entry in store.history(refused=True)]


# --- projected -------------------------------------------------------------------------------------------------


def test_projected_values_are_those_that_would_be_applied(store: ParamStore) -> None:
    search = study()
    for _ in range(10):
        trial = search.ask()
        values = suggest(trial, "weights", store, projected=True)
        assert round(sum(values.values()), 9) == 1
        with store.transaction(author="tuner", evidence={"samples": 30}, dry_run=True) as tx:
            raw = {key.removeprefix("weights."): round(value, 2) for key, value in trial.params.items()}
            tx.propose("weights", raw, on_violation="project")
            assert values == {key: tx.get(key) for key in values}


def test_projected_values_hold_what_makes_room_for_them(store: ParamStore) -> None:
    trial = optuna.trial.FixedTrial({"weights.a": 0.33})
    values = suggest(trial, "weights", store, ["a"], projected=True)  # type: ignore[arg-type]
    assert values == {"weights.a": 0.31, "weights.b": 0.23, "weights.c": 0.23, "weights.d": 0.23}


def test_projected_values_are_refused_as_a_proposal_would_be(store: ParamStore) -> None:
    with pytest.raises(ValidationError, match="its owner is `tuner`, not `me`"):
        suggest(study().ask(), "weights", store, projected=True, author="me")
    with pytest.raises(ValidationError, match="at least 30 samples"):
        suggest(study().ask(), "weights", store, projected=True, evidence={"samples": 3})


def test_choices_pass_a_projection_as_they_are(store: ParamStore) -> None:
    values = suggest(study().ask(), "sizes", store, projected=True)
    assert values["sizes.mode"] in ("calm", "wild") and values["sizes.tier"] in (1, 2, 5)


def test_projected_values_of_a_context_hold_what_a_freeze_keeps(store: ParamStore) -> None:
    store.freeze("sizes.share", author="me", reason="pinned")
    values = suggest(study().ask(), "sizes", store, ["share", "free"], projected=True, symbol="BTC")
    assert values["sizes.share"] == 0.5 and type(values["sizes.free"]) is float


# --- the proposal ----------------------------------------------------------------------------------------------


def searched(store: ParamStore, trials: int = 30, namespace: str = "weights", **more: Any) -> optuna.Study:
    search = study(direction="maximize", **more)
    search.enqueue_trial(current(namespace, store))

    def objective(trial: optuna.Trial) -> float:
        values = suggest(trial, namespace, store, projected=True)
        return -sum(
            (value - 0.6 * (key == "weights.a")) ** 2 for key, value in values.items() if type(value) is float
        )

    search.optimize(objective, n_trials=trials)
    return search


def test_the_best_trial_is_proposed_with_its_evidence(store: ParamStore) -> None:
    search = searched(store)
    result = propose_best(search, "weights", "tuner", store=store)
    weights = store.section("weights")
    assert result.revision == store.revision == 1
    assert weights["a"] == pytest.approx(0.35, abs=0.03)
    assert round(sum(weights.values()), 9) == 1
    assert result.entry is not None
    assert (result.entry.author, result.entry.reason) == ("tuner", "sizes")
    assert result.entry.evidence == {
        "samples": 30, "metric": "optuna value", "before": search.trials[0].value, "after": search.best_value,
        "study": "sizes", "trial": search.best_trial.number,
    }  # fmt: skip


def test_what_is_applied_is_what_the_best_trial_was_judged_by(store: ParamStore) -> None:
    search = searched(store)
    propose_best(search, "weights", "tuner", store=store)
    weights = {f"weights.{name}": value for name, value in store.section("weights").items()}
    assert search.best_value == -sum((v - 0.6 * (key == "weights.a")) ** 2 for key, v in weights.items())


def test_what_adds_up_in_binary_is_asked_for_in_decimal(store: ParamStore) -> None:
    search = study()
    steps, sampled = FloatDistribution(0.15, 0.35, step=0.01), 0.1 + 0.2
    search.add_trial(
        optuna.create_trial(value=1.0, params={"weights.a": sampled}, distributions={"weights.a": steps})
    )
    result = propose_best(search, "weights", "tuner", store=store, evidence={"samples": 30})
    assert [change.requested for change in result.changes if change.key == "weights.a"] == [0.3]


def test_evidence_that_is_given_comes_first(store: ParamStore) -> None:
    search = searched(store, trials=3)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        search.set_metric_names(["sharpe"])
    given = Evidence(samples=812, window="90d")
    result = propose_best(search, "weights", "tuner", "quarterly", store, evidence=given)
    assert result.entry is not None and result.entry.reason == "quarterly"
    evidence = result.entry.evidence
    assert (evidence["samples"], evidence["window"], evidence["metric"]) == (812, "90d", "sharpe")


def test_without_a_trial_of_todays_values_nothing_is_known_of_before(store: ParamStore) -> None:
    search = study()
    search.optimize(lambda trial: suggest(trial, "sizes", store)["sizes.free"], n_trials=3)
    result = propose_best(search, "sizes", "tuner", store=store)
    assert result.entry is not None and "before" not in result.entry.evidence
    assert {change.key for change in result.changes} <= set(search.best_params)


def test_a_best_trial_in_a_context_is_written_there(store: ParamStore) -> None:
    search = study()
    search.optimize(
        lambda trial: suggest(trial, "sizes", store, ["count"], symbol="BTC")["sizes.count"], n_trials=20
    )
    result = propose_best(search, "sizes", "tuner", store=store, symbol="BTC")
    assert result.changes[0].context == {"symbol": "BTC"}
    assert (store.get("sizes.count"), store.get("sizes.count", symbol="BTC")) == (10, 7)


def test_too_few_trials_are_refused_by_min_samples(store: ParamStore) -> None:
    with pytest.raises(ValidationError, match="at least 30 samples, but there are 3"):
        propose_best(searched(store, trials=3), "weights", "tuner", store=store)
    assert store.history(refused=True)[-1].kind == "refusal"


def test_rejecting_is_possible(store: ParamStore) -> None:
    with pytest.raises(ValidationError, match="equals 1"):
        propose_best(searched(store), "weights", "tuner", store=store, on_violation="reject")


def fail(trial: optuna.Trial) -> float:
    raise optuna.TrialPruned


def test_no_complete_trial_is_no_best(store: ParamStore) -> None:
    search = study()
    search.optimize(fail, n_trials=2)
    with pytest.raises(
        ValidationError, match=r"study `sizes`: no best of 0 complete trials.*Nothing was written"
    ):
        propose_best(search, "sizes", "tuner", store=store)


def test_several_objectives_have_no_best(store: ParamStore) -> None:
    search = optuna.create_study(study_name="two", directions=["maximize", "minimize"])
    with pytest.raises(ValidationError, match="study `two` has 2 objectives"):
        propose_best(search, "sizes", "tuner", store=store)


def test_a_study_of_something_else_is_refused(store: ParamStore) -> None:
    search = study()
    search.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ValidationError, match="trial 0 has no parameter below `sizes`"):
        propose_best(search, "sizes", "tuner", store=store)


def test_the_shipped_namespaces_can_be_searched(tmp_path: Path) -> None:
    init(tmp_path)
    shipped = ParamStore(tmp_path, environ={})
    for file in sorted((tmp_path / "schemas").iterdir()):
        namespace = file.name.partition(".")[0]
        values = suggest(study().ask(), namespace, shipped, projected=True)
        assert set(values) == set(current(namespace, shipped))


# --- the library -----------------------------------------------------------------------------------------------


def test_the_module_does_not_need_the_library_until_a_study_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "import sys, paramstore.optuna; print('optuna' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, store: ParamStore) -> None:
    search, find = study(), builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("optuna"):
            raise ImportError(name)
        return find(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'paramstore\[optuna\]'"):
        propose_best(search, "sizes", "tuner", store=store)


def test_what_the_documentation_shows_is_what_happens(tmp_path: Path) -> None:
    """In a process of its own: the default store is the one in the working directory."""
    init(tmp_path)
    text = (SOURCE / "docs/optuna.md").read_text(encoding="utf-8")
    assert text.count(">>> ") >= 8
    command = [sys.executable, "-m", "doctest", str(SOURCE / "docs/optuna.md")]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PARAM")}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    assert ParamStore(tmp_path, environ={}).revision == 1
