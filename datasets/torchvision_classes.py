"""The image classification data sets of torchvision that go by name: how their parts are asked for. Free of torch."""

from typing import Any, NamedTuple


class Parts(NamedTuple):
    """Arguments of a class for its training part and for its test part; without one, a tenth of each class becomes it."""

    train: dict[str, Any]
    test: dict[str, Any] | None
    size: int
    """Pixels at which the images are usually used."""


def _flag(size: int) -> Parts:
    return Parts({"train": True}, {"train": False}, size)


def _split(train: str = "train", test: str = "test", size: int = 224, **more: Any) -> Parts:
    return Parts({"split": train, **more}, {"split": test, **more}, size)


TORCHVISION: dict[str, Parts] = {
    "CIFAR100": _flag(32),
    "Caltech101": Parts({}, None, 224),
    "Caltech256": Parts({}, None, 224),
    "Country211": _split(),
    "DTD": _split(),
    "EuroSAT": Parts({}, None, 64),
    "FER2013": _split(size=48),
    "FGVCAircraft": _split("trainval"),
    "FashionMNIST": _flag(28),
    "Flowers102": _split(),
    "Food101": _split(),
    "GTSRB": _split(size=32),
    "KMNIST": _flag(28),
    "MNIST": _flag(28),
    "OxfordIIITPet": _split("trainval"),
    "PCAM": _split(size=96),
    "Places365": _split("train-standard", "val", small=True),
    "RenderedSST2": _split(),
    "STL10": _split(size=96),
    "SUN397": Parts({}, None, 224),
    "SVHN": _split(size=32),
    "StanfordCars": _split(),
    "USPS": _flag(16),
}
