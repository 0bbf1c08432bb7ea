"""Tools for tests: the contract that every backend keeps, stores in memory, and the default store on a copy.

A backend of your own passes by subclassing ``BackendContract`` in a pytest file::

    import pytest
    from paramstore.testing import BackendContract

    class TestMyBackend(BackendContract):
        def make_backend(self, schemas, values):
            return MyBackend(fresh_place(), schemas, values)

        def another_view(self, backend):
            return MyBackend(backend.place)

For tests of strategy code there are fixtures, markers and options of a pytest plugin (docs/testing.md). ``isolated`` is
what they are made of, for other test frameworks::

    with isolated(folder) as params:  # the default store, on a copy of its files
        ...

Importing this module does not import pytest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paramstore._backends.memory import MemoryBackend
from paramstore._clock import SYSTEM, Clock
from paramstore._contract import SCHEMAS, VALUES, CommitContract, Json, Refusal, refused
from paramstore._contract_past import PastContract
from paramstore._isolated import isolated
from paramstore._store import ParamStore

__all__ = [
    "SCHEMAS", "VALUES", "BackendContract", "ManualClock", "Refusal", "isolated", "memory_store", "refused",
]  # fmt: skip


class ManualClock(Clock):
    """A clock that a test turns: ``ParamStore(root, clock=ManualClock())``. It begins at ``now`` (seconds since 1970)."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._uptime = 1000.0
        self._boots = 0

    def now(self) -> float:
        return self._now

    def uptime(self) -> tuple[str, float]:
        return f"boot{self._boots}", self._uptime

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self._now += seconds
        self._uptime += seconds

    def set_back(self, seconds: float) -> None:
        """Set the wall clock back (negative: forward), as an administrator does, or a time server."""
        self._now -= seconds

    def reboot(self) -> None:
        """Start the machine anew: the uptime of before means nothing any more."""
        self._boots += 1
        self._uptime = 0.0


def memory_store(
    schemas: Mapping[str, Json], values: Mapping[str, Any] | None = None, clock: Clock = SYSTEM
) -> ParamStore:
    """Return a store that lives in this process only; ``values`` as in values files, else the defaults.

    Raises ``SchemaError`` or ``DocumentError`` for wrong input. Environment variables do not reach it.
    """
    return ParamStore(backend=MemoryBackend(schemas, values, clock), environ={})


class BackendContract(CommitContract, PastContract):
    """The promises of a backend, one test each. Subclass it and give the two hooks, ``make_backend`` and
    ``another_view``."""
