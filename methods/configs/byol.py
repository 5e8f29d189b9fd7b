"""Configuration of BYOL (arXiv:2006.07733)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, ScheduleConfig, ViewsConfig
from ..view_presets import byol_views


class BYOLConfig(MethodConfig):
    title = "BYOL"
    paper = "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, arXiv:2006.07733"
    family = "distillation"
    num_global_views = 2
    # of 1000 epochs; the paper's appendix takes lr 0.3 for 300 and lr 0.45, weight decay 1e-6, momentum 0.99 for 100
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.2, weight_decay=1.5e-6),
        schedule=ScheduleConfig(warmup_epochs=10),
    )

    name: Literal["byol"] = "byol"
    hidden_dim: PositiveInt = 4096
    output_dim: PositiveInt = 256
    momentum: Probability = Field(default=0.996, description="of the teacher at the first step")
    final_momentum: Probability = Field(default=1.0, description="of the teacher at the last step; a cosine goes there")
    loss_scale: PositiveFloat = Field(
        default=2.0, description="loss = scale x sum over both directions of (1 - cosine)"
    )
    views: ViewsConfig = byol_views()
