"""LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics (arXiv:2511.08544)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.lejepa import LeJEPAConfig
from .dino import by_size
from .encoder import Encoder
from .parts.collectives import mean_over_ranks, world_size
from .parts.device import to_device
from .parts.heads import Projected, mlp
from .parts.masks import step_generator


class LeJEPA(Method[LeJEPAConfig]):
    def __init__(self, config: LeJEPAConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.model = Projected(encoder, mlp(encoder.dim, config.hidden_dim, config.hidden_dim, config.output_dim))

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        config = self.config
        crops = [view.image for view in batch.global_views + batch.local_views]
        features = torch.cat([self.model.encoder(same) for same in by_size(crops)])  # (V * B, dim)
        z = self.model.head(features).float().unflatten(0, (len(crops), -1))  # (V, B, D)
        large, small = z[: len(batch.global_views)], z[len(batch.global_views) :]
        chosen = small if config.over == "local" and batch.local_views else z
        drawn = to_device(
            torch.randn(config.output_dim, config.directions, generator=step_generator(progress)), z.device
        )
        invariance = invariance_loss(chosen, large)
        gaussian = sigreg(chosen, F.normalize(drawn, dim=0), config.knots, config.largest_knot)
        loss = config.weight * gaussian + (1 - config.weight) * invariance
        return StepOutput(loss, {"sigreg": gaussian.detach(), "invariance": invariance.detach()})


def invariance_loss(z: Tensor, large: Tensor) -> Tensor:
    """Mean square of how far z (V, B, D) are from the centres of their images' global views (U, B, D)."""
    return (z - large.mean(dim=0)).square().mean()


def sigreg(z: Tensor, directions: Tensor, knots: int, largest_knot: float) -> Tensor:
    """How far z (V, N, D) is from a standard normal along `directions` (D, M): the Epps-Pulley statistic (eq. 7).

    Mean over views and directions of N times the weighted integral, by the trapezoid rule, of the squared difference of the
    characteristic functions; that of z is over the samples of all ranks.
    """
    t = torch.linspace(0, largest_knot, knots, device=z.device)  # (K,)
    weights = torch.full_like(t, 2 * largest_knot / (knots - 1))  # twice: the integrand is even
    weights[0] /= 2
    weights[-1] /= 2
    gaussian = (-t.square() / 2).exp()
    statistics: list[Tensor] = []
    for view in z:
        with torch.autocast(z.device.type, enabled=False):
            angles = (view.float() @ directions)[..., None] * t  # (N, M, K)
        real, imaginary = mean_over_ranks(torch.stack([angles.cos().mean(dim=0), angles.sin().mean(dim=0)]))
        error = (real - gaussian).square() + imaginary.square()  # (M, K)
        statistics.append((error * (weights * gaussian)).sum(dim=1).mean())
    return torch.stack(statistics).mean() * z.shape[1] * world_size()
