"""Batch norm in parts against torch's, part by part, on one rank and on two."""

import pytest
import torch
from ranks import Ranks
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder, export
from ssl_sweep.methods.parts.collectives import rank, world_size
from ssl_sweep.methods.parts.split_batchnorm import SplitBatchNorm
from tiny import IMAGE_SIZE
from torch import Tensor, nn


def norm() -> SplitBatchNorm:
    plain = nn.BatchNorm2d(3).double()
    with torch.no_grad():
        plain.weight.copy_(torch.tensor([1.0, 2.0, 0.5]))
        plain.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
    return SplitBatchNorm(plain, splits=2)


def images() -> Tensor:
    return torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def forward_backward() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    split = norm()
    own = 8 // world_size()
    x = images()[rank() * own : (rank() + 1) * own].requires_grad_()
    y = split(x)
    (y * torch.linspace(-1, 1, 48, dtype=torch.float64).view(3, 4, 4)).square().sum().backward()
    assert x.grad is not None
    return y.detach(), x.grad, split.running_mean, split.running_var


def test_each_part_is_torchs() -> None:
    y, _, mean, var = forward_backward()
    expected = norm()
    means, variances = [], []
    for part in range(2):
        x = images()[part::2]
        plain = nn.BatchNorm2d(3, momentum=1.0).double()
        plain.load_state_dict(expected.state_dict())
        torch.testing.assert_close(y[part::2], plain(x))
        means.append(plain.running_mean)
        variances.append(plain.running_var)
    torch.testing.assert_close(mean, 0.1 * (means[0] + means[1]) / 2)
    torch.testing.assert_close(var, 0.9 + 0.1 * (variances[0] + variances[1]) / 2)


def test_two_ranks_are_one(ranks: Ranks) -> None:
    whole = forward_backward()
    first, second = ranks.run(forward_backward)
    for one, two, expected in zip(first[:2], second[:2], whole[:2], strict=True):
        torch.testing.assert_close(torch.cat([one, two]), expected)
    torch.testing.assert_close(first[2:], whole[2:])


def test_the_cifar_backbone_takes_it_and_exports_plain_weights() -> None:
    encoder = build_encoder(BackboneConfig(name="resnet18-cifar", options={"split_batchnorm": 8}), IMAGE_SIZE)
    plain = build_encoder(BackboneConfig(name="resnet18-cifar"), IMAGE_SIZE)
    encoder(torch.randn(8, 3, 32, 32))
    plain.model.load_state_dict(export(encoder)[0])
    image = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(plain.eval()(image), encoder.eval()(image))
    with pytest.raises(ValueError, match="must be a multiple"):
        encoder.train()(image)
