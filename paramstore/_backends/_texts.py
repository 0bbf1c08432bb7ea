"""Texts of values files that a writer need not parse: those that it wrote, and what others made of them since.

Parsing a file takes longer than all else of a commit. An entry of the journal says what its writer spliced into the text
before it, so that the same splice gives the same text; that it did is proved by the hash. Where it does not, the file is
parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paramstore import _files, _records
from paramstore._backends._follow import FOUND
from paramstore._backends._splice import splice
from paramstore._ledger import real_changes
from paramstore._state import namespace_of, split_key
from paramstore._yaml import YamlText
from paramstore.errors import DocumentError

MOST = 100  # texts; more is what edits by hand and commits that were taken back left behind
LONGEST = 100  # entries that are followed; a process that slept longer parses the file
Trail = tuple[YamlText | None, list[Mapping[str, Any]]]  # a text, and the entries since


class Texts:
    """Texts by the hash (sha256, hex) of their bytes."""

    def __init__(self) -> None:
        self._texts: dict[str, YamlText] = {}
        self._trails: dict[str, Trail] = {}  # by the hash after the last entry

    def put(self, before: str, after: str, text: YamlText) -> None:
        """Keep the text that this process wrote in place of one with the hash ``before``."""
        self._texts.pop(before, None)
        self._trails.pop(after, None)  # of the entry that this process has appended
        if len(self._texts) + len(self._trails) > MOST:
            self._texts.clear()
            self._trails.clear()
        self._texts[after] = text

    def follow(self, record: Mapping[str, Any]) -> None:
        """Take note of an entry that stands."""
        for sums in record["files"].values():
            before, after = sums["before"], sums["after"]
            known, since = self._trails.pop(before, (self._texts.pop(before, None), []))
            if known is not None and record["kind"] not in FOUND and len(since) < LONGEST:
                self._trails[after] = known, [*since, record]

    def get(self, file: str, digest: str) -> YamlText | None:
        """Return the text of a values file with this hash, or ``None``: parse it."""
        text, since = self._trails.pop(digest, (self._texts.get(digest), []))
        if text is None or not since:
            return text
        try:
            for record in since:
                text = splice(text, _changes(file, record))
        except (DocumentError, AssertionError, LookupError, TypeError, AttributeError):
            return None  # not written by a commit, whatever its kind says
        if _files.digest(text.raw) != digest:
            return None
        self._texts[digest] = text
        return text


def _changes(file: str, record: Mapping[str, Any]) -> list[Any]:
    """Return the changes of one file that an entry made."""
    mine = [
        item for item in real_changes(record["changes"]) if split_key(item["key"])[0] == namespace_of(file)
    ]
    return list(_records.entry({**record, "changes": mine}).changes)
