"""SimMIM: A Simple Framework for Masked Image Modeling (arXiv:2111.09886)."""

import torch
from torch import Tensor, nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.simmim import SimMIMConfig
from .encoder import Encoder
from .mae import patchify
from .parts.collectives import mean_over_ranks
from .parts.masks import unit_patches


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
