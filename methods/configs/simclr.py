"""Configuration of SimCLR (arXiv:2002.05709)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from ..view_presets import simclr_views


class SimCLRConfig(MethodConfig):
    title = "SimCLR"
    paper = "A Simple Framework for Contrastive Learning of Visual Representations, arXiv:2002.05709"
    family = "contrastive"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.3, weight_decay=1e-6),
        schedule=ScheduleConfig(warmup_epochs=10),
    )

    name: Literal["simclr"] = "simclr"
    temperature: PositiveFloat = 0.1
    hidden_dim: PositiveInt | None = Field(
        default=None, description="width of the head; unset: the encoder's, as in the paper"
    )
    output_dim: PositiveInt = 128
    views: ViewsConfig = simclr_views()
