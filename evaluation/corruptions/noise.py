"""Noise: each value of each channel is changed on its own.

Images are (B, 3, S, S), float64, in whole grey levels / 255; keys (B,) are what each image's draws depend on. What is returned
may lie outside of [0, 1].
"""

import math
from functools import cache

import torch
from torch import Tensor

from ...methods.parts.draws import normals, uniforms
from .severities import Severities

STD = Severities((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38))
PHOTONS = Severities((500, 250, 100, 75, 50), (60, 25, 12, 5, 3))
"""That a white pixel has on average."""
REPLACED = Severities((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27))
"""Share of the values."""


def gaussian_noise(images: Tensor, keys: Tensor, severity: int) -> Tensor:
    std = STD.at(severity, images.shape[-1])
    return images + std * normals(keys, images[0].numel()).view_as(images)


def shot_noise(images: Tensor, keys: Tensor, severity: int) -> Tensor:
    """Each value is a count of photons, which has a Poisson distribution."""
    photons = PHOTONS.at(severity, images.shape[-1])
    probabilities = _cumulative(photons).to(images.device)
    levels = (images * 255).round()
    drawn = (levels + uniforms(keys, images[0].numel()).view_as(images)).contiguous()
    counts = torch.searchsorted(probabilities, drawn, right=True) - levels.long() * (len(probabilities) // 256)
    return counts.double() / photons


@cache
def _cumulative(photons: int) -> Tensor:
    """P(count <= n) + level for n = 0, 1, ..., for one grey level after the other, (256 N,): so one search finds all counts."""
    enough = int(photons + 8 * math.sqrt(photons)) + 12  # more is less likely than any number drawn tells apart
    counts = torch.arange(enough, dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64)[:, None]
    probabilities = torch.special.gammaincc(counts + 1, levels / 255 * photons)  # (256, N)
    return (probabilities.cummax(dim=1).values + levels).flatten()


def impulse_noise(images: Tensor, keys: Tensor, severity: int) -> Tensor:
    """Salt and pepper: a share of the values is 0 or 1, one as often as the other."""
    share = REPLACED.at(severity, images.shape[-1])
    drawn = uniforms(keys, images[0].numel()).view_as(images)
    return torch.where(drawn < share, (drawn < share / 2).to(images.dtype), images)
