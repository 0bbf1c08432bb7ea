"""All files or none: stage every new file, name them all in one marker, then give each its name.

The marker is the point of no return. A crash before it leaves the old files and some staged ones, which the
next run on the same files replaces; a crash after it leaves a mixture that the next run completes, unless somebody
edited a file meanwhile: then it touches none. The store's files come first, and are on disk before a source
gets its name, so that a rewritten source always finds its keys.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from paramstore.errors import ParamstoreError, WriteError
from paramstore.migrate._locate import scoped
from paramstore.migrate._plan import PlanError
from paramstore.migrate._prepare import Prepared
from paramstore.migrate._record import is_record
from paramstore.migrate._rewrite import new_spans
from paramstore.migrate._source import bytes_of, read
from paramstore.migrate._store import held, target

MARKER = ".applying"
RECORD = ".applied.json"
STAGED = ".paramstore-new"
DONE, WAITS, EDITED, LOST, UNKNOWN = "done", "waits", "edited", "lost", "unknown"


class ChangedError(ParamstoreError):
    """A file changed while the migration was at work. Nothing was written."""


class UnfinishedError(ParamstoreError):
    """A change was begun and is not finished: each file is old or new. The message says what is in the way
    and how to go on; the marker stays until then."""


@dataclass(frozen=True)
class Change:
    """One file: absolute ``path``, bytes before (``None``: there is no file) and after (``None``: remove it)."""

    path: str
    before: bytes | None
    after: bytes | None


def write_all(plan_path: str, changes: Iterable[Change]) -> None:
    """Write all changes or none. Raises ``ChangedError`` when a file is not as ``before`` says, and ``WriteError``;
    in both cases nothing was written. Raises ``UnfinishedError`` after the point of no return."""
    changes = [change for change in changes if change.before != change.after]
    if not changes:
        return
    made: list[str] = []
    with _alone(plan_path):
        try:
            _stage_all(changes, made)
            _mark(plan_path, changes)
        except UnfinishedError:
            raise  # the marker stands, so what it names must
        except BaseException as error:
            _unstage(changes, made)
            if isinstance(error, OSError) and not isinstance(error, ParamstoreError):
                raise WriteError(f"{_said(error)}. Nothing was written.") from error
            raise
        try:
            _complete(plan_path + MARKER)
        except ChangedError:
            _remove_folders(made)
            raise


def _stage_all(changes: list[Change], made: list[str]) -> None:
    for folder in dict.fromkeys(os.path.dirname(change.path) for change in changes if change.before is None):
        _make_folder(folder, made)
    for change in changes:
        if bytes_of(change.path) != change.before:
            raise ChangedError(
                f"{change.path} changed while it was being migrated. Nothing was written; run it again."
            )
        if change.after is not None:
            _stage(change.path, change.after)
    for folder in {os.path.dirname(change.path) for change in changes if change.after is not None}:
        _sync(folder)


def _unstage(changes: list[Change], made: list[str]) -> None:
    for change in changes:
        with suppress(OSError):
            os.unlink(change.path + STAGED)
    _remove_folders(made)


def _remove_folders(made: list[str]) -> None:
    for folder in reversed(made):
        with suppress(OSError):
            os.rmdir(folder)


def resume(plan_path: str) -> bool:
    """Complete what a marker names; tell whether there was one. Raises ``UnfinishedError``, and touches no
    file, when one that waits for its new content is not as it was when the change began; ``ChangedError`` when
    besides none has its new content: then the change is given up."""
    marker = plan_path + MARKER
    if os.path.lexists(marker):
        with _alone(plan_path), _store_held(marker):
            _complete(marker)
        return True
    return False


def _store_held(marker: str) -> AbstractContextManager[None]:
    """Keep commits out of the store whose files a marker names, if it names any."""
    folders = [os.path.dirname(step.path) for step in _read_marker(marker) or ()]
    roots = {os.path.dirname(each) for each in folders if os.path.basename(each) in ("params", "schemas")}
    return held(min(roots)) if roots else nullcontext()


@contextmanager
def _alone(plan_path: str) -> Iterator[None]:
    """Refuse while another process is at work on the plan: each would take the other's staged files for its own."""
    try:
        fd = os.open(plan_path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PlanError(f"The plan {plan_path} cannot be read: {error.strerror}.") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise ChangedError(
            f"Another process is at work on {plan_path}. Nothing was written; run it again once that has ended."
        ) from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(fd)


def _complete(marker: str) -> None:
    try:
        steps = _read_marker(marker)
        if steps is None:
            return
        states = [step.state() for step in steps]
        if LOST in states and {LOST, WAITS}.issuperset(states) and all(step.known for step in steps):
            _unstage_steps(steps)  # every file is as before: the marker outlived what it names
        else:
            _refuse(marker, steps, states)
            for folder, members in groupby(steps, lambda step: os.path.dirname(step.path)):
                for step in members:
                    step.take(marker)
                _sync(folder)
        os.unlink(marker)
        _sync(os.path.dirname(os.path.abspath(marker)))
    except (OSError, KeyboardInterrupt) as error:
        if not os.path.lexists(marker):  # refused before anything was begun, or after all of it was done
            raise PlanError(f"{_said(error)}. Run this again.") from error
        raise UnfinishedError(
            f"{_said(error)}. The change that {marker} names is not finished: run this again, and it goes on where it "
            "stopped."
        ) from error


@dataclass(frozen=True)
class _Step:
    """One file of a marker: the sums of its content before and after (``None``: no file)."""

    path: str
    before: str | None
    after: str | None
    known: bool = True  # earlier versions did not note what stood before

    @property
    def staged(self) -> str:
        return self.path + STAGED

    def state(self) -> str:
        whole = self.after is None or _sum(bytes_of(self.staged)) == self.after
        there = self.after is None or os.path.lexists(self.staged)
        now = _sum(bytes_of(self.path))  # last, because somebody may save it at any time
        if now == self.after:
            return DONE
        if self.known and now != self.before:
            # without a staged file: an edit of the new content, or of the old if somebody removed that
            return EDITED if there else UNKNOWN
        return WAITS if whole else LOST

    def take(self, marker: str) -> None:
        """Give the file its new content, if it still is as it was."""
        state = self.state()
        _refuse(marker, [self], [state])
        if self.after is None:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
        elif state == WAITS:
            os.replace(self.staged, self.path)
        elif os.path.lexists(self.staged):
            os.unlink(self.staged)


def _unstage_steps(steps: list[_Step]) -> None:
    for step in steps:
        with suppress(FileNotFoundError):
            os.unlink(step.staged)


def _give_up_untouched(marker: str, edited: list[str]) -> None:
    """Undo a change because of edited files if no file has its new content yet. Raises ``ChangedError`` then."""
    steps = _read_marker(marker) or []
    if not {EDITED, WAITS}.issuperset(step.state() for step in steps):
        return
    os.unlink(marker)
    _sync(os.path.dirname(os.path.abspath(marker)))
    with suppress(OSError):  # the next run on the same files replaces what stays
        _unstage_steps(steps)
    raise ChangedError(
        f"{', '.join(edited)} changed while it was being migrated. Nothing was written; run it again."
    )


def _in_state(state: str, steps: list[_Step], states: list[str]) -> list[str]:
    return [step.path for step, each in zip(steps, states, strict=True) if each == state]


def _ways_out(marker: str) -> str:
    """Say what to run to give a change up: only what has its new content is put back."""
    steps = _read_marker(marker) or []
    done = [step for step in steps if step.state() == DONE]
    old = [step.path for step in done if step.before is not None or not step.known]
    new = [step.path for step in done if step.before is None and step.known]
    staged = [step.staged for step in steps if os.path.lexists(step.staged)]
    lines = [f"  git checkout -- {shlex.join(old)}"] if old else []
    lines.append(f"  rm -f {shlex.join([*new, *staged])}" if new or staged else "")
    lines.append(f"  rm {shlex.quote(marker)}")
    return "To give the change up, run\n" + "\n".join(line for line in lines if line)


def _refuse(marker: str, steps: list[_Step], states: list[str]) -> None:
    """Raise ``UnfinishedError`` for files that may not get their new content."""
    if edited := _in_state(EDITED, steps, states):
        _give_up_untouched(marker, edited)
        raise UnfinishedError(
            f"Not as it was when the change that {marker} names was begun, which is not finished: {', '.join(edited)}. "
            f"It was left as it stands. To go on, put your edit aside (`git stash push -- {shlex.join(edited)}`), run this "
            f"again, and make the edit anew. {_ways_out(marker)}"
        )
    if unknown := _in_state(UNKNOWN, steps, states):
        raise UnfinishedError(
            f"Neither as it was before nor as it is after the change that {marker} names, which is not finished, and "
            f"without {STAGED} beside it: {', '.join(unknown)}. It was left as it stands. If it reads parameters already, it "
            "was edited after it got its new content: copy it elsewhere, give the change up, restore the file with git, "
            "apply again, and put the copy back. If it still holds its literals, it was edited before, and its new "
            "content is lost: give the change up, scan and apply again. If it is gone, restore it with git first. "
            f"{_ways_out(marker)}"
        )
    if lost := _in_state(LOST, steps, states):
        raise UnfinishedError(
            f"The new content of {', '.join(lost)} is lost ({STAGED} beside it is gone or damaged), and the change that "
            f"{marker} names is not finished. Give it up, and apply again. {_ways_out(marker)}"
        )


def _read_marker(marker: str) -> list[_Step] | None:
    """Return the files that a marker names, ``None`` if there is none. Raises ``PlanError``."""
    try:
        with open(marker, encoding="utf-8") as stream:
            work = json.load(stream)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise PlanError(
            f"{marker} is damaged ({error}). Restore the files with git, then delete it."
        ) from None
    if not _is_marker(work):
        raise PlanError(f"{marker} is damaged. Restore the files with git, then delete it.")
    folder = os.path.dirname(os.path.abspath(marker))
    steps = [
        _Step(
            os.path.normpath(os.path.join(folder, item["path"])),
            item.get("before"),
            item["after"],
            "before" in item,
        )
        for item in work["files"]
    ]
    record = os.path.abspath(marker.removesuffix(MARKER) + RECORD)
    if any(step.after is None and step.path != record for step in steps):
        raise PlanError(f"{marker} asks to remove what no migration removes. Delete it.")
    return steps


def _is_marker(work: Any) -> bool:
    files = work.get("files") if isinstance(work, dict) else None
    return isinstance(files, list) and all(
        isinstance(item, dict)
        and _is_path(item.get("path"))
        and isinstance(item.get("before"), str | None)
        and isinstance(item.get("after", 0), str | None)
        for item in files
    )


def _is_path(value: Any) -> bool:
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:  # half a character
        return False


def _mark(plan_path: str, changes: list[Change]) -> None:
    """Write the marker; if that is refused, leave none. Paths are relative to it: a directory may be moved."""
    marker = plan_path + MARKER
    folder = os.path.dirname(os.path.abspath(marker))
    files = [
        {"path": os.path.relpath(c.path, folder), "before": _sum(c.before), "after": _sum(c.after)}
        for c in changes
    ]
    temporary = f"{marker}.new"
    try:
        _write(temporary, json.dumps({"files": files}).encode())
        os.replace(temporary, marker)
        _sync(folder)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        _unmark(marker, folder, error)
        raise


def _unmark(marker: str, folder: str, why: BaseException) -> None:
    """Remove the marker before what it names, so that no run finds it alone."""
    with suppress(OSError):
        os.unlink(marker)
    if os.path.lexists(marker):
        raise UnfinishedError(
            f"{_said(why)}. {marker} cannot be removed, so the change that it names is decided, but not finished: run this "
            "again, and it is completed."
        ) from why
    with suppress(OSError):
        _sync(folder)


def _make_folder(path: str, made: list[str]) -> None:
    """Make a folder, and those above it, where missing, each with its name on disk; note in ``made`` what is new."""
    above = os.path.dirname(path)
    if os.path.isdir(path):
        with suppress(PermissionError):  # then it was not made here
            _sync(above)  # its maker may have died before its name was on disk
        return
    _make_folder(above, made)
    os.mkdir(path)
    made.append(path)
    _sync(above)


def _stage(path: str, raw: bytes) -> None:
    """Write the new bytes beside the file, with its mode and owner."""
    try:
        like = os.stat(path)
    except FileNotFoundError:
        like = None
    _write(path + STAGED, raw, like)


def _write(path: str, raw: bytes, like: os.stat_result | None = None) -> None:
    """Write a file of ours anew and put its bytes on disk, never through a link."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(fd, "wb") as stream:
        stream.write(raw)
        if like is not None:
            with suppress(OSError):  # who may write here need not own the file
                os.fchown(fd, like.st_uid, like.st_gid)
            os.fchmod(fd, like.st_mode & 0o7777)
        stream.flush()
        os.fsync(fd)


def _sync(folder: str) -> None:
    fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sum(raw: bytes | None) -> str | None:
    return None if raw is None else hashlib.sha256(raw).hexdigest()


def _said(error: BaseException) -> str:
    """Return what the operating system refused, and where."""
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted"
    if not isinstance(error, OSError):
        return type(error).__name__
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)


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
    if not is_record(data):
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


def same(plan_path: str, root: str, record: Mapping[str, Any] | None) -> None:
    """Raise ``ChangedError`` when another process has changed what is applied since ``record`` was read."""
    if os.path.lexists(plan_path + MARKER) or read_record(plan_path, root) != record:
        raise ChangedError(
            f"Another process was at work on {plan_path}. Nothing was written; look at what it did, and run this again."
        )


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
        Change(target(os.path.join(store_root, file)), before, after)
        for file, (before, after) in sorted(prepared.store.items())
    ]
    path = os.path.abspath(prepared.plan.path + RECORD)
    changes.append(Change(path, bytes_of(path), record_text(record)))
    for file, (source, rewritten) in sorted(prepared.sources.items()):
        changes.append(
            Change(os.path.join(prepared.plan.root, file), source.raw, source.encode(rewritten.text))
        )
    return changes
