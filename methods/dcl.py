"""DCL: Decoupled Contrastive Learning (arXiv:2110.06848)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.dcl import DCLConfig
from .encoder import Encoder
from .parts.collectives import gather, rank
from .parts.heads import Projected, mlp


class DCL(Method[DCLConfig]):
    def __init__(self, config: DCLConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        head = mlp(encoder.dim, config.hidden_dim or encoder.dim, config.output_dim, last_norm=True)
        self.model = Projected(encoder, head)

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        a, b = (self.model(view.image) for view in batch.global_views)  # each (B, D)
        return StepOutput(dcl_loss(a, b, self.config.temperature, self.config.separate_views), {})


def dcl_loss(
    a: Tensor, b: Tensor, temperature: float, separate_views: bool = False, weights: Tensor | None = None
) -> Tensor:
    """Eq. 6, mean over both views of -w s_pos + log sum exp of the similarities to all other images; a, b: (B, D).

    Neither view of the image itself is a negative. weights: (B,), of the positive terms; 1 where not given.
    """
    a, b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
    all_a, all_b = gather(a), gather(b)  # (W * B, D)
    positive = (a * b).sum(dim=1) / temperature  # (B,)
    if weights is not None:
        positive = positive * weights
    terms: list[Tensor] = []
    for own, same, other in ((a, all_a, all_b), (b, all_b, all_a)):
        blocks = [_negatives(own, rows, temperature) for rows in (same, other)]  # two of (B, W * B)
        if separate_views:
            denominator = blocks[0].logsumexp(dim=1) + blocks[1].logsumexp(dim=1)
        else:
            denominator = torch.cat(blocks, dim=1).logsumexp(dim=1)
        terms.append((denominator - positive).mean())
    return (terms[0] + terms[1]) / 2


def _negatives(own: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Similarities (B, W * B) to the images of all ranks, minus infinity for the image itself."""
    with torch.autocast(own.device.type, enabled=False):
        logits = own @ rows.T / temperature
    itself = torch.arange(len(own), device=own.device) + rank() * len(own)
    return logits.scatter(1, itself[:, None], float("-inf"))
