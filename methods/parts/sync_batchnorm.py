"""Batch normalisation over all ranks: torch's on CUDA, and one that works on CPU (gloo), which torch's refuses."""

import torch
import torch.nn.functional as F
from timm.layers import convert_sync_batchnorm as convert_cuda
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from .collectives import mean_over_ranks, world_size


class CpuSyncBatchNorm(_BatchNorm):
    """Batch norm of (B, C) or (B, C, H, W) with the statistics of the global batch; parameters and keys as BatchNorm's."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise with batch statistics over all ranks in training, with running ones in evaluation."""
        if not self.training or world_size() == 1:
            return self._local(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        dims = [0, *range(2, x.ndim)]
        mean = mean_over_ranks(x.mean(dims))  # (C,)
        centred = x - _channels(mean, x)
        var = mean_over_ranks(centred.square().mean(dims))  # two passes: no cancellation, and differentiable as it is
        self._track(mean.detach(), var.detach(), x.numel() // x.shape[1] * world_size())
        y = centred * _channels((var + self.eps).rsqrt(), x)
        if self.affine:
            y = y * _channels(self.weight, x) + _channels(self.bias, x)
        return y.to(input.dtype)

    def _local(self, x: Tensor) -> Tensor:
        assert self.momentum is not None
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        batch_statistics = self.training or self.running_mean is None
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, batch_statistics, self.momentum, self.eps
        )

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * (count / (count - 1)), self.momentum)  # BatchNorm tracks the unbiased variance

    def _check_input_dim(self, input: Tensor) -> None: ...


def convert_sync_batchnorm(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with every BatchNorm synchronised over the ranks; parameters and buffers stay the same tensors."""
    if device.type == "cuda":
        return convert_cuda(module)  # unlike torch's, it keeps the activation of fused norms
    if isinstance(module, _BatchNorm):
        return _converted(module)
    for name, child in module.named_children():
        setattr(module, name, convert_sync_batchnorm(child, device))
    return module


def _converted(norm: _BatchNorm) -> CpuSyncBatchNorm:
    if type(norm) not in (nn.BatchNorm1d, nn.BatchNorm2d, CpuSyncBatchNorm):
        raise ValueError(f"{type(norm).__name__} cannot be synchronised on CPU: set pretrain.sync_batchnorm to false")
    sync = CpuSyncBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    sync.weight, sync.bias = norm.weight, norm.bias
    sync.running_mean, sync.running_var = norm.running_mean, norm.running_var
    sync.num_batches_tracked = norm.num_batches_tracked
    return sync.train(norm.training)


def _channels(value: Tensor, like: Tensor) -> Tensor:
    return value.view(1, -1, *[1] * (like.ndim - 2))
