"""Prepared images as they are read: nothing is used that differs from what was written.

A file of raw pixels is compared with its checksum when a process first opens it. Files of encoded images may be too many for
that: each image is compared with its digest when it is decoded, and the labels with the counts of the classes.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .contents import Split, mark_damaged
from .decode import UNREADABLE, Pixels, decode
from .errors import DataError
from .prepared import Prepared

PNG = b"\x89PNG"
DIGEST = 32
"""Bytes of an image's digest."""
NO_DIGEST = bytes(DIGEST)
"""In the place of a damaged image's."""

_CHANGED = "{file} changed since it was prepared: its checksum differs"


def cores() -> int:
    return len(os.sched_getaffinity(0))


def checksums_of(files: list[Path]) -> tuple[str, ...]:
    """SHA-256 of each file, read on all cores. Raises OSError."""
    with ThreadPoolExecutor(cores()) as pool:
        return tuple(pool.map(_checksum, files))


def verify(prepared: Prepared) -> None:
    """Read every file, and raise DataError that names those that are missing, or differ from what was written."""
    written = prepared.checksums
    there = [file for file in written if file.exists()]
    now = dict(zip(there, checksums_of(there), strict=True))
    faults = [f"{file} is missing" for file in written if file not in now]
    faults += [_CHANGED.format(file=file) for file in now if now[file] != written[file]]
    if faults:
        raise damage(prepared, "; ".join(faults))


def open_split(prepared: Prepared, split: Split) -> list[pa.Table]:
    """The files of a split, as tables whose buffers are their memory maps.

    Raises DataError that names what differs from what was written.
    """
    files, info = prepared.arrow_files(split), prepared.split(split)
    kind = pa.large_binary()
    if info.height is not None and info.width is not None:
        kind = pa.binary(3 * info.height * info.width)
        _compare_checksums(prepared, files)
    tables: list[pa.Table] = []
    for file in files:
        try:
            tables.append(read_file(file, kind))
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            encoded = file if info.encoding == "encoded" else None  # raw files are verified: `meta.json` is at fault
            raise damage(prepared, f"{file} is damaged ({reason})", encoded) from error
    _compare_counts(prepared, split, tables)
    return tables


def labels_of(tables: list[pa.Table]) -> NDArray[np.int64]:
    """Labels (N,) of a split."""
    return np.concatenate([table["label"].to_numpy() for table in tables] or [np.empty(0, np.int64)])


def read_file(file: Path, kind: pa.DataType) -> pa.Table:
    """Images, of type `kind`, and labels of an Arrow file. Raises pa.ArrowException, OSError or ValueError if it is damaged."""
    table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    columns = {field.name: field.type for field in table.schema}
    if columns != {"image": kind, "label": pa.int64()}:
        raise ValueError(f"it has the columns {columns}")
    table.validate(full=True)  # offsets: one that leads outside of the file would end the process
    return table


def damage(prepared: Prepared, found: str, file: Path | None = None) -> DataError:
    """The error for prepared files that differ from what was written; from now on they count as not prepared.

    With `file`, only if its checksum differs: another process may have replaced the folder since this one opened it.
    """
    if file is not None and _is_as_written(prepared, file):
        return DataError(f"{found}; it is as written now, so run this again")
    if mark_damaged(prepared.folder, found):
        return DataError(f"{found}; the next `ssl-sweep submit` or `prepare` replaces {prepared.folder}")
    return DataError(f"{found}; delete {prepared.folder} and prepare the data set again")


def digest_of(payload: bytes | Pixels) -> bytes:
    """SHA-256 of an image as its source gave it: encoded, or as pixels (H, W, 3)."""
    return hashlib.sha256(payload if isinstance(payload, bytes) else np.ascontiguousarray(payload).data).digest()


def pixels_with(digest: bytes, encoded: bytes) -> Pixels | None:
    """The pixels (H, W, 3) with this digest that were stored as PNG; None if `encoded` is not theirs."""
    try:
        pixels = decode(encoded) if encoded.startswith(PNG) else None
    except UNREADABLE:
        return None
    return pixels if pixels is not None and digest_of(pixels) == digest else None


def is_image_of(digest: bytes, encoded: pa.Scalar) -> bool:
    """Whether the stored image is the one with this digest."""
    content: bytes = encoded.as_py()
    return digest_of(content) == digest or pixels_with(digest, content) is not None


def digests_in(table: pa.Table) -> bytes:
    """The digests of all images of a file of encoded ones, those left out as `NO_DIGEST`. Raises ValueError without any."""
    digests = (table.schema.metadata or {}).get(b"digests")
    if digests is None or len(digests) % DIGEST:
        raise ValueError("its digests are missing")
    return digests


def split_digests(digests: bytes) -> list[bytes]:
    return [digests[i : i + DIGEST] for i in range(0, len(digests), DIGEST)]


def kept_digests(table: pa.Table) -> bytes:
    """The digests (N x 32 bytes) of the images that are in the file. Raises ValueError if these are not as many."""
    digests = digests_in(table)
    kept = b"".join(digest for digest in split_digests(digests) if digest != NO_DIGEST)
    if len(kept) != DIGEST * table.num_rows:
        raise ValueError(f"it has {table.num_rows} images, but {len(kept) // DIGEST} digests")
    return kept


def _compare_checksums(prepared: Prepared, files: list[Path]) -> None:
    for file in files:
        try:
            state = file.stat()
            now = _checksum_of(file, state.st_size, state.st_mtime_ns, state.st_ino)
        except OSError as error:
            raise damage(prepared, f"{file} cannot be read ({error.strerror})", file) from None
        if now != prepared.checksums[file]:
            raise damage(prepared, _CHANGED.format(file=file), file)


@cache
def _checksum_of(file: Path, _size: int, _mtime_ns: int, _inode: int) -> str:
    """Once for each state of a file: a worker opens the same files for many trials."""
    return _checksum(file)


def _checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _compare_counts(prepared: Prepared, split: Split, tables: list[pa.Table]) -> None:
    info = prepared.split(split)
    labels = labels_of(tables)
    classes = len(prepared.classes)
    right = len(labels) == info.count and ((labels >= 0) & (labels < max(1, classes))).all()
    if right and classes:
        right = tuple(np.bincount(labels, minlength=classes).tolist()) == info.class_counts
    if not right:
        files = prepared.arrow_files(split)
        place = files[0] if len(files) == 1 else prepared.folder / split
        raise damage(prepared, f"the labels in {place} changed since they were prepared")


def _is_as_written(prepared: Prepared, file: Path) -> bool:
    try:
        return _checksum(file) == prepared.checksums[file]
    except OSError:
        return False
