"""Images that are stored encoded: worker processes decode and crop them ahead of whoever needs the batch."""

from collections.abc import Callable, Generator, Iterable, Iterator
from importlib import import_module
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..methods.parts.device import to_device
from .contents import Split
from .decode import decode, reduced
from .errors import DataError
from .prepared import Prepared
from .verified import DIGEST, damage, digest_of, kept_digests, open_split, pixels_with
from .views import Crops

CHUNK = 32
"""Images that a worker process decodes at a time."""

DETAIL = 2
"""Images are decoded to a shorter side of at most this many times the image size."""

AHEAD = 2
"""Chunks that each worker process has waiting or under way."""


class EncodedImages:
    """The images of a split, each compared with its digest when it is read.

    It goes to another process as the names of its files, which are mapped anew there.
    """

    def __init__(self, prepared: Prepared, split: Split, tables: list[pa.Table] | None = None):
        """`tables`: those of `open_split`, if it is open already. Raises DataError for files that are damaged."""
        self._prepared = prepared
        self._split: Split = split
        self._files = prepared.arrow_files(split)
        tables = open_split(prepared, split) if tables is None else tables
        self._column = pa.chunked_array(
            [chunk for table in tables for chunk in table["image"].chunks], pa.large_binary()
        )
        self._ends = np.cumsum([table.num_rows for table in tables])  # of each file, in rows of the split
        digests: list[bytes] = []
        for file, table in zip(self._files, tables, strict=True):
            try:
                digests.append(kept_digests(table))
            except ValueError as error:
                raise damage(prepared, f"{file} is damaged ({error})", file) from None
        self._digests = b"".join(digests)  # 41 MB of ImageNet-1k

    def __reduce__(self) -> tuple[type["EncodedImages"], tuple[Prepared, Split]]:
        return EncodedImages, (self._prepared, self._split)

    def __getitem__(self, row: int) -> Tensor:
        """(3, H, W), uint8, with a shorter side of at most `DETAIL` times the image size; its channels lie last.

        Raises DataError, which names its file, for an image that differs from what was written.
        """
        encoded = self._column[row].as_py()
        digest = self._digests[DIGEST * row : DIGEST * (row + 1)]
        shorter_side = DETAIL * self._prepared.image_size
        if digest_of(encoded) == digest:
            pixels = decode(encoded, shorter_side, self._prepared.gray_bits)
        elif (whole := pixels_with(digest, encoded)) is not None:  # the source gave pixels
            pixels = reduced(whole, shorter_side)
        else:
            raise self._damage(row)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _damage(self, row: int) -> DataError:
        number = int(np.searchsorted(self._ends, row, side="right"))
        file = self._files[number]
        place = row - (int(self._ends[number - 1]) if number else 0)
        return damage(self._prepared, f"image {place} in {file} changed since it was prepared", file)


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

    The workers hold at most ``AHEAD * CHUNK`` images each, and end when this is closed. Raises DataError for an image that
    differs from what was written.
    """
    import_module(".views_on_cpu", __package__)  # once, and not in each process: forked ones have it
    chunks: Iterable[tuple[_Chunk, Crops | DataError]] = DataLoader(
        _Cut(images, cutter),
        batch_size=None,
        sampler=_Chunks(requests),
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=device.type == "cuda",
    )
    batch: list[tuple[Request, Crops]] = []
    for chunk, crops in chunks:
        if isinstance(crops, DataError):
            raise crops
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


class _Cut(Dataset[tuple[_Chunk, Crops | DataError]]):
    """What a decoding process does. An error in the data goes to its caller as it is: raised, it would get a traceback."""

    def __init__(self, images: EncodedImages, cutter: Cutter):
        self.images, self.cutter = images, cutter

    def __getitem__(self, index: _Chunk) -> tuple[_Chunk, Crops | DataError]:
        try:
            images = [self.images[row] for row in index.request.samples.tolist()]
        except DataError as error:
            return index, error
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
