"""The agent: one process keeps a machine's mirror in step, and tells how it stands; readers beside it stay light."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from etcd_servers import Cluster, Shop

from paramstore import ParamStore
from paramstore.errors import UnreachableError
from paramstore.testing import SCHEMAS, VALUES

PATIENCE_S = 15.0
CHECK_S = "0.3"


@pytest.fixture
def filled(shop: Shop) -> Shop:
    shop.fill(SCHEMAS, VALUES)
    return shop


def environ(shop: Shop, machine: str = "one", **more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PARAM")}
    named = {"BACKEND": shop.place.url, "MIRROR": str(shop.folder / machine)}
    return {**kept, **{f"PARAMSTORE_{name}": text for name, text in named.items()}, **more}


def store(shop: Shop, machine: str = "one") -> ParamStore:
    return ParamStore(environ=environ(shop, machine, PARAMSTORE_ETCD_CHECK_S=CHECK_S))


class Told:
    """An agent that runs, and what it said."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def said(self, words: str) -> bool:
        return words in self._log.read_text()

    def hear(self, words: str) -> None:
        """Wait until it said these words."""
        until(lambda: self.said(words), f"{words!r} in:\n{self._log.read_text()}")


@contextmanager
def agent(shop: Shop, machine: str = "one", **more: str) -> Iterator[Told]:
    log = shop.folder / f"agent-{uuid.uuid4().hex[:6]}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "paramstore", "agent"],
            env=environ(shop, machine, PARAMSTORE_ETCD_CHECK_S=CHECK_S, **more), stdout=file, stderr=file,
        )  # fmt: skip
    try:
        yield Told(process, log)
    finally:
        process.kill()
        process.wait()


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.02)


READER = """
import sys
from paramstore import params
value = params.get("gate.trades")
heavy = sorted({"grpc", "google.protobuf", "jsonschema", "pydantic", "dataclasses", "json"} & set(sys.modules))
print(value, heavy, params.health.ok)
"""


def test_readers_beside_an_agent_never_import_what_talks_to_the_cluster(filled: Shop) -> None:
    with agent(filled) as told:
        told.hear("following etcd://")
        for _ in range(2):  # the first fills the cache of parsed files
            done = subprocess.run(
                [sys.executable, "-c", READER],
                env=environ(filled),
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
        assert done.stdout == "30 [] True\n"


def test_commits_on_one_machine_are_read_on_another(filled: Shop) -> None:
    with agent(filled, "one") as first, agent(filled, "two") as second:
        first.hear("following")
        second.hear("following")
        here, there = store(filled, "one"), store(filled, "two")
        assert there.get("gate.trades") == 30
        for value in range(40, 60):
            with here.transaction(author="learner") as tx:
                tx["gate.trades"] = value
            assert here.get("gate.trades") == value, "on its own machine it is there at once"
            until(partial(_reads, there, value), "the value on the other machine")
        assert [entry.id for entry in here.history()] == [entry.id for entry in there.history()]


def _reads(store: ParamStore, value: int) -> bool:
    return bool(store.get("gate.trades") == value)


def test_one_stands_by_and_takes_over_from_one_that_was_killed(filled: Shop) -> None:
    with agent(filled) as first:
        first.hear("following")
        with agent(filled) as second:
            second.hear("standing by to take over")
            first.process.kill()
            second.hear("following")
            far = store(filled, "far")
            with far.transaction(author="learner") as tx:
                tx["gate.trades"] = 77
            until(lambda: store(filled).get("gate.trades") == 77, "a commit after the takeover")


def test_it_ends_cleanly_and_lets_another_process_follow(filled: Shop) -> None:
    with agent(filled) as told:
        told.hear("following")
        reader = store(filled)
        assert reader.get("gate.trades") == 30
        told.process.send_signal(signal.SIGTERM)
        assert told.process.wait(timeout=PATIENCE_S) == 0
        far = store(filled, "far")
        with far.transaction(author="learner") as tx:
            tx["gate.trades"] = 78
        until(lambda: reader.get("gate.trades") == 78, "the reader follows by itself now")
        assert reader.health.ok


def test_systemd_hears_when_there_is_something_to_read(filled: Shop, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        door.settimeout(PATIENCE_S)
        with agent(filled, NOTIFY_SOCKET=str(tmp_path / "notify")) as told:
            said = []
            while "READY=1" not in said or "WATCHDOG=1" not in said:
                said.append(door.recv(4096).decode())
            assert (filled.folder / "one" / ".paramstore" / "followed").exists()
            told.process.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in said:
                said.append(door.recv(4096).decode())
        assert any(words.startswith("STATUS=following") for words in said)


def test_readers_go_on_while_the_cluster_is_away_and_are_told(tmp_path: Path) -> None:
    with Cluster() as cluster:
        shop = Shop(cluster, tmp_path)
        shop.fill(SCHEMAS, VALUES)
        with agent(shop) as told:
            told.hear("following")
            reader = store(shop)
            with reader.transaction(author="learner") as tx:
                tx["gate.trades"] = 41
            assert reader.health.age_s < 5
            cluster.servers[0].stop()
            gone = time.monotonic()
            until(lambda: not reader.health.ok, "the problem")
            time.sleep(0.3)
            assert 0.5 < reader.health.age_s < time.monotonic() - gone + 2, (
                "it grows with the time that nobody answers"
            )
            assert reader.get("gate.trades") == 41
            problem = reader.health.problems[0]
            assert (
                problem.file == shop.place.url and "has not answered anyone here since 20" in problem.message
            )
            begin = time.monotonic()
            with (
                pytest.raises(UnreachableError, match=r"Nothing was written; revision 1 stands"),
                reader.transaction(author="learner", timeout_s=60) as tx,
            ):
                tx["gate.trades"] = 42
            assert time.monotonic() - begin < 10, (
                "a write fails at once, however long it might wait for the lock"
            )
            begun_anew = store(shop)  # a process that starts meanwhile reads as well
            assert begun_anew.get("gate.trades") == 41
            told.hear("has not answered")
            cluster.servers[0].start()
            cluster.wait()
            until(lambda: reader.health.ok, "the end of the problem, without a restart")
            with reader.transaction(author="learner") as tx:
                tx["gate.trades"] = 43
            assert reader.get("gate.trades") == 43


def test_a_mirror_that_somebody_edits_beside_the_agent_is_made_whole(filled: Shop) -> None:
    with agent(filled) as told:
        told.hear("following")
        reader = store(filled)
        assert reader.get("gate.trades") == 30
        path = filled.folder / "one" / "params" / "gate.yaml"
        assert not path.stat().st_mode & 0o222, "no editor saves there without being told"
        other = path.with_name("other")
        other.write_text(path.read_text().replace("trades: 30", "trades: 31"))
        other.replace(path)
        until(lambda: "trades: 30" in path.read_text(), "the text that the cluster has")
        until(lambda: reader.get("gate.trades") == 30, "its value")
