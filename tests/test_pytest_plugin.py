"""The pytest plugin in real runs of pytest: overrides, stores to commit to, strict keys, xdist."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_store import number, schema, write_store

from paramstore import ParamStore, _init, _values, params, pytest_plugin
from paramstore.errors import ConflictError, UnknownParamError
from paramstore.testing import isolated

pytest_plugins = ("pytester",)

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = {
    "gate": schema({"floor": number(0.5), "trades": {"type": "integer", "minimum": 1, "default": 30}}, {"symbol": {"type": "string"}}),
    "twin": schema({"floor": number(0.5)}),
}  # fmt: skip
VALUES = {
    "gate": {"schema": 1, "values": {"floor": 0.5, "trades": 30}, "overrides": [{"at": {"symbol": "BTC"}, "values": {"floor": 0.7}}]},
    "twin": {"schema": 1, "values": {"floor": 0.5}},
}  # fmt: skip
BOT = """
from paramstore import params

SECTION, BTC = params.section("gate"), params.at(symbol="BTC")
HEARD = []
params.subscribe("gate.floor", HEARD.append)

class Gate:
    FLOOR = params.live("gate.floor")

def everywhere():
    return {Gate.FLOOR, Gate().FLOOR, SECTION["floor"], SECTION.copy()["floor"], params.get("gate.floor"),
            params.snapshot().get("gate.floor"), params.section("gate")["floor"]}

def learn(by=0.1):
    with params.transaction(author="learner") as tx:
        tx["gate.floor"] += by

def misread():
    try:
        return params.get("gate.flor")
    except Exception:
        return 0.5
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PARAM", "PYTEST_XDIST", "PYTEST_ADDOPTS"))]:
        monkeypatch.delenv(name)
    # the plugin of hypothesis imports hypothesis into every run, which takes longer than the run
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A store, and a bot that reads it."""
    write_store(pytester.path, SCHEMAS, VALUES)
    (pytester.path / "bot.py").write_text(BOT)
    return pytester


def tracked(root: Path) -> dict[str, str]:
    """Return what git would see below params/ and schemas/, and whether there is a journal."""
    files = [file for name in ("params", "schemas") for file in (root / name).rglob("*") if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def run(project: pytest.Pytester, text: str, *options: str, **outcomes: int) -> pytest.RunResult:
    """Run ``text`` as a test file, in a process of its own, and hold it to ``outcomes``."""
    before = tracked(project.path)
    project.makepyfile(
        test_it="import os, subprocess, sys, threading, pytest\nimport bot\nfrom bot import *\n" + text
    )
    result = project.runpytest_subprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(**outcomes)
    assert tracked(project.path) == before
    return result


# -- overrides --------------------------------------------------------------------------------------


def test_an_override_holds_until_its_test_ends(project: pytest.Pytester) -> None:
    text = """
from paramstore import ParamStore

def test_inside(params_override):
    params_override({"gate.floor": 0.2})
    params_override({"gate.trades": 7})
    assert everywhere() == {0.2} and BTC.get("gate.floor") == 0.2 and params.get("gate.trades") == 7

def test_after():
    assert everywhere() == {0.5} and BTC.get("gate.floor") == 0.7 and params.get("gate.trades") == 30

def test_another_store(params_override):
    other = ParamStore(os.getcwd())
    params_override({"gate.floor": 0.2}, other)
    assert other.get("gate.floor") == 0.2 and everywhere() == {0.5}

def test_bounds_hold(params_override):
    with pytest.raises(ValueError, match="above its maximum"):
        params_override({"gate.floor": 99.0})
"""
    run(project, text, passed=4)


def test_the_marker_reaches_functions_classes_and_modules_and_the_closest_wins(
    project: pytest.Pytester,
) -> None:
    text = """
import unittest
pytestmark = pytest.mark.params_override({"gate.floor": 0.1, "gate.trades": 11})

def values():
    return params.get("gate.floor"), params.get("gate.trades")

@pytest.fixture
def seen():
    return values()

def test_module(seen):
    assert seen == values() == (0.1, 11)

@pytest.mark.params_override({"gate.floor": 0.2})
class TestClass:
    def test_class(self, seen):
        assert seen == values() == (0.2, 11)

    @pytest.mark.params_override({"gate.trades": 33})
    def test_function(self, seen):
        assert seen == values() == (0.2, 33)

    @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.params_override({"gate.floor": 0.4}))])
    def test_case(self, n):
        assert values() == (0.2 * n, 11)

    def test_fixture_over_marker(self, params_override):
        params_override({"gate.floor": 0.9})
        assert values() == (0.9, 11)

