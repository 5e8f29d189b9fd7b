"""Images in class folders."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import features

from .config import FILES
from .errors import DataError
from .skipped import SkippedFiles
from .sources import Rows, Source, SourceRequest, split_off_test, unlabelled
from .walk import files_in, folders, is_user_folder, walk

AVIF = ".avif"
EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
    + ((AVIF,) if features.check("avif") else ())
)
NOT_READ = {
    ".heic": "Pillow does not read HEIC; convert them, e.g. to JPEG",
    ".heif": "Pillow does not read HEIF; convert them, e.g. to JPEG",
    AVIF: "this build of Pillow does not read AVIF",
}
"""Images that are not read, by ending, and why."""
OF_THE_SYSTEM = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))
"""Files that nobody means to be images, besides the hidden ones."""
TEST_FOLDERS = ("test", "val", "validation")
SAVED = ("dataset_dict.json", "state.json")


def folder(request: SourceRequest) -> Source:
    """The user's own images. Raises DataError if the path is a file, or has a form that is another data set."""
    path = request.given_path
    if path.is_file() and (other := FILES.get(path.suffix.lower())):
        raise DataError(f"{path} is a file; write `name: {other}` to read it")
    if any((path / name).is_file() for name in SAVED):
        raise DataError(f"{path} is a data set saved by Hugging Face's library; write `name: huggingface` to read it")
    return class_folders(path)


def class_folders(path: Path, only: frozenset[str] | None = None) -> Source:
    """A folder with `train/` and `test/` or `val/` (the first that has class folders), or with class folders alone.

    With `only`, other classes are passed over. Without a test part, a tenth of each class becomes one. A folder with images
    in the place of class folders has no labels. Raises DataError if `path` is a file or a folder cannot be read, if no images
    are found, or if the test part has a class that the training part lacks.
    """
    if path.is_file():
        raise DataError(f"{path} is a file; a folder with a folder of images for each class is needed")
    skipped = SkippedFiles()
    inside = path / "train" if (path / "train").is_dir() else path
    if not folders(inside):
        loose = image_files(inside, skipped)
        if not loose:
            raise DataError(f"{inside} has neither images nor class folders{skipped}")
        return unlabelled(Rows.of_files(loose, np.zeros(len(loose), dtype=np.int64)))._replace(skipped=skipped.all)
    classes = class_names(inside, only)
    train = file_rows(inside, classes, skipped)
    test = None if inside == path else _test_folder(path, skipped)
    if test is None:
        return split_off_test(classes, train)._replace(skipped=skipped.all)
    unknown = sorted(set(class_names(test, only)) - set(classes))
    if unknown:
        raise DataError(f"{test} has the class '{unknown[0]}', which {inside} lacks")
    rows = file_rows(test, classes, skipped)
    return Source(classes, train, rows, skipped.all)


def class_names(path: Path, only: frozenset[str] | None) -> tuple[str, ...]:
    """Of the class folders in `path`, those of `only` alone if it is given. Raises DataError where there are none."""
    names = tuple(name for name in folders(path) if only is None or name in only)
    if not names:
        raise DataError(f"{path} has no class folders; one folder of images for each class is needed")
    return names


def _test_folder(path: Path, skipped: SkippedFiles) -> Path | None:
    """The first with class folders; images without such are no test set, which their user may not expect."""
    there = [path / name for name in TEST_FOLDERS if (path / name).is_dir()]
    found = next((place for place in there if folders(place)), None)
    for place in there:
        if place != found and folders(place):
            skipped.add("folders", f"{found} is the test set", place)
        elif place != found:
            _skip_loose(place, "a test set needs class folders", skipped)
    return found


def file_rows(path: Path, classes: tuple[str, ...], skipped: SkippedFiles) -> Rows:
    """All images below the class folders, by class and then by path: the same order on every file system."""
    files: list[Path] = []
    labels: list[int] = []
    there = set(folders(path))  # a test part may lack some of the classes
    for label, name in enumerate(classes):
        if name not in there:
            continue
        found = image_files(path / name, skipped)
        files += found
        labels += [label] * len(found)
    if not files:
        allowed = ", ".join(sorted(EXTENSIONS))
        raise DataError(f"{path} holds no images; files may end in {allowed}{skipped}")
    _skip_loose(path, "they are in no class folder", skipped)
    return Rows.of_files(files, np.array(labels, dtype=np.int64))


def _skip_loose(path: Path, reason: str, skipped: SkippedFiles) -> None:
    skipped.add("images", reason, *_sorted_out(path, files_in(path), SkippedFiles()))


def image_files(path: Path, skipped: SkippedFiles) -> list[Path]:
    """Files below `path` that are images by their names, in order."""
    found: list[Path] = []
    for walked in walk(path, is_user_folder):
        skipped.add_folders(walked)
        found += _sorted_out(walked.folder, walked.files, skipped)
    return sorted(found, key=lambda file: file.as_posix())


def _sorted_out(folder: Path, names: list[str], skipped: SkippedFiles) -> list[Path]:
    """Those of the files in `folder` that are images by their names; of the others, what a user may miss is counted."""
    found: list[Path] = []
    others: defaultdict[str, list[Path]] = defaultdict(list)
    for name in names:
        file = folder / name
        ending = file.suffix.lower()
        if name.startswith("."):
            if ending in EXTENSIONS and not name.startswith("._"):  # a Mac's notes on files have their names
                skipped.add("hidden files", "their names begin with a dot", file)
        elif ending in EXTENSIONS:
            found.append(file)
        elif name.lower() not in OF_THE_SYSTEM:
            others[ending].append(file)
    for ending, files in others.items():
        kind = f"{ending} files" if ending else "files without an ending"
        skipped.add(kind, NOT_READ.get(ending, "not an ending of images that are read"), *files)
    return found
