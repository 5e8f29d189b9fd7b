"""Configuration of W-MSE (arXiv:2007.06346)."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewConfig, ViewsConfig
from ..view_presets import MOCO_JITTER


class WMSEConfig(MethodConfig):
    title = "W-MSE"
    paper = "Whitening for Self-Supervised Representation Learning, arXiv:2007.06346"
    family = "redundancy reduction"
    num_global_views = None
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(
            name="adam", lr=3e-3, lr_scaling="none", weight_decay=1e-6, exclude_norm_and_bias=False
        ),
        schedule=ScheduleConfig(warmup_epochs=2),
    )

    name: Literal["wmse"] = "wmse"
    hidden_dim: PositiveInt = 1024
    output_dim: PositiveInt = 64
    whitening_size: PositiveInt = Field(default=128, description="images that are whitened together")
    whitening_iterations: PositiveInt = Field(default=1, description="partitions of a batch into such groups")
    shrinkage: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="share of the identity in each covariance, against one that cannot be inverted"
    )
    views: ViewsConfig = ViewsConfig(
        global_views=(
            ViewConfig(
                count=2, scale=(0.2, 1.0), interpolation="bicubic", jitter=MOCO_JITTER, grayscale=0.1, blur=None
            ),
        )
    )

    @model_validator(mode="after")
    def groups_fill_the_width(self) -> "WMSEConfig":
        if self.whitening_size <= self.output_dim and not self.shrinkage:
            raise ValueError(
                f"{self.output_dim} features need more images to be whitened, but got {self.whitening_size=};"
                " set a smaller `output_dim` or some `shrinkage`"
            )
        return self
