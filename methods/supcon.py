"""SupCon: Supervised Contrastive Learning (arXiv:2004.11362)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.supcon import SupConConfig
from .encoder import Encoder
from .parts.collectives import gather, rank
from .parts.heads import Projected, mlp


class SupCon(Method[SupConConfig]):
    def __init__(self, config: SupConConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        head = mlp(encoder.dim, config.hidden_dim or encoder.dim, config.output_dim, norm=False)
        self.model = Projected(encoder, head)

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        a, b = (self.model(view.image) for view in batch.global_views)  # each (B, D)
        return StepOutput(supcon_loss(a, b, batch.labels, self.config.temperature), {})


def supcon_loss(a: Tensor, b: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Eq. 2 (L_out), mean over rows of the mean over rows of the same label of -log softmax; a, b: (B, D), labels: (B,)."""
    a, b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
    all_a, all_b, all_labels = gather(a), gather(b), gather(labels)  # (W * B, ...)
    with torch.autocast(a.device.type, enabled=False):
        logits = torch.cat([a, b]) @ torch.cat([all_a, all_b]).T / temperature  # (2 * B, 2 * W * B)
    own = torch.arange(len(a), device=a.device) + rank() * len(a)
    itself = torch.cat([own, own + len(all_a)])[:, None]
    log_p = logits.scatter(1, itself, float("-inf")).log_softmax(dim=1).scatter(1, itself, 0.0)
    positive = (torch.cat([labels, labels])[:, None] == torch.cat([all_labels, all_labels])).scatter(1, itself, False)
    return -(log_p * positive).sum(dim=1).div(positive.sum(dim=1)).mean()
