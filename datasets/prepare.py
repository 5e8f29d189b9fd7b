"""From a source of images to Arrow files, once."""

import fcntl
import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ..methods.quantities import plural
from .config import ColumnsConfig, DatasetConfig
from .contents import ALL_BITS, Contents, Copies, SplitInfo, write_contents
from .errors import DataError
from .prepared import Prepared, find_prepared, prepared_folder, source_path
from .registry import DATASETS
from .remote_source import fetch
from .sources import Rows, Source, SourceRequest
from .store import Written, write_split
from .stratify import stratified_rows

SUBSET_SALT = 2


def prepare(config: DatasetConfig, root: Path, on_progress: Callable[[int, int], None] | None = None) -> Prepared:
    """The data set as Arrow files under `root`; what is there already is used as it is.

    `on_progress` is told images done and images in all. Everything is written to an unfinished folder that is renamed at the
    end: a killed run leaves nothing that looks complete, the next goes on where it stopped, and of two at the same time
    the first wins. A folder that is not whole, or was found to be damaged, is replaced.
    Raises DataError where the source is missing, lacks what it needs, or has damaged images that may not be left out.
    """
    found = find_prepared(config, root)
    if found is not None:
        return found
    folder = prepared_folder(config, root)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(folder) as scratch:
        contents = _write(config, root, scratch, on_progress or (lambda _done, _total: None))
        write_contents(scratch, contents)
        _move(scratch, folder, lambda: find_prepared(config, root) is not None)
    prepared = find_prepared(config, root)
    if prepared is None:
        raise DataError(
            f"data set '{config.display_name}': the source at {config.path} changed while it was read; prepare it again"
        )
    return prepared


