"""The default store on a copy of its files, for tests that commit."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from paramstore import _files
from paramstore._backends.local import RUNTIME, LocalBackend
from paramstore._default import params
from paramstore._options import BACKEND, PREFIX, SETTINGS_FILE, Options
from paramstore._store import ParamStore
from paramstore.errors import ConflictError

PATIENT_S = 5.0  # how long a copy waits for a moment between two commits

_origins: dict[str, str] = {}  # by the root of a copy: what it was made from


@contextmanager
def isolated(
    folder: str | os.PathLike[str], source: str | os.PathLike[str] | None = None
) -> Iterator[ParamStore]:
    """Let ``params`` read and write a copy of its store while the block runs; the files themselves stay untouched.

    The copy is made in ``folder``, which must not hold a store yet: schemas, values and ``paramstore.toml`` at one
    revision, and no journal. Sections, live attributes, bound views, overrides and subscriptions made before go
    on with the copy, and afterwards with the real store. Processes that start meanwhile see the copy as well, by
    ``PARAMSTORE_ROOT``. ``source``: what to copy instead of the store that ``params`` has; within another such
    block, that is the store which the outer copy was made from.

    Raises ``StoreNotFoundError`` or ``InvalidFileError`` when there is nothing good to copy.
    """
    home = ParamStore(source) if source is not None else params
    root = str(home.root)
    origin = _origins.get(root, root) if source is None else root
    folder = os.path.abspath(os.fspath(folder))
    copy(origin, folder, home.options)
    _origins[folder] = origin
    named = {f"{PREFIX}ROOT": folder, BACKEND: ""}  # no test commits to a cluster
    if not _is_inside(home.options.journal):  # or the copy would write into the real journal
        named[f"{PREFIX}JOURNAL"] = Options().journal
    try:
        with _environment(named):
            params.reopen()
            yield params
    finally:
        params.reopen()
        del _origins[folder]


def _is_inside(journal: str) -> bool:
    return not (os.path.isabs(journal) or os.path.normpath(journal).startswith(".."))


@contextmanager
def _environment(named: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in named}
    os.environ.update(named)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def copy(root: str, folder: str, options: Options) -> None:
    """Copy the store at ``root`` to ``folder`` as it is at one revision, while others may commit to it.

    A reader knows the hashes of the files that belong together; what was copied is held to them.
    """
    for name in ("params", "schemas", RUNTIME):
        os.makedirs(os.path.join(folder, name))
    for name in (SETTINGS_FILE, f"{RUNTIME}/cache"):  # with the cache, no copy has to be parsed
        if os.path.exists(os.path.join(root, name)):
            shutil.copy2(os.path.join(root, name), os.path.join(folder, name))
    backend = LocalBackend(root, options)
    deadline = time.monotonic() + PATIENT_S
    while not _copied(backend, folder):
        if time.monotonic() > deadline:
            raise ConflictError(
                f"{root} changes all the time: no copy of one revision came about in {PATIENT_S:g} s. "
                "Next: stop what writes there while tests begin."
            )
        time.sleep(0.01)


def _copied(backend: LocalBackend, folder: str) -> bool:
    for name, document in backend.load(None).documents.items():
        expected = {
            backend.values_file(name): document.digest,
            backend.schema_file(name): document.schema_digest,
        }
        for file, digest in expected.items():
            target = os.path.join(folder, file)
            with suppress(FileNotFoundError):  # from the try before, maybe read-only
                os.unlink(target)
            shutil.copy2(backend.path(file), target)  # as old as the file is, or it counts as not yet saved
            if _files.read_whole(target).digest != digest:
                return False
    return True
