"""How far the commit of a journal entry came, as its files and its temporary files tell. Reads only.

Recovery and a reader that comes before it ask the same rules: so both see all of a commit or nothing of it, also where a
person has saved one of its files since its writer died.
"""

from __future__ import annotations

import os

from paramstore import _files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from paramstore._journal import Position


def temporary_name(target: str, entry_id: str) -> str:
    """Return where the bytes of ``target`` wait for their name, and where the displaced ones go. The id of the
    entry is in it, so that recovery finds exactly the files of a commit that was cut off."""
    folder, base = os.path.split(target)
    return os.path.join(folder, f".{base}.{entry_id}.tmp")


class Unfinished:
    """One file of an entry: hashes ``now`` of its name and ``spare`` of its temporary name, ``None`` without a file."""

    __slots__ = (
        "after",
        "before",
        "file",
        "now",
        "quiet",
        "raw",
        "spare",
        "spare_raw",
        "target",
        "temporary",
    )

    def __init__(
        self, target: str, file: str, record: Mapping[str, Any], seen: tuple[bytes, str | None]
    ) -> None:
        self.file, self.target, (self.raw, self.now) = file, target, seen
        self.temporary = temporary_name(target, record["id"])
        self.before, self.after = record["files"][file]["before"], record["files"][file]["after"]
        # cut off before the last step where names cannot be exchanged, it still is under the second name
        spare = _content(self.temporary) or _content(self.temporary + ".old")
        self.spare_raw = spare.raw if spare is not None else b""
        self.spare = spare.digest if spare is not None else None
        self.quiet = spare is None or spare.is_quiet()

    @property
    def done(self) -> bool:
        """The new bytes had their name: they still have it, or the old ones are where they were put."""
        if self.now == self.after:
            return True
        return bool(self.now != self.before and self.spare != self.after)

    @property
    def displaced_save(self) -> bool:
        return self.now == self.after and self.spare not in (None, self.before, self.after)


def to_exchange(files: Sequence[Unfinished]) -> list[Unfinished]:
    """Return the files that must change place with their temporary files for all or nothing to stand.

    The rest goes in if nobody has saved a file that the writer had not come to; else what is in comes out again.
    """
    missing = [file for file in files if not file.done]
    if len(missing) == len(files):
        return []
    saved = any(file.displaced_save for file in files)
    if not saved and all(file.spare == file.after and file.now == file.before for file in missing):
        return missing
    return [file for file in files if file.now == file.after and file.spare is not None]


def as_read(files: Sequence[Unfinished]) -> tuple[bool, list[Unfinished]]:
    """Tell a reader whether the entry counts, and which files to take from under their temporary names for that.

    A commit that is in flight, or was cut off, counts for nothing until all of it is in. Where someone has saved one of its
    files since, only recovery's way leads to all or nothing, so it is taken at once.
    """
    done = [file for file in files if file.done]
    displaced = any(file.displaced_save for file in files)
    saved = displaced or any(file.now not in (file.before, file.after) for file in files)
    if not done or (len(done) == len(files) and not displaced):
        return bool(done), []
    # Not where the old bytes are nowhere to be read, since a power failure took their other name: then forward.
    if not saved and all(file.spare is not None and file.spare == file.before for file in done):
        return False, done
    to_do = to_exchange(files)
    return bool(to_do) and not any(file.done for file in to_do), to_do


def is_last_line(record: Mapping[str, Any], end: Position) -> bool:
    """Tell whether no line follows that of an entry. Whoever appends one has settled all before, so what is not the last stands."""
    return str(record.get("crc", "")).encode() == end.crc


def look(path: str) -> tuple[bytes, str | None]:
    """Return the bytes of a file and their hash, ``None`` without one."""
    content = _content(path)
    return (content.raw, content.digest) if content is not None else (b"", None)


def _content(path: str) -> _files.Content | None:
    try:
        return _files.read_whole(path)
    except FileNotFoundError:
        return None
