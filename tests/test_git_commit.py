"""`paramstore commit` in real git repositories: what goes into a commit, what is refused, and what is never lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_store import GitStore

TRADES = "conviction_gate.min_trades"
FLOOR, LOW = "win_rate.floor", "win_rate.low"
FUNDING, LIQUIDATION = "signal_weights.funding", "signal_weights.liquidation"
JOURNAL = "params/journal/00000001.jsonl"
WIN_RATE, GATE = "params/win_rate.yaml", "params/conviction_gate.yaml"
SCHEMA = "schemas/win_rate.schema.json"


@pytest.fixture
def repo(tmp_path: Path) -> GitStore:
    return GitStore.made(tmp_path / "bot")


def changed(repo: GitStore, commit: str = "HEAD") -> list[str]:
    return repo.git("show", "--format=", "--name-only", commit).split()


def commits(repo: GitStore) -> int:
    return int(repo.git("rev-list", "--count", "HEAD"))


def authors(repo: GitStore) -> list[str]:
    return [entry.author for entry in repo.params().history() if entry.kind == "commit"]
