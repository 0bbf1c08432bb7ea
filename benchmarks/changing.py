"""What holds values that one process changes while others read: stores with durable commits, and ways to follow a file.

Declared as the libraries of ``contenders`` are. Each is written with its own durable setting: what a commit acknowledges
is on the disk, but for Redis, which runs without persistence.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sqlite3
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from socket import socket
from typing import Any

from benchmarks.contenders import OTHERS, PARAMSTORE, Contender, write_yaml
from benchmarks.stores import KEY, LEAF, VALUE, values

PATIENCE_S = 10.0
REDIS_PROGRAM = (
    "redis-check-rdb"  # the server under its other name, which comes without a service that starts by itself
)
LINE = f"{LEAF}: {VALUE}\n"


def _keyed(count: int) -> dict[str, float]:
    return {f"bench.{name}": value for name, value in values(count).items()}


def _sqlite(root: Path, count: int) -> None:
    root.mkdir()
    with closing(sqlite3.connect(root / "bench.db")) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE param (key TEXT PRIMARY KEY, value REAL) WITHOUT ROWID")
        connection.executemany("INSERT INTO param VALUES (?, ?)", _keyed(count).items())


def _lmdb(root: Path, count: int) -> None:
    with (
        closing(importlib.import_module("lmdb").open(str(root))) as environment,
        environment.begin(write=True) as txn,
    ):
        for key, value in _keyed(count).items():
            txn.put(key.encode(), struct.pack("d", value))


def _diskcache(root: Path, count: int) -> None:
    with importlib.import_module("diskcache").Cache(str(root)) as cache, cache.transact():
        for key, value in _keyed(count).items():
            cache[key] = value


def _json(root: Path, count: int) -> None:
    root.mkdir()
    (root / "values.json").write_text(json.dumps(_keyed(count), indent=1), encoding="ascii")


def _commented_yaml(root: Path, count: int) -> None:
    """Comments, as a file for people has, which a round trip has to carry."""
    write_yaml(root, count)
    lines = (root / "settings.yaml").read_text(encoding="ascii").splitlines()
    lines = [line + "  # reviewed" if place % 10 == 5 else line for place, line in enumerate(lines)]
    (root / "settings.yaml").write_text("\n".join(lines) + "\n", encoding="ascii")


@contextmanager
def _redis(root: Path) -> Iterator[None]:
    """A server on a free port of this machine alone, which keeps nothing on the disk."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root.mkdir()
    (root / "port").write_text(str(port), encoding="ascii")
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(root),
    ]
    command = ["redis-server", *options]
    server = subprocess.Popen(command, executable=shutil.which(REDIS_PROGRAM), stdout=subprocess.DEVNULL)
    try:
        client = importlib.import_module("redis").Redis(port=port)
        _wait(client)
        client.mset({key: str(value) for key, value in _keyed(60).items()})
        client.close()
        yield
    finally:
        server.terminate()
        server.wait()


def _wait(client: Any) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            client.ping()
            return
        except Exception:  # the module is loaded by name, and so are its errors
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


_REPLACE = """
import os
def replace(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".new", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
"""
# Reads that look at the file first: the simplest way to be fresh, at the price of a system call for each read.
_LOOK = """
values, seen = None, None
def read():
    global values, seen
    found = os.stat(PATH)
    found = found.st_ino, found.st_mtime_ns, found.st_size
    if found != seen:
        values, seen = parse(), found
    return values[{name!r}]
"""
_YAML = f"""
import os, threading, time, yaml
{_REPLACE}
PATH = ROOT + "/settings.yaml"
def parse():
    with open(PATH) as file:
        return yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["bench"]
"""
_POLL = """
values = parse()
def poll():
    global values
    seen = os.stat(PATH).st_ino
    while True:
        time.sleep({period_s})
        found = os.stat(PATH).st_ino
        if found != seen:
            values, seen = parse(), found
threading.Thread(target=poll, daemon=True).start()
"""
_WATCH = """
import watchfiles
values = parse()
def follow():
    global values
    for _ in watchfiles.watch(ROOT{options}):
        values = parse()
threading.Thread(target=follow, daemon=True).start()
time.sleep(0.5)  # until it watches
"""
_REDIS = """
import redis
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection
# The client asks for a server of 7.4; what it uses of it is in every one since 6.0, and distributions have 7.0.
CacheProxyConnection.MIN_ALLOWED_VERSION = "6.0.0"
PORT = int(open(ROOT + "/port").read())
"""
_SAVE = f"text = open(PATH).read()\nhead, tail = text.split({LINE!r}, 1)"
_SAVED = f'replace(PATH, f"{{head}}{LEAF}: {{value}}\\n{{tail}}")'
FILE_LACKS = "no lock, bounds or journal"

