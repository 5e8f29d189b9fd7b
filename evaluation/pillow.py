"""Pillow's operations on images, for batches in torch, each image with its own parameter.

Images are uint8 (B, 3, H, W); parameters are (B,). Lookups, masks and histograms are Pillow's to the last level. Blends and
geometry differ from it by a level in single pixels, as Pillow computes them in another order or in float64.
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Interpolation = Literal["bilinear", "bicubic"]

TAPS_AT_ONCE = 1 << 23
"""Weights that `affine` holds at a time."""

# ---- grey levels to grey levels ----


def autocontrast(images: Tensor) -> Tensor:
    """``ImageOps.autocontrast``: each channel stretched to 0 … 255."""
    levels = images.flatten(2)
    low, high = (bound(dim=2, keepdim=True).double() for bound in (levels.amin, levels.amax))  # (B, 3, 1)
    scale = torch.full_like(low, 255) / (high - low)  # infinite where all is one level; `255 / x` would round twice
    stretched = _grey(images) * scale - low * scale
    return _looked_up(images, torch.where(high > low, stretched, _grey(images)))


def equalize(images: Tensor) -> Tensor:
    """``ImageOps.equalize``: each channel with an even histogram."""
    levels = images.flatten(2).long()
    counts = levels.new_zeros(*levels.shape[:2], 256).scatter_add_(2, levels, levels.new_ones(1).expand_as(levels))
    highest = counts.gather(2, levels.amax(dim=2, keepdim=True))
    step = (levels.shape[2] - highest) // 255  # (B, 3, 1)
    before = counts.cumsum(dim=2) - counts
    even = (before + step // 2) // step.clamp(min=1)
    return _looked_up(images, torch.where(step > 0, even, _grey(images)))


def invert(images: Tensor) -> Tensor:
    """``ImageOps.invert``."""
    return 255 - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """``ImageOps.posterize``: the first `bits`, 0 to 8, of each level. No bits are black, which Pillow 13 refuses."""
    return images & _broadcast(256 - (1 << 8 - bits)).to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """``ImageOps.solarize``: inverts what is at least `threshold`, 0 to 256."""
    return torch.where(images < _broadcast(threshold).short(), images, 255 - images)


def solarize_add(images: Tensor, added: Tensor) -> Tensor:
    """timm's ``solarize_add``: `added`, 0 to 255, to what is below 128."""
    brighter = (images + _broadcast(added).short()).clamp_(max=255).to(torch.uint8)
    return torch.where(images < 128, brighter, images)


# ---- blends with a degenerate image ----


