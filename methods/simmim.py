"""SimMIM: A Simple Framework for Masked Image Modeling (arXiv:2111.09886)."""

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewConfig, ViewsConfig
from .encoder import Encoder
from .mae import patchify
from .parts.collectives import mean_over_ranks
from .parts.masks import unit_patches


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


class SimMIM(Method[SimMIMConfig]):
    def __init__(self, config: SimMIMConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        if encoder.patch_size is None:
            raise ValueError("method 'simmim' needs a ViT: it hides patches")
        self.patch_size = encoder.patch_size
        self.encoder = encoder
        self.mask_token = nn.Parameter(torch.zeros(encoder.dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.decoder = nn.Linear(encoder.dim, 3 * self.patch_size**2)
        for parameter in encoder.pooling_parameters():  # the decoder reads tokens, so these would never learn
            parameter.requires_grad_(False)

    @property
    def backbone(self) -> Encoder:
        return self.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        image = batch.global_views[0].image
        grid = self.encoder.grid(*image.shape[-2:])
        config = self.config
        mask = unit_patches(len(image), grid, config.mask_unit, config.mask_ratio, progress, image.device)  # (B, N)
        tokens = self.encoder.tokens(image, mask=mask, mask_token=self.mask_token)
        prediction = self.decoder(tokens[:, self.encoder.num_prefix_tokens :])  # (B, N, P)
        return StepOutput(simmim_loss(prediction, patchify(image, self.patch_size), mask), {})


def simmim_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Eq. 1, mean absolute error over the pixels of masked patches; prediction, target: (B, N, P), mask: (B, N)."""
    error = (prediction.float() - target.float()).abs().mean(dim=2)  # (B, N)
    return (error * mask).sum() / mean_over_ranks(mask.sum().to(error.dtype))
