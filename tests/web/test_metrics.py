"""Metrics are what Prometheus can read, bounded in number, and cheap to ask for again; the example board asks for them."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from local_store import number, schema, write, write_store
from prometheus_client.parser import text_string_to_metric_families
from test_background import until
from test_index import SCHEMAS, VALUES

from paramstore import ParamStore
from paramstore.errors import ParamstoreError
from paramstore.testing import ManualClock, memory_store
from paramstore.web import _metrics
from paramstore.web._background import Background
from paramstore.web._index import Index
from paramstore.web._metrics import CONTENT_TYPE, OTHERS, Metrics
from paramstore.web._news import News

BOARD = Path(__file__).resolve().parents[2] / "examples" / "grafana-board.json"
HOSTILE = 'a "quoted"\\ one\nparamstore_ok 0\r<b>\u2028\ud800é{}' + "x" * 500
NAME = re.compile(r"\b(?:paramstore|process)_[a-z_]+")

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ParamStore]:
    store = ParamStore(write_store(tmp_path / "store", SCHEMAS, VALUES), environ={})
    store.get("ns.a")
    yield store
    store.reset()


def metrics_of(store: ParamStore) -> Metrics:
    index = Index(store)
    return Metrics(store, index, News(store, index), Background(store))


def scraped(metrics: Metrics) -> Samples:
    """Return every sample by name and labels, as Prometheus' own parser reads them; none may come twice."""
    body, media_type = metrics.exposition()
    assert media_type == CONTENT_TYPE
    found: Samples = {}
    for family in text_string_to_metric_families(body.decode("utf-8")):
        assert family.documentation
        for sample in family.samples:
            place = sample.name, tuple(sorted(sample.labels.items()))
            assert place not in found, place
            found[place] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def test_values_are_numbers_with_their_contexts(store: ParamStore) -> None:
    with store.transaction(author="learner", reason="one") as tx:
        tx["ns.a"] = 1.25
        tx["other.flag"] = True
        tx["ns.word"] = "2"  # text is no number, whatever it says
        tx.set("ns.b", 2.5, symbol='B,T="C\n', regime="trend")
        tx.set("ns.b", 2.25, symbol="ETH")
    found = scraped(metrics_of(store))
    assert value(found, "paramstore_value", key="ns.a", context="") == 1.25
    assert value(found, "paramstore_value", key="other.flag", context="") == 1.0
    assert value(found, "paramstore_value", key="ns.b", context="") == 2.0
    assert value(found, "paramstore_value", key="ns.b", context="symbol=ETH") == 2.25
    ours = [labels for name, labels in found if name == "paramstore_value"]
    contexts = {dict(labels)["context"] for labels in ours}
    quoted = 'symbol="B,T=\\"C\\n"'
    assert contexts - {f"{quoted},regime=trend", f"regime=trend,{quoted}"} == {"", "symbol=ETH"}
    assert len(contexts) == 3
    assert not [labels for labels in ours if dict(labels)["key"] == "ns.word"]
    assert value(found, "paramstore_revision") == 1.0


def test_commits_and_refusals_are_counted_by_whom_and_why(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000.0)
    store = memory_store(SCHEMAS, VALUES, clock)
    metrics = metrics_of(store)
    for turn in range(3):
        clock.advance(60.0)
        with store.transaction(author="learner", reason="one") as tx:
            tx["ns.a"] = 1.5 + turn / 10
    for limit in (99.0, 98.0):
        with suppress(ParamstoreError), store.transaction(author="greedy", reason="two") as tx:
            tx["ns.a"] = limit
    store.freeze("ns.*", author="person", reason="stop")
    found = scraped(metrics)
    assert value(found, "paramstore_commits_total", author="learner", kind="commit") == 3.0
    assert value(found, "paramstore_refusals_total", author="greedy", rule="maximum") == 2.0
    assert value(found, "paramstore_last_commit_timestamp_seconds", author="learner") == clock.now()
    assert value(found, "paramstore_freezes") == 1.0
    assert value(found, "paramstore_journal_entries") == 7.0
    store.rollback(1, author="person", reason="back", force=True)
    found = scraped(metrics)
    assert value(found, "paramstore_commits_total", author="person", kind="rollback") == 1.0
    assert value(found, "paramstore_revision") == 4.0


