"""From labels as users have them, integers or names, to numbers of classes; and which part is the test set."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .contents import Skipped
from .errors import DataError
from .sources import Rows, Source, split_off_test, unlabelled

Values = list[int] | list[str]


class Part(NamedTuple):
    """The images that are meant for training or for testing."""

    where: str
    """Its first file, for messages."""
    column: str
    """Of the labels, for messages."""
    values: list[int | str | None]
    """The label of each image; None or -1 if it is not told."""
    rows: Callable[[NDArray[np.int64]], Rows]
    """The images with the numbers (N,) of their classes."""

    @property
    def is_labelled(self) -> bool:
        return bool(self.values) and not any(_hidden(value) for value in self.values)


def labelled_source(
    train: Part, tests: list[Part], class_names: tuple[str, ...], notes: tuple[str, ...] = ()
) -> Source:
    """Of `tests`, the first that has labels is the test set; without one, a tenth of each class becomes it.

    Classes have the names `class_names`, or, if there are none, those of the labels in order. Without any labels all of
    `train` is for training. Raises DataError for labels that are missing here and there, or of no class.
    """
    if not train.values:
        raise DataError(f"{train.where} holds no images")
    chosen = next((test for test in tests if test.is_labelled), None)
    if all(_hidden(value) for value in train.values):
        source = unlabelled(train.rows(np.zeros(len(train.values), dtype=np.int64)))
        chosen = None
    else:
        values = [_checked(part) for part in (train, chosen) if part is not None]
        classes, numbers = _classes(train, class_names, values)
        labels = [np.array([numbers[value] for value in some], dtype=np.int64) for some in values]
        rows = train.rows(labels[0])
        source = split_off_test(classes, rows) if chosen is None else Source(classes, rows, chosen.rows(labels[1]))
    unused = (_unused(test, chosen) for test in tests if test is not chosen and test.values)
    return source._replace(skipped=tuple(unused), notes=notes)


def _hidden(value: int | str | None) -> bool:
    return value is None or value == -1


def _unused(test: Part, chosen: Part | None) -> Skipped:
    reason = "another part is the test set" if chosen else "the training images have no labels"
    if not test.is_labelled:
        reason = "their labels are not told"
    return Skipped(kind="images", reason=reason, count=len(test.values), example=test.where)


def _checked(part: Part) -> Values:
    values = part.values
    if missing := sum(value is None for value in values):
        raise DataError(f"{part.where}: {missing} of {len(values)} rows have no label; all need one, or none has any")
    if not all(isinstance(value, int) for value in values) and not all(isinstance(value, str) for value in values):
        raise DataError(f"{part.where}: the column `{part.column}` must hold integers or strings")
    return values  # pyright: ignore[reportReturnType]


def _classes(train: Part, names: tuple[str, ...], values: list[Values]) -> tuple[tuple[str, ...], dict[int | str, int]]:
    """Names of the classes, and the class of each value."""
    present = sorted({value for part in values for value in part}, key=lambda value: (isinstance(value, str), value))
    if names and isinstance(present[0], int):
        if present[0] < 0 or not isinstance(present[-1], int) or present[-1] >= len(names):
            raise DataError(
                f"{train.where}: labels go from {present[0]} to {present[-1]}; {len(names)} classes are named"
            )
        return names, {label: label for label in range(len(names))}
    if isinstance(present[0], int) and present[0] < 0:
        raise DataError(f"{train.where} has the label {present[0]}; labels start at 0")
    return tuple(str(value) for value in present), {value: label for label, value in enumerate(present)}
