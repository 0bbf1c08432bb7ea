"""TLS with client certificates, on a real server: what works, and what is said when it does not."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from etcd_servers import START_S, Cluster
from guarded import ask
from local_store import number, schema, write_store

from paramstore import ParamStore
from paramstore._etcd_client import Client, DeniedError
from paramstore._etcd_place import Credentials, parse
from paramstore.errors import ParamstoreError, SettingsError, UnreachableError

CURVE = "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"


class Certificates(NamedTuple):
    """Authorities ``ca`` and ``foe``, the server's certificate, and people's: ``<name>.pem`` and ``<name>.key``."""

    folder: Path

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def credentials(
        self, endpoints: tuple[str, ...], ca: str | None = "ca", own: str | None = "alice"
    ) -> Credentials:
        cert, key = (own and self.path(f"{own}.pem")), (own and self.path(f"{own}.key"))
        return Credentials(endpoints, ca and self.path(f"{ca}.pem"), cert, key)

    def environ(self, ca: str = "ca", own: str = "alice") -> dict[str, str]:
        files = {"CA": ca and f"{ca}.pem", "CERT": own and f"{own}.pem", "KEY": own and f"{own}.key"}
        return {f"PARAMSTORE_ETCD_{name}": self.path(file) for name, file in files.items() if file}

    def make_authority(self, name: str) -> None:
        self._openssl(
            "req", "-x509", *CURVE, "-days", "2", "-subj", f"/CN={name}", *self._files(name, ".pem")
        )

    def make(self, name: str, by: str = "ca", host: str = "") -> None:
        self._openssl("req", *CURVE, "-subj", f"/CN={name}", *self._files(name, ".csr"))
        self.folder.joinpath("ext").write_text(
            f"subjectAltName={host}" if host else "basicConstraints=CA:FALSE"
        )
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial",
            "-days", "2", "-extfile", "ext", "-out", f"{name}.pem",
        )  # fmt: skip

    def _files(self, name: str, end: str) -> tuple[str, ...]:
        return "-keyout", f"{name}.key", "-out", f"{name}{end}"

    def _openssl(self, *args: str) -> None:
        subprocess.run(["openssl", *args], cwd=self.folder, check=True, capture_output=True)


class Sealed(Cluster):
    """A server that takes only who has a certificate of its authority. ``named``: the name in the server's own."""

    def __init__(self, certificates: Certificates, named: str = "server") -> None:
        self.certificates = certificates
        files = {"cert-file": f"{named}.pem", "key-file": f"{named}.key", "trusted-ca-file": "ca.pem"}
        options = [word for name, file in files.items() for word in (f"--{name}", certificates.path(file))]
        super().__init__(options=[*options, "--client-cert-auth", "--bcrypt-cost", "4"])

    def __enter__(self) -> Sealed:
        try:
            super().__enter__()
        except BaseException:
            self.__exit__()  # nobody else stops what was started
            raise
        return self

    def client(self, own: str = "alice") -> Client:
        return Client(self.certificates.credentials(self.endpoints, own=own))

    def wait(self) -> None:
        deadline = time.monotonic() + START_S
        client = self.client()
        while time.monotonic() < deadline:
            with suppress(UnreachableError):
                client.status(0.5)
                client.close()
                return
        raise AssertionError("the server does not answer")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    for name in ("ca", "foe"):
        made.make_authority(name)
    made.make("server", host="IP:127.0.0.1")
    for name in ("alice", "root"):
        made.make(name)
    made.make("mallory", by="foe")
    return made


@pytest.fixture(scope="module")
def sealed(certificates: Certificates) -> Iterator[Sealed]:
    with Sealed(certificates) as made:
        yield made


@pytest.fixture
def open_store(sealed: Sealed, tmp_path: Path) -> Iterator[Callable[..., ParamStore]]:
    """Put a store into the cluster, and return what opens it with given files."""
    place = parse(sealed.url(tmp_path.name.replace("_", "")))
    source = write_store(
        tmp_path / "source",
        {"edge": schema({"level": number(1.0)})},
        {"edge": {"schema": 1, "values": {"level": 1.0}}},
    )
    puts = [(place.schema("edge"), (source / "schemas/edge.schema.json").read_bytes())]
    client = sealed.client()
    client.write([], [*puts, (place.values("edge"), (source / "params/edge.yaml").read_bytes())], [], [], 5.0)
    client.close()
    made: list[ParamStore] = []

    def opened(**files: str) -> ParamStore:
        own = {"PARAMSTORE_BACKEND": place.url, "PARAMSTORE_MIRROR": str(tmp_path / f"mirror{len(made)}")}
        made.append(ParamStore(environ={**own, **sealed.certificates.environ(**files)}))
        return made[-1]

    yield opened
    for store in made:
        store.reopen()


