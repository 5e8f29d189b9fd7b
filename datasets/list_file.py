"""A CSV or JSON lines file that lists images: `path`, `label` and, if wanted, `split`. Free of torch and NumPy."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import DataError

if TYPE_CHECKING:
    from .config import ColumnsConfig

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
LISTS = (*DELIMITERS, *JSON_LINES)
"""Endings of such files."""
SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(("val", "valid", "validation"), "val")


class Listed(NamedTuple):
    """An image."""

    line: int
    path: str
    """As written."""
    file: Path
    label: int | str | None
    split: str | None
    """``train``, ``test`` or ``val``."""


def read_list(file: Path, columns: "ColumnsConfig") -> list[Listed]:
    """The images in their order. Raises DataError, which names the line, for what is missing or not understood."""
    ending = file.suffix.lower()
    if ending not in LISTS:
        raise DataError(f"{file} is no list of images; its name must end in {', '.join(LISTS)}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}") from None
    lines = _json_lines(file, text) if ending in JSON_LINES else _table(file, text, DELIMITERS[ending])
    found = [_listed(file, line, values, columns) for line, values in lines]
    if not found:
        raise DataError(f"{file} lists no images")
    if ending in DELIMITERS and all(_is_whole_number(one.label) for one in found):
        return [one._replace(label=int(one.label or 0)) for one in found]
    return found


def _is_whole_number(label: int | str | None) -> bool:
    return label is not None and str(label).removeprefix("-").isdecimal()


def _table(file: Path, text: str, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and values by column."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header):
            raise DataError(f"{file}, line 1: a column is named twice: {', '.join(header)}")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{file}, line {reader.line_num}: got {len(row)} values; the header has {', '.join(header)}"
                )
            yield reader.line_num, {name: value.strip() or None for name, value in zip(header, row, strict=True)}
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: not {file.suffix[1:].upper()} ({error})") from None


def _json_lines(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise DataError(f"{file}, line {number}: not JSON ({error})") from None
        if not isinstance(values, dict):
            raise DataError(f"{file}, line {number}: must be an object with `path`, `label` and, if wanted, `split`")
        yield number, values


def _listed(file: Path, line: int, values: dict[str, Any], columns: "ColumnsConfig") -> Listed:
    path_column, label_column = columns.image or "path", columns.label or "label"
    for key, column in (("image", columns.image or "path"), ("label", columns.label)):
        if column is not None and column not in values:
            raise DataError(
                f"{file}, line {line}: there is no '{column}'; the columns are {', '.join(map(str, values))};"
                f" `columns: {{{key}: NAME}}` names another"
            )
    path, label, split = values[path_column], values.get(label_column), values.get("split")
    if not isinstance(path, str) or not path or "\0" in path:
        raise DataError(f"{file}, line {line}: {path_column}: got {json.dumps(path)}; must be the path of an image")
    if isinstance(label, bool) or not isinstance(label, (int, str, type(None))):
        raise DataError(f"{file}, line {line}: {label_column}: got {json.dumps(label)}; must be text or a whole number")
    if "split" in values:
        known = SPLITS.get(split.lower()) if isinstance(split, str) else None
        if known is None:
            raise DataError(f"{file}, line {line}: split: got {json.dumps(split)}; must be one of {', '.join(SPLITS)}")
        split = known
    return Listed(line, path, file.parent / path, label, split)
