"""What the next writer does with what a dead one left behind. Idempotent, under the lock.

The last record tells what was under way, its id is in the names of its temporary files, and the hashes
tell how far it came:

* every file has its ``before``: it never took place; an ``abort`` says so;
* every file has its ``after``: it did; the displaced bytes go;
* some have the one and some the other: the rest is put in place, or all is put back if it cannot be, or
  if someone has saved a file that the writer had not come to;
* a temporary file holds neither: someone's save was displaced and its writer died before putting it
  back, so that is done now, unless the commit had been acknowledged; then it is kept as ``.conflict``.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from paramstore import _files
from paramstore._backends._unfinished import Unfinished, is_last_line, look, temporary_name, to_exchange
from paramstore._journal import START
from paramstore._records import SAID

if TYPE_CHECKING:
    from paramstore._backends._commit import LocalWriter


RUNTIME_REST_S = 60.0  # nobody takes that long to write a file of a few kilobytes


def recover(writer: LocalWriter, record: Mapping[str, Any]) -> bool:
    """Finish or undo ``record``, the journal's last. Tells whether it stands."""
    from paramstore._backends._commit import sync_folders

    found = record["kind"] in ("external", "merge") or SAID in record
    if found or not is_last_line(record, writer.position):
        writer.publish()  # what git brought, nobody has announced
        return True  # written when the files stood already, by a writer on another machine, or settled by a later one
    for file in to_exchange(files := _files_of(writer, record)):
        _files.swap_in(file.temporary, file.target, file.raw)
    sync_folders(file.target for file in files)
    stands = all(file.done for file in _files_of(writer, record))
    if not stands:
        writer.abort(record, "the writer died before the values were in place")
    writer.publish()
    return stands


def _files_of(writer: LocalWriter, record: Mapping[str, Any]) -> list[Unfinished]:
    targets = {file: _files.resolve(writer.backend.path(file)) for file in record["files"]}
    for target in targets.values():
        _files.complete_swap(temporary_name(target, record["id"]))
    return [Unfinished(target, file, record, look(target)) for file, target in targets.items()]


def leftovers(writer: LocalWriter) -> None:
    """Remove temporary files whose bytes are known; keep all others as ``.conflict``, for a person."""
    _sweep_runtime(writer.backend.runtime)
    targets = [_files.resolve(writer.backend.path(file)) for file in _values_files(writer)]
    found = [path for target in targets for path in _temporaries(target)]
    if not found:
        return
    known = {look(target)[1] for target in targets}
    for record in writer.backend.journal.lines(START)[0]:  # what was aborted is known as well
        known |= {digest for sums in record["files"].values() for digest in sums.values()}
    for path in found:
        raw, digest = look(path)
        if not raw or digest in known:
            os.unlink(path)
        else:
            _files.set_aside(path, ".conflict")


def _values_files(writer: LocalWriter) -> list[str]:
    return [writer.backend.values_file(name) for name in writer.backend.namespaces()]


def _temporaries(target: str) -> list[str]:
    """Return the temporary files that belong to ``target``: of no other file, and of no other program."""
    folder, base = os.path.split(target)
    ours = re.compile(rf"\.{re.escape(base)}\.[0-9a-f]{{16}}\.tmp(\.old)?")
    with suppress(FileNotFoundError):
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if ours.fullmatch(name)]
    return []


def _sweep_runtime(folder: str) -> None:
    """Remove what processes that died while they wrote a generation or sidecar file left behind."""
    with suppress(OSError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if re.fullmatch(r"(generation|cache|memory|attempts\.json)\.\d+\.[0-9a-f]{8}", name):
                with suppress(OSError):
                    if time.time() - os.stat(path).st_mtime > RUNTIME_REST_S:
                        os.unlink(path)
