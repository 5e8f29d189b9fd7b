"""Weather. Images, keys and results are those of `noise.py`.

**Frost is synthetic**: the published sets lay photographs of frost over an image, which are not ours to hand out. Here the
overlay is fractal noise, so results under `frost` do not compare with published ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...methods.parts.draws import hash64, normals, uniforms
from .filters import clipped_zoom, filtered, motion_kernels, rounded, whole
from .plasma import plasma
from .severities import Severities

SNOW = Severities(
    (
        (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
        (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
    ),
    (
        (0.1, 0.3, 3.0, 0.5, 10, 4.0, 0.8),
        (0.2, 0.3, 2.0, 0.5, 12, 4.0, 0.7),
        (0.55, 0.3, 4.0, 0.9, 12, 8.0, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8.0, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12.0, 0.55),
    ),
)
"""Mean and std of the noise that flakes are made of, their size, the least value of one, radius and sigma of their motion, and the
share of the image that is not whitened."""
FROST = Severities(
    ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
)
"""What the image and the frost are multiplied by before they are added."""
FOG = Severities(
    ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
    ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
)
"""Strength, and `decay` of its plasma."""
BRIGHTNESS = Severities((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5))
LUMA = (0.299, 0.587, 0.114)
ICE = (0.9, 0.96, 1.0)
CRYSTAL = 0.6
"""The least height of a ridge that is a crystal."""


def snow(images: Tensor, keys: Tensor, severity: int) -> Tensor:
    """A whitened image under flakes that fall in one direction, and under the same flakes upside down."""
    mean, std, zoom, least, radius, sigma, kept = SNOW.at(severity, images.shape[-1])
    drawn = normals(hash64(1, keys), images[0, 0].numel()).double().view_as(images[:, :1])
    flakes = clipped_zoom(mean + std * drawn, zoom)
    flakes = whole(torch.where(flakes < least, 0, flakes)) / 255
    degrees = 90 * uniforms(hash64(2, keys), 1)[:, 0].double() - 135
    flakes = rounded(filtered(flakes, motion_kernels(degrees, radius, sigma), "replicate"))
    gray = (images * images.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    white = torch.maximum(images, 1.5 * gray + 0.5)
    return kept * images + (1 - kept) * white + flakes + flakes.rot90(2, (2, 3))


def frost(images: Tensor, keys: Tensor, severity: int) -> Tensor:
    """Synthetic: a bluish veil of uneven thickness with thin crystals, added with the weights of the published sets.

    The crystals are the ridges of a second height map, sharp where it crosses its middle, above a threshold.
    """
    kept, strength = FROST.at(severity, images.shape[-1])
    size = images.shape[-1]
    veil = plasma(hash64(1, keys), size, 2.0)
    ridges = 1 - (2 * plasma(hash64(2, keys), size, 1.3) - 1).abs()
    crystals = F.relu(ridges - CRYSTAL) / (1 - CRYSTAL)
    ice = (0.45 * veil + 0.55 * crystals)[:, None] * images.new_tensor(ICE)[:, None, None]
    return kept * images + strength * ice


def fog(images: Tensor, keys: Tensor, severity: int) -> Tensor:
    """A fractal height map is added; then all is darkened so that the brightest fog is as bright as the image was."""
    strength, decay = FOG.at(severity, images.shape[-1])
    most = images.amax((1, 2, 3), keepdim=True)
    return (images + strength * plasma(keys, images.shape[-1], decay)[:, None]) * most / (most + strength)


def brightness(images: Tensor, _keys: Tensor, severity: int) -> Tensor:
    """The value of HSV, which is the greatest channel, is raised; hue and saturation stay."""
    value = images.amax(dim=1, keepdim=True)
    raised = (value + BRIGHTNESS.at(severity, images.shape[-1])).clamp(max=1)
    return torch.where(value > 0, images * raised / value.clamp(min=1 / 255), raised)
