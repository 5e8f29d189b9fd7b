"""Configuration of Barlow Twins (arXiv:2103.03230)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from ..view_presets import byol_views


class BarlowTwinsConfig(MethodConfig):
    title = "Barlow Twins"
    paper = "Barlow Twins: Self-Supervised Learning via Redundancy Reduction, arXiv:2103.03230"
    family = "redundancy reduction"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.2, weight_decay=1.5e-6, norm_and_bias_lr=0.024),  # 0.0048
        schedule=ScheduleConfig(warmup_epochs=10, final_lr_factor=1e-3),
    )

    name: Literal["barlow_twins"] = "barlow_twins"
    hidden_dim: PositiveInt = 8192
    output_dim: PositiveInt = 8192
    projector_layers: PositiveInt = 3
    off_diagonal: PositiveFloat = Field(
        default=0.0051, description="weight of the off-diagonal terms; the paper's lambda"
    )
    standardize: Literal["view", "both"] = Field(
        default="view",
        description="over the batch of each view, as in the paper, or over both together, as Lightly's ImageNet-1k run",
    )
    views: ViewsConfig = byol_views()
