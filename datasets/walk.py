"""The files below a folder, as every source and every look at one goes through them. Free of torch and NumPy."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .errors import DataError

SYSTEM_FOLDERS = frozenset(
    ("@eaDir", "#recycle", "@Recycle", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found")
)
"""What file servers, archives of a Mac and file systems put beside a user's files."""


class Walked(NamedTuple):
    """A folder."""

    folder: Path
    files: list[str]
    left_out: list[str]
    """Names of the folders in it that are not walked because the caller does not want them."""
    loops: list[str]
    """Names of the links in it that lead to a folder which contains them."""


def is_user_folder(name: str) -> bool:
    """Whether a folder of this name may hold images of a user: not if it is hidden, or of the system."""
    return not name.startswith(".") and name not in SYSTEM_FOLDERS


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder. Raises DataError if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        raise _unreadable(folder, error) from None


def files_in(folder: Path) -> list[str]:
    """Names of the files in `folder` itself. Raises DataError if it cannot be read."""
    return [entry.name for entry in entries(folder) if not _is_folder(entry)]


def folders(folder: Path) -> list[str]:
    """Names of the folders in `folder` that may hold images, in order. Raises DataError if it cannot be read."""
    return sorted(entry.name for entry in entries(folder) if _is_folder(entry) and is_user_folder(entry.name))


def walk(top: Path, wanted: Callable[[str], bool] = lambda _name: True) -> Iterator[Walked]:
    """`top` and the folders below it whose names are `wanted`. Links are followed, but never to a folder that they are in.

    Raises DataError if a folder cannot be read.
    """
    places = {*top.absolute().parents, *top.resolve().parents}
    waiting = [(top, frozenset(map(_identity, places)))]
    while waiting:
        folder, around = waiting.pop()
        found = Walked(folder, [], [], [])
        inside = around | {_identity(folder)}
        for entry in entries(folder):
            if not _is_folder(entry):
                found.files.append(entry.name)
            elif not wanted(entry.name):
                found.left_out.append(entry.name)
            elif entry.is_symlink() and _identity(folder / entry.name) in inside:
                found.loops.append(entry.name)
            else:
                waiting.append((folder / entry.name, inside))
        yield found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    """The same for a folder by whatever path it is reached."""
    try:
        found = folder.stat()
    except OSError as error:  # deleted meanwhile
        raise _unreadable(folder, error) from None
    return found.st_dev, found.st_ino


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(f"{folder} cannot be read ({error.strerror}); all folders of a data set must be readable")
