"""What a learner can do with a client of its own that keeps none of our rules, on a real server with authentication on.

It may write the values and the journal of its namespace, ``head``, and locks. Readers on other machines must keep right values
and freezes of all others whatever it writes, tell that something is wrong, and go on once somebody has put it right.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from guarded import Guarded, Office, put, set_value, until
from machines import Machine

from paramstore._clock import SYSTEM, utc_text
from paramstore._etcd_client import DeniedError
from paramstore._etcd_messages import MESSAGES
from paramstore._model import Change, Entry, FileChange
from paramstore._records import encode
from paramstore.errors import LockTimeoutError, ParamstoreError

Pairs = list[tuple[bytes, bytes]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Guarded]:
    with Guarded() as made:
        yield made


class Scene:
    """A store in which ``risk.level`` is 1.25, ``edge.level`` 1.5, and ``risk.size`` frozen; a machine that follows it; and the
    client of the learner of ``edge``."""

    def __init__(self, cluster: Guarded, folder: Path) -> None:
        self.office = office = Office(cluster, folder)
        office.hire("learner-edge", "reader", "approver")
        boss = office.store("approver")
        set_value(boss, "risk.level", 1.25)
        set_value(boss, "edge.level", 1.5)
        boss.freeze("risk.size", author="boss", reason="hold it")
        boss.reopen()
        self.place = office.place
        self.rogue = office.client("learner-edge")
        self.before = office.standing()
        self.head = office.head()
        self.machines: list[Machine] = []
        self.reader = self.machine("one")
        self.seen = self.reader.see()
        assert "values" in self.seen, self.seen
        assert self.seen["values"]["risk.level"] == 1.25 and self.seen["freezes"] == ["risk.size"]
        assert self.seen["problems"] == []

    def machine(self, name: str) -> Machine:
        self.machines.append(Machine(self.office.environ("reader", name)))
        return self.machines[-1]

    def digest(self, namespace: str) -> str:
        return hashlib.sha256(self.before[self.place.values(namespace)][0]).hexdigest()

    def forge(self, pairs: Pairs) -> None:
        self.forged = pairs
        put(self.rogue, *pairs)

    def mend(self) -> None:
        """Put back what the rogue wrote over, and take away what it added, as an approver can."""
        back = [(key, self.before[key][0]) for key, _ in self.forged if key in self.before]
        gone = [key for key, _ in self.forged if key not in self.before]
        assert self.office.client("approver").write([], back, gone, [], 5.0)[0]

    def is_unharmed(self, machine: Machine, may_refuse: bool = False) -> bool:
        seen = machine.see()
        if may_refuse and "refused" in seen:
            return True
        return {**seen, "problems": []} == self.seen

    def close(self) -> None:
        for machine in self.machines:
            machine.close()
        self.office.close()


@pytest.fixture
def scene(cluster: Guarded, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(cluster, tmp_path)
    yield made
    made.close()


# --- what it can forge ------------------------------------------------------------------------------


def forged(scene: Scene, **of: Any) -> tuple[dict[str, Any], bytes]:
    """Return an entry of the rogue's making; by default a commit that comes next."""
    own = {"kind": "commit", "revision": scene.head["revision"] + 1, "author": "rogue", "reason": "because"}
    return encode(Entry(id=os.urandom(8).hex(), time=utc_text(SYSTEM.now()), **{**own, **of}))


def next_line(scene: Scene, record: dict[str, Any], line: bytes) -> Pairs:
    """Return what puts an entry at the journal's end, under the rogue's own namespace alone."""
    seq = scene.head["seq"] + 1
    head = {"v": 1, "seq": seq, "revision": record["revision"], "id": record["id"]}
    return [(scene.place.entry("edge", seq), line), (scene.place.head, json.dumps(head).encode())]


def valueless(scene: Scene, kind: str, **details: Any) -> Pairs:
    return next_line(scene, *forged(scene, kind=kind, revision=scene.head["revision"], details=details))


def of_risk(scene: Scene, files: dict[str, FileChange]) -> Pairs:
    return next_line(scene, *forged(scene, changes=(Change("risk.level", 1.25, 9.0),), files=files))


