"""Where a store is in etcd: its address, and the names of its keys. Pure.

``etcd://host1:2379,host2:2379/prefix`` names the cluster and the prefix. Below it stand::

    head                     what stands: {"seq": …, "revision": …, "id": …} of the last entry; every commit changes it
    values/<namespace>       the text of params/<namespace>.yaml
    schemas/<namespace>      the text of schemas/<namespace>.schema.json
    journal/<home>/<seq>     an entry's line, under each namespace that it touches; ``seq`` is 16 hex digits
    copying                  there while a store is being copied to here: nobody reads it yet
    ~lock/…                  who holds the store for writing, each with a lease

An entry stands under every namespace that it touches, so that nobody can record a change to one that they may not write.
What touches none, or may concern all (a freeze), has the home ``@store``.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from paramstore._state import namespace_of
from paramstore.errors import SettingsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SCHEME = "etcd://"
PORT = 2379
ANSWER_S = 5.0  # how long a cluster, or whoever follows it on a machine, has to answer
LOCK = "~lock"  # after all other keys
STORE = "@store"  # no namespace can be named so
OF_ALL = frozenset({"freeze", "unfreeze", "abort", "merge"})  # kinds that speak for others too


class Place(NamedTuple):
    """The parsed address: ``endpoints`` are ``host:port``, ``prefix`` begins and ends with ``/``."""

    endpoints: tuple[str, ...]
    prefix: str

    @property
    def url(self) -> str:
        return f"{SCHEME}{','.join(self.endpoints)}{self.prefix.rstrip('/')}"

    @property
    def name(self) -> str:
        """A name for files: readable, and another one for each prefix and cluster, in whatever order its members are named."""
        whole = f"{self.prefix} {','.join(sorted(self.endpoints))}"
        return f"{self.prefix.strip('/').replace('/', '-')}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"

    def is_of(self, label: str) -> bool:
        """Tell whether a ``label`` is that of this store: the same prefix, and an endpoint in common."""
        prefix, _, endpoints = label.strip().partition(" ")
        return prefix == self.prefix and not set(endpoints.split(",")).isdisjoint(self.endpoints)

    @property
    def label(self) -> str:
        return f"{self.prefix} {','.join(self.endpoints)}"

    @property
    def around(self) -> list[Place]:
        """Return the places that this one lies within, the outermost first."""
        parts = self.prefix.strip("/").split("/")
        return [self._replace(prefix=f"/{'/'.join(parts[:count])}/") for count in range(1, len(parts))]

    # -- keys -------------------------------------------------------------------------------------

    def key(self, *parts: str) -> bytes:
        return (self.prefix + "/".join(parts)).encode()

    @property
    def head(self) -> bytes:
        return self.key("head")

    @property
    def copying(self) -> bytes:
        return self.key("copying")

    @property
    def lock(self) -> bytes:
        return self.key(LOCK)

    @property
    def watched(self) -> tuple[bytes, bytes]:
        """Return first and end of the range of all keys but those of the lock, which concern nobody who follows."""
        return self.below()[0], self.lock

    @property
    def own(self) -> list[tuple[bytes, bytes]]:
        """Return first and end of the ranges in which a store here has its keys, and none that lies within or around it."""
        single = [(key, key + b"\0") for key in (self.head, self.copying)]
        return [*single, *map(self.below, ("values", "schemas", "journal"))]

    def values(self, namespace: str) -> bytes:
        return self.key("values", namespace)

    def schema(self, namespace: str) -> bytes:
        return self.key("schemas", namespace)

    def file(self, file: str) -> bytes:
        """Return the key of a file of the store, by its name relative to the root."""
        name = namespace_of(file)
        return self.values(name) if file.startswith("params/") else self.schema(name)

    def entry(self, home: str, seq: int) -> bytes:
        return self.key("journal", home, f"{seq:016x}")

    def below(self, *parts: str) -> tuple[bytes, bytes]:
        """Return first and end of the range of all keys below ``parts``."""
        start = self.key(*parts, "")
        return start, end_of(start)

    def told(self, key: bytes) -> tuple[str, ...]:
        """Return the parts of a key below the prefix; ``()`` for one that is not below it."""
        text = key.decode("utf-8", "replace")
        return tuple(text.removeprefix(self.prefix).split("/")) if text.startswith(self.prefix) else ()


class Credentials(NamedTuple):
    """How to reach a cluster. ``endpoints`` are ``host:port``; with ``ca`` or ``cert`` (files) by TLS; with ``user`` by
    password."""

    endpoints: tuple[str, ...]
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password: str | None = None


class Head(NamedTuple):
    """What the key ``head`` says: the number of the last entry, the revision that stands, and the entry's id."""

    seq: int
    revision: int
    id: str

    def encoded(self) -> bytes:
        import json

        return json.dumps({"v": 1, **self._asdict()}, separators=(",", ":")).encode()

    @classmethod
    def decoded(cls, raw: bytes) -> Head:
        """Raises ``ValueError`` for what no writer of ours wrote."""
        import json

        try:
            data = json.loads(raw)
        except RecursionError:
            raise ValueError("it is nested too deep") from None
        if not isinstance(data, dict) or data.get("v") != 1:
            raise ValueError("its format is not that of this version of paramstore")
        found = cls(data.get("seq"), data.get("revision"), data.get("id"))  # type: ignore[arg-type]
        if type(found.seq) is not int or type(found.revision) is not int or type(found.id) is not str:
            raise ValueError("it names no entry")
        return found


