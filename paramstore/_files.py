"""Files: read one that is whole, write a new one beside it, exchange the two names, prove it.

Plain ``os`` calls, so that each durable step is visible. Which step stands where, and why, is in
docs/design.md; the order is proved by killing writers at every system call.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

QUIET_S = 0.1  # bytes that nobody announced must rest this long before they are read
UNFINISHED_QUIET_S = 0.5  # and this long when they do not end in a newline
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_F_SETSIG = 10
_CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_MOUNTED = "it is mounted by itself, as one file, and so cannot be replaced: mount the folder that it is in"
_GROUP_WRITES, _ANYONE_WRITES = 0o020, 0o002
_FOR_A_FILE, _FOR_A_FOLDER = 0o064, 0o2075  # what a folder passes on

Identity = tuple[int, int, int, int, int]


def identity(stat: os.stat_result) -> Identity:
    """Return what changes whenever a file is replaced or written: device, inode, size, mtime, ctime."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def digest(raw: bytes) -> str:
    """Return the sha256 of ``raw`` in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


class Content:
    """The bytes of a file and the identity that it had, unchanged, around the read."""

    __slots__ = ("_digest", "identity", "mode", "mtime_s", "path", "raw")

    def __init__(self, path: str, raw: bytes, stat: os.stat_result) -> None:
        self.path = path
        self.raw = raw
        self._digest = ""
        self.identity = identity(stat)
        self.mode = stat.st_mode
        self.mtime_s = stat.st_mtime

    @property
    def digest(self) -> str:
        self._digest = self._digest or digest(self.raw)
        return self._digest

    def is_quiet(self) -> bool:
        """Tell whether these bytes have rested long enough not to be half of a save."""
        age = time.time() - self.mtime_s
        needed = QUIET_S if self.raw.endswith(b"\n") else UNFINISHED_QUIET_S
        return age >= needed or age < 0  # a time in the future says nothing: take the bytes as they are


def read(path: str, limit: int = 64 << 20) -> Content | None:
    """Return the content of ``path``, or ``None`` when it changed under the read ("not yet").

    Raises ``OSError`` when it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(fd)
        raw = _read_up_to(fd, min(before.st_size + 1, limit))
        after = os.fstat(fd)
    finally:
        os.close(fd)
    if identity(before) != identity(after) or len(raw) != after.st_size:
        return None
    return Content(path, raw, after)


