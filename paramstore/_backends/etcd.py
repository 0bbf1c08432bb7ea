"""Values in etcd, for many machines: a local store that is a mirror of the cluster, and whose commits take place there.

Reads, the past and all judging are those of ``local``, on the mirror. What differs: the mirror must be kept in step
(``_follower``), and a commit is one transaction of etcd (``_etcd_commit``). Where an agent keeps it in step, a reader imports
neither of them.
"""

from __future__ import annotations

import os
import time

from paramstore._backends._followed import Signs
from paramstore._backends.local import LocalBackend
from paramstore._clock import SYSTEM, utc_text
from paramstore._etcd_place import ANSWER_S, Credentials, parse
from paramstore._options import Options
from paramstore._state import State
from paramstore.errors import InvalidFileError, ParamstoreError, SettingsError, UnreachableError, WriteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from paramstore._backends._etcd_commit import EtcdWriter
    from paramstore._backends._follower import Follower
    from paramstore._backends._mirror import Mirror
    from paramstore._backends._remote import Remote
    from paramstore._clock import Clock
    from paramstore._etcd_place import Place
    from paramstore._memory import Memory
    from paramstore._outline import Line
    from paramstore._schema import Schema

SHARED = "/var/lib/paramstore"  # of an agent that serves all users of a machine
ALONE_S = 1.0  # how often a process looks whether anyone follows the cluster on its machine
STALE_CHECKS = 3  # so many checks without an answer, and what is served is called stale


class EtcdBackend(LocalBackend):
    """The store at ``place``, mirrored in the directory ``root``; see ``base.Backend`` for what each method promises.

    ``check_s``: seconds between two questions for the newest entry, besides the watch.
    """

    def __init__(
        self, place: Place, credentials: Credentials, root: str, options: Options, clock: Clock = SYSTEM, check_s: float = 2.0
    ) -> None:  # fmt: skip
        super().__init__(root, options, clock)
        self.place = place
        self.credentials = credentials
        self.check_s = check_s
        self.signs = Signs(self.runtime)
        self._parts: tuple[Remote, Mirror, Follower] | None = None
        self._prepared = False
        self._looked = 0.0

    # -- the mirror -------------------------------------------------------------------------------

    def _following(self) -> tuple[Remote, Mirror, Follower]:
        """Return what follows and writes, which readers beside an agent never need."""
        if self._parts is None:
            from paramstore._backends._follower import Follower
            from paramstore._backends._mirror import Mirror
            from paramstore._backends._remote import Remote

            remote, mirror = Remote(self.place, self.credentials), Mirror(self)
            self._parts = remote, mirror, Follower(mirror, remote, self.check_s)
        return self._parts

    @property
    def remote(self) -> Remote:
        return self._following()[0]

    @property
    def mirror(self) -> Mirror:
        return self._following()[1]

    @property
    def follower(self) -> Follower:
        return self._following()[2]

    def prepare(self) -> None:
        """See that there is a mirror, and somebody who keeps it in step: an agent, another process, or else this one.

        Raises ``UnreachableError`` and ``StoreNotFoundError`` when there is none and it cannot be made.
        """
        if self._prepared:
            return
        self._judge_label()
        try:
            if self.signs.is_followed() or not self.follower.claim():
                self._wait_for_mirror()
            else:
                self._begin_to_follow()
        except WriteError:  # away, refused, or without what it takes: what is there can be read
            if self.signs.seen() is None:
                raise
        self._prepared = True

    def _judge_label(self) -> None:
        label = self.signs.label()
        if label and not self.place.is_of(label):
            raise SettingsError(
                f"{self.root} is the mirror of another store ({label}), not of {self.place.url}. Name another directory in "
                "PARAMSTORE_MIRROR, name the members of the cluster as the other processes of this machine do, or delete the mirror "
                "while nobody uses it. Nothing was opened."
            )

    def _begin_to_follow(self) -> None:
        try:
            self.follower.catch_up(ANSWER_S)
        except UnreachableError:
            if self.signs.seen() is None:
                self.follower.stop()
                raise
        except BaseException:
            self.follower.stop()
            raise
        self.follower.start()

    def _wait_for_mirror(self) -> None:
        deadline = time.monotonic() + ANSWER_S
        while self.signs.seen() is None:
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"Another process keeps the mirror of {self.place.url} in {self.root}, and it is not whole after "
                    f"{ANSWER_S:g} s: see what that process says"
                )
            time.sleep(0.01)

    def _take_over(self) -> None:
        """Follow the cluster, should whoever did it on this machine be gone."""
        now = time.monotonic()
        if now - self._looked > ALONE_S:
            self._looked = now
            try:
                if not self.signs.is_followed() and self.follower.claim():
                    self.follower.start()
            except WriteError:
                return  # told by the age of what is served

    def stale(self) -> str:
        """Return why what is served may be old, or nothing."""
        if problem := self.signs.problem():
            return problem
        age = self.signs.age_s()
        if age is not None and age <= STALE_CHECKS * self.check_s:
            return ""
        since = "" if age is None else f" since {utc_text(SYSTEM.now() - age)[:19]}Z"
        return f"{self.place.url} has not answered anyone here{since}: what is served may be old"

    def age_s(self) -> float:
        age = self.signs.age_s()
        return float("inf") if age is None else age

    def look(self) -> str:
        """Bring the mirror in step, unless another process does; return why it is not, or nothing.

        Raises what ``prepare`` does where there is no mirror.
        """
        self._judge_label()
        problem = ""
        if not self.signs.is_followed():
            try:
                self.follower.catch_up(ANSWER_S, once=True)
            except (OSError, ParamstoreError) as error:
                problem = str(error).removeprefix(f"{self.place.url}: ")
        if self.signs.seen() is None:
            self.prepare()
        return problem or self.stale().removeprefix(f"{self.place.url} ")

    # -- reading ----------------------------------------------------------------------------------

    def signal(self) -> object:
        self.prepare()
        return super().signal()

    def load(self, last: State | None, files: bool = False) -> State:
        self.prepare()
        return super().load(last, files)

    def _load_files(self, last: State | None) -> State:
        deadline = time.monotonic() + ANSWER_S
        while (state := self._load_whole(last)) is None:
            if time.monotonic() > deadline:
                if last is not None:
                    return last
                raise InvalidFileError(
                    self.root, "the mirror of the cluster is not whole, and nobody makes it so"
                )
            time.sleep(0.001)
        problem = self.stale()
        if not problem:
            return state
        return State(
            state.revision, state.documents, state.position, {**state.problems, self.place.url: problem}
        )

    def _load_whole(self, last: State | None) -> State | None:
        """Return what the files hold; ``None`` while anything is being taken over: then one may be missing that soon is there."""
        seen = self.signs.seen()
        if seen is None:
            return None
        try:
            state = super()._load_files(last)
        except InvalidFileError:
            if self.signs.seen() == seen:
                raise
            return None
        return state if self.signs.seen() == seen else None

    def poll(self, last: State) -> bool:
        self._take_over()
        return last.problems.get(self.place.url, "") != self.stale() or super().poll(last)

    # -- the rest of the protocol: as in files, once there are files ---------------------------------

    def schema(self, namespace: str, digest: str = "") -> Schema:
        self.prepare()
        return super().schema(namespace, digest)

    def records(self) -> list[dict[str, Any]]:
        self.prepare()
        return super().records()

    def lines(self) -> list[Line]:
        self.prepare()
        return super().lines()

    def _read_past(self) -> Memory:
        self.prepare()
        return super()._read_past()

    def _make_writer(self) -> EtcdWriter:
        from paramstore._backends._etcd_commit import EtcdWriter

        return EtcdWriter(self)

    def after_fork(self) -> None:
        super().after_fork()
        self._parts = None
        self._prepared = False

    def close(self) -> None:
        """Stop following, and leave the cluster."""
        if self._parts is not None:
            self.follower.stop()
            self.remote.client.close()
        self._prepared = False


