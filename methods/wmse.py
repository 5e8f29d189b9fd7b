"""W-MSE: Whitening for Self-Supervised Representation Learning (arXiv:2007.06346)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.wmse import WMSEConfig
from .encoder import Encoder
from .parts.collectives import gather
from .parts.device import to_device
from .parts.heads import Projected, mlp
from .parts.masks import step_generator


class WMSE(Method[WMSEConfig]):
    def __init__(self, config: WMSEConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.model = Projected(encoder, mlp(encoder.dim, config.hidden_dim, config.output_dim, last_bias=False))

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        config = self.config
        z = torch.stack([gather(self.model(view.image).float()) for view in batch.global_views])  # (V, W * B, D)
        if min(z.shape[1], config.whitening_size) <= config.output_dim and not config.shrinkage:
            raise ValueError(
                f"{z.shape[1]} images cannot be whitened in {config.output_dim} features; set some `shrinkage`"
            )
        generator = step_generator(progress)
        losses: list[Tensor] = []
        for _ in range(config.whitening_iterations):
            # every rank whitens all groups, which it draws alike
            order = to_device(torch.randperm(z.shape[1], generator=generator), z.device)
            groups = z[:, order].split(config.whitening_size, dim=1)
            whole = [group for group in groups if group.shape[1] == groups[0].shape[1]]
            losses += [wmse_loss(torch.stack([whiten(view, config.shrinkage) for view in group])) for group in whole]
        return StepOutput(torch.stack(losses).mean(), {})


def whiten(z: Tensor, shrinkage: float) -> Tensor:
    """z (N, D) with mean 0 and identity covariance, by the inverse Cholesky factor (eq. 6 and sec. 3.1)."""
    centred = z - z.mean(dim=0)
    with torch.autocast(z.device.type, enabled=False):
        covariance = centred.T @ centred / (len(z) - 1)
        identity = torch.eye(z.shape[1], device=z.device, dtype=z.dtype)
        # without the check, which would make a GPU wait: what has no factor gets a loss that is not finite
        factor, failed = torch.linalg.cholesky_ex((1 - shrinkage) * covariance + shrinkage * identity)
        factor = torch.where(failed > 0, torch.nan, factor)
        return torch.linalg.solve_triangular(factor, centred.T, upper=False).T


def wmse_loss(z: Tensor) -> Tensor:
    """Eq. 1 with normalised embeddings, mean over pairs of views of 2 - 2 cos; z: (V, N, D), whitened."""
    unit = F.normalize(z, dim=2)
    pairs = [(u, v) for u in range(len(unit)) for v in range(u)]
    return torch.stack([2 - 2 * (unit[u] * unit[v]).sum(dim=1).mean() for u, v in pairs]).mean()
