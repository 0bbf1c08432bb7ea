"""A small herd: agents that lost their server at one moment come back by themselves, and readers beside them never fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERD = Path(__file__).with_name("herd.py")


def test_agents_come_back_by_themselves_and_readers_never_fail() -> None:
    done = subprocess.run(
        [sys.executable, str(HERD), "--agents", "8", "--seconds", "6", "--check", "0.5"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)
    assert sum(seen["first answers in each 0.1 s"].values()) == 8
    assert seen["mirrors are the same"]
    assert seen["reads"] > 30
    assert seen["reads that failed"] == []
    assert 0.2 < seen["health named the cluster after s"] < 4.0, "after three checks without an answer"