def of_its_own(scene: Scene, **of: Any) -> Pairs:
    """Return what commits to the rogue's own file, which stays as it is, and would count but for ``of``."""
    same = FileChange(scene.digest("edge"), scene.digest("edge"))
    return next_line(scene, *forged(scene, files={"params/edge.yaml": same}, **of))


def beside_its_own(scene: Scene, kind: str, **details: Any) -> Pairs:
    return of_its_own(scene, kind=kind, revision=scene.head["revision"], details=details)


def abort(scene: Scene) -> Pairs:
    """Return what takes the freeze back, in an entry that stands under the rogue's own namespace."""
    freeze = {"aborts": scene.head["id"]}
    (line, (head, raw)) = of_its_own(scene, kind="abort", revision=scene.head["revision"], evidence=freeze)
    return [line, (head, json.dumps({**json.loads(raw), "revision": scene.head["revision"] - 1}).encode())]


def unknown_change(scene: Scene) -> Pairs:
    """Return what a refusal says of a key that no namespace has, in a change."""
    record, _ = forged(scene, changes=(Change("edge.level", 1.5, 1.5), Change("risk.level", 1.25, 9.0)))
    record["changes"][1]["rule"] = "unknown"
    return next_line(scene, record, sealed(json.dumps(record, separators=(",", ":")).encode()[:-1]))


def broken(end: bytes) -> Callable[[Scene], Pairs]:
    """Return what makes a sound entry of its own, but of two lines, of which neither is an entry to who reads a journal."""

    def forge(scene: Scene) -> Pairs:
        (key, line), head = of_its_own(scene)
        body = line.rpartition(b',"crc"')[0]
        return [(key, sealed(body.replace(b'"kind"', end + b'"kind"'))), head]

    return forge


def sealed(body: bytes) -> bytes:
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def head_of(**of: Any) -> Callable[[Scene], Pairs]:
    return lambda scene: [(scene.place.head, json.dumps({**scene.head, **of}).encode())]


HEADS: dict[str, Callable[[Scene], Pairs]] = {
    "after the journal": head_of(seq=1_000_000),
    "far after the journal": head_of(seq=2**70),
    "before the journal's end": head_of(seq=0),
    "another id": head_of(id="0" * 16),
    "no head": lambda scene: [(scene.place.head, b"nonsense")],
    "deep nonsense": lambda scene: [(scene.place.head, b"[" * 100_000)],
}
LINES: dict[str, Callable[[Scene], Pairs]] = {
    "a commit to another's file": lambda scene: of_risk(
        scene, {"params/risk.yaml": FileChange(scene.digest("risk"), "0" * 64)}
    ),
    "changes of another without a file": lambda scene: of_risk(scene, {}),
    "changes of another with its own file": lambda scene: of_risk(
        scene, {"params/edge.yaml": FileChange(scene.digest("edge"), scene.digest("edge"))}
    ),
    "an unfreeze": lambda scene: valueless(scene, "unfreeze", pattern="risk.size"),
    "a freeze": lambda scene: valueless(scene, "freeze", pattern="*"),
    "an approval of another's value": lambda scene: valueless(
        scene, "approve", pattern="risk", baselines=[{"key": "risk.level", "value": 9.0}]
    ),
    "a refusal of another's value": lambda scene: valueless(
        scene, "refusal", violations=[{"key": "risk.level", "rule": "maximum", "requested": 99}]
    ),
    "an abort of another's entry": lambda scene: next_line(
        scene,
        *forged(scene, kind="abort", revision=scene.head["revision"], evidence={"aborts": scene.head["id"]}),
    ),
    "an unfreeze beside its own": lambda scene: beside_its_own(scene, "unfreeze", pattern="risk.size"),
    "a freeze beside its own": lambda scene: beside_its_own(scene, "freeze", pattern="*"),
    "a merge beside its own": lambda scene: beside_its_own(scene, "merge", joined=[]),
    "an abort of another's entry beside its own": abort,
    "a change of another that says it is of no namespace": unknown_change,
    "an approval of another's value that says so": lambda scene: beside_its_own(
        scene, "approve", pattern="edge", baselines=[{"key": "risk.level", "value": 9.0, "rule": "unknown"}]
    ),
    "an entry of two lines": broken(b"\n"),
    "an entry with a return": broken(b"\r"),
    "a change of a namespace that is to come": lambda scene: of_its_own(
        scene, changes=(Change("ghost.level", 1.0, 9.0),), kind="external"
    ),
    "a revision out of all order": lambda scene: of_its_own(scene, revision=2**62),
    "nonsense": lambda scene: next_line(scene, forged(scene)[0], b"nonsense\n"),
    "a key without a number": lambda scene: [(scene.place.key("journal", "edge", "zzz"), b"nonsense")],
    "a key with more parts": lambda scene: [(scene.place.key("journal", "edge", "1", "2"), b"nonsense")],
    "an empty key": lambda scene: [(scene.place.key("journal", "edge", ""), b"nonsense")],
}


