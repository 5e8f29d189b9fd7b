"""Configuration of DCL (arXiv:2110.06848)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from ..view_presets import simclr_views


class DCLConfig(MethodConfig):
    title = "DCL"
    paper = "Decoupled Contrastive Learning, arXiv:2110.06848"
    family = "contrastive"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="sgd", lr=0.03, weight_decay=1e-4), schedule=ScheduleConfig(warmup_epochs=10)
    )

    name: Literal["dcl"] = "dcl"
    temperature: PositiveFloat = 0.1
    hidden_dim: PositiveInt | None = Field(default=None, description="width of the head; unset: the encoder's")
    output_dim: PositiveInt = 128
    separate_views: bool = Field(
        default=False,
        description="logarithms of the two views' negatives are summed, not their similarities: Lightly's published rows",
    )
    views: ViewsConfig = simclr_views()
