"""MoCo v3: An Empirical Study of Training Self-Supervised Vision Transformers (arXiv:2104.02057)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, ScheduleConfig, ViewsConfig
from .encoder import Encoder
from .parts.collectives import gather, rank
from .parts.heads import Projected, mlp
from .parts.schedules import cosine
from .parts.teacher import Teacher
from .view_presets import byol_views


class MoCoV3Config(MethodConfig):
    title = "MoCo v3"
    paper = "An Empirical Study of Training Self-Supervised Vision Transformers, arXiv:2104.02057"
    family = "contrastive"
    num_global_views = 2
    # for ViTs; the authors train ResNet-50 for 1000 epochs with lars (lr 0.3, weight decay 1.5e-6, 10 epochs of warm-up),
    # temperature 1.0, momentum 0.996, projector_layers 2, predictor_norm false and crops from 0.2 of the image on
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="adamw", lr=1.5e-4, weight_decay=0.1, exclude_norm_and_bias=False),
        schedule=ScheduleConfig(warmup_epochs=40),
    )

    name: Literal["mocov3"] = "mocov3"
    hidden_dim: PositiveInt = 4096
    output_dim: PositiveInt = 256
    projector_layers: PositiveInt = Field(default=3, description="2 for the paper's ResNet-50")
    predictor_norm: bool = Field(
        default=True, description="batch norm after the predictor's last layer; not for the paper's ResNet-50"
    )
    temperature: PositiveFloat = 0.2
    momentum: Probability = Field(default=0.99, description="of the teacher at the first step")
    final_momentum: Probability = Field(default=1.0, description="of the teacher at the last step; a cosine goes there")
    freeze_patch_embed: bool = Field(default=True, description="of a ViT: its patch embedding stays as it is drawn")
    views: ViewsConfig = byol_views()


class MoCoV3(Method[MoCoV3Config]):
    def __init__(self, config: MoCoV3Config, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        if encoder.patch_size is not None:
            _initialise(encoder)
            encoder.model.patch_embed.requires_grad_(not config.freeze_patch_embed)
        hidden = [config.hidden_dim] * (config.projector_layers - 1)
        projector = mlp(encoder.dim, *hidden, config.output_dim, last_norm=True, last_affine=False)
        self.student = Projected(encoder, projector)
        self.predictor = mlp(
            config.output_dim,
            config.hidden_dim,
            config.output_dim,
            last_norm=config.predictor_norm,
            last_affine=False,
            last_bias=False,
        )
        self.teacher = Teacher(self.student)

    @property
    def backbone(self) -> Encoder:
        return self.student.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        queries = [self.predictor(self.student(view.image)) for view in batch.global_views]  # each (B, D)
        keys = [self.teacher(view.image) for view in batch.global_views]  # each (B, D)
        temperature = self.config.temperature
        loss = batch_contrast(queries[0], keys[1], temperature) + batch_contrast(queries[1], keys[0], temperature)
        return StepOutput(2 * temperature * loss, {"momentum": self._momentum(progress)})

    def after_optimizer_step(self, progress: Progress) -> None:
        self.teacher.update(self.student, self._momentum(progress))

    def _momentum(self, progress: Progress) -> float:
        return cosine(self.config.momentum, self.config.final_momentum, progress.fraction)


def batch_contrast(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Eq. 1, -log softmax of each query's key among the keys of all ranks; query, key: (B, D)."""
    query, key = F.normalize(query.float(), dim=1), F.normalize(key.float(), dim=1)
    with torch.autocast(query.device.type, enabled=False):
        logits = query @ gather(key).T / temperature  # (B, W * B)
    own = torch.arange(len(query), device=query.device) + rank() * len(query)
    return F.cross_entropy(logits, own)


@torch.no_grad()
def _initialise(vit: Encoder) -> None:
    """The paper's fixed positions, and its authors' weights: Xavier-uniform, also of the patch embedding; zero biases."""
    for name, module in vit.named_modules():
        if not isinstance(module, (nn.Linear, nn.Conv2d)):
            continue
        for weight in module.weight.flatten(1).chunk(3 if name.endswith(".qkv") else 1):  # q, k and v each by itself
            nn.init.xavier_uniform_(weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if vit.model.pos_embed is not None:
        vit.fix_positions()
