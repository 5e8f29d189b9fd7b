"""Images in class folders."""

import os
from pathlib import Path

import numpy as np

from .errors import DataError
from .sources import Rows, Source, SourceRequest, split_off_test, unlabelled

EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"))
TEST_FOLDERS = ("test", "val", "validation")


def folder(request: SourceRequest) -> Source:
    """The user's own images. Raises DataError if the path is a file."""
    return class_folders(request.given_path)


def class_folders(path: Path, only: frozenset[str] | None = None) -> Source:
    """A folder with `train/` and `test/` or `val/` (the first that has class folders), or with class folders alone.

    With `only`, other classes are passed over. Without a test part, a tenth of each class becomes one. A folder with images
    in the place of class folders has no labels. Raises DataError if `path` is a file, if no images are found, or if the test
    part has a class that the training part lacks.
    """
    if path.is_file():
        raise DataError(f"{path} is a file; a folder with a folder of images for each class is needed")
    inside = path / "train" if (path / "train").is_dir() else path
    if loose := _without_classes(inside):
        return unlabelled(Rows.of_files(loose, np.zeros(len(loose), dtype=np.int64)))
    if inside == path:
        classes = class_names(path, only)
        return split_off_test(classes, file_rows(path, classes))
    classes = class_names(path / "train", only)
    train = file_rows(path / "train", classes)
    for name in TEST_FOLDERS:
        if (path / name).is_dir() and any(entry.is_dir() for entry in (path / name).iterdir()):
            unknown = sorted(set(class_names(path / name, only)) - set(classes))
            if unknown:
                raise DataError(f"{path / name} has the class '{unknown[0]}', which {path / 'train'} lacks")
            return Source(classes, train, file_rows(path / name, classes))
    return split_off_test(classes, train)


def class_names(path: Path, only: frozenset[str] | None) -> tuple[str, ...]:
    """Of the class folders in `path`, those of `only` alone if it is given. Raises DataError where there are none."""
    folders = [entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    names = tuple(sorted(name for name in folders if only is None or name in only))
    if not names:
        raise DataError(f"{path} has no class folders; one folder of images for each class is needed")
    return names


def _without_classes(path: Path) -> list[Path]:
    """The images in a folder that has no folders."""
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    if any(entry.is_dir() for entry in entries):
        return []
    return sorted(entry for entry in entries if entry.suffix.lower() in EXTENSIONS)


def file_rows(path: Path, classes: tuple[str, ...]) -> Rows:
    """All images below the class folders, by class and then by path: the same order on every file system."""
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = image_files(path / name)
        files += found
        labels += [label] * len(found)
    if not files:
        raise DataError(f"{path} holds no images; files may end in {', '.join(sorted(EXTENSIONS))}")
    return Rows.of_files(files, np.array(labels, dtype=np.int64))


def image_files(path: Path) -> list[Path]:
    """Files below `path` that are images by their names, in order."""
    walked = (Path(folder, file) for folder, _, names in os.walk(path, followlinks=True) for file in names)
    return sorted((file for file in walked if file.suffix.lower() in EXTENSIONS), key=lambda file: file.as_posix())
