"""A namespace as a search space of Optuna, and the best trial as a proposal (docs/optuna.md).

Needs the extra: ``pip install 'paramstore[optuna]'``. Only ``propose_best`` writes, through the guards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any

from paramstore._default import params
from paramstore._evidence import Evidence
from paramstore._model import ABSENT, CommitResult, Spec
from paramstore._rules import OnViolation, round_to
from paramstore._store import ParamStore
from paramstore.errors import ValidationError

if TYPE_CHECKING:
    import optuna

    from paramstore._transaction import Transaction

__all__ = ["current", "propose_best", "suggest"]

STEPS = frozenset({"max_step", "max_step_relative", "max_drift"})
AUTHOR = "optuna"  # of dry runs, unless one is named
Box = tuple[float | None, float | None]
Given = Evidence | Mapping[str, Any] | None


def suggest(
    trial: optuna.Trial, namespace: str, store: ParamStore = params, names: Iterable[str] | None = None, *,
    within_steps: bool = True, projected: bool = False, author: str = "", evidence: Given = None, **context: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return values by full key, suggested by ``trial``, for the learnable parameters of ``namespace`` (a group does
    as well); ``names`` are those wanted, relative to it.

    Numbers come from within their bounds and, unless ``within_steps`` is False, from where one commit may move them
    now (steps and drift), in the schema's decimals. ``projected``: return what the guards would make of them now,
    constraints included, for ``author`` (else the owner) with ``evidence`` (else samples enough). Raises
    ``ValidationError`` for what has no finite range, or when the guards refuse.
    """
    specs = _specs(store, namespace, names)
    box = _box(store, specs, within_steps, context)
    values = {key: _suggested(trial, spec, box[key], store) for key, spec in specs.items()}
    if not projected:
        return values
    author = author or next((spec.owner for spec in specs.values() if spec.owner), AUTHOR)
    evidence = evidence or {"samples": max(spec.min_samples or 0 for spec in specs.values())}
    with store.transaction(author=author, evidence=evidence, dry_run=True) as tx:
        stored = {key: tx.get(key, **context) for key in store.keys(f"{namespace}.*")}
        _ask(tx, namespace, values, specs, "project", context)
    made = {change.key: change.new for change in tx.commit_result.changes}
    return values | {key: stored[key] if new is ABSENT else new for key, new in made.items()}


def current(
    namespace: str, store: ParamStore = params, names: Iterable[str] | None = None, **context: Any
) -> dict[str, Any]:
    """Return today's stored values of what ``suggest`` would suggest: ``study.enqueue_trial(current(...))``."""
    with store.transaction(author=AUTHOR, dry_run=True) as tx:
        return {key: tx.get(key, **context) for key in _specs(store, namespace, names)}


def propose_best(
    study: optuna.Study, namespace: str, author: str, reason: str = "", store: ParamStore = params,
    on_violation: OnViolation = "project", evidence: Given = None, **context: Any,
) -> CommitResult:  # fmt: skip
    """Propose the best trial's values below ``namespace``, as ``author``, and return what was applied.

    Evidence: ``samples`` (complete trials), ``metric``, ``after`` (the best value), ``before`` (that of today's
    values, if a trial had them), ``study`` and ``trial``; what is given in ``evidence`` comes first. Raises
    ``ValidationError`` for several objectives, without a complete trial, and when refused.
    """
    complete, best = _trials(study)
    names = [key.removeprefix(f"{namespace}.") for key in best.params if key.startswith(f"{namespace}.")]
    if not names:
        raise _refused(f"trial {best.number} has no parameter below `{namespace}`")
    specs = _specs(store, namespace, names)
    today = current(namespace, store, names, **context)
    alike = [trial for trial in complete if _rounded(trial.params, specs) == today]
    metric = (study.metric_names or ["optuna value"])[0]
    seen = {"samples": len(complete), "metric": metric, "after": best.value, "study": study.study_name}
    seen |= {"trial": best.number} | ({"before": alike[-1].value} if alike else {})
    seen |= evidence.plain() if isinstance(evidence, Evidence) else dict(evidence or {})
    with store.transaction(author=author, reason=reason or study.study_name, evidence=seen) as tx:
        _ask(tx, namespace, _rounded(best.params, specs), specs, on_violation, context)
    return tx.commit_result


# --- the space ----------------------------------------------------------------------------------


def _specs(store: ParamStore, namespace: str, names: Iterable[str] | None) -> dict[str, Spec]:
    every = store.keys(f"{namespace}.*") if names is None else [f"{namespace}.{name}" for name in names]
    specs = {key: spec for key in every if (spec := store.spec(key)).learnable}
    fixed = [f"`{key}`" for key in every if key not in specs]
    if not specs or (fixed and names is not None):
        raise _refused(f"`{namespace}`: nothing to search; not learnable: {', '.join(fixed) or 'none'}")
    return specs


