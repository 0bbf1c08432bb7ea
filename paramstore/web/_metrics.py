"""Metrics for Prometheus: values, what was committed and refused and by whom, and whether all of it is fresh and sound.

Made from what is known already; the long part is kept until the values or the journal change. The number of series is bounded:
by the values that the files hold, and of authors by those who committed last.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from paramstore._reads import Snapshot
from paramstore._store import ParamStore
from paramstore.errors import ParamstoreError
from paramstore.web._background import Background
from paramstore.web._index import Counts, Index
from paramstore.web._news import News

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_VALUES = 50_000
MOST_AUTHORS = 50
MOST_RULES = 40
OTHERS = "(others)"  # of authors and rules beyond those
LONGEST = 200  # characters of a label
WAIT_S = 1.0  # for a journal that is being read; without it, what is known is told


class Metrics:
    """What ``/metrics`` answers."""

    def __init__(self, store: ParamStore, index: Index, news: News, background: Background) -> None:
        self._store, self._index = store, index
        self._lock = threading.Lock()
        self._kept: tuple[Snapshot, tuple[Any, ...], bytes] | None = None
        self._passing = CollectorRegistry(auto_describe=False)
        self._passing.register(_Passing(store, news, background))
        ProcessCollector(registry=self._passing)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics as text, and its media type; ``accept`` makes no difference, as every Prometheus reads this one."""
        try:
            self._index.sync(WAIT_S)
        except ParamstoreError:
            pass  # what is known stands; health says what is wrong
        return self._standing() + generate_latest(self._passing), CONTENT_TYPE

    def _standing(self) -> bytes:
        """Return what stays as it is until something is committed, or edited by hand."""
        with self._lock:
            snapshot, known = self._store.newest()[1], self._index.stands
            if self._kept is None or self._kept[0] is not snapshot or self._kept[1] != known:
                registry = CollectorRegistry(auto_describe=False)
                registry.register(_Standing(snapshot, self._index.counts()))
                self._kept = snapshot, known, generate_latest(registry)
            return self._kept[2]


class _Standing(Collector):
    def __init__(self, snapshot: Snapshot, counts: Counts) -> None:
        self._snapshot, self._counts = snapshot, counts

    def collect(self) -> Iterator[Metric]:
        snapshot, counts = self._snapshot, self._counts
        yield GaugeMetricFamily(
            "paramstore_revision", "Revision that readers see.", value=float(snapshot.revision)
        )
        yield GaugeMetricFamily(
            "paramstore_journal_entries", "Entries in the journal.", value=float(counts.entries)
        )
        yield from _values(snapshot)
        yield from _of_authors(counts)


def _values(snapshot: Snapshot) -> Iterator[Metric]:
    values = GaugeMetricFamily(
        "paramstore_value",
        "Value of a parameter as a reader gets it (booleans as 0 and 1), or as it is written for a context.",
        labels=("key", "context"),
    )
    found = {}
    for key, context, value in _written(snapshot):
        number = _number(value)
        if number is not None:
            found[key, _context(context)] = number
    kept = list(found.items())[:MOST_VALUES]
    for labels, number in kept:
        values.add_metric(labels, number)
    yield values
    yield GaugeMetricFamily(
        "paramstore_values_left_out",
        "Values that were too many to tell.",
        value=float(len(found) - len(kept)),
    )


def _written(snapshot: Snapshot) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    for key, value in snapshot.values.items():
        yield key, {}, value
    for name, document in snapshot.state.documents.items():
        for at, own in document.overrides:
            for path, value in own.items():
                yield f"{name}.{path}", at, value


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond every float
        return None


def _context(context: Mapping[str, Any]) -> str:
    return label(",".join(f"{name}={_bare(value)}" for name, value in context.items()))


def _bare(value: Any) -> str:
    """Write a dimension's value bare, or in quotes where it would look like more than one."""
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text) if set(text) & set(',="') else text


