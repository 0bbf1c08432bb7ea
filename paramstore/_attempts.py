"""When an author last came and had nothing to change: the one thing that learners do and no entry tells.

A learner whose estimate has come to rest commits nothing. Without this it would look dead. The file is in the
run-time folder, may be deleted at any time, and is written under the store's lock.
"""

from __future__ import annotations

import json
import os

from paramstore._files import closed, share

FILE = "attempts.json"
MOST = 1000  # authors; the ones that came last are kept


def load(folder: str) -> dict[str, float]:
    """Return seconds since 1970 by author; nothing where there is no file, or a spoiled one."""
    try:
        with open(os.path.join(folder, FILE), "rb") as file:
            return {str(author): float(time) for author, time in json.load(file).items()}
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def note(folder: str, author: str, now: float) -> None:
    """Remember that ``author`` came. Raises ``OSError``. Call only while holding the store's lock."""
    known = load(folder)
    known.pop(author, None)
    kept = dict(sorted(known.items(), key=lambda item: item[1])[-(MOST - 1) :])
    temporary = os.path.join(folder, f"{FILE}.{os.getpid()}.{os.urandom(4).hex()}")
    with open(temporary, "x", encoding="ascii", opener=closed) as file:
        share(file.fileno(), folder)
        json.dump({**kept, author: now}, file)
    os.replace(temporary, os.path.join(folder, FILE))
