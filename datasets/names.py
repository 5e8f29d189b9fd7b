"""Training images by the names of their files: prepared images have none, so the source is asked for them in its order."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .config import DatasetConfig
from .errors import DataError
from .folder_source import EXTENSIONS
from .prepare import open_source, subset
from .prepared import Prepared, source_path

SHOWN = 3
"""Lines of a list that an error names."""


def rows_of_names(lines: Sequence[str], config: DatasetConfig, prepared: Prepared, root: Path) -> NDArray[np.int64]:
    """The rows (n,) of the training split that `lines` name, ascending: by number from 0 if all are numbers, else by file.

    A line is a file's name, as ``n01440764_10026.JPEG``, or its folder's too, as ``n01440764/n01440764_10026.JPEG``.

    Raises:
        DataError: a line names no training image, or several, or one a second time; or the source has no names.
    """
    count = prepared.train.count
    if all(line.isascii() and line.isdigit() for line in lines):
        found = [int(line) for line in lines]
        _refuse([line for line, row in zip(lines, found, strict=True) if row >= count], lines, config, count)
    else:
        names = training_names(config, prepared, root)
        depths = sorted({line.count("/") + 1 for line in lines})
        numbers: dict[str, int] = {}
        several: set[str] = set()
        for depth in depths:
            for row, path in enumerate(names):
                name = "/".join(Path(path).parts[-depth:])
                if name in numbers:
                    several.add(name)
                numbers[name] = row
        _refuse([line for line in lines if line not in numbers], lines, config, count)
        if twice := [line for line in lines if line in several]:
            raise DataError(f"{_some(twice, lines)} the name of several training images: write class/name")
        found = [numbers[line] for line in lines]
    if repeated := [lines[found.index(row)] for row, times in Counter(found).items() if times > 1]:
        raise DataError(f"{_some(repeated, lines)} listed more than once")
    return np.sort(np.array(found, dtype=np.int64))


def training_names(config: DatasetConfig, prepared: Prepared, root: Path) -> list[str]:
    """The path of each training image, in the order of the prepared split.

    Raises:
        DataError: the images of this source have no files of their own here, or they are others than were prepared.
    """
    numbers = "; a list of numbers from 0 can be used with any data set"
    if config.is_remote:
        raise DataError(
            f"data set '{config.display_name}' is on an object store, and images there are not known by name{numbers}"
        )
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        rows = subset(open_source(config, root, source_path(config), Path(scratch)).train, config.train_images, "")
        first = next(iter(rows.read(np.zeros(1, np.int64))))
        if not first.where.lower().endswith(tuple(EXTENSIONS)):
            raise DataError(
                f"data set '{config.display_name}' has no files of single images, so that none has a name{numbers}"
            )
        places = [item.where for item in rows.read(np.arange(len(rows.labels)))]
    damaged = prepared.train.damaged
    names = [place for place in places if not (damaged and any(line.startswith(f"{place} (") for line in damaged))]
    if len(names) != prepared.train.count:
        raise DataError(
            f"data set '{config.display_name}' has {len(names)} training images now, and {prepared.train.count} prepared"
        )
    return names


def _refuse(absent: Sequence[str], lines: Sequence[str], config: DatasetConfig, count: int) -> None:
    if absent:
        raise DataError(
            f"{_some(absent, lines)} no training image of data set '{config.display_name}', which has {count:,}"
        )


def _some(bad: Iterable[str], lines: Sequence[str]) -> str:
    """``2 of 100 lines (a.jpg, b.jpg) are``."""
    every = list(bad)
    shown = ", ".join(every[:SHOWN]) + (", ..." if len(every) > SHOWN else "")
    return f"{len(every):,} of {len(lines):,} lines ({shown}) {'is' if len(every) == 1 else 'are'}"
