"""What was merged in git, as a commit in a cluster: brought together with what the cluster changed meanwhile, and judged.

It is a person's edit: types, bounds, constraints and freezes bind it, the limits of learners do not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from paramstore import _files, _yaml
from paramstore._backends._etcd_commit import EtcdSession
from paramstore._clock import utc_text
from paramstore._git_branch import Branch
from paramstore._git_cluster import Texts
from paramstore._history import changes_between, flatten
from paramstore._merge_rules import merge_lines, rules_of
from paramstore._merge_text import merge_files
from paramstore._model import Change, Entry, FileChange
from paramstore._records import LONGEST_TEXT
from paramstore._schema import Schema, load_schema
from paramstore._state import Document, namespace_of
from paramstore.errors import ConflictError, GitError


def edited(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> list[str]:
    """Return the files that differ, came or went."""
    return sorted(file for file in before.keys() | now.keys() if before.get(file) != now.get(file))


def propose(
    session: EtcdSession, branch: Branch, tip: str, since: str, before: Texts, git: Texts
) -> int | None:
    """Commit to the cluster what ``tip`` has (``git``) and commit ``since`` had not (``before``). Returns the revision, ``None``
    if all of it stands there already.

    Raises ``GitError`` and ``InvalidFileError`` for what a person has to decide or mend, and whatever a commit raises; then
    nothing was written.
    """
    cluster = _standing(session)
    texts = {}
    for file in edited(before, git):
        if cluster.get(file) != git.get(file):
            texts[file] = _together(session, branch, file, before, cluster, git)
    texts = {file: raw for file, raw in texts.items() if cluster.get(file) != raw}
    if not texts:
        return None
    entry = _entry(session, branch, tip, since, texts, cluster)
    session.writer.put(entry, texts)
    return entry.revision


def _standing(session: EtcdSession) -> Texts:
    """Return the cluster's files as the session knows them. Raises ``ConflictError`` if somebody changes the mirror."""
    backend, found = session.writer.backend, {}
    for file, (_, digest) in session.writer.known.files.items():
        content = _files.read_whole(backend.path(file))
        if content.digest != digest:
            raise ConflictError(f"{backend.path(file)} was changed by others. Nothing was written.")
        found[file] = content.raw
    return found


# --- both sides together --------------------------------------------------------------------------


def _together(
    session: EtcdSession, branch: Branch, file: str, before: Texts, cluster: Texts, git: Texts
) -> bytes:
    """Return what a file comes to. Raises ``GitError`` where both sides changed the same."""
    mine, theirs = git.get(file), cluster.get(file)
    if mine is None:
        raise GitError(
            f"{file} was removed in git, and a namespace is taken out of the cluster by an approver (docs/etcd.md). Do that, or bring the "
            "file back in git."
        )
    if theirs == before.get(file):
        return mine
    if theirs is None:
        raise GitError(
            f"{file} was removed from the cluster and edited in git. Remove it in git, or undo the edit there."
        )
    if file.startswith("schemas/") or file not in before:
        raise GitError(f"{file} was changed in git and in the cluster.")
    schema = _schema(session, namespace_of(file), git, cluster, before)
    schema.document(_yaml.parse(mine, file).data, file, "")  # else the merge would be blamed
    by_lines = partial(merge_lines, branch.folder)
    # git's side is ours: where lines conflict, comments and layout are those of people
    outcome = merge_files(before[file], mine, theirs, file, rules_of(schema), by_lines)
    if outcome.reasons:
        told = "; ".join(outcome.reasons).replace(": ours ", ": git ").replace(", theirs ", ", the cluster ")
        raise GitError(f"{file}: {told.replace('both sides', 'git and the cluster both')}.")
    return outcome.raw


def _schema(session: EtcdSession, name: str, git: Texts, cluster: Texts, before: Texts) -> Schema:
    """Return the schema that a namespace will have: git's where it was changed there. Raises ``SchemaError``, ``GitError``."""
    file = session.writer.backend.schema_file(name)
    raw = cluster.get(file) if git.get(file) == before.get(file) else git.get(file)
    if raw is None:
        raise GitError(
            f"{session.writer.backend.values_file(name)} is there without {file}: commit both, or neither."
        )
    return load_schema(name, raw, file, _files.digest(raw))


# --- the entry ------------------------------------------------------------------------------------


def _entry(session: EtcdSession, branch: Branch, tip: str, since: str, texts: Texts, cluster: Texts) -> Entry:
    """Judge the new texts and return the entry that records them."""
    writer, documents = session.writer, session.state.documents
    changes: tuple[Change, ...] = ()
    files: dict[str, FileChange] = {}
    for name in sorted({namespace_of(file) for file in texts}):
        file, old = writer.backend.values_file(name), documents.get(name)
        new = _document(session, name, texts, cluster)
        changes += changes_between(flatten({name: old}) if old else {}, flatten({name: new}))
        if file in texts:
            files[file] = FileChange(old.digest if old else None, new.digest)
    _refuse_frozen(session, changes)
    authors, subjects = branch.authors(tip, since)
    return Entry(
        revision=writer.position.revision + 1,
        id=os.urandom(8).hex(),
        time=utc_text(session.clock.now()),
        kind="external",
        author=", ".join(authors)[:LONGEST_TEXT] or "git",
        reason="; ".join(subjects)[:LONGEST_TEXT],
        evidence={"git_commit": tip, "git_branch": branch.title},
        changes=changes,
        files=files,
        uptime=session.clock.uptime(),
    )


def _document(session: EtcdSession, name: str, texts: Texts, cluster: Texts) -> Document:
    """Judge the values that a namespace will have by the schema that it will have."""
    backend = session.writer.backend
    file, schema_file = backend.values_file(name), backend.schema_file(name)
    raw = texts.get(file, cluster.get(file))
    if raw is None:
        raise GitError(f"{schema_file} is there without {file}: commit both, or neither.")
    schema = _schema(session, name, texts, cluster, {})
    return schema.document(_yaml.parse(raw, file).data, file, _files.digest(raw))


def _refuse_frozen(session: EtcdSession, changes: tuple[Change, ...]) -> None:
    now = session.clock.now()
    frozen = [(change.key, held) for change in changes if (held := session.ledger.frozen(change.key, now))]
    if frozen:
        told = ", ".join(f"`{key}` (by {held.author}: {held.reason})" for key, held in frozen)
        raise GitError(
            f"{told}: frozen. It goes to the cluster once it is unfrozen, or undo the edit in git."
        )
