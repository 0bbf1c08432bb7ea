"""Time, compare and print. Knows nothing of what it measures.

Shared machines drift by tens of per cent within a minute, so a figure here is never an absolute
time: every repetition measures the baseline and each case in turn, and a row is the median of the
ratios of single repetitions.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

UNROLLED = 10  # statements per turn of timeit's loop, whose own cost counts on both sides
SLOW_S = 0.0001  # a statement this slow is not unrolled: the loop costs nothing beside it
SHORTEST_S = 0.002  # one measurement lasts at least this long, to drown the clock's own cost


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure. ``measure()`` returns seconds per operation; ``target`` is a ratio."""

    name: str
    measure: Callable[[], float]
    target: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``absolute`` is the median, in ``unit`` (``s`` or ``B``).

    ``missing`` says why there is no figure. ``failed`` marks a row that should have run.
    """

    section: str
    name: str
    baseline: str = ""
    baseline_absolute: float | None = None
    ratio: float | None = None
    q1: float | None = None
    q3: float | None = None
    absolute: float | None = None
    unit: str = "s"
    target: float | None = None
    note: str = ""
    missing: str = ""
    failed: bool = False

    def head(self) -> tuple[str, ...]:
        return (
            "what",
            "baseline in the same run",
            "ratio (median)",
            "middle half",
            "median",
            "target",
            "verdict",
        )

    @property
    def figure(self) -> float | None:
        """What the row is ranked by; less is better."""
        return self.ratio

    def cells(self) -> tuple[str, ...]:
        name = f"{self.name} ({self.note})" if self.note else self.name
        base = self.baseline
        if self.baseline_absolute is not None:
            base += f" ({quantity(self.baseline_absolute, self.unit)})"
        half = "" if self.q1 is None or self.q3 is None else f"{times(self.q1)} to {times(self.q3)}"
        amount = quantity(self.absolute, self.unit)
        return name, base, times(self.ratio), half, amount, times(self.target), self.verdict

    @property
    def verdict(self) -> str:
        if self.missing:
            return self.missing
        if self.target is None or self.ratio is None:
            return "published"
        return "met" if self.ratio <= self.target else "not reached"


def failed_row(section: str, name: str, error: Exception, target: float | None = None) -> Row:
    """A row for something that should have run and did not."""
    reason = f"{type(error).__name__}: {error}".strip().splitlines()
    return Row(section, name, target=target, missing=f"failed: {reason[0][:160]}", failed=True)


def compare(section: str, baseline: Case, cases: Sequence[Case], repetitions: int) -> list[Row]:
    """Measure the baseline and every case in turn, ``repetitions`` times; one row per case."""
    if not cases:
        return []
    base, *own = in_turn([baseline, *cases], repetitions)
    return [_row(section, baseline, case, base, figures) for case, figures in zip(cases, own, strict=True)]


def in_turn(cases: Sequence[Case], repetitions: int) -> list[list[float]]:
    """Measure every case ``repetitions`` times, one after another; what each took, case by case."""
    found: list[list[float]] = [[] for _ in cases]
    for turn in range(repetitions):
        for place in range(len(cases)):
            index = (place + turn) % len(cases)  # nobody always runs just after the same neighbour
            found[index].append(cases[index].measure())
    return found


def _row(section: str, baseline: Case, case: Case, base: list[float], own: list[float]) -> Row:
    ratios = [mine / reference for mine, reference in zip(own, base, strict=True)]
    q1, q3 = middle_half(ratios)
    return Row(
        section,
        case.name,
        baseline=baseline.name,
        baseline_absolute=statistics.median(base),
        ratio=statistics.median(ratios),
        q1=q1,
        q3=q3,
        absolute=statistics.median(own),
        target=case.target,
        note=case.note,
    )


def middle_half(figures: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile."""
    if len(figures) < 2:
        return figures[0], figures[0]
    quarters = statistics.quantiles(figures, n=4, method="inclusive")
    return quarters[0], quarters[-1]


