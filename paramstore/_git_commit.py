"""Journal entries as git commits: the message and trailers come from the journal, the files are those of the store.

Works beside whatever else is in the index: the commit is built in an index of its own. Files that other programs watch are
not touched. The caller holds the store's lock, so that values and journal belong together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from paramstore import _files, _git, _records, _yaml
from paramstore._backends._splice import splice
from paramstore._backends.base import Session
from paramstore._backends.local import LocalBackend
from paramstore._git_head import WorkTree
from paramstore._git_lost import find_lost, lines_of, put_back, unknown
from paramstore._git_message import identity_of, message
from paramstore._model import Entry
from paramstore._outline import Outline
from paramstore.errors import DocumentError, GitError, SchemaError


@dataclass(frozen=True, slots=True)
class Committed:
    """One git commit: its hash (empty when nothing was written), its message, and the entries in it."""

    commit: str
    message: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """A journal entry that git does not have yet, where it stands, and how long the segment is with it."""

    file: str
    end: int
    record: dict[str, object]
    entry: Entry


def commit(
    backend: LocalBackend,
    by_author: bool,
    dry_run: bool = False,
    session: Session | None = None,
    tell: Callable[[str], object] = lambda said: None,
) -> list[Committed]:
    """Commit what the journal holds and the last git commit does not. Returns what was made, oldest first.

    ``by_author`` makes one git commit for each run of entries of one author; where git does not hold the journal there is
    but one. Entries that git has and the journal lacks are joined back first, in ``session``; ``tell`` is called with a clause
    that names them. Raises ``GitError``, without a session also for these; then HEAD is where it was, or at the last commit that was made.
    """
    changes = _Changes(backend)
    changes.join_lost(None if dry_run else session, tell)
    files_now = changes.files_now()
    changes.refuse(changes.tree.changed(files_now))
    by_author = by_author and changes.keeps_journal
    lines = changes.new_lines() if changes.keeps_journal else changes.lines_since_head()
    runs = [list(run) for _, run in groupby(lines, lambda line: line.entry.author)] if by_author else [lines]
    made = []
    for number, run in enumerate(runs or [[]]):
        last = number >= len(runs) - 1
        then = files_now if last else changes.files_after(lines, runs[: number + 1])
        files = changes.tree.changed({path: raw for path, raw in then.items() if path in files_now})
        if not files:
            continue
        entries = tuple(line.entry for line in run)
        text = message(entries)
        author = identity_of(entries, by_author)
        made.append(Committed("" if dry_run else changes.tree.write(files, text, author), text, entries))
    return made


class _Changes:
    """What a store has that the commit around it does not have yet."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend = backend
        self.tree = WorkTree(backend.root)
        self.values = {name: self.tree.path(backend.values_file(name)) for name in backend.namespaces()}
        self.journal = self.tree.path(os.path.abspath(backend.journal.path))
        self.keeps_journal = not self.journal.startswith("..") and not self.tree.ignored(
            [self.journal, *self._segments()]
        ).intersection(self._segments() or [self.journal])

    def _segments(self) -> dict[str, str]:
        """Return the journal's files by their path in git."""
        journal = self.backend.journal
        files = [os.path.abspath(journal.file(segment)) for segment in journal.segments()]
        return {self.tree.path(file): file for file in files}

    # -- what is refused, and what is put right ---------------------------------------------------

    def join_lost(self, session: Session | None, tell: Callable[[str], object]) -> None:
        """Bring back entries that git has and the work tree's journal lacks, and have the values' files noted."""
        if not self.keeps_journal:
            return
        before = [(os.path.join(self.tree.top, path), raw) for path, raw in self.tree.shortened(self.journal)]
        taken_out = [(file, raw) for file, raw in before if file in self.committed]
        lost = find_lost(self.backend.journal, list(self.committed.items()), taken_out)
        if lost is None:
            return
        if session is None:
            raise GitError(
                f"{self.journal}: {lost.told()}: it was put back to an older state. `paramstore commit` joins both, so that no "
                "entry is lost, and notes the values in the files as they stand; nothing was committed."
            )
        put_back(lost, self.backend.clock)
        session.refresh()
        tell(f"{lost.told()}: brought back")

    @cached_property
    def committed(self) -> dict[str, bytes]:
        """The journal's files as HEAD had them when the work began, by absolute path."""
        segments = (
            [path for path in self.tree.known if path == self.journal]
            if self.backend.journal.single
            else [
                path
                for path in self.tree.known
                if os.path.dirname(path) == self.journal and path.endswith(".jsonl")
            ]
        )
        return {os.path.join(self.tree.top, path): self.tree.committed(path) or b"" for path in segments}

    def refuse(self, files: Mapping[str, bytes | None]) -> None:
        """Raise ``GitError`` for values that a person has staged otherwise, or that the commit's schema would refuse."""
        values = {path: raw for path, raw in files.items() if path in self.values.values()}
        self.tree.hold_staged(values)
        for name, path in self.values.items():
            raw = values.get(path)
            if raw is not None and self.tree.head:
                self._judge(name, path, raw)

    def _judge(self, name: str, path: str, raw: bytes) -> None:
        """Judge values by the schema that HEAD has, where the work tree's is another: every clone will."""
        file = self.backend.schema_file(name)
        schema_path = self.tree.path(file)
        committed = self.tree.committed(schema_path)
        if committed is None and path not in self.tree.known and not schema_path.startswith(".."):
            raise GitError(
                f"{path} is new to git, and so is {file}: commit {file} first. Nothing was committed."
            )
        now = self.backend.read(file, SchemaError).raw
        if committed is None or self.tree.name(schema_path, now) == self.tree.known[schema_path][1]:
            return
        from paramstore._schema import load_schema

        try:
            schema = load_schema(name, committed, file, _files.digest(committed))
        except SchemaError:
            return  # broken in HEAD already
        try:
            schema.document(_yaml.parse(raw, path).data, path, _files.digest(raw))
        except DocumentError as error:
            raise GitError(
                f"{path} does not keep the rules of {file} in HEAD: {error.problem}. Commit {file} first. Nothing was committed."
            ) from None

    # -- what is new ------------------------------------------------------------------------------

    def new_lines(self) -> list[_Line]:
        """Return the journal's entries that the journal in HEAD lacks."""
        outline = Outline()
        lines: list[bytes] = []
        ends: list[tuple[str, int]] = []
        for path, file in self._segments().items():
            end = 0
            for line in lines_of(file):
                if not outline.take(line):
                    raise GitError(
                        f"{file}: the line at byte {end} is no journal entry; run `paramstore check`."
                    )
                end += len(line)
                lines.append(line)
                ends.append((path, end))
        known = {line for raw in self.committed.values() for line in raw.splitlines(keepends=True)}
        new = {record["id"]: ends[number] for number, record in unknown(lines, known)}
        standing = [(line.record, *new[line.id]) for line in outline.standing() if line.id in new]
        return [_Line(path, end, record, _records.entry(record)) for record, path, end in standing]

    def lines_since_head(self) -> list[_Line]:
        """Return the entries after those that left the values files as HEAD has them, for a journal that git does not hold.

        Of a file that no entry left so, none is known to be new.
        """
        records = self.backend.records()
        seen: dict[str, int] = {}
        for name, path in self.values.items():
            file, digest = self.backend.values_file(name), self._digest_in_head(path)
            of_file = [n for n, r in enumerate(records) if r["files"].get(file, {}).get("after") == digest]
            seen[file] = max(of_file, default=len(records) if self.tree.head else -1)
        return [
            _Line("", 0, record, _records.entry(record))
            for number, record in enumerate(records)
            if any(number > seen.get(file, len(records)) for file in record["files"])
        ]

    def _digest_in_head(self, path: str) -> str:
        if path not in self.tree.known:
            return ""
        return _files.digest(_git.git(self.tree.top, "cat-file", "--filters", f"{self.tree.head}:{path}"))

    # -- files ------------------------------------------------------------------------------------

    def files_now(self) -> dict[str, bytes | None]:
        """Return all parameter files as they stand; ``None`` for one that is gone."""
        values = {path: os.path.join(self.tree.top, path) for path in self.values.values()}
        there = {path: file for path, file in values.items() if os.path.isfile(file)}
        there |= self._segments() if self.keeps_journal else {}
        inside = {path: file for path, file in there.items() if not path.startswith("..")}
        ignored = self.tree.ignored(list(inside))
        found = {path: _files.read_whole(file).raw for path, file in inside.items() if path not in ignored}
        return {**dict.fromkeys(self._gone()), **found}

    def _gone(self) -> list[str]:
        folder = self.tree.path("params")
        listed = [
            path for path in self.tree.known if os.path.dirname(path) == folder and path.endswith(".yaml")
        ]
        absent = [path for path in listed if not os.path.lexists(os.path.join(self.tree.top, path))]
        left_out = self.tree.left_out() if absent else set()
        return [path for path in absent if path not in left_out]

    def files_after(self, lines: Sequence[_Line], runs: Sequence[Sequence[_Line]]) -> dict[str, bytes | None]:
        """Return the files as they were after the last entry of ``runs``: the texts in HEAD with each change spliced in,
        as the writers did, and the journal up to there."""
        found: dict[str, bytes | None] = {}
        for line in runs[-1]:  # HEAD has those of the runs before
            self._advance(found, line)
        done = [line for run in runs for line in run]
        for path, file in self._segments().items():
            ends = [line.end for line in done if line.file == path]
            if ends:
                found[path] = _files.read_whole(file).raw[: max(ends)]
        return found

    def _advance(self, found: dict[str, bytes | None], line: _Line) -> None:
        by_file: dict[str, list[object]] = {}
        for change in line.entry.changed:
            file = self.backend.values_file(change.key.partition(".")[0])
            by_file.setdefault(file, []).append(change)
        for file, changes in by_file.items():
            path = self.tree.path(file)
            raw = found.get(path) or self.tree.committed(path)
            if raw is None:
                continue  # new to git: it comes whole with the last commit
            try:
                found[path] = splice(_yaml.parse(raw, file), changes).raw  # type: ignore[arg-type]
            except (DocumentError, KeyError, TypeError, AssertionError):
                continue  # a rewrite by hand: the last commit brings the whole file
