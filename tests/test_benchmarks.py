"""The benchmarks run, at a size that says nothing of speed; their page keeps what people wrote; drawings are stable."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from plainstore import fast_folder

from benchmarks import crowd, durable, freshness, growth
from benchmarks.figures import Seen, Series, Spread, ahead, spread_of
from benchmarks.harness import Line, Row
from benchmarks.page import laid
from benchmarks.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"


@pytest.fixture
def tiny() -> Iterator[Plan]:
    folder = fast_folder()
    yield Plan(
        folder,
        reads=1,
        commits=2,
        fresh=1,
        checks=1,
        seen=2,
        fresh_s=5.0,
        pauses=("each millisecond",),
        crowd=1,
        crowd_s=0.05,
        durable_sizes=(60, 61),
        sizes=(60, 80),
        processes=(1, 2),
    )
    shutil.rmtree(folder)


def measured(lines: Sequence[Row] | Sequence[Spread] | Sequence[Series]) -> dict[str, Row | Spread | Series]:
    """The lines with figures; one without says that something is not installed."""
    for line in lines:
        assert not line.failed, line
        assert not line.missing or line.missing.startswith("not installed: "), line
    return {line.name: line for line in lines if not line.missing}


def test_durable_commits_run_and_another_process_sees_them(tiny: Plan) -> None:
    found = measured(durable.rows(tiny))
    assert {"raw system calls", "SQLite (WAL, FULL)", "JSON by hand (fsync, rename)"} <= set(found)


def test_stale_reads_are_counted_and_paramstore_has_none(tiny: Plan) -> None:
    found = measured(freshness.rows(tiny))
    ours, polled = found["paramstore"], found["YAML: polled each 100 ms, then reload"]
    assert isinstance(ours, Spread) and isinstance(polled, Spread)
    assert (ours.count, ours.stale) == (2, 0)
    assert polled.stale > 0  # a reader each millisecond looks many times before the poll comes round


def test_growth_and_crowds_run(tiny: Plan) -> None:
    assert len(measured(growth.rows(tiny))) == len(growth.ASKED)
    crowds = crowd.rows(tiny)
    measured(crowds)
    ours = [line for line in crowds if line.name == "paramstore"]
    assert [list(line.points) for line in ours] == [[1, 2], [1, 2]]
    assert all(median > 0 for line in ours for _, median, _ in line.points.values())


def row(name: str, ratio: float, baseline: str = "a dict") -> Row:
    return Row("Other libraries: a", name, baseline=baseline, ratio=ratio, q1=ratio, q3=ratio, absolute=ratio)


def test_whoever_is_ahead_is_said_to_be() -> None:
    def names(*lines: Line) -> list[tuple[str, float]]:
        return [(line.name, line.faster) for line in ahead(lines)]

    assert names(row("paramstore: get", 2), row("slow", 3), row("fast", 1)) == [("fast", 2.0)]
    assert names(row("b", 0.5, "paramstore, a transaction"), row("c", 2, "paramstore, a transaction")) == [
        ("b", 2.0)
    ]
    rates = [
        Series("s", name, {1: (1, 1, 1), 8: (end, end, end)}, "/s")
        for name, end in (("paramstore", 4), ("d", 8))
    ]
    assert names(*rates) == [("d", 2.0)]
    times = [Series("s", name, {8: (end, end, end)}) for name, end in (("paramstore", 4), ("d", 1))]
    assert names(*times) == []


def test_percentiles_are_samples() -> None:
    seen = Seen([delay / 1000 for delay in range(101)], stale=101, early=0)
    spread = spread_of("s", "n", seen, "")
    assert (spread.p50, spread.p90, spread.p99, spread.most) == (0.05, 0.09, 0.099, 0.1)
    assert (spread.stale, spread.early, spread.count) == (1.0, 0.0, 101)


def test_a_table_is_laid_where_its_heading_stands_and_words_stay() -> None:
    page = "# Top\n\nIntro.\n\n## One\n\nWhy it is so.\n\nMade by `x`.\n\n| old |\n|---|\n| 1 |\n\n![One](plots/one.svg)\n\n## Two\n\n| kept |\n"
    made = {"One": "Made by `y`.\n\n| new |\n| --- |\n| 2 |", "Three": "| third |"}
    once = laid(page, made)
    assert once == (
        "# Top\n\nIntro.\n\n## One\n\nWhy it is so.\n\nMade by `y`.\n\n| new |\n| --- |\n| 2 |\n\n## Two\n\n| kept |\n\n"
        "## Three\n\n| third |\n"
    )
    assert laid(once, made) == once


def test_drawings_are_stable_and_have_a_dark_side(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.plots import DARK, drawn

    points = {60: (1e-7, 2e-7, 3e-7), 10_000: (1e-3, 2e-3, 3e-3)}
    lines: list[Line] = [
        row("paramstore: `get`", 2),
        Spread("Freshness", "paramstore", 0, 1e-4, 1e-3, 1e-2, count=9, ratio=1),
        Series("Growth", "read", points),
        Row("Other libraries: memory", "not drawn", ratio=1.0),
    ]
    first, second = (drawn(lines, tmp_path / name) for name in ("a", "b"))
    assert first == second == dict(zip(
        ("Other libraries: a", "Freshness", "Growth"), ("other-libraries-a.svg", "freshness.svg", "growth.svg"), strict=True
    ))  # fmt: skip
    for name in first.values():
        text = (tmp_path / "a" / name).read_text(encoding="utf-8")
        assert text == (tmp_path / "b" / name).read_text(encoding="utf-8")
        assert "prefers-color-scheme: dark" in text and "dc:date" not in text
        drawing = text.replace(text[text.index("<style>") : text.index("</style>")], "")
        colours = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawing))
        assert colours <= set(DARK), colours


def test_every_drawing_of_the_page_is_there_and_no_other() -> None:
    shown = re.findall(r"!\[[^]]*\]\(plots/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(path.name for path in (PAGE.parent / "plots").glob("*"))
