"""A cluster that was restored from a backup, or emptied and filled again: mirrors of its lost past take nothing over, and say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from etcd_servers import Cluster, Shop
from guarded import put, until

from paramstore import ParamStore
from paramstore._etcd_client import Range
from paramstore.cli import cli
from paramstore.errors import JournalError
from paramstore.testing import SCHEMAS, VALUES

AGAIN = "docs/etcd.md, Restoring the cluster"


class Restored:
    """A server of its own with a store in it, which can be backed up and restored."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.shop = Shop(cluster, folder)
        self.shop.fill(SCHEMAS, VALUES)
        self.folder = folder
        self._server = cluster.servers[0]
        self._wait = cluster.wait
        self._stores: list[ParamStore] = []

    def environ(self, machine: str) -> dict[str, str]:
        named = {"BACKEND": self.shop.place.url, "MIRROR": str(self.folder / machine), "ETCD_CHECK_S": "0.3"}
        return {f"PARAMSTORE_{name}": text for name, text in named.items()}

    def store(self, machine: str) -> ParamStore:
        self._stores.append(ParamStore(environ=self.environ(machine)))
        return self._stores[-1]

    def back_up(self) -> None:
        self._server.stop()
        shutil.copytree(self._server.folder / self._server.name, self.folder / "backup")
        self._start()

    def restore(self, backup: bool = True) -> None:
        """Begin anew from the backup, or with nothing."""
        data = self._server.folder / self._server.name
        self._server.stop()
        shutil.rmtree(data)
        if backup:
            shutil.copytree(self.folder / "backup", data)
        self._start()

    def _start(self) -> None:
        self._server.start()
        self._wait()

    def close(self) -> None:
        for store in self._stores:
            store.reopen()
        self.shop.close()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Restored]:
    with Cluster() as cluster:
        restored = Restored(cluster, tmp_path)
        yield restored
        restored.close()


def step(store: ParamStore, *values: int) -> None:
    for value in values:
        with store.transaction(author="me") as tx:
            tx["gate.trades"] = value


def shift(store: ParamStore, *values: float) -> None:
    for value in values:
        with store.transaction(author="me") as tx:
            tx["weights.a"], tx["weights.b"] = value, 0.8 - value


@pytest.mark.parametrize("since", ["behind", "as far", "further"])
def test_a_past_that_was_lost_is_not_joined_with_the_new_one(made: Restored, since: str) -> None:
    off, runs, other = made.store("off"), made.store("runs"), made.store("other")
    step(other, 31, 32)
    made.back_up()
    step(other, 33, 34, 35, 36)
    until(lambda: off.get("gate.trades") == runs.get("gate.trades") == 36)
    off.reopen()  # that machine is switched off
    other.reopen()
    made.restore()
    fresh = made.store("fresh")
    assert fresh.get("gate.trades") == 32
    if since != "behind":  # what the lost entries had changed now stands in entries of the same numbers
        step(fresh, 41, 42)
        shift(fresh, *([0.41, 0.42] if since == "as far" else [0.41, 0.42, 0.43, 0.44]))
    with pytest.raises(JournalError, match=AGAIN):
        off.get("gate.trades")
    until(lambda: any(AGAIN in problem.message for problem in runs.health.problems))
    assert runs.get("gate.trades") == 36 and runs.revision == 6
    with pytest.raises(JournalError, match=f"{AGAIN}.*Nothing was written; revision 6 stands"):
        step(runs, 50)
    said = CliRunner().invoke(cli, ["check"], env=made.environ("off"))
    assert said.exit_code == 1 and AGAIN in said.output and str(made.folder / "off") in said.output
    off.reopen()
    runs.reopen()
    for machine in ("off", "runs"):
        shutil.rmtree(made.folder / machine)
        anew = made.store(machine)
        assert anew.get("gate.trades") == fresh.get("gate.trades")
        assert [entry.id for entry in anew.history()] == [entry.id for entry in fresh.history()]
    step(anew, 60)
    until(lambda: fresh.get("gate.trades") == 60)


def test_a_machine_that_was_away_goes_on(made: Restored) -> None:
    """The last entry that it knows stands under a namespace that is no more."""
    off, other = made.store("off"), made.store("other")
    step(other, 31)
    shift(other, 0.4)
    until(lambda: off.get("weights.a") == 0.4)
    off.reopen()
    place, client = made.shop.place, made.shop.cluster.client()
    client.write([], [], [place.values("weights"), place.schema("weights")], [], 5.0)
    client.close()
    until(lambda: "weights.a" not in list(other.keys()))
    step(other, 32, 33)
    assert off.get("gate.trades") == 33
    step(off, 34)
    assert [entry.id for entry in off.history()] == [entry.id for entry in made.store("new").history()]


def test_an_edit_that_was_lost_is_not_served_on(made: Restored) -> None:
    """The newest entry is the same before and after, but not the values."""
    store = made.store("one")
    step(store, 31)
    made.back_up()
    key, client = made.shop.place.values("gate"), made.shop.cluster.client()
    text = client.read([Range(key)], 5.0)[1][0].found[0].value
    put(client, (key, text.replace(b"trades: 31", b"trades: 33")))
    client.close()
    until(lambda: store.get("gate.trades") == 33)
    store.reopen()
    made.restore()
    with pytest.raises(JournalError, match=AGAIN):
        store.get("gate.trades")


def test_a_new_cluster_with_the_same_past_is_another_one(made: Restored) -> None:
    """Its revisions begin anew, so that a mirror of the old one would wait for texts that came long ago."""
    store = made.store("one")
    step(store, *range(31, 45))
    url, back = made.shop.place.url, str(made.folder / "back")
    assert CliRunner().invoke(cli, ["copy", url, back]).exit_code == 0
    store.reopen()
    made.restore(backup=False)
    assert CliRunner().invoke(cli, ["copy", back, url]).exit_code == 0
    with pytest.raises(JournalError, match=AGAIN):
        store.get("gate.trades")
    assert made.store("two").get("gate.trades") == 44


def test_a_prefix_that_was_emptied_and_filled_again(made: Restored) -> None:
    runs, client = made.store("runs"), made.shop.cluster.client()
    step(runs, 31, 32, 33)
    start, end = made.shop.place.below()
    keys = [kv.key for kv in client.read([Range(start, end)], 5.0)[1][0].found]
    client.write([], [], keys, [], 5.0)
    client.close()
    made.shop.fill(SCHEMAS, VALUES)
    fresh = made.store("fresh")
    step(fresh, 51, 52, 53, 54, 55)
    until(lambda: any(AGAIN in problem.message for problem in runs.health.problems))
    with pytest.raises(JournalError, match=AGAIN):
        step(runs, 60)
    assert fresh.get("gate.trades") == 55
