"""Real etcd servers on loopback, for tests: started here, and exactly these stopped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from local_store import write_store
from plainstore import fast_folder

from paramstore._backends.etcd import EtcdBackend
from paramstore._etcd_client import Client
from paramstore._etcd_messages import MESSAGES
from paramstore._etcd_place import Credentials, Place, parse
from paramstore._options import Options

# an environment's own may be unsafe, as that of the tests is on purpose
OTHERS = os.pathsep.join(
    folder
    for folder in os.environ.get("PATH", "").split(os.pathsep)
    if not os.path.exists(os.path.join(folder, os.pardir, "pyvenv.cfg"))
)
BINARY = os.environ.get("ETCD_BINARY") or shutil.which("etcd", path=OTHERS)
START_S = 30.0


class Server:
    """One member, in a directory of its own. ``peers`` are name and peer address of all members of its cluster, ``within``
    is a command that starts another in a network namespace."""

    def __init__(
        self, name: str, folder: Path, client: int, peers: dict[str, str], options: Sequence[str] = (), within: Sequence[str] = ()
    ) -> None:  # fmt: skip
        self.name = name
        self.folder = folder
        self.client = client
        self._peers = peers
        self._options = list(options)
        self._within = list(within)
        self.binary = BINARY
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"{self._peers[self.name].partition(':')[0]}:{self.client}"

    def start(self) -> None:
        assert self.binary is not None and self._process is None
        peer = f"http://{self._peers[self.name]}"
        scheme = "https" if any("cert-file" in option for option in self._options) else "http"
        own = f"{scheme}://{self.endpoint}"
        cluster = ",".join(f"{name}=http://{address}" for name, address in self._peers.items())
        command = [
            *self._within, self.binary, "--name", self.name, "--data-dir", str(self.folder / self.name), "--logger", "zap", "--log-level", "error",
            "--listen-client-urls", own, "--advertise-client-urls", own, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster, "--heartbeat-interval", "50",
            "--election-timeout", "500", *self._options,
        ]  # fmt: skip
        with (self.folder / f"{self.name}.log").open("ab") as log:
            environ = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it, by default as a crash does."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
                self._process.send_signal(number)
            self._process.wait(timeout=START_S)
            self._process = None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None


class Cluster:
    """``size`` members. ``options`` are more arguments of etcd; ``hosts`` has the address of each member and what starts a
    command there, on loopback if there are none."""

    def __init__(
        self, size: int = 1, options: Sequence[str] = (), folder: Path | None = None,
        hosts: Sequence[tuple[str, Sequence[str]]] = (),
    ) -> None:  # fmt: skip
        self.folder = folder or fast_folder()
        ports = free_ports(2 * size)
        hosts = hosts or [("127.0.0.1", ())] * size
        peers = {f"m{n}": f"{hosts[n][0]}:{ports[size + n]}" for n in range(size)}
        self.servers = [
            Server(f"m{n}", self.folder, ports[n], peers, options, hosts[n][1]) for n in range(size)
        ]

    def __enter__(self) -> Cluster:
        try:
            for server in self.servers:
                server.start()
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(server.endpoint for server in self.servers)

    def url(self, prefix: str) -> str:
        return f"etcd://{','.join(self.endpoints)}/{prefix}"

    def client(self) -> Client:
        return Client(Credentials(self.endpoints))

    def wait(self) -> None:
        """Wait until every member that runs answers and has a leader."""
        for server in self.servers:
            if server.runs:
                self._wait_for(server)

    def _wait_for(self, server: Server) -> None:
        deadline = time.monotonic() + START_S
        while True:
            channel = grpc.insecure_channel(server.endpoint)
            try:
                if leader_of(channel):
                    return
            except grpc.RpcError:
                assert server.runs, (self.folder / f"{server.name}.log").read_text()[-2000:]
            finally:
                channel.close()
            assert time.monotonic() < deadline, f"{server.name} does not answer"
            time.sleep(0.05)

    def leader(self) -> Server:
        """Return the member that leads."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            for server in self.servers:
                channel = grpc.insecure_channel(server.endpoint)
                with suppress(grpc.RpcError):
                    if server.runs and leader_of(channel) == member_of(channel):
                        return server
                channel.close()
            time.sleep(0.05)
        raise AssertionError("nobody leads")


class Shop:
    """A place in the cluster, and backends on it, each on a machine of its own or sharing one."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.place: Place = parse(cluster.url(f"test/{uuid.uuid4().hex}"))
        self._made: list[EtcdBackend] = []

    def fill(self, schemas: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Put files there as a store that nobody committed to yet."""
        source = write_store(self.folder / f"source{uuid.uuid4().hex[:6]}", schemas, values)
        puts = [
            (self.place.schema(p.name.partition(".")[0]), p.read_bytes())
            for p in (source / "schemas").iterdir()
        ]
        puts += [(self.place.values(p.stem), p.read_bytes()) for p in (source / "params").iterdir()]
        client = self.cluster.client()
        for start in range(0, len(puts), 100):  # no more fit into one transaction
            client.write([], puts[start : start + 100], [], [], 5.0)
        client.close()

    def backend(self, machine: str = "one", **settings: Any) -> EtcdBackend:
        made = EtcdBackend(
            self.place, Credentials(self.place.endpoints), str(self.folder / machine), Options(), **settings
        )
        self._made.append(made)
        return made

    def close(self) -> None:
        for backend in self._made:
            backend.close()


def leader_of(channel: grpc.Channel) -> int:
    return int(_status(channel).leader)


def member_of(channel: grpc.Channel) -> int:
    return int(_status(channel).header.member_id)


def _status(channel: grpc.Channel) -> Any:
    call = channel.unary_unary(
        "/etcdserverpb.Maintenance/Status",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=MESSAGES["StatusResponse"].FromString,
    )
    return call(MESSAGES["StatusRequest"](), timeout=1.0)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody uses, below those that the system gives to connections."""
    held = []
    try:
        for _ in range(count):
            held.append(socket.socket())
            held[-1].bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
