"""FastSiam: Resource-Efficient Self-supervised Learning on a Single GPU (DAGM GCPR 2022)."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet, decay_groups
from .config import MethodConfig, OptimizerConfig, PretrainConfig, ViewsConfig
from .encoder import Encoder
from .parts.heads import Projected, mlp
from .view_presets import moco_views


class FastSiamConfig(MethodConfig):
    title = "FastSiam"
    paper = "FastSiam: Resource-Efficient Self-supervised Learning on a Single GPU, doi:10.1007/978-3-031-16788-1_4"
    family = "distillation"
    num_global_views = None
    pretrain = PretrainConfig(  # SimSiam's
        optimizer=OptimizerConfig(name="sgd", lr=0.05, weight_decay=1e-4, exclude_norm_and_bias=False)
    )

    name: Literal["fastsiam"] = "fastsiam"
    hidden_dim: PositiveInt = Field(default=2048, description="of the projector")
    output_dim: PositiveInt = 2048
    projector_layers: PositiveInt = 3
    projector_affine: bool = Field(default=False, description="scale and shift in the projector's last batch norm")
    predictor_dim: PositiveInt = Field(default=512, description="of the predictor's bottleneck")
    constant_predictor_lr: bool = Field(
        default=True, description="the schedule leaves the predictor's rate at its peak"
    )
    views: ViewsConfig = moco_views(count=4)


class FastSiam(Method[FastSiamConfig]):
    """SimSiam with a target that is the mean of several other views, and so steadier."""

    def __init__(self, config: FastSiamConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        hidden = [config.hidden_dim] * (config.projector_layers - 1)
        projector = mlp(encoder.dim, *hidden, config.output_dim, last_norm=True, last_affine=config.projector_affine)
        self.model = Projected(encoder, projector)
        self.predictor = mlp(config.output_dim, config.predictor_dim, config.output_dim)

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        z = torch.stack([self.model(view.image) for view in batch.global_views])  # (V, B, D)
        predictions = torch.stack([self.predictor(one) for one in z])
        return StepOutput(fastsiam_loss(predictions, z), {})

    def param_groups(self) -> list[dict[str, Any]]:
        predictor = decay_groups(self.predictor.named_parameters(), constant_lr=self.config.constant_predictor_lr)
        return decay_groups(self.model.named_parameters()) + predictor


def fastsiam_loss(predictions: Tensor, z: Tensor) -> Tensor:
    """Mean over views v of -cos(p_v, sg mean of the z of the other views); predictions, z: (V, B, D)."""
    z = z.detach().float()
    others = (z.sum(dim=0) - z) / (len(z) - 1)  # (V, B, D)
    return -F.cosine_similarity(predictions.float(), others, dim=2).mean()
