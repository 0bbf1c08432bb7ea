"""What tests of the page share: a store of their own, and an environment that says nothing of another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from local_store import free_for_all

from paramstore import _init


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PARAM")]:
        monkeypatch.delenv(name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with the shipped parameters, saved long ago, so that nobody waits for its files to be quiet."""
    place = tmp_path / "store"
    for name, raw in free_for_all(_init.shipped()).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(raw)
        os.utime(place / name, (0, 0))
    return place
