"""Blur. Images, keys and results are those of `noise.py`."""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ...methods.parts.draws import hash64, uniforms
from .filters import clipped_zoom, filtered, motion_kernels, rounded, smoothed, whole
from .severities import Severities

DEFOCUS = Severities(
    ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
    ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
)
"""Radius of the disk, and sigma of the Gaussian that softens its edge."""
GLASS = Severities(
    ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
)
"""Sigma of the blur before and after, reach of a shuffle, number of shuffles."""
MOTION = Severities(
    ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)),
    ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)),
)
"""Radius and sigma."""
ZOOM = Severities(
    ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
)
"""End, not included, and step of the factors, which begin at 1."""
DOUBLINGS = 7


def defocus_blur(images: Tensor, _keys: Tensor, severity: int) -> Tensor:
    kernel = disk(*DEFOCUS.at(severity, images.shape[-1])).to(images.device)
    return filtered(images, kernel[None], "reflect")


@cache
def disk(radius: float, sigma: float) -> Tensor:
    """A disk in an odd square, on the CPU, softened by a Gaussian of few pixels, without what is 0 around it."""
    reach, taps = (8, 3) if radius <= 8 else (math.ceil(radius), 5)
    along = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = (along[:, None] ** 2 + along**2 <= radius**2).double()
    kernel /= kernel.sum()
    near = torch.arange(taps, dtype=torch.float64) - taps // 2
    soft = (-(near**2) / (2 * sigma**2)).exp()
    soft /= soft.sum()
    kernel = filtered(kernel[None, None], (soft[:, None] * soft)[None], "reflect")[0, 0]
    used = min(reach, math.floor(radius) + taps // 2)
    return kernel[reach - used : reach + used + 1, reach - used : reach + used + 1]


def glass_blur(images: Tensor, keys: Tensor, severity: int) -> Tensor:
    sigma, reach, times = GLASS.at(severity, images.shape[-1])
    levels = whole(smoothed(images, sigma, 4, "nearest"))
    for number in range(times):
        levels = shuffled(levels, uniforms(hash64(number, keys), 2 * levels[0, 0].numel()), reach)
    return smoothed(levels / 255, sigma, 4, "nearest")


def shuffled(levels: Tensor, drawn: Tensor, reach: int) -> Tensor:
    """Each pixel of images (B, 3, S, S), from the last to the first, replaced by one near it as that is by then.

    The published sets were made so: what is written there as an exchange of two pixels copies one onto the other, as both are
    views of one array. Of drawn (B, 2 S S), in [0, 1), are the vertical distances, then the horizontal ones, -reach to reach - 1.
    The loop over pixels is a chain of pointers: one to a pixel that was there before ends in its value, one to a pixel that
    comes earlier in the loop goes on from it. All are followed at once, each pass twice as far as the one before. A pointer goes
    on with a probability of less than 1/2, and one that does so 2 ** DOUBLINGS times is not drawn.
    """
    size = levels.shape[-1]
    pixels = torch.arange(size * size, device=levels.device)
    y, x = pixels // size, pixels % size
    inner = (torch.minimum(y, x) > reach) & (torch.maximum(y, x) <= size - reach)  # as in the authors' loops
    dy, dx = ((drawn.double() * (2 * reach)).floor().long() - reach).chunk(2, dim=1)  # each (B, S S)
    near = torch.where(inner, (y + dy) * size + x + dx, pixels)
    goes_on = (near > pixels) & inner[near]
    pointers = torch.where(goes_on, near, near + size * size)  # the upper half: values, which point at themselves
    pointers = torch.cat([pointers, (pixels + size * size).expand_as(pointers)], dim=1)
    for _ in range(DOUBLINGS):
        pointers = pointers.gather(1, pointers)
    sources = pointers[:, : size * size] - size * size
    return levels.flatten(2).gather(2, sources[:, None].expand(-1, levels.shape[1], -1)).view_as(levels)


def motion_blur(images: Tensor, keys: Tensor, severity: int) -> Tensor:
    """Along a line between -45 and 45 degrees, in whole grey levels as of ImageMagick."""
    radius, sigma = MOTION.at(severity, images.shape[-1])
    degrees = 90 * uniforms(keys, 1)[:, 0].double() - 45
    return rounded(filtered(images, motion_kernels(degrees, radius, sigma), "replicate"))


def zoom_blur(images: Tensor, _keys: Tensor, severity: int) -> Tensor:
    """The mean of the image and of enlargements of it, the first of which is by 1."""
    factors = np.arange(1, *ZOOM.at(severity, images.shape[-1])).tolist()
    total = images.clone()
    for factor in factors:
        total += clipped_zoom(images, factor)
    return total / (len(factors) + 1)