def test_authors_cannot_write_metrics_of_their_own(store: ParamStore) -> None:
    for author in (HOSTILE, HOSTILE + "y"):  # the same once cut to length: still one series
        with store.transaction(author=author.replace("\ud800", ""), reason="one") as tx:
            tx["ns.a"] = 1.5 if author == HOSTILE else 1.6
    found = scraped(metrics_of(store))
    assert value(found, "paramstore_ok") == 1.0
    (labels,) = [
        dict(labels) for name, labels in found if name == "paramstore_commits_total" and "b>" in str(labels)
    ]
    assert labels["author"].startswith('a "quoted"\\ one\nparamstore_ok 0\r<b>\u2028')
    assert len(labels["author"]) == _metrics.LONGEST
    assert value(found, "paramstore_commits_total", **labels) == 2.0


def test_a_label_holds_any_text_of_a_journal() -> None:
    assert _metrics.label("a\ud800b") == "a\\ud800b"


def test_the_number_of_series_is_bounded(store: ParamStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_metrics, "MOST_AUTHORS", 3)
    monkeypatch.setattr(_metrics, "MOST_RULES", 1)
    monkeypatch.setattr(_metrics, "MOST_VALUES", 4)
    for turn in range(7):
        with store.transaction(author=f"learner {turn}", reason="one") as tx:
            tx["ns.a"] = 1.5 + turn / 10
    for bad in ({"ns.a": 99.0}, {"ns.b": 4.0}, {"ns.a": 98.0}):
        with suppress(ParamstoreError), store.transaction(author="learner 6", reason="two") as tx:
            for key, new in bad.items():
                tx[key] = new
    found = scraped(metrics_of(store))
    authors = {dict(labels)["author"] for name, labels in found if name == "paramstore_commits_total"}
    assert authors == {"learner 4", "learner 5", "learner 6", OTHERS}
    assert value(found, "paramstore_commits_total", author=OTHERS, kind="commit") == 4.0
    assert value(found, "paramstore_refusals_total", author="learner 6", rule="maximum") == 2.0
    assert value(found, "paramstore_refusals_total", author="learner 6", rule=OTHERS) == 1.0
    assert len([name for name, _ in found if name == "paramstore_value"]) == 4
    assert value(found, "paramstore_values_left_out") == 1.0


def test_health_is_told_and_staleness_is_none_in_files(store: ParamStore) -> None:
    metrics = metrics_of(store)
    found = scraped(metrics)
    assert [value(found, f"paramstore_{name}") for name in ("ok", "problems", "staleness_seconds")] == [
        1.0,
        0.0,
        0.0,
    ]
    path = Path(str(store.root), "params", "other.yaml")
    good = path.read_bytes()
    write(path, "values: [")
    store.refresh()
    found = scraped(metrics)
    assert [value(found, f"paramstore_{name}") for name in ("ok", "problems")] == [0.0, 1.0]
    write(path, good)
    store.refresh()
    assert value(scraped(metrics), "paramstore_ok") == 1.0


def test_what_doctor_found_is_told_once_it_is_there(store: ParamStore) -> None:
    for turn in range(12):
        with store.transaction(author="learner", reason="one") as tx:
            tx["ns.a"] = 2.0 if turn % 2 else 1.0 + 0.5  # back and forth
    metrics = metrics_of(store)
    assert "paramstore_findings" not in {name for name, _ in scraped(metrics)}
    found = until(lambda: (s := scraped(metrics)) and any(n == "paramstore_findings" for n, _ in s) and s)
    assert value(found, "paramstore_findings", rule="flipping") == 1.0


