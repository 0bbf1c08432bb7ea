"""What takes long is made aside and kept: nobody waits for it, and nothing is made twice from the same."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from local_store import write, write_store
from test_index import SCHEMAS, VALUES

from paramstore import ParamStore
from paramstore.web import _background
from paramstore.web._background import Aside, Background

PATIENCE_S = 20.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ParamStore]:
    store = ParamStore(write_store(tmp_path / "store", SCHEMAS, VALUES), environ={})
    for turn in range(4):
        with store.transaction(author="learner", reason="one", evidence={"samples": 9}) as tx:
            tx["ns.a"] = 1.1 + turn / 10
    yield store
    store.reset()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are old at once, if anything changed."""
    monkeypatch.setattr(_background, "LEAST_S", 0.0)
    monkeypatch.setattr(_background, "TIMES", 0)


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while (answer := found()) is None or answer is False:
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)
    return answer


def command(store: ParamStore, *words: str) -> Any:
    from paramstore.cli import cli

    done = CliRunner().invoke(cli, ["--root", str(store.root), *words, "--json"], catch_exceptions=False)
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.output)


def timeless(data: Any) -> Any:
    """Return it with each time cut to the day, and no ages: they are counted from now."""
    if isinstance(data, dict):
        times = {"now", "last_change", "last_commit", "last_attempt"}
        return {n: str(v)[:10] if n in times else timeless(v) for n, v in data.items()}
    if isinstance(data, str):
        return re.sub(r"[\d.]+ s ago", "ago", data)
    return [timeless(item) for item in data] if isinstance(data, list) else data


def outcomes_of(path: Path, count: int = 30) -> str:
    lines = [
        json.dumps({"params_revision": revision, "params_digest": "x", "pnl": revision + turn % 5})
        for revision in (1, 2, 3, 4)
        for turn in range(count)
    ]
    write(path, "\n".join([*lines, "no json"]) + "\n")
    return str(path)


def test_doctor_is_asked_aside_and_says_what_the_command_says(store: ParamStore) -> None:
    background = Background(store)
    assert background.doctor() == (None, 0.0)  # at once: nobody waits for it
    answer, age = until(lambda: (found := background.doctor())[0] and found)
    said = command(store, "doctor")
    assert timeless(json.loads(json.dumps(answer))) == timeless(said)
    assert said["learners"] and said["parameters"]
    assert 0 <= age < PATIENCE_S


def test_the_scorecard_is_that_of_the_command(store: ParamStore, tmp_path: Path) -> None:
    file = outcomes_of(tmp_path / "outcomes.jsonl")
    background = Background(store, file, "pnl")
    answer = until(lambda: background.scorecard()[0])
    assert json.loads(json.dumps(answer)) == command(store, "scorecard", file, "--metric", "pnl")
    assert answer["outcomes"] == 120 and answer["problems"]["count"] == 1


@pytest.mark.usefixtures("soon")
def test_a_new_one_is_made_once_something_changed(store: ParamStore, tmp_path: Path) -> None:
    file = tmp_path / "outcomes.jsonl"
    background = Background(store, outcomes_of(file), "pnl")
    first, card = until(lambda: background.doctor()[0]), until(lambda: background.scorecard()[0])
    time.sleep(0.05)
    assert background.doctor()[0] is first and background.scorecard()[0] is card
    other = ParamStore(store.root, environ={})
    with other.transaction(author="second", reason="two") as tx:
        tx["ns.a"] = 2.0
    other.reset()
    again = until(lambda: (found := background.doctor()[0]) is not first and found)
    assert [each["learner"] for each in again["learners"] if each["commits"]] == ["learner", "second"]
    card = until(lambda: (found := background.scorecard()[0]) is not card and found)
    time.sleep(0.5)  # until nothing comes of the commit any more
    card = background.scorecard()[0]
    time.sleep(0.1)
    assert background.scorecard()[0] is card
    outcomes_of(file, 40)
    assert until(lambda: (found := background.scorecard()[0]) is not card and found)["outcomes"] == 160


