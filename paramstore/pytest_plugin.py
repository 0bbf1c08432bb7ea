"""The pytest plugin: overrides until a test ends, stores to commit to, and no unknown key unseen (docs/testing.md).

pytest loads it wherever paramstore is installed, so nothing of the store is imported before a test or an
option asks for it, and the hooks keep to what the oldest pytest that Python 3.11 runs with understands: a plugin
that fails to load ends test suites that have nothing to do with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from typing import Protocol

    from paramstore import ParamStore

    class Lay(Protocol):
        """What the fixture ``params_override`` gives."""

        def __call__(self, values: Mapping[str, Any], store: ParamStore = ...) -> None: ...


MARKERS = (
    "params_override(values): lay these values over the store while the test and its fixtures run; the closest marker "
    "wins for each key",
    "params_unknown(*patterns): under --paramstore-strict, let this test name unknown keys that match; without "
    "patterns, any",
)
_RUN = "paramstore-run"  # the name that the run's own objects are registered by


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options, each with an ini setting of the same name."""
    group = parser.getgroup("paramstore")
    for name, what in {
        "isolate": "Let the whole run (each xdist worker for itself) read and write a copy of the parameter store.",
        "strict": "Fail each test that names an unknown parameter, even where an `except` hides the error.",
    }.items():
        group.addoption(f"--paramstore-{name}", action="store_true", default=False, help=what)
        parser.addini(f"paramstore_{name}", what, type="bool", default=False)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before a ``conftest.py`` imports code that reads parameters."""
    _begin(early_config)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known; begin here where the plugin itself came from a ``conftest.py``."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    _begin(config)


def _begin(config: pytest.Config) -> None:
    if config.pluginmanager.hasplugin(_RUN):
        return
    run: object = object()
    if _is_on(config, "strict"):
        from paramstore._pytest_strict import Strict

        run = Strict(config)
    config.pluginmanager.register(run, _RUN)
    if _is_on(config, "isolate"):
        _isolate(config)


def _is_on(config: pytest.Config, name: str) -> bool:
    return bool(
        getattr(config.known_args_namespace, f"paramstore_{name}") or config.getini(f"paramstore_{name}")
    )


def _isolate(config: pytest.Config) -> None:
    """Isolate the whole run. Workers of xdist begin with their controller's copy: all test one revision."""
    import tempfile

    from paramstore._isolated import isolated
    from paramstore.errors import ParamstoreError

    stack = ExitStack()
    config.add_cleanup(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="paramstore-"))
    try:
        stack.enter_context(isolated(os.path.join(folder, "store")))
    except ParamstoreError as error:
        raise pytest.UsageError(f"paramstore_isolate: {error}") from None


_laid: dict[pytest.Item, ExitStack] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Lay what markers say, before the first fixture."""
    values: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("params_override"))):
        if len(mark.args) != 1 or mark.kwargs or not isinstance(mark.args[0], Mapping):
            pytest.fail('params_override takes one dictionary: {"namespace.key": value}', pytrace=False)
        values.update(mark.args[0])
    if values:
        from paramstore import params
        from paramstore.errors import ParamstoreError

        stack = ExitStack()
        try:
            stack.enter_context(params.override(values))
        except ParamstoreError as error:
            pytest.fail(f"params_override: {error}", pytrace=False)
        _laid[item] = stack


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Lift it after the last fixture, also when that one fails."""
    yield
    stack = _laid.pop(item, None)
    if stack is not None:
        stack.close()


@pytest.fixture
def params_override() -> Iterator[Lay]:
    """Lay values over the default store (or a given one) until the test ends:
    ``params_override({"conviction_gate.min_trades": 5})``."""
    from paramstore import params

    with ExitStack() as stack:

        def lay(values: Mapping[str, Any], store: ParamStore = params) -> None:
            stack.enter_context(store.override(values))

        yield lay


@pytest.fixture
def params_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParamStore]:
    """Let ``params`` read and write a copy of the project's store until the test ends, and return it.

    Its files are in ``params_store.root``; processes that the test starts see it as well.
    """
    from paramstore._isolated import isolated

    with isolated(tmp_path_factory.mktemp("params_store")) as store:
        yield store
