"""A cache of validated data, so that a first read parses no YAML and loads no validator.

It lives in ``.paramstore/``, holds plain data only, and is believed only when its own checksum is
right and the hashes inside match the files. Delete it at any time: nothing is lost but a second.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys

from paramstore._files import closed, share
from paramstore._trust import is_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 2
# marshal is not stable between Python versions, and the shape is ours to change
_MAGIC = f"paramstore {FORMAT} {sys.implementation.cache_tag}\n".encode()


def load(path: str) -> Any:
    """Return the cached data, or ``None`` for any reason at all to distrust it."""
    try:
        with open(path, "rb") as file:
            if not is_ours(file.fileno(), path):
                return None
            raw = file.read()
    except OSError:
        return None
    start = len(_MAGIC) + 32
    if raw[: len(_MAGIC)] != _MAGIC or hashlib.sha256(raw[start:]).digest() != raw[len(_MAGIC) : start]:
        return None  # marshal must never see bytes that we did not write
    return marshal.loads(raw[start:])


def save(path: str, data: Any) -> None:
    """Write the cache if the disk lets us; a reader without write permission does without."""
    body = marshal.dumps(data)
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        with open(temporary, "xb", opener=closed) as file:
            share(file.fileno(), os.path.dirname(path))
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
        os.replace(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