def nobody_writes(content: Content) -> bool:
    """Tell whether the file still is as read, ends in a newline, and no process has it open for writing.

    The kernel grants a read lease only then (``fcntl(2)``). Should someone open the file in the
    microseconds while we hold it, they wait for us to let go; the signal that would tell us is
    switched from SIGIO, which kills by default, to SIGURG, which nobody notices.
    """
    import fcntl
    import signal

    if not content.raw.endswith(b"\n"):
        return False
    try:
        fd = os.open(content.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return identity(os.fstat(fd)) == content.identity
    except OSError:
        return False  # being written, or no leases here: wait until it is quiet
    finally:
        os.close(fd)


def read_whole(path: str, tries: int = 50) -> Content:
    """Return the content of ``path`` as soon as it holds still; raises ``OSError`` if it never does."""
    for _ in range(tries):
        content = read(path)
        if content is not None:
            return content
        time.sleep(0.002)
    raise OSError(errno.EBUSY, "the file is being written all the time", path)


def write_new(path: str, data: bytes, like: str | None) -> None:
    """Create ``path`` (never follow, never replace) with ``data`` on disk, mode and owner as ``like``."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        if like is not None:
            _copy_mode(fd, os.stat(like))
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    except BaseException:
        os.close(fd)
        os.unlink(path)
        raise
    os.close(fd)


def open_or_create(path: str) -> int:
    """Open ``path`` for reading and writing, never through a link; made if it is missing, for all who share its folder."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        try:
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            continue  # another process was faster
        try:
            share(fd, os.path.dirname(path))
        except BaseException:
            os.close(fd)
            raise
        return fd


def closed(path: str, flags: int) -> int:
    """Open a file as ``open(..., opener=closed)`` does; one that is made is never for every user to write, not even for the
    moment before it is shared, and not without a umask."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def share(made: int, folder: str) -> None:
    """Let those who may read ``folder``, and the group that may write there, do so with what was just ``made`` (a
    descriptor), whatever the umask. Else the first of several users of a store locks the others out; and so that root
    does not, what root makes is the owner's of ``folder``. Every user may never write.
    """
    like, now = os.stat(folder), os.fstat(made)
    mode = now.st_mode | like.st_mode & (_FOR_A_FOLDER if stat.S_ISDIR(now.st_mode) else _FOR_A_FILE)
    mode &= ~_ANYONE_WRITES
    given = like.st_mode & _GROUP_WRITES and like.st_gid != now.st_gid
    if given or mode != now.st_mode:
        with suppress(PermissionError):  # a group that we are not in
            if given:
                os.fchown(made, -1, like.st_gid)
            os.fchmod(made, stat.S_IMODE(mode))
    if like.st_uid != now.st_uid == os.geteuid() == 0:
        with suppress(OSError):  # an owner whom this container does not know
            os.fchown(made, like.st_uid, -1)


def make_runtime(path: str) -> None:
    """Make the folder of run-time files where it is missing, for all who may write to ``params/`` beside it."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return
    _share_folder(path, os.path.join(os.path.dirname(path), "params"))


def _share_folder(path: str, like: str) -> None:
    """Share the folder that was just made: by a descriptor, so that nothing else is given away under its name."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        share(fd, like)
    finally:
        os.close(fd)


def put_whole(path: str, data: bytes) -> None:
    """Have ``path`` hold ``data``, at once and on disk, with its mode and owner if it is there. Its folder must be."""
    folder, name = os.path.split(os.path.abspath(path))
    spare = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.new")
    write_new(spare, data, path if os.path.exists(path) else None)
    try:
        os.replace(spare, path)
    except BaseException:
        if os.path.exists(spare):
            os.unlink(spare)
        raise
    fsync_directory(folder)


def _copy_mode(fd: int, like: os.stat_result) -> None:
    now = os.fstat(fd)
    if (now.st_uid, now.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.fchown(fd, like.st_uid, like.st_gid)
        except PermissionError:  # another member of the group may write here without owning the file
            with suppress(PermissionError):  # but the others must be able to read what comes out
                os.fchown(fd, -1, like.st_gid)
    if (now.st_mode & 0o7777) != (like.st_mode & 0o7777):
        os.fchmod(fd, like.st_mode & 0o7777)


def append(path: str, line: bytes, end: int) -> None:
    """Append ``line`` to ``path``, whose length is known to be ``end``, and put it on disk.

    A failed write is cut off again, so that no later line joins a torn one. Raises ``OSError``.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        if (
            os.fstat(fd).st_size != end
        ):  # else a line would follow what a `git pull` brought, and not know of it
            raise OSError(errno.ESTALE, "changed by someone else during the transaction; try again", path)
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(fd, view) :]
            os.fdatasync(fd)
        except BaseException:
            os.ftruncate(fd, end)
            raise
    finally:
        os.close(fd)


def make_folder(path: str) -> None:
    """Create a directory, and those above it, where missing, each with its name on disk."""
    above = os.path.dirname(path) or "."
    if not os.path.isdir(above):
        make_folder(above)
    try:
        os.mkdir(path, 0o755)
        _share_folder(path, above)
    except FileExistsError:
        pass  # its maker may have died before its name was on disk
    fsync_directory(above)


def fsync_directory(path: str) -> None:
    """Put the names in ``path`` on disk."""
    with directory(path) as fd:
        os.fsync(fd)