def _is_number(spec: Spec) -> bool:
    return spec.type in ("number", "integer") and spec.choices is None


def _box(store: ParamStore, specs: Mapping[str, Spec], within: bool, at: Mapping[str, Any]) -> dict[str, Box]:
    """Return inclusive limits by key. What steps and drift allow now, the refusal of values beyond them tells."""
    box: dict[str, Box] = {key: (spec.minimum, spec.maximum) for key, spec in specs.items()}
    for side in (-1, 1) if within else ():
        try:
            with store.transaction(author=AUTHOR, dry_run=True) as tx:
                for key in (key for key, spec in specs.items() if _is_number(spec)):
                    tx.set(key, _far(specs[key], tx.get(key, **at), side), **at)
        except ValidationError as refusal:
            box |= {v.key: v.allowed for v in refusal.broken if v.rule in STEPS and v.allowed is not None}
    return box


def _far(spec: Spec, old: float, side: int) -> float:
    """Return the bound on one side (-1 below, 1 above), or where there is none a value beyond every step."""
    bound = spec.minimum if side < 0 else spec.maximum
    if bound is not None:
        return bound
    reach = (spec.max_step or 0) + (spec.max_step_relative or 0) * abs(old) + (spec.max_drift or 0)
    return old + side * (3 * reach if spec.type == "number" else int(3 * reach) + 1)


def _suggested(trial: optuna.Trial, spec: Spec, box: Box, store: ParamStore) -> Any:
    if spec.choices is not None or spec.type == "boolean":
        return trial.suggest_categorical(spec.key, spec.choices or (False, True))
    low, high, unit = _range(spec, box, store)
    if spec.type == "integer":
        return trial.suggest_int(spec.key, int(low), int(high))
    return round_to(trial.suggest_float(spec.key, low, high, step=unit), spec.decimals)


def _range(spec: Spec, box: Box, store: ParamStore) -> tuple[float, float, float | None]:
    """Return the lowest, the highest, and the step of a number, on the grid of its decimals."""
    low, high, unit = *box, None
    decimals = 0 if spec.type == "integer" else spec.decimals
    if not _is_number(spec) or low is None or high is None:
        why = "has neither bounds nor steps" if _is_number(spec) else f"is of type {spec.type}"
        raise _refused(f"`{spec.key}` {why} ({spec.schema_file}): leave it out by `names`")
    if decimals is not None:
        unit = Decimal(1).scaleb(-decimals)
        low = float(Decimal(repr(low)).quantize(unit, ROUND_CEILING))
        high = float(Decimal(repr(high)).quantize(unit, ROUND_FLOOR))
    if low > high:
        raise _refused(f"`{spec.key}` cannot move by less than its decimals: leave it out by `names`")
    for end in (low, high):
        if problems := store.judge(spec.key, int(end) if spec.type == "integer" else end)[1]:
            raise _refused(f"{problems[0]}: a search needs inclusive bounds")
    return low, high, None if unit is None else float(unit)


# --- the proposal -------------------------------------------------------------------------------


def _ask(
    tx: Transaction, namespace: str, values: Mapping[str, Any], specs: Mapping[str, Spec], how: OnViolation,
    context: Mapping[str, Any],
) -> None:  # fmt: skip
    """Propose the values of ``specs``; what is no number has no nearest one, and is asked for as it is."""
    numbers = {key.removeprefix(f"{namespace}."): values[key] for key in specs if _is_number(specs[key])}
    tx.propose(namespace, numbers, how, **context)
    for key in (key for key, spec in specs.items() if not _is_number(spec)):
        tx.set(key, values[key], **context)


def _trials(study: optuna.Study) -> tuple[list[optuna.trial.FrozenTrial], optuna.trial.FrozenTrial]:
    """Return the complete trials and the best."""
    try:
        from optuna.trial import TrialState
    except ImportError as error:
        raise ImportError("Optuna is not installed: pip install 'paramstore[optuna]'") from error
    if (count := len(study.directions)) > 1:
        raise _refused(f"study `{study.study_name}` has {count} objectives, so no trial is the best")
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    try:
        return complete, study.best_trial
    except ValueError as error:  # none, or none feasible
        raise _refused(f"study `{study.study_name}`: no best of {len(complete)} complete trials") from error


def _rounded(values: Mapping[str, Any], specs: Mapping[str, Spec]) -> dict[str, Any]:
    """Return ``values`` in the schema's decimals: Optuna adds steps up in binary."""
    return {key: round_to(v, specs[key].decimals) if key in specs else v for key, v in values.items()}


def _refused(problem: str) -> ValidationError:
    return ValidationError([f"{problem}."], "Nothing was written.")
