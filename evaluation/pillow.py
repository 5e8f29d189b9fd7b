"""Pillow's operations on grey levels and colours, for batches in torch, each image with its own parameter.

Images are uint8 (B, 3, H, W); parameters are (B,). Every result is Pillow's to the last level.
"""

import torch
from torch import Tensor

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
