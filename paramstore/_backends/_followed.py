"""What a reader asks of a mirror of etcd: whether it is whole, who keeps it in step, and when the cluster last answered.

Light: part of a first read. What writes it is in ``_mirror`` and ``_follower``.
"""

from __future__ import annotations

import fcntl
import os

from paramstore import _files
from paramstore._clock import SYSTEM


class Signs:
    """The files below ``runtime`` (``.paramstore/`` of the mirror) by which processes of one machine tell each other."""

    __slots__ = ("heard_file", "label_file", "mark", "problem_file", "record", "turn_file")

    def __init__(self, runtime: str) -> None:
        self.record = os.path.join(runtime, "followed")  # how far the mirror came; written last
        self.mark = os.path.join(runtime, "unfinished")  # there while files are replaced that belong together
        self.label_file = os.path.join(runtime, "store")  # of which store it is the mirror
        self.turn_file = os.path.join(runtime, "follower.lock")  # locked by who follows
        self.heard_file = os.path.join(runtime, "heard")  # when the mirror was last known to be in step
        self.problem_file = os.path.join(runtime, "problem")  # why it cannot be, though the cluster answers

    def seen(self) -> object:
        """Return what differs after anything was taken over; ``None`` where the mirror is not whole."""
        try:
            return None if os.path.exists(self.mark) else _files.identity(os.stat(self.record))
        except OSError:
            return None

    def label(self) -> str:
        """Return of which store this is the mirror, or nothing where nobody said so yet."""
        return _content(self.label_file)

    def is_followed(self) -> bool:
        """Tell whether some process on this machine follows the cluster."""
        try:
            fd = os.open(self.turn_file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def hear(self) -> None:
        """Say that the mirror is in step just now."""
        boot, uptime = SYSTEM.uptime()
        try:
            fd = _files.open_or_create(self.heard_file)
        except OSError:
            return  # readers will call it stale
        try:
            os.pwrite(fd, f"{boot} {uptime:020.6f} {SYSTEM.now():020.6f}\n".encode(), 0)
        finally:
            os.close(fd)

    def age_s(self) -> float | None:
        """Return how long ago the mirror was last known to be in step, in seconds; ``None`` if it never was."""
        try:
            with open(self.heard_file, encoding="ascii") as file:
                boot, uptime, now = file.read().split()
            here = SYSTEM.uptime()
            return max(0.0, here[1] - float(uptime) if boot == here[0] else SYSTEM.now() - float(now))
        except (OSError, ValueError):
            return None

    def tell(self, problem: str) -> None:
        """Tell every process of this machine why the mirror cannot be brought in step; nothing: it can again."""
        try:
            if problem:
                temporary = f"{self.problem_file}.{os.getpid()}.new"
                with open(
                    temporary, "w", encoding="utf-8", errors="backslashreplace", opener=_files.closed
                ) as file:
                    file.write(problem)
                os.replace(temporary, self.problem_file)
            else:
                os.unlink(self.problem_file)
        except OSError:
            return  # readers will call it stale

    def problem(self) -> str:
        return _content(self.problem_file)


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(10_000)
    except OSError:
        return ""
