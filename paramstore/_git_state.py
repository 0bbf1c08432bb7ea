"""Whether git is in the middle of something in the work tree around a store. Looks at names only; starts nothing."""

from __future__ import annotations

import os

REBASES = ("rebase-merge", "rebase-apply")
OPERATIONS = {"MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert"}


def git_folder(root: str) -> str | None:
    """Return the folder in which git keeps the state of the work tree around ``root``; ``None`` outside of one."""
    folder = os.path.abspath(root)
    while True:
        place = os.path.join(folder, ".git")
        if os.path.isdir(place):
            return place
        if os.path.isfile(place):
            return _linked(folder, place)
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def _linked(folder: str, place: str) -> str | None:
    """Return where a worktree's or submodule's ``.git`` file points to."""
    try:
        with open(place, encoding="utf-8", errors="surrogateescape") as stream:
            word, _, target = stream.read().strip().partition(": ")
    except OSError:
        return None
    return os.path.normpath(os.path.join(folder, target)) if word == "gitdir" else None


def rebasing(folder: str | None) -> bool:
    """Tell whether a rebase (or ``git am``) is under way: the files are those of a state that nobody decided on."""
    return folder is not None and any(os.path.exists(os.path.join(folder, name)) for name in REBASES)


def operation(folder: str | None) -> str | None:
    """Return what is under way: a rebase, merge, cherry-pick or revert."""
    if folder is None:
        return None
    if rebasing(folder):
        return "rebase"
    found = (word for name, word in OPERATIONS.items() if os.path.exists(os.path.join(folder, name)))
    return next(found, None)
