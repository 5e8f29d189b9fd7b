"""The main tables for the terminal."""

from typing import TYPE_CHECKING

from ..records import SweepResult
from .main_table import render_table
from .table import Cell, Row, Table

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table as RichTable
    from rich.text import Text


def terminal_table(result: SweepResult) -> "Group":
    """The main tables with their footnotes, to be printed by rich."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for table in render_table(result):
        parts.append(_rich(table))
        for note in table.notes:
            changed = f"; changed from the protocol: {note.changed}" if note.changed else ""
            parts.append(Text(f"{note.mark} {note.protocol}, {note.text}{changed}", style="dim"))
        parts += [Text(remark, style="dim") for remark in table.remarks]
    return Group(*parts) if parts else Group(Text("No trials."))


def _rich(table: Table) -> "RichTable":
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    alike = table.alike()
    shared = ", ".join(f"{table.columns[index].label} {text}" for index, text in alike.items())
    title = Text(f"{table.title}: {shared}" if shared else table.title)
    drawn = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(table.columns):
        if index in alike:
            continue
        label = f"{column.group}\n{column.label}" if column.group else f"\n{column.label}"
        drawn.add_column(Text(label), justify="right" if column.numeric else "left")
    for index, row in enumerate(table.rows):
        if row.baseline and not (index and table.rows[index - 1].baseline):
            drawn.add_section()
        drawn.add_row(*(_text(cell, row) for index, cell in enumerate(row.cells) if index not in alike))
    return drawn


def _text(cell: Cell, row: Row) -> "Text":
    """As `Text`, so that brackets in a method's name are no markup to rich."""
    from rich.text import Text

    style = "bold" if cell.best else "dim" if row.baseline else ""
    return Text(cell.text, style=style)
