"""VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning (arXiv:2105.04906)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.vicreg import VICRegConfig
from .encoder import Encoder
from .parts.collectives import gather
from .parts.heads import Projected, mlp
from .parts.precision import at_least_float32


class VICReg(Method[VICRegConfig]):
    def __init__(self, config: VICRegConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        hidden = [config.hidden_dim] * (config.projector_layers - 1)
        self.model = Projected(encoder, mlp(encoder.dim, *hidden, config.output_dim, last_bias=False))

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        a, b = (gather(at_least_float32(self.model(view.image))) for view in batch.global_views)  # each (W * B, D)
        terms = invariance_term(a, b), variance_term(a, b), covariance_term(a) + covariance_term(b)
        weights = self.config.invariance, self.config.variance, self.config.covariance
        names = ("invariance", "variance", "covariance")
        logs: dict[str, Tensor | float] = {name: term.detach() for name, term in zip(names, terms, strict=True)}
        return StepOutput(torch.stack([w * term for w, term in zip(weights, terms, strict=True)]).sum(), logs)


def invariance_term(a: Tensor, b: Tensor) -> Tensor:
    """Eq. 5: mean squared difference of the two views (N, D)."""
    return F.mse_loss(a, b)


def variance_term(a: Tensor, b: Tensor) -> Tensor:
    """Eq. 1 and 2, mean over features and views of max(0, 1 - sqrt(var + 1e-4)); a, b: (N, D), of all ranks."""
    deviations = torch.stack([a, b]).var(dim=1).add(1e-4).sqrt()  # (2, D)
    return F.relu(1 - deviations).mean()


def covariance_term(z: Tensor) -> Tensor:
    """Eq. 3 and 4, the squared covariances of different features, over D; z: (N, D), of all ranks."""
    centred = z - z.mean(dim=0)
    with torch.autocast(z.device.type, enabled=False):
        covariance = centred.T @ centred / (len(z) - 1)  # (D, D)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]
