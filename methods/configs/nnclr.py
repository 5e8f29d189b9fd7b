"""Configuration of NNCLR (arXiv:2104.14548)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from ..view_presets import simclr_views


class NNCLRConfig(MethodConfig):
    title = "NNCLR"
    paper = "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning, arXiv:2104.14548"
    family = "contrastive"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.3, weight_decay=1e-6), schedule=ScheduleConfig(warmup_epochs=10)
    )

    name: Literal["nnclr"] = "nnclr"
    hidden_dim: PositiveInt = Field(default=2048, description="of the projector")
    output_dim: PositiveInt = 256
    projector_layers: PositiveInt = 3
    predictor_dim: PositiveInt = Field(default=4096, description="of the predictor's hidden layer")
    queue_size: PositiveInt = 98304
    temperature: PositiveFloat = 0.1
    negatives: Literal["predictions", "all"] = Field(
        default="predictions",
        description="of a neighbour: the other predictions, as in the paper, or these and the other neighbours, as in"
        " Lightly's code",
    )
    views: ViewsConfig = simclr_views()
