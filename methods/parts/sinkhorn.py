"""Sinkhorn-Knopp: soft assignments under which every prototype gets an equal share of the batch."""

import torch
from torch import Tensor

from .collectives import gather, mean_over_ranks, world_size


@torch.no_grad()
def sinkhorn(scores: Tensor, temperature: float, iterations: int) -> Tensor:
    """Codes (B, K) of this rank's scores (B, K); each row sums to 1 (SwAV, arXiv:2006.09882, eq. 3).

    Prototypes share the rows of all ranks. Scores are taken less their largest, which changes no code and keeps the
    exponential finite.
    """
    scores = scores.float() / temperature
    codes = (scores - gather(scores.max()[None]).max()).exp()
    for _ in range(iterations):
        shares = mean_over_ranks(codes.sum(dim=0)) * world_size()  # (K,)
        codes = codes / shares.clamp(min=torch.finfo(codes.dtype).tiny)
        codes = codes / codes.sum(dim=1, keepdim=True)
    return codes
