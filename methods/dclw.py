"""DCLW: the weighted loss of Decoupled Contrastive Learning (arXiv:2110.06848, sec. 3.3)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Progress, StepOutput
from .configs.dclw import DCLWConfig
from .dcl import DCL, dcl_loss
from .parts.collectives import gather, own_rows


class DCLW(DCL):
    """DCL that heeds those pairs most whose views are unlike."""

    config: DCLWConfig

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        a, b = (self.model(view.image) for view in batch.global_views)  # each (B, D)
        weights = positive_weights(a, b, self.config.sigma)
        return StepOutput(dcl_loss(a, b, self.config.temperature, self.config.separate_views, weights), {})


@torch.no_grad()
def positive_weights(a: Tensor, b: Tensor, sigma: float) -> Tensor:
    """Weights (B,) of the positives, 2 - N softmax(cos(a_i, b_i) / sigma) over the N images of all ranks (sec. 3.3)."""
    cosine = F.cosine_similarity(a.float(), b.float(), dim=1)  # (B,)
    everyone = gather(cosine)  # (N,)
    return 2 - len(everyone) * own_rows((everyone / sigma).softmax(dim=0))
