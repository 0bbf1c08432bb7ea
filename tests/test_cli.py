"""The command line as people and scripts use it: all commands, bad input, and real processes."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from local_store import free_for_all, learnable

from paramstore import ParamStore, __version__, _demo_page, _init, demo
from paramstore.cli import _output, cli
from paramstore.cli._chart import step_chart
from paramstore.cli._output import ago, change_text, legible, value_text
from paramstore.errors import ParamstoreError

SOURCE = Path(__file__).resolve().parents[1]
DISTURBING = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "PYTHONUNBUFFERED", "PYTHONIOENCODING")
COMMANDS = [
    "get",
    "set",
    "list",
    "explain",
    "history",
    "blame",
    "diff",
    "bisect",
    "scorecard",
    "rollback",
    "freeze",
    "unfreeze",
    "approve",
    "commit",
    "git",
    "agent",
    "mirror",
    "copy",
    "etcd",
    "check",
    "doctor",
    "init",
    "stubs",
    "schema",
    "serve",
    "report",
    "demo",
    "migrate",
]
FUNDING, LIQUIDATION = "signal_weights.funding", "signal_weights.liquidation"
KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": "string", "default": "a → b"},
    "flag": {"type": "boolean", "default": True},
    "count": {"type": "integer", "minimum": -5, "default": 3},
    "ratio": {"type": "number", "default": 0.1},
    "tiny": {"type": "number", "default": 1e-07},
    "mode": {"enum": ["fast", "slow"], "default": "fast"},
    "steps": {"type": "array", "default": [1, 2.5, "x"]},
    "pair": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}], "default": [1, "a"]},
    "table": {"type": "object", "default": {"a": [1], "b": None}},
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("PARAM") or name in DISTURBING:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    monkeypatch.chdir(tmp_path)


def store(place: Path, files: dict[str, bytes]) -> Path:
    """Write files saved long ago, so that nobody waits for them to be quiet."""
    for name, raw in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(raw)
        os.utime(place / name, (0, 0))
    return place


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return store(tmp_path / "store", free_for_all(_init.shipped()))


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    """A store with one parameter of every kind."""
    schema = json.loads(_init.frame("kinds")["schemas/kinds.schema.json"])
    schema["properties"]["values"]["properties"] = learnable(KINDS)
    values = {name: leaf["default"] for name, leaf in KINDS.items()}
    files = {
        "schemas/kinds.schema.json": json.dumps(schema),
        "params/kinds.yaml": _init.values_text("kinds", values),
    }
    return store(tmp_path / "kinds", {name: text.encode() for name, text in files.items()})


def call(root: Path, *args: str, code: int = 0) -> Result:
    """Run a command in this process; an exception that reaches the top is a failure."""
    result = CliRunner().invoke(cli, ["--root", str(root), *args])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == code, result.output
    return result


def out(root: Path, *args: str, code: int = 0) -> str:
    return call(root, *args, code=code).stdout


def data(root: Path, *args: str) -> Any:
    return json.loads(out(root, *args, "--json"))


def refused(root: Path, *args: str, code: int = 1) -> str:
    """Return the one message of a command that must fail."""
    result = call(root, *args, code=code)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and "Traceback" not in result.stderr
    return result.stderr.removeprefix("error: ").rstrip("\n")


def program(root: Path, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as a program of its own."""
    words = [sys.executable, "-m", "paramstore", "--root", str(root), *args]
    options = {"capture_output": True, "text": True, "timeout": 60, **more}
    done: subprocess.CompletedProcess[str] = subprocess.run(words, check=False, **options)
    return done


def move(root: Path, step: float, *, author: str = "me", reason: str = "") -> None:
    """Move weight from liquidation to funding."""
    with ParamStore(root, environ={}).transaction(author=author, reason=reason) as tx:
        tx[FUNDING] += step
        tx[LIQUIDATION] -= step


def edit(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_bytes().decode()
    assert old in text
    (root / file).write_bytes(text.replace(old, new, 1).encode())
    past = time.time() - 5  # as if saved a while ago, so that nobody waits for it to be quiet
    os.utime(root / file, (past, past))


# --- get ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "printed"),
    [
        ("text", "a → b"), ("flag", "true"), ("count", "3"), ("ratio", "0.1"), ("tiny", "1e-07"),
        ("mode", "fast"), ("steps", '[1, 2.5, "x"]'), ("pair", '[1.0, "a"]'),
        ("table", '{"a": [1], "b": null}'),
    ],
)  # fmt: skip
def test_get_prints_the_bare_value(kinds: Path, key: str, printed: str) -> None:
    assert out(kinds, "get", f"kinds.{key}") == f"{printed}\n"


def test_get_json_says_key_value_context_and_revision(kinds: Path, root: Path) -> None:
    assert data(kinds, "get", "kinds.pair") == {
        "key": "kinds.pair", "value": [1.0, "a"], "context": {}, "revision": 0,
    }  # fmt: skip
    move(root, 0.01)
    assert data(root, "get", FUNDING, "--at", "symbol=X") == {
        "key": FUNDING, "value": 0.17, "context": {"symbol": "X"}, "revision": 1,
    }  # fmt: skip


def test_get_reads_in_a_context(root: Path) -> None:
    weights = [FUNDING, "0.17", LIQUIDATION, "0.21"]
    call(root, "set", *weights, "--at", "symbol=BTC", "--at", "regime=chop", "--author", "me")
    assert out(root, "get", FUNDING) == "0.16\n"
    assert out(root, "get", FUNDING, "--at", "symbol=BTC") == "0.16\n"
    assert out(root, "get", FUNDING, "--at", "symbol=BTC", "--at", "regime=chop") == "0.17\n"


