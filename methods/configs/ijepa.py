"""Configuration of I-JEPA (arXiv:2301.08243)."""

from typing import Literal

from pydantic import Field, PositiveInt

from ..config import (
    MethodConfig,
    OptimizerConfig,
    PretrainConfig,
    Probability,
    Range,
    ScheduleConfig,
    ViewConfig,
    ViewsConfig,
)


class IJEPAConfig(MethodConfig):
    title = "I-JEPA"
    paper = "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture, arXiv:2301.08243"
    family = "masked"
    needs_vit = True
    masks_patches = True
    pretrain = PretrainConfig(  # 1e-3 at the paper's batches of 2048
        optimizer=OptimizerConfig(name="adamw", lr=1.25e-4, weight_decay=0.04, final_weight_decay=0.4),
        schedule=ScheduleConfig(warmup_epochs=15, final_lr_factor=1e-3),
    )

    name: Literal["ijepa"] = "ijepa"
    predictor_dim: PositiveInt = 384
    predictor_depth: PositiveInt = Field(default=12, description="6 for the paper's ViT-B")
    predictor_heads: PositiveInt = 12
    targets: PositiveInt = Field(default=4, description="blocks that are predicted of an image")
    target_scale: Range = Field(default=(0.15, 0.2), description="share of the patches in a target")
    target_ratio: Range = (0.75, 1.5)
    context_scale: Range = Field(default=(0.85, 1.0), description="share in the context, before targets are taken out")
    momentum: Probability = Field(default=0.996, description="of the teacher at the first step")
    final_momentum: Probability = Field(default=1.0, description="of the teacher at the last step; a line goes there")
    views: ViewsConfig = ViewsConfig(  # crops alone, as in the authors' code: not even flipped
        global_views=(ViewConfig(scale=(0.3, 1.0), flip=0.0, jitter=None, grayscale=0.0, blur=None),)
    )
