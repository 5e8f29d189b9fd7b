"""How numbers and settings look, the same in every table, caption and file."""

import re
from collections.abc import Mapping, Sequence

from ..store.records import Scalar
from .statistics import Interval, Spread
from .table import NONE

Value = Scalar | Sequence[Scalar]
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell's text that spreadsheets evaluate."""
MOST_LISTED = 8
"""Of a longer list a text has the ends; `results.parquet` has all of it."""


def fixed(value: float, digits: int) -> str:
    """With so many digits after the point; what is rounded to zero has no sign."""
    text = f"{value:.{digits}f}"
    return text if float(text) else text.removeprefix("-")


def accuracy(value: Spread | None, expected: int | None = None, digits: int = 1) -> str:
    """Mean ± sample standard deviation; n only where it is not the `expected` one of the row."""
    if value is None:
        return NONE
    text = fixed(value.mean, digits) + ("" if value.std is None else f" ± {value.std:.{digits}f}")
    return text if expected == value.n else f"{text} (n = {value.n})"


def difference(ours: float, published: float) -> str:
    """Signed difference of the two numbers as they are printed, so that a reader's own subtraction agrees."""
    return signed(round(ours, 1) - published, 1)


def signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def interval(value: Interval | None, digits: int, sign: bool = False) -> str:
    """``43.1 to 46.9``; with signs, ``−0.2 to +1.3``."""
    if value is None:
        return NONE
    ends = [signed(end, digits) if sign else fixed(end, digits) for end in value]
    return " to ".join(ends)


def p_value(value: float | None) -> str:
    if value is None:
        return NONE
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def memory(count: float) -> str:
    """Decimal units, as on the boxes of GPUs' vendors and in published tables."""
    return f"{count / 1e9:.1f} GB" if count >= 999.5e6 else f"{count / 1e6:.0f} MB"


def scalar(value: Value) -> str:
    """A setting's value as YAML would have it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (str, int)):
        return str(value)
    if len(value) > MOST_LISTED:
        return f"[{scalar(value[0])}, …, {scalar(value[-1])}: {len(value)} values]"
    return "[" + ", ".join(scalar(entry) for entry in value) + "]"


def assignments(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{key} = {scalar(value)}" for key, value in values.items())


def superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def plain_cell(text: str) -> str:
    """A text for a cell of a CSV file; one that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{text}" if text.startswith(FORMULA) else text
