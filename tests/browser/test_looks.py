"""How every page looks and can be used: by those who cannot see or point, in light and dark, on a phone, a wide screen and paper.

Pictures of all of it are left in build/screenshots (or SCREENSHOTS), for people to look at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hands import Person
from playwright.sync_api import Page, expect
from shops import Shop, month_of_learning, small_store
from tabs import Scheme, Tab, parameter

FUNDING = "signal_weights.funding"
PICTURES = Path(os.environ.get("SCREENSHOTS") or Path(__file__).parents[2] / "build/screenshots")
PAGES = {
    "overview": "#/",
    "parameter": parameter(FUNDING),
    "parameter_in_context": parameter(FUNDING, symbol="BTCUSDT"),
    "parameter_refused_and_frozen": parameter("profit_discipline.time_exits.second_h"),
    "revision": "#/revision/{bound}",
    "revision_refused": "#/revision/{refused}",
    "learners": "#/learners",
    "learner": "#/learner/signal_weight_learner",
    "scorecard": "#/scorecard",
    "compare_revisions": "#/compare?a=3&b={newest}",
    "compare_contexts": "#/compare?a=%40symbol%3DBTCUSDT&b=%40",
    "history": "#/history?refused=1",
    "not_found": "#/nowhere",
}
LEVELS = ("moderate", "serious", "critical")
TALLEST = 2400  # pixels of a page in a picture
COLOURS = ["color-contrast", "link-in-text-block"]  # what light and dark can differ in
READY = {"overview": ".c-notes .chip", "learners": "main table", "scorecard": "forest-plot canvas"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The month, writable and with a freeze, so that banners and buttons are there."""
    root = tmp_path_factory.mktemp("looks")
    month_of_learning(root)
    with Shop(
        root, "--allow-writes", "--outcomes", str(root / "outcomes.jsonl"), "--metric", "pnl_bps"
    ) as made:
        made.store.freeze("profit_engine.*", author="ben", reason="the exchange has trouble with its fills")
        yield made


def visit(shop: Shop, tab: Tab, name: str) -> Page:
    entries = shop.store.history(refused=True)
    bound = next(e.revision for e in reversed(entries) if any(change.bound_by for change in e.changes))
    refused = next(e.revision for e in reversed(entries) if e.kind == "refusal")
    page = tab.go(PAGES[name].format(bound=bound, refused=refused, newest=shop.store.revision))
    if name in READY:
        expect(page.locator(READY[name]).first).to_be_attached()
    return page


