"""Configuration of SMoG (arXiv:2207.06167)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, ScheduleConfig, ViewsConfig
from ..view_presets import byol_views


class SMoGConfig(MethodConfig):
    title = "SMoG"
    paper = "Unsupervised Visual Representation Learning by Synchronous Momentum Grouping, arXiv:2207.06167"
    family = "clustering"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.3, weight_decay=1e-6),
        schedule=ScheduleConfig(warmup_epochs=10),
    )

    name: Literal["smog"] = "smog"
    hidden_dim: PositiveInt = 2048
    output_dim: PositiveInt = 128
    num_groups: PositiveInt = 3000
    group_momentum: Probability = Field(default=0.99, description="of a group that the batch has members of")
    temperature: PositiveFloat = 0.1
    momentum: Probability = Field(default=0.99, description="of the teacher")
    reset_every: PositiveInt = Field(
        default=300, description="steps between two resets: groups by k-means, the teacher equal to the student"
    )
    queue_size: PositiveInt = Field(default=10_000, description="newest embeddings, which k-means takes")
    kmeans_iterations: PositiveInt = 10
    views: ViewsConfig = byol_views(scale=(0.2, 1.0))

    @model_validator(mode="after")
    def kmeans_has_a_row_for_each_group(self) -> "SMoGConfig":
        if self.queue_size < self.num_groups:
            raise ValueError(
                f"k-means needs {self.num_groups} embeddings or more, but `queue_size` is {self.queue_size}"
            )
        return self
