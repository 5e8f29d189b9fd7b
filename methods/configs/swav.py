"""Configuration of SwAV (arXiv:2006.09882)."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from ..view_presets import swav_views


class SwAVConfig(MethodConfig):
    title = "SwAV"
    paper = "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, arXiv:2006.09882"
    family = "clustering"
    num_global_views = 2
    uses_local_views = True
    # the paper's for batches of 256; for 4096 it takes lr 4.8 (0.3 of 256), 10 epochs of warm-up and no queue
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.6, weight_decay=1e-6, exclude_norm_and_bias=False),
        schedule=ScheduleConfig(final_lr_factor=1e-3),
    )

    name: Literal["swav"] = "swav"
    hidden_dim: PositiveInt = 2048
    output_dim: PositiveInt = 128
    num_prototypes: PositiveInt = 3000
    prototype_bias: bool = Field(
        default=False, description="a learned bias on the scores, never normalised, as in Lightly's code"
    )
    freeze_prototypes_epochs: NonNegativeInt = 1
    temperature: PositiveFloat = 0.1
    sinkhorn_temperature: PositiveFloat = Field(default=0.05, description="of the codes; the paper's epsilon")
    sinkhorn_iterations: PositiveInt = 3
    queue_size: NonNegativeInt = Field(
        default=3840, description="embeddings of earlier batches that share in the codes, per global view; 0: none"
    )
    queue_start_epoch: NonNegativeInt = Field(
        default=15, description="the queue fills before, and is used from then on"
    )
    views: ViewsConfig = swav_views()
