"""MMCR: Learning Efficient Coding of Natural Images with Maximum Manifold Capacity Representations (arXiv:2303.03307)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.mmcr import MMCRConfig
from .encoder import Encoder
from .parts.collectives import gather, mean_over_ranks
from .parts.heads import Projected, mlp


class MMCR(Method[MMCRConfig]):
    def __init__(self, config: MMCRConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        hidden = [config.hidden_dim] * (config.projector_layers - 1)
        self.model = Projected(encoder, mlp(encoder.dim, *hidden, config.output_dim))

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        z = torch.stack([self.model(view.image) for view in batch.global_views])  # (V, B, D)
        return StepOutput(mmcr_loss(z, self.config.compression), {})


def mmcr_loss(z: Tensor, compression: float) -> Tensor:
    """Eq. 6, -|C|_* + lambda mean |Z_b|_* of the images' centroids C and of each image's views Z_b; z: (V, B, D).

    Embeddings are normalised first; the centroids are those of all ranks.
    """
    z = F.normalize(z.float(), dim=2)
    with torch.autocast(z.device.type, enabled=False):
        loss = -nuclear_norm(gather(z.mean(dim=0)))
        if compression:
            loss = loss + compression * mean_over_ranks(nuclear_norm(z.transpose(0, 1)).mean())
    return loss


def nuclear_norm(matrices: Tensor) -> Tensor:
    """Sum of the singular values of matrices (..., N, D)."""
    return torch.linalg.svdvals(matrices).sum(dim=-1)
