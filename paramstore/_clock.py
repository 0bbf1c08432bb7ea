"""The one source of time: what entries are dated with, and what cooldowns and freezes are measured by.

A wall clock can be set. So next to its time an entry keeps the machine's uptime, which cannot: on the same
boot the time between two entries is the difference of their uptimes, whatever the wall clock did meanwhile.
"""

from __future__ import annotations

import time

UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0))


class Clock:
    """Where time comes from. ``testing.ManualClock`` is one that a test turns by hand."""

    __slots__ = ()

    def now(self) -> float:
        """Return the seconds since 1970 (UTC)."""
        raise NotImplementedError

    def uptime(self) -> tuple[str, float]:
        """Return a name of this boot of the machine, and the seconds since it, which never go back."""
        raise NotImplementedError


_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class SystemClock(Clock):
    """The machine's own clock."""

    __slots__ = ("_boot",)

    def __init__(self) -> None:
        self._boot = ""

    def now(self) -> float:
        return time.time()

    def uptime(self) -> tuple[str, float]:
        if not self._boot:
            try:
                with open(_BOOT_ID, encoding="ascii") as file:
                    self._boot = file.read(8)
            except OSError:
                self._boot = "-"  # a boot without a name is never the same as another
        return self._boot, time.clock_gettime(time.CLOCK_BOOTTIME)  # goes on while the machine sleeps


SYSTEM = SystemClock()


def utc_text(seconds: float) -> str:
    """Return a time as entries hold it: UTC, ISO 8601, microseconds."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{micros:06d}Z"


def span_text(seconds: float) -> str:
    """Write a length of time as people say it: ``45 s``, ``1.5 h``, ``12 d``."""
    for unit, size in UNITS:
        if seconds >= size:
            count = seconds / size
            return f"{count:.1f}".removesuffix(".0") + f" {unit}" if count < 10 else f"{count:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.2g} s"
