"""The wires between machines and members, and how they are cut: bytes stop and nobody is told.

A machine reaches the cluster by relays of its own (``Wires``); each member is in a network namespace of its own where that
is permitted (``Net``), so that it can be cut off from the others as well.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from etcd_servers import free_ports
from processes import Shared

UP, DOWN = 1, 2  # to the cluster, and back
SPACE = "HISTORIES_SPACE"  # set where this program runs in a network namespace of its own
BRIDGE = "members"


class Wires:
    """Relays from ``machines`` to ``targets`` (``host:port``). In ``shared`` stand, from ``first`` on, for each machine: which
    ways are cut, and how many times its old connections were forgotten."""

    def __init__(self, machines: int, targets: Sequence[str], shared: Shared, first: int) -> None:
        ports = free_ports(machines * len(targets))
        self._targets = targets
        self._shared = shared
        self._first = first
        self.ports = [ports[m * len(targets) : (m + 1) * len(targets)] for m in range(machines)]

    def url(self, machine: int, prefix: str) -> str:
        return f"etcd://{','.join(f'127.0.0.1:{port}' for port in self.ports[machine])}/{prefix}"

    def cut(self, machine: int, ways: int) -> None:
        self._shared[self._first + 2 * machine] = ways

    def mend(self, machine: int, forget: bool = False) -> None:
        """Let bytes through again; ``forget``: but not on the connections that there are, which stay silent for ever."""
        if forget:
            self._shared[self._first + 2 * machine + 1] += 1
        self.cut(machine, 0)

    def run(self) -> None:
        """Relay until the process that started this one is gone."""
        asyncio.run(self._relay())

    async def _relay(self) -> None:
        parent = os.getppid()
        for machine, ports in enumerate(self.ports):
            for port, target in zip(ports, self._targets, strict=True):
                await self._listen(machine, port, target)
        while os.getppid() == parent:
            await asyncio.sleep(0.5)

    async def _listen(self, machine: int, port: int, target: str) -> None:
        host, _, number = target.partition(":")

        async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            born = self._age(machine)
            with suppress(OSError):
                there = await asyncio.open_connection(host, int(number))
                await asyncio.gather(
                    self._pump(machine, UP, born, reader, there[1]),
                    self._pump(machine, DOWN, born, there[0], writer),
                )
            writer.close()

        await asyncio.start_server(joined, "127.0.0.1", port)

    def _age(self, machine: int) -> int:
        return self._shared[self._first + 2 * machine + 1]

    async def _pump(
        self, machine: int, way: int, born: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while True:
                raw = await reader.read(65536)
                while (
                    self._shared[self._first + 2 * machine] & way
                ):  # as a network that is away: nothing is told
                    await asyncio.sleep(0.01)
                if self._age(machine) != born:
                    if not raw:
                        break
                    continue
                if not raw:
                    break
                writer.write(raw)
                await writer.drain()
        with suppress(OSError):
            writer.close()


class Net:
    """``size`` network namespaces on one bridge. Only for a program that ``alone`` put into a namespace of its own."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._holders: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Net:
        _ip(f"link add {BRIDGE} type bridge")
        _ip(f"addr add 10.9.0.254/24 dev {BRIDGE}")
        _ip(f"link set {BRIDGE} up")
        for number in range(self._size):
            holder = subprocess.Popen(["unshare", "-n", "sleep", "86400"])
            self._holders.append(holder)
            self._join(number, holder.pid)
        return self

    def _join(self, number: int, pid: int) -> None:
        own = f"/proc/{os.getpid()}/ns/net"
        deadline = time.monotonic() + 5
        while os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat(own).st_ino:
            assert time.monotonic() < deadline, "no namespace came to be"
            time.sleep(0.005)
        _ip(f"link add wire{number} type veth peer name eth0 netns {pid}")
        _ip(f"link set wire{number} master {BRIDGE} up")
        for words in (f"addr add 10.9.0.{number + 1}/24 dev eth0", "link set eth0 up", "link set lo up"):
            subprocess.run([*self._within(pid), "ip", *words.split()], check=True)

    def __exit__(self, *_: object) -> None:
        for holder in self._holders:
            holder.kill()
            holder.wait()

    @staticmethod
    def _within(pid: int) -> list[str]:
        return ["nsenter", f"--net=/proc/{pid}/ns/net"]

    @property
    def hosts(self) -> list[tuple[str, Sequence[str]]]:
        return [(f"10.9.0.{n + 1}", self._within(h.pid)) for n, h in enumerate(self._holders)]

    def cut(self, number: int) -> None:
        _ip(f"link set wire{number} nomaster")

    def mend(self, number: int) -> None:
        _ip(f"link set wire{number} master {BRIDGE}")


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def why_no_spaces() -> str:
    """Return why network namespaces cannot be used here, or nothing."""
    for name in ("ip", "unshare", "nsenter"):
        if shutil.which(name) is None:
            return f"{name} is not installed (Debian: iproute2, util-linux)"
    tried = subprocess.run(
        ["unshare", "-n", "ip", "link", "add", "x", "type", "bridge"], capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else "network namespaces are not permitted here"


def alone() -> bool:
    """Go on in a network namespace of this program's own, which is gone when it ends; tell whether that is so now."""
    if os.environ.get(SPACE):
        _ip("link set lo up")
        return True
    if not why_no_spaces():
        os.execvpe("unshare", ["unshare", "-n", sys.executable, *sys.argv], {**os.environ, SPACE: "1"})
    return False
