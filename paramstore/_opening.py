"""Which backend a store opens: the cluster that is named, or the files at its root."""

from __future__ import annotations

from paramstore._options import BACKEND, Options, check_root, find_root, find_root_or_none, needs_validation

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

        options = _options(find_root_or_none(environ), environ)
        return open_backend(options, environ, clock), options
    from paramstore._backends.local import LocalBackend

    root = find_root(environ) if given is None else check_root(given, "The given root")
    options = _options(root, environ)
    return LocalBackend(root, options, clock), options


def _options(root: str | None, environ: Mapping[str, str]) -> Options:
    if not needs_validation(root, environ):
        return Options()
    from paramstore import _settings

    return _settings.load(root, environ)
