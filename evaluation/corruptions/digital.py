"""Digital corruptions. Images, keys and results are those of `noise.py`.

Pixelation and JPEG are Pillow's, image by image on the CPU.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...methods.parts.draws import hash64, uniforms
from .filters import smoothed
from .severities import SMALL, Severities

CONTRAST = Severities((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05))
ELASTIC = Severities(
    ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ((2.0, 0.7, 0.1), (2.0, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
)
"""Strength and smoothness of the displacements, and how far each corner of a triangle moves at most; as shares of a side."""
PIXELATE = Severities((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25))
"""The side that is left, as a share."""
QUALITY = Severities((80, 65, 58, 50, 40), (25, 18, 15, 10, 7))


def contrast(images: Tensor, _keys: Tensor, severity: int) -> Tensor:
    """Distances to the mean of each channel shrink."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + CONTRAST.at(severity, images.shape[-1]) * (images - mean)


def elastic_transform(images: Tensor, keys: Tensor, severity: int) -> Tensor:
    """An affine map that moves three points at random, then a smooth field of displacements."""
    size = images.shape[-1]
    side = size if size <= SMALL else size * 244 / 224  # the authors have 244 for their 224 px
    strength, sigma, shift = (share * side for share in ELASTIC.at(severity, size))
    corners = shift * (2 * uniforms(hash64(1, keys), 6).double() - 1).view(-1, 3, 2)
    images = sampled(images, affine_sources(corners, size), edges_at_centres=True)
    if not strength:
        return images
    field = (2 * uniforms(hash64(2, keys), 2 * size * size).double() - 1).view(-1, 2, size, size)
    moved = strength * smoothed(field, sigma, 3, "reflect")  # x, then y
    return sampled(images, _grid(size, images) + moved.permute(0, 2, 3, 1), edges_at_centres=False)


def affine_sources(shifts: Tensor, size: int) -> Tensor:
    """Where each pixel comes from, (B, S, S, 2) as x and y, if the corners of a triangle in the middle move by `shifts` (B, 3, 2)."""
    middle, leg = size // 2, size // 3
    corners = shifts.new_tensor(
        [[middle + leg, middle + leg], [middle + leg, middle - leg], [middle - leg, middle - leg]]
    )
    moved = corners + shifts
    sides = moved[:, :2] - moved[:, 2:]  # (B, 2, 2)
    (ax, ay), (bx, by) = (side.unbind(1) for side in sides.unbind(1))
    inverse = torch.stack([by, -ay, -bx, ax], dim=1).view(-1, 2, 2) / (ax * by - ay * bx)[:, None, None]
    turned = inverse @ (corners[:2] - corners[2])  # rows on the left: (point - moved) @ turned + corner
    points = _grid(size, shifts).reshape(-1, 2) - moved[:, 2:]  # (B, S S, 2)
    return (points @ turned + corners[2]).view(-1, size, size, 2)


def _grid(size: int, like: Tensor) -> Tensor:
    along = torch.arange(size, device=like.device, dtype=like.dtype)
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1)  # (S, S, 2)


def sampled(images: Tensor, points: Tensor, *, edges_at_centres: bool) -> Tensor:
    """Bilinear samples at `points` (B, S, S, 2), x and y in pixels; outside, the image is mirrored at the centres of the pixels at
    its edge, or else at the edge."""
    size = images.shape[-1]
    places = 2 * points / (size - 1) - 1 if edges_at_centres else (2 * points + 1) / size - 1
    return F.grid_sample(images, places, mode="bilinear", padding_mode="reflection", align_corners=edges_at_centres)


def pixelate(images: Tensor, _keys: Tensor, severity: int) -> Tensor:
    size = images.shape[-1]
    side = max(1, int(size * PIXELATE.at(severity, size)))
    box = Image.Resampling.BOX
    return _by_pillow(images, lambda image: image.resize((side, side), box).resize((size, size), box))


def jpeg_compression(images: Tensor, _keys: Tensor, severity: int) -> Tensor:
    quality = QUALITY.at(severity, images.shape[-1])

    def compressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _by_pillow(images, compressed)


def _by_pillow(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    levels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    made = np.stack([np.asarray(change(Image.fromarray(pixels))) for pixels in levels])
    return torch.from_numpy(made).to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 255
