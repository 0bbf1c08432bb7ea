"""The token: a file that only its owner may read, made where it is missing.

It is deletable, as all run-time files: the next start makes another, and whoever has the old one has to fetch the new one.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time

from paramstore._files import make_runtime
from paramstore.errors import ParamstoreError

NAME = "web-token"
SHORTEST, LONGEST = 32, 1024  # characters; ours has 43, which are 256 bits
_OTHERS = 0o077
_PATIENCE_S = 0.5  # while another process that has just made the file writes into it
_CHARACTERS = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # of a bearer token (RFC 6750)


class TokenError(ParamstoreError):
    """The token's file cannot be used. Nothing was started."""


def token_in(runtime: str) -> tuple[str, str]:
    """Return the token of the store whose run-time folder is ``runtime``, and its file. Made if missing."""
    make_runtime(runtime)
    path = os.path.join(runtime, NAME)
    return token_at(path), path


def token_at(path: str) -> str:
    """Return the token in the file ``path``, made with a new one if missing.

    Raises ``TokenError`` for a file that others may read or change, a link, and what is no token: it says what to do.
    """
    try:
        return _made(path)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise TokenError(
            f"The token cannot be written to {path} ({error.strerror}): name a file in a folder of your own with --token-file."
        ) from None


def _made(path: str) -> str:
    token = secrets.token_urlsafe(32)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(f"{token}\n")
    return token


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        problem = "is a symbolic link" if os.path.islink(path) else f"cannot be read ({error.strerror})"
        raise _unusable(path, problem) from None
    try:
        if problem := _problem(os.fstat(fd)):
            raise _unusable(path, problem)
        raw = os.read(fd, LONGEST + 3)
        until = time.monotonic() + _PATIENCE_S
        while not raw and time.monotonic() < until:
            time.sleep(0.01)
            raw = os.read(fd, LONGEST + 3)
    finally:
        os.close(fd)
    text = raw.decode("latin-1").strip("\r\n")
    if not SHORTEST <= len(text) <= LONGEST:
        raise _unusable(path, f"holds {len(text)} characters, and a token has {SHORTEST} to {LONGEST:,}")
    if not _CHARACTERS.fullmatch(text):
        raise _unusable(
            path, "holds characters that a token may not have, which are letters, digits and . _ ~ + / - ="
        )
    return text


def _problem(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "is not a file"
    if found.st_uid not in (0, os.geteuid()):
        return f"belongs to user {found.st_uid}"
    if found.st_nlink > 1:
        return "has another name (a hard link)"
    if found.st_mode & _OTHERS:
        return f"may be read or changed by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def _unusable(path: str, problem: str) -> TokenError:
    return TokenError(
        f"{path} {problem}, so it is not used as the token. Delete it, and a new one is made; or name another with --token-file. "
        "Nothing was started."
    )
