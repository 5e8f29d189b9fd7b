"""Images for the tests of corruptions."""

import torch
import torch.nn.functional as F
from torch import Tensor


def photos(count: int, size: int) -> Tensor:
    """Something with areas, edges and a little noise, (B, 3, S, S), uint8."""
    draw = torch.Generator().manual_seed(0)
    areas = torch.rand(count, 3, size // 8, size // 8, generator=draw)
    images = F.interpolate(areas, (size, size), mode="bicubic") + 0.02 * torch.randn(
        count, 3, size, size, generator=draw
    )
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def keys(count: int) -> Tensor:
    return torch.arange(count) * 7919 + 5


def doubles(levels: Tensor) -> Tensor:
    return levels.double() / 255
