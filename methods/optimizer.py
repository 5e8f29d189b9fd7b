"""The optimizer of a method and its rates, which are a pure function of progress."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, AdamW, Optimizer

from .base import Method, Progress
from .config import OptimizerConfig, ScheduleConfig
from .freezing import factors
from .parts.lars import Lars
from .parts.schedules import cosine, warmup_cosine


def build_optimizer(
    method: Method[Any], config: OptimizerConfig, batch_size: int, rates: Mapping[str, float] | None = None
) -> Optimizer:
    """The optimizer over `method.param_groups()`, for a global batch of `batch_size` images.

    rates: factors on the rates of parts of the backbone, which multiply those of the groups.
    """
    groups = [group for group in method.param_groups() if group["params"]]
    if rates:
        groups = [part for group in groups for part in _split(group, factors(method, rates))]
    for group in groups:
        group["lr_scale"] = group.get("lr_scale", 1.0) * (1.0 if group["decay"] else config.norm_and_bias_lr)
        group["constant_lr"] = group.get("constant_lr", False)
        group["decay"] = group["decay"] or not config.exclude_norm_and_bias
        group["weight_decay"] = config.weight_decay if group["decay"] else 0.0
    lr = config.peak_lr(batch_size)
    if config.name == "sgd":
        return SGD(groups, lr, momentum=config.momentum)
    if config.name in ("adam", "adamw"):
        return (Adam if config.name == "adam" else AdamW)(groups, lr, betas=config.betas)
    return Lars(groups, lr, config.momentum, config.weight_decay, config.trust_coefficient)


def _split(group: dict[str, Any], factor_of: Mapping[Any, float]) -> Iterator[dict[str, Any]]:
    """The group, in one part for each factor on the rates of its parameters."""
    parts: dict[float, list[Any]] = {}
    for parameter in group["params"]:
        parts.setdefault(factor_of.get(parameter, 1.0), []).append(parameter)
    for factor, params in parts.items():
        yield group | {"params": params, "lr_scale": group.get("lr_scale", 1.0) * factor}


def set_rates(
    optimizer: Optimizer, config: OptimizerConfig, schedule: ScheduleConfig, batch_size: int, progress: Progress
) -> float:
    """Set the learning rate and the weight decay of this step in every group, and return the schedule's rate."""
    factor = rate_factor(schedule, progress)
    peak = config.peak_lr(batch_size)
    weight_decay = config.weight_decay
    if config.final_weight_decay is not None:
        weight_decay = cosine(config.weight_decay, config.final_weight_decay, progress.fraction)
    for group in optimizer.param_groups:
        group["lr"] = peak * group["lr_scale"] * (1.0 if group["constant_lr"] else factor)
        group["weight_decay"] = weight_decay if group["decay"] else 0.0
    return peak * factor


def clip_gradients(method: Method[Any], config: OptimizerConfig) -> None:
    """Shorten the gradient to `clip_norm`: as one vector, or with `clip_each` that of each parameter by itself."""
    if config.clip_norm is None:
        return
    if not config.clip_each:
        clip_grad_norm_(method.parameters(), config.clip_norm)
        return
    gradients = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
    shares = [(config.clip_norm / (norm + 1e-6)).clamp_(max=1) for norm in torch._foreach_norm(gradients)]  # pyright: ignore[reportPrivateUsage]
    torch._foreach_mul_(gradients, shares)  # pyright: ignore[reportPrivateUsage]


def rate_factor(schedule: ScheduleConfig, progress: Progress) -> float:
    """The rate of this step as a share of the peak.

    By step, the warm-up starts at 1 / its length and the cosine ends with the last step. By epoch, epoch e of E has what is
    due at its start, as with torch's ``CosineAnnealingLR``: the cosine would end with epoch E + 1.
    """
    if schedule.by == "epoch":
        epochs = progress.total_steps // progress.steps_per_epoch
        return warmup_cosine(progress.epoch, round(schedule.warmup_epochs), epochs + 1, schedule.final_lr_factor)
    warmup_steps = round(schedule.warmup_epochs * progress.steps_per_epoch)
    return warmup_cosine(progress.step, warmup_steps, progress.total_steps, schedule.final_lr_factor)
