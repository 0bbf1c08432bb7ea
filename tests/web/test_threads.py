"""Nobody keeps others from an answer by asking much: long questions wait apart, and so do those of who bears the token."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import Page, make_store

from paramstore.web import _threads
from paramstore.web._threads import MOST_LONG, MOST_READS, BusyError, Threads

KINDS = [{"long": True}, {"long": True, "apart": True}, {}, {"apart": True}]


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_that_is_full_takes_in_no_more_and_holds_up_no_other(kind: dict[str, bool]) -> None:
    async def crowd(threads: Threads, hold: threading.Event) -> list[Any]:
        most = MOST_LONG if kind.get("long") else MOST_READS
        waiting = [asyncio.ensure_future(threads.read(hold.wait, **kind)) for _ in range(most)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="Ask again"):
            await threads.read(str, **kind)
        others = [await threads.read(str, **other) for other in KINDS if other != kind]
        others += [await threads.write(str), await threads.switch(str)]
        hold.set()
        await asyncio.gather(*waiting)
        return [*others, await threads.read(str, **kind)]  # there is room again

    assert _with_threads(crowd) == [""] * 6


def _with_threads(work: Callable[[Threads, threading.Event], Any]) -> Any:
    threads, hold = Threads(), threading.Event()
    try:
        return asyncio.run(asyncio.wait_for(work(threads, hold), 20))
    finally:
        hold.set()
        threads.stop()


def test_what_takes_long_is_refused_while_too_much_of_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_threads, "MOST_LONG", 0)
    with Page(make_store(tmp_path / "store")) as page:
        for path in ("diff?a=0", "history?limit=1001", "parameters/risk.size/history?limit=1001"):
            refused = page.ask("GET", path)
            assert (refused.status_code, refused.json()["kind"]) == (503, "busy"), path
            assert refused.headers["retry-after"] == "1"
        for path in ("values", "parameters", "history?limit=1000", "parameters/risk.size/history"):
            page.get(path)
