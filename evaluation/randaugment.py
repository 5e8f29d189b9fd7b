"""RandAugment (arXiv:1909.13719) as timm's ``rand-m9-mstd0.5-inc1``, which DeiT, MAE and Lightly fine-tune with, in batches.

Each image has two operations of fifteen, each left out with probability 1/2. The strength of one is a draw from
N(9, 0.5²), cut to 0 … 10. torchvision's RandAugment of "magnitude 9" has 9 of 30 steps, which is a third of it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.color import MEAN
from ..methods.parts.draws import hash64, normals, uniforms
from . import geometry, pillow
from .geometry import Interpolation

POLICY = "rand-m9-mstd0.5-inc1"
LAYERS = 2
"""Operations for each image, one after the other."""
PROBABILITY = 0.5
"""Of each of them; else it is left out."""
MAGNITUDE, MAGNITUDE_STD, MAGNITUDE_MAX = 9.0, 0.5, 10.0
FILL = (round(255 * MEAN[0]), round(255 * MEAN[1]), round(255 * MEAN[2]))
"""What geometry leaves empty."""


class Strength(NamedTuple):
    """Of one operation, for each of its n images."""

    level: Tensor  # (n,), float64, from 0 to 1
    sign: Tensor  # (n,), float64, 1 or -1: to which side, for operations that have two
    interpolation: Interpolation

    @property
    def signed(self) -> Tensor:
        return self.sign * self.level

    def whole(self, end: int) -> Tensor:
        """The level as a whole number from 0 to `end`."""
        return (self.level * end).long()

    @property
    def factor(self) -> Tensor:
        """Of a blend: 1 is the image itself."""
        return (1 + 0.9 * self.signed).clamp(min=0.1)


def _posterize(images: Tensor, by: Strength) -> Tensor:
    return pillow.posterize(images, 4 - by.whole(4))


def _solarize(images: Tensor, by: Strength) -> Tensor:
    return pillow.solarize(images, 256 - by.whole(256))


def _solarize_add(images: Tensor, by: Strength) -> Tensor:
    return pillow.solarize_add(images, by.whole(110))


OPERATIONS: dict[str, Callable[[Tensor, Strength], Tensor]] = {
    "AutoContrast": lambda images, _: pillow.autocontrast(images),
    "Equalize": lambda images, _: pillow.equalize(images),
    "Invert": lambda images, _: pillow.invert(images),
    "Rotate": lambda images, by: geometry.rotate(images, 30 * by.signed, by.interpolation, FILL),
    "PosterizeIncreasing": _posterize,
    "SolarizeIncreasing": _solarize,
    "SolarizeAdd": _solarize_add,
    "ColorIncreasing": lambda images, by: pillow.color(images, by.factor),
    "ContrastIncreasing": lambda images, by: pillow.contrast(images, by.factor),
    "BrightnessIncreasing": lambda images, by: pillow.brightness(images, by.factor),
    "SharpnessIncreasing": lambda images, by: pillow.sharpness(images, by.factor),
    "ShearX": lambda images, by: geometry.shear_x(images, 0.3 * by.signed, by.interpolation, FILL),
    "ShearY": lambda images, by: geometry.shear_y(images, 0.3 * by.signed, by.interpolation, FILL),
    "TranslateXRel": lambda images, by: geometry.translate_x(images, 0.45 * by.signed, by.interpolation, FILL),
    "TranslateYRel": lambda images, by: geometry.translate_y(images, 0.45 * by.signed, by.interpolation, FILL),
}
"""By timm's names, in timm's order, which is part of the draws."""


class Drawn(NamedTuple):
    """What is done to each of B images, in each layer."""

    operation: Tensor  # (B, LAYERS), int64: place in `OPERATIONS`; their number where it is left out
    magnitude: Tensor  # (B, LAYERS), float64, from 0 to 10
    sign: Tensor  # (B, LAYERS), float64, 1 or -1


def drawn_operations(keys: Tensor) -> Drawn:
    """For each of the keys (B,), int64."""
    chosen, applied, side = uniforms(keys, 3 * LAYERS).unflatten(1, (3, LAYERS)).unbind(1)
    operation = (chosen * len(OPERATIONS)).long()
    magnitude = MAGNITUDE + MAGNITUDE_STD * normals(hash64(1, keys), LAYERS).double()
    return Drawn(
        torch.where(applied < PROBABILITY, operation, len(OPERATIONS)),
        magnitude.clamp_(0, MAGNITUDE_MAX),
        torch.where(side < 0.5, -1.0, 1.0).double(),
    )


def randaugment(images: Tensor, keys: Tensor, interpolation: Interpolation) -> Tensor:
    """Images (B, 3, H, W), uint8, after what is drawn for their keys (B,), int64.

    The images of one operation are changed at once. How many have which is all that is read from the device: one wait.
    """
    return changed(images, drawn_operations(keys), interpolation)


def changed(images: Tensor, drawn: Drawn, interpolation: Interpolation) -> Tensor:
    """Images (B, 3, H, W), uint8, after the operations that are drawn."""
    counts = F.one_hot(drawn.operation, len(OPERATIONS) + 1).sum(dim=0).tolist()  # for each layer, for each operation
    for layer, sizes in enumerate(counts):
        order = drawn.operation[:, layer].argsort().split(sizes)
        images = images.clone()
        for operate, rows in zip(OPERATIONS.values(), order, strict=False):  # the last rows are left as they are
            if len(rows):
                level, sign = drawn.magnitude[rows, layer] / MAGNITUDE_MAX, drawn.sign[rows, layer]
                images[rows] = operate(images[rows], Strength(level, sign, interpolation))
    return images
