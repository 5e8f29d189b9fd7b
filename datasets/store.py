"""Splits as Arrow files, read through a memory map without a copy.

A split whose images all have one small size is stored as raw pixels in one record batch, so that all of it is one array;
any other as the encoded images.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .decode import UNREADABLE, Pixels, decode, verify
from .errors import DataError
from .prepared import SplitInfo
from .sources import Item, Rows

T = TypeVar("T")


class Digest(Protocol):
    """What `hashlib` returns."""

    def update(self, data: bytes, /) -> None: ...


RAW_PIXELS = 192 * 192
"""Images of up to this many pixels are stored raw: larger ones take more room than their decoding is worth."""

NAMED = 5
"""How many damaged images an error names."""

BATCH = 256


class _SizesDifferError(Exception):
    """The split cannot be stored raw."""


class Written(NamedTuple):
    info: SplitInfo
    digest: str  # hash of labels and images as they came: decoded pixels may differ between builds of libjpeg


def write_split(rows: Rows, file: Path, num_classes: int, on_image: Callable[[int], None]) -> Written:
    """Decode, check and store all of `rows`; `on_image` is told how many are done.

    Raises DataError that names the images that cannot be read.
    """
    digest = hashlib.sha256()
    encoding, size = "raw", None
    try:
        size = _write_raw(_loaded(rows, _pixels, digest, on_image), rows.labels, file)
    except _SizesDifferError:
        digest, encoding = hashlib.sha256(), "encoded"
        _write_encoded(_loaded(rows, _checked, digest, on_image), rows.labels, file)
    height, width = size or (None, None)
    counts = tuple(np.bincount(rows.labels, minlength=num_classes).tolist())
    info = SplitInfo(count=len(rows.labels), encoding=encoding, height=height, width=width, class_counts=counts)
    return Written(info, digest.hexdigest())


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


def _loaded(rows: Rows, work: Callable[[Any], T], digest: Digest, on_image: Callable[[int], None]) -> Iterator[T]:
    """What `work` makes of each image, in order, on all cores. Raises DataError after the last if any was unreadable."""

    def load(item: Item) -> tuple[bytes, T] | str:
        try:
            payload = item.load()
            return bytes(payload), work(payload)
        except UNREADABLE as error:
            return f"{item.where} ({error})"

    digest.update(rows.labels.astype("<i8").tobytes())
    damaged: list[str] = []
    items = rows.read(np.arange(len(rows.labels)))
    done = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        while batch := list(islice(items, BATCH)):
            for loaded in pool.map(load, batch):
                done += 1
                if isinstance(loaded, str):
                    damaged.append(loaded)
                    continue
                payload, result = loaded
                digest.update(len(payload).to_bytes(8, "little"))
                digest.update(payload)
                yield result
            on_image(done)
    if damaged:
        some = "; ".join(damaged[:NAMED]) + ("; ..." if len(damaged) > NAMED else "")
        raise DataError(f"{len(damaged)} of {len(rows.labels)} images cannot be read: {some}")


def _pixels(payload: bytes | Pixels) -> Pixels:
    return decode(payload) if isinstance(payload, bytes) else payload


def _checked(payload: bytes) -> bytes:
    verify(payload)
    return payload


def _write_raw(images: Iterator[Pixels], labels: NDArray[np.int64], file: Path) -> tuple[int, int]:
    """Store pixels (H, W, 3) as rows of CHW bytes; returns H and W. Raises _SizesDifferError.

    The rows go to a plain file first and from its memory map into one record batch, so that no split need fit memory.
    """
    plain = file.with_suffix(".pixels")
    size = None
    with plain.open("wb") as out:
        for image in images:
            height, width = image.shape[:2]
            if height * width > RAW_PIXELS or size not in (None, (height, width)):
                raise _SizesDifferError
            size = (height, width)
            out.write(image.transpose(2, 0, 1).tobytes())
    assert size is not None
    kind = pa.binary(3 * size[0] * size[1])
    with pa.memory_map(str(plain)) as pixels:
        column = pa.Array.from_buffers(kind, len(labels), [None, pixels.read_buffer()])
        batch = pa.record_batch({"image": column, "label": labels})
        with pa.OSFile(str(file), "wb") as out, pa.ipc.new_file(out, batch.schema) as writer:
            writer.write_batch(batch)
    plain.unlink()
    return size


def _write_encoded(images: Iterator[bytes], labels: NDArray[np.int64], file: Path) -> None:
    schema = pa.schema({"image": pa.large_binary(), "label": pa.int64()})
    file.with_suffix(".pixels").unlink()
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_file(out, schema) as writer:
        start = 0
        while batch := list(islice(images, BATCH)):
            here = labels[start : start + len(batch)]
            # images may be fewer than labels where some are damaged; `images` then ends in an error
            writer.write_batch(pa.record_batch([pa.array(batch, pa.large_binary()), here[: len(batch)]], schema=schema))
            start += len(batch)
