"""A prepared split, or part of one, as an indexable set of images."""

import copy
import warnings
from collections.abc import Iterable
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..methods.base import TrainingSet
from ..methods.parts.device import to_device
from ..methods.quantities import plural
from .contents import Split
from .decode import Pixels
from .encoded import EncodedImages
from .errors import DataError
from .prepared import Prepared
from .stratify import SHARE_SALT, labelled_rows, stratified_split
from .verified import labels_of, open_split
from .views import Images

Part = Literal["all", "fit", "holdout"]

HOLDOUT_SALT = 3


class ImageSet:
    """Images with labels.

    Raw splits live on the device where they take at most half of its free memory, else in the memory map of their file;
    encoded ones are decoded when a batch is asked for.
    """

    labels: Tensor  # (N,), int64, on the CPU; -1 where the images have none
    samples: Tensor  # (N,), int64, on the CPU: the number of each image in its split, whatever the part
    classes: tuple[str, ...]
    origin: tuple[str, Split]
    """Fingerprint of the data set, and the split: with the number in `samples`, what an image is."""

    def __init__(
        self,
        prepared: Prepared,
        split: Split,
        rows: NDArray[np.int64],
        tables: list[pa.Table],
        device: torch.device,
        decoders: int,
    ):
        """Use `ImageSet.open`. rows: (N,), those of the split that belong to the set."""
        self.classes = prepared.classes
        self.origin = (prepared.fingerprint, split)
        self.samples = torch.from_numpy(rows)
        self.labels = torch.from_numpy(labels_of(tables)[rows]) if self.classes else torch.full((len(rows),), -1)
        self.device = device
        self.decoders = decoders
        self.encoded: EncodedImages | None = None
        self._raw: Tensor | None = None  # (all rows, 3, H, W), uint8
        info = prepared.split(split)
        self._num_samples = info.count
        if info.height is None or info.width is None:
            self.encoded = EncodedImages(prepared, split, tables)
        else:
            self._raw = _resident(_pixels(tables[0], info.height, info.width), device)

    @classmethod
    def open(
        cls,
        prepared: Prepared,
        split: Split,
        part: Part = "all",
        device: torch.device | str = "cpu",
        decoders: int = 0,
    ) -> "ImageSet":
        """The split, or of the training split the stratified `holdout` share, or what that leaves to `fit`.

        Encoded images are decoded by `decoders` processes, or without any in this one.

        Raises DataError where a part would be empty, and for files that differ from what was written; an encoded image that
        does raises it when it is decoded.
        """
        assert part == "all" or split == "train", "only the training set has parts"
        tables = open_split(prepared, split)
        rows = np.arange(prepared.split(split).count)
        if part != "all":
            fit, holdout = stratified_split(labels_of(tables), prepared.holdout, HOLDOUT_SALT)
            rows = fit if part == "fit" else holdout
        if not len(rows):
            count = prepared.split(split).count
            raise DataError(f"the part '{part}' of {plural(count, 'image')} with holdout {prepared.holdout} is empty")
        return cls(prepared, split, rows, tables, torch.device(device), decoders)

    def subset(self, rows: Tensor) -> "ImageSet":
        """The images of `rows` (n,), counted within this set, under the numbers that they have here; of the same pixels."""
        chosen = copy.copy(self)
        chosen.samples, chosen.labels = self.samples[rows], self.labels[rows]
        return chosen

    def share(self, share: float) -> "ImageSet":
        """The same share of each class, see `labelled_rows`, and the same images whenever it is asked for."""
        count = max(1, round(share * len(self)))
        return self.subset(torch.from_numpy(labelled_rows(self.labels.numpy(), count, SHARE_SALT)))

    def listed(self, rows: Iterable[int]) -> "ImageSet":
        """Those of the set that are among the `rows` of its split. Raises DataError if none is."""
        chosen = torch.isin(self.samples, torch.tensor(list(rows), dtype=torch.long)).nonzero().flatten()
        if not len(chosen):
            raise DataError("none of the listed images is in this part of the training set")
        return self.subset(chosen)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def info(self) -> TrainingSet:
        """What a method may know of the images."""
        return TrainingSet(self._num_samples, self.num_classes)

    def rows_of(self, other: "ImageSet") -> Tensor | None:
        """The row that each image of `other` has here, (N,), and -1 for one that is not here; None if none is."""
        if self.origin != other.origin:
            return None
        rows = torch.full((self._num_samples,), -1)
        rows[self.samples] = torch.arange(len(self))
        found = rows[other.samples]
        return found if (found >= 0).any() else None

    def whole(self, rows: Tensor) -> Images:
        """The images of `rows` (B,), counted within this set, on the device; of a set that is not encoded."""
        assert self._raw is not None
        chosen = to_device(self.samples[rows.cpu()], self._raw.device)
        return Images(to_device(self._raw[chosen], self.device))


def _pixels(table: pa.Table, height: int, width: int) -> Pixels:
    """Pixels (N, 3, H, W) of a split that is stored raw: a read-only view of the file."""
    column = table["image"].chunk(0)
    return np.frombuffer(column.buffers()[1], np.uint8).reshape(len(column), 3, height, width)


def _resident(pixels: Pixels, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the map is read-only; it is only ever indexed
        tensor = torch.from_numpy(pixels)
    fits = device.type == "cuda" and tensor.nbytes <= torch.cuda.mem_get_info(device)[0] / 2
    return tensor.to(device) if fits else tensor
