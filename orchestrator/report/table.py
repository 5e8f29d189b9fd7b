"""The data model of a table: what the Markdown, the HTML and the terminal show alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NONE = "–"
"""Stands where there is no value."""


@dataclass(frozen=True)
class Column:
    label: str
    group: str = ""
    """Printed above neighbouring columns that share it; carries the number of the footnote."""
    numeric: bool = False
    beside: str = ""
    """Label of the column that this one has published figures for; empty if its own numbers are ours."""


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool = False
    href: str | None = None
    code: bool = False
    """A path, an id or a setting: set in a fixed-width face, and may be broken anywhere."""
    value: float | None = None
    """What a column is sorted by if the text does not begin with it: of a quantity whose units differ."""


@dataclass(frozen=True)
class Row:
    cells: tuple[Cell, ...]
    baseline: bool = False
    incomplete: bool = False
    """Some trials of this row have no result."""
    method: str = ""
    """Its method's title, by which a reader may filter; empty: nothing to filter by."""


@dataclass(frozen=True)
class Note:
    """Footnote to a group of columns: the protocol behind its numbers."""

    mark: str
    protocol: str
    text: str
    changed: str = ""
    """What was changed from the protocol."""


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...] = ()
    remarks: tuple[str, ...] = ()

    def header_groups(self) -> list[tuple[str, int]]:
        """Labels of the upper header line with how many columns each spans."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and column.group and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans

    def alike(self) -> dict[int, str]:
        """Sizes that are the same in every row, by column: where there is little room, they are said once."""
        shared: dict[int, str] = {}
        for index, column in enumerate(self.columns):
            texts = {row.cells[index].text for row in self.rows} - {NONE}
            if column.label in ("backbone", "batch size", "epochs") and len(texts) == 1:
                shared[index] = texts.pop()
        return shared


def plain_table(title: str, labels: Sequence[str], rows: Iterable[Sequence[str | Cell]], numeric: str = "") -> Table:
    """A table of texts; columns named in `numeric` (labels joined by ``|``) are set to the right."""
    right = numeric.split("|")
    columns = tuple(Column(label, numeric=label in right) for label in labels)
    cells = (tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows)
    return Table(title, columns, tuple(Row(row) for row in cells))
