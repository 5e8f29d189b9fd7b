"""Splits as Arrow files, read through a memory map without a copy.

A split whose images all have one small size is stored as raw pixels in one record batch, so that all of it is one array;
any other as the encoded images, in files of which a run that goes on has only the missing ones to write.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .contents import Split, SplitInfo, shard_file
from .decode import UNREADABLE, Look, Pixels, decode, look, verify, verify_checksums
from .prepared import refuse_damaged
from .sources import Item, Rows
from .verified import (
    NO_DIGEST,
    checksums_of,
    cores,
    digest_of,
    digests_in,
    is_image_of,
    kept_digests,
    read_file,
    split_digests,
)

Labels = NDArray[np.int64]

RAW_PIXELS = 192 * 192
"""Images of up to this many pixels are stored raw: larger ones take more room than their decoding is worth."""

ENCODED = pa.large_binary()

BATCH = 256
SHARD = 4 * BATCH
"""Images of the source that go into a file of an encoded split: what a run that was killed does again, at most."""


class _SizesDifferError(Exception):
    """The split cannot be stored raw."""


class Written(NamedTuple):
    info: SplitInfo
    digest: str  # hash of labels and images as they came: decoded pixels may differ between builds of libjpeg
    contents: list[tuple[int, bytes]]  # label and digest of each image that can be read
    gray16: int  # the greatest value of all 16-bit gray images; 0 if there are none


@dataclass
class _Found:
    """What there was in a split, or in a part of it."""

    labels: list[int] = field(default_factory=list)  # of the images that can be read
    digests: list[bytes] = field(default_factory=list)  # of every image as it came
    damaged: list[str] = field(default_factory=list)  # each with the reason
    sides: list[int] = field(default_factory=list)  # the shorter one of each image that can be read
    gray16: int = 0  # the greatest value of all 16-bit gray images

    def add(self, other: "_Found") -> None:
        self.labels += other.labels
        self.digests += other.digests
        self.damaged += other.damaged
        self.sides += other.sides
        self.gray16 = max(self.gray16, other.gray16)


def write_split(
    rows: Rows,
    folder: Path,
    split: Split,
    num_classes: int,
    skip_damaged: bool,
    on_image: Callable[[int], None],
    gray_bits: int = 16,
) -> Written:
    """Decode, check and store all of `rows`; `on_image` is told how many are done.

    Pixels are stored with 16-bit gray scaled by `gray_bits`; encoded images as they are. What a killed run left in `folder`
    is used. Raises DataError that names the images that cannot be read, unless
    `skip_damaged`; and where no image can be read.
    """
    if not len(rows.labels):
        empty = SplitInfo(
            count=0, encoding="encoded", height=None, width=None, class_counts=(0,) * num_classes, checksums=()
        )
        return Written(empty, "", [], 0)
    encoding, size, found = "raw", None, _Found()
    files, shards = [folder / f"{split}.arrow"], folder / split
    try:
        if shards.exists():  # no need to find out again
            raise _SizesDifferError
        images = _read(rows, 0, partial(_pixels, gray_bits=gray_bits), found, on_image)
        size = _write_raw(images, found, files[0])
    except _SizesDifferError:
        encoding, found = "encoded", _write_shards(rows, shards, on_image)
        files = [shard_file(shards, number) for number in range(_num_shards(rows))]
    if not skip_damaged or len(found.damaged) == len(rows.labels):
        refuse_damaged(found.damaged, len(rows.labels))
    height, width = size or (None, None)
    info = SplitInfo(
        count=len(found.labels),
        encoding=encoding,
        height=height,
        width=width,
        class_counts=tuple(np.bincount(np.array(found.labels, np.int64), minlength=num_classes).tolist()[:num_classes]),
        damaged=tuple(found.damaged),
        checksums=checksums_of(files),
        shorter_side=int(np.median(found.sides)) if found.sides else None,
    )
    content = rows.labels.astype("<i8").tobytes() + b"".join(found.digests)
    kept = (digest for digest in found.digests if digest != NO_DIGEST)
    contents = list(zip(found.labels, kept, strict=True))
    return Written(info, hashlib.sha256(content).hexdigest(), contents, found.gray16)


def _read(
    rows: Rows, start: int, work: Callable[[Any], Any], found: _Found, on_image: Callable[[int], None]
) -> Iterator[Any]:
    """What `work` makes of each image from row `start` on, in order, on all cores; None of one that cannot be read.

    What the images are is added to `found` before each is handed out.
    """
    items, done = rows.read(np.arange(start, len(rows.labels))), start
    with ThreadPoolExecutor(cores()) as pool:
        while batch := list(islice(items, BATCH)):
            for loaded in pool.map(partial(_load, work), batch):
                if isinstance(loaded, str):
                    found.damaged.append(loaded)
                    found.digests.append(NO_DIGEST)
                    yield None
                else:
                    found.labels.append(int(rows.labels[done]))
                    found.digests.append(loaded.digest)
                    found.sides.append(loaded.look.shorter_side)
                    found.gray16 = max(found.gray16, loaded.look.gray16)
                    yield loaded.made
                done += 1
            on_image(done)


class _Loaded(NamedTuple):
    digest: bytes
    look: Look
    made: Any


def _load(work: Callable[[Any], Any], item: Item) -> _Loaded | str:
    """An image with what `work` makes of it; or, of one that cannot be read, its place and the reason."""
    try:
        payload = item.load()
        seen = look(payload) if isinstance(payload, bytes) else Look(min(payload.shape[:2]), 0)
        return _Loaded(digest_of(payload), seen, work(payload))
    except UnidentifiedImageError:  # its own words name an address in memory
        return f"{item.where} (no image format that is known)"
    except UNREADABLE as error:
        return f"{item.where} ({error})"


def _pixels(payload: bytes | Pixels, gray_bits: int) -> Pixels:
    if not isinstance(payload, bytes):
        return payload
    verify_checksums(payload)
    return decode(payload, gray_bits=gray_bits)


def _checked(payload: bytes | Pixels) -> bytes:
    if isinstance(payload, bytes):
        verify(payload)
        return payload
    png = io.BytesIO()
    Image.fromarray(payload).save(png, "PNG")
    return png.getvalue()


def _write_raw(images: Iterator[Pixels | None], found: _Found, file: Path) -> tuple[int, int] | None:
    """Store pixels (H, W, 3) as rows of CHW bytes with the labels `found`; returns H and W. Raises _SizesDifferError.

    The rows go to a plain file first and from its memory map into one record batch, so that no split need fit memory.
    Nothing is stored of no image.
    """
    plain = file.with_suffix(".pixels")
    size = None
    try:
        with plain.open("wb") as out:
            for image in images:
                if image is None:
                    continue
                height, width = image.shape[:2]
                if height * width > RAW_PIXELS or size not in (None, (height, width)):
                    raise _SizesDifferError
                size = (height, width)
                out.write(image.transpose(2, 0, 1).tobytes())
        if size is not None:
            kind = pa.binary(3 * size[0] * size[1])
            with pa.memory_map(str(plain)) as pixels:
                column = pa.Array.from_buffers(kind, len(found.labels), [None, pixels.read_buffer()])
                _write(file, {"image": column, "label": pa.array(found.labels, pa.int64())}, {})
    finally:
        plain.unlink()
    return size


def _num_shards(rows: Rows) -> int:
    return -(-len(rows.labels) // SHARD)


def _write_shards(rows: Rows, folder: Path, on_image: Callable[[int], None]) -> _Found:
    """Store the images as they came, in files of `SHARD` of the source's rows. Intact files that are there are kept."""
    folder.mkdir(exist_ok=True)
    found = _Found()
    shards = _num_shards(rows)
    kept = 0
    while kept < shards and (stored := _of_shard(shard_file(folder, kept), rows.labels[kept * SHARD :][:SHARD])):
        found.add(stored)
        kept += 1
    new = _Found()
    images = _read(rows, kept * SHARD, _checked, new, on_image)
    for number in range(kept, shards):
        encoded = [image for image in islice(images, SHARD) if image is not None]
        labels = pa.array(new.labels, pa.int64())
        notes = {
            "digests": b"".join(new.digests),
            "damaged": json.dumps(new.damaged).encode(),
            "sides": json.dumps(new.sides).encode(),
            "gray16": str(new.gray16).encode(),
        }
        _write(shard_file(folder, number), {"image": pa.array(encoded, ENCODED), "label": labels}, notes)
        found.add(new)
        for part in (new.labels, new.digests, new.damaged, new.sides):
            part.clear()
    next(images, None)  # there is none: the reading ends, and tells that all is done
    return found


