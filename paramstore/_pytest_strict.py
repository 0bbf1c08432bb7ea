"""Strict test runs: whoever names an unknown key is told on, even where the error was hidden.

An ``except Exception`` around a read turns a misspelt key into a value that nobody chose, and its test stays
green. So this listens where such errors are made, and fails the test that runs: in the phase (setup, call, teardown) in
which the key was named, by any thread. What is named while tests are collected fails the file that is; what is named
between tests fails the run.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from paramstore._values import on_unknown_key

if TYPE_CHECKING:
    from types import FrameType

    from paramstore.errors import UnknownParamError

_STRAYS = "paramstore_strays"


class Miss(NamedTuple):
    """One time that an unknown key was named."""

    key: str
    text: str


class Strict:
    """The hooks of a strict run. Registered for such runs only."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._seen: deque[Miss] = deque()  # any thread appends
        self._strays: list[str] = []
        config.add_cleanup(on_unknown_key(self._note))

    def _note(self, error: UnknownParamError) -> None:
        thread = threading.current_thread()
        by = "" if thread is threading.main_thread() else f" (thread {thread.name})"
        self._seen.append(Miss(error.key, f"{_place(str(self._config.rootpath))}{by}: {error}"))

    def _drain(self) -> Iterator[Miss]:
        while self._seen:
            yield self._seen.popleft()

    def _new(self, item: pytest.Item | None = None) -> list[Miss]:
        """Return what was named since the last call, each line once, but for what ``item`` says it does on purpose."""
        marks = list(item.iter_markers("params_unknown")) if item is not None else []
        patterns = [pattern for mark in marks for pattern in mark.args or ("*",)]
        new = [miss for miss in self._drain() if not any(fnmatchcase(miss.key, each) for each in patterns)]
        return list(dict.fromkeys(new))

    # -- tests ------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> None:
        self._strays += [miss.text for miss in self._new()]

    # Each of these runs when its phase has passed; what a failing one has named as well, the report says.
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._judge(item)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self._judge(item)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        self._judge(item)

    def _judge(self, item: pytest.Item) -> None:
        misses = self._new(item)
        if misses:
            pytest.fail(_message(misses), pytrace=False)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        outcome = yield
        misses = self._new(item)
        if not misses:
            return
        report = outcome.get_result()
        if report.skipped and not hasattr(report, "wasxfail"):
            report.outcome, report.longrepr = "failed", _message(misses)
        else:
            report.sections.append(("paramstore strict", _message(misses)))

    # -- what no test did -------------------------------------------------------------------------

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self) -> Any:
        self._strays += [miss.text for miss in self._new()]
        outcome = yield
        misses = self._new()
        if misses:
            report = outcome.get_result()
            said = f"{report.longrepr}\n" if report.longrepr else ""
            report.outcome, report.result = "failed", []
            report.longrepr = said + _message(misses, "the import of this")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._strays += [miss.text for miss in self._new()]
        worker = getattr(self._config, "workeroutput", None)
        if worker is not None:  # of xdist: the controller tells
            worker[_STRAYS] = self._strays
        elif self._strays and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._strays += getattr(node, "workeroutput", {}).get(_STRAYS, [])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        strays = list(dict.fromkeys(self._strays))
        if strays:
            terminalreporter.section("paramstore strict: unknown keys named outside of tests", red=True)
            for line in strays:
                terminalreporter.line(line)


def _message(misses: list[Miss], by: str = "this test") -> str:
    keys = list(dict.fromkeys(miss.key for miss in misses))
    lines = [f"no parameter: {', '.join(keys)}, which {by} named (paramstore strict)"]
    lines += [f"  {miss.text}" for miss in misses]
    if by == "this test":
        named = ", ".join(f'"{key}"' for key in keys)
        lines.append(f"A test that does so on purpose says so: @pytest.mark.params_unknown({named})")
    return "\n".join(lines)


def _place(root: str) -> str:
    """Return file, line and function of the code that called the store."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    if frame is None:
        return "<unknown>"
    file = frame.f_code.co_filename
    inside = os.path.relpath(file, root) if file.startswith(root + os.sep) else file
    return f"{inside}:{frame.f_lineno} in {frame.f_code.co_name}"


def _is_ours(frame: FrameType) -> bool:
    # `get` itself is written out as source, in a scope that has no name.
    return str(frame.f_globals.get("__name__", "paramstore")).partition(".")[0] == "paramstore"
