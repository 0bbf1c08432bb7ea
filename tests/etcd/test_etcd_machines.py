"""The measuring of how soon another machine reads a commit runs, at a size that says nothing of speed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_it_lays_a_line_for_each_reader_and_each_raw_watch(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Scale\n\n## From one machine to another\n\nWords stay.\n\n## A read beside the agent\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.etcd_machines", "--quick", "--docs", str(page)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    text = page.read_text()
    assert "Words stay.\n\nMade by `python -m benchmarks.etcd_machines --quick" in text
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith(("| a raw watch", "| paramstore"))
    ]
    assert len(rows) == 12 and all(all(row) for row in rows), rows
    raw = rows[::2]
    assert {row[4][0] for row in raw} == {"1"}, "to itself"
    assert not any("before it" in row[1:4] for row in rows), "nothing is seen before it is sent"
