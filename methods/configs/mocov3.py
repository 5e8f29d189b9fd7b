"""Configuration of MoCo v3 (arXiv:2104.02057)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, ScheduleConfig, ViewsConfig
from ..view_presets import byol_views


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
