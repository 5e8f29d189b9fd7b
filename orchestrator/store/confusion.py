"""The confusion matrix of an evaluation, which the store keeps beside its record.

It is no part of the record: records are in events and in the state of a trial, which the driver reads by the thousand.
"""

from typing import ClassVar

from pydantic import Field

from .records import Record


class Confusion(Record):
    """Of the scored images, as `confusion/<evaluation id>.json`."""

    lost: ClassVar[str] = "the confusion matrix of this evaluation is not known"

    classes: tuple[str, ...]
    recalls: tuple[float | None, ...]
    """Of each class, in percent; None for one without scored images."""
    cells: tuple[tuple[int, int, int], ...]
    """True class, predicted class, number of images; cells of the matrix without images are left out."""
    hits: str | None = Field(default=None, exclude_if=lambda hits: hits is None)
    """Whether each test image is classified rightly, in the order of the test set: a bit each, the first image in the highest bit
    of the first byte, in base64. Earlier versions did not keep it."""
