"""The work tree around a store and the commit it is based on: names of contents, what is staged, one commit more.

A path is the one that git knows: from the top, beyond no symbolic link.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from paramstore import _git
from paramstore._git_state import git_folder, operation
from paramstore.errors import GitError

PLAIN, EXECUTABLE = "100644", "100755"
NO_COMMIT = "0" * 40
RECENT = 20
MEANT = "Paramstore-Journal: shortened"  # a trailer of a commit that takes lines out for good


class WorkTree:
    """HEAD, with mode and name of each content in it, and the files as they stand. Raises ``GitError``."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.top = os.path.realpath(_git.top(root))
        under_way = operation(git_folder(root))
        if under_way is not None:
            raise GitError(
                f"A {under_way} is under way in {self.top}. Finish or abort it first; nothing was committed."
            )
        done = _git.run(self.top, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        self.head = done.stdout.decode().strip() if not done.returncode else ""
        listed = _git.git(self.top, "ls-tree", "-r", "-z", self.head) if self.head else b""
        self.known = {path: (about[0], about[2]) for path, about in _listing(listed)}

    def path(self, file: str) -> str:
        """Return the path from the top of a file that is named relative to the root; its target's if it is, or is behind,
        a symbolic link. One that begins with ``..`` is outside of the work tree."""
        return os.path.relpath(os.path.realpath(os.path.join(self.root, file)), self.top)

    def ignored(self, paths: Sequence[str]) -> set[str]:
        """Return those of ``paths`` that git ignores and does not track."""
        done = _git.run(self.top, "check-ignore", "-z", "--stdin", stdin=os.fsencode("\0".join(paths)))
        return set(os.fsdecode(done.stdout).split("\0"))

    def left_out(self) -> set[str]:
        """Return the paths that a sparse checkout leaves out: they are not there, and not gone."""
        listed = _git.text(self.top, "ls-files", "-t", "-z").split("\0")
        return {line[2:] for line in listed if line.startswith("S ")}

    def committed(self, path: str) -> bytes | None:
        """Return the content of ``path`` in HEAD, as git keeps it."""
        return _git.git(self.top, "cat-file", "blob", self.known[path][1]) if path in self.known else None

    def shortened(self, path: str) -> list[tuple[str, bytes]]:
        """Return what commits took lines out of, at or below ``path``: each file as it was before, newest first.

        `git revert` does that, and no merge driver is asked. Only the last commits that changed it are looked at, no
        merges, and none that says that it is meant. Where git cannot say (old objects are not at hand), nothing is found.
        """
        here = {"GIT_NO_LAZY_FETCH": "1"}
        meant = ("--invert-grep", f"--grep=^{MEANT}$")
        literal, last = "--literal-pathspecs", ("--no-merges", f"-{RECENT}")
        listed = _git.run(
            self.top, literal, "rev-list", *last, *meant, self.head or "HEAD", "--", path
        ).stdout
        words = ("diff-tree", "--stdin", "-r", "-z", "--no-renames", "--text", "--numstat")
        found, commit = [], ""
        for part in os.fsdecode(_git.run(self.top, literal, *words, "--", path, stdin=listed).stdout).split(
            "\0"
        ):
            counts = part.split("\t", 2)
            if len(counts) != 3:
                commit = part.strip()
            elif counts[1] != "0" and counts[2] in self.known:
                before = _git.run(self.top, "cat-file", "blob", f"{commit}^:{counts[2]}", environ=here)
                found += [] if before.returncode else [(counts[2], before.stdout)]
        return found

    def name(self, path: str, raw: bytes, *words: str) -> str:
        """Return git's name for ``raw``, of which ``path`` would have to be cleaned as its attributes say."""
        return (
            _git.git(self.top, "hash-object", *words, "--path", path, "--stdin", stdin=raw).decode().strip()
        )

    def changed(self, files: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
        """Return those of ``files`` that HEAD holds otherwise. ``None`` is a file that is gone."""
        return {
            path: raw
            for path, raw in files.items()
            if self.known.get(path, ("", None))[1] != (None if raw is None else self.name(path, raw))
        }

    def hold_staged(self, files: Mapping[str, bytes | None]) -> None:
        """Raise ``GitError`` if something else is staged for one of ``files`` than HEAD or the work tree holds."""
        words = ("--literal-pathspecs", "ls-files", "--stage", "-z", "--")
        staged: dict[str, set[str]] = {path: set() for path in files}
        for path, about in _listing(_git.git(self.top, *words, *files) if files else b""):
            staged.setdefault(path, set()).add(about[1])
        for path, raw in files.items():
            before = {self.known[path][1]} if path in self.known else set()
            now = set() if raw is None else {self.name(path, raw)}
            if staged[path] not in (before, now):
                raise GitError(
                    f"{path} is staged differently from HEAD and from the work tree. Commit that first, or "
                    f"`git restore --staged {path}`; nothing was committed."
                )

    def write(self, files: Mapping[str, bytes | None], text: str, author: Mapping[str, str]) -> str:
        """Make one git commit of HEAD with ``files``, move HEAD to it, and return its hash."""
        entries = {path: self._stored(path, raw) for path, raw in files.items()}
        tree = tree_with(self.top, self.head, entries)
        commit = commit_tree(self.top, [self.head] if self.head else [], tree, text, author)
        _enter(self.top, entries, {})  # before HEAD moves: if that fails, the files are merely staged
        said = f"paramstore commit: {text.partition(chr(10))[0]}"
        _git.git(self.top, "update-ref", "-m", said, "HEAD", commit, self.head or NO_COMMIT)
        self.head = commit
        for path, entry in entries.items():
            self.known.pop(path, None)
            if entry is not None:
                self.known[path] = entry
        return commit

    def _stored(self, path: str, raw: bytes | None) -> tuple[str, str] | None:
        """Store a content, and return its mode, which stays what it was, and its name."""
        if raw is None:
            return None
        mode = self.known.get(path, (PLAIN,))[0]
        return mode if mode == EXECUTABLE else PLAIN, self.name(path, raw, "-w")


Blobs = Mapping[str, tuple[str, str] | None]  # mode and name of contents by path; None is taken away


def store(folder: str, raw: bytes) -> str:
    """Store a content as it is, and return git's name for it."""
    return _git.git(folder, "hash-object", "-w", "--stdin", stdin=raw).decode().strip()


def tree_with(folder: str, commit: str, entries: Blobs) -> str:
    """Return the tree of a commit (``""``: an empty one) with ``entries``; made in an index of its own."""
    with tempfile.TemporaryDirectory(prefix="paramstore-") as place:
        own = {"GIT_INDEX_FILE": os.path.join(place, "index")}
        _git.git(folder, "read-tree", commit or "--empty", environ=own)
        _enter(folder, entries, own)
        return _git.text(folder, "write-tree", environ=own)  # refuses if an object is missing


def commit_tree(folder: str, parents: Sequence[str], tree: str, text: str, author: Mapping[str, str]) -> str:
    """Make a commit, signed if the repository has it so, and return its hash. No ref moves."""
    signs = _git.run(folder, "config", "--type=bool", "commit.gpgsign").stdout.strip() == b"true"
    before = [word for parent in parents for word in ("-p", parent)]
    words = ["commit-tree", *before, *(["-S"] if signs else []), "-F", "-", tree]
    return _git.git(folder, *words, stdin=text.encode(), environ=author).decode().strip()


def _enter(folder: str, entries: Blobs, environ: Mapping[str, str]) -> None:
    lines = (f"{' '.join(entry or ('0', NO_COMMIT))}\t{path}\0" for path, entry in entries.items())
    _git.git(folder, "update-index", "-z", "--index-info", stdin=os.fsencode("".join(lines)), environ=environ)


def _listing(raw: bytes) -> Iterator[tuple[str, list[str]]]:
    """Yield path and what stands before it, word by word, of each line that git lists."""
    for line in filter(None, os.fsdecode(raw).split("\0")):
        about, _, path = line.partition("\t")
        yield path, about.split()
