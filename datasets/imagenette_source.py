"""Imagenette, ten classes of ImageNet: its folder, its archive, or downloaded."""

import tarfile
from pathlib import Path

from .errors import DataError
from .folder_source import class_folders
from .sources import Source, SourceRequest, download

IMAGENETTE_CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


def imagenette(request: SourceRequest) -> Source:
    """Imagenette's folder, the folder above it, or its .tgz, which is unpacked to the scratch folder."""
    path = request.path or _downloaded(request.downloads)
    if path.is_file():
        _unpack(path, request.scratch)
        path = request.scratch
    inside = [folder for folder in (path, *sorted(path.iterdir())) if (folder / "train").is_dir()]
    if not inside:
        raise DataError(f"{path} holds no folder `train`; Imagenette has train/ and val/ with a folder for each class")
    source = class_folders(inside[0])
    return source._replace(classes=tuple(IMAGENETTE_CLASSES.get(name, name) for name in source.classes))


def _downloaded(downloads: Path) -> Path:
    from torchvision.datasets import Imagenette  # imports torch

    folder = downloads / "imagenette2-160"
    if folder.exists():
        return folder
    return download("imagenette", lambda: Imagenette(downloads, size="160px", download=True), folder)


def _unpack(archive: Path, scratch: Path) -> None:
    """Unpack a tar archive. Raises DataError where it is damaged or a member would land outside of `scratch`."""
    root = scratch.resolve()
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            for member in members:  # checked here: Python before 3.11.4 has no filter that would do it
                inside = (root / member.name).resolve().is_relative_to(root)
                if not inside or not (member.isfile() or member.isdir()):
                    raise DataError(f"{archive} cannot be unpacked: its member '{member.name}' {_REFUSED}")
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(scratch, members)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}") from error


_REFUSED = "would lie outside, or is neither a file nor a folder"
