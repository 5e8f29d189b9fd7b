"""Configuration of VICReg (arXiv:2105.04906)."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from ..config import (
    GaussianBlur,
    MethodConfig,
    OptimizerConfig,
    PretrainConfig,
    ScheduleConfig,
    Solarize,
    ViewConfig,
    ViewsConfig,
)
from ..view_presets import BYOL_JITTER


class VICRegConfig(MethodConfig):
    title = "VICReg"
    paper = "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, arXiv:2105.04906"
    family = "redundancy reduction"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.2, weight_decay=1e-6),
        schedule=ScheduleConfig(warmup_epochs=10, final_lr_factor=0.001),
    )

    name: Literal["vicreg"] = "vicreg"
    hidden_dim: PositiveInt = 8192
    output_dim: PositiveInt = 8192
    projector_layers: PositiveInt = Field(default=3, description="2 in Lightly's ImageNet-1k run")
    invariance: NonNegativeFloat = 25.0
    variance: NonNegativeFloat = Field(default=25.0, description="of the mean over both views, as in the paper's code")
    covariance: NonNegativeFloat = Field(default=1.0, description="of the sum over both views")
    views: ViewsConfig = ViewsConfig(
        global_views=(
            ViewConfig(
                count=2,
                interpolation="bicubic",
                jitter=BYOL_JITTER,
                blur=GaussianBlur(p=0.5),
                solarize=Solarize(p=0.1),
            ),
        )
    )
