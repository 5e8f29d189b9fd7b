"""DINO: Emerging Properties in Self-Supervised Vision Transformers (arXiv:2104.14294)."""

from itertools import groupby

import torch
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.dino import DINOConfig
from .encoder import Encoder
from .parts.collectives import mean_over_ranks
from .parts.heads import Projected, PrototypeHead
from .parts.schedules import cosine, warmed_up
from .parts.teacher import Teacher


class DINO(Method[DINOConfig]):
    center: Tensor  # (1, output_dim)

    def __init__(self, config: DINOConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        head = PrototypeHead(
            encoder.dim,
            config.hidden_dim,
            config.bottleneck_dim,
            config.output_dim,
            norm=config.head_norm,
            unit_prototypes=config.norm_last_layer,
            layers=config.head_layers,
            std=config.head_std,
        )
        self.student = Projected(encoder, head)
        self.teacher = Teacher(self.student)
        self.register_buffer("center", torch.zeros(1, config.output_dim))

    @property
    def backbone(self) -> Encoder:
        """The teacher's by default: the paper's better half at every point of the training."""
        return self.student.encoder if self.config.scored == "student" else self.teacher.module.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        global_crops = [view.image for view in batch.global_views]
        crops = global_crops + [view.image for view in batch.local_views]
        targets = torch.cat([self.teacher(same) for same in by_size(global_crops)])
        targets = targets.float().unflatten(0, (len(global_crops), -1))  # (U, B, K)
        features = torch.cat([self.student.encoder(same) for same in by_size(crops)])  # (V * B, D)
        scores = self.student.head(features).unflatten(0, (len(crops), -1))  # (V, B, K)
        temperature = self._teacher_temperature(progress)
        loss = dino_loss(scores, targets, self.center, self.config.student_temperature, temperature)
        self._move_center(targets)
        return StepOutput(loss, {"momentum": self._momentum(progress), "teacher_temperature": temperature})

    def before_optimizer_step(self, progress: Progress) -> None:
        if progress.epoch < self.config.freeze_last_layer_epochs:
            self.student.head.prototypes.grad = None
            self.student.head.gains.grad = None

    def after_optimizer_step(self, progress: Progress) -> None:
        self.teacher.update(self.student, self._momentum(progress))

    @torch.no_grad()
    def _move_center(self, targets: Tensor) -> None:
        """Eq. 4: c <- m c + (1 - m) mean of the teacher's scores over the views and images of all ranks."""
        mean = mean_over_ranks(targets.mean(dim=(0, 1)))  # (K,)
        self.center.mul_(self.config.center_momentum).add_(mean, alpha=1 - self.config.center_momentum)

    def _teacher_temperature(self, progress: Progress) -> float:
        config = self.config
        return warmed_up(
            config.warmup_teacher_temperature, config.teacher_temperature, config.warmup_teacher_epochs, progress
        )

    def _momentum(self, progress: Progress) -> float:
        return cosine(self.config.momentum, self.config.final_momentum, progress.fraction)


def by_size(crops: list[Tensor]) -> list[Tensor]:
    """Crops (B, 3, H, W) with their neighbours of one size as one batch: one forward pass each, as in the paper's code."""
    return [torch.cat(list(same)) for _, same in groupby(crops, key=lambda crop: crop.shape[-1])]


def dino_loss(
    scores: Tensor, targets: Tensor, center: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Eq. 3, mean over pairs of different views of the cross-entropy of softmax((t - c) / T_t) and softmax(s / T_s).

    scores: (V, B, K) of all views, targets: (U, B, K) of the global ones, which are the first U; center: (1, K).
    """
    p = ((targets.float() - center) / teacher_temperature).softmax(dim=2)
    log_q = (scores.float() / student_temperature).log_softmax(dim=2)
    pairs = [(u, v) for u in range(len(p)) for v in range(len(log_q)) if u != v]
    return torch.stack([-(p[u] * log_q[v]).sum(dim=1).mean() for u, v in pairs]).mean()
