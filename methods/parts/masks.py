"""Random draws of methods: on the device, and the same whatever the number of ranks."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..base import Progress
from .collectives import own_rows, world_size


class PatchMask(NamedTuple):
    keep: Tensor  # (B, K), indices of the patches that stay
    masked: Tensor  # (B, N), bool


def step_generator(progress: Progress, device: torch.device) -> torch.Generator:
    """A generator that depends on the seed, the step and the part of its batch, so a resume repeats its draws."""
    # golden-ratio strides keep neighbouring seeds, and the parts of neighbouring steps, apart
    key = (progress.seed * 0x9E3779B97F4A7C15 + progress.part * 0xC2B2AE3D27D4EB4F + progress.step) % 2**63
    return torch.Generator(device).manual_seed(key)


def random_patches(
    batch_size: int, num_patches: int, ratio: float, progress: Progress, device: torch.device
) -> PatchMask:
    """Mask a share `ratio` of each image's patches, uniformly at random."""
    visible = int(round(num_patches * (1 - ratio), 6))  # 10 * (1 - 0.9) is a hair under 1
    if not 0 < visible < num_patches:
        raise ValueError(
            f"a mask needs visible and hidden patches, but {ratio=} leaves {visible} of {num_patches} visible"
        )
    # drawn for the global batch: rank r of W sees the rows that one process with all images would give them
    shape = (world_size() * batch_size, num_patches)
    noise = own_rows(torch.rand(shape, generator=step_generator(progress, device), device=device))
    keep = noise.argsort(dim=1)[:, :visible]  # (B, K)
    masked = torch.ones_like(noise, dtype=torch.bool).scatter_(1, keep, False)
    return PatchMask(keep, masked)
