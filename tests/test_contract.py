"""Every backend that is shipped keeps the contract of ``paramstore.testing``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from local_store import write_store

from paramstore._backends.local import LocalBackend
from paramstore._backends.memory import MemoryBackend
from paramstore._options import Options
from paramstore.testing import BackendContract


class TestMemory(BackendContract):
    def make_backend(self, schemas: Mapping[str, Any], values: Mapping[str, Any]) -> MemoryBackend:
        return MemoryBackend(schemas, values)

    def another_view(self, backend: Any) -> MemoryBackend:
        assert isinstance(backend, MemoryBackend)
        return backend


class TestLocal(BackendContract):
    options = Options()

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.root = tmp_path

    def make_backend(self, schemas: Mapping[str, Any], values: Mapping[str, Any]) -> LocalBackend:
        write_store(self.root, schemas, values)
        return LocalBackend(str(self.root), self.options)

    def another_view(self, backend: Any) -> LocalBackend:
        return LocalBackend(backend.root, self.options)


class TestLocalWithOneJournalFile(TestLocal):
    options = Options(journal="logs/learning_audit.jsonl")


class TestLocalWithManySegments(TestLocal):
    @pytest.fixture(autouse=True)
    def _short_segments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("paramstore._journal.SEGMENT_BYTES", 1500)
