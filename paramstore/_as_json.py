"""What the store knows, as plain data for programs: one shape for the command line's ``--json``, the HTTP API and the page.

Pure: records in, dictionaries and lists out, which ``json.dumps`` takes without a rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from paramstore._doctor_report import Learner
from paramstore._figures import bounds
from paramstore._intervals import Tally, wilson
from paramstore._model import ABSENT, Change, CommitResult, Entry, Explanation, Freeze
from paramstore._records import change_data
from paramstore._values import thaw

if TYPE_CHECKING:
    from paramstore._compare import Comparison, Difference, Recorded
    from paramstore._doctor_report import Parameter, Report
    from paramstore._listing import Listed
    from paramstore._looked import Looked
    from paramstore._scorecard import Comparison as Judged
    from paramstore._scorecard import Gathered, Scorecard


# --- entries ------------------------------------------------------------------------------------


def change_json(change: Change) -> dict[str, Any]:
    """A change as the journal has it, with its context even where that is empty."""
    return {"key": change.key, "context": {}, **change_data(change)}


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry of the journal, without what only recovery needs."""
    return {
        "revision": entry.revision,
        "id": entry.id,
        "time": entry.time,
        "kind": entry.kind,
        "author": entry.author,
        "reason": entry.reason,
        "evidence": dict(entry.evidence),
        "changes": [change_json(change) for change in entry.changes],
        "details": dict(entry.details),
    }


def freeze_json(freeze: Freeze) -> dict[str, Any]:
    """A freeze that holds now."""
    return asdict(freeze)


def result_json(result: CommitResult) -> dict[str, Any]:
    """What a transaction did, or with ``dry_run`` would do."""
    changes = [change_json(change) for change in result.changes]
    return {"revision": result.revision, "dry_run": result.dry_run, "changes": changes}


def kept_json(result: CommitResult) -> list[dict[str, Any]]:
    """What a rollback left as it was, and why."""
    return [{"key": kept.key, "context": dict(kept.context), "why": kept.why} for kept in result.kept]


# --- what stands now ----------------------------------------------------------------------------


def listed_json(line: Listed) -> dict[str, Any]:
    """One written value, with what its schema says of it and who changed it last."""
    spec, last = line.spec, line.last
    data: dict[str, Any] = {
        "key": spec.key,
        "context": dict(line.context),
        "value": thaw(line.value),
        "default": thaw(spec.default),
        "changed": line.changed,
        "type": spec.type,
        "minimum": spec.minimum,
        "maximum": spec.maximum,
        "unit": spec.unit,
        "learnable": spec.learnable,
        "frozen": line.frozen,
        "edited_by_hand": line.by_hand,
        "last_change": last and {"revision": last.revision, "time": last.time, "author": last.author},
    }
    if line.environment is not None:
        data["environment"] = thaw(line.environment)
    return data


def explanation_json(found: Explanation, frozen: Iterable[Freeze]) -> dict[str, Any]:
    """Why a value is what it is; ``frozen`` are the freezes that hold it."""
    winner = found.winner
    return {
        "key": found.key,
        "value": thaw(found.value),
        "context": dict(found.context),
        "revision": found.revision,
        "layers": [
            {
                "name": layer.name,
                "value": thaw(layer.value),
                "source": layer.source,
                "applies": layer.applies,
                "wins": layer is winner,
            }
            for layer in found.layers
        ],
        "spec": {name: thaw(value) for name, value in asdict(found.spec).items()},
        "last_change": found.last_change and entry_json(found.last_change),
        "frozen": [freeze_json(freeze) for freeze in frozen],
    }


# --- what differs -------------------------------------------------------------------------------


def comparison_json(found: Comparison) -> dict[str, Any]:
    """A comparison of two sides. ``old`` or ``new`` is missing where there is none."""
    return {
        "a": found.a,
        "b": found.b,
        "namespaces": {"came": list(found.came), "went": list(found.went)},
        "changes": [_difference_json(each) for each in found.differences],
        "rules": [
            {
                "key": rule.key,
                "rule": rule.word,
                **_old_and_new(rule.old, rule.new),
                "effect": rule.effect or None,
            }
            for rule in found.rules
        ],
    }


def _difference_json(each: Difference) -> dict[str, Any]:
    whole = each.absolute is not None and type(each.old) is type(each.new) is int
    low, high = bounds(each.leaf)
    return {
        "key": each.key,
        "context": dict(each.context),
        **_old_and_new(each.old, each.new),
        "absolute": each.absolute if each.absolute is None else (int if whole else float)(each.absolute),
        "relative": each.relative,
        "position": {"old": each.old_position, "new": each.new_position},
        "minimum": low,
        "maximum": high,
        "unit": each.unit,
        "entry": each.recorded and _recorded_json(each.recorded),
    }


