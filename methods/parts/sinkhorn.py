"""Sinkhorn-Knopp: soft assignments under which every prototype gets an equal share of the batch."""

import torch
from torch import Tensor

from .collectives import gather


@torch.no_grad()
def sinkhorn(scores: Tensor, temperature: float, iterations: int) -> Tensor:
    """Codes (B, K) of this rank's scores (B, K); each row sums to 1 (SwAV, arXiv:2006.09882, eq. 3).

    Prototypes share the rows of all ranks. Computed with logarithms: no score is too small or too large.
    """
    log_codes = scores.float() / temperature
    for _ in range(iterations):
        shares = gather(log_codes.logsumexp(dim=0, keepdim=True)).logsumexp(dim=0)  # (K,)
        log_codes = (log_codes - shares).log_softmax(dim=1)
    return log_codes.exp()
