"""Five thousand parameters: what is drawn does not grow with what there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from local_store import schema, write_store
from playwright.sync_api import expect
from shops import Shop, learned
from tabs import Tab

NAMESPACES, EACH = 20, 250
MOST_ROWS = 90
ROWS = "document.querySelectorAll('tr.row').length"


def many(root: Path) -> None:
    names = [f"p{number:03d}" for number in range(EACH)]
    written = schema({name: learned(1.0) for name in names})
    spaces = [f"space{number:02d}" for number in range(NAMESPACES)]
    values = {"schema": 1, "values": dict.fromkeys(names, 1.0)}
    write_store(root, dict.fromkeys(spaces, written), dict.fromkeys(spaces, values))


def test_five_thousand_parameters_are_searched_walked_and_followed(
    tmp_path: Path, serve: Callable[..., Shop], tab_of: Callable[..., Tab]
) -> None:
    many(tmp_path)
    shop = serve(tmp_path)
    shop.learn({"space00.p000": 1.5})
    tab = tab_of(shop.address)
    page = tab.go("#/")
    table = page.locator("table.rows")
    rows = NAMESPACES * (EACH + 1) + 1  # with a line for each namespace, and the heading
    assert table.get_attribute("aria-rowcount") == str(rows)
    assert 20 < page.evaluate(ROWS) < MOST_ROWS
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    last = page.locator(f"a[title='space{NAMESPACES - 1}.p{EACH - 1}']")
    expect(last).to_be_visible()
    assert page.evaluate(ROWS) < MOST_ROWS
    assert page.locator("tr[aria-rowindex]").last.get_attribute("aria-rowindex") == str(rows)
    page.get_by_role("searchbox").fill("space07.p12")
    expect(page.locator("tr.row")).to_have_count(10)
    page.get_by_role("searchbox").fill("")
    expect(page.locator(".counts")).to_contain_text("5,000 parameters")
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.press("Escape")
    for _ in range(60):  # further than what is in sight
        page.keyboard.press("j")
    expect(page.locator("a[data-row]:focus")).to_have_count(1)
    assert page.evaluate(ROWS) < MOST_ROWS
    tab.live()
    shop.learn({"space11.p001": 1.25})
    page.get_by_role("searchbox").fill("space11.p001")
    expect(page.locator("tr.row")).to_have_count(1)
    expect(page.locator("tr.row .value")).to_have_text("1.25")
    for name, limit in {"freshly sorted": 0, "in the middle": 60000}.items():
        page.get_by_role("searchbox").fill("")
        page.evaluate(f"scrollTo(0, {limit})")
        assert page.evaluate(ROWS) < MOST_ROWS, name
