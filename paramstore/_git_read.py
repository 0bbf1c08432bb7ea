"""The store's files as a git commit holds them: names from one listing, contents from one ``cat-file --batch``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from paramstore import _git
from paramstore.errors import DocumentError, GitError

VALUES, SCHEMAS = ("params/", ".yaml"), ("schemas/", ".schema.json")


@dataclass(frozen=True, slots=True)
class CommitFiles:
    """What one commit holds of a store: values and schemas by namespace, journal segments (path, bytes) in order."""

    commit: str
    values: Mapping[str, bytes]
    schemas: Mapping[str, bytes]
    journal: tuple[tuple[str, bytes], ...]


def why_not(root: str) -> str:
    """Say why no commit can be named at ``root``; nothing where one can.

    Raises ``GitError`` where git refuses for a reason of its own, such as an owner that it does not trust.
    """
    try:
        done = _git.run(root, "rev-parse", "--is-inside-work-tree")
    except GitError as error:
        return str(error).rstrip(".")
    if done.returncode == 0:
        return "" if done.stdout == b"true\n" else f"{root} is in no git work tree"
    said = done.stderr.decode(errors="replace").strip()
    if "not a git repository" in said:
        return f"{root} is in no git work tree"
    raise GitError(f"git rev-parse: {said}")


def commit_of(root: str, word: str) -> str | None:
    """Return the full hash of the commit that ``word`` (a hash, branch, tag, ``HEAD~1``) names; ``None`` for none.

    Raises ``GitError`` where there is no git.
    """
    if not word or word.startswith("-"):  # never let a word pass for one of git's options
        return None
    done = _git.run(root, "rev-parse", "--verify", "--quiet", f"{word}^{{commit}}")
    return done.stdout.decode().strip() or None if done.returncode == 0 else None


def merge_base(root: str, one: str, other: str) -> str:
    """Return the commit at which two histories parted. Raises ``GitError``."""
    done = _git.run(root, "merge-base", one, other)
    if done.returncode:
        raise GitError(f"{one[:10]} and {other[:10]} have no commit in common.")
    return done.stdout.decode().strip()


def read_commit(root: str, commit: str, journal: str | None) -> CommitFiles:
    """Return the files of the store at ``root`` in ``commit``; none if it was not there yet.

    ``journal`` is where the journal is, relative to the root. Without it, or outside of the root, it is left out. A ``commit``
    with a colon at its end (or with a folder after that) names a tree.
    Raises ``GitError``, and ``DocumentError`` for a file that is a symbolic link there.
    """
    journal = os.path.normpath(journal or os.pardir)
    tracked = [] if os.path.isabs(journal) or journal.startswith(os.pardir) else [journal]
    names, links = _listing(
        _git.git(root, "ls-tree", "-r", "-z", commit, "--", "params/", "schemas/", *tracked)
    )
    values, schemas = _by_namespace(names, VALUES), _by_namespace(names, SCHEMAS)
    segments = _segments(names, journal)
    wanted = [*values.values(), *schemas.values(), *segments]
    for linked in links.intersection(wanted):
        raise DocumentError(f"{commit[:10]}:{linked}", "a symbolic link, which is not followed into a commit")
    blobs = _blobs(root, {names[file] for file in wanted})
    return CommitFiles(
        commit,
        {name: blobs[names[file]] for name, file in values.items()},
        {name: blobs[names[file]] for name, file in schemas.items()},
        tuple((file, blobs[names[file]]) for file in segments),
    )


def _listing(raw: bytes) -> tuple[dict[str, str], set[str]]:
    """Return git's names of the files of a listing by their paths, and which of them are symbolic links."""
    names: dict[str, str] = {}
    links = set()
    for line in filter(None, raw.split(b"\0")):
        about, _, path = line.partition(b"\t")
        mode, kind, name = about.split()
        if kind == b"blob":
            names[os.fsdecode(path)] = name.decode()
            if mode == b"120000":
                links.add(os.fsdecode(path))
    return names, links


def _by_namespace(paths: Iterable[str], form: tuple[str, str]) -> dict[str, str]:
    folder, suffix = form
    found = {}
    for path in paths:
        name = path.removeprefix(folder).removesuffix(suffix)
        if path == f"{folder}{name}{suffix}" and "/" not in name and not name.startswith("."):
            found[name] = path
    return dict(sorted(found.items()))


def _segments(paths: Iterable[str], journal: str) -> list[str]:
    """Return the paths of the journal's segments, oldest first."""
    if journal.endswith(".jsonl"):
        return [path for path in paths if path == journal]
    stems = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        stem = name.removesuffix(".jsonl")
        if folder == journal and name != stem and stem.isascii() and stem.isdigit():
            stems[path] = int(stem)
    return sorted(stems, key=lambda path: stems[path])


def _blobs(root: str, names: set[str]) -> dict[str, bytes]:
    """Return the contents of blobs by name, with one process for all of them."""
    if not names:
        return {}
    raw = _git.git(root, "cat-file", "--batch", stdin="".join(f"{name}\n" for name in sorted(names)).encode())
    found, at = {}, 0
    while at < len(raw):
        end = raw.index(b"\n", at)
        name, *about = raw[at:end].decode().split()
        if len(about) != 2:
            raise GitError(f"git cat-file: {name} is missing. The repository lacks an object: `git fsck`.")
        size = int(about[1])
        found[name] = raw[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
    return found
