"""What every source of images gets from `prepare` and gives to it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import ColumnsConfig
from .contents import Skipped
from .decode import Pixels
from .errors import DataError
from .stratify import TEST_SHARE, stratified_split

SPLIT_SALT = 1


class SourceRequest(NamedTuple):
    """What the function that opens a source is told. It writes to the two folders alone, which need not exist."""

    path: Path | None  # an existing file or folder; of a source by address, a local copy
    class_name: str | None  # of `torchvision` alone
    downloads: Path  # kept
    scratch: Path  # deleted once the images are stored
    columns: ColumnsConfig = ColumnsConfig()  # of the images and labels in a table

    @property
    def given_path(self) -> Path:
        """The path, for a data set that needs one."""
        assert self.path is not None, "DatasetConfig requires it where `Dataset.needs_path`"
        return self.path


class Item(NamedTuple):
    """One image: where it comes from, in words for the user, and how to load it."""

    where: str
    load: Callable[[], bytes | Pixels]  # as encoded, or RGB pixels (H, W, 3)


class Rows(NamedTuple):
    """Images, read in ascending order of the rows that are asked for."""

    labels: NDArray[np.int64]  # (N,); all 0 where there are no classes
    read: Callable[[NDArray[np.int64]], Iterator[Item]]

    @classmethod
    def of_files(cls, files: list[Path], labels: NDArray[np.int64]) -> "Rows":
        """One encoded image a file."""

        def read(rows: NDArray[np.int64]) -> Iterator[Item]:
            for row in rows.tolist():
                yield Item(str(files[row]), files[row].read_bytes)

        return cls(labels, read)

    def take(self, rows: NDArray[np.int64]) -> "Rows":
        """The `rows` alone, in ascending order."""
        return Rows(self.labels[rows], lambda chosen: self.read(rows[chosen]))


class Source(NamedTuple):
    classes: tuple[str, ...]  # none: the images have no labels
    train: Rows
    test: Rows
    skipped: tuple[Skipped, ...] = ()  # what of the user's files is left out
    notes: tuple[str, ...] = ()  # what else the user should know, each in a sentence


def split_off_test(classes: tuple[str, ...], rows: Rows, share: float = TEST_SHARE) -> Source:
    """A source without a test part: a stratified share, the same at any time and on any machine, becomes one.

    Raises DataError where there is one image alone.
    """
    if len(rows.labels) == 1:
        (only,) = rows.read(np.zeros(1, np.int64))
        raise DataError(f"{only.where} is the only image; at least 2 are needed, one to train with and one to test")
    train, test = stratified_split(rows.labels, share, SPLIT_SALT)
    return Source(classes, rows.take(train), rows.take(test))


def unlabelled(rows: Rows) -> Source:
    """All images for training: without labels there is nothing to test."""
    return Source((), rows, rows.take(np.empty(0, np.int64)))


def array_rows(images: Pixels, labels: NDArray[np.int64], name: str) -> Rows:
    """Rows of images (N, H, W, 3) that are in memory."""

    def read(rows: NDArray[np.int64]) -> Iterator[Item]:
        for row in rows.tolist():
            yield Item(f"{name}, image {row}", lambda row=row: images[row])

    return Rows(labels, read)


def download(name: str, fetch: Callable[[], object], folder: Path) -> Path:
    """`folder`, filled by `fetch`. Raises DataError without a network, or if a checksum does not match."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        fetch()
    except (OSError, RuntimeError) as error:
        raise DataError(f"data set '{name}' cannot be downloaded ({error}); give its `path` instead") from error
    return folder
