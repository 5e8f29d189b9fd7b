"""Images in Parquet files with the columns of the Hugging Face hub, `image` or `img`, and `label`, or others."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .config import ColumnsConfig
from .errors import DataError
from .sources import Source, SourceRequest
from .tables import Table, Unreadable, table_source

TEST_NAMES = ("test", "val")
BATCH = 1024
"""Rows that are read at once."""


def parquet(request: SourceRequest) -> Source:
    """The user's own Parquet files."""
    return parquet_files(request.given_path, columns=request.columns)


def parquet_files(path: Path, default_classes: tuple[str, ...] = (), columns: ColumnsConfig | None = None) -> Source:
    """One file, or a folder of files (or its `data/`) that are told apart by name: train*, then test* or val*.

    Classes are named by the hub's metadata, else by `default_classes`, else by the labels in order. A damaged part of a file
    costs its rows, which count as damaged images. Raises DataError for files that are not Parquet or lack a column.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))
    if not files:
        raise DataError(f"{path} holds no files that end in .parquet, nor does its folder `data`")
    train = [file for file in files if file.name.startswith("train")] or files
    named = [[file for file in files if file.name.startswith(name)] for name in TEST_NAMES]
    tests = [chosen for chosen in named if chosen and chosen != train]
    tables = [[_table(file) for file in chosen] for chosen in (train, *tests)]
    names = partial(_class_names, train[0], default_classes)
    return table_source(tables[0], tables[1:], columns or ColumnsConfig(), names)


def _table(file: Path) -> Table:
    try:
        with pq.ParquetFile(file) as parquet:
            columns, num_rows = tuple(parquet.schema_arrow.names), parquet.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read as Parquet: {_line(error)}") from error
    return Table(file, columns, num_rows, partial(_values, file), partial(_pieces, file))


def _values(file: Path, column: str) -> list[int | str | None]:
    try:
        return pq.read_table(file, columns=[column])[column].to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: the column `{column}` cannot be read: {_line(error)}") from error


def _class_names(file: Path, default: tuple[str, ...], column: str) -> tuple[str, ...]:
    metadata = pq.read_schema(file).metadata or {}
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return tuple(features.get(column, {}).get("names") or default)


def _pieces(file: Path, column: str) -> Iterator[pa.Array | Unreadable]:
    """The rows of a column, group by group; of a group, those after a damaged page are lost."""
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        for group in range(parquet.num_row_groups):
            count, done, reason = parquet.metadata.row_group(group).num_rows, 0, ""
            for size in (BATCH, 1):  # a batch that cannot be read has rows before the damaged page
                start = 0
                try:
                    for batch in parquet.iter_batches(size, row_groups=[group], columns=[column]):
                        start += len(batch)
                        if start > done:
                            done = start
                            yield batch.column(0)
                except (pa.ArrowException, OSError) as error:
                    reason = _line(error)
                if done == count:
                    break
            if done < count:
                yield Unreadable(count - done, reason)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