def _of_authors(counts: Counts) -> Iterator[Metric]:
    by_age = sorted(counts.last, key=lambda author: counts.last[author], reverse=True)
    others = Counter({author: n for (author, _), n in counts.refusals.items()})
    known = dict.fromkeys([*by_age, *(author for author, _ in others.most_common())])
    authors = {author: label(author) for author in list(known)[:MOST_AUTHORS]}
    rules = Counter[str]()
    for (_, rule), number in counts.refusals.items():
        rules[rule] += number
    words = {rule: label(rule) for rule, _ in rules.most_common(MOST_RULES)}
    last: dict[tuple[str, ...], float] = {}
    for author, moment in counts.last.items():
        name = (authors.get(author, OTHERS),)
        last[name] = max(moment, last.get(name, 0.0))
    commits = _summed(counts.commits, authors, {})
    refusals = _summed(counts.refusals, authors, words)
    yield _family(
        CounterMetricFamily(
            "paramstore_commits", "Entries that changed values.", labels=("author", "kind")
        ),
        commits,
    )  # fmt: skip
    yield _family(
        CounterMetricFamily(
            "paramstore_refusals", "Attempts that were refused, by rule that they broke.", labels=("author", "rule")
        ),
        refusals,
    )  # fmt: skip
    yield _family(
        GaugeMetricFamily(
            "paramstore_last_commit_timestamp_seconds", "When an author last changed a value, since 1970.", labels=("author",)
        ),
        last,
    )  # fmt: skip


def _summed(
    counts: Mapping[tuple[str, str], int], authors: Mapping[str, str], words: Mapping[str, str]
) -> dict[tuple[str, ...], float]:
    found: Counter[tuple[str, ...]] = Counter()
    for (author, word), number in counts.items():
        found[authors.get(author, OTHERS), words.get(word, OTHERS) if words else label(word)] += number
    return {labels: float(number) for labels, number in found.items()}


def _family(
    made: CounterMetricFamily | GaugeMetricFamily, samples: Mapping[tuple[str, ...], float]
) -> Metric:
    for labels, number in samples.items():
        made.add_metric(labels, number)
    return made


class _Passing(Collector):
    """What is another thing at each scrape, and costs next to nothing."""

    def __init__(self, store: ParamStore, news: News, background: Background) -> None:
        self._store, self._news, self._background = store, news, background

    def collect(self) -> Iterator[Metric]:
        problems = self._store.newest()[1].state.problems
        gauges = (
            ("paramstore_ok", "Whether readers see what the files say.", float(not problems)),
            ("paramstore_problems", "Files that readers refuse, and the like.", float(len(problems))),
            ("paramstore_staleness_seconds", "Age of what readers see; 0 where files tell it at once.", self._store._open().age_s()),
            ("paramstore_freezes", "Freezes that hold now.", float(len(self._freezes()))),
            ("paramstore_event_clients", "Clients that follow the events.", float(self._news.clients)),
        )  # fmt: skip
        for name, words, value in gauges:
            yield GaugeMetricFamily(name, words, value=value)
        yield from _examined(self._background.doctor()[0])

    def _freezes(self) -> tuple[Any, ...]:
        try:
            return self._store.freezes()
        except (ParamstoreError, OSError):
            return ()


def _examined(found: Mapping[str, Any] | None) -> Iterator[Metric]:
    """Yield what ``doctor`` said last, once it has said anything."""
    if found is None or "problem" in found:
        return
    findings = Counter(str(finding["rule"]) for finding in found["findings"])
    yield _family(
        GaugeMetricFamily("paramstore_findings", "What doctor finds wrong, by rule.", labels=("rule",)),
        {(label(rule),): float(count) for rule, count in findings.items()},
    )
    learners = [each for each in found["learners"] if each["silent"] is not None]
    yield _family(
        GaugeMetricFamily(
            "paramstore_learner_silent", "Whether a learner has missed its usual interval too often.", labels=("author",)
        ),
        _last_of((label(each["learner"]), float(each["silent"])) for each in learners[:MOST_AUTHORS]),
    )  # fmt: skip


def _last_of(samples: Iterable[tuple[str, float]]) -> dict[tuple[str, ...], float]:
    return {(name,): number for name, number in samples}


def label(text: str) -> str:
    """Return ``text`` as a label can hold it: Unicode that can be written, and not too long."""
    clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return clean if len(clean) <= LONGEST else f"{clean[: LONGEST - 1]}…"
