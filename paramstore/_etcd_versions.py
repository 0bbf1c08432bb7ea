"""Which versions of etcd must not hold money's values, and which are to be watched. Pure.

From etcd's own lists of changes (CHANGELOG-3.4.md, CHANGELOG-3.5.md): 3.5.0 to 3.5.2 can come to differ between members after a
crash (fixed in 3.5.3); before 3.4.21 and 3.5.5 a cluster of one member can lose what it acknowledged; before 3.4.34 and 3.5.16
a watch can lose events at a compaction (its issues 17529 and 18089). Its roles can be passed by with a transaction within a
transaction (CVE-2026-33343), which 3.4.23 allows (seen); 3.6.9 and later lines do not.
"""

from __future__ import annotations

import re

OLDEST = (3, 4, 21)
DURABLE = {
    (3, 5): 5
}  # the first version of a line that keeps what it acknowledged; others keep it from the beginning
WATCHFUL = {(3, 4): 34, (3, 5): 16}  # the first of a line whose watches lose nothing that is known
GUARDED = {(3, 4): 42, (3, 5): 28, (3, 6): 9}  # the first of a line whose roles hold


def unsafe(version: str) -> str:
    """Return why nothing may be written to a server of this version, or nothing."""
    found = _parsed(version)
    if found is None:
        return f"version {version!r} is not one of etcd's"
    if found < OLDEST:
        return f"version {version} is older than 3.4.21, and can lose what it acknowledged: upgrade it"
    if found[2] < DURABLE.get(found[:2], 0):
        return f"version {version} can lose or corrupt what it acknowledged (fixed in 3.5.5): upgrade it"
    return ""


def warning(version: str) -> str:
    """Return what to know of a server of this version, or nothing."""
    found = _parsed(version)
    if found is None:
        return ""
    said = []
    if found[2] < WATCHFUL.get(found[:2], 0):
        said.append(
            "can lose events of a watch when it compacts (fixed in 3.4.34 and 3.5.16): the newest entry is asked for as well, so "
            "what is lost comes with the next answer"
        )
    if found[2] < GUARDED.get(found[:2], 0):
        said.append(
            "lets a user write what no role permits, by a transaction within a transaction (CVE-2026-33343): roles keep honest "
            "users apart, not a host that was taken over"
        )
    return f"etcd {version} {'; it '.join(said)}. Upgrade it" if said else ""


def _parsed(version: str) -> tuple[int, int, int] | None:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