def open_backend(options: Options, environ: Mapping[str, str], clock: Clock = SYSTEM) -> EtcdBackend:
    """Return the backend that the settings name. Raises ``SettingsError``."""
    place, credentials = named(options)
    options.journal = Options().journal  # that setting is of files; a mirror's is always the same
    root = mirror_folder(place, options.mirror, environ)
    return EtcdBackend(place, credentials, root, options, clock, options.etcd_check_s)


def named(options: Options) -> tuple[Place, Credentials]:
    """Return the cluster that the settings name, and how to reach it. Raises ``SettingsError``."""
    place = parse(options.backend or "")
    password = options.etcd_password
    if options.etcd_password_file is not None:
        try:
            with open(os.path.expanduser(options.etcd_password_file), encoding="utf-8") as file:
                password = file.read().rstrip("\r\n")
        except (OSError, UnicodeError) as error:
            raise SettingsError(f"PARAMSTORE_ETCD_PASSWORD_FILE: {error}. Nothing was opened.") from None
    if options.etcd_user is not None and not password:
        lack = "is not set" if options.etcd_password_file is None else "names a file that is empty"
        raise SettingsError(
            f"PARAMSTORE_ETCD_USER is {options.etcd_user!r}, and its password is missing: PARAMSTORE_ETCD_PASSWORD_FILE {lack}. "
            "Nothing was opened."
        )
    secrets = options.etcd_ca, options.etcd_cert, options.etcd_key, options.etcd_user, password
    return place, Credentials(place.endpoints, *secrets)


def mirror_folder(place: Place, given: str | None, environ: Mapping[str, str]) -> str:
    """Return the directory of this machine's mirror: as given, else that of a system-wide agent if there is one, else one of
    this user."""
    if given:
        return os.path.abspath(os.path.expanduser(given))
    name = place.name
    shared = os.path.join(SHARED, name)
    if os.path.isdir(shared):
        return shared
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(
        environ.get("HOME") or os.path.expanduser("~"), ".cache"
    )
    return os.path.join(cache, "paramstore", name)
