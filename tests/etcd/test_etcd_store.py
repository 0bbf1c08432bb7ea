"""A store in etcd in the cases that files do not have: limits of a transaction, edits by other means, a mirror that was spoilt."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from etcd_servers import Cluster, Shop
from local_store import number, schema, write_store

from paramstore import ParamStore, params
from paramstore._etcd_client import Range
from paramstore._etcd_place import Head, Place, homes, parse
from paramstore.cli import cli
from paramstore.errors import (
    LockLostError,
    SettingsError,
    StoreNotFoundError,
    UnreachableError,
    ValidationError,
    WriteError,
)
from paramstore.testing import SCHEMAS, VALUES, isolated

PATIENCE_S = 10.0
FIRST_READS = 150


@pytest.fixture
def filled(shop: Shop) -> Shop:
    shop.fill(SCHEMAS, VALUES)
    return shop


def store(shop: Shop, machine: str = "one") -> ParamStore:
    return ParamStore(backend=shop.backend(machine), environ={})


def step(made: ParamStore, value: int) -> None:
    with made.transaction(author="learner") as tx:
        tx["gate.trades"] = value


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.02)


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "endpoints", "prefix"),
    [
        ("etcd://host/live", ("host:2379",), "/live/"),
        ("etcd://a:1,b:2/trading/live/", ("a:1", "b:2"), "/trading/live/"),
        ("etcd://[::1]:23/x", ("[::1]:23",), "/x/"),
        ("etcd://[::1]/x", ("[::1]:2379",), "/x/"),
    ],
)
def test_addresses(url: str, endpoints: tuple[str, ...], prefix: str) -> None:
    assert parse(url) == Place(endpoints, prefix)


@pytest.mark.parametrize(
    "url",
    ["", "etcd://", "etcd://host", "etcd://host/", "etcd:///x", "etcd://a,,b/x", "etcd://a:x/y", "etcd://a:0/y",
     "etcd://a:70000/y", "http://a/b", "etcd://a/b//c", "etcd://a/../c", "etcd://user:secret@a/c", "etcd://a/\x01", "etcd://:1/x"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="Nothing was opened"):
        parse(url)


def test_the_same_cluster_has_one_mirror_in_whatever_order_it_is_named() -> None:
    assert parse("etcd://a:1,b:2/x").name == parse("etcd://b:2,a:1/x").name != parse("etcd://b:2,a:1/y").name
    assert parse("etcd://a:1/live/a").name != parse("etcd://a:1/live-a").name


def test_entries_stand_under_what_they_touch() -> None:
    touched = {
        "kind": "commit",
        "changes": [{"key": "a.x"}, {"key": "b.y"}, {"key": "gone.z"}],
        "files": {"params/a.yaml": {}},
    }
    assert homes(touched, {"a", "b", "c"}) == ["@store", "a", "b"]
    assert homes(touched, {"a", "b", "gone"}) == ["a", "b", "gone"]
    broken = [{"key": "c.x", "rule": "maximum"}, {"key": "a.nowhere", "rule": "unknown"}]
    refused = {"kind": "refusal", "changes": [], "files": {}, "details": {"violations": broken}}
    assert homes(refused, {"a", "b", "c"}) == ["c"]
    frozen = {"kind": "freeze", "changes": [], "files": {}, "details": {"pattern": "*", "violations": 5}}
    assert homes(frozen, {"a"}) == ["@store"]


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b'{"v":2}', b'{"v":1,"seq":"0","revision":1,"id":"x"}', b"\xff"]
)
def test_a_head_that_we_did_not_write_is_told(raw: bytes) -> None:
    with pytest.raises(ValueError):
        Head.decoded(raw)


# --- limits of etcd -------------------------------------------------------------------------------


def test_a_commit_to_more_namespaces_than_one_transaction_takes_is_refused_whole(shop: Shop) -> None:
    names = [f"n{index:03}" for index in range(70)]
    shop.fill(
        {name: schema({"x": number(1.0)}) for name in names},
        {name: {"schema": 1, "values": {"x": 1.0}} for name in names},
    )
    made = store(shop)
    with made.transaction(author="me") as tx:  # so many fit
        for name in names[:63]:
            tx[f"{name}.x"] = 2.0
    stands = made.revision
    with (
        pytest.raises(
            WriteError,
            match=rf"operations of etcd, which does at most 128 at once.* revision {stands} stands",
        ),
        made.transaction(author="me") as tx,
    ):
        for name in names[:64]:
            tx[f"{name}.x"] = 3.0
    assert made.revision == stands and {made.get(f"{name}.x") for name in names} == {1.0, 2.0}


def test_a_commit_of_more_bytes_than_one_transaction_takes_is_refused_whole(shop: Shop) -> None:
    text = "schema: 1\nvalues:\n  x: 1.0\n" + f"# {'y' * 100}\n" * 9_000
    shop.fill({"big": schema({"x": number(1.0)})}, {"big": text})
    made = store(shop)
    tale = ["z" * 1000] * 1000
    with (
        pytest.raises(
            WriteError, match=r"bytes, and etcd takes at most .* Nothing was written; revision 0 stands"
        ),
        made.transaction(author="me", evidence={"tale": tale}) as tx,
    ):
        tx["big.x"] = 2.0
    assert made.get("big.x") == 1.0
    with made.transaction(author="me") as tx:
        tx["big.x"] = 2.0


# --- edits by other means -------------------------------------------------------------------------


def put(shop: Shop, key: bytes, raw: bytes) -> None:
    client = shop.cluster.client()
    client.write([], [(key, raw)], [], [], 5.0)
    client.close()


def text_of(shop: Shop, key: bytes) -> bytes:
    client = shop.cluster.client()
    _, (answer,) = client.read([Range(key)], 5.0)
    client.close()
    return answer.found[0].value


def test_values_that_somebody_put_there_are_read_and_recorded(filled: Shop) -> None:
    made = store(filled)
    step(made, 40)
    key = filled.place.values("gate")
    put(filled, key, text_of(filled, key).replace(b"trades: 40", b"trades: 44"))
    until(lambda: made.get("gate.trades") == 44, "the edit")
    step(made, 45)
    kinds = [(entry.kind, [change.new for change in entry.changes]) for entry in made.history("gate.trades")][
        -2:
    ]
    assert kinds == [("external", [44]), ("commit", [45])]


def test_values_that_break_the_schema_reach_no_reader(filled: Shop) -> None:
    made = store(filled)
    step(made, 40)
    assert made.get("gate.trades") == 40
    key = filled.place.values("gate")
    good = text_of(filled, key)
    put(filled, key, good.replace(b"trades: 40", b"trades: 4000"))
    until(lambda: not made.health.ok, "the problem")
    assert made.get("gate.trades") == 40
    with pytest.raises(ValidationError, match="Nothing was written; revision 1 stands"):
        step(made, 41)
    put(filled, key, good)
    until(lambda: made.health.ok, "the end of the problem")
    step(made, 41)
    assert made.get("gate.trades") == 41


def test_a_change_between_the_reading_and_the_commit_is_not_lost(filled: Shop) -> None:
    made = store(filled)
    step(made, 40)
    key, edit = filled.place.values("weights"), b"# of another file, which the transaction may have read\n"
    with made.transaction(author="learner") as tx:
        tx["gate.trades"] = 41
        put(filled, key, text_of(filled, key) + edit)
    assert [entry.kind for entry in made.history()][-2:] == ["external", "commit"], (
        "it was judged anew, on top of the edit"
    )
    assert text_of(filled, key).endswith(edit)
    own = filled.place.values("gate")
    with made.transaction(author="learner") as tx:
        tx["gate.trades"] = 42
        put(filled, own, text_of(filled, own).replace(b"high: 0.5", b"high: 0.6"))
    assert (made.get("gate.trades"), made.get("gate.tiers.high")) == (42, 0.6)


def test_a_hold_that_ended_lets_nothing_be_written(filled: Shop) -> None:
    made = store(filled)
    client = filled.cluster.client()
    with pytest.raises(LockLostError, match="Nothing was written"), made.transaction(author="learner") as tx:
        tx["gate.trades"] = 41
        _, (held,) = client.read([Range(*filled.place.below("~lock"))], 5.0)
        client.write([], [], [kv.key for kv in held.found], [], 5.0)
    assert made.get("gate.trades") == 30
    step(made, 42)
    client.close()


def test_a_refusal_says_once_that_nothing_was_written(filled: Shop) -> None:
    made = store(filled)
    step(made, 40)
    lock = filled.folder / "one" / ".paramstore" / "lock"
    lock.unlink()
    lock.symlink_to(filled.folder / "elsewhere")
    with pytest.raises(WriteError, match="lock file") as caught:
        step(made, 41)
    assert str(caught.value).endswith("Nothing was written; revision 1 stands.")
    assert str(caught.value).count("Nothing was written") == 1


def test_a_new_namespace_and_one_that_goes(filled: Shop) -> None:
    here, there = store(filled, "one"), store(filled, "two")
    assert there.get("gate.trades") == 30
    client = filled.cluster.client()
    made = json.dumps(schema({"x": number(1.0)})).encode()
    client.write(
        [],
        [
            (filled.place.schema("extra"), made),
            (filled.place.values("extra"), b"schema: 1\nvalues: {x: 1.0}\n"),
        ],
        [],
        [],
        5.0,
    )
    until(lambda: "extra.x" in list(there.keys()), "the new namespace")
    with here.transaction(author="me") as tx:
        tx["extra.x"] = 2.0
    until(lambda: there.get("extra.x") == 2.0, "its value")
    client.write([], [], [filled.place.schema("extra"), filled.place.values("extra")], [], 5.0)
    until(lambda: "extra.x" not in list(there.keys()), "its end")
    step(here, 55)
    fresh = store(filled, "three")  # and a machine that never saw it has its past
    assert [entry.id for entry in fresh.history()] == [entry.id for entry in here.history()]
    client.close()


def test_a_first_read_while_namespaces_come_and_go(filled: Shop) -> None:
    """What is being taken over is waited for, and not told as a file that is missing."""
    client, folder = filled.cluster.client(), str(filled.folder / "one")
    keys = filled.place.schema("weights"), filled.place.values("weights")
    texts = [text_of(filled, key) for key in keys]
    environ = {"PARAMSTORE_BACKEND": filled.place.url, "PARAMSTORE_MIRROR": folder}
    keeper, over = ParamStore(environ=environ), threading.Event()
    assert keeper.get("gate.trades") == 30

    def change() -> None:
        while not over.wait(0.002):
            client.write([], [], keys, [], 5.0)
            client.write([], list(zip(keys, texts, strict=True)), [], [], 5.0)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(FIRST_READS):
            first = ParamStore(environ=environ)
            assert first.get("gate.trades") == 30
            first.reopen()
    finally:
        over.set()
        changing.join()
    keeper.reopen()
    client.close()


@pytest.mark.parametrize("far", [False, True], ids=["files", "etcd"])
def test_a_namespace_that_was_taken_out_is_no_entry_and_has_its_past(
    filled: Shop, tmp_path: Path, far: bool
) -> None:
    files = "schemas/weights.schema.json", "params/weights.yaml"
    root = write_store(tmp_path / "files", SCHEMAS, VALUES)
    made = store(filled) if far else ParamStore(root, environ={})
    with made.transaction(author="me") as tx:
        tx["weights.a"], tx["weights.b"] = 0.4, 0.4
    if far:
        client = filled.cluster.client()
        client.write([], [], [filled.place.file(file) for file in files], [], 5.0)
        client.close()
    else:
        for file in files:
            (root / file).unlink()
    until(lambda: "weights.a" not in list(made.keys()), "its end")
    step(made, 40)
    kinds = ["external", "commit", "commit"]
    assert [entry.kind for entry in made.history()] == kinds
    assert made.as_of(1)["weights.a"] == 0.4
    source = write_store(tmp_path / "again", SCHEMAS, VALUES)
    for file in files:  # and it comes back as it was at first
        if far:
            put(filled, filled.place.file(file), (source / file).read_bytes())
        else:
            shutil.copyfile(source / file, root / file)
    until(lambda: "weights.a" in list(made.keys()), "its return")
    step(made, 41)
    assert [entry.kind for entry in made.history()] == [*kinds, "external", "commit"]
    assert [entry.revision for entry in made.history("weights.a")] == [0, 1, 3]


# --- mirrors --------------------------------------------------------------------------------------


def test_a_namespace_that_was_taken_out_keeps_no_new_machine_out(filled: Shop) -> None:
    """Whatever of the past is of it alone stands under it, where no new machine would look for it."""
    made = store(filled)
    with pytest.raises(ValidationError), made.transaction(author="learner") as tx:
        tx["weights.a"] = 5000.0
    made.approve("weights.*", author="boss", reason="as they are")
    with made.transaction(author="both") as tx:
        tx["weights.a"], tx["gate.trades"] = 0.55, 45
    client = filled.cluster.client()
    client.write([], [], [filled.place.values("weights"), filled.place.schema("weights")], [], 5.0)
    client.close()
    late = store(filled, "late")
    assert late.get("gate.trades") == 45
    assert [entry.id for entry in late.history(refused=True)] == [
        entry.id for entry in made.history(refused=True)
    ]
    step(late, 46)
    done = CliRunner().invoke(cli, ["copy", filled.place.url, str(filled.folder / "back")])
    assert done.exit_code == 0, done.output


def test_a_mirror_that_somebody_edited_is_made_anew(filled: Shop) -> None:
    first = filled.backend("one")
    made = ParamStore(backend=first, environ={})
    step(made, 40)
    first.close()
    path = filled.folder / "one" / "params" / "gate.yaml"
    path.write_text(path.read_text().replace("trades: 40", "trades: 50"))
    assert store(filled, "one").get("gate.trades") == 40


@pytest.mark.parametrize("spoil", ["journal", "followed", "half", "all"])
def test_a_mirror_that_was_spoilt_is_made_anew(filled: Shop, spoil: str) -> None:
    first = filled.backend("one")
    made = ParamStore(backend=first, environ={})
    for value in range(40, 50):
        step(made, value)
    first.close()
    root = filled.folder / "one"
    journal = next((root / "params" / "journal").iterdir())
    if spoil == "journal":
        journal.write_bytes(journal.read_bytes()[:-40])
    elif spoil == "followed":
        (root / ".paramstore" / "followed").write_bytes(b"{")
    elif spoil == "half":  # what was appended, but not said to be: its writer died in between
        journal.write_bytes(journal.read_bytes() + b'{"v":1,"revision":11,')
        (root / ".paramstore" / "unfinished").touch()
    else:
        shutil.rmtree(root)
    again = store(filled, "one")
    assert again.get("gate.trades") == 49 and again.revision == 10
    assert [entry.id for entry in again.history()] == [entry.id for entry in made.history()]
    step(again, 60)


def test_without_a_cluster_and_without_a_mirror_nothing_is_served(tmp_path: Path) -> None:
    environ = {"PARAMSTORE_BACKEND": "etcd://127.0.0.1:1/x", "PARAMSTORE_MIRROR": str(tmp_path / "m")}
    with pytest.raises(UnreachableError, match=r"etcd at 127\.0\.0\.1:1 did not answer"):
        ParamStore(environ=environ).get("gate.trades")


def test_where_there_is_no_store_it_says_how_to_put_one(shop: Shop) -> None:
    with pytest.raises(StoreNotFoundError, match="paramstore copy"):
        store(shop).get("gate.trades")


def _child(url: str, mirror: str, value: int) -> int:
    made = ParamStore(environ={"PARAMSTORE_BACKEND": url, "PARAMSTORE_MIRROR": mirror})
    with made.transaction(author="learner", timeout_s=30) as tx:
        tx["gate.trades"] += value
    return int(made.get("gate.trades"))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_of_a_pool_commit_and_see_each_other(filled: Shop, method: str) -> None:
    words = filled.place.url, str(filled.folder / "one"), 1
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert max(pool.starmap(_child, [words] * 8)) == 38
    assert store(filled, "one").get("gate.trades") == 38


# --- what belongs to files ------------------------------------------------------------------------


def test_tests_never_reach_the_cluster(filled: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMSTORE_BACKEND", filled.place.url)
    monkeypatch.setenv("PARAMSTORE_MIRROR", str(filled.folder / "one"))
    params.reset()
    try:
        assert params.get("gate.trades") == 30
        with isolated(tmp_path / "copy") as copy:
            with copy.transaction(author="test") as tx:
                tx["gate.trades"] = 99
            assert copy.get("gate.trades") == 99
        assert params.get("gate.trades") == 30
    finally:
        params.reset()


@pytest.mark.parametrize("words", [["commit"], ["git", "install"], ["check", "--fix"]])
def test_commands_for_files_say_that_they_are(
    filled: Shop, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PARAM")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PARAMSTORE_BACKEND", filled.place.url)
    monkeypatch.setenv("PARAMSTORE_MIRROR", str(filled.folder / "one"))
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2 and "the values live in etcd://" in result.output


def test_the_settings_of_a_cluster_are_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "params").mkdir()
    (tmp_path / "schemas").mkdir()
    (tmp_path / "paramstore.toml").write_text('backend = "etcd://elsewhere/x"\n')
    with pytest.raises(SettingsError, match=r"`backend` is set in the environment \(PARAMSTORE_BACKEND=…\)"):
        ParamStore(tmp_path, environ={}).get("gate.trades")


def test_a_mirror_is_of_one_store(shop: Shop, cluster: Cluster, tmp_path: Path) -> None:
    shop.fill(SCHEMAS, VALUES)
    step(store(shop), 40)
    other = Shop(cluster, tmp_path)  # on the same server, in the same directory
    other.fill(SCHEMAS, VALUES)
    with pytest.raises(SettingsError, match=r"is the mirror of another store .* Nothing was opened"):
        store(other).get("gate.trades")
    assert store(shop).get("gate.trades") == 40
    other.close()
