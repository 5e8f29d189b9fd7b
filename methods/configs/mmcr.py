"""Configuration of MMCR (arXiv:2303.03307)."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from ..view_presets import byol_views


class MMCRConfig(MethodConfig):
    title = "MMCR"
    paper = (
        "Learning Efficient Coding of Natural Images with Maximum Manifold Capacity Representations, arXiv:2303.03307"
    )
    family = "redundancy reduction"
    num_global_views = None
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.6, weight_decay=1e-6), schedule=ScheduleConfig(warmup_epochs=10)
    )

    name: Literal["mmcr"] = "mmcr"
    hidden_dim: PositiveInt = 8192
    output_dim: PositiveInt = 512
    projector_layers: PositiveInt = 3
    compression: NonNegativeFloat = Field(
        default=0.0, description="weight of the nuclear norm of each image's own views; the paper's lambda"
    )
    views: ViewsConfig = byol_views()
