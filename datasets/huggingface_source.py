"""Data sets that `save_to_disk` of Hugging Face's `datasets` wrote: Arrow files, and what describes them in JSON."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from .errors import DataError
from .sources import Source, SourceRequest
from .tables import Table, Unreadable, table_source

TESTS = ("test", "validation", "valid", "val")
DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"


def saved(request: SourceRequest) -> Source:
    """A `DatasetDict` with the split `train`, and one of `TESTS` as the test set; or a single `Dataset`.

    Classes are named as `dataset_info.json` has it, else by the labels in order. Raises DataError for what is no such folder.
    """
    path = request.given_path
    folders = [path]
    if (path / DICT).is_file():
        splits = _json(path / DICT).get("splits", [])
        train = "train" if "train" in splits or len(splits) != 1 else splits[0]
        if train not in splits:
            raise DataError(f"{path} has the splits {', '.join(splits)}; `train` is needed, and {TESTS[0]} to evaluate")
        folders = [path / train, *(path / name for name in TESTS if name in splits and name != train)]
    elif not (path / STATE).is_file():
        raise DataError(
            f"{path} has neither {DICT} nor {STATE}, which `save_to_disk` of Hugging Face's datasets writes"
        )
    tables = [_tables(folder) for folder in folders]
    return table_source(tables[0], tables[1:], request.columns, partial(_class_names, folders[0]))


def _tables(folder: Path) -> list[Table]:
    state = _json(folder / STATE)
    if state.get("_indices_data_files"):
        raise DataError(f"{folder} was saved with a selection of its rows by an old version; save it again")
    files = [folder / entry["filename"] for entry in state.get("_data_files", [])]
    if not files:
        raise DataError(f"{folder / STATE} names no Arrow files")
    return [_table(file) for file in files]


def _table(file: Path) -> Table:
    batches = list(_batches(file))
    columns = tuple(batches[0].schema.names) if batches else ()
    num_rows = sum(len(batch) for batch in batches)
    return Table(file, columns, num_rows, partial(_values, file), partial(_pieces, file))


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    """Views of the file's memory map."""
    try:
        with pa.ipc.open_stream(pa.memory_map(str(file))) as stream:
            yield from stream
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read as an Arrow stream: {_line(error)}") from error


def _values(file: Path, column: str) -> list[int | str | None]:
    values: list[int | str | None] = []
    for batch in _batches(file):
        found = batch.column(column)
        try:
            found.validate(full=True)
        except pa.ArrowException as error:
            raise DataError(f"{file}: the column `{column}` is damaged: {_line(error)}") from error
        values += found.to_pylist()
    return values


def _pieces(file: Path, column: str) -> Iterator[pa.Array | Unreadable]:
    for batch in _batches(file):
        found = batch.column(column)
        try:
            found.validate(full=True)  # offsets that lead outside of the file would end the process
        except pa.ArrowException as error:
            yield Unreadable(len(batch), _line(error))
        else:
            yield found


def _class_names(folder: Path, column: str) -> tuple[str, ...]:
    file = folder / INFO
    feature = (_json(file).get("features") or {}).get(column) if file.is_file() else None
    return tuple(feature.get("names") or ()) if isinstance(feature, dict) else ()


def _json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{file} is not JSON ({error})") from None
    if not isinstance(values, dict):
        raise DataError(f"{file} must hold a JSON object")
    return values


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
