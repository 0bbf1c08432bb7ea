"""What a person does is what was shown, or a conflict: nothing is lost, nothing passed over, and no learner keeps anybody out."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pages import PERSON, WRITING, Page, command, live_a_little, make_store, server

from paramstore import ParamStore

SET = {**PERSON, "changes": [{"key": "risk.size", "value": 1.2}]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> ParamStore:
    return make_store(root)


@pytest.fixture
def page(store: ParamStore) -> Iterator[Page]:
    with Page(store) as made:
        yield made


def write(store: ParamStore, author: str = "sizer", **values: Any) -> None:
    with store.transaction(author=author, reason="learned") as tx:
        for name, value in values.items():
            tx[f"risk.{name}"] = value


# --- preview, then act ----------------------------------------------------------------------------


def test_a_preview_shows_and_writes_nothing(page: Page, store: ParamStore, root: Path) -> None:
    shown = page.post("set", {**SET, "dry_run": True})
    assert shown["changes"] == [{"key": "risk.size", "context": {}, "old": 1.0, "new": 1.2}]
    assert (shown["dry_run"], shown["revision"], shown["violations"], shown["detail"]) == (True, 0, [], "")
    assert shown["summary"] == "risk.size 1.0 → 1.2"
    assert store.revision == 0
    assert store.get("risk.size") == 1.0
    assert [entry.kind for entry in store.history(refused=True)] == ["external"]
    said = command(root, "set", "risk.size", "1.2", "--dry-run", "--reason", "reviewed")
    assert {name: shown[name] for name in said} == said


def test_what_was_shown_is_done(page: Page, store: ParamStore) -> None:
    body = {
        **PERSON,
        "changes": [
            {"key": "risk.size", "value": 1.2},
            {"key": "risk.stop", "value": 3, "context": {"symbol": "ETH", "level": 2}},
            {"key": "risk.size", "remove": True, "context": {"symbol": "BTC"}},
            {"key": "risk.mode", "value": "wild"},
            {"key": "risk.on", "value": False},
            {"key": "risk.steps", "value": [3.5]},
        ],
    }
    done = page.act("set", {**body, "force": True})
    assert (done["dry_run"], done["revision"], done["entry"]["revision"]) == (False, 1, 1)
    assert done["entry"]["author"] == "ann"
    assert store.get("risk.stop", symbol="ETH", level=2) == 3.0
    assert store.get("risk.size", symbol="BTC") == 1.2
    assert (store.get("risk.mode"), store.get("risk.on"), store.get("risk.steps")) == ("wild", False, [3.5])
    assert page.get("history")["entries"][-1] == done["entry"]


def test_without_a_preview_nothing_is_done(page: Page, store: ParamStore) -> None:
    for path, body in (
        ("set", SET),
        ("rollback", {**PERSON, "to": 0}),
        ("approve", {**PERSON, "pattern": "*"}),
        ("unfreeze", {**PERSON, "pattern": "risk.*"}),
    ):
        if path == "unfreeze":
            store.freeze("risk", author="bob", reason="odd")
        said = page.post(path, body, 409)
        assert (said["kind"], said["preview"]["dry_run"]) == ("not_previewed", True)
        assert said["preview"]["seen"]
        assert page.post(path, {**body, "seen": "0" * 32}, 409)["kind"] == "changed"
        assert page.post(path, {**body, "seen": "ü"}, 409)["kind"] == "changed"
    assert (store.revision, len(store.freezes())) == (0, 1)


def test_the_second_of_two_people_sees_the_conflict_and_nothing_is_lost(
    page: Page, store: ParamStore
) -> None:
    mine = page.post("set", {**SET, "dry_run": True})
    write(store, size=1.1)
    said = page.post("set", {**SET, "seen": mine["seen"]}, 409)
    assert said["kind"] == "changed"
    assert said["preview"]["changes"] == [{"key": "risk.size", "context": {}, "old": 1.1, "new": 1.2}]
    assert (store.get("risk.size"), store.revision) == (1.1, 1)
    done = page.post("set", {**SET, "seen": said["preview"]["seen"]})
    assert done["entry"]["changes"][0]["old"] == 1.1


def test_what_others_did_elsewhere_is_no_conflict(page: Page, store: ParamStore) -> None:
    seen = page.post("set", {**SET, "dry_run": True})["seen"]
    write(store, stop=3.0)
    store.freeze("weights", author="bob", reason="odd")
    done = page.post("set", {**SET, "seen": seen})
    assert done["revision"] == 2
    assert (store.get("risk.size"), store.get("risk.stop")) == (1.2, 3.0)


def test_what_a_removal_leaves_is_shown_and_a_conflict_once_it_moves(page: Page, store: ParamStore) -> None:
    btc = {"key": "risk.size", "context": {"symbol": "BTC"}}
    body = {**PERSON, "changes": [{**btc, "remove": True}], "force": True}
    shown = page.post("set", {**body, "dry_run": True})
    assert shown["left"] == [{**btc, "value": 1.0}]
    write(store, size=1.5)
    said = page.post("set", {**body, "seen": shown["seen"]}, 409)
    assert (said["kind"], said["preview"]["left"]) == ("changed", [{**btc, "value": 1.5}])
    assert store.get("risk.size", symbol="BTC") == 0.5
    page.post("set", {**body, "seen": said["preview"]["seen"]})
    assert store.get("risk.size", symbol="BTC") == 1.5
    both = [{**btc, "value": 1.6}, {**btc, "context": {"symbol": "BTC", "level": 3}, "value": 1.7}]
    page.act("set", {**PERSON, "changes": both, "force": True})
    gone = {**btc, "context": {"symbol": "BTC", "level": 3}, "remove": True}
    fine = {**PERSON, "changes": [gone, {"key": "risk.size", "value": 1.4}], "dry_run": True, "force": True}
    assert page.post("set", fine)["left"][0]["value"] == 1.6


def test_an_edit_by_hand_of_what_was_shown_is_a_conflict(page: Page, store: ParamStore, root: Path) -> None:
    seen = page.post("set", {**SET, "dry_run": True})["seen"]
    file = root / "params/risk.yaml"
    file.write_text(file.read_text().replace("size: 1.0", "size: 1.05"))
    time.sleep(0.15)  # until a reader believes it
    said = page.post("set", {**SET, "seen": seen}, 409)
    assert said["preview"]["changes"][0]["old"] == 1.05
    assert page.post("set", {**SET, "seen": said["preview"]["seen"]})["entry"]["changes"][0]["old"] == 1.05


# --- rules ----------------------------------------------------------------------------------------


def test_a_preview_names_every_broken_rule_and_what_force_would_pass(page: Page, store: ParamStore) -> None:
    body = {**PERSON, "changes": [{"key": "risk.size", "value": 3.0}, {"key": "risk.count", "value": 4}]}
    shown = page.post("set", {**body, "dry_run": True})
    assert {(v["key"], v["rule"]) for v in shown["violations"]} == {("risk.size", "max_step")}
    assert shown["violations"][0]["allowed"] == [0.5, 1.5]
    assert shown["violations"][0]["text"] in shown["detail"]
    assert "revision 0 stands" in shown["detail"]
    refused = page.post("set", {**body, "seen": shown["seen"]}, 422)
    assert refused["violations"] == shown["violations"]
    assert refused["detail"] == shown["detail"]
    forced = page.post("set", {**body, "force": True, "dry_run": True})
    assert forced["changes"][0]["overrode"] == ["max_step"]
    assert page.post("set", {**body, "force": True, "seen": shown["seen"]}, 409)
    done = page.post("set", {**body, "force": True, "seen": forced["seen"]})
    assert done["entry"]["details"] == {"forced": True}
    above = {**PERSON, "force": True, "dry_run": True, "changes": [{"key": "risk.size", "value": 11}]}
    assert page.post("set", above)["violations"][0]["rule"] == "maximum"
    tied = {**PERSON, "force": True, "dry_run": True, "changes": [{"key": "weights.a", "value": 0.6}]}
    assert page.post("set", tied)["violations"][0]["rule"] == "constraint"


@pytest.mark.parametrize("path", ["set", "rollback", "freeze", "unfreeze", "approve"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"author": ""}, "needs an author"),
        ({"author": " \t"}, "needs an author"),
        ({"reason": " "}, "needs a reason"),
    ],
)
def test_author_and_reason_are_required(
    page: Page, store: ParamStore, path: str, words: dict[str, str], sentence: str
) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "set": {"changes": [{"key": "risk.size", "value": 1.2}]},
        "rollback": {"to": 0},
    }
    body = {**PERSON, **bodies.get(path, {"pattern": "*"}), **words}
    for dry_run in (True, False):
        assert sentence in page.post(path, {**body, "dry_run": dry_run}, 422)["detail"]
    assert not store.freezes()


MALFORMED: list[tuple[str, Any]] = [
    ("set", {}),
    ("set", []),
    ("set", {**SET, "changes": []}),
    ("set", {**SET, "changes": [{"key": "risk.size"}]}),
    ("set", {**SET, "changes": [{"key": "risk.size", "value": 1, "remove": True}]}),
    ("set", {**SET, "changes": [{"key": 3, "value": 1}]}),
    ("set", {**SET, "changes": [{"key": "risk.size", "value": 1, "context": []}]}),
    ("set", {**SET, "changes": [{"key": "risk.size", "value": 1, "kontext": {}}]}),
    ("set", {**SET, "force": "yes"}),
    ("set", {**SET, "dry_run": 1}),
    ("set", {**SET, "sean": ""}),
    ("rollback", {**PERSON, "to": 1.5}),
    ("rollback", {**PERSON, "to": True}),
    ("rollback", {**PERSON, "to": None}),
    ("rollback", {**PERSON, "to": -1}),
    ("freeze", {**PERSON}),
    ("freeze", {**PERSON, "pattern": "*", "until": []}),
]


@pytest.mark.parametrize(("path", "body"), MALFORMED)
def test_a_body_of_another_shape_is_malformed(page: Page, path: str, body: Any) -> None:
    said = page.post(path, body, 400)
    assert said["kind"] == "malformed"
    assert said["detail"].endswith("Nothing was written.")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 20_000, b"9" * 100_000, b"nul", b'"\x00"']
)
def test_what_is_no_json_is_malformed(page: Page, raw: bytes) -> None:
    headers = {**WRITING, "Content-Type": "application/json"}
    answer = page.ask("POST", "set", headers, content=raw)
    assert (answer.status_code, answer.json()["kind"]) == (400, "malformed")


WRONG: list[tuple[Any, str]] = [
    ("1.2", "type"), (None, "type"), (True, "type"), ([], "type"), ({}, "type"), (10**400, "maximum"), (-5, "minimum"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "rule"), WRONG, ids=[repr(value)[:9] for value, _ in WRONG])
def test_types_are_judged_by_the_schema(page: Page, value: Any, rule: str) -> None:
    body = {**PERSON, "force": True, "dry_run": True, "changes": [{"key": "risk.size", "value": value}]}
    shown = page.post("set", body)
    assert shown["violations"][0]["rule"] == rule
    page.post("set", {**body, "dry_run": False, "seen": shown["seen"]}, 422)


def test_numbers_that_json_has_not_are_refused_and_shown_as_text(page: Page) -> None:
    raw = b'{"author":"a","reason":"r","dry_run":true,"changes":[{"key":"risk.size","value":%s}]}'
    headers = {**WRITING, "Content-Type": "application/json"}
    for word in (b"NaN", b"Infinity", b"-1e999"):
        answer = page.ask("POST", "set", headers, content=raw % word)
        assert answer.status_code == 200
        assert answer.json()["violations"][0]["requested"] in ("nan", "inf", "-inf")


def test_what_is_named_wrong_is_told_with_what_is_near(page: Page, store: ParamStore) -> None:
    unknown = {**PERSON, "dry_run": True, "changes": [{"key": "risk.siz", "value": 1}]}
    assert page.post("set", unknown, 404)["nearest"][0] == "risk.size"
    context = {"key": "risk.size", "value": 1, "context": {"symbl": "BTC"}}
    assert "symbol" in page.post("set", {**unknown, "changes": [context]}, 400)["detail"]
    odd_values: list[Any] = [[], {}, None]
    for given in odd_values:
        odd = {**context, "context": {"symbol": given}}
        page.post("set", {**unknown, "changes": [odd]}, 422 if given is None else 400)
    twice = [{"key": "risk.size", "value": 1.1}] * 2
    assert "named twice" in page.post("set", {**unknown, "changes": twice}, 422)["detail"]
    assert page.post("rollback", {**PERSON, "to": 99, "dry_run": True}, 404)["kind"] == "unknown_revision"
    assert page.post("rollback", {**PERSON, "to": 0, "keys": "nix", "dry_run": True}, 404)
    assert page.post("freeze", {**PERSON, "pattern": "nix"}, 404)
    assert page.post("approve", {**PERSON, "pattern": "nix", "dry_run": True}, 404)
    assert (
        "no freeze of exactly"
        in page.post("unfreeze", {**PERSON, "pattern": "risk", "dry_run": True}, 422)["detail"]
    )
    assert store.revision == 0


# --- rollback, freeze, approve ----------------------------------------------------------------------


def test_a_rollback_does_what_it_showed(page: Page, store: ParamStore, root: Path) -> None:
    live_a_little(store)
    write(store, "ann", size=1.3)
    body = {**PERSON, "to": 1, "keys": "risk", "by": "sizer"}
    shown = page.post("rollback", {**body, "dry_run": True})
    words = ["rollback", "1", "--keys", "risk", "--by", "sizer", "--reason", "reviewed", "--dry-run"]
    said = command(root, *words)
    assert said["kept"]
    assert {name: shown[name] for name in said} == said
    whole = {**PERSON, "to": "1", "keys": "risk.*"}
    seen = page.post("rollback", {**whole, "dry_run": True})["seen"]
    write(store, size=1.4)
    again = page.post("rollback", {**whole, "seen": seen}, 409)["preview"]
    assert again["changes"][0]["old"] == 1.4
    done = page.post("rollback", {**whole, "seen": again["seen"]})
    assert done["entry"]["kind"] == "rollback"
    assert store.get("risk.size") == 1.1
    store.freeze("risk", author="bob", reason="odd")
    frozen = page.post("rollback", {**whole, "to": 0, "dry_run": True})
    assert {v["rule"] for v in frozen["violations"]} == {"freeze"}
    page.post("rollback", {**whole, "to": 0, "seen": frozen["seen"]}, 422)
    assert page.act("rollback", {**whole, "to": 0, "force": True})["entry"]["details"] == {"forced": True}


def test_the_kill_switch_needs_no_preview(page: Page, store: ParamStore) -> None:
    shown = page.post("freeze", {**PERSON, "pattern": "weights", "dry_run": True})
    assert (shown["keys"], store.freezes()) == (["weights.a", "weights.b"], ())
    done = page.post("freeze", {**PERSON, "pattern": "*"})
    assert done["freezes"] == page.get("freezes")
    assert done["freezes"][0]["pattern"] == "*"
    assert len(done["keys"]) == 8
    for until in ("2h", " 30min", 90, 90.5, "2099-01-01T00:00:00"):
        assert page.post("freeze", {**PERSON, "pattern": "weights", "until": until})["entry"]["details"][
            "until"
        ]
    for until in ("yesterday", "2001-01-01", 0, -3, "0s", 1e300):
        page.post("freeze", {**PERSON, "pattern": "weights", "until": until}, 422)


def test_the_kill_switch_works_while_a_file_is_broken(page: Page, store: ParamStore, root: Path) -> None:
    assert store.get("risk.size") == 1.0
    (root / "params/risk.yaml").write_text("values: [\n")
    assert page.post("freeze", {**PERSON, "pattern": "*"})["freezes"]


def test_a_freeze_that_came_meanwhile_is_not_ended_unseen(page: Page, store: ParamStore) -> None:
    store.freeze("risk", author="bob", reason="odd")
    body = {**PERSON, "pattern": "risk"}
    shown = page.post("unfreeze", {**body, "dry_run": True})
    assert [freeze["reason"] for freeze in shown["freezes"]] == ["odd"]
    store.freeze("risk", author="eve", reason="lost money")
    again = page.post("unfreeze", {**body, "seen": shown["seen"]}, 409)["preview"]
    assert [freeze["reason"] for freeze in again["freezes"]] == ["odd", "lost money"]
    assert len(store.freezes()) == 2
    store.freeze("risk.size", author="eve", reason="pinned")
    done = page.act("unfreeze", body)
    assert "still frozen by risk.size" in done["summary"]
    assert [freeze.pattern for freeze in store.freezes()] == ["risk.size"]


def test_a_value_that_moved_is_not_approved_unseen(page: Page, store: ParamStore) -> None:
    write(store, size=1.1)
    body = {**PERSON, "pattern": "risk"}
    shown = page.post("approve", {**body, "dry_run": True})
    assert shown["baselines"] == [{"key": "risk.size", "context": {}, "value": 1.1}]
    write(store, size=1.2)
    again = page.post("approve", {**body, "seen": shown["seen"]}, 409)["preview"]
    assert again["baselines"][0]["value"] == 1.2
    done = page.post("approve", {**body, "seen": again["seen"]})
    assert (done["entry"]["kind"], done["entry"]["details"]["baselines"][0]["value"]) == ("approve", 1.2)


# --- several at once ----------------------------------------------------------------------------------


def person(address: str, token: str, path: str, body: dict[str, Any]) -> httpx.Response:
    headers = {"Origin": address, "Authorization": f"Bearer {token}"}
    return httpx.post(f"{address}/api/v1/{path}", json=body, headers=headers, timeout=30, trust_env=False)


def test_of_many_people_who_saw_the_same_one_wins(root: Path, store: ParamStore) -> None:
    """Twelve people at two servers, each a process of its own, confirm what they saw at the same moment."""
    with server(root, "--allow-writes") as (one, token), server(root, "--allow-writes") as (other, _):
        bodies = [
            {"author": f"person{n}", "reason": "r", "changes": [{"key": "risk.stop", "value": 3.0 + n / 100}]}
            for n in range(12)
        ]
        seen = [
            person((one, other)[n % 2], token, "set", {**body, "dry_run": True}).json()["seen"]
            for n, body in enumerate(bodies)
        ]
        with ThreadPoolExecutor(12) as pool:
            answers = list(
                pool.map(
                    lambda n: person((one, other)[n % 2], token, "set", {**bodies[n], "seen": seen[n]}),
                    range(12),
                )
            )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
    winner = next(n for n, answer in enumerate(answers) if answer.status_code == 200)
    commits = [entry for entry in store.history() if entry.kind == "commit"]
    assert [entry.author for entry in commits] == [f"person{winner}"]
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["preview"]["changes"][0]["old"] == 3.0 + winner / 100


LEARNER = """
import sys, time
from paramstore import ParamStore
store = ParamStore(sys.argv[1], environ={})
print("ready", flush=True)
n = 0
while True:
    n += 1
    with store.transaction(author="looper", reason="loop") as tx:
        tx["risk.stop"] = 2.0 + n % 50 / 100