@pytest.mark.usefixtures("soon")
def test_a_freeze_changes_no_value_and_makes_it_old(store: ParamStore) -> None:
    background = Background(store)
    until(lambda: background.doctor()[0])
    store.freeze("ns.a", author="person", reason="stop")

    def frozen() -> bool:
        answer = background.doctor()[0]
        assert answer is not None
        return any(note["rule"] == "frozen" for each in answer["parameters"] for note in each["notes"])

    until(frozen)


def test_what_was_just_made_is_kept_though_something_changed(store: ParamStore) -> None:
    background = Background(store)
    first = until(lambda: background.doctor()[0])
    with store.transaction(author="second", reason="two") as tx:
        tx["ns.a"] = 2.0
    for _ in range(5):
        assert background.doctor()[0] is first
        time.sleep(0.02)


def test_it_is_kept_for_twenty_times_as_long_as_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_background, "LEAST_S", 0.0)
    made: list[float] = []

    def make() -> dict[str, Any]:
        time.sleep(0.03)
        made.append(time.monotonic())
        return {"turn": len(made)}

    aside = Aside("a test", make, lambda: (object(),))  # it has always changed
    until(lambda: len(made) >= 2 or not aside.get())
    assert made[1] - made[0] >= 20 * 0.03


def test_one_at_a_time_and_never_in_the_thread_that_asks() -> None:
    makers: list[threading.Thread] = []
    gate = threading.Event()

    def make() -> dict[str, Any]:
        makers.append(threading.current_thread())
        gate.wait(PATIENCE_S)
        return {}

    aside = Aside("a test", make, lambda: ())
    for _ in range(20):
        assert aside.get() == (None, 0.0)
    gate.set()
    until(lambda: aside.get()[0] is not None)
    assert len(makers) == 1 and makers[0] is not threading.current_thread()


def test_silence_grows_though_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_background, "LEAST_S", 0.0)
    monkeypatch.setattr(_background, "OLD_S", 0.05)
    made: list[int] = []

    def make() -> dict[str, Any]:
        made.append(1)
        return {}

    aside = Aside("a test", make, lambda: ())
    until(lambda: len(made) == 2 or not aside.get())


@pytest.mark.usefixtures("soon")
def test_a_failure_is_an_answer_with_a_sentence(store: ParamStore, tmp_path: Path) -> None:
    def problem(file: Path, metric: str = "pnl") -> str:
        background = Background(store, str(file), metric)
        return str(until(lambda: background.scorecard()[0])["problem"])

    assert problem(tmp_path / "none.jsonl") == f"{tmp_path}/none.jsonl: No such file or directory"
    write(tmp_path / "empty.jsonl", "")
    assert "no outcome in it could be joined" in problem(tmp_path / "empty.jsonl")
    write(tmp_path / "other.jsonl", '{"params_revision": 99, "pnl": 1}\n')
    assert "line 1" in problem(tmp_path / "other.jsonl")
    nameless = Background(store)
    assert "--outcomes FILE" in until(lambda: nameless.scorecard()[0])["problem"]
    journal = next(Path(str(store.root), "params", "journal").iterdir())
    good = journal.read_bytes()
    journal.write_bytes(b"<<<<<<<\n" + good)
    background = Background(store)
    assert "is not a journal entry" in until(lambda: background.doctor()[0])["problem"]
    journal.write_bytes(good)
    with store.transaction(author="second", reason="two") as tx:
        tx["ns.a"] = 2.0
    assert "findings" in until(lambda: (found := background.doctor()[0]) and "findings" in found and found)


def test_a_fault_of_ours_is_an_answer_too(caplog: pytest.LogCaptureFixture) -> None:
    nothing: dict[str, Any] = {}
    aside = Aside("a test", lambda: nothing["x"], lambda: ())
    assert until(lambda: aside.get()[0]) == {
        "problem": "It cannot be found out, by a fault of paramstore: KeyError: 'x'"
    }
    assert "what a test says cannot be found out" in caplog.text
