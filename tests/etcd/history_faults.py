"""Faults of a cluster, of a machine's way to it, and of processes, each with its end: real kills, pauses and cuts."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from etcd_servers import Cluster, Server
from history_wires import DOWN, UP, Net, Wires
from history_workers import ACKED, FAULTS, FINAL, HEALED, INSIDE, OVER, READY, SHIFT, Post
from processes import Shared

from paramstore._etcd_client import Client
from paramstore._etcd_messages import MESSAGES
from paramstore._etcd_place import end_of
from paramstore.errors import ParamstoreError

QUOTA = 48 * 2**20  # bytes of the database: a cluster that is easily full
LOCK_S = 13.0  # within this a dead learner's lock is free: its lease has ended, and etcd has looked for such
# Each new leader gives all leases their whole time again: a dead learner's lock stays if leaders fall faster than that.
REST_S = 1.0, 12.0
JUNK = b"/junk/"


class Scene:
    """What the faults act on. ``pids`` are the workers' by slot, from ``first`` on in ``shared``."""

    def __init__(
        self,
        cluster: Cluster,
        wires: Wires,
        net: Net | None,
        shared: Shared,
        pids: Shared,
        posts: dict[int, Post],
    ) -> None:
        self.cluster = cluster
        self.wires = wires
        self.net = net
        self.shared = shared
        self.pids = pids
        self.posts = posts
        self.problems: list[str] = []
        self.counts: dict[str, int] = {}
        self.parent = os.getpid()  # whoever makes it is the parent of the process that uses it

    @property
    def over(self) -> bool:
        return bool(self.shared[OVER]) or os.getppid() != self.parent

    def wait(self, seconds: float) -> None:
        """Wait while a fault lasts, but not when nobody works any more."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and os.getppid() == self.parent:
            time.sleep(0.02)

    def rest(self, seconds: float) -> bool:
        """Wait between faults; tell whether to go on."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.over:
            time.sleep(0.02)
        return not self.over

    @contextmanager
    def client(self) -> Iterator[Client]:
        client = self.cluster.client()
        try:
            yield client
        finally:
            client.close()


Fault = Callable[[Scene, random.Random], None]


def leader(scene: Scene, dice: random.Random) -> None:
    _restarted(scene, [scene.cluster.leader()], dice.uniform(0.8, 2.5))


def restart(scene: Scene, dice: random.Random) -> None:
    _restarted(scene, scene.cluster.servers, dice.choice((0.0, 0.5, 3.0)))


def _restarted(scene: Scene, servers: Sequence[Server], seconds: float) -> None:
    for server in servers:
        server.stop()
    scene.wait(seconds)
    for server in servers:
        server.start()
    scene.cluster.wait()


def pause(scene: Scene, dice: random.Random) -> None:
    server = _one(scene, dice)
    server.send(signal.SIGSTOP)
    scene.wait(dice.uniform(1.0, 5.0))
    server.send(signal.SIGCONT)
    scene.cluster.wait()


def _one(scene: Scene, dice: random.Random) -> Server:
    return scene.cluster.leader() if dice.random() < 0.5 else dice.choice(scene.cluster.servers)


def member(scene: Scene, dice: random.Random) -> None:
    """Cut one member off from the others and from everyone."""
    assert scene.net is not None
    number = scene.cluster.servers.index(_one(scene, dice))
    scene.net.cut(number)
    scene.wait(dice.uniform(1.5, 5.0))
    scene.net.mend(number)
    scene.cluster.wait()


def full(scene: Scene, dice: random.Random) -> None:
    """Fill the database to its quota, so that etcd refuses writes; then make room and disarm the alarm."""
    if fill_up(scene.cluster):
        scene.wait(dice.uniform(0.5, 2.0))
    else:
        scene.problems.append("full: the database was never full")
    with scene.client() as client:
        _make_room(scene, client)


