"""What the site adds to the pages in docs/: the reference, made from the code at each build, and linked source files.

MkDocs calls ``on_files`` and ``on_page_markdown`` (``hooks`` in mkdocs.yml). A page in docs/reference has a comment
such as ``<!-- commands -->`` where its generated part belongs, so that it can be read, and linked to, without a build.
"""

from __future__ import annotations

import importlib
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import click
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^(?P<mark> *```+).*?^(?P=mark)$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"^(```\w+) ([\w./-]+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
BARRED = re.compile(
    r"`[^`\n]*\\\|[^`\n]*`"
)  # code in a table: GitHub needs its bars escaped, Python-Markdown shows the escape
PLACE = re.compile(r"^<!-- (\w+)(?: ([\w.]+))? -->$", re.MULTILINE)
SHOWN = {".py": "python", ".yml": "yaml", ".yaml": "yaml", ".toml": "toml", ".json": "json"}
SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "min_length": "length ≥"}
WIDTH = 88


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each file outside docs/ that pages link to, and for what those link to."""
    waiting = [(f"docs/{file.src_uri}", file.content_string) for file in files.documentation_pages()]
    waiting.append(("docs/index.md", "](../CHANGELOG.md)"))  # in the navigation, whoever links to it
    known: set[str] = set()
    for place, text in waiting:
        for path in outside(place, text):
            if path not in known:
                known.add(path)
                content = page_of(path)
                files.append(File.generated(config, source_page(path), content=content))
                waiting.append((path, content if path.endswith(".md") else ""))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Put generated parts in, name the blocks that are files, and lead links to where things are on the site."""
    uri = page.file.src_uri
    origin = uri.removeprefix("source/") if uri.startswith("source/") else f"docs/{uri}"
    made = PLACE.sub(lambda found: MAKERS[found[1]](found[2]) if found[1] in MAKERS else found[0], markdown)
    bare = in_prose(made, lambda prose: BARRED.sub(lambda code: code[0].replace("\\|", "|"), prose))
    linked = in_prose(bare, lambda prose: LINK.sub(lambda link: led_to(link, origin, uri), prose))
    return NAMED.sub(r'\1 title="\2"', linked)


def in_prose(markdown: str, change: Callable[[str], str]) -> str:
    """Change what is not within a fenced block."""
    pieces, position = [], 0
    for fence in FENCE.finditer(markdown):
        pieces += [change(markdown[position : fence.start()]), fence[0]]
        position = fence.end()
    return "".join([*pieces, change(markdown[position:])])


def target(link: re.Match[str], origin: str) -> str:
    """Return the path in the repository that a link in ``origin`` leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), link["path"]))


def outside(origin: str, markdown: str) -> Iterator[str]:
    """Yield the files outside docs/ that a page links to."""
    for link in LINK.finditer(FENCE.sub("", markdown)):
        path = target(link, origin)
        if not path.startswith(("docs/", "..")) and (ROOT / path).is_file():
            yield path


def source_page(path: str) -> str:
    return f"source/{path}" if path.endswith(".md") else f"source/{path}.md"


def page_of(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    return f"# {path}\n\n````{SHOWN.get(Path(path).suffix, 'text')}\n{text}\n````\n"


def led_to(link: re.Match[str], origin: str, uri: str) -> str:
    """Return a link as it must be in the page ``uri``, whose text stands in ``origin`` in the repository."""
    path = target(link, origin)
    if path.startswith("docs/"):
        there = path.removeprefix("docs/")
    elif (ROOT / path).is_file():
        there = source_page(path)
    else:
        return link[0]  # leads nowhere: the strict build says so
    return f"]({posixpath.relpath(there, posixpath.dirname(uri) or '.')}{link['anchor'] or ''})"


def every_command(_: str | None) -> str:
    """Return ``--help`` of each command and subcommand, as it is printed."""
    from paramstore.cli import cli

    return "\n".join(_help("paramstore", cli, None, 2))


def _help(name: str, command: click.Command, parent: click.Context | None, level: int) -> Iterator[str]:
    word = name.rpartition(" ")[2]
    context = click.Context(
        command, info_name=word, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    )
    yield f"{'#' * level} {name}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from _help(f"{name} {below}", found, context, min(level + 1, 3))


def every_setting(_: str | None) -> str:
    """Return a table of the store's own settings: names, types, defaults, bounds, meanings."""
    from paramstore._settings import Settings

    rows = [
        "| environment | `paramstore.toml` | type | default | bounds | meaning |",
        "|---|---|---|---|---|---|",
    ]
    rows += [f"| {' | '.join(_setting(name, field))} |" for name, field in Settings.model_fields.items()]
    return "\n".join(rows)


def _setting(name: str, field: Any) -> Iterator[str]:
    from paramstore._options import PREFIX

    kind = field.annotation if get_args(field.annotation) else field.annotation.__name__
    bounds = (
        f"{sign} {getattr(rule, word)}"
        for rule in field.metadata
        for word, sign in SIGNS.items()
        if hasattr(rule, word)
    )
    yield f"`{PREFIX}{name.upper()}`"
    yield f"`{name}`"
    yield f"`{kind}`".replace(" | ", "` or `")
    yield "" if field.default in (None, ()) else f"`{field.default}`"
    yield ", ".join(bounds)
    yield str(field.description)


def names_of(module: str | None) -> str:
    """Return a directive for each public name of a module, in its own order."""
    assert module is not None
    return "\n\n".join(
        f"::: {module}.{name}" for name in importlib.import_module(module).__all__ if name != "__version__"
    )


def held(_: str | None) -> str:
    """Return a directive for each class whose objects users get, but do not make."""
    return "\n\n".join(f"::: paramstore.{place}" for place in HELD)


HELD = (
    "_bound.Bound", "_section.Section", "_reads.Snapshot", "_subscription.Subscription", "_transaction.Transaction",
    "_model.CommitResult", "_model.Change", "_model.Entry", "_model.FileChange", "_model.Violation", "_model.Spec",
    "_model.Explanation", "_model.LayerValue", "_model.Health", "_model.Problem", "_model.Freeze", "_model.Blame",
)  # fmt: skip
MAKERS: dict[str, Callable[[str | None], str]] = {
    "commands": every_command, "settings": every_setting, "names": names_of, "held": held,
}  # fmt: skip