SQLITE = Contender(
    name="SQLite (WAL, FULL)",
    modules=("sqlite3",),
    source="database",
    write=_sqlite,
    imports="import sqlite3",
    load='connection = sqlite3.connect(ROOT + "/bench.db", timeout=60, isolation_level=None)\n'
    'connection.execute("PRAGMA synchronous=FULL")\n'
    f'def read():\n    return connection.execute("SELECT value FROM param WHERE key = ?", ({KEY!r},)).fetchone()[0]',
    reads={"`SELECT value`": "read()"},
    change=f'connection.execute("UPDATE param SET value = ? WHERE key = ?", (value, {KEY!r}))',
    closes="connection.close()",
    lacks="no bounds or journal; not reviewable in git",
)
LMDB = Contender(
    name="LMDB (sync)",
    modules=("lmdb",),
    source="database",
    write=_lmdb,
    imports="import lmdb, struct",
    load="environment = lmdb.open(ROOT)\n"
    f'def read():\n    with environment.begin() as txn:\n        return struct.unpack("d", txn.get({KEY.encode()!r}))[0]',
    reads={"`txn.get(key)`": "read()"},
    change="with environment.begin(write=True) as txn:\n"
    f'    txn.put({KEY.encode()!r}, struct.pack("d", value))',
    closes="environment.close()",
    lacks="no bounds, journal or types; not reviewable in git",
)
DISKCACHE = Contender(
    name="diskcache (synchronous=FULL)",
    modules=("diskcache",),
    source="database",
    write=_diskcache,
    imports="import diskcache",
    load="cache = diskcache.Cache(ROOT, timeout=60, sqlite_synchronous=2)",
    reads={"`cache[key]`": f"cache[{KEY!r}]"},
    change=f"cache[{KEY!r}] = value",
    closes="cache.close()",
    lacks="no bounds or journal; not reviewable in git",
)
RUAMEL = Contender(
    name="YAML by hand (ruamel, fsync, rename)",
    modules=("ruamel.yaml", "yaml"),
    write=_commented_yaml,
    imports=_YAML + "import io\nfrom ruamel.yaml import YAML",
    load=_LOOK.format(name=LEAF),
    reads={"`os.stat` at each read, then reload": "read()"},
    opens="rounds = YAML()",
    change="with open(PATH) as file:\n    document = rounds.load(file)\n"
    f'document["bench"][{LEAF!r}] = value\ntext = io.StringIO()\nrounds.dump(document, text)\n'
    "replace(PATH, text.getvalue())",
    lacks=FILE_LACKS,
)
JSON = Contender(
    name="JSON by hand (fsync, rename)",
    modules=("json",),
    source="JSON",
    write=_json,
    imports=_REPLACE + 'import json\nPATH = ROOT + "/values.json"\n'
    "def parse():\n    with open(PATH) as file:\n        return json.load(file)",
    load=_LOOK.format(name=KEY),
    reads={"`os.stat` at each read, then reload": "read()"},
    opens="",
    change=f"values = parse()\nvalues[{KEY!r}] = value\nreplace(PATH, json.dumps(values, indent=1))",
    lacks=f"{FILE_LACKS}; no comments",
)
REDIS = Contender(
    name="Redis, client-side caching",
    modules=("redis",),
    commands=(REDIS_PROGRAM,),
    source="server",
    serve=_redis,
    write=lambda root, count: None,
    imports=_REDIS,
    load="client = redis.Redis(port=PORT, protocol=3, cache_config=CacheConfig())",
    reads={"`float(client.get(key))`": f"float(client.get({KEY!r}))"},
    opens="client = redis.Redis(port=PORT)",
    change=f"client.set({KEY!r}, value)",
    lacks="needs a server; here not durable; no bounds or journal",
)
DURABLE = (SQLITE, LMDB, DISKCACHE, RUAMEL, JSON)

_SAVED_YAML = replace(
    RUAMEL,
    modules=("yaml",),
    imports=_YAML,
    write=write_yaml,
    opens=_SAVE,
    change=_SAVED,
    reads={"a dict": f"values[{LEAF!r}]"},
)


def _poll(period_s: float, words: str) -> Contender:
    name = f"YAML: polled each {words}, then reload"
    return replace(_SAVED_YAML, name=name, load=_POLL.format(period_s=period_s), period_s=period_s)


def _watch(options: str, words: str, period_s: float) -> Contender:
    name, load = f"YAML: watchfiles{words}, then reload", _WATCH.format(options=options)
    return replace(_SAVED_YAML, name=name, modules=("yaml", "watchfiles"), load=load, period_s=period_s)


_DYNACONF = OTHERS[0]
EDITED = replace(
    PARAMSTORE,
    name="paramstore: its file saved by an editor",
    imports=PARAMSTORE.imports + _REPLACE + 'PATH = ROOT + "/params/bench.yaml"',
    opens=_SAVE,
    change=_SAVED,
    period_s=0.2,
    lacks="a save is believed once it is quiet, and is looked for, not announced",
)
# Everything whose changes a reader in another process comes to see.
FOLLOWED = (
    PARAMSTORE,
    *DURABLE,
    _watch(", step=1", " (step=1)", 0.005),
    _watch("", "", 0.05),
    _poll(0.1, "100 ms"),
    _poll(1.0, "second"),
    replace(
        _SAVED_YAML,
        name="dynaconf: `get_fresh` at each read",
        modules=("dynaconf", "yaml"),
        imports=f"{_YAML}\n{_DYNACONF.imports}",
        load=_DYNACONF.load,
        reads={"`settings.get_fresh(key)`": f"settings.get_fresh({KEY!r})"},
    ),
    REDIS,
    replace(
        REDIS,
        name="Redis, asked at each read",
        load="client = redis.Redis(port=PORT)",
    ),
    EDITED,
)