def picture(tab: Tab, name: str, whole: bool = True) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    tab.page.wait_for_timeout(60)  # plots are painted in the next frame
    height = min(tab.page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    clip = {"x": 0, "y": 0, "width": tab.page.evaluate("innerWidth"), "height": height}
    tab.page.screenshot(path=PICTURES / f"{name}.png", full_page=whole, **({"clip": clip} if whole else {}))  # type: ignore[arg-type]


def not_windowed(name: str) -> bool:
    return name != "overview"  # of its table only what is in sight is drawn


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_used_by_everybody(shop: Shop, tab_of: Callable[..., Tab], scheme: Scheme) -> None:
    tab = tab_of(shop.address, color_scheme=scheme)
    faults = {}
    for name in PAGES:
        page = visit(shop, tab, name)
        faults[name] = tab.faults(LEVELS, None if scheme == "light" else COLOURS)
        assert page.locator("h1, .state h2").count() >= 1, name
        assert tab.sideways() == []
        picture(tab, f"{name}_{scheme}", not_windowed(name))
    assert not any(faults.values()), faults


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_dialog_can_be_used_by_everybody(
    tmp_path: Path, serve: Callable[..., Shop], tab_of: Callable[..., Tab], scheme: Scheme
) -> None:
    small_store(tmp_path)
    shop = serve(tmp_path, "--allow-writes")
    shop.learn({"risk.size": 1.25})
    shop.learn({"risk.size": 1.5})
    tab = tab_of(shop.address, color_scheme=scheme)
    ann, faults = Person(tab), {}

    def look(name: str) -> None:
        faults[name] = tab.faults(LEVELS, None if scheme == "light" else COLOURS)
        picture(tab, f"dialog_{name}_{scheme}", whole=False)

    tab.go(parameter("risk.size"))
    for name, button in {
        "freeze": "Freeze…",
        "approve": "Approve as baseline…",
        "rollback": "Roll back…",
        "set": "Set…",
    }.items():
        ann.open(button)
        look(name)
        if name != "set":
            tab.page.keyboard.press("Escape")
    ann.write(ann.field("New value"), "12")
    ann.sign("greed", shop.token)
    ann.preview()
    look("set_refused")
    ann.press(ann.button("Back"))
    ann.write(ann.field("New value"), "1.75")
    ann.preview()
    look("set_shown")
    shop.learn({"risk.size": 1.3}, reason="meanwhile")
    tab.await_trouble("status of 409")
    ann.press(ann.button("Set"))
    expect(tab.dialog).to_contain_text("What you saw")
    look("set_conflict")
    ann.press(tab.dialog.get_by_role("button", name="Set", exact=True))
    expect(tab.dialog).to_contain_text("Written.")
    look("set_done")
    ann.press(ann.button("Close"))
    tab.page.keyboard.press("?")
    look("keys")
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("g")
    tab.page.keyboard.press("f")
    look("freeze_everything")
    ann.sign("it loses money")
    tab.page.keyboard.press("Enter")
    expect(tab.dialog).to_contain_text("Frozen.")
    tab.page.keyboard.press("Escape")
    tab.go("#/")
    expect(tab.page.locator("#banners .stopped")).to_be_visible()
    look("everything_frozen")
    assert not any(faults.values()), faults


def test_nothing_sticks_out_on_a_phone(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(shop.address, viewport={"width": 360, "height": 740}, has_touch=True)
    for name in PAGES:
        page = visit(shop, tab, name)
        assert tab.sideways() == [], name
        picture(tab, f"{name}_narrow", not_windowed(name))
    page = visit(shop, tab, "overview")
    page.get_by_role("link", name="score_tiers.ultra.threshold").tap()
    expect(page.get_by_role("heading", level=1)).to_contain_text(
        "conviction_gate.score_tiers.ultra.threshold"
    )
    tab.button("Set…").tap()
    expect(tab.dialog).to_be_visible()
    assert tab.sideways() == []
    box = tab.dialog.bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 360
    picture(tab, "dialog_set_narrow", whole=False)


def test_a_wide_screen_is_used(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(shop.address, viewport={"width": 2560, "height": 1300})
    for name in PAGES:
        page = visit(shop, tab, name)
        assert tab.sideways() == [], name
        longest = page.evaluate(
            "Math.max(0, ...[...document.querySelectorAll('main p:not(.steps, .buttons)')].map((p) => p.clientWidth))"
        )
        assert longest < 2000, f"lines of {longest} px on {name}"
        picture(tab, f"{name}_wide", not_windowed(name))
    visit(shop, tab, "overview")
    assert tab.page.locator(".c-default").first.is_visible()  # columns that smaller windows leave out


def test_paper_has_all_rows_and_nothing_to_press(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(shop.address, viewport={"width": 794, "height": 1123})
    for name in PAGES:
        tab.page.emulate_media(media="screen")
        page = visit(shop, tab, name)
        tab.page.emulate_media(media="print")
        assert (
            page.locator("nav:visible, button:visible:not(.sort), input:visible, select:visible").count() == 0
        ), name
        assert tab.sideways() == [], name
        picture(tab, f"{name}_print")
    page = visit(shop, tab, "overview")
    expect(page.locator("tr.row").last).to_have_attribute(
        "aria-rowindex", page.locator("table.rows").get_attribute("aria-rowcount") or ""
    )
    keys = page.locator("tr.row a").evaluate_all("all => all.map((a) => a.title)")
    assert {key for key in keys if "@" not in key} == set(shop.store.keys())
    assert page.locator("#header").is_visible()  # which store, and when


def test_the_theme_can_be_turned_and_is_kept(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(shop.address, color_scheme="light")
    page = tab.go(parameter(FUNDING))
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    switch = page.get_by_title("Light, dark, or as the system has it")
    switch.click()
    switch.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    tab.settle()
    assert page.evaluate(ground) == dark