def color(images: Tensor, factor: Tensor) -> Tensor:
    """``ImageEnhance.Color``: a blend with the luma."""
    return _blended(_luma(images)[:, None], images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """``ImageEnhance.Contrast``: a blend with the mean of the luma, a whole level."""
    mean = _luma(images).double().mean(dim=(1, 2)).add_(0.5).floor_()
    return _blended(_broadcast(mean), images, factor)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """``ImageEnhance.Brightness``: a blend with black."""
    return _blended(images.new_zeros(1), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """``ImageEnhance.Sharpness``: a blend with the smoothed image, whose border is the image's."""
    level = images.float()
    lines = level[:, :, :-2] + level[:, :, 1:-1] + level[:, :, 2:]
    around = lines[..., :-2] + lines[..., 1:-1] + lines[..., 2:] + 4 * level[:, :, 1:-1, 1:-1]  # 13 weights
    smooth = level.clone()
    smooth[:, :, 1:-1, 1:-1] = (around / 13 + 0.5).floor_()
    return _blended(smooth, images, factor)


# ---- geometry ----


def shear_x(images: Tensor, factor: Tensor, interpolation: Interpolation, fill: tuple[int, int, int]) -> Tensor:
    """Pixel (x, y) is what is at (x + factor * y, y)."""
    one, zero = torch.ones_like(factor), torch.zeros_like(factor)
    return affine(images, torch.stack([one, factor, zero, zero, one, zero], dim=1), interpolation, fill)


def shear_y(images: Tensor, factor: Tensor, interpolation: Interpolation, fill: tuple[int, int, int]) -> Tensor:
    """Pixel (x, y) is what is at (x, y + factor * x)."""
    one, zero = torch.ones_like(factor), torch.zeros_like(factor)
    return affine(images, torch.stack([one, zero, zero, factor, one, zero], dim=1), interpolation, fill)


def translate_x(images: Tensor, share: Tensor, interpolation: Interpolation, fill: tuple[int, int, int]) -> Tensor:
    """Pixel (x, y) is what is at (x + share * width, y)."""
    one, zero = torch.ones_like(share), torch.zeros_like(share)
    matrix = torch.stack([one, zero, share * images.shape[3], zero, one, zero], dim=1)
    return affine(images, matrix, interpolation, fill)


def translate_y(images: Tensor, share: Tensor, interpolation: Interpolation, fill: tuple[int, int, int]) -> Tensor:
    """Pixel (x, y) is what is at (x, y + share * height)."""
    one, zero = torch.ones_like(share), torch.zeros_like(share)
    matrix = torch.stack([one, zero, zero, zero, one, share * images.shape[2]], dim=1)
    return affine(images, matrix, interpolation, fill)


def rotate(images: Tensor, degrees: Tensor, interpolation: Interpolation, fill: tuple[int, int, int]) -> Tensor:
    """``Image.rotate``: about the middle, counter-clockwise."""
    height, width = images.shape[2:]
    angle = degrees * (-math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    x = (width - cos * width - sin * height) / 2
    y = (height + sin * width - cos * height) / 2
    return affine(images, torch.stack([cos, sin, x, -sin, cos, y], dim=1), interpolation, fill)


def affine(images: Tensor, matrix: Tensor, interpolation: Interpolation, fill: tuple[int, int, int]) -> Tensor:
    """``Image.transform`` by affine matrices: a pixel is what is at (a x + b y + c, d x + e y + f), or `fill` outside.

    matrix: (B, 6), a to f. Interpolated as a weighted sum of pixels by one `embedding_bag`, which keeps no tensor for
    each of them: a pixel of the result is a bag, its sources are the words.
    """
    height, width = images.shape[2:]
    taps = 16 if interpolation == "bicubic" else 4
    count = max(1, TAPS_AT_ONCE // (taps * height * width))
    parts = zip(images.split(count), matrix.float().split(count), strict=True)
    return torch.cat([_affine(part, rows, interpolation, fill) for part, rows in parts])


def _affine(images: Tensor, matrix: Tensor, interpolation: Interpolation, fill: tuple[int, int, int]) -> Tensor:
    n, channels, height, width = images.shape
    device = images.device
    x = torch.arange(width, device=device) + 0.5
    y = torch.arange(height, device=device)[:, None] + 0.5
    a, b, c, d, e, f = (entry[:, None, None] for entry in matrix.unbind(1))
    across, along = a * x + b * y + c, d * x + e * y + f  # (n, H, W)
    inside = (across >= 0) & (across < width) & (along >= 0) & (along < height)
    columns, column_weights = _taps(across, width, interpolation)  # (n, H, W, taps)
    rows, row_weights = _taps(along, height, interpolation)
    rows += torch.arange(n, device=device)[:, None, None, None] * height
    sources = rows[..., None] * width + columns[..., None, :]  # (n, H, W, taps, taps)
    weights = row_weights[..., None] * column_weights[..., None, :]
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels).float()
    taps = rows.shape[-1] ** 2
    summed = F.embedding_bag(
        sources.view(-1, taps), pixels, mode="sum", per_sample_weights=weights.view(-1, taps)
    )  # (n * H * W, 3)
    # Pillow cuts the fraction off, but gets a whole level where all sources are that level, and this might end just below.
    level = summed.add_(2**-10).clamp_(0, 255).to(torch.uint8).view(n, height, width, channels)
    outside = torch.tensor(fill, dtype=torch.uint8, device=device)
    return torch.where(inside[..., None], level, outside).permute(0, 3, 1, 2)


def _taps(place: Tensor, size: int, interpolation: Interpolation) -> tuple[Tensor, Tensor]:
    """Which pixels of a line of `size` make the value at each place (n, H, W), and with which weights: (n, H, W, taps)."""
    place = place - 0.5  # pixels have their values at their middles
    first = place.floor()
    t = place - first
    if interpolation == "bilinear":
        weights, offsets = (1 - t, t), (0, 1)
    else:  # the cubic kernel with a = -1
        square, cube = t * t, t * t * t
        weights = (2 * square - t - cube, 1 - 2 * square + cube, t + square - cube, cube - square)
        offsets = (-1, 0, 1, 2)
    pixels = [(first.long() + offset).clamp_(0, size - 1) for offset in offsets]
    return torch.stack(pixels, dim=-1), torch.stack(weights, dim=-1)


# ---- parts ----


def _looked_up(images: Tensor, tables: Tensor) -> Tensor:
    """The level of each table (B, 3, 256), without its fraction and clamped, in the place of each level."""
    tables = tables.clamp(0, 255).to(torch.uint8).expand(*images.shape[:2], 256)
    return tables.gather(2, images.flatten(2).long()).view_as(images)


def _blended(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """``Image.blend``: ``degenerate + factor * (image - degenerate)`` without its fraction, clamped."""
    degenerate = degenerate.float()
    level = (images - degenerate).mul_(_broadcast(factor.float())).add_(degenerate)
    return level.clamp_(0, 255).to(torch.uint8)


def _luma(images: Tensor) -> Tensor:
    """(B, H, W), int32: whole levels, in Pillow's fixed-point numbers."""
    red, green, blue = images.int().unbind(1)
    return (19595 * red + 38470 * green + 7471 * blue + (1 << 15)) >> 16


def _grey(images: Tensor) -> Tensor:
    """All levels (256,)."""
    return torch.arange(256, device=images.device)


def _broadcast(values: Tensor) -> Tensor:
    return values[:, None, None, None]
