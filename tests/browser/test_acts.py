"""What people do in the page, by clicking and by the keyboard alone: shown first, then done as shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hands import Person
from playwright.sync_api import Locator, expect
from shops import Shop, small_store
from tabs import Tab, parameter

from paramstore.errors import ValidationError

SIZE, STOP = "risk.size", "risk.stop"
NO_TOKEN = "status of 401"
REFUSED = "status of 422"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    small_store(tmp_path)
    with Shop(tmp_path, "--allow-writes") as made:
        yield made


@pytest.fixture(params=["mouse", "keys"])
def ann(shop: Shop, tab_of: Callable[..., Tab], request: pytest.FixtureRequest) -> Person:
    return Person(tab_of(shop.address), keys=request.param == "keys")


def test_values_are_set_in_any_context_removed_and_forced(shop: Shop, ann: Person) -> None:
    store, tab = shop.store, ann.tab
    tab.go(parameter(STOP))
    ann.open("Set…")
    ann.write(ann.field("New value"), "3")
    ann.sign("stops were hit", "x" * 43)
    tab.await_trouble(NO_TOKEN)
    ann.press(ann.button("Show what it would do"))
    expect(tab.dialog.get_by_role("alert")).to_contain_text("Nothing was written")
    expect(tab.dialog.get_by_role("alert")).to_contain_text("not the right one")
    expect(tab.dialog).to_contain_text(".paramstore/web-token")
    ann.write(ann.field("Token"), shop.token)
    preview = ann.preview()
    expect(preview.locator("tbody :is(th, td)")).to_have_text([STOP, "2.0", "3.0"])
    assert store.get(STOP) == 2.0, "a preview writes nothing"
    ann.confirm("Set", "Written.")
    assert store.get(STOP) == 3.0
    expect(tab.page.locator(".big .value")).to_have_text("3.0")
    entry = store.history(STOP)[-1]
    assert (entry.author, entry.reason) == ("ann", "stops were hit")

    tab.go("#/")  # two at once, for one context, from the overview
    ann.open("Set…")
    ann.write(ann.field("symbol"), "ETH")
    ann.write(ann.field("Parameter"), SIZE)
    ann.write(ann.field("New value"), "1.25")
    ann.press(ann.button("Another value in the same commit"))
    ann.write(ann.field("Parameter", 1), STOP)
    ann.write(ann.field("New value", 1), "4")
    ann.sign("ether is wild")
    ann.preview()
    ann.confirm("Set", "Written.")
    assert (store.get(SIZE, symbol="ETH"), store.get(STOP, symbol="ETH"), store.get(SIZE)) == (1.25, 4.0, 1.0)
    assert len(store.history()[-1].changes) == 2

    tab.go(parameter(SIZE, symbol="BTC"))  # what is written for a context goes
    ann.open("Set…")
    ann.tick(ann.field("Remove what is written for this context"))
    ann.sign("as everywhere")
    expect(ann.preview()).to_contain_text("removed")
    ann.confirm("Set", "Written.")
    assert store.get(SIZE, symbol="BTC") == store.get(SIZE) == 1.0


def violations(shop: Shop, values: dict[str, object]) -> list[str]:
    """Return what the library says of these values."""
    judging = shop.store.transaction(author="ann", reason="greed", dry_run=True)
    with pytest.raises(ValidationError) as refused, judging as tx:
        for key, value in values.items():
            tx[key] = value
    return [" ".join(text.split()) for text in refused.value.violations]


def told_against(preview: Locator) -> list[str]:
    return [" ".join(text.split()) for text in preview.locator(".told.bad li").all_inner_texts()]


def test_each_broken_rule_is_shown_and_only_limits_of_learners_can_be_passed(shop: Shop, ann: Person) -> None:
    store, tab = shop.store, ann.tab
    tab.go(parameter(SIZE))
    ann.open("Set…")
    ann.write(ann.field("New value"), "9")
    ann.press(ann.button("Another value in the same commit"))
    ann.write(ann.field("Parameter", 1), "risk.count")
    ann.write(ann.field("New value", 1), "12")
    ann.sign("greed", shop.token)
    preview = ann.preview()
    said = violations(shop, {SIZE: 9.0, "risk.count": 12})
    assert len(said) == 2
    assert sorted(told_against(preview)) == sorted(said)
    expect(ann.button("Set")).to_be_disabled()
    ann.tick(tab.dialog.get_by_label("I decide as a person"))
    expect(preview.locator(".told.bad li")).to_have_count(1)  # the bound holds all the same
    expect(ann.button("Set")).to_be_disabled()
    assert store.revision == 0

    ann.press(ann.button("Back"))
    ann.press(ann.button("Leave this one out"))
    preview = ann.preview()
    assert told_against(preview) == violations(shop, {SIZE: 9.0})
    ann.tick(tab.dialog.get_by_label("I decide as a person"))
    expect(tab.dialog).to_contain_text("Passed by force: max_step")
    ann.confirm("Set", "Written.")
    entry = store.history(SIZE)[-1]
    assert store.get(SIZE) == 9.0
    assert entry.details["forced"] is True
    assert entry.changes[0].overrode == ("max_step",)
    tab.go(f"#/revision/{store.revision}")
    assert "past max_step" in tab.text()


def test_a_sum_that_stands_against_it_lets_the_others_be_moved_with_it(shop: Shop, ann: Person) -> None:
    store, tab = shop.store, ann.tab
    tab.go(parameter("weights.a"))
    ann.open("Set…")
    ann.write(ann.field("New value"), "0.75")
    ann.sign("more of it", shop.token)
    preview = ann.preview()
    expect(preview).to_contain_text("Next: move the others with it")
    assert "{" not in preview.inner_text(), "a rule has no row of its own"
    expect(tab.dialog.get_by_label("I decide as a person")).to_have_count(0)  # it would not help
    ann.press(preview.get_by_role("button", name="Add the 1 other of this group to the form"))
    expect(ann.field("Parameter", 1)).to_have_value("weights.b")
    expect(ann.field("New value", 1)).to_have_value("0.5")
    ann.write(ann.field("New value", 1), "0.25")
    ann.preview()
    ann.confirm("Set", "Written.")
    assert (store.get("weights.a"), store.get("weights.b")) == (0.75, 0.25)


def test_a_rollback_and_an_approval_are_shown_first(shop: Shop, ann: Person) -> None:
    store, tab = shop.store, ann.tab
    for value in (1.25, 1.5, 1.75):
        shop.learn({SIZE: value})
    tab.go(parameter(SIZE))
    back = tab.main.get_by_role("button", name=re.compile(r"^Roll back to revision 1\b"))
    ann.press(back)
    assert ann.field("To which revision").input_value() == "1"
    ann.sign("too large", shop.token)
    expect(ann.preview()).to_contain_text("1.75")
    ann.confirm("Roll back", "Rolled back.")
    assert store.get(SIZE) == 1.25
    assert store.history()[-1].kind == "rollback"
    tab.go("#/revision/2")
    ann.open("Roll back to before this…")  # what this author did since, of the one parameter, and no more
    reach = "Takes back everything that learner changed after revision 1, of risk.size."
    expect(tab.dialog.locator("p[role=status]").first).to_have_text(reach)
    ann.press(ann.button("Cancel"))
    tab.go(parameter(SIZE))
    ann.open("Approve as baseline…")
    ann.sign("reviewed")
    expect(ann.preview()).to_contain_text("1.25")
    ann.confirm("Approve", "Approved")
    assert store.history()[-1].details["baselines"][0]["value"] == 1.25


def test_a_freeze_shows_at_once_binds_learners_and_is_ended(shop: Shop, ann: Person) -> None:
    store, tab = shop.store, ann.tab
    tab.go(parameter(STOP))
    ann.open("Freeze…")
    ann.write(ann.field("Until"), "2h")
    ann.sign("odd fills", shop.token)
    ann.confirm("Freeze", "Frozen.")
    (freeze,) = store.freezes()
    assert (freeze.pattern, freeze.author, freeze.reason) == (STOP, "ann", "odd fills")
    assert freeze.until is not None
    banner = tab.page.locator("#banners .held")
    expect(banner).to_contain_text("odd fills")
    with pytest.raises(ValidationError):
        shop.learn({STOP: 2.5})
    ann.press(banner.get_by_role("button", name="Unfreeze…"))
    ann.sign("was right")
    ann.preview()
    ann.confirm("Unfreeze", "The freeze has ended.")
    assert store.freezes() == ()
    expect(banner).to_have_count(0)


def test_everything_is_frozen_by_two_keys_and_a_reason_but_by_no_accident(
    shop: Shop, tab_of: Callable[..., Tab]
) -> None:
    store, tab = shop.store, tab_of(shop.address)
    page = tab.go("#/learners")
    keyboard = page.keyboard
    keyboard.press("f")
    keyboard.press("Control+f")
    for key in "gxf":  # another key in between
        keyboard.press(key)
    page.get_by_role("link", name="History").focus()
    expect(tab.dialog).to_have_count(0)
    keyboard.press("g")
    keyboard.press("f")
    expect(tab.dialog).to_contain_text("Freeze everything")
    keyboard.press("Enter")  # no reason is given
    keyboard.press("Escape")
    expect(tab.dialog).to_have_count(0)
    assert page.evaluate("document.activeElement.textContent") == "History", "the focus is back"
    assert store.freezes() == ()
    keyboard.press("g")
    keyboard.press("f")
    keyboard.type("it loses money")  # the focus is in the reason
    page.locator("dialog input[name=token]").fill(shop.token)
    keyboard.press("Enter")
    expect(tab.dialog.get_by_role("status")).to_contain_text("Frozen.")
    keyboard.press("Escape")
    assert [freeze.pattern for freeze in store.freezes()] == ["*"]
    expect(page.locator("#banners .stopped")).to_contain_text("it loses money")
    expect(page.locator("#header .stop")).to_be_visible()


def test_a_page_that_may_not_write_offers_nothing_to_press(month: Shop, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(month.address)
    last = month.store.revision - 1
    for fragment in (
        "#/",
        parameter("signal_weights.funding"),
        f"#/revision/{last}",
        "#/learner/exit_learner",
        "#/history",
    ):
        page = tab.go(fragment)
        names = page.get_by_role("button").all_inner_texts()
        assert not [name for name in names if "…" in name or "roll back" in name.lower()], fragment
    tab.go("#/")
    expect(tab.main).to_contain_text("paramstore serve --allow-writes")
    page.keyboard.press("g")
    page.keyboard.press("f")
    expect(tab.dialog).to_contain_text("For looking only")


# --- two people, and the token ------------------------------------------------------------------------


def test_two_people_at_once_lose_nothing(shop: Shop, tab_of: Callable[..., Tab]) -> None:
    people = [Person(tab_of(shop.address)) for _ in range(2)]
    for person, value, name in zip(people, ("3", "4"), ("ann", "bob"), strict=True):
        person.tab.go(parameter(STOP))
        person.open("Set…")
        person.write(person.field("New value"), value)
        person.sign(f"{name} thinks so", shop.token, name)
        person.preview()
    ann, bob = people
    ann.confirm("Set", "Written.")
    bob.tab.await_trouble("status of 409")
    bob.press(bob.button("Set"))
    dialog = bob.tab.dialog
    expect(dialog.get_by_role("alert")).to_contain_text(
        "Something has changed meanwhile; nothing was written"
    )
    saw, now = (
        dialog.get_by_role("region", name=name, exact=True)
        for name in ("What you saw", "What it would do now")
    )
    expect(saw.locator("tbody td")).to_have_text(["2.0", "4.0"])
    expect(now.locator("tbody td")).to_have_text(["3.0", "4.0"])
    assert shop.store.get(STOP) == 3.0
    bob.confirm("Set", "Written.")
    entries = shop.store.history(STOP)[-2:]
    assert [(entry.author, entry.changes[0].old, entry.changes[0].new) for entry in entries] == [
        ("ann", 2.0, 3.0),
        ("bob", 3.0, 4.0),
    ]
    shop.learn({SIZE: 1.25})  # of another value: what the next one sees stays true
    for person in people:
        expect(person.tab.page.locator(".big .value")).to_have_text("4.0")


def test_a_learner_that_goes_on_with_other_values_keeps_no_person_out(
    shop: Shop, tab_of: Callable[..., Tab]
) -> None:
    ann = Person(tab_of(shop.address))
    ann.tab.go(parameter(STOP))
    ann.open("Set…")
    ann.write(ann.field("New value"), "3")
    ann.sign("so", shop.token)
    ann.preview()
    shop.learn({SIZE: 1.25})
    ann.confirm("Set", "Written.")
    assert (shop.store.get(STOP), shop.store.get(SIZE)) == (3.0, 1.25)


def test_a_private_page_shows_nothing_without_its_token_and_asks_again_when_it_changed(
    tmp_path: Path, serve: Callable[..., Shop], tab_of: Callable[..., Tab]
) -> None:
    small_store(tmp_path)
    shop = serve(tmp_path, "--private")
    tab = tab_of(shop.address)
    tab.await_trouble(NO_TOKEN)
    page = tab.go("#/")
    give = page.get_by_label("Token")
    expect(give).to_be_visible()
    assert "stop" not in tab.text("body")
    give.fill("x" * 43)
    page.get_by_role("button", name="Go on").click()
    expect(tab.main).to_contain_text("not the right one")
    give.fill(shop.token)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("link", name="stop")).to_be_visible()
    tab.live()
    assert shop.token not in page.url
    assert page.evaluate("document.cookie + JSON.stringify(localStorage)").count(shop.token) == 0
    shop.stop()
    shop.token_file.unlink()
    tab.await_trouble("ERR_")
    shop.start()
    expect(give).to_be_visible()  # whatever page stands there
    give.fill(shop.token)
    page.get_by_role("button", name="Go on").click()
    tab.live()
    shop.learn({STOP: 2.25})
    expect(page.locator("tr.row", has=page.get_by_role("link", name="stop"))).to_contain_text("2.25")
