"""The store's own options with their defaults, and where a store is found. Light: part of a first read."""

from __future__ import annotations

import os

from paramstore.errors import StoreNotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "PARAMSTORE_"
SETTINGS_FILE = "paramstore.toml"
BACKEND = PREFIX + "BACKEND"
MIRROR = PREFIX + "MIRROR"
PLAIN = PREFIX + "ROOT", BACKEND, MIRROR  # names of places, which are judged where they are used


class Options:
    """``journal``: directory of segments, or one ``.jsonl`` file, relative to the root. ``timeout_s``: how
    long a transaction waits for the lock. ``poll_s``: how often files are looked at for edits by hand.
    ``author``: who the command line says it is. ``read_counts``: whether reads are counted. ``any_user_may_write``: use
    folders that are open to all (docs/security.md). ``doctor_…``: what `paramstore doctor` goes by (docs/doctor.md).
    ``backend``: where values live instead of files, ``mirror``: the directory of this machine's mirror of it, ``etcd_…``: how
    to reach it (docs/etcd.md)."""

    __slots__ = ("any_user_may_write", "author", "backend", "doctor_flips", "doctor_pinned", "doctor_refused", "doctor_silent_intervals",
                 "doctor_sources", "doctor_stale_s", "etcd_ca", "etcd_cert", "etcd_check_s", "etcd_key", "etcd_password",
                 "etcd_password_file", "etcd_user", "journal", "mirror", "poll_s", "read_counts", "timeout_s")  # fmt: skip

    def __init__(
        self,
        journal: str = "params/journal",
        timeout_s: float = 5.0,
        poll_s: float = 0.1,
        author: str | None = None,
        read_counts: bool = False,
        any_user_may_write: bool = False,
        doctor_silent_intervals: float = 2.0,
        doctor_stale_s: float = 604_800.0,
        doctor_flips: int = 4,
        doctor_pinned: int = 3,
        doctor_refused: int = 5,
        doctor_sources: tuple[str, ...] = (),
        backend: str | None = None,
        mirror: str | None = None,
        etcd_ca: str | None = None,
        etcd_cert: str | None = None,
        etcd_key: str | None = None,
        etcd_user: str | None = None,
        etcd_password: str | None = None,
        etcd_password_file: str | None = None,
        etcd_check_s: float = 2.0,
    ) -> None:
        self.journal = journal
        self.timeout_s = timeout_s
        self.poll_s = poll_s
        self.author = author
        self.read_counts = read_counts
        self.any_user_may_write = any_user_may_write
        self.doctor_silent_intervals = doctor_silent_intervals
        self.doctor_stale_s = doctor_stale_s
        self.doctor_flips = doctor_flips
        self.doctor_pinned = doctor_pinned
        self.doctor_refused = doctor_refused
        self.doctor_sources = doctor_sources
        self.backend = backend
        self.mirror = mirror
        self.etcd_ca = etcd_ca
        self.etcd_cert = etcd_cert
        self.etcd_key = etcd_key
        self.etcd_user = etcd_user
        self.etcd_password = etcd_password
        self.etcd_password_file = etcd_password_file
        self.etcd_check_s = etcd_check_s


def find_root(environ: Mapping[str, str], start: str | None = None) -> str:
    """Return ``PARAMSTORE_ROOT``, else the nearest directory from ``start`` (the working directory) upward
    that holds both ``params/`` and ``schemas/``. Raises ``StoreNotFoundError`` that says what to do."""
    named = environ.get(PREFIX + "ROOT")
    if named:
        return check_root(named, "PARAMSTORE_ROOT")
    begin = folder = os.path.abspath(start or os.getcwd())
    while not is_root(folder):
        parent = os.path.dirname(folder)
        if parent == folder:
            raise StoreNotFoundError(
                f"No parameter store in {begin} or above it: no directory holds both params/ and schemas/. "
                "Run `paramstore init` there, or set PARAMSTORE_ROOT (or --root) to the directory that has one."
            )
        folder = parent
    return folder


def find_root_or_none(environ: Mapping[str, str]) -> str | None:
    """Return what ``find_root`` does, or ``None`` where there is none."""
    try:
        return find_root(environ)
    except StoreNotFoundError:
        return None


def is_root(folder: str) -> bool:
    return os.path.isdir(os.path.join(folder, "params")) and os.path.isdir(os.path.join(folder, "schemas"))


def check_root(folder: str, named_by: str) -> str:
    """Return ``folder`` made absolute, or raise ``StoreNotFoundError``."""
    folder = os.path.abspath(os.path.expanduser(folder))
    if not is_root(folder):
        missing = [
            name + "/" for name in ("params", "schemas") if not os.path.isdir(os.path.join(folder, name))
        ]
        raise StoreNotFoundError(
            f"{named_by} is {folder}, which has no {' and no '.join(missing)}. Run `paramstore init` there, or name "
            "the directory that has both."
        )
    return folder


def needs_validation(root: str | None, environ: Mapping[str, str]) -> bool:
    """Tell whether anything but places is set at all, so that it must go through the settings model."""
    named = any(name.startswith(PREFIX) and name not in PLAIN for name in environ)
    return named or (root is not None and os.path.exists(os.path.join(root, SETTINGS_FILE)))
