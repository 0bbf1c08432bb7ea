"""What happens just while something else does: no entry is lost, and nothing that is gone stays as if it stood."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hands import Person
from local_store import schema, write_store
from playwright.sync_api import Locator, Page, Route, expect
from shops import Shop, learned, small_store
from tabs import Tab, parameter

from paramstore import ParamStore

SIZE, STOP = "risk.size", "risk.stop"
GONE = "ERR_(CONNECTION_REFUSED|INCOMPLETE|CONNECTION_RESET|EMPTY_RESPONSE)"
ENTRIES = "table.entries"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    small_store(tmp_path)
    with Shop(tmp_path, "--allow-writes") as made:
        made.learn({SIZE: 1.05}, reason="first")
        yield made


def row_of(page: Page, place: str) -> Locator:
    return page.locator("tr.row", has=page.locator(f"a[title='{place}']"))


@pytest.mark.parametrize("fragment", [parameter(SIZE), "#/history", "#/learner/learner", "#/"])
def test_an_entry_that_comes_while_a_page_is_read_is_on_it(
    shop: Shop, tab_of: Callable[..., Tab], fragment: str
) -> None:
    tab = tab_of(shop.address)
    page = tab.go("#/compare")
    tab.live()

    def late(route: Route) -> None:
        answer = route.fetch()
        shop.learn({SIZE: 1.25}, reason="just then")
        page.wait_for_timeout(500)  # until the stream has told of it
        route.fulfill(response=answer)

    page.route("**/history?*", late, times=1)
    tab.go(fragment)
    expect(page.locator(ENTRIES)).to_contain_text("just then")
    assert page.locator(ENTRIES).inner_text().count("just then") == 1


# --- another journal --------------------------------------------------------------------------------


def put(source: Path, root: Path) -> None:
    """Bring the files of another branch, as git does: each whole, and one after the other."""
    for file in sorted(source.rglob("*")):
        place = root / file.relative_to(source)
        if file.is_file() and ".paramstore" not in file.parts and place.read_bytes() != file.read_bytes():
            new = place.with_name(f"{place.name}.new")
            shutil.copyfile(file, new)
            os.replace(new, place)


@pytest.fixture
def branches(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return a store as it stands on branch ``one``, and the files of both branches, of as many revisions."""
    root = tmp_path / "store"
    root.mkdir()
    small_store(root)
    commit(root, 1.1, "common")
    found = []
    for name, value in (("one", 1.2), ("two", 1.4)):
        shutil.copytree(root, tmp_path / name)
        commit(tmp_path / name, value, f"on {name}")
        found.append(tmp_path / name)
    put(found[0], root)
    return root, found[0], found[1]


def commit(root: Path, value: float, reason: str) -> None:
    store = ParamStore(str(root), environ={})
    with store.transaction(author="learner", reason=reason) as tx:
        tx[SIZE] = value
    store.reset()


def test_another_journal_is_on_the_page_under_a_dialog_and_after_a_restart(
    branches: tuple[Path, Path, Path], serve: Callable[..., Shop], tab_of: Callable[..., Tab]
) -> None:
    root, one, two = branches
    shop = serve(root, "--allow-writes")
    tabs = [tab_of(shop.address) for _ in range(3)]
    for tab, fragment in zip(tabs, (parameter(SIZE), "#/history", parameter(SIZE)), strict=True):
        expect(tab.go(fragment).locator(ENTRIES)).to_contain_text("on one")
        tab.live()
        tab.await_trouble(GONE)
    amid = Person(tabs[2])
    amid.open("Set…")
    put(two, root)
    for tab in tabs[:2]:
        expect(tab.page.locator(ENTRIES)).to_contain_text("on two")
    amid.press(amid.button("Cancel"))  # until then nothing moves under it
    expect(tabs[2].page.locator(ENTRIES)).to_contain_text("on two")
    shop.stop()
    put(one, root)  # as many revisions as before
    shop.start()
    for tab in tabs:
        tab.live()
        expect(tab.page.locator(ENTRIES)).to_contain_text("on one")
        assert "on two" not in tab.text()