class TestOld(unittest.TestCase):
    def test_unittest(self):
        assert values() == (0.1, 11)
"""
    run(project, text, passed=7)


def test_a_marker_is_lifted_whatever_fails(project: pytest.Pytester) -> None:
    text = """
mark = pytest.mark.params_override({"gate.floor": 0.2})

@pytest.fixture
def breaks_after():
    yield
    assert everywhere() == {0.2}
    raise RuntimeError

@pytest.fixture
def breaks_before():
    raise RuntimeError

@mark
def test_teardown(breaks_after): pass
def test_one(): assert everywhere() == {0.5}
@mark
def test_setup(breaks_before): pass
def test_two(): assert everywhere() == {0.5}
@mark
def test_call(): raise RuntimeError
def test_three(): assert everywhere() == {0.5}
"""
    run(project, text, passed=4, errors=2, failed=1)


def test_a_wrong_marker_says_what_is_wrong(project: pytest.Pytester) -> None:
    text = """
@pytest.mark.params_override({"gate.flor": 0.2})
def test_key(): pass
@pytest.mark.params_override({"gate.floor": "high"})
def test_value(): pass
@pytest.mark.params_override("gate.floor", 0.2)
def test_form(): pass
def test_after(): assert everywhere() == {0.5}
"""
    result = run(project, text, "--strict-markers", passed=1, errors=3)
    result.stdout.fnmatch_lines(
        ["params_override: `gate.flor` is not*`gate.floor`?", "params_override: `gate.floor` = 'high'*",
         "params_override takes one dictionary*"]
    )  # fmt: skip
    result.stdout.no_fnmatch_line("*Traceback*")


# -- stores to commit to ------------------------------------------------------------------------------


def test_a_store_to_commit_to(project: pytest.Pytester) -> None:
    text = """
import time

def test_commits(params_store):
    assert params_store is params and params.root != os.getcwd()
    learn()
    assert everywhere() == {0.6} and BTC.get("gate.floor") == 0.7 and params.revision == 1
    get = [sys.executable, "-m", "paramstore", "get", "gate.floor"]
    assert subprocess.run(get, capture_output=True, text=True).stdout == "0.6\\n"
    subprocess.run([sys.executable, "-c", "import bot; bot.learn()"], check=True)
    assert everywhere() == {0.7} and len(params.history("gate.floor")) == 3

def test_as_it_was():
    assert everywhere() == {0.5} and params.root == os.getcwd() and params.revision == 0
    assert "PARAMSTORE_ROOT" not in os.environ
    subprocess.run([sys.executable, "-c", "import bot; assert bot.everywhere() == {0.5}"], check=True)

def test_subscribers_stay_and_hear_of_the_way_back():
    deadline = time.monotonic() + 5
    while len(HEARD) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [round(change.new, 3) for (change,) in HEARD] == [0.6, 0.7, 0.5]

@pytest.mark.params_override({"gate.trades": 9})
def test_overrides_stay(params_override, params_store):
    params_override({"gate.floor": 0.2})
    learn()
    assert everywhere() == {0.2} and params.get("gate.trades") == 9

def test_each_has_its_own(params_store):
    assert everywhere() == {0.5} and params.revision == 0
"""
    run(project, text, passed=5)


def test_the_journal_of_a_copy_is_its_own_wherever_the_real_one_is(project: pytest.Pytester) -> None:
    journal = project.path / "audit" / "learning.jsonl"
    (project.path / "paramstore.toml").write_text(f'journal = "{journal}"\n')
    text = "def test_it(params_store):\n    learn()\n    assert params.history()[-1].author == 'learner'\n"
    run(project, text, passed=1)
    assert not journal.parent.exists()


def test_a_run_of_its_own(project: pytest.Pytester) -> None:
    text = """
ROOT = params.root

def test_one():
    assert ROOT == params.root == os.environ["PARAMSTORE_ROOT"] != os.getcwd()
    learn()
    assert everywhere() == {0.6}
    open("copy", "w").write(params.root)

def test_two():
    assert everywhere() == {0.6}  # one store for the run

def test_fresh(params_store):
    assert everywhere() == {0.5} and params.root != ROOT  # the project's values, not what another test left

def test_back():
    assert everywhere() == {0.6}
