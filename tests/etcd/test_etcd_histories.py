"""What many machines did under faults is explained by the journal in the cluster; and the checker that says so sees what is not."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import plainstore as ps
import pytest
from etcd_servers import Cluster, Shop
from explained import UNSEEN
from history_checker import (
    CLOSER,
    COMMIT,
    DONE,
    FREEZE,
    GET,
    NOTHING,
    REFUSED,
    ROLLBACK,
    SECTION,
    SNAPSHOT,
    TRIED,
    UNFREEZE,
    UNKNOWN,
    Operation,
    Verdict,
    check,
    journal_of,
)  # fmt: skip
from history_faults import fill_up
from history_wires import DOWN, Wires, why_no_spaces
from mutants import Mutant, plant, planted, run_on
from processes import Shared

from paramstore import ParamStore
from paramstore._backends.etcd import EtcdBackend
from paramstore._etcd_place import Credentials
from paramstore._options import Options

RUN = str(Path(__file__).parent / "histories.py")
SEED = 1
GROUPS = (
    "leader,restart",
    "pause",
    "full",
    "machine",
    "compact,compacting,clock",
    "learner",
    "follower",
    "member",
)
OPERATIONS = 900


def ran(place: Path | None, faults: str, operations: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Return the figures of a run, and a line for each violation."""
    done = run_on(
        place, RUN, "--operations", str(operations), "--seed", str(seed), "--fault", faults, timeout_s=300
    )
    lines = done.stdout.splitlines()
    assert done.returncode in (0, 1) and lines, done.stderr
    return json.loads(lines[-1]), lines[:-1]


@pytest.mark.parametrize("faults", GROUPS if os.environ.get("FAULT_SWEEP") == "full" else GROUPS[::2])
def test_a_run_under_faults_is_explained(faults: str) -> None:
    if faults == "member" and (why := why_no_spaces()):
        pytest.skip(f"members cannot be cut off: {why}")
    # a short run may end before the lease of a learner that was killed, or while the cluster is full
    for seed in (SEED, SEED + 1, SEED + 2):
        figures, lines = ran(None, faults, OPERATIONS, seed)
        assert not lines, "\n".join(lines)
        assert figures["operations"] >= OPERATIONS, figures
        assert set(figures["faults"]) == set(faults.split(",")), figures
        if figures["acknowledged"]:
            return
    pytest.fail(f"nothing was acknowledged: {figures}")


GUARDS = Mutant(
    "no guards",
    "_backends/_remote.py",
    "done, at, seen = self.client.write(\n                guards,",
    "done, at, seen = self.client.write(\n                [],",
)
QUEUE = Mutant(
    "nobody waits",
    "_backends/_remote.py",
    "return self.client.lock(self.place.lock, lease,",
    'return self.client.lock(self.place.lock + b"/%x" % lease, lease,',
)
HEAD = Mutant(
    "head is not guarded",
    "_backends/_remote.py",
    "guards = [Guard(place.head, known.head_modified), ",
    "guards = [",
)
LATE = Mutant("a second try that comes late is taken for a refusal", "_backends/_remote.py",
              "mine in standing and id_of(standing[mine].value) == entry_id", "not mine")  # fmt: skip
WATCH = Mutant(
    "the watch is not resumed", "_backends/_follower.py", "pause_s = min(2 * pause_s, PAUSE_S[1])", "return"
)
ORDER = Mutant("entries are taken over out of order", "_backends/_mirror.py",
               "news.lines[seq] for seq in fresh", "news.lines[seq] for seq in reversed(fresh)")  # fmt: skip
MARK = Mutant("files are taken over without a mark, and slowly", "_backends/_mirror.py",
              "            files[file] = text.modified, _files.digest(text.raw)\n",
              "            files[file] = text.modified, _files.digest(text.raw)\n"
              "            time.sleep(0.02), os.path.exists(self.signs.mark) and os.unlink(self.signs.mark)\n")  # fmt: skip
TOLD = Mutant(
    "readers are not told",
    "_backends/_mirror.py",
    "            self._publish(end)",
    "            news.head.seq % 3 and self._publish(end)",
)
LEASE = Mutant("a dead learner keeps the lock", "_backends/_remote.py", "LEASE_S = 4 ", "LEASE_S = 100 ")
LOST = Mutant(
    "a lost answer is taken for a yes",
    "_backends/_remote.py",
    '        raise DurabilityUnknownError(\n            f"{error}: nobody',
    '        return 0, []\n        raise DurabilityUnknownError(\n            f"{error}: nobody',
)
NO = Mutant(
    "a lost answer is taken for a no",
    LOST.module,
    LOST.old,
    LOST.new.replace("return 0, []", 'raise ConflictError("Nothing was written.")'),
)


