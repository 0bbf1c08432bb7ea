"""This machine's mirror of a cluster, as a command that looks at a store finds it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from paramstore._clock import span_text
from paramstore._options import BACKEND
from paramstore.errors import SettingsError

if TYPE_CHECKING:
    from paramstore._backends.etcd import EtcdBackend
    from paramstore._store import ParamStore


class Looked(NamedTuple):
    """What was found of a mirror: ``age_s`` since it was in step, ``None``: never; and why it is not now."""

    url: str
    root: str
    age_s: float | None
    problem: str

    @property
    def text(self) -> str:
        """What was looked at, in a sentence."""
        age = self.age_s
        when = (
            "never in step"
            if age is None
            else f"in step {span_text(age)} ago"
            if age >= 1
            else "in step just now"
        )
        seen = f"what is said here is of its mirror in {self.root}, {when}"
        return f"{self.problem.rstrip('.')}. {seen[0].upper()}{seen[1:]}" if self.problem else seen


def looked(store: ParamStore) -> Looked | None:
    """Bring the mirror of a store in step, as far as the cluster answers, and say how it stands; ``None`` for one in files.

    Raises ``UnreachableError`` and ``StoreNotFoundError`` where there is no mirror.
    """
    if store.options.backend is None:
        return None
    backend = cluster_of(store)
    try:
        problem = backend.look()
        return Looked(backend.place.url, backend.root, backend.signs.age_s(), problem)
    finally:
        backend.close()


def cluster_of(store: ParamStore) -> EtcdBackend:
    """Return a backend of its own for the cluster that a store lives in. Raises ``SettingsError`` for one in files."""
    from paramstore._backends.etcd import open_backend

    if store.options.backend is None:
        if os.environ.get(BACKEND):
            raise SettingsError(
                "--root names a store in files: leave it out to mean PARAMSTORE_BACKEND. Nothing was done."
            )
        raise SettingsError(
            "PARAMSTORE_BACKEND names no cluster: set it to etcd://host1:2379,host2:2379/prefix. Nothing was done."
        )
    return open_backend(store.options, os.environ)
