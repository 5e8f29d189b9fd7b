"""Configuration of VICRegL (arXiv:2210.01571)."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from ..view_presets import byol_views


class VICRegLConfig(MethodConfig):
    title = "VICRegL"
    paper = "VICRegL: Self-Supervised Learning of Local Visual Features, arXiv:2210.01571"
    family = "redundancy reduction"
    num_global_views = None
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.2, weight_decay=1e-6),
        schedule=ScheduleConfig(warmup_epochs=10, final_lr_factor=0.001),
    )

    name: Literal["vicregl"] = "vicregl"
    hidden_dim: PositiveInt = 8192
    output_dim: PositiveInt = 8192
    local_dim: PositiveInt = Field(default=512, description="width of all layers of the local projector")
    local_norm: Literal["batch", "layer"] = Field(default="batch", description="in the local projector; Lightly: layer")
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(default=0.75, description="share of the global loss")
    matches: PositiveInt = Field(default=20, description="pairs of positions, those nearest to each other")
    reverse_matches: PositiveInt | None = Field(
        default=None, description="of the second view of a pair with the first; unset: as many; 4 in Lightly's code"
    )
    invariance: NonNegativeFloat = 25.0
    variance: NonNegativeFloat = 25.0
    covariance: NonNegativeFloat = Field(default=1.0, description="of the mean over both views")
    views: ViewsConfig = byol_views()
