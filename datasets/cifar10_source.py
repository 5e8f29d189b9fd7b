"""CIFAR-10: the official python batches, Parquet files, or downloaded."""

import pickle
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from .decode import Pixels
from .errors import DataError
from .parquet_source import parquet_files
from .sources import Source, SourceRequest, array_rows, download

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(request: SourceRequest) -> Source:
    """The python batches in the path or in its `cifar-10-batches-py`, else Parquet files; without a path, downloaded batches."""
    path = request.path or _downloaded(request.downloads)
    for folder in (path, path / "cifar-10-batches-py"):
        if (folder / "data_batch_1").exists():
            return cifar10_batches(folder)
    return parquet_files(path, CIFAR10_CLASSES)


def _downloaded(downloads: Path) -> Path:
    from torchvision.datasets import CIFAR10  # imports torch

    return download("cifar10", lambda: CIFAR10(downloads, download=True), downloads)


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
