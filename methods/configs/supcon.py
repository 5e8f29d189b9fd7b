"""Configuration of SupCon (arXiv:2004.11362)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from ..view_presets import simclr_views


class SupConConfig(MethodConfig):
    title = "SupCon"
    paper = "Supervised Contrastive Learning, arXiv:2004.11362"
    family = "contrastive"
    needs_labels = True
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="sgd", lr=0.05, weight_decay=1e-4), schedule=ScheduleConfig(warmup_epochs=10)
    )

    name: Literal["supcon"] = "supcon"
    temperature: PositiveFloat = 0.1
    hidden_dim: PositiveInt | None = Field(default=None, description="width of the head; unset: the encoder's")
    output_dim: PositiveInt = 128
    views: ViewsConfig = simclr_views()
