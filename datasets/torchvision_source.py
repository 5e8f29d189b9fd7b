"""Data sets of torchvision by the name of their class."""

import inspect
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .decode import Pixels
from .errors import DataError
from .sources import Item, Rows, Source, SourceRequest, split_off_test
from .torchvision_classes import TORCHVISION

LABELS = ("targets", "labels", "_labels", "y")
"""Where torchvision's classes keep the labels of all images."""


def torchvision_class(request: SourceRequest) -> Source:
    """The class's own split. It finds its files under the path; without one it downloads them.

    Raises DataError where the files are not there, or where an image's label is not one class.
    """
    from torchvision import datasets  # imports torch

    path, class_name, downloads = request.path, request.class_name, request.downloads
    assert class_name is not None  # DatasetConfig requires it
    parts = TORCHVISION[class_name]
    kind = getattr(datasets, class_name)
    train = _open(kind, parts.train, path, downloads)
    rows = _rows(train, class_name)
    classes = _classes(train, rows.labels)
    if parts.test is None:
        return split_off_test(classes, rows)
    return Source(classes, rows, _rows(_open(kind, parts.test, path, downloads), class_name))


def _open(kind: Any, arguments: dict[str, Any], path: Path | None, downloads: Path) -> Any:
    known = inspect.signature(kind).parameters
    if "loader" in known:  # the images as they came, which are checked and decoded here as any others
        arguments = arguments | {"loader": _read}
    if path is None and "download" in known:
        arguments = arguments | {"download": True}
    try:
        return kind(str(path or downloads), **arguments)
    except (OSError, RuntimeError, ValueError, ModuleNotFoundError) as error:
        where = f"{path} does not hold torchvision's {kind.__name__}" if path else f"{kind.__name__} is not available"
        hint = "it must be the `root` of this class" if path else "give its `path` instead"
        raise DataError(f"{where} ({str(error).strip().splitlines()[0]}); {hint}") from error


def _read(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def _rows(dataset: Any, class_name: str) -> Rows:
    def read(rows: NDArray[np.int64]) -> Iterator[Item]:
        for row in rows.tolist():
            yield Item(f"{class_name}, image {row}", partial(_load, dataset, row))

    return Rows(_labels(dataset, class_name), read)


def _load(dataset: Any, row: int) -> bytes | Pixels:
    image = dataset[row][0]
    if isinstance(image, bytes):
        return image
    assert isinstance(image, Image.Image)
    return np.asarray(image.convert("RGB"))


def _labels(dataset: Any, class_name: str) -> NDArray[np.int64]:
    """(N,). Without a list that the class keeps, every image is loaded for its label."""
    kept = next((found for name in LABELS if len(found := getattr(dataset, name, ())) == len(dataset)), None)
    labels = np.asarray([dataset[i][1] for i in range(len(dataset))] if kept is None else kept)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or labels.min(initial=0) < 0:
        raise DataError(
            f"torchvision's {class_name} has labels that are not one class an image, as {labels[:1].tolist()}"
        )
    return labels.astype(np.int64)


def _classes(dataset: Any, labels: NDArray[np.int64]) -> tuple[str, ...]:
    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    count = int(labels.max()) + 1
    if names is None or len(names) < count:
        return tuple(str(label) for label in range(count))
    return tuple(str(name) for name in names)
