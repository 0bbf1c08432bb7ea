"""Who else may write where a store lives. Anyone at all is too many: whoever writes there sets what is traded.

A group is trusted, because somebody made it for this: several users share a store that way. An owner is trusted
who is this user, root, or the owner of the store's folder. See docs/security.md for why.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ANYONE, GROUP = 0o002, 0o020  # may write
FOLDERS = ("", "params", "schemas", ".paramstore", "params/journal")


def open_to_anyone(path: str, mode: int) -> str:
    """Return why a file or folder must not be used because every user may write to it, or nothing."""
    if mode & ANYONE:
        return (
            f"every user may write to {path} (mode {mode & 0o7777:04o}): run `chmod o-w {path}`, or, where a mount has no "
            "modes, mount it with umask=022 or set PARAMSTORE_ANY_USER_MAY_WRITE=1"
        )
    return ""


def why_not(root: str, any_user: bool = False, folders: Iterable[str] = FOLDERS) -> str:
    """Return why the folders of a store must not be used, and the way to mend it, or nothing. ``any_user``: the setting
    that lets every user write."""
    trusted = {0, os.geteuid()}
    for name in folders:
        path = os.path.join(root, name).rstrip("/")
        try:
            found = os.stat(path)
            if name == ".paramstore" and os.path.islink(path):
                return f"{path} is a symbolic link, and what is written through it lands elsewhere: remove it"
        except OSError:
            continue  # told by whoever needs it
        if not any_user and (problem := open_to_anyone(path, found.st_mode)):
            return problem
        trusted |= set() if name else {found.st_uid}
        if found.st_uid not in trusted and not found.st_mode & GROUP:
            return f"{path} belongs to user {found.st_uid}, who does not own the store: run `chown {os.geteuid()} {path}`"
    return ""


def why_not_files(files: Iterable[str]) -> str:
    """Return why one of ``files`` must not be used because every user may write to it, or nothing."""
    for file in files:
        try:
            mode = os.stat(file).st_mode
        except OSError:
            continue  # told by whoever needs it
        if problem := open_to_anyone(file, mode):
            return problem
    return ""


def is_ours(fd: int, path: str) -> bool:
    """Tell whether the run-time file ``path``, open as ``fd``, was written by those who may: it is no more open than its
    folder, which ``why_not`` judges, and owned by root, this user or the store's owner, or shared with the folder's group."""
    folder = os.path.dirname(path)
    found, above = os.fstat(fd), os.stat(folder)
    if found.st_mode & ~above.st_mode & ANYONE:
        return False
    if found.st_mode & above.st_mode & GROUP and found.st_gid == above.st_gid:
        return True
    return found.st_uid in (0, os.geteuid(), above.st_uid) or found.st_uid == os.stat(f"{folder}/..").st_uid