"""
HOLDER = """
import sys, time
from paramstore import ParamStore
with ParamStore(sys.argv[1], environ={}).transaction(author="holder") as tx:
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def running(code: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-c", code, str(root)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_learner_that_never_pauses_keeps_nobody_out(page: Page, store: ParamStore, root: Path) -> None:
    """Each action passes at the first try, though hundreds of revisions are made meanwhile; none of either is lost."""
    with running(LEARNER, root), running(LEARNER.replace("looper", "other"), root):
        time.sleep(0.2)
        first = store.revision
        waits = []
        for n in range(20):
            begin = time.monotonic()
            body = {**PERSON, "changes": [{"key": "risk.size", "value": 1.0 + n / 100 + 0.01}]}
            done = page.act("set", body)
            waits.append(time.monotonic() - begin)
            assert done["entry"]["changes"][0]["new"] == store.get("risk.size")
        passed = store.revision - first
    assert passed > 40, "the learners made no revisions meanwhile"
    assert max(waits) < 2.0, waits
    mine = [entry for entry in store.history("risk.size") if entry.author == "ann"]
    assert len(mine) == 20
    revisions = [entry.revision for entry in store.history()]
    assert revisions == sorted(set(revisions))


def test_writes_that_wait_for_the_lock_keep_no_read_waiting(root: Path) -> None:
    store = ParamStore(make_store(root).root, environ={"PARAMSTORE_TIMEOUT_S": "1.5"})
    with Page(store) as page, ThreadPoolExecutor(30) as pool, running(HOLDER, root) as holder:
        page.get("values")
        waiting = [
            pool.submit(page.ask, "POST", "set", WRITING, json={**SET, "dry_run": True}) for _ in range(12)
        ]
        switch = pool.submit(page.ask, "POST", "freeze", WRITING, json={**PERSON, "pattern": "*"})
        time.sleep(0.3)
        assert "paramstore-web-switch_0" in {
            thread.name for thread in threading.enumerate()
        }  # not in line with previews
        begin = time.monotonic()
        for path in ("values", "parameters", "history", "health", "parameters/risk.size") * 4:
            page.get(path)
        assert time.monotonic() - begin < 1.0
        first = waiting[0].result()
        assert (first.status_code, first.json()["kind"]) == (503, "lock_timeout")
        assert first.headers["retry-after"] == "1"
        assert not switch.done()  # it is patient
        assert holder.stdin is not None
        holder.stdin.close()
        assert switch.result().status_code == 200
        assert {each.result().status_code for each in waiting} <= {200, 503}
    assert [freeze.pattern for freeze in store.freezes()] == ["*"]
