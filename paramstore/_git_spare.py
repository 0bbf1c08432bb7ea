"""A work tree of its own for a sync: where commits are replayed while the live one stands still.

It has a fixed place in git's folder of the work tree, so that what a sync that died left behind is found and removed by
the next one. The caller lets one sync run at a time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from paramstore import _git
from paramstore._git_install import attributes, settings

NAME = "paramstore-sync"


@contextmanager
def spare_tree(top: str, prefix: str, journal: str, commit: str) -> Iterator[tuple[str, list[str]]]:
    """Yield a work tree at ``commit`` and the words that give git our merge drivers there, installed or not."""
    folder = _git.text(top, "rev-parse", "--absolute-git-dir")
    place, listed = os.path.join(folder, NAME), os.path.join(folder, f"{NAME}-attributes")
    _remove(top, place)
    with open(listed, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.writelines(f"{line}\n" for line in attributes(journal, prefix))
    merging = {name: value for name, value in settings(prefix).items() if name.startswith("merge.")}
    words = [word for name, value in merging.items() for word in ("-c", f"{name}={value}")]
    words += ["-c", f"core.attributesFile={listed}", "-c", "rebase.autoStash=false"]
    quiet = ("-c", f"core.hooksPath={os.devnull}")
    try:
        _git.git(top, *words, *quiet, "worktree", "add", "--quiet", "--detach", place, commit)
        yield place, words
    finally:
        _remove(top, place)
        os.unlink(listed)


def _remove(top: str, place: str) -> None:
    """Remove the work tree and what git knows of it, also where git died while it made it."""
    shutil.rmtree(place, ignore_errors=True)
    common = os.path.join(top, _git.text(top, "rev-parse", "--git-common-dir"), "worktrees")
    for name in os.listdir(common) if os.path.isdir(common) else ():
        known = os.path.join(common, name)
        if name.startswith(NAME) and _points_to(known) in (None, os.path.join(place, ".git")):
            shutil.rmtree(known, ignore_errors=True)


def _points_to(known: str) -> str | None:
    try:
        with open(os.path.join(known, "gitdir"), encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read().strip() or None
    except OSError:
        return None
