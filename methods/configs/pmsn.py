"""Configuration of PMSN (arXiv:2210.07277)."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from .msn import MSNConfig


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
