"""Configuration of iBOT (arXiv:2111.07832)."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, Range, ScheduleConfig, ViewsConfig
from ..view_presets import dino_views


class IBOTConfig(MethodConfig):
    title = "iBOT"
    paper = "iBOT: Image BERT Pre-Training with Online Tokenizer, arXiv:2111.07832"
    family = "masked"
    needs_vit = True
    masks_patches = True
    num_global_views = None
    uses_local_views = True
    one_global_size = True
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(
            name="adamw", lr=5e-4, weight_decay=0.04, final_weight_decay=0.4, clip_norm=3.0, clip_each=True
        ),
        schedule=ScheduleConfig(warmup_epochs=10, final_lr_factor=5e-4),  # to 1e-6 from 2e-3, the rate of batch 1024
    )

    name: Literal["ibot"] = "ibot"
    hidden_dim: PositiveInt = 2048
    bottleneck_dim: PositiveInt = 256
    output_dim: PositiveInt = Field(default=8192, description="number of prototypes, of images and patches alike")
    norm_last_layer: bool = Field(default=False, description="keep the prototypes at unit length")
    freeze_last_layer_epochs: NonNegativeInt = 1
    masked_images: Probability = Field(default=0.5, description="share of the images that are masked")
    mask_ratio: Range = Field(default=(0.1, 0.5), description="share of a masked image's patches")
    patch_weight: NonNegativeFloat = Field(default=1.0, description="of the loss of patches")
    student_temperature: PositiveFloat = 0.1
    teacher_temperature: PositiveFloat = Field(default=0.07, description="after the warm-up")
    warmup_teacher_temperature: PositiveFloat = Field(default=0.04, description="at the first step")
    warmup_teacher_epochs: NonNegativeFloat = 30
    center_momentum: Probability = 0.9
    patch_center: Literal["all", "masked"] = Field(
        default="all", description="patches that the centre of patches is over; masked: Lightly's and DINOv2's code"
    )
    momentum: Probability = Field(default=0.996, description="of the teacher at the first step")
    final_momentum: Probability = Field(default=1.0, description="of the teacher at the last step; a cosine goes there")
    views: ViewsConfig = dino_views(global_scale=(0.25, 1.0), local_scale=(0.05, 0.25), local_count=10)
