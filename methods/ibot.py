"""iBOT: Image BERT Pre-Training with Online Tokenizer (arXiv:2111.07832)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.ibot import IBOTConfig
from .dino import by_size, dino_loss
from .encoder import Encoder
from .parts.collectives import mean_over_ranks
from .parts.device import to_device
from .parts.heads import Projected, PrototypeHead
from .parts.masks import block_patches
from .parts.schedules import cosine, warmed_up
from .parts.teacher import Teacher


class IBOT(Method[IBOTConfig]):
    def __init__(self, config: IBOTConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        if encoder.patch_size is None:
            raise ValueError("method 'ibot' needs a ViT: it hides patches")
        head = PrototypeHead(
            encoder.dim,
            config.hidden_dim,
            config.bottleneck_dim,
            config.output_dim,
            norm=False,
            unit_prototypes=config.norm_last_layer,
        )
        self.networks = MaskedDistillation(
            encoder, head, config.output_dim, config.center_momentum, center_all=config.patch_center == "all"
        )

    @property
    def backbone(self) -> Encoder:
        """The teacher's, which the paper evaluates."""
        return self.networks.teacher.module.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        config = self.config
        temperature = warmed_up(
            config.warmup_teacher_temperature, config.teacher_temperature, config.warmup_teacher_epochs, progress
        )
        masks = self.networks.masks(batch, config.masked_images, config.mask_ratio, progress)  # (U, B, N)
        found = self.networks(batch, masks, config.student_temperature, temperature)
        loss = found.image_loss + config.patch_weight * found.patch_loss
        return StepOutput(loss, {"image_loss": found.image_loss.detach(), "patch_loss": found.patch_loss.detach()})

    def before_optimizer_step(self, progress: Progress) -> None:
        if progress.epoch < self.config.freeze_last_layer_epochs:
            self.networks.freeze_prototypes()

    def after_optimizer_step(self, progress: Progress) -> None:
        momentum = cosine(self.config.momentum, self.config.final_momentum, progress.fraction)
        self.networks.teacher.update(self.networks.student, momentum)


class Distilled(NamedTuple):
    image_loss: Tensor
    patch_loss: Tensor
    pooled: Tensor  # (U, B, D), the student's features of the masked global views


