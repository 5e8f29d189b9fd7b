"""The report as Markdown, for a repository or an issue; the plots are files beside it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from .document import DataSection, Document
from .feature_plots import SHEETS
from .formats import one_line
from .svg import Plot
from .table import Cell, Row, Table


def to_markdown(document: Document, plot_paths: Mapping[str, str]) -> str:
    """`plot_paths`: from a plot's name to its file, relative to the report."""
    blocks = [block for block in _blocks(document, plot_paths) if block]
    return "\n\n".join(blocks) + "\n"


def _blocks(document: Document, plot_paths: Mapping[str, str]) -> Iterator[str]:
    yield f"# {escape(document.title)}"
    yield escape(document.summary)
    yield f"**{escape(document.failures)}**" if document.failures else ""
    yield from _titled(document.sweeps, level=2)
    for section in document.data:
        yield from _section(section, plot_paths)
    yield from _titled(document.ranks, level=2)
    yield from _titled(document.unfinished, level=2)
    yield from _titled(document.restarts, level=2)
    if document.search.rows:
        yield "## Search"
        yield escape(document.search_remark)
        yield _table(document.search)
    if document.fronts.rows:
        yield "### Pareto front"
        yield _table(document.fronts)
    yield from _plots(document.search_plots, plot_paths)
    if document.cost.rows:
        yield "## Cost"
        yield _table(document.cost)
    yield from _titled(document.datasets, level=2)
    if document.sweep_file:
        yield "## Sweep file"
        yield _fenced(document.sweep_file.rstrip("\n"), "yaml")
    yield "## Environment"
    yield _fenced(document.command, "sh")
    yield _table(document.environment)


def _section(section: DataSection, plot_paths: Mapping[str, str]) -> Iterator[str]:
    yield f"## {escape(section.heading)}"
    yield "\n".join(f"- {escape(text)}" for text in section.highlights)
    yield _table(section.table)
    notes = [
        f"{note.mark} {note.protocol}, {note.text}"
        + (f"; changed from the protocol: {note.changed}" if note.changed else "")
        for note in section.table.notes
    ]
    yield "\n".join(f"- {escape(text)}" for text in (*notes, *section.table.remarks))
    yield from _titled(section.comparison)
    yield from _titled(section.models)
    for table in (
        section.reproduction,
        section.learning,
        section.trained,
        section.intervals,
        section.selected,
        section.details,
    ):
        yield from _titled(table)
    yield from _plots(section.plots, plot_paths)
    yield "\n\n".join(map(escape, section.reasons))
    if section.neighbours:
        yield f"### {SHEETS}"
        yield escape(section.neighbours[0].caption)
    for picture in section.neighbours:
        yield f"{escape(picture.title)}\n\n![{escape(picture.title)}]({picture.file})"
    if section.pictures:
        yield "### Images and their views"
    for picture in section.pictures:
        yield f"{escape(picture.title)}\n\n![{escape(picture.title)}]({picture.file})"


def _plots(plots: Sequence[Plot], paths: Mapping[str, str]) -> Iterator[str]:
    for plot in plots:
        path = paths.get(plot.name)
        yield f"### {escape(plot.title)}"
        yield f"![{escape(plot.description)}]({path})" if path else escape(plot.missing)
        yield escape(plot.caption)


def _titled(table: Table, level: int = 3) -> Iterator[str]:
    """A table with its title above it and its remarks below; nothing if it has no rows."""
    if table.rows:
        yield f"{'#' * level} {escape(table.title)}"
        yield _table(table)
        yield "\n".join(f"- {escape(text)}" for text in table.remarks)


def escape(text: str) -> str:
    """Text as itself: nothing in it is markup, a cell's end or a new line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", one_line(text).replace("&", "&amp;"))


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _table(table: Table) -> str:
    heads = [" ".join(part for part in (column.group, column.label) if part) for column in table.columns]
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    rows = [[_cell(cell, row) for cell in row.cells] for row in table.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in ([escape(head) for head in heads], rule, *rows))


def _cell(cell: Cell, row: Row) -> str:
    text = escape(cell.text)
    if cell.href:
        target = re.sub(r"[\s<>()|\\]", lambda found: f"%{ord(found.group()):02X}", cell.href)
        text = f"[{text}]({target})"
    if cell.best:
        return f"**{text}**"
    return f"_{text}_" if row.baseline and text else text
