"""Images that a CSV or JSON lines file lists."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .labelling import Part, labelled_source
from .list_file import Listed, read_list
from .sources import Item, Rows, Source, SourceRequest


def listed(request: SourceRequest) -> Source:
    """The images of the list, by its column `split` if it has one: `train`, and of `test` and `val` the first with labels.

    Raises DataError for a list that cannot be understood; images that are missing count as damaged.
    """
    path = request.given_path
    if not path.is_file():
        raise DataError(f"{path} is a folder; a CSV or JSON lines file is needed, or `name: folder`")
    images = read_list(path, request.columns)
    train, test, val = (
        [one for one in images if one.split in names] for names in (("train", None), ("test",), ("val",))
    )
    if not train:
        raise DataError(f"{path} lists no images of the split `train`")
    for part in (train, test, val):
        unlabelled = [one for one in part if one.label is None]
        if 0 < len(unlabelled) < len(part):
            raise DataError(
                f"{path}, line {unlabelled[0].line}: no label; all images of a split need one, or none has any"
            )
    label = request.columns.label or "label"
    parts = [
        Part(str(path), label, [one.label for one in part], partial(_rows, path, part))
        for part in (train, test, val)
        if part
    ]
    return labelled_source(parts[0], parts[1:], ())


def _rows(path: Path, images: list[Listed], labels: NDArray[np.int64]) -> Rows:
    def read(rows: NDArray[np.int64]) -> Iterator[Item]:
        for row in rows.tolist():
            one = images[row]
            yield Item(f"{path}, line {one.line}: {one.file}", one.file.read_bytes)

    return Rows(labels, read)
