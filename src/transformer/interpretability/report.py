"""What a look inside found: tables of numbers, as a terminal, a picture or a program wants it.

Everything that this package measures is a grid: blocks by positions, heads by scores. So one
form serves all questions, and what is printed, drawn and written as JSON are the same numbers.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from transformer.runs.curves import check_picture, save_picture

MOST_NUMBERS = 400  # a picture with more cells has colours only
MOST_LARGE_CELLS, SMALL_CELL = 50, 0.13  # cells in a row or column, inches
POSITIVE, NEGATIVE = (124, 77, 190), (200, 90, 60)  # violet, and an orange for below zero


@dataclass(frozen=True)
class Grid:
    """Numbers with names for rows and columns."""

    title: str
    rows: list[str]
    columns: list[str]
    values: list[list[float]]
    """[row][column]; NaN where there is nothing to measure."""
    texts: list[list[str]] | None = None
    """What the cells say, if not their numbers."""
    shown: list[int] | None = None
    """The rows that are printed and drawn, in this order; None: all. JSON has all."""
    medium: Literal["both", "terminal", "picture"] = "both"
    """Where it is shown; JSON has all."""
    shade_columns: bool = False
    """Compare a value with the largest of its column, not of the grid: for other units."""
    note: str = ""
    """How to read it."""

    @property
    def visible_rows(self) -> list[int]:
        return list(range(len(self.rows))) if self.shown is None else self.shown

    def text(self, row: int, column: int) -> str:
        if self.texts is not None:
            return self.texts[row][column]
        value = self.values[row][column]
        return "-" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}"  # no -0.00

    def strengths(self) -> np.ndarray:
        """(rows, columns), -1 … 1: values in relation to the largest, how dark a cell is."""
        values = np.nan_to_num(np.array(self.values, dtype=float))
        largest = np.abs(values).max(axis=0 if self.shade_columns else None)
        return values / np.where(largest > 0, largest, 1.0)


@dataclass(frozen=True)
class Report:
    """The answer to one question about a model."""

    title: str
    lines: list[str]
    grids: list[Grid]
    model: str = ""
    """Which model was looked at: its file, its step and what it is."""

    def to_json(self) -> dict[str, Any]:
        """JSON-able; NaN becomes null."""
        grids = [
            {
                "title": grid.title,
                "rows": grid.rows,
                "columns": grid.columns,
                "values": [[v if math.isfinite(v) else None for v in row] for row in grid.values],
                **({} if grid.texts is None else {"texts": grid.texts}),
                "note": grid.note,
            }
            for grid in self.grids
        ]
        return {"title": self.title, "model": self.model, "lines": self.lines, "grids": grids}


def print_report(report: Report, console: Console) -> None:
    """Tables whose cells are shaded by their size within the table, or within their column.

    No line is wider than the console: a table that is gets no borders, and if it is still too
    wide, its columns are folded into several tables, one below the other.
    """
    console.print(Text(report.title, style="bold"))
    for line in [report.model, *report.lines] if report.model else report.lines:
        console.print(Text(line))
    for grid in report.grids:
        if grid.medium == "picture":
            continue
        console.print()
        console.print(Text(grid.title, style="italic"))
        for number, table in enumerate(_tables(grid, console.width)):
            if number:
                console.print()
            console.print(table)
        if grid.note:
            console.print(Text(grid.note, style="dim"))


def _tables(grid: Grid, width: int) -> list[Table]:
    """The grid as one table, or as many as it takes."""
    columns = list(range(len(grid.columns)))
    label = max([cell_len(grid.rows[row]) for row in grid.visible_rows], default=0)
    widths = [_needed(grid, column) for column in columns]
    if label + sum(widths) + 3 * len(columns) + 2 <= width:  # with borders
        table = Table(pad_edge=False)
        table.add_column("", min_width=label)
        return [_filled(table, grid, columns, widths)]
    label = min(label, width // 2)
    widths = [min(needed, width - label - 1) for needed in widths]
    parts = next(
        parts
        for parts in (_folded(columns, count) for count in range(1, len(columns) + 1))
        if all(label + sum(widths[c] + 1 for c in part) <= width for part in parts)
    )
    tables = []
    for part in parts:
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("", width=label)
        tables.append(_filled(table, grid, part, widths))
    return tables


def _needed(grid: Grid, column: int) -> int:
    """Cells of a terminal that a column needs, its name broken into words."""
    texts = [grid.text(row, column) for row in grid.visible_rows]
    return max(map(cell_len, [*texts, *grid.columns[column].split(), ""]))


def _folded(columns: list[int], count: int) -> list[list[int]]:
    """Columns in groups of equal size, but the last.

    >>> _folded([0, 1, 2, 3, 4], 2)
    [[0, 1, 2], [3, 4]]
    """
    size = math.ceil(len(columns) / count)
    return [columns[start : start + size] for start in range(0, len(columns), size)]


def _filled(table: Table, grid: Grid, columns: list[int], widths: list[int]) -> Table:
    justify: Literal["left", "right"] = "left" if grid.texts else "right"
    for column in columns:
        width = widths[column]
        exact = width if table.box is None else None  # between borders, names have room
        table.add_column(Text(grid.columns[column]), justify=justify, min_width=width, width=exact)
    strengths = grid.strengths()
    for row in grid.visible_rows:
        cells = [_cell(grid.text(row, column), strengths[row, column]) for column in columns]
        table.add_row(Text(grid.rows[row]), *cells)
    return table


def _cell(text: str, strength: float) -> Text:
    style = ""
    if abs(strength) > 0.15:
        colour = POSITIVE if strength > 0 else NEGATIVE
        level = 0.25 + 0.75 * abs(strength)
        red, green, blue = (round(255 - (255 - part) * level) for part in colour)
        style = f"{'white' if level > 0.6 else 'black'} on rgb({red},{green},{blue})"
    return Text(text, style=style)


def save_report(report: Report, path: Path) -> None:
    """Draw every grid as a heat map, one below the other.

    Raises:
        UserError: no picture can be written to `path`.
    """
    check_picture(path)
    drawn = [grid for grid in report.grids if grid.medium != "terminal"]
    grids = [grid for grid in drawn if grid.visible_rows] or drawn[:1]
    heights = [1.6 + _inches(len(grid.visible_rows), 0.24) for grid in grids]
    width = max(9.0, *(3 + _inches(len(grid.columns), 0.6) for grid in grids))
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(grids), squeeze=False, height_ratios=heights)[:, 0]
    figure.suptitle(_plain(report.title))
    for grid, axis in zip(grids, axes, strict=True):
        _draw(grid, axis)
    save_picture(figure, path, dpi=110)


def _inches(cells: int, size: float) -> float:
    """Of many cells each gets less, since only their colours are to be seen."""
    return cells * (size if cells <= MOST_LARGE_CELLS else SMALL_CELL)


def _draw(grid: Grid, axis: Any) -> None:
    rows, columns = grid.visible_rows, range(len(grid.columns))
    strengths = grid.strengths()[rows]
    axis.imshow(strengths, cmap="PuOr", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    axis.set_title(_plain(grid.title), loc="left", fontsize=10)
    axis.set_yticks(range(len(rows)), [_plain(grid.rows[row]) for row in rows], fontsize=7)
    labels = [_plain(column) for column in grid.columns]
    turned = {"rotation": 90} if len(labels) > 12 else {}
    axis.set_xticks(columns, labels, fontsize=7, **turned)
    if len(rows) * len(columns) > MOST_NUMBERS:
        return
    for y, row in enumerate(rows):
        for x in columns:
            colour = "white" if abs(strengths[y, x]) > 0.6 else "black"
            text = _plain(grid.text(row, x))
            axis.text(x, y, text, ha="center", va="center", fontsize=7, color=colour)


def _plain(text: str) -> str:
    """Matplotlib reads text between dollar signs as mathematics; a token is not."""
    return text.replace("$", r"\$")
