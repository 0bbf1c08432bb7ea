"""Calls to an etcd cluster: with a deadline, on whichever endpoint answers. The only user of grpc and protobuf.

Every call asks for a member that has a leader, so that one that is cut off from the others says so instead of
serving the past. All calls here can be made twice: reads, and transactions whose guards fail the second time.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read at the import: it writes to stderr what our errors say

from paramstore._clock import span_text
from paramstore._etcd_place import Credentials
from paramstore.errors import ParamstoreError, SettingsError, UnreachableError, WriteError

try:
    import grpc

    from paramstore._etcd_messages import MESSAGES
except ImportError as error:
    raise UnreachableError(
        f"This process can neither follow nor write to a cluster ({error}): install 'paramstore[etcd]'. To read, an agent on this "
        "machine is enough. Nothing was written."
    ) from None

TRY_S = 2.0  # how long one endpoint has to answer while there are others
REACH_S = 5.0  # how long nobody may answer before a call that could wait longer gives up
MOST_BYTES = 1_572_864 - 4096  # etcd's limit of a request, less what it adds itself
MOST_OPERATIONS = 128  # of one transaction, etcd's limit
_PAUSE_S = 0.05, 0.5  # between two tries, the shortest and the longest
_LEADER = ("hasleader", "true")
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),  # etcd ends connections that ask without a call under way
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # also how long a connection may take to come about
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_METHODS = {
    "Txn": ("/etcdserverpb.KV/Txn", "TxnResponse"),
    "Compact": ("/etcdserverpb.KV/Compact", "CompactionResponse"),
    "LeaseGrant": ("/etcdserverpb.Lease/LeaseGrant", "LeaseGrantResponse"),
    "LeaseKeepAlive": ("/etcdserverpb.Lease/LeaseKeepAlive", "LeaseKeepAliveResponse"),
    "LeaseRevoke": ("/etcdserverpb.Lease/LeaseRevoke", "LeaseRevokeResponse"),
    "Lock": ("/v3lockpb.Lock/Lock", "LockResponse"),
    "Status": ("/etcdserverpb.Maintenance/Status", "StatusResponse"),
    "Authenticate": ("/etcdserverpb.Auth/Authenticate", "AuthenticateResponse"),
    "AuthEnable": ("/etcdserverpb.Auth/AuthEnable", "AuthResponse"),
    "UserAdd": ("/etcdserverpb.Auth/UserAdd", "AuthResponse"),
    "UserGet": ("/etcdserverpb.Auth/UserGet", "AuthUserGetResponse"),
    "UserGrantRole": ("/etcdserverpb.Auth/UserGrantRole", "AuthResponse"),
    "RoleList": ("/etcdserverpb.Auth/RoleList", "AuthRoleListResponse"),
    "RoleAdd": ("/etcdserverpb.Auth/RoleAdd", "AuthResponse"),
    "RoleGet": ("/etcdserverpb.Auth/RoleGet", "AuthRoleGetResponse"),
    "RoleGrantPermission": ("/etcdserverpb.Auth/RoleGrantPermission", "AuthResponse"),
    "RoleRevokePermission": ("/etcdserverpb.Auth/RoleRevokePermission", "AuthResponse"),
}
_WATCH = "/etcdserverpb.Watch/Watch"
_CAUSES = (  # what grpc says of a connection that did not come about, and what it comes from
    (("CERTIFICATE_VERIFY_FAILED",), "its certificate is not signed by the authority in PARAMSTORE_ETCD_CA"),
    (("Hostname Verification", "not in peer certificate"), "its certificate does not name the host that was asked"),
    (("Unwrap failed", "ALERT", "CERTIFICATE_REQUIRED"), "it does not accept the certificate in PARAMSTORE_ETCD_CERT"),
    (("security handshaker",), "PARAMSTORE_ETCD_CA, _CERT and _KEY hold no certificates, or such as do not belong together"),
)  # fmt: skip
ASK = "Ask for a role that may do this"  # whoever knows what was asked says which
_NO_LOGIN = "authentication failed", "user name is empty"


class CompactedError(ParamstoreError):
    """What was asked for lies before what the cluster still has."""


class DeniedError(WriteError):
    """The user of these credentials may not do this."""


class KeyValue(NamedTuple):
    """What stands under a key, and the revision of etcd that put it there; 0 where the key is gone."""

    key: bytes
    value: bytes
    modified: int


class Answer(NamedTuple):
    """What stands in a range: ``total`` counts all its keys, also those that were not asked for; ``more``: cut at a limit."""

    found: list[KeyValue]
    total: int
    more: bool


class Range(NamedTuple):
    """Keys from ``key`` on: up to ``end``, or that one alone; ``since``: only those modified at this revision or later."""

    key: bytes
    end: bytes = b""
    since: int = 0
    limit: int = 0


class Guard(NamedTuple):
    """What must hold for a transaction: ``key`` was last modified at ``modified`` (0: it is not there), all keys up to
    ``end`` before that, or, with ``exists``, it is there."""

    key: bytes
    modified: int = 0
    end: bytes = b""
    exists: bool = False


class Client:
    """One process's connection. Usable by several threads; a forked child makes its own."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._endpoints = random.sample(credentials.endpoints, len(credentials.endpoints))
        self._at = 0
        self._token = ""
        self._mutex = threading.Lock()
        self._channel: Any = None
        self._closed = False

    # -- calls ------------------------------------------------------------------------------------

    def call(
        self, method: str, request: Any, timeout_s: float, *, try_s: float = TRY_S, once: bool = False
    ) -> Any:
        """Return the answer to one call, from whichever endpoint gives one within ``timeout_s``. ``once``: each is tried once,
        for those who pause between two tries themselves.

        Raises ``UnreachableError`` when none did, ``DeniedError``, ``CompactedError``, and ``WriteError`` for what
        the cluster refuses.
        """
        begun = silent = time.monotonic()  # since when nobody answered
        deadline = begun + timeout_s
        pause_s = _PAUSE_S[0]
        tried, why = 0, ""
        while True:
            began = time.monotonic()
            left = max(0.001, deadline - began)
            channel = self._open()
            try:
                return self._once(channel, method, request, min(left, try_s))
            except ValueError as error:  # another thread has just left the channel
                if self._closed or "closed channel" not in str(error):
                    raise UnreachableError(f"the connection to etcd cannot be used: {error}") from None
                again = "the connection was left"
            except grpc.RpcError as error:
                again = _judged(error, self.endpoint)
                if again == "token":
                    self._token = ""
                else:
                    self._leave(channel)
                if not why or error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                    why = again  # that the time for the last try was short says nothing
            tried += 1
            now = time.monotonic()
            if now - began > TRY_S:  # somebody had taken the call, as one that waits for a lock
                silent = now
            left = min(deadline, silent + REACH_S) - now
            if left <= 0 or (once and tried >= len(self._endpoints) and again != "token"):
                raise self._unreachable(why, now - begun)
            if tried % len(self._endpoints) == 0:
                time.sleep(min(left, pause_s * random.uniform(0.5, 1.5)))
                pause_s = min(2 * pause_s, _PAUSE_S[1])

    def _once(self, channel: Any, method: str, request: Any, timeout_s: float) -> Any:
        path, answer = _METHODS[method]
        streams = method == "LeaseKeepAlive"
        made = (channel.stream_stream if streams else channel.unary_unary)(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=MESSAGES[answer].FromString,
        )
        metadata = self._metadata(channel, method, timeout_s)
        if streams:
            return next(made(iter([request]), timeout=timeout_s, metadata=metadata), MESSAGES[answer]())
        return made(request, timeout=timeout_s, metadata=metadata)

    def _metadata(self, channel: Any, method: str, timeout_s: float) -> list[tuple[str, str]]:
        given = self.credentials
        if given.user is None or method == "Authenticate":
            return [_LEADER]
        if not self._token:
            request = MESSAGES["AuthenticateRequest"](name=given.user, password=given.password or "")
            try:
                self._token = self._once(channel, "Authenticate", request, timeout_s).token
            except grpc.RpcError as error:
                if "authentication is not enabled" not in (error.details() or ""):
                    raise
                return [_LEADER]  # users are given their names before it is switched on
        return [_LEADER, ("token", self._token)]

    @property
    def endpoint(self) -> str:
        return self._endpoints[self._at % len(self._endpoints)]

    def _open(self) -> Any:
        with self._mutex:
            if self._channel is None:
                self._channel = _channel(self.endpoint, self.credentials)
            return self._channel

    def _leave(self, channel: Any) -> None:
        """Have the next call try the next endpoint."""
        with self._mutex:
            if self._channel is channel:
                self._at += 1
                self._channel = None
        channel.close()

    def close(self) -> None:
        self._closed = True
        with self._mutex:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _unreachable(self, why: str, timeout_s: float) -> UnreachableError:
        everyone = ", ".join(self.credentials.endpoints)
        cause = _cause(why, self.credentials)
        return UnreachableError(
            f"etcd at {everyone} did not answer within {span_text(timeout_s)}{cause} ({why})"
        )

    # -- reading and writing ----------------------------------------------------------------------

    def read(
        self, ranges: Sequence[Range], timeout_s: float, revision: int = 0, once: bool = False
    ) -> tuple[int, list[Answer]]:
        """Return what stands in each range, all at one revision of etcd, and that revision: the newest, or ``revision``."""
        request = MESSAGES["TxnRequest"]()
        for asked in ranges:
            one = request.success.add().request_range
            one.key, one.range_end, one.limit = asked.key, asked.end, asked.limit
            one.min_mod_revision, one.revision = asked.since, revision
        answer = self.call("Txn", request, timeout_s, once=once)
        return answer.header.revision, [_answer(each.response_range) for each in answer.responses]

    def write(
        self, guards: Sequence[Guard], puts: Sequence[tuple[bytes, bytes]], deletes: Sequence[bytes],
        otherwise: Sequence[bytes], timeout_s: float,
    ) -> tuple[bool, int, list[KeyValue]]:  # fmt: skip
        """Do all or nothing of it: tell whether, at which revision of etcd, and if not, what stands under ``otherwise``.

        Raises ``WriteError`` before anything is sent when it is too much for etcd.
        """
        request = MESSAGES["TxnRequest"]()
        for guard in guards:
            _add_guard(request.compare.add(), guard)
        for key, value in puts:
            put = request.success.add().request_put
            put.key, put.value = key, value
        for key in deletes:
            request.success.add().request_delete_range.key = key
        for key in otherwise:
            request.failure.add().request_range.key = key
        _check_size(request)
        answer = self.call("Txn", request, timeout_s)
        seen = (
            []
            if answer.succeeded
            else [one for each in answer.responses for one in _answer(each.response_range).found]
        )
        return answer.succeeded, answer.header.revision, seen

    # -- the lock ---------------------------------------------------------------------------------

    def grant(self, ttl_s: int, timeout_s: float) -> int:
        """Return a new lease of ``ttl_s`` seconds."""
        lease: int = self.call("LeaseGrant", MESSAGES["LeaseGrantRequest"](TTL=ttl_s), timeout_s).ID
        return lease

    def revoke(self, lease: int, timeout_s: float) -> None:
        self.call("LeaseRevoke", MESSAGES["LeaseRevokeRequest"](ID=lease), timeout_s)

    def keep_alive(self, lease: int, timeout_s: float) -> int:
        """Renew a lease; return how many seconds it has from now on, 0 or less if it has ended."""
        answer = self.call("LeaseKeepAlive", MESSAGES["LeaseKeepAliveRequest"](ID=lease), timeout_s)
        ttl: int = answer.TTL
        return ttl

    def lock(self, name: bytes, lease: int, timeout_s: float) -> bytes:
        """Wait for the lock ``name`` and return the key that stands while it is held."""
        request = MESSAGES["LockRequest"](name=name, lease=lease)
        key: bytes = self.call("Lock", request, timeout_s, try_s=timeout_s).key
        return key

    # -- following --------------------------------------------------------------------------------

    def watch(self, key: bytes, end: bytes, revision: int) -> Watch:
        """Return what changes from ``key`` to ``end``, from ``revision`` of etcd on."""
        return Watch(self, key, end, revision)

    def status(self, timeout_s: float) -> Any:
        """Return what the endpoint in use says of itself: ``version``, ``dbSize``, ``errors`` (alarms)."""
        return self.call("Status", MESSAGES["StatusRequest"](), timeout_s)


