"""Configuration of MAE (arXiv:2111.06377)."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from ..view_presets import crop_views


class MAEConfig(MethodConfig):
    title = "MAE"
    paper = "Masked Autoencoders Are Scalable Vision Learners, arXiv:2111.06377"
    family = "masked"
    needs_vit = True
    masks_patches = True
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="adamw", lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05),
        schedule=ScheduleConfig(warmup_epochs=40),
    )

    name: Literal["mae"] = "mae"
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    decoder_dim: PositiveInt = 512
    decoder_depth: PositiveInt = 8
    decoder_heads: PositiveInt = 16
    norm_pix: bool = Field(
        default=True, description="targets are each patch's pixels less their mean, over their deviation"
    )
    views: ViewsConfig = crop_views()
