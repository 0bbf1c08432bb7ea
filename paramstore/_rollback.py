"""What a rollback writes: values of an earlier revision, of all keys or of what one author changed since. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from paramstore._history import At, Written, changes_between
from paramstore._ledger import Place, Touch, real_changes
from paramstore._model import ABSENT, Kept
from paramstore._outline import Line, keys_of
from paramstore._state import Document, place
from paramstore._values import same
from paramstore.errors import ValidationError

NOT_THEN = "did not exist then"


class Restoration(NamedTuple):
    """``requests``: key, context and the value to write (``ABSENT`` removes). ``kept``: what stays as it is, and why."""

    requests: list[tuple[str, Mapping[str, Any], Any]]
    kept: tuple[Kept, ...]


def whole(now: Written, then: Written, documents: Mapping[str, Document], keys: str | None) -> Restoration:
    """Return what brings ``now`` back to ``then``, for keys that match ``keys`` and that there still are."""
    requests: list[tuple[str, Mapping[str, Any], Any]] = []
    kept = []
    for change in changes_between(now, then):
        if not _is_meant(change.key, documents, keys):
            continue
        if change.new is ABSENT and not change.context:
            kept.append(Kept(change.key, {}, NOT_THEN))
        else:
            requests.append((change.key, change.context, change.new))
    return Restoration(requests, tuple(kept))


def without_author(
    lines: Sequence[Line], to: int, author: str, then: Written, latest: Mapping[Place, Touch]
) -> tuple[Written, dict[Place, Touch]]:
    """Return what each value that ``author`` gave after revision ``to`` would be without that, plain: what someone else
    last wrote since, else what stood at ``to``. And the values that ``author`` gave as well, but others since."""
    since = [line for line in lines if line.revision > to]
    touched: dict[Place, Any] = {}  # in the order of the journal
    for line in since:
        if line.author == author:
            touched |= dict.fromkeys(map(_place, real_changes(line.items)))
    theirs = {spot: latest[spot] for spot in touched if latest[spot].author != author}
    found = {spot: then.get(spot, ABSENT) for spot in touched if spot not in theirs}
    names = {key for key, _ in found}
    for line in since:
        if names.isdisjoint(keys_of(line)) or line.author == author:
            continue
        for item in real_changes(line.items):
            if _place(item) in found:
                found[_place(item)] = item.get("new", ABSENT)
    return found, theirs


def author_restoration(
    now: Written,
    found: Written,
    theirs: Mapping[Place, Touch],
    documents: Mapping[str, Document],
    keys: str | None,
) -> Restoration:
    """Return what writes the values of ``without_author``, and names what others have changed since."""
    requests: list[tuple[str, Mapping[str, Any], Any]] = []
    kept = [
        Kept(key, dict(at), f"{touch.author} changed it since, in revision {touch.revision}")
        for (key, at), touch in theirs.items()
        if _is_meant(key, documents, keys)
    ]
    for (key, at), value in found.items():
        if not _is_meant(key, documents, keys) or same(now.get((key, at), ABSENT), value):
            continue
        if value is ABSENT and not at:
            kept.append(Kept(key, {}, NOT_THEN))
        else:
            requests.append((key, dict(at), value))
    return Restoration(requests, tuple(kept))


def check_author(lines: Sequence[Line], author: str, stands: int) -> None:
    """Raise ``ValidationError`` for an author who never wrote into the journal."""
    known = sorted({line.author for line in lines})
    if author in known:
        return
    near = difflib.get_close_matches(author, known, 1)
    hint = f" Did you mean {near[0]!r}?" if near else f" The journal knows {', '.join(map(repr, known))}."
    raise ValidationError(
        [f"by = {author!r}: there is no entry by such an author.{hint}"],
        f"Nothing was written; revision {stands} stands.",
    )


def _is_meant(key: str, documents: Mapping[str, Document], keys: str | None) -> bool:
    namespace, _, path = key.partition(".")
    known = namespace in documents and path in documents[namespace].values
    return known and (keys is None or fnmatchcase(key, keys))


def _place(item: Mapping[str, Any]) -> tuple[str, At]:
    return item["key"], place(item.get("context", {}))