# which faults bring it out, and by which rule it is seen
QUICK: dict[tuple[Mutant, ...], tuple[str, set[str]]] = {
    (TOLD,): ("none", {"stale"}),
}
SLOW: dict[tuple[Mutant, ...], tuple[str, set[str]]] = {
    (MARK,): ("none", {"mixed", "stale", "too early", "phantom", "told"}),
    (QUEUE, GUARDS): ("none", {"lost", "twice", "order", "homes", "gap", "revisions", "closed"}),
    # an entry that another replaced: mirrors that knew it stand apart
    (QUEUE, HEAD): ("none", {"lost", "twice", "order", "homes", "gap", "revisions", "closed", "mirror"}),
    (ORDER,): ("machine", {"mirror", "converged", "told"}),
    (WATCH,): ("restart", {"mirror", "converged"}),
    (LEASE,): ("learner", {"fault", "closed"}),
    (LATE,): ("machine,pause", {"phantom"}),
    (LOST,): ("machine", {"lost", "told"}),
    (NO,): ("machine", {"phantom"}),
}
ALL = {**QUICK, **SLOW} if os.environ.get("FAULT_SWEEP") == "full" else QUICK


@pytest.mark.parametrize("mutants", ALL, ids=lambda mutants: " and ".join(m.name for m in mutants))
def test_a_planted_bug_is_seen(mutants: tuple[Mutant, ...], tmp_path: Path) -> None:
    place = planted(tmp_path, mutants[0])
    for other in mutants[1:]:
        plant(place, other)
    faults, rules = ALL[mutants]
    for seed in (SEED, SEED + 1, SEED + 2):  # what happens between processes is not the same twice
        _, lines = ran(place, faults, 3000 if faults == "none" else 4000, seed)
        if {line.partition(":")[0] for line in lines} & rules:
            return
    pytest.fail(f"not seen; {lines}")


def test_a_commit_is_told_right_though_its_second_try_is_refused(tmp_path: Path) -> None:
    """The answer to the first try is lost on its way, and by the second the cluster is full."""
    with Cluster(1, ["--quota-backend-bytes", str(4 * 2**20)]) as cluster:
        wires = Wires(2, cluster.endpoints, Shared(8), 0)  # two ways to one member
        threading.Thread(target=wires.run, daemon=True).start()
        shop = Shop(cluster, tmp_path)
        shop.fill({"alpha": ps.schema_of("alpha")}, {"alpha": ps.text_of("alpha", 1).decode()})
        ways = tuple(f"127.0.0.1:{ports[0]}" for ports in wires.ports)
        backend = EtcdBackend(
            shop.place._replace(endpoints=ways), Credentials(ways), str(tmp_path / "one"), Options()
        )
        store = ParamStore(backend=backend)
        with store.transaction(author="a") as tx:
            tx["alpha.count"] = 2
        with store.transaction(author="a", timeout_s=20) as tx:
            tx["alpha.count"] = 3
            wires.cut(ways.index(backend.remote.client.endpoint), DOWN)
            threading.Timer(0.5, fill_up, [cluster]).start()
        assert tx.commit_result.revision == store.revision == 2
        backend.close()


# -- the checker by itself ------------------------------------------------------------------------


def entry(
    revision: int, tag: str, kind: str = "commit", author: str = "learner", **changes: int
) -> dict[str, Any]:
    return {
        "revision": revision, "kind": kind, "id": str(revision), "reason": tag, "author": author, "files": {"params/alpha.yaml": {}},
        "changes": [{"key": key.replace("_", "."), "new": new} for key, new in changes.items()],
    }  # fmt: skip


# revision 1 by the closer, 2 and 3 by learners on two machines, each within its tens
JOURNAL = [
    entry(0, "values", "external", alpha_count=0, alpha_theirs=0, beta_count=0, beta_theirs=0),
    entry(1, "", author=CLOSER),
    entry(2, "1002", alpha_count=2, alpha_theirs=2),
    entry(3, "1003", alpha_count=3, alpha_theirs=3, beta_count=3),
]


