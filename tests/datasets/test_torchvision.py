"""torchvision's data sets by name, with classes that keep images and labels in each of the ways that torchvision's do."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from ssl_sweep.datasets import DataError, DatasetConfig
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.datasets.torchvision_classes import TORCHVISION
from torchvision import datasets


def pixels(n: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


class Arrays:
    """As CIFAR100: an array, and a list of labels."""

    classes = ("apple", "bear")

    def __init__(self, root: str, train: bool = True, download: bool = False):
        self.data = pixels(20 if train else 6)
        self.targets = [i % 2 for i in range(len(self.data))]
        if not (download or Path(root).is_dir()):
            raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it")

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return Image.fromarray(self.data[i]), self.targets[i]


class Files:
    """As Flowers102: files of any size behind a loader, and labels in `_labels`."""

    def __init__(self, root: str, split: str = "train", download: bool = False, loader: Any = Image.open):
        self._files = sorted((Path(root) / split).glob("*.png"))
        self._labels = [int(file.stem.split("-")[1]) for file in self._files]
        self.loader = loader

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return self.loader(self._files[i]), self._labels[i]


class Sizes(Arrays):
    """As Caltech101: opened images of any size, labels only with them, no split."""

    def __init__(self, root: str, download: bool = False):
        super().__init__(root, download=download)
        self._kept, self.targets = self.targets, ()

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return Image.fromarray(self.data[i][: 5 + i % 3]).convert("L"), self._kept[i]


def prepared(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, kind: type, path: Path | None) -> Prepared:
    monkeypatch.setattr(datasets, name, kind)
    config = DatasetConfig.model_validate({"name": "torchvision", "class_name": name, "path": path and str(path)})
    return prepare(config, folder / "store")


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_classes_take_these_arguments(name: str) -> None:
    known = inspect.signature(getattr(datasets, name)).parameters
    train, test, _ = TORCHVISION[name]
    assert {*train, *(test or {})} <= set(known)


def test_arrays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = prepared(monkeypatch, tmp_path, "CIFAR100", Arrays, tmp_path)
    assert (found.classes, found.train.count, found.test.count) == (("apple", "bear"), 20, 6)
    images = ImageSet.open(found, "test")
    assert torch.equal(images.whole(torch.arange(6)).pixels, torch.from_numpy(pixels(6).transpose(0, 3, 1, 2).copy()))
    assert images.labels.tolist() == [0, 1] * 3


def test_without_a_path_it_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert prepared(monkeypatch, tmp_path, "CIFAR100", Arrays, None).train.count == 20


def test_files_come_as_they_are_and_damaged_ones_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for i in range(6):
            Image.fromarray(pixels(1, 8 + i)[0]).save(tmp_path / split / f"{i}-{i % 3}.png")
    found = prepared(monkeypatch, tmp_path, "Flowers102", Files, tmp_path)
    assert (found.train.encoding, found.train.class_counts, found.classes) == ("encoded", (2, 2, 2), ("0", "1", "2"))
    (tmp_path / "train" / "3-0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="Flowers102, image 3"):
        prepared(monkeypatch, tmp_path, "Flowers102", Files, tmp_path)


def test_images_of_many_sizes_without_a_split_or_labels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = prepared(monkeypatch, tmp_path, "Caltech101", Sizes, tmp_path)
    assert (found.train.encoding, found.train.count, found.test.count) == ("encoded", 18, 2)
    again = prepared(monkeypatch, tmp_path / "elsewhere", "Caltech101", Sizes, tmp_path)
    assert again.fingerprint == found.fingerprint


def test_what_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Absent(Arrays):
        def __init__(self, root: str, train: bool = True, download: bool = False):
            raise RuntimeError("Dataset not found or corrupted.\nTry again")

    with pytest.raises(DataError, match=r"does not hold torchvision's Absent \(Dataset not found or corrupted\.\)"):
        prepared(monkeypatch, tmp_path, "CIFAR100", Absent, tmp_path)

    class Boxes(Arrays):
        def __init__(self, root: str, train: bool = True, download: bool = False):
            super().__init__(root, train, download)
            self.targets = [[0, 1]] * len(self.targets)

    with pytest.raises(DataError, match="not one class an image"):
        prepared(monkeypatch, tmp_path, "CIFAR100", Boxes, tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": "torchvision"}, "needs a `class_name`"),
        ("torchvision.CIFAR10O", "did you mean 'CIFAR100'"),
        ({"name": "digits", "class_name": "CIFAR100"}, "for the data set 'torchvision' alone"),
    ],
)
def test_names_that_do_not_fit(value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DatasetConfig.model_validate(value)


def test_its_title_and_usual_size() -> None:
    config = DatasetConfig.model_validate("torchvision.STL10")
    assert (config.kind, config.usual_size) == ("STL10", 96)
