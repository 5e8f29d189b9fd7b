"""A prepared split, or part of one, as an indexable set of images."""

import warnings
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..methods.base import TrainingSet
from ..methods.parts.device import to_device
from .decode import Pixels
from .encoded import EncodedImages
from .errors import DataError
from .prepared import Prepared, Split
from .store import labels_of, raw_pixels, read_split
from .stratify import stratified_split
from .views import Images

Part = Literal["all", "fit", "holdout"]

HOLDOUT_SALT = 3

DETAIL = 2
"""Encoded images are decoded to a shorter side of at most this many times the image size."""


class ImageSet:
    """Images with labels.

    Raw splits live on the device where they take at most half of its free memory, else in the memory map of their file;
    encoded ones are decoded when a batch is asked for.
    """

    labels: Tensor  # (N,), int64, on the CPU; -1 where the images have none
    samples: Tensor  # (N,), int64, on the CPU: the number of each image in its split, whatever the part
    classes: tuple[str, ...]

    def __init__(
        self,
        prepared: Prepared,
        split: Split,
        rows: NDArray[np.int64],
        table: pa.Table,
        device: torch.device,
        decoders: int,
    ):
        """Use `ImageSet.open`. rows: (N,), those of the split that belong to the set."""
        self.classes = prepared.classes
        self.samples = torch.from_numpy(rows)
        self.labels = torch.from_numpy(labels_of(table)[rows]) if self.classes else torch.full((len(rows),), -1)
        self.device = device
        self.decoders = decoders
        self.encoded: EncodedImages | None = None
        self._raw: Tensor | None = None  # (all rows, 3, H, W), uint8
        info = prepared.split(split)
        self._num_samples = info.count
        if info.height is None or info.width is None:
            self.encoded = EncodedImages(prepared.arrow_files(split), DETAIL * prepared.image_size)
        else:
            self._raw = _resident(raw_pixels(table, info.height, info.width), device)

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

        Raises DataError where a part would be empty.
        """
        assert part == "all" or split == "train", "only the training set has parts"
        table = read_split(prepared.arrow_files(split))
        rows = np.arange(table.num_rows)
        if part != "all":
            fit, holdout = stratified_split(labels_of(table), prepared.holdout, HOLDOUT_SALT)
            rows = fit if part == "fit" else holdout
        if not len(rows):
            raise DataError(f"the part '{part}' of {table.num_rows} images with holdout {prepared.holdout} is empty")
        return cls(prepared, split, rows, table, torch.device(device), decoders)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def info(self) -> TrainingSet:
        """What a method may know of the images."""
        return TrainingSet(self._num_samples, self.num_classes)

    def whole(self, rows: Tensor) -> Images:
        """The images of `rows` (B,), counted within this set, on the device; of a set that is not encoded."""
        assert self._raw is not None
        chosen = to_device(self.samples[rows.cpu()], self._raw.device)
        return Images(to_device(self._raw[chosen], self.device))


def _resident(pixels: Pixels, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the map is read-only; it is only ever indexed
        tensor = torch.from_numpy(pixels)
    fits = device.type == "cuda" and tensor.nbytes <= torch.cuda.mem_get_info(device)[0] / 2
    return tensor.to(device) if fits else tensor
