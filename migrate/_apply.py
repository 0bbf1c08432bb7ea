"""All files or none: stage every new file, name them all in one marker, then give each its name.

The marker is the point of no return. A crash before it leaves the old files and some staged ones, which the
next run on the same files replaces; a crash after it leaves a mixture that the next run completes. The store's files come
first, so that a rewritten source always finds its keys.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from paramstore.errors import ParamstoreError
from paramstore.migrate._locate import scoped
from paramstore.migrate._plan import PlanError
from paramstore.migrate._prepare import Prepared
from paramstore.migrate._rewrite import new_spans
from paramstore.migrate._source import bytes_of, read

MARKER = ".applying"
RECORD = ".applied.json"
STAGED = ".paramstore-new"


class ChangedError(ParamstoreError):
    """A file changed while the migration was at work. Nothing was written."""


@dataclass(frozen=True)
class Change:
    """One file: absolute ``path``, bytes before (``None``: there is no file) and after (``None``: remove it)."""

    path: str
    before: bytes | None
    after: bytes | None


def write_all(plan_path: str, changes: Iterable[Change]) -> None:
    """Write all changes or none; resumes what an earlier run left unfinished. Raises ``ChangedError``
    when a file is not as ``before`` says, and ``OSError``; in both cases nothing was written."""
    changes = [change for change in changes if change.before != change.after]
    if not changes:
        return
    staged: list[str] = []
    try:
        for change in changes:
            if bytes_of(change.path) != change.before:
                raise ChangedError(
                    f"{change.path} changed while it was being migrated. Nothing was written; run it again."
                )
            if change.after is not None:
                staged.append(_stage(change.path, change.after))
        for folder in {os.path.dirname(path) for path in staged}:
            _sync(folder)
        _mark(plan_path, changes)
    except BaseException:
        for path in staged:
            with suppress(OSError):
                os.unlink(path)
        raise
    resume(plan_path)


def resume(plan_path: str) -> list[str]:
    """Complete what a marker names, and return the files it named. Nothing happens without a marker."""
    marker = plan_path + MARKER
    try:
        with open(marker, encoding="utf-8") as stream:
            work = json.load(stream)
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError) as error:
        raise PlanError(
            f"{marker} is damaged ({error}). Restore the files with git, then delete it."
        ) from None
    if not _is_marker(work):
        raise PlanError(f"{marker} is damaged. Restore the files with git, then delete it.")
    for item in work["files"]:
        path, staged = item["path"], item["path"] + STAGED
        if item["after"] is None:
            with suppress(FileNotFoundError):
                os.unlink(path)
        elif os.path.exists(staged):
            os.replace(staged, path)
        elif _sum(bytes_of(path)) != item["after"]:
            raise PlanError(
                f"{path}: its new content is lost ({staged} is gone). Restore the files with git, then delete {marker}."
            )
    for folder in {os.path.dirname(item["path"]) for item in work["files"]}:
        _sync(folder)
    os.unlink(marker)
    _sync(os.path.dirname(os.path.abspath(marker)))
    return [item["path"] for item in work["files"]]


def _is_marker(work: Any) -> bool:
    files = work.get("files") if isinstance(work, dict) else None
    return isinstance(files, list) and all(
        isinstance(item, dict)
        and isinstance(item.get("path"), str)
        and isinstance(item.get("after", 0), str | None)
        for item in files
    )


def _is_record(data: Any) -> bool:
    """Tell whether a record has the form that ``record_of`` gives it."""
    files = data.get("files")
    if not isinstance(files, dict) or not isinstance(data.get("store"), str):
        return False
    return all(isinstance(layers, list) and all(map(_is_layer, layers)) for layers in files.values())


def _is_layer(layer: Any) -> bool:
    if not isinstance(layer, dict) or not all(
        isinstance(layer.get(n), str) for n in ("before", "after", "alias")
    ):
        return False
    rows = [(layer.get("sites"), (int, int, str)), (layer.get("edits"), (int, int, str, str, str, str, str))]
    return all(
        isinstance(items, list)
        and all(isinstance(row, list) and tuple(map(type, row)) == kinds for row in items)
        for items, kinds in rows
    )


def _mark(plan_path: str, changes: list[Change]) -> None:
    data = {"files": [{"path": change.path, "after": _sum(change.after)} for change in changes]}
    temporary = f"{plan_path}{MARKER}.new"
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(data, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, plan_path + MARKER)
    _sync(os.path.dirname(os.path.abspath(plan_path)))


def _stage(path: str, raw: bytes) -> str:
    """Write the new bytes beside the file, with its mode."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    staged = path + STAGED
    with suppress(FileNotFoundError):
        os.unlink(staged)
    fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(fd, "wb") as stream:
        stream.write(raw)
        with suppress(FileNotFoundError):
            os.fchmod(fd, os.stat(path).st_mode & 0o7777)
        stream.flush()
        os.fsync(fd)
    return staged


