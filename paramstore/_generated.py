"""Files that are written from other files: whole from their first moment, and only when they differ."""

from __future__ import annotations

import difflib
import os

from paramstore import _files

MOST_LINES = 40  # of a difference; who wants all of it writes the file and asks git


def stands(path: str) -> str | None:
    """Return the text of a file; ``None`` if there is none. Raises ``OSError``."""
    try:
        return _files.read_whole(path).raw.decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def write(path: str, text: str) -> None:
    """Give ``path`` this content in one step, in a folder that is made if need be. Raises ``OSError``.

    Who calls this leaves a file alone that is right already: a type checker would take its new time for a change.
    """
    path = os.path.realpath(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _files.put_whole(path, text.encode())


def difference(old: str | None, new: str) -> list[str]:
    """Return the lines that are gone (``-``) and new (``+``); all are new where there is no file."""
    lines = difflib.unified_diff((old or "").splitlines(), new.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]
