"""SimCLR: A Simple Framework for Contrastive Learning of Visual Representations (arXiv:2002.05709)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.simclr import SimCLRConfig
from .encoder import Encoder
from .parts.collectives import gather, rank
from .parts.heads import Projected, mlp


class SimCLR(Method[SimCLRConfig]):
    def __init__(self, config: SimCLRConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        head = mlp(encoder.dim, config.hidden_dim or encoder.dim, config.output_dim, last_norm=True)
        self.model = Projected(encoder, head)

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        a, b = (self.model(view.image) for view in batch.global_views)  # each (B, D)
        return StepOutput(nt_xent(a, b, self.config.temperature), {})


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent (eq. 1), -log softmax of each row's other view among all other rows of all ranks; a, b: (B, D)."""
    a, b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
    all_a, all_b = gather(a), gather(b)  # (W * B, D)
    with torch.autocast(a.device.type, enabled=False):
        logits = torch.cat([a, b]) @ torch.cat([all_a, all_b]).T / temperature  # (2 * B, 2 * W * B)
    own = torch.arange(len(a), device=a.device) + rank() * len(a)
    itself, other = torch.cat([own, own + len(all_a)]), torch.cat([own + len(all_a), own])
    logits = logits.scatter(1, itself[:, None], float("-inf"))
    return F.cross_entropy(logits, other)
