"""One real server under load, for ``benchmarks.etcd_scale``: stores in it, the bytes of calls, raw transactions and watchers."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from benchmarks.stores import AUTHOR, LEAF, _yaml, schema_of, values

if TYPE_CHECKING:
    from etcd_servers import Cluster

    from paramstore._etcd_client import Client

IN_PROCESS = 100  # watchers
PATIENCE_S = 20.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
CODE = """
import asyncio, sys, time
import grpc
from paramstore._etcd_client import _OPTIONS
from paramstore._etcd_messages import MESSAGES

endpoint, key, end, count = sys.argv[1], sys.argv[2].encode(), sys.argv[3].encode(), int(sys.argv[4])
create = MESSAGES["WatchRequest"]()
create.create_request.key, create.create_request.range_end = key, end
seen = {}

def came(number, raw):
    some = seen.setdefault(number, [0, 0])
    some[0] += 1
    some[1] += len(raw)
    if some[0] == count:
        print("ready" if number == 0 else f"{time.monotonic_ns()} {some[1]}", flush=True)
        del seen[number]

async def watch():
    async with grpc.aio.insecure_channel(endpoint, options=_OPTIONS) as channel:
        call = channel.stream_stream("/etcdserverpb.Watch/Watch")()
        await call.write(create.SerializeToString())
        number = 0
        while True:
            came(number, await call.read())
            number += 1

async def main():
    await asyncio.gather(*(watch() for _ in range(count)))

asyncio.run(main())
"""


class Bench:
    """One server, and prefixes in it for stores."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.client = cluster.client()
        self._count = 0

    def place(self) -> str:
        self._count += 1
        return f"bench{self._count}"

    def environ(self, name: str, machine: str = "one") -> dict[str, str]:
        kept = {key: text for key, text in os.environ.items() if not key.startswith("PARAM")}
        folder = self.folder / f"{name}-{machine}"
        return {**kept, "PARAMSTORE_BACKEND": self.cluster.url(name), "PARAMSTORE_MIRROR": str(folder)}

    def fill(self, sizes: Mapping[str, int]) -> str:
        """Put a store with these namespaces and one commit there; return its prefix."""
        from paramstore import ParamStore, _copy

        name = self.place()
        root = self.folder / f"{name}-source"
        for folder in ("schemas", "params"):
            (root / folder).mkdir(parents=True)
        for namespace, count in sizes.items():
            (root / "schemas" / f"{namespace}.schema.json").write_bytes(short_schema(count))
            text = _yaml(count).replace("bench.schema", f"{namespace}.schema")
            (root / "params" / f"{namespace}.yaml").write_text(text, encoding="ascii")
        with ParamStore(str(root), environ={}).transaction(
            author=AUTHOR, force=True, reason="benchmark"
        ) as tx:
            tx[f"{next(iter(sizes))}.{LEAF}"] = 0.51
        _copy.copy(str(root), self.cluster.url(name), {})
        return name

    def cpu_s(self) -> float:
        """The server's time on all processors since it began."""
        process = self.cluster.servers[0]._process
        assert process is not None
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S


def short_schema(count: int) -> bytes:
    """Bounds and a default for each parameter, and nothing else: with descriptions and limits, 10,000 do not fit into one key."""
    bounds = {"type": "number", "minimum": 0.01, "maximum": 0.99}
    group = {name: {**bounds, "default": value} for name, value in values(count).items()}
    schema = schema_of({"type": "object", "additionalProperties": False, "properties": group})
    return json.dumps(schema, separators=(",", ":")).encode()


class Raw:
    """The same bytes as a commit, as one guarded transaction of etcd and nothing else."""

    def __init__(self, bench: Bench, puts: Sequence[tuple[bytes, bytes]]) -> None:
        self._client = bench.client
        self.prefix = f"/{bench.place()}/".encode()
        self.puts = [(self.prefix + key.partition(b"/")[2].partition(b"/")[2], raw) for key, raw in puts]
        self.at = 0

    @property
    def size(self) -> int:
        return sum(len(key) + len(raw) for key, raw in self.puts)

    def write(self) -> int:
        """Do it; return the clock at the acknowledgement, in nanoseconds."""
        from paramstore._etcd_client import Guard

        head = self.puts[0][0]
        done, self.at, _ = self._client.write([Guard(head, self.at)], self.puts, [], [], PATIENCE_S)
        assert done
        return time.monotonic_ns()


@contextmanager
def counted(client: Client) -> Iterator[dict[str, Any]]:
    """Count what is asked of the cluster and answered inside the block, in bytes of messages; keep the last commit's puts."""
    seen: dict[str, Any] = Counter()
    call = client.call

    def counting(method: str, request: Any, timeout_s: float, **more: Any) -> Any:
        answer = call(method, request, timeout_s, **more)
        seen["asked"] += request.ByteSize()
        seen["answered"] += answer.ByteSize()
        seen["calls"] += 1
        if method == "Txn" and len(request.compare) > 1:
            seen["commit"] = request.ByteSize()
            seen["puts"] = [
                (one.request_put.key, one.request_put.value)
                for one in request.success
                if one.HasField("request_put")
            ]
        return answer

    vars(client)["call"] = counting
    try:
        yield seen
    finally:
        del vars(client)["call"]


@contextmanager
def watchers(bench: Bench, key: bytes, end: bytes, count: int) -> Iterator[list[IO[bytes]]]:
    """So many raw watchers, each with a connection of its own; each process tells when the last of its own has a change."""
    with ExitStack() as stack:
        pipes = []
        for begin in range(0, count, IN_PROCESS):
            many = str(min(IN_PROCESS, count - begin))
            command = [
                sys.executable,
                "-c",
                CODE,
                bench.cluster.endpoints[0],
                key.decode(),
                end.decode(),
                many,
            ]
            process = stack.enter_context(subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout is not None
            pipes.append(process.stdout)
        for pipe in pipes:
            assert heard(pipe) == [b"ready"], "the watchers did not come to life"
        yield pipes


def heard(pipe: IO[bytes], patience_s: float = PATIENCE_S) -> list[bytes]:
    """Return the words of the next line; none when nothing came."""
    return pipe.readline().split() if select.select([pipe], [], [], patience_s)[0] else []


@contextmanager
def server() -> Iterator[Bench]:
    from etcd_servers import Cluster
    from plainstore import fast_folder

    folder = fast_folder("paramstore-scale-")
    with Cluster(folder=folder) as cluster:  # takes the folder away in the end
        yield Bench(cluster, folder)
