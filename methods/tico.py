"""TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual Representation Learning (arXiv:2206.10698)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.tico import TiCoConfig
from .encoder import Encoder
from .parts.collectives import mean_over_ranks
from .parts.heads import Projected, mlp
from .parts.schedules import cosine
from .parts.teacher import Teacher


class TiCo(Method[TiCoConfig]):
    average: Tensor  # (D, D), of the covariance of normalised embeddings

    def __init__(self, config: TiCoConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.student = Projected(encoder, mlp(encoder.dim, config.hidden_dim, config.output_dim))
        self.teacher = Teacher(self.student)
        self.register_buffer("average", torch.zeros(config.output_dim, config.output_dim))

    @property
    def backbone(self) -> Encoder:
        return self.student.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        first, second = batch.global_views
        z = F.normalize(self.student(first.image).float(), dim=1)  # (B, D)
        target = F.normalize(self.teacher(second.image).float(), dim=1)  # (B, D)
        batch_covariance = second_moment(z if self.config.covariance_gradient else z.detach())
        average = self.average.float().lerp(batch_covariance, 1 - self.config.covariance_momentum)
        loss = tico_loss(z, target, average, self.config.covariance)
        self.average.copy_(average.detach())
        return StepOutput(loss, {"momentum": self._momentum(progress)})

    def after_optimizer_step(self, progress: Progress) -> None:
        self.teacher.update(self.student, self._momentum(progress))

    def _momentum(self, progress: Progress) -> float:
        return cosine(self.config.momentum, self.config.final_momentum, progress.fraction)


def second_moment(z: Tensor) -> Tensor:
    """Mean of z z^T over the rows (B, D) of all ranks: (D, D)."""
    with torch.autocast(z.device.type, enabled=False):
        return mean_over_ranks(z.T @ z / len(z))


def tico_loss(z: Tensor, target: Tensor, average: Tensor, weight: float) -> Tensor:
    """Eq. 6 and 7, mean of 1 - z . z' + rho z^T C z; z, target: (B, D) of length 1, average: (D, D)."""
    with torch.autocast(z.device.type, enabled=False):
        contrast = ((z @ average) * z).sum(dim=1)  # (B,)
    return torch.mean(1 - (z * target).sum(dim=1) + weight * contrast)
