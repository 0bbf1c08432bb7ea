"""Numbers that have come into the source since the plan: each with its place and the key that it would have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from paramstore.migrate._plan import Plan, entry_of, matched, namespaces
from paramstore.migrate._scan import scan


def lint(
    paths: Sequence[str],
    root: str,
    plan: Plan | None,
    tiers: tuple[str, ...] = ("yes",),
    moved: Collection[tuple[str, str]] = (),
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the sites that the plan does not know, and the files that could not be read.

    What a plan lists is known, accepted or not: someone has looked at it. What was ``moved`` (file, key) is
    no longer there, so the same number again is new. ``# paramstore: ignore[reason]`` on
    its line makes a literal known too.
    """
    own = namespaces(plan) if plan is not None else {}
    found = scan(paths, root, ("yes", "review"), namespaces=own)
    entries = [entry_of(site) for site in found.sites()]
    still = (
        [entry for entry in plan.sites if (entry["file"], entry["key"]) not in moved]
        if plan is not None
        else []
    )
    known = {id(entry) for _, entry in matched(still, entries)}
    new = [entry for entry in entries if id(entry) not in known]
    return [entry for entry in new if entry["tier"] in tiers], found.skipped
