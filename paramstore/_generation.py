"""The signal by which one process tells all others, without a system call, that values moved on.

A small file in ``.paramstore/`` is mapped by every reader. Generation *i* owns byte *i*: zero while
*i* is the newest, one for ever after. A reader keeps a ctypes object on the byte of the generation
it has read; testing its truth reads the shared page, in C, in a few nanoseconds. Readers never write,
so they need no write permission.

Traps that shape this: a mapped file that is truncated kills the process with SIGBUS, so the file is
private, allocated in full before it gets its name, and never opened with truncation; one that is
deleted would leave readers on the old inode, so ``is_current`` is asked now and then. On an overlay (the
root of a container) a file of the image is copied at its first opening for writing, under the same number, and whoever
mapped it before would stay on the image's: so it is opened that way before it is mapped, by all who may.
"""

from __future__ import annotations

import ctypes
import os
import struct
import zlib

from paramstore._files import share
from paramstore._trust import is_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MAGIC: Final = b"PSGEN\0\0\1"
_HEADER: Final = 64
SLOTS: Final = 16384 - _HEADER
_SIZE: Final = _HEADER + SLOTS
_NUMBERS: Final = struct.Struct("<4Q")
_PROT_READ, _MAP_SHARED = 1, 1

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


class Published:
    """What the last publisher said: generation ``index``, ``revision``, and where the journal ends
    (``segment`` is the start revision in its name, ``offset`` in bytes)."""

    __slots__ = ("index", "offset", "revision", "segment")

    def __init__(self, index: int, revision: int, segment: int, offset: int) -> None:
        self.index = index
        self.revision = revision
        self.segment = segment
        self.offset = offset

    def pack(self) -> bytes:
        body = _NUMBERS.pack(self.index, self.revision, self.segment, self.offset)
        return _MAGIC + body + zlib.crc32(body).to_bytes(4, "little")

    @staticmethod
    def unpack(raw: bytes) -> Published | None:
        body = raw[8:40]
        if raw[:8] != _MAGIC or zlib.crc32(body) != int.from_bytes(raw[40:44], "little"):
            return None
        return Published(*_NUMBERS.unpack(body))


class Generation:
    """One mapping of the generation file. The mapping is never undone: sixteen kilobytes per file are
    cheaper than a dangling pointer."""

    __slots__ = ("_address", "_identity", "path")

    def __init__(self, path: str) -> None:
        """Map ``path``; raises ``OSError`` when it does not exist, is not whole, or is not to be believed."""
        fd = _open(path)
        try:
            stat = os.fstat(fd)
            if stat.st_size != _SIZE or not is_ours(fd, path):
                raise OSError(f"{path} is not a generation file, or every user may write it")
            address = _mmap(None, _SIZE, _PROT_READ, _MAP_SHARED, fd, 0)
            if address is None or address == ctypes.c_void_p(-1).value:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        finally:
            os.close(fd)
        self.path = path
        self._address: int = address
        self._identity = (stat.st_dev, stat.st_ino)

    def published(self) -> Published | None:
        """Return the last publication, or ``None`` when a publisher died in the middle of writing it."""
        for _ in range(3):  # a publisher may be writing at this very moment
            found = Published.unpack(ctypes.string_at(self._address, _HEADER))
            if found is not None:
                return found
        return None

    def flag(self, index: int) -> object:
        """Return an object that becomes true as soon as generation ``index`` is superseded."""
        return ctypes.c_ubyte.from_address(self._address + _HEADER + min(index, SLOTS - 1))

    def is_current(self) -> bool:
        """Tell whether the file of this mapping still has its name, and what is written there is seen here."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            stat, written = os.fstat(fd), Published.unpack(os.pread(fd, _HEADER, 0))
        except OSError:
            return False
        finally:
            os.close(fd)
        if (stat.st_dev, stat.st_ino) != self._identity:
            return False
        mapped = self.published()  # read after the file: it may be ahead, never behind
        return written is None or mapped is None or mapped.index >= written.index


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # not ours to write, as for most readers
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def create(path: str, first: Published) -> None:
    """Create the generation file with ``first`` published, unless it exists. Whole before it is named."""
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, first.pack().ljust(_SIZE, b"\0"))
        share(fd, os.path.dirname(path))
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.close(fd)
        os.unlink(temporary)


def publish(path: str, revision: int, segment: int, offset: int) -> None:
    """Tell every reader that ``revision`` stands. Call only while holding the store's lock.

    When all bytes of a file are used up, a fresh file takes the name first; readers of the full one
    find theirs superseded and map the fresh one.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        create(path, Published(0, revision, segment, offset))
        return
    except PermissionError:  # another user's, in a directory that is ours: readers find the fresh one
        os.unlink(path)
        create(path, Published(0, revision, segment, offset))
        return
    try:
        whole = os.fstat(fd).st_size == _SIZE
        last = Published.unpack(os.pread(fd, _HEADER, 0)) if whole and is_ours(fd, path) else None
        if last is None or last.index + 1 >= SLOTS:
            if whole:  # first: of a file without a name, nobody could do it after a kill
                os.pwrite(fd, b"\1" * SLOTS, _HEADER)
            os.unlink(path)
            create(path, Published(0, revision, segment, offset))
            return
        os.pwrite(fd, Published(last.index + 1, revision, segment, offset).pack(), 0)
        os.pwrite(fd, b"\1" * (last.index + 1), _HEADER)  # all: a publisher may have died before this line
    finally:
        os.close(fd)
