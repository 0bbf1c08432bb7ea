"""The page of figures: tables are laid where their headings stand, and words that people wrote stay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness import Line, by_section, table

PLOTS = "plots"  # beside the page
MADE = "Made by `"
_GENERATED = ("| ", "|-", "![", MADE)


def publish(page: Path, lines: Sequence[Line], made: Mapping[str, str]) -> None:
    """Lay every table into ``page``, below how it was ``made``, and its drawing beside it. What failed as a whole is left
    as it was."""
    from benchmarks.plots import drawn  # matplotlib is wanted here only

    pictures = drawn(lines, page.parent / PLOTS)
    sections = {}
    for section, those in by_section(lines).items():
        if not all(line.failed for line in those):
            picture = f"![{section}]({PLOTS}/{pictures[section]})" if section in pictures else ""
            sections[section] = "\n\n".join([made[section], table(those), picture])
    page.write_text(laid(page.read_text(encoding="utf-8"), sections), encoding="utf-8")


def laid(page: str, sections: Mapping[str, str]) -> str:
    """Return ``page`` with what was made for each section in place of what was made before; a heading that the page
    does not have comes at its end."""
    head, *parts = re.split(r"^(?=## )", page.rstrip("\n") + "\n\n", flags=re.MULTILINE)
    places = {part.partition("\n")[0].removeprefix("## "): place for place, part in enumerate(parts)}
    for section, made in sections.items():
        if section not in places:
            places[section] = len(parts)
            parts.append(f"## {section}\n")
        place = places[section]
        parts[place] = f"{_words(parts[place])}\n\n{made.strip()}\n\n"
    return head + "".join(parts).rstrip("\n") + "\n"


def _words(part: str) -> str:
    """What stands in a section and was written by people, its heading first."""
    lines = [line for line in part.splitlines() if not line.startswith(_GENERATED)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
