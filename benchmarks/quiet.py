"""How much of the processors others used while something was measured: a figure from a busy machine says so."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

QUIET = 0.05  # of all processors; the kernel's own work for our commits counts as others'
BUSY_FIELDS = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal


def others() -> Callable[[], float]:
    """Begin now; the call gives the fraction of all processors' time that was used by no process of ours since."""
    began, busy, own = time.monotonic(), _busy_s(), _own_s()

    def ended() -> float:
        spent = _busy_s() - busy - (_own_s() - own)
        return max(spent, 0.0) / ((time.monotonic() - began) * (os.cpu_count() or 1))

    return ended


def verdict(share: float) -> str:
    word = "quiet" if share <= QUIET else "loaded: take the figures as rough"
    return f"others used {100 * share:.0f} % of the processors meanwhile ({word})"


def _busy_s() -> float:
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    return sum(int(fields[place]) for place in BUSY_FIELDS) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
