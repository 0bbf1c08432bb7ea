"""Every error that paramstore raises, its tree on top.

ParamstoreError
├── UnknownParamError (KeyError)            a key that no schema declares
│   └── MalformedKeyError                   not a key at all
├── ContextError (TypeError)                an undeclared dimension, or a value it does not allow
├── StoreNotFoundError (FileNotFoundError)  no params/ and schemas/ here or above
├── SettingsError (ValueError)              a PARAMSTORE_* variable or paramstore.toml is wrong
├── ReadOnlyError (TypeError)               a write to a value, section or snapshot that was read
├── LiveError (TypeError)                   an attribute that cannot stay live
├── InvalidFileError (ValueError)           a file cannot be used; readers keep the last good snapshot
│   ├── SchemaError                         a schema is itself wrong
│   ├── DocumentError                       a values file is broken, or not what its schema says
│   └── JournalError                        the journal has a line that is no entry
├── ValidationError (ValueError)            proposed values break a rule; all violations together
├── UnknownRevisionError (LookupError)      a revision or time that the journal does not reach
├── ConflictError                           someone else changed the store meanwhile
├── LockTimeoutError (TimeoutError)         another writer holds the lock
├── LockLostError                           the lock file was replaced while it was held
├── GitError                                git refused, or is not there
├── WriteError (OSError)                    the disk refused: full, read-only, not permitted
│   └── UnreachableError                    the cluster that holds the values did not answer
└── DurabilityUnknownError (OSError)        applied, but the disk did not confirm it
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = [
    "ConflictError",
    "ContextError",
    "DocumentError",
    "DurabilityUnknownError",
    "GitError",
    "InvalidFileError",
    "JournalError",
    "LiveError",
    "LockLostError",
    "LockTimeoutError",
    "MalformedKeyError",
    "ParamstoreError",
    "ReadOnlyError",
    "SchemaError",
    "SettingsError",
    "StoreNotFoundError",
    "UnknownParamError",
    "UnknownRevisionError",
    "UnreachableError",
    "ValidationError",
    "WriteError",
]


class ParamstoreError(Exception):
    """Base of every error here. ``str(error)`` is the whole message for a person."""

    message: str

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)

    def __str__(self) -> str:
        return self.message  # KeyError and OSError would print something else

    def __reduce__(self) -> tuple[object, ...]:
        # Subclasses take other arguments than the message: errors must survive multiprocessing.
        return _restore, (type(self), self.message, self.__dict__)


def _restore(cls: type[ParamstoreError], message: str, state: dict[str, object]) -> ParamstoreError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class UnknownParamError(ParamstoreError, KeyError):
    """No schema declares this key. ``nearest`` holds up to three similar keys."""

    def __init__(self, key: str, nearest: Sequence[str] = (), hint: str = "") -> None:
        self.key = key
        self.nearest = tuple(nearest)
        close = f" Did you mean {' or '.join(f'`{k}`' for k in nearest)}?" if nearest else ""
        super().__init__(f"`{key}` is not a known parameter.{close}{hint and ' ' + hint}")


class MalformedKeyError(UnknownParamError):
    """Not of the form ``namespace.path.to.leaf``."""

    def __init__(self, key: object, hint: str = "") -> None:
        self.key = str(key)
        self.nearest = ()
        problem = f"{key!r} is not a key: a key is a string like `namespace.path.to.leaf`."
        ParamstoreError.__init__(self, f"{problem}{hint and ' ' + hint}")


class ContextError(ParamstoreError, TypeError):
    """A dimension that no schema declares, or a value that the dimension does not allow."""


class StoreNotFoundError(ParamstoreError, FileNotFoundError):
    """There is no store at the given root, in the working directory, or above it."""


class SettingsError(ParamstoreError, ValueError):
    """One of the store's own options is wrong; nothing was opened."""


class ReadOnlyError(ParamstoreError, TypeError):
    """What was read cannot be written to; values change in a transaction only."""


class LiveError(ParamstoreError, TypeError):
    """An attribute that was asked to be live cannot be, or was copied out of its class."""


class InvalidFileError(ParamstoreError, ValueError):
    """A file cannot be used. ``file`` is its path, ``line`` is 1-based where known."""

    def __init__(self, file: str, problem: str, *, line: int | None = None, place: str = "") -> None:
        self.file = file
        self.problem = problem
        self.line = line
        self.place = place
        where = file + (f":{line}" if line is not None else "") + (f" at {place}" if place else "")
        super().__init__(f"{where}: {problem}")


class SchemaError(InvalidFileError):
    """A schema is itself wrong; ``place`` is a JSON pointer into it."""


class DocumentError(InvalidFileError):
    """A values file is broken or does not satisfy its schema; readers keep the last good values."""


class JournalError(InvalidFileError):
    """A journal line is no entry, or its checksum is wrong. The journal is never rewritten."""


class ValidationError(ParamstoreError, ValueError):
    """Proposed values break rules. ``violations`` lists every one, each a full sentence; ``broken`` holds them with
    key, rule, requested and allowed value (``Violation``), where they are about parameters."""

    def __init__(
        self, violations: Iterable[str], stands: str = "", *, broken: Iterable[Any] = (), next_step: str = ""
    ) -> None:
        self.violations = tuple(violations)
        self.broken = tuple(broken)
        separator = " " if len(self.violations) == 1 else "\n"
        end = " ".join(part for part in (stands, next_step) if part)
        super().__init__(separator.join([*self.violations, *([end] if end else [])]))


class UnknownRevisionError(ParamstoreError, LookupError):
    """The journal does not reach the revision or time that was asked for."""


class ConflictError(ParamstoreError):
    """The store is not at the expected revision, or a file changed under the commit."""


class LockTimeoutError(ParamstoreError, TimeoutError):
    """The lock could not be had in time. Nothing was written."""


class LockLostError(ParamstoreError):
    """The lock file was deleted or replaced while it was held. Nothing was written."""


class GitError(ParamstoreError):
    """git refused, or there is no repository or no git; what git said is in the message."""


class WriteError(ParamstoreError, OSError):
    """The operating system refused a step before the commit. Nothing was written."""


class UnreachableError(WriteError):
    """The cluster that holds the values did not answer in time. Readers go on with what they have; nothing was written."""


class DurabilityUnknownError(ParamstoreError, OSError):
    """The new values are in place (``applied``), but the disk did not confirm that they would
    survive a power loss. Do not retry: the change is made."""

    def __init__(self, message: str, *, applied: bool = True) -> None:
        self.applied = applied
        super().__init__(message)
