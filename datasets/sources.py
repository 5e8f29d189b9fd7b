"""What every source of images gives to `prepare`, and the two that are arrays: digits and CIFAR-10's python batches."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from .decode import Pixels
from .errors import DataError
from .stratify import TEST_SHARE, stratified_split

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS_TEST = 360
SPLIT_SALT = 1


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


def digits() -> Source:
    """scikit-learn's 1,797 digits: gray levels 0 to 16 become 0 to 255; 360 images are the test set."""
    from sklearn.datasets import load_digits  # slow to import, and only this source needs it

    data = cast(Any, load_digits())
    gray = np.round(data.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(gray[..., None], 3, axis=-1)
    rows = array_rows(images, data.target.astype(np.int64), "digits")
    return split_off_test(tuple(str(digit) for digit in range(10)), rows, share=DIGITS_TEST / len(images))


def cifar10_batches(folder: Path) -> Source:
    """The official `cifar-10-batches-py`."""
    train = [_cifar10_batch(folder / f"data_batch_{i}") for i in range(1, 6)]
    images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    test_images, test_labels = _cifar10_batch(folder / "test_batch")
    return Source(
        CIFAR10_CLASSES,
        array_rows(cast(Pixels, images), cast(NDArray[np.int64], labels), str(folder)),
        array_rows(test_images, test_labels, str(folder / "test_batch")),
    )


class _ArrayUnpickler(pickle.Unpickler):
    """Loads NumPy arrays and plain values, and refuses every other class: a pickle can name any function to call."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): lambda text, encoding="utf-8": text.encode(encoding),
    }

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is not allowed")
        return self.allowed[module_name, global_name]


def _cifar10_batch(file: Path) -> tuple[Pixels, NDArray[np.int64]]:
    """Images (N, 32, 32, 3) and labels (N,) of one batch file."""
    try:
        with file.open("rb") as stream:
            batch = _ArrayUnpickler(stream, encoding="bytes").load()
        images = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels = np.asarray(batch[b"labels"], dtype=np.int64)
    except (OSError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{file} is not a CIFAR-10 python batch ({error}); 5 data_batch_N and test_batch are needed"
        ) from error
    return images, labels
