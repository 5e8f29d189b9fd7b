"""Shears, translations and rotations as Pillow's, for batches in torch, each image with its own parameter.

Images are uint8 (B, 3, H, W); parameters are (B,). Interpolated as in Pillow's `src/libImaging/Geometry.c`: a pixel of the result
is the weighted sum of the pixels around a place, of which those beyond the edge are the ones at the edge, without its fraction;
or `fill`, if that place is outside. Single pixels are a level off, since Pillow adds in float64 and in another order.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic"]
Fill = tuple[int, int, int]


def shear_x(images: Tensor, factor: Tensor, interpolation: Interpolation, fill: Fill) -> Tensor:
    """Pixel (x, y) is what is at (x + factor * y, y)."""
    return _shifted(images, factor[:, None] * _middles(images.shape[2], images.device), interpolation, fill)


def shear_y(images: Tensor, factor: Tensor, interpolation: Interpolation, fill: Fill) -> Tensor:
    """Pixel (x, y) is what is at (x, y + factor * x)."""
    return shear_x(images.mT, factor, interpolation, fill).mT


def translate_x(images: Tensor, share: Tensor, interpolation: Interpolation, fill: Fill) -> Tensor:
    """Pixel (x, y) is what is at (x + share * width, y)."""
    height, width = images.shape[2:]
    return _shifted(images, (share * width)[:, None].expand(-1, height), interpolation, fill)


def translate_y(images: Tensor, share: Tensor, interpolation: Interpolation, fill: Fill) -> Tensor:
    """Pixel (x, y) is what is at (x, y + share * height)."""
    return translate_x(images.mT, share, interpolation, fill).mT


def rotate(images: Tensor, degrees: Tensor, interpolation: Interpolation, fill: Fill) -> Tensor:
    """Counter-clockwise, about the middle."""
    height, width = images.shape[2:]
    angle = degrees[:, None, None] * (math.pi / 180)
    cos, sin = angle.cos().float(), angle.sin().float()
    x = (_middles(width, images.device) - width / 2).float()
    y = (_middles(height, images.device) - height / 2).float()[:, None]
    across = cos * x - sin * y + width / 2  # (B, H, W)
    along = sin * x + cos * y + height / 2
    return _sampled(images, across, along, interpolation, fill)


def _shifted(images: Tensor, shift: Tensor, interpolation: Interpolation, fill: Fill) -> Tensor:
    """Pixel x of each line is what is at x + shift (B, H) of it. One weighted sum of neighbours for all of a line."""
    width = images.shape[3]
    taps = 4 if interpolation == "bicubic" else 2
    first = shift.floor()
    sources = torch.arange(1 - taps // 2, width + taps // 2, device=images.device) + first.long()[..., None]
    sources = sources.clamp_(0, width - 1)[:, None].expand(-1, 3, -1, -1)  # (B, 3, H, W + taps - 1)
    line = images.gather(3, sources).float()
    first_weight, *weights = (weight[:, None, :, None] for weight in _weights((shift - first).float(), interpolation))
    summed = line[..., :width] * first_weight
    for tap, weight in enumerate(weights, start=1):
        summed.addcmul_(line[..., tap : tap + width], weight)
    place = _middles(width, images.device) + shift[..., None]  # (B, H, W)
    return _levels(summed, (place >= 0) & (place < width), fill)


def _sampled(images: Tensor, across: Tensor, along: Tensor, interpolation: Interpolation, fill: Fill) -> Tensor:
    """What is at the places `across` and `along` (B, H, W) of each image."""
    height, width = images.shape[2:]
    taps = 4 if interpolation == "bicubic" else 2
    left, top = (across - 0.5).floor(), (along - 0.5).floor()  # pixels have their values at their middles
    columns = _weights((across - 0.5 - left).flatten(1)[:, None], interpolation)  # each (B, 1, H * W)
    rows = _weights((along - 0.5 - top).flatten(1)[:, None], interpolation)
    edge = taps // 2
    padded = F.pad(images.float(), (edge,) * 4, mode="replicate").to(torch.uint8).flatten(2)
    stride = width + 2 * edge
    first = (top.clamp_(-1, height - 1).long() + 1) * stride + left.clamp_(-1, width - 1).long() + 1
    first = first.flatten(1)[:, None].expand(-1, 3, -1)  # (B, 3, H * W): the first pixel of each sum
    summed = torch.zeros(first.shape, device=images.device)
    for row, of_row in enumerate(rows):
        line = torch.zeros_like(summed)
        for column, of_column in enumerate(columns):
            line.add_(padded[..., row * stride + column :].gather(2, first) * of_column)
        summed.addcmul_(line, of_row)
    inside = (across >= 0) & (across < width) & (along >= 0) & (along < height)
    return _levels(summed.view(images.shape), inside, fill)


def _weights(t: Tensor, interpolation: Interpolation) -> tuple[Tensor, ...]:
    """Of the pixels around a place that is `t`, from 0 to 1, of the way from one to the next."""
    if interpolation == "bilinear":
        return 1 - t, t
    square, cube = t * t, t * t * t  # the cubic kernel with a = -1
    return 2 * square - t - cube, 1 - 2 * square + cube, t + square - cube, cube - square


def _levels(summed: Tensor, inside: Tensor, fill: Fill) -> Tensor:
    """Whole levels of weighted sums (B, 3, H, W) where `inside` (B, H, W), else the fill."""
    # Where all pixels are one level, Pillow gets that level, and this sum may end just below.
    levels = summed.add_(2**-10).clamp_(0, 255).to(torch.uint8)
    outside = torch.stack([torch.full_like(levels[0, 0], level) for level in fill])
    return torch.where(inside[:, None], levels, outside)


def _middles(size: int, device: torch.device) -> Tensor:
    """Of the pixels of a line, (size,), float64."""
    return torch.arange(size, dtype=torch.float64, device=device) + 0.5
