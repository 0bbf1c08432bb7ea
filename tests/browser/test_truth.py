"""What the pages show is what the store says: each is compared with the library, value by value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from playwright.sync_api import expect
from shops import Shop
from tabs import Tab, parameter

from paramstore._examined import examined
from paramstore._listing import listing
from paramstore._model import ABSENT, Change, Entry

FUNDING = "signal_weights.funding"
BITCOIN = {"symbol": "BTCUSDT"}
CELLS = """rows => rows.map((row) => Object.fromEntries([...row.children].map((cell) =>
  [cell.className.split(' ')[0], cell.textContent.replace(/\\s+/g, ' ').trim()])
  .concat([['place', row.querySelector('a').title], ['frozen', Boolean(row.querySelector('.chip.held'))],
    ['value', row.querySelector('.value').textContent],
    ['notes', [...row.querySelectorAll('.c-notes .chip')].map((chip) => chip.title.split('\\n(')[0])]])))"""
TABLE = """table => [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent.replace(/\\s+/g, ' ').trim()))"""


@pytest.fixture
def tab(month: Shop, tab_of: Callable[..., Tab]) -> Tab:
    return tab_of(month.address)


def shown(value: Any) -> str:
    """Write a value as `paramstore get` does."""
    return value if isinstance(value, str) else repr(value) if isinstance(value, float) else json.dumps(value)


def change_text(change: Change) -> str:
    if change.old is ABSENT:
        return f"set to {shown(change.new)}"
    if change.old == change.new:
        return f"stays {shown(change.new)}"
    return f"{shown(change.old)} → {shown(change.new)}"


def brief(value: Any) -> str:
    """Write what was asked for: nobody needs the digits that an optimiser left behind."""
    rounded = float(f"{value:.6g}") if isinstance(value, float) else value
    return shown(value) if rounded == value else f"≈ {shown(rounded)}"


def place_text(key: str, context: Mapping[str, Any]) -> str:
    return f"{key} @{', '.join(f'{name}={value}' for name, value in context.items())}" if context else key


def one_line(text: str) -> str:
    return " ".join(text.split())


def rows_of(tab: Tab, label: str) -> list[list[str]]:
    found: list[list[str]] = tab.main.get_by_role("region", name=label).locator("table").first.evaluate(TABLE)
    return found


# --- all of them ------------------------------------------------------------------------------------


def test_the_overview_shows_every_value_with_its_bounds_authors_and_notes(month: Shop, tab: Tab) -> None:
    tab.page.emulate_media(media="print")  # all rows are drawn, not only those in sight
    page = tab.go("#/")
    expect(page.locator(".c-notes .chip").first).to_be_attached()  # the doctor has answered
    store = month.store
    report = examined(store, store.history(refused=True))
    notes = {(p.key, tuple(p.context.items())): list(p.notes) for p in report.parameters}
    expected = []
    for line in listing(store, set(store.keys())):
        place = (line.spec.key, tuple(line.context.items()))
        expected.append({
            "place": place_text(line.spec.key, line.context),
            "value": shown(line.value), "c-unit": line.spec.unit, "frozen": line.frozen,
            "notes": [n.text for n in notes[place] if not (line.frozen and n.rule == "frozen")],  # said once
            "c-by": line.last.author if line.last else "", "c-default": shown(line.spec.default),
            "changed": line.changed and not line.context,
        })  # fmt: skip
    found = page.locator("tr.row").evaluate_all(CELLS)
    for row in found:
        row["changed"] = row["c-value"].startswith("*")
    assert [{name: row[name] for name in expected[0]} for row in found] == expected
    assert f"{len(store.keys())} parameters" in tab.text(".counts")
    assert tab.text("#header a.num") == f"rev {store.revision}"


def test_search_filters_and_order_answer_as_asked_and_stay_in_the_address(month: Shop, tab: Tab) -> None:
    page = tab.go("#/?q=funding&sort=value")
    keys = [key for key in month.store.keys("*") if "funding" in key]
    assert page.locator("tr.row").count() >= len(keys)
    values = [float(text) for text in page.locator("tr.row .value").all_inner_texts()]
    assert values == sorted(values)
    page.get_by_role("searchbox").fill("liquidation btcusdt")
    expect(page.locator("tr.row")).to_have_count(1)
    expect(page.locator("tr.row .value")).to_have_text(
        shown(month.store.get("signal_weights.liquidation", **BITCOIN))
    )
    assert "q=liquidation" in page.url
    page.get_by_role("searchbox").fill("no such thing")
    expect(page.locator("#main")).to_contain_text("No parameter is like that.")
    tab.button("Show all").click()
    page.get_by_label("changed from default").check()
    changed = [line for line in listing(month.store, set(month.store.keys())) if line.changed]
    expect(page.locator("tr.row")).to_have_count(len(changed))
    page.reload()
    tab.settle()
    expect(page.locator("tr.row")).to_have_count(len(changed))  # the address said it


def test_what_never_changed_is_told_quietly_and_no_finding(month: Shop, tab: Tab) -> None:
    page = tab.go("#/")
    expect(page.locator(".c-notes .chip").first).to_be_attached()
    report = examined(month.store, month.store.history(refused=True))
    alarming = [
        p
        for p in report.parameters
        if any(n.level == "finding" and n.rule != "never_changed" for n in p.notes)
    ]
    never = [p for p in report.parameters if any(n.rule == "never_changed" for n in p.notes)]
    assert any(n.level == "finding" for p in never for n in p.notes), "else nothing is tested"
    page.get_by_label("has a finding").check()
    expect(page.locator("tr.row")).to_have_count(len(alarming))
    tab.go("#/?never=1")
    expect(page.locator(".counts")).to_contain_text(f"{len(never)} rows")
    chip = page.locator(".c-notes .chip", has_text="never changed").first
    expect(chip).to_have_class("chip quiet")
    tab.go("#/?frozen=1")
    expect(tab.main).to_contain_text("Nothing is frozen." if not month.store.freezes() else "frozen")


def test_a_mark_at_the_edge_of_a_plot_is_whole(month: Shop, tab: Tab) -> None:
    page = tab.go(parameter(FUNDING))
    page.locator(".plot-stage").first.focus()
    page.keyboard.press("Home")
    box = page.locator(".plot-spot").first.bounding_box()
    over = page.locator(".u-over").first.bounding_box()
    assert box and over
    assert over["x"] + 5 <= box["x"] + box["width"] / 2 <= over["x"] + over["width"] / 2


# --- one of them ------------------------------------------------------------------------------------


def entry_cells(entry: Entry, key: str) -> Iterable[str]:
    """Yield what the row of an entry must say."""
    yield entry.author
    yield entry.reason
    for name, value in entry.evidence.items():
        yield f"{name} = {shown(value)}"
    for change in entry.changes:
        if change.key == key:
            yield change_text(change)
            if change.bound_by and change.bound_by != "decimals":
                yield f"asked for {brief(change.requested)}, bound by {change.bound_by}"
            yield from change.overrode


def test_a_parameter_is_explained_and_its_whole_past_is_told(month: Shop, tab: Tab) -> None:
    store, spec = month.store, month.store.spec(FUNDING)
    page = tab.go(parameter(FUNDING))
    told = tab.text(".head")
    assert f"{shown(store.get(FUNDING))} {spec.unit}" in told
    assert f"{shown(spec.minimum)} … {shown(spec.maximum)}" in told
    assert spec.description in told
    layers = rows_of(tab, "Layers, lowest first")
    expected = store.explain(FUNDING).layers
    assert [row[0] for row in layers] == [layer.name for layer in expected]
    assert [row[1] for row in layers] == [shown(layer.value) for layer in expected]
    assert [row[0] for row in layers if "wins" in row[3]] == [store.explain(FUNDING).winner.name]
    rules = {row[0]: row[1] for row in rows_of(tab, "Rules")}
    assert rules["owner"] == spec.owner
    assert rules["largest step"] == shown(spec.max_step)
    assert rules["largest drift"] == shown(spec.max_drift)
    assert rules["least samples"] == shown(spec.min_samples)
    entries = list(store.history(FUNDING, refused=True))
    rows = page.locator("table.entries").evaluate(TABLE)
    assert [row[0] for row in rows] == [str(entry.revision) for entry in reversed(entries)][:50]
    for entry, row in zip(reversed(entries), rows, strict=False):
        for words in entry_cells(entry, FUNDING):
            assert one_line(words) in " ".join(row), (words, row)
    page.get_by_text("Table of what is drawn").first.click()
    drawn = rows_of(tab, "Table of what is drawn")
    assert {row[0] for row in drawn} <= {str(entry.revision) for entry in entries}
    assert any(shown(store.get(FUNDING)) in row[5] for row in drawn)


def test_a_parameter_in_a_context_shows_the_value_written_for_it(month: Shop, tab: Tab) -> None:
    page = tab.go(parameter(FUNDING, **BITCOIN))
    own = shown(month.store.get(FUNDING, **BITCOIN))
    assert own != shown(month.store.get(FUNDING))
    assert own in tab.text(".big")
    assert "@symbol=BTCUSDT" in tab.text("h1")
    table = {row[0]: row[1] for row in rows_of(tab, "Effective values by context")}
    assert table == {"no context": shown(month.store.get(FUNDING)), "@symbol=BTCUSDT": own}
    assert page.locator(".tile").count() == 2


# --- revisions ----------------------------------------------------------------------------------------


def newest_of_each_kind(entries: Iterable[Entry]) -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        found[entry.kind] = entry
        if any(change.bound_by for change in entry.changes):
            found["bound"] = entry
        if entry.details.get("forced"):
            found["forced"] = entry
    return found


def test_a_revision_of_each_kind_tells_what_was_done_asked_for_and_why(month: Shop, tab: Tab) -> None:
    kinds = newest_of_each_kind(month.store.history(refused=True))
    assert {"commit", "rollback", "refusal", "freeze", "approve", "bound", "forced"} <= set(kinds)
    for entry in kinds.values():
        tab.go(f"#/revision/{entry.revision}")
        told = tab.text()
        for words in (f"Revision {entry.revision}", entry.author, entry.reason, entry.id):
            assert one_line(words) in told, (entry.kind, words)
        for name, value in entry.evidence.items():
            assert f"{name} {shown(value)}" in told
        for change in entry.changes[:10]:
            assert shown(change.new) in told
            if change.old is not ABSENT:
                assert shown(change.old) in told
            if change.bound_by:
                assert change.bound_by in told
                assert shown(change.requested) in told
            for rule in change.overrode:
                assert rule in told
        details = entry.details
        for item in (*details.get("violations", ()), *details.get("baselines", ())):
            assert item["key"] in told
            assert brief(item.get("requested", item.get("value"))) in told
        assert details.get("pattern", "") in told


def test_revisions_lead_to_their_neighbours(month: Shop, tab: Tab) -> None:
    page = tab.go(f"#/revision/{month.store.revision - 1}")
    page.get_by_role("link", name=f"revision {month.store.revision} →").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Revision {month.store.revision}")
    assert "the newest" in tab.text(".head")
    tab.go("#/revision/0")
    assert "The journal begins here" in tab.text()


# --- learners and what came of it -----------------------------------------------------------------------


def test_learners_are_judged_as_the_doctor_judges_them(month: Shop, tab: Tab) -> None:
    tab.go("#/learners")
    report = examined(month.store, month.store.history(refused=True))
    learning = [one for one in report.learners if one.learns]
    rows = rows_of(tab, "Learners")
    assert [row[0] for row in rows] == [one.author for one in learning]
    assert any(one.silent for one in learning)
    for one, row in zip(learning, rows, strict=True):
        assert row[4:6] == [str(one.commits), str(one.refusals)]
        assert all(rule in row[6] for rule in one.refused_by)
        assert ("silent for" in row[1]) == bool(one.silent)
        assert all(one_line(note.text) in row[8] for note in one.notes)
    others = [one.author for one in report.learners if not one.learns]
    assert "rollback 1" in next(row for row in rows_of(tab, "Others") if row[0] == "ben")[2]
    assert [row[0] for row in rows_of(tab, "Others")] == others


def test_a_learner_shows_its_parameters_and_entries(month: Shop, tab: Tab) -> None:
    author = "signal_weight_learner"
    page = tab.go(f"#/learner/{author}")
    entries = [entry for entry in month.store.history(refused=True) if entry.author == author]
    rows = page.locator("table.entries").evaluate(TABLE)
    assert [row[0] for row in rows] == [str(entry.revision) for entry in reversed(entries)][: len(rows)]
    assert sum(row[2] == "refused" for row in rows) == sum(e.kind == "refusal" for e in entries[-len(rows) :])
    own = [key for key in month.store.keys("*") if month.store.spec(key).owner == author]
    table = {row[0]: row[1] for row in rows_of(tab, "Its parameters")}
    assert {key: shown(month.store.get(key)) for key in own}.items() <= table.items()
    commits = sum(entry.kind == "commit" for entry in entries)
    assert f"{commits} commits" in tab.text(".head")


def test_the_scorecard_says_the_verdicts_of_the_command(month: Shop, tab: Tab) -> None:
    card = month.run("scorecard", str(month.root / "outcomes.jsonl"), "--metric", "pnl_bps")
    page = tab.go("#/scorecard")
    expect(page.locator("forest-plot canvas")).to_be_visible()
    newest = [one for one in reversed(card["changes"]) if one["mean_interval"]]
    decided = [one for one in newest if one["verdict"] != "cannot tell"]
    compared = sorted(decided, key=lambda one: -abs(one["mean_difference"]))
    compared += [one for one in newest if one["verdict"] == "cannot tell"]
    rows = rows_of(tab, "Changes and what came of them")
    assert [row[0] for row in rows] == [str(one["revision"]) for one in compared][: len(rows)]
    for one, row in zip(compared, rows, strict=False):
        assert row[3].startswith(one["verdict"])
        assert row[4].startswith(f"{one['before']['count']:,}mean")
        assert one_line(one["why"]) in row[3]
    told = tab.text(".steps")
    for verdict in ("better", "worse", "cannot tell"):
        assert f"{sum(one['verdict'] == verdict for one in card['changes'])} {verdict}" in told
    worse = [str(one["revision"]) for one in compared if one["verdict"] == "worse"]
    assert 0 < len(worse) < len(decided)
    page.get_by_role("button", name=f"{len(worse)} worse").click()
    assert page.url.endswith("#/scorecard?show=worse")
    page.reload()
    tab.settle()
    expect(page.locator("main tbody tr")).to_have_count(len(worse))
    assert [row[0] for row in rows_of(tab, "Changes and what came of them")] == worse
    page.get_by_role("combobox", name="Changes").select_option("compared")
    page.get_by_role("combobox", name="Order").select_option("newest")
    shown = [row[0] for row in rows_of(tab, "Changes and what came of them")]
    assert shown == [str(one["revision"]) for place, one in enumerate(newest) if place < 40 or one in decided]


def test_a_revision_says_what_came_of_it(month: Shop, tab: Tab) -> None:
    back = next(entry for entry in month.store.history() if entry.kind == "rollback")
    guess = [entry for entry in month.store.history() if entry.author == "ana"][-1]
    page = tab.go(f"#/revision/{guess.revision}")
    expect(page.locator(".fate")).to_contain_text(f"Taken back by {back.author} in revision {back.revision}")
    expect(page.locator(".verdict")).to_contain_text("worse")
    page = tab.go(f"#/revision/{back.revision}")
    expect(page.locator("p.fate")).to_contain_text(f"what stood at revision {guess.revision - 1}")
    expect(page.locator("ul.fate")).to_contain_text(f"ana in revision {guess.revision}")


def test_comparisons_show_exactly_what_differs(month: Shop, tab: Tab) -> None:
    page = tab.go("#/compare?a=3&b=70")
    found = month.run("diff", "3", "70")
    rows = rows_of(tab, "Values that differ")
    assert len(rows) == len(found["changes"])
    for change, row in zip(found["changes"], rows, strict=True):
        assert row[0].startswith(change["key"])
        assert row[1] == (shown(change["old"]) if "old" in change else "not set")
        assert row[2] == (shown(change["new"]) if "new" in change else "removed")
    tab.button("⇄ Swap").click()
    expect(page.locator("p[role=status]")).to_contain_text("revision 70 → revision 3")
    tab.settle()
    assert rows_of(tab, "Values that differ")[0][1] == rows[0][2]


def test_contexts_are_compared_as_reads_give_them(month: Shop, tab: Tab) -> None:
    tab.go("#/compare?a=%40symbol%3DBTCUSDT&b=%40")
    base, own = month.store.snapshot(), month.store.snapshot().at(**BITCOIN)
    differ = {
        key: [shown(own[key]), shown(base[key])] for key in month.store.keys("*") if own[key] != base[key]
    }
    rows = rows_of(tab, "Values that differ")
    assert len(rows) == len(differ) == 2
    for key, sides in differ.items():
        assert [row[1:3] for row in rows if row[0].startswith(key)] == [sides]


def test_the_history_lists_every_entry_newest_first(month: Shop, tab: Tab) -> None:
    page = tab.go("#/history")
    entries = list(reversed(month.store.history()))
    rows = page.locator("table.entries").evaluate(TABLE)
    assert [row[0] for row in rows] == [str(entry.revision) for entry in entries[:100]]
    for entry, row in zip(entries, rows, strict=False):
        assert row[3] == entry.author
        assert row[5] == one_line(entry.reason)
        assert all(change_text(change) in row[4] for change in entry.changes[:1])
    tab.button("Older entries").click()
    expect(page.locator("table.entries tbody tr")).to_have_count(len(entries))
    page.get_by_label("with refusals").check()
    every = month.store.history(refused=True)
    refused = sum(entry.kind == "refusal" for entry in every[-100:])
    assert refused > 0
    expect(page.locator("table.entries .chip.refused")).to_have_count(refused)
    expect(page.locator(".counts")).to_have_text("the newest 100 entries; there are older ones")
    page.get_by_label("kind").select_option("refusal")  # of the whole journal, not of what is shown
    refused = sum(entry.kind == "refusal" for entry in every)
    expect(page.locator("table.entries tbody tr")).to_have_count(refused)
    page.get_by_label("kind").select_option("")
    for name in {entry.author for entry in every}:
        page.get_by_label("author").select_option(name)
        theirs = sum(entry.author == name for entry in every)
        expect(page.locator("table.entries tbody tr")).to_have_count(min(theirs, 100))
