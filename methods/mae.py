"""MAE: Masked Autoencoders Are Scalable Vision Learners (arXiv:2111.06377)."""

from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from .encoder import Encoder
from .parts.masks import random_patches
from .parts.positions import sincos_positions
from .view_presets import crop_views


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


class MAE(Method[MAEConfig]):
    def __init__(self, config: MAEConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        if encoder.patch_size is None:
            raise ValueError("method 'mae' needs a ViT: it encodes the visible patches alone")
        self.patch_size = encoder.patch_size
        self.encoder = encoder
        self.decoder = Decoder(encoder.dim, 3 * self.patch_size**2, encoder.num_prefix_tokens, config)
        encoder.apply(_initialise)
        self.decoder.apply(_initialise)
        encoder.fix_positions()
        for parameter in encoder.pooling_parameters():  # the decoder reads tokens, so these would never learn
            parameter.requires_grad_(False)

    @property
    def backbone(self) -> Encoder:
        return self.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        image = batch.global_views[0].image
        grid = self.encoder.grid(*image.shape[-2:])
        keep, masked = random_patches(
            len(image), grid[0] * grid[1], self.config.mask_ratio, progress, image.device
        )  # (B, K), (B, N)
        prediction = self.decoder(self.encoder.tokens(image, keep=keep), keep, grid)  # (B, N, P)
        target = patchify(image, self.patch_size)  # (B, N, P)
        return StepOutput(mae_loss(prediction, target, masked, self.config.norm_pix), {})


class Decoder(nn.Module):
    """A narrow ViT that sees the encoded patches and mask tokens in their places, and predicts pixels."""

    def __init__(self, dim: int, output_dim: int, num_prefix_tokens: int, config: MAEConfig):
        super().__init__()
        self.num_prefix_tokens = num_prefix_tokens
        self.embed = nn.Linear(dim, config.decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(config.decoder_dim))
        nn.init.normal_(self.mask_token, std=0.02)
        layer_norm: Any = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.Sequential(
            *(
                Block(config.decoder_dim, config.decoder_heads, qkv_bias=True, norm_layer=layer_norm)
                for _ in range(config.decoder_depth)
            )
        )
        self.norm = layer_norm(config.decoder_dim)
        self.predict = nn.Linear(config.decoder_dim, output_dim)

    def forward(self, tokens: Tensor, keep: Tensor, grid: tuple[int, int]) -> Tensor:
        """Pixels (B, N, P) of all patches of encoded tokens (B, prefix + K, dim) of patches keep (B, K)."""
        x = self.embed(tokens)
        prefix, visible = x[:, : self.num_prefix_tokens], x[:, self.num_prefix_tokens :]
        positions = sincos_positions(x.shape[2], *grid, x.device)  # (N, D)
        patches = self.mask_token.to(x.dtype).expand(len(x), len(positions), -1)  # (B, N, D)
        patches = patches.scatter(1, keep[..., None].expand_as(visible), visible) + positions
        x = self.blocks(torch.cat([prefix.to(patches.dtype), patches], dim=1))
        return self.predict(self.norm(x[:, self.num_prefix_tokens :]))


def mae_loss(prediction: Tensor, target: Tensor, masked: Tensor, norm_pix: bool) -> Tensor:
    """Mean squared error over the pixels of masked patches; prediction, target: (B, N, P), masked: (B, N)."""
    target = target.float()
    if norm_pix:
        var, mean = torch.var_mean(target, dim=2, keepdim=True)
        target = (target - mean) / (var + 1e-6).sqrt()
    error = (prediction.float() - target).square().mean(dim=2)  # (B, N)
    return (error * masked).sum() / masked.sum()


def patchify(image: Tensor, patch_size: int) -> Tensor:
    """Pixels (B, N, p * p * 3) of the patches of images (B, 3, H, W), padded with zeros as the encoder pads them."""
    height, width = image.shape[-2:]
    image = F.pad(image, (0, -width % patch_size, 0, -height % patch_size))
    patches = image.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)  # (B, 3, h, w, p, p)
    return patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def _initialise(module: nn.Module) -> None:
    """The paper's: Xavier-uniform linear layers, also for the patch embedding."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight.view(len(module.weight), -1))
