"""Splits as Arrow files, read through a memory map without a copy.

A split whose images all have one small size is stored as raw pixels in one record batch, so that all of it is one array;
any other as the encoded images.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .decode import UNREADABLE, Pixels, decode, verify
from .prepared import SplitInfo, refuse_damaged
from .sources import Item, Rows

T = TypeVar("T")


Labels = NDArray[np.int64]

RAW_PIXELS = 192 * 192
"""Images of up to this many pixels are stored raw: larger ones take more room than their decoding is worth."""

BATCH = 256


class _SizesDifferError(Exception):
    """The split cannot be stored raw."""


class Written(NamedTuple):
    info: SplitInfo
    digest: str  # hash of labels and images as they came: decoded pixels may differ between builds of libjpeg


def write_split(
    rows: Rows, file: Path, num_classes: int, skip_damaged: bool, on_image: Callable[[int], None]
) -> Written:
    """Decode, check and store all of `rows`; `on_image` is told how many are done.

    Raises DataError that names the images that cannot be read, unless `skip_damaged`; and where no image can be read.
    """
    reading = _Reading(rows, on_image)
    encoding, size = "raw", None
    try:
        size, labels = _write_raw(reading.of(_pixels), file)
    except _SizesDifferError:
        encoding = "encoded"
        labels = _write_encoded(reading.of(_checked), file)
    if not skip_damaged or len(reading.damaged) == len(rows.labels):
        refuse_damaged(reading.damaged, len(rows.labels))
    height, width = size or (None, None)
    info = SplitInfo(
        count=len(labels),
        encoding=encoding,
        height=height,
        width=width,
        class_counts=tuple(np.bincount(labels, minlength=num_classes).tolist()),
        damaged=tuple(reading.damaged),
    )
    return Written(info, reading.digest())


def read_split(file: Path) -> pa.Table:
    """The stored split; its buffers are the memory map."""
    return pa.ipc.open_file(pa.memory_map(str(file))).read_all()


def labels_of(table: pa.Table) -> NDArray[np.int64]:
    """Labels (N,) of a stored split."""
    return table["label"].to_numpy()


def raw_pixels(table: pa.Table, height: int, width: int) -> Pixels:
    """Pixels (N, 3, H, W) of a split that is stored raw: a read-only view of the file."""
    column = table["image"].chunk(0)
    return np.frombuffer(column.buffers()[1], np.uint8).reshape(len(column), 3, height, width)


class _Reading:
    """One pass over a split, and what it found."""

    def __init__(self, rows: Rows, on_image: Callable[[int], None]):
        self.rows, self.on_image = rows, on_image
        self.damaged: list[str] = []
        self._places: list[int] = []  # rows of the damaged ones
        self._digest = hashlib.sha256()

    def of(self, work: Callable[[Any], T]) -> Iterator[tuple[int, T]]:
        """Label of each image that can be read and what `work` makes of it, in order, on all cores. Starts afresh."""
        labels = self.rows.labels
        self._digest, self.damaged, self._places = hashlib.sha256(labels.astype("<i8").tobytes()), [], []
        items, done = self.rows.read(np.arange(len(labels))), 0
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            while batch := list(islice(items, BATCH)):
                for loaded in pool.map(partial(_load, work), batch):
                    if isinstance(loaded, str):
                        self.damaged.append(loaded)
                        self._places.append(done)
                    else:
                        payload, result = loaded
                        self._digest.update(len(payload).to_bytes(8, "little"))
                        self._digest.update(payload)
                        yield int(labels[done]), result
                    done += 1
                self.on_image(done)

    def digest(self) -> str:
        """Hash of labels and images as they came, and of which are missing."""
        if self._places:
            self._digest.update(np.array(self._places, "<i8").tobytes())
        return self._digest.hexdigest()


def _load(work: Callable[[Any], T], item: Item) -> tuple[bytes, T] | str:
    """The image as it came with what `work` makes of it; or, of one that cannot be read, its place and the reason."""
    try:
        payload = item.load()
        return bytes(payload), work(payload)
    except UnidentifiedImageError:  # its own words name an address in memory
        return f"{item.where} (no image format that is known)"
    except UNREADABLE as error:
        return f"{item.where} ({error})"


def _pixels(payload: bytes | Pixels) -> Pixels:
    return decode(payload) if isinstance(payload, bytes) else payload


def _checked(payload: bytes | Pixels) -> bytes:
    if isinstance(payload, bytes):
        verify(payload)
        return payload
    png = io.BytesIO()
    Image.fromarray(payload).save(png, "PNG")
    return png.getvalue()


def _write_raw(images: Iterator[tuple[int, Pixels]], file: Path) -> tuple[tuple[int, int] | None, Labels]:
    """Store pixels (H, W, 3) as rows of CHW bytes; returns H and W, and the labels. Raises _SizesDifferError.

    The rows go to a plain file first and from its memory map into one record batch, so that no split need fit memory.
    Nothing is stored of no image.
    """
    plain = file.with_suffix(".pixels")
    size, labels = None, []
    with plain.open("wb") as out:
        for label, image in images:
            height, width = image.shape[:2]
            if height * width > RAW_PIXELS or size not in (None, (height, width)):
                raise _SizesDifferError
            size = (height, width)
            labels.append(label)
            out.write(image.transpose(2, 0, 1).tobytes())
    if size is not None:
        kind = pa.binary(3 * size[0] * size[1])
        with pa.memory_map(str(plain)) as pixels:
            column = pa.Array.from_buffers(kind, len(labels), [None, pixels.read_buffer()])
            batch = pa.record_batch({"image": column, "label": pa.array(labels, pa.int64())})
            with pa.OSFile(str(file), "wb") as out, pa.ipc.new_file(out, batch.schema) as writer:
                writer.write_batch(batch)
    plain.unlink()
    return size, np.array(labels, dtype=np.int64)


def _write_encoded(images: Iterator[tuple[int, bytes]], file: Path) -> Labels:
    """Store the images as they came; returns the labels."""
    schema = pa.schema({"image": pa.large_binary(), "label": pa.int64()})
    file.with_suffix(".pixels").unlink()
    every: list[int] = []
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_file(out, schema) as writer:
        while batch := list(islice(images, BATCH)):
            labels, encoded = zip(*batch, strict=True)
            every += labels
            writer.write_batch(
                pa.record_batch([pa.array(encoded, pa.large_binary()), pa.array(labels, pa.int64())], schema=schema)
            )
    return np.array(every, dtype=np.int64)
