"""Make a history of many machines under faults and judge it:
``python tests/etcd/histories.py --operations 100000 --seed 1 [--fault NAME]``.

Three members, three machines (each with a mirror and a way to the cluster of its own), learners, readers, someone who
freezes, one who opens the store anew all the time. Status 1 and a line for each violation if there is one; the figures as
one line of JSON in any case.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parent.parent
sys.path += [str(_TESTS), str(_TESTS / "faults")]  # last: a planted bug comes before

import plainstore as ps  # noqa: E402
from etcd_servers import Cluster  # noqa: E402
from history_checker import (  # noqa: E402
    CLOSER,
    CONVERGE_S,
    END,
    Verdict,
    check,
    files_of,
    journal_of,
    mirrored,
    read_operations,
)  # fmt: skip
from history_faults import NAMES, QUOTA, Scene, host  # noqa: E402
from history_wires import Net, Wires, alone, why_no_spaces  # noqa: E402
from history_workers import FAULTS, FINAL, HEALED, LEAVE, NOTED, OVER, READY, SIZE, WIRES, Post, Worker, start  # noqa: E402
from processes import Child, Shared  # noqa: E402

from paramstore import ParamStore  # noqa: E402
from paramstore._etcd_client import Range  # noqa: E402
from paramstore._etcd_place import Place, parse  # noqa: E402

PREFIX = "histories/store"
ROLES = [
    (0, "learner"), (0, "learner"), (1, "learner"), (2, "learner"), (0, "reader"), (1, "reader"), (1, "reader"), (2, "reader"),
    (2, "freezer"), (1, "opener"),
]  # fmt: skip
MACHINES = 3
RATE = 300  # operations per second: slow enough that faults come often


class Crowd:
    """The workers by slot: who is killed on purpose comes again with another number."""

    def __init__(self, posts: dict[int, Post], shared: Shared, pids: Shared, pause_s: float) -> None:
        self.posts = posts
        self.pids = pids
        self.living: dict[int, int] = {}
        self.killed = 0
        self.problems: list[str] = []
        self._shared = shared
        self._pause_s = pause_s
        self._idents = len(posts)

    def start(self, slot: int) -> None:
        post = self.posts[slot]
        works: dict[str, Callable[[Worker], None]] = {
            "learner": Worker.learn, "freezer": Worker.freeze, "opener": Worker.open_anew,
            "reader": partial(Worker.read, pause_s=self._pause_s),
        }  # fmt: skip
        self.living[slot] = self.pids[slot] = start(post, works[post.role], self._shared)

    def look(self) -> None:
        """Bury the dead, and bring back those that were killed."""
        for slot, pid in list(self.living.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if not found:
                continue
            del self.living[slot]
            if os.WIFSIGNALED(status) and self.pids[slot]:
                self.problems.append(f"{self.posts[slot].name} died of signal {os.WTERMSIG(status)}")
            elif os.WIFSIGNALED(status):
                self.killed += 1
                self._idents += 1
                self.posts[slot] = self.posts[slot]._replace(ident=self._idents)
                self.start(slot)

    def wait(self, roles: tuple[str, ...], timeout_s: float) -> list[str]:
        """Wait for the end of these; return who does not come to one."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.look()
            left = [self.posts[slot].name for slot in self.living if self.posts[slot].role in roles]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.02)

    def end(self) -> None:
        for pid in self.living.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def run(operations: int, seed: int, names: list[str], keep: bool = False) -> tuple[Verdict, dict[str, Any]]:
    """Run all processes until they made so many operations and each fault came once, and judge what they recorded."""
    folder, verdict = ps.fast_folder("faults-histories-"), Verdict()
    try:
        with ExitStack() as stack:
            net = stack.enter_context(Net(3)) if "member" in names else None
            figures = _run(folder, operations, seed, names, net, verdict)
        return verdict, {**figures, "violations": verdict.count, "seed": seed}
    finally:
        if keep and verdict.count:
            sys.stderr.write(f"The histories are kept in {folder}.\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run(
    folder: Path, operations: int, seed: int, names: list[str], net: Net | None, verdict: Verdict
) -> dict[str, Any]:
    (folder / "history").mkdir()
    (folder / "cluster").mkdir()
    shared, pids, begun = Shared(SIZE), Shared(SIZE), time.monotonic()
    options = ["--quota-backend-bytes", str(QUOTA), "--snapshot-count", "5000"]
    cluster = Cluster(3, options, folder / "cluster", net.hosts if net else ())
    wires = Wires(MACHINES, cluster.endpoints, shared, WIRES)
    posts = {
        slot: Post(
            machine, slot, slot, role, wires.url(machine, PREFIX), folder / f"machine{machine}", folder, seed
        )
        for slot, (machine, role) in enumerate(ROLES)
    }
    children, crowd = [Child(wires.run)], Crowd(posts, shared, pids, 8 * 4 / RATE)
    scene = Scene(cluster, wires, net, shared, pids, posts)
    try:
        children.append(Child(lambda: host(scene, partial(_fill, folder), names, seed)))
        shared.wait(READY, 60)
        first = Child(lambda: _close(folder, cluster, "first"))
        first.result()
        for slot in posts:
            crowd.start(slot)
        _work(crowd, shared, operations, len(names))
        figures = _end(folder, cluster, crowd, shared, verdict)
        shared[FINAL] = -1
        told = children[1].result()
    finally:
        crowd.end()
        for child in reversed(children):
            child.kill_if_running()
    for problem in [*told["problems"], *crowd.problems]:
        verdict.add("fault", problem)
    figures |= {
        "killed": crowd.killed,
        "faults": told["counts"],
        "seconds": round(time.monotonic() - begun, 1),
    }
    return {**_judge(folder, verdict), **figures}