"""
    run(project, text, "--paramstore-isolate", passed=4)
    copy = Path((project.path / "copy").read_text())
    assert copy != project.path
    assert not copy.exists()
    project.makeini("[pytest]\nparamstore_isolate = true\n")
    run(project, text, passed=4)


def test_no_store_to_copy_is_an_error_in_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess("--paramstore-isolate")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert re.search(r"paramstore_isolate: No parameter store in", result.stderr.str() + result.stdout.str())
    assert "Traceback" not in result.stderr.str()


PARALLEL = """
@pytest.mark.parametrize("n", range(12))
def test_commits(n{fixture}, worker_id):
    before = params.get("gate.floor")
    for _ in range(5):
        learn(0.01)
    assert round(params.get("gate.floor") - before, 9) == 0.05
    with open(worker_id, "a") as file:
        file.write(params.root + "\\n")
"""


@pytest.mark.parametrize(
    ("fixture", "options", "roots"), [("", ("--paramstore-isolate",), 2), (", params_store", (), 12)]
)
def test_workers_commit_side_by_side(
    project: pytest.Pytester, fixture: str, options: tuple[str, ...], roots: int
) -> None:
    run(project, PARALLEL.format(fixture=fixture), "-n2", *options, passed=12)
    seen = {name: (project.path / name).read_text().split() for name in ("gw0", "gw1")}
    assert sum(map(len, seen.values())) == 12
    assert set(seen["gw0"]) & set(seen["gw1"]) == set()
    assert len({*seen["gw0"], *seen["gw1"]}) == roots


def _commit_in_step(root: str, stop: Any) -> None:
    store, floor = ParamStore(root), 1.0
    while not stop.is_set():
        floor = 1.0 + (floor + 0.01) % 5
        with store.transaction(author="writer") as tx:
            tx["gate.floor"] = tx["twin.floor"] = round(floor, 3)


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let ``params`` be a store of ours; afterwards it is closed again."""
    root = write_store(tmp_path / "real", SCHEMAS, VALUES)
    monkeypatch.setenv("PARAMSTORE_ROOT", str(root))
    params.reset()
    yield root
    params.reset()


def test_a_copy_is_of_one_revision(default: Path, tmp_path: Path) -> None:
    with params.transaction(author="me") as tx:
        tx["twin.floor"] = tx["gate.floor"] = 1.0
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=_commit_in_step, args=(str(default), stop))
    writer.start()
    try:
        seen: set[float] = set()
        deadline, turn = time.monotonic() + 30, 0
        while len(seen) < 20 and time.monotonic() < deadline:
            turn += 1
            with isolated(tmp_path / f"copy{turn}"):
                assert params.get("gate.floor") == params.get("twin.floor")
                seen.add(params.get("gate.floor"))
    finally:
        stop.set()
        writer.join()
    assert len(seen) == 20  # or nothing happened meanwhile
    assert params.get("gate.floor") == ParamStore(default).get("gate.floor")


def test_a_commit_that_ends_after_its_copy_changes_nothing_here(default: Path, tmp_path: Path) -> None:
    with isolated(tmp_path / "copy"):
        late = params.transaction(author="late")
        tx = late.__enter__()
        tx["gate.floor"] = 0.9
    assert params.get("gate.floor") == 0.5
    late.__exit__(None, None, None)
    assert tx.commit_result.revision == 1
    assert (params.get("gate.floor"), params.revision) == (0.5, 0)


def test_each_view_finds_its_way_by_itself(default: Path, tmp_path: Path) -> None:
    section, bound = params.section("gate"), params.at(symbol="ETH")

    class Gate:
        FLOOR = params.live("gate.floor")

    views: list[Callable[[], float]] = [
        lambda: section["floor"],
        lambda: bound.get("gate.floor"),
        lambda: Gate.FLOOR,
    ]
    for turn, view in enumerate(views):  # no other read in between
        assert view() == 0.5
        with isolated(tmp_path / f"copy{turn}"):
            with params.transaction(author="me") as tx:
                tx["gate.floor"] = 0.9
            assert view() == 0.9
        assert view() == 0.5


