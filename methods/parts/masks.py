"""Random draws of methods: the same on every device, whatever the number of ranks."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..base import Progress
from .collectives import own_rows, world_size
from .device import to_device


class PatchMask(NamedTuple):
    keep: Tensor  # (B, K), indices of the patches that stay
    masked: Tensor  # (B, N), bool


def step_generator(progress: Progress) -> torch.Generator:
    """For what is drawn once for a part of a step's batch. Depends on the seed, the step and the part.

    It draws on the CPU: no two kinds of device draw alike.
    """
    # golden-ratio strides keep neighbouring seeds, and the parts of neighbouring steps, apart
    key = (progress.seed * 0x9E3779B97F4A7C15 + progress.part * 0xC2B2AE3D27D4EB4F + progress.step) % 2**63
    return torch.Generator().manual_seed(key)


class ImageDraws:
    """Draws for each image of a step: for the whole step's batch at once, of which `own` picks the images of this part and rank.

    So an image has the draws that it would have in one part on one rank.
    """

    def __init__(self, batch_size: int, progress: Progress):
        """`batch_size`: images of this part on this rank."""
        self.part, self.parts = progress.part, progress.parts
        self.images = self.parts * world_size() * batch_size
        self.generator = step_generator(progress._replace(part=0))

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), on the CPU; those of one image are to be along one dimension of `images`."""
        return torch.rand(*shape, generator=self.generator)

    def own(self, drawn: Tensor) -> Tensor:
        """Of rows (images * k, ...), those (B * k, ...) of this part and rank."""
        return own_rows(drawn.chunk(self.parts)[self.part])


def random_patches(
    batch_size: int, num_patches: int, ratio: float, progress: Progress, device: torch.device
) -> PatchMask:
    """Mask a share `ratio` of each image's patches, uniformly at random."""
    visible = int(round(num_patches * (1 - ratio), 6))  # 10 * (1 - 0.9) is a hair under 1
    if not 0 < visible < num_patches:
        raise ValueError(
            f"a mask needs visible and hidden patches, but {ratio=} leaves {visible} of {num_patches} visible"
        )
    draws = ImageDraws(batch_size, progress)
    noise = to_device(draws.own(draws.uniform(draws.images, num_patches)), device)  # (B, N)
    keep = noise.argsort(dim=1)[:, :visible]  # (B, K)
    masked = torch.ones_like(noise, dtype=torch.bool).scatter_(1, keep, False)
    return PatchMask(keep, masked)


