"""The description of prepared images, `meta.json`, and whether their folder is whole. Free of torch and pyarrow."""

import hashlib
import json
import logging
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ..methods.config import Config
from .registry import DATASETS

log = logging.getLogger(__name__)

Split = Literal["train", "test"]

META = "meta.json"
DAMAGED = "damaged.txt"
"""In a folder whose files were found to differ from what was written: it is prepared again. Says what was found."""

CHECKSUM = "sha256"
"""Key of the checksum that `meta.json` has of itself; files of earlier versions lack it."""

ALL_BITS = 16
"""Of a 16-bit gray image."""

MAGIC = b"ARROW1"
"""At both ends of an Arrow file."""


class SplitInfo(Config):
    """One split as stored: `raw` pixels of one size, or the images as they were `encoded` (then without a size)."""

    count: int
    encoding: Literal["raw", "encoded"]
    height: int | None
    width: int | None
    class_counts: tuple[int, ...]
    damaged: tuple[str, ...] = ()
    """Images that are left out because they cannot be read, each with the reason."""
    checksums: tuple[str, ...]
    """SHA-256 of each file, in their order."""
    shorter_side: int | None = None
    """Median of the images' shorter sides in pixels; None if there are none, or an earlier version did not look."""


class Skipped(Config):
    """Files or folders of one kind that the source left out."""

    kind: str
    """In the plural, e.g. ``.heic files``."""
    count: int
    reason: str
    example: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.count:,} ({self.reason}; {self.example})"


class Copies(Config):
    """Images with equal content, byte by byte."""

    tested: int
    """Test images that are training images too."""
    contradicting: int
    """Images of both splits that are of several classes."""


class Contents(Config):
    """The content of `meta.json`, which describes the Arrow files beside it."""

    name: str
    fingerprint: str
    """Hash of images as they came, labels, class names and subset; the same on every machine."""
    classes: tuple[str, ...]
    """Empty if the images have no labels; then all are for training."""
    train: SplitInfo
    test: SplitInfo
    gray_bits: int = ALL_BITS
    """Of the values in 16-bit gray images, as many as any of them uses, at least 8: these are scaled to 8."""
    copies: Copies | None = None
    """None if an earlier version did not count them."""
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    """What else the source says about its images, each in a sentence."""

    @property
    def damaged(self) -> tuple[str, ...]:
        """Images of both splits that are left out because they cannot be read, each with the reason."""
        return self.train.damaged + self.test.damaged

    @property
    def untaught(self) -> int:
        """Test images whose class has no training image, so that no evaluation can score them."""
        pairs = zip(self.train.class_counts, self.test.class_counts, strict=True)
        return sum(tested for trained, tested in pairs if not trained)

    @property
    def whole(self) -> bool:
        """Whether no image is left out, and there are as many as in the data set that published numbers are of."""
        known = DATASETS.get(self.name)
        counts = (self.train.count, self.test.count)
        return not self.damaged and counts == ((known and known.published) or counts)


class _UnusableError(Exception):
    """Names a file and its fault."""


def write_contents(folder: Path, contents: Contents) -> None:
    """Write `meta.json`, with its own checksum in it."""
    values = contents.model_dump(mode="json")
    with (folder / META).open("w") as file:
        json.dump({**values, CHECKSUM: _checksum(values)}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def read_contents(folder: Path) -> Contents | None:
    """The description in `folder`; None if there is no such folder, or with a warning if its `meta.json` is damaged."""
    if not folder.exists():
        return None
    try:
        return _parsed(folder / META)
    except _UnusableError as error:
        _warn(f"{error}; {folder} counts as not prepared")
        return None


def is_whole(folder: Path, contents: Contents) -> bool:
    """Whether all files are there and none is cut short or known to be damaged; if not, a warning names the first.

    Reads a few bytes of each: what they hold is verified when it is used.
    """
    try:
        if (folder / DAMAGED).exists():
            raise _UnusableError((folder / DAMAGED).read_text(errors="replace").strip())
        for file in arrow_files(folder, "train", contents.train) + arrow_files(folder, "test", contents.test):
            _check_ends(file)
    except (_UnusableError, OSError) as error:
        _warn(f"{error}; {folder} counts as not prepared")
        return False
    return True


def mark_damaged(folder: Path, found: str) -> bool:
    """Have `folder` count as not prepared from now on. Returns whether that could be written."""
    try:
        (folder / DAMAGED).write_text(found + "\n")
    except OSError:
        return False
    return True


def arrow_files(folder: Path, split: Split, info: SplitInfo) -> list[Path]:
    """The files of a split, in the order of their checksums: of raw pixels there is one, of encoded images a folder."""
    if info.encoding == "raw":
        return [folder / f"{split}.arrow"]
    return [shard_file(folder / split, number) for number in range(len(info.checksums))]


def shard_file(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.arrow"


def _parsed(file: Path) -> Contents:
    try:
        values: Any = json.loads(file.read_bytes())
        written = values.pop(CHECKSUM, None) if isinstance(values, dict) else None
        contents = Contents.model_validate(values)
    except FileNotFoundError:
        raise _UnusableError(f"{file} is missing") from None
    except OSError as error:
        raise _UnusableError(f"{file} cannot be read ({error.strerror})") from None
    except ValidationError:
        raise _UnusableError(f"{file} does not hold what this version writes") from None
    except ValueError:  # no JSON, or no text
        raise _UnusableError(f"{file} is damaged: it is not JSON") from None
    if written is not None and written != _checksum(values):
        raise _UnusableError(f"{file} is damaged: its checksum differs")
    splits = (contents.train, contents.test)
    counted = all(sum(info.class_counts) == info.count for info in splits) or not contents.classes
    raw_in_one_file = all(info.encoding != "raw" or len(info.checksums) == 1 for info in splits)
    if not counted or not raw_in_one_file or not re.fullmatch("[0-9a-f]{16}", contents.fingerprint):
        raise _UnusableError(f"{file} is damaged: its values contradict each other")
    return contents


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _check_ends(file: Path) -> None:
    """Raise _UnusableError if an Arrow file is missing, or does not start and end as one."""
    try:
        with file.open("rb") as content:
            start = content.read(len(MAGIC))
            content.seek(-len(MAGIC), os.SEEK_END)  # an OSError if there are fewer
            end = content.read()
    except FileNotFoundError:
        raise _UnusableError(f"{file} is missing") from None
    except OSError:
        start = end = b""
    if start != MAGIC or end != MAGIC:
        raise _UnusableError(f"{file} is cut short or damaged")


@cache
def _warn(message: str) -> None:
    """Once per process: a worker looks for its data at every trial."""
    log.warning("%s", message)