def test_threads_read_on_while_stores_come_and_go(default: Path, tmp_path: Path) -> None:
    section, bound, wrong, stop = params.section("gate"), params.at(symbol="ETH"), [], threading.Event()
    reads: list[Callable[[], float]] = [
        lambda: params.get("gate.floor"), lambda: section["floor"], lambda: bound.get("gate.floor"),
        lambda: params.get("gate.floor", symbol="ETH"),
    ]  # fmt: skip

    def read(one: Callable[[], float]) -> None:
        while not stop.is_set():
            time.sleep(0.0002)  # or each system call of the copies waits in line for the interpreter
            try:
                value = one()
            except BaseException as error:
                wrong.append(error)
                raise
            if value not in (0.5, 0.9):
                wrong.append(ValueError(value))

    threads = [threading.Thread(target=read, args=(one,)) for one in reads]
    for thread in threads:
        thread.start()
    for turn in range(20):
        with isolated(tmp_path / f"copy{turn}"):
            with params.transaction(author="me") as tx:
                tx["gate.floor"] = 0.9
            assert [one() for one in reads] == [0.9] * 4
        assert [one() for one in reads] == [0.5] * 4
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_copy_goes_nowhere_else(default: Path, tmp_path: Path) -> None:
    with isolated(tmp_path / "one") as outer, isolated(tmp_path / "two", source=tmp_path / "one"):
        assert str(outer.root) == str(tmp_path / "two")
    with pytest.raises(FileExistsError), isolated(default):
        pass
    assert params.root == str(default)
    (default / "params" / "gate.yaml").write_text("values: [\n")
    with pytest.raises((ValueError, ConflictError)), isolated(tmp_path / "three"):
        pass
    assert os.environ["PARAMSTORE_ROOT"] == str(default)


# -- strict keys --------------------------------------------------------------------------------------

HIDDEN = """
def test_hidden(): assert misread() == 0.5
def test_right(): assert everywhere() == {0.5}
def test_thread():
    thread = threading.Thread(target=misread, name="exit loop")
    thread.start()
    thread.join()
"""


def test_a_hidden_misspelling_fails_its_test(project: pytest.Pytester) -> None:
    run(project, HIDDEN, passed=3)
    result = run(project, HIDDEN, "--paramstore-strict", passed=1, failed=2)
    line = 1 + BOT.splitlines().index('        return params.get("gate.flor")')
    result.stdout.fnmatch_lines_random(
        [
            "no parameter: gate.flor, which this test named (paramstore strict)",
            f"  bot.py:{line} in misread: `gate.flor` is not a known parameter. Did you mean `gate.floor`?",
            f"  bot.py:{line} in misread (thread exit loop): `gate.flor` is not*",
            'A test that does so on purpose says so: @pytest.mark.params_unknown("gate.flor")',
        ]
    )
    project.makeini("[pytest]\nparamstore_strict = true\n")
    run(project, HIDDEN, "-n2", passed=1, failed=2)


def test_every_way_to_read_is_watched(project: pytest.Pytester) -> None:
    text = """
from paramstore import ParamStore
from paramstore.testing import memory_store
from contextlib import suppress

WAYS = {
    "get": lambda: params.get("gate.no"), "context": lambda: params.get("gate.no", symbol="BTC"),
    "bound": lambda: BTC.get("gate.no"), "section": lambda: SECTION["no"], "get of a section": lambda: SECTION.get("no"),
    "no section": lambda: params.section("gat"), "a parameter as section": lambda: params.section("gate.floor"),
    "live": lambda: params.live("gate.no"), "snapshot": lambda: params.snapshot().get("gate.no"),
    "snapshot in context": lambda: params.snapshot().at(symbol="BTC").get("gate.no"), "spec": lambda: params.spec("gate.no"),
    "override": lambda: params.override({"gate.no": 1}).__enter__(), "require": lambda: params.require("gate.no"),
    "no key": lambda: params.get(""), "store": lambda: ParamStore(os.getcwd()).get("gate.no"),
    "write": lambda: params.transaction(author="x").__enter__().__setitem__("gate.no", 1),
}

@pytest.mark.parametrize("way", WAYS)
def test_it(way, params_store):
    with suppress(KeyError):
        WAYS[way]()
    with suppress(KeyError):
        WAYS[way]()  # again: logged once, but each test is told on
"""
    run(project, text, "--paramstore-strict", failed=16)


def test_a_test_may_say_that_it_means_it(project: pytest.Pytester) -> None:
    text = """
@pytest.mark.params_unknown
def test_any(): misread()
@pytest.mark.params_unknown("other.*", "gate.fl?r")
def test_pattern(): misread()
@pytest.mark.params_unknown("gate.other")
def test_another_key(): misread()
@pytest.mark.params_unknown("gate.flor")
class TestAll:
    def test_raises(self):
        with pytest.raises(KeyError):
            params.get("gate.flor")
def test_not_said():
    with pytest.raises(KeyError):
        params.get("gate.flor")
"""
    run(project, text, "--paramstore-strict", "--strict-markers", passed=3, failed=2)


