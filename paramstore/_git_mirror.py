"""A git work tree in step with a cluster, both ways, so that git stays the place of review.

What was committed in the cluster becomes files and journal lines of the work tree, and then git commits. What was merged in git
(values, schemas) becomes a commit in the cluster, judged as a person's edit: types, bounds, constraints and freezes bind it,
the limits of learners do not. ``.paramstore/followed`` says how far the two agree; whatever is interrupted goes on from there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from paramstore import _files, _git, _yaml
from paramstore._backends._mirror import Followed, Mirror
from paramstore._backends._splice import splice
from paramstore._backends.etcd import EtcdBackend
from paramstore._backends.local import LocalBackend
from paramstore._clock import utc_text
from paramstore._etcd_place import EMPTY, Head
from paramstore._git_commit import Committed, commit
from paramstore._history import Written, changes_between, flatten, shaped
from paramstore._journal import START
from paramstore._memory import recall
from paramstore._model import Change, Entry, FileChange
from paramstore._schema import Schema, load_schema
from paramstore._state import Document, namespace_of
from paramstore.errors import GitError

if TYPE_CHECKING:
    from paramstore._backends._etcd_commit import EtcdSession

FOLDERS = {"params": ".yaml", "schemas": ".schema.json"}


@dataclass
class Mirrored:
    """What one round did: the files of ``pushed`` went to the cluster as ``revision``, ``taken`` entries came from it."""

    pushed: list[str] = field(default_factory=list)
    revision: int | None = None
    taken: int = 0
    commits: list[Committed] = field(default_factory=list)


class GitMirror:
    """Rounds of the work tree at ``root`` with the cluster of ``backend``, which is a store of this machine like any other."""

    def __init__(self, root: str, backend: EtcdBackend) -> None:
        self.root = os.path.abspath(root)
        self.top = _git.top(self.root)
        self.backend = backend
        tree = EtcdBackend(backend.place, backend.credentials, self.root, backend.options, backend.clock)
        self._mirror = Mirror(tree, for_people=True)
        self._local = LocalBackend(self.root, backend.options, backend.clock)

    def round(self, by_author: bool = False, sync: bool = False) -> Mirrored:
        """Bring both in step once; with ``sync`` between a pull with rebase and a push.

        Raises ``GitError`` for what a person has to decide, ``DocumentError`` for values that break their schema: neither
        side was changed then, and the next round begins where this one did.
        """
        if sync:
            self._pull()
        with self._mirror.locked():
            self._ignore_runtime()
            known = self._mended(self._mirror.followed() or self._begin())
        edits = dict(self._edits(known))
        self._refuse_uncommitted(known)
        done = Mirrored(sorted(edits))
        if edits:
            done.revision = self._push(known, edits)
        now = self._take(known)
        done.taken = now.head.seq - known.head.seq
        self._commit_schemas()
        with self._local.session(self.backend.options.timeout_s, None) as session:
            done.commits = commit(self._local, by_author, False, session, lambda _: None)
        if sync:
            _git.git(self.top, "push", "--quiet")
        return done

    def _ignore_runtime(self) -> None:
        """Have git not see the run-time files of the work tree, whatever its own .gitignore says."""
        path = os.path.join(self._local.runtime, ".gitignore")
        if not os.path.exists(path):
            with open(path, "w", encoding="ascii", opener=_files.closed) as file:
                file.write("*\n")

    def _pull(self) -> None:
        """Pull with rebase; where git cannot, put all back as it was and raise ``GitError``."""
        try:
            _git.git(self.top, "pull", "--quiet", "--rebase")
        except GitError:
            _git.run(self.top, "rebase", "--abort")
            raise

    def _commit_schemas(self) -> None:
        """Commit schemas that came from the cluster: values are judged by those that git has."""
        folder = os.path.relpath(self._local.path("schemas"), self.top)
        if _git.text(self.top, "status", "--porcelain", "--untracked-files=all", "--", folder):
            _git.git(self.top, "add", "--", folder)
            _git.git(
                self.top,
                "commit",
                "--quiet",
                "--no-verify",
                "--message",
                "Take over schemas from the cluster",
                "--",
                folder,
            )

    def _take(self, known: Followed) -> Followed:
        """Take over what the cluster has; edits by other means that no entry records yet are recorded there first."""
        for _ in range(2):
            news = self.backend.remote.news(known)
            with self._mirror.locked():
                known = self._mirror.take(known, news)
            after = recall(self._local.memory_file(), self._local.journal).after
            values = {file: digest for file, (_, digest) in known.files.items() if file.startswith("params/")}
            if all(after.get(file) == digest for file, digest in values.items()):
                return known
            with self.backend.session(self.backend.options.timeout_s, None):
                pass  # a transaction begins by recording them
        raise GitError(
            f"{self.backend.place.url} holds values that no entry of its journal records, and this user may not record them. Run any "
            "transaction as an approver. Nothing was committed to git."
        )

    # -- how the work tree stands -----------------------------------------------------------------

    def _begin(self) -> Followed:
        """Begin with a work tree that holds no store yet, or what the cluster holds or held: that which was copied there."""
        folders = [(folder, _files.names(self._local.path(folder), end)) for folder, end in FOLDERS.items()]
        there = [f"{folder}/{name}" for folder, names in folders for name in names]
        if not there:
            return Followed()
        news = self.backend.remote.news(Followed())
        records, end = self._local.journal.lines(START)
        lines = b"".join(news.lines[seq] for seq in sorted(news.lines)[: len(records)])
        after = {file: sums["after"] for record in records for file, sums in record["files"].items()}
        after |= {
            file: _files.digest(text.raw)
            for file, text in news.texts.items()
            if file.startswith("schemas/") or not records
        }
        files = {file: (0, _files.digest(self._read(file) or b"")) for file in there}
        if lines != self._journal() or any(after.get(file) != digest for file, (_, digest) in files.items()):
            raise GitError(
                f"{self.root} holds a store that is not the one in {self.backend.place.url}. Begin with a work tree without params/ and "
                f"schemas/, or with that which `paramstore copy {self.backend.place.url} DIRECTORY` makes. Nothing was changed."
            )
        position = end.segment, end.offset, end.revision, end.crc.decode(), end.counted
        head = Head(len(records) - 1, end.revision, records[-1]["id"]) if records else EMPTY
        return Followed(0, head, 0, position, files)

    def _mended(self, known: Followed) -> Followed:
        """Give the journal back what the last round left, should git have changed it: that of the cluster is the truth."""
        journal, place = self._local.journal, known.place()
        ends = [(segment, os.path.getsize(journal.file(segment))) for segment in journal.segments()[-1:]]
        if journal.holds(place) and (ends or [(place.segment, 0)]) == [(place.segment, place.offset)]:
            return known
        lines = self.backend.remote.news(Followed()).lines
        for segment in journal.segments():
            os.unlink(journal.file(segment))
        end = journal.extend([lines[seq] for seq in range(known.head.seq + 1)], START)
        position = end.segment, end.offset, end.revision, end.crc.decode(), end.counted
        return replace(known, position=position)

    def _journal(self) -> bytes:
        journal = self._local.journal
        return b"".join(_files.read_whole(journal.file(segment)).raw for segment in journal.segments())

    def _read(self, file: str) -> bytes | None:
        try:
            return _files.read_whole(self._local.path(file)).raw
        except FileNotFoundError:
            return None

    def _edits(self, known: Followed) -> Iterator[tuple[str, bytes]]:
        """Yield the files that are not as the last round left them."""
        for folder, end in FOLDERS.items():
            for name in _files.names(self._local.path(folder), end):
                raw = self._read(file := f"{folder}/{name}")
                if raw is not None and known.files.get(file, (0, ""))[1] != _files.digest(raw):
                    yield file, raw
        for file in known.files:
            if self._read(file) is None:
                raise GitError(
                    f"{file} was removed in git. A namespace is taken out of the cluster by an approver (docs/etcd.md); until then "
                    f"`git checkout HEAD~ -- {file}` or the like brings it back. Nothing was brought in step."
                )

    def _refuse_uncommitted(self, known: Followed) -> None:
        """Raise ``GitError`` for edits that no git commit holds: whether they are meant, only their author knows."""
        folders = [os.path.relpath(self._local.path(name), self.top) for name in FOLDERS]
        said = _git.git(
            self.top, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *folders
        )
        for line in filter(None, said.decode(errors="surrogateescape").split("\0")):
            file = os.path.relpath(os.path.join(self.top, line[3:]), self.root)
            raw = self._read(file)
            own = raw is not None and known.files.get(file, (0, ""))[1] == _files.digest(raw)
            if (
                file.endswith(tuple(FOLDERS.values())) and not own
            ):  # ours: a round that was cut off before its git commit
                raise GitError(
                    f"{file} was edited and not committed: commit it or undo it. Nothing was brought in step."
                )

    # -- from git to the cluster ------------------------------------------------------------------

    def _push(self, known: Followed, edits: Mapping[str, bytes]) -> int | None:
        """Commit what was edited in git to the cluster; return the revision, ``None`` if all of it stands there already."""
        from paramstore._backends._etcd_commit import EtcdSession

        with self.backend.session(self.backend.options.timeout_s, None) as session:
            assert isinstance(session, EtcdSession)
            now = session.writer.known.files
            texts = {
                file: raw for file, raw in edits.items() if now.get(file, (0, ""))[1] != _files.digest(raw)
            }
            if not texts:
                return None  # the round before was cut off right after its commit
            self._merge(session, known, texts)
            entry = self._entry(session, texts)
            session.writer.put(entry, texts)
            return entry.revision

    def _merge(self, session: EtcdSession, known: Followed, texts: dict[str, bytes]) -> None:
        """Put into ``texts`` what the cluster changed meanwhile. Raises ``GitError`` where both changed the same."""
        now = session.writer.known.files
        for file in [
            file for file in texts if now.get(file, (0, ""))[1] != known.files.get(file, (0, ""))[1]
        ]:
            name = namespace_of(file)
            if file.startswith("schemas/"):
                raise GitError(
                    f"{file} was changed in git and in the cluster. Take one of them over into git. Nothing was changed."
                )
            schema = session.schema(name)
            base = shaped(_of(self._local.written(), name), {name: schema})
            edited = schema.document(_yaml.parse(texts[file], file).data, file, "")
            mine = {
                (change.key, tuple(sorted(change.context.items()))): change
                for change in changes_between(base, flatten({name: edited}))
            }
            theirs = changes_between(base, flatten({name: session.state.documents[name]}))
            clashes = [
                change
                for change in theirs
                if (own := mine.get((change.key, tuple(sorted(change.context.items())))))
                and own.new != change.new
            ]
            if clashes:
                raise GitError(
                    f"{', '.join(f'`{change.key}`' for change in clashes)} changed in git and in the cluster since they were in step. "
                    "Set what shall stand in git (the cluster's value is what `paramstore get` says). Nothing was changed."
                )
            fresh = [
                change for change in theirs if (change.key, tuple(sorted(change.context.items()))) not in mine
            ]
            texts[file] = splice(_yaml.parse(texts[file], file), fresh).raw if fresh else texts[file]

    def _entry(self, session: EtcdSession, texts: Mapping[str, bytes]) -> Entry:
        """Judge the new texts and return the entry that records them. Raises ``DocumentError``, ``SchemaError``, ``GitError``."""
        documents = session.state.documents
        changes: tuple[Change, ...] = ()
        files: dict[str, FileChange] = {}
        for name in sorted({namespace_of(file) for file in texts}):
            new = self._document(session, name, texts)
            old = documents.get(name)
            changes += changes_between(flatten({name: old}) if old else {}, flatten({name: new}))
            file = self.backend.values_file(name)
            if file in texts:
                files[file] = FileChange(old.digest if old else None, _files.digest(texts[file]))
        now = self.backend.clock.now()
        frozen = [
            (change.key, held) for change in changes if (held := session.ledger.frozen(change.key, now))
        ]
        if frozen:
            told = ", ".join(f"`{key}` (by {held.author}: {held.reason})" for key, held in frozen)
            raise GitError(f"{told}: frozen. Unfreeze, or undo the edit in git. Nothing was changed.")
        commit_id, author, subject = self._commit_of(texts)
        return Entry(
            session.writer.position.revision + 1, os.urandom(8).hex(), utc_text(now), "external", author, subject,
            {"git_commit": commit_id}, changes, files, {}, self.backend.clock.uptime(),
        )  # fmt: skip

    def _document(self, session: EtcdSession, name: str, texts: Mapping[str, bytes]) -> Document:
        file, schema_file = self.backend.values_file(name), self.backend.schema_file(name)
        if file not in texts and name not in session.state.documents:
            raise GitError(
                f"{schema_file} is new in git, and {file} is not there. Commit both. Nothing was changed."
            )
        schema: Schema
        if schema_file in texts:
            schema = load_schema(name, texts[schema_file], schema_file, _files.digest(texts[schema_file]))
        elif name in session.state.documents:
            schema = session.schema(name)
        else:
            raise GitError(
                f"{file} is new in git, and {schema_file} is not there. Commit both. Nothing was changed."
            )
        raw = texts.get(file) or _files.read_whole(self.backend.path(file)).raw
        return schema.document(_yaml.parse(raw, file).data, file, _files.digest(raw))

    def _commit_of(self, files: Mapping[str, bytes]) -> tuple[str, str, str]:
        """Return hash, author and subject of the last git commit of these files."""
        paths = [os.path.relpath(self._local.path(file), self.top) for file in files]
        said = _git.text(self.top, "log", "-1", "--format=%H%x00%an%x00%s", "--", *paths)
        commit_id, author, subject = said.split("\0") if said else ("", "git", "")
        return commit_id, author or "git", subject


def _of(written: Written, name: str) -> Written:
    return {place: value for place, value in written.items() if place[0].startswith(f"{name}.")}
