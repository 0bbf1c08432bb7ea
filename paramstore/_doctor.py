"""Is learning alive? Judged from the journal alone, with read counts and source code where they are given. Pure.

Every rule and threshold is described in docs/doctor.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from paramstore._doctor_learners import learners
from paramstore._doctor_params import Known, parameters
from paramstore._doctor_report import Learner, Note, Parameter, Place, Report, Thresholds
from paramstore._model import Entry, Spec

__all__ = ["Learner", "Note", "Parameter", "Place", "Report", "Thresholds", "examine"]


def examine(
    entries: Sequence[Entry],
    specs: Mapping[str, Spec],
    values: Mapping[Place, Any],
    now: float,
    thresholds: Thresholds,
    reads: Mapping[str, int] | None = None,
    named_in_code: Collection[str] | None = None,
    *,
    read_since: float | None = None,
    visits: Mapping[str, float] | None = None,
) -> Report:
    """Judge every learner and every parameter as of ``now`` (seconds since 1970).

    ``entries`` are the journal's, oldest first, refusals included. ``values`` holds what is written, by key
    and sorted context items. ``reads`` counts reads by key, since ``read_since`` (``None``: long enough);
    ``named_in_code`` are the keys that the source names; ``visits`` says when an author last had nothing to change. Where one is ``None``, nothing is said of it.
    """
    standing = _standing(entries)
    times = {id(entry): datetime.fromisoformat(entry.time).timestamp() for entry in standing}

    def moment(entry: Entry) -> float:
        return times[id(entry)]

    freezes = _freezes(standing, now)

    def frozen(key: str) -> str | None:
        return next((by for pattern, by in freezes if fnmatchcase(key, pattern)), None)

    known = Known(now, thresholds, frozen, reads, read_since, named_in_code)
    return Report(
        now,
        tuple(
            learners(
                standing,
                specs,
                lambda key: frozen(key) is not None,
                moment,
                now,
                thresholds,
                _past_visits(visits or {}, now),
            )
        ),
        tuple(parameters(standing, specs, values, moment, known)),
    )


def _past_visits(visits: Mapping[str, float], now: float) -> dict[str, float]:
    """Return the visits without those that a wrong clock dated in the future: they would hide a learner that died."""
    return {author: time for author, time in visits.items() if time <= now}


def _standing(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that took place: not those that a later one takes back, nor that one."""
    aborted = {entry.evidence.get("aborts") for entry in entries if entry.kind == "abort"}
    return [entry for entry in entries if entry.kind != "abort" and entry.id not in aborted]


def _freezes(entries: Sequence[Entry], now: float) -> list[tuple[str, str]]:
    """Return each pattern that is frozen at ``now``, and by whom; freezes stand side by side, as in ``Ledger``."""
    found: list[Entry] = []
    for entry in entries:
        if entry.kind == "unfreeze":
            found = [freeze for freeze in found if not _ends(entry, freeze)]
        elif entry.kind == "freeze":
            found.append(entry)
    return [(freeze.details["pattern"], freeze.author) for freeze in found if _holds(freeze, now)]


def _ends(unfreeze: Entry, freeze: Entry) -> bool:
    ends = unfreeze.details.get("ends")
    if ends is None:  # of before entries said which freezes they end: all of the pattern
        return bool(freeze.details["pattern"] == unfreeze.details["pattern"])
    return freeze.id in ends


def _holds(freeze: Entry, now: float) -> bool:
    until = freeze.details.get("until")
    return until is None or datetime.fromisoformat(until).timestamp() > now
