"""How documents follow the journal: pure functions from a document and the records after it to what they made of it."""

from __future__ import annotations

from contextlib import suppress

from paramstore._journal import taken_back, without_aborted
from paramstore._state import namespace_of
from paramstore._values import ABSENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from paramstore._state import Document


# Entries of what was found in the files tell it from what the journal came to. Where git joined entries into an older
# segment, that is more than the bytes of ``before`` held, and the changes do not lead from these to ``after``.
FOUND = frozenset({"external", "merge"})


class NeedFiles(Exception):  # noqa: N818 - a signal between functions, never seen outside
    """The journal alone does not tell the new values."""


def standing(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records of these lines that stand. Raises ``NeedFiles`` when one from before them is taken back."""
    if not taken_back(lines) <= {line["id"] for line in lines}:
        raise NeedFiles
    return without_aborted(lines)


def apply_records(
    documents: Mapping[str, Document], records: Iterable[Mapping[str, Any]]
) -> dict[str, Document]:
    """Return ``documents`` after ``records``. Raises ``NeedFiles`` when they do not build on each other."""
    found = dict(documents)
    for record in records:
        for file in record["files"]:
            document = found.get(namespace_of(file))
            if document is None:
                raise NeedFiles
            found[document.namespace] = _apply(document, file, record)
    return found


def _apply(document: Document, file: str, record: Mapping[str, Any]) -> Document:
    """Return the document after a record that touches it, or as it is if the record is in it already."""
    sums = record["files"][file]
    if document.digest not in (sums["before"], sums["after"]):
        raise NeedFiles
    if document.digest != sums["before"]:
        return document
    if record["kind"] in FOUND:
        raise NeedFiles
    changes: list[tuple[str, Any, Any]] = []
    for item in record["changes"]:
        namespace, _, path = item["key"].partition(".")
        if namespace == document.namespace:
            changes.append((path, item.get("context", {}), item.get("new", ABSENT)))
    if any(isinstance(new, list | dict) for _, _, new in changes):
        raise NeedFiles  # containers get their type from the schema
    try:
        return document.with_values(changes, ABSENT, sums["after"])
    except KeyError:
        raise NeedFiles from None  # its schema changed as well


def told(documents: Mapping[str, Document], lines: list[dict[str, Any]]) -> dict[str, Document]:
    """Return ``documents`` after these lines, without those of which the lines do not tell what became."""
    found = dict(documents)
    try:
        records = standing(lines)
    except NeedFiles:
        return {}
    for record in records:
        for file in record["files"]:
            document = found.pop(namespace_of(file), None)
            if document is not None:
                with suppress(NeedFiles):
                    found[document.namespace] = _apply(document, file, record)
    return found


def forward(document: Document, records: Iterable[Mapping[str, Any]]) -> Document:
    """Return a document that some of ``records`` are in already after all of them."""
    touching = [(file, r) for r in records for file in r["files"] if namespace_of(file) == document.namespace]
    after = [record["files"][file]["after"] for file, record in touching]
    done = len(after) - after[::-1].index(document.digest) if document.digest in after else 0
    for file, record in touching[done:]:
        document = _apply(document, file, record)
    return document


def is_after(document: Document, records: Iterable[Mapping[str, Any]]) -> bool:
    return any(sums["after"] == document.digest for record in records for sums in record["files"].values())