def test_fixtures_and_other_ends_are_told_on(project: pytest.Pytester) -> None:
    text = """
@pytest.fixture
def before(): misread()
@pytest.fixture
def after():
    yield
    misread()
def test_setup(before): pass                    # error
def test_teardown(after): pass                  # passed, and an error
def test_skip(): misread(); pytest.skip("no parameters here")  # failed
@pytest.mark.xfail
def test_known(): misread()                     # xfailed
def test_fails_anyway(): misread(); assert 0, "mine"  # failed, says both
def test_right(): pass
"""
    result = run(project, text, "--paramstore-strict", errors=2, failed=2, xfailed=1, passed=2)
    result.stdout.fnmatch_lines(["*AssertionError: mine", "*paramstore strict*", "no parameter: gate.flor*"])


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_what_is_read_outside_of_tests_fails_the_run(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    right = "def test_it(): pass"
    only_here = (
        "if 'PYTEST_XDIST_WORKER' in os.environ: " if workers else ""
    )  # the controller must hear of it
    project.makeconftest(f"import os\nimport bot\n{only_here}bot.misread()\n")
    result = run(project, right, "--paramstore-strict", *workers, passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*unknown keys named outside of tests*", "bot.py:* in misread: `gate.flor` is not*"]
    )
    project.makeconftest("")
    result = run(project, "misread()\n" + right, "--paramstore-strict", *workers, errors=1)
    result.stdout.fnmatch_lines(["*no parameter: gate.flor, which the import of this named*"])
    assert run(project, right, "--paramstore-strict", *workers, passed=1).ret == 0


def test_whoever_listens_hears_each_time_and_no_more_afterwards() -> None:
    heard: list[UnknownParamError] = []
    end = _values.on_unknown_key(heard.append)
    for _ in range(2):
        with pytest.raises(UnknownParamError):
            _ = _values.Values({"a.b": 1})["a.c"]
    assert [error.key for error in heard] == ["a.c", "a.c"]
    end()
    with pytest.raises(UnknownParamError):
        _ = _values.Values({"a.b": 1})["a.c"]
    assert len(heard) == 2


# -- what it costs others ---------------------------------------------------------------------------------


def test_a_suite_that_reads_no_parameter_loads_no_store(pytester: pytest.Pytester) -> None:
    text = """
import sys
def test_it():
    ours = {name for name in sys.modules if name.partition(".")[0] == "paramstore"}
    assert ours == {"paramstore", "paramstore.errors", "paramstore.pytest_plugin"}
"""
    pytester.makepyfile(text)
    pytester.runpytest_subprocess("-Werror").assert_outcomes(passed=1)


# -- the documentation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-n2",), ("--paramstore-isolate",)])
def test_the_documented_tests_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)  # beside every other plugin that is installed
    write_documented(pytester.path)
    pytester.runpytest_subprocess("--strict-markers", *options).assert_outcomes(passed=7)
    assert not (pytester.path / "params" / "journal").exists()


def test_the_documented_misspelling_is_found(pytester: pytest.Pytester) -> None:
    shown = write_documented(pytester.path)
    result = pytester.runpytest_subprocess("--paramstore-strict")
    result.assert_outcomes(passed=6, failed=1)
    result.stdout.fnmatch_lines([line.replace("…", "*") for line in shown if line.strip() != "…"])


def write_documented(root: Path) -> list[str]:
    """Write the files of docs/testing.md and a store; return what the document shows of a strict run."""
    _init.write(str(root), _init.shipped())
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    for name, code in re.findall(r"^```python (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        with (root / name).open("a") as file:
            file.write(code)
    (shown,) = re.findall(
        r"^```console\n\$ pytest --paramstore-strict\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    return [str(line) for line in str(shown).splitlines()]


def test_every_marker_fixture_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    names = [
        name
        for name, value in vars(pytest_plugin).items()
        if type(value).__name__ == "FixtureFunctionDefinition"
    ]
    assert names
    markers = [marker.partition("(")[0] for marker in pytest_plugin.MARKERS]
    for name in (
        *names,
        *markers,
        "--paramstore-isolate",
        "paramstore_isolate",
        "--paramstore-strict",
        "paramstore_strict",
    ):
        assert f"`{name}" in text or f"mark.{name}" in text, name