def _of_shard(file: Path, labels: Labels) -> _Found | None:
    """What a killed run stored of the source's rows with `labels` (n,); None if that is nothing, or damaged."""
    try:
        table = read_file(file, ENCODED)
        all_digests, kept = (split_digests(part) for part in (digests_in(table), kept_digests(table)))
        damaged, sides, gray16 = (json.loads(table.schema.metadata[key]) for key in (b"damaged", b"sides", b"gray16"))
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return None
    stored = table["label"].to_numpy()
    readable = np.array([digest != NO_DIGEST for digest in all_digests], bool)
    if len(readable) != len(labels) or not np.array_equal(stored, labels[readable]):
        return None
    with ThreadPoolExecutor(cores()) as pool:
        whole = all(pool.map(is_image_of, kept, table["image"]))
    return _Found(stored.tolist(), all_digests, damaged, sides, gray16) if whole else None


def _write(file: Path, columns: dict[str, pa.Array], notes: dict[str, bytes]) -> None:
    """One record batch, under a temporary name until it is on the disk."""
    batch = pa.record_batch(columns).replace_schema_metadata(notes)
    temporary = file.with_suffix(".tmp")
    with temporary.open("wb") as out:
        with pa.ipc.new_file(out, batch.schema) as writer:
            writer.write_batch(batch)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