def statement(source: str, namespace: dict[str, Any]) -> Callable[[], float]:
    """A measurement of one Python statement, seen as module code sees it (names are globals)."""
    alone = timeit.Timer(source, globals=namespace)
    alone.timeit(1)  # what only the first run does
    copies = 1 if alone.timeit(1) > SLOW_S else UNROLLED
    timer = timeit.Timer("\n".join([source] * copies), globals=namespace)
    loops = _loops(timer)
    return lambda: timer.timeit(loops) / (loops * copies)


def _loops(timer: timeit.Timer) -> int:
    loops = 1  # counting up also warms: the interpreter specialises code after a few runs
    while timer.timeit(loops) < SHORTEST_S:
        loops *= 2
    return loops


def once(action: Callable[[], object], before: Callable[[], object] | None = None) -> Callable[[], float]:
    """A measurement of one call of ``action``; ``before`` runs each time, outside the clock."""

    def measure() -> float:
        if before is not None:
            before()
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    return measure


def process(
    code: str, environ: Mapping[str, str], before: Callable[[], object] | None = None
) -> Callable[[], float]:
    """A measurement of one whole ``python -c code``, from before the fork to after the exit.

    Runs once at once, so that bytecode caches exist and a failure shows before the measuring.
    """
    run_python(code, environ)
    command = [sys.executable, "-c", code]
    return once(lambda: subprocess.run(command, env=environ, check=True, close_fds=False), before)


def run_python(code: str, environ: Mapping[str, str]) -> str:
    """What ``python -c code`` printed. Raises RuntimeError with its last line of error."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
    if done.returncode:
        complaint = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise RuntimeError(complaint[-1])
    return done.stdout


class Line(Protocol):
    """One line of a table, of whatever shape: ``Row`` here, others in ``figures``."""

    @property
    def section(self) -> str: ...
    @property
    def failed(self) -> bool: ...
    def head(self) -> tuple[str, ...]: ...
    def cells(self) -> tuple[str, ...]: ...


L = TypeVar("L", bound=Line)


def markdown(lines: Iterable[Line], about: Mapping[str, str]) -> str:
    """Everything as Markdown, one table per section, below what it was measured on."""
    found = ["# Benchmarks", "", *(f"- {name}: {text}" for name, text in about.items())]
    for section, those in by_section(lines).items():
        found += ["", f"## {section}", "", table(those)]
    return "\n".join(found) + "\n"


def by_section(lines: Iterable[L]) -> dict[str, list[L]]:
    found: dict[str, list[L]] = {}
    for line in lines:
        found.setdefault(line.section, []).append(line)
    return found


def table(lines: Sequence[Line]) -> str:
    rows = [[cell.replace("|", "\\|") for cell in line.cells()] for line in lines]
    head = lines[0].head()
    rows = [row + [""] * (len(head) - len(row)) for row in rows]
    ruler = ["---:" if _numeric([row[place] for row in rows]) else "---" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ruler, *rows))


def _numeric(cells: Sequence[str]) -> bool:
    """Whether a column holds figures, which stand on the right: some, and nothing else."""
    return any(cells) and all(cell[:1].isdigit() for cell in cells if cell)


def times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    figure = f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
    return figure + "\N{MULTIPLICATION SIGN}"


def quantity(amount: float | None, unit: str) -> str:
    """An amount for people: ``43 ns``, ``1.2 ms``, ``310 B``."""
    if amount is None:
        return ""
    if unit == "B":
        return f"{amount:,.0f} B"
    for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if amount >= scale:
            return f"{amount / scale:.3g} {name}"
    return f"{amount / 1e-9:.3g} ns"


def plain(lines: Iterable[Any], about: Mapping[str, str]) -> dict[str, Any]:
    """All rows as plain data for ``--json``; times in seconds, memory in bytes."""
    return {"about": dict(about), "rows": [asdict(line) | _judged(line) for line in lines]}


def _judged(line: Any) -> dict[str, str]:
    return {"verdict": line.verdict} if isinstance(line, Row) else {}
