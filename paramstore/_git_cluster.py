"""The cluster's side of a git mirror: what stands there at one moment, read from this machine's mirror of it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paramstore import _files, _records
from paramstore._etcd_place import ANSWER_S, Head
from paramstore._memory import recall
from paramstore.errors import GitError, UnreachableError

if TYPE_CHECKING:
    from paramstore._backends._mirror import Followed
    from paramstore._backends.etcd import EtcdBackend
    from paramstore._git_branch import Branch

TRIES = 3

Texts = dict[str, bytes]  # values and schemas by their file in the store


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of the journal: git's name for its content, and its number of lines."""

    blob: str
    lines: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands in the cluster after entry ``head``: texts by file, the journal's segments by path."""

    head: Head
    texts: Texts
    journal: dict[str, Segment]


class ClusterSide:
    """The cluster of ``backend``, whose journal is stored in the repository of ``branch`` as it is read."""

    def __init__(self, backend: EtcdBackend, branch: Branch) -> None:
        self._backend = backend
        self._branch = branch
        self._seen: dict[str, tuple[_files.Identity, Segment]] = {}
        self.prefix = backend.place.prefix

    def now(self) -> Standing:
        """Return what stands now, with everything in it recorded by an entry.

        Values that somebody put there by other means are recorded first, as any transaction does. Raises ``GitError`` where this
        user may not, or where they break a rule, and ``UnreachableError``.
        """
        for _ in range(TRIES):
            standing, strange = self._look()
            if not strange:
                return standing
            with self._backend.session(self._backend.options.timeout_s, None) as session:
                problems = session.state.problems
            if problems:
                told = "; ".join(f"{file}: {problem}" for file, problem in problems.items())
                raise GitError(
                    f"{self._backend.place.url} holds what breaks a rule, and was put there by other means: {told.rstrip('.')}. Put it "
                    "right there. Nothing was brought to git."
                )
        raise GitError(
            f"{self._backend.place.url} holds values that no entry records ({', '.join(strange)}), and this user may not record "
            "them. Run any transaction as an approver. Nothing was brought to git."
        )

    def look(self) -> Standing:
        """Return what stands now, recorded or not. Raises ``UnreachableError``."""
        return self._look()[0]

    def _look(self) -> tuple[Standing, list[str]]:
        backend, journal = self._backend, self._backend.journal
        for _ in range(TRIES):
            backend.follower.catch_up(ANSWER_S)
            for segment in journal.segments()[:-1]:  # these take long when new, and the lock shall not
                with suppress(OSError):
                    self._segment(journal.file(segment))
            with backend.mirror.locked():
                known = backend.mirror.checked()
                if known is None:
                    continue
                texts = {file: _files.read_whole(backend.path(file)).raw for file in known.files}
                files = [journal.file(segment) for segment in journal.segments()]
                segments = {os.path.relpath(file, backend.root): self._segment(file) for file in files}
                strange = self._unrecorded(known)
            return Standing(known.head, texts, segments), strange
        raise UnreachableError(f"The mirror of {backend.place.url} in {backend.root} does not hold still")

    def _segment(self, file: str) -> Segment:
        seen = _files.identity(os.stat(file))
        if self._seen.get(file, (None,))[0] != seen:
            raw = _files.read_whole(file).raw
            self._seen[file] = seen, Segment(self._branch.store(raw), raw.count(b"\n"))
        return self._seen[file][1]

    def _unrecorded(self, known: Followed) -> list[str]:
        after = recall(self._backend.memory_file(), self._backend.journal).after
        values = {file: digest for file, (_, digest) in known.files.items() if file.startswith("params/")}
        return [file for file, digest in values.items() if after.get(file) != digest]

    def since(self, standing: Standing, seq: int) -> tuple[str | None, list[dict[str, Any]]]:
        """Return the id of entry ``seq`` (empty for -1, ``None`` if there is no such entry), and the records after it."""
        if seq > standing.head.seq:
            return None, []
        found: list[dict[str, Any]] = []
        first = 0
        for segment in standing.journal.values():
            if first + segment.lines > max(seq, 0):
                lines = self._branch.content(segment.blob).splitlines()[max(0, seq - first) :]
                found += [record for line in lines if (record := _records.parse(line)) is not None]
            first += segment.lines
        return ("", found) if seq < 0 else (str(found[0]["id"]), found[1:])

    def journal_up_to(self, standing: Standing, seq: int) -> dict[str, Segment]:
        """Return the journal as it was after entry ``seq``."""
        found: dict[str, Segment] = {}
        first = 0
        for path, segment in standing.journal.items():
            count = min(segment.lines, seq + 1 - first)
            if count == segment.lines:
                found[path] = segment
            elif count > 0:
                lines = self._branch.content(segment.blob).splitlines(keepends=True)[:count]
                found[path] = Segment(self._branch.store(b"".join(lines)), count)
            first += segment.lines
        return found
