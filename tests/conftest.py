"""Set up before any test module is imported."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.register_assert_rewrite("paramstore._contract", "paramstore._contract_past")


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
