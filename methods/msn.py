"""MSN: Masked Siamese Networks for Label-Efficient Learning (arXiv:2204.07141)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet, decay_groups
from .configs.msn import MSNConfig
from .dino import by_size
from .encoder import Encoder
from .parts.collectives import mean_over_ranks
from .parts.device import to_device
from .parts.heads import Projected, mlp
from .parts.masks import ImageDraws
from .parts.schedules import linear
from .parts.sinkhorn import sinkhorn
from .parts.teacher import Teacher


class MSN(Method[MSNConfig]):
    def __init__(self, config: MSNConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        if encoder.patch_size is None:
            raise ValueError(f"method '{config.name}' needs a ViT: it encodes the visible patches alone")
        head = siamese_head(encoder.dim, config.hidden_dim, config.output_dim)
        self.student = Projected(encoder, head)
        self.teacher = Teacher(self.student)
        self.prototypes = initial_prototypes(config.num_prototypes, config.output_dim, config.train_prototypes)

    @property
    def backbone(self) -> Encoder:
        """The teacher's, which the paper evaluates."""
        return self.teacher.module.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        config = self.config
        z = masked_anchors(self.student, batch, config.mask_ratio, config.mask_local_views, progress)  # (A, B, D)
        log_p = (cosines(z, self.prototypes) / config.temperature).log_softmax(dim=2)  # (A, B, K)
        target = cosines(self.teacher(batch.global_views[0].image), self.prototypes.detach())  # (B, K)
        target = sharpen(target / config.temperature, config.target_sharpening, config.sinkhorn_iterations)
        regularizer = self.regularizer(log_p)
        loss = anchor_loss(log_p, target) + config.regularizer_weight * regularizer
        return StepOutput(loss, {"regularizer": regularizer.detach(), "momentum": self._momentum(progress)})

    def regularizer(self, log_p: Tensor) -> Tensor:
        """Of the anchors' log-probabilities (A, B, K)."""
        return mean_entropy_regularizer(log_p)

    def after_optimizer_step(self, progress: Progress) -> None:
        self.teacher.update(self.student, self._momentum(progress))

    def param_groups(self) -> list[dict[str, Any]]:
        """The default groups, but for `prototypes`: only their direction counts, so decay would just raise their rate."""
        matrices, vectors = decay_groups((key, p) for key, p in self.named_parameters() if key != "prototypes")
        vectors["params"] += [self.prototypes] if self.config.train_prototypes else []
        return [matrices, vectors]

    def _momentum(self, progress: Progress) -> float:
        return linear(self.config.momentum, self.config.final_momentum, progress.fraction)


def siamese_head(dim: int, hidden_dim: int, output_dim: int) -> nn.Sequential:
    """Three layers with batch norm and GELU, with the paper's initialisation."""
    head = mlp(dim, hidden_dim, hidden_dim, output_dim, activation=nn.GELU)
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
                nn.init.zeros_(layer.bias)
    return head


def initial_prototypes(count: int, dim: int, train: bool) -> nn.Parameter:
    """Prototypes (count, dim), uniform in a cube."""
    bound = dim**-0.5
    return nn.Parameter(torch.empty(count, dim).uniform_(-bound, bound), requires_grad=train)


def masked_anchors(
    student: Projected[nn.Sequential], batch: Batch, mask_ratio: float, mask_local_views: bool, progress: Progress
) -> Tensor:
    """Embeddings (A, B, D) of all views but the first, which is the target; crops of one size share a forward pass."""
    target = batch.global_views[0].image
    batch_size = len(target)
    draws = ImageDraws(batch_size, progress)

    def embed(crops: Tensor, ratio: float) -> Tensor:  # (V * B, 3, H, W) -> (V * B, D)
        if ratio == 0:
            return student(crops)
        num_patches = student.encoder.num_patches(*crops.shape[-2:])
        keep = kept_patches(len(crops) // batch_size, num_patches, ratio, draws, crops.device)
        # pooled as evaluation pools it
        return student.head(student.encoder.pool(student.encoder.tokens(crops, keep=keep)))

    large = [embed(same, mask_ratio) for same in by_size([view.image for view in batch.global_views[1:]])]
    local_ratio = mask_ratio if mask_local_views else 0.0
    small = [embed(same, local_ratio) for same in by_size([view.image for view in batch.local_views])]
    return torch.cat(large + small).unflatten(0, (-1, batch_size))


def kept_patches(views: int, num_patches: int, ratio: float, draws: ImageDraws, device: torch.device) -> Tensor:
    """Indices (views * B, K) of the patches that stay, drawn anew for each view of each image."""
    visible = int(round(num_patches * (1 - ratio), 6))
    if visible == 0:
        raise ValueError(f"a mask needs visible patches, but {ratio=} leaves none of {num_patches}")
    noise = to_device(draws.own(draws.uniform(draws.images, views, num_patches)), device)  # (B, V, N)
    return noise.argsort(dim=2)[:, :, :visible].transpose(0, 1).flatten(0, 1)


def cosines(z: Tensor, prototypes: Tensor) -> Tensor:
    """Cosines (..., K) of z (..., D) and prototypes (K, D)."""
    with torch.autocast(z.device.type, enabled=False):
        return F.linear(F.normalize(z.float(), dim=-1), F.normalize(prototypes.float(), dim=1))


@torch.no_grad()
def sharpen(logits: Tensor, sharpening: float, sinkhorn_iterations: int) -> Tensor:
    """Targets (B, K): p^(1 / sharpening) of p = softmax(logits), normalised and then balanced over all ranks' rows."""
    log_target = (logits / sharpening).log_softmax(dim=1)
    return sinkhorn(log_target, 1.0, sinkhorn_iterations) if sinkhorn_iterations else log_target.exp()


def anchor_loss(log_p: Tensor, target: Tensor) -> Tensor:
    """First term of eq. 1, mean over anchors of -sum_k t log p; log_p: (A, B, K), target: (B, K)."""
    return -(target * log_p).sum(dim=2).mean()


def mean_entropy_regularizer(log_p: Tensor) -> Tensor:
    """Second term of eq. 1, log K less the entropy of the mean prediction of all anchors of all ranks: (A, B, K)."""
    mean = mean_over_ranks(log_p.exp().mean(dim=(0, 1)))  # (K,)
    return math.log(len(mean)) + (mean * mean.log()).sum()
