"""Learners, readers, an editor and git at work on one store for a few seconds; ``scripts/proof soak`` takes an hour.

The small size holds memory and descriptors to looser bounds, because a process that has just begun still fills its caches.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mutants import Mutant, planted, run_on
from samples import LONG_S, Sample, rising

SOAK = str(Path(__file__).with_name("soak.py"))
SECONDS = "6"
READ = "        documents, position = last.documents, place.journal\n"

# a planted bug, and the words by which the report names it
CAUGHT = {
    Mutant("a descriptor for each generation", "_backends/local.py", READ,
           f"{READ}        os.open(self.generation_path, os.O_RDONLY)\n"): "violation: reader get: descriptors rose",
    Mutant("memory for each reload", "_backends/local.py", READ,
           f"{READ}        self._schemas[str(position.offset)] = bytes(bytearray(b'x') * (1 << 20))\n"): "violation: reader get: memory_kb rose",
    Mutant("the displaced file stays", "_backends/_plan.py", "                os.unlink(self.temporary)\n",
           "                pass\n"): "violation: store: files rose",
    Mutant("the journal leaves out half of a commit", "_backends/_commit.py", "            changes=draft.changes,\n",
           "            changes=draft.changes[:1],\n"): "where [['alpha.theirs', {}, ",
}  # fmt: skip


def test_all_at_work_stays_flat_and_nothing_is_lost(tmp_path: Path) -> None:
    done = run_on(None, SOAK, SECONDS, "--seed", "1", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"violations": 0' in done.stdout


def test_planted_bugs_are_caught(tmp_path: Path) -> None:
    def caught(bug: Mutant) -> str:
        done = run_on(planted(tmp_path, bug), SOAK, SECONDS, "--folder", str(tmp_path / f"log {bug.name}"))
        return (
            ""
            if done.returncode == 1 and CAUGHT[bug] in done.stdout
            else f"{bug.name}: {done.stdout}{done.stderr}"
        )

    with ThreadPoolExecutor(len(CAUGHT)) as pool:
        assert "".join(pool.map(caught, CAUGHT)) == ""


def held(seconds: float, what: str, figures: list[int]) -> list[Sample]:
    """Return samples of one process, spread evenly over a run."""
    return [
        {"t": seconds * place / (len(figures) - 1), "process": "p", what: figure}
        for place, figure in enumerate(figures)
    ]


FLAT, WARM = [100] * 40, [100, *range(100, 109), *[110] * 30]
LEAK_OF_ONE = [*[7, 9] * 10, *[8, 9] * 10]


@pytest.mark.parametrize(
    ("what", "figures", "grew"),
    [
        ("descriptors", FLAT, False),
        ("descriptors", WARM, False),
        ("descriptors", LEAK_OF_ONE, True),
        ("threads", [*FLAT, *[101] * 40], True),
        ("files", [0, 3] * 40, False),
        ("memory_kb", [30_000 + 20 * (n % 7) for n in range(40)], False),
        ("memory_kb", [30_000 + 40 * n for n in range(40)], False),
        ("memory_kb", [30_000 + 60 * n for n in range(40)], True),
        ("memory_kb", [200_000 + 110 * n for n in range(40)], True),
        ("maps", [200 + n for n in range(40)], True),
    ],
)
def test_the_rule_tells_a_leak_from_what_is_in_flight(what: str, figures: list[int], grew: bool) -> None:
    assert bool(rising(held(3600, what, figures), commits=0)) == grew
    assert LONG_S < 3600
