"""A real etcd server with authentication on, a store in it with its roles, and users who have them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from etcd_servers import Cluster
from local_store import number, schema, write_store

from paramstore import ParamStore
from paramstore._etcd_client import Client, Guard, Range
from paramstore._etcd_messages import MESSAGES
from paramstore._etcd_place import Credentials, Place, parse
from paramstore.cli import cli

NAMESPACES = "edge", "risk"
FAST = "--bcrypt-cost", "4"  # a login in a millisecond
ROOT = "root"
PASSWORD = "of-{}"


class Guarded(Cluster):
    """A cluster in which a user must log in; its own client is root."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        super().__init__(options=[*FAST, *options])

    def __enter__(self) -> Guarded:
        try:
            super().__enter__()
            self._guard()
        except BaseException:
            super().__exit__()  # nobody else stops what was started
            raise
        return self

    def _guard(self) -> None:
        self.open = Client(Credentials(self.endpoints))
        self.add_user(ROOT, self.open)
        ask(self.open, "RoleAdd", name=ROOT)
        self.grant(ROOT, ROOT, self.open)
        ask(self.open, "AuthEnable")
        self.root = self.client()

    def __exit__(self, *args: object) -> None:
        self.root.close()
        self.open.close()
        super().__exit__(*args)

    def add_user(self, name: str, by: Client | None = None) -> None:
        ask(by or self.root, "UserAdd", name=name, password=PASSWORD.format(name))

    def grant(self, user: str, role: str, by: Client | None = None) -> None:
        ask(by or self.root, "UserGrantRole", user=user, role=role)

    def client(self, user: str = ROOT) -> Client:
        return Client(Credentials(self.endpoints, user=user, password=PASSWORD.format(user)))


class Office:
    """A store with the namespaces ``edge`` and ``risk`` (each has ``level`` at 1.0 and ``size`` at 2.0), its roles, and users named
    after them."""

    def __init__(self, cluster: Guarded, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.place: Place = parse(cluster.url(self.name))
        self._stores: list[ParamStore] = []
        self._clients: list[Client] = []
        properties = {"level": number(1.0), "size": number(2.0)}
        source = write_store(
            folder / "source",
            {name: schema(properties) for name in NAMESPACES},
            {name: {"schema": 1, "values": {"level": 1.0, "size": 2.0}} for name in NAMESPACES},
        )
        puts = [
            (self.place.schema(name), read(source, "schemas", f"{name}.schema.json")) for name in NAMESPACES
        ]
        puts += [(self.place.values(name), read(source, "params", f"{name}.yaml")) for name in NAMESPACES]
        cluster.root.write([], puts, [], [], 5.0)

    # -- people -----------------------------------------------------------------------------------

    def roles(self, *args: str, kind: str = ROOT, **more: str) -> Result:
        return CliRunner().invoke(cli, ["etcd", "roles", *args], env={**self.environ(kind), **more})

    def hire(self, *kinds: str) -> None:
        """Make the roles, and a user for each kind (``reader``, ``learner-edge``, …) who has it."""
        done = self.roles("--json")
        assert done.exit_code == 0, done.output
        for kind in kinds:
            self.cluster.add_user(self.user(kind))
            self.cluster.grant(self.user(kind), f"{self.name}-{kind}")

    def user(self, kind: str) -> str:
        return kind if kind == ROOT else f"{self.name}-a-{kind}"

    def environ(self, kind: str, machine: str = "") -> dict[str, str]:
        return {
            "PARAMSTORE_BACKEND": self.place.url,
            "PARAMSTORE_MIRROR": str(self.folder / (machine or f"of-{kind}")),
            "PARAMSTORE_ETCD_USER": self.user(kind),
            "PARAMSTORE_ETCD_PASSWORD": PASSWORD.format(self.user(kind)),
            "PARAMSTORE_ETCD_CHECK_S": "0.5",
        }

    def store(self, kind: str, machine: str = "", **more: str) -> ParamStore:
        """Return the store as a user sees it, by default on a machine of the user's own."""
        self._stores.append(ParamStore(environ={**self.environ(kind, machine), **more}))
        return self._stores[-1]

    def client(self, kind: str) -> Client:
        """Return the raw client of a user, who may do with it whatever the cluster lets one do."""
        self._clients.append(self.cluster.client(self.user(kind)))
        return self._clients[-1]

    # -- what stands ------------------------------------------------------------------------------

    def standing(self) -> dict[bytes, tuple[bytes, int]]:
        """Return all keys with value and revision, but for locks."""
        _, (answer,) = self.cluster.root.read([Range(*self.place.below())], 5.0)
        return {
            kv.key: (kv.value, kv.modified)
            for kv in answer.found
            if not kv.key.startswith(self.place.lock + b"/")
        }

    def lines(self) -> dict[bytes, bytes]:
        return {key: value for key, (value, _) in self.standing().items() if b"/journal/" in key}

    def head(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.standing()[self.place.head][0])
        return found

    def close(self) -> None:
        for store in self._stores:
            store.reopen()
        for client in self._clients:
            client.close()


def ask(client: Client, method: str, **fields: Any) -> Any:
    message = method if method == "AuthEnable" else f"Auth{method}"
    return client.call(method, MESSAGES[f"{message}Request"](**fields), 5.0)


def read(source: Path, *names: str) -> bytes:
    return source.joinpath(*names).read_bytes()


def set_value(store: ParamStore, key: str, value: float) -> int:
    """Commit one value and return the revision."""
    with store.transaction(author="somebody", reason="a test") as tx:
        tx.set(key, value)
    return tx.commit_result.revision


def until(happened: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def put(client: Client, *pairs: tuple[bytes, bytes], guards: Sequence[Guard] = ()) -> None:
    """Write past all that is ours, as a rogue's own client does."""
    assert client.write(guards, pairs, [], [], 5.0)[0]


__all__ = ["NAMESPACES", "PASSWORD", "ROOT", "Guarded", "Office", "ask", "put", "set_value", "until"]
