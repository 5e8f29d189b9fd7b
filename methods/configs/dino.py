"""Configuration of DINO (arXiv:2104.14294)."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, ScheduleConfig, ViewsConfig
from ..view_presets import dino_views


class DINOConfig(MethodConfig):
    title = "DINO"
    paper = "Emerging Properties in Self-Supervised Vision Transformers, arXiv:2104.14294"
    family = "distillation"
    num_global_views = None
    uses_local_views = True
    added = frozenset({"head_std"})
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(
            name="adamw", lr=5e-4, weight_decay=0.04, final_weight_decay=0.4, clip_norm=3.0, clip_each=True
        ),
        schedule=ScheduleConfig(warmup_epochs=10, final_lr_factor=5e-4),  # to 1e-6 from 2e-3, the rate of batch 1024
    )

    name: Literal["dino"] = "dino"
    hidden_dim: PositiveInt = 2048
    bottleneck_dim: PositiveInt = 256
    output_dim: PositiveInt = Field(default=65536, description="number of prototypes")
    head_layers: PositiveInt = Field(default=3, description="linear layers before the prototypes")
    head_norm: bool = Field(default=False, description="batch norm in the head")
    head_std: PositiveFloat | None = Field(
        default=0.02, description="deviation of the head's initial weights; null: torch's default for a linear layer"
    )
    norm_last_layer: bool = Field(default=True, description="keep the prototypes at unit length")
    freeze_last_layer_epochs: NonNegativeInt = 1
    student_temperature: PositiveFloat = 0.1
    teacher_temperature: PositiveFloat = Field(default=0.07, description="after the warm-up")
    warmup_teacher_temperature: PositiveFloat = Field(default=0.04, description="at the first step")
    warmup_teacher_epochs: NonNegativeFloat = 30
    center_momentum: Probability = 0.9
    momentum: Probability = Field(default=0.996, description="of the teacher at the first step")
    final_momentum: Probability = Field(default=1.0, description="of the teacher at the last step; a cosine goes there")
    scored: Literal["teacher", "student"] = Field(
        default="teacher",
        description="whose backbone is evaluated and kept; Lightly's small benchmarks take the student's",
    )
    views: ViewsConfig = dino_views()
