"""The backend in etcd keeps the contract of ``paramstore.testing``, on a real server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from etcd_servers import Shop

from paramstore._backends.etcd import EtcdBackend
from paramstore.testing import BackendContract


class TestEtcd(BackendContract):
    """Two views are two processes of one machine."""

    other = "one"

    @pytest.fixture(autouse=True)
    def _place(self, shop: Shop) -> None:
        self.shop = shop

    def make_backend(self, schemas: Mapping[str, Any], values: Mapping[str, Any]) -> EtcdBackend:
        self.shop.fill(schemas, values)
        return self.shop.backend()

    def another_view(self, backend: Any) -> EtcdBackend:
        return self.shop.backend(self.other)
