"""Projection heads and predictors."""

from itertools import pairwise
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder

HeadT = TypeVar("HeadT", bound=nn.Module)


def mlp(
    *widths: int,
    norm: bool = True,
    last_norm: bool = False,
    last_affine: bool = True,
    last_bias: bool = True,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Linear layers of these widths with batch norm and activation between them.

    With `last_norm` a batch norm follows the last layer too, with scale and shift where `last_affine` says so. A layer has
    no bias where a norm follows, whose own bias would cancel it; the last has none either without `last_bias`, for a loss
    that takes the mean away.
    """
    layers: list[nn.Module] = []
    last = len(widths) - 2
    for i, (width_in, width_out) in enumerate(pairwise(widths)):
        has_norm = norm if i < last else last_norm
        layers.append(nn.Linear(width_in, width_out, bias=not has_norm and (i < last or last_bias)))
        if has_norm:
            layers.append(nn.BatchNorm1d(width_out, affine=i < last or last_affine))
        if i < last:
            layers.append(activation())
    return nn.Sequential(*layers)


class Projected(nn.Module, Generic[HeadT]):
    """An encoder and the head on its pooled features."""

    def __init__(self, encoder: Encoder, head: HeadT):
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of images (B, 3, H, W)."""
        return self.head(self.encoder(image))


class PrototypeHead(nn.Module):
    """DINO's head: `layers` with GELU, l2 normalisation, and scores on prototypes whose length is a gain of their own.

    With `unit_prototypes` the gains stay at 1. std: of the layers' initial weights; None: torch's default, biases too.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        bottleneck_dim: int,
        prototypes: int,
        norm: bool,
        unit_prototypes: bool,
        layers: int = 3,
        std: float | None = 0.02,
    ):
        super().__init__()
        hidden = [hidden_dim] * (layers - 1)
        self.mlp = mlp(dim, *hidden, bottleneck_dim, norm=norm, activation=nn.GELU)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear) and std is not None:
                nn.init.trunc_normal_(layer.weight, std=std)
                if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
                    nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck_dim))
        nn.init.kaiming_uniform_(
            self.prototypes, a=5**0.5
        )  # torch's default for a linear layer, as in the paper's code
        self.gains = nn.Parameter(torch.ones(prototypes, 1), requires_grad=not unit_prototypes)

    def forward(self, features: Tensor) -> Tensor:
        """Scores (B, prototypes) of features (B, dim)."""
        z = F.normalize(self.mlp(features), dim=1)  # (B, bottleneck)
        return F.linear(z, self.gains * F.normalize(self.prototypes, dim=1))