def test_those_who_follow_the_events_are_counted(store: ParamStore) -> None:
    index = Index(store)
    news = News(store, index)
    metrics = Metrics(store, index, news, Background(store))

    async def test() -> None:
        news.start(asyncio.get_running_loop())
        followers = [news.follow(), news.follow()]
        for follower in followers:
            await anext(follower)
        assert value(scraped(metrics), "paramstore_event_clients") == 2.0
        await followers[0].aclose()
        assert value(scraped(metrics), "paramstore_event_clients") == 1.0
        news.stop()

    asyncio.run(test())


def test_a_damaged_journal_does_not_end_the_metrics(store: ParamStore) -> None:
    with store.transaction(author="learner", reason="one") as tx:
        tx["ns.a"] = 1.5
    metrics = metrics_of(store)
    scraped(metrics)
    journal = next(Path(str(store.root), "params", "journal").iterdir())
    journal.write_bytes(b"<<<<<<<\n" + journal.read_bytes())
    found = scraped(metrics)
    assert value(found, "paramstore_value", key="ns.a", context="") == 1.5
    assert value(found, "paramstore_commits_total", author="learner", kind="commit") == 1.0


def test_a_second_scrape_of_many_values_costs_a_fraction() -> None:
    many = {f"p{place:04d}": number(1.0) for place in range(5_000)}
    store = memory_store({"ns": schema(many)})
    metrics = metrics_of(store)

    def cost() -> float:
        began = time.process_time()
        assert metrics.exposition()[0].count(b"\nparamstore_value{") == 5_000
        return time.process_time() - began

    first = cost()
    until(lambda: metrics._kept and not any(t.name == "paramstore-doctor" for t in threading.enumerate()))
    assert min(cost() for _ in range(3)) < first / 4
    with store.transaction(author="learner", reason="one") as tx:
        tx["ns.p0001"] = 1.5
    assert b'paramstore_value{context="",key="ns.p0001"} 1.5' in metrics.exposition()[0]


def test_names_follow_the_rules_of_prometheus(store: ParamStore) -> None:
    body = metrics_of(store).exposition()[0].decode()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", body, re.MULTILINE):
        assert re.fullmatch(r"(paramstore|process)_[a-z]+(_[a-z]+)*", name)
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|minutes|hours|kb|percent)$", name)
    assert "process_resident_memory_bytes" in body


# --- the example board ------------------------------------------------------------------------------


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(BOARD.read_text(encoding="utf-8"))
    return found


def queries() -> list[str]:
    found = [target["expr"] for panel in board()["panels"] for target in panel["targets"]]
    found += [note["expr"] for note in board()["annotations"]["list"]]
    return found + [v["query"]["query"] for v in board()["templating"]["list"] if v["type"] == "query"]


def test_the_example_board_asks_for_metrics_that_there_are(store: ParamStore) -> None:
    for turn in range(12):
        with store.transaction(author="learner", reason="one") as tx:
            tx["ns.a"] = 2.0 if turn % 2 else 1.5
    with suppress(ParamstoreError), store.transaction(author="learner", reason="two") as tx:
        tx["ns.a"] = 99.0
    metrics = metrics_of(store)
    body = until(lambda: b"paramstore_findings" in (b := metrics.exposition()[0]) and b).decode()
    exposed = set(re.findall(r"^# TYPE (\S+)", body, re.MULTILINE))
    labels = {
        name: set(re.findall(r"(\w+)=", inside))
        for name, inside in re.findall(r"^(\w+)\{(.*)\} \S+$", body, re.MULTILINE)
    }
    asked = {name for query in queries() for name in NAME.findall(query)}
    assert asked <= exposed
    ours = {name for name in exposed if name.startswith("paramstore_")}
    assert ours <= asked  # and the board leaves none of ours out
    for query in queries():
        for name in NAME.findall(query):
            used = {word for inside in re.findall(r"by \(([^)]*)\)", query) for word in inside.split(", ")}
            used |= set(re.findall(r"(\w+)=~", query))
            assert used <= labels.get(name, set()) | (
                {"author"} if name == "paramstore_learner_silent" else set()
            ), query


def test_the_example_board_is_laid_out_without_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        assert panel["title"] and panel["description"]
    assert len({panel["id"] for panel in board()["panels"]}) == len(board()["panels"])
