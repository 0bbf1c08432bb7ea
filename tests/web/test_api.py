"""What the API answers is what the command line says with ``--json``, and every refusal is a problem with a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from local_store import age
from pages import PERSON, Page, command, live_a_little, make_store, settings

from paramstore import ParamStore
from paramstore.cli import cli
from paramstore.testing import ManualClock
from paramstore.web._background import Background
from paramstore.web._index import Index
from paramstore.web._reads import Reads

API = "/api/v1/"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api") / "store"


@pytest.fixture(scope="module")
def page(root: Path) -> Iterator[Page]:
    store = make_store(root)
    live_a_little(store)
    outcomes = root / "outcomes.jsonl"
    lines = [{"params_revision": n % 5, "pnl": float(n % 7)} for n in range(200)]
    outcomes.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Page(store, outcomes=str(outcomes), metric="pnl", author="ann") as made:
        yield made


SAME: list[tuple[str, tuple[str, ...]]] = [
    ("values/risk.size", ("get", "risk.size")),
    ("values/risk.steps", ("get", "risk.steps")),
    ("values/risk.size?at=symbol%3DBTC", ("get", "risk.size", "--at", "symbol=BTC")),
    (
        "values/risk.size?at=symbol=BTC&at=level=3",
        ("get", "risk.size", "--at", "symbol=BTC", "--at", "level=3"),
    ),
    ("parameters", ("list",)),
    ("parameters?pattern=risk", ("list", "risk")),
    ("parameters?pattern=*.s*", ("list", "*.s*")),
    ("parameters/risk.size", ("explain", "risk.size")),
    ("parameters/risk.on", ("explain", "risk.on")),
    ("parameters/risk.stop?at=symbol=ETH", ("explain", "risk.stop", "--at", "symbol=ETH")),
    ("parameters/risk.size/history", ("history", "risk.size")),
    ("parameters/risk.size/history?refused=1", ("history", "risk.size", "--refused")),
    ("parameters/risk.size/history?limit=2", ("history", "risk.size", "--limit", "2")),
    ("history", ("history",)),
    ("history?refused=true&limit=4", ("history", "--refused", "--limit", "4")),
    ("history?pattern=weights", ("history", "weights")),
    ("diff?a=1&b=4", ("diff", "revision:1", "revision:4")),
    ("diff?a=2", ("diff", "revision:2")),
    ("freezes", ("freeze",)),
]


def said_by_command(root: Path, *words: str) -> Any:
    """Return what a command says: the first of its kind in a process of its own, the others in this one, which says the same."""
    if words == next(each for _, each in SAME if each[0] == words[0]):
        return command(root, *words)
    return json.loads(CliRunner().invoke(cli, ["--root", str(root), *words, "--json"]).stdout)


@pytest.mark.parametrize(("path", "words"), SAME, ids=[path for path, _ in SAME])
def test_an_answer_is_what_the_command_says(
    page: Page, root: Path, path: str, words: tuple[str, ...]
) -> None:
    answer = page.ask("GET", path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found, said = answer.json(), said_by_command(root, *words)
    if "history" in path:
        more = found.pop("more")
        assert more == ("limit" in path)
    assert found == said
    assert found


def test_doctor_and_scorecard_are_those_of_the_commands(page: Page, root: Path) -> None:
    doctor = wait_for(page, "doctor")
    said = command(root, "doctor")
    assert doctor.pop("age_s") >= 0
    assert without_time(doctor) == without_time(said)
    card = wait_for(page, "scorecard")
    assert card.pop("age_s") >= 0
    assert card == command(root, "scorecard", str(root / "outcomes.jsonl"), "--metric", "pnl")


def wait_for(page: Page, path: str) -> Any:
    import time

    for _ in range(200):
        answer = page.ask("GET", path)
        if answer.status_code == 200:
            return answer.json()
        assert (answer.status_code, answer.json()) == (202, {"pending": True})
        time.sleep(0.05)
    raise AssertionError(f"{path} is never ready")


def without_time(report: Any) -> Any:
    """Leave out what moves with the clock: ages within the sentences."""
    text = re.sub(r"\d+(\.\d+)? (s|min|ms)\b", "… s", json.dumps({**report, "now": None}))
    return json.loads(text)


def test_a_revision_says_who_why_and_what(page: Page, root: Path) -> None:
    found = page.get("revisions/2")
    assert [entry["revision"] for entry in found["entries"]] == [2]
    assert found["comparison"] == command(root, "diff", "revision:1", "revision:2")
    assert found["newest"] == page.get("health")["revision"] > 2
    begin = page.get("revisions/0")
    assert begin["comparison"] is None
    assert begin["entries"][0]["kind"] == "external"


def test_older_entries_come_page_by_page(page: Page) -> None:
    whole = page.get("history", refused=1, limit=1000)
    assert not whole["more"]
    found: list[Any] = []
    before: dict[str, Any] = {}
    for _ in range(50):
        part = page.get("history", refused=1, limit=3, **before)
        found = part["entries"] + found
        if not part["more"]:
            break
        before = {"before": part["entries"][0]["id"]}
    assert found == whole["entries"]
    assert len(found) > 9


def test_history_is_asked_by_author_and_kind(page: Page) -> None:
    whole = page.get("history", refused=1, limit=1000)["entries"]
    told = {one["author"]: one["kinds"] for one in page.get("authors")}
    assert sum(sum(kinds.values()) for kinds in told.values()) == len(whole)
    for author, kinds in told.items():
        for kind, count in kinds.items():
            found = page.get("history", author=author, kind=kind, limit=1000)["entries"]
            assert found == [e for e in whole if (e["author"], e["kind"]) == (author, kind)]
            assert len(found) == count
    assert page.ask("GET", "history?kind=none").status_code == 400


def test_the_scorecard_can_be_asked_of_one_revision(page: Page) -> None:
    card = wait_for(page, "scorecard")
    one = card["changes"][-1]
    assert page.get("scorecard", revision=one["revision"])["changes"] == [one]
    assert page.get("scorecard", revision=10**6)["changes"] == []


def test_values_of_a_context_and_what_two_contexts_see(page: Page) -> None:
    base, btc = page.get("values"), page.get("values", at="symbol=BTC")
    assert btc["context"] == {"symbol": "BTC"}
    assert (base["values"]["risk.size"], btc["values"]["risk.size"]) == (1.25, 0.5)
    assert base["digest"] != btc["digest"]
    found = page.get("contexts", a="", b="symbol=BTC")
    assert found["a"] == {}
    assert found["differences"] == [
        {"key": "risk.size", "a": 1.25, "b": 0.5, "unit": "bps", "minimum": 0.0, "maximum": 10.0}
    ]
    assert page.get("contexts")["differences"] == []


def test_sparklines_are_the_newest_points(page: Page) -> None:
    points = {(p["key"], tuple(p["context"].items())): p for p in page.get("sparklines")["points"]}
    assert points["risk.size", ()]["values"] == [1.0, 1.1, 1.25, 1.2, 1.25]
    times = points["risk.size", ()]["times"]
    assert times == sorted(times)


def test_health_says_what_this_server_allows(page: Page, root: Path) -> None:
    found = page.get("health")
    assert {name: found[name] for name in ("ok", "writes", "private", "author", "store", "problems")} == {
        "ok": True, "writes": True, "private": False, "author": "ann", "store": str(root), "problems": [],
    }  # fmt: skip
    assert found["dimensions"] == [
        {"name": "symbol", "type": "string"},
        {"name": "regime", "type": "string", "choices": ["trend", "chop"]},
        {"name": "level", "type": "integer"},
    ]


REFUSED = [
    ("values/risk.siz", 404, "Did you mean `risk.size`"),
    ("values/nonsense", 404, "not a known parameter"),
    ("values/risk.size?at=symbl=BTC", 400, "Did you mean `symbol`"),
    ("values/risk.size?at=symbol", 400, "dimension=value"),
    ("values/risk.size?at=regime=up", 400, "one of 'trend', 'chop'"),
    ("values?at=symbol=a&at=symbol=b", 400, "named twice"),
    ("values?symbol=BTC", 400, "a dimension is written at=symbol=VALUE"),
    ("parameters?pattern=nothing", 404, "not a known parameter"),
    ("parameters/risk.none/history", 404, "not a known parameter"),
    ("parameters/risk.size/history?limit=0", 400, "limit"),
    ("parameters/risk.size/history?limit=x", 400, "limit"),
    ("parameters/risk.size/history?limits=1", 400, "limits"),
    ("history?before=nobody", 404, "There is no entry"),
    ("revisions/999", 404, "There is no revision 999"),
    ("revisions/x", 400, "number"),
    ("revisions/-1", 400, "number"),
    ("diff?a=999&b=1", 404, "There is no revision 999"),
    ("diff", 400, "a: Field required"),
    ("nothing", 404, "/api/v1/openapi.json"),
    ("values/a/b", 404, "/api/v1/openapi.json"),
    ("values/", 404, "There is nothing"),
]


@pytest.mark.parametrize(("path", "status", "sentence"), REFUSED)
def test_what_is_refused_is_a_problem_with_a_sentence(
    page: Page, path: str, status: int, sentence: str
) -> None:
    answer = page.ask("GET", path)
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert (answer.status_code, said["status"]) == (status, status), said
    assert sentence in said["detail"]
    assert "written" not in said["detail"].replace("is written at", ""), "nobody asked to write"
    assert said["title"] and said["kind"]


@pytest.mark.parametrize("word", ["HEAD", "main", "git:HEAD", "file:x.yaml", "params/risk.yaml", "/etc/passwd", "1..2", "1...2",
                                  "revision:1", "../x.yaml", "2026-01-31..x", "", " 1", "\ud800"[:0] or "x"])  # fmt: skip
def test_a_comparison_takes_revisions_and_times_only(page: Page, word: str) -> None:
    for params in ({"a": word}, {"a": "1", "b": word}):
        answer = page.ask("GET", "diff", params=params)
        if not word and "b" in params:
            continue  # not named
        assert answer.status_code in (400, 404), answer.text
        assert "neither a revision nor a time" in answer.json()["detail"] or not word


def test_unknown_keys_fill_neither_the_log_nor_the_memory(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    from paramstore import _values

    before = len(_values._logged)
    for n in range(20):
        for path in (f"values/no.n{n}", f"parameters/no.n{n}", f"parameters/no.n{n}/history"):
            page.get(path, 404)
        page.get("parameters", 404, pattern=f"no.n{n}")
        page.get("history", 404, pattern=f"no.n{n}")
    assert len(_values._logged) == before
    assert not caplog.records


def test_an_unknown_key_names_what_is_near(page: Page) -> None:
    assert page.get("values/risk.siz", 404)["nearest"][0] == "risk.size"


@pytest.mark.parametrize(
    "path", ["values", "values?at=symbol=BTC", "values/risk.size", "parameters", "sparklines"]
)
def test_an_answer_with_a_tag_is_not_sent_again_until_it_changes(tmp_path: Path, path: str) -> None:
    store = make_store(tmp_path / "store")
    live_a_little(store)
    with Page(store) as page:
        first = page.ask("GET", path)
        tag = first.headers["etag"]
        for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = page.ask("GET", path, {"If-None-Match": given})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert page.ask("GET", path, {"If-None-Match": '"other"'}).content == first.content
        with store.transaction(author="sizer") as tx:
            tx["risk.size"] = 1.3
            tx.set("risk.size", 0.6, symbol="BTC")
        changed = page.ask("GET", path, {"If-None-Match": tag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != tag
        assert changed.content != first.content


def test_the_tag_of_values_is_revision_and_digest(page: Page) -> None:
    answer = page.ask("GET", "values")
    said = answer.json()
    assert answer.headers["etag"] == f'"{said["revision"]}-{said["digest"][:12]}"'


def test_what_is_kept_is_never_older_than_the_store(tmp_path: Path) -> None:
    """Each thing that the list of parameters says must make it anew: values, freezes, edits by hand, a schema, the journal."""
    root = tmp_path / "store"
    store = make_store(root)
    with Page(ParamStore(root, environ={})) as page:

        def row(key: str = "risk.size") -> Any:
            return next(each for each in page.get("parameters") if each["key"] == key)

        assert row()["value"] == 1.0
        with store.transaction(author="sizer") as tx:
            tx["risk.size"] = 1.2
        assert (row()["value"], row()["last_change"]["author"]) == (1.2, "sizer")
        store.freeze("risk.size", author="ann", reason="odd")
        assert row()["frozen"] is True
        store.unfreeze("risk.size", author="ann")
        assert row()["frozen"] is False
        values = root / "params/risk.yaml"
        values.write_text(values.read_text().replace("stop: 2.0", "stop: 2.25"))
        age(values)
        assert (row("risk.stop")["value"], row("risk.stop")["edited_by_hand"]) == (2.25, True)
        rules = root / "schemas/risk.schema.json"
        rules.write_text(rules.read_text().replace('"bps"', '"points"'))
        age(rules)
        assert row()["unit"] == "points"
        with store.transaction(author="ann") as tx:
            tx["risk.stop"] = 2.3
        assert row("risk.stop")["edited_by_hand"] is False


def test_what_has_not_changed_is_not_made_again(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    live_a_little(store)
    reads = Reads(store, settings(), Index(store), Background(store))
    for ask in (reads.sparklines, partial(reads.parameters, None), partial(reads.values, ["symbol=BTC"])):
        assert ask() is ask()


def test_a_freeze_that_runs_out_is_no_longer_listed(tmp_path: Path) -> None:
    """No entry tells of it, and the list that is kept must not outlive it."""
    clock = ManualClock()
    store = ParamStore(make_store(tmp_path / "store").root, environ={}, clock=clock)
    with Page(store) as page:
        store.freeze("risk", author="ann", reason="odd", until="60s")
        assert page.get("parameters")[0]["frozen"] is True
        clock.advance(61)
        assert page.get("parameters")[0]["frozen"] is False


def test_a_broken_file_is_told_and_the_last_good_values_are_served(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with Page(make_store(root)) as page:
        assert page.get("values/risk.size")["value"] == 1.0
        (root / "params/risk.yaml").write_text("values: [\n")
        age(root / "params/risk.yaml")
        health = page.get("health")
        assert not health["ok"]
        assert health["problems"][0]["file"] == "params/risk.yaml"
        assert page.get("values/risk.size")["value"] == 1.0
        asked = {**PERSON, "dry_run": True, "changes": [{"key": "risk.size", "value": 1.1}]}
        assert "risk.yaml" in page.post("set", asked, 422)["detail"]


def test_a_server_of_a_store_that_breaks_before_it_is_read_says_why(tmp_path: Path) -> None:
    root = tmp_path / "store"
    make_store(root)
    (root / "params/risk.yaml").write_text("values: [\n")
    age(root / "params/risk.yaml")
    with Page(ParamStore(root, environ={})) as page:
        for path in ("values", "parameters", "health", "parameters/risk.size"):
            said = page.get(path, 503)
            assert (said["kind"], "params/risk.yaml" in said["detail"]) == ("invalid_file", True)


def test_methods_that_there_are_not_are_refused(page: Page) -> None:
    assert page.ask("HEAD", "values").content == b""
    assert page.ask("HEAD", "events").status_code == 200
    for method, path in (("PUT", "values"), ("DELETE", "freezes"), ("OPTIONS", "set"), ("GET", "set")):
        answer = page.ask(method, path)
        assert answer.status_code == 405
        assert answer.headers["content-type"] == "application/problem+json"


def test_without_outcomes_the_way_to_give_some_is_named(tmp_path: Path) -> None:
    with Page(make_store(tmp_path / "store")) as page:
        assert "--outcomes FILE --metric NAME" in page.get("scorecard", 404)["detail"]


def test_the_page_and_its_parts_come_with_their_types(page: Page) -> None:
    shell = page.ask("GET", "/")
    assert shell.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self' 'sha256-" in shell.headers["content-security-policy"]
    module = page.ask("GET", "/assets/lit-html.js")
    assert module.headers["content-type"].startswith("text/javascript")
    assert page.ask("GET", "/assets/../_app.py").status_code in (400, 404)
    assert page.ask("GET", "/assets/none.js").status_code == 404
    assert page.ask("GET", "/metrics").status_code == 200
