"""Batch normalisation in parts: on one GPU what several GPUs without synchronisation do, as MoCo's CIFAR-10 runs had it."""

import torch
from torch import Tensor, nn

from .collectives import mean_over_ranks, world_size


class SplitBatchNorm(nn.Module):
    """Batch norm of (B, C, H, W) in which image n is normalised with the images n mod `splits` of its batch.

    Parameters and buffers are those of ``nn.BatchNorm2d``. The running statistics are the mean over the parts, which is
    what averaging those of each part would give at the end.
    """

    running_mean: Tensor  # (C,)
    running_var: Tensor  # (C,)
    num_batches_tracked: Tensor  # ()

    def __init__(self, norm: nn.BatchNorm2d, splits: int):
        """Takes the place of `norm` and keeps its parameters and buffers."""
        super().__init__()
        assert norm.affine and norm.track_running_stats and norm.momentum is not None
        self.splits, self.eps, self.momentum = splits, norm.eps, norm.momentum
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """Raises ValueError where the batch of a rank is no multiple of the number of parts."""
        if not self.training:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if len(x) % self.splits:
            raise ValueError(f"a batch in {self.splits} parts must be a multiple of that, but each worker has {len(x)}")
        parts = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(0, (-1, self.splits))  # (n, S, C, H, W)
        mean = mean_over_ranks(parts.mean(dim=(0, 3, 4)))  # (S, C)
        centred = parts - mean[..., None, None]
        var = mean_over_ranks(centred.square().mean(dim=(0, 3, 4)))  # (S, C)
        self._track(mean.detach(), var.detach(), x.numel() // mean.numel() * world_size())
        y = centred * (var + self.eps).rsqrt()[..., None, None]
        y = y * self.weight[:, None, None] + self.bias[:, None, None]
        return y.flatten(0, 1).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: int) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.mean(dim=0), self.momentum)
        unbiased = var.mean(dim=0) * (count / (count - 1))  # as BatchNorm tracks it
        self.running_var.lerp_(unbiased, self.momentum)


def split_batchnorm(module: nn.Module, splits: int) -> None:
    """Put a `SplitBatchNorm` in the place of every ``BatchNorm2d`` inside of `module`."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, SplitBatchNorm(child, splits))
        else:
            split_batchnorm(child, splits)
