"""Configuration of LeJEPA (arXiv:2511.08544)."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

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


class LeJEPAConfig(MethodConfig):
    title = "LeJEPA"
    paper = "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics, arXiv:2511.08544"
    family = "redundancy reduction"
    num_global_views = None
    uses_local_views = True
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(
            name="adamw", lr=5e-4, lr_scaling="none", weight_decay=0.05, exclude_norm_and_bias=False
        ),
        schedule=ScheduleConfig(warmup_epochs=1, final_lr_factor=1e-3),
    )

    name: Literal["lejepa"] = "lejepa"
    hidden_dim: PositiveInt = 2048
    output_dim: PositiveInt = 64
    weight: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="share of SIGReg in the loss; the paper's lambda"
    )
    directions: PositiveInt = Field(
        default=1024, description="random ones in each step, along which features are looked at"
    )
    knots: PositiveInt = Field(default=17, description="points of the characteristic function")
    largest_knot: PositiveFloat = 3.0
    over: Literal["all", "local"] = Field(
        default="all", description="views that both terms are over; local: Lightly's published run"
    )
    views: ViewsConfig = ViewsConfig(  # DINO's sizes, but the same colours, blur and solarization for all views
        global_views=(
            ViewConfig(
                count=2,
                scale=(0.3, 1.0),
                interpolation="bicubic",
                jitter=BYOL_JITTER,
                blur=GaussianBlur(p=0.5),
                solarize=Solarize(p=0.2),
            ),
        ),
        local_views=(
            ViewConfig(
                count=6,
                resolution=96 / 224,
                scale=(0.05, 0.3),
                interpolation="bicubic",
                jitter=BYOL_JITTER,
                blur=GaussianBlur(p=0.5),
                solarize=Solarize(p=0.2),
            ),
        ),
    )
