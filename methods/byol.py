"""BYOL: Bootstrap Your Own Latent, A New Approach to Self-Supervised Learning (arXiv:2006.07733)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.byol import BYOLConfig
from .encoder import Encoder
from .parts.heads import Projected, mlp
from .parts.schedules import cosine
from .parts.teacher import Teacher


class BYOL(Method[BYOLConfig]):
    def __init__(self, config: BYOLConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.student = Projected(encoder, mlp(encoder.dim, config.hidden_dim, config.output_dim))
        self.predictor = mlp(config.output_dim, config.hidden_dim, config.output_dim)
        self.teacher = Teacher(self.student)

    @property
    def backbone(self) -> Encoder:
        return self.student.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        predictions = [self.predictor(self.student(view.image)) for view in batch.global_views]  # each (B, D)
        targets = [self.teacher(view.image) for view in batch.global_views]  # each (B, D)
        loss = byol_loss(predictions, targets) * self.config.loss_scale
        return StepOutput(loss, {"momentum": self._momentum(progress)})

    def after_optimizer_step(self, progress: Progress) -> None:
        self.teacher.update(self.student, self._momentum(progress))

    def _momentum(self, progress: Progress) -> float:
        return cosine(self.config.momentum, self.config.final_momentum, progress.fraction)


def byol_loss(predictions: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Half of eq. 2 in both directions, mean of (1 - cos(p1, z2)) + (1 - cos(p2, z1)); two tensors (B, D) each."""
    p1, p2 = (F.normalize(p.float(), dim=1) for p in predictions)
    z1, z2 = (F.normalize(z.float(), dim=1) for z in targets)
    return torch.mean(2 - (p1 * z2).sum(dim=1) - (p2 * z1).sum(dim=1))
