"""FastSiam: Resource-Efficient Self-supervised Learning on a Single GPU (doi:10.1007/978-3-031-16788-1_4)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Progress, StepOutput
from .configs.fastsiam import FastSiamConfig
from .simsiam import SimSiam


class FastSiam(SimSiam):
    """SimSiam with a target that is the mean of several other views, and so steadier."""

    config: FastSiamConfig

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        z = torch.stack([self.model(view.image) for view in batch.global_views])  # (V, B, D)
        predictions = torch.stack([self.predictor(one) for one in z])
        return StepOutput(fastsiam_loss(predictions, z), {})


def fastsiam_loss(predictions: Tensor, z: Tensor) -> Tensor:
    """Mean over views v of -cos(p_v, sg mean of the z of the other views); predictions, z: (V, B, D)."""
    z = z.detach().float()
    others = (z.sum(dim=0) - z) / (len(z) - 1)  # (V, B, D)
    return -F.cosine_similarity(predictions.float(), others, dim=2).mean()
