"""Configuration of ReSSL (arXiv:2107.09282)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, ScheduleConfig, ViewConfig, ViewsConfig
from ..view_presets import MOCO_JITTER


class ReSSLConfig(MethodConfig):
    title = "ReSSL"
    paper = "ReSSL: Relational Self-Supervised Learning with Weak Augmentation, arXiv:2107.09282"
    family = "contrastive"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="sgd", lr=0.05, weight_decay=1e-4), schedule=ScheduleConfig(warmup_epochs=5)
    )

    name: Literal["ressl"] = "ressl"
    hidden_dim: PositiveInt = 4096
    output_dim: PositiveInt = 512
    queue_size: PositiveInt = 131072
    teacher_temperature: PositiveFloat = 0.04
    student_temperature: PositiveFloat = 0.1
    momentum: Probability = Field(default=0.999, description="of the teacher")
    views: ViewsConfig = ViewsConfig(  # the student's, and the teacher's weak one
        global_views=(
            ViewConfig(scale=(0.2, 1.0), jitter=MOCO_JITTER),
            ViewConfig(scale=(0.2, 1.0), jitter=None, grayscale=0.0, blur=None),
        )
    )
