"""Barlow Twins: Self-Supervised Learning via Redundancy Reduction (arXiv:2103.03230)."""

import torch
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.barlow_twins import BarlowTwinsConfig
from .encoder import Encoder
from .parts.collectives import mean_over_ranks
from .parts.heads import Projected, mlp
from .parts.precision import at_least_float32


class BarlowTwins(Method[BarlowTwinsConfig]):
    def __init__(self, config: BarlowTwinsConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        hidden = [config.hidden_dim] * (config.projector_layers - 1)
        self.model = Projected(encoder, mlp(encoder.dim, *hidden, config.output_dim, last_bias=False))

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        a, b = (self.model(view.image) for view in batch.global_views)  # each (B, D)
        return StepOutput(barlow_loss(a, b, self.config.off_diagonal, self.config.standardize), {})


def barlow_loss(a: Tensor, b: Tensor, off_diagonal: float, standardize: str = "view") -> Tensor:
    """Eq. 1 and 2, sum (1 - C_ii)^2 + lambda sum C_ij^2 over the cross-correlation of the global batch; a, b: (B, D)."""
    a, b = at_least_float32(a), at_least_float32(b)
    if standardize == "both":
        a, b = standardized(torch.cat([a, b])).chunk(2)
    else:
        a, b = standardized(a), standardized(b)
    with torch.autocast(a.device.type, enabled=False):
        correlation = mean_over_ranks(a.T @ b / len(a))  # (D, D)
    diagonal = correlation.diagonal()
    on = (1 - diagonal).square().sum()
    return on + off_diagonal * (correlation.square().sum() - diagonal.square().sum())


def standardized(z: Tensor) -> Tensor:
    """z (B, D) less its mean, over its deviation, over the batches of all ranks."""
    centred = z - mean_over_ranks(z.mean(dim=0))
    var = mean_over_ranks(centred.square().mean(dim=0))
    return centred * (var + 1e-5).rsqrt()
