"""I-JEPA: Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture (arXiv:2301.08243)."""

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .config import (
    MethodConfig,
    OptimizerConfig,
    PretrainConfig,
    Probability,
    Range,
    ScheduleConfig,
    ViewConfig,
    ViewsConfig,
)
from .encoder import Encoder
from .parts.masks import context_and_targets
from .parts.positions import sincos_positions
from .parts.schedules import linear
from .parts.teacher import Teacher


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


class IJEPA(Method[IJEPAConfig]):
    def __init__(self, config: IJEPAConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        if encoder.patch_size is None:
            raise ValueError("method 'ijepa' needs a ViT: it encodes the patches of a context alone")
        encoder.fix_positions()
        for parameter in encoder.pooling_parameters():  # the predictor reads tokens, so these would never learn
            parameter.requires_grad_(False)
        self.encoder = encoder
        self.predictor = Predictor(encoder.dim, config)
        self.teacher = Teacher(encoder)

    @property
    def backbone(self) -> Encoder:
        """The teacher's, which the paper evaluates."""
        return self.teacher.module

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        config = self.config
        image = batch.global_views[0].image
        grid = self.encoder.grid(*image.shape[-2:])
        masks = context_and_targets(
            len(image),
            grid,
            config.targets,
            config.target_scale,
            config.target_ratio,
            config.context_scale,
            progress,
            image.device,
        )
        prefix = self.encoder.num_prefix_tokens
        context = self.encoder.tokens(image, keep=masks.context)[:, prefix:]  # (B, C, D)
        prediction = self.predictor(context, masks.context, masks.targets, grid)  # (M, B, T, D)
        with torch.no_grad():
            whole = self.teacher.module.tokens(image)[:, prefix:].float()  # (B, N, D)
        target = rows_at(whole, masks.targets)  # (M, B, T, D)
        return StepOutput(ijepa_loss(prediction, target), {"momentum": self._momentum(progress)})

    def after_optimizer_step(self, progress: Progress) -> None:
        self.teacher.update(self.encoder, self._momentum(progress))

    def _momentum(self, progress: Progress) -> float:
        return linear(self.config.momentum, self.config.final_momentum, progress.fraction)


class Predictor(nn.Module):
    """A narrow ViT that sees the encoded context and, in their places, mask tokens for the patches of one target."""

    def __init__(self, dim: int, config: IJEPAConfig):
        super().__init__()
        width = config.predictor_dim
        self.embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        layer_norm: Any = partial(nn.LayerNorm, eps=1e-6)
        blocks = [
            Block(width, config.predictor_heads, qkv_bias=True, norm_layer=layer_norm)
            for _ in range(config.predictor_depth)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.norm = layer_norm(width)
        self.predict = nn.Linear(width, dim)
        self._initialise()

    def forward(self, context: Tensor, seen: Tensor, targets: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features (M, B, T, D) at targets (M, B, T), from context (B, C, D) of patches seen (B, C)."""
        x = self.embed(context)  # (B, C, width)
        positions = sincos_positions(x.shape[2], *grid, x.device)  # (N, width)
        x = x + positions[seen]
        hidden = self.mask_token + positions[targets]  # (M, B, T, width)
        x = x.expand(len(targets), -1, -1, -1).to(hidden.dtype)  # one copy of the context for each target
        x = torch.cat([x, hidden], dim=2).flatten(0, 1)  # (M * B, C + T, width)
        x = self.norm(self.blocks(x)[:, seen.shape[1] :])
        return self.predict(x).unflatten(0, targets.shape[:2])

    def _initialise(self) -> None:
        """The authors': narrow normal weights, less at the end of each branch the deeper it lies."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            for name, weight in self.blocks.named_parameters():
                if name.endswith(("attn.proj.weight", "mlp.fc2.weight")):
                    weight.div_((2 * (int(name.split(".")[0]) + 1)) ** 0.5)


def ijepa_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 of predictions and the teacher's features, normalised over their width; both: (M, B, T, D).

    The paper writes the squared distance; its authors' code has this.
    """
    target = target.float()
    return F.smooth_l1_loss(prediction.float(), F.layer_norm(target, target.shape[-1:]))


def rows_at(rows: Tensor, places: Tensor) -> Tensor:
    """Rows (B, N, D) at places (M, B, T): (M, B, T, D)."""
    everywhere = rows.expand(len(places), -1, -1, -1)
    return everywhere.gather(2, places[..., None].expand(-1, -1, -1, rows.shape[2]))
