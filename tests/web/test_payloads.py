"""Whatever a journal, a schema or a person says comes back as that text, as JSON, and never as a header, an event or markup."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_store import age
from pages import ORIGIN, WRITING, Page, make_store, server
from streams import stream

from paramstore import ParamStore

CORPUS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "javascript:alert(1)",
    "<svg/onload=alert(1)>",
    "]]><![CDATA[",
    "{{7*7}} ${7*7} <%= 7*7 %> #{7*7}",
    "'; DROP TABLE params; --",
    "%0d%0aSet-Cookie: a=b",
    "a\r\nSet-Cookie: a=b\r\n\r\n<html>",
    "line\nevent: entry\ndata: {}\n\n",
    "\n\nid: forged\n\n",
    "\x00\x01\x1b[31mred\x7f",
    "lines\u2028\u2029\x85\x0b\x0cend",
    "\u202eevil\u2066\u200b\ufeff",
    "\ufffe\uffff\U0001f4a5é",
    "\ud800 lone \udfff",
    "\\u003cscript\\u003e \\ \" ' ` /",
    "../../../../etc/passwd",
    "__proto__ constructor",
    "=cmd|' /C calc'!A0",
    "x" * 100_000,
]
NAMES = [repr(text)[:24] for text in CORPUS]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose journal, contexts, schema and values say all of it."""
    root = tmp_path_factory.mktemp("payloads") / "store"
    make_store(root)
    rules = root / "schemas/risk.schema.json"
    content = json.loads(rules.read_text())
    values = content["properties"]["values"]["properties"]
    for number, text in enumerate(CORPUS):
        plain = text.encode("utf-8", "replace").decode()[:2000]  # files hold no lone halves
        values[f"p{number}"] = {
            "type": "string", "default": "", "description": plain, "x-param": {"learnable": True, "unit": plain},
        }  # fmt: skip
    rules.write_text(json.dumps(content))
    age(rules)
    file = root / "params/risk.yaml"
    lines = "".join(f"  p{number}: ''\n" for number in range(len(CORPUS)))
    file.write_text(file.read_text().replace("values:\n", f"values:\n{lines}", 1))
    age(file)
    return root


@pytest.fixture(scope="module")
def page(root: Path) -> Iterator[Page]:
    with Page(ParamStore(root, environ={})) as made:
        yield made