def test_a_context_is_typed_as_its_dimension(kinds: Path) -> None:
    def declare(schema: dict[str, Any]) -> None:
        at = schema["properties"]["overrides"]["items"]["properties"]["at"]["properties"]
        at.update(level={"type": "integer"}, hot={"type": "boolean"})

    file = kinds / "schemas/kinds.schema.json"
    schema = json.loads(file.read_text())
    declare(schema)
    file.write_text(json.dumps(schema) + "\n")
    at = ["--at", "level=2", "--at", "hot=true"]
    call(kinds, "set", "kinds.count", "7", *at)
    assert out(kinds, "get", "kinds.count", *at) == "7\n"
    assert data(kinds, "get", "kinds.count", *at)["context"] == {"level": 2, "hot": True}
    refused(kinds, "get", "kinds.count", "--at", "level=high")


def test_get_with_a_wrong_context_says_what_is_expected_and_nothing_of_python(root: Path) -> None:
    said = refused(root, "get", FUNDING, "--at", "mode=real")
    assert said == "'real' is not a value of dimension `mode`: one of 'paper', 'live' is expected."


def test_get_sees_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAM__conviction_gate__min_trades", "40")
    assert out(root, "get", "conviction_gate.min_trades") == "40\n"


def test_get_of_an_unknown_key_suggests_the_nearest_and_says_it_once(root: Path) -> None:
    done = program(root, "get", "signal_weights.fundin")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1  # what the library logs is not printed a second time
    assert (
        "`signal_weights.fundin` is not a known parameter. Did you mean `signal_weights.funding`"
        in done.stderr
    )


# --- set ------------------------------------------------------------------------------------------


def test_set_commits_all_values_in_one_transaction(root: Path) -> None:
    said = out(root, "set", FUNDING, "0.17", LIQUIDATION, "0.21", "--author", "ann", "--reason", "review")
    assert said == f"{FUNDING}: 0.16 → 0.17 (revision 1)\n{LIQUIDATION}: 0.22 → 0.21 (revision 1)\n"
    entry = ParamStore(root, environ={}).history()[-1]
    assert (entry.revision, entry.author, entry.reason) == (1, "ann", "review")


def test_set_json(root: Path) -> None:
    done = data(root, "set", "win_rate.floor", "0.41", "--author", "me")
    change = {"key": "win_rate.floor", "context": {}, "old": 0.4, "new": 0.41}
    assert done == {"revision": 1, "dry_run": False, "changes": [change]}


@pytest.mark.parametrize(
    ("key", "given", "stored"),
    [
        ("count", "-4", -4), ("ratio", "-0.5", -0.5), ("ratio", "-.5", -0.5), ("ratio", "-1e-3", -0.001),
        ("ratio", "2", 2.0), ("flag", "False", False), ("text", "-x", "-x"), ("text", "12", "12"),
        ("steps", "[1, [2]]", [1, [2]]), ("table", '{"a": 1}', {"a": 1}), ("mode", "slow", "slow"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_set_takes_values_of_every_kind(
    kinds: Path, key: str, given: str, stored: Any, dashes: list[str]
) -> None:
    call(kinds, "set", "--author", "me", *dashes, f"kinds.{key}", given)
    value = ParamStore(kinds, environ={}).get(f"kinds.{key}")
    assert value == stored and isinstance(value, type(stored))


def test_set_says_so_when_nothing_changed(root: Path) -> None:
    assert out(root, "set", FUNDING, "0.16", "--author", "me") == "nothing changed; revision 0 stands\n"
    assert data(root, "set", FUNDING, "0.16")["changes"] == []


def test_set_tells_what_was_rounded(root: Path) -> None:
    said = out(root, "set", "win_rate.floor", "0.41234")
    assert said == "win_rate.floor: 0.4 → 0.412 (bound by decimals; 0.41234 was asked for) (revision 1)\n"


def test_set_dry_run_judges_and_writes_nothing(root: Path) -> None:
    before = (root / "params/win_rate.yaml").read_bytes()
    said = out(root, "set", "win_rate.floor", "0.41", "--dry-run")
    assert said == "win_rate.floor: 0.4 → 0.41 (dry run; revision 0 stands)\n"
    assert "above its maximum" in refused(root, "set", "win_rate.floor", "7", "--dry-run")
    assert (root / "params/win_rate.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["win_rate.floor", "7"], "`win_rate.floor` = 7.0 is above its maximum"),
        (["win_rate.floor", "-1"], "is below its minimum"),
        (["win_rate.floor", "nan"], "finite number"),
        (["win_rate.floor", "high"], "is a string, a number is expected"),
        (["conviction_gate.min_trades", "40.5"], "is a number, an integer is expected"),
        (["conviction_gate.min_trades", "true"], "is a boolean, an integer is expected"),
        ([FUNDING, "0.2"], "sum of liquidation"),
        (["win_rate.floor", "0.5"], "must be below"),
        (["win_rate.flor", "0.5"], "Did you mean `win_rate.floor`"),
        (["win_rate", "0.5"], "is not a known parameter"),
        (["", "0.5"], "is not a key"),
        (["win_rate.floor", "0.41", "--expected-revision", "3"], "Revision 3 was expected, but 0 stands"),
        (["win_rate.floor", "0.41", "--at", "simbol=X"], "Did you mean `symbol`?"),
        (["win_rate.floor", "0.41", "--at", "mode=real"], "one of 'paper', 'live' is expected."),
        (["win_rate.floor", "0.41", "--author", " "], "needs an author"),
    ],
)
def test_set_refuses_and_leaves_every_file_as_it_was(root: Path, args: list[str], said: str) -> None:
    before = {p: p.read_bytes() for p in (root / "params").iterdir()}
    assert said in refused(root, "set", *args)
    assert {p: p.read_bytes() for p in (root / "params").iterdir() if p.is_file()} == before


def test_set_tells_all_violations_at_once(root: Path) -> None:
    said = refused(root, "set", "win_rate.floor", "7", "win_rate.low", "8").splitlines()
    assert len(said) == 3 and "win_rate.floor" in said[0] and "win_rate.low" in said[1]
    assert said[2] == "Nothing was written; revision 0 stands. Next: ask for a value within bounds."


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Missing argument"),
        (["win_rate.floor"], "keys and values come in pairs; `win_rate.floor` is left over"),
        (["a.b", "1", "a.b", "2"], "`a.b` is named twice"),
        (["win_rate.floor", "0.41", "--raeson", "x"], "no such option: --raeson"),
        (["win_rate.floor", "0.41", "--root", "."], "it stands before the command"),
        (["win_rate.floor", "0.41", "--expected-revision", "x"], "not a valid integer"),
        (["win_rate.floor", "0.41", "--timeout", "-1"], "not in the range"),
        (["win_rate.floor", "0.41", "--at", "symbol"], "write it as dimension=value"),
        (["win_rate.floor", "0.41", "--at", "=x"], "write it as dimension=value"),
        (["win_rate.floor", "0.41", "--at", "mode=live", "--at", "mode=paper"], "names `mode` twice"),
        (["win_rate.floor", "--unset"], "--unset needs --at"),
        (["a.b", "a.b", "--unset", "--at", "mode=live"], "`a.b` is named twice"),
    ],
)
def test_set_used_wrongly_exits_2(root: Path, args: list[str], said: str) -> None:
    message = refused(root, "set", *args, code=2)
    assert said in message and message.endswith("See `paramstore set --help`.")


