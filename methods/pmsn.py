"""PMSN: The Hidden Uniform Cluster Prior in Self-Supervised Learning (arXiv:2210.07277)."""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .config import (
    MethodConfig,
    OptimizerConfig,
    PretrainConfig,
    Probability,
    ScheduleConfig,
    ViewConfig,
    ViewsConfig,
)
from .encoder import Encoder
from .msn import (
    anchor_loss,
    cosines,
    groups_without_decay_of_prototypes,
    initial_prototypes,
    masked_anchors,
    sharpen,
    siamese_head,
)
from .parts.collectives import mean_over_ranks
from .parts.heads import Projected
from .parts.schedules import linear
from .parts.teacher import Teacher
from .view_presets import MOCO_JITTER


class PMSNConfig(MethodConfig):
    title = "PMSN"
    paper = "The Hidden Uniform Cluster Prior in Self-Supervised Learning, arXiv:2210.07277"
    family = "clustering"
    needs_vit = True
    num_global_views = None
    uses_local_views = True
    pretrain = PretrainConfig(  # MSN's
        optimizer=OptimizerConfig(name="adamw", lr=2.5e-4, weight_decay=0.04, final_weight_decay=0.4, clip_norm=3.0),
        schedule=ScheduleConfig(warmup_epochs=15, final_lr_factor=1e-3),
    )

    name: Literal["pmsn"] = "pmsn"
    hidden_dim: PositiveInt = 2048
    output_dim: PositiveInt = 256
    num_prototypes: PositiveInt = 1024
    train_prototypes: bool = Field(
        default=True, description="false: they stay as drawn, as in Lightly's code, which detaches them"
    )
    mask_ratio: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.15, description="share of an anchor's patches that are dropped"
    )
    mask_local_views: bool = Field(
        default=False, description="drop patches of the small anchors too, as Lightly does; MSN's code does not"
    )
    temperature: PositiveFloat = 0.1
    target_sharpening: PositiveFloat = Field(default=0.25, description="targets are p^(1 / this), normalised")
    sinkhorn_iterations: NonNegativeInt = Field(
        default=0, description="on the targets, which it makes uniform over the prototypes; 0: none"
    )
    prior_exponent: NonNegativeFloat = Field(default=0.25, description="prior of prototype k: k^-exponent, normalised")
    divergence: Literal["prediction-prior", "prior-prediction", "prior-prediction-linear"] = Field(
        default="prediction-prior",
        description="KL(mean prediction || prior); its reverse, as in Lightly's code; or that with the prediction in place"
        " of its logarithm, as in Lightly's published run",
    )
    regularizer_weight: NonNegativeFloat = Field(default=1.0, description="of the divergence")
    momentum: Probability = Field(default=0.996, description="of the teacher at the first step")
    final_momentum: Probability = Field(default=1.0, description="of the teacher at the last step; a line goes there")
    views: ViewsConfig = ViewsConfig(  # the target, a large anchor, and small anchors
        global_views=(ViewConfig(count=2, scale=(0.3, 1.0), jitter=MOCO_JITTER),),
        local_views=(ViewConfig(count=10, resolution=96 / 224, scale=(0.05, 0.3), jitter=MOCO_JITTER),),
    )


class PMSN(Method[PMSNConfig]):
    """MSN with a prior of the user's choice in place of the uniform one."""

    def __init__(self, config: PMSNConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        if encoder.patch_size is None:
            raise ValueError("method 'pmsn' needs a ViT: it encodes the visible patches alone")
        head = siamese_head(encoder.dim, config.hidden_dim, config.output_dim)
        self.student = Projected(encoder, head)
        self.teacher = Teacher(self.student)
        self.prototypes = initial_prototypes(config.num_prototypes, config.output_dim, config.train_prototypes)

    @property
    def backbone(self) -> Encoder:
        """The teacher's, which the paper evaluates."""
        return self.teacher.module.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        config = self.config
        z = masked_anchors(self.student, batch, config.mask_ratio, config.mask_local_views, progress)  # (A, B, D)
        log_p = (cosines(z, self.prototypes) / config.temperature).log_softmax(dim=2)  # (A, B, K)
        target = cosines(self.teacher(batch.global_views[0].image), self.prototypes.detach())  # (B, K)
        target = sharpen(target / config.temperature, config.target_sharpening, config.sinkhorn_iterations)
        prior = power_law(config.num_prototypes, config.prior_exponent, log_p.device)
        divergence = prior_divergence(log_p, prior, config.divergence)
        loss = anchor_loss(log_p, target) + config.regularizer_weight * divergence
        return StepOutput(loss, {"regularizer": divergence.detach(), "momentum": self._momentum(progress)})

    def after_optimizer_step(self, progress: Progress) -> None:
        self.teacher.update(self.student, self._momentum(progress))

    def param_groups(self) -> list[dict[str, Any]]:
        return groups_without_decay_of_prototypes(self)

    def _momentum(self, progress: Progress) -> float:
        return linear(self.config.momentum, self.config.final_momentum, progress.fraction)


def power_law(count: int, exponent: float, device: torch.device) -> Tensor:
    """The prior (K,) with pi_k ~ k^-exponent, k = 1 ... K."""
    weights = torch.arange(1, count + 1, dtype=torch.float32, device=device) ** -exponent
    return weights / weights.sum()


def prior_divergence(log_p: Tensor, prior: Tensor, kind: str) -> Tensor:
    """KL(p || pi) of the mean prediction p of all anchors of all ranks, or a variant; log_p: (A, B, K), prior: (K,)."""
    mean = mean_over_ranks(log_p.exp().mean(dim=(0, 1)))  # (K,)
    if kind == "prediction-prior":
        return (mean * (mean.log() - prior.log())).sum()
    if kind == "prior-prediction":
        return (prior * (prior.log() - mean.log())).sum()
    return (prior * (prior.log() - mean)).sum()
