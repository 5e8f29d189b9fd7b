"""From the text of a CSV file to rows: every fault of the file at once, each with its line."""

import csv
import difflib
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pydantic import ValidationError

from ...datasets import DATASETS
from ...datasets.torchvision_classes import TORCHVISION
from ...evaluation.registry import EVALUATIONS
from .rows import COLUMNS, Published, Scalar

REQUIRED = ("method", "dataset", "backbone", "evaluation", "value", "source")
FLAGS = {"": False, "no": False, "false": False, "yes": True, "true": True}
PREFIXES = ("pretrain.", "method.")
WHOLE = ("image_size", "epochs", "batch_size")
DECIMAL = ("value", "runtime_min", "memory_gb")


class Fault(NamedTuple):
    """What is wrong in one line of a file; the first has the names of the columns."""

    line: int
    message: str


class UnreadableError(ValueError):
    """A file of published numbers that cannot be used."""

    def __init__(self, faults: list[Fault]):
        self.faults = faults
        super().__init__("; ".join(f"line {fault.line}: {fault.message}" for fault in faults))


def read_published(text: str) -> tuple[Published, ...]:
    """The rows of a file.

    Raises:
        UnreadableError: with all that is wrong in it.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    header = [name.strip() for name in next(reader, [])]
    faults = list(_faults_of(header))
    if faults:
        raise UnreadableError(faults)
    rows: list[Published] = []
    lines: dict[tuple[object, ...], int] = {}
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        line = reader.line_num
        if len(cells) != len(header):
            faults.append(Fault(line, f"has {len(cells)} cells; the first line names {len(header)} columns"))
            continue
        found = _row({name: cell.strip() for name, cell in zip(header, cells, strict=True)})
        if not isinstance(found, Published):
            faults += [Fault(line, message) for message in found]
            continue
        first = lines.setdefault((found.run, found.method, found.evaluation, found.metric, found.how), line)
        if first != line:
            faults.append(Fault(line, f"the same figure as in line {first}; list each once"))
        rows.append(found)
    if not rows and not faults:
        faults.append(Fault(1, "there are no rows below the names of the columns"))
    if faults:
        raise UnreadableError(faults)
    return tuple(rows)


def _faults_of(header: list[str]) -> Iterator[Fault]:
    for name in header:
        if name not in COLUMNS:
            yield Fault(1, _unknown("column", name, COLUMNS))
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            yield Fault(1, f"duplicate column {_quoted(name)}")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        yield Fault(1, f"missing columns: {', '.join(missing)}")


def _row(cells: dict[str, str]) -> Published | list[str]:
    """The row, or what is wrong with it."""
    faults = [f"{name} is empty" for name in REQUIRED if not cells[name]]
    values: dict[str, object] = {"title": cells["method"], "metric": "top1"}
    for name, cell in cells.items():
        try:
            if cell:
                values[name] = _value(name, cell)
        except ValueError as error:
            faults.append(f"{name}: got {_quoted(cell)}; {error}")
    faults += _unknown_names(cells)
    if faults:
        return faults
    try:
        return Published.model_validate(values)
    except ValidationError as error:
        return [
            f"{item['loc'][0]}: got {_quoted(str(item['input']))}; {_lowered(item['msg'])}" for item in error.errors()
        ]


def _value(name: str, cell: str) -> object:
    """Of a cell that is not empty."""
    if name in WHOLE:
        return _number(cell, whole=True)
    if name in DECIMAL:
        return _number(cell, whole=False)
    if name == "best_epoch":
        if cell.lower() not in FLAGS:
            raise ValueError("must be yes, no or empty")
        return FLAGS[cell.lower()]
    return dict(_settings(name, cell)) if name in ("settings", "protocol_settings") else cell


def _number(cell: str, *, whole: bool) -> int | float:
    try:
        return int(cell) if whole else float(cell)
    except ValueError:
        raise ValueError("must be a whole number" if whole else "must be a number") from None


def _settings(name: str, cell: str) -> Iterator[tuple[str, Scalar]]:
    """Of ``k=20 temperature=0.1``."""
    for part in cell.split():
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise ValueError("must be key=value, several with a space between them")
        if name == "settings" and not key.startswith(PREFIXES):
            raise ValueError("keys must be those of a sweep file, and begin with pretrain. or method.")
        yield key, _scalar(value)


def _scalar(text: str) -> Scalar:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _unknown_names(cells: dict[str, str]) -> Iterator[str]:
    """A misspelt name would never match; methods alone may be others than ours."""
    names = [*DATASETS, *TORCHVISION]
    if cells["dataset"] and cells["dataset"] not in names:
        yield _unknown("dataset", cells["dataset"], names)
    name, metric, protocol = (cells.get(key, "") for key in ("evaluation", "metric", "protocol"))
    if name and name not in EVALUATIONS:
        yield _unknown("evaluation", name, EVALUATIONS)
        return
    if not name:
        return
    metrics = [metric.name for metric in EVALUATIONS[name].metrics]
    if (metric or "top1") not in metrics:
        given = f"metric {_quoted(metric)}" if metric else "no metric"
        yield f"got {given}; must be one of {name}: {', '.join(metrics)}"
    protocols = [config.protocol for config in EVALUATIONS[name].protocols]
    if protocol and protocol not in protocols:
        yield _unknown("protocol", protocol, protocols)


def _unknown(kind: str, given: str, allowed: Iterable[str]) -> str:
    """Message for a name that is not on the list."""
    names = list(allowed)
    near = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown {kind} {_quoted(given)}{hint} (allowed: {', '.join(names)})"


def _quoted(text: str) -> str:
    """On one line, whatever is in it."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return f"'{short}'" if short.isprintable() else repr(short)


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
