"""What the next writer does with what a dead one left behind. Idempotent, under the lock.

The last record tells what was under way, its id is in the names of its temporary files, and the hashes
tell how far it came:

* every file has its ``before``: it never took place; an ``abort`` says so;
* every file has its ``after``: it did; the displaced bytes go;
* some have the one and some the other: the rest is put in place, or, if it cannot be, all is put back;
* a temporary file holds neither: someone's save was displaced and its writer died before putting it
  back, so that is done now, unless the commit had been acknowledged; then it is kept as ``.conflict``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from paramstore import _files

if TYPE_CHECKING:
    from paramstore._backends._commit import LocalWriter


class _File:
    """One file of the last record: where its name and its temporary name stand now."""

    def __init__(self, writer: LocalWriter, file: str, sums: Mapping[str, Any], entry_id: str) -> None:
        from paramstore._backends._commit import temporary_name

        self.target = _files.resolve(writer.backend.path(file))
        self.temporary = temporary_name(self.target, entry_id)
        self.before, self.after = sums["before"], sums["after"]
        self.raw, self.now = _look(self.target)
        self.spare_raw, self.spare = _look(self.temporary)

    @property
    def done(self) -> bool:
        """The new bytes had their name: they still have it, or the old ones are where they were put."""
        if self.now == self.after:
            return True
        return bool(self.now != self.before and self.spare != self.after)

    @property
    def displaced_save(self) -> bool:
        return self.now == self.after and self.spare not in (None, self.before, self.after)


def recover(writer: LocalWriter, record: Mapping[str, Any]) -> None:
    """Finish or undo ``record``, the journal's last."""
    from paramstore._backends._commit import sync_folders

    if record["kind"] == "external":
        return
    files = [_File(writer, file, sums, record["id"]) for file, sums in record["files"].items()]
    if any(file.displaced_save for file in files):
        _undo(files)
    elif any(file.done for file in files):
        _finish(files)
    sync_folders(file.target for file in files)
    files = [_File(writer, file, sums, record["id"]) for file, sums in record["files"].items()]
    if not all(file.done for file in files):
        writer.abort(record, "the writer died before the values were in place")
    writer.publish()


def _finish(files: list[_File]) -> None:
    missing = [file for file in files if not file.done]
    if any(file.spare != file.after for file in missing):
        _undo(files)
        return
    for file in missing:
        _files.swap_in(file.temporary, file.target, file.raw)


def _undo(files: list[_File]) -> None:
    for file in files:
        if file.now == file.after and file.spare is not None:
            _files.swap_in(file.temporary, file.target, file.raw)


def leftovers(writer: LocalWriter) -> None:
    """Remove temporary files whose bytes are known; keep all others as ``.conflict``, for a person."""
    folder = writer.backend.path("params")
    known = {
        digest
        for record in writer.backend.records()
        for s in record["files"].values()
        for digest in s.values()
    }
    for name in sorted(os.listdir(folder)):
        if not (name.startswith(".") and name.endswith(".tmp")):
            continue
        path = os.path.join(folder, name)
        raw, digest = _look(path)
        if not raw or digest in known:
            os.unlink(path)
        else:
            _files.set_aside(path, ".conflict")


def _look(path: str) -> tuple[bytes, str | None]:
    try:
        content = _files.read_whole(path)
    except FileNotFoundError:
        return b"", None
    return content.raw, content.digest