EMPTY = Head(-1, -1, "")


def end_of(prefix: bytes) -> bytes:
    """Return the first key after all that begin with ``prefix``."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def parse(url: str) -> Place:
    """Return the address that ``url`` names. Raises ``SettingsError``."""
    rest = url.removeprefix(SCHEME)
    hosts, slash, prefix = rest.partition("/")
    names = [name.strip() for name in hosts.split(",")]
    if "@" in hosts:
        raise SettingsError(
            "PARAMSTORE_BACKEND names a user: set PARAMSTORE_ETCD_USER and PARAMSTORE_ETCD_PASSWORD_FILE instead. Nothing was opened."
        )
    plain = prefix.strip("/")
    if not url.startswith(SCHEME) or not all(names) or not slash or not plain:
        raise SettingsError(
            f"PARAMSTORE_BACKEND = {url!r}: write it as etcd://host1:2379,host2:2379/prefix. Nothing was opened."
        )
    if (
        any(part in ("", ".", "..") for part in plain.split("/"))
        or not plain.isascii()
        or not plain.isprintable()
    ):
        raise SettingsError(
            f"PARAMSTORE_BACKEND = {url!r}: {prefix!r} is no prefix of keys. Nothing was opened."
        )
    return Place(tuple(_with_port(name, url) for name in names), f"/{plain}/")


def _with_port(name: str, url: str) -> str:
    host, colon, port = name.rpartition(":")
    if not colon or name.endswith("]"):  # a bare host, or an IPv6 address in brackets
        return f"{name}:{PORT}"
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError(f"PARAMSTORE_BACKEND = {url!r}: {name!r} is no host:port. Nothing was opened.")
    return name


def homes(record: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Return the namespaces under which a journal's record stands: those that it touches, of the ``known`` ones and of those
    whose files it changed; ``@store`` for what touches none, or others too."""
    touched = _touched(record)
    found = touched & {*known, *map(namespace_of, record["files"])}
    if record["kind"] in OF_ALL or found != touched:
        found.add(STORE)
    return sorted(found) or [STORE]


def stands_under(record: Mapping[str, Any], found: Collection[str]) -> bool:
    """Tell whether a record that is ``found`` under these namespaces stands under all that it touches, be they there or not: one
    that is not may come, and what it begins with is not for others to say. Under ``@store`` only those write who may write
    everywhere."""
    touched = _touched(record)
    return STORE in found or (record["kind"] not in OF_ALL and bool(touched) and touched <= {*found})


def _touched(record: Mapping[str, Any]) -> set[str]:
    items, kind = [*record["changes"]], record["kind"]
    if kind == "approve":
        items += record["details"]["baselines"]
    if kind == "refusal":
        # a key that was unknown may be one of a namespace that came later, and then never touched it
        items += [item for item in record["details"]["violations"] if item.get("rule") != "unknown"]
    return {str(item["key"]).partition(".")[0] for item in items} | set(map(namespace_of, record["files"]))
