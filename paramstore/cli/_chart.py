"""A step line of one value over time, drawn in characters. Pure: points in, lines out."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]  # seconds, value

BOX = {"flat": "─", "rise": "│", "┐": "┐", "┘": "┘", "┌": "┌", "└": "└", "other": "┼"}
ASCII = {"flat": "-", "rise": "|", "┐": "+", "┘": "+", "┌": "+", "└": "+", "other": "+"}


def step_chart(points: Sequence[Point], end: float, width: int, height: int, box: bool) -> list[str]:
    """Return the lines of a chart of ``width`` by ``height`` characters, highest values first.

    Each point holds until the next, the last until ``end``. Whatever happened within one column is drawn
    as one vertical line over all values there, so that no extreme is lost.
    """
    signs = BOX if box else ASCII
    low, high = min(value for _, value in points), max(value for _, value in points)
    if low == high:
        return [signs["flat"] * width]
    grid = [[" "] * width for _ in range(height)]
    row = _row(points[0][1], low, high, height)
    for column, values in enumerate(_columns(points, end, width)):
        rows = [_row(value, low, high, height) for value in values]
        _draw(grid, column, row, rows, signs)
        row = rows[-1] if rows else row
    return ["".join(line).rstrip() for line in grid]


def _row(value: float, low: float, high: float, height: int) -> int:
    return round((high - value) / (high - low) * (height - 1))


def _columns(points: Sequence[Point], end: float, width: int) -> list[list[float]]:
    """Return the values that begin in each column of equal time."""
    start = points[0][0]
    span = max(end - start, 1e-6)
    columns: list[list[float]] = [[] for _ in range(width)]
    for moment, value in points:
        place = int((moment - start) / span * width)
        columns[min(max(place, 0), width - 1)].append(value)
    return columns


def _draw(grid: list[list[str]], column: int, before: int, rows: list[int], signs: dict[str, str]) -> None:
    top, bottom = min([before, *rows]), max([before, *rows])
    if top == bottom:
        grid[before][column] = signs["flat"]
        return
    for row in range(top, bottom + 1):
        grid[row][column] = signs["rise"]
    after = rows[-1]
    if after == before:
        grid[before][column] = signs["other"]
        return
    grid[before][column] = signs[{top: "┐", bottom: "┘"}.get(before, "other")]
    grid[after][column] = signs[{top: "┌", bottom: "└"}.get(after, "other")]
