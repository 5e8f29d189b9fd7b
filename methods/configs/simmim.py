"""Configuration of SimMIM (arXiv:2111.09886)."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewConfig, ViewsConfig


class SimMIMConfig(MethodConfig):
    title = "SimMIM"
    paper = "SimMIM: A Simple Framework for Masked Image Modeling, arXiv:2111.09886"
    family = "masked"
    needs_vit = True
    masks_patches = True
    pretrain = PretrainConfig(  # 8e-4, down to 4e-5, at the paper's batches of 2048
        optimizer=OptimizerConfig(name="adamw", lr=1e-4, weight_decay=0.05, clip_norm=5.0),
        schedule=ScheduleConfig(warmup_epochs=10, final_lr_factor=0.05),
    )

    name: Literal["simmim"] = "simmim"
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.6
    mask_unit: PositiveInt = Field(default=2, description="patches along a side of the squares that are masked")
    views: ViewsConfig = ViewsConfig(  # bilinear, as in the authors' code, unlike MAE's crops
        global_views=(ViewConfig(scale=(0.67, 1.0), jitter=None, grayscale=0.0, blur=None),)
    )
