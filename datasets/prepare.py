"""From a source of images to Arrow files, once."""

import fcntl
import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from .config import DatasetConfig
from .errors import DataError
from .prepared import Contents, Prepared, find_prepared, prepared_folder, source_path
from .registry import DATASETS
from .remote_source import fetch
from .sources import Rows, Source, SourceRequest
from .store import changed_files, write_split
from .stratify import stratified_rows

SUBSET_SALT = 2


def prepare(config: DatasetConfig, root: Path, on_progress: Callable[[int, int], None] | None = None) -> Prepared:
    """The data set as Arrow files under `root`; what is there already is used as it is.

    `on_progress` is told images done and images in all. Everything is written to an unfinished folder that is renamed at the
    end: a killed run leaves nothing that looks complete, the next goes on where it stopped, and of two at the same time
    the first wins.
    Raises DataError where the source is missing, lacks what it needs, or has damaged images that may not be left out.
    """
    found = find_prepared(config, root)
    if found is not None:
        return found
    folder = prepared_folder(config, root)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(folder) as scratch:
        _write(config, root, scratch, on_progress or (lambda _done, _total: None))
        try:
            scratch.rename(folder)
        except OSError:  # another process was faster
            if not folder.exists():
                raise
    prepared = find_prepared(config, root)
    if prepared is None:
        raise DataError(
            f"data set '{config.name}': the source at {config.path} changed while it was read; prepare it again"
        )
    return prepared


def verify(prepared: Prepared) -> None:
    """Raise DataError that names the prepared files whose content is not what was written, or the split that lacks some."""
    changed: list[Path] = []
    for split in ("train", "test"):
        files, checksums = prepared.arrow_files(split), prepared.split(split).checksums
        whole = len(files) == len(checksums) and all(file.exists() for file in files)
        changed += changed_files(files, checksums) if whole else [prepared.folder / split]
    if changed:
        names = ", ".join(map(str, changed))
        raise DataError(f"{names} changed since it was prepared; delete {prepared.folder} and prepare it again")


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
        except BlockingIOError:
            free = False
        yield free
    finally:
        os.close(handle)


def _write(config: DatasetConfig, root: Path, scratch: Path, on_progress: Callable[[int, int], None]) -> None:
    if not config.is_remote:
        _store(config, root, source_path(config), scratch, on_progress)
        return
    copy, meta = scratch / "copy", scratch / "meta.json"
    path, address = fetch(str(config.path), copy)
    try:
        _store(config, root, path, scratch, on_progress)
    except DataError as error:
        raise DataError(str(error).replace(str(copy), address)) from error
    meta.write_text(meta.read_text().replace(str(copy), address))  # damaged images are named by where they lie
    shutil.rmtree(copy)


def _store(
    config: DatasetConfig, root: Path, path: Path | None, scratch: Path, on_progress: Callable[[int, int], None]
) -> None:
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
    content = [classes, config.train_images, config.test_images, stored_train.digest, stored_test.digest]
    contents = Contents(
        name=config.name,
        fingerprint=hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16],
        classes=classes,
        train=stored_train.info,
        test=stored_test.info,
    )
    scratch.chmod(0o755)  # mkdtemp's 0o700 would shut out colleagues who share the folder
    (scratch / "meta.json").write_text(contents.model_dump_json(indent=2))


def _open(config: DatasetConfig, root: Path, path: Path | None, scratch: Path) -> Source:
    module, _, function = DATASETS[config.name].open.partition(":")
    opener: Callable[[SourceRequest], Source] = getattr(importlib.import_module(module), function)
    source = opener(SourceRequest(path, config.class_name, root / "downloads", scratch))
    for rows in (source.train, source.test):
        wrong = rows.labels[(rows.labels < 0) | (rows.labels >= max(1, len(source.classes)))]
        if len(wrong):
            raise DataError(
                f"data set '{config.name}' has the label {wrong[0]}, but {len(source.classes)} classes: labels start at 0"
            )
    return source


def _subset(rows: Rows, count: int | None, setting: str) -> Rows:
    if count is None:
        return rows
    if count > len(rows.labels):
        raise DataError(f"{setting} is {count}, but there are {len(rows.labels)} images; it must not be more")
    return rows.take(stratified_rows(rows.labels, count, SUBSET_SALT))
