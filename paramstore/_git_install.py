"""What ``paramstore git install`` sets up in a repository, and ``uninstall`` takes back.

``.gitattributes`` beside ``params/`` is committed, so everyone has it; what its words mean is in the config of each clone.
A clone without that, or whose paramstore is gone, merges and shows plainly: git ignores words that it does not know, and
each call falls back to git's own way.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass

from paramstore import _files, _git

BEGIN = "# >>> paramstore git install"
JOINED = " (the line above had no line break)"
END = "# <<< paramstore git install"
CONFLICT = 3  # of a driver; any other status that is not 0 means that it did not run
SECTIONS = ("diff.paramstore", "diff.paramstore-journal", "merge.paramstore", "merge.paramstore-journal")


@dataclass(frozen=True, slots=True)
class Installed:
    """What was changed: files relative to the root, and names of the repository's config."""

    files: tuple[str, ...]
    config: tuple[str, ...]


def attributes(journal: str, prefix: str = ".") -> list[str]:
    """Return the lines of ``.gitattributes``: which files are values and which are journals. ``prefix`` is where the
    store is below the folder of that file."""
    lines = [f"{_pattern(prefix, 'params', '*.yaml')} diff=paramstore merge=paramstore -text"]
    if not os.path.isabs(journal) and not journal.startswith(".."):
        folder, name = os.path.split(journal) if journal.endswith(".jsonl") else (journal, "*.jsonl")
        literal = name == "*.jsonl"
        where = _pattern(prefix, folder, name if literal else _literal(name))
        lines.append(f"{where} diff=paramstore-journal merge=paramstore-journal -text")
    return lines


def _pattern(prefix: str, folder: str, name: str) -> str:
    """Return the pattern of ``name`` in a folder, quoted as git has it where the folder has odd characters."""
    place = os.path.normpath(os.path.join("/", prefix, folder))
    pattern = f"{_literal(place).rstrip('/')}/{name}"
    odd = any(c in pattern for c in ' \t"')
    return '"' + pattern.replace("\\", "\\\\").replace('"', '\\"') + '"' if odd else pattern


def _literal(text: str) -> str:
    return re.sub(r"([\\*?\[])", r"\\\1", text)


def settings(prefix: str = ".") -> dict[str, str]:
    """Return the config that gives the words of ``.gitattributes`` their meaning, for this interpreter and a store at
    ``prefix`` below the top of the work tree."""
    schemas = shlex.quote(os.path.normpath(os.path.join(prefix, "schemas")))
    call = f"{shlex.quote(sys.executable)} -P -m paramstore._git_driver"

    def merging(driver: str) -> str:
        plainly = "git merge-file -L ours -L base -L theirs %A %O %B"
        return f"{call} {driver} %O %A %B %P; s=$?; case $s in 0) ;; {CONFLICT}) exit 1;; *) {plainly};; esac"

    def showing(words: str) -> str:
        return f'f() {{ {call} {words} "$1" 2>/dev/null || cat "$1"; }}; f'

    def telling(words: str) -> str:
        return f'f() {{ {call} {words} "$@" || {plain_diff}; }}; f'

    plain_diff = 'git --no-pager diff --no-index --no-ext-diff --no-textconv -- "$2" "$5" || :'
    return {
        "diff.paramstore.textconv": showing(f"show {schemas}"),
        "diff.paramstore.command": telling(f"diff {schemas}"),
        "diff.paramstore-journal.textconv": showing("show-journal"),
        "diff.paramstore-journal.command": telling("diff-journal"),
        "merge.paramstore.name": "parameters, by key",
        "merge.paramstore.driver": merging("merge-values"),
        "merge.paramstore-journal.name": "journal of parameters, joined",
        "merge.paramstore-journal.driver": merging("merge-journal"),
    }


def install(root: str, journal: str) -> Installed:
    """Write both; what is there already stays. Raises ``GitError`` outside of a work tree."""
    top = _git.top(root)
    wanted = settings(os.path.relpath(os.path.realpath(root), os.path.realpath(top)))
    changed = [name for name, value in wanted.items() if _value(top, name) != value]
    for name in changed:
        _git.git(top, "config", "--local", "--replace-all", name, wanted[name])
    files = _write_attributes(root, [BEGIN, *attributes(journal), END])
    return Installed(files, tuple(changed))


def uninstall(root: str) -> Installed:
    """Take both back. What others wrote stays. Raises ``GitError`` outside of a work tree."""
    top = _git.top(root)
    there = [s for s in SECTIONS if _git.run(top, "config", "--local", "--get-regexp", f"^{s}\\.").stdout]
    for section in there:
        _git.git(top, "config", "--local", "--remove-section", section)
    return Installed(_write_attributes(root, None), tuple(there))


def missing(root: str) -> list[str]:
    """Return which settings this clone lacks, though ``.gitattributes`` speaks of them; nothing outside of git."""
    if BEGIN not in _read(os.path.join(root, ".gitattributes")):
        return []
    return [name for name in settings() if _value(root, name) is None]


def _value(folder: str, name: str) -> str | None:
    done = _git.run(folder, "config", "--get", name)
    return None if done.returncode else done.stdout.decode(errors="replace").rstrip("\n")


def _write_attributes(root: str, block: list[str] | None) -> tuple[str, ...]:
    path = os.path.join(root, ".gitattributes")
    old = _read(path)
    new = _without_block(old)
    if block is not None:
        broken_off = bool(new) and not new.endswith("\n")
        lines = [block[0] + JOINED * broken_off, *block[1:]]
        new += "\n" * broken_off + "".join(f"{line}\n" for line in lines)
    if new == old:
        return ()
    if new:
        _files.put_whole(path, new.encode("utf-8", "surrogateescape"))
    else:
        os.unlink(path)
    return (".gitattributes",)


def _without_block(text: str) -> str:
    before, begin, rest = text.partition(BEGIN)
    inside, end, after = rest.partition(f"{END}\n")
    if not begin or not end:
        return text
    return (before[:-1] if inside.startswith(JOINED) else before) + after


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""
