"""A comparison as Markdown, for a comment on a pull request.

Reasons, authors, and text values are what somebody wrote. Each stands inside ``<code>``, where GitHub and GitLab look for
neither mentions nor references, and every character that Markdown or HTML could take for its own is written as a
number, the pipe too: so no text can end the element, the cell or the line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from paramstore._exact import one_line
from paramstore.cli._diff import (
    COLUMNS,
    cells,
    entries_of,
    namespaces_said,
    number_text,
    rule_cells,
    singles,
    used_columns,
)
from paramstore.cli._output import Row, time_text

if TYPE_CHECKING:
    from paramstore._compare import Comparison

NONE = "No parameter changes."
MOST_CHARACTERS = 60_000  # GitHub takes 65,536
LONGEST_TEXT = 300
INVISIBLE = "\u200b"  # after `@`: what a renderer that decodes first would take for a mention is none
# What stays as it is: letters, digits and what means nothing inside a line. `_` only within a word, `.` not after `www`,
# `:` only before a digit or a space.
_SAFE = re.compile(r"[^\W_]|[ ,;%+=/()…→≥≤-]|(?<=[^\W_])_(?=[^\W_])|(?<![wW])\.|:(?=[\d ])")


def code(text: str) -> str:
    """Return ``text`` as one that is shown exactly, and can do nothing."""
    text = one_line(text)
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    if not text.strip():
        return ""
    return f"<code>{''.join(_shown(text, index) for index in range(len(text)))}</code>"


def _shown(text: str, index: int) -> str:
    if _SAFE.match(text, index):
        return text[index]
    return f"&#{ord(text[index])};" + (INVISIBLE if text[index] == "@" else "")


def document(found: Comparison) -> str:
    """Return the whole comment: a heading, what came and went, values, entries, rules."""
    if found.empty:
        return NONE
    parts = [f"**Parameters:** {code(found.a)} → {code(found.b)}"]
    parts += [f"- {code(line)}" for line in namespaces_said(found)]
    room = MOST_CHARACTERS - sum(map(len, parts))
    single = singles(found)
    entries = entries_of(single)
    tables = [
        (("rules", "rule", "old", "new", "now"), [Row(rule_cells(rule)) for rule in found.rules]),
        (COLUMNS, [Row(cells(each)) for each in single]),
        (
            ("revision", "time", "author", "reason"),
            [Row((number_text(e), time_text(e.time), e.author, e.reason)) for e in entries],
        ),
    ]
    shown = []
    for names, rows in tables:
        if rows:
            shown.append(_table(*used_columns(names, rows), room))
            room -= len(shown[-1])
    # A loosened bound must not be what is cut off, so rules were written first; they are read last.
    rules = shown.pop(0) if found.rules else None
    return "\n\n".join(["\n".join(parts), *shown, *([rules] if rules else [])])


def _table(names: Sequence[str], rows: Sequence[Row], room: int) -> str:
    """Return a table of at most ``room`` characters; what has no place is counted."""
    lines = [f"| {' | '.join(name.lstrip('>~') for name in names)} |", f"|{' --- |' * len(names)}"]
    used = sum(map(len, lines))
    for number, row in enumerate(rows):
        line = f"| {' | '.join(map(code, row.cells))} |"
        used += len(line) + 1
        if used > room:
            return "\n".join([*lines, "", f"and {len(rows) - number} more; `paramstore diff` shows all"])
        lines.append(line)
    return "\n".join(lines)
