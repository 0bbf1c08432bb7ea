"""Numbers that have come into the source since the plan: each with its place and the key that it would have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from paramstore.migrate._plan import Place, Plan, entry_of, matched, namespaces, place_of
from paramstore.migrate._scan import frozen, scan


@dataclass
class Lint:
    """``sites``: literals that the plan does not know; ``frozen``: reads in functions of a name that took its value
    from the store at import (``file``, ``line``, ``name``, ``key``); ``skipped``: files that could not be read."""

    sites: list[dict[str, Any]]
    frozen: list[dict[str, Any]]
    skipped: dict[str, str]


def lint(
    paths: Sequence[str],
    root: str,
    plan: Plan | None,
    tiers: tuple[str, ...] = ("yes",),
    moved: Collection[Place] = (),
) -> Lint:
    """Return what is new since the plan, and what reads a parameter as it was at import.

    What a plan lists is known, accepted or not: someone has looked at it. What was ``moved`` is
    no longer there, so the same number again is new. ``# paramstore: ignore[reason]`` on
    its line makes a literal known too.
    """
    own = namespaces(plan) if plan is not None else {}
    found = scan(paths, root, ("yes", "review"), namespaces=own, tests=False)
    entries = [entry_of(site) for site in found.sites()]
    still = [entry for entry in plan.sites if place_of(entry) not in moved] if plan is not None else []
    known = {id(entry) for _, entry in matched(still, entries)}
    new = [entry for entry in entries if id(entry) not in known]
    late = [
        {"file": read.file, "line": read.line, "name": name, "key": key}
        for read, name, key in frozen(found, root)
    ]
    return Lint([entry for entry in new if entry["tier"] in tiers], late, found.skipped)
