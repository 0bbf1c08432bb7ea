"""Keys: every page and row can be reached without a mouse, and the plots can be walked along."""

from __future__ import annotations

from collections.abc import Callable

from hands import Person
from playwright.sync_api import expect
from shops import Shop
from tabs import Tab, parameter

FUNDING = "signal_weights.funding"
FOCUSED = "document.activeElement.title || document.activeElement.textContent.trim()"
PAGES = {"l": "Learners", "s": "Scorecard", "c": "Compare", "h": "History", "o": "Overview"}


def test_pages_rows_and_search_are_reached_by_keys(month: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(month.address)
    page = tab.go("#/")
    press = page.keyboard.press
    keys = month.store.keys()
    press("j")
    assert page.evaluate(FOCUSED) == keys[0]
    for _ in range(3):
        press("j")
    press("k")
    press("ArrowDown")
    assert page.evaluate(FOCUSED) == keys[3]
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(keys[3])
    for letter, name in PAGES.items():
        press("g")
        press(letter)
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    press("/")
    page.keyboard.type("funding")
    expect(page.locator("tr.row .c-key").first).to_contain_text("funding")
    assert page.evaluate("document.activeElement.type") == "search"
    press("g")  # is typed, and goes nowhere
    press("h")
    assert page.get_by_role("searchbox").input_value() == "fundinggh"
    press("Escape")
    assert page.evaluate("document.activeElement === document.body")
    page.get_by_label("learnable").focus()  # a box to tick takes no letters
    press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    press("Escape")
    press("?")
    expect(tab.dialog).to_be_visible()
    expect(tab.dialog).to_contain_text("the value that a person last stood for")
    press("j")
    press("Escape")
    expect(tab.dialog).to_have_count(0)


def test_the_skip_link_leads_past_the_header(month: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(month.address)
    page = tab.go("#/learners")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "Skip to the content"
    assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    expect(page.get_by_role("heading", level=1)).to_have_text("Learners")


def test_each_row_is_one_stop_and_the_page_can_be_walked_through(
    month: Shop, tab_of: Callable[..., Tab]
) -> None:
    tab = tab_of(month.address)
    page = tab.go("#/?ns=win_rate")
    stops = "[...document.querySelectorAll('tr.row')].map((r) => r.querySelectorAll('a[href], button, [tabindex=\"0\"]').length)"
    assert set(page.evaluate(stops)) == {1}
    Person(tab, keys=True).reach(page.locator("tr.row a").last)
    assert page.locator("table").first.get_attribute("aria-rowcount")


def test_a_plot_is_walked_along_and_says_what_it_shows(month: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(month.address)
    page = tab.go(parameter(FUNDING))
    stage = page.locator(".plot-stage").first
    Person(tab, keys=True).reach(stage)
    assert FUNDING in (stage.get_attribute("aria-label") or "")
    page.keyboard.press("End")
    caption = page.locator(".plot-caption").first
    newest = month.store.history(FUNDING)[-1]
    expect(caption).to_contain_text(f"revision {newest.revision}")
    expect(caption).to_contain_text(newest.author)
    expect(caption).to_contain_text(newest.reason)
    page.keyboard.press("ArrowLeft")
    before = month.store.history(FUNDING, refused=True)[-2]
    expect(caption).to_contain_text(f"revision {before.revision}")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Revision {before.revision}")
