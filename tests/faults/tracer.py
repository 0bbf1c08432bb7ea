"""Stops a child at every system call that touches the store: to record it, to kill it there, or to let it fail.

Written on ``ptrace(2)`` itself, which is exact, needs no other program, and costs about ten milliseconds for
a whole commit. x86-64 Linux only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

AVAILABLE = sys.platform == "linux" and platform.machine() == "x86_64"

_TRACEME, _POKEUSER, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
_SYSGOOD, _EXITKILL = 1, 0x100000
_ORIG_RAX, _RAX, _RDX = 15 * 8, 10 * 8, 12 * 8
_ENTRY = 1

# number -> name, positions of path arguments, position of the descriptor argument
CALLS: dict[int, tuple[str, tuple[int, ...], int | None]] = {
    0: ("read", (), 0),
    1: ("write", (), 0),
    2: ("open", (0,), None),
    3: ("close", (), 0),
    4: ("stat", (0,), None),
    5: ("fstat", (), 0),
    6: ("lstat", (0,), None),
    8: ("lseek", (), 0),
    9: ("mmap", (), 4),
    16: ("ioctl", (), 0),
    17: ("pread64", (), 0),
    18: ("pwrite64", (), 0),
    21: ("access", (0,), None),
    72: ("fcntl", (), 0),
    73: ("flock", (), 0),
    74: ("fsync", (), 0),
    75: ("fdatasync", (), 0),
    76: ("truncate", (0,), None),
    77: ("ftruncate", (), 0),
    82: ("rename", (0, 1), None),
    83: ("mkdir", (0,), None),
    84: ("rmdir", (0,), None),
    86: ("link", (0, 1), None),
    87: ("unlink", (0,), None),
    89: ("readlink", (0,), None),
    90: ("chmod", (0,), None),
    91: ("fchmod", (), 0),
    93: ("fchown", (), 0),
    217: ("getdents64", (), 0),
    257: ("openat", (1,), None),
    262: ("newfstatat", (1,), 0),
    263: ("unlinkat", (1,), None),
    264: ("renameat", (1, 3), None),
    265: ("linkat", (1, 3), None),
    316: ("renameat2", (1, 3), None),
    332: ("statx", (1,), 0),
}
CHANGING = frozenset(
    [
        "write",
        "pwrite64",
        "fsync",
        "fdatasync",
        "truncate",
        "ftruncate",
        "rename",
        "mkdir",
        "rmdir",
        "link",
        "unlink",
        "chmod",
        "fchmod",
        "fchown",
        "unlinkat",
        "renameat",
        "linkat",
        "renameat2",
    ]
)
# asking about a descriptor, or where it stands, changes nothing that outlives the process
HARMLESS = frozenset(("fstat", "lseek", "ioctl", "mmap", "close"))


@dataclass
class Call:
    """One system call on a file of the store."""

    name: str
    paths: tuple[str, ...]
    args: tuple[int, ...]
    data: bytes = b""
    result: int = 0
    failed: bool = field(default=False)

    @property
    def creates(self) -> bool:
        return self.name in ("open", "openat") and bool(self.flags & os.O_CREAT)

    @property
    def flags(self) -> int:
        return self.args[2] if self.name == "openat" else self.args[1]

    @property
    def changes(self) -> bool:
        """Tell whether it changes anything on disk."""
        return self.name in CHANGING or self.creates

    @property
    def writes(self) -> bool:
        """Tell whether it opens a file for writing."""
        return self.name in ("open", "openat") and bool(self.flags & (os.O_WRONLY | os.O_RDWR))

    def __str__(self) -> str:
        return f"{self.name}({', '.join(os.path.basename(path) for path in self.paths)})"


# a decision: die at the entry of this call, or write half and say so; a positive number is the errno it fails with
KILL, SHORT = -1, -2
Decide = Callable[[int, Call], int]

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long


def trace_me() -> None:
    """In the child: let the parent trace from here on. Returns once it does."""
    _ptrace(_TRACEME, 0, None, None)
    os.kill(os.getpid(), signal.SIGSTOP)


def follow(pid: int, root: str, decide: Decide | None = None) -> tuple[list[Call], int]:
    """Run the child that called ``trace_me`` to its end; return its calls on files under ``root`` and its
    wait status. ``decide(index, call)`` says what becomes of each: 0 goes ahead."""
    os.waitpid(pid, os.WUNTRACED)
    _do(_SETOPTIONS, pid, None, _SYSGOOD | _EXITKILL)
    calls: list[Call] = []
    pending: Call | None = None
    forced = 0
    info = ctypes.create_string_buffer(88)
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    deliver = 0
    try:
        while True:
            _ptrace(_SYSCALL, pid, None, deliver)
            deliver = 0
            _, status = os.waitpid(pid, 0)
            if not os.WIFSTOPPED(status):
                return calls, status
            stop = os.WSTOPSIG(status)
            if stop != signal.SIGTRAP | 0x80:
                deliver = stop
                continue
            _ptrace(_GET_SYSCALL_INFO, pid, 88, ctypes.addressof(info))
            if info.raw[0] == _ENTRY:
                number, *args = struct.unpack_from("<7Q", info.raw, 24)
                pending = _look(pid, memory, root, number, tuple(args))
                if pending is None:
                    continue
                forced = decide(len(calls), pending) if decide is not None else 0
                calls.append(pending)
                if forced == KILL:
                    os.kill(pid, signal.SIGKILL)
                    _, status = os.waitpid(pid, 0)
                    return calls, status
                if forced == SHORT:
                    _do(_POKEUSER, pid, _RDX, max(1, args[2] // 2))
                elif forced:
                    _do(_POKEUSER, pid, _ORIG_RAX, ctypes.c_ulong(-1).value)
            elif pending is not None:
                (result,) = struct.unpack_from("<q", info.raw, 24)
                if forced == SHORT:
                    _do(_POKEUSER, pid, _RDX, pending.args[2])  # a call leaves this register as it was
                    pending.data = pending.data[: max(0, result)]
                elif forced:
                    result = -forced
                    _do(_POKEUSER, pid, _RAX, ctypes.c_ulong(result).value)
                pending.result, pending.failed = result, -4096 < result < 0
                pending, forced = None, 0
    finally:
        os.close(memory)


def _do(request: int, pid: int, address: int | None, data: int) -> None:
    if _ptrace(request, pid, address, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _look(pid: int, memory: int, root: str, number: int, args: tuple[int, ...]) -> Call | None:
    known = CALLS.get(number)
    if known is None:
        return None
    name, places, fd = known
    paths = tuple(_string(memory, args[place]) for place in places)
    if (not paths or not paths[0]) and fd is not None:
        paths = (_descriptor(pid, args[fd]),)
    if not any(path.startswith(root) for path in paths):
        return None
    data = os.pread(memory, args[2], args[1]) if name in ("write", "pwrite64") else b""
    return Call(name, paths, args, data)


def _string(memory: int, address: int) -> str:
    try:
        return os.pread(memory, 512, address).split(b"\0", 1)[0].decode(errors="replace")
    except OSError:
        return ""


def _descriptor(pid: int, fd: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd & 0xFFFFFFFF}")
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise
        return ""
