"""Configuration of TiCo (arXiv:2206.10698)."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, ScheduleConfig, ViewsConfig
from ..view_presets import byol_views


class TiCoConfig(MethodConfig):
    title = "TiCo"
    paper = (
        "TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual Representation Learning,"
        " arXiv:2206.10698"
    )
    family = "redundancy reduction"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.2, weight_decay=1.5e-6),
        schedule=ScheduleConfig(warmup_epochs=10),
    )

    name: Literal["tico"] = "tico"
    hidden_dim: PositiveInt = 4096
    output_dim: PositiveInt = 256
    covariance_momentum: Probability = Field(default=0.9, description="of the covariance's average; the paper's beta")
    covariance: NonNegativeFloat = Field(default=8.0, description="weight of the covariance contrast; the paper's rho")
    covariance_gradient: bool = Field(
        default=False, description="let the gradient through the batch's covariance, as in Lightly's published runs"
    )
    momentum: Probability = Field(default=0.99, description="of the teacher at the first step")
    final_momentum: Probability = Field(default=1.0, description="of the teacher at the last step; a cosine goes there")
    views: ViewsConfig = byol_views()
