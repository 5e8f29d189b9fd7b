"""Images in Parquet files with the columns of the Hugging Face hub: `image` or `img`, and `label`."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..methods.quantities import plural
from .errors import DataError
from .sources import Item, Rows, Source, SourceRequest, split_off_test, unlabelled

IMAGE_COLUMNS = ("image", "img")
TEST_NAMES = ("test", "val")


def parquet(request: SourceRequest) -> Source:
    """The user's own Parquet files."""
    return parquet_files(request.given_path)


def parquet_files(path: Path, default_classes: tuple[str, ...] | None = None) -> Source:
    """One file, or a folder of files (or its `data/`) that are told apart by name: train*, then test* or val*.

    Of test* and val*, the first that has labels; where there is neither, a tenth of each class becomes the test set.
    Classes are named by the hub's metadata, else by `default_classes`, else by the values of `label` in order. Images have
    no labels where the column is missing, or empty, or -1 throughout, as the hub writes labels that it hides.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))
    if not files:
        raise DataError(f"{path} holds no files that end in .parquet, nor does its folder `data`")
    train = [file for file in files if file.name.startswith("train")] or files
    named = [[file for file in files if file.name.startswith(name)] for name in TEST_NAMES]
    tests = [chosen for chosen in named if chosen and chosen != train]
    values = _values(train)
    if all(_hidden(value) for value in values):
        return unlabelled(_rows(train, np.zeros(len(values), dtype=np.int64)))
    test_values = [_values(chosen) for chosen in tests]
    labelled = [i for i, found in enumerate(test_values) if not any(_hidden(value) for value in found)]
    everything = [_labels(train, values), *(_labels(tests[i], test_values[i]) for i in labelled[:1])]
    classes, lookup = _classes(train[0], default_classes, everything)
    rows = _rows(train, np.array([lookup[value] for value in everything[0]], dtype=np.int64))
    if not labelled:
        return split_off_test(classes, rows)
    test_labels = np.array([lookup[value] for value in everything[1]], dtype=np.int64)
    return Source(classes, rows, _rows(tests[labelled[0]], test_labels))


Values = list[int] | list[str]


def _values(files: list[Path]) -> list[int | str | None]:
    """The column `label` of all files; None throughout a file that lacks it."""
    values: list[int | str | None] = []
    for file in files:
        try:
            names = pq.read_schema(file).names
            if not any(name in names for name in IMAGE_COLUMNS):
                raise DataError(
                    f"{file} has the columns {', '.join(names)}; `image` or `img` is needed, and `label` to evaluate"
                )
            if "label" not in names:
                values += [None] * pq.read_metadata(file).num_rows
                continue
            values += pq.read_table(file, columns=["label"])["label"].to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{file} cannot be read as Parquet: {error}") from error
    return values


def _hidden(value: int | str | None) -> bool:
    return value is None or value == -1


def _labels(files: list[Path], values: list[int | str | None]) -> Values:
    """The same, checked."""
    if missing := sum(value is None for value in values):
        raise DataError(f"{files[0]}: {missing} of {len(values)} rows have no label; all need one, or none has any")
    if not all(isinstance(value, int) for value in values) and not all(isinstance(value, str) for value in values):
        raise DataError(f"{files[0]}: the column `label` must hold integers or strings")
    return values  # pyright: ignore[reportReturnType]


def _classes(
    file: Path, default: tuple[str, ...] | None, values: list[Values]
) -> tuple[tuple[str, ...], dict[int | str, int]]:
    """Names of the classes, and the class of each value of `label`."""
    metadata = pq.read_schema(file).metadata or {}
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    present = sorted({value for part in values for value in part}, key=lambda value: (isinstance(value, str), value))
    names = tuple(features.get("label", {}).get("names") or default or ())
    if names and isinstance(present[0], int):
        if present[0] < 0 or not isinstance(present[-1], int) or present[-1] >= len(names):
            raise DataError(
                f"{file}: labels go from {present[0]} to {present[-1]}; names of {plural(len(names), 'class')} are given"
            )
        return names, {label: label for label in range(len(names))}
    if isinstance(present[0], int) and present[0] < 0:
        raise DataError(f"{file} has the label {present[0]}; labels start at 0")
    return tuple(str(value) for value in present), {value: label for label, value in enumerate(present)}


def _rows(files: list[Path], labels: NDArray[np.int64]) -> Rows:
    def read(rows: NDArray[np.int64]) -> Iterator[Item]:
        start = 0
        for file in files:
            with pq.ParquetFile(file) as parquet:
                name = next(name for name in IMAGE_COLUMNS if name in parquet.schema_arrow.names)
                for batch in parquet.iter_batches(batch_size=1024, columns=[name]):
                    column = batch.column(0)
                    for row in rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(column))].tolist():
                        yield Item(f"{file}, row {row}", lambda value=column[row - start]: _image_bytes(value))
                    start += len(column)

    return Rows(labels, read)


def _image_bytes(value: pa.Scalar) -> bytes:
    """Bytes of a binary value or of a struct's field `bytes`. Raises ValueError where they are missing."""
    found = value.as_py()
    encoded = found.get("bytes") if isinstance(found, dict) else found
    if not isinstance(encoded, bytes):
        raise ValueError("no image bytes")
    return encoded
