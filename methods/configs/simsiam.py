"""Configuration of SimSiam (arXiv:2011.10566)."""

from typing import Literal

from pydantic import Field, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ViewsConfig
from ..view_presets import moco_views


class SimSiamConfig(MethodConfig):
    title = "SimSiam"
    paper = "Exploring Simple Siamese Representation Learning, arXiv:2011.10566"
    family = "distillation"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="sgd", lr=0.05, weight_decay=1e-4, exclude_norm_and_bias=False)
    )

    name: Literal["simsiam"] = "simsiam"
    hidden_dim: PositiveInt = Field(default=2048, description="of the projector")
    output_dim: PositiveInt = 2048
    projector_layers: PositiveInt = 3
    projector_affine: bool = Field(default=False, description="scale and shift in the projector's last batch norm")
    predictor_dim: PositiveInt = Field(default=512, description="of the predictor's bottleneck")
    constant_predictor_lr: bool = Field(
        default=True, description="the schedule leaves the predictor's rate at its peak"
    )
    views: ViewsConfig = moco_views()
