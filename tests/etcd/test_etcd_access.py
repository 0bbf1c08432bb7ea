"""Who may do what, on a real server with authentication on: readers, learners of one namespace, approvers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from etcd_servers import Cluster
from guarded import PASSWORD, Guarded, Office, ask, put, set_value, until
from local_store import write_store

from paramstore import ParamStore
from paramstore._etcd_client import Client, DeniedError, Range
from paramstore._etcd_place import Credentials, parse
from paramstore._etcd_roles import BOTH, READ, WRITE, Permission, named, steps, wanted, who_may
from paramstore.cli import cli
from paramstore.errors import ParamstoreError, SettingsError, UnreachableError, ValidationError

TOKEN_S = 1  # how long a login lasts after it was last used
GONE_S = TOKEN_S + 1.5  # etcd looks each second


@pytest.fixture(scope="module")
def cluster() -> Iterator[Guarded]:
    with Guarded(["--auth-token", "simple", "--auth-token-ttl", str(TOKEN_S)]) as made:
        yield made


@pytest.fixture
def office(cluster: Guarded, tmp_path: Path) -> Iterator[Office]:
    made = Office(cluster, tmp_path)
    yield made
    made.close()


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(DeniedError) as caught:
        act()
    return str(caught.value)


def denied(client: Client, key: bytes) -> None:
    """See that a client can neither put this key nor delete it."""
    for puts, deletes in (([(key, b"mine")], []), ([], [key])):
        with pytest.raises(DeniedError, match="permission denied"):
            client.write([], puts, deletes, [], 5.0)


# --- the roles --------------------------------------------------------------------------------------


def standing_roles(office: Office) -> dict[str, set[tuple[int, bytes, bytes]]]:
    found = {}
    for role in ask(office.cluster.root, "RoleList").roles:
        if role.startswith(office.name):
            answer = ask(office.cluster.root, "RoleGet", role=role)
            found[role] = {(one.permType, one.key, one.range_end) for one in answer.perm}
    return found


def test_the_command_makes_the_roles_once(office: Office) -> None:
    shown = office.roles("--dry-run")
    assert shown.exit_code == 0 and "nothing was done" in shown.output
    assert standing_roles(office) == {}
    done = office.roles()
    assert done.exit_code == 0, done.output
    assert "etcdctl user grant-role" in done.output and "auth enable" not in done.output  # for it is on
    below = office.place.prefix.encode()
    every = (below, below[:-1] + b"0")
    learner = {
        (READ, *every),
        (WRITE, below + b"values/edge", b""),
        (WRITE, below + b"journal/edge/", below + b"journal/edge0"),
        (WRITE, below + b"head", b""),
        (WRITE, below + b"~lock/", below + b"~lock0"),
    }
    made = standing_roles(office)
    assert made == {
        f"{office.name}-reader": {(READ, *every)},
        f"{office.name}-approver": {(BOTH, *every)},
        f"{office.name}-learner-edge": learner,
        f"{office.name}-learner-risk": {
            tuple(part.replace(b"edge", b"risk") if isinstance(part, bytes) else part for part in one)
            for one in learner
        },
    }
    again = json.loads(office.roles("--json").output)
    assert again["steps"] == [] and sorted(again["roles"]) == sorted(made)
    assert "nothing to do: 4 roles" in office.roles().output
    assert standing_roles(office) == made


def test_what_differs_is_put_right_and_what_is_not_ours_is_left_alone(office: Office) -> None:
    root, place, learner = office.cluster.root, office.place, f"{office.name}-learner-edge"
    assert office.roles().exit_code == 0
    right = standing_roles(office)
    more = {"permType": BOTH, "key": place.values("risk")}
    stray = f"{office.name}x"
    ask(root, "RoleAdd", name=stray)
    ask(root, "RoleGrantPermission", name=stray, perm=more)
    ask(root, "RoleGrantPermission", name=learner, perm=more)  # too much
    ask(root, "RoleRevokePermission", role=learner, key=place.head)  # too little
    ask(
        root, "RoleGrantPermission", name=learner, perm={"permType": READ, "key": place.values("edge")}
    )  # other
    told = json.loads(office.roles("--json").output)
    keys = office.place.prefix
    assert [(step["do"], step["may"], step["keys"]) for step in told["steps"]] == [
        ("grant", "write", f"{keys}head"),
        ("grant", "write", f"{keys}values/edge"),
        ("revoke", "read and write", f"{keys}values/risk"),
    ]
    assert standing_roles(office) == {**right, stray: {(BOTH, place.values("risk"), b"")}}


def test_roles_of_one_namespace_and_of_another_name(office: Office) -> None:
    told = json.loads(office.roles("--json", "--name", f"{office.name}-b", "edge").output)
    assert told["roles"] == [f"{office.name}-b-{end}" for end in ("reader", "learner-edge", "approver")]
    ask(office.cluster.root, "RoleAdd", name=f"{office.name}-learner-later")
    told = json.loads(office.roles("--json").output)
    assert told["information"][0].startswith(f"{office.name}-learner-later is left as it is")
    assert f"{office.name}-learner-later" in standing_roles(office)


def test_no_role_is_made_for_a_namespace_that_is_not_there(office: Office) -> None:
    for words in (["edge", "rsik"], ["rsik", "--dry-run"]):
        refused = office.roles(*words)
        assert refused.exit_code == 2
        assert f"{office.place.url} has no namespace rsik, but edge, risk." in refused.output
        assert "Nothing was done" in refused.output
    assert standing_roles(office) == {}


def test_a_role_of_another_store_with_that_name_is_not_touched(office: Office) -> None:
    name = f"{office.name}-reader"
    ask(office.cluster.root, "RoleAdd", name=name)
    ask(office.cluster.root, "RoleGrantPermission", name=name, perm={"permType": READ, "key": b"/elsewhere"})
    refused = office.roles()
    assert refused.exit_code == 1
    assert name in refused.output and "--name" in refused.output and "Nothing was done" in refused.output
    assert standing_roles(office) == {name: {(READ, b"/elsewhere", b"")}}


def test_who_cannot_make_roles_is_told(office: Office) -> None:
    office.hire("approver")
    refused = office.roles(kind="approver")
    assert refused.exit_code == 1 and "permission denied" in refused.output
    refused = office.roles(PARAMSTORE_BACKEND=f"{office.place.url}-none")
    assert refused.exit_code == 2 and "There is no store" in refused.output


def test_names_and_words_of_roles() -> None:
    place = parse("etcd://h/a/b")
    names = named(place)
    assert (names.reader, names.learner("x"), names.approver) == (
        "a-b-reader",
        "a-b-learner-x",
        "a-b-approver",
    )
    assert named(place, "shop").name == "shop"
    for bad in ("", "a b", "a/b", "ä"):
        with pytest.raises(SettingsError, match="--name"):
            named(place, bad)
    with pytest.raises(SettingsError, match="@store"):
        wanted(place, names, ["@store"])
    assert who_may(names, ["x"]) == "the role a-b-learner-x (or a-b-approver)"
    assert who_may(names, ["y", "x"]) == "the roles a-b-learner-x, a-b-learner-y (or a-b-approver)"
    assert who_may(names, ["@store"]) == "the role a-b-approver"
    assert Permission(READ, b"/a/", b"/a0").keys == "/a/…" and Permission(READ, b"/a").keys == "/a"
    assert not Permission(READ, b"/a/b/", b"\0").lies_below(place)  # from there to the end of all keys
    want = wanted(place, names, ["x"])
    assert steps(want, want) == []


# --- a learner --------------------------------------------------------------------------------------


def test_a_learner_commits_to_its_own_namespace(office: Office) -> None:
    office.hire("learner-edge", "reader")
    reader = office.store("reader")
    assert reader.get("edge.level") == 1.0
    store = office.store("learner-edge")
    revision = set_value(store, "edge.level", 1.5)
    assert store.get("edge.level") == 1.5
    until(lambda: reader.get("edge.level") == 1.5)
    assert office.head()["revision"] == revision
    with pytest.raises(ParamstoreError, match=r"edge\.level"):
        set_value(store, "edge.level", 99.0)  # a refusal is recorded in its own journal
    assert store.history(refused=True)[-1].kind == "refusal"


def test_a_learner_cannot_commit_elsewhere(office: Office) -> None:
    office.hire("learner-edge", "approver")
    set_value(office.store("approver"), "risk.level", 1.25)
    store = office.store("learner-edge")
    before = office.standing()
    said = refusal(lambda: set_value(store, "risk.level", 3.0))
    assert "Nothing was written; revision" in said
    said = refusal(lambda: store.freeze("*", author="somebody", reason="mine now"))
    assert "permission denied" in said and said.endswith("Nothing was written; revision 1 stands.")

    def both() -> None:
        with store.transaction(author="somebody", reason="a test") as tx:
            tx["edge.level"], tx["risk.level"] = 3.0, 3.0

    refusal(both)
    assert office.standing() == before
    assert store.get("risk.level") == 1.25 and store.get("edge.level") == 1.0
    assert set_value(store, "edge.level", 3.0) > 0  # and it goes on with what it may


def test_a_learner_is_told_which_role_it_lacks(office: Office) -> None:
    office.hire("learner-edge", "approver")
    set_value(office.store("approver"), "risk.level", 1.25)
    store = office.store("learner-edge")
    said = refusal(lambda: set_value(store, "risk.level", 3.0))
    assert f"{office.name}-learner-risk" in said and f"{office.name}-approver" in said
    said = refusal(lambda: store.freeze("*", author="somebody", reason="mine now"))
    assert f"{office.name}-approver" in said and "learner" not in said


def test_a_rule_that_is_broken_elsewhere_is_told_before_the_role(office: Office) -> None:
    office.hire("learner-edge")
    with pytest.raises(ValidationError, match=r"risk\.level"):
        set_value(office.store("learner-edge"), "risk.level", 99.0)


def test_a_learners_credential_cannot_write_elsewhere_by_any_client(office: Office) -> None:
    office.hire("learner-edge", "approver")
    set_value(office.store("approver"), "risk.level", 1.25)
    office.store("approver").freeze("risk", author="somebody", reason="a test")
    rogue, place, before = office.client("learner-edge"), office.place, office.standing()
    elsewhere = {
        *(
            key
            for key in before
            if key not in (place.head, place.values("edge")) and b"/journal/edge/" not in key
        ),
        place.values("new"),
        place.schema("edge"),
        place.entry("risk", 77),
        place.entry("@store", 77),
        place.key("other"),
        b"/elsewhere/head",
    }
    assert {place.entry("@store", 2), place.entry("risk", 1), place.schema("risk")} < set(before)
    for key in elsewhere:
        denied(rogue, key)
    assert office.standing() == before
    put(rogue, (place.entry("edge", 0), b"mine"))  # the same client can where it may
    assert office.standing() != before


def test_other_stores_are_not_read(office: Office) -> None:
    office.hire("learner-edge")
    rogue = office.client("learner-edge")
    for asked in (Range(b"/elsewhere"), Range(b"/", b"0"), Range(b"\0", b"\0")):
        with pytest.raises(DeniedError, match="permission denied"):
            rogue.read([asked], 5.0)


# --- a reader and an approver -----------------------------------------------------------------------


def test_a_reader_reads_and_cannot_write(office: Office) -> None:
    office.hire("reader")
    store, rogue, before = office.store("reader"), office.client("reader"), office.standing()
    assert store.get("risk.size") == 2.0
    begun = time.monotonic()
    said = refusal(lambda: set_value(store, "risk.size", 3.0))
    assert said.endswith("Nothing was written; revision 0 stands.")
    assert time.monotonic() - begun < 1.0  # at once, and not as a lock that somebody holds
    for key in (*before, office.place.head, office.place.entry("edge", 0), office.place.key("~lock", "x")):
        denied(rogue, key)
    assert office.standing() == before
    assert store.get("risk.size") == 2.0 and store.health.problems == ()


def test_an_approver_freezes_and_writes_schemas(office: Office) -> None:
    office.hire("approver", "learner-edge", "reader")
    store, learner, reader = office.store("approver"), office.store("learner-edge"), office.store("reader")
    assert reader.get("edge.level") == 1.0
    store.freeze("edge", author="somebody", reason="a test")
    with pytest.raises(ParamstoreError, match="frozen"):
        set_value(learner, "edge.level", 3.0)
    store.unfreeze("edge", author="somebody")
    set_value(store, "risk.level", 4.0)
    key = office.place.schema("risk")
    text = office.standing()[key][0].replace(b"10.0", b"20.0")
    put(office.client("approver"), (key, text))
    until(lambda: reader.spec("risk.level").maximum == 20.0)
    assert reader.get("risk.level") == 4.0 and reader.health.problems == ()


def test_who_may_not_look_around_copies_where_they_may(office: Office) -> None:
    below = parse(f"{office.place.url}-own/live")
    office.hire("reader")
    root = office.cluster.root
    own = {"permType": BOTH, "key": below.below()[0], "range_end": below.below()[1]}
    ask(root, "RoleGrantPermission", name=f"{office.name}-reader", perm=own)
    words = ["copy", str(office.folder / "source"), below.url]
    done = CliRunner().invoke(cli, words, env={**office.environ("reader"), "PARAMSTORE_BACKEND": ""})
    assert done.exit_code == 0, done.output


def test_a_first_revision_is_recorded_by_one_who_may(office: Office) -> None:
    """Edits by hand in all namespaces stand when a learner of one comes first: it leaves them to others."""
    office.hire("learner-edge", "approver")
    set_value(office.store("learner-edge"), "edge.level", 1.5)
    set_value(office.store("approver"), "risk.level", 2.5)
    set_value(office.store("learner-edge"), "edge.level", 2.5)
    assert office.store("approver").get("risk.level") == 2.5


# --- logging in -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lack", ["password", "user", "login"])
def test_a_wrong_login_is_told_at_once(office: Office, lack: str) -> None:
    office.hire("reader")
    wrong = {
        "password": {"PARAMSTORE_ETCD_PASSWORD": "guessed"},
        "user": {"PARAMSTORE_ETCD_USER": "nobody"},
        "login": {"PARAMSTORE_ETCD_USER": "", "PARAMSTORE_ETCD_PASSWORD": ""},
    }[lack]
    begun = time.monotonic()
    said = refusal(lambda: office.store("reader", **wrong).get("edge.level"))
    assert time.monotonic() - begun < 1.0
    assert "PARAMSTORE_ETCD_USER" in said and "did not answer" not in said
    assert PASSWORD.format(office.user("reader")) not in said and "guessed" not in said


def test_the_password_may_stand_in_a_file(office: Office) -> None:
    office.hire("reader")
    file = office.folder / "password"
    file.write_text(PASSWORD.format(office.user("reader")) + "\n")
    more = {"PARAMSTORE_ETCD_PASSWORD": "", "PARAMSTORE_ETCD_PASSWORD_FILE": str(file)}
    assert office.store("reader", **more).get("edge.level") == 1.0


def test_a_password_that_is_missing_is_told(office: Office) -> None:
    empty = office.folder / "empty"
    empty.touch()
    for file, lack in (("", "is not set"), (str(empty), "names a file that is empty")):
        more = {"PARAMSTORE_ETCD_PASSWORD": "", "PARAMSTORE_ETCD_PASSWORD_FILE": file}
        with pytest.raises(
            SettingsError, match=f"its password is missing: PARAMSTORE_ETCD_PASSWORD_FILE {lack}"
        ):
            office.store("reader", **more).get("edge.level")


def test_a_login_that_expired_is_renewed(office: Office) -> None:
    office.hire("learner-edge", "reader")
    client = office.client("reader")
    head = Range(office.place.head)
    client.read([head], 5.0)
    old = client._token
    time.sleep(GONE_S)
    client.read([head], 5.0)
    assert old and client._token not in ("", old)  # else this test showed nothing
    old = client._token
    time.sleep(GONE_S)
    lease = client.grant(10, 5.0)
    assert client.keep_alive(lease, 5.0) > 0


def test_a_follower_goes_on_when_its_login_expired(office: Office) -> None:
    office.hire("learner-edge", "reader")
    reader = office.store("reader", PARAMSTORE_ETCD_CHECK_S="60")  # by the watch alone
    assert reader.get("edge.level") == 1.0
    time.sleep(GONE_S)
    store = office.store("learner-edge")
    set_value(store, "edge.level", 1.5)
    until(lambda: reader.get("edge.level") == 1.5)
    time.sleep(GONE_S)
    backend = reader._open()
    backend.follower.cut()  # type: ignore[attr-defined]
    set_value(store, "edge.level", 2.5)
    until(lambda: reader.get("edge.level") == 2.5)


def _reads(store: ParamStore, value: float) -> bool:
    return bool(store.get("edge.level") == value)


def test_a_server_that_forgot_all_logins_is_asked_again(tmp_path: Path) -> None:
    with Guarded() as cluster:
        office = Office(cluster, tmp_path)
        office.hire("learner-edge", "reader")
        reader, store = office.store("reader"), office.store("learner-edge")
        assert reader.get("edge.level") == 1.0
        set_value(store, "edge.level", 1.5)
        for value in (2.5, 3.5):
            cluster.servers[0].stop()
            client = office.client("reader")
            with pytest.raises(UnreachableError):  # and nothing else, which would end a follower
                client.watch(*office.place.below(), 1)
            cluster.servers[0].start()
            cluster.wait()
            set_value(store, "edge.level", value)
            until(partial(_reads, reader, value))
        assert reader.health.problems == ()
        office.close()


def test_users_go_on_while_authentication_is_switched_on(tmp_path: Path) -> None:
    """Users have their names and passwords before it is, so that switching it on stops nobody."""
    with Cluster(options=["--bcrypt-cost", "4"]) as plain:
        client = Client(Credentials(plain.endpoints, user="root", password=PASSWORD.format("root")))
        assert client.read([Range(b"/x")], 5.0)[1][0].found == []
        ask(client, "UserAdd", name="root", password=PASSWORD.format("root"))
        ask(client, "RoleAdd", name="root")
        ask(client, "UserGrantRole", user="root", role="root")
        ask(client, "AuthEnable")
        assert client.read([Range(b"/x")], 5.0)[1][0].found == []
        client.close()


@pytest.mark.parametrize(
    ("backend", "said"), [("", "names no cluster"), ("etcd://nowhere/x", "--root names")]
)
def test_files_have_no_roles(tmp_path: Path, backend: str, said: str) -> None:
    root = write_store(tmp_path / "files", {}, {})
    environ = {"PARAMSTORE_BACKEND": backend}
    refused = CliRunner().invoke(cli, ["--root", str(root), "etcd", "roles"], env=environ)
    assert refused.exit_code == 2 and said in refused.output
