"""SimSiam: Exploring Simple Siamese Representation Learning (arXiv:2011.10566)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet, decay_groups
from .configs.simsiam import SimSiamConfig
from .encoder import Encoder
from .parts.heads import Projected, mlp


class SimSiam(Method[SimSiamConfig]):
    def __init__(self, config: SimSiamConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        hidden = [config.hidden_dim] * (config.projector_layers - 1)
        projector = mlp(encoder.dim, *hidden, config.output_dim, last_norm=True, last_affine=config.projector_affine)
        self.model = Projected(encoder, projector)
        self.predictor = mlp(config.output_dim, config.predictor_dim, config.output_dim)

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        z = [self.model(view.image) for view in batch.global_views]  # each (B, D)
        predictions = [self.predictor(one) for one in z]
        return StepOutput(simsiam_loss(predictions, z), {})

    def param_groups(self) -> list[dict[str, Any]]:
        predictor = decay_groups(self.predictor.named_parameters(), constant_lr=self.config.constant_predictor_lr)
        return decay_groups(self.model.named_parameters()) + predictor


def simsiam_loss(predictions: list[Tensor], z: list[Tensor]) -> Tensor:
    """Eq. 1, -(cos(p1, sg z2) + cos(p2, sg z1)) / 2, mean over the batch; two tensors (B, D) each."""
    p1, p2 = (F.normalize(p.float(), dim=1) for p in predictions)
    z1, z2 = (F.normalize(one.detach().float(), dim=1) for one in z)
    return -torch.mean((p1 * z2).sum(dim=1) + (p2 * z1).sum(dim=1)) / 2