def test_set_at_writes_an_override_and_unset_removes_it(root: Path) -> None:
    file = root / "params/win_rate.yaml"
    before = file.read_bytes()
    at = ["--at", "symbol=BTC"]
    assert out(root, "set", "win_rate.floor", "0.42", *at) == (
        "win_rate.floor @symbol=BTC: set to 0.42 (revision 1)\n"
    )
    said = out(root, "set", "win_rate.floor", "--unset", *at)
    assert said == "win_rate.floor @symbol=BTC: 0.42 → removed (revision 2)\n"
    assert file.read_bytes() == before
    assert out(root, "set", "win_rate.floor", "--unset", *at) == "nothing changed; revision 2 stands\n"


def test_the_author_is_who_was_named_else_the_setting_else_the_login(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "login")
    call(root, "set", "win_rate.floor", "0.41")
    monkeypatch.setenv("PARAMSTORE_AUTHOR", "setting")
    call(root, "set", "win_rate.floor", "0.42")
    call(root, "set", "win_rate.floor", "0.43", "--author", "option")
    authors = [entry.author for entry in ParamStore(root, environ={}).history()[1:]]
    assert authors == ["login", "setting", "option"]


def test_without_any_login_the_author_must_be_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert "Give --author, or set PARAMSTORE_AUTHOR" in refused(root, "set", "win_rate.floor", "0.41", code=2)


@pytest.fixture
def locked(root: Path) -> Iterator[Path]:
    """A store whose lock another process holds."""
    code = (
        "import sys; from paramstore import ParamStore\n"
        "with ParamStore(sys.argv[1]).transaction(author='holder'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        yield root
        holder.kill()


def test_set_gives_up_after_its_timeout(locked: Path) -> None:
    started = time.monotonic()
    said = refused(locked, "set", "win_rate.floor", "0.41", "--timeout", "0.2")
    assert time.monotonic() - started < 3 and "Nothing was written" in said


def is_in_line(pid: int) -> bool:
    """Tell whether a process waits for the lock: it holds a place in the queue."""
    links = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(os.readlink(fd))
    return any(link.endswith("/lock.queue") for link in links)


def test_ctrl_c_exits_130_with_one_line(locked: Path) -> None:
    words = ["set", "win_rate.floor", "0.41", "--timeout", "60"]
    command = [sys.executable, "-m", "paramstore", "--root", str(locked), *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # what runs in the background of a script ignores SIGINT, and so would its children
    pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, **pipes) as waiting:
        while not is_in_line(waiting.pid):  # no sooner: an import in progress may swallow the interrupt
            assert waiting.poll() is None
            time.sleep(0.05)
        time.sleep(0.2)
        waiting.send_signal(signal.SIGINT)
        stdout, stderr = waiting.communicate(timeout=30)
    assert (waiting.returncode, stdout, stderr) == (130, "", "error: interrupted\n")


# --- list -----------------------------------------------------------------------------------------


def test_list_is_aligned_and_has_whole_keys_in_a_pipe(root: Path) -> None:
    move(root, 0.01, author="ann")
    header, *rows, legend = out(root, "list", "signal_weights").splitlines()
    assert header.split() == ["key", "value", "bounds", "unit", "learnable", "last", "change", "by"]
    assert len(rows) == 10 and legend == "* differs from the schema's default"
    funding = next(row for row in rows if row.startswith(f"{FUNDING} "))
    assert re.fullmatch(
        rf"{FUNDING} +\* 0\.17  0\.01 … 0\.5  fraction of score  yes +(just now|\d+ s ago)   +ann", funding
    )
    assert {row.index("0.01 …") for row in rows} == {header.index("bounds")}
    assert next(row for row in rows if "hurst" in row).endswith("yes")  # never changed: no time, no name


def test_list_shows_overrides_as_rows_of_their_own(root: Path) -> None:
    call(root, "set", "win_rate.floor", "0.42", "--at", "symbol=BTC", "--author", "bob")
    rows = out(root, "list", "win_rate.floor").splitlines()
    assert rows[2].startswith("    @symbol=BTC") and "* 0.42" in rows[2] and rows[2].endswith("bob")
    base, override = data(root, "list", "win_rate.floor")
    assert (base["context"], base["last_change"]) == ({}, None)
    assert (override["context"], override["value"]) == ({"symbol": "BTC"}, 0.42)
    assert override["last_change"]["author"] == "bob"


def test_list_json_has_everything_and_times_in_iso(root: Path) -> None:
    call(root, "set", "win_rate.floor", "0.41", "--author", "me")
    (line,) = data(root, "list", "win_rate.floor")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["last_change"].pop("time"))
    assert line == {
        "key": "win_rate.floor", "context": {}, "value": 0.41, "default": 0.4, "changed": True,
        "type": "number", "minimum": 0.2, "maximum": 0.6, "unit": "fraction of trades", "learnable": True,
        "frozen": False, "edited_by_hand": False, "last_change": {"revision": 1, "author": "me"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "count"),
    [
        ([], 80), (["win_rate"], 5), (["win_rate.*"], 5), (["*.floor"], 1), (["win_rate.floor"], 1),
        (["--namespace", "ensemble"], 9), (["ensemble.weights"], 5),
        (["*threshold*", "--namespace", "ensemble"], 3),
        (["--changed"], 0),
    ],
)  # fmt: skip
def test_list_chooses_by_pattern_and_namespace(root: Path, args: list[str], count: int) -> None:
    assert len(data(root, "list", *args)) == count


