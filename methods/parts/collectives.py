"""Collectives that losses differentiate through. Without a process group they do nothing.

DistributedDataParallel averages gradients, so the loss of the global batch is the mean of the ranks' losses. The
backward passes here are those of the *sum* of the ranks' losses, which that average turns into their mean.
Every rank must hold the same number of rows.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this rank; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(rows: Tensor) -> Tensor:
    """Rows (B, ...) of all ranks, in the order of the ranks: (W * B, ...)."""
    return rows if world_size() == 1 else _Gather.apply(rows)  # pyright: ignore[reportReturnType]


def own_rows(gathered: Tensor) -> Tensor:
    """This rank's rows (B, ...) of a tensor (W * B, ...)."""
    return gathered.chunk(world_size())[rank()]


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of the ranks' tensors of one shape."""
    return value if world_size() == 1 else _Mean.apply(value)  # pyright: ignore[reportReturnType]


def total_over_ranks(counts: Tensor) -> Tensor:
    """Sum of the ranks' counts of one shape; nothing is differentiated through it."""
    if world_size() > 1:
        counts = counts.clone()
        dist.all_reduce(counts)
    return counts


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, rows: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return own_rows(total)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _all_reduce_mean(value)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _all_reduce_mean(gradient)


def _all_reduce_mean(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / world_size()
