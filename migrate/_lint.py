"""Numbers that have come into the source since the plan: each with its place and the key that it would have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paramstore.migrate._plan import Plan, entry_of, identity
from paramstore.migrate._scan import scan


def lint(
    paths: Sequence[str], root: str, plan: Plan | None, tiers: tuple[str, ...] = ("yes",)
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the sites that the plan does not know, and the files that could not be read.

    What a plan lists is known, accepted or not: someone has looked at it. ``# paramstore: ignore[reason]`` on
    its line makes a literal known too.
    """
    known = set(identity(plan.sites)) if plan is not None else set()
    own = {entry["key"].partition(".")[0]: entry["file"] for entry in plan.sites} if plan is not None else {}
    found = scan(paths, root, ("yes", "review"), namespaces=own)
    entries = [entry_of(site) for site in found.sites()]
    new = [entry for key, entry in zip(identity(entries), entries, strict=True) if key not in known]
    return [entry for entry in new if entry["tier"] in tiers], found.skipped