class Watch:
    """Iterate over ``(revision, changes)`` with all changes of one revision of etcd together; a key that went has the value
    ``b""`` and ``modified`` 0. Ends with ``UnreachableError`` when the connection does, with ``CompactedError`` when what
    should come next is gone. ``cancel`` ends it from another thread."""

    def __init__(self, client: Client, key: bytes, end: bytes, revision: int) -> None:
        self._client = client
        self._channel = client._open()
        self._done = threading.Event()
        create = MESSAGES["WatchRequest"]()
        asked = create.create_request
        asked.key, asked.range_end, asked.start_revision, asked.fragment = key, end, revision, True
        opened = self._channel.stream_stream(
            _WATCH,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=MESSAGES["WatchResponse"].FromString,
        )
        try:
            metadata = client._metadata(self._channel, "Watch", TRY_S)  # which may have to log in
        except grpc.RpcError as error:
            why = _judged(error, client.endpoint)
            client._leave(self._channel)
            raise UnreachableError(
                f"etcd at {client.endpoint}: the watch could not be opened ({why})"
            ) from None
        self._call = opened(self._requests(create), metadata=metadata)

    def _requests(self, create: Any) -> Iterator[Any]:
        yield create
        self._done.wait()  # the stream is open as long as this has not ended

    def cancel(self) -> None:
        self._done.set()
        self._call.cancel()

    def __iter__(self) -> Iterator[tuple[int, list[KeyValue]]]:
        waiting: list[Any] = []
        try:
            for answer in self._call:
                if answer.compact_revision:
                    raise CompactedError(
                        f"etcd has dropped what came before revision {answer.compact_revision}."
                    )
                if answer.canceled:
                    raise UnreachableError(
                        f"etcd at {self._client.endpoint} ended the watch ({answer.cancel_reason})"
                    )
                waiting += answer.events
                if not answer.fragment:
                    yield from _by_revision(waiting)
                    waiting = []
        except grpc.RpcError as error:
            if self._done.is_set():
                return
            why = _judged(error, self._client.endpoint)
            self._client._leave(self._channel)
            raise UnreachableError(f"etcd at {self._client.endpoint}: the watch was cut ({why})") from None
        finally:
            self._done.set()
            with suppress(Exception):
                self._call.cancel()


