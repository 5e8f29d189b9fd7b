"""LARS: Large Batch Training of Convolutional Networks (arXiv:1708.03888), with momentum outside the rate."""

# pyright: reportPrivateUsage=false
# torch's foreach functions have no public name

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lars(Optimizer):
    """g <- eta |p| / (|g| + w |p| + 1e-8) (g + w p);  v <- m v + g;  p <- p - lr v.

    Groups without weight decay w are plain momentum SGD, as are parameters whose norm or gradient is zero. (timm's
    `Lars` decays the latter unscaled, which reaches every convolution before a batch norm with zero gain.)
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        momentum: float,
        weight_decay: float,
        trust_coefficient: float,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step_group(params, group)

    def _step_group(self, params: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in params if p.grad is not None]
        if group["weight_decay"] != 0:
            gradients = _adapted(params, gradients, group["weight_decay"], group["trust_coefficient"])
        for p in params:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        velocities = [self.state[p]["momentum_buffer"] for p in params]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, gradients)
        torch._foreach_add_(params, velocities, alpha=-group["lr"])


def _adapted(params: list[Tensor], gradients: list[Tensor], decay: float, trust_coefficient: float) -> list[Tensor]:
    p_norm = torch.stack(list(torch._foreach_norm(params)))
    g_norm = torch.stack(list(torch._foreach_norm(gradients)))
    adapts = (p_norm > 0) & (g_norm > 0)
    ratios = torch.where(adapts, trust_coefficient * p_norm / (g_norm + decay * p_norm + 1e-8), 1.0)
    decays = torch.where(adapts, decay, 0.0)
    decayed = torch._foreach_add(gradients, torch._foreach_mul(params, decays.unbind()))
    return list(torch._foreach_mul(decayed, ratios.unbind()))
