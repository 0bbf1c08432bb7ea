"""One real Chromium for the tests of a process; each test has tabs of its own, which must not complain."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from shops import Shop, month_of_learning
from tabs import Tab

CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None and not os.environ.get("CI"):
                item.add_marker(pytest.mark.skip(reason="Chromium is not installed (Debian: chromium)"))


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """What is set for another store, or names the folder of pictures, is no setting of the stores here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PARAM")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "the tests of the page need Chromium (Debian: chromium)"
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield made
        made.close()


@pytest.fixture(scope="session")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A month of learning with its page: only to look at."""
    root = tmp_path_factory.mktemp("month")
    month_of_learning(root)
    with Shop(root, "--outcomes", str(root / "outcomes.jsonl"), "--metric", "pnl_bps") as shop:
        yield shop


@pytest.fixture
def serve() -> Iterator[Callable[..., Shop]]:
    """Serve the store at a place until the test has ended."""
    with ExitStack() as ends:
        yield lambda root, *words: ends.enter_context(Shop(root, *words))


@pytest.fixture
def tab_of(browser: Browser, serve: object) -> Iterator[Callable[..., Tab]]:
    """Open a tab at an address; whatever went wrong in it fails the test. It closes before its server."""
    opened: list[Tab] = []

    def open_at(address: str, **options: object) -> Tab:
        opened.append(Tab(browser, address, **options))
        return opened[-1]

    yield open_at
    try:
        for tab in opened:
            tab.check()
    finally:
        for tab in opened:
            tab.close()
