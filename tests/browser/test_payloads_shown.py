"""Whatever people and programs write is shown as text: on every page, live, in dialogs, and in the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from local_store import schema, write_store
from playwright.sync_api import expect
from shops import Shop, learned
from tabs import Tab, parameter

SIZE, NAME = "risk.size", "risk.name"
HOSTILE = {
    "reason": "<img src=x onerror=alert(1)>&lt;b&gt; ${alert(2)} {{7*7}} </script><script>alert(3)</script>",
    "author": "\"><svg/onload=alert(4)> '&quot;",
    "evidence": "</td></table><iframe src='javascript:alert(5)'></iframe><!-- ",
    "unit": "<b onmouseover=alert(6)>bps</b>",
    "description": "</p><style>*{display:none}</style><a href=javascript:alert(7)>go</a> \u202edetreser\u202c",
    "context": "<details open ontoggle=alert(8)>x",
    "value": "<object data=x></object>\u2028\u2066 ` + alert(9) + `",
}  # fmt: skip
LONG = "long " + "W" * 3000
MADE_OF_IT = """() => document.querySelectorAll(
  'main :is(script, style, iframe, object, embed, img, b:not(.value), form[action], a[href^="javascript"]), [onerror], [onload], [onmouseover], '
  + '[ontoggle], iframe, object, main details[open][ontoggle]').length"""
TEXT = "() => document.querySelector('main').textContent"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("hostile")
    size = learned(1.0, unit=HOSTILE["unit"], description=HOSTILE["description"])
    name = {"type": "string", "default": "first", "description": HOSTILE["description"]}
    values = {"schema": 1, "values": {"size": 1.0, "name": "first"}}
    write_store(
        root, {"risk": schema({"size": size, "name": name}, {"symbol": {"type": "string"}})}, {"risk": values}
    )
    with Shop(root, "--allow-writes") as made:
        write_hostile(made)
        yield made


def write_hostile(shop: Shop) -> None:
    evidence: Mapping[str, Any] = {"samples": 80, HOSTILE["evidence"]: {"nested": [HOSTILE["evidence"]]}}
    words: dict[str, Any] = {"author": HOSTILE["author"], "reason": HOSTILE["reason"], "evidence": evidence}
    with shop.store.transaction(**words) as tx:
        tx[SIZE] = 1.25
        tx[NAME] = HOSTILE["value"]
    with shop.store.transaction(**words) as tx:
        tx.set(SIZE, 1.5, symbol=HOSTILE["context"])
    with pytest.raises(ValueError, match="maximum"), shop.store.transaction(**words) as tx:
        tx[SIZE] = 99.0
    with shop.store.transaction(author="long", reason=LONG) as tx:
        tx[NAME] = LONG
    with shop.store.transaction(**words) as tx:
        tx[NAME] = HOSTILE["value"]
    shop.store.freeze("risk.*", author=HOSTILE["author"], reason=HOSTILE["reason"])


PAGES = {
    "#/": ("unit", "context", "value"),
    parameter(SIZE): ("unit", "description", "author", "reason", "evidence", "context"),
    parameter(SIZE, symbol=HOSTILE["context"]): ("context", "reason"),
    parameter(NAME): ("description", "value", "author"),
    "#/revision/1": ("author", "reason", "evidence", "value"),
    "#/revision/4": ("author", "reason"),
    "#/learners": ("author",),
    "#/history?refused=1": ("author", "reason", "context", "value"),
    "#/compare?a=0&b=4": ("author", "value", "context"),
}


def check(tab: Tab, fragment: str, names: tuple[str, ...]) -> None:
    page = tab.go(fragment)
    if fragment == "#/learners":
        expect(page.locator("main table").first).to_be_visible()
    text = " ".join(page.evaluate(TEXT).split())
    for name in names:
        assert " ".join(HOSTILE[name].split()) in text, f"{name} on {fragment}"
    assert page.evaluate(MADE_OF_IT) == 0, fragment
    assert tab.sideways() == [], fragment


def test_hostile_and_long_texts_are_text_on_every_page_and_in_every_dialog(
    shop: Shop, tab_of: Callable[..., Tab]
) -> None:
    tab = tab_of(shop.address)
    for fragment, names in PAGES.items():
        check(tab, fragment, names)
    expect(tab.page.locator("#banners")).to_contain_text(HOSTILE["reason"])
    page = tab.go("#/history")
    page.get_by_role(
        "link", name=HOSTILE["author"]
    ).first.click()  # a name is no part of an address by itself
    expect(page.locator("h1")).to_have_text(HOSTILE["author"])
    expect(page.locator("table.entries")).to_contain_text(HOSTILE["reason"][:40])
    tab.go(parameter(NAME))
    tab.button("Set…").click()
    tab.dialog.get_by_label("Reason").fill(HOSTILE["reason"])
    tab.dialog.get_by_label("Author").fill(HOSTILE["author"])
    tab.dialog.get_by_label("New value").fill(HOSTILE["context"])
    tab.dialog.get_by_label("Token").fill(shop.token)
    tab.button("Show what it would do").click()
    expect(tab.dialog.get_by_role("alert")).to_contain_text(HOSTILE["reason"])  # of who froze it
    expect(tab.dialog).to_contain_text(HOSTILE["author"])
    assert page.evaluate(MADE_OF_IT) == 0
    assert tab.dialog.locator("img, iframe, object, [onerror]").count() == 0


def test_hostile_texts_are_text_in_a_phone_and_live(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(shop.address, viewport={"width": 360, "height": 740})
    for fragment, names in PAGES.items():
        check(tab, fragment, () if fragment == "#/" else names)
    tab.go("#/history")
    tab.live()
    shop.store.unfreeze("risk.*", author=HOSTILE["author"], reason="live " + HOSTILE["reason"])
    expect(tab.main).to_contain_text("live " + HOSTILE["reason"])
    expect(tab.page.locator("#said")).to_contain_text(HOSTILE["author"])
    assert tab.page.evaluate(MADE_OF_IT) == 0
    shop.store.freeze("risk.*", author=HOSTILE["author"], reason=HOSTILE["reason"])


def test_the_report_shows_the_same_as_text_and_asks_nobody(
    shop: Shop, tmp_path: Path, tab_of: Callable[..., Tab]
) -> None:
    file = tmp_path / "out.html"
    shop.run("report", str(file))
    tab = tab_of(file.as_uri(), offline=True)
    for fragment, names in PAGES.items():
        if not fragment.startswith("#/compare"):
            check(tab, fragment, names)
    assert {url.partition("#")[0] for url in tab.requests if not url.startswith("data:")} == {file.as_uri()}