class directory:  # noqa: N801 - reads as a verb: `with directory(path) as fd`
    """Open a directory for ``fsync`` and close it again."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> int:
        self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def exchange_names(a: str, b: str) -> None:
    """Swap two names in one step. Raises ``OSError``; see ``can_exchange`` for the errors of a file
    system that has no such step."""
    import ctypes

    if _libc().renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), a, None, b)


def _libc() -> Any:
    if not _loaded:
        import ctypes

        _loaded.append(ctypes.CDLL(None, use_errno=True))
    return _loaded[0]


_loaded: list[Any] = []


def swap_in(new: str, target: str, base: bytes) -> bool:
    """Give ``new`` the name ``target`` if ``target`` still holds ``base``; tell whether it did.

    Afterwards the name ``new`` holds what was displaced. When someone saved ``target`` meanwhile, the
    save gets its name back, however often they save again, and nothing of theirs is lost.
    """
    expected = os.stat(new).st_ino
    try:
        exchange_names(new, target)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise OSError(errno.EBUSY, _MOUNTED, target) from error
        if error.errno not in _CANNOT_EXCHANGE:
            raise
        return _swap_in_by_link(new, target, base)
    if holds(new, base):
        return True
    while True:  # what we displaced belongs at the target, unless that was saved yet again
        moving = os.stat(new).st_ino
        exchange_names(new, target)
        if os.stat(new).st_ino == expected:
            return False
        expected = moving


def _swap_in_by_link(new: str, target: str, base: bytes) -> bool:
    """Do ``swap_in`` where names cannot be exchanged. Between the comparison and the rename a save by
    rename would be lost: a window of microseconds, stated in docs/design.md."""
    backup = new + ".old"
    if os.path.exists(backup):  # its writer died right after this step
        if holds(backup, base):
            os.unlink(backup)
        else:
            set_aside(backup, ".conflict")
    os.link(target, backup)
    try:
        ours = holds(backup, base)
        if ours:
            os.rename(new, target)
    except BaseException:
        os.unlink(backup)
        raise
    if ours:
        os.rename(backup, new)
    else:
        os.unlink(backup)
    return ours


def complete_swap(new: str) -> None:
    """Do the last step of a ``swap_in`` by link that was cut off before it."""
    backup = new + ".old"
    if os.path.exists(backup) and not os.path.exists(new):
        os.rename(backup, new)


def holds(path: str, *contents: bytes) -> bool:
    """Tell whether the file's bytes, which nobody should be writing, are one of ``contents``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read_up_to(fd, max(map(len, contents)) + 1) in contents
    finally:
        os.close(fd)


def _read_up_to(fd: int, length: int) -> bytes:
    """Return at most ``length`` bytes. Asking for no more than there are spares a large buffer."""
    found = os.read(fd, length)
    while 0 < len(found) < length and (more := os.read(fd, length - len(found))):
        found += more
    return found


def resolve(path: str) -> str:
    """Follow symbolic links of the last component, so that a link stays a link when its file is replaced."""
    return os.path.realpath(path) if os.path.islink(path) else path


def set_aside(path: str, suffix: str) -> str:
    """Rename ``path`` to a free name that ends in ``suffix`` and return it; bytes of unknown origin are
    kept for a person, never deleted."""
    folder, base = os.path.split(path)
    stem, number = os.path.join(folder, base.removesuffix(".old").removesuffix(".tmp").lstrip(".")), 0
    while True:
        name = f"{stem}{f'.{number}' if number else ''}{suffix}"
        try:
            os.link(path, name)
        except FileExistsError:
            number += 1
            continue
        fsync_directory(folder)  # before the other name goes: a power failure must not take both
        os.unlink(path)
        return name


def names(folder: str, suffix: str) -> Iterator[str]:
    """Yield the plain file names in ``folder`` that end in ``suffix``, sorted; none if it is missing."""
    try:
        found = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    for name in found:
        if name.endswith(suffix) and not name.startswith("."):
            yield name
