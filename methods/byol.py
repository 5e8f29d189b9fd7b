"""BYOL: Bootstrap Your Own Latent, A New Approach to Self-Supervised Learning (arXiv:2006.07733)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, ScheduleConfig, ViewsConfig
from .encoder import Encoder
from .parts.heads import Projected, mlp
from .parts.schedules import cosine
from .parts.teacher import Teacher
from .view_presets import byol_views


class BYOLConfig(MethodConfig):
    title = "BYOL"
    paper = "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, arXiv:2006.07733"
    family = "distillation"
    num_global_views = 2
    # of 1000 epochs; the paper's appendix takes lr 0.3 for 300 and lr 0.45, weight decay 1e-6, momentum 0.99 for 100
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.2, weight_decay=1.5e-6),
        schedule=ScheduleConfig(warmup_epochs=10),
    )

    name: Literal["byol"] = "byol"
    hidden_dim: PositiveInt = 4096
    output_dim: PositiveInt = 256
    momentum: Probability = Field(default=0.996, description="of the teacher at the first step")
    final_momentum: Probability = Field(default=1.0, description="of the teacher at the last step; a cosine goes there")
    loss_scale: PositiveFloat = Field(
        default=2.0, description="loss = scale x sum over both directions of (1 - cosine)"
    )
    views: ViewsConfig = byol_views()


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
