"""Which backend a store opens: the cluster that is named, or the files at its root."""

from __future__ import annotations

from paramstore._options import (
    BACKEND,
    MIRROR,
    Options,
    check_root,
    find_root,
    find_root_or_none,
    needs_validation,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from paramstore._backends.base import Backend
    from paramstore._clock import Clock


def opened(given: str | None, environ: Mapping[str, str], clock: Clock) -> tuple[Backend, Options]:
    """Return the backend and its options. ``given`` is the root that the caller named, which is always files.

    Raises ``StoreNotFoundError`` and ``SettingsError``.
    """
    if given is None and environ.get(BACKEND):
        from paramstore._backends.etcd import open_backend

        options = options_of(find_root_or_none(environ), environ)
        return open_backend(options, environ, clock), options
    from paramstore._backends.local import LocalBackend

    root = find_root(environ) if given is None else check_root(given, "The given root")
    options = options_of(root, environ)
    options.backend = options.mirror = None  # of another store: a root that is named goes before it
    return LocalBackend(root, options, clock), options


def options_of(root: str | None, environ: Mapping[str, str]) -> Options:
    """Return the settings of the store at ``root``, or of one that has no files here. Raises ``SettingsError``."""
    if not needs_validation(root, environ):
        return Options(backend=environ.get(BACKEND) or None, mirror=environ.get(MIRROR) or None)
    from paramstore import _settings

    return _settings.load(root, environ)
