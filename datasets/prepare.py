"""From a source of images to Arrow files, once."""

import fcntl
import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from .config import DatasetConfig
from .contents import Contents, SplitInfo, write_contents
from .errors import DataError
from .prepared import Prepared, find_prepared, prepared_folder, source_path
from .registry import DATASETS
from .remote_source import fetch
from .sources import Rows, Source, SourceRequest
from .store import write_split
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
    splits = {}
    for split in ("train", "test"):
        info: SplitInfo = getattr(contents, split)
        named = tuple(line.replace(str(copy), address) for line in info.damaged)  # by where they lie
        splits[split] = info.model_copy(update={"damaged": named})
    return contents.model_copy(update=splits)


def _store(
    config: DatasetConfig, root: Path, path: Path | None, scratch: Path, on_progress: Callable[[int, int], None]
) -> Contents:
    unpacked = scratch / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    classes, train, test = _open(config, root, path, unpacked)
    train = _subset(train, config.train_images, "train_images")
    test = _subset(test, config.test_images, "test_images")
    n, total = len(train.labels), len(train.labels) + len(test.labels)
    skip = config.damaged == "skip"
    stored_train = write_split(train, scratch, "train", len(classes), skip, lambda done: on_progress(done, total))
    stored_test = write_split(test, scratch, "test", len(classes), skip, lambda done: on_progress(n + done, total))
    shutil.rmtree(unpacked, ignore_errors=True)
    scratch.chmod(0o755)  # mkdtemp's 0o700 would shut out colleagues who share the folder
    content = [classes, config.train_images, config.test_images, stored_train.digest, stored_test.digest]
    return Contents(
        name=config.name,
        fingerprint=hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16],
        classes=classes,
        train=stored_train.info,
        test=stored_test.info,
    )


def _open(config: DatasetConfig, root: Path, path: Path | None, scratch: Path) -> Source:
    module, _, function = DATASETS[config.name].open.partition(":")
    opener: Callable[[SourceRequest], Source] = getattr(importlib.import_module(module), function)
    source = opener(SourceRequest(path, config.class_name, root / "downloads", scratch))
    for rows in (source.train, source.test):
        wrong = rows.labels[(rows.labels < 0) | (rows.labels >= max(1, len(source.classes)))]
        if len(wrong):
            raise DataError(
                f"data set '{config.display_name}' has the label {wrong[0]}, but {len(source.classes)} classes: labels start at 0"
            )
    return source


def _subset(rows: Rows, count: int | None, setting: str) -> Rows:
    if count is None:
        return rows
    if count > len(rows.labels):
        raise DataError(f"{setting} is {count}, but there are {len(rows.labels)} images; it must not be more")
    return rows.take(stratified_rows(rows.labels, count, SUBSET_SALT))