class MaskedDistillation(nn.Module):
    """A student that sees masked images and small crops, and a teacher that sees whole ones, with one head for both losses.

    The centre of patches is over the masked ones, or with `center_all` over all. With `batch_center`, centres are of the batch:
    a function of the teacher's scores (M, K) and its temperature.
    """

    center: Tensor  # (1, K), of images
    patch_center: Tensor  # (1, K)

    def __init__(
        self,
        encoder: Encoder,
        head: PrototypeHead,
        prototypes: int,
        center_momentum: float,
        *,
        center_all: bool = False,
        batch_center: Callable[[Tensor, float], Tensor] | None = None,
    ):
        super().__init__()
        self.center_all = center_all
        self.batch_center = batch_center
        self.student = Projected(encoder, head)
        self.teacher = Teacher(self.student)
        self.mask_token = nn.Parameter(torch.zeros(encoder.dim))
        self.center_momentum = center_momentum
        self.register_buffer("center", torch.zeros(1, prototypes))
        self.register_buffer("patch_center", torch.zeros(1, prototypes))

    def masks(self, batch: Batch, share: float, ratios: tuple[float, float], progress: Progress) -> Tensor:
        """Masks (U, B, N) for the global views of a batch, on the CPU."""
        image = batch.global_views[0].image
        grid = self.student.encoder.grid(*image.shape[-2:])
        return block_patches(len(image), len(batch.global_views), grid, share, ratios, progress)

    def forward(self, batch: Batch, masks: Tensor, student_temperature: float, teacher_temperature: float) -> Distilled:
        """Both losses, with the centres of the steps before; then the centres move."""
        images = torch.stack([view.image for view in batch.global_views])  # (U, B, 3, H, W)
        views, batch_size = images.shape[:2]
        chosen = to_device(masks.flatten().nonzero().squeeze(1), images.device)  # (M,)
        with torch.no_grad():
            seen = None if self.center_all else chosen
            target = scored(self.teacher.module, images.flatten(0, 1), None, None, seen)
            patch_targets = target.patches[chosen] if self.center_all else target.patches  # (M, K)
        hidden = to_device(masks.flatten(0, 1), images.device)
        student = scored(self.student, images.flatten(0, 1), hidden, self.mask_token, chosen)
        small = [self.student(same) for same in by_size([view.image for view in batch.local_views])]
        scores = torch.cat([student.image, *small]).float().unflatten(0, (-1, batch_size))  # (V, B, K)
        targets = target.image.float().unflatten(0, (views, -1))  # (U, B, K)
        temperatures = (student_temperature, teacher_temperature)
        center, patch_center = self.center, self.patch_center
        if self.batch_center is not None:
            center = self.batch_center(targets.flatten(0, 1), teacher_temperature)
            patch_center = self.batch_center(patch_targets, teacher_temperature)
        image_loss = dino_loss(scores, targets, center, *temperatures)
        patch_loss = masked_patch_loss(
            student.patches, patch_targets, patch_center, to_device(patch_weights(masks), images.device), *temperatures
        )
        if self.batch_center is None:
            self._move_centers(targets, target.patches)
        return Distilled(image_loss, patch_loss, student.pooled.unflatten(0, (views, -1)))

    def freeze_prototypes(self) -> None:
        """Drop the gradients of the last layer."""
        self.student.head.prototypes.grad = None
        self.student.head.gains.grad = None

    @torch.no_grad()
    def _move_centers(self, targets: Tensor, patches: Tensor) -> None:
        """c <- m c + (1 - m) mean of the teacher's scores of all ranks: targets (U, B, K), patches (M, K), M by rank."""
        momentum = self.center_momentum
        self.center.lerp_(mean_over_ranks(targets.mean(dim=(0, 1))).to(self.center.dtype), 1 - momentum)
        count = mean_over_ranks(patches.new_full((), len(patches)))
        mean = mean_over_ranks(patches.sum(dim=0)) / count.clamp(min=1e-6)
        moved = self.patch_center.lerp(mean.to(self.center.dtype), 1 - momentum)
        self.patch_center.copy_(torch.where(count > 0, moved, self.patch_center))


class Scored(NamedTuple):
    pooled: Tensor  # (n, D), before the head
    image: Tensor  # (n, K)
    patches: Tensor  # (M, K), of the chosen patches


def scored(
    network: Any, images: Tensor, mask: Tensor | None, mask_token: Tensor | None, chosen: Tensor | None
) -> Scored:
    """Scores of images (n, 3, H, W) and of their patches, or those `chosen` (M,) of n * N; those under `mask` (n, N) hidden."""
    encoder: Encoder = network.encoder
    tokens = encoder.tokens(images, mask=mask, mask_token=mask_token)  # (n, prefix + N, D)
    patches = tokens[:, encoder.num_prefix_tokens :].flatten(0, 1)  # (n * N, D)
    if chosen is not None:
        patches = patches.index_select(0, chosen)
    pooled = encoder.pool(tokens)  # (n, D), as evaluation pools it
    scores = network.head(torch.cat([pooled, patches]))
    return Scored(pooled, scores[: len(images)], scores[len(images) :].float())


def patch_weights(masks: Tensor) -> Tensor:
    """For each masked patch of masks (U, B, N), in their order: 1 / (masked patches of its image x images)."""
    counts = masks.sum(dim=2, keepdim=True).clamp(min=1)  # (U, B, 1)
    return (1 / (counts * masks.shape[0] * masks.shape[1])).expand_as(masks)[masks]


def masked_patch_loss(
    scores: Tensor,
    targets: Tensor,
    center: Tensor,
    weights: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """Eq. 2, weighted sum of the cross-entropies of softmax((t - c) / T_t) and softmax(s / T_s).

    scores, targets: (M, K), of the masked patches; weights: (M,); center: (1, K).
    """
    p = ((targets.float() - center) / teacher_temperature).softmax(dim=1)
    log_q = (scores.float() / student_temperature).log_softmax(dim=1)
    return -((p * log_q).sum(dim=1) * weights).sum()
