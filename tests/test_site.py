"""The site: built strictly, asks no other host for anything, leaves out no name, option or setting; its guides hold."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
from filelock import FileLock
from guide import BLOCK, ROOT, Reader, agree, hold, lines, steps

from paramstore._options import PREFIX, Options
from paramstore._settings import Settings
from paramstore.cli import cli

DOCS = ROOT / "docs"
GUIDES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
MODULES = (
    "paramstore",
    "paramstore.errors",
    "paramstore.testing",
    "paramstore.authoring",
    "paramstore.optuna",
)
FIXTURES = ("params_override", "params_store")
# Besides those that tests/test_house.py knows: what parts of the store call of one another, and the site leaves out.
BETWEEN = {
    "after_fork",
    "begin",
    "end",
    "ledger",
    "look",
    "prepare",
    "record",
    "record_refusal",
    "reopen",
    "state",
}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site once, whichever process of pytest comes first."""
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "site"
    with FileLock(f"{folder}.lock"):
        if not folder.with_suffix(".built").exists():
            environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
            command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
            done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            folder.with_suffix(".built").touch()
    return folder


class Shown(HTMLParser):
    """What a page shows, without its markup."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data


def text_of(page: Path) -> str:
    parser = Shown()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.text


class Asked(HTMLParser):
    """What a page makes the browser ask for by itself: all but what a person has to click."""

    LOADING = ("src", "href", "srcset", "data", "poster", "background", "action")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.policy = ""
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag != "a":
            self.found += [given[name] for name in self.LOADING if name in given]
        self.found += re.findall(r"url\(([^)]*)\)", given.get("style", ""))


def asked(page: Path) -> Asked:
    parser = Asked()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        seen = asked(page)
        assert seen.found, page
        for address in seen.found:
            assert not urlsplit(address.strip("'\"")).netloc, f"{page.name} loads {address}"
        assert seen.policy == "default-src 'self' 'unsafe-inline' data: blob:", page.name
    for style in site.rglob("*.css"):
        for address in re.findall(
            r"(?:url\(|@import\s)\s*['\"]?([^'\")\s]+)", style.read_text(encoding="utf-8")
        ):
            assert address.startswith("data:") or not urlsplit(address).netloc, (
                f"{style.name} loads {address}"
            )


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for word, below in command.commands.items():
            yield from commands(f"{name} {word}", below)


def test_every_command_and_option_is_on_the_site(site: Path) -> None:
    sections = text_of(site / "reference" / "command-line.html").split("Usage: ")
    brief = (DOCS / "commands.md").read_text(encoding="utf-8")
    known = 0
    for name, command in commands("paramstore", cli):
        (section,) = [text for text in sections if re.match(rf"{name} (\[OPTIONS\]|[A-Z\[])", text)][:1] or [
            ""
        ]
        assert section, f"{name} is not in the reference"
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                for word in (*option.opts, *option.secondary_opts):
                    assert re.search(rf"(?<![\w-]){re.escape(word)}\b", section), f"{name} {word}"
                    known += 1
        if name != "paramstore" and not isinstance(command, click.Group):
            assert f"`{name}" in brief, f"{name} is not in docs/commands.md"
    assert known > 100


def test_every_setting_is_on_the_site_and_among_the_commands(site: Path) -> None:
    shown = text_of(site / "reference" / "settings.html")
    brief = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert set(Options.__slots__) | {"root"} == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert PREFIX + name.upper() in shown, name
        assert PREFIX + name.upper() in brief, name
        assert str(field.description) in shown, name


def test_every_public_name_is_on_the_site(site: Path) -> None:
    ids = {found for page in (site / "reference").glob("*.html") for found in asked(page).ids}
    for module in map(importlib.import_module, MODULES):
        for name in set(module.__all__) - {"__version__"}:
            assert f"{module.__name__}.{name}" in ids, f"{module.__name__}.{name}"
    for fixture in FIXTURES:
        assert f"paramstore.pytest_plugin.{fixture}" in ids


def test_everything_that_users_hold_is_on_the_site_with_its_methods(site: Path) -> None:
    from test_house import CLASSES, INWARD

    ids = {found for page in (site / "reference").glob("*.html") for found in asked(page).ids}
    for cls in CLASSES:
        name = f"{cls.__module__}.{cls.__name__}"
        assert name in ids or f"paramstore.{cls.__name__}" in ids, name
        for attribute, value in vars(cls).items():
            described = inspect.isfunction(value) or isinstance(value, property)
            if (
                described
                and not attribute.startswith("_")
                and attribute not in {*INWARD, *BETWEEN, *dir(dict)}
            ):
                assert {f"{name}.{attribute}", f"paramstore.{cls.__name__}.{attribute}"} & ids, (
                    f"{name}.{attribute}"
                )


def test_the_plugins_options_and_markers_are_documented(site: Path, tmp_path: Path) -> None:
    offered = ""
    for question in ("--help", "--markers", "--fixtures"):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", question]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        offered += done.stdout
    names = set(
        re.findall(r"--paramstore-[a-z]+|\bparamstore_[a-z]+(?= \(bool)|(?<=mark\.)params_[a-z]+", offered)
    )
    fixtures = set(re.findall(r"^params_[a-z]+", offered, re.MULTILINE))
    assert len(names) >= 6 and len(fixtures) >= 2
    shown = text_of(site / "testing.html")
    for name in names | fixtures:
        assert name in shown, name
    assert fixtures == set(FIXTURES)


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_a_newcomer_gets_through_a_guide(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bot"
    folder.mkdir()
    assert hold(path, folder) >= 1


def test_every_guide_is_in_the_list_of_guides() -> None:
    index = (DOCS / "how-to" / "index.md").read_text(encoding="utf-8")
    for path in GUIDES[1:]:
        assert path.name == "index.md" or f"]({path.name})" in index, path.name


def test_a_guide_that_shows_something_else_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "bot"
    folder.mkdir()
    page = "```text note.txt\none\n```\n\n```console\n$ cat note.txt\ntwo\n$ echo a; echo b; echo c\na\n…\nc\n```\n"
    (first, said), (second, more) = Reader(folder).follow(page)
    assert not agree(lines(first.shown), lines(said))
    assert agree(lines(second.shown), lines(more))
    assert not agree(["a", "…", "d"], lines(more))
    assert not agree([], ["a"])
    assert lines("6806759150 at 2026-03-01T07:30:00Z") == lines("21eafff3ff at 2026-01-31T12:00:00Z")
    assert lines("0.2603000001") != lines("0.2603000002")


def words(page: str) -> set[str]:
    return {word for word in re.findall(r"(?<![\w*])\*([^*\n]+)\*(?!\*)", page) if word}


def test_every_word_has_its_sentence_in_the_glossary() -> None:
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    explained = re.findall(r"^- \*([^*]+)\*: .+[.]$", glossary, re.MULTILINE)
    assert len(explained) == len(set(explained)) == len(re.findall(r"^- ", glossary, re.MULTILINE))
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Words")[2].partition("\n## ")[0]
    assert len(words(readme)) >= 12
    assert words(readme) <= set(explained)


def test_every_word_of_the_glossary_is_used() -> None:
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    pages = [path for path in DOCS.rglob("*.md") if path.name != "glossary.md"]
    used = " ".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *pages]).lower()
    for word in words(glossary):
        assert re.search(rf"\b{re.escape(word.lower())}", " ".join(used.split())), word


def test_the_proofs_that_are_named_exist() -> None:
    for path in (DOCS / "explanation").glob("*.md"):
        page = path.read_text(encoding="utf-8")
        for name in re.findall(r"`(test_\w+)`", page):
            assert any(f"def {name}(" in test.read_text() for test in (ROOT / "tests").rglob("test_*.py")), (
                name
            )
        for link in re.findall(r"\]\((\.\./\.\./[^)#]+)\)", page):
            assert (path.parent / link).exists(), link


def test_commands_of_guides_are_found() -> None:
    (block,) = BLOCK.finditer("```console\n$ one \\\n  two\nout\n$ three\n```\n")
    assert [(step.command, step.shown) for step in steps(block)] == [
        ("one \\\n  two", "out\n"),
        ("three", ""),
    ]
