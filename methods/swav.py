"""SwAV: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (arXiv:2006.09882)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.swav import SwAVConfig
from .dino import by_size
from .encoder import Encoder
from .parts.collectives import own_rows
from .parts.heads import Projected, mlp
from .parts.queue import Queue
from .parts.sinkhorn import sinkhorn


class SwAV(Method[SwAVConfig]):
    def __init__(self, config: SwAVConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.model = Projected(encoder, mlp(encoder.dim, config.hidden_dim, config.output_dim))
        self.prototypes = nn.Linear(config.output_dim, config.num_prototypes, bias=config.prototype_bias)
        self._normalise_prototypes()
        queues = 2 if config.queue_size else 0
        self.queues: Any = nn.ModuleList(Queue(config.queue_size, config.output_dim) for _ in range(queues))

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        crops = [view.image for view in batch.global_views + batch.local_views]
        features = torch.cat([self.model.encoder(same) for same in by_size(crops)])  # (V * B, dim)
        z = F.normalize(self.model.head(features).float(), dim=1).unflatten(0, (len(crops), -1))  # (V, B, D)
        scores = self._scores(z)  # (V, B, K)
        codes = self._codes(scores[:2].detach(), progress)  # (2, B, K)
        for queue, rows in zip(self.queues, z, strict=False):
            queue.push(rows)
        return StepOutput(swav_loss(scores, codes, self.config.temperature), {})

    def before_optimizer_step(self, progress: Progress) -> None:
        if progress.epoch < self.config.freeze_prototypes_epochs:
            for parameter in self.prototypes.parameters():
                parameter.grad = None

    def after_optimizer_step(self, progress: Progress) -> None:
        self._normalise_prototypes()

    @torch.no_grad()
    def _normalise_prototypes(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def _scores(self, z: Tensor) -> Tensor:
        """Scores (..., K) of embeddings (..., D) on the prototypes."""
        with torch.autocast(z.device.type, enabled=False):
            bias = self.prototypes.bias.float() if self.config.prototype_bias else None
            return F.linear(z.float(), self.prototypes.weight.float(), bias)

    @torch.no_grad()
    def _codes(self, scores: Tensor, progress: Progress) -> Tensor:
        """Codes (2, B, K) of the global crops' scores (2, B, K); what is queued shares in their balance."""
        both = list(scores)
        if self.queues and progress.epoch >= self.config.queue_start_epoch:
            # every rank holds the same queue: each takes its part, so that a row counts once
            stored = [self._scores(own_rows(queue.rows)) for queue in self.queues]
            both = [torch.cat(pair) for pair in zip(scores, stored, strict=True)]
        epsilon, iterations = self.config.sinkhorn_temperature, self.config.sinkhorn_iterations
        return torch.stack([sinkhorn(one, epsilon, iterations)[: scores.shape[1]] for one in both])


def swav_loss(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """Swapped prediction (eq. 2 and 6), mean over pairs of different crops of -sum_k q_u log softmax(s_v / T).

    scores: (V, B, K) of all crops, codes: (U, B, K) of the global ones, which are the first U.
    """
    log_p = (scores.float() / temperature).log_softmax(dim=2)
    pairs = [(u, v) for u in range(len(codes)) for v in range(len(log_p)) if u != v]
    return torch.stack([-(codes[u] * log_p[v]).sum(dim=1).mean() for u, v in pairs]).mean()
