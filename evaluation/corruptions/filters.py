"""What corruptions filter with. In float64, so that the order of a sum, which depends on the batch, changes no grey level."""

import math
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDING = 1e-3
"""Of a grey level: results that are this much below a whole level are that level, whatever the rounding of floats."""


def whole(images: Tensor) -> Tensor:
    """Grey levels 0 to 255 of images in [0, 1], cut off as in the published sets, not rounded; what is outside is clamped."""
    return (images.clamp(0, 1) * 255 + ROUNDING).floor()


def rounded(images: Tensor) -> Tensor:
    """The nearest grey level instead, again in [0, 1]."""
    return whole(images + 0.5 / 255) / 255


def filtered(images: Tensor, kernels: Tensor, edges: Literal["reflect", "replicate"]) -> Tensor:
    """Each image (B, C, S, S) correlated with its kernel, (B, R, R) or one for all (1, R, R), R odd; at the edges as `F.pad`."""
    reach, size = kernels.shape[-1] // 2, images.shape[-1]
    padded = F.pad(images, (reach,) * 4, mode=edges)
    shape = padded.shape[-2:]
    product = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels, s=shape).conj()[:, None]
    return torch.fft.irfft2(product, s=shape)[..., :size, :size]


def motion_kernels(degrees: Tensor, radius: int, sigma: float) -> Tensor:
    """Half a Gaussian along a line of 2 `radius` + 1 pixels that begins in the middle, as ImageMagick's motion blur.

    degrees: (B,), float64, of the line. Returns (B, R, R) with R = 4 `radius` + 1.
    """
    steps = torch.arange(2 * radius + 1, device=degrees.device, dtype=torch.float64)
    weights = (-(steps**2) / (2 * sigma**2)).exp()
    weights /= weights.sum()
    angles = torch.deg2rad(degrees)[:, None]
    reach = 2 * radius
    side = 2 * reach + 1
    y = ((steps * angles.sin() - 0.5).ceil() + reach).long()
    x = ((steps * angles.cos() - 0.5).ceil() + reach).long()
    kernels = torch.zeros(len(degrees), side * side, device=degrees.device, dtype=torch.float64)
    return kernels.scatter_add_(1, y * side + x, weights.expand(len(y), -1)).view(-1, side, side)


@cache
def smoothing(size: int, sigma: float, truncate: float, edges: Literal["nearest", "reflect"]) -> Tensor:
    """A Gaussian filter along a line as a matrix (size, size), on the CPU, with the edges of SciPy's `gaussian_filter`."""
    reach = int(truncate * sigma + 0.5)
    if not reach:
        return torch.eye(size, dtype=torch.float64)
    offsets = torch.arange(-reach, reach + 1)
    weights = (-0.5 * (offsets.double() / sigma) ** 2).exp()
    weights /= weights.sum()
    sources = torch.arange(size)[:, None] + offsets  # (size, 2 reach + 1)
    if edges == "nearest":
        sources = sources.clamp(0, size - 1)
    else:
        sources = sources % (2 * size)
        sources = torch.minimum(sources, 2 * size - 1 - sources)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, sources, weights.expand(size, -1))


def smoothed(images: Tensor, sigma: float, truncate: float, edges: Literal["nearest", "reflect"]) -> Tensor:
    """Images (..., S, S), float64, after a Gaussian filter that is cut off at `truncate` times `sigma`."""
    matrix = smoothing(images.shape[-1], sigma, truncate, edges).to(images.device)
    return matrix @ images @ matrix.T


def clipped_zoom(images: Tensor, factor: float) -> Tensor:
    """The middle of each image (B, C, S, S), enlarged `factor` times to at least S x S and cut to that; bilinear."""
    size = images.shape[-1]
    kept = math.ceil(size / factor)
    start, enlarged = (size - kept) // 2, round(kept * factor)
    middle = images[..., start : start + kept, start : start + kept]
    zoomed = F.interpolate(middle, (enlarged, enlarged), mode="bilinear", align_corners=True)
    trim = (enlarged - size) // 2
    return zoomed[..., trim : trim + size, trim : trim + size]