def fill_up(cluster: Cluster) -> bool:
    """Write until the cluster says that it is full; tell whether it did."""
    client = cluster.client()
    try:
        for number in range(QUOTA // 2**20 + 8):
            try:
                client.write([], [(JUNK + str(number).encode(), b"x" * 2**20)], [], [], 5.0)
            except ParamstoreError as error:
                if "is full" in str(error):
                    return True  # else no answer: the next may have one
        return False
    finally:
        client.close()


def _make_room(scene: Scene, client: Client) -> None:
    ends = MESSAGES["DeleteRangeRequest"](key=JUNK, range_end=end_of(JUNK)).SerializeToString()
    _ask(scene.cluster.servers[0], "KV/DeleteRange", ends)
    _compact(client)
    for server in scene.cluster.servers:
        _ask(server, "Maintenance/Defragment", b"")
    for (
        server
    ) in scene.cluster.servers:  # of every member: whichever met the quota raised an alarm of its own
        _ask(
            scene.cluster.servers[0],
            "Maintenance/Alarm",
            b"\x08\x02\x10" + _varint(_member(server)) + b"\x18\x01",
        )


def _member(server: Server) -> int:
    raw = _ask(server, "Maintenance/Status", b"")
    return int(MESSAGES["StatusResponse"].FromString(raw).header.member_id)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _ask(server: Server, method: str, raw: bytes) -> bytes:
    """Call what the library has no use for."""
    channel = grpc.insecure_channel(server.endpoint)
    try:
        call = channel.unary_unary(
            f"/etcdserverpb.{method}", request_serializer=None, response_deserializer=None
        )
        answer: bytes = call(raw, timeout=20.0, wait_for_ready=True)
        return answer
    finally:
        channel.close()


def _compact(client: Client) -> None:
    revision = client.status(5.0).header.revision
    with suppress(ParamstoreError):  # done already
        client.call("Compact", MESSAGES["CompactionRequest"](revision=revision, physical=True), 10.0)


def machine(scene: Scene, dice: random.Random) -> None:
    """Cut one machine off: both ways, or so that only answers are lost; its connections may never speak again."""
    number, ways = dice.randrange(len(scene.wires.ports)), dice.choice((UP | DOWN, DOWN, DOWN, UP))
    _await_transaction(scene, number)
    scene.wires.cut(number, ways)
    scene.wait(dice.choice((dice.uniform(0.5, 4.0), dice.uniform(6.0, 10.0))))
    scene.wires.mend(number, forget=dice.random() < 0.5)


def _await_transaction(scene: Scene, number: int) -> None:
    """Wait until somebody on this machine is about to commit, and will get no answer."""
    slots = [slot for slot, post in scene.posts.items() if post.machine == number and post.role == "learner"]
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline and not any(scene.shared[INSIDE + slot] for slot in slots):
        time.sleep(0.0002)


def compact(scene: Scene, dice: random.Random) -> None:
    """Compact while a machine is cut off and others commit, so that its watch cannot go on where it was."""
    number = dice.randrange(len(scene.wires.ports))
    scene.wires.cut(number, UP | DOWN)
    scene.wait(dice.uniform(2.0, 4.0))
    with scene.client() as client:
        _compact(client)
    scene.wires.mend(number, forget=True)


def compacting(scene: Scene, dice: random.Random) -> None:
    """Compact again and again while everyone works."""
    with scene.client() as client:
        for _ in range(30):
            _compact(client)
            scene.wait(dice.uniform(0.0, 0.05))


def clock(scene: Scene, dice: random.Random) -> None:
    """Set the clock of one machine hours off."""
    scene.shared[SHIFT] = dice.choice((-1, 1)) * dice.randint(3600, 50 * 3600)
    scene.wait(dice.uniform(0.3, 1.0))


def learner(scene: Scene, dice: random.Random) -> None:
    """Kill a learner inside its transaction."""
    slots = [slot for slot, post in scene.posts.items() if post.role == "learner"]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        slot = dice.choice(slots)
        if scene.shared[INSIDE + slot] and _kill(scene, slot):
            scene.shared[INSIDE + slot] = 0
            return
        time.sleep(0.0005)


def learner_alone(scene: Scene, dice: random.Random) -> None:
    """The same, and see that others can commit soon."""
    learner(scene, dice)
    before, since = _acknowledged(scene), time.monotonic()
    while _acknowledged(scene) == before and not scene.over:
        if time.monotonic() - since > LOCK_S:
            scene.problems.append(f"lock: nobody could commit for {LOCK_S} s after a learner was killed")
            return
        time.sleep(0.01)


def _acknowledged(scene: Scene) -> int:
    return sum(scene.shared[ACKED + slot] for slot in scene.posts)


def follower(scene: Scene, dice: random.Random) -> None:
    """Kill the process that keeps a machine's mirror in step."""
    post = dice.choice(list(scene.posts.values()))
    pid = who_locks(post.mirror / ".paramstore/follower.lock")
    for slot in scene.posts:
        if pid and scene.pids[slot] == pid:
            _kill(scene, slot)
    scene.wait(dice.uniform(0.1, 1.0))


def _kill(scene: Scene, slot: int) -> bool:
    pid, scene.pids[slot] = scene.pids[slot], 0  # 0: it was killed on purpose
    if pid:
        os.kill(pid, signal.SIGKILL)
    return bool(pid)


def who_locks(file: Path) -> int:
    """Return the process that has a lock on ``file`` for writing, or 0."""
    try:
        inode = file.stat().st_ino
    except OSError:
        return 0
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1:4] == ["FLOCK", "ADVISORY", "WRITE"] and words[5].endswith(f":{inode}"):
            return int(words[4])
    return 0


