"""A store examined: what the rules of ``doctor`` say of its journal, with its own settings."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from paramstore._doctor import examine
from paramstore._doctor_report import Report, Thresholds
from paramstore._history import flatten
from paramstore._model import Entry
from paramstore._options import Options
from paramstore._read_counts import load

if TYPE_CHECKING:
    from paramstore._store import ParamStore


def examined(
    store: ParamStore, entries: Sequence[Entry], named_in_code: Collection[str] | None = None
) -> Report:
    """Judge every learner and every parameter by ``entries``, which are the journal's, refusals included.

    ``named_in_code`` are the keys that the source names; ``None`` where nobody looked.
    """
    snapshot = store.snapshot()
    reads = load(os.path.join(store.root or "", ".paramstore"))
    return examine(
        entries,
        {key: store.spec(key) for key in snapshot},
        flatten(snapshot.state.documents),
        store.clock.now(),
        _thresholds(store.options),
        None if reads is None else reads.counts,
        named_in_code,
        read_since=None if reads is None else reads.since,
        visits=store.visits(),
    )


def _thresholds(options: Options) -> Thresholds:
    return Thresholds(
        options.doctor_silent_intervals,
        options.doctor_stale_s,
        options.doctor_flips,
        options.doctor_pinned,
        options.doctor_refused,
    )
