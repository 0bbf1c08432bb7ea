"""Pages of what is not there: unknown names, an empty store, an empty journal, a server that fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect
from shops import Shop, small_store
from tabs import Tab, parameter

from paramstore.errors import ParamstoreError


def test_what_is_not_there_is_said_and_leaves_the_page_usable(
    month: Shop, tab_of: Callable[..., Tab]
) -> None:
    tab = tab_of(month.address)
    with pytest.raises(ParamstoreError) as unknown:
        month.store.explain("signal_weights.fundin")
    tab.await_trouble("status of 404")
    tab.go(parameter("signal_weights.fundin"))
    assert " ".join(str(unknown.value).split()) in tab.text(".state")  # with what is meant, perhaps
    for fragment, said in {
        "#/revision/99999": "99999", "#/revision/x": "a revision is a number", "#/nowhere/at/all": "There is no page",
        "#/learner/nobody": "nobody", "#/compare?a=99999&b=3": "99999", "#/parameter/%zz": "%zz",
    }.items():  # fmt: skip
        tab.go(fragment)
        assert said in tab.text(), fragment
    tab.await_trouble("status of 400")
    tab.go("#/parameter/signal_weights.funding?at=planet%3Dmars")
    assert "planet" in tab.text()
    tab.page.get_by_role("link", name="Overview").click()
    expect(tab.page.locator("tr.row").first).to_be_visible()


def test_a_store_in_which_nothing_happened_yet_says_so(
    tmp_path: Path, serve: Callable[..., Shop], tab_of: Callable[..., Tab]
) -> None:
    small_store(tmp_path)
    shop = serve(tmp_path)
    tab = tab_of(shop.address)
    page = tab.go("#/history")
    assert "The journal is empty" in tab.text()
    tab.go(parameter("risk.size"))
    assert "Never changed since the journal began" in tab.text()
    expect(page.locator("param-plot canvas").first).to_be_visible()
    tab.go("#/learners")
    expect(tab.main).to_contain_text("Nobody owns a parameter")
    tab.go("#/scorecard")
    assert "paramstore serve --outcomes" in tab.text()
    tab.go("#/compare")
    assert "nothing to compare yet" in tab.text()
    shop.learn({"risk.size": 1.25}, reason="the first")
    tab.go("#/history")
    expect(tab.main).to_contain_text("the first")


def test_a_store_without_parameters_says_how_to_begin(
    tmp_path: Path, serve: Callable[..., Shop], tab_of: Callable[..., Tab]
) -> None:
    (tmp_path / "params").mkdir()
    (tmp_path / "schemas").mkdir()
    shop = serve(tmp_path)
    tab = tab_of(shop.address)
    tab.go("#/")
    assert "No parameters yet" in tab.text()
    assert "paramstore init" in tab.text()


def test_a_server_that_went_away_is_said_and_can_be_asked_again(
    tmp_path: Path, serve: Callable[..., Shop], tab_of: Callable[..., Tab]
) -> None:
    small_store(tmp_path)
    shop = serve(tmp_path)
    tab = tab_of(shop.address)
    tab.await_trouble("ERR_")
    tab.go("#/")
    shop.stop()
    tab.go(parameter("risk.size"))
    expect(tab.main).to_contain_text("The server does not answer")
    shop.start()
    tab.button("Try again").click()
    expect(tab.page.locator(".big .value")).to_have_text("1.0")