OF_CLUSTER: dict[str, Fault] = {
    "leader": leader,
    "restart": restart,
    "pause": pause,
    "member": member,
    "full": full,
}
OF_MACHINES: dict[str, Fault] = {
    "machine": machine, "compact": compact, "compacting": compacting, "clock": clock, "learner": learner, "follower": follower,
}  # fmt: skip
NAMES = [*OF_CLUSTER, *OF_MACHINES]


def torment(scene: Scene, names: Sequence[str], seed: int) -> None:
    """Do these faults until it is over, each once in turn and then any: those of the cluster one after the other, and
    beside them those of machines and processes."""
    alone = list(names) == ["learner"]
    threads = []
    for number, kinds in enumerate((OF_CLUSTER, OF_MACHINES)):
        faults = {name: kinds[name] for name in names if name in kinds}
        if alone and faults:
            faults = {"learner": learner_alone}
        if faults:
            threads.append(
                threading.Thread(target=_turns, args=(scene, faults, random.Random(seed + number)))
            )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _turns(scene: Scene, faults: dict[str, Fault], dice: random.Random) -> None:
    first = list(faults)
    try:
        while scene.rest(dice.uniform(0.1, 1.0) if first or len(faults) == 1 else dice.uniform(*REST_S)):
            name = first.pop(0) if first else dice.choice(list(faults))
            faults[name](scene, dice)
            scene.counts[name] = scene.counts.get(name, 0) + 1
            scene.shared[FAULTS] = len(scene.counts)
    except BaseException:  # noqa: BLE001 - told to the checker
        scene.problems.append(f"fault: {traceback.format_exc()}")


def host(scene: Scene, fill: Callable[[Cluster], Any], names: Sequence[str], seed: int) -> dict[str, Any]:
    """Have the cluster up, torment it, and heal it; end it when the last of the readers has all."""
    shared = scene.shared
    with scene.cluster as cluster:
        fill(cluster)
        shared[READY] = 1
        torment(scene, names, seed)
        for number in range(len(scene.wires.ports)):
            scene.wires.mend(number)
        shared[HEALED] = 1
        deadline = time.monotonic() + 120
        while shared[FINAL] >= 0 and time.monotonic() < deadline and os.getppid() == scene.parent:
            time.sleep(0.02)
    return {"problems": scene.problems, "counts": scene.counts}