def refusal(credentials: Credentials, timeout_s: float = 1.5) -> str:
    client = Client(credentials)
    with pytest.raises(UnreachableError) as caught:
        client.status(timeout_s)
    client.close()
    return str(caught.value)


def test_it_reads_and_commits_with_a_certificate(open_store: Callable[..., ParamStore]) -> None:
    store, other = open_store(), open_store()
    assert other.get("edge.level") == 1.0
    with store.transaction(author="alice", reason="a test") as tx:
        tx["edge.level"] = 2.0
    deadline = time.monotonic() + 5
    while other.get("edge.level") != 2.0:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_store_says_what_is_wrong_with_its_certificates(open_store: Callable[..., ParamStore]) -> None:
    with pytest.raises(UnreachableError, match="PARAMSTORE_ETCD_CA"):
        open_store(ca="foe").get("edge.level")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ca": None, "own": None}, "wants TLS: then set PARAMSTORE_ETCD_CA"),
        ({"ca": "foe"}, "not signed by the authority in PARAMSTORE_ETCD_CA"),
        ({"ca": None}, "not signed by the authority in PARAMSTORE_ETCD_CA"),
        ({"own": None}, "wants a certificate: set PARAMSTORE_ETCD_CERT and PARAMSTORE_ETCD_KEY"),
        ({"own": "mallory"}, "does not accept the certificate in PARAMSTORE_ETCD_CERT"),
    ],
    ids=["no TLS", "wrong authority", "no authority", "no certificate", "certificate of another authority"],
)
def test_what_is_wrong_is_said(sealed: Sealed, files: dict[str, str | None], said: str) -> None:
    assert said in refusal(sealed.certificates.credentials(sealed.endpoints, **files))


def test_a_server_of_another_name_is_not_trusted(certificates: Certificates) -> None:
    certificates.make("elsewhere", host="DNS:elsewhere")
    server = Sealed(certificates, "elsewhere")
    server.wait = lambda: None  # type: ignore[method-assign]
    with server:
        deadline = time.monotonic() + START_S
        while "refused" in (told := refusal(certificates.credentials(server.endpoints))):  # it starts
            assert time.monotonic() < deadline
        assert "does not name the host" in told


def other(given: Credentials, name: str, path: str | None) -> Credentials:
    """Return the credentials with another file for ``ca``, ``cert`` or ``key``."""
    return Credentials(**{**given._asdict(), name: path})


def test_files_that_grpc_would_end_the_process_for(sealed: Sealed, tmp_path: Path) -> None:
    """A certificate without a key is an error of ours: grpc aborts, without an exception."""
    good = sealed.certificates.credentials(sealed.endpoints)
    empty = tmp_path / "empty"
    empty.touch()
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nonsense")
    for lack in ("cert", "key"):
        with pytest.raises(SettingsError, match="together"):
            Client(other(good, lack, None)).status(1.0)
    for name in ("ca", "cert", "key"):
        with pytest.raises(UnreachableError, match="is empty"):
            Client(other(good, name, str(empty))).status(1.0)
        with pytest.raises(UnreachableError, match="cannot be read"):
            Client(other(good, name, str(tmp_path / "none"))).status(1.0)
        assert "hold no certificates" in refusal(other(good, name, str(nonsense)), 0.5)


def test_a_certificates_name_is_a_user(certificates: Certificates) -> None:
    """With authentication on, the name in a client's certificate is its user: nobody needs a password."""
    with Sealed(certificates) as cluster:
        root = cluster.client("root")
        for user in ("root", "alice"):
            ask(root, "UserAdd", name=user, password="unused")
        ask(root, "RoleAdd", name="root")
        ask(root, "UserGrantRole", user="root", role="root")
        ask(root, "RoleAdd", name="r")
        for kind, key, end in ((0, b"/s/", b"/s0"), (1, b"/s/lock/", b"/s/lock0"), (1, b"/s/values/a", b"")):
            ask(root, "RoleGrantPermission", name="r", perm={"permType": kind, "key": key, "range_end": end})
        ask(root, "UserGrantRole", user="alice", role="r")
        ask(root, "AuthEnable")
        alice = cluster.client()
        assert alice.write([], [(b"/s/values/a", b"1")], [], [], 5.0)[0]
        assert alice.lock(b"/s/lock", alice.grant(10, 5.0), 5.0).startswith(b"/s/lock/")
        revision, changes = next(iter(alice.watch(b"/s/", b"/s0", 1)))
        assert changes[0].value == b"1" and revision > 1
        with pytest.raises(DeniedError, match="permission denied"):
            alice.write([], [(b"/s/values/b", b"1")], [], [], 5.0)
        with pytest.raises(ParamstoreError):
            ask(alice, "RoleAdd", name="mine")
