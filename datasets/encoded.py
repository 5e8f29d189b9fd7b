"""Images that are stored encoded: worker processes decode and crop them ahead of whoever needs the batch."""

from collections.abc import Callable, Generator, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..methods.parts.device import to_device
from .decode import decode
from .store import read_split
from .views import Crops

CHUNK = 32
"""Images that a worker process decodes at a time."""

AHEAD = 2
"""Chunks that each worker process has waiting or under way."""


class EncodedImages:
    """The images of a split. It goes to another process as the names of its files, which are mapped anew there."""

    def __init__(self, files: list[Path], shorter_side: int):
        """Images come with a shorter side of at most `shorter_side` pixels."""
        self._files, self._shorter_side = files, shorter_side
        self._column = read_split(files)["image"]

    def __reduce__(self) -> tuple[type["EncodedImages"], tuple[list[Path], int]]:
        return EncodedImages, (self._files, self._shorter_side)

    def __getitem__(self, row: int) -> Tensor:
        """(3, H, W), uint8; its channels lie last."""
        return torch.from_numpy(decode(self._column[row].as_py(), self._shorter_side)).permute(2, 0, 1)


class Request(NamedTuple):
    """A batch that will be wanted."""

    epoch: int
    rows: Tensor  # (B,), of the set
    samples: Tensor  # (B,), of the split


class _Chunk(NamedTuple):
    request: Request
    ends_batch: bool


Cutter = Callable[[list[Tensor], Request], Crops]
"""Cuts images (3, H, W), uint8, of any sizes; in any process."""


def stream(
    images: EncodedImages, requests: Iterable[Request], cutter: Cutter, *, workers: int, device: torch.device
) -> Generator[tuple[Request, Crops], None, None]:
    """The crops of each batch on the device, in order; made in this process where there are no `workers`.

    The workers hold at most ``AHEAD * CHUNK`` images each, and end when this is closed.
    """
    import_module(".views_on_cpu", __package__)  # once, and not in each process: forked ones have it
    chunks: Iterable[tuple[_Chunk, Crops]] = DataLoader(
        _Cut(images, cutter),
        batch_size=None,
        sampler=_Chunks(requests),
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=device.type == "cuda",
    )
    batch: list[tuple[Request, Crops]] = []
    for chunk, crops in chunks:
        there = [to_device(pixels, device) for pixels in crops.pixels]
        batch.append((chunk.request, Crops(there, crops.sizes)))
        if chunk.ends_batch:
            yield _joined(batch)
            batch = []


class _Chunks(Iterable[_Chunk]):
    """The requests in parts that one worker does at a time."""

    def __init__(self, requests: Iterable[Request]):
        self.requests = requests

    def __iter__(self) -> Iterator[_Chunk]:
        for epoch, rows, samples in self.requests:
            parts = list(zip(rows.split(CHUNK), samples.split(CHUNK), strict=True))
            for number, part in enumerate(parts, start=1):
                yield _Chunk(Request(epoch, *part), number == len(parts))


class _Cut(Dataset[tuple[_Chunk, Crops]]):
    def __init__(self, images: EncodedImages, cutter: Cutter):
        self.images, self.cutter = images, cutter

    def __getitem__(self, index: _Chunk) -> tuple[_Chunk, Crops]:
        images = [self.images[row] for row in index.request.samples.tolist()]
        return index, self.cutter(images, index.request)


def _joined(parts: list[tuple[Request, Crops]]) -> tuple[Request, Crops]:
    if len(parts) == 1:
        return parts[0]
    requests, crops = zip(*parts, strict=True)
    epoch = requests[0].epoch
    rows, samples = (torch.cat([request[field] for request in requests]) for field in (1, 2))
    pixels = [_views_joined(kind, crops) for kind in range(len(crops[0].pixels))]
    return Request(epoch, rows, samples), Crops(pixels, torch.cat([crop.sizes for crop in crops]))


def _views_joined(kind: int, crops: tuple[Crops, ...]) -> Tensor:
    """Each part has its first views of all images, then the second: so has the whole."""
    views = [crop.pixels[kind].unflatten(0, (-1, len(crop.sizes))) for crop in crops]  # (V, b, 3, S, S)
    return torch.cat(views, dim=1).flatten(0, 1)
