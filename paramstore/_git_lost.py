"""Journal entries that git has and the work tree lacks: found, and joined back.

`git checkout <old commit> -- params`, a sparse checkout without the journal, or a deleted segment take lines away that are
committed; a commit of what is left would take them from everyone, as a `git revert` already has.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from paramstore import _files, _records
from paramstore._clock import Clock
from paramstore._join import ended, join, saying
from paramstore._journal import Journal
from paramstore.errors import GitError

SHOWN = 3
WHY = "that the work tree's journal lacked"


@dataclass(frozen=True, slots=True)
class Lost:
    """The entries that are lacking, and what is in git (file, bytes): of each segment in HEAD that has some, and of each
    that commits took them out of."""

    records: tuple[dict[str, Any], ...]
    committed: tuple[tuple[str, bytes], ...]
    taken_out: tuple[tuple[str, bytes], ...]

    def told(self) -> str:
        """Return a clause that names them."""
        first = [f"r{record['revision']} by {record['author']}" for record in self.records[:SHOWN]]
        names = ", ".join([*first, *(["…"] if len(self.records) > SHOWN else [])])
        count = len(self.records)
        return f"the journal lacks {count} {'entry' if count == 1 else 'entries'} that git has ({names})"


def find_lost(
    journal: Journal, committed: Sequence[tuple[str, bytes]], taken_out: Sequence[tuple[str, bytes]]
) -> Lost | None:
    """Return what the journal lacks of HEAD's segments (absolute path, content) and of what later commits took out of
    ``taken_out``; ``None`` if it has every entry."""
    here = {line for segment in journal.segments() for line in lines_of(journal.file(segment))}
    records: dict[str, dict[str, Any]] = {}

    def lacking(segments: Sequence[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
        found = []
        for file, raw in segments:
            new = {record["id"]: record for _, record in unknown(raw.splitlines(keepends=True), here)}
            if new.keys() - records.keys():
                records.update(new)
                found.append((file, raw))
        return tuple(found)

    lost = lacking(committed), lacking(taken_out)
    return Lost(tuple(records.values()), *lost) if records else None


def unknown(lines: Sequence[bytes], known: Collection[bytes]) -> list[tuple[int, dict[str, Any]]]:
    """Return place and record of each entry in ``lines`` that is not in ``known``.

    Most are told by their bytes, for parsing is most of what reading a long journal costs.
    """
    known = set(known)
    odd = [(number, line) for number, line in enumerate(lines) if line not in known]
    if not odd:
        return []
    ids = {record["id"] for line in known.difference(lines) if (record := _records.parse(line)) is not None}
    records = ((number, _records.parse(line)) for number, line in odd)
    return [(number, record) for number, record in records if record is not None and record["id"] not in ids]


def lines_of(file: str) -> list[bytes]:
    return _files.read_whole(file).raw.splitlines(keepends=True)


def put_back(lost: Lost, clock: Clock) -> None:
    """Join each segment with what git has of it: no line is lost of either, and an entry says so.

    HEAD's lines stand first, as everyone has them; what was taken out of them follows. Raises ``GitError`` where only a
    person can join them; then nothing was written. The caller holds the lock.
    """
    joined: dict[str, bytes] = {}
    for file, raw in lost.committed:
        joined[file] = _as_in_head(file, raw, clock)
    for file, raw in lost.taken_out:
        now = joined[file] if file in joined else _files.read_whole(file).raw
        more = join(now, _entries_only(raw), saying(WHY, clock))
        if more is None:
            raise _refused(file)
        joined[file] = more
    for file, raw in joined.items():
        _files.make_folder(os.path.dirname(file))
        _files.put_whole(file, raw)


def _as_in_head(file: str, committed: bytes, clock: Clock) -> bytes:
    now = _files.read_whole(file).raw if os.path.exists(file) else b""
    raw = join(committed, now, saying("joined: the work tree's journal lacked what was committed", clock))
    if raw == committed:
        lacked = len(unknown(committed.splitlines(keepends=True), now.splitlines(keepends=True)))
        raw = ended(committed, saying(f"put back {WHY}", clock, lacked))
    if raw is None:
        raise _refused(file)
    return raw


def _entries_only(raw: bytes) -> bytes:
    return b"".join(line for line in raw.splitlines(keepends=True) if _records.parse(line) is not None)


def _refused(file: str) -> GitError:
    return GitError(
        f"{file} lacks entries that git has, and cannot be joined with them: a line is no entry, or takes one back. Keep "
        "every whole line of both (`git log -p` shows the others), then `paramstore check`; nothing was committed."
    )