def wrote(tag: int, begun: int, ended: int, revision: int, *values: int, outcome: int = DONE, seen: tuple[int, ...] = NOTHING, by: str = "m0-learner", kind: int = COMMIT) -> Operation:  # fmt: skip
    return Operation(
        kind, outcome, tag, revision, begun, ended, (*values, *[UNSEEN] * (4 - len(values))), seen, by
    )


def read(
    kind: int, begun: int, ended: int, *values: int, revision: int = UNSEEN, by: str = "m0-reader"
) -> Operation:
    return wrote(0, begun, ended, revision, *values, by=by, kind=kind)


FIRST = wrote(1002, 20, 29, 2, 2, 2, seen=(0, 0, 0, 0))
SECOND = wrote(1003, 30, 39, 3, 3, 3, 3, by="m1-learner")
TRIED_ONLY = [FIRST, wrote(1003, 30, 30, UNSEEN, 3, 3, 3, outcome=TRIED, by="m1-learner")]
GOOD = {
    "reads": [read(GET, 1, 5, 0), read(GET, 31, 35, 2), read(SECTION, 36, 37, 3, 3)],
    "another machine is behind": [read(GET, 50, 51, 0, by="m2-reader"), read(SNAPSHOT, 52, 53, 2, 2, 0, 0, revision=2, by="m2-reader")],
    "refused": [wrote(1004, 40, 41, UNSEEN, 4, outcome=REFUSED)],
    "unknown": [wrote(1004, 40, 41, UNSEEN, 4, outcome=UNKNOWN)],
}  # fmt: skip
BAD = {
    "stale": [read(GET, 30, 31, 0)],
    "too early": [read(GET, 11, 15, 2)],
    "phantom": [read(GET, 35, 38, 7)],
    "monotone": [read(GET, 41, 42, 3, by="m2-reader"), read(GET, 43, 44, 2, by="m2-reader")],
    "mixed": [read(SECTION, 31, 38, 2, 3)],
    "freeze": [wrote(9, 2, 3, UNSEEN, kind=FREEZE), wrote(10, 35, 36, UNSEEN, kind=UNFREEZE)],
    "lost": [wrote(1004, 40, 41, 4, 4)],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_passes(name: str) -> None:
    assert not check(JOURNAL, [[FIRST], [SECOND], GOOD[name]], Verdict()).violations


@pytest.mark.parametrize("rule", BAD)
def test_a_bad_history_breaks_its_rule(rule: str) -> None:
    assert rule in check(JOURNAL, [[FIRST], [SECOND], BAD[rule]], Verdict()).rules


def test_what_became_of_an_attempt_is_judged() -> None:
    def judged(*second: Operation, journal: list[dict[str, Any]] = JOURNAL) -> set[str]:
        return check(journal, [[FIRST], list(second)], Verdict()).rules

    assert not judged(SECOND) and not judged(TRIED_ONLY[1]), "nobody knows what became of one that was killed"
    assert judged(SECOND._replace(outcome=REFUSED)) == {"phantom"}
    assert judged(SECOND._replace(revision=2)) >= {"lost"}
    assert judged(SECOND._replace(begun=1, ended=2)) == {"order"}, (
        "the first began when a later revision stood"
    )
    assert judged(SECOND._replace(seen=(1, 1, 1, 1))) == {"isolation"}
    assert judged() == {"unexplained"}
    assert judged(SECOND, journal=[*JOURNAL, entry(4, "1003")]) == {"twice"}
    assert judged(SECOND, journal=JOURNAL[:2]) >= {"lost"}
    assert judged(SECOND, wrote(1005, 40, 49, 3, 2, kind=ROLLBACK)) >= {"lost"}
    assert judged(SECOND, journal=[*JOURNAL[:3], JOURNAL[3] | {"revision": 4}]) == {"revisions"}


def test_what_stands_in_the_cluster_is_judged() -> None:
    line = json.dumps(entry(0, "values", "external"))
    keys = {"head": json.dumps({"seq": 0, "revision": 0, "id": "0"}), "journal/alpha/0": line}

    def judged(**other: str) -> set[str]:
        verdict = Verdict()
        journal_of(keys | {key.replace("_", "/"): text for key, text in other.items()}, verdict)
        return verdict.rules

    assert not judged()
    assert judged(journal_beta_0=json.dumps(entry(1, "other"))) == {"homes"}
    assert "gap" in judged(journal_alpha_2=line)
    assert judged(head=json.dumps({"seq": 0, "revision": 1, "id": "x"})) == {"head"}
