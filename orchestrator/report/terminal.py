"""The main tables for the terminal, with as many columns as its width has room for."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..store.records import SweepResult
from .main_table import render_table
from .remarks import BEST_EPOCH, PUBLISHED_REMARK
from .table import Cell, Column, Row, Table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderableType
    from rich.table import Table as RichTable
    from rich.text import Text

EXPENDABLE = ("top-5", "best epoch", "hardware", "peak memory")
"""Left out one after another until a table fits; a published figure goes with the column it compares with."""
MOST_ROWS = 100
"""Rows that are printed of a table; the report has them all."""
PIPE_WIDTH = 160
"""Of what is no terminal: a file or a pipe."""


def terminal_console() -> "Console":
    """Where to print a table: as wide as the terminal, or wide enough where there is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH)


def terminal_table(result: SweepResult) -> "Group":
    """The main tables with their footnotes, to be printed by rich."""
    from rich.console import Group
    from rich.text import Text

    tables = render_table(result)
    nothing = "Nothing to train: no search has found a point." if result.undecided else "No trials."
    return Group(*map(_Fitted, tables)) if tables else Group(Text(nothing))


class _Fitted:
    """A table that no terminal cuts: it drops columns, and says which, or breaks words where nothing else helps."""

    def __init__(self, table: Table):
        self.table = table

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        from rich.text import Text

        indices, dropped = self._fitting(console, options)
        alike = self.table.alike()
        shared = ", ".join(f"{self.table.columns[index].label} {text}" for index, text in alike.items())
        yield Text(f"{self.table.title}: {shared}" if shared else self.table.title, style="bold")
        yield _rich(self.table, indices, whole=_width(console, options, self.table, indices) <= options.max_width)
        if len(self.table.rows) > MOST_ROWS:
            yield Text(f"… and {len(self.table.rows) - MOST_ROWS:,} more rows in the report.", style="dim")
        for note in self.table.notes:
            yield Text(f"{note.mark} {note.protocol}{f' with {note.changed}' if note.changed else ''}", style="dim")
        labels = [self.table.columns[index].label for index in indices]
        published = any(self.table.columns[index].beside for index in indices)
        for remark in self.table.remarks:
            of_best_epoch = remark.startswith("* ") and BEST_EPOCH not in labels
            of_published = remark == PUBLISHED_REMARK and not published
            if not (of_best_epoch or of_published):
                yield Text(remark, style="dim")
        if dropped:
            yield Text(f"Hidden for lack of space; see the report: {', '.join(dropped)}.", style="dim")

    def _fitting(self, console: "Console", options: "ConsoleOptions") -> tuple[list[int], list[str]]:
        """Indices of the columns to show, and what is left out."""
        expendable = (*_secondary(self.table), *EXPENDABLE)
        for count in range(len(expendable)):
            indices, dropped = _columns(self.table, expendable[:count])
            if _width(console, options, self.table, indices) <= options.max_width:
                return indices, dropped
        return _columns(self.table, expendable)


def _secondary(table: Table) -> list[str]:
    """Labels of the metrics that no group of columns begins with, but for those that `EXPENDABLE` has in its own order."""
    labels: dict[str, None] = {}
    main: set[str] = set()
    for column, before in zip(table.columns, (None, *table.columns), strict=False):
        if column.group and before is not None and before.group == column.group:
            labels[_measure(column)] = None
        elif column.group:
            main.add(_measure(column))
    return [label for label in labels if label not in main and label not in EXPENDABLE]


def _measure(column: Column) -> str:
    return column.beside or column.label.removesuffix("*")


def _width(console: "Console", options: "ConsoleOptions", table: Table, indices: list[int]) -> int:
    from rich.measure import Measurement

    return Measurement.get(console, options.update(max_width=10_000), _rich(table, indices, whole=True)).maximum


def _columns(table: Table, expendable: tuple[str, ...]) -> tuple[list[int], list[str]]:
    """Indices of the columns to show, and what is left out."""
    alike = table.alike()
    kept: list[int] = []
    dropped: dict[str, None] = {}
    for index, column in enumerate(table.columns):
        measure = _measure(column)
        if measure in expendable:
            dropped[measure] = None
        elif index not in alike:
            kept.append(index)
    return kept, list(dropped)


def _rich(table: Table, indices: list[int], whole: bool) -> "RichTable":
    """Headers go in lines of their own words; `whole`: cells are never broken."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    headers = [_header(table.columns[index].group, table.columns[index].label) for index in indices]
    height = max(map(len, headers))
    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, lines in zip(indices, headers, strict=True):
        label = Text("\n".join([""] * (height - len(lines)) + lines))
        justify = "right" if table.columns[index].numeric else "left"
        drawn.add_column(label, justify=justify, no_wrap=whole, overflow="fold")
    for number, row in enumerate(table.rows[:MOST_ROWS]):
        if row.baseline and not (number and table.rows[number - 1].baseline):
            drawn.add_section()
        drawn.add_row(*(_text(row.cells[index], row) for index in indices))
    return drawn


def _header(group: str, label: str) -> list[str]:
    """Group, its settings where it has any, and the label's words."""
    return [line for line in [*group.split(", "), *label.split(" ")] if line]


def _text(cell: Cell, row: Row) -> "Text":
    """As `Text`, so that brackets in a method's name are no markup to rich."""
    from rich.text import Text

    style = "bold" if cell.best else "dim" if row.baseline else ""
    return Text(cell.text, style=style)