def _old_and_new(old: Any, new: Any) -> Mapping[str, Any]:
    return {name: thaw(value) for name, value in (("old", old), ("new", new)) if value is not ABSENT}


def _recorded_json(made: Recorded) -> dict[str, Any]:
    found = {
        "revision": made.revision,
        "id": made.id,
        "time": made.time,
        "kind": made.kind,
        "author": made.author,
        "reason": made.reason,
        "entries": made.count,
        "taken_back": made.undone,
        "edited_since": not made.complete,
        "overrode": list(made.overrode),
    }
    if made.bound_by is not None:
        found |= {"bound_by": made.bound_by, "requested": made.requested}
    return found


# --- whether learning is alive, and what came of it -----------------------------------------------


def report_json(
    report: Report, unparsed: Iterable[tuple[str, str]] = (), mirror: Looked | None = None
) -> dict[str, Any]:
    """What ``doctor`` found. ``unparsed``: files of source code that could not be read, and why."""
    return {
        "ok": report.ok and not (mirror and mirror.problem),
        "mirror": None if mirror is None else mirror._asdict(),
        "now": _iso(report.now),
        "learners": [_learner_json(learner) for learner in report.learners],
        "parameters": [_parameter_json(parameter) for parameter in report.parameters],
        "findings": [{**_about(subject), **asdict(note)} for subject, note in report.notes("finding")],
        "unparsed": [{"file": path, "why": why} for path, why in unparsed],
    }


def _about(subject: Learner | Parameter) -> dict[str, Any]:
    if isinstance(subject, Learner):
        return {"learner": subject.author}
    return {"key": subject.key, "context": dict(subject.context)}


def _learner_json(learner: Learner) -> dict[str, Any]:
    return {
        "learner": learner.author,
        "learns": learner.learns,
        "owns": list(learner.owns),
        "last_commit": _iso(learner.last_commit),
        "last_attempt": _iso(learner.last_attempt),
        "commits": learner.commits,
        "refusals": learner.refusals,
        "refused_by": dict(learner.refused_by),
        "usual_interval_s": learner.interval_s,
        "silent": learner.silent,
        "notes": [asdict(note) for note in learner.notes],
    }


def _parameter_json(parameter: Parameter) -> dict[str, Any]:
    return {
        **_about(parameter),
        "value": thaw(parameter.value),
        "learnable": parameter.learnable,
        "owner": parameter.owner,
        "last_change": _iso(parameter.last_change),
        "changes": parameter.changes,
        "notes": [asdict(note) for note in parameter.notes],
    }


def _iso(time: float | None) -> str | None:
    return None if time is None else datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")


def scorecard_json(gathered: Gathered, card: Scorecard, metric: str, min_count: int) -> dict[str, Any]:
    """Outcomes by revision, and the verdict on each change."""
    return {
        "metric": metric,
        "level": card.level,
        "min_count": min_count,
        "outcomes": gathered.joined,
        "revisions": [
            {
                "revision": revision,
                **_tally_json(tally),
                "win_rate_interval": list(wilson(tally.wins, tally.count, card.level)),
                "digests": dict(gathered.digests.get(revision, {})),
            }
            for revision, tally in sorted(gathered.tallies.items())
        ],
        "compared": card.compared,
        "adjusted_level": card.adjusted,
        "changes": [_judged_json(judged) for judged in card.comparisons],
        "problems": {
            "count": gathered.kinds.total(),
            "kinds": dict(gathered.kinds),
            "first": [{"line": p.line, "kind": p.kind, "problem": p.text} for p in gathered.problems],
        },
    }


def _tally_json(tally: Tally) -> dict[str, Any]:
    return {
        "count": tally.count,
        "mean": tally.mean if tally.count else None,
        "deviation": tally.deviation,
        "wins": tally.wins,
        "win_rate": tally.win_rate,
    }


def _judged_json(found: Judged) -> dict[str, Any]:
    both = bool(found.before.count and found.after.count)
    return {
        "revision": found.entry.revision,
        "time": found.entry.time,
        "kind": found.entry.kind,
        "author": found.entry.author,
        "reason": found.entry.reason,
        "changes": [change_json(change) for change in found.changes],
        "from_revision": found.start,
        "until_revision": found.end,
        "before": _tally_json(found.before),
        "after": _tally_json(found.after),
        "mean_difference": found.after.mean - found.before.mean if both else None,
        "mean_interval": found.mean,
        "win_rate_difference": found.win_rate_difference,
        "win_rate_interval": found.win_rate,
        "verdict": found.verdict,
        "why": found.why,
        "needed_per_side": found.needed,
        "shared_with": list(found.shared),
    }
