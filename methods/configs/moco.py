"""Configuration of MoCo v2 (arXiv:2003.04297)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, ViewsConfig
from ..view_presets import moco_views


class MoCoConfig(MethodConfig):
    title = "MoCo v2"
    paper = "Improved Baselines with Momentum Contrastive Learning, arXiv:2003.04297"
    family = "contrastive"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="sgd", lr=0.03, weight_decay=1e-4, exclude_norm_and_bias=False)
    )

    name: Literal["moco"] = "moco"
    hidden_dim: PositiveInt | None = Field(default=None, description="width of the head; unset: the encoder's")
    output_dim: PositiveInt = 128
    queue_size: PositiveInt = 65536
    temperature: PositiveFloat = 0.2
    momentum: Probability = Field(default=0.999, description="of the teacher")
    symmetric: bool = Field(default=False, description="each view is the query once, as in Lightly's small benchmarks")
    push_between: bool = Field(
        default=False,
        description="of two directions, the first's keys are negatives of the second: Lightly's small benchmarks",
    )
    shuffle_keys: bool = Field(
        default=False,
        description="the teacher sees the images of all workers in random order, as the paper's does: needed where batch"
        " norm is over parts of the batch (`split_batchnorm`, or several workers without `sync_batchnorm`)",
    )
    views: ViewsConfig = moco_views()
