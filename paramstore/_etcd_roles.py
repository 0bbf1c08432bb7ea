"""Who may do what in the cluster: the roles of a store, and in what they differ from those that stand. Pure.

A role holds ranges of keys. ``<name>-reader`` reads all below the prefix; ``<name>-learner-<namespace>`` also writes what a
commit to that namespace writes, and nothing else; ``<name>-approver`` reads and writes all. The names of keys are in ``_etcd_place``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from paramstore._etcd_place import LOCK, STORE, Place, end_of
from paramstore.errors import SettingsError

READ, WRITE, BOTH = 0, 1, 2  # etcd's own numbers
MAY = {READ: "read", WRITE: "write", BOTH: "read and write"}
Do = Literal["make", "grant", "revoke"]


class Permission(NamedTuple):
    """What may be done with ``key``, or with all keys from it up to ``end``."""

    kind: int
    key: bytes
    end: bytes = b""

    @property
    def may(self) -> str:
        return MAY.get(self.kind, str(self.kind))

    @property
    def keys(self) -> str:
        """The keys as people write them: ``/shop/head``, ``/shop/journal/…``."""
        key, end = (raw.decode("utf-8", "backslashreplace") for raw in (self.key, self.end))
        if not self.end:
            return key
        return f"{key}…" if self.key and self.end == end_of(self.key) else f"{key} up to {end}"

    def lies_below(self, place: Place) -> bool:
        start, end = place.below()
        return start <= self.key < end and (not self.end or self.key < self.end <= end)


class Step(NamedTuple):
    """One change to a role of the cluster."""

    role: str
    do: Do
    permission: Permission | None = None


class Names(NamedTuple):
    """How the roles of one store are called."""

    name: str

    @property
    def reader(self) -> str:
        return f"{self.name}-reader"

    @property
    def approver(self) -> str:
        return f"{self.name}-approver"

    def learner(self, namespace: str) -> str:
        return f"{self.name}-learner-{namespace}"

    def namespace(self, role: str) -> str | None:
        """Return the namespace of a learner's role, ``None`` for any other role."""
        start = self.learner("")
        return role[len(start) :] if role.startswith(start) and role != start else None

    def owns(self, role: str) -> bool:
        return role in (self.reader, self.approver) or self.namespace(role) is not None


def named(place: Place, given: str | None = None) -> Names:
    """Return the names of the store's roles: after ``given``, else after its prefix (a/b → a-b). Raises ``SettingsError``."""
    name = place.prefix.strip("/").replace("/", "-") if given is None else given
    if not name or not name.isascii() or not name.isprintable() or " " in name or "/" in name:
        raise SettingsError(
            f"{name!r} is no name for roles: letters, digits and signs without spaces. Give --name. Nothing was done."
        )
    return Names(name)


def wanted(place: Place, names: Names, namespaces: Iterable[str]) -> dict[str, frozenset[Permission]]:
    """Return each role that there should be, and all that it should permit. Raises ``SettingsError``."""
    read = Permission(READ, *place.below())
    roles = {names.reader: frozenset([read])}
    for namespace in namespaces:
        if namespace == STORE:  # its learner could lift every freeze
            raise SettingsError(
                f"`{STORE}` is where entries stand that touch no namespace: it cannot have a learner. Nothing was done."
            )
        writes = (
            Permission(WRITE, place.values(namespace)),
            Permission(WRITE, *place.below("journal", namespace)),
            Permission(WRITE, place.head),
            Permission(WRITE, *place.below(LOCK)),
        )
        roles[names.learner(namespace)] = frozenset([read, *writes])
    roles[names.approver] = frozenset([Permission(BOTH, *place.below())])
    return roles


def steps(
    want: Mapping[str, frozenset[Permission]], standing: Mapping[str, frozenset[Permission]]
) -> list[Step]:
    """Return what makes ``standing`` as ``want`` says: what is missing comes first, so that nobody is locked out meanwhile."""
    found: list[Step] = []
    for role, permissions in want.items():
        have = standing.get(role)
        if have is None:
            found.append(Step(role, "make"))
        found += [Step(role, "grant", one) for one in sorted(permissions - (have or frozenset()))]
        places = {one[1:] for one in permissions}  # granting these anew replaced what stood there
        surplus = [one for one in (have or frozenset()) - permissions if one[1:] not in places]
        found += [Step(role, "revoke", one) for one in sorted(surplus)]
    return found


def strangers(place: Place, standing: Mapping[str, frozenset[Permission]]) -> list[str]:
    """Return roles that permit something elsewhere, which none of this store's does: somebody else made them."""
    return sorted(role for role, have in standing.items() if not all(one.lies_below(place) for one in have))


def who_may(names: Names, homes: Iterable[str]) -> str:
    """Return in words which role may write to these namespaces; for ``@store``, or none, only an approver's."""
    touched = sorted(set(homes))
    if not touched or STORE in touched:
        return f"the role {names.approver}"
    learners = [names.learner(namespace) for namespace in touched]
    several = f"roles {', '.join(learners)}" if len(learners) > 1 else f"role {learners[0]}"
    return f"the {several} (or {names.approver})"
