"""The data sets that a sweep file may name: our own, and what other packages add. Free of torch and NumPy."""

import re
from dataclasses import dataclass

from ..methods.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What is known of a data set before its images are read."""

    name: str
    """As in a sweep file: letters, digits, '_' and '-'."""
    description: str
    """One line about it, for ``ssl-sweep datasets``."""
    image_size: int
    """Pixels at which its images are used if the sweep does not say."""
    open: str
    """``module:function`` that opens it: takes a `sources.SourceRequest`, returns a `sources.Source`, raises DataError."""
    needs_path: bool = False
    """Whether it cannot be made or downloaded, so that the sweep must give a `path`."""
    named_by_path: bool = False
    """Whether it is any images of the user's: tables call it by the last part of its path."""
    reading: int = 0
    """Raised whenever its source reads other images of the same files: what was prepared before is then prepared again."""
    published: tuple[int, int] | None = None
    """Training and test images of the data set that published numbers are of."""


def _refusal(name: str, found: Dataset) -> str | None:
    if not isinstance(found, Dataset):  # pyright: ignore[reportUnnecessaryIsInstance]  # it comes from another package
        return f"is of type {type(found).__name__}, not Dataset"
    if found.name != name:
        return f"calls itself '{found.name}'"
    return None if re.fullmatch(r"[A-Za-z0-9_-]+", name) else "has a name with other than letters, digits, '_' and '-'"


DATASETS: Registry[Dataset] = Registry(
    "datasets",
    "ssl_sweep.datasets",
    {
        "digits": "descriptions:DIGITS",
        "cifar10": "descriptions:CIFAR10",
        "imagenette": "descriptions:IMAGENETTE",
        "imagenet100": "descriptions:IMAGENET100",
        "imagenet1k": "descriptions:IMAGENET1K",
        "folder": "descriptions:FOLDER",
        "parquet": "descriptions:PARQUET",
        "list": "descriptions:LIST",
        "huggingface": "descriptions:HUGGINGFACE",
        "torchvision": "descriptions:TORCHVISION_CLASS",
    },
    _refusal,
)
"""Every data set by name, as `module:Dataset` within this package; entry points `ssl_sweep.datasets` add others."""
