"""Where git and a cluster last agreed. It is said by a trailer of a commit, and vouched for by that commit's own content.

So nothing but git remembers it: a new clone knows it, whatever is interrupted goes on from it, and a commit that was squashed,
picked or edited until it holds something else is not taken for one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from paramstore import _files, _records
from paramstore._etcd_place import Head
from paramstore._git_branch import Branch
from paramstore._git_cluster import ClusterSide, Standing, Texts
from paramstore._git_read import CommitFiles
from paramstore._journal import without_aborted
from paramstore._memory import Memory
from paramstore.errors import GitError, InvalidFileError

TRAILER = "Paramstore-In-Step"
CLAIM = re.compile(r"(-1|[0-9]{1,18}) (\S+) ([0-9a-f]{64}) (.+)")
MOST_SEARCHED = 100  # commits, for one that is as a cluster once was


@dataclass(frozen=True, slots=True)
class Agreed:
    """A commit that held what the cluster held after entry ``seq``. ``commit`` is empty where git has no store yet; ``said``
    tells whether the commit itself says so."""

    commit: str
    seq: int
    texts: Texts
    said: bool = True


class Claim(NamedTuple):
    """What a commit says of itself. Those of other clusters count only while there is none of one's own: a store may have moved,
    and what is tried on one may be merged into another's branch."""

    commit: str
    seq: int
    id: str
    digest: str
    prefix: str


def texts_of(files: CommitFiles) -> Texts:
    """Return the values and schemas of a commit by their files."""
    found = {f"params/{name}.yaml": raw for name, raw in files.values.items()}
    return found | {f"schemas/{name}.schema.json": raw for name, raw in files.schemas.items()}


def trailer(head: Head, prefix: str, within: str, texts: Texts) -> str:
    """Return the line that says that a commit with ``texts`` in the folder ``within`` is what stood in the cluster, at ``prefix``
    there, after entry ``head``."""
    return f"{TRAILER}: {head.seq} {head.id or '-'} {_digest(within, texts)} {prefix}"


def _digest(within: str, texts: Texts) -> str:
    lines = "".join(f"{within}/{file} {_files.digest(raw)}\n" for file, raw in sorted(texts.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def agreed(branch: Branch, tip: str, side: ClusterSide, now: Standing, moved: bool = False) -> Agreed:
    """Return where ``tip`` and the cluster last agreed.

    Raises ``GitError`` where they never did, or where the cluster's journal no longer has the entry at which they did. ``moved``: where
    they never did, what was agreed with a store at another prefix counts.
    """
    if not tip:
        return Agreed("", -1, {}, said=False)
    claims = sorted(_claims(branch, tip), key=lambda claim: (claim.prefix != side.prefix, -claim.seq))
    for claim in claims:
        texts = _vouched(branch, claim)
        if texts is None:
            continue
        if claim.prefix != side.prefix and not moved:
            raise GitError(
                f"{branch.title} was in step with a store at {claim.prefix} of a cluster (commit {claim.commit[:10]}), and never with one at {side.prefix}. "
                "Is it the right branch? If that store was copied here, begin once with --moved. Nothing was changed."
            )
        if side.since(now, claim.seq)[0] != claim.id:
            raise GitError(_other_past(branch, claim, claims, side, now))
        return Agreed(claim.commit, claim.seq, texts)
    texts = texts_of(branch.read(tip))
    return Agreed(tip, -1, {}, said=False) if not texts else _found(branch, tip, side, now)


def _other_past(branch: Branch, claim: Claim, claims: list[Claim], side: ClusterSide, now: Standing) -> str:
    fits = (
        each.commit for each in claims if side.since(now, each.seq)[0] == each.id and _vouched(branch, each)
    )
    known = next((f": {commit[:10]} is the last" for commit in fits), "")
    return (
        f"{branch.title} was last in step with entry {claim.seq} ({claim.id}) of a cluster, in commit {claim.commit[:10]}, and the journal of "
        "this cluster has no such entry: it is another store, or was put back to an older state. Name a branch of its own for "
        f"it (--branch), begun at a commit that it was in step with{known}; and bring into that what of the other shall stand (`git "
        "merge --squash`: without it, this claim would come along). Nothing was changed."
    )


def _claims(branch: Branch, tip: str) -> Iterator[Claim]:
    for commit, said in branch.trailers(TRAILER, tip):
        claim = CLAIM.fullmatch(said)
        if claim is not None:
            yield Claim(commit, int(claim[1]), claim[2].removeprefix("-"), claim[3], claim[4])


def _vouched(branch: Branch, claim: Claim) -> Texts | None:
    """Return the texts of a commit if they are those that its claim is about."""
    try:
        texts = texts_of(branch.read(claim.commit))
    except InvalidFileError:
        return None
    return texts if _digest(branch.within, texts) == claim.digest else None


def _found(branch: Branch, tip: str, side: ClusterSide, now: Standing) -> Agreed:
    """Return the newest commit that is as the cluster was after the journal that it holds: that of which a store was copied."""
    schemas = {file: raw for file, raw in now.texts.items() if file.startswith("schemas/")}
    records = side.since(now, -1)[1]
    stood = cache(
        lambda seq: _stood(records[: seq + 1])
    )  # commits since the copy all have the journal of the copy
    for commit in islice(branch.history(tip), MOST_SEARCHED):
        files = branch.read(commit, "params/journal")
        texts = texts_of(files)
        lines = [line for _, raw in files.journal for line in raw.splitlines()]
        if texts == now.texts:
            return Agreed(commit, now.head.seq, texts, said=False)
        last = _records.parse(lines[-1]) if lines else None
        seq = len(lines) - 1
        if last is None or side.since(now, seq)[0] != last["id"]:
            continue
        values = {file: raw for file, raw in texts.items() if file.startswith("params/")}
        after = stood(seq)
        if texts == values | schemas and all(after.get(f) == _files.digest(raw) for f, raw in values.items()):
            return Agreed(commit, seq, texts, said=False)
    raise GitError(
        f"{branch.title} holds a store, and none of its last commits is as this cluster is or was. Begin with a branch without params/ "
        "and schemas/ (--within names another folder for them), or with the work tree that was copied to the cluster. A shallow clone lacks earlier commits: `git fetch --unshallow`. "
        "Nothing was changed."
    )


def _stood(records: list[dict[str, Any]]) -> dict[str, str | None]:
    """Return the hash of each values file after ``records``."""
    memory = Memory()
    for record in without_aborted(records):
        memory.absorb(record)
    return memory.after
