"""The comparison of clients runs, at a size that says nothing of speed, and our client loses nothing in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_our_client_has_every_figure_and_resumes_after_a_restart(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Clients\n\n## What its watch does\n\nWords stay.\n")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.etcd_clients", "--quick", "--only", "grpcio", "--docs", str(page)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in page.read_text().splitlines() if line.startswith("| grpcio ")]
    watch, costs, offers = ([cell.strip() for cell in row.split("|")[2:-1]] for row in rows)
    assert all(costs) and "silent" not in costs, costs
    assert watch == ["0 (UnreachableError)", "50", "25", "CompactedError"]
    assert offers == ["yes"] * 4
    assert (
        "## What its watch does\n\nWords stay.\n\nMade by `python -m benchmarks.etcd_clients"
        in page.read_text()
    )
