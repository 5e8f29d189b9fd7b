"""Crop, flip and antialiased resize of each image of a batch as matrix products, `Wy @ image @ Wx.T`.

The rows of `Wy` and `Wx` hold the filter weights of Pillow (`src/libImaging/Resample.c`), as integers of 22 bits like there;
Pillow rounds to whole grey levels after the horizontal pass and again after the vertical one, and so does this. Products of
float32 are exact on such integers once each weight is cut into two halves. Pillow 13 takes the vertical pass first where a
crop is reduced much more in height (python-pillow/Pillow#9549), which moves saturated pixels by a few levels; this keeps to
the order of all Pillow before it, and so of all published results.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..methods.parts.device import to_device

Filter = Literal["bilinear", "bicubic"]
Boxes = NDArray[np.float64]

HALF_BITS = 11
"""Of the two halves of a weight: 255 times the sum of a row of either is a whole number that float32 holds."""

ONE = 1 << 2 * HALF_BITS
"""What a weight of 1 is as an integer."""


def resample(pixels: Tensor, crops: Boxes, bounds: Boxes, size: int, kind: Filter) -> Tensor:
    """Each image's crop at `size` x `size`, in whole grey levels from 0 to 255, float32 (B, 3, size, size).

    pixels: (B, 3, H, W), uint8. crops: (B, 4), the x0, y0, x1, y1 that become the edges of the result; x0 > x1 flips.
    bounds: (B, 4), the area that filters may read, in the same form. With the whole image the result is Pillow's
    ``image.resize(size, box=crop)``; with the crop itself, ``image.crop(crop).resize(size)``.
    """
    b, _, height, width = pixels.shape
    x0, y0, x1, y1 = to_device(crops, pixels.device).unbind(1)
    low_x, low_y, high_x, high_y = to_device(bounds, pixels.device).unbind(1)
    wx = filter_weights(x0, x1, low_x, high_x, width, size, kind)  # (B, size, W)
    wy = filter_weights(y0, y1, low_y, high_y, height, size, kind)  # (B, size, H)
    source = pixels.float().reshape(b, 3 * height, width)
    across = _levels(*(source @ half.mT for half in _halves(wx)))  # (B, 3 H, size)
    across = across.view(b, 3, height, size)
    return _levels(*(half[:, None] @ across for half in _halves(wy)))  # (B, 3, size, size)


def _halves(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Upper and lower half of each weight as a whole number, float32; together ``upper * 2 ** HALF_BITS + lower``."""
    whole = (weights.abs() * ONE + 0.5).floor_().copysign_(weights)  # halves away from zero, as Pillow
    upper = (whole / (1 << HALF_BITS)).floor_()
    return upper.float(), (whole - upper * (1 << HALF_BITS)).float()


def _levels(upper: Tensor, lower: Tensor) -> Tensor:
    """Grey levels of sums of weighted pixels: rounded, halves upwards. In place."""
    level = (upper / (1 << HALF_BITS)).floor_()
    upper.sub_(level, alpha=1 << HALF_BITS)  # of the upper half, what is less than a level
    rest = lower.add_(upper, alpha=1 << HALF_BITS).add_(ONE / 2).div_(ONE).floor_()
    return level.add_(rest).clamp_(0, 255)


def filter_weights(
    start: Tensor, end: Tensor, low: Tensor, high: Tensor, length: int, size: int, kind: Filter
) -> Tensor:
    """Weights (B, size, length) that take a line of `length` pixels to `size` pixels between `start` and `end`.

    All bounds are (B,), float64, in pixels; nothing outside of ``low <= x < high`` has weight. Each row sums to 1.
    """
    scale = (end - start)[:, None] / size  # (B, 1); negative where flipped
    centers = start[:, None] + (torch.arange(size, device=start.device) + 0.5) * scale  # (B, size)
    stretch = scale.abs().clamp_(min=1)  # antialiasing: the filter is as wide as the step between two results
    pixels = torch.arange(length, device=start.device) + 0.5  # (length,)
    inside = (pixels > low[:, None]) & (pixels < high[:, None])  # (B, length)
    distance = (pixels - centers[..., None]).div_(stretch[..., None]).abs_()  # (B, size, length)
    weights = _triangle(distance) if kind == "bilinear" else _cubic(distance)
    weights *= inside[:, None]
    return weights.div_(weights.sum(-1, keepdim=True))


def _triangle(distance: Tensor) -> Tensor:
    return distance.neg_().add_(1).clamp_(min=0)


def _cubic(x: Tensor, a: float = -0.5) -> Tensor:
    """Keys' cubic filter with Pillow's parameter."""
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((x - 5) * x + 8) * x * a - 4 * a
    return torch.where(x < 1, inner, torch.where(x < 2, outer, 0))
