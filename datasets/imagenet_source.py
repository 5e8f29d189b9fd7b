"""ImageNet-1k and the hundred classes of ImageNet-100: class folders, a flat validation folder, or Parquet files."""

import csv
import re
from pathlib import Path
from typing import Any, cast

import numpy as np

from .errors import DataError
from .folder_source import class_folders, class_names, file_rows, image_files
from .parquet_source import parquet_files
from .skipped import SkippedFiles
from .sources import Rows, Source, SourceRequest
from .walk import folders

VALIDATION = "val"
DEVKIT = "ILSVRC2012_validation_ground_truth.txt"
SYNSETS = "*validation_synset_labels.txt"
KAGGLE = "LOC_val_solution.csv"


def imagenet1k(request: SourceRequest) -> Source:
    """A folder with train/ and val/, or Parquet files.

    val/ has class folders, or all images in itself as ILSVRC2012_val_00000001.JPEG and so on: then one of the files that
    say their classes lies in val/, beside it, or in the devkit's folder beside it. Raises DataError where there is none.
    """
    path = request.given_path
    if path.is_file() or _has_parquet(path):
        return parquet_files(path)
    return _folders(path, None)


def imagenet100(request: SourceRequest) -> Source:
    """The hundred classes out of ImageNet's folder. Raises DataError where one of them is missing."""
    path = request.given_path
    lines = (Path(__file__).parent / "imagenet100_classes.txt").read_text().splitlines()
    wanted = frozenset(line for line in lines if not line.startswith("#"))
    source = _folders(path, wanted)
    missing = sorted(wanted - set(source.classes))
    if missing:
        raise DataError(f"{path} lacks {len(missing)} of the 100 classes of ImageNet-100, as {missing[0]}")
    return source


def _has_parquet(path: Path) -> bool:
    return any(path.glob("*.parquet")) or any(path.glob("data/*.parquet"))


def _folders(path: Path, only: frozenset[str] | None) -> Source:
    folder = path / VALIDATION
    if not folder.is_dir() or folders(folder):
        return class_folders(path, only)
    classes, skipped = class_names(path / "train", only), SkippedFiles()
    train = file_rows(path / "train", classes, skipped)
    test = _flat(folder, classes, only, skipped)
    return Source(classes, train, test, skipped.all)


def _flat(folder: Path, classes: tuple[str, ...], only: frozenset[str] | None, skipped: SkippedFiles) -> Rows:
    """The images of `folder`, in the order of their numbers, with the classes that a file beside them names."""
    where, synsets = _synsets(folder)
    numbers = {class_name: label for label, class_name in enumerate(classes)}
    files: list[Path] = []
    labels: list[int] = []
    for file in image_files(folder, skipped):
        number = re.search(r"(\d+)$", file.stem)
        synset = synsets.get(int(number[1])) if number else None
        if synset is None:
            raise DataError(f"{where} says nothing of {file}")
        if synset in numbers:
            files.append(file)
            labels.append(numbers[synset])
        elif only is None:
            raise DataError(f"{file} is of the class '{synset}', which {folder.parent / 'train'} lacks")
    if not files:
        raise DataError(f"{folder} holds no image of the classes in {folder.parent / 'train'}")
    return Rows.of_files(files, np.array(labels, dtype=np.int64))


def _synsets(folder: Path) -> tuple[Path, dict[int, str]]:
    """The file that says so, and the synset of each validation image by its number, from 1."""
    places = (
        folder,
        folder.parent,
        *sorted(folder.parent.glob("*devkit*")),
        *sorted(folder.parent.glob("*devkit*/data")),
    )
    for place in places:
        for file in sorted(place.glob(SYNSETS)):
            return file, dict(enumerate(file.read_text().split(), start=1))
        if (place / KAGGLE).is_file():
            return place / KAGGLE, _kaggle(place / KAGGLE)
        if (place / DEVKIT).is_file() and (place / "meta.mat").is_file():
            return place / DEVKIT, _devkit(place)
    raise DataError(
        f"{folder} holds images without class folders, and no label file was found;"
        f" put one of these in it or next to it: {SYNSETS}, {KAGGLE}, or the devkit's"
        f" {DEVKIT} with its meta.mat"
    )


def _kaggle(file: Path) -> dict[int, str]:
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {int(row["ImageId"].rsplit("_", 1)[1]): row["PredictionString"].split()[0] for row in rows}


def _devkit(folder: Path) -> dict[int, str]:
    from scipy.io import loadmat  # slow to import, and only this needs it

    synsets = cast(Any, loadmat(str(folder / "meta.mat"), squeeze_me=True))["synsets"]
    names = {int(number): str(name) for number, name in zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)}
    ids = (folder / DEVKIT).read_text().split()
    return {number: names[int(identity)] for number, identity in enumerate(ids, start=1)}
