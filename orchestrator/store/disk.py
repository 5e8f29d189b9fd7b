"""Files in a local folder, through plain system calls.

obstore could do this too, but gives nothing here that the system does not: its local writes are not fsynced, it needs the
folder to exist before it opens it, and a small read through it takes several times as long.
"""

import contextlib
import os
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

TEMPORARY = ".tmp"
"""Ends the name of a file that is being written."""


class StoredFile(NamedTuple):
    """A file below a folder of a store."""

    name: str
    bytes: int
    written: float
    """Seconds since the epoch, by the store's clock."""

    @property
    def is_temporary(self) -> bool:
        """Whether it is being written, or was when its writer died."""
        return self.name.endswith(TEMPORARY)


class Disk:
    """The files of one folder, by relative names with ``/``. Folders appear when something is written.

    All methods raise OSError if the folder cannot be used as asked.
    """

    def __init__(self, root: str):
        self.root = root

    def read(self, name: str) -> bytes | None:
        try:
            with open(f"{self.root}/{name}", "rb") as stream:  # noqa: PTH123  # a Path costs as much as the read
                return stream.read()
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        try:
            return os.stat(f"{self.root}/{name}").st_size  # noqa: PTH116
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        try:
            found = os.listdir(f"{self.root}/{folder}")  # noqa: PTH208
        except FileNotFoundError:
            return []
        return sorted(name for name in found if not name.endswith(TEMPORARY))

    def write(self, name: str, content: bytes, *, durable: bool) -> None:
        """A reader finds the old content or the new one; if `durable`, also after a power cut (perhaps the old one then)."""
        path = Path(f"{self.root}/{name}")
        temporary = _written_beside(path, content, durable=durable)
        with _removed_on_error(temporary):
            temporary.replace(path)

    def create(self, name: str, content: bytes) -> bool:
        """Write `name` if it is absent; of any number of callers exactly one gets True. Never visible half-written.

        Whoever gets True may rely on it: a power cut does not take it back. The file system must have hard links.
        """
        path = Path(f"{self.root}/{name}")
        if path.exists():
            return False
        temporary = _written_beside(path, content, durable=True)
        try:
            path.hardlink_to(temporary)  # fails if the name is taken, unlike a rename
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
        return True

    def append(self, name: str, content: bytes) -> None:
        """Add whole lines. A line that a crash cut short is ended first, so that it spoils no other."""
        path = Path(f"{self.root}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    content = b"\n" + content
            stream.write(content)

    def delete(self, name: str) -> None:
        Path(f"{self.root}/{name}").unlink(missing_ok=True)

    def walk(self, folder: str) -> list[StoredFile]:
        """All files below `folder`, with what writes that were cut short have left. A link is a file, and is not followed."""
        found: list[StoredFile] = []
        for place, folders, names in os.walk(f"{self.root}/{folder}"):
            links = [name for name in folders if os.path.islink(f"{place}/{name}")]  # noqa: PTH114
            for name in names + links:
                path = f"{place}/{name}"
                with contextlib.suppress(FileNotFoundError):
                    status = os.stat(path, follow_symlinks=False)  # noqa: PTH116
                    found.append(StoredFile(path.removeprefix(f"{self.root}/"), status.st_size, status.st_mtime))
        return found

    def prune(self, folder: str) -> None:
        """Remove the empty folders of `folder`, and itself if it is empty then; if it is a link, the link alone."""
        top = Path(f"{self.root}/{folder}")
        if top.is_symlink():
            top.unlink()
            return
        for place, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # something has been written to it
                Path(place).rmdir()


def _written_beside(path: Path, content: bytes, *, durable: bool) -> Path:
    """A temporary file in the same folder with `content`; if `durable`, safely on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    with _removed_on_error(temporary), temporary.open("wb") as stream:
        stream.write(content)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    return temporary


@contextlib.contextmanager
def _removed_on_error(temporary: Path) -> Generator[None]:
    """A full disk must not keep the part that did fit."""
    try:
        yield
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """A new name in a folder survives a power cut only once the folder itself is synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