def cases(*names: str) -> list[Any]:
    """Return what these forge, or all of a table's, as parameters of a test."""
    table = {**HEADS, **LINES}
    return [pytest.param(table[name], id=name) for name in names]


def goes_on(scene: Scene) -> None:
    """See that the machine follows, and a learner commits, once it is put right."""
    scene.mend()
    learner = scene.office.store("learner-edge")
    set_value(learner, "edge.level", 2.5)
    learner.reopen()
    for machine in scene.machines:
        until(partial(_follows, machine))


def _follows(machine: Machine) -> bool:
    seen = machine.see()
    return bool("values" in seen and seen["values"]["edge.level"] == 2.5 and not seen["problems"])


@pytest.mark.parametrize("forge", cases(*HEADS))
def test_a_forged_head_changes_nothing(scene: Scene, forge: Callable[[Scene], Pairs]) -> None:
    scene.forge(forge(scene))
    time.sleep(1.2)  # two questions for the newest entry
    assert scene.is_unharmed(scene.reader)
    assert scene.is_unharmed(scene.machine("two"), may_refuse=True)
    goes_on(scene)


@pytest.mark.parametrize("forge", cases(*LINES))
def test_a_forged_line_changes_nothing(scene: Scene, forge: Callable[[Scene], Pairs]) -> None:
    scene.forge(forge(scene))
    time.sleep(0.3)
    assert scene.is_unharmed(scene.reader)
    assert scene.is_unharmed(scene.machine("two"), may_refuse=True)
    goes_on(scene)


def test_the_first_entry_leaves_numbers_for_others(tmp_path: Path, cluster: Guarded) -> None:
    office = Office(cluster, tmp_path)
    office.hire("learner-edge", "approver")
    record, line = encode(
        Entry(
            2**62,
            "0" * 16,
            utc_text(SYSTEM.now()),
            "commit",
            "rogue",
            "because",
            {},
            (Change("edge.level", 1.0, 1.0),),
        )
    )
    head = {"v": 1, "seq": 0, "revision": record["revision"], "id": record["id"]}
    forged = [(office.place.entry("edge", 0), line), (office.place.head, json.dumps(head).encode())]
    put(office.client("learner-edge"), *forged)
    boss = office.store("approver")
    with pytest.raises(ParamstoreError, match="does not follow"):
        set_value(boss, "risk.level", 1.25)
    office.client("approver").write([], [], [key for key, _ in forged], [], 5.0)
    assert set_value(boss, "risk.level", 1.25) == 1
    office.close()


TOLD = "after the journal", "before the journal's end", "no head", "a commit to another's file", "nonsense"


@pytest.mark.parametrize("forge", cases(*TOLD))
def test_a_forgery_is_told_as_a_problem(scene: Scene, forge: Callable[[Scene], Pairs]) -> None:
    scene.forge(forge(scene))
    until(lambda: _told(scene), 3.0)


def _told(scene: Scene) -> list[str]:
    """Return the problems that say more than that the cluster is away, which it is not."""
    return [problem for problem in scene.reader.see()["problems"] if "has not answered" not in problem]


def test_a_head_after_the_journal_makes_no_storm(scene: Scene) -> None:
    """A machine that cannot catch up waits longer and longer, lest all machines together bring the cluster down."""
    scene.forge(HEADS["after the journal"](scene))
    time.sleep(1.0)
    calls = _calls(scene)
    time.sleep(3.0)
    assert _calls(scene) - calls < 30  # with a question each 0.1 s to 0.2 s besides


