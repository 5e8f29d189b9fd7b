"""Images and labels in columns of tables, each in a file of its own: Parquet files, and Arrow files."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .config import ColumnsConfig
from .errors import DataError
from .labelling import Part, labelled_source
from .sources import Item, Rows, Source

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMN = "label"


class Unreadable(NamedTuple):
    """Rows that come next and cannot be read."""

    num_rows: int
    reason: str


class Table(NamedTuple):
    """What is needed of a file. Its functions take the name of a column."""

    file: Path
    columns: tuple[str, ...]
    num_rows: int
    values: Callable[[str], list[int | str | None]]
    """All values of a column. Raises DataError."""
    images: Callable[[str], Iterator[pa.Array | Unreadable]]
    """All rows of a column in order, in pieces."""


def table_source(
    train: list[Table],
    tests: list[list[Table]],
    columns: ColumnsConfig,
    class_names: Callable[[str], tuple[str, ...]],
) -> Source:
    """The images of `train`, and of the first of `tests` that has labels.

    Images have no labels where the column is missing, or empty, or -1 throughout, as the hub writes labels that it hides.
    `class_names` are those of the labels in a column, none if it has no names for them. Raises DataError where a column is
    missing, with those that there are.
    """
    label = columns.label or LABEL_COLUMN
    parts = [_part(tables, label, columns) for tables in (train, *tests)]
    return labelled_source(parts[0], parts[1:], class_names(label), _notes(train, columns))


def _part(tables: list[Table], label: str, columns: ColumnsConfig) -> Part:
    values: list[int | str | None] = []
    for table in tables:
        _image_column(table, columns)
        if label in table.columns:
            values += table.values(label)
        elif columns.label is None:
            values += [None] * table.num_rows
        else:
            raise _missing(table, "label", label)
    return Part(str(tables[0].file), label, values, partial(_rows, tables, columns))


def _notes(tables: list[Table], columns: ColumnsConfig) -> tuple[str, ...]:
    """How to name the labels, if there may be some under another name."""
    first = tables[0]
    if LABEL_COLUMN in first.columns or columns.label is not None or len(first.columns) == 1:
        return ()
    return (
        f"{first.file} has no column `label`; its columns are {', '.join(first.columns)};"
        " `columns: {label: NAME}` names the one of the classes",
    )


def _missing(table: Table, key: str, name: str) -> DataError:
    return DataError(
        f"{table.file} has no column '{name}', which `columns.{key}` names; its columns are {', '.join(table.columns)}"
    )


def _image_column(table: Table, columns: ColumnsConfig) -> str:
    if columns.image is not None:
        if columns.image not in table.columns:
            raise _missing(table, "image", columns.image)
        return columns.image
    found = next((name for name in IMAGE_COLUMNS if name in table.columns), None)
    if found is None:
        raise DataError(
            f"{table.file} has the columns {', '.join(table.columns)}; `image` or `img` is needed, and `label` to evaluate;"
            " `columns: {image: NAME, label: NAME}` names others"
        )
    return found


def _rows(tables: list[Table], columns: ColumnsConfig, labels: NDArray[np.int64]) -> Rows:
    def read(rows: NDArray[np.int64]) -> Iterator[Item]:
        first = 0
        for table in tables:
            own = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + table.num_rows)] - first
            if len(own):
                yield from _items(table, _image_column(table, columns), own)
            first += table.num_rows

    return Rows(labels, read)


def _items(table: Table, column: str, rows: NDArray[np.int64]) -> Iterator[Item]:
    start = 0
    for piece in table.images(column):
        count = piece.num_rows if isinstance(piece, Unreadable) else len(piece)
        own = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + count)].tolist()
        for row in own:
            if not isinstance(piece, Unreadable):
                load = partial(_image_bytes, piece[row - start])
            elif row == own[0]:
                load = partial(_refuse, f"rows {start} to {start + count - 1} are lost: {piece.reason}")
            else:
                load = partial(_refuse, f"lost with row {own[0]}")
            yield Item(f"{table.file}, row {row}", load)
        start += count


def _refuse(reason: str) -> bytes:
    raise ValueError(reason)


def _image_bytes(value: pa.Scalar) -> bytes:
    """Bytes of a binary value or of a struct's field `bytes`. Raises ValueError where they are missing."""
    found = value.as_py()
    encoded = found.get("bytes") if isinstance(found, dict) else found
    if isinstance(encoded, bytes):
        return encoded
    path = found.get("path") if isinstance(found, dict) else None
    raise ValueError(f"no image bytes, only the path {path}" if path else "no image bytes")