def unit_patches(
    batch_size: int, grid: tuple[int, int], unit: int, ratio: float, progress: Progress, device: torch.device
) -> Tensor:
    """Mask (B, N) of a share `ratio` of the squares of `unit` x `unit` patches, uniformly at random (SimMIM, sec. 3.2)."""
    rows, columns = (-(-side // unit) for side in grid)
    masked = random_patches(batch_size, rows * columns, ratio, progress, device).masked.view(-1, rows, columns)
    patches = masked.repeat_interleave(unit, dim=1).repeat_interleave(unit, dim=2)
    return patches[:, : grid[0], : grid[1]].flatten(1)


BLOCK_TRIES = 40
BLOCK_ASPECT = 0.3
"""Blocks are up to 1 / this times as high as wide, and as wide as high."""


def block_patches(
    batch_size: int,
    views: int,
    grid: tuple[int, int],
    share: float,
    ratios: tuple[float, float],
    progress: Progress,
) -> Tensor:
    """Block-wise masks (V, B, N) as iBOT's (arXiv:2111.07832, app. E): of a `share` of all images, the others are whole.

    The masked images have shares of patches from equal strata of `ratios`, in random order, filled block by block as far as
    blocks fit. Drawn for the images of all ranks and views together, and left on the CPU, where they are counted without
    waiting.
    """
    draws = ImageDraws(batch_size, progress)
    count = draws.images * views
    masked_images = int(count * share)
    strata = (torch.arange(count) + draws.uniform(count)) / max(1, masked_images)
    wanted = ratios[0] + (ratios[1] - ratios[0]) * strata
    wanted = torch.where(torch.arange(count) < masked_images, wanted, 0.0)
    order = draws.uniform(count).argsort()
    budget = draws.own((wanted * grid[0] * grid[1]).round()[order])  # patches, (B * V,)
    tries = draws.own(draws.uniform(BLOCK_TRIES, 4, count).permute(2, 0, 1))  # (B * V, tries, 4)
    mask = torch.zeros(len(budget), grid[0] * grid[1], dtype=torch.bool)
    partly = budget.nonzero().squeeze(1)
    mask[partly] = _filled(budget[partly], grid, tries[partly])
    return mask.view(batch_size, views, -1).transpose(0, 1)


def _filled(budget: Tensor, grid: tuple[int, int], draws: Tensor) -> Tensor:
    """Masks (n, N) with blocks of random area, shape and place, none of which exceeds what is left of the budget (n,).

    draws: (n, tries, 4), uniform: area, shape, row and column of each try.
    """
    y, x = torch.arange(grid[0]), torch.arange(grid[1])
    mask = torch.zeros(len(budget), *grid, dtype=torch.bool)
    filled = torch.zeros_like(budget)
    least = max(1, (min(grid) // 3) ** 2)  # 16 patches of 14 x 14
    for uniform in draws.unbind(1):
        area = least + (budget - filled - least).clamp(min=0) * uniform[:, 0]
        aspect = (math.log(BLOCK_ASPECT) * (2 * uniform[:, 1] - 1)).exp()
        height = (area * aspect).sqrt().round().clamp(1, grid[0])
        width = (area / aspect).sqrt().round().clamp(1, grid[1])
        top, start = (
            (u * (side - size + 1)).floor()
            for u, side, size in zip(uniform[:, 2:].T, grid, (height, width), strict=True)
        )
        rows = (y >= top[:, None]) & (y < (top + height)[:, None])  # (n, rows)
        columns = (x >= start[:, None]) & (x < (start + width)[:, None])  # (n, columns)
        grown = mask | (rows[:, :, None] & columns[:, None])
        covered = grown.sum(dim=(1, 2))
        fits = covered <= budget
        mask = torch.where(fits[:, None, None], grown, mask)
        filled = torch.where(fits, covered, filled)
    return mask.flatten(1)


class ContextAndTargets(NamedTuple):
    context: Tensor  # (B, C), indices of the patches that are seen
    targets: Tensor  # (M, B, T), indices of the patches of each target block


def context_and_targets(
    batch_size: int,
    grid: tuple[int, int],
    targets: int,
    target_scale: tuple[float, float],
    target_ratio: tuple[float, float],
    context_scale: tuple[float, float],
    progress: Progress,
    device: torch.device,
) -> ContextAndTargets:
    """Blocks as I-JEPA's (arXiv:2301.08243, app. A.1): targets of one size, and a large block less all targets.

    Sizes are drawn for a step, places for each image. Contexts are cut to the step's shortest, so that they make a batch.
    Drawn on the CPU, where their lengths are known without waiting.
    """
    draws = ImageDraws(batch_size, progress)
    count, uniform = draws.images, draws.uniform

    def size(scale: tuple[float, float], ratio: tuple[float, float]) -> tuple[int, int]:
        area = grid[0] * grid[1] * (scale[0] + (scale[1] - scale[0]) * uniform(1).item())
        aspect = ratio[0] + (ratio[1] - ratio[0]) * uniform(1).item()
        height, width = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        return min(max(1, height), grid[0] - 1), min(max(1, width), grid[1] - 1)

    def places(block: tuple[int, int], number: int) -> tuple[Tensor, Tensor]:
        """Rows and columns (number, count, h, w) of blocks at random places."""
        top, left = ((uniform(number, count) * (side - own + 1)).long() for side, own in zip(grid, block, strict=True))
        rows = top[..., None, None] + torch.arange(block[0])[:, None]
        columns = left[..., None, None] + torch.arange(block[1])
        return torch.broadcast_tensors(rows, columns)  # pyright: ignore[reportReturnType]

    rows, columns = places(size(target_scale, target_ratio), targets)
    blocks = (rows * grid[1] + columns).flatten(2)  # (M, count, T)
    rows, columns = places(size(context_scale, (1.0, 1.0)), 1)
    seen = torch.zeros(count, grid[0] * grid[1])
    seen.scatter_(1, (rows * grid[1] + columns).view(count, -1), 1.0)
    alone = seen.clone()
    for block in blocks:
        seen.scatter_(1, block, 0.0)
    # where targets cover the whole block, the block stays: an image without a context teaches nothing
    seen = torch.where(seen.any(dim=1, keepdim=True), seen, alone)
    shortest = int(seen.sum(dim=1).min())
    order = (seen + 0.5 * uniform(count, grid[0] * grid[1])).argsort(
        dim=1, descending=True
    )  # seen ones first, shuffled
    context = order[:, :shortest].sort(dim=1).values
    own_blocks = draws.own(blocks.transpose(0, 1)).transpose(0, 1)
    return ContextAndTargets(to_device(draws.own(context), device), to_device(own_blocks, device))
