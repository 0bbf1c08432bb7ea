"""Moving a store into a cluster and back: all of it, its past included, and never half."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from etcd_servers import Shop
from local_store import write_store

from paramstore import ParamStore, _copy
from paramstore._backends.local import LocalBackend
from paramstore._options import Options
from paramstore.cli import cli
from paramstore.errors import ConflictError, StoreNotFoundError, WriteError
from paramstore.testing import SCHEMAS, VALUES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store in files with some past: commits, a freeze, a refusal, an edit by hand."""
    made = write_store(tmp_path / "source", SCHEMAS, VALUES)
    store = ParamStore(made, environ={})
    for value in range(31, 61):
        with store.transaction(author="learner", reason="a step", evidence={"samples": value}) as tx:
            tx["gate.trades"] = value
    store.freeze("gate.on", author="me", reason="wait")
    with pytest.raises(ValueError, match="frozen"), store.transaction(author="learner") as tx:
        tx["gate.on"] = False
    store.unfreeze("gate.on", author="me", reason="enough")
    path = made / "params" / "gate.yaml"
    path.write_text(path.read_text() + "# by hand\n")
    store.rollback(to=5, author="me", reason="better then")
    return made


def run(*words: str, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["copy", *words], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


def state(root: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("[ps]*/*.*"))}
    journal = b"".join(path.read_bytes() for path in sorted((root / "params/journal").glob("*.jsonl")))
    return {**found, "journal": journal}


def test_there_and_back_again_is_the_same_store(shop: Shop, root: Path, tmp_path: Path) -> None:
    there = json.loads(run(str(root), shop.place.url, "--json").stdout)
    assert (there["namespaces"], there["there"], there["dry_run"]) == (len(SCHEMAS), 0, False)
    far = ParamStore(backend=shop.backend(), environ={})
    near = ParamStore(root, environ={})
    assert [entry.id for entry in far.history()] == [entry.id for entry in near.history()]
    assert far.as_of(7)["gate.trades"] == near.as_of(7)["gate.trades"]
    assert far.revision == near.revision
    back = json.loads(run(shop.place.url, str(tmp_path / "back"), "--json").stdout)
    assert back["digest"] == there["digest"]
    assert state(tmp_path / "back") == state(root)
    with far.transaction(author="learner") as tx:  # and it goes on from there
        tx["gate.trades"] = 99
    assert far.revision == near.revision + 1


def test_a_dry_run_writes_nothing(shop: Shop, root: Path, tmp_path: Path) -> None:
    assert run(str(root), shop.place.url, "--dry-run").stdout.startswith("would copy 2 namespaces")
    client = shop.cluster.client()
    from paramstore._etcd_client import Range

    _, (answer,) = client.read([Range(*shop.place.below())], 5.0)
    assert answer.total == 0
    run(str(root), shop.place.url)
    run(shop.place.url, str(tmp_path / "back"), "--dry-run")
    assert not (tmp_path / "back").exists()


def test_what_is_there_already_stays(shop: Shop, root: Path) -> None:
    run(str(root), shop.place.url)
    far = ParamStore(backend=shop.backend(), environ={})
    with far.transaction(author="learner") as tx:
        tx["gate.trades"] = 98
    assert "holds a store already" in run(str(root), shop.place.url, status=1).output
    assert "is not empty" in run(shop.place.url, str(root), status=1).output
    assert far.get("gate.trades") == 98


def test_no_store_lies_within_another(shop: Shop, root: Path) -> None:
    outer, inner = shop.place.url, f"{shop.place.url}/values/b"
    run(str(root), outer)
    for words in ([str(root), inner], [str(root), inner, "--dry-run"]):
        said = run(*words, status=1).output
        assert f"lies within the store at {outer} ({shop.place.prefix}head stands there)" in said
        assert "Nothing was written" in said
    assert ParamStore(backend=shop.backend(), environ={}).get("gate.trades") == 35


def test_no_store_lies_around_another(shop: Shop, root: Path) -> None:
    outer, inner = shop.place.url, f"{shop.place.url}/b/c"
    run(str(root), inner)
    said = run(str(root), outer, status=1).output
    assert f"Within {outer} stands {shop.place.prefix}b/c/head" in said and "Nothing was written" in said
    assert "holds a store already" in run(str(root), inner, status=1).output


def test_what_is_not_whole_is_in_the_way_as_well(shop: Shop, root: Path) -> None:
    client = shop.cluster.client()
    client.write([], [(shop.place.copying, b"of another")], [], [], 5.0)
    assert (
        f"({shop.place.prefix}copying stands there)" in run(str(root), f"{shop.place.url}/b", status=1).output
    )
    client.close()


def test_two_directories_or_two_clusters_are_refused(root: Path) -> None:
    assert "cp -a" in run(str(root), "elsewhere", status=1).output
    assert "no params/" in run("/nowhere", "etcd://localhost/x", status=2).output


