"""NNCLR: With a Little Help from My Friends, Nearest-Neighbor Contrastive Learning of Visual Representations (arXiv:2104.14548)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.nnclr import NNCLRConfig
from .encoder import Encoder
from .parts.collectives import gather, rank
from .parts.heads import Projected, mlp
from .parts.queue import Queue
from .simclr import nt_xent


class NNCLR(Method[NNCLRConfig]):
    def __init__(self, config: NNCLRConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        hidden = [config.hidden_dim] * (config.projector_layers - 1)
        self.model = Projected(encoder, mlp(encoder.dim, *hidden, config.output_dim, last_norm=True))
        self.predictor = mlp(config.output_dim, config.predictor_dim, config.output_dim)
        self.queue = Queue(config.queue_size, config.output_dim)

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        z = [self.model(view.image) for view in batch.global_views]  # each (B, D)
        predictions = [self.predictor(one) for one in z]
        neighbours = [nearest_rows(one, self.queue.rows) for one in z]
        self.queue.push(F.normalize(z[0].float(), dim=1))
        contrast = nt_xent if self.config.negatives == "all" else neighbour_contrast
        pairs = ((neighbours[0], predictions[1]), (neighbours[1], predictions[0]))
        losses = [contrast(neighbour, prediction, self.config.temperature) for neighbour, prediction in pairs]
        return StepOutput((losses[0] + losses[1]) / 2, {})


@torch.no_grad()
def nearest_rows(z: Tensor, queue: Tensor) -> Tensor:
    """The row of `queue` (K, D), of length 1, with the largest cosine to each of z (B, D)."""
    with torch.autocast(z.device.type, enabled=False):
        return queue[(z.float() @ queue.float().T).argmax(dim=1)]


def neighbour_contrast(neighbour: Tensor, prediction: Tensor, temperature: float) -> Tensor:
    """Sec. 3.2: -log softmax of each neighbour's prediction among those of all ranks, and the same with the roles exchanged.

    neighbour, prediction: (B, D).
    """
    neighbour, prediction = F.normalize(neighbour.float(), dim=1), F.normalize(prediction.float(), dim=1)
    own = torch.arange(len(neighbour), device=neighbour.device) + rank() * len(neighbour)
    with torch.autocast(neighbour.device.type, enabled=False):
        forward = neighbour @ gather(prediction).T / temperature  # (B, W * B)
        backward = prediction @ gather(neighbour).T / temperature
    return (F.cross_entropy(forward, own) + F.cross_entropy(backward, own)) / 2
