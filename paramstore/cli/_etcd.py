"""The cluster that holds a store: ``etcd roles``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from paramstore import ParamStore
from paramstore._etcd_place import ANSWER_S
from paramstore._looked import cluster_of
from paramstore.cli._output import Row, count_of, print_json, say, table
from paramstore.cli._shared import dry_run_option, json_option
from paramstore.errors import SettingsError, StoreNotFoundError, WriteError

if TYPE_CHECKING:
    from paramstore._etcd_client import Client
    from paramstore._etcd_place import Place
    from paramstore._etcd_roles import Names, Permission, Step

ANSWERED_TWICE = "already exists", "not granted"  # an answer was lost, and the second try found it done


@click.group(
    "etcd", short_help="The cluster that holds the values.", epilog="Example: paramstore etcd roles --dry-run"
)
def etcd_() -> None:
    """The etcd cluster that PARAMSTORE_BACKEND names."""


@etcd_.command(
    "roles", short_help="Make the roles of the cluster.", epilog="Example: paramstore etcd roles --dry-run"
)
@click.argument("namespaces", nargs=-1, metavar="[NAMESPACE]...")
@click.option(
    "--name", metavar="NAME", help="What the roles' names begin with. Default: the prefix, a/b as a-b."
)
@dry_run_option
@json_option
@click.pass_obj
def roles(
    store: ParamStore, *, namespaces: tuple[str, ...], name: str | None, dry_run: bool, as_json: bool
) -> None:
    """Make the roles by which readers, learners and approvers get just what they need, and say how to give them to users.

    NAME-reader, NAME-approver, and NAME-learner-NAMESPACE for each NAMESPACE, or for all in the store. What a role of these
    lacks is added, what it permits beyond that is taken away. Other roles, users and authentication stay as they are.
    """
    from paramstore import _etcd_roles
    from paramstore._etcd_client import Client

    backend = cluster_of(store)
    place, client = backend.place, Client(backend.credentials)
    names = _etcd_roles.named(place, name)
    try:
        there = _namespaces(client, place)
        _refuse_unknown(place, namespaces, there)
        want = _etcd_roles.wanted(place, names, sorted(set(namespaces or there)))
        standing = _standing(client, names)
        _refuse_strangers(place, {role: have for role, have in standing.items() if role in want})
        todo = _etcd_roles.steps(want, standing)
        told = _information(names, there, standing)
        if not as_json:
            _show(todo, told)
        if not dry_run:
            _take(client, todo)
    finally:
        client.close()
    if as_json:
        print_json(_as_json(names, place, dry_run, todo, list(want), told))
    else:
        _show_end(todo, dry_run, list(want), backend.credentials.user is not None)


# --- the cluster ----------------------------------------------------------------------------------


def _ask(client: Client, method: str, **fields: Any) -> Any:
    from paramstore._etcd_messages import MESSAGES

    return client.call(method, MESSAGES[f"Auth{method}Request"](**fields), ANSWER_S)


def _namespaces(client: Client, place: Place) -> list[str]:
    """Return the namespaces that the cluster holds. Raises ``StoreNotFoundError`` where there is none."""
    from paramstore._etcd_client import Range

    _, kinds = client.read([Range(*place.below(kind)) for kind in ("values", "schemas")], ANSWER_S)
    found = {place.told(kv.key)[1] for answer in kinds for kv in answer.found}
    if not found:
        raise StoreNotFoundError(
            f"There is no store at {place.url}: roles are made for what is there. Nothing was done."
        )
    return sorted(found)


def _refuse_unknown(place: Place, given: tuple[str, ...], there: list[str]) -> None:
    unknown = sorted({*given} - {*there})
    if unknown:
        raise SettingsError(
            f"{place.url} has no namespace {', '.join(unknown)}, but {', '.join(there)}. A role is made once its namespace is "
            "there. Nothing was done."
        )


def _standing(client: Client, names: Names) -> dict[str, frozenset[Permission]]:
    """Return the roles of such names that there are, and what they permit."""
    from paramstore._etcd_roles import Permission

    found = {}
    for role in filter(names.owns, _ask(client, "RoleList").roles):
        answer = _ask(client, "RoleGet", role=role)
        found[role] = frozenset(Permission(one.permType, one.key, one.range_end) for one in answer.perm)
    return found


def _take(client: Client, todo: list[Step]) -> None:
    """Take the steps in their order. Raises ``WriteError``; those before it are done, and the next run does the others."""
    for number, step in enumerate(todo):
        try:
            _take_one(client, step)
        except WriteError as error:
            if not any(words in error.message for words in ANSWERED_TWICE):
                done = f"{number} of {count_of(len(todo), 'step')} done; run it again for the others"
                error.message = f"{error.message.rstrip('.')}. {done}."
                raise


def _take_one(client: Client, step: Step) -> None:
    one = step.permission
    if one is None:
        _ask(client, "RoleAdd", name=step.role)
    elif step.do == "grant":
        granted = {"permType": one.kind, "key": one.key, "range_end": one.end}
        _ask(client, "RoleGrantPermission", name=step.role, perm=granted)
    else:
        _ask(client, "RoleRevokePermission", role=step.role, key=one.key, range_end=one.end)


def _refuse_strangers(place: Place, standing: dict[str, frozenset[Permission]]) -> None:
    from paramstore._etcd_roles import strangers

    found = strangers(place, standing)
    if found:
        raise WriteError(
            f"{', '.join(found)}: there already, and permits what is not below {place.prefix}: not a role of this store. Give "
            "the roles another --name. Nothing was done."
        )


# --- what is said ---------------------------------------------------------------------------------


def _information(names: Names, there: list[str], standing: dict[str, frozenset[Permission]]) -> list[str]:
    learners = [(role, names.namespace(role)) for role in sorted(standing)]
    return [
        f"{role} is left as it is: the store has no such namespace; `etcdctl role delete {role}` removes it"
        for role, namespace in learners
        if namespace is not None and namespace not in there
    ]


def _show(todo: list[Step], told: list[str]) -> None:
    if todo:
        cells = [(step.role, step.do, step.permission) for step in todo]
        table(
            ("role", "step", "may", "~keys"),
            [Row((role, do, one.may if one else "", one.keys if one else "")) for role, do, one in cells],
        )
    for line in told:
        say(f"information: {line}", "dim")


def _show_end(todo: list[Step], dry_run: bool, there: list[str], authenticated: bool) -> None:
    if not todo:
        say(f"nothing to do: {count_of(len(there), 'role')} as they should be")
    elif dry_run:
        say(f"{count_of(len(todo), 'step')} to do; nothing was done (--dry-run)")
        return
    else:
        say(f"{count_of(len(todo), 'step')} done")
    learner = there[1] if len(there) > 2 else there[0]
    say("Next, for each user, as one who has the role root:")
    say("  etcdctl user add NAME")
    say(f"  etcdctl user grant-role NAME {learner}")
    if not authenticated:
        say("Roles bind nobody until authentication is on:")
        say("  etcdctl user add root; etcdctl user grant-role root root; etcdctl auth enable")


def _as_json(
    names: Names, place: Place, dry_run: bool, todo: list[Step], there: list[str], told: list[str]
) -> dict[str, Any]:
    shown: list[dict[str, Any]] = []
    for step in todo:
        item: dict[str, Any] = {"role": step.role, "do": step.do}
        if step.permission is not None:
            item |= {"may": step.permission.may, "keys": step.permission.keys}
        shown.append(item)
    return {
        "name": names.name, "prefix": place.prefix, "roles": there, "steps": shown, "dry_run": dry_run, "information": told
    }  # fmt: skip