@contextmanager
def _scratch(folder: Path) -> Generator[Path]:
    """Where `folder` is made: its own unfinished one, which a killed run may have begun, or a new one while that is in use."""
    own = folder.with_name(f".{folder.name}-unfinished")
    own.mkdir(exist_ok=True)
    with _held(own) as free:
        scratch = own if free else Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        goes_on = False
        try:
            yield scratch
        except DataError:
            raise
        except BaseException:
            goes_on = free
            raise
        finally:
            if not goes_on:
                shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Generator[bool]:
    """Hold `folder` for this process; yields whether it was free. The kernel lets go of it when the process dies."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = folder.exists() and os.path.samestat(os.fstat(handle), folder.stat())  # not renamed meanwhile
        except OSError:  # held by another process, or on a file system that cannot lock folders
            free = False
        yield free
    finally:
        os.close(handle)


def _move(scratch: Path, folder: Path, is_prepared: Callable[[], bool]) -> None:
    """Rename `scratch` to `folder`, unless another process was faster; what else lies there is damaged, and deleted."""
    with _alone_in(folder.parent):
        if not folder.exists():
            scratch.rename(folder)
            return
        if is_prepared():
            return
        try:
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-damaged-", dir=folder.parent))
            folder.rename(old)
            scratch.rename(folder)
        except OSError as error:
            raise DataError(f"{folder} is damaged and cannot be replaced ({error.strerror}); delete it") from None
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Wait until no other process moves data sets in `folder`; on file systems that cannot lock folders, do without."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(config: DatasetConfig, root: Path, scratch: Path, on_progress: Callable[[int, int], None]) -> Contents:
    if not config.is_remote:
        return _store(config, root, source_path(config), scratch, on_progress)
    copy = scratch / "copy"
    path, address = fetch(str(config.path), copy)
    try:
        contents = _store(config, root, path, scratch, on_progress)
    except DataError as error:
        raise DataError(str(error).replace(str(copy), address)) from error
    shutil.rmtree(copy)

    def named(text: str) -> str:  # by where it lies
        return text.replace(str(copy), address)

    def of_split(info: SplitInfo) -> SplitInfo:
        return info.model_copy(update={"damaged": tuple(map(named, info.damaged))})

    return contents.model_copy(
        update={
            "train": of_split(contents.train),
            "test": of_split(contents.test),
            "skipped": tuple(one.model_copy(update={"example": named(one.example)}) for one in contents.skipped),
            "notes": tuple(map(named, contents.notes)),
        }
    )


def _store(
    config: DatasetConfig, root: Path, path: Path | None, scratch: Path, on_progress: Callable[[int, int], None]
) -> Contents:
    unpacked = scratch / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    source = open_source(config, root, path, unpacked)
    train = subset(source.train, config.train_images, "train_images")
    test = subset(source.test, config.test_images, "test_images")
    n, total = len(train.labels), len(train.labels) + len(test.labels)
    write = partial(write_split, folder=scratch, num_classes=len(source.classes), skip_damaged=config.damaged == "skip")
    in_train = write(train, split="train", on_image=lambda done: on_progress(done, total))
    in_test = write(test, split="test", on_image=lambda done: on_progress(n + done, total))
    bits = _gray_bits(in_train, in_test)
    if bits < ALL_BITS:  # known now, and pixels that are stored as such are to be scaled by it
        if in_train.info.encoding == "raw":
            in_train = write(train, split="train", on_image=lambda _done: None, gray_bits=bits)
        if in_test.info.encoding == "raw":
            in_test = write(test, split="test", on_image=lambda _done: None, gray_bits=bits)
    shutil.rmtree(unpacked, ignore_errors=True)
    scratch.chmod(0o755)  # mkdtemp's 0o700 would shut out colleagues who share the folder
    content = [source.classes, config.train_images, config.test_images, in_train.digest, in_test.digest]
    content += [] if bits == ALL_BITS else [f"gray_bits {bits}"]
    return Contents(
        name=config.name,
        fingerprint=hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16],
        classes=source.classes,
        train=in_train.info,
        test=in_test.info,
        gray_bits=bits,
        copies=_copies(in_train, in_test),
        skipped=source.skipped,
        notes=source.notes,
    )


def _gray_bits(*splits: Written) -> int:
    """How many bits 16-bit gray images use; cameras and scanners often fill 12 of them."""
    greatest = max(split.gray16 for split in splits)
    return max(8, greatest.bit_length()) if greatest else ALL_BITS


def _copies(train: Written, test: Written) -> Copies:
    known = {digest for _, digest in train.contents}
    every = set(train.contents + test.contents)
    classes = Counter(digest for _, digest in every)
    return Copies(
        tested=sum(digest in known for _, digest in test.contents),
        contradicting=sum(classes[digest] > 1 for _, digest in train.contents + test.contents),
    )


def open_source(config: DatasetConfig, root: Path, path: Path | None, scratch: Path) -> Source:
    """The source at `path` (of an address: a local copy). Raises DataError for labels that are of no class."""
    module, _, function = DATASETS[config.name].open.partition(":")
    opener: Callable[[SourceRequest], Source] = getattr(importlib.import_module(module), function)
    columns = config.columns or ColumnsConfig()
    source = opener(SourceRequest(path, config.class_name, root / "downloads", scratch, columns))
    for rows in (source.train, source.test):
        wrong = rows.labels[(rows.labels < 0) | (rows.labels >= max(1, len(source.classes)))]
        if len(wrong):
            raise DataError(
                f"data set '{config.display_name}' has the label {wrong[0]}, but {plural(len(source.classes), 'class')}: labels start at 0"
            )
    return source


def subset(rows: Rows, count: int | None, setting: str) -> Rows:
    """`count` of the rows, the same share of each class. Raises DataError, which names the `setting`, if there are fewer."""
    if count is None:
        return rows
    if count > len(rows.labels):
        raise DataError(
            f"{setting} is {count}, but the data set has {plural(len(rows.labels), 'image')}; it must not be more"
        )
    return rows.take(stratified_rows(rows.labels, count, SUBSET_SALT))