def _by_revision(events: list[Any]) -> Iterator[tuple[int, list[KeyValue]]]:
    found: dict[int, list[KeyValue]] = {}
    for event in events:
        kv = event.kv
        changed = KeyValue(kv.key, kv.value, 0 if event.type == 1 else kv.mod_revision)
        found.setdefault(kv.mod_revision, []).append(changed)
    yield from sorted(found.items())


def _answer(answer: Any) -> Answer:
    found = [KeyValue(kv.key, kv.value, kv.mod_revision) for kv in answer.kvs]
    return Answer(found, answer.count, answer.more)


def _add_guard(compare: Any, guard: Guard) -> None:
    compare.key, compare.range_end = guard.key, guard.end
    compare.target, compare.mod_revision = 2, guard.modified
    if guard.exists:
        compare.result = 1  # GREATER
    elif guard.end:
        compare.result = 2  # LESS


def _check_size(request: Any) -> None:
    operations = max(len(request.compare), len(request.success), len(request.failure))
    if operations > MOST_OPERATIONS:
        raise WriteError(
            f"The commit takes {operations} operations of etcd, which does at most {MOST_OPERATIONS} at once: change fewer "
            "namespaces in one transaction. Nothing was written"
        )
    size = request.ByteSize()
    if size > MOST_BYTES:
        raise WriteError(
            f"The commit has {size:,} bytes, and etcd takes at most {MOST_BYTES:,} at once: change fewer namespaces in one "
            "transaction, or split one that is so large. Nothing was written"
        )


