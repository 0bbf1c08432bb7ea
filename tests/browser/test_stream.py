"""The page follows the journal: at once, in place, through a server that went away, and edits by hand."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from shops import Shop, small_store
from tabs import Tab, parameter

SIZE, STOP = "risk.size", "risk.stop"
AT_ONCE_S = 1.0  # after a commit was acknowledged, on whatever page
GONE = "ERR_(CONNECTION_REFUSED|INCOMPLETE|CONNECTION_RESET|EMPTY_RESPONSE)"
WAIT_FOR = """([where, text]) => new Promise((seen) => {
  const until = Date.now() + 10000;
  const look = () => document.querySelector(where)?.textContent.includes(text) || Date.now() > until
    ? seen(Date.now()) : setTimeout(look, 5);
  look();
})"""
COUNT = """() => {
  globalThis.changes = 0;
  new MutationObserver((all) => { globalThis.changes += all.length; })
    .observe(document.getElementById('main'), { subtree: true, childList: true, attributes: true, characterData: true });
}"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    small_store(tmp_path)
    with Shop(tmp_path, "--allow-writes") as made:
        yield made


def test_a_commit_of_another_process_is_on_every_page_within_a_second(
    shop: Shop, tab_of: Callable[..., Tab]
) -> None:
    shop.learn({SIZE: 1.05}, reason="first")
    tab = tab_of(shop.address)
    pages = {
        "#/": f"a[title='{SIZE}']", parameter(SIZE): ".big .value", "#/history": "table.entries",
        "#/learner/learner": "table.entries", "#/revision/1": "#header",
    }  # fmt: skip
    for number, (fragment, where) in enumerate(pages.items(), 2):
        page = tab.go(fragment)
        tab.live()
        page.evaluate("globalThis.same = true")  # gone if the page is loaded anew
        value = round(1 + number / 8, 4)
        text = {"#/": "size", parameter(SIZE): str(value), "#/revision/1": str(number)}.get(
            fragment, f"lesson {number}"
        )
        seen = page.evaluate_handle("() => ({})")
        page.evaluate("([seen, wish]) => { seen.at = (" + WAIT_FOR + ")(wish); }", [seen, [where, text]])
        shop.learn({SIZE: value}, reason=f"lesson {number}")
        acknowledged = time.time()
        took_s = page.evaluate("seen => seen.at", seen) / 1000 - acknowledged
        assert took_s < AT_ONCE_S, f"{fragment} shows it after {took_s:.2f} s"
        assert page.evaluate("globalThis.same")
    tab.go("#/")
    expect(
        tab.page.locator("tr.row", has=tab.page.locator(f"a[title='{SIZE}']")).locator(".value")
    ).to_have_text(str(value))
    expect(tab.page.locator("#said")).not_to_be_empty()  # and it is read out


def test_one_entry_moves_one_row(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    shop.learn({SIZE: 1.25})  # before it, the journal learns what stood
    tab = tab_of(shop.address, reduced_motion="reduce")
    page = tab.go("#/")
    tab.live()
    row = page.locator("tr.row", has=page.locator(f"a[title='{STOP}']"))
    expect(page.locator(".c-notes .chip").first).to_be_attached()  # the doctor has answered
    marked = row.element_handle()
    page.evaluate(COUNT)
    asked = len(tab.requests)
    shop.learn({STOP: 2.5})
    expect(row.locator(".value")).to_have_text("2.5")
    assert "fresh" in (row.get_attribute("class") or "")
    assert page.evaluate("element => element.isConnected", marked), "the row is the same element"
    assert page.evaluate("globalThis.changes") < 60
    assert tab.requests[asked:] == [], "nothing is read anew"
    shop.learn({STOP: 2.75})
    with shop.store.transaction(author="ann", reason="ether") as tx:
        tx.set(STOP, 3.5, symbol="ETH")
    expect(page.locator("tr.override")).to_have_count(2)  # a new row, below its base value
    expect(page.locator("tr.override").nth(1)).to_contain_text("@symbol=ETH")


def test_what_stood_when_the_journal_began_is_no_change(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(shop.address)
    page = tab.go("#/")
    tab.live()
    shop.learn({SIZE: 1.25})
    ages = page.locator("tr.row .c-age")
    expect(ages.filter(has_text="just now")).to_have_count(1)
    before = ages.all_inner_texts()
    tab.go("#/")  # anew
    assert tab.page.locator("tr.row .c-age").all_inner_texts().count("never") == before.count("never") == 9


def test_nothing_is_missed_while_the_server_is_away(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(shop.address)
    tab.await_trouble(GONE)
    page = tab.go("#/history?refused=1")
    tab.live()
    page.evaluate("globalThis.same = true")
    shop.learn({SIZE: 1.1}, reason="before")
    expect(page.locator("table.entries")).to_contain_text("before")
    shop.stop()
    expect(page.locator("#header .live.off")).to_contain_text("reconnecting")
    for number in range(5):
        shop.learn({SIZE: 1.2 + number / 10}, reason=f"meanwhile {number}")
    shop.start()
    tab.live()
    expect(page.locator("table.entries tbody tr")).to_have_count(
        7
    )  # with revision 0, where the journal begins
    reasons = page.locator("table.entries .why").all_inner_texts()
    assert [text.strip() for text in reasons[:6]] == [*(f"meanwhile {n}" for n in range(4, -1, -1)), "before"]
    shop.learn({SIZE: 1.5}, reason="after")
    expect(page.locator("table.entries tbody tr").first).to_contain_text("after")
    shop.stop()
    with pytest.raises(ValueError, match="max_step"):  # which makes no revision: only the journal tells
        shop.learn({SIZE: 9.0}, reason="greed")
    shop.start()
    expect(page.locator("table.entries tbody tr").first).to_contain_text("greed")
    assert page.evaluate("globalThis.same")
    tab.go("#/")
    expect(
        page.locator("tr.row", has=page.locator(f"a[title='{SIZE}']")).locator(".value").first
    ).to_have_text("1.5")


def test_an_edit_by_hand_and_a_broken_file_are_told_and_taken_back(
    shop: Shop, tab_of: Callable[..., Tab]
) -> None:
    shop.learn({SIZE: 1.25})  # what no journal knows is no edit
    tab = tab_of(shop.address)
    page = tab.go("#/")
    tab.live()
    file = shop.root / "params/risk.yaml"
    assert shop.store.get(STOP) == 2.0
    text = file.read_text()
    row = page.locator("tr.row", has=page.locator(f"a[title='{STOP}']"))
    rewrite(file, text.replace("stop: 2.0", "stop: 2.75"))
    expect(row.locator(".value")).to_have_text("2.75")
    expect(row).to_contain_text("by hand")
    rewrite(file, "values: [broken")
    banner = page.locator("#banners .bad")
    expect(banner).to_be_visible()
    said = shop.store.refresh().problems
    assert said and said[0].file in banner.inner_text()
    expect(row.locator(".value")).to_have_text("2.75")  # what was last believed
    rewrite(file, text)
    expect(banner).to_have_count(0)
    expect(row.locator(".value")).to_have_text("2.0")


def rewrite(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)
