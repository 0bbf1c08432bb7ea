"""What a disk, or the kernel, may answer to a system call in place of doing it, once or from then on.

Two answers are none to give up on: a write that says it wrote half, and an interruption by a signal. A program
must go on as if nothing had been.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from tracer import SHORT, Call, Decide

WRITES = frozenset(("write", "pwrite64"))
SYNCS = frozenset(("fsync", "fdatasync"))
NAMES = frozenset(("rename", "renameat2", "link", "unlink", "mkdir"))
RESTARTED = (
    frozenset(("openat", "read", "ftruncate")) | WRITES | SYNCS
)  # what Python tries again when interrupted
DISK_CALLS = RESTARTED | NAMES


@dataclass(frozen=True)
class Refusal:
    """One answer: ``code`` is an errno or ``SHORT``."""

    code: int
    lasting: bool = False

    def __str__(self) -> str:
        name = "half a write" if self.code == SHORT else errno.errorcode[self.code]
        return f"{name} {'from' if self.lasting else 'at'}"

    def suits(self, call: Call) -> bool:
        """Tell whether it may be the answer to ``call``, or the first of many."""
        if call.name not in DISK_CALLS:
            return False
        if self.code == SHORT:
            return call.name in WRITES and call.args[2] > 1
        if self.code == errno.EMFILE:
            return call.name == "openat"
        if self.code == errno.EINTR:
            return not self.lasting or _is_restarted(call)
        if self.code == errno.EROFS:
            return call.changes or call.writes
        return call.changes or (self.code == errno.EIO and not self.lasting)

    def decide(self, first: int) -> Decide:
        """Return what the tracer asks at each call: refuse number ``first``, and those after it if it lasts."""
        said = -1

        def decide(index: int, call: Call) -> int:
            nonlocal said
            again = self.lasting and index > first and self._goes_on(call)
            if self.code == errno.EINTR and said == index - 1:
                again = False  # a call that was interrupted goes through when it is tried again
            if index != first and not again:
                return 0
            said = index
            return self.code

        return decide

    def _goes_on(self, call: Call) -> bool:
        return self.suits(call) or (self.code == errno.EIO and call.name == "openat")

    def wronged(self, call: Call, acknowledged: bool, report: str) -> list[str]:
        """Return what is wrong in how a program that lived on took this answer to ``call``."""
        harmless = self.code == SHORT or (self.code == errno.EINTR and _is_restarted(call))
        if harmless and not acknowledged:
            return [f"gave up over what a program must outlive: {report}"]
        if not harmless and call.name in SYNCS and acknowledged:
            return ["acknowledged, though the disk refused a sync"]
        return []


def _is_restarted(call: Call) -> bool:
    """Tell whether Python tries the call again: not where the C library opens a directory to list it."""
    return call.name in RESTARTED and not (call.name == "openat" and call.flags & os.O_DIRECTORY)


REFUSALS = (
    Refusal(errno.ENOSPC),
    Refusal(errno.ENOSPC, lasting=True),
    Refusal(errno.EIO),
    Refusal(errno.EIO, lasting=True),
    Refusal(errno.EROFS),
    Refusal(errno.EROFS, lasting=True),
    Refusal(errno.EMFILE),
    Refusal(errno.EMFILE, lasting=True),
    Refusal(errno.EINTR),
    Refusal(errno.EINTR, lasting=True),
    Refusal(SHORT),
    Refusal(SHORT, lasting=True),
)
