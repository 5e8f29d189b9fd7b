"""PMSN: The Hidden Uniform Cluster Prior in Self-Supervised Learning (arXiv:2210.07277)."""

from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor

from .msn import MSN, MSNConfig
from .parts.collectives import mean_over_ranks


class PMSNConfig(MSNConfig):
    title = "PMSN"
    paper = "The Hidden Uniform Cluster Prior in Self-Supervised Learning, arXiv:2210.07277"

    name: Literal["pmsn"] = "pmsn"
    sinkhorn_iterations: NonNegativeInt = Field(
        default=0, description="on the targets, which it makes uniform over the prototypes; 0: none"
    )
    regularizer_weight: NonNegativeFloat = Field(default=1.0, description="of the divergence")
    prior_exponent: NonNegativeFloat = Field(default=0.25, description="prior of prototype k: k^-exponent, normalised")
    divergence: Literal["prediction-prior", "prior-prediction", "prior-prediction-linear"] = Field(
        default="prediction-prior",
        description="KL(mean prediction || prior); its reverse, as in Lightly's code; or that with the prediction in place"
        " of its logarithm, as in Lightly's published run",
    )


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
