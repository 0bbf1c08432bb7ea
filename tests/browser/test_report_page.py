"""``paramstore report``: one file that shows what the served page shows, without a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect
from shops import Shop
from tabs import Tab, parameter

FUNDING = "signal_weights.funding"
CELLS = """() => [...document.querySelectorAll('main table')].map((table) => [...table.rows].map((row) =>
  [...row.cells].filter((cell) => !cell.matches('.c-age, .when') && !cell.querySelector('time, button'))
    .map((cell) => cell.textContent.replace(/\\s+/g, ' ').trim())))"""


def test_the_report_shows_what_the_page_shows(
    month: Shop, tmp_path: Path, tab_of: Callable[..., Tab]
) -> None:
    file = tmp_path / "month.html"
    month.run("report", str(file), "--outcomes", str(month.root / "outcomes.jsonl"), "--metric", "pnl_bps")
    tabs = [tab_of(month.address), tab_of(file.as_uri(), offline=True)]
    kept = tabs[1]
    last = month.store.revision
    for fragment in (
        "#/", parameter(FUNDING), parameter(FUNDING, symbol="BTCUSDT"), f"#/revision/{last}", "#/learners",
        "#/learner/signal_weight_learner", "#/scorecard",
    ):  # fmt: skip
        tables = []
        for tab in tabs:
            page = tab.go(fragment)
            expect(page.locator("main table").first).to_be_visible()
            if fragment == "#/":
                expect(page.locator(".c-notes .chip").first).to_be_attached()
            tables.append(page.evaluate(CELLS))
        assert tables[0] == tables[1], fragment
        assert sum(map(len, tables[1])) > 1, fragment
    page = kept.go(parameter(FUNDING))
    expect(page.locator("param-plot canvas").first).to_be_visible()
    expect(page.locator("#header")).to_contain_text("report")
    assert not [name for name in page.get_by_role("button").all_inner_texts() if "…" in name]
    page.keyboard.press("g")
    page.keyboard.press("h")
    expect(page.get_by_role("heading", level=1)).to_have_text("History")
    kept.go("#/compare?a=1&b=2")
    expect(kept.main).to_contain_text("This report does not hold that")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)  # it would find no more
    links = page.get_by_role("navigation").get_by_role("link").all_inner_texts()
    assert links == ["Overview", "Learners", "Scorecard", "History"]
    assert {url.partition("#")[0] for url in kept.requests if not url.startswith("data:")} == {file.as_uri()}
