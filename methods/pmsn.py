"""PMSN: The Hidden Uniform Cluster Prior in Self-Supervised Learning (arXiv:2210.07277)."""

import torch
from torch import Tensor

from .configs.pmsn import PMSNConfig
from .msn import MSN
from .parts.collectives import mean_over_ranks


class PMSN(MSN):
    """MSN with a prior of the user's choice in place of the uniform one."""

    config: PMSNConfig

    def regularizer(self, log_p: Tensor) -> Tensor:
        prior = power_law(self.config.num_prototypes, self.config.prior_exponent, log_p.device)
        return prior_divergence(log_p, prior, self.config.divergence)


def power_law(count: int, exponent: float, device: torch.device) -> Tensor:
    """The prior (K,) with pi_k ~ k^-exponent, k = 1 ... K."""
    weights = torch.arange(1, count + 1, dtype=torch.float32, device=device) ** -exponent
    return weights / weights.sum()


def prior_divergence(log_p: Tensor, prior: Tensor, kind: str) -> Tensor:
    """KL(p || pi) of the mean prediction p of all anchors of all ranks, or a variant; log_p: (A, B, K), prior: (K,)."""
    mean = mean_over_ranks(log_p.exp().mean(dim=(0, 1)))  # (K,)
    if kind == "prediction-prior":
        return (mean * (mean.log() - prior.log())).sum()
    if kind == "prior-prediction":
        return (prior * (prior.log() - mean.log())).sum()
    return (prior * (prior.log() - mean)).sum()
