"""DINOv2: Learning Robust Visual Features without Supervision (arXiv:2304.07193)."""

import re
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet, decay_groups
from .configs.dinov2 import DINOv2Config
from .encoder import Encoder
from .ibot import MaskedDistillation
from .parts.collectives import gather, rank
from .parts.heads import PrototypeHead
from .parts.schedules import cosine, warmed_up


class DINOv2(Method[DINOv2Config]):
    """iBOT's two losses, and features that keep apart."""

    def __init__(self, config: DINOv2Config, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        if encoder.patch_size is None:
            raise ValueError("method 'dinov2' needs a ViT: it hides patches")
        head = PrototypeHead(
            encoder.dim,
            config.hidden_dim,
            config.bottleneck_dim,
            config.output_dim,
            norm=False,
            unit_prototypes=False,
        )
        balance = partial(sinkhorn_center, iterations=config.sinkhorn_iterations)
        self.networks = MaskedDistillation(
            encoder,
            head,
            config.output_dim,
            config.center_momentum,
            batch_center=balance if config.centering == "sinkhorn" else None,
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
        koleo = torch.stack([koleo_loss(features) for features in found.pooled]).sum()
        loss = found.image_loss + config.patch_weight * found.patch_loss + config.koleo_weight * koleo
        logs = {"image_loss": found.image_loss, "patch_loss": found.patch_loss, "koleo": koleo}
        return StepOutput(loss, {key: value.detach() for key, value in logs.items()})

    def before_optimizer_step(self, progress: Progress) -> None:
        if progress.epoch < self.config.freeze_last_layer_epochs:
            self.networks.freeze_prototypes()

    def after_optimizer_step(self, progress: Progress) -> None:
        momentum = cosine(self.config.momentum, self.config.final_momentum, progress.fraction)
        self.networks.teacher.update(self.networks.student, momentum)

    def param_groups(self) -> list[dict[str, Any]]:
        """Lower blocks, and most of all the patch embedding, learn more slowly (sec. 4 and app. B)."""
        by_scale: dict[float, list[Any]] = {}
        for name, parameter in self.named_parameters():
            by_scale.setdefault(self._lr_scale(name), []).append((name, parameter))
        return [group for scale, named in by_scale.items() for group in decay_groups(named, lr_scale=scale)]

    def _lr_scale(self, name: str) -> float:
        prefix = "networks.student.encoder.model."
        depth = len(self.networks.student.encoder.model.blocks)
        if name == "networks.mask_token":  # an embedding too, though it lies beside the backbone
            return self.config.layer_decay ** (depth + 1)
        if not name.startswith(prefix):
            return 1.0
        block = re.match(r"blocks\.(\d+)\.", name.removeprefix(prefix))
        if block is not None:
            return self.config.layer_decay ** (depth - int(block[1]))
        first = name.removeprefix(prefix).split(".")[0]
        embeds = first in ("patch_embed", "cls_token", "pos_embed", "reg_token", "rope")
        scale = self.config.layer_decay ** (depth + 1) if embeds else 1.0
        return scale * (self.config.patch_embed_lr if ".patch_embed." in name else 1.0)


@torch.no_grad()
def sinkhorn_center(scores: Tensor, temperature: float, iterations: int) -> Tensor:
    """The centre c (1, K) for which softmax((scores - c) / T) are Sinkhorn's codes; of scores (M, K) of all ranks.

    The step over rows, which comes last, is that softmax; those over prototypes add up to c. Ranks may differ in M.
    """
    logits = scores.float() / temperature
    log_codes, shares = logits, logits.new_zeros(1, logits.shape[1])  # (M, K), (1, K)
    for _ in range(iterations):
        shares = shares + gather(log_codes.logsumexp(dim=0, keepdim=True)).logsumexp(dim=0, keepdim=True)
        log_codes = (logits - shares).log_softmax(dim=1)
    return shares * temperature


def koleo_loss(features: Tensor) -> Tensor:
    """KoLeo (arXiv:1806.03198), mean of -log distance to the nearest of all ranks' features; (B, D), normalised here."""
    unit = F.normalize(features.float(), dim=1, eps=1e-8)  # the authors' bound of the gradient at a row of zeros
    everyone = gather(unit)  # (W * B, D)
    own = torch.arange(len(unit), device=unit.device) + rank() * len(unit)
    with torch.no_grad(), torch.autocast(unit.device.type, enabled=False):
        similarity = (unit @ everyone.T).scatter(1, own[:, None], -2.0)
        nearest = similarity.argmax(dim=1)  # (B,)
    distance = F.pairwise_distance(unit, everyone[nearest], eps=1e-8)
    return -(distance + 1e-8).log().mean()
