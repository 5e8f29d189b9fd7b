"""Whether weights are numbers."""

import torch
from torch import nn


def not_finite(module: nn.Module) -> str | None:
    """The name of the first parameter of `module` that has a value which is not finite; None if all are."""
    named = [(name, parameter.detach()) for name, parameter in module.named_parameters()]
    if not named:
        return None
    finite = torch.stack([parameter.isfinite().all() for _, parameter in named]).tolist()  # one wait for the device
    return next((name for (name, _), good in zip(named, finite, strict=True) if not good), None)
