"""LARS against its definition, and rates by hand."""

import math
from typing import Any

import pytest
import torch
from ssl_sweep.methods.base import Progress
from ssl_sweep.methods.config import OptimizerConfig, ScheduleConfig
from ssl_sweep.methods.optimizer import build_optimizer, rate_factor, set_rates
from ssl_sweep.methods.parts.lars import Lars
from ssl_sweep.methods.parts.schedules import cosine, linear, warmup_cosine
from tiny import RESNET, VIT, tiny_method
from torch import Tensor, nn


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(3, 2, generator=generator)), nn.Parameter(torch.zeros(4))]


def gradients(step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    drawn = [torch.randn(3, 2, generator=generator), torch.randn(4, generator=generator)]
    return [torch.zeros(3, 2) if step == 1 else drawn[0], drawn[1]]  # one step without gradient for the matrix


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lars_is_its_definition(decay: float) -> None:
    params = parameters()
    optimizer = Lars([{"params": params}], lr=0.5, momentum=0.9, weight_decay=decay, trust_coefficient=0.02)
    expected = [p.detach().double() for p in params]
    velocity = [torch.zeros_like(p) for p in expected]
    for step in range(4):
        for i, g in enumerate(gradients(step)):
            params[i].grad = g.clone()
            g, p = g.double(), expected[i]
            if decay and p.norm() > 0 and g.norm() > 0:
                g = 0.02 * p.norm() / (g.norm() + decay * p.norm() + 1e-8) * (g + decay * p)
            velocity[i] = 0.9 * velocity[i] + g
            expected[i] = p - 0.5 * velocity[i]
        optimizer.step()
    torch.testing.assert_close([p.detach().double() for p in params], expected, rtol=1e-5, atol=1e-6)


def test_lars_without_decay_is_momentum_sgd() -> None:
    mine, theirs = parameters(), parameters()
    lars = Lars([{"params": mine}], lr=0.5, momentum=0.9, weight_decay=0.0, trust_coefficient=0.001)
    sgd = torch.optim.SGD(theirs, lr=0.5, momentum=0.9)
    for step in range(3):
        for p, q, g in zip(mine, theirs, gradients(step), strict=True):
            p.grad, q.grad = g.clone(), g.clone()
        lars.step()
        sgd.step()
    torch.testing.assert_close(mine, theirs)


def test_parameters_without_gradient_stay() -> None:
    params = parameters()
    before = params[0].detach().clone()
    Lars([{"params": params}], lr=0.5, momentum=0.9, weight_decay=0.1, trust_coefficient=0.001).step()
    assert torch.equal(params[0], before)


def test_schedules_by_hand() -> None:
    assert [warmup_cosine(s, 4, 10, 0.0) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert warmup_cosine(4, 4, 10, 0.1) == 1.0
    assert warmup_cosine(9, 4, 10, 0.1) == pytest.approx(0.1)
    assert warmup_cosine(2, 0, 5, 0.0) == pytest.approx(0.5)
    assert warmup_cosine(0, 0, 1, 0.0) == 1.0
    assert [cosine(0.996, 1.0, f) for f in (0.0, 0.5, 1.0)] == pytest.approx([0.996, 0.998, 1.0])
    assert cosine(0.0, 1.0, 0.25) == pytest.approx((1 - math.sqrt(0.5)) / 2)
    assert [linear(0.04, 0.07, f) for f in (0.0, 0.5, 1.0, 2.0)] == pytest.approx([0.04, 0.055, 0.07, 0.07])


def test_rates_by_epoch_are_torchs() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=6)
    schedule = ScheduleConfig(by="epoch")
    for epoch in range(6):
        for step in (3 * epoch, 3 * epoch + 2):
            assert rate_factor(schedule, Progress(step, 18, 3)) == pytest.approx(sgd.param_groups[0]["lr"])
        sgd.step()
        theirs.step()
    warmup = ScheduleConfig(by="epoch", warmup_epochs=2)
    assert [rate_factor(warmup, Progress(3 * epoch, 18, 3)) for epoch in range(3)] == [0.5, 1.0, 1.0]


def test_rates_of_groups() -> None:
    method = tiny_method("simclr", RESNET)
    config = OptimizerConfig(name="lars", lr=0.2, lr_scaling="none", norm_and_bias_lr=0.024)
    optimizer = build_optimizer(method, config, 256)
    optimizer.param_groups[0]["constant_lr"] = True
    lr = set_rates(optimizer, config, ScheduleConfig(), 256, Progress(5, 11, 1))
    assert lr == pytest.approx(0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.2), pytest.approx(0.1 * 0.024)]


def test_rates_of_a_step() -> None:
    config = OptimizerConfig(name="adamw", lr=1e-3, weight_decay=0.04, final_weight_decay=0.4)
    schedule = ScheduleConfig(warmup_epochs=2, final_lr_factor=0.1)
    optimizer = build_optimizer(tiny_method("simclr", VIT), config, 512)

    def rates(step: int) -> list[tuple[float, float]]:
        lr = set_rates(optimizer, config, schedule, 512, Progress(step, total_steps=21, steps_per_epoch=5))
        assert all(group["lr"] == lr for group in optimizer.param_groups)
        return [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]

    assert rates(0) == [pytest.approx((2e-4, 0.04)), pytest.approx((2e-4, 0.0))]  # 1/10 of 1e-3 * 512/256
    assert rates(10) == [pytest.approx((2e-3, 0.22)), pytest.approx((2e-3, 0.0))]
    assert rates(20) == [pytest.approx((2e-4, 0.4)), pytest.approx((2e-4, 0.0))]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("lars", Lars)],
)
def test_exclusion_of_norms_and_biases(name: Any, kind: type) -> None:
    method = tiny_method("byol", RESNET)
    excluded = build_optimizer(method, OptimizerConfig(name=name, weight_decay=0.1), 256)
    included = build_optimizer(method, OptimizerConfig(name=name, weight_decay=0.1, exclude_norm_and_bias=False), 256)
    assert type(excluded) is kind
    assert [group["weight_decay"] for group in excluded.param_groups] == [0.1, 0.0]
    assert [group["weight_decay"] for group in included.param_groups] == [0.1, 0.1]
