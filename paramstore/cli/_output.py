"""How things look: tables and colour for a person at a terminal, plain aligned text for everything else."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

from paramstore._model import ABSENT, Change
from paramstore._values import same, thaw

if TYPE_CHECKING:
    from rich.console import Console

PATIENCE_S = 1.0  # anything that takes longer shows that it is alive
PLAIN_SIGNS = str.maketrans({"→": "->", "…": "...", "≥": ">=", "≤": "<="})


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its cells, and a rich style for all of them."""

    cells: tuple[str, ...]
    style: str = ""


# --- where it goes ------------------------------------------------------------------------------


def at_terminal() -> bool:
    """Tell whether a person looks on. FORCE_COLOR says so for a pipe that leads to one."""
    return bool(os.environ.get("FORCE_COLOR")) or (sys.stdout is not None and sys.stdout.isatty())


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit by itself, with another status

    return Screen(stderr=stderr, highlight=False, markup=False, emoji=False)


def legible(text: str, stream: IO[str] | None = None) -> str:
    """Return ``text`` as the stream can show it: control characters escaped, so that a reason somebody
    wrote can neither break the line nor steer the terminal, and plain signs where Unicode cannot go."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(PLAIN_SIGNS).encode(encoding, "replace").decode(encoding)
    return text


def can_draw() -> bool:
    """Tell whether the output's encoding has box-drawing characters."""
    return legible("─") == "─"


def put(text: str, stream: IO[str] | None = None) -> None:
    """Write text as it is, and a line break. click's ``echo`` would write UTF-8 where ASCII was asked for."""
    stream = stream or sys.stdout
    if stream is not None:  # as when the caller has closed it
        stream.write(f"{text}\n")


def say(line: str = "", style: str = "") -> None:
    """Print one line."""
    if style and at_terminal():
        from rich.text import Text

        console().print(Text(legible(line), style), soft_wrap=True)
    else:
        put(legible(line))


def count_of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def complain(message: str) -> None:
    """Print an error to stderr; its further lines stay lines."""
    lines = [legible(line, sys.stderr) for line in message.split("\n")]
    put("error: " + "\n".join(lines), sys.stderr)


def print_json(data: Any) -> None:
    """Print ``data`` as JSON, in ASCII, which no encoding can spoil."""
    put(json.dumps(data, indent=2, allow_nan=False))


def table(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Print a table. A column whose name begins with ``>`` is aligned to the right, one with ``~`` is the
    first to be broken into lines where the terminal is narrow."""
    shown = [Row(tuple(map(legible, row.cells)), row.style) for row in rows]
    if at_terminal():
        _rich_table(columns, shown)
    else:
        _plain_table(columns, shown)


def _rich_table(columns: Sequence[str], rows: Sequence[Row]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    view = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in columns:
        view.add_column(
            name.lstrip(">~"),
            justify="right" if name.startswith(">") else "left",
            no_wrap=not name.startswith("~"),
            overflow="fold" if name.startswith("~") else "ellipsis",  # a value is never cut off unseen
        )
    for row in rows:
        view.add_row(*(Text(cell, row.style) for cell in row.cells))
    console().print(view)


def _plain_table(columns: Sequence[str], rows: Sequence[Row]) -> None:
    lines = [tuple(name.lstrip(">~") for name in columns), *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        padded = [
            cell.rjust(width) if name.startswith(">") else cell.ljust(width)
            for name, cell, width in zip(columns, cells, widths, strict=True)
        ]
        put("  ".join(padded).rstrip())


@contextmanager
def patience(what: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """Show a progress bar on stderr once the block has taken a second; the block calls what it is given
    after each of ``total`` parts. At a terminal only."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import Progress

    progress = Progress(console=console(stderr=True), transient=True)
    task = progress.add_task(what, total=total)
    timer = threading.Timer(PATIENCE_S, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda: progress.advance(task)
    finally:
        timer.cancel()
        timer.join()
        progress.stop()


# --- words --------------------------------------------------------------------------------------


def value_text(value: Any) -> str:
    """Write a value the way ``get`` prints it: numbers exact, strings bare, structures as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    return json.dumps(thaw(value), ensure_ascii=False)


def at_text(context: Mapping[str, Any]) -> str:
    return "@" + ", ".join(f"{name}={value_text(value)}" for name, value in context.items())


def place_text(key: str, context: Mapping[str, Any]) -> str:
    return f"{key} {at_text(context)}" if context else key


def change_text(change: Change) -> str:
    """Write a change without its key: ``0.16 → 0.17``."""
    if same(change.old, change.new):
        return "stays as it is" if change.new is ABSENT else f"stays {value_text(change.new)}"
    if change.old is ABSENT:
        return f"set to {value_text(change.new)}"
    new = "removed" if change.new is ABSENT else value_text(change.new)
    return f"{value_text(change.old)} → {new}"


def parse_time(iso: str) -> datetime:
    return datetime.fromisoformat(iso)


def time_text(iso: str) -> str:
    """Write a journal time to the second, in a form that ``diff`` and ``rollback`` take back."""
    return f"{parse_time(iso).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def ago(iso: str, now: datetime | None = None) -> str:
    """Write how long ago a time was, as people say it."""
    seconds = ((now or datetime.now(UTC)) - parse_time(iso)).total_seconds()
    if seconds < 60:
        return "just now" if seconds < 5 else f"{seconds:.0f} s ago"
    for size, unit in ((60, "min"), (3600, "h"), (86400, "d")):
        if seconds < size * {"min": 60, "h": 24, "d": 30}[unit]:
            return f"{int(seconds // size)} {unit} ago"
    return time_text(iso)[:10]
