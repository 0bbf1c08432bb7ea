"""Journal entries that the last git commit has and the work tree lacks: found, and joined back.

`git checkout <old commit> -- params`, a sparse checkout without the journal, or a deleted segment take lines away that are
committed; a commit of what is left would take them from everyone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paramstore import _files, _records
from paramstore._clock import Clock
from paramstore._join import join, saying
from paramstore._journal import Journal
from paramstore.errors import GitError

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Lost:
    """The entries that are lacking, and the committed content of each segment that they are in."""

    records: tuple[dict[str, Any], ...]
    segments: Mapping[str, bytes]

    def told(self) -> str:
        """Return a clause that names them."""
        first = [f"r{record['revision']} by {record['author']}" for record in self.records[:SHOWN]]
        names = ", ".join([*first, *(["…"] if len(self.records) > SHOWN else [])])
        count = len(self.records)
        return f"the journal lacks {count} {'entry' if count == 1 else 'entries'} that HEAD has ({names})"


def find_lost(journal: Journal, committed: Mapping[str, bytes]) -> Lost | None:
    """Return what the journal lacks of ``committed`` (content by absolute path), or ``None`` if it has every entry."""
    here = {
        record["id"]
        for segment in journal.segments()
        for record in _entries(_files.read_whole(journal.file(segment)).raw)
    }
    lacking = {
        file: [record for record in _entries(raw) if record["id"] not in here]
        for file, raw in committed.items()
    }
    records = tuple(record for each in lacking.values() for record in each)
    segments = {file: committed[file] for file, each in lacking.items() if each}
    return Lost(records, segments) if records else None


def put_back(lost: Lost, clock: Clock) -> None:
    """Join each segment with what is committed of it: no line is lost of either, and an entry says which were joined.

    Raises ``GitError`` where only a person can join them; then nothing was written. The caller holds the lock.
    """
    joined = {file: _joined(file, raw, clock) for file, raw in lost.segments.items()}
    for file, raw in joined.items():
        folder, name = os.path.split(file)
        _files.make_folder(folder)
        spare = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.new")
        _files.write_new(spare, raw, file if os.path.exists(file) else None)
        os.replace(spare, file)
        _files.fsync_directory(folder)


def _joined(file: str, committed: bytes, clock: Clock) -> bytes:
    say = saying("joined: the work tree's journal lacked what was committed", clock)
    raw = join(committed, _files.read_whole(file).raw if os.path.exists(file) else b"", say)
    if raw is None:
        raise GitError(
            f"{file} lacks entries that HEAD has, and cannot be joined with them: a line is no entry, or takes one back. Keep "
            "every whole line of both (`git show HEAD:` shows the other), then `paramstore check`; nothing was committed."
        )
    return raw


def _entries(raw: bytes) -> list[dict[str, Any]]:
    records = (_records.parse(line) for line in raw.splitlines(keepends=True))
    return [record for record in records if record is not None]
