"""Mounts that only one process sees, as in a container: a forked child with a mount namespace of its own.

As root by itself; else in a user namespace, where the system allows one. What is mounted goes with the child.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from processes import together

NEW_MOUNTS, NEW_USERS = 0x20000, 0x10000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become other users")

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: object) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(what))


def mount(source: object, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    words = [os.fsencode(str(word)) for word in (source, target, kind)]
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options)), target)


def read_only(target: Path) -> None:
    """Let nothing below ``target``, which must be a mount, be written through it."""
    mount("none", target, flags=REMOUNT | BIND | READ_ONLY)


def _apart(work: Callable[[], Any]) -> Any:
    user, group = os.geteuid(), os.getegid()
    _checked(_libc.unshare(NEW_MOUNTS | (NEW_USERS if user else 0)), "a mount namespace")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    mount("none", Path("/"), flags=RECURSIVE | PRIVATE)
    return work()


@cache
def _why_not() -> str:
    try:
        together(lambda: _apart(lambda: mount("none", Path("/mnt"), "tmpfs")))
    except AssertionError as error:
        return str(error).strip().rpartition("\n")[2]
    return ""


def apart(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns in a process with its own mounts; skip the test where that cannot be."""
    if why := _why_not():
        pytest.skip(f"no mount namespace here: {why}")
    return together(lambda: _apart(work))[0]


def as_user(user: int, group: int, work: Callable[[], Any], umask: int = 0o022) -> Callable[[], Any]:
    """Return ``work`` as another user does it, for a forked child. What it imports must have been imported before."""

    def become() -> Any:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
        os.umask(umask)
        return work()

    return become
