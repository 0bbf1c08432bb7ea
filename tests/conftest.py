"""Set up before any test module is imported."""

from __future__ import annotations

import compileall
import fcntl
import gc
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.register_assert_rewrite("paramstore._contract", "paramstore._contract_past")

TESTS = Path(__file__).parent
COLLECTED = TESTS / "__pycache__" / "collected"  # names the run of which a worker has collected all


def pytest_configure(config: pytest.Config) -> None:
    """Compile what hundreds of processes import, once: where PYTHONDONTWRITEBYTECODE is set, as in many containers, each would
    compile it again, which takes it as long as all else."""
    if not hasattr(config, "workerinput"):
        for folder in (TESTS.parent / "paramstore", TESTS.parent / "migrate", TESTS):
            compileall.compile_dir(folder, quiet=2, rx=re.compile(r"/test_"))  # pytest compiles those itself


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Let one worker collect first and keep what it compiles; the others, which would all do the same meanwhile, take it over."""
    run = getattr(session.config, "workerinput", {}).get("testrunuid", "")
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        COLLECTED.parent.mkdir(exist_ok=True)
        with COLLECTED.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if file.read() == run:
                fcntl.flock(file, fcntl.LOCK_SH)
            result = yield
            file.truncate(0)
            file.write(run)
        return result
    finally:
        sys.dont_write_bytecode = kept


def pytest_collection_finish() -> None:
    """Take what thousands of tests and their libraries hold out of every later collection of garbage, in forks as well."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """``paramstore migrate …`` in an empty directory, with the exit status that is expected."""
    from paramstore.cli import cli

    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PARAM")]:
        monkeypatch.delenv(name)

    def run(*words: str, status: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["migrate", *words], catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result

    return run
