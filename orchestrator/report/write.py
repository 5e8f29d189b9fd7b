"""Writes a report: the page, the Markdown with its plots, and the numbers behind them."""

import gzip
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..store.records import SweepResult
from .feature_views import Look
from .sections import LogLink

if TYPE_CHECKING:
    from .document import Document

KEPT_RESULT = "sweep.json.gz"
"""What the report was made of but for pictures, so that it can be compared with others."""


@dataclass(frozen=True)
class ReportFiles:
    html: Path
    markdown: Path
    parquet: Path
    csv: Path
    statistics: Path
    reproduction: Path
    plots: tuple[Path, ...]
    """The plots of the Markdown; the page has its own within it."""


def write_report(
    result: SweepResult, folder: Path, log_link: LogLink | None = None, look: Look | None = None
) -> ReportFiles:
    """Writes the report of `result` into `folder`, over an earlier one. Equal results give equal files.

    `log_link` gives the address of a trial's log, for a reader of the report; without it the recorded path is printed.
    `look` gives what is shown of a trial's features; without it nothing is.
    """
    import pyarrow.csv as arrow_csv
    import pyarrow.parquet as arrow_parquet

    from .document import build_document
    from .intervals import statistics_table
    from .markdown import to_markdown
    from .page import to_html
    from .reproduction import reproduction_rows
    from .svg import standalone
    from .tidy import for_spreadsheets, tidy_table

    document = build_document(result, log_link, look)
    every = [*(plot for section in document.data for plot in section.plots), *document.search_plots]
    plots = {plot.name: plot for plot in every if plot.drawings}
    paths = {name: f"plots/{name}.svg" for name in plots}
    table = tidy_table(result)

    _write_pictures(folder, document, {paths[name]: standalone(plot) for name, plot in plots.items()})
    files = ReportFiles(
        folder / "report.html",
        folder / "report.md",
        folder / "results.parquet",
        folder / "results.csv",
        folder / "statistics.csv",
        folder / "reproduction.csv",
        tuple(folder / path for path in paths.values()),
    )
    _replace(files.html, _text(to_html(document)))
    _replace(files.markdown, _text(to_markdown(document, paths)))
    _replace(files.parquet, lambda path: arrow_parquet.write_table(table, path))
    tables = ((files.csv, table), (files.statistics, statistics_table(result.name, document.tables)))
    for path, rows in (*tables, (files.reproduction, reproduction_rows(result.name, document.tables))):
        _replace(path, partial(arrow_csv.write_csv, for_spreadsheets(rows)))
    _replace(folder / KEPT_RESULT, partial(Path.write_bytes, data=_kept(result)))
    return files


def _write_pictures(folder: Path, document: "Document", plots: Mapping[str, str]) -> None:
    """Plots and pictures beside the Markdown; those of an earlier report that are no more are removed."""
    shown = [picture for section in document.data for picture in (*section.pictures, *section.neighbours)]
    pictures = {picture.file: picture.content for picture in shown}
    for name in ("plots", "views"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, svg in plots.items():
        _replace(folder / name, _text(svg))
    for name, content in pictures.items():
        _replace(folder / name, partial(Path.write_bytes, data=content))
    found = {*(folder / "plots").glob("*.svg"), *(folder / "views").glob("*.png"), *(folder / "views").glob("*.jpg")}
    for stale in found - {folder / name for name in (*plots, *pictures)}:
        stale.unlink()


def _kept(result: SweepResult) -> bytes:
    content = result.model_dump_json(exclude={"trials": {"__all__": {"views": True}}})
    return gzip.compress(content.encode(), compresslevel=6, mtime=0)


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text, encoding="utf-8")


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Writes beside `path`, then renames: who reads meanwhile sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write(temporary)
    temporary.replace(path)
