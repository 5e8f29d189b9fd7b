"""Configuration of MSN (arXiv:2204.07141)."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, Probability, ScheduleConfig, ViewConfig, ViewsConfig
from ..view_presets import MOCO_JITTER


class MSNConfig(MethodConfig):
    title = "MSN"
    paper = "Masked Siamese Networks for Label-Efficient Learning, arXiv:2204.07141"
    family = "clustering"
    needs_vit = True
    masks_patches = True
    num_global_views = None
    uses_local_views = True
    pretrain = PretrainConfig(  # lr 1e-3 for the paper's batches of 1024
        optimizer=OptimizerConfig(name="adamw", lr=2.5e-4, weight_decay=0.04, final_weight_decay=0.4, clip_norm=3.0),
        schedule=ScheduleConfig(warmup_epochs=15, final_lr_factor=1e-3),
    )

    name: Literal["msn"] = "msn"
    hidden_dim: PositiveInt = 2048
    output_dim: PositiveInt = 256
    num_prototypes: PositiveInt = 1024
    train_prototypes: bool = Field(
        default=True, description="false: they stay as drawn, as in Lightly's code, which detaches them"
    )
    mask_ratio: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.15,
        description="share of an anchor's patches that are dropped; the paper's for ViT-S, more for larger",
    )
    mask_local_views: bool = Field(
        default=False, description="drop patches of the small anchors too, as Lightly does; the paper's code does not"
    )
    temperature: PositiveFloat = 0.1
    target_sharpening: PositiveFloat = Field(default=0.25, description="targets are p^(1 / this), normalised")
    sinkhorn_iterations: NonNegativeInt = Field(default=3, description="on the targets; 0: none")
    regularizer_weight: NonNegativeFloat = Field(default=1.0, description="of the entropy of the mean prediction")
    momentum: Probability = Field(default=0.996, description="of the teacher at the first step")
    final_momentum: Probability = Field(default=1.0, description="of the teacher at the last step; a line goes there")
    views: ViewsConfig = ViewsConfig(  # the target, a large anchor, and small anchors
        global_views=(ViewConfig(count=2, scale=(0.3, 1.0), jitter=MOCO_JITTER),),
        local_views=(ViewConfig(count=10, resolution=96 / 224, scale=(0.05, 0.3), jitter=MOCO_JITTER),),
    )