def _fill(folder: Path, cluster: Cluster) -> None:
    """Put a store there that nobody committed to yet."""
    place, root = parse(cluster.url(PREFIX)), ps.make_store(folder / "source", count=1)
    puts = [(place.schema(p.name.partition(".")[0]), p.read_bytes()) for p in (root / "schemas").iterdir()]
    puts += [(place.values(p.stem), p.read_bytes()) for p in (root / "params").glob("*.yaml")]
    client = cluster.client()
    client.write([], puts, [], [], 5.0)
    client.close()


def _work(crowd: Crowd, shared: Shared, operations: int, faults: int) -> None:
    """Let them work; end it by saying so."""
    begun = time.monotonic()
    limit_s = 90 + 4 * operations / RATE
    while time.monotonic() - begun < limit_s:
        crowd.look()
        done = sum(shared[NOTED + slot] for slot in crowd.posts)
        if done >= operations and shared[FAULTS] >= faults:
            break
        time.sleep(0.05)
    shared[OVER] = 1


def _close(folder: Path, cluster: Cluster, name: str) -> None:
    """Make one more commit, on a machine of its own."""
    environ = {"PARAMSTORE_BACKEND": cluster.url(PREFIX), "PARAMSTORE_MIRROR": str(folder / "closer")}
    store = ParamStore(environ=environ)
    with store.transaction(author=CLOSER, timeout_s=30) as tx:
        tx["beta.pace"] = 0.25 if name == "first" else 0.75
    store.reset()


def _dumped(cluster: Cluster, place: Place) -> dict[str, str]:
    client = cluster.client()
    _, (answer,) = client.read([Range(*place.below())], 10.0)
    client.close()
    return {kv.key.decode().removeprefix(place.prefix): kv.value.decode() for kv in answer.found}


def _end(folder: Path, cluster: Cluster, crowd: Crowd, shared: Shared, verdict: Verdict) -> dict[str, Any]:
    """When all faults have ended, make a last commit, and see that everyone has it soon."""
    shared.wait(HEALED, 90)
    late = crowd.wait(("learner", "freezer", "opener"), 45)
    if late:
        verdict.add("stuck", f"{late} did not end")
    try:
        Child(lambda: _close(folder, cluster, "last")).result()
    except AssertionError as error:
        verdict.add("closed", f"nobody can commit any more: {str(error).strip().splitlines()[-1]}")
    keys = Child(lambda: _dumped(cluster, parse(cluster.url(PREFIX)))).result()
    revision = json.loads(keys["head"])["revision"]
    (folder / "dump.json").write_text(json.dumps(keys))
    shared[FINAL], begun = revision + 1, time.monotonic()
    wanted = files_of(keys)
    lacking = {f"machine{machine}" for machine in range(MACHINES)}
    while lacking and time.monotonic() - begun < CONVERGE_S:
        crowd.look()
        lacking = {name for name in lacking if not _same(mirrored(folder / name), wanted)}
        time.sleep(0.02)
    for name in lacking:
        verdict.add("mirror", f"{name} does not hold what the cluster does after {CONVERGE_S} s")
    took_s = time.monotonic() - begun
    shared[LEAVE] = 1
    for name in crowd.wait(("reader",), CONVERGE_S):
        verdict.add("stuck", f"{name} did not end")
    return {"converged_s": round(took_s, 2)}


def _same(found: dict[str, str], wanted: dict[str, str]) -> bool:
    return found == wanted


def _judge(folder: Path, verdict: Verdict) -> dict[str, Any]:
    records = journal_of(json.loads((folder / "dump.json").read_text()), verdict)
    histories = [list(read_operations(file)) for file in sorted((folder / "history").iterdir())]
    check(records, histories, verdict)
    last = verdict.revisions - 1
    ends = [op for ops in histories for op in ops if op.kind == END]
    for op in ends:
        if op.revision != last:
            verdict.add("converged", f"{op}: the last revision is {last}")
    if len(ends) != sum(role == "reader" for _, role in ROLES):
        verdict.add("converged", f"{len(ends)} readers came to the end")
    for line in _lines(folder / "told"):
        verdict.add("told", line)
    return {
        "operations": verdict.operations, "revisions": verdict.revisions, "acknowledged": verdict.acknowledged,
        "not_done": dict(Counter(_lines(folder / "counts"))),
    }  # fmt: skip


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--fault", default="mixed", help=f"mixed, none, or some of {','.join(NAMES)}")
    parser.add_argument("--keep", action="store_true", help="keep the histories if something is wrong")
    asked = parser.parse_args(words)
    names = {"mixed": NAMES, "none": []}.get(asked.fault, asked.fault.split(","))
    if not set(names) <= set(NAMES):
        parser.error(f"--fault: mixed, none, or some of {','.join(NAMES)}")
    if "member" in names and not alone():
        sys.stderr.write(f"Skipped: members that are cut off, because {why_no_spaces()}.\n")
        names = [name for name in names if name != "member"]
    verdict, figures = run(asked.operations, asked.seed, names, asked.keep)
    for rule, text in verdict.violations:
        sys.stdout.write(f"{rule}: {text} (seed {asked.seed})\n")
    sys.stdout.write(json.dumps(figures) + "\n")
    return int(bool(verdict.count))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
