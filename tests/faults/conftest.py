"""Shows the figures that the proofs measured."""

from __future__ import annotations

import pytest
from figures import FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("figures of the proofs")
    for name, value in FIGURES.items():
        terminalreporter.write_line(f"{name}: {value}")