def test_list_changed_shows_what_differs_from_the_defaults(root: Path) -> None:
    assert out(root, "list", "--changed") == "no value differs from its default\n"
    call(root, "set", "win_rate.floor", "0.41")
    assert [line["key"] for line in data(root, "list", "--changed")] == ["win_rate.floor"]


@pytest.mark.parametrize("args", [["nope"], ["nope.*"], ["--namespace", "nope"], ["win_rat"]])
def test_list_of_nothing_known_is_refused(root: Path, args: list[str]) -> None:
    assert "is not a known parameter" in refused(root, "list", *args)


def test_list_marks_edits_by_hand_and_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(root, "set", "win_rate.floor", "0.41")
    edit(root, "params/win_rate.yaml", "low: 0.45", "low: 0.46")
    monkeypatch.setenv("PARAM__win_rate__high", "0.57")
    said = out(root, "list", "win_rate")
    assert re.search(r"win_rate\.low +\* 0\.46 .*edited by hand, not yet recorded", said)
    assert re.search(r"win_rate\.high +0\.55 ", said)
    assert re.search(r"\$PARAM__win_rate__high +0\.57 +in this environment", said)
    lines = {line["key"]: line for line in data(root, "list", "win_rate")}
    assert lines["win_rate.low"]["edited_by_hand"] and lines["win_rate.high"]["environment"] == 0.57