@pytest.fixture(autouse=True)
def _unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library logs of these texts cannot travel between the processes of a test run."""
    monkeypatch.setattr(logging.getLogger("paramstore"), "disabled", True)


def check_headers(answer: Any, kind: str) -> None:
    assert answer.headers["content-type"] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers
    assert answer.content.isascii()
    assert b"\n" not in answer.content


def commit(store: ParamStore, number: int, text: str) -> str:
    with store.transaction(author=text, reason=text, evidence={"note": text, text[:50]: [text[:50]]}) as tx:
        value = text.encode("utf-8", "replace").decode().replace("\x00", "0")[:2000]
        if value.isprintable():
            tx.set(f"risk.p{number}", value)
            tx.set("risk.size", 1.0 + number / 1000, symbol=value[:200])
        else:
            tx.set("risk.size", 1.0 + number / 1000)
    entry = tx.commit_result.entry
    assert entry is not None
    return entry.id


@pytest.mark.parametrize(("number", "text"), list(enumerate(CORPUS)), ids=NAMES)
def test_texts_of_journal_and_schema_come_back_unharmed(
    page: Page, root: Path, number: int, text: str
) -> None:
    store = ParamStore(root, environ={})
    made = commit(store, number, text)
    answer = page.ask("GET", "history", params={"limit": "1"})
    check_headers(answer, "application/json")
    entry = answer.json()["entries"][0]
    assert (entry["id"], entry["author"], entry["reason"]) == (made, text, text)
    assert entry["evidence"] == {"note": text, text[:50]: [text[:50]]}
    plain = text.encode("utf-8", "replace").decode()[:2000]
    for path in (
        "parameters",
        f"parameters/risk.p{number}",
        f"revisions/{entry['revision']}",
        "values",
        "metrics",
    ):
        if path == "metrics":
            assert page.ask("GET", "/metrics").status_code == 200
            continue
        answer = page.ask("GET", path)
        assert answer.status_code == 200, answer.text[:500]
        check_headers(answer, "application/json")
    spec = page.get(f"parameters/risk.p{number}")["spec"]
    assert (spec["description"], spec["unit"]) == (plain, plain)


@pytest.mark.parametrize("text", CORPUS, ids=NAMES)
def test_texts_of_a_person_are_written_as_they_are(page: Page, text: str) -> None:
    store = page_store(page)
    body = {"author": text, "reason": text, "pattern": "risk.count"}
    answer = page.post("freeze", body)
    assert (answer["entry"]["author"], answer["entry"]["reason"]) == (text, text)
    assert store.freezes()[-1].reason == text
    shown = page.post("unfreeze", {**body, "dry_run": True})
    assert shown["freezes"][0]["author"] == text
    page.post("unfreeze", {**body, "seen": shown["seen"]})


def page_store(page: Page) -> ParamStore:
    return ParamStore(page.get("health")["store"], environ={})


@pytest.mark.parametrize("text", CORPUS[:-1], ids=NAMES[:-1])
def test_texts_in_addresses_keys_and_contexts_are_refused_as_text(page: Page, text: str) -> None:
    if text.isascii() and text.isprintable():
        answer = page.ask("GET", "values", params={"at": f"symbol={text}"})
        assert (answer.status_code, answer.json()["context"]) == (200, {"symbol": text})
        check_headers(answer, "application/json")
    sendable = text.encode("utf-8", "replace").decode()
    for params in ({"at": sendable}, {"at": f"regime={sendable}"}):
        answer = page.ask("GET", "values", params=params)
        assert answer.status_code == 400
        check_headers(answer, "application/problem+json")
    answer = page.ask("GET", "parameters", params={"pattern": sendable})
    assert answer.status_code == 404
    check_headers(answer, "application/problem+json")
    assert answer.json()["detail"]
    body = {"author": "a", "reason": "r", "dry_run": True}
    for path, more in (
        ("set", {"changes": [{"key": text, "value": 1}]}),
        ("set", {"changes": [{"key": "risk.size", "value": text}]}),
        ("set", {"changes": [{"key": "risk.size", "value": 1, "context": {text: text}}]}),
        ("set", {"changes": [{"key": "risk.size", "value": 1, "context": {"regime": text}}]}),
        ("rollback", {"to": text}),
        ("rollback", {"to": 0, "by": text}),
        ("freeze", {"pattern": text}),
        ("freeze", {"pattern": "risk.count", "until": text}),
        ("unfreeze", {"pattern": text}),
        ("approve", {"pattern": text}),
    ):
        headers = {**WRITING, "Content-Type": "application/json"}
        answer = page.ask("POST", path, headers, content=json.dumps({**body, **more}))
        assert answer.status_code in (200, 400, 404, 422), (path, answer.text)
        if answer.status_code == 200:
            check_headers(answer, "application/json")
            assert answer.json()["violations"] or answer.json()["changes"] or text == sendable
        else:
            check_headers(answer, "application/problem+json")


@pytest.mark.parametrize("text", [text for text in CORPUS if text.isascii() and "\r" not in text and "\x00" not in text],
                         ids=repr)  # fmt: skip
def test_texts_in_conditions_split_no_header(page: Page, text: str) -> None:
    text = text.replace("\n", " ").replace("\x0b", "").replace("\x0c", "")[:500]
    answer = page.ask(
        "GET", "values", {"If-None-Match": text, "Last-Event-ID": text, "X-Forwarded-Host": text}
    )
    assert answer.status_code == 200
    assert text not in str(answer.headers)
    assert answer.request.url.host in ORIGIN


def test_no_text_breaks_the_frames_of_the_stream(root: Path) -> None:
    store = ParamStore(root, environ={})
    with server(root) as (address, _), stream(address) as events:
        events.take(1)
        ids = []
        for number, text in enumerate(CORPUS):
            with store.transaction(author=text, reason=text, evidence={"note": text}) as tx:
                tx["risk.stop"] = 3.0 + number / 1000
            entry = tx.commit_result.entry
            assert entry is not None
            ids.append(entry.id)
        came = events.take(len(CORPUS))
        assert [(event.name, event.id) for event in came] == [("entry", made) for made in ids]
        assert [event.data["author"] for event in came] == CORPUS
        assert [event.data["evidence"]["note"] for event in came] == CORPUS
        assert events.comments == 0
