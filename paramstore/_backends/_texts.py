"""Texts of values files that a writer need not parse: those that it wrote, and what others made of them since.

Parsing a file takes longer than all else of a commit. Where others put numbers in the place of numbers, as learners do, the
same splice into the text before gives the text that they wrote; that it does is proved by the hash. Anything else is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paramstore import _files
from paramstore._backends._splice import splice
from paramstore._ledger import real_changes
from paramstore._model import Change
from paramstore._state import namespace_of, split_key
from paramstore._yaml import YamlText
from paramstore.errors import DocumentError

MOST = 100  # texts; more is what edits by hand and commits that were taken back left behind
LONGEST = 1000  # changes that are followed; a process that slept longer parses the file
Trail = tuple[YamlText | None, list[Change]]  # a text, and what became of it since


class Texts:
    """Texts by the hash (sha256, hex) of their bytes."""

    def __init__(self) -> None:
        self._texts: dict[str, YamlText] = {}
        self._trails: dict[str, Trail] = {}  # by the hash after the last change

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
        for file, sums in record["files"].items():
            text, since = self._trails.pop(sums["before"], (self._texts.pop(sums["before"], None), []))
            changes = _numbers(file, record)
            if text is not None and changes and len(since) < LONGEST:
                self._trails[sums["after"]] = text, [*since, *changes]

    def get(self, digest: str) -> YamlText | None:
        """Return the text with this hash, or ``None``: parse it."""
        text, since = self._trails.pop(digest, (self._texts.get(digest), []))
        if text is None or not since:
            return text
        try:
            text = splice(text, since)
        except (DocumentError, AssertionError, LookupError, TypeError, AttributeError, RecursionError):
            return None  # not what a commit can have done to this text
        if _files.digest(text.raw) != digest:
            return None
        self._texts[digest] = text
        return text


def _numbers(file: str, record: Mapping[str, Any]) -> list[Change] | None:
    """Return what an entry changed in one file if that were numbers in the place of numbers, else ``None``. Nothing is what
    an edit of a comment changes, which no splice tells."""
    found = []
    for item in real_changes(record["changes"]):
        if split_key(item["key"])[0] == namespace_of(file):
            old, new = item.get("old"), item.get("new")
            if type(old) not in (int, float) or type(new) not in (int, float):
                return None
            found.append(
                Change(key=item["key"], context=item.get("context", {}), old=old, new=new, requested=new)
            )
    return found
