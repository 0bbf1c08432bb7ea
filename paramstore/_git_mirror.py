"""A branch of git in step with a cluster, both ways, so that git stays the place of review.

What was committed in the cluster becomes a git commit; what was merged in git becomes a commit in the cluster. Three versions of
each file decide: where both last agreed, the branch, and the cluster. Nothing but git and the journal remembers how far it came:
a commit says with which entry it is in step, and an entry says which git commit it took over.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from paramstore import _records
from paramstore._backends._etcd_commit import EtcdSession
from paramstore._etcd_client import DeniedError
from paramstore._etcd_roles import named
from paramstore._git_agreed import Agreed, agreed, texts_of, trailer
from paramstore._git_branch import Branch
from paramstore._git_cluster import ClusterSide, Standing, Texts
from paramstore._git_message import identity_of, message
from paramstore._git_proposed import edited, propose
from paramstore._git_steps import steps
from paramstore._journal import without_aborted
from paramstore._lock import alone
from paramstore.errors import (
    ConflictError,
    DurabilityUnknownError,
    GitError,
    LockLostError,
    LockTimeoutError,
    ParamstoreError,
    UnreachableError,
)

if TYPE_CHECKING:
    from paramstore._backends.etcd import EtcdBackend

TRIES = 5
SHOWN = (
    " What stands there is on the branch {0}. Mend it in git; where both sides changed the same, merge that branch (`git merge {0}`, no "
    "squash), and decide there."
)
IN_USE = " On the branch {0} is work that is not merged yet. Merge it, or delete that branch: then what stands in the cluster is shown there."
PASSING = UnreachableError, LockTimeoutError, LockLostError, ConflictError, DurabilityUnknownError


@dataclass
class Round:
    """What one round did: ``proposed`` are files that went to the cluster, as ``revision``; ``commits`` are the git commits that
    were made, of ``entries`` of the journal; ``behind`` says why the work tree could not follow."""

    proposed: list[str] = field(default_factory=list)
    revision: int | None = None
    commits: list[str] = field(default_factory=list)
    entries: int = 0
    behind: str = ""


class GitMirror:
    """Rounds of ``branch`` with the cluster of ``backend``; ``moved``: its store was copied there from another prefix. Raises
    ``GitError`` where the mirror of that is in the work tree."""

    def __init__(self, branch: Branch, backend: EtcdBackend, moved: bool = False) -> None:
        if branch.holds(backend.root):
            raise GitError(
                f"{backend.root}, where this machine has its mirror, is in the work tree of that repository: name another directory in "
                "PARAMSTORE_MIRROR. Nothing was changed."
            )
        self._branch = branch
        self._backend = backend
        self._moved = moved
        self._side = ClusterSide(backend, branch)
        self._done = Round()

    def round(self) -> Round:
        """Bring both in step once.

        Raises ``GitError`` for what a person has to decide, ``InvalidFileError`` for what breaks a rule, and whatever a commit raises.
        Neither side has lost anything then, and the next round goes on from what both have.
        """
        self._done = Round()
        lock = os.path.join(self._branch.folder, "paramstore-mirror.lock")
        told = f"Another mirror is at work in {self._branch.folder}."
        with alone(
            lock, told, self._backend.options.timeout_s
        ):  # one of another store may begin with the same clock
            for _ in range(TRIES):
                if self._try():
                    return self._done
        raise GitError(f"{self._branch.title} moved during each of {TRIES} rounds. The next round goes on.")

    def _try(self) -> bool:
        """Go once from what both sides have now; tell whether nobody came in between."""
        branch = self._branch
        tip = branch.tip()
        if not tip and (others := branch.others()):
            raise GitError(
                f"There is no branch {branch.title}; there {'is' if len(others) == 1 else 'are'} {', '.join(others[:10])}. Make it first: from a "
                "commit (`git branch`), or an empty one (`git switch --orphan`, `git commit --allow-empty`). Nothing was changed."
            )
        now = self._side.now()
        last = agreed(branch, tip, self._side, now, self._moved)
        before = self._taken(last, tip, now)
        files: list[str] = []
        try:
            git = texts_of(branch.read(tip))
            files = edited(before.texts, git)
            if files:
                self._propose(tip, last, git)
                now = self._side.now()
        except DeniedError as error:
            needed = (
                f"{named(self._backend.place).approver}: `paramstore mirror` commits what was merged in git"
            )
            error.message = f"{error.message.rstrip()} It needs the role {needed}."
            raise
        except PASSING:
            raise
        except ParamstoreError as error:
            self._show(before, tip, files, error)
            raise
        commits, entries = self._commits([tip] if tip else [], last, now)
        if commits:
            if not self._advance(commits[-1], tip):
                return False
            branch.tidy()
        self._done.commits, self._done.entries = commits, entries
        self._done.behind = branch.follow(commits[-1] if commits else tip)
        return True

    def _advance(self, commit: str, tip: str) -> bool:
        try:
            return self._branch.advance(commit, tip)
        except GitError as error:
            if self._done.revision is not None:
                files = ", ".join(self._done.proposed)
                error.message = f"{files} went to the cluster as revision {self._done.revision}, and git did not hear of it: {error.message}"
            raise

    def _propose(self, tip: str, last: Agreed, git: Texts) -> None:
        with self._backend.session(self._backend.options.timeout_s, None) as session:
            assert isinstance(session, EtcdSession)
            # anew: were it what another mirror has brought there by now, a learner's commit after that would be undone
            before = self._taken(last, tip, self._side.look())
            files = edited(before.texts, git)
            revision = propose(session, self._branch, tip, before.commit, before.texts, git)
        if revision is not None:
            self._done.proposed, self._done.revision = files, revision

    def _taken(self, last: Agreed, tip: str, now: Standing) -> Agreed:
        """Return what of git the cluster has: what it took over since they agreed, should git not have heard of it yet.

        An entry that says so is believed only for files that such entries changed, or that stand as they are in git: else
        whoever may write one namespace could have what was merged for another dropped.
        """
        taken, recorded = last, set[str]()
        for record in self._side.since(now, last.seq)[1]:
            commit = record["evidence"].get("git_commit")
            ours = record["kind"] == "external" and isinstance(commit, str) and commit.isalnum()
            if ours and self._branch.is_in(taken.commit, commit) and self._branch.is_in(commit, tip):
                texts = texts_of(self._branch.read(commit))
                recorded |= record["files"].keys()
                missing = {*edited(last.texts, texts)} - recorded
                if all(now.texts.get(file) == texts.get(file) for file in missing):
                    taken = Agreed(commit, last.seq, texts)
        return taken

    # -- to git -----------------------------------------------------------------------------------

    def _commits(self, parents: list[str], last: Agreed, now: Standing) -> tuple[list[str], int]:
        """Make commits of what came to stand in the cluster since ``last``, one after the other, on ``parents``: none, if the first
        of these holds all of it. Returns them, and the number of entries in them."""
        lines = self._side.since(now, last.seq)[1]
        records = without_aborted(lines)
        known = texts_of(self._branch.read(parents[0])) if parents else {}
        # where some were taken back, counting gives no entry its number
        alike = known == last.texts and len(records) == len(lines)
        many = steps(self._side, last, now, records) if alike else [(records, now)]
        made: list[str] = []
        for some, standing in many:
            commit = self._commit(made[-1:] or parents, some, standing, last)
            made += [commit] if commit not in [*parents, *made] else []
        return made, len(records) if made else 0

    def _commit(self, parents: list[str], records: Sequence[Any], now: Standing, last: Agreed) -> str:
        """Make a commit of what stood in the cluster after ``records``; return the first of ``parents`` if it holds all of it."""
        entries = tuple(map(_records.entry, records))
        text = message(entries) if entries else "params: in step with the cluster\n\n"
        text += trailer(now.head, self._side.prefix, self._branch.within, now.texts) + "\n"
        author = identity_of(entries, len({entry.author for entry in entries}) == 1)
        # both sides may have come to the same without a line in the journal
        stale = not last.said or last.texts != now.texts
        return self._branch.commit(parents, self._blobs(parents, now), text, author, empty=stale)

    def _blobs(self, parents: list[str], now: Standing) -> Mapping[str, str | None]:
        journal = {path: segment.blob for path, segment in now.journal.items()}
        texts = {file: self._branch.store(raw) for file, raw in self._unlike(parents, now.texts).items()}
        there = self._branch.listed(parents[0]) if parents else []
        gone = [path for path in there if _is_ours(path) and path not in journal and path not in now.texts]
        return {**dict.fromkeys(gone), **journal, **texts}

    def _unlike(self, parents: list[str], texts: Texts) -> Texts:
        known = texts_of(self._branch.read(parents[0])) if parents else {}
        return {file: raw for file, raw in texts.items() if known.get(file) != raw}

    def _show(self, before: Agreed, tip: str, files: list[str], error: ParamstoreError) -> None:
        """Put what stands in the cluster on a branch of its own, from which a person can merge it, and say so in ``error``."""
        title = f"{self._branch.title}-cluster"
        told = ""
        if before.commit:
            try:
                told = (SHOWN if self._shown(before, tip) else IN_USE).format(title)
            except ParamstoreError as problem:
                told = f" What stands there could not be shown on the branch {title}: {problem}"
        text = error.message.rstrip().rstrip(".")
        held = (
            f"Held back: {', '.join(files)}; nothing of it went to the cluster"
            if files
            else "Nothing went to the cluster"
        )
        error.message = f"{text}. {held}.{told}"

    def _shown(self, before: Agreed, tip: str) -> bool:
        """Have what stands in the cluster on the branch for it; return False where that holds work of others.

        It begins at what the cluster took over. Were it on top of anything else, a merge of it would drop that unseen.
        """
        branch, ref = self._branch, f"{self._branch.ref}-cluster"
        there, now = branch.tip(ref), self._side.now()
        found = agreed(branch, there, self._side, now, self._moved)
        ours = found.said and found.commit == there
        if there and not ours and not branch.is_in(there, tip):
            return False
        parents = [there] if ours and branch.is_in(before.commit, there) else [before.commit]
        parents += [there] if ours and not branch.is_in(there, parents[0]) else []
        commits, _ = self._commits(parents, agreed(branch, parents[0], self._side, now, self._moved), now)
        newest = commits[-1] if commits else parents[0]
        return newest == there or branch.advance(newest, there, ref)


def _is_ours(path: str) -> bool:
    """Tell whether a path below ``params/`` or ``schemas/`` is a values file, a schema, or a segment of the journal."""
    folder, _, name = path.rpartition("/")
    ends: Any = {"params": ".yaml", "schemas": ".schema.json", "params/journal": ".jsonl"}
    stem = name.removesuffix(ends.get(folder, "/"))
    if stem == name:
        return False
    return stem.isdecimal() if folder == "params/journal" else stem[:1] not in ("", ".")
