"""The benchmark of the page runs, at a size that says nothing of speed: every answer comes, and no client misses a commit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from plainstore import fast_folder

from benchmarks import web_page
from benchmarks.web_page import ASKED, Plan

TINY = Plan(journals=(120, 240), parameters=70, repetitions=1, clients=12, seconds=0.5, pause_s=0.01)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = fast_folder()
    yield made
    shutil.rmtree(made)


def test_every_answer_is_measured_for_each_length(folder: Path) -> None:
    lines = web_page.answers(folder, TINY)
    assert {line.columns for line in lines} == {("entries in the journal", "120", "240")}
    names = {line.figures[0] for line in lines}
    for words in ASKED.values():
        assert {words, f"{words}, right after a commit", f"size of that answer: {words}"} <= names
    assert all(len(line.figures) == 3 and all(line.figures) for line in lines)


def test_no_client_misses_a_commit(folder: Path) -> None:
    heard = web_page.followed(web_page.store_of(folder, TINY, 120), TINY)
    assert (heard.clients, heard.missed, heard.twice, heard.reloads) == (12, 0, 0, 0)
    assert heard.commits >= 30 and len(heard.delays) == 12 * heard.commits
