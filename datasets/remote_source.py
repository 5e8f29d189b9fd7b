"""Sources on an object store: ``s3://``, ``gs://`` and whatever else `pyarrow.fs` opens by its address."""

import hashlib
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyarrow import ArrowException, fs

from .errors import DataError

COPIES = 16
"""Files that are copied at once: an object store takes longer to answer than to send."""


def remote_state(address: str) -> str:
    """Hash of the names, sizes and times of all files at `address`. Raises DataError where there is nothing."""
    state = hashlib.sha256()
    with _errors(address):
        store, path = fs.FileSystem.from_uri(address)
        for name, info in sorted(_files(store, path, address).items()):
            state.update(f"{name}\0{info.size}\0{info.mtime_ns}\n".encode(errors="surrogateescape"))
    return state.hexdigest()


def fetch(address: str, folder: Path) -> tuple[Path, str]:
    """Copy the file or the folder at `address` into `folder`; returns its path there, and the address of `folder`.

    Files of the right size that are there already are left as they are. Raises DataError for a name that would lie outside.
    """
    root = folder.resolve()
    with _errors(address):
        store, path = fs.FileSystem.from_uri(address)
        alone = store.get_file_info(path).type == fs.FileType.File

        def copy(entry: tuple[str, Any]) -> None:
            name, info = entry
            target = folder / (path.rsplit("/", 1)[-1] if alone else name)
            if not target.resolve().is_relative_to(root):
                raise DataError(f"{address} cannot be copied: its file '{name}' would lie outside of the copy")
            if target.exists() and target.stat().st_size == info.size:
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{target.name}.part")
            fs.copy_files(info.path, str(part), store, fs.LocalFileSystem())
            part.replace(target)

        files = _files(store, path, address)
        with ThreadPoolExecutor(COPIES) as pool:
            list(pool.map(copy, files.items()))
        if alone:
            return folder / path.rsplit("/", 1)[-1], address.rsplit("/", 1)[0]
    return folder, address.rstrip("/")


def _files(store: fs.FileSystem, path: str, address: str) -> dict[str, Any]:
    """What the store knows of each file at `path`, by its name below it."""
    if store.get_file_info(path).type == fs.FileType.File:
        return {"": store.get_file_info(path)}
    found = store.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=True))
    files = {info.path.removeprefix(path).lstrip("/"): info for info in found if info.type == fs.FileType.File}
    if not files:
        raise DataError(f"there is nothing at {address}; `path` must be an existing file or folder")
    return files


@contextmanager
def _errors(address: str) -> Generator[None]:
    try:
        yield
    except (OSError, ArrowException) as error:  # no such scheme, no such bucket, no leave to read it
        raise DataError(f"{address} cannot be read: {str(error).splitlines()[0]}") from error