def _calls(scene: Scene) -> int:
    """Return how many transactions the server has answered, by its own count."""
    from urllib.request import urlopen

    with urlopen(f"http://{scene.office.cluster.endpoints[0]}/metrics", timeout=5) as page:
        text = page.read().decode()
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith("grpc_server_handled_total")
        and 'grpc_method="Txn"' in line
        and 'grpc_code="OK"' in line
    ]
    return int(float(line.rpartition(" ")[2]))


# --- what remains -----------------------------------------------------------------------------------


def test_it_may_stop_others_from_writing_until_an_approver_helps(scene: Scene) -> None:
    """A lock without a lease holds everybody up; values stay, and who may write locks takes it away."""
    key = scene.place.key("~lock", "0")
    scene.forge([(key, b"")])
    boss = scene.office.store("approver")
    with pytest.raises(LockTimeoutError), boss.transaction(author="boss", reason="a test", timeout_s=1.0):
        pass
    assert scene.is_unharmed(scene.reader)
    scene.mend()
    assert set_value(boss, "risk.level", 2.25) > 0


def test_it_may_write_its_own_values_and_readers_judge_them(scene: Scene) -> None:
    """Its own values are its own: what breaks no rule stands as an edit by hand does, what breaks one is refused by readers."""
    text = scene.before[scene.place.values("edge")][0]
    put(scene.rogue, (scene.place.values("edge"), text.replace(b"1.5", b"99.5")))
    until(lambda: scene.reader.see()["problems"] != [])
    assert scene.is_unharmed(scene.reader)
    put(scene.rogue, (scene.place.values("edge"), text.replace(b"1.5", b"3.5")))
    until(lambda: scene.reader.see()["values"]["edge.level"] == 3.5)
    assert scene.reader.see()["problems"] == []


@pytest.mark.parametrize(
    "details", [{}, {"violations": 5, "baselines": [1, {"key": 2}]}], ids=["plain", "odd"]
)
def test_it_may_record_what_it_did_not_do_to_its_own(scene: Scene, details: dict[str, Any]) -> None:
    scene.forge(of_its_own(scene, details=details))
    until(lambda: len(scene.reader.see()["history"]) == len(scene.seen["history"]) + 1)
    seen, second = scene.reader.see(), scene.machine("two").see()
    assert {**seen, "history": []} == {**scene.seen, "history": []} and second == seen
    assert set_value(scene.office.store("approver"), "risk.level", 2.25) > 0


def test_it_may_spoil_its_own_past_and_machines_that_follow_keep_theirs(scene: Scene) -> None:
    keys = [key for key in scene.before if key.startswith(scene.place.key("journal", "edge", ""))]
    assert keys
    scene.forge([(keys[0], b"nonsense\n")])
    time.sleep(0.3)
    assert scene.is_unharmed(scene.reader)
    assert scene.is_unharmed(scene.machine("two"), may_refuse=True)
    goes_on(scene)


def _nested(key: bytes, value: bytes) -> Any:
    """Return a transaction within a transaction, which our table of messages does not have."""
    inner = MESSAGES["TxnRequest"]()
    put = inner.success.add().request_put
    put.key, put.value = key, value
    raw = inner.SerializeToString()
    operation = b"\x22" + bytes([len(raw)]) + raw
    return MESSAGES["TxnRequest"].FromString(b"\x12" + bytes([len(operation)]) + operation)


def test_servers_before_3_4_42_let_it_write_everywhere_by_a_nested_transaction(scene: Scene) -> None:
    """CVE-2026-33343: such a server does not look at the permissions of what stands within an inner transaction. No role helps
    against it; docs/etcd-access.md says which versions to run."""
    major, minor, patch = map(int, scene.rogue.status(5.0).version.split("."))
    fixed = (major, minor, patch) >= {(3, 4): (3, 4, 42), (3, 5): (3, 5, 28)}.get((major, minor), (3, 6, 9))
    key = scene.place.key("other")
    request = _nested(key, b"mine")
    if fixed:
        with pytest.raises(DeniedError):
            scene.rogue.call("Txn", request, 5.0)
    else:
        scene.rogue.call("Txn", request, 5.0)
    assert (key in scene.office.standing()) != fixed
