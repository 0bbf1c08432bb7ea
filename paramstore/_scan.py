"""Every line of a journal in one pass that verifies each checksum, and parses only what has to be."""

from __future__ import annotations

from paramstore import _records
from paramstore._journal import START, Journal
from paramstore._outline import Line, Outline


def scan(journal: Journal) -> list[Line]:
    """Return the lines that stand, oldest first: those whose records ``Journal.read`` returns.

    Raises ``JournalError`` for damage, as that does.
    """
    outline = Outline()
    for segment in journal.segments():
        with open(journal.file(segment), "rb") as stream:
            lines = stream.read().splitlines(keepends=True)
        for number, raw in enumerate(lines):
            if outline.take(raw):
                continue
            if number == len(lines) - 1 and not (raw.endswith(b"\n") and _records.is_sound(raw)):
                break  # being written, or torn by a crash
            return [Line.of(record) for record in journal.read(START)[0]]  # it says what is wrong, and where
    return outline.standing()
