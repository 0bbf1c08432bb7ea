"""What many processes did at once is explained by the journal; and the checker that says so sees what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checker import COMMIT, FREEZE, GET, SECTION, SNAPSHOT, UNFREEZE, Operation, check
from mutants import Mutant, planted, run_on
from run import run

SEED = 1
RUN = str(Path(__file__).parent / "run.py")


def test_a_run_of_all_processes_is_explained() -> None:
    verdict, figures = run(20_000, SEED)
    assert not verdict.violations, figures
    assert verdict.operations >= 20_000 and verdict.revisions > 100


def test_a_store_that_opens_amid_commits_never_mixes_two_revisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with too much to do, the files may move at every look for longer than a save takes to settle."""
    monkeypatch.setattr("paramstore._backends.local.SETTLE_S", 0.0)
    verdict, figures = run(20_000, SEED)
    assert not verdict.violations, figures


PUBLISH = "        self.writer.publish()\n        state = self._next_state(plans, entry)"
MUTANTS = {
    Mutant("a generation is skipped", "_generation.py", 'os.pwrite(fd, b"\\1" * (last.index + 1)', 'last.index % 2 and os.pwrite(fd, b"\\1" * (last.index + 1)'): {"stale"},
    Mutant("acknowledged before visible", "_backends/_commit.py", PUBLISH,
           PUBLISH.replace("self.writer.publish()", "entry.revision % 3 and self.writer.publish()")): {"stale"},
    Mutant("a snapshot mixes two revisions", "_backends/_follow.py", 'for file in record["files"]:\n            document = found.get',
           'for file in sorted(record["files"])[:1]:\n            document = found.get'): {"stale", "mixed"},
    Mutant("a revision given twice", "_backends/_commit.py", "revision=self.writer.position.revision + (draft.kind not in _records.VALUELESS),",
           "revision=self.writer.position.revision + (draft.kind not in _records.VALUELESS and self.writer.position.revision % 40 != 39),"):
           {"revisions", "twice", "order"},
    Mutant("a section that is never asked again", "_section.py", "self.flag = True if self._pins else flag", "self.flag = False"): {"stale", "mixed"},
    Mutant("a freeze that holds nobody", "_guards.py", "    if freeze is not None:\n        until =", "    if freeze is not None and not asked:\n        until ="): {"freeze"},
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_seen(mutant: Mutant, tmp_path: Path) -> None:
    place = planted(tmp_path, mutant)
    for seed in (SEED, SEED + 1, SEED + 2):  # what happens between processes is not the same twice
        done = run_on(place, RUN, "--operations", "6000", "--seed", str(seed))
        assert done.returncode in (0, 1), done.stderr
        seen = {line.partition(":")[0] for line in done.stdout.splitlines()[:-1]}
        if seen & MUTANTS[mutant]:
            return
    pytest.fail(f"{mutant.name}: not seen; {done.stdout}")


def entry(revision: int, **changes: int) -> dict[str, Any]:
    return {
        "revision": revision, "kind": "commit" if revision else "external", "id": str(revision),
        "changes": [{"key": key.replace("_", "."), "new": new} for key, new in changes.items()],
    }  # fmt: skip


# revisions 1 and 2, each acknowledged at the end of its tens
JOURNAL = [
    entry(0, alpha_count=0, alpha_theirs=0, beta_count=0, beta_theirs=0),
    entry(1, alpha_count=1, alpha_theirs=1),
    entry(2, alpha_count=2, alpha_theirs=2, beta_count=2),
]
FIRST = Operation(COMMIT, 1, 10, 19, (1, 1, -1, -1))
SECOND = Operation(COMMIT, 2, 20, 29, (2, 2, 2, -1))


def seen(kind: int, begun: int, ended: int, *values: int, revision: int = -1) -> Operation:
    return Operation(kind, revision, begun, ended, (*values, *[-1] * (4 - len(values))))


GOOD = [
    [seen(GET, 1, 5, 0), seen(GET, 11, 15, 1), seen(GET, 16, 17, 1), seen(GET, 21, 28, 1), seen(SECTION, 22, 26, 2, 2)],
    [seen(SNAPSHOT, 12, 25, 2, 2, 2, 0, revision=2), seen(GET, 26, 35, 2)],
]  # fmt: skip


@pytest.mark.parametrize("history", GOOD)
def test_a_good_history_passes(history: list[Operation]) -> None:
    assert not check(JOURNAL, [[FIRST, SECOND], history]).violations


BAD = {
    "stale": [seen(GET, 30, 31, 1)],
    "too early": [seen(GET, 11, 15, 2)],
    "phantom": [seen(GET, 21, 28, 7)],
    "monotone": [seen(GET, 21, 22, 2), seen(GET, 23, 24, 1)],
    "mixed": [seen(SECTION, 21, 28, 1, 2)],
    "order": [Operation(COMMIT, 1, 40, 41, (1, 1, -1, -1))],
    "twice": [Operation(COMMIT, 2, 21, 28, (2, 2, 2, -1))],
    "lost": [Operation(COMMIT, 3, 40, 41, (3, -1, -1, -1))],
    "freeze": [seen(FREEZE, 11, 12, 0, 1, 0, 0), seen(UNFREEZE, 35, 36, 0, 1, 0, 0)],
}


@pytest.mark.parametrize("rule", BAD)
def test_a_bad_history_breaks_its_rule(rule: str) -> None:
    assert rule in check(JOURNAL, [[FIRST, SECOND], BAD[rule]]).rules


def test_a_snapshot_is_exactly_its_revision() -> None:
    mixed = seen(SNAPSHOT, 12, 25, 2, 2, 0, 0, revision=2)
    assert check(JOURNAL, [[FIRST, SECOND], [mixed]]).rules == {"mixed"}


def test_a_gap_and_a_change_that_nobody_made_are_seen() -> None:
    assert check(JOURNAL, [[FIRST]]).rules == {"unexplained"}
    assert "revisions" in check([JOURNAL[0], JOURNAL[2]], [[SECOND]]).rules