def test_list_reads_the_journal_a_fixed_number_of_times(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from paramstore._journal import Journal

    move(root, 0.01)
    reads: list[int] = []
    read = Journal.read

    def counted(self: Journal, *args: Any) -> Any:
        reads.append(1)
        return read(self, *args)

    monkeypatch.setattr(Journal, "read", counted)
    call(root, "list")
    assert len(reads) < 8  # there are 80 parameters


def test_list_shows_bounds_of_every_shape(kinds: Path) -> None:
    said = out(kinds, "list")
    assert re.search(r"kinds\.mode +fast +fast \| slow", said)
    assert re.search(r"kinds\.count +3 +≥ -5", said)


# --- explain --------------------------------------------------------------------------------------


def test_explain_shows_every_layer_and_which_wins(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for symbol, value in (("BTC", "0.42"), ("ETH", "0.43")):
        call(root, "set", "win_rate.floor", value, "--at", f"symbol={symbol}", "--author", "ann")
    said = out(root, "explain", "win_rate.floor", "--at", "symbol=BTC")
    assert said.startswith("win_rate.floor @symbol=BTC = 0.42   (revision 2)\n")
    layers = [line for line in said.splitlines() if line.startswith(("yaml", "context", "environment"))]
    assert [line.split()[:2] for line in layers] == [
        ["yaml", "0.4"],
        ["context", "0.43"],
        ["context", "0.42"],
    ]
    assert layers[1].endswith("does not apply here") and layers[2].endswith("wins")
    elsewhere = data(root, "explain", "win_rate.floor")
    assert [layer["name"] for layer in elsewhere["layers"] if layer["wins"]] == ["yaml"]
    monkeypatch.setenv("PARAM__win_rate__floor", "0.44")
    told = data(root, "explain", "win_rate.floor", "--at", "symbol=BTC")
    assert told["value"] == 0.44
    assert [layer["name"] for layer in told["layers"] if layer["wins"]] == ["environment"]


def test_explain_shows_rules_and_the_last_change_with_its_reason_and_evidence(root: Path) -> None:
    assert "no change is recorded yet" in out(root, "explain", FUNDING)
    evidence = {"samples": 812, "metric": "ev_bps"}
    with ParamStore(root, environ={}).transaction(author="ann", reason="because", evidence=evidence) as tx:
        tx[FUNDING] += 0.01
        tx[LIQUIDATION] -= 0.01
    said = out(root, "explain", FUNDING)
    for part in (
        "Weight of the funding-rate signal", "number 0.01 … 0.5 (fraction of score), default 0.16",
        "learnable, decimals 4", "schemas/signal_weights.schema.json",
        "last change: revision 1, ", "by ann", "0.16 → 0.17", "reason: because", "evidence: samples = 812",
        "evidence: metric = ev_bps",
    ):  # fmt: skip
        assert part in said
    assert data(root, "explain", FUNDING)["last_change"]["evidence"] == evidence


def test_explain_shows_an_edit_by_hand(root: Path) -> None:
    move(root, 0.01)
    edit(root, "params/win_rate.yaml", "floor: 0.40", "floor: 0.43")
    said = out(root, "explain", "win_rate.floor")
    assert "edited by hand, not yet recorded: win_rate.floor 0.4 → 0.43" in said


# --- history --------------------------------------------------------------------------------------


def test_history_has_one_line_per_revision_the_newest_last(root: Path) -> None:
    move(root, 0.01, author="ann", reason="first")
    move(root, 0.02, author="bob", reason="second")
    header, begin, first, second = out(root, "history").splitlines()
    assert header.split() == ["revision", "time", "kind", "author", "changes", "reason"]
    assert "80 values, as first recorded" in begin
    changes = f"{FUNDING} 0.16 → 0.17, {LIQUIDATION} 0.22 → 0.21"
    assert re.fullmatch(rf" +1  \d{{4}}-[\dT:-]+Z  commit    ann       {re.escape(changes)}  first", first)
    assert second.split()[0] == "2" and second.endswith("second")


def test_history_chooses(root: Path) -> None:
    for _ in range(3):
        move(root, 0.01)
    call(root, "set", "win_rate.floor", "0.41")
    revisions = {
        (): [0, 1, 2, 3, 4],
        ("--limit", "2"): [3, 4],
        ("--since", "2"): [3, 4],
        ("signal_weights",): [0, 1, 2, 3],
        ("win_rate.*",): [0, 4],
        (FUNDING, "--since", "0", "--limit", "1"): [3],
    }
    for args, wanted in revisions.items():
        assert [entry["revision"] for entry in data(root, "history", *args)["entries"]] == wanted


def test_history_of_many_changes_is_one_line(root: Path) -> None:
    tiers = {"floor": "0.41", "low": "0.46", "middle": "0.51", "high": "0.56", "target": "0.61"}
    call(root, "set", *(word for tier, value in tiers.items() for word in (f"win_rate.{tier}", value)))
    assert out(root, "history").splitlines()[-1].rstrip().endswith("middle 0.5 → 0.51, and 2 more")


def test_history_ends_with_what_is_not_recorded_yet(root: Path) -> None:
    move(root, 0.01)
    edit(root, "params/win_rate.yaml", "floor: 0.40", "floor: 0.43")
    last = out(root, "history").splitlines()[-1]
    assert "win_rate.floor 0.4 → 0.43" in last and last.endswith("not yet recorded: edited by hand")
    pending = {"key": "win_rate.floor", "context": {}, "old": 0.4, "new": 0.43}
    assert data(root, "history")["pending"] == [pending]
    assert data(root, "history", FUNDING)["pending"] == []


def test_history_of_one_key_draws_its_value_over_time(root: Path) -> None:
    move(root, 0.04)
    move(root, -0.02)
    lines = out(root, "history", FUNDING).split("\n\n")[1].splitlines()
    assert lines[0].startswith(" 0.2 │") and lines[-2].startswith("0.16 │")
    assert "─" in "".join(lines) and re.fullmatch(r" +\d{4}-\S+Z +\d{4}-\S+Z", lines[-1])
    assert "│" not in out(root, "history")
    assert "│" not in out(root, "history", "win_rate.floor")  # it never moved


def test_history_draws_in_ascii_where_the_encoding_has_nothing_else(root: Path) -> None:
    move(root, 0.04)
    done = program(root, "history", FUNDING, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and done.stdout.isascii()
    assert "0.16 -> 0.2" in done.stdout and "+-" in done.stdout


def test_history_before_any_commit(root: Path) -> None:
    assert out(root, "history") == "nothing is recorded yet\n"
    assert data(root, "history") == {"entries": [], "pending": []}


def test_what_others_wrote_cannot_steer_the_terminal(root: Path) -> None:
    move(root, 0.01, author="a\x1b]0;evil\x07", reason="two\nlines\x1b[2J")
    for command in (["history"], ["list", FUNDING], ["explain", FUNDING]):
        said = out(root, *command)
        assert "\x1b" not in said and "\x07" not in said and r"a\x1b]0;evil\x07" in said
    assert len(out(root, "history").splitlines()) == 3


# --- diff and rollback ----------------------------------------------------------------------------


def test_diff_between_revisions_and_times(root: Path) -> None:
    move(root, 0.01)
    between = ParamStore(root, environ={}).history()[-1].time
    move(root, 0.01)
    call(root, "set", "win_rate.floor", "0.42", "--at", "symbol=BTC")
    moved = [[FUNDING, "0.17", "0.18"], [LIQUIDATION, "0.21", "0.2"]]
    assert sorted(line.split()[:3] for line in out(root, "diff", "1", "2").splitlines()[3:5]) == moved
    assert re.search(r"^win_rate.floor @symbol=BTC +- +0.42", out(root, "diff", "2"), re.M)
    later, since = data(root, "diff", between), data(root, "diff", "1")
    assert later["changes"] == since["changes"]
    assert out(root, "diff", "2", "1") != out(root, "diff", "1", "2")
    (change,) = data(root, "diff", "2", "3")["changes"]
    assert (change["key"], change["context"], change["new"]) == ("win_rate.floor", {"symbol": "BTC"}, 0.42)
    assert "old" not in change
    assert out(root, "diff", "3") == "no value differs between revision 3 and the files\n"
    assert data(root, "diff", "3")["changes"] == []


def test_the_times_that_history_shows_are_taken_back(root: Path) -> None:
    move(root, 0.01)
    time.sleep(1.1)
    move(root, 0.01)
    shown = out(root, "history").splitlines()[-1].split()[1]
    assert FUNDING in out(root, "diff", shown)


@pytest.mark.parametrize("when", ["9", "x", "2001-01-01", "1.5", "", "99999999999999999999"])
@pytest.mark.parametrize("command", ["diff", "rollback"])
def test_a_revision_that_is_not_there_is_refused(root: Path, command: str, when: str) -> None:
    move(root, 0.01)
    refused(root, command, when)


def test_rollback_makes_a_new_revision_with_the_old_values(root: Path) -> None:
    move(root, 0.01)
    call(root, "set", "win_rate.floor", "0.41")
    dry = out(root, "rollback", "0", "--dry-run", "--author", "me")
    assert dry.count("(dry run; revision 2 stands)") == 3 and out(root, "get", FUNDING) == "0.17\n"
    said = out(root, "rollback", "0", "--keys", "signal_weights", "--author", "me", "--reason", "lost")
    assert said.count("(revision 3)") == 2 and f"{FUNDING}: 0.17 → 0.16" in said
    assert out(root, "get", "win_rate.floor") == "0.41\n"
    entry = ParamStore(root, environ={}).history()[-1]
    assert (entry.kind, entry.author, entry.reason) == ("rollback", "me", "lost")
    assert out(root, "rollback", "3") == "nothing changed; revision 3 stands\n"
    assert data(root, "rollback", "0")["changes"][0]["new"] == 0.4


def test_rollback_removes_overrides_that_did_not_exist(root: Path) -> None:
    move(root, 0.01)
    call(root, "set", "win_rate.floor", "0.42", "--at", "symbol=BTC")
    assert "win_rate.floor @symbol=BTC: 0.42 → removed (revision 3)" in out(root, "rollback", "1")


def test_rollback_of_unknown_keys_is_refused(root: Path) -> None:
    move(root, 0.01)
    refused(root, "rollback", "0", "--keys", "nope.*")


# --- bad input, for every command -----------------------------------------------------------------

READING = [["get", FUNDING], ["list"], ["explain", FUNDING], ["history"], ["set", FUNDING, "0.16"]]


def _write(file: str, text: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        path = root / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, (time.time() - 5, time.time() - 5))

    return act


def _instead(file: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        (root / file).unlink()
        (root / file).mkdir()

    return act


@pytest.mark.parametrize("command", READING, ids=" ".join)
@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (_write("params/win_rate.yaml", "values: [\n"), "params/win_rate.yaml"),
        (_write("params/win_rate.yaml", "<<<<<<< HEAD\n"), "merge-conflict marker"),
        (_write("schemas/win_rate.schema.json", "{"), "schemas/win_rate.schema.json"),
        (_write("schemas/win_rate.schema.json", '{"type": 5}'), "schemas/win_rate.schema.json"),
        (_instead("params/win_rate.yaml"), "params/win_rate.yaml"),
        (_write("paramstore.toml", "timeout_s = 'x'\n"), "timeout_s"),
        (_write("paramstore.toml", "timeout = 1\n"), "timeout"),
        (_write("paramstore.toml", "= ="), "paramstore.toml"),
    ],
    ids=["yaml", "conflict", "json", "schema", "directory", "setting", "unknown-setting", "toml"],
)
def test_broken_input_exits_2_with_one_error(
    root: Path, command: list[str], breaks: Callable[[Path], None], said: str
) -> None:
    breaks(root)
    assert said in refused(root, *command, code=2)


@pytest.mark.parametrize("command", [["history"], ["list"], ["diff", "0"], ["rollback", "0"]], ids=" ".join)
def test_a_damaged_journal_exits_2(root: Path, command: list[str]) -> None:
    move(root, 0.01)
    move(root, 0.01)
    journal = root / "params/journal/00000001.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"rubbish\n", *lines[1:]]))
    assert "is not a journal entry" in refused(root, *command, code=2)


@pytest.mark.parametrize("command", [*READING, ["diff", "0"], ["rollback", "0"], ["check"]], ids=" ".join)
def test_without_a_store_every_command_exits_2_and_says_what_to_do(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "paramstore init" in refused(tmp_path / "none", *command, code=2)
    result = CliRunner().invoke(cli, command)  # here and above there is none either
    assert result.exit_code == 2 and "No parameter store in" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["frobnicate"], ["--frobnicate"], ["--root"], ["get"], ["get", "a", "b"], ["get", "a", "--frob"],
        ["list", "a", "b"], ["explain"], ["history", "--limit", "0"], ["history", "--limit", "x"],
        ["history", "--since", "-1"], ["diff", "1", "2", "3"], ["rollback"], ["check", "x"],
        ["init", "a", "b"], ["demo", "x"], ["get", FUNDING, "--at"], ["get", FUNDING, "--at", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_exits_2_and_points_to_the_help(root: Path, args: list[str]) -> None:
    message = refused(root, *args, code=2)
    if "requires an argument" not in message:  # where click does not say which command it was
        assert re.search(r"See `paramstore( \w+)? --help`\.$", message)
    assert len(message.splitlines()) == 1


def test_an_environment_variable_that_names_nothing_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARAM__win_rate__flor", "0.4")
    assert "Did you mean PARAM__win_rate__floor?" in refused(root, "get", FUNDING)
    monkeypatch.delenv("PARAM__win_rate__flor")
    monkeypatch.setenv("PARAMSTORE_TIMEOUTS", "1")
    assert "PARAMSTORE_TIMEOUTS is not a setting" in refused(root, "get", FUNDING, code=2)


def test_a_store_that_cannot_be_written_to_is_read_and_refuses_writes(root: Path) -> None:
    (root / ".paramstore").write_text("a file in its place")
    assert out(root, "get", FUNDING) == "0.16\n"
    assert ".paramstore" in refused(root, "set", "win_rate.floor", "0.41")
    assert out(root, "get", "win_rate.floor") == "0.4\n"


@pytest.mark.parametrize("command", [["get", FUNDING], ["list"], ["--help"]], ids=" ".join)
def test_a_full_disk_under_the_output_is_told(root: Path, command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = program(root, *command, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert (done.returncode, done.stderr) == (2, f"error: {os.strerror(errno.ENOSPC)}\n")


@pytest.mark.parametrize("command", [["get", FUNDING], ["list"], ["history"], ["--help"]], ids=" ".join)
@pytest.mark.parametrize("colour", ["", "1"])
def test_a_reader_that_leaves_early_is_met_with_silence(
    root: Path, command: list[str], colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", colour)
    read, write = os.pipe()
    os.close(read)
    done = program(root, *command, stdout=write, stderr=subprocess.PIPE, capture_output=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_name_that_is_no_text_is_no_traceback(root: Path) -> None:
    done = program(root, "get", os.fsdecode(b"win_rate.\xff"), text=False)
    assert done.returncode == 1 and b"Traceback" not in done.stderr  # type: ignore[operator]


def test_a_value_that_the_output_cannot_encode_is_escaped(kinds: Path) -> None:
    done = program(kinds, "get", "kinds.text", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, "a \\u2192 b\n")


# --- a terminal -----------------------------------------------------------------------------------


def at_terminal(command: list[str], **environ: str) -> str:
    """Run ``command`` with a terminal for input and output, and return all that it shows."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environ})
    shown, deadline = b"", time.monotonic() + 60
    while select.select([terminal], [], [], deadline - time.monotonic())[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, shown
    return shown.decode()


def terminal_list(root: Path, **environ: str) -> str:
    return at_terminal(
        [sys.executable, "-m", "paramstore", "--root", str(root), "list", "signal_weights"], **environ
    )


def test_at_a_terminal_there_are_colours_and_groups(root: Path) -> None:
    move(root, 0.01)
    shown = terminal_list(root)
    assert "\x1b[1;36msignal_weights" in shown and "───" in shown
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert re.search(r"^  funding +\* 0\.17", plain, re.M) and FUNDING not in plain
    piped = program(root, "list", "signal_weights").stdout
    assert "\x1b" not in piped and "───" not in piped and FUNDING in piped


def test_no_color_is_honoured(root: Path) -> None:
    assert "36m" not in terminal_list(root, NO_COLOR="1")


def test_forced_colour_goes_into_a_pipe(root: Path) -> None:
    done = program(root, "list", env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"})
    assert "\x1b[" in done.stdout


def test_a_narrow_terminal_cuts_no_value_off_unseen(root: Path) -> None:
    plain = re.sub(r"\x1b\[[\d;]*m", "", terminal_list(root, COLUMNS="44"))
    rows = [line for line in plain.splitlines() if re.match(r"  \w", line)]
    assert len(rows) == 10
    whole = {str(value) for value in ParamStore(root, environ={}).section("signal_weights").values()}
    values = [row.replace("* ", "").split()[1] for row in rows]
    assert all(value in whole or value.endswith("…") for value in values)
    assert any(value.endswith("…") for value in values)


def test_what_takes_long_shows_progress_at_a_terminal_only(root: Path) -> None:
    code = (
        "import time; from paramstore.cli import _output; _output.PATIENCE_S = 0.05\n"
        "with _output.patience('checking', 2) as advance:\n"
        "    advance(); time.sleep(0.6)\n"
    )
    command = [sys.executable, "-c", code]
    assert "checking" in at_terminal(command) and "50%" in at_terminal(command)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert at_terminal([sys.executable, "-c", code.replace("0.05", "30.0")]) == ""


# --- help -----------------------------------------------------------------------------------------


def test_every_command_is_there_and_has_help_with_an_example() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    assert re.findall(r"^  (\w+)  +", result.stdout.partition("Commands:")[2], re.M) == COMMANDS
    for command in COMMANDS:
        help_text = CliRunner().invoke(cli, [command, "--help"])
        assert help_text.exit_code == 0
        assert f"Example: paramstore {command}" in " ".join(help_text.stdout.split())
        assert re.search(rf"^  {command} +[A-Z].*\w\.$", result.stdout, re.M)


def test_every_command_that_shows_data_has_json() -> None:
    groups = {name: command for name, command in cli.commands.items() if isinstance(command, click.Group)}
    assert groups.keys() >= {"migrate", "git"}
    words = [[command] for command in COMMANDS if command not in {"demo", *groups}]
    words += [[group, name] for group in groups for name in groups[group].commands]
    for each in words:
        assert "--json" in CliRunner().invoke(cli, [*each, "--help"]).stdout, each


def test_alone_it_shows_its_help_and_version_its_version(root: Path) -> None:
    assert out(root).startswith("Usage: paramstore ")
    assert out(root, "--version") == f"paramstore {__version__}\n"


def test_the_console_script_and_the_module_are_the_same(root: Path) -> None:
    code = "import sys; from paramstore.cli import main; sys.argv[0] = 'paramstore'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--root", str(root), "get", FUNDING],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == program(root, "get", FUNDING).stdout == "0.16\n"


def test_a_piped_read_loads_no_table_maker_and_no_validator(root: Path) -> None:
    call(root, "list")  # fills the cache
    code = (
        "import sys; from paramstore.cli import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "finally: print(sorted({'rich', 'jsonschema', 'pydantic', 'ruamel'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--root", str(root), "get", FUNDING],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "0.16\n[]\n"


# --- small parts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"), (4.9, "just now"), (30, "30 s ago"), (60, "1 min ago"), (3599, "59 min ago"),
        (3600, "1 h ago"), (86399, "23 h ago"), (86400, "1 d ago"), (86400 * 29.9, "29 d ago"),
        (86400 * 31, "2025-12-01"), (-5, "just now"),
    ],
)  # fmt: skip
def test_how_long_ago(seconds: float, said: str) -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime(2026, 1, 1, tzinfo=UTC)
    then = (now - timedelta(seconds=seconds)).isoformat()
    assert ago(then, now) == said


def test_a_step_line_goes_through_every_value() -> None:
    lines = step_chart([(0, 1.0), (5, 3.0), (8, 2.0)], end=10, width=10, height=3, box=True)
    assert lines == ["     ┌──┐", "     │  └─", "─────┘"]


def test_a_spike_within_one_column_is_not_lost() -> None:
    lines = step_chart([(0, 1.0), (5.1, 9.0), (5.2, 1.0)], end=10, width=10, height=3, box=False)
    assert lines == ["     |", "     |", "-----+----"]


@pytest.mark.parametrize("end", [0.0, -5.0, 1e-9])
def test_a_chart_of_one_moment_is_still_a_chart(end: float) -> None:
    lines = step_chart([(0, 1.0), (0, 2.0)], end=end, width=5, height=4, box=True)
    assert len(lines) == 4 and any(lines)
    assert step_chart([(0, 1.0), (1, 1.0)], end=2, width=5, height=4, box=True) == ["─────"]


def test_values_and_changes_as_text() -> None:
    from paramstore._model import ABSENT, Change

    assert value_text(0.1 + 0.2) == "0.30000000000000004" and value_text(1.0) == "1.0"
    assert value_text(1e22) == "1e+22" and value_text("é") == "é" and value_text(("a", 1)) == '["a", 1]'
    assert change_text(Change("k", 1, 2)) == "1 → 2"
    assert change_text(Change("k", ABSENT, 2)) == "set to 2"
    assert change_text(Change("k", 1, ABSENT)) == "1 → removed"
    assert legible("a\x1bb\n\ud800") == r"a\x1bb\n\ud800"


# --- the demonstration and the examples -----------------------------------------------------------


@pytest.fixture
def told() -> list[str]:
    return []


def test_the_demonstration_runs_as_told_and_its_page_is_served() -> None:
    command = [sys.executable, "-m", "paramstore", "demo", "--page", "--port", "0"]
    words: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(
        command, start_new_session=True, **words
    ) as shown:  # Ctrl-C reaches all of a session
        assert shown.stdout is not None
        told = "".join(iter(shown.stdout.readline, "Ctrl-C stops it.\n"))
        try:
            address = told.splitlines()[-1]
            with urllib.request.urlopen(f"{address}/api/v1/history?limit=500", timeout=30) as answer:
                entries = json.load(answer)["entries"]
            while entries[-1]["author"] != "tier_learner":  # somebody goes on learning
                with urllib.request.urlopen(f"{address}/api/v1/history?limit=1", timeout=30) as answer:
                    entries += json.load(answer)["entries"]
        finally:
            os.killpg(shown.pid, signal.SIGINT)
        told += shown.stdout.read()
    assert shown.returncode == 0, told
    for part in (
        "143 commits, 6 refusals, 3,600 trades",
        "10 commits of 10", "is above its maximum 0.5", "+  min_trades: 35", "calibration_learner",
        "not yet recorded: edited by hand", "without a restart", "is frozen by you", "sum: 1.0", "22 lines differ, for 22 changed numbers", "answers 1.5, without a restart",
    ):  # fmt: skip
        assert part in told, part
    assert "NOT AS TOLD" not in told and "Traceback" not in told
    assert {"signal_weight_learner", "ana", "ben", "you"} <= {entry["author"] for entry in entries}


def test_without_git_the_demonstration_says_so_and_goes_on(
    told: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert demo.run(told.append), told
    assert "git is not installed here: the diff at the end is left out" in told
    assert told[-1].endswith(_demo_page.ADDRESS)  # where its page would be
    assert not any("git diff" in line for line in told)


@pytest.mark.parametrize(("name", "wrong"), [("LEARNER", "print('ready')"), ("OLD_LINE", "no such line")])
def test_a_demonstration_that_goes_wrong_says_so(
    told: list[str], monkeypatch: pytest.MonkeyPatch, name: str, wrong: str
) -> None:
    monkeypatch.setattr(demo, name, wrong)
    monkeypatch.setattr(demo, "WAIT_S", 2.0)
    assert not demo.run(told.append)
    assert told[-1].startswith("NOT AS TOLD: ")


def test_a_demonstration_that_goes_wrong_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run", lambda say: bool(say("x")))
    assert CliRunner().invoke(cli, ["demo"]).exit_code == 1


def test_errors_end_where_the_library_says_what_stands(root: Path) -> None:
    """The command line adds nothing to the library's own message, and takes nothing away."""
    with (
        pytest.raises(ParamstoreError) as raised,
        ParamStore(root, environ={}).transaction(author="me") as tx,
    ):
        tx["win_rate.floor"] = 7
    assert refused(root, "set", "win_rate.floor", "7") == str(raised.value)


def test_patience_has_a_limit_of_a_second() -> None:
    assert _output.PATIENCE_S == 1.0