def test_a_copy_that_was_killed_goes_on_and_until_then_nobody_reads_it(shop: Shop, root: Path) -> None:
    command = [sys.executable, "-m", "paramstore", "copy", str(root), shop.place.url]
    slow = "import time\nfrom paramstore import _copy\n_copy.PART = 2\n"
    slow += "_copy.Client = type('Slow', (_copy.Client,), {})\n"
    slow += (
        "import sys, os\n_copy.copy(sys.argv[1], sys.argv[2], os.environ, step=lambda: time.sleep(0.05))\n"
    )
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PARAM")}
    process = subprocess.Popen([sys.executable, "-c", slow, *command[-2:]], env=environ)
    client = shop.cluster.client()
    from paramstore._etcd_client import Range

    deadline = time.monotonic() + 20
    while client.read([Range(*shop.place.below("journal"))], 5.0)[1][0].total < 6:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(StoreNotFoundError, match="being copied"):
        ParamStore(backend=shop.backend(), environ={}).get("gate.trades")
    done = json.loads(run(str(root), shop.place.url, "--json").stdout)
    assert done["there"] >= 6
    assert ParamStore(backend=shop.backend(), environ={}).get("gate.trades") == 35


def test_another_store_does_not_go_on_with_an_unfinished_copy(shop: Shop, root: Path) -> None:
    client = shop.cluster.client()
    client.write([], [(shop.place.copying, b"of another")], [], [], 5.0)
    assert "Another copy" in run(str(root), shop.place.url, status=1).output


def test_what_was_changed_on_the_way_is_found(
    shop: Shop, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = _copy.write_cluster

    def tampered(image: _copy.Image, *rest: object) -> int:
        there = written(image, *rest)  # type: ignore[arg-type]
        shop.cluster.client().write([], [(shop.place.values("gate"), b"schema: 1\n")], [], [], 5.0)
        return there

    monkeypatch.setattr(_copy, "write_cluster", tampered)
    with pytest.raises(ConflictError, match="is not what was copied"):
        _copy.copy(str(root), shop.place.url, {})


def test_a_file_that_is_too_large_for_etcd_is_refused(shop: Shop, tmp_path: Path) -> None:
    made = write_store(tmp_path / "large", SCHEMAS, VALUES)
    path = made / "params" / "gate.yaml"
    path.write_text(path.read_text() + f"# {'x' * 100}\n" * 16_000)
    image = _copy.read_files(LocalBackend(str(made), Options()), 5.0)
    with pytest.raises(WriteError, match=r"gate\.yaml has 1,6.* bytes, and etcd takes at most"):
        _copy.write_cluster(image, shop.cluster.client(), shop.place, lambda: None)


@pytest.mark.parametrize("committed", [False, True])
def test_values_that_no_entry_records_come_back_as_they_stand(
    shop: Shop, tmp_path: Path, committed: bool
) -> None:
    shop.fill(SCHEMAS, VALUES)
    if committed:
        made = ParamStore(backend=shop.backend(), environ={})
        with made.transaction(author="learner") as tx:
            tx["gate.trades"] = 40
    key, client = shop.place.values("gate"), shop.cluster.client()
    from paramstore._etcd_client import Range

    text = client.read([Range(key)], 5.0)[1][0].found[0].value
    client.write([], [(key, text.replace(b"high: 0.5", b"high: 0.6"))], [], [], 5.0)
    run(shop.place.url, str(tmp_path / "back"))
    back = ParamStore(tmp_path / "back", environ={})
    assert back.get("gate.tiers.high") == 0.6
    with back.transaction(author="learner") as tx:
        tx["gate.trades"] = 41
    kinds = [entry.kind for entry in back.history()]
    assert kinds == (["external", "commit", "external", "commit"] if committed else ["external", "commit"])


def test_a_namespace_that_was_gone_at_the_copy_may_come_anew(shop: Shop, root: Path) -> None:
    """What its past stands under then is where only approvers write; a new machine must not take it for forged."""
    store = ParamStore(root, environ={})
    with pytest.raises(ValueError, match="maximum"), store.transaction(author="learner") as tx:
        tx["weights.a"] = 99.0
    kept = {
        file: (root / file).read_bytes() for file in ("schemas/weights.schema.json", "params/weights.yaml")
    }
    for file in kept:
        (root / file).unlink()
    run(str(root), shop.place.url)
    client = shop.cluster.client()
    client.write([], [(shop.place.file(file), raw) for file, raw in kept.items()], [], [], 5.0)
    client.close()
    far = ParamStore(backend=shop.backend(), environ={})
    assert far.get("weights.a") == 0.5
    assert [entry.kind for entry in far.history(refused=True)][-1] == "refusal"
