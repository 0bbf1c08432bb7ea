"""Commands where PARAMSTORE_BACKEND is set: which store they mean, and what those that tend one say of a mirror."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from etcd_servers import Cluster, Shop
from git_store import GitStore
from guarded import until

from paramstore import ParamStore
from paramstore.cli import cli
from paramstore.testing import SCHEMAS, VALUES

NOWHERE = "etcd://127.0.0.1:1/x"  # nobody answers there
AWAY = {"PARAMSTORE_BACKEND": NOWHERE}


def environ(**named: str) -> dict[str, str]:
    return {f"PARAMSTORE_{name}": text for name, text in named.items()}


def run(*words: str, status: int = 0, env: Mapping[str, str] = AWAY) -> Result:
    result = CliRunner().invoke(cli, words, env=env, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


# --- a root that is named -------------------------------------------------------------------------


def test_a_root_that_is_named_goes_before_the_backend(tmp_path: Path) -> None:
    repo = GitStore.made(tmp_path / "bot", installed=False)
    root = "--root", str(repo.root)
    run(*root, "git", "install")
    run(*root, "set", "win_rate.floor", "0.41", "--reason", "a test", "--force")
    run(*root, "check", "--fix", env=environ(BACKEND=NOWHERE, ETCD_CHECK_S="1"))
    assert "win_rate.floor 0.4 -> 0.41" in run(*root, "commit").output
    store = ParamStore(repo.root, environ={**AWAY, "PARAMSTORE_MIRROR": "m"})
    assert store.get("win_rate.floor") == 0.41
    assert (store.options.backend, store.options.mirror) == (None, None)


def test_a_namespace_begins_in_files_that_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("init", "--namespace", "exit_rules", status=2).output
    assert f"the values live in {NOWHERE}" in said and "`paramstore init DIR --namespace exit_rules`" in said
    assert list(tmp_path.iterdir()) == []
    made = tmp_path / "made"
    run("init", str(made), "--namespace", "exit_rules")
    run("--root", str(made), "init", "--namespace", "other")
    assert {path.name for path in made.glob("params/*")} == {"exit_rules.yaml", "other.yaml"}


# --- check and doctor -----------------------------------------------------------------------------


def test_check_and_doctor_say_what_they_looked_at(shop: Shop) -> None:
    shop.fill(SCHEMAS, VALUES)
    folder = str(shop.folder / "new")
    env = environ(BACKEND=shop.place.url, MIRROR=folder)
    said = run("check", env=env).output
    assert (
        f"information: {shop.place.url}: what is said here is of its mirror in {folder}, in step just now"
        in said
    )
    assert said.endswith("everything is in order\n")
    assert f"information: {shop.place.url}: what is said" in run("doctor", env=env).output
    mirror = json.loads(run("doctor", "--json", env=env).output)["mirror"]
    assert (mirror["url"], mirror["root"], mirror["problem"]) == (shop.place.url, folder, "")
    assert mirror["age_s"] < 5.0


@pytest.mark.parametrize("followed", [False, True])
def test_an_outage_is_a_finding(tmp_path: Path, followed: bool) -> None:
    """Whether the command asks by itself, or another process keeps the mirror in step."""
    with Cluster() as cluster:
        shop = Shop(cluster, tmp_path)
        shop.fill(SCHEMAS, VALUES)
        folder = str(shop.folder / "one")
        env = environ(BACKEND=shop.place.url, MIRROR=folder, ETCD_CHECK_S="0.2")
        store = ParamStore(environ=env)
        assert store.get("gate.trades") == 30
        if not followed:
            store.reopen()
        cluster.servers[0].stop()
        if followed:
            until(lambda: not store.health.ok)
        said = run("check", status=1, env=env).output
        assert f"{shop.place.url}: " in said and said.endswith("1 finding\n")
        assert ("has not answered" if followed else "did not answer") in said
        assert f". What is said here is of its mirror in {folder}, in step " in said
        assert not json.loads(run("check", "--json", status=1, env=env).output)["ok"]
        told = json.loads(run("doctor", "--json", status=1, env=env).output)
        assert not told["ok"] and "answer" in told["mirror"]["problem"]
        said = run("doctor", status=1, env=env).output
        assert "What is said here" in said and said.endswith("1 finding\n")
        store.reopen()
        shop.close()


def test_without_a_mirror_there_is_nothing_to_check(tmp_path: Path) -> None:
    said = run("check", status=1, env={**AWAY, "PARAMSTORE_MIRROR": str(tmp_path / "m")}).output
    assert "did not answer" in said


# --- without the extra ----------------------------------------------------------------------------

LACKING = "import sys; sys.modules['grpc'] = None; from paramstore.cli import main; sys.exit(main())"


def test_without_the_extra_it_says_what_to_install(shop: Shop, tmp_path: Path) -> None:
    repo = GitStore.made(tmp_path / "bot", installed=False)
    shop.fill(SCHEMAS, VALUES)
    backend = shop.backend("one")
    assert ParamStore(backend=backend, environ={}).get("gate.trades") == 30  # and it goes on following
    env = os.environ | environ(BACKEND=shop.place.url, MIRROR=backend.root)

    def lacking(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-c", LACKING, *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    assert lacking("get", "gate.trades") == (0, "30\n")
    for words in (
        ("set", "gate.trades", "31", "--force", "--reason", "x"),
        ("copy", str(repo.root), f"{shop.place.url}/copy"),
        ("mirror", str(repo.root), "--branch", "main", "--once"),
        ("etcd", "roles"),
    ):
        status, said = lacking(*words)
        assert status == 1 and "Traceback" not in said and "install 'paramstore[etcd]'" in said, said
