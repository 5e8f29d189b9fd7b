"""A prepared split, or part of one, as an indexable set of images."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..methods.base import TrainingSet
from ..methods.parts.device import to_device
from .decode import Pixels, decode
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
    encoded ones are decoded when asked for, in as many threads as torch uses.
    """

    labels: Tensor  # (N,), int64, on the CPU
    samples: Tensor  # (N,), int64, on the CPU: the number of each image in its split, whatever the part
    classes: tuple[str, ...]

    def __init__(
        self, prepared: Prepared, split: Split, rows: NDArray[np.int64], table: pa.Table, device: torch.device
    ):
        """Use `ImageSet.open`. rows: (N,), those of the split that belong to the set."""
        self.classes = prepared.classes
        self.samples = torch.from_numpy(rows)
        self.labels = torch.from_numpy(labels_of(table)[rows])
        self.device = device
        self._column = table["image"]
        self._shorter_side = DETAIL * prepared.image_size
        self._raw: Tensor | None = None  # (all rows, 3, H, W), uint8
        self._threads: ThreadPoolExecutor | None = None
        info = prepared.split(split)
        self._num_samples = info.count
        if info.height is None or info.width is None:
            self._threads = ThreadPoolExecutor(torch.get_num_threads())
        else:
            self._raw = _resident(raw_pixels(table, info.height, info.width), device)

    @classmethod
    def open(
        cls, prepared: Prepared, split: Split, part: Part = "all", device: torch.device | str = "cpu"
    ) -> "ImageSet":
        """The split, or of the training split the stratified `holdout` share, or what that leaves to `fit`.

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
        return cls(prepared, split, rows, table, torch.device(device))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def info(self) -> TrainingSet:
        """What a method may know of the images."""
        return TrainingSet(self._num_samples, self.num_classes)

    @property
    def decodes(self) -> bool:
        """Whether `pixels` takes time, so that a batch is worth fetching ahead."""
        return self._raw is None

    def pixels(self, rows: Tensor) -> Images:
        """The images of `rows` (B,), counted within this set, on the device."""
        return self.on_device(self.loaded(rows))

    def on_device(self, images: Images) -> Images:
        """What `loaded` gave, on the device; for the thread and the stream that go on with it."""
        return images._replace(pixels=to_device(images.pixels, self.device))

    def loaded(self, rows: Tensor) -> Images:
        """The images of `rows` (B,) where they are: those that have to be decoded on the CPU. In any thread."""
        samples = self.samples[rows.cpu()]
        if self._raw is not None:
            pixels = self._raw[to_device(samples, self._raw.device)]
            return Images(pixels, torch.tensor(self._raw.shape[-2:]).expand(len(samples), 2))
        assert self._threads is not None
        decoded = list(self._threads.map(self._decode, samples.tolist()))
        sizes = torch.tensor([image.shape[:2] for image in decoded])  # (B, 2)
        height, width = sizes.amax(0).tolist()
        pixels = torch.zeros(len(decoded), 3, height, width, dtype=torch.uint8)
        padded = pixels.numpy()
        for row, image in enumerate(decoded):
            padded[row, :, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
        return Images(pixels, sizes)

    def _decode(self, row: int) -> Pixels:
        return decode(self._column[row].as_py(), self._shorter_side)


def _resident(pixels: Pixels, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the map is read-only; it is only ever indexed
        tensor = torch.from_numpy(pixels)
    fits = device.type == "cuda" and tensor.nbytes <= torch.cuda.mem_get_info(device)[0] / 2
    return tensor.to(device) if fits else tensor
