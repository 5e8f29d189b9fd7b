"""Fractal noise, of which fog and frost are made."""

import torch
from torch import Tensor

from ...methods.parts.draws import uniforms


def plasma(keys: Tensor, size: int, decay: float) -> Tensor:
    """A height map in [0, 1] for each of the keys (B,), by the diamond-square algorithm: (B, size, size), float64.

    The map has the next power of two as its side and wraps around; from one step to the next, of half the length, the noise is
    `decay` squared times less.
    """
    side = 1 << (size - 1).bit_length()
    noise = (2 * uniforms(keys, side * side).double() - 1).view(-1, side, side)  # one number for each place of the map
    heights = torch.zeros_like(noise)
    step, amplitude = side, 100.0**2
    while step >= 2:
        half = step // 2
        ends, middles = slice(None, None, step), slice(half, None, step)
        corners = heights[:, ends, ends]
        below = corners + corners.roll(-1, 1)
        heights[:, middles, middles] = (below + below.roll(-1, 2)) / 4 + amplitude * noise[:, middles, middles]
        centres = heights[:, middles, middles]
        beside = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        above = centres + centres.roll(1, 2) + below
        heights[:, ends, middles] = beside / 4 + amplitude * noise[:, ends, middles]
        heights[:, middles, ends] = above / 4 + amplitude * noise[:, middles, ends]
        step, amplitude = half, amplitude / decay**2
    heights -= heights.amin((1, 2), keepdim=True)
    heights /= heights.amax((1, 2), keepdim=True)
    return heights[:, :size, :size]
