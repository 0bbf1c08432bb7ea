"""One real etcd server for the tests of a process; each test has a prefix of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from etcd_servers import BINARY, Cluster, Shop

LONGEST = (
    "test_etcd_histories.py",
    "test_etcd_herd.py",
)  # begun first, so that no processor waits for them at the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if all(Path(__file__).parent in item.path.parents for item in items):
        items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.etcd)
            if BINARY is None:
                item.add_marker(pytest.mark.skip(reason="etcd is not installed (Debian: etcd-server)"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        yield made


@pytest.fixture
def shop(cluster: Cluster, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(cluster, tmp_path)
    yield made
    made.close()