def _sync(folder: str) -> None:
    fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sum(raw: bytes | None) -> str | None:
    return None if raw is None else hashlib.sha256(raw).hexdigest()


# -- what was applied ------------------------------------------------------------------------------


def record_of(prepared: Prepared, store_root: str, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what ``verify`` and ``revert`` need: for each file, a layer for each time it was rewritten, with
    its edits, their old texts and the sums before and after."""
    files = {file: list(layers) for file, layers in (before or {}).get("files", {}).items()}
    for file, (source, rewritten) in prepared.sources.items():
        new = read(file, source.encode(rewritten.text))
        layer = {
            "before": source.sha256,
            "after": new.sha256,
            "alias": rewritten.alias,
            "sites": [[site.line, site.column, site.key] for site in prepared.sites if site.file == file],
            "edits": scoped(
                rewritten.edits, new, rewritten.alias, (start for start, _ in new_spans(rewritten.edits))
            ),
        }
        files.setdefault(file, []).append(layer)
    return {"applied": 1, "store": os.path.relpath(store_root, prepared.plan.root), "files": files}


def read_record(plan_path: str, root: str) -> dict[str, Any] | None:
    """Return the record beside a plan, ``None`` if nothing was applied. Raises ``PlanError``.

    What was put back since, by ``git checkout`` say, is left out: the file has the sum that it had before.
    """
    try:
        with open(plan_path + RECORD, encoding="utf-8") as stream:
            data = json.load(stream)
    except FileNotFoundError:
        return None
    except (ValueError, OSError, RecursionError) as error:
        raise PlanError(f"{plan_path + RECORD} cannot be read: {error}. Restore it with git.") from None
    if not isinstance(data, dict) or data.get("applied") != 1:
        raise PlanError(f"{plan_path + RECORD} is no record of version 1.")
    if not _is_record(data):
        raise PlanError(f"{plan_path + RECORD} is damaged. Restore it with git.")
    for file, layers in list(data["files"].items()):
        try:
            now = _sum(bytes_of(os.path.join(root, file)))
        except (OSError, ValueError) as error:  # a directory, a name too long, a NUL
            raise PlanError(f"{plan_path + RECORD} names a file that cannot be read: {error}.") from None
        sums = [layer["before"] for layer in layers]
        if now in sums:
            data["files"][file] = layers[: sums.index(now)]
            if not data["files"][file]:
                del data["files"][file]
    return data if data["files"] else None


def sections_in(record: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the key below which each dictionary was put, with the dictionary's file."""
    return {
        key: file
        for file, layers in (record or {}).get("files", {}).items()
        for layer in layers
        for _, _, _, kind, key, *_ in layer["edits"]
        if kind == "section"
    }


def record_text(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=True, sort_keys=True) + "\n").encode()


def changes_of(prepared: Prepared, store_root: str, record: Mapping[str, Any]) -> list[Change]:
    """Return every file that ``apply --write`` writes: the store's, then the record, then the sources."""
    changes = [
        Change(os.path.join(store_root, file), before, after)
        for file, (before, after) in sorted(prepared.store.items())
    ]
    path = os.path.abspath(prepared.plan.path + RECORD)
    changes.append(Change(path, bytes_of(path), record_text(record)))
    for file, (source, rewritten) in sorted(prepared.sources.items()):
        changes.append(
            Change(os.path.join(prepared.plan.root, file), source.raw, source.encode(rewritten.text))
        )
    return changes
