"""Configuration of DeepCluster-v2 (arXiv:2006.09882)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from ..view_presets import swav_views


class DeepClusterV2Config(MethodConfig):
    title = "DeepCluster-v2"
    paper = "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, arXiv:2006.09882"
    family = "clustering"
    num_global_views = 2
    uses_local_views = True
    pretrain = PretrainConfig(  # lr 4.8 for the paper's batches of 4096
        optimizer=OptimizerConfig(name="lars", lr=0.3, weight_decay=1e-6, exclude_norm_and_bias=False),
        schedule=ScheduleConfig(warmup_epochs=10, final_lr_factor=1e-3),
    )

    name: Literal["deepclusterv2"] = "deepclusterv2"
    hidden_dim: PositiveInt = 2048
    output_dim: PositiveInt = 128
    num_clusterings: PositiveInt = Field(default=3, description="of all samples; the loss is the mean over them")
    num_prototypes: PositiveInt = Field(default=3000, description="of each clustering")
    temperature: PositiveFloat = 0.1
    kmeans_iterations: PositiveInt = 10
    views: ViewsConfig = swav_views()
