"""Make a history and judge it: ``python tests/histories/run.py --operations 1000000 --seed 1``.

Status 1 and a line for each violation if there is one; the figures as one line of JSON in any case.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import plainstore as ps
from checker import check, read_journal, read_operations
from explained import Verdict
from workers import fresh_store, work


def run(operations: int, seed: int, keep: bool = False) -> tuple[Verdict, dict[str, object]]:
    """Run the processes on a store in memory, and judge what they recorded. ``keep`` what was wrong."""
    folder, kept = ps.fast_folder(), keep
    try:
        history = folder / "history"
        history.mkdir()
        root = fresh_store(folder)
        figures = work(root, history, operations, seed)
        begun = time.monotonic()
        verdict = judge(root, history)
        kept = keep and bool(verdict.count)
        return verdict, {**figures, "revisions": verdict.revisions, "violations": verdict.count, "seed": seed,
                         "check_s": round(time.monotonic() - begun, 1)}  # fmt: skip
    finally:
        if kept:
            sys.stderr.write(f"The store and the histories are kept in {folder}.\n")
        else:
            shutil.rmtree(folder)


def judge(root: Path, history: Path) -> Verdict:
    return check(read_journal(root / "params/journal"), map(read_operations, sorted(history.iterdir())))


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--keep", action="store_true", help="keep the store and the histories if something is wrong"
    )
    asked = parser.parse_args(words)
    verdict, figures = run(asked.operations, asked.seed, asked.keep)
    for rule, text in verdict.violations:
        sys.stdout.write(f"{rule}: {text} (seed {asked.seed})\n")
    sys.stdout.write(json.dumps(figures) + "\n")
    return int(bool(verdict.count))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
