"""Configuration of DINOv2 (arXiv:2304.07193)."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, Range, ScheduleConfig, ViewsConfig
from ..view_presets import dino_views


class DINOv2Config(MethodConfig):
    title = "DINOv2"
    paper = "DINOv2: Learning Robust Visual Features without Supervision, arXiv:2304.07193"
    family = "distillation"
    needs_vit = True
    masks_patches = True
    num_global_views = None
    uses_local_views = True
    one_global_size = True
    pretrain = PretrainConfig(  # 4e-3 at batches of 1024, by the square root
        optimizer=OptimizerConfig(
            name="adamw", lr=2e-3, lr_scaling="sqrt", weight_decay=0.04, final_weight_decay=0.4, clip_norm=3.0
        ),
        schedule=ScheduleConfig(warmup_epochs=10, final_lr_factor=2.5e-4),
    )

    name: Literal["dinov2"] = "dinov2"
    hidden_dim: PositiveInt = 2048
    bottleneck_dim: PositiveInt = 256
    output_dim: PositiveInt = Field(default=65536, description="number of prototypes, of images and patches alike")
    freeze_last_layer_epochs: NonNegativeInt = 1
    masked_images: Probability = Field(default=0.5, description="share of the images that are masked")
    mask_ratio: Range = Field(default=(0.1, 0.5), description="share of a masked image's patches")
    patch_weight: NonNegativeFloat = Field(default=1.0, description="of the loss of patches")
    koleo_weight: NonNegativeFloat = Field(default=0.1, description="of KoLeo, summed over the global views")
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.9, description="rate of a block = this ^ blocks above it"
    )
    patch_embed_lr: PositiveFloat = Field(default=0.2, description="factor on the rate of the patch embedding")
    student_temperature: PositiveFloat = 0.1
    teacher_temperature: PositiveFloat = Field(default=0.07, description="after the warm-up")
    warmup_teacher_temperature: PositiveFloat = Field(default=0.04, description="at the first step")
    warmup_teacher_epochs: NonNegativeFloat = 30
    centering: Literal["softmax", "sinkhorn"] = Field(
        default="softmax",
        description="of the teacher's scores: by a running mean, or by balancing those of a batch, as the large models had it",
    )
    sinkhorn_iterations: PositiveInt = 3
    center_momentum: Probability = Field(default=0.9, description="of the running mean")
    momentum: Probability = Field(default=0.992, description="of the teacher at the first step")
    final_momentum: Probability = Field(default=1.0, description="of the teacher at the last step; a cosine goes there")
    views: ViewsConfig = dino_views(global_scale=(0.32, 1.0), local_scale=(0.05, 0.32))