def _channel(endpoint: str, given: Credentials) -> Any:
    if given.ca is None and given.cert is None:
        return grpc.insecure_channel(endpoint, options=_OPTIONS)
    if (given.cert is None) != (given.key is None):  # grpc would end the process
        raise SettingsError("PARAMSTORE_ETCD_CERT and PARAMSTORE_ETCD_KEY are given together, or neither.")
    files = [None if path is None else _content(path) for path in (given.ca, given.key, given.cert)]
    return grpc.secure_channel(endpoint, grpc.ssl_channel_credentials(*files), options=_OPTIONS)


def _content(path: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            content = file.read()
    except OSError as error:
        raise UnreachableError(f"{path} cannot be read: {error.strerror}") from None
    if (
        not content.strip()
    ):  # with an empty authority grpc trusts the system's, without a key it ends the process
        raise UnreachableError(f"{path} is empty")
    return content


def _cause(why: str, given: Credentials) -> str:
    """Return what a connection fails for, as far as what grpc says tells it."""
    secure = given.ca is not None or given.cert is not None
    if not secure:
        return ", or it wants TLS: then set PARAMSTORE_ETCD_CA" if "Socket closed" in why else ""
    for said, cause in _CAUSES:
        if any(words in why for words in said):
            wants = "it wants a certificate: set PARAMSTORE_ETCD_CERT and PARAMSTORE_ETCD_KEY"
            return f": {wants if given.cert is None and 'accept' in cause else cause}"
    return ""


def _judged(error: Any, endpoint: str) -> str:
    """Return why another try may do better (``token``: after a new login); raise what none can change."""
    code, words = error.code(), error.details() or ""
    if "auth token" in words or "revision of auth store is old" in words:
        return "token"
    kinds = grpc.StatusCode
    if "compacted" in words:
        raise CompactedError(f"{words}.") from None
    if any(said in words for said in _NO_LOGIN):
        raise DeniedError(
            f"etcd at {endpoint} refuses the user or the password ({words}): see PARAMSTORE_ETCD_USER and "
            "PARAMSTORE_ETCD_PASSWORD_FILE (docs/etcd-access.md)"
        ) from None
    if code == kinds.PERMISSION_DENIED or "permission denied" in words:  # of a lock, with the code UNKNOWN
        raise DeniedError(f"etcd at {endpoint} refuses: {words}. {ASK} (docs/etcd-access.md)") from None
    if "database space exceeded" in words:
        raise WriteError(
            f"etcd at {endpoint} is full ({words}): compact and defragment it, or raise its quota, then disarm its alarm "
            "(docs/etcd.md)"
        ) from None
    if code in (
        kinds.UNAVAILABLE,
        kinds.DEADLINE_EXCEEDED,
        kinds.CANCELLED,
        kinds.UNKNOWN,
        kinds.INTERNAL,
        kinds.RESOURCE_EXHAUSTED,
    ):
        return f"{endpoint}: {words or code.name}"
    raise WriteError(f"etcd at {endpoint} refuses: {words or code.name}") from None
