"""Precision of losses: float32 under any autocast, and float64 where everything is."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 if it is: what a sum over a whole batch, or over pairs of features, needs."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