def test_a_parameter_that_is_gone_does_not_stay(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(shop.address)
    tab.await_trouble("404")
    page = tab.go(parameter(STOP))
    tab.live()
    values, rules = shop.root / "params/risk.yaml", shop.root / "schemas/risk.schema.json"
    without = json.loads(rules.read_text())
    del without["properties"]["values"]["properties"]["stop"]
    without["properties"]["values"].get("required", ["stop"]).remove("stop")
    lines = values.read_text().splitlines(keepends=True)
    values.write_text("".join(line for line in lines if "stop:" not in line))
    rules.write_text(json.dumps(without))
    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")


def test_rules_that_change_are_on_the_page_of_the_parameter(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(shop.address)
    page = tab.go(parameter(STOP))
    tab.live()
    rules = shop.root / "schemas/risk.schema.json"
    changed = json.loads(rules.read_text())
    changed["properties"]["values"]["properties"]["stop"]["maximum"] = 77.0
    rules.write_text(json.dumps(changed))
    expect(page.locator(".head")).to_contain_text("0 … 77")


# --- clocks -------------------------------------------------------------------------------------------


def test_a_freeze_ends_when_the_server_says_so(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    shop.store.freeze("risk.count", author="ann", reason="pinned", until="1h")
    tab = tab_of(shop.address)
    tab.page.clock.install(time=time.time() + 2 * 3600)  # this clock is wrong
    page = tab.go(parameter("risk.count"))
    expect(page.locator("#banners")).to_contain_text("pinned")
    expect(page.locator(".notes")).to_contain_text("pinned")
    shop.store.unfreeze("risk.count", author="ann", reason="over")
    expect(page.locator("#banners")).not_to_contain_text("pinned")
    shop.store.freeze("risk.count", author="ann", reason="shortly", until="2s")
    expect(page.locator("#banners")).to_contain_text("shortly")
    page.wait_for_timeout(2500)
    page.clock.fast_forward(21_000)  # to when the page asks again
    expect(page.locator("#banners")).not_to_contain_text("shortly")
    expect(page.locator(".notes")).not_to_contain_text("shortly")


def test_a_time_that_is_typed_is_one_of_the_clock_that_the_page_shows(
    shop: Shop, tab_of: Callable[..., Tab]
) -> None:
    tab = tab_of(shop.address, timezone_id="America/New_York")
    tab.go("#/")
    person = Person(tab)
    person.open("Freeze…")
    end = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    away = tab.page.evaluate("moment => new Date(moment).getTimezoneOffset()", end.isoformat())
    assert away > 0
    here = (end - timedelta(minutes=away)).strftime("%Y-%m-%d %H:%M:%S")
    person.write(person.field("Which parameters"), "risk.count")
    person.write(person.field("Until"), here)
    person.sign("pinned", shop.token)
    person.confirm("Freeze", "Frozen.")
    (freeze,) = shop.store.freezes()
    assert freeze.until is not None and datetime.fromisoformat(freeze.until) == end
    expect(tab.page.locator("#banners")).to_contain_text(here)


# --- what is drawn -------------------------------------------------------------------------------------


def test_a_removed_override_is_a_gap_of_its_sparkline_live_and_anew(
    shop: Shop, tab_of: Callable[..., Tab]
) -> None:
    tab = tab_of(shop.address)
    tab.go("#/")
    tab.live()

    def move(value: float | None) -> None:
        with shop.store.transaction(author="learner", reason="lesson") as tx:
            if value is None:
                tx.remove(STOP, symbol="ETH")
            else:
                tx.set(STOP, value, symbol="ETH")

    for value in (2.0, 8.0, None, 3.0):
        move(value)
    place = f"{STOP} @symbol=ETH"
    drawn = "async (spark) => (await import('app/plot_scale')).heights(spark.points.values)"
    for _ in range(2):
        spark = row_of(tab.page, place).locator("param-spark")
        expect(row_of(tab.page, place).locator(".c-value")).to_contain_text("3.0")  # the last has come
        assert spark.evaluate(drawn) == [2, 8, None, 3]
        tab.go("#/")  # as the server tells it


# --- odd contexts ---------------------------------------------------------------------------------------

ODD = (
    {"level": 9007199254740993},
    {"share": 1.0},
    {"share": 1e-07},
    {"on": True},
    {"symbol": ""},
    {"symbol": " B "},
)


def test_odd_contexts_lead_to_themselves_in_page_dialog_and_report(
    tmp_path: Path, serve: Callable[..., Shop], tab_of: Callable[..., Tab]
) -> None:
    kinds = {"symbol": "string", "on": "boolean", "level": "integer", "share": "number"}
    own = [{"at": at, "values": {"size": 2.0 + number}} for number, at in enumerate(ODD)]
    dimensions = {name: {"type": kind} for name, kind in kinds.items()}
    risk = {"schema": 1, "values": {"size": 1.0}, "overrides": own}
    write_store(tmp_path, {"risk": schema({"size": learned(1.0)}, dimensions)}, {"risk": risk})
    shop = serve(tmp_path, "--allow-writes")
    file = tmp_path / "out.html"
    shop.run("report", str(file))
    for address in (shop.address, file.as_uri()):
        tab = tab_of(address)
        links = tab.go("#/").locator("tr.override a")
        found = links.evaluate_all("links => links.map((a) => [a.getAttribute('href'), a.title])")
        assert len(found) == len(ODD)
        for number, (link, place) in enumerate(found):
            tab.go(link)
            expect(tab.page.locator(".big .value")).to_have_text(str(2.0 + number))
            if address == shop.address:
                person = Person(tab)
                person.open("Set…")
                person.write(person.field("New value"), "9.5")
                person.sign("odd", "" if number else shop.token)
                cells = person.preview().locator("tbody tr").first.locator("th, td")
                assert cells.all_text_contents() == [place, str(2.0 + number), "9.5"]
                person.press(person.button("Cancel"))


# --- a report that is opened later ------------------------------------------------------------------------


def test_a_report_tells_what_was_and_nothing_of_later(
    month: Shop, tmp_path: Path, tab_of: Callable[..., Tab]
) -> None:
    file = tmp_path / "month.html"
    month.run("report", str(file), "--entries", "20")
    tab = tab_of(file.as_uri())
    texts = []
    for days in (0, 50):
        tab.page.clock.set_fixed_time(time.time() + days * 86400)
        page = tab.go("#/learners")
        told = page.locator("main .chip").all_inner_texts()
        tab.go("#/learner/signal_weight_learner")
        bars = page.locator("count-plot").evaluate("plot => plot.data.days.length")
        tab.go(parameter("signal_weights.funding"))
        ends = page.evaluate("async () => (await import('app/state')).present()")
        texts.append((told, bars, ends))
    assert texts[0] == texts[1]
    page = tab.go("#/history")
    expect(tab.main).to_contain_text("The report holds no older entries.")
    assert page.get_by_role("button", name="Older entries").count() == 0
